//! Dead letters in MySQL and MariaDB.

use sqlx::mysql::{MySqlArguments, MySqlRow};
use sqlx::{Arguments, AssertSqlSafe, Row as _};

use super::{MysqlSession, bind, classify, quote, text_at};
use crate::catalogue::TableName;
use crate::error::{ErrorClass, Failure};
use crate::sink::letters::{Dialect, Engine, StoredLetter, Value};
use crate::sink::pauses::Rows;

/// The name of a table's lock: names are at most 64 characters, and the server's own for all of its
/// databases.
const LOCK: &str = "CONCAT('rabbit_sink_dlq_', LEFT(SHA2(CONCAT(COALESCE(?, DATABASE()), '.', ?), 256), 40))";

impl Engine for &mut MysqlSession {
    const DIALECT: Dialect = Dialect {
        place: |_, _| "?".to_owned(),
        length: "LENGTH(body)",
        body: "body",
        oldest: "COALESCE(TIMESTAMPDIFF(SECOND, '1970-01-01', MIN(failed_at)), 0)",
        mysql: true,
    };

    fn quote(table: &TableName) -> String {
        quote(table)
    }

    /// Times are in UTC, in a type that doesn't end in 2038.
    fn ddl(table: &TableName) -> String {
        let text = "VARCHAR(255)";
        format!(
            "CREATE TABLE IF NOT EXISTS {} (\n  seq BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,\n  \
             pipeline VARCHAR(64) NOT NULL,\n  id {text} NOT NULL,\n  failed_at DATETIME(6),\n  class {text},\n  \
             code {text},\n  column_name {text},\n  reason TEXT,\n  message_id {text},\n  table_name {text},\n  \
             queue {text},\n  exchange {text} NOT NULL,\n  routing_key {text} NOT NULL,\n  attempts BIGINT,\n  \
             replays BIGINT NOT NULL,\n  properties LONGTEXT NOT NULL,\n  headers LONGTEXT NOT NULL,\n  \
             body LONGBLOB NOT NULL,\n  chosen {text},\n  UNIQUE KEY letter (pipeline, id)\n) \
             ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;\n",
            quote(table)
        )
    }

    fn most_bytes(&self) -> usize {
        self.packet_limit()
    }

    async fn exists(&mut self, table: &TableName) -> Result<bool, Failure> {
        self.usable()?;
        if !self.table_exists(table).await? {
            return Ok(false);
        }
        self.check_engine(table).await.map(|()| true)
    }

    async fn create(&mut self, table: &TableName) -> Result<(), Failure> {
        // The server's own lock on the name lets two processes do so at once.
        self.raw(Self::ddl(table)).await
    }

    async fn try_lock(&mut self, table: &TableName, _: &str) -> Result<Option<String>, Failure> {
        let ask = |what: String| format!("SELECT CAST({what} AS CHAR)");
        let first = |rows: &[MySqlRow]| rows.first().map(|row| text_at(row, 0)).transpose().map(Option::flatten);
        let taken = self.about(table, ask(format!("GET_LOCK({LOCK}, 0)"))).await?;
        if first(&taken)?.as_deref() == Some("1") {
            return Ok(None);
        }
        let id = first(&self.about(table, ask(format!("IS_USED_LOCK({LOCK})"))).await?)?.unwrap_or_default();
        let list = format!("SELECT CONCAT(USER, '@', HOST) FROM information_schema.PROCESSLIST WHERE ID = '{id}'");
        let who = first(&self.rows(list).await?)?.unwrap_or_else(|| "another login".to_owned());
        Ok(Some(format!("connection {id} of {who}")))
    }

    async fn begin(&mut self) -> Result<(), Failure> {
        let begin = self.begin.clone();
        self.raw(begin).await
    }

    async fn commit(&mut self) -> Result<(), Failure> {
        let commit = format!("COMMIT{}", self.after);
        self.raw(commit).await
    }

