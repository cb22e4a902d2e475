//! Databases: what every one of them must be able to do, and one file for each.
//!
//! `sink` is the one place that names the driver. A [`Database`] makes [`Session`]s; a session is
//! one connection. Whoever gets an error of class `sink_unavailable` or `unknown`, or gives up
//! waiting for an answer, drops the session: after that its transaction's outcome is unknown, and
//! writing again under the ledger is what makes that harmless.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::catalogue::{Kind, Table, TableName};
use crate::config;
use crate::error::Failure;
use crate::message::{LedgerEntry, Outcome, Unit};
use crate::plan::{Ledger, WritePlan};
use crate::status::LedgerSize;

mod build;
#[cfg(any(feature = "mysql", feature = "sqlite"))]
mod datetime_text;
mod letters;
mod marker;
#[cfg(feature = "mysql")]
mod mysql;
#[cfg(any(feature = "mysql", feature = "sqlite"))]
mod optimistic;
mod pauses;
#[cfg(feature = "postgres")]
mod postgres;
mod shape;
#[cfg(feature = "sqlite")]
mod sqlite;
#[cfg(any(feature = "mysql", feature = "sqlite"))]
mod values_sql;

pub use build::build;
pub use letters::{LETTERS_MISSING, LetterChange, LetterRange, LetterTable, StoredLetter};
pub use pauses::{PauseTable, StoredPause};

/// Which pipeline's entries in the ledger, and what it writes to. Kept in a marker row, so that a
/// second config of the same pipeline name, or a changed target, is noticed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerIdentity {
    /// The pipeline's name.
    pub pipeline: String,
    /// Its queue.
    pub queue: String,
    /// Its table.
    pub table: TableName,
}

/// What the ledger has of a message ID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entered {
    /// Nothing.
    Absent,
    /// It, with the hash of this body.
    SameBody,
    /// It, with another body's hash.
    OtherBody,
}

impl Entered {
    fn of(entry: &LedgerEntry, hash: Option<&Vec<u8>>) -> Self {
        match hash {
            None => Entered::Absent,
            Some(hash) if hash[..] == entry.body_hash => Entered::SameBody,
            Some(_) => Entered::OtherBody,
        }
    }
}

/// How far opening a ledger may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// Only look, and change nothing: while a pipeline runs, a ledger that is gone must not come
    /// back empty in silence.
    Existing,
    /// Create what is missing.
    Create,
    /// Create what is missing, and take a marker over that names another queue or table.
    Adopt,
}

/// What stands between sessions and their server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pooler {
    /// One session was seen to have another one's settings. Where that wasn't seen, it may be so
    /// all the same while the pooler is busy.
    pub shared: bool,
}

/// How what we send gets to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transport {
    /// By TLS.
    pub encrypted: bool,
    /// Only to a server whose certificate we trust.
    pub verified: bool,
    /// It doesn't leave this machine.
    pub local: bool,
}

/// What a server says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// Product and version: `PostgreSQL 15.18`. Empty: not known.
    pub server: String,
    /// Older than what the worker was tried with, in words.
    pub outdated: Option<String>,
    /// Whom the server takes us for, as SQL's GRANT names it; empty where there are no logins.
    pub login: String,
    /// How what we send gets there; `None` where nothing travels.
    pub transport: Option<Transport>,
    /// The server's clock in microseconds since 1970; `None` where it is ours.
    pub clock: Option<i64>,
}

/// What this login may do with a table and with the ledger.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// Columns that it may not fill.
    pub refused_columns: Vec<String>,
    /// Whether triggers may fill columns before a row is written; `None`: can't be seen.
    pub triggers: Option<bool>,
    /// Columns that it may not read.
    pub unreadable_columns: Vec<String>,
    /// Whether it may create the ledger's tables; `None`: can't be seen.
    pub may_create_ledger: Option<bool>,
    /// The ledger's tables are there, as far as this login can see.
    pub ledger_there: bool,
    /// What it lacks on the ledger's tables, where they are there.
    pub ledger_lacks: Vec<Lacking>,
}

/// Privileges that the worker needs on a table and this login lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lacking {
    /// The table.
    pub table: TableName,
    /// As GRANT names them.
    pub privileges: Vec<&'static str>,
}

/// A ledger with more entries than this isn't counted: the server's own estimate has to do.
#[cfg(any(feature = "mysql", feature = "postgres"))]
const COUNTED: i64 = 100_000;

