//! `dlq import`: dead letters out of a file into their queue.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::distinct::Distinct;
use super::file::Lines;
use super::filter::{FilterArgs, owns};
use super::letter::Letter;
use super::rehearsal::Tally;
use super::store::{Acted, Fate, Store};
use crate::cli::exit::{CliError, Exit};
use crate::cli::output::{Out, complain};
use crate::config::{Config, Pipeline};
use crate::dead_letter;
use crate::message::Envelope;
use crate::rabbitmq::AT_ONCE;
use crate::shutdown::{Phase, Shutdown, reached};

/// Bytes of bodies that are published at a time.
const BYTES_AT_ONCE: usize = 32 << 20;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// Whose dead letters
    pub(super) pipeline: String,
    /// What `dlq export` or `dlq discard` has written, or - for stdin
    file: PathBuf,
    /// Publish nothing: say what would become of each if it were replayed now
    #[arg(long)]
    pub(super) dry_run: bool,
    #[command(flatten)]
    filter: FilterArgs,
}

/// The letters of a file that are asked for.
struct Reader<'a> {
    pipeline: &'a Pipeline,
    filter: &'a FilterArgs,
    /// `None` while they are read.
    lines: Option<Lines>,
    left: u64,
}

impl<'a> Reader<'a> {
    fn open(pipeline: &'a Pipeline, args: &'a Args) -> Result<Self, CliError> {
        let left = args.filter.limit.unwrap_or(u64::MAX);
        Ok(Reader { pipeline, filter: &args.filter, lines: Some(Lines::open(&args.file)?), left })
    }

    /// The next ones, `None` at the end. Whoever writes stdin may take their time: the broker's heartbeats
    /// go on meanwhile, and a signal is an end.
    async fn next(&mut self, mut shutdown: Shutdown) -> Result<Option<Vec<Letter>>, CliError> {
        let Some(lines) = self.lines.take().filter(|_| self.left > 0) else { return Ok(None) };
        let pipeline = self.pipeline.clone();
        let reading = tokio::task::spawn_blocking(move || batch(&pipeline, lines));
        let read = tokio::select! {
            read = reading => read.map_err(|_| CliError::failed("the file can't be read on"))?,
            () = reached(&mut shutdown, Phase::Drain) => return Ok(None),
        };
        let (lines, letters) = read?;
        if letters.is_empty() {
            return Ok(None);
        }
        self.lines = Some(lines);
        let most = usize::try_from(self.left).unwrap_or(usize::MAX);
        let taken: Vec<Letter> = letters.into_iter().filter(|letter| self.filter.matches(letter)).take(most).collect();
        self.left -= taken.len() as u64;
        Ok(Some(taken))
    }
}

/// The next letters of a file, each of which may go into the pipeline's queue.
fn batch(pipeline: &Pipeline, mut lines: Lines) -> Result<(Lines, Vec<Letter>), CliError> {
    let (mut letters, mut bytes) = (Vec::new(), 0);
    while letters.len() < AT_ONCE && bytes < BYTES_AT_ONCE {
        let Some(letter) = lines.next()? else { break };
        admitted(pipeline, &letter, &lines.place())?;
        bytes += letter.envelope.body.len();
        letters.push(letter);
    }
    Ok((lines, letters))
}

/// A letter of a file may go into the pipeline's queue.
fn admitted(pipeline: &Pipeline, letter: &Letter, place: &str) -> Result<(), CliError> {
    if owns(pipeline, &letter.info) {
        return Ok(());
    }
    let whose = letter.info.pipeline.as_deref().or(letter.info.queue.as_deref()).unwrap_or("another");
    Err(CliError::failed(format!("{place}: a dead letter of {whose}, not of {}; nothing was imported", pipeline.name)))
}

/// Reads every line of a file before the first is published. A stream can't be read twice.
fn check_file(pipeline: &Pipeline, path: &Path) -> Result<(), CliError> {
    if path == Path::new("-") {
        return Ok(());
    }
    let mut lines = Lines::open(path)?;
    while let Some(letter) = lines.next()? {
        admitted(pipeline, &letter, &lines.place())?;
    }
    Ok(())
}

/// Publishes the letters of a file into the dead-letter queue, where each replaces the one with
/// its ID. In between it stands there twice; done again, an import that was broken off ends well.
pub(super) async fn execute(
    store: &mut Store,
    config: &Config,
    pipeline: &Pipeline,
    args: &Args,
    out: &mut Out,
) -> Result<Exit, CliError> {
    args.filter.check()?;
    check_file(pipeline, &args.file)?;
    let mut reader = Reader::open(pipeline, args)?;
    if args.dry_run {
        return rehearse(store, config, pipeline, &mut reader, out).await;
    }
    store.begin().await?;
    let mark = store.mark();
    let mut ids = Distinct::default();
    let (mut imported, mut edited, mut replaced) = (0, 0, 0);
    while let Some(letters) = reader.next(store.shutdown()).await? {
        for letter in &letters {
            ids.is_new(&letter.info.id);
        }
        imported += letters.len() as u64;
        replaced += store.add(letters.into_iter().map(|letter| stamped(letter, &mut edited)).collect()).await?;
    }
    if store.interrupted() {
        complain("interrupted; the same import again replaces what is there by now");
        return Ok(Exit::Partly);
    }
    let ended = store
        .pass("replacing", AT_ONCE, async |_, letters| {
            let stale = |letter: &&Letter| letter.set.as_ref() != Some(&mark) && ids.has(&letter.info.id);
            let fates = letters.iter().map(|letter| {
                let gone = stale(letter) && owns(pipeline, &letter.info);
                replaced += u64::from(gone);
                if gone { Fate::Gone } else { Fate::Stay }
            });
            Acted::all(fates.collect())
        })
        .await?;
    if out.json {
        out.object(&json!({
            "pipeline": pipeline.name, "imported": imported, "replaced": replaced, "edited": edited,
        }));
    } else {
        out.line(&format!("{imported} imported, {edited} of them edited; they replace {replaced}"));
    }
    Ok(super::looked(ended))
}

/// An ID is the hash of a body, too: where it isn't, somebody has changed that.
fn stamped(letter: Letter, edited: &mut u64) -> Envelope {
    let info = &letter.info;
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let body = &letter.envelope.body;
    let id = dead_letter::id(&text(&info.pipeline), &text(&info.queue), &text(&info.message_id), body);
    if id == info.id {
        return letter.envelope;
    }
    *edited += 1;
    dead_letter::edited(&letter.envelope, body.clone(), jiff::Timestamp::now())
}

async fn rehearse(
    store: &mut Store,
    config: &Config,
    pipeline: &Pipeline,
    reader: &mut Reader<'_>,
    out: &mut Out,
) -> Result<Exit, CliError> {
    let mut tally = Tally::begin(config, pipeline).await?;
    while let Some(letters) = reader.next(store.shutdown()).await? {
        for letter in &letters {
            if store.interrupted() {
                break;
            }
            tally.add(letter).await?;
        }
    }
    if store.interrupted() {
        tally.interrupted();
    }
    Ok(tally.end(out).await)
}
