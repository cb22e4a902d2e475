//! `pause`: a pipeline reads nothing until it is resumed.

use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::client::{Running, ask, order};
use super::everywhere::{self, Order, known};
use super::exit::{CliError, Exit};
use super::output::Out;
use crate::config::{Admin, Config};

/// Between two looks whether everything in hand is settled.
const LOOK: Duration = Duration::from_millis(100);
/// Where the file doesn't say what `shutdown_timeout` is.
const PATIENCE: Duration = Duration::from_secs(25);

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The pipeline; with --all left out: every pipeline of the config
    #[arg(required_unless_present = "all")]
    pipeline: Option<String>,
    /// On every replica, restarts included, until `resume --all`: the order stands in the database
    #[arg(long)]
    pub(super) all: bool,
    /// Why: shown by `status`, in logs and metrics
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
    /// Who you are [default: the user's name]
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
}

impl Args {
    /// Who gives the order; a user that `sudo` was called by rather than root.
    fn by(&self) -> Option<String> {
        let named = |variable| std::env::var(variable).ok().filter(|name: &String| !name.is_empty());
        self.by.clone().or_else(|| named("SUDO_USER")).or_else(|| named("USER")).or_else(|| named("LOGNAME"))
    }
}

/// Writes it down for every replica.
pub(super) async fn everywhere(config: &Config, args: &Args, out: &mut Out) -> Result<Exit, CliError> {
    let by = args.by();
    let order = Order::Pause { by: by.as_deref().unwrap_or("somebody"), reason: &args.reason };
    everywhere::execute(config, args.pipeline.as_deref(), &order, out).await
}

/// Tells the worker, and waits until nothing is in hand any more: at most `shutdown_timeout`.
pub(super) async fn execute(running: &Running, args: &Args, out: &mut Out) -> Result<Exit, CliError> {
    let (by, admin, config) = (args.by(), &running.admin, running.config.as_ref());
    let name = args.pipeline.as_deref().unwrap_or_default();
    known(config, name)?;
    let path = format!("/pipelines/{}/pause", utf8_percent_encode(name, NON_ALPHANUMERIC));
    let body = json!({ "by": by, "reason": args.reason }).to_string();
    let mut answer = order(admin, &path, body).await?.ok()?;
    let patience = config.map_or(PATIENCE, |config| config.worker.shutdown_timeout);
    let (done, left) = settled(admin, name, patience).await?;
    if out.json {
        (answer["done"], answer["unsettled"]) = (done.into(), left.into());
        out.object(&answer);
    } else if done {
        out.line(&format!("{name} is paused, and nothing of it is in hand"));
    } else {
        out.line(&format!(
            "{name} pauses, with {left} messages still in hand: `rabbit-sink status` shows when it is done"
        ));
    }
    Ok(if done { Exit::Done } else { Exit::Partly })
}

/// Whether all consumers have come to rest before the patience is over, and how many messages are in hand.
async fn settled(admin: &Admin, name: &str, patience: Duration) -> Result<(bool, u64), CliError> {
    let deadline = Instant::now() + patience;
    loop {
        let report = ask(admin, "/status").await?.ok()?;
        let pipelines = report.get("pipelines").and_then(Value::as_array);
        let pipeline = pipelines.and_then(|all| all.iter().find(|one| one["pipeline"] == *name));
        let Some(pipeline) = pipeline else {
            return Err(CliError::failed(format!("the worker has no pipeline {name} any more")));
        };
        let paused = pipeline["consumers"].as_array().is_some_and(|all| all.iter().all(|one| one["state"] == "paused"));
        let left = pipeline["unsettled"].as_u64().unwrap_or_default();
        let done = paused && left == 0;
        if done || Instant::now() >= deadline {
            return Ok((done, left));
        }
        tokio::time::sleep(LOOK).await;
    }
}
