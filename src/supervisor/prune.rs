//! Keeps the ledger from growing without end, and an eye on its size.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use crate::config::Deduplicate;
use crate::error::Failure;
use crate::pipeline::Context;
use crate::shutdown::{Phase, Shutdown, reached};
use crate::sink::{LedgerIdentity, Opening};

const FIRST: Duration = Duration::from_secs(5);
const EVERY: Duration = Duration::from_secs(60);
/// A sweep takes this long at most; dropped after that, its connection goes with it.
const SWEEP: Duration = Duration::from_secs(120);
/// Entries deleted in one transaction: few enough that nobody waits for its locks.
const STEP: u32 = 1000;

/// Prunes now and then, until told to stop or, under `--until-empty`, until the queue is empty.
pub(super) async fn keep_pruned(context: Arc<Context>, mut shutdown: Shutdown) {
    if context.config.deduplicate != Deduplicate::Ledger {
        return;
    }
    let mut wait = FIRST;
    loop {
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = reached(&mut shutdown, Phase::Drain) => return,
            () = drained(&context) => return,
        }
        if context.status.guarantee.lock().unwrap_or_else(PoisonError::into_inner).is_none() {
            // Not begun yet, nor its ledger: the start's checks say what is missing.
            continue;
        }
        wait = EVERY;
        if context.status.pauses().borrow().strongest().is_some() {
            // Who pauses for the sake of the database means us, too.
            continue;
        }
        // A sweep that takes longer goes on with the next one; one that hangs doesn't hang us.
        let Ok(pruned) = tokio::time::timeout(SWEEP, prune(&context)).await else { continue };
        match pruned {
            Ok(0) => {}
            Ok(deleted) => tracing::info!(pipeline = context.config.name, deleted, "ledger pruned"),
            Err(failure) => {
                if let Some(passed) = context.throttle.pass(&context.config.name, failure.class.name()) {
                    tracing::warn!(pipeline = context.config.name, "ledger not pruned: {failure}{passed}");
                }
            }
        }
    }
}

async fn drained(context: &Context) {
    let Some(emptiness) = &context.emptiness else { return std::future::pending().await };
    while !emptiness.agreed() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// One sweep in small steps. A delivery that has come again may be about to meet its entry: while
/// one is unsettled nothing is deleted.
async fn prune(context: &Context) -> Result<u64, Failure> {
    let (config, database) = (&context.config, &context.database_config);
    let waits = || context.status.unsettled_redelivered.load(Ordering::Relaxed) > 0;
    let mut session = context.database.connect().await?;
    let identity =
        LedgerIdentity { pipeline: config.name.clone(), queue: config.queue.clone(), table: config.table.clone() };
    let ledger = session.open_ledger(&database.ledger_table, &identity, Opening::Existing).await?;
    let mut deleted = 0;
    while !waits() {
        let step = session.prune(&ledger, database.ledger_keep, STEP).await?;
        deleted += step;
        context.status.ledger_pruned.inc_by(step);
        if step < u64::from(STEP) {
            break;
        }
    }
    context.status.stock.saw_ledger(session.ledger_size(&ledger).await?, Instant::now());
    session.close().await;
    Ok(deleted)
}
