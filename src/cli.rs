//! What was typed: parsed, its command run, its end made an exit code. One file per command.
//!
//! Data goes to stdout, messages to stderr. A reader that closes stdout early ends the output,
//! never the work.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, Parser, Subcommand, ValueEnum};

use crate::config::{self, Config};
use crate::nearest::nearest;
use crate::telemetry::{self, LogFormat};

mod check;
mod client;
mod completions;
mod dlq;
pub mod escape;
mod everywhere;
pub mod exit;
mod explain;
mod health;
mod init;
mod man;
pub mod notify;
mod output;
mod pause;
mod reload;
mod resume;
mod run;
mod schema;
pub mod signals;
mod source;
mod status;
mod test;

use client::Running;
use exit::{CliError, Exit};
use output::Out;

/// Moves messages from RabbitMQ queues into SQL tables: nothing lost, nothing written twice.
#[derive(Debug, Parser)]
#[command(
    name = "rabbit-sink",
    version = concat!(env!("CARGO_PKG_VERSION"), env!("RABBIT_SINK_BUILD")),
    max_term_width = 100,
    subcommand_required = true
)]
#[command(after_help = "First steps:
  rabbit-sink init --table orders --from-queue orders \\
      --database URL --rabbitmq URL > rabbit-sink.toml
  export RABBIT_SINK_CONFIG=rabbit-sink.toml
  rabbit-sink check                          is everything as it must be?
  rabbit-sink explain orders --from-queue    what would the next message become?
  rabbit-sink run

Exit codes: 0 done, 1 failed, 2 config or usage, 3 broker or database not reachable, \
    4 the check found something wrong or a pipeline is paused, 5 done in part.")]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

const DEFAULT_CONFIG: &str = "config/rabbit-sink.toml";
/// Where these options stand in every command's help: behind its own.
const ALL_COMMANDS: &str = "For all commands";

#[derive(Debug, clap::Args)]
struct Global {
    /// The config file
    #[arg(
        long,
        global = true,
        help_heading = ALL_COMMANDS,
        value_name = "FILE",
        env = "RABBIT_SINK_CONFIG",
        hide_env_values = true,
        default_value = DEFAULT_CONFIG
    )]
    config: PathBuf,
    /// Data on stdout as JSON, an object a line
    #[arg(long, global = true, help_heading = ALL_COMMANDS)]
    json: bool,
    /// What is logged: error, warn, info, debug or trace, or a list such as info,rabbit_sink::pipeline=debug
    #[arg(long, global = true, help_heading = ALL_COMMANDS, value_name = "LEVEL", env = telemetry::LOG_VARIABLE, hide_env_values = true)]
    log_level: Option<String>,
    /// How log lines look [default: text on a terminal, json elsewhere]
    #[arg(long, global = true, help_heading = ALL_COMMANDS, value_name = "FORMAT")]
    log_format: Option<Format>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Move messages until told to stop: the worker
    Run(run::Args),
    /// Check config, broker and database against what the pipelines need; changes nothing
    Check(check::Args),
    /// Show step by step what one message would become; writes nothing
    Explain(explain::Args),
    /// Run cases out of files: a message in, a row or a rejection out; needs no server
    Test(test::Args),
    /// What the running worker does, and what it has done so far
    Status,
    /// Let a pipeline read nothing more until it is resumed
    Pause(pause::Args),
    /// Let a paused pipeline go on
    Resume(resume::Args),
    /// Exit with 0 if the running worker is alive, else with 1: for container health checks
    Health,
    /// Dead letters: look at them, mend them, send them back
    #[command(subcommand, after_help = dlq::MORNING_AFTER)]
    Dlq(Box<dlq::Command>),
    /// Print what a new setup needs: a config, a CREATE TABLE, the ledger's DDL
    Init(init::Args),
    /// Print the JSON Schema of the config file, for editors
    Schema,
    /// Print the completions for a shell
    Completions(completions::Args),
    /// Print the pipelines' names, for completions
    #[command(hide = true)]
    Pipelines,
    /// Print the manual page: rabbit-sink man | man -l -
    Man,
}

