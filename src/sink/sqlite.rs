//! SQLite: one file, one writer at a time.

use std::str::FromStr;
use std::time::Duration;

use futures_util::future::BoxFuture;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, SqliteConnection};
use tokio::time::Instant;

use super::letters::Letters;
use super::optimistic::{self, Ending};
use super::pauses::{self, Pauses};
use super::values_sql::{self, Insert};
use super::{Access, Database, Entered, LedgerIdentity, LetterTable, Opening, PauseTable, Session, Survey};
use crate::catalogue::{Table, TableName};
use crate::config;
use crate::error::{ErrorClass, Failure};
use crate::message::{LedgerEntry, Outcome, Unit};
use crate::plan::{Deduplication, Ledger, WritePlan};
use crate::status::LedgerSize;

mod bind;
mod classify;
mod describe;
pub(super) mod kinds;
mod ledger;
mod letters;
mod unchanged;
pub(super) mod write;

/// Until a file that is busy while it is opened is tried again.
const OPEN_AGAIN: Duration = Duration::from_millis(10);

/// A connection's page cache, at most. Twice as much makes a ledger of hundreds of thousands of IDs 4 % faster, and
/// a worker with default settings larger than 64 MiB.
const CACHE_KIB: u32 = 16 * 1024;

/// Pages (of 4 KiB, as a rule) that the write-ahead log has before they go into the file.
const CHECKPOINT_PAGES: u32 = 8 * 1024;

/// A database file.
pub(super) struct Sqlite {
    options: SqliteConnectOptions,
    /// Changes nothing of the file.
    looking: SqliteConnectOptions,
    connect_timeout: Duration,
    lock_timeout: Duration,
    on_connect: Vec<String>,
}

impl Sqlite {
    /// The file is created where it is missing, unless the URL says `mode=rw` or `mode=ro`.
    ///
    /// # Errors
    /// `config`: the URL can't be read, or names a database in memory, which keeps nothing.
    pub(super) fn new(config: &config::Database) -> Result<Self, Failure> {
        let url = config.url.reveal();
        let wrong = |what: &str| Failure::new(ErrorClass::Config, "url", what.to_owned());
        let options = SqliteConnectOptions::from_str(url)
            .map_err(|_| wrong("the URL isn't like sqlite://path/to/file.db or sqlite:///absolute/path.db"))?;
        let path = options.get_filename().as_os_str().to_owned();
        if path.is_empty() || url.contains(":memory:") || url.contains("mode=memory") {
            return Err(wrong("a database in memory keeps nothing; name a file: sqlite://path/to/file.db"));
        }
        // sqlx panics above the bound of SQLite's own integer.
        let busy = config.lock_timeout.min(Duration::from_millis(i32::MAX as u64));
        // Neither makes a file nor writes into its header.
        let looking = options.clone().create_if_missing(false).foreign_keys(true).busy_timeout(busy);
        let looking = looking.synchronous(SqliteSynchronous::Full).disable_statement_logging();
        let mut options = options
            .journal_mode(SqliteJournalMode::Wal)
            // NORMAL can lose committed, and so acked, rows when the power fails.
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            // A batch of random message IDs touches as many pages of the ledger as it has rows. With
            // SQLite's own 2 MB of cache and a checkpoint every 4 MB each of them is read and written
            // several times over; these two bounds nearly double the rows per second.
            .pragma("cache_size", format!("-{CACHE_KIB}"))
            .pragma("wal_autocheckpoint", CHECKPOINT_PAGES.to_string())
            .statement_cache_capacity(values_sql::STATEMENTS)
            .busy_timeout(busy)
            .disable_statement_logging();
        if !url.contains("mode=") {
            options = options.create_if_missing(true);
        }
        Ok(Sqlite {
            options,
            looking,
            connect_timeout: config.connect_timeout,
            lock_timeout: config.lock_timeout,
            on_connect: config.on_connect.clone(),
        })
    }