/// Of a ledger whose first entries were counted, up to one more than [`COUNTED`].
#[cfg(any(feature = "mysql", feature = "postgres"))]
fn ledger_size(counted: i64, estimated: i64, bytes: i64) -> LedgerSize {
    let rows = if counted > COUNTED { estimated.max(counted) } else { counted };
    LedgerSize { rows: u64::try_from(rows).ok(), bytes: u64::try_from(bytes).ok().filter(|bytes| *bytes > 0) }
}

/// What the worker does with the ledger: entries are read, made and pruned, the marker is read and
/// made. (`--adopt` and a newer layout also update the marker.)
#[cfg(any(feature = "mysql", feature = "postgres"))]
const LEDGER_NEEDS: &[&str] = &["SELECT", "INSERT", "DELETE"];
#[cfg(any(feature = "mysql", feature = "postgres"))]
const MARKER_NEEDS: &[&str] = &["SELECT", "INSERT"];

#[cfg(any(feature = "mysql", feature = "postgres"))]
fn lacks(lacking: &[Lacking], code: &'static str, quote: impl Fn(&TableName) -> String) -> Result<(), Failure> {
    if lacking.is_empty() {
        return Ok(());
    }
    let grant = |one: &Lacking| format!("GRANT {} ON {}", one.privileges.join(", "), quote(&one.table));
    let grants: Vec<String> = lacking.iter().map(grant).collect();
    let message = format!("this login lacks privileges on the ledger: {}", grants.join("; "));
    Err(Failure::new(crate::error::ErrorClass::SinkMisconfigured, code, message))
}

/// One connection to one database.
///
/// Contract for all methods: no method begins a transaction that it doesn't end; after any error
/// inside a transaction it rolls back and never commits; a failure is classified by the database's
/// own table (`classify` in its file) and carries code, column and constraint where the server
/// tells them. Methods don't retry and don't wait beyond what the server's own timeouts bound:
/// both are the caller's. A future of a session that is dropped before its end leaves the session
/// unusable: the caller drops that, too.
pub trait Session: Send {
    /// Reads a table's description. A missing table, schema or privilege is
    /// `sink_misconfigured`, and so is a table that can't roll back (MyISAM). The message says
    /// what is missing.
    fn describe<'a>(&'a mut self, table: &'a TableName) -> BoxFuture<'a, Result<Table, Failure>>;

    /// Checks that this login may insert into the table; with privileges missing:
    /// `sink_misconfigured`. Writes nothing that stays.
    fn check_privileges<'a>(&'a mut self, table: &'a TableName) -> BoxFuture<'a, Result<(), Failure>>;

