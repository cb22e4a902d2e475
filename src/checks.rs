//! What must hold before the first message is taken, and again before a pause ends: one list for
//! `check`, which changes nothing and tells all of it, and for the worker, which stops at what is
//! wrong.

mod broker;
mod columns;
mod database;
mod finding;
mod memory;

use std::sync::Arc;

use crate::catalogue::Table;
use crate::config::{self, Config};
use crate::error::{ErrorClass, Failure};
use crate::guarantee::{self, Assessment, Gap};
use crate::mapping::Plan;
use crate::sink::{self, Database, Opening, StoredPause};

pub use broker::look_at_queues;
pub use database::{Purpose, Side};
pub use finding::{Finding, Level};
pub use memory::memory;

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
    /// Every replica has been ordered to pause this pipeline.
    pub pause: Option<StoredPause>,
    /// What works and somebody should know, a sentence each.
    pub warnings: Vec<String>,
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
    let side = look_at_database(database, config, pipeline, Purpose::Start(opening)).await;
    let warnings = side.findings.iter().filter(|finding| finding.level == Level::Warning).map(Finding::sentence);
    let warnings = warnings.collect();
    if let Some(failure) = stopping(&side.findings) {
        return Err(failure);
    }
    match (side.plan, side.table) {
        (Some(plan), Some(table)) => Ok(Prepared {
            plan: Arc::new(plan),
            table,
            weaknesses: side.weaknesses,
            ledger_emptied: side.ledger_emptied,
            pause: side.pause,
            warnings,
        }),
        // Whatever has no plan has a finding that says why.
        _ => Err(Failure::new(ErrorClass::SinkMisconfigured, "columns", "the table can't be written to")),
    }
}

/// The database's side of a pipeline, within a deadline.
pub async fn look_at_database(
    database: &dyn Database,
    config: &config::Database,
    pipeline: &config::Pipeline,
    purpose: Purpose,
) -> Side {
    // The server's own timeouts bound each statement; this fires when the link is dead.
    let deadline = config.connect_timeout * 3 + config.statement_timeout * 4;
    match tokio::time::timeout(deadline, database::look(database, config, pipeline, purpose)).await {
        Ok(side) => side,
        Err(_) => {
            let message = "the database didn't answer the start's checks in time";
            Side::of(Finding::of("database", &Failure::new(ErrorClass::SinkUnavailable, "deadline", message)))
        }
    }
}

/// Clocks that differ by more mislead, microseconds.
const CLOCKS_APART: i64 = 30_000_000;

/// Another clock, in microseconds since 1970, beside ours.
fn clock(whose: &str, theirs: i64, why: &str) -> Finding {
    let apart = theirs.saturating_sub(jiff::Timestamp::now().as_microsecond());
    #[allow(clippy::cast_precision_loss)]
    let seconds = apart.saturating_abs() as f64 / 1e6;
    if apart.saturating_abs() <= CLOCKS_APART {
        return Finding::ok("clock", format!("{whose} is ours, give or take {seconds:.0} s"));
    }
    let way = if apart > 0 { "ahead of" } else { "behind" };
    Finding::warning("clock", format!("{whose} is {seconds:.0} s {way} ours")).todo(format!("set both by NTP: {why}"))
}

/// What keeps a pipeline from running, as one failure: the only one as it is, several together.
pub fn stopping(findings: &[Finding]) -> Option<Failure> {
    let stops: Vec<&Finding> = findings.iter().filter(|finding| finding.stops()).collect();
    let first = stops.first()?;
    let failure = first
        .failure
        .clone()
        .unwrap_or_else(|| Failure::new(ErrorClass::SinkMisconfigured, first.check, first.sentence()));
    if stops.len() == 1 {
        return Some(failure);
    }
    let told = |finding: &&Finding| match &finding.failure {
        Some(failure) => failure.message.to_string(),
        None => finding.sentence(),
    };
    let all: Vec<String> = stops.iter().map(told).collect();
    Some(Failure { message: all.join("; ").into(), ..failure })
}

/// Everything about one pipeline.
#[derive(Clone, Debug)]
pub struct Report {
    /// The pipeline's name.
    pub pipeline: String,
    /// In the order in which they were looked at.
    pub findings: Vec<Finding>,
    /// What it guarantees.
    pub guarantee: Assessment,
}

/// Checks one pipeline and changes nothing: the database, then the broker. Offline, no server is
/// asked.
pub async fn pipeline(config: &Config, pipeline: &config::Pipeline, offline: bool) -> Report {
    let mut findings = Vec::new();
    let (mut weaknesses, mut gaps, mut known) = (Vec::new(), Vec::new(), false);
    let broker = config.brokers.get(&pipeline.broker);
    let database = config.databases.get(&pipeline.database);
    if offline {
        let not = "not looked at (--offline)";
        findings.push(Finding::unknown("database", not));
        findings.push(Finding::unknown("broker", not));
    } else if let (Some(broker), Some(database)) = (broker, database) {
        let (on_database, on_broker) = tokio::join!(side(database, pipeline), broker::look(broker, pipeline));
        findings.extend(on_database.findings);
        weaknesses = on_database.weaknesses;
        findings.extend(on_broker.findings);
        (gaps, known) = (on_broker.gaps, on_broker.known);
    }
    let guarantee = match database {
        Some(database) => guarantee::assess(pipeline, database, &weaknesses, gaps, !known),
        None => Assessment::default(),
    };
    findings.extend(demanded(pipeline, &guarantee.gaps));
    Report { pipeline: pipeline.name.clone(), findings, guarantee }
}

async fn side(config: &config::Database, pipeline: &config::Pipeline) -> Side {
    match sink::open(config) {
        Ok(database) => look_at_database(&*database, config, pipeline, Purpose::Look).await,
        Err(failure) => Side::of(Finding::of("database", &failure)),
    }
}

/// What the pipeline demands and can't keep, with the remedies.
pub fn demanded(pipeline: &config::Pipeline, gaps: &[Gap]) -> Option<Finding> {
    if !pipeline.exactly_once || gaps.is_empty() {
        return None;
    }
    let what: Vec<&str> = gaps.iter().map(|gap| gap.what.as_str()).collect();
    let remedies: Vec<&str> = gaps.iter().map(|gap| gap.remedy.as_str()).collect();
    let text = format!("guarantee = \"exactly_once_effect\" can't be kept: {}", what.join("; "));
    Some(Finding::wrong("guarantee", text).todo(remedies.join("; ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_that_are_apart_are_told_by_how_much() {
        let now = jiff::Timestamp::now().as_microsecond();
        for (apart, level, text) in [
            (2, Level::Ok, "the broker's is ours, give or take 2 s"),
            (-29, Level::Ok, "give or take 29 s"),
            (3600, Level::Warning, "the broker's is 3600 s ahead of ours"),
            (-90, Level::Warning, "the broker's is 90 s behind ours"),
        ] {
            // Half a second to the side that rounding forgives, however slow this machine is now.
            let found = clock("the broker's", now + apart * 1_000_000 + 100_000, "why");
            assert!(found.level == level && found.text.contains(text), "{found:?}");
        }
    }
}
