//! `pause`: a pipeline reads nothing until it is resumed.

use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::client::{ask, order};
use super::everywhere::{self, Order};
use super::exit::{CliError, Exit};
use super::output::Out;
use crate::config::Config;
use crate::nearest::no_such_pipeline;

/// Between two looks whether everything in hand is settled.
const LOOK: Duration = Duration::from_millis(100);

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The pipeline; with --all left out: every pipeline of the config
    #[arg(required_unless_present = "all")]
    pipeline: Option<String>,
    /// On every replica, restarts included, until `resume --all`: the order stands in the database
    #[arg(long)]
    all: bool,
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

/// With --all writes it down for every replica. Else tells the worker, and waits until nothing is in hand any more: at most `shutdown_timeout`.
pub(super) async fn execute(config: &Config, args: &Args, out: &mut Out) -> Result<Exit, CliError> {
    let by = args.by();
    let Some(name) = args.pipeline.as_ref().filter(|_| !args.all) else {
        let by = by.as_deref().unwrap_or("somebody");
        let order = Order::Pause { by, reason: &args.reason };
        return everywhere::execute(config, args.pipeline.as_deref(), &order, out).await;
    };
    if !config.pipelines.contains_key(name) {
        return Err(CliError::usage(no_such_pipeline(name, config.pipelines.keys().map(String::as_str))));
    }
    let path = format!("/pipelines/{}/pause", utf8_percent_encode(name, NON_ALPHANUMERIC));
    let body = json!({ "by": by, "reason": args.reason }).to_string();
    let mut answer = order(config, &path, body).await?.ok()?;
    let (done, left) = settled(config, name).await?;
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
async fn settled(config: &Config, name: &str) -> Result<(bool, u64), CliError> {
    let deadline = Instant::now() + config.worker.shutdown_timeout;
    loop {
        let report = ask(config, "/status").await?.ok()?;
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
