//! `dlq import`: dead letters out of a file into their queue.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek};
use std::os::unix::fs::OpenOptionsExt;
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
    pub(super) filter: FilterArgs,
}

/// A file every line of which has been read: nothing is published of one that has a mistake.
pub(super) struct Input {
    file: File,
    name: String,
}

impl Input {
    /// Reads before anything is connected or locked: who writes a pipe may need the lock, as
    /// `dlq export … - | jq … | dlq import … -` does. A signal is an end.
    pub(super) async fn read(pipeline: &Pipeline, args: &Args, mut shutdown: Shutdown) -> Result<Self, CliError> {
        let (path, pipeline) = (args.file.clone(), pipeline.clone());
        let reading = tokio::task::spawn_blocking(move || {
            let input = Input::open(&path)?;
            let mut lines = input.lines()?;
            while let Some(letter) = lines.next()? {
                admitted(&pipeline, &letter, &lines.place())?;
            }
            Ok(input)
        });
        tokio::select! {
            read = reading => read.map_err(|_| CliError::failed("the file can't be read"))?,
            () = reached(&mut shutdown, Phase::Drain) => Err(CliError::failed("interrupted before anything was imported")),
        }
    }

    /// What can't be read twice is copied first.
    fn open(path: &Path) -> Result<Self, CliError> {
        let name = if path == Path::new("-") { "stdin".to_owned() } else { path.display().to_string() };
        let wrong = |error: io::Error| CliError::usage(format!("{name} can't be read: {error}"));
        let file = match path == Path::new("-") {
            true => copy(io::stdin().lock()),
            false => File::open(path).and_then(|file| if file.metadata()?.is_file() { Ok(file) } else { copy(file) }),
        };
        Ok(Input { file: file.map_err(wrong)?, name })
    }

    /// From the beginning.
    fn lines(&self) -> Result<Lines, CliError> {
        let file = self.file.try_clone().and_then(|mut file| file.rewind().map(|()| file));
        let file = file.map_err(|error| CliError::failed(format!("{}: {error}", self.name)))?;
        Ok(Lines::new(file, &self.name))
    }
}

/// In a file without a name, which nobody else can read and which goes with us.
fn copy(mut from: impl Read) -> io::Result<File> {
    let path = std::env::temp_dir().join(format!("rabbit-sink-import-{}", std::process::id()));
    let mut options = OpenOptions::new();
    let mut file = options.read(true).write(true).create_new(true).mode(0o600).open(&path)?;
    std::fs::remove_file(&path)?;
    io::copy(&mut from, &mut file)?;
    Ok(file)
}

/// The letters of an input that are asked for, batch by batch.
struct Reader<'a> {
    filter: &'a FilterArgs,
    lines: Lines,
    left: u64,
}

impl<'a> Reader<'a> {
    fn new(input: &Input, filter: &'a FilterArgs) -> Result<Self, CliError> {
        Ok(Reader { filter, lines: input.lines()?, left: filter.limit.unwrap_or(u64::MAX) })
    }

    /// The next ones; none at the end.
    fn next(&mut self) -> Result<Vec<Letter>, CliError> {
        let (mut letters, mut bytes) = (Vec::new(), 0);
        while self.left > 0 && letters.len() < AT_ONCE && bytes < BYTES_AT_ONCE {
            let Some(letter) = self.lines.next()? else { break };
            if self.filter.matches(&letter) {
                self.left -= 1;
                bytes += letter.envelope.body.len();
                letters.push(letter);
            }
        }
        Ok(letters)
    }
}

/// A letter of a file may go into the pipeline's queue.
fn admitted(pipeline: &Pipeline, letter: &Letter, place: &str) -> Result<(), CliError> {
    if owns(pipeline, &letter.info) {
        return Ok(());
    }
    let whose = letter.info.pipeline.as_deref().or(letter.info.queue.as_deref()).unwrap_or("another");
    Err(CliError::failed(format!("{place}: a dead letter of {whose}, not of {}; nothing was imported", pipeline.name)))
}

/// Publishes the letters of a file into the dead-letter queue, where each replaces the one with
/// its ID. In between it stands there twice; done again, an import that was broken off ends well.
pub(super) async fn execute(
    store: &mut Store,
    config: &Config,
    pipeline: &Pipeline,
    (args, input): (&Args, Option<&Input>),
    out: &mut Out,
) -> Result<Exit, CliError> {
    let Some(input) = input else { return Err(CliError::failed("there is nothing to import")) };
    let mut reader = Reader::new(input, &args.filter)?;
    if args.dry_run {
        return rehearse(store, config, pipeline, &mut reader, out).await;
    }
    store.begin().await?;
    let mark = store.mark();
    let mut ids = Distinct::default();
    let (mut imported, mut edited, mut replaced) = (0, 0, 0);
    loop {
        let letters = reader.next()?;
        if letters.is_empty() || store.interrupted() {
            break;
        }
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
    loop {
        let letters = reader.next()?;
        if letters.is_empty() || store.interrupted() {
            break;
        }
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