    /// Opens the ledger for a pipeline: creates its tables where they are missing (two processes
    /// may do so at once), migrates an older layout, refuses a newer one, and creates or compares
    /// the marker row. Another queue or table in it is `sink_misconfigured` with code
    /// `ledger_identity`, unless [`Opening::Adopt`], which replaces it. Without the right to create
    /// it, `sink_misconfigured` with the DDL in the message; missing under [`Opening::Existing`],
    /// `sink_misconfigured` with code `ledger_missing`.
    fn open_ledger<'a>(
        &'a mut self,
        table: &'a TableName,
        identity: &'a LedgerIdentity,
        opening: Opening,
    ) -> BoxFuture<'a, Result<Ledger, Failure>>;

    /// Writes units in one transaction and returns an outcome for each, in their order. All or
    /// nothing: with an error, nothing was written, or, after a lost connection, it isn't known.
    ///
    /// With a ledger the caller passes each message ID once: the units' IDs are inserted first;
    /// those that the ledger already had are `Duplicate`, or `Rejected` with class `id_conflict`
    /// and code `other_body` where the hash differs and the plan says so; changes of those that
    /// were new are applied, outcome `Written`. With a column: rows whose value is already there
    /// are `Duplicate`; a violation of any *other* unique key is an error. `isolating` makes
    /// deferred constraints fail at their statement instead of at COMMIT.
    ///
    /// A unit with a letter has no ledger entry and no changes: its letter is written into the plan's
    /// table, unless that has it already, and the outcome is `Written`.
    ///
    /// A row that the server could never take because of its size is `row_rejected`, code
    /// `too_large`, before anything is sent, when it is alone; among others they are split into
    /// several statements of one transaction.
    fn write<'a>(
        &'a mut self,
        plan: &'a WritePlan,
        units: &'a [&'a Unit],
        isolating: bool,
    ) -> BoxFuture<'a, Result<Vec<Outcome>, Failure>>;

    /// What [`Session::write`] would make of these units, isolating: the same transaction, rolled
    /// back. What happens outside transactions happens (sequences advance).
    fn rehearse<'a>(
        &'a mut self,
        plan: &'a WritePlan,
        units: &'a [&'a Unit],
    ) -> BoxFuture<'a, Result<Vec<Outcome>, Failure>>;

    /// What the ledger has of these message IDs as of now, in their order. Takes no lock.
    fn look_up<'a>(
        &'a mut self,
        ledger: &'a Ledger,
        entries: &'a [&'a LedgerEntry],
    ) -> BoxFuture<'a, Result<Vec<Entered>, Failure>>;

    /// Shows that the database takes writes for this plan at all: a ledger entry of its own and a
    /// statement on each target that writes no row, rolled back.
    fn probe_write<'a>(&'a mut self, plan: &'a WritePlan) -> BoxFuture<'a, Result<(), Failure>>;

    /// Deletes up to `limit` of the pipeline's entries older than `keep` by the database's clock.
    /// Returns how many.
    fn prune<'a>(&'a mut self, ledger: &'a Ledger, keep: Duration, limit: u32) -> BoxFuture<'a, Result<u64, Failure>>;

    /// How large the ledger has become, with all pipelines that share it.
    fn ledger_size<'a>(&'a mut self, ledger: &'a Ledger) -> BoxFuture<'a, Result<LedgerSize, Failure>> {
        let _ledger = ledger;
        Box::pin(async { Ok(LedgerSize::default()) })
    }

    /// The table of dead letters of that name, made or not. `None`: no letters can be kept here.
    fn letters<'a>(&'a mut self, table: &'a TableName) -> Option<Box<dyn LetterTable + 'a>> {
        let _none = table;
        None
    }

    /// The orders to pause beside this ledger, whether that is there or not. `None`: none can be kept here.
    fn pauses<'a>(&'a mut self, ledger: &'a TableName) -> Option<Box<dyn PauseTable + 'a>> {
        let _none = ledger;
        None
    }

    /// What weakens durability on this server (`synchronous_commit = off`, …), in words for the
    /// guarantee's line; empty where nothing does.
    fn weaknesses(&mut self) -> BoxFuture<'_, Result<Vec<String>, Failure>>;

    /// What the server says of itself; changes nothing.
    fn survey(&mut self) -> BoxFuture<'_, Result<Survey, Failure>> {
        Box::pin(async { Ok(Survey::default()) })
    }

    /// What this login may do, for a table that is there; changes nothing.
    fn access<'a>(&'a mut self, table: &'a TableName, ledger: &'a TableName) -> BoxFuture<'a, Result<Access, Failure>> {
        let _tables = (table, ledger);
        Box::pin(async { Ok(Access::default()) })
    }

    /// Says goodbye to the server.
    fn close(self: Box<Self>) -> BoxFuture<'static, ()>;
}

/// A database that sessions can be opened to.
pub trait Database: Send + Sync {
    /// A fresh session with its settings made (timeouts, strictness, isolation level,
    /// `on_connect`). Names are resolved and secrets used anew each time. Tries once.
    fn connect(&self) -> BoxFuture<'_, Result<Box<dyn Session>, Failure>>;

    /// The DDL of the ledger, its marker table and the table of orders to pause.
    fn ledger_ddl(&self, table: &TableName) -> String;

    /// The DDL of the table of orders to pause alone.
    fn pauses_ddl(&self, ledger: &TableName) -> String {
        let _none = ledger;
        String::new()
    }

    /// As [`Database::connect`], for a look that must change nothing: no file is made, no mode set.
    fn connect_to_look(&self) -> BoxFuture<'_, Result<Box<dyn Session>, Failure>> {
        self.connect()
    }

    /// What stands between us and the server and changes what a session means: a pooler.
    fn between(&self) -> BoxFuture<'_, Result<Option<Pooler>, Failure>> {
        Box::pin(async { Ok(None) })
    }

    /// What is sent for one unit that is new, from BEGIN to COMMIT, for people to read: `rows` are
    /// its rows, each by its target's place in the plan and the columns that it fills.
    fn transaction_sql(&self, plan: &WritePlan, rows: &[(usize, Vec<usize>)]) -> Vec<String> {
        let _shape = (plan, rows);
        Vec::new()
    }

    /// A table's name, quoted as SQL.
    fn quote(&self, table: &TableName) -> String {
        table.to_string()
    }
}

/// The database that a config names.
///
/// # Errors
/// Class `config` where this binary was built without it, or its URL can't be read.
pub fn open(config: &config::Database) -> Result<Arc<dyn Database>, Failure> {
    match config.kind {
        #[cfg(feature = "postgres")]
        config::DatabaseKind::Postgres => Ok(Arc::new(postgres::Postgres::new(config)?)),
        #[cfg(feature = "mysql")]
        config::DatabaseKind::Mysql => Ok(Arc::new(mysql::Mysql::new(config)?)),
        #[cfg(feature = "sqlite")]
        config::DatabaseKind::Sqlite => Ok(Arc::new(sqlite::Sqlite::new(config)?)),
        #[allow(unreachable_patterns)]
        kind => Err(missing_feature(kind)),
    }
}

