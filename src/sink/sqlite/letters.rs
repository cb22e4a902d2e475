//! Dead letters in SQLite.

use std::fs::{File, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::PathBuf;
use std::sync::Arc;

use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{Arguments, AssertSqlSafe, Row as _};

use super::{SqliteSession, classify, quote, schema_of};
use crate::catalogue::TableName;
use crate::error::{ErrorClass, Failure};
use crate::sink::letters::{Dialect, Engine, StoredLetter, Value};
use crate::sink::pauses::Rows;

/// Of what is told of who has the lock, in bytes.
const HOLDER_MAX: u64 = 300;

impl Engine for &mut SqliteSession {
    const DIALECT: Dialect = Dialect {
        place: |_, _| "?".to_owned(),
        // A body that somebody has mended by SQL is a text.
        length: "length(CAST(body AS BLOB))",
        body: "CAST(body AS BLOB)",
        oldest: "COALESCE(CAST(strftime('%s', min(failed_at)) AS INTEGER), 0)",
        mysql: false,
    };

    fn quote(table: &TableName) -> String {
        quote(table)
    }

    fn ddl(table: &TableName) -> String {
        format!(
            "CREATE TABLE IF NOT EXISTS {} (\n  seq INTEGER PRIMARY KEY AUTOINCREMENT,\n  pipeline TEXT NOT NULL,\n  \
             id TEXT NOT NULL,\n  failed_at TEXT,\n  class TEXT,\n  code TEXT,\n  column_name TEXT,\n  reason TEXT,\n  \
             message_id TEXT,\n  table_name TEXT,\n  queue TEXT,\n  exchange TEXT NOT NULL,\n  \
             routing_key TEXT NOT NULL,\n  attempts INTEGER,\n  replays INTEGER NOT NULL,\n  \
             properties TEXT NOT NULL,\n  headers TEXT NOT NULL,\n  body BLOB NOT NULL,\n  chosen TEXT,\n  \
             UNIQUE (pipeline, id)\n);\n",
            quote(table)
        )
    }

    async fn exists(&mut self, table: &TableName) -> Result<bool, Failure> {
        self.usable()?;
        let tables: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM pragma_table_list WHERE schema = ?1 COLLATE NOCASE AND name = ?2 COLLATE NOCASE",
        )
        .bind(schema_of(table))
        .bind(&table.name)
        .fetch_one(&mut self.connection)
        .await
        .map_err(failure)?;
        Ok(tables == 1)
    }

    async fn create(&mut self, table: &TableName) -> Result<(), Failure> {
        let create = format!("BEGIN IMMEDIATE;\n{}COMMIT", Self::ddl(table));
        self.transact(create).await
    }

    /// The lock of a file beside the database's: nothing within SQLite is kept by a connection and
    /// lost with it, and keeps no worker from writing. One lock for all tables of the file.
    async fn try_lock(&mut self, _: &TableName, holder: &str) -> Result<Option<String>, Failure> {
        let path: Option<String> = sqlx::query_scalar("SELECT file FROM pragma_database_list WHERE name = 'main'")
            .fetch_optional(&mut self.connection)
            .await
            .map_err(failure)?;
        let path = PathBuf::from(format!("{}-dlq-lock", path.unwrap_or_default()));
        let failed = |error: std::io::Error| {
            let message = format!("the lock {} can't be taken: {}", path.display(), error.kind());
            Failure::new(ErrorClass::SinkMisconfigured, "dlq_lock", message)
        };
        let opened = File::options().read(true).write(true).create(true).truncate(false).open(&path);
        let mut file = opened.map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {
                let written = file.set_len(0).and_then(|()| file.write_all(holder.as_bytes()));
                written.map_err(failed)?;
                self.lock = Some(file);
                Ok(None)
            }
            Err(TryLockError::WouldBlock) => {
                let mut who = Vec::new();
                let read = file.rewind().and_then(|()| (&file).take(HOLDER_MAX).read_to_end(&mut who));
                read.map_err(failed)?;
                Ok(Some(format!("`{}`", String::from_utf8_lossy(&who))))
            }
            Err(TryLockError::Error(error)) => Err(failed(error)),
        }
    }

    async fn begin(&mut self) -> Result<(), Failure> {
        self.usable()?;
        let begun = sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut self.connection).await;
        begun.map(|_| ()).map_err(failure)
    }

    async fn commit(&mut self) -> Result<(), Failure> {
        sqlx::raw_sql("COMMIT").execute(&mut self.connection).await.map(|_| ()).map_err(failure)
    }

    async fn roll_back(&mut self) {
        crate::sink::optimistic::Engine::rollback(*self).await;
    }

    async fn run(&mut self, sql: String, values: &[Value<'_>]) -> Result<(), Failure> {
        let query = sqlx::query_with(AssertSqlSafe(sql), arguments(values)?).persistent(false);
        query.execute(&mut self.connection).await.map(|_| ()).map_err(failure)
    }

    async fn numbers(&mut self, sql: String, values: &[Value<'_>]) -> Result<Vec<(i64, i64)>, Failure> {
        let query = sqlx::query_as_with(AssertSqlSafe(sql), arguments(values)?).persistent(false);
        query.fetch_all(&mut self.connection).await.map_err(failure)
    }

    async fn stored(&mut self, sql: String, values: &[Value<'_>]) -> Result<Vec<StoredLetter>, Failure> {
        let query = sqlx::query_with(AssertSqlSafe(sql), arguments(values)?).persistent(false);
        let rows = query.fetch_all(&mut self.connection).await.map_err(failure)?;
        let letter = |row: &SqliteRow| {
            Ok(StoredLetter {
                seq: row.try_get(0)?,
                replays: row.try_get(1)?,
                set: row.try_get(2)?,
                exchange: row.try_get(3)?,
                routing_key: row.try_get(4)?,
                properties: row.try_get(5)?,
                headers: row.try_get(6)?,
                body: row.try_get(7)?,
            })
        };
        rows.iter().map(letter).collect::<Result<_, sqlx::Error>>().map_err(failure)
    }
}

impl Rows for &mut SqliteSession {
    const PAUSED_AT: &'static str = "paused_at";

    fn pauses_ddl(table: &TableName) -> String {
        format!(
            "CREATE TABLE IF NOT EXISTS {} (\n  pipeline TEXT PRIMARY KEY,\n  paused_by TEXT NOT NULL,\n  \
             reason TEXT NOT NULL,\n  paused_at TEXT NOT NULL\n);\n",
            quote(table)
        )
    }

    async fn texts(&mut self, sql: String) -> Result<Vec<Vec<String>>, Failure> {
        self.usable()?;
        let query = sqlx::query(AssertSqlSafe(sql)).persistent(false);
        let rows = query.fetch_all(&mut self.connection).await.map_err(failure)?;
        let text =
            |row: &SqliteRow, at| row.try_get::<Option<String>, _>(at).map(Option::unwrap_or_default).map_err(failure);
        rows.iter().map(|row| (0..row.len()).map(|at| text(row, at)).collect()).collect()
    }
}

fn failure(error: sqlx::Error) -> Failure {
    classify::failure(error, &[])
}

fn arguments(values: &[Value<'_>]) -> Result<SqliteArguments, Failure> {
    let mut arguments = SqliteArguments::default();
    arguments.reserve(values.len(), 0);
    for value in values {
        match *value {
            Value::Text(text) => arguments.add(text.map(Arc::<str>::from)),
            Value::Number(number) => arguments.add(number),
            Value::Time(micros) => arguments.add(Value::time(micros)),
            Value::Bytes(bytes) => arguments.add(bytes.to_vec()),
        }
        .map_err(|error| {
            Failure::new(ErrorClass::Unknown, "bind", "a dead letter couldn't be bound").detail(error.to_string())
        })?;
    }
    Ok(arguments)
}
