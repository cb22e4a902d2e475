//! `init`: what a new setup needs.

use serde::Serialize;

use super::exit::{CliError, Exit};
use super::output::Out;
use crate::config::Config;
use crate::sink;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Print the DDL of the ledger for every configured database, for logins that may not create it
    #[arg(long, required = true)]
    ledger: bool,
}

#[derive(Serialize)]
struct LedgerDdl<'a> {
    database: &'a str,
    ledger_table: String,
    ddl: &'a str,
}

/// Prints; connects to nothing.
pub(super) fn execute(config: &Config, args: &Args, out: &mut Out) -> Result<Exit, CliError> {
    debug_assert!(args.ledger, "required");
    for (name, database) in &config.databases {
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
