//! `dlq discard`: dead letters out of their queue, into an archive.

use std::path::PathBuf;

use serde_json::json;

use super::file::{Writer, archive_name};
use super::filter::FilterArgs;
use super::select;
use super::store::{Acted, Ended, Fate, Store};
use crate::cli::escape::escape;
use crate::cli::exit::{CliError, Exit};
use crate::cli::output::{Out, complain};
use crate::config::Pipeline;
use crate::rabbitmq::AT_ONCE;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// Whose dead letters
    pub(super) pipeline: String,
    /// Where they are written to first, for `dlq import` [default: PIPELINE-discarded-TIME.ndjson]
    #[arg(long, value_name = "FILE")]
    archive: Option<PathBuf>,
    /// Keep no archive: they are gone for good
    #[arg(long, conflicts_with = "archive")]
    no_archive: bool,
    /// Don't ask
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    filter: FilterArgs,
}

pub(super) async fn execute(
    store: &mut Store,
    pipeline: &Pipeline,
    args: &Args,
    out: &mut Out,
) -> Result<Exit, CliError> {
    let Some(set) = select::fix(store, pipeline, &args.filter, |_| true).await? else {
        complain("interrupted before anything was discarded");
        return Ok(Exit::Failed);
    };
    let archive = (!args.no_archive).then(|| args.archive.clone().unwrap_or_else(|| archive_name(&pipeline.name)));
    let name = archive.as_ref().map(|path| path.display().to_string());
    let kept = name.as_ref().map_or_else(|| "without an archive".to_owned(), |name| format!("archive: {name}"));
    let question = format!("{} dead letters of {} are discarded, {kept}. Go on?", set.count, pipeline.name);
    if set.count > 0 && !select::confirmed(args.yes, &question, store.shutdown()).await? {
        complain("nothing was discarded");
        return Ok(Exit::Failed);
    }
    let mut file = match &archive {
        Some(path) if set.count > 0 => Some(Writer::create(path)?),
        _ => None,
    };
    // Those that are in the archive and leave the queue when their round is settled.
    let (mut discarded, mut leaving) = (0, 0);
    let passed = store
        .pass("discarding", AT_ONCE, async |_, letters| {
            discarded += std::mem::take(&mut leaving);
            let mut fates = Vec::with_capacity(letters.len());
            for letter in letters {
                let chosen = set.has(letter);
                if let (true, Some(file)) = (chosen, file.as_mut())
                    && let Err(error) = file.write(letter)
                {
                    return Acted::failed(Vec::new(), error);
                }
                fates.push(if chosen { Fate::Gone } else { Fate::Stay });
            }
            // On the disk before they leave the queue.
            match file.as_mut().map_or(Ok(()), Writer::sync) {
                Ok(()) => {
                    leaving = fates.iter().filter(|fate| matches!(fate, Fate::Gone)).count() as u64;
                    Acted::all(fates)
                }
                Err(error) => Acted::failed(Vec::new(), error),
            }
        })
        .await;
    if passed.is_ok() {
        discarded += leaving;
    }
    let interrupted = matches!(passed, Ok(Ended::Interrupted));
    if out.json {
        out.object(&json!({
            "pipeline": pipeline.name, "chosen": set.count, "discarded": discarded, "archive": name,
            "interrupted": interrupted,
        }));
    } else {
        let kept = name.filter(|_| discarded > 0).map(|name| format!("; archive: {name}")).unwrap_or_default();
        out.line(&escape(&format!("{discarded} of {} discarded{kept}", set.count)));
    }
    match passed {
        Err(error) if discarded > 0 => Err(CliError { exit: Exit::Partly, ..error }),
        Err(error) => Err(error),
        Ok(_) if discarded == set.count => Ok(Exit::Done),
        Ok(_) => Ok(Exit::Partly),
    }
}