    /// Of several that open a new file at once, SQLite lets one switch it to its write-ahead log and calls the
    /// file busy to the others, without waiting for a lock as it does elsewhere.
    async fn open(&self, options: &SqliteConnectOptions) -> Result<SqliteConnection, Failure> {
        let begun = Instant::now();
        loop {
            match options.connect().await.map_err(|error| classify::failure(error, &[])) {
                Err(failure) if failure.class == ErrorClass::SinkContention && begun.elapsed() < self.lock_timeout => {
                    tokio::time::sleep(OPEN_AGAIN).await;
                }
                opened => return opened,
            }
        }
    }

    async fn establish(&self, options: &SqliteConnectOptions) -> Result<SqliteSession, Failure> {
        let mut connection = self.open(options).await?;
        for statement in &self.on_connect {
            let done = sqlx::raw_sql(AssertSqlSafe(statement.clone())).execute(&mut connection).await;
            done.map_err(|error| {
                let failure = classify::failure(error, &[]);
                let class = match failure.class {
                    class @ (ErrorClass::SinkUnavailable | ErrorClass::SinkContention) => class,
                    _ => ErrorClass::SinkMisconfigured,
                };
                // The statement is the user's and may have a secret in it, and so may the text.
                Failure::new(class, failure.code, "a statement of `on_connect` failed").detail(failure.detail.reveal())
            })?;
        }
        Ok(SqliteSession { connection, careful: false, broken: false, lock: None })
    }

    async fn session(&self, options: &SqliteConnectOptions) -> Result<Box<dyn Session>, Failure> {
        match tokio::time::timeout(self.connect_timeout, self.establish(options)).await {
            Ok(session) => Ok(Box::new(session?) as Box<dyn Session>),
            Err(_) => Err(Failure::new(
                ErrorClass::SinkUnavailable,
                "connect_timeout",
                "the database file couldn't be opened within `connect_timeout`; is it locked, or on a disk that hangs?",
            )),
        }
    }
}

impl Database for Sqlite {
    fn connect(&self) -> BoxFuture<'_, Result<Box<dyn Session>, Failure>> {
        Box::pin(self.session(&self.options))
    }

    fn connect_to_look(&self) -> BoxFuture<'_, Result<Box<dyn Session>, Failure>> {
        Box::pin(async {
            let file = self.options.get_filename();
            if !file.exists() {
                let message =
                    format!("there is no file {}: the worker would make one without any table in it", file.display());
                return Err(Failure::new(ErrorClass::SinkMisconfigured, "no_such_file", message));
            }
            self.session(&self.looking).await
        })
    }

    fn transaction_sql(&self, plan: &WritePlan, rows: &[(usize, Vec<usize>)]) -> Vec<String> {
        let mut all = unchanged::begin_texts(plan);
        if let Deduplication::Ledger(ledger) = &plan.deduplication {
            all.push(write::entries_insert(ledger).text(1));
        }
        for (target, columns) in rows.iter().filter_map(|(nth, columns)| Some((plan.targets.get(*nth)?, columns))) {
            let table = quote(&target.table);
            all.push(match columns.is_empty() {
                true => format!("INSERT INTO {table} DEFAULT VALUES"),
                false => Insert::new(target, columns, quote_name, &table).text(1),
            });
        }
        all.push("COMMIT".to_owned());
        all
    }

    fn quote(&self, table: &TableName) -> String {
        quote(table)
    }

    fn ledger_ddl(&self, table: &TableName) -> String {
        ledger::ddl(table)
    }

    fn pauses_ddl(&self, ledger: &TableName) -> String {
        <&mut SqliteSession as pauses::Rows>::pauses_ddl(&pauses::table(ledger))
    }
}

/// One connection. Dropping it ends its thread once the statement in hand is through; SQLite then
/// rolls an open transaction back.
struct SqliteSession {
    connection: SqliteConnection,
    careful: bool,
    broken: bool,
    /// Keeps other `dlq` commands out.
    lock: Option<std::fs::File>,
}