fn missing_feature(kind: config::DatabaseKind) -> Failure {
    let message = format!("this binary was built without the feature for {kind:?}; build it with `--features`");
    Failure::new(crate::error::ErrorClass::Config, "feature", message)
}

/// What a column declared so would take, without a server that could be asked. MySQL's JSON is taken for a tree,
/// as on MySQL itself.
///
/// # Errors
/// A type that isn't known here, or a database that this binary was built without.
pub fn kind_of(database: config::DatabaseKind, declared: &str) -> Result<Kind, String> {
    let (name, arguments) = split_type(declared);
    if name == "enum" {
        let inside =
            declared.split_once('(').and_then(|(_, rest)| rest.rsplit_once(')')).map_or("", |(inside, _)| inside);
        let labels = inside.split(',').map(|label| label.trim().trim_matches('\'').to_owned()).collect();
        return Ok(Kind::Enum { labels });
    }
    let known = match database {
        #[cfg(feature = "postgres")]
        config::DatabaseKind::Postgres => postgres::typename::kind(&name, &arguments),
        #[cfg(feature = "mysql")]
        config::DatabaseKind::Mysql => mysql::typename::kind(&name, &arguments, declared),
        #[cfg(feature = "sqlite")]
        config::DatabaseKind::Sqlite => Some(sqlite::kinds::kind(declared, false)),
        #[allow(unreachable_patterns)]
        _ => return Err("this binary was built without that database".to_owned()),
    };
    drop(arguments);
    known.ok_or_else(|| format!("the type {declared:?} isn't known here"))
}

/// `timestamp(3) with time zone` to `timestamp with time zone` and 3.
fn split_type(declared: &str) -> (String, Vec<i32>) {
    let lower = declared.to_ascii_lowercase();
    let (name, arguments) = match lower.split_once('(') {
        Some((before, rest)) => {
            let (inside, after) = rest.split_once(')').unwrap_or((rest, ""));
            (format!("{before} {after}"), inside.split(',').filter_map(|part| part.trim().parse().ok()).collect())
        }
        None => (lower, Vec::new()),
    };
    let name = name.split_whitespace().collect::<Vec<_>>().join(" ").replace(" []", "[]");
    (name, arguments)
}

/// The connection broke, as opposed to a server that answers that it can't: only the former may
/// be one row's doing. A full disk refuses every row for a while and must cost none.
pub fn is_connection_lost(failure: &Failure) -> bool {
    failure.class == crate::error::ErrorClass::SinkUnavailable
        && matches!(
            &*failure.code,
            "io" | "protocol" | "57P01" | "57P02" | "08003" | "08006" | "08P01" | "1927" | "2006" | "2013" | "3169"
        )
}

/// Columns that a plan was made for are gone, or aren't what they were.
pub fn is_table_changed(failure: &Failure) -> bool {
    failure.class == crate::error::ErrorClass::SinkMisconfigured && failure.code == TABLE_CHANGED
}

const TABLE_CHANGED: &str = "table_changed";

/// What [`is_table_changed`] recognises. `what` is a column or a table, as far as known.
fn table_changed(what: &str) -> Failure {
    let message = format!("{what} was changed while messages were on their way into it; the table is looked at anew");
    Failure::new(crate::error::ErrorClass::SinkMisconfigured, TABLE_CHANGED, message)
}

/// A foreign key names a row that isn't there (yet).
pub fn is_missing_parent(failure: &Failure) -> bool {
    failure.class == crate::error::ErrorClass::RowRejected
        && matches!(&*failure.code, "23503" | "1452" | "SQLITE_CONSTRAINT_FOREIGNKEY")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorClass;

    #[test]
    fn only_a_broken_connection_may_be_a_rows_doing() {
        let lost = |class, code: &'static str| is_connection_lost(&Failure::new(class, code, ""));
        for code in ["io", "protocol", "57P01", "57P02", "08003", "08006", "08P01", "1927", "2006", "2013"] {
            assert!(lost(ErrorClass::SinkUnavailable, code), "{code}");
            assert!(!lost(ErrorClass::Unknown, code), "{code}");
        }
        for code in ["53100", "53300", "57P03", "1114", "1040", "1317", "SQLITE_FULL", "deadline"] {
            assert!(!lost(ErrorClass::SinkUnavailable, code), "{code}");
        }
    }
}
