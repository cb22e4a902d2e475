//! `resume`: lets a paused pipeline go on.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::client::order;
use super::everywhere::{self, Order};
use super::exit::{CliError, Exit};
use super::output::Out;
use crate::config::Config;
use crate::nearest::no_such_pipeline;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The paused pipeline; with --all left out: every pipeline of the config
    #[arg(required_unless_present = "all")]
    pipeline: Option<String>,
    /// Lift what `pause --all` has ordered, on every replica
    #[arg(long, conflicts_with = "dead_letter")]
    all: bool,
    /// Dead-letter the messages that it paused for, as long as their cause lasts, instead of trying them again
    #[arg(long)]
    dead_letter: bool,
}

/// With --all takes the order for every replica back. Else tells the worker.
pub(super) async fn execute(config: &Config, args: &Args, out: &mut Out) -> Result<Exit, CliError> {
    let Some(pipeline) = args.pipeline.as_ref().filter(|_| !args.all) else {
        return everywhere::execute(config, args.pipeline.as_deref(), &Order::Resume, out).await;
    };
    if !config.pipelines.contains_key(pipeline) {
        return Err(CliError::usage(no_such_pipeline(pipeline, config.pipelines.keys().map(String::as_str))));
    }
    let name = utf8_percent_encode(pipeline, NON_ALPHANUMERIC);
    let path = format!("/pipelines/{name}/resume?dead_letter={}", args.dead_letter);
    let answer = order(config, &path, String::new()).await?.ok()?;
    match (out.json, args.dead_letter) {
        (true, _) => out.object(&answer),
        (false, false) => out.line(&format!("{} goes on and tries its messages again", pipeline)),
        (false, true) => out.line(&format!("{} goes on and dead-letters what it had paused for", pipeline)),
    }
    Ok(Exit::Done)
}
