//! `dlq`: dead letters, looked at without wearing them out, mended, and sent back.

use super::exit::{CliError, Exit};
use super::output::{Out, complain};
use crate::config::{Config, Pipeline};
use crate::nearest::no_such_pipeline;
use crate::shutdown::{Phase, reached};

mod body;
mod discard;
mod distinct;
mod edit;
mod export;
mod fate;
mod file;
mod filter;
mod headers;
mod import;
mod judge;
mod letter;
mod list;
mod pace;
mod progress;
mod rehearsal;
mod replay;
mod select;
mod show;
mod stats;
mod store;
mod table;

use filter::FilterArgs;
use store::{Ended, Store};

/// From a full dead-letter queue to an empty one, by `--help` alone.
pub(super) const MORNING_AFTER: &str = "\
The morning after:
  rabbit-sink dlq stats orders                              what died of what
  rabbit-sink dlq show orders ID                            one of them, and what is wrong with it
  (mend the table, the config or the publisher; or the letters: dlq edit, or export and import)
  rabbit-sink dlq replay orders --group GROUP --dry-run     would they be written now?
  rabbit-sink dlq replay orders --group GROUP --canary 5 --wait
  rabbit-sink dlq discard orders --group GROUP              what nobody wants, into an archive

Looking loses nothing and wears nothing out: each letter goes once around its queue. Only one
command works on a queue at a time. Ctrl-C ends it between two rounds; the same command again
takes up the rest.

Exit codes: 0 done, 1 nothing was done, 2 wrong config or command line, 3 broker or database not
reachable, 4 wrong setup of the database, 5 done in part.";

/// Any tool can mend what stands in a file.
const MEND_MANY: &str = "\
Mending many:
  rabbit-sink dlq export orders dead.ndjson --column quantity
  jq -c '.body |= (fromjson | .quantity = 1 | tojson)' dead.ndjson > mended.ndjson
  rabbit-sink dlq import orders mended.ndjson --dry-run     would they be written now?
  rabbit-sink dlq import orders mended.ndjson               in place of those that are there
  rabbit-sink dlq replay orders --column quantity --wait

Read back are id, properties, headers and body (body_base64 where it isn't UTF-8); the rest of a
line is for readers.";

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Dead letters by cause: how many, since when, and the command that would act on them
    Stats(LookArgs),
    /// List a pipeline's dead letters
    List(LookArgs),
    /// Show one dead letter in full, and what would become of it today
    Show(ShowArgs),
    /// Write dead letters to a file, an object a line, without loss
    #[command(after_help = MEND_MANY)]
    Export(export::Args),
    /// Publish the dead letters of a file; each replaces the one with its ID
    #[command(after_help = MEND_MANY)]
    Import(import::Args),
    /// Send dead letters back to the queue that they came from
    Replay(replay::Args),
    /// Change the body of one dead letter
    Edit(edit::Args),
    /// Take dead letters out of their queue, into an archive
    Discard(discard::Args),
}

#[derive(Debug, clap::Args)]
pub(super) struct LookArgs {
    /// Whose dead letters
    pipeline: String,
    #[command(flatten)]
    filter: FilterArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct ShowArgs {
    /// Whose dead letter
    pipeline: String,
    /// Its ID, or the beginning of it, as `dlq list` prints it
    id: String,
}

impl Command {
    fn name(&self) -> &'static str {
        match self {
            Command::Stats(_) => "stats",
            Command::List(_) => "list",
            Command::Show(_) => "show",
            Command::Export(_) => "export",
            Command::Import(_) => "import",
            Command::Replay(_) => "replay",
            Command::Edit(_) => "edit",
            Command::Discard(_) => "discard",
        }
    }

    fn pipeline(&self) -> &str {
        match self {
            Command::Stats(args) | Command::List(args) => &args.pipeline,
            Command::Show(args) => &args.pipeline,
            Command::Export(args) => &args.pipeline,
            Command::Import(args) => &args.pipeline,
            Command::Replay(args) => &args.pipeline,
            Command::Edit(args) => &args.pipeline,
            Command::Discard(args) => &args.pipeline,
        }
    }

