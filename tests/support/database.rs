//! A database that one test has for itself, on the servers that all share, and what is in it.

use std::path::PathBuf;

use sqlx::{AssertSqlSafe, Connection, MySqlConnection, PgConnection, Row, SqliteConnection};

use super::process::new_folder;
use super::servers::{shared_mysql_url, shared_postgres_url};
use super::wait::unique_name;

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Server {
    Postgres,
    Mysql,
    Sqlite,
}

impl Server {
    /// For tests that go through all of them.
    pub const ALL: [Server; 3] = [Server::Postgres, Server::Mysql, Server::Sqlite];

    /// By a URL's scheme.
    pub fn of(url: &str) -> Server {
        match url.split(':').next() {
            Some("postgres" | "postgresql") => Server::Postgres,
            Some("mysql" | "mariadb") => Server::Mysql,
            Some("sqlite") => Server::Sqlite,
            _ => panic!("no database URL"),
        }
    }
}

/// A fresh database; dropped with the value, on panic too.
#[derive(Debug)]
pub struct TestDatabase {
    pub server: Server,
    /// With login.
    pub url: String,
    name: String,
    admin: String,
    folder: Option<PathBuf>,
}

impl TestDatabase {
    /// On the shared server of this kind; a file for SQLite.
    pub async fn fresh(server: Server) -> TestDatabase {
        match server {
            Server::Postgres => TestDatabase::on(&shared_postgres_url()).await,
            Server::Mysql => TestDatabase::on(&shared_mysql_url()).await,
            Server::Sqlite => {
                let folder = new_folder("sqlite");
                let url = format!("sqlite://{}?mode=rwc", folder.join("test.db").display());
                TestDatabase { server, url, name: String::new(), admin: String::new(), folder: Some(folder) }
            }
        }
    }

    /// On the server behind this URL.
    pub async fn on(admin: &str) -> TestDatabase {
        let name = unique_name("test");
        execute(admin, &format!("CREATE DATABASE {name}")).await;
        let mut url = url::Url::parse(admin).expect("a URL");
        url.set_path(&name);
        TestDatabase { server: Server::of(admin), url: url.into(), name, admin: admin.to_owned(), folder: None }
    }

    /// Runs statements, divided by semicolons.
    pub async fn execute(&self, sql: &str) {
        execute(&self.url, sql).await;
    }

    /// What a query gives; all of its columns must be text (see [`rows`]).
    pub async fn rows(&self, sql: &str) -> Vec<Vec<Option<String>>> {
        rows(&self.url, sql).await
    }

    /// These columns of a table as text, sorted.
    pub async fn table(&self, table: &str, columns: &[&str]) -> Vec<Vec<Option<String>>> {
        rows(&self.url, &select_as_text(self.server, table, columns)).await
    }

    /// Rows in a table.
    pub async fn count(&self, table: &str) -> u64 {
        let counted = self.rows(&select_as_text(self.server, table, &["count(*)"])).await;
        counted[0][0].as_ref().expect("a count").parse().expect("a number")
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        if let Some(folder) = &self.folder {
            drop(std::fs::remove_dir_all(folder));
            return;
        }
        let force = if self.server == Server::Postgres { " WITH (FORCE)" } else { "" };
        let sql = format!("DROP DATABASE IF EXISTS {}{force}", self.name);
        let admin = self.admin.clone();
        // A runtime of its own: the test's may be going down. The server may be dead by now, then
        // there is nothing left to drop.
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            let dropped = async { try_execute(&admin, &sql).await.is_ok() };
            runtime.block_on(async { tokio::time::timeout(std::time::Duration::from_secs(20), dropped).await.is_ok() })
        });
        drop(dropping.join());
    }
}

/// `SELECT` of columns or expressions, each cast to text, in a fixed order.
pub fn select_as_text(server: Server, table: &str, columns: &[&str]) -> String {
    let text = if server == Server::Mysql { "CHAR" } else { "TEXT" };
    let cast: Vec<String> = columns.iter().map(|column| format!("CAST({column} AS {text})")).collect();
    let order: Vec<String> = (1..=columns.len()).map(|at| at.to_string()).collect();
    format!("SELECT {} FROM {table} ORDER BY {}", cast.join(", "), order.join(", "))
}

/// Runs statements on the database behind a URL.
pub async fn execute(url: &str, sql: &str) {
    try_execute(url, sql).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
}

/// Runs statements on the database behind a URL.
pub async fn try_execute(url: &str, sql: &str) -> Result<(), sqlx::Error> {
    let sql = AssertSqlSafe(sql.to_owned());
    match Server::of(url) {
        Server::Postgres => {
            let mut connection = PgConnection::connect(url).await?;
            sqlx::raw_sql(sql).execute(&mut connection).await?;
            connection.close().await
        }
        Server::Mysql => {
            let mut connection = MySqlConnection::connect(url).await?;
            sqlx::raw_sql(sql).execute(&mut connection).await?;
            connection.close().await
        }
        Server::Sqlite => {
            let mut connection = SqliteConnection::connect(url).await?;
            sqlx::raw_sql(sql).execute(&mut connection).await?;
            connection.close().await
        }
    }
}

/// What a query gives. Columns must be text: cast them in the query.
pub async fn rows(url: &str, sql: &str) -> Vec<Vec<Option<String>>> {
    try_rows(url, sql).await.unwrap_or_else(|e| panic!("{sql}: {e}"))
}

/// As [`rows`], for while the server may be away.
pub async fn try_rows(url: &str, sql: &str) -> Result<Vec<Vec<Option<String>>>, sqlx::Error> {
    macro_rules! fetch {
        ($connection:ty) => {{
            let mut connection = <$connection>::connect(url).await?;
            let fetched = sqlx::query(AssertSqlSafe(sql.to_owned())).fetch_all(&mut connection).await?;
            connection.close().await?;
            fetched.iter().map(|row| (0..row.len()).map(|at| row.try_get(at)).collect()).collect()
        }};
    }
    match Server::of(url) {
        Server::Postgres => fetch!(PgConnection),
        Server::Mysql => fetch!(MySqlConnection),
        Server::Sqlite => fetch!(SqliteConnection),
    }
}

/// An open connection: what it has locked stays locked until it is closed.
pub enum Session {
    Postgres(PgConnection),
    Mysql(MySqlConnection),
    Sqlite(SqliteConnection),
}

impl Session {
    pub async fn open(url: &str) -> Result<Session, sqlx::Error> {
        Ok(match Server::of(url) {
            Server::Postgres => Session::Postgres(PgConnection::connect(url).await?),
            Server::Mysql => Session::Mysql(MySqlConnection::connect(url).await?),
            Server::Sqlite => Session::Sqlite(SqliteConnection::connect(url).await?),
        })
    }

    /// Runs statements, divided by semicolons.
    pub async fn execute(&mut self, sql: &str) -> Result<(), sqlx::Error> {
        let sql = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()));
        match self {
            Session::Postgres(connection) => sql.execute(connection).await.map(|_| ()),
            Session::Mysql(connection) => sql.execute(connection).await.map(|_| ()),
            Session::Sqlite(connection) => sql.execute(connection).await.map(|_| ()),
        }
    }

    pub async fn close(self) {
        let closed = match self {
            Session::Postgres(connection) => connection.close().await,
            Session::Mysql(connection) => connection.close().await,
            Session::Sqlite(connection) => connection.close().await,
        };
        closed.expect("an open connection");
    }
}
