//! `resume`: lets a paused pipeline go on.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::client::{Running, order};
use super::everywhere::{self, Order, known};
use super::exit::{CliError, Exit};
use super::output::Out;
use crate::config::Config;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The paused pipeline; with --all left out: every pipeline of the config
    #[arg(required_unless_present = "all")]
    pipeline: Option<String>,
    /// Lift what `pause --all` has ordered, on every replica
    #[arg(long, conflicts_with = "dead_letter")]
    pub(super) all: bool,
    /// Dead-letter the messages that it paused for, as long as their cause lasts, instead of trying them again
    #[arg(long)]
    dead_letter: bool,
}

/// Takes the order for every replica back.
pub(super) async fn everywhere(config: &Config, args: &Args, out: &mut Out) -> Result<Exit, CliError> {
    everywhere::execute(config, args.pipeline.as_deref(), &Order::Resume, out).await
}

/// Tells the worker.
pub(super) async fn execute(running: &Running, args: &Args, out: &mut Out) -> Result<Exit, CliError> {
    let pipeline = args.pipeline.as_deref().unwrap_or_default();
    known(running.config.as_ref(), pipeline)?;
    let name = utf8_percent_encode(pipeline, NON_ALPHANUMERIC);
    let path = format!("/pipelines/{name}/resume?dead_letter={}", args.dead_letter);
    let answer = order(&running.admin, &path, String::new()).await?.ok()?;
    match (out.json, args.dead_letter) {
        (true, _) => out.object(&answer),
        (false, false) => out.line(&format!("{} goes on and tries its messages again", pipeline)),
        (false, true) => out.line(&format!("{} goes on and dead-letters what it had paused for", pipeline)),
    }
    Ok(Exit::Done)
}