    async fn roll_back(&mut self) {
        crate::sink::optimistic::Engine::rollback(*self).await;
    }

    async fn run(&mut self, sql: String, values: &[Value<'_>]) -> Result<(), Failure> {
        let query = sqlx::query_with(AssertSqlSafe(sql), arguments(values)?).persistent(false);
        query.execute(&mut self.connection).await.map(|_| ()).map_err(failure)
    }

    async fn numbers(&mut self, sql: String, values: &[Value<'_>]) -> Result<Vec<(i64, i64)>, Failure> {
        let query = sqlx::query_with(AssertSqlSafe(sql), arguments(values)?).persistent(false);
        let rows = query.fetch_all(&mut self.connection).await.map_err(failure)?;
        let pair = |row: &MySqlRow| Ok((row.try_get_unchecked(0)?, row.try_get_unchecked(1)?));
        rows.iter().map(pair).collect::<Result<_, sqlx::Error>>().map_err(failure)
    }

    async fn stored(&mut self, sql: String, values: &[Value<'_>]) -> Result<Vec<StoredLetter>, Failure> {
        let query = sqlx::query_with(AssertSqlSafe(sql), arguments(values)?).persistent(false);
        let rows = query.fetch_all(&mut self.connection).await.map_err(failure)?;
        let text = |row: &MySqlRow, at| Ok::<_, Failure>(text_at(row, at)?.unwrap_or_default());
        let letter = |row: &MySqlRow| {
            Ok(StoredLetter {
                seq: row.try_get_unchecked(0).map_err(failure)?,
                replays: row.try_get_unchecked(1).map_err(failure)?,
                set: text_at(row, 2)?,
                exchange: text(row, 3)?,
                routing_key: text(row, 4)?,
                properties: text(row, 5)?,
                headers: text(row, 6)?,
                body: row.try_get_unchecked(7).map_err(failure)?,
            })
        };
        rows.iter().map(letter).collect()
    }
}

impl Rows for &mut MysqlSession {
    const PAUSED_AT: &'static str = "CAST(DATE_FORMAT(paused_at, '%Y-%m-%d %H:%i:%s.%f') AS CHAR)";

    fn pauses_ddl(table: &TableName) -> String {
        format!(
            "CREATE TABLE IF NOT EXISTS {} (\n  pipeline VARCHAR(64) NOT NULL PRIMARY KEY,\n  \
             paused_by VARCHAR(255) NOT NULL,\n  reason TEXT NOT NULL,\n  paused_at DATETIME(6) NOT NULL\n) \
             ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;\n",
            quote(table)
        )
    }

    async fn texts(&mut self, sql: String) -> Result<Vec<Vec<String>>, Failure> {
        self.usable()?;
        let found = self.rows(sql).await?;
        let text = |row: &MySqlRow, at| Ok(text_at(row, at)?.unwrap_or_default());
        found.iter().map(|row| (0..row.len()).map(|at| text(row, at)).collect()).collect()
    }
}

fn failure(error: sqlx::Error) -> Failure {
    classify::failure(error, &[])
}

fn arguments(values: &[Value<'_>]) -> Result<MySqlArguments, Failure> {
    let mut arguments = MySqlArguments::default();
    let bytes = |value: &Value<'_>| match value {
        Value::Text(Some(text)) => text.len(),
        Value::Bytes(bytes) => bytes.len(),
        _ => bind::VALUE_OVERHEAD,
    };
    arguments.reserve(values.len(), values.iter().map(bytes).sum());
    for value in values {
        match *value {
            Value::Text(text) => arguments.add(text),
            Value::Number(number) => arguments.add(number),
            Value::Time(micros) => arguments.add(Value::time(micros)),
            Value::Bytes(bytes) => arguments.add(bytes),
        }
        .map_err(|error| {
            Failure::new(ErrorClass::Unknown, "bind", "a dead letter couldn't be bound").detail(error.to_string())
        })?;
    }
    Ok(arguments)
}
