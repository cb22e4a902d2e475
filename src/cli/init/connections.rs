//! Which broker and database a new config is for: as options, environment or an unfinished file say.

use std::path::Path;

use crate::cli::exit::{CliError, Exit};
use crate::config::{self, Broker, Database, load_str};

/// Where the config is looked for when nobody says where.
pub(in crate::cli) const DEFAULT_PATH: &str = "config/rabbit-sink.toml";

/// The database of a config that names none.
const DEFAULT_FILE: &str = "rabbit-sink.db";

/// What stands in for a pipeline, without which no config is complete.
const STAND_IN: &str = "\n[pipelines.init]\nqueue = \"init\"\ntable = \"init\"\n";

/// Both, and whose word it is.
pub(super) struct Connections {
    pub broker: Broker,
    pub database: Database,
    /// A variable of the environment says it, and will say so to `run`, too.
    pub broker_from_environment: bool,
    pub database_from_environment: bool,
    /// Nothing says it: it is the one that a config without a word has.
    database_by_default: bool,
    broker_by_default: bool,
}

impl Connections {
    /// That there is a database to look at: nobody named one, and the default's file isn't there.
    ///
    /// # Errors
    /// How to name one.
    pub(super) fn somewhere(&self) -> Result<(), CliError> {
        if !self.database_by_default || Path::new(DEFAULT_FILE).exists() {
            return Ok(());
        }
        Err(CliError::usage(format!(
            "which database? Give --database postgres://USER:PASSWORD@HOST/DATABASE (or mysql://, sqlite://FILE), or set \
             RABBIT_SINK__DATABASE__URL; {DEFAULT_FILE}, the default, isn't there"
        )))
    }
}

impl Connections {
    /// What to do where the broker isn't reached.
    pub(super) fn which_broker(&self, mut error: CliError) -> CliError {
        if self.broker_by_default && error.exit == Exit::Unreachable {
            error.message.push_str(
                "; which broker? Give --rabbitmq amqp://USER:PASSWORD@HOST/VHOST, or set RABBIT_SINK__RABBITMQ__URL",
            );
        }
        error
    }
}

/// Reads what there is. A file that isn't there by default, or is empty (since the shell has just
/// made it for our output), says nothing.
pub(super) fn read(
    path: &Path,
    mut environment: Vec<(String, String)>,
    database: Option<&str>,
    broker: Option<&str>,
) -> Result<Connections, CliError> {
    let set = |name: &str| environment.iter().any(|(key, _)| key.eq_ignore_ascii_case(name));
    let broker_from_environment = broker.is_none() && set("RABBIT_SINK__RABBITMQ__URL");
    let database_from_environment = database.is_none() && set("RABBIT_SINK__DATABASE__URL");
    for (key, given) in [("RABBIT_SINK__DATABASE__URL", database), ("RABBIT_SINK__RABBITMQ__URL", broker)] {
        if let Some(url) = given {
            environment.retain(|(name, _)| !name.eq_ignore_ascii_case(key));
            environment.push((key.to_owned(), url.to_owned()));
        }
    }
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(_) if path == Path::new(DEFAULT_PATH) => String::new(),
        // Says what is the matter, as for every other command.
        Err(_) => {
            let told = config::load(path, &environment).map_err(|errors| CliError::usage(errors.to_string()));
            return Err(told.err().unwrap_or_else(|| CliError::usage("the config can't be read")));
        }
    };
    let stand_in = if text.contains("[pipelines") { "" } else { STAND_IN };
    // Said by option, it isn't the environment's fault.
    let named = |errors: config::ConfigErrors| {
        let mut said = errors.to_string();
        for (option, variable, key, given) in [
            ("--database", "RABBIT_SINK__DATABASE__URL", "database.url", database),
            ("--rabbitmq", "RABBIT_SINK__RABBITMQ__URL", "rabbitmq.url", broker),
        ] {
            if given.is_some() {
                said = said.replace(&format!("environment variable {variable}: {key}: "), &format!("{option}: "));
            }
        }
        CliError::usage(said)
    };
    let config = load_str(&path.display().to_string(), &format!("{text}{stand_in}"), &environment).map_err(named)?;
    let missing = |what: &str| CliError::usage(format!("the config has no default {what}: give one by --{what} URL"));
    let default = config.databases.get("default");
    let file = format!("sqlite://{DEFAULT_FILE}");
    Ok(Connections {
        broker_by_default: broker.is_none() && !broker_from_environment && !text.contains("[rabbitmq]"),
        database_by_default: default.is_some_and(|database| database.url.reveal() == file.as_str()),
        broker: config.brokers.get("default").cloned().ok_or_else(|| missing("rabbitmq"))?,
        database: config.databases.get("default").cloned().ok_or_else(|| missing("database"))?,
        broker_from_environment,
        database_from_environment,
    })
}
