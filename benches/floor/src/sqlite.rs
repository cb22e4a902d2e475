//! One INSERT of many rows, which the driver prepares once for each number of them. In WAL, synced
//! at every commit.

use sqlx::sqlite::{SqliteArguments, SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, SqliteConnection};

use crate::shapes::Row;
use crate::{Outcome, Sink};

/// SQLite's own limit of bound values.
const BINDS: usize = 32_766;

pub struct Sqlite {
    connection: SqliteConnection,
}

impl Sink for Sqlite {
    type Arguments = SqliteArguments;

    async fn connect(url: &str) -> Outcome<Self> {
        let options: SqliteConnectOptions = url.parse()?;
        let options = options.journal_mode(SqliteJournalMode::Wal).synchronous(SqliteSynchronous::Full);
        Ok(Sqlite { connection: options.connect().await? })
    }

    fn statements<'a, R: Row<'a>>(rows: &[R]) -> Outcome<Vec<(String, SqliteArguments)>> {
        let columns = R::columns();
        let mut statements = Vec::new();
        for rows in rows.chunks(BINDS / columns.len()) {
            let row = format!("({})", vec!["?"; columns.len()].join(","));
            let sql = format!(
                "INSERT INTO {} ({}) VALUES {} ON CONFLICT ({}) DO NOTHING",
                R::TABLE,
                columns.join(", "),
                vec![row; rows.len()].join(","),
                R::KEY
            );
            let mut arguments = SqliteArguments::default();
            for row in rows {
                row.sqlite(&mut arguments)?;
            }
            statements.push((sql, arguments));
        }
        Ok(statements)
    }

    async fn write(&mut self, statements: Vec<(String, SqliteArguments)>) -> Outcome<()> {
        let mut transaction = self.connection.begin_with("BEGIN IMMEDIATE").await?;
        for (sql, arguments) in statements {
            sqlx::query_with(AssertSqlSafe(sql), arguments).execute(&mut *transaction).await?;
        }
        transaction.commit().await?;
        Ok(())
    }
}
