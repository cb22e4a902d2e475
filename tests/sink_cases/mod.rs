//! What every database must do, as functions over a fresh database; and what they need.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rabbit_sink::catalogue::TableName;
use rabbit_sink::config::{self, DatabaseKind, IdConflict, Secret};
use rabbit_sink::digest::body_hash;
use rabbit_sink::error::{ErrorClass, Failure};
use rabbit_sink::message::{
    Cell, Change, Delivery, Envelope, LedgerEntry, MessageId, Operation, Outcome, Row, Slice, Unit,
};
use rabbit_sink::plan::{Deduplication, Target, WritePlan};
use rabbit_sink::sink::{self, Database, LedgerIdentity, Session};
use sqlx::{AssertSqlSafe, Connection, Row as _};

pub mod cases;

/// A fresh database and a second way into it that isn't the program's own.
pub struct Fresh {
    pub kind: DatabaseKind,
    pub url: String,
}

impl Fresh {
    pub fn config(&self) -> config::Database {
        config::Database {
            name: "default".into(),
            kind: self.kind,
            url: Secret::new(self.url.clone()),
            max_connections: None,
            connect_timeout: Duration::from_secs(5),
            statement_timeout: Duration::from_secs(10),
            lock_timeout: Duration::from_secs(5),
            application_name: "rabbit-sink".into(),
            on_connect: Vec::new(),
            tls: Default::default(),
            ledger_table: name("rabbit_sink_ledger"),
            ledger_keep: Duration::from_secs(86_400),
            credentials: Default::default(),
        }
    }

    pub fn database(&self) -> Arc<dyn Database> {
        sink::open(&self.config()).unwrap()
    }

    pub async fn session(&self) -> Box<dyn Session> {
        self.database().connect().await.unwrap()
    }

    pub async fn run(&self, sql: &str) {
        let sql = AssertSqlSafe(sql.to_owned());
        if self.kind == DatabaseKind::Sqlite {
            let mut connection = sqlx::SqliteConnection::connect(&self.url).await.unwrap();
            sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
            connection.close().await.unwrap();
        } else {
            let mut connection = sqlx::MySqlConnection::connect(&self.url).await.unwrap();
            sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
            connection.close().await.unwrap();
        }
    }

    /// Rows of a query whose columns are all text, blank-separated, NULL as `∅`.
    pub async fn lines(&self, sql: &str) -> Vec<String> {
        let sql = AssertSqlSafe(sql.to_owned());
        let rows: Vec<Vec<Option<Vec<u8>>>> = if self.kind == DatabaseKind::Sqlite {
            let mut connection = sqlx::SqliteConnection::connect(&self.url).await.unwrap();
            let rows = sqlx::raw_sql(sql).fetch_all(&mut connection).await.unwrap();
            rows.iter().map(|row| (0..row.len()).map(|at| row.get_unchecked(at)).collect()).collect()
        } else {
            let mut connection = sqlx::MySqlConnection::connect(&self.url).await.unwrap();
            let rows = sqlx::raw_sql(sql).fetch_all(&mut connection).await.unwrap();
            rows.iter().map(|row| (0..row.len()).map(|at| row.get_unchecked(at)).collect()).collect()
        };
        let text =
            |cell: Option<Vec<u8>>| cell.map_or("∅".into(), |bytes| String::from_utf8_lossy(&bytes).into_owned());
        rows.into_iter().map(|row| row.into_iter().map(text).collect::<Vec<_>>().join(" ")).collect()
    }

    pub async fn count(&self, table: &str) -> usize {
        self.lines(&format!("SELECT 1 FROM {table}")).await.len()
    }

    /// A plan for some columns of a table, as the database itself describes them.
    pub async fn plan(&self, table: &str, columns: &[&str], deduplication: Deduplication) -> WritePlan {
        let mut session = self.session().await;
        let described = session.describe(&name(table)).await.unwrap();
        WritePlan {
            targets: vec![Target {
                table: name(table),
                columns: columns.iter().map(|name| described.column(name).unwrap().clone()).collect(),
                expressions: vec![None; columns.len()],
            }],
            deduplication,
            id_conflict: IdConflict::DeadLetter,
            letters: None,
        }
    }

    pub async fn ledger(&self, pipeline: &str) -> Deduplication {
        let mut session = self.session().await;
        let ledger = session
            .open_ledger(&name("rabbit_sink_ledger"), &identity(pipeline), rabbit_sink::sink::Opening::Create)
            .await
            .unwrap();
        Deduplication::Ledger(ledger)
    }
}

pub fn identity(pipeline: &str) -> LedgerIdentity {
    LedgerIdentity { pipeline: pipeline.into(), queue: "orders".into(), table: name("orders") }
}

pub fn name(name: &str) -> TableName {
    TableName { schema: None, name: name.into() }
}

pub fn text(text: &str) -> Cell {
    Cell::Text(Slice::Owned(text.as_bytes().into()))
}

pub fn bytes(bytes: &[u8]) -> Cell {
    Cell::Bytes(Slice::Owned(bytes.into()))
}

/// A message of this ID and body, whose one change puts these cells into the first target.
pub fn unit(id: &str, body: &str, cells: Vec<Cell>) -> Unit {
    let envelope = Envelope { body: Bytes::copy_from_slice(body.as_bytes()), ..Default::default() };
    Unit {
        delivery: Delivery { tag: 1, arrived: tokio::time::Instant::now(), envelope: Box::new(envelope) },
        ledger: Some(LedgerEntry { id: MessageId::new(id), body_hash: body_hash(body.as_bytes()) }),
        changes: vec![Change { target: 0, operation: Operation::Insert, row: Row(cells) }],
        attempts: 0,
        letter: None,
    }
}

pub async fn write(session: &mut dyn Session, plan: &WritePlan, units: &[Unit]) -> Result<Vec<Outcome>, Failure> {
    let units: Vec<&Unit> = units.iter().collect();
    session.write(plan, &units, false).await
}

/// `w` written, `d` duplicate, `r` rejected.
pub fn letters(outcomes: &[Outcome]) -> String {
    outcomes
        .iter()
        .map(|outcome| match outcome {
            Outcome::Written => 'w',
            Outcome::Duplicate => 'd',
            Outcome::Rejected(_) => 'r',
            Outcome::Superseded => 's',
            Outcome::Skipped => 'k',
        })
        .collect()
}

#[track_caller]
pub fn assert_failure<T: std::fmt::Debug>(result: Result<T, Failure>, class: ErrorClass, code: &str) -> Failure {
    let failure = result.expect_err("this must fail");
    assert_eq!((failure.class, &*failure.code), (class, code), "{failure} {}", failure.detail.reveal());
    failure
}
