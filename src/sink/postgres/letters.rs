//! Dead letters in PostgreSQL.

use sqlx::postgres::PgArguments;
use sqlx::{Arguments, AssertSqlSafe, Executor, PgConnection, Row};

use crate::catalogue::TableName;
use crate::error::{ErrorClass, Failure};
use crate::sink::letters::{Dialect, Engine, StoredLetter, Value};
use crate::sink::pauses::Rows;

use super::classify::failure;
use super::statement;

/// Marks our advisory locks: `RSdl` in ASCII. The second number of a lock is the table's.
const LOCK: i32 = 0x5253_646c;

/// Makes one of two sessions that create a table at once wait for the other.
const CREATING: &str = "SELECT pg_advisory_xact_lock(7881665129830187626)";

/// A connection, within whatever transaction it is in.
pub(super) struct Conn<'c>(pub &'c mut PgConnection);

impl Engine for Conn<'_> {
    const DIALECT: Dialect = Dialect {
        place: |nth, is_time| if is_time { format!("${nth}::text::timestamptz") } else { format!("${nth}") },
        length: "length(body)::int8",
        body: "body",
        oldest: "COALESCE(extract(epoch FROM min(failed_at))::int8, 0)",
        mysql: false,
    };

    fn quote(table: &TableName) -> String {
        statement::table(table)
    }

    fn ddl(table: &TableName) -> String {
        format!(
            "CREATE TABLE IF NOT EXISTS {} (\n\
             \x20   seq         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,\n\
             \x20   pipeline    text   COLLATE \"C\" NOT NULL,\n\
             \x20   id          text   COLLATE \"C\" NOT NULL,\n\
             \x20   failed_at   timestamptz,\n\
             \x20   class       text,\n\
             \x20   code        text,\n\
             \x20   column_name text,\n\
             \x20   reason      text,\n\
             \x20   message_id  text,\n\
             \x20   table_name  text,\n\
             \x20   queue       text,\n\
             \x20   exchange    text   NOT NULL,\n\
             \x20   routing_key text   NOT NULL,\n\
             \x20   attempts    bigint,\n\
             \x20   replays     bigint NOT NULL,\n\
             \x20   properties  text   NOT NULL,\n\
             \x20   headers     text   NOT NULL,\n\
             \x20   body        bytea  NOT NULL,\n\
             \x20   chosen      text,\n\
             \x20   UNIQUE (pipeline, id)\n\
             );",
            statement::table(table)
        )
    }

    async fn exists(&mut self, table: &TableName) -> Result<bool, Failure> {
        let persistence: Option<String> =
            sqlx::query_scalar("SELECT relpersistence::text FROM pg_class WHERE oid = to_regclass($1)")
                .bind(statement::table(table))
                .fetch_optional(&mut *self.0)
                .await
                .map_err(failure)?;
        match persistence.as_deref() {
            None => Ok(false),
            Some("p") => Ok(true),
            Some(_) => {
                let quoted = statement::table(table);
                let message = format!(
                    "the table of dead letters {table} is unlogged or temporary: a crash empties it. \
                     ALTER TABLE {quoted} SET LOGGED"
                );
                Err(Failure::new(ErrorClass::SinkMisconfigured, "dead_letters_unlogged", message))
            }
        }
    }

    async fn create(&mut self, table: &TableName) -> Result<(), Failure> {
        self.begin().await?;
        let created = async {
            self.0.execute(CREATING).await?;
            self.0.execute(AssertSqlSafe(Self::ddl(table))).await
        };
        match created.await {
            Ok(_) => self.commit().await,
            Err(error) => {
                self.roll_back().await;
                Err(failure(error))
            }
        }
    }

    async fn try_lock(&mut self, table: &TableName, holder: &str) -> Result<Option<String>, Failure> {
        let quoted = statement::table(table);
        let sql = "SELECT pg_try_advisory_lock($1, to_regclass($2)::oid::int8::bit(32)::int4)";
        let taken: bool =
            sqlx::query_scalar(sql).bind(LOCK).bind(&quoted).fetch_one(&mut *self.0).await.map_err(failure)?;
        if taken {
            // What others are told of us. PostgreSQL keeps 63 bytes of it.
            let named = sqlx::query("SELECT set_config('application_name', $1, false)").bind(holder);
            named.execute(&mut *self.0).await.map_err(failure)?;
            return Ok(None);
        }
        let sql = "SELECT a.application_name || '` (server process ' || l.pid || ')' FROM pg_locks l \
                   JOIN pg_stat_activity a ON a.pid = l.pid WHERE l.locktype = 'advisory' AND l.granted \
                   AND l.classid = $1::int8::oid AND l.objid = to_regclass($2) AND l.objsubid = 2 \
                   AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())";
        let query = sqlx::query_scalar(sql).bind(i64::from(LOCK)).bind(&quoted);
        let who: Option<Option<String>> = query.fetch_optional(&mut *self.0).await.map_err(failure)?;
        Ok(Some(who.flatten().map_or_else(|| "another session".to_owned(), |who| format!("`{who}"))))
    }

    async fn begin(&mut self) -> Result<(), Failure> {
        self.0.execute("BEGIN ISOLATION LEVEL READ COMMITTED").await.map(|_| ()).map_err(failure)
    }

    /// The SELECT is refused in a transaction that has failed, whose COMMIT would count as done.
    async fn commit(&mut self) -> Result<(), Failure> {
        self.0.execute("SELECT; COMMIT").await.map(|_| ()).map_err(failure)
    }

    async fn roll_back(&mut self) {
        // One that fails has lost its connection, and the transaction with it.
        self.0.execute("ROLLBACK").await.ok();
    }

    async fn run(&mut self, sql: String, values: &[Value<'_>]) -> Result<(), Failure> {
        // Statements of any number of rows: none is worth keeping.
        let query = sqlx::query_with(AssertSqlSafe(sql), arguments(values)?).persistent(false);
        query.execute(&mut *self.0).await.map(|_| ()).map_err(failure)
    }

    async fn numbers(&mut self, sql: String, values: &[Value<'_>]) -> Result<Vec<(i64, i64)>, Failure> {
        let query = sqlx::query_as_with(AssertSqlSafe(sql), arguments(values)?).persistent(false);
        query.fetch_all(&mut *self.0).await.map_err(failure)
    }

    async fn stored(&mut self, sql: String, values: &[Value<'_>]) -> Result<Vec<StoredLetter>, Failure> {
        let query = sqlx::query_with(AssertSqlSafe(sql), arguments(values)?).persistent(false);
        let rows = query.fetch_all(&mut *self.0).await.map_err(failure)?;
        let letter = |row: &sqlx::postgres::PgRow| {
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

impl Rows for Conn<'_> {
    const PAUSED_AT: &'static str = "to_char(paused_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US')";

    fn pauses_ddl(table: &TableName) -> String {
        format!(
            "CREATE TABLE IF NOT EXISTS {} (\n\
             \x20   pipeline  text COLLATE \"C\" PRIMARY KEY,\n\
             \x20   paused_by text NOT NULL,\n\
             \x20   reason    text NOT NULL,\n\
             \x20   paused_at timestamptz NOT NULL\n\
             );",
            statement::table(table)
        )
    }

    async fn texts(&mut self, sql: String) -> Result<Vec<Vec<String>>, Failure> {
        let rows = sqlx::query(AssertSqlSafe(sql)).persistent(false).fetch_all(&mut *self.0).await.map_err(failure)?;
        let text = |row: &sqlx::postgres::PgRow, at| {
            row.try_get::<Option<String>, _>(at).map(Option::unwrap_or_default).map_err(failure)
        };
        rows.iter().map(|row| (0..row.len()).map(|at| text(row, at)).collect()).collect()
    }
}

fn arguments(values: &[Value<'_>]) -> Result<PgArguments, Failure> {
    let mut arguments = PgArguments::default();
    for value in values {
        match *value {
            Value::Text(text) => arguments.add(text),
            Value::Number(number) => arguments.add(number),
            Value::Time(micros) => arguments.add(Value::time(micros).map(|time| format!("{time}+00"))),
            Value::Bytes(bytes) => arguments.add(bytes),
        }
        .map_err(|error| failure(sqlx::Error::Encode(error)))?;
    }
    Ok(arguments)
}
