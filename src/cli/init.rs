//! `init`: what a new setup needs: a config to start from, the table's DDL, the ledger's.

mod connections;
mod draft;
mod write;

use std::path::PathBuf;

use serde::Serialize;

use super::exit::{CliError, Exit};
use super::output::{Out, complain};
use super::source::next_messages;
use crate::catalogue::{Table, TableName};
use crate::config::{Config, Database};
use crate::error::{ErrorClass, Failure};
use crate::infer::{self, Field};
use crate::message::Envelope;
use crate::{sample, sink};
use connections::Connections;

#[derive(Debug, clap::Args)]
#[command(
    group = clap::ArgGroup::new("from").args(["table", "sample", "from_queue", "ledger"]).required(true).multiple(true),
    after_help = EXAMPLES
)]
pub(super) struct Args {
    /// The table to write to: its columns are looked up (not with --ddl, which makes it)
    #[arg(long)]
    table: Option<String>,
    /// A sample message: its body, or JSON with `properties` or `headers` and `body`; or a file with one such a line.
    /// May be given several times
    #[arg(long, value_name = "FILE")]
    sample: Vec<PathBuf>,
    /// Take this queue's next message (or --samples of them) as a sample and give it back, which costs it one delivery
    #[arg(long, value_name = "QUEUE")]
    from_queue: Option<String>,
    /// How many messages --from-queue takes, holds together and gives back together
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=500),
          requires = "from_queue")]
    samples: u16,
    /// The queue to read [default: that of --from-queue, else the table's name]
    #[arg(long)]
    queue: Option<String>,
    /// Print a CREATE TABLE with types inferred from the samples, instead of a config
    #[arg(long)]
    ddl: bool,
    /// Print the DDL of the ledger for that of --database, else for every configured database; for logins that may not
    /// create it
    #[arg(long, conflicts_with_all = ["ddl", "table", "sample", "from_queue"])]
    ledger: bool,
    /// The database's URL, where no config file and no environment says it
    #[arg(long, value_name = "URL")]
    database: Option<String>,
    /// The broker's URL, likewise
    #[arg(long, value_name = "URL")]
    rabbitmq: Option<String>,
}

const EXAMPLES: &str = "\
Examples, with --database URL and --rabbitmq URL where nothing else says them:
  rabbit-sink init --table orders --from-queue orders > rabbit-sink.toml
  rabbit-sink init --table orders --sample order.json > rabbit-sink.toml
  rabbit-sink init --table orders --sample order.json --ddl     a CREATE TABLE for such messages";

impl Args {
    /// It is about the config as it is, which must be complete.
    pub(super) fn needs_config(&self) -> bool {
        self.ledger && self.database.is_none()
    }
}

#[derive(Serialize)]
struct LedgerDdl<'a> {
    database: &'a str,
    ledger_table: String,
    ddl: &'a str,
}

/// Prints the ledger's DDL; connects to nothing.
pub(super) fn ledger(config: &Config, out: &mut Out) -> Result<Exit, CliError> {
    ledgers(config.databases.values(), out)
}

fn ledgers<'a>(databases: impl Iterator<Item = &'a Database>, out: &mut Out) -> Result<Exit, CliError> {
    for database in databases {
        let name = &database.name;
        let ddl = sink::open(database)?.ledger_ddl(&database.ledger_table);
        if out.json {
            out.object(&LedgerDdl {
                database: name,
                ledger_table: database.ledger_table.to_string(),
                ddl: ddl.trim_end(),
            });
        } else {
            // A comment in SQL, so that the whole output can be piped into the database's shell.
            out.line(&format!("-- [database] {name}\n{}", ddl.trim_end()));
        }
    }
    Ok(Exit::Done)
}

/// What is known of the pipeline to be.
struct Known {
    queue: String,
    table: TableName,
    samples: Vec<Envelope>,
    fields: Vec<Field>,
}

