//! `resume`: lets a paused pipeline go on.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::client::order;
use super::exit::{CliError, Exit};
use super::output::Out;
use crate::config::Config;
use crate::nearest::no_such_pipeline;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The paused pipeline
    pipeline: String,
    /// Dead-letter the messages that it paused for, as long as their cause lasts, instead of trying them again
    #[arg(long)]
    dead_letter: bool,
}

/// Tells the worker.
pub(super) async fn execute(config: &Config, args: &Args, out: &mut Out) -> Result<Exit, CliError> {
    if !config.pipelines.contains_key(&args.pipeline) {
        return Err(CliError::usage(no_such_pipeline(&args.pipeline, config.pipelines.keys().map(String::as_str))));
    }
    let name = utf8_percent_encode(&args.pipeline, NON_ALPHANUMERIC);
    let path = format!("/pipelines/{name}/resume?dead_letter={}", args.dead_letter);
    let answer = order(config, &path, String::new()).await?.ok()?;
    match (out.json, args.dead_letter) {
        (true, _) => out.object(&answer),
        (false, false) => out.line(&format!("{} goes on and tries its messages again", args.pipeline)),
        (false, true) => out.line(&format!("{} goes on and dead-letters what it had paused for", args.pipeline)),
    }
    Ok(Exit::Done)
}
