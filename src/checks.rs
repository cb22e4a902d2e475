//! What must hold before the first message is taken, and again before a pause ends.

use std::sync::Arc;

use crate::catalogue::Table;
use crate::config::{self, Deduplicate};
use crate::error::{ErrorClass, Failure};
use crate::mapping::Plan;
use crate::sink::{Database, LedgerIdentity, Opening};

/// A pipeline whose database side is in order.
#[derive(Debug)]
pub struct Prepared {
    /// How to map its messages.
    pub plan: Arc<Plan>,
    /// The table as it was found: another one means another plan.
    pub table: Table,
    /// What weakens durability on this server.
    pub weaknesses: Vec<String>,
    /// The ledger has been emptied behind a marker that says it was used.
    pub ledger_emptied: bool,
}

/// Connects and checks table, columns, privileges and ledger on a connection of its own.
///
/// # Errors
/// `sink_unavailable` while the database is away, `sink_misconfigured` when it isn't as the
/// pipeline needs it.
pub async fn prepare(
    database: &dyn Database,
    config: &config::Database,
    pipeline: &config::Pipeline,
    opening: Opening,
) -> Result<Prepared, Failure> {
    // The server's own timeouts bound each statement; this fires when the link is dead.
    let deadline = config.connect_timeout * 2 + config.statement_timeout * 4;
    match tokio::time::timeout(deadline, check(database, config, pipeline, opening)).await {
        Ok(prepared) => prepared,
        Err(_) => {
            let message = "the database didn't answer the start's checks in time";
            Err(Failure::new(ErrorClass::SinkUnavailable, "deadline", message))
        }
    }
}

async fn check(
    database: &dyn Database,
    config: &config::Database,
    pipeline: &config::Pipeline,
    opening: Opening,
) -> Result<Prepared, Failure> {
    let mut session = database.connect().await?;
    let table = session.describe(&pipeline.table).await?;
    session.check_privileges(&pipeline.table).await?;
    let ledger = match pipeline.deduplicate {
        Deduplicate::Ledger => {
            let identity = LedgerIdentity {
                pipeline: pipeline.name.clone(),
                queue: pipeline.queue.clone(),
                table: pipeline.table.clone(),
            };
            Some(session.open_ledger(&config.ledger_table, &identity, opening).await?)
        }
        Deduplicate::Column(_) | Deduplicate::None => None,
    };
    let ledger_emptied = ledger.as_ref().is_some_and(|ledger| ledger.emptied);
    let plan = Plan::compile(pipeline, &table, ledger)?;
    session.probe_write(&plan.write).await?;
    let weaknesses = session.weaknesses().await?;
    session.close().await;
    Ok(Prepared { plan: Arc::new(plan), table, weaknesses, ledger_emptied })
}