/// Prints a config, or a table's DDL.
pub(super) async fn execute(
    path: &std::path::Path,
    environment: Vec<(String, String)>,
    args: &Args,
    out: &mut Out,
) -> Result<Exit, CliError> {
    let connections = connections::read(path, environment, args.database.as_deref(), args.rabbitmq.as_deref())?;
    if args.ledger {
        return ledgers([&connections.database].into_iter(), out);
    }
    let table = match &args.table {
        Some(_) if !args.ddl => Some(look_at_table(&connections, args).await?),
        _ => None,
    };
    let known = known(&connections, args).await?;
    if args.ddl {
        if known.fields.is_empty() {
            return Err(CliError::usage("--ddl needs samples: --sample FILE, or --from-queue QUEUE"));
        }
        let ddl = draft::ddl(&known, &connections.database)?;
        if connections.somewhere().is_err() {
            complain("the types are SQLite's, as no database is named: --database URL, if it is another");
        }
        print(out, "ddl", &ddl);
        return Ok(Exit::Done);
    }
    let draft = match table {
        Some(Ok(table)) => draft::for_table(&known, &table, &connections.database)?,
        Some(Err(missing)) if known.fields.is_empty() => return Err(missing.into()),
        Some(Err(missing)) => {
            let made = "the config is for a table made of the samples, which `--ddl` prints";
            draft::for_samples(&known, vec![format!("{}\n  {made}", missing.message)])
        }
        None => draft::for_samples(&known, Vec::new()),
    };
    for remark in &draft.remarks {
        complain(remark);
    }
    let config = write::config(&draft, &known, &connections);
    for variable in write::passwords(&config) {
        complain(&format!(
            "the config takes a password from {variable}: before the next command, export {variable}='…'"
        ));
    }
    print(out, "config", &config);
    Ok(Exit::Done)
}

fn print(out: &mut Out, what: &str, text: &str) {
    match out.json {
        true => out.object(&serde_json::json!({ what: text })),
        false => out.line(text.trim_end()),
    }
}

async fn known(connections: &Connections, args: &Args) -> Result<Known, CliError> {
    let mut samples = Vec::new();
    for file in &args.sample {
        let bad = |error: String| CliError::usage(format!("{}: {error}", file.display()));
        let bytes = std::fs::read(file).map_err(|error| bad(error.to_string()))?;
        samples.extend(sample::envelopes(&bytes).map_err(bad)?);
    }
    if let Some(queue) = &args.from_queue {
        let taken = next_messages(&connections.broker, queue, "init", args.samples).await;
        let taken = taken.map_err(|error| connections.which_broker(error))?;
        if taken.is_empty() {
            if args.table.is_none() && samples.is_empty() {
                return Err(CliError::failed(format!("no message is ready in queue {queue}")));
            }
            complain(&format!("no message is ready in queue {queue}: going on without"));
        }
        samples.extend(taken);
    }
    let fields = infer::fields(&samples).map_err(CliError::usage)?;
    let queue = args.queue.clone().or_else(|| args.from_queue.clone());
    let name =
        args.table.clone().or_else(|| queue.as_deref().map(write::plain)).unwrap_or_else(|| "messages".to_owned());
    let table = table_name(&name);
    Ok(Known { queue: queue.unwrap_or_else(|| table.name.clone()), table, samples, fields })
}

fn table_name(name: &str) -> TableName {
    match name.split_once('.') {
        Some((schema, name)) => TableName { schema: Some(schema.to_owned()), name: name.to_owned() },
        None => TableName { schema: None, name: name.to_owned() },
    }
}

/// The table that is named, or that it isn't there. Looked at first: a name that is misspelt shall cost no message a
/// delivery.
async fn look_at_table(connections: &Connections, args: &Args) -> Result<Result<Table, Failure>, CliError> {
    connections.somewhere()?;
    let samples = !args.sample.is_empty() || args.from_queue.is_some();
    let name = table_name(args.table.as_deref().unwrap_or_default());
    match described(&connections.database, &name).await {
        Ok(table) => Ok(Ok(table)),
        Err(failure) if samples && MISSING.contains(&failure.code.as_ref()) => Ok(Err(failure)),
        Err(failure) => Err(failure.into()),
    }
}

/// The databases' codes for a table that isn't there, and for a file that would have it.
const MISSING: [&str; 4] = ["42P01", "1146", "no_such_table", "no_such_file"];

async fn described(database: &Database, table: &TableName) -> Result<Table, Failure> {
    let opened = sink::open(database)?;
    let look = async {
        let mut session = opened.connect_to_look().await?;
        let described = session.describe(table).await;
        session.close().await;
        described
    };
    match tokio::time::timeout(database.connect_timeout + database.statement_timeout, look).await {
        Ok(described) => described,
        Err(_) => Err(Failure::new(ErrorClass::SinkUnavailable, "deadline", "the database didn't answer in time")),
    }
}
