//! One array a column: the text stays the same however many rows there are.

use sqlx::postgres::PgArguments;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::shapes::Row;
use crate::{Outcome, Sink};

pub struct Postgres {
    connection: PgConnection,
}

impl Sink for Postgres {
    type Arguments = PgArguments;

    async fn connect(url: &str) -> Outcome<Self> {
        Ok(Postgres { connection: PgConnection::connect(url).await? })
    }

    fn statements<'a, R: Row<'a>>(rows: &[R]) -> Outcome<Vec<(String, PgArguments)>> {
        let arrays: Vec<String> =
            R::arrays().iter().enumerate().map(|(at, kind)| format!("${}::{kind}[]", at + 1)).collect();
        let sql = format!(
            "INSERT INTO {} ({}) SELECT * FROM UNNEST({}) ON CONFLICT ({}) DO NOTHING",
            R::TABLE,
            R::columns().join(", "),
            arrays.join(", "),
            R::KEY
        );
        Ok(vec![(sql, R::postgres(rows)?)])
    }

    async fn write(&mut self, statements: Vec<(String, PgArguments)>) -> Outcome<()> {
        let mut transaction = self.connection.begin().await?;
        for (sql, arguments) in statements {
            sqlx::query_with(AssertSqlSafe(sql), arguments).execute(&mut *transaction).await?;
        }
        transaction.commit().await?;
        Ok(())
    }
}
