//! `dlq`: dead letters, looked at without wearing them out.

use std::ops::ControlFlow;

use super::exit::{CliError, Exit};
use super::output::Out;
use crate::config::{Config, Pipeline};
use crate::nearest::no_such_pipeline;

mod body;
mod headers;
mod letter;
mod list;
mod show;
mod source;

use letter::Letter;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// List a pipeline's dead letters
    List(ListArgs),
    /// Show one dead letter in full: its reason, properties, headers and body
    Show(ShowArgs),
}

#[derive(Debug, clap::Args)]
pub(super) struct ListArgs {
    /// Whose dead letters
    pipeline: String,
    /// How many at most
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
}

#[derive(Debug, clap::Args)]
pub(super) struct ShowArgs {
    /// Whose dead letter
    pipeline: String,
    /// Its ID, or the beginning of it, as `dlq list` prints it
    id: String,
}

/// Runs one of the subcommands.
pub(super) async fn execute(config: &Config, command: Command, out: &mut Out) -> Result<Exit, CliError> {
    match command {
        Command::List(args) => {
            let pipeline = pipeline(config, &args.pipeline)?;
            let limit = usize::try_from(args.limit).unwrap_or(usize::MAX);
            let mut rows = Vec::new();
            own_letters(config, pipeline, |letter| {
                if rows.len() < limit {
                    rows.push(letter.row);
                }
                if rows.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            })
            .await?;
            list::print(&rows, out);
            Ok(Exit::Done)
        }
        Command::Show(args) => {
            let pipeline = pipeline(config, &args.pipeline)?;
            let mut choice = show::Choice::new(&args.id)?;
            own_letters(config, pipeline, |letter| choice.offer(letter)).await?;
            show::print(&choice.one(&args.pipeline)?, out);
            Ok(Exit::Done)
        }
    }
}

fn pipeline<'a>(config: &'a Config, name: &str) -> Result<&'a Pipeline, CliError> {
    let known = || config.pipelines.keys().map(String::as_str);
    config.pipelines.get(name).ok_or_else(|| CliError::usage(no_such_pipeline(name, known())))
}

/// Hands the pipeline's own letters to `look`: pipelines may share a dead-letter queue. What
/// another program or the broker put there names no pipeline, and is shown for each.
async fn own_letters(
    config: &Config,
    pipeline: &Pipeline,
    mut look: impl FnMut(Letter) -> ControlFlow<()>,
) -> Result<(), CliError> {
    source::browse(config, pipeline, |letter| {
        let own = letter.row.pipeline.as_ref().is_none_or(|name| *name == pipeline.name);
        if own { look(letter) } else { ControlFlow::Continue(()) }
    })
    .await
}