/// Runs the command that was typed.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) if error.kind() == ErrorKind::MissingSubcommand => {
            // The help, also where a variable of the environment counts as something that was typed.
            let help = command_of(std::env::args().skip(1)).render_help();
            write!(std::io::stderr(), "{help}").unwrap_or_default();
            return Exit::Usage.into();
        }
        Err(error) => {
            let error = suggest(error, std::env::args().skip(1));
            let failed = error.print().is_err() && error.use_stderr();
            // A closed stdout under `--help` is no failure; a closed stderr leaves nobody to tell.
            return if failed { Exit::Usage } else { exit::of_usage(&error) }.into();
        }
    };
    let mut out = Out::new(cli.global.json);
    let ended = execute(cli, &mut out);
    // What couldn't be printed isn't done, whatever the command says.
    let exit = match ended.and_then(|exit| out.finish().map(|()| exit)) {
        Ok(exit) => exit,
        Err(CliError { exit, message }) => {
            output::complain(&message);
            exit
        }
    };
    exit.into()
}

/// The command that these words name, as far as they name one.
fn command_of(typed: impl Iterator<Item = String>) -> clap::Command {
    let mut command = Cli::command();
    command.build();
    for word in typed {
        if let Some(inner) = command.find_subcommand(&word) {
            command = inner.clone();
        }
    }
    command
}

/// Names the nearest command where one isn't known: the parser's own measure misses swapped letters, and finds what
/// nobody meant.
fn suggest(mut error: clap::Error, typed: impl Iterator<Item = String>) -> clap::Error {
    let Some(ContextValue::String(wrong)) = error.get(ContextKind::InvalidSubcommand) else { return error };
    let wrong = wrong.clone();
    let command = command_of(typed.take_while(|word| *word != wrong));
    let near = nearest(&wrong, command.get_subcommands().map(clap::Command::get_name));
    if let Some(near) = near {
        error.insert(ContextKind::SuggestedSubcommand, ContextValue::Strings(vec![near.to_owned()]));
    }
    error
}

fn execute(cli: Cli, out: &mut Out) -> Result<Exit, CliError> {
    let format = cli.global.log_format.map(|format| match format {
        Format::Text => LogFormat::Text,
        Format::Json => LogFormat::Json,
    });
    telemetry::init(cli.global.log_level.as_deref(), format).map_err(CliError::usage)?;
    if let Command::Init(args) = &cli.command
        && !args.needs_config()
    {
        return one_task(init::execute(&cli.global.config, environment()?, args, out));
    }
    if matches!(cli.command, Command::Pipelines) {
        return Ok(completions::pipelines(&cli.global.config, out));
    }
    let path = &cli.global.config;
    let config = || load(path);
    match cli.command {
        Command::Run(args) => run::execute(path, config()?, args, out),
        Command::Check(args) => one_task(check::execute(&config()?, &args, out)),
        Command::Explain(args) => one_task(explain::execute(&config()?, &args, out)),
        Command::Test(args) => test::execute(&config()?, &args, out),
        Command::Status => of_running(path, |running| one_task(status::execute(&running.admin, out))),
        Command::Health => of_running(path, |running| one_task(health::execute(&running.admin, out))),
        Command::Pause(args) if args.all => one_task(pause::everywhere(&config()?, &args, out)),
        Command::Resume(args) if args.all => one_task(resume::everywhere(&config()?, &args, out)),
        Command::Pause(args) => of_running(path, |running| one_task(pause::execute(running, &args, out))),
        Command::Resume(args) => of_running(path, |running| one_task(resume::execute(running, &args, out))),
        Command::Dlq(command) => one_task(dlq::execute(&config()?, *command, &typed(path), out)),
        Command::Init(_) => init::ledger(&config()?, out),
        Command::Schema => schema::execute(out),
        Command::Pipelines => Ok(Exit::Done),
        Command::Completions(args) => completions::execute(Cli::command(), &args, out),
        Command::Man => man::execute(Cli::command(), out),
    }
}

