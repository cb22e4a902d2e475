//! `dlq export`: dead letters into a file, without loss.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::file::Writer;
use super::filter::FilterArgs;
use super::store::{Acted, Store};
use crate::cli::escape::escape;
use crate::cli::exit::{CliError, Exit};
use crate::cli::output::Out;
use crate::config::Pipeline;
use crate::rabbitmq::AT_ONCE;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// Whose dead letters
    pub(super) pipeline: String,
    /// Where to: a new file, or - for stdout
    file: PathBuf,
    #[command(flatten)]
    filter: FilterArgs,
}

/// Writes letters to a file; they stay where they are.
pub(super) async fn execute(
    store: &mut Store,
    pipeline: &Pipeline,
    args: &Args,
    out: &mut Out,
) -> Result<Exit, CliError> {
    args.filter.check()?;
    let mut file = Writer::create(&args.file)?;
    let limit = args.filter.limit.unwrap_or(u64::MAX);
    let mut count = 0;
    let ended = store
        .pass("exporting", AT_ONCE, async |_, letters| {
            let mut written = Ok(());
            for letter in letters {
                if written.is_ok() && count < limit && args.filter.takes(pipeline, letter) {
                    written = file.write(letter);
                    count += 1;
                }
            }
            written.map_or_else(|error| Acted::failed(Vec::new(), error), |()| Acted::nothing())
        })
        .await?;
    file.sync()?;
    if args.file != Path::new("-") {
        let name = args.file.display().to_string();
        if out.json {
            out.object(&json!({ "pipeline": pipeline.name, "exported": count, "file": name }));
        } else {
            out.line(&escape(&format!("{count} exported to {name}")));
        }
    }
    Ok(super::looked(ended))
}
