//! The test's own hand in a database.

use sqlx::{AssertSqlSafe, Connection, MySqlConnection, PgConnection, SqliteConnection};

use crate::support::database::Server;

/// A connection of the test's that stays open between cause and mend.
pub enum Hand {
    Postgres(PgConnection),
    Mysql(MySqlConnection),
    Sqlite(SqliteConnection),
}

impl Hand {
    pub async fn open(url: &str) -> Result<Hand, sqlx::Error> {
        Ok(match Server::of(url) {
            Server::Postgres => Hand::Postgres(PgConnection::connect(url).await?),
            Server::Mysql => Hand::Mysql(MySqlConnection::connect(url).await?),
            Server::Sqlite => Hand::Sqlite(SqliteConnection::connect(url).await?),
        })
    }

    pub async fn execute(&mut self, sql: &str) -> Result<(), sqlx::Error> {
        let sql = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()));
        match self {
            Hand::Postgres(connection) => sql.execute(connection).await.map(|_| ()),
            Hand::Mysql(connection) => sql.execute(connection).await.map(|_| ()),
            Hand::Sqlite(connection) => sql.execute(connection).await.map(|_| ()),
        }
    }

    /// A query's first column.
    pub async fn texts(&mut self, sql: &str) -> Result<Vec<String>, sqlx::Error> {
        let sql = AssertSqlSafe(sql.to_owned());
        match self {
            Hand::Postgres(connection) => sqlx::query_scalar(sql).fetch_all(connection).await,
            Hand::Mysql(connection) => sqlx::query_scalar(sql).fetch_all(connection).await,
            Hand::Sqlite(connection) => sqlx::query_scalar(sql).fetch_all(connection).await,
        }
    }

    pub async fn close(self) {
        let closed = match self {
            Hand::Postgres(connection) => connection.close().await,
            Hand::Mysql(connection) => connection.close().await,
            Hand::Sqlite(connection) => connection.close().await,
        };
        // What it was to do, it has done.
        closed.ok();
    }
}
