//! `pause --all` and `resume --all`: orders for every replica, which stand in the pipelines' databases.
//! No worker is asked: one that starts tomorrow obeys, too.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;

use super::escape::escape;
use super::exit::{CliError, Exit};
use super::output::{Out, complain};
use crate::config::{self, Config};
use crate::error::{ErrorClass, Failure};
use crate::nearest::no_such_pipeline;
use crate::sink::{self, PauseTable, StoredPause};
use crate::status::{Pause, Scope};

/// Who orders what.
pub(super) enum Order<'a> {
    Pause { by: &'a str, reason: &'a str },
    Resume,
}

/// Whether the config has a pipeline of this name. Where it can't be read, the worker knows.
pub(super) fn known(config: Option<&Config>, name: &str) -> Result<(), CliError> {
    match config {
        Some(config) if !config.pipelines.contains_key(name) => {
            Err(CliError::usage(no_such_pipeline(name, config.pipelines.keys().map(String::as_str))))
        }
        _ => Ok(()),
    }
}

/// Gives an order for one pipeline, or for all of the config. Done in part where a database can't be asked.
pub(super) async fn execute(
    config: &Config,
    pipeline: Option<&str>,
    order: &Order<'_>,
    out: &mut Out,
) -> Result<Exit, CliError> {
    if let Some(name) = pipeline {
        known(Some(config), name)?;
    }
    let chosen = config.pipelines.values().filter(|one| pipeline.is_none_or(|name| one.name == name));
    let mut databases: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for one in chosen {
        databases.entry(&one.database).or_default().push(&one.name);
    }
    let (mut done, mut first) = (false, None);
    for (name, pipelines) in databases {
        let Some(database) = config.databases.get(name) else { continue };
        match within(database, give(database, &pipelines, order)).await {
            Ok(lines) => {
                done = true;
                told(config, lines, order, out);
            }
            Err(failure) => {
                complain(&format!("database \"{name}\": {}: {failure}", pipelines.join(", ")));
                first.get_or_insert(failure);
            }
        }
    }
    match first {
        None => Ok(Exit::Done),
        Some(_) if done => Ok(Exit::Partly),
        Some(failure) => Err(CliError { message: "no pipeline has got the order".to_owned(), ..failure.into() }),
    }
}

/// What became of each pipeline: the order that holds, or that held.
type Lines = Vec<(String, Option<Pause>)>;

async fn give(database: &config::Database, pipelines: &[&str], order: &Order<'_>) -> Result<Lines, Failure> {
    let mut session = sink::open(database)?.connect().await?;
    let given = match session.pauses(&database.ledger_table) {
        Some(mut table) => write(&mut *table, pipelines, order).await,
        None => Err(Failure::new(ErrorClass::Config, "no_orders", "no orders can be kept in this database")),
    };
    session.close().await;
    given
}

async fn write(table: &mut dyn PauseTable, pipelines: &[&str], order: &Order<'_>) -> Result<Lines, Failure> {
    match order {
        Order::Pause { by, reason } => {
            let pause = Pause::new(Scope::All, by, reason, jiff::Timestamp::now());
            let row = |name: &&str| StoredPause {
                pipeline: (*name).to_owned(),
                by: pause.by.clone(),
                reason: pause.reason.clone(),
                since: pause.since,
            };
            table.put(&pipelines.iter().map(row).collect::<Vec<_>>()).await?;
            Ok(pipelines.iter().map(|name| ((*name).to_owned(), Some(pause.clone()))).collect())
        }
        Order::Resume => {
            let before = table.read().await?.unwrap_or_default();
            table.remove(pipelines).await?;
            let was = |name: &&str| {
                let row = before.iter().find(|row| row.pipeline == **name)?;
                Some(Pause::new(Scope::All, &row.by, &row.reason, row.since))
            };
            Ok(pipelines.iter().map(|name| ((*name).to_owned(), was(name))).collect())
        }
    }
}

/// The server's own timeouts bound each statement; this fires when the link is dead.
async fn within(
    database: &config::Database,
    giving: impl Future<Output = Result<Lines, Failure>>,
) -> Result<Lines, Failure> {
    let deadline: Duration = database.connect_timeout + database.statement_timeout;
    match tokio::time::timeout(deadline, giving).await {
        Ok(given) => given,
        Err(_) => {
            let message = format!("no answer within {} s: it isn't known whether the order stands", deadline.as_secs());
            Err(Failure::new(ErrorClass::SinkUnavailable, "deadline", message))
        }
    }
}

fn told(config: &Config, lines: Lines, order: &Order<'_>, out: &mut Out) {
    let poll = config::show_duration(config.worker.pause_poll);
    for (name, pause) in lines {
        let report = pause.as_ref().map(crate::admin::PauseReport::of);
        let line = match (order, &pause) {
            (Order::Pause { .. }, Some(pause)) => {
                format!("{name} is {pause}; running workers obey within {poll}, others at their start")
            }
            (Order::Resume, Some(was)) => format!("{name} goes on, on every replica within {poll}; it was {was}"),
            (_, None) => format!("{name} was not paused by --all"),
        };
        match (out.json, order) {
            (true, Order::Pause { .. }) => out.object(&json!({ "pipeline": name, "paused": report })),
            (true, Order::Resume) => out.object(&json!({ "pipeline": name, "resumed": report })),
            (false, _) => out.line(&escape(&line)),
        }
    }
}
