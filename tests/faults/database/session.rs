//! A connection of the test's own that stays open, and the login that a worker has where it mustn't
//! be the administrator.

use super::restart_worker;
use crate::faults::scene::Scene;
use crate::faults_database::with_login;
pub use crate::support::database::Session;
use crate::support::database::{Server, try_execute, try_rows};
use crate::support::wait::{PATIENCE, eventually};

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
                  GRANT ALL ON rabbit_sink_ledger_pipelines TO worker; GRANT ALL ON rabbit_sink_ledger_pauses TO worker";
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