impl Session for SqliteSession {
    fn describe<'a>(&'a mut self, table: &'a TableName) -> BoxFuture<'a, Result<Table, Failure>> {
        Box::pin(describe::describe(&mut self.connection, table))
    }

    fn check_privileges<'a>(&'a mut self, table: &'a TableName) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(describe::check_privileges(&mut self.connection, table))
    }

    fn open_ledger<'a>(
        &'a mut self,
        table: &'a TableName,
        identity: &'a LedgerIdentity,
        opening: Opening,
    ) -> BoxFuture<'a, Result<Ledger, Failure>> {
        Box::pin(self.open(table, identity, opening))
    }

    // Nothing has to be done for `isolating`: a deferred foreign key fails at COMMIT, and then in
    // a transaction of one row just as clearly.
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
        Box::pin(async move {
            // The count reads all of the ledger, which this connection then has no more use for.
            let cache = sqlx::raw_sql("PRAGMA cache_size = -2000").execute(&mut self.connection).await;
            cache.map_err(|error| classify::failure(error, &[]))?;
            let count = format!("SELECT count(*) FROM {}", quote(&ledger.table));
            let counted = sqlx::query_scalar(AssertSqlSafe(count)).fetch_one(&mut self.connection).await;
            let rows: i64 = counted.map_err(|error| classify::failure(error, &[]))?;
            Ok(LedgerSize { rows: u64::try_from(rows).ok(), bytes: None })
        })
    }

    fn letters<'a>(&'a mut self, table: &'a TableName) -> Option<Box<dyn LetterTable + 'a>> {
        Some(Box::new(Letters { engine: self, table }))
    }

    fn pauses<'a>(&'a mut self, ledger: &'a TableName) -> Option<Box<dyn PauseTable + 'a>> {
        Some(Box::new(Pauses { engine: self, table: pauses::table(ledger) }))
    }

    fn weaknesses(&mut self) -> BoxFuture<'_, Result<Vec<String>, Failure>> {
        Box::pin(async {
            let failed = |error| classify::failure(error, &[]);
            let journal: String =
                sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&mut self.connection).await.map_err(failed)?;
            let synchronous: i64 =
                sqlx::query_scalar("PRAGMA synchronous").fetch_one(&mut self.connection).await.map_err(failed)?;
            let mut found = Vec::new();
            if matches!(journal.as_str(), "off" | "memory") {
                found.push(format!("journal_mode = {journal}: a crash can damage the file"));
            }
            if synchronous < 2 {
                let name = if synchronous == 0 { "OFF" } else { "NORMAL" };
                found.push(format!("synchronous = {name}: the last commits can be lost when the power fails"));
            }
            Ok(found)
        })
    }

    fn survey(&mut self) -> BoxFuture<'_, Result<Survey, Failure>> {
        Box::pin(async {
            let version: String = sqlx::query_scalar("SELECT sqlite_version()")
                .fetch_one(&mut self.connection)
                .await
                .map_err(|error| classify::failure(error, &[]))?;
            Ok(Survey { server: format!("SQLite {version}"), ..Survey::default() })
        })
    }

    // Whoever may write to the file may do everything, and triggers can't fill columns.
    fn access<'a>(&'a mut self, _: &'a TableName, _: &'a TableName) -> BoxFuture<'a, Result<Access, Failure>> {
        let access = Access { triggers: Some(false), may_create_ledger: Some(true), ..Access::default() };
        Box::pin(async { Ok(access) })
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async {
            // There is nobody to hear a goodbye that failed.
            self.connection.close().await.ok();
        })
    }
}

/// The schema that a name is in; without one, the file's own.
fn schema_of(table: &TableName) -> &str {
    table.schema.as_deref().unwrap_or("main")
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
    format!("\"{}\"", name.replace('"', "\"\""))
}
