//! A fresh database for one test, and short ways to say what is written.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use rabbit_sink::catalogue::TableName;
use rabbit_sink::config::{self, DatabaseKind, IdConflict, Secret, TlsFiles};
use rabbit_sink::digest::body_hash;
use rabbit_sink::error::Failure;
use rabbit_sink::message::{
    Cell, Change, Delivery, Envelope, LedgerEntry, MessageId, Operation, Outcome, Row, Slice, Unit,
};
use rabbit_sink::plan::{Deduplication, Ledger, Target, WritePlan};
use rabbit_sink::sink::{self, Database, LedgerIdentity, Session};

/// One column type with values that must come back exactly.
pub struct Specimen {
    /// The type in a CREATE TABLE.
    pub ddl: &'static str,
    /// Each value, and how the server prints it as text.
    pub values: Vec<(Cell, String)>,
}

/// What differs from database to database.
pub trait Dialect: Send + Sync {
    /// Which.
    fn kind(&self) -> DatabaseKind;
    /// The URL of the fresh database.
    fn url(&self) -> String;
    /// Runs a statement, with all rights.
    fn execute<'a>(&'a self, sql: &'a str) -> BoxFuture<'a, ()>;
    /// The first column of each row, which is text or NULL.
    fn texts<'a>(&'a self, sql: &'a str) -> BoxFuture<'a, Vec<Option<String>>>;
    /// Runs a statement in a transaction that stays open until what is returned is dropped.
    fn hold<'a>(&'a self, sql: &'a str) -> BoxFuture<'a, Box<dyn Any + Send>>;
    /// An expression as text.
    fn as_text(&self, expression: &str) -> String;
    /// The type of a unique text column.
    fn key_text(&self) -> &'static str;
    /// All kinds of columns.
    fn specimens(&self) -> Vec<Specimen>;
    /// The codes of: a unique violation, a NULL in NOT NULL, a lock that wasn't to be had, a missing table.
    fn codes(&self) -> Codes;
    /// Removes the database.
    fn remove(&self) -> BoxFuture<'_, ()>;
}

/// Codes of a database's errors.
pub struct Codes {
    pub unique: &'static str,
    pub not_null: &'static str,
    pub lock: &'static str,
    pub no_table: &'static str,
}

/// A fresh database and what a test does with it.
pub struct World {
    pub dialect: Box<dyn Dialect>,
    pub config: config::Database,
    pub database: Arc<dyn Database>,
}

/// A test of the suite.
pub type Test = for<'a> fn(&'a World) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// Runs a test and removes its database whatever came of it.
pub async fn run(dialect: Box<dyn Dialect>, test: Test) {
    let config = config(dialect.as_ref());
    let database = sink::open(&config).expect("a config");
    let world = World { dialect, config, database };
    let result = AssertUnwindSafe(test(&world)).catch_unwind().await;
    world.dialect.remove().await;
    if let Err(panic) = result {
        resume_unwind(panic);
    }
}

fn config(dialect: &dyn Dialect) -> config::Database {
    config::Database {
        name: "default".into(),
        kind: dialect.kind(),
        url: Secret::new(dialect.url()),
        max_connections: None,
        connect_timeout: Duration::from_secs(10),
        statement_timeout: Duration::from_secs(20),
        lock_timeout: Duration::from_secs(5),
        application_name: "rabbit-sink test".into(),
        on_connect: Vec::new(),
        tls: TlsFiles::default(),
        ledger_table: table("rabbit_sink_ledger"),
        ledger_keep: Duration::from_secs(3600),
        credentials: Default::default(),
    }
}

impl World {
    /// A session.
    pub async fn session(&self) -> Box<dyn Session> {
        self.database.connect().await.expect("a session")
    }

    /// A session with another config.
    pub async fn connect(&self, change: impl FnOnce(&mut config::Database)) -> Result<Box<dyn Session>, Failure> {
        let mut config = self.config.clone();
        change(&mut config);
        sink::open(&config)?.connect().await
    }

    /// Opens the ledger for a pipeline that writes to `orders`.
    pub async fn ledger(&self, session: &mut dyn Session, pipeline: &str) -> Ledger {
        let identity = identity(pipeline, "q", "orders");
        session
            .open_ledger(&self.config.ledger_table, &identity, rabbit_sink::sink::Opening::Create)
            .await
            .expect("a ledger")
    }

