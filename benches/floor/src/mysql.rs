//! One INSERT of many rows, which the driver prepares once for each number of them.

use sqlx::mysql::MySqlArguments;
use sqlx::{AssertSqlSafe, Connection, MySqlConnection};

use crate::shapes::Row;
use crate::{Outcome, Sink};

/// The protocol counts bound values in 16 bits.
const BINDS: usize = 65_535;

pub struct Mysql {
    connection: MySqlConnection,
}

impl Sink for Mysql {
    type Arguments = MySqlArguments;

    async fn connect(url: &str) -> Outcome<Self> {
        Ok(Mysql { connection: MySqlConnection::connect(url).await? })
    }

    fn statements<'a, R: Row<'a>>(rows: &[R]) -> Outcome<Vec<(String, MySqlArguments)>> {
        let columns = R::columns();
        let mut statements = Vec::new();
        for rows in rows.chunks(BINDS / columns.len()) {
            let row = format!("({})", vec!["?"; columns.len()].join(","));
            let sql = format!(
                "INSERT INTO {} ({}) VALUES {} ON DUPLICATE KEY UPDATE {} = {}",
                R::TABLE,
                columns.join(", "),
                vec![row; rows.len()].join(","),
                R::KEY,
                R::KEY
            );
            let mut arguments = MySqlArguments::default();
            for row in rows {
                row.mysql(&mut arguments)?;
            }
            statements.push((sql, arguments));
        }
        Ok(statements)
    }

    async fn write(&mut self, statements: Vec<(String, MySqlArguments)>) -> Outcome<()> {
        let mut transaction = self.connection.begin().await?;
        for (sql, arguments) in statements {
            sqlx::query_with(AssertSqlSafe(sql), arguments).execute(&mut *transaction).await?;
        }
        transaction.commit().await?;
        Ok(())
    }
}
