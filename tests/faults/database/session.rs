//! A connection of the test's own that stays open, and the login that a worker has where it mustn't
//! be the administrator.

use sqlx::{AssertSqlSafe, Connection, MySqlConnection, PgConnection, SqliteConnection};

use super::restart_worker;
use crate::faults::scene::Scene;
use crate::faults_database::with_login;
use crate::support::database::{Server, try_execute, try_rows};
use crate::support::wait::{PATIENCE, eventually};

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

/// The login of [`log_in_as_worker`].
pub const WORKER: &str = "worker";

/// Has the worker log in as somebody who may do what it needs, and no more. For servers of the run's
/// own: logins belong to the whole server.
pub async fn log_in_as_worker(scene: &mut Scene) {
    let create = match scene.run.server {
        Server::Postgres => "CREATE ROLE worker LOGIN PASSWORD 'right'",
        _ => "CREATE USER worker IDENTIFIED BY 'right'",
    };
    let grants = "GRANT SELECT, INSERT ON orders TO worker; GRANT ALL ON rabbit_sink_ledger TO worker; \
                  GRANT ALL ON rabbit_sink_ledger_pipelines TO worker";
    scene.database.execute(&format!("{create}; {grants}")).await;
    scene.database_url = with_login(&scene.database.url, WORKER, "right");
    restart_worker(scene).await;
}

/// Ends the connections of that login.
pub async fn disconnect(scene: &Scene, login: &str) {
    let url = &scene.database.url;
    match scene.run.server {
        Server::Postgres => {
            insist(url, &format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{login}'"))
                .await;
        }
        _ => {
            let sql = format!("SELECT CAST(id AS CHAR) FROM information_schema.processlist WHERE user = '{login}'");
            for row in try_rows(url, &sql).await.unwrap_or_default() {
                // It may be gone by now.
                drop(try_execute(url, &format!("KILL {}", row[0].as_deref().unwrap_or_default())).await);
            }
        }
    }
}

/// Runs statements as soon as the server lets us in.
pub async fn insist(url: &str, sql: &str) {
    eventually(PATIENCE, sql, async || try_execute(url, sql).await.is_ok()).await;
}