    /// A plan that fills these columns of a table.
    pub async fn plan(
        &self,
        session: &mut dyn Session,
        name: &str,
        columns: &[&str],
        deduplication: Deduplication,
    ) -> WritePlan {
        let target = target(session, name, columns).await;
        WritePlan { targets: vec![target], deduplication, id_conflict: IdConflict::DeadLetter, letters: None }
    }

    /// A plan with a ledger of its own.
    pub async fn ledger_plan(&self, session: &mut dyn Session, name: &str, columns: &[&str]) -> WritePlan {
        let ledger = self.ledger(session, "orders").await;
        self.plan(session, name, columns, Deduplication::Ledger(ledger)).await
    }

    /// How many rows.
    pub async fn count(&self, table: &str) -> u64 {
        let sql = format!("SELECT {} FROM {table}", self.dialect.as_text("count(*)"));
        let rows = self.dialect.texts(&sql).await;
        rows[0].as_deref().expect("a count").parse().expect("a number")
    }

    /// Some SQL.
    pub async fn execute(&self, sql: &str) {
        self.dialect.execute(sql).await;
    }

    /// Texts or NULL.
    pub async fn texts(&self, sql: &str) -> Vec<Option<String>> {
        self.dialect.texts(sql).await
    }
}

/// The columns of a table as a target.
pub async fn target(session: &mut dyn Session, name: &str, columns: &[&str]) -> Target {
    let described = session.describe(&table(name)).await.expect("a table");
    let columns: Vec<_> = columns
        .iter()
        .map(|name| described.column(name).unwrap_or_else(|| panic!("no column {name}")).clone())
        .collect();
    Target { table: table(name), expressions: vec![None; columns.len()], columns }
}

/// A table's name without a schema.
pub fn table(name: &str) -> TableName {
    TableName { schema: None, name: name.into() }
}

/// A pipeline's identity.
pub fn identity(pipeline: &str, queue: &str, name: &str) -> LedgerIdentity {
    LedgerIdentity { pipeline: pipeline.into(), queue: queue.into(), table: table(name) }
}

/// A unit with an ID, a body that says what is in it, and a row for target 0.
pub fn unit(id: &str, body: &str, cells: Vec<Cell>) -> Unit {
    unit_of(id, body, vec![(0, cells)])
}

/// A unit with rows for several targets.
pub fn unit_of(id: &str, body: &str, rows: Vec<(usize, Vec<Cell>)>) -> Unit {
    let body = Bytes::copy_from_slice(body.as_bytes());
    let entry = LedgerEntry { id: MessageId::new(id), body_hash: body_hash(&body) };
    let envelope = Envelope { body, ..Envelope::default() };
    let changes = rows
        .into_iter()
        .map(|(target, cells)| Change { target, operation: Operation::Insert, row: Row(cells) })
        .collect();
    let delivery = Delivery { tag: 1, arrived: tokio::time::Instant::now(), envelope: Box::new(envelope) };
    Unit { delivery, ledger: Some(entry), changes, attempts: 0, letter: None }
}

/// A text cell.
pub fn text(value: &str) -> Cell {
    Cell::Text(Slice::Owned(value.as_bytes().into()))
}

/// A bytes cell.
pub fn bytes(value: &[u8]) -> Cell {
    Cell::Bytes(Slice::Owned(value.into()))
}

/// Writes, not isolating.
pub async fn write(session: &mut dyn Session, plan: &WritePlan, units: &[Unit]) -> Result<Vec<Outcome>, Failure> {
    let units: Vec<&Unit> = units.iter().collect();
    session.write(plan, &units, false).await
}

/// Outcomes in short: `written`, `duplicate`, a rejection's code.
pub fn short(outcomes: &[Outcome]) -> Vec<String> {
    outcomes
        .iter()
        .map(|outcome| match outcome {
            Outcome::Written => "written".to_owned(),
            Outcome::Duplicate => "duplicate".to_owned(),
            Outcome::Superseded => "superseded".to_owned(),
            Outcome::Skipped => "skipped".to_owned(),
            Outcome::Rejected(failure) => failure.code.to_string(),
        })
        .collect()
}

/// `Some` texts.
pub fn some(texts: &[&str]) -> Vec<Option<String>> {
    texts.iter().map(|text| Some((*text).to_owned())).collect()
}
