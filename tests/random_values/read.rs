//! The table, read back.

use std::collections::BTreeMap;

use sqlx::mysql::MySqlRow;
use sqlx::sqlite::SqliteRow;
use sqlx::{
    AssertSqlSafe, Column as _, Connection, MySqlConnection, PgConnection, Row, SqliteConnection, TypeInfo, ValueRef,
};

use super::equal::Stored;
use crate::support::database::Server;

/// Rows by ID, as often as each is there; the first column is the ID.
pub type Rows = BTreeMap<String, Vec<Vec<Stored>>>;

/// What a query gives. PostgreSQL and MySQL are asked for text, but for MySQL's floats; SQLite tells
/// of each value what it is.
pub async fn rows(url: &str, sql: &str) -> Rows {
    let sql = AssertSqlSafe(sql.to_owned());
    macro_rules! fetch {
        ($connection:ty, $cell:expr) => {{
            let mut connection = <$connection>::connect(url).await.expect("the database answers");
            let fetched = sqlx::query(sql).fetch_all(&mut connection).await.expect("rows");
            connection.close().await.expect("closed");
            fetched.iter().map(|row| (0..row.len()).map(|at| $cell(row, at)).collect()).collect()
        }};
    }
    let rows: Vec<Vec<Stored>> = match Server::of(url) {
        Server::Postgres => fetch!(PgConnection, text),
        Server::Mysql => fetch!(MySqlConnection, mysql),
        Server::Sqlite => fetch!(SqliteConnection, sqlite),
    };
    let mut by_id = Rows::new();
    for mut row in rows {
        let Stored::Text(id) = row.remove(0) else { panic!("a row without an ID") };
        by_id.entry(id).or_default().push(row);
    }
    by_id
}

fn text<'r, R: Row>(row: &'r R, at: usize) -> Stored
where
    usize: sqlx::ColumnIndex<R>,
    Option<String>: sqlx::Decode<'r, R::Database>,
{
    let found: Option<String> = row.try_get_unchecked(at).expect("text");
    found.map_or(Stored::Null, Stored::Text)
}

fn mysql(row: &MySqlRow, at: usize) -> Stored {
    if row.column(at).type_info().name() != "DOUBLE" {
        return text(row, at);
    }
    let found: Option<f64> = row.try_get(at).expect("a float");
    found.map_or(Stored::Null, Stored::Real)
}

fn sqlite(row: &SqliteRow, at: usize) -> Stored {
    let value = row.try_get_raw(at).expect("a column");
    let kind = value.type_info().name().to_owned();
    match kind.as_str() {
        _ if value.is_null() => Stored::Null,
        "INTEGER" => Stored::Integer(row.get_unchecked(at)),
        "REAL" => Stored::Real(row.get_unchecked(at)),
        "TEXT" => Stored::Text(row.get_unchecked(at)),
        "BLOB" => Stored::Bytes(row.get_unchecked(at)),
        other => panic!("SQLite has a type {other}"),
    }
}
