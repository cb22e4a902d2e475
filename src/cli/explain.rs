//! `explain`: what one message becomes, step by step, without writing it.

mod told;

use std::io::Read;

use super::exit::{CliError, Exit};
use super::output::Out;
use super::source::next_messages;
use crate::catalogue::{Column, Kind, Table};
use crate::checks::{self, Finding, Level, Purpose, Side};
use crate::config::{self, Config, Deduplicate};
use crate::error::Failure;
use crate::mapping::Plan;
use crate::message::{Cell, Delivery, Envelope, Outcome};
use crate::nearest::no_such_pipeline;
use crate::plan::{Deduplication, Ledger, WritePlan};
use crate::sample;
use crate::sink::{self, Database};
use told::Told;

#[derive(Debug, clap::Args)]
#[command(override_usage = "rabbit-sink explain [OPTIONS] <PIPELINE> <FILE|-|--from-queue>", after_help = EXAMPLES)]
pub(super) struct Args {
    /// The pipeline
    pipeline: String,
    /// A message: its body, or JSON with what stands around it (below); - for stdin
    #[arg(required_unless_present = "from_queue")]
    file: Option<String>,
    /// Take the queue's next message and give it back, which costs it one delivery
    #[arg(long, conflicts_with = "file")]
    from_queue: bool,
    /// Also write it, in a transaction that is rolled back
    #[arg(long)]
    write: bool,
    /// FILE is a body, whatever it looks like
    #[arg(long)]
    body_only: bool,
}