    /// It does more than look.
    fn changes(&self) -> bool {
        match self {
            Command::Stats(_) | Command::List(_) | Command::Show(_) | Command::Export(_) => false,
            Command::Import(args) => !args.dry_run,
            Command::Replay(args) => !args.dry_run,
            Command::Edit(_) | Command::Discard(_) => true,
        }
    }

    /// What is wrong with it can be said before anything connects.
    fn check(&self) -> Result<(), CliError> {
        match self {
            Command::Show(args) => show::Choice::new(&args.id).map(|_| ()),
            Command::Import(args) => args.filter.check(),
            _ => Ok(()),
        }
    }
}

/// Runs one of the subcommands. The first signal ends it between two rounds, the second at once:
/// in either case each letter stands in its queue or has gone where it was to go.
///
/// `program` is how `rabbit-sink` is called in commands that are suggested.
pub(super) async fn execute(config: &Config, command: Command, program: &str, out: &mut Out) -> Result<Exit, CliError> {
    let pipeline = pipeline(config, command.pipeline())?;
    command.check()?;
    let mut shutdown = super::signals::listen()
        .map_err(|error| CliError::failed(format!("signals can't be listened for: {error}")))?;
    let mut aborted = shutdown.clone();
    let input = match &command {
        Command::Import(args) => Some(import::Input::read(pipeline, args, shutdown.clone()).await?),
        _ => None,
    };
    let work = Work { config, pipeline, program, input };
    let mut store = tokio::select! {
        opened = Store::open(config, pipeline, command.name(), command.changes(), shutdown.clone()) => opened?,
        () = reached(&mut shutdown, Phase::Drain) => {
            complain("interrupted before anything was looked at");
            return Ok(Exit::Failed);
        }
    };
    let run = work.run(&command, &mut store, out);
    let ended = tokio::select! {
        ended = run => ended,
        () = reached(&mut aborted, Phase::Abort) => {
            complain("stopped at once; letters that were in hand stay where they were");
            return Ok(Exit::Failed);
        }
    };
    store.close().await;
    ended
}

/// What a command works with, beside the letters.
struct Work<'a> {
    config: &'a Config,
    pipeline: &'a Pipeline,
    program: &'a str,
    /// Of `import` alone.
    input: Option<import::Input>,
}

impl Work<'_> {
    async fn run(&self, command: &Command, store: &mut Store, out: &mut Out) -> Result<Exit, CliError> {
        let Work { config, pipeline, program, input } = self;
        match command {
            Command::Stats(args) => stats::execute(store, pipeline, &args.filter, program, out).await,
            Command::List(args) => list::execute(store, pipeline, &args.filter, out).await,
            Command::Show(args) => show::execute(store, config, pipeline, &args.id, out).await,
            Command::Export(args) => export::execute(store, pipeline, args, out).await,
            Command::Import(args) => import::execute(store, config, pipeline, (args, input.as_ref()), out).await,
            Command::Replay(args) => replay::execute(store, config, pipeline, args, out).await,
            Command::Edit(args) => edit::execute(store, config, pipeline, args, program, out).await,
            Command::Discard(args) => discard::execute(store, pipeline, args, out).await,
        }
    }
}

fn pipeline<'a>(config: &'a Config, name: &str) -> Result<&'a Pipeline, CliError> {
    let known = || config.pipelines.keys().map(String::as_str);
    config.pipelines.get(name).ok_or_else(|| CliError::usage(no_such_pipeline(name, known())))
}

/// How a look ends that was broken off: what it printed isn't all.
fn looked(ended: Ended) -> Exit {
    match ended {
        Ended::Complete => Exit::Done,
        Ended::Interrupted => {
            complain("interrupted: not all letters were seen");
            Exit::Partly
        }
    }
}