fn load(path: &std::path::Path) -> Result<Config, CliError> {
    // Each mistake begins its own line, as compilers do it and editors understand it.
    let wrong = |errors| CliError::usage(format!("the config can't be used\n\n{errors}"));
    config::load(path, &environment()?).map_err(wrong)
}

/// Asks the worker that runs with this config, or gives it an order. Mistakes that stand in the file by now don't keep
/// from that: a reload has refused them, and the worker goes on.
fn of_running(path: &std::path::Path, ask: impl FnOnce(&Running) -> Result<Exit, CliError>) -> Result<Exit, CliError> {
    let environment = environment()?;
    let mistakes = match config::load(path, &environment) {
        Ok(config) => return ask(&Running { admin: config.admin.clone(), config: Some(config) }),
        Err(mistakes) => mistakes,
    };
    let unusable = |more: &str| CliError::usage(format!("the config can't be used\n\n{mistakes}{more}"));
    let admin = config::load_admin(path, &environment).map_err(|_| unusable(""))?;
    let exit = ask(&Running { admin, config: None }).map_err(|error| unusable(&format!("\n\n{}", error.message)))?;
    output::complain(
        "the config has mistakes by now: `rabbit-sink check` names them. The worker runs with the one from before",
    );
    Ok(exit)
}

/// How our commands are called where they would read the same config, for those that are suggested.
fn typed(config: &std::path::Path) -> String {
    let found = std::env::var_os("RABBIT_SINK_CONFIG").map_or_else(|| PathBuf::from(DEFAULT_CONFIG), PathBuf::from);
    if found == config {
        return "rabbit-sink".to_owned();
    }
    let path = config.display().to_string();
    let plain = path.chars().all(|char| char.is_ascii_alphanumeric() || "/._-+:@".contains(char));
    let path = if plain { path } else { format!("'{}'", path.replace('\'', "'\\''")) };
    format!("rabbit-sink --config {path}")
}

/// The environment as text. A variable that is meant for us and isn't UTF-8 would otherwise be
/// left out in silence, or be a slightly different password.
fn environment() -> Result<Vec<(String, String)>, CliError> {
    let mut variables = Vec::new();
    for (name, value) in std::env::vars_os() {
        match (name.into_string(), value.into_string()) {
            (Ok(name), Ok(value)) => variables.push((name, value)),
            (Ok(name), Err(_)) if name.to_ascii_uppercase().starts_with("RABBIT_SINK__") => {
                return Err(CliError::usage(format!("the environment variable {name} isn't UTF-8")));
            }
            _ => {}
        }
    }
    Ok(variables)
}

/// Runs what needs no second thread.
fn one_task(task: impl Future<Output = Result<Exit, CliError>>) -> Result<Exit, CliError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::failed(format!("the runtime can't be started: {error}")))?;
    let ended = runtime.block_on(task);
    runtime.shutdown_background();
    ended
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clap_finds_nothing_wrong() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_suggested_command_names_the_config_that_was_named() {
        let typed = |path: &str| typed(std::path::Path::new(path));
        assert_eq!(typed("shop.toml"), "rabbit-sink --config shop.toml");
        assert_eq!(typed("it's a shop.toml"), "rabbit-sink --config 'it'\\''s a shop.toml'");
    }

    #[test]
    fn global_options_stand_before_or_behind_the_command() {
        for line in [["rabbit-sink", "--json", "status"], ["rabbit-sink", "status", "--json"]] {
            assert!(Cli::try_parse_from(line).unwrap().global.json, "{line:?}");
        }
    }

    #[test]
    fn adopt_takes_several_pipelines() {
        let cli = Cli::try_parse_from(["rabbit-sink", "run", "--adopt", "a", "b", "--until-empty"]).unwrap();
        let Command::Run(args) = cli.command else { panic!("not run") };
        assert_eq!((args.adopt, args.until_empty), (vec!["a".to_owned(), "b".to_owned()], true));
    }
}