const EXAMPLES: &str = "\
A message with what stands around it:
  { \"properties\": { \"message_id\": \"a-1\" }, \"headers\": { \"tenant\": \"north\" },
    \"body\": { \"order_id\": 1, \"price\": 9.50 } }
Also: exchange, routing_key, and body_base64 instead of body.

Exit codes: 0 a row, 4 a dead letter.";

/// Explains one message. 0: it would be written. 4: it would be dead-lettered.
pub(super) async fn execute(config: &Config, args: &Args, out: &mut Out) -> Result<Exit, CliError> {
    let Some(pipeline) = config.pipelines.get(&args.pipeline) else {
        return Err(CliError::usage(no_such_pipeline(&args.pipeline, config.pipelines.keys().map(String::as_str))));
    };
    let Some(database_config) = config.databases.get(&pipeline.database) else {
        return Err(CliError::usage(format!("there is no database {:?}", pipeline.database)));
    };
    let envelope = match &args.file {
        Some(file) => read(file, args.body_only)?,
        None => from_queue(config, pipeline).await?,
    };
    let database = sink::open(database_config)?;
    let side = checks::look_at_database(&*database, database_config, pipeline, Purpose::Look).await;
    let (plan, table, note) = plan(pipeline, &envelope, side)?;
    let steps = plan.plan.steps(pipeline, &envelope);
    let mapped =
        plan.plan.map(Delivery { tag: 0, arrived: tokio::time::Instant::now(), envelope: Box::new(envelope.clone()) });
    let mut told =
        Told { pipeline, envelope: &envelope, steps, table, note, sql: Vec::new(), rejected: None, rehearsed: None };
    match mapped {
        Err(refused) => told.rejected = Some(refused.1),
        Ok(unit) => {
            if plan.real {
                told.sql = transaction(&*database, &plan.plan.write, &unit);
            }
            if args.write {
                told.rehearsed = Some(rehearse(&*database, &plan, &unit).await?);
            }
        }
    }
    told.print(out);
    let rejected = told.rejected.is_some() || matches!(told.rehearsed, Some(Err(_) | Ok(Outcome::Rejected(_))));
    Ok(if rejected { Exit::Wrong } else { Exit::Done })
}

/// What would be sent for it, if its ID is new.
fn transaction(database: &dyn Database, plan: &WritePlan, unit: &crate::message::Unit) -> Vec<String> {
    let filled = |row: &crate::message::Row| {
        let there = |(at, cell): (usize, &Cell)| (*cell != Cell::Absent).then_some(at);
        row.0.iter().enumerate().filter_map(there).collect()
    };
    let rows: Vec<(usize, Vec<usize>)> =
        unit.changes.iter().map(|change| (change.target, filled(&change.row))).collect();
    database.transaction_sql(plan, &rows)
}

fn read(file: &str, body_only: bool) -> Result<Envelope, CliError> {
    let mut bytes = Vec::new();
    let done = match file {
        "-" => std::io::stdin().lock().read_to_end(&mut bytes).map(drop),
        path => std::fs::read(path).map(|read| bytes = read),
    };
    done.map_err(|error| CliError::usage(format!("{file} can't be read: {error}")))?;
    sample::envelope(&bytes, body_only).map_err(|error| CliError::usage(format!("{file}: {error}")))
}

async fn from_queue(config: &Config, pipeline: &config::Pipeline) -> Result<Envelope, CliError> {
    let Some(broker) = config.brokers.get(&pipeline.broker) else {
        return Err(CliError::usage(format!("there is no broker {:?}", pipeline.broker)));
    };
    let next = next_messages(broker, &pipeline.queue, &pipeline.name, 1).await?;
    match next.into_iter().next() {
        Some(envelope) => Ok(envelope),
        None => Err(CliError::failed(format!("no message is ready in queue {}", pipeline.queue))),
    }
}

/// A plan, and how much of it is the database's word.
struct Known {
    plan: Plan,
    /// The types are the table's.
    real: bool,
    /// The ledger is there.
    ledger: bool,
}

/// The plan for the table as it is; or, where that isn't known, for one that takes anything.
fn plan(
    pipeline: &config::Pipeline,
    envelope: &Envelope,
    side: Side,
) -> Result<(Known, Option<Table>, Option<String>), CliError> {
    if let (Some(plan), true) = (side.plan, side.table.is_some()) {
        let wrong: Vec<String> = side.findings.iter().filter(|found| found.stops()).map(Finding::sentence).collect();
        let note = (!wrong.is_empty()).then(|| wrong.join("; "));
        return Ok((Known { plan, real: true, ledger: side.ledger_open }, side.table, note));
    }
    let why: Vec<String> = side
        .findings
        .iter()
        .filter(|found| matches!(found.level, Level::Wrong | Level::Unreachable))
        .map(Finding::sentence)
        .collect();
    let table = stand_in(pipeline, envelope);
    let ledger = Ledger { table: pipeline.table.clone(), pipeline: 0, emptied: false };
    let mut lenient = pipeline.clone();
    if matches!(pipeline.deduplicate, Deduplicate::Column(_)) {
        lenient.deduplicate = Deduplicate::Ledger;
    }
    let plan = Plan::compile(&lenient, &table, Some(ledger)).map_err(CliError::from)?;
    let note = format!("the columns' types are not known, so nothing is refused for them: {}", why.join("; "));
    Ok((Known { plan, real: false, ledger: false }, None, Some(note)))
}

/// A table that has every column that could be filled, of any type.
fn stand_in(pipeline: &config::Pipeline, envelope: &Envelope) -> Table {
    let mut names: Vec<String> = match &pipeline.columns {
        Some(columns) => columns.iter().map(|mapping| mapping.column.clone()).collect(),
        None => serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(&envelope.body)
            .map(|fields| fields.into_iter().map(|(name, _)| name).collect())
            .unwrap_or_default(),
    };
    if let config::UnknownFields::Column(name) = &pipeline.unknown_fields {
        names.push(name.clone());
    }
    if names.is_empty() {
        // Nothing to map, and yet a plan, so that decoding and the ID are told.
        names.push("?".to_owned());
    }
    let column = |name: String| Column {
        name,
        sql_type: "?".to_owned(),
        kind: Kind::Any,
        nullable: true,
        has_default: true,
        generated: false,
    };
    Table { name: pipeline.table.clone(), columns: names.into_iter().map(column).collect(), unique_keys: Vec::new() }
}

async fn rehearse(
    database: &dyn Database,
    known: &Known,
    unit: &crate::message::Unit,
) -> Result<Result<Outcome, Failure>, CliError> {
    if !known.real {
        return Err(CliError::failed("--write needs the table, which can't be looked at"));
    }
    let mut write = (*known.plan.write).clone();
    if !known.ledger && matches!(write.deduplication, Deduplication::Ledger(_)) {
        write.deduplication = Deduplication::None;
    }
    let mut session = database.connect_to_look().await?;
    let outcome = session.rehearse(&write, &[unit]).await;
    session.close().await;
    Ok(outcome.map(|outcomes| outcomes.into_iter().next().unwrap_or(Outcome::Skipped)))
}
