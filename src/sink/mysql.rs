//! MySQL and MariaDB.

use std::time::Duration;

use futures_util::future::BoxFuture;
use sqlx::mysql::MySqlRow;
use sqlx::{Connection, MySqlConnection, Row as _};

use super::letters::Letters;
use super::optimistic::{self, Ending};
use super::pauses::{self, Pauses};
use super::values_sql::Insert;
use super::{Access, Database, Entered, LedgerIdentity, LetterTable, Opening, PauseTable, Session, Survey, Transport};
use crate::catalogue::{Table, TableName};
use crate::config;
use crate::error::{ErrorClass, Failure};
use crate::message::{LedgerEntry, Outcome, Unit};
use crate::plan::{Deduplication, Ledger, WritePlan};
use crate::status::LedgerSize;

mod bind;
mod classify;
mod connect;
mod describe;
mod kinds;
mod ledger;
mod letters;
mod survey;
pub(super) mod typename;
mod unchanged;
pub(super) mod write;

/// A server.
pub(super) struct Mysql {
    config: config::Database,
}

impl Mysql {
    /// Over TLS with a verified certificate, unless the server is on this machine or the URL says
    /// otherwise (`ssl-mode`).
    ///
    /// # Errors
    /// `config`: the URL can't be read.
    pub(super) fn new(config: &config::Database) -> Result<Self, Failure> {
        connect::options(config)?;
        Ok(Mysql { config: config.clone() })
    }
}

impl Database for Mysql {
    fn connect(&self) -> BoxFuture<'_, Result<Box<dyn Session>, Failure>> {
        Box::pin(async {
            match tokio::time::timeout(self.config.connect_timeout, connect::establish(&self.config)).await {
                Ok(session) => Ok(Box::new(session?) as Box<dyn Session>),
                Err(_) => Err(Failure::new(
                    ErrorClass::SinkUnavailable,
                    "connect_timeout",
                    "the server didn't let us in within `connect_timeout`",
                )),
            }
        })
    }

    fn ledger_ddl(&self, table: &TableName) -> String {
        ledger::ddl(table)
    }

    fn pauses_ddl(&self, ledger: &TableName) -> String {
        <&mut MysqlSession as pauses::Rows>::pauses_ddl(&pauses::table(ledger))
    }

    fn transaction_sql(&self, plan: &WritePlan, rows: &[(usize, Vec<usize>)]) -> Vec<String> {
        // MySQL lowers wait_timeout around it, MariaDB has a timeout of its own for that.
        let mut all = unchanged::begin_texts("START TRANSACTION", plan);
        if let Deduplication::Ledger(ledger) = &plan.deduplication {
            all.push(write::entries_insert(ledger).text(1));
        }
        let targets = rows.iter().filter_map(|(nth, columns)| Some((plan.targets.get(*nth)?, columns)));
        all.extend(
            targets.map(|(target, columns)| Insert::new(target, columns, quote_name, &quote(&target.table)).text(1)),
        );
        all.push("COMMIT".to_owned());
        all
    }

    fn quote(&self, table: &TableName) -> String {
        quote(table)
    }
}

/// One connection.
struct MysqlSession {
    connection: MySqlConnection,
    mariadb: bool,
    version: String,
    long_timestamp: bool,
    transport: Transport,
    /// Bytes (`max_allowed_packet`).
    max_packet: usize,
    begin: String,
    /// What follows COMMIT and ROLLBACK.
    after: &'static str,
    careful: bool,
    broken: bool,
}

impl Session for MysqlSession {
    fn describe<'a>(&'a mut self, table: &'a TableName) -> BoxFuture<'a, Result<Table, Failure>> {
        Box::pin(self.describe_table(table))
    }

    fn check_privileges<'a>(&'a mut self, table: &'a TableName) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(self.check_insert(table))
    }

    fn open_ledger<'a>(
        &'a mut self,
        table: &'a TableName,
        identity: &'a LedgerIdentity,
        opening: Opening,
    ) -> BoxFuture<'a, Result<Ledger, Failure>> {
        Box::pin(self.open(table, identity, opening))
    }

    // There are no deferred constraints: nothing has to be done for `isolating`.
    fn write<'a>(
        &'a mut self,
        plan: &'a WritePlan,
        units: &'a [&'a Unit],
        _isolating: bool,
    ) -> BoxFuture<'a, Result<Vec<Outcome>, Failure>> {
        Box::pin(optimistic::write(self, plan, units, Ending::Commit))
    }

    fn rehearse<'a>(
        &'a mut self,
        plan: &'a WritePlan,
        units: &'a [&'a Unit],
    ) -> BoxFuture<'a, Result<Vec<Outcome>, Failure>> {
        Box::pin(optimistic::write(self, plan, units, Ending::RollBack))
    }

    fn look_up<'a>(
        &'a mut self,
        ledger: &'a Ledger,
        entries: &'a [&'a LedgerEntry],
    ) -> BoxFuture<'a, Result<Vec<Entered>, Failure>> {
        Box::pin(optimistic::look_up(self, ledger, entries))
    }

    fn probe_write<'a>(&'a mut self, plan: &'a WritePlan) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(self.probe(plan))
    }

    fn prune<'a>(&'a mut self, ledger: &'a Ledger, keep: Duration, limit: u32) -> BoxFuture<'a, Result<u64, Failure>> {
        Box::pin(self.delete_old(ledger, keep, limit))
    }

    fn ledger_size<'a>(&'a mut self, ledger: &'a Ledger) -> BoxFuture<'a, Result<LedgerSize, Failure>> {
        Box::pin(self.measure(ledger))
    }

    fn letters<'a>(&'a mut self, table: &'a TableName) -> Option<Box<dyn LetterTable + 'a>> {
        Some(Box::new(Letters { engine: self, table }))
    }

    fn pauses<'a>(&'a mut self, ledger: &'a TableName) -> Option<Box<dyn PauseTable + 'a>> {
        Some(Box::new(Pauses { engine: self, table: pauses::table(ledger) }))
    }

    fn weaknesses(&mut self) -> BoxFuture<'_, Result<Vec<String>, Failure>> {
        Box::pin(async {
            let query = "SELECT CAST(@@GLOBAL.innodb_flush_log_at_trx_commit AS CHAR), \
                         CAST(@@GLOBAL.sync_binlog AS CHAR), CAST(@@GLOBAL.log_bin AS CHAR)";
            let rows = self.rows(query.to_owned()).await?;
            let mut found = Vec::new();
            if let Some(row) = rows.first() {
                let value = |at| Ok::<String, Failure>(text_at(row, at)?.unwrap_or_default());
                let flush = value(0)?;
                if flush != "1" {
                    found.push(format!(
                        "innodb_flush_log_at_trx_commit = {flush}: the last second's commits can be lost in a crash"
                    ));
                }
                let sync = value(1)?;
                if value(2)? == "1" && sync != "1" {
                    found.push(format!("sync_binlog = {sync}: replicas can miss the last commits after a crash"));
                }
            }
            Ok(found)
        })
    }

    fn survey(&mut self) -> BoxFuture<'_, Result<Survey, Failure>> {
        Box::pin(self.look_around())
    }

    fn access<'a>(&'a mut self, table: &'a TableName, ledger: &'a TableName) -> BoxFuture<'a, Result<Access, Failure>> {
        Box::pin(self.look_at_rights(table, ledger))
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async {
            // There is nobody to hear a goodbye that failed.
            self.connection.close().await.ok();
        })
    }
}

/// A value of the catalogue as text, whatever of its many types the server gives it.
fn text_at(row: &MySqlRow, at: usize) -> Result<Option<String>, Failure> {
    let bytes: Option<Vec<u8>> = row.try_get_unchecked(at).map_err(|error| classify::failure(error, &[]))?;
    Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
}

/// A table's name as SQL.
fn quote(table: &TableName) -> String {
    match &table.schema {
        Some(schema) => format!("{}.{}", quote_name(schema), quote_name(&table.name)),
        None => quote_name(&table.name),
    }
}

/// A name as SQL.
fn quote_name(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}
