//! What happens to a transaction while it runs: its connection is ended, others are in its way, or
//! nobody hears how it ended.

use std::time::Duration;

use super::session::Session;
use super::{OWN, Setting, counted, retries, shows};
use crate::faults::scene::Scene;
use crate::support::database::{Server, try_execute, try_rows};
use crate::support::proxy::Trap;
use crate::support::wait::{PATIENCE, eventually};

/// InnoDB shows the transactions of one moment until nobody has read them for a tenth of a second: who looks more
/// often sees what it saw first, for ever.
/// <https://dev.mysql.com/doc/refman/5.7/en/innodb-information-schema-internal-data.html>
const UNREAD: Duration = Duration::from_millis(250);

/// Ends the connections of the run's worker that are in a transaction. Returns how many.
async fn kill_transactions(scene: &Scene) -> usize {
    let url = &scene.database.url;
    if scene.run.server == Server::Mysql {
        tokio::time::sleep(UNREAD).await;
    }
    let sql = match scene.run.server {
        Server::Postgres => {
            "SELECT pg_terminate_backend(pid)::text FROM pg_stat_activity WHERE datname = current_database() \
             AND application_name = 'rabbit-sink' AND xact_start IS NOT NULL"
        }
        _ => {
            "SELECT CAST(p.id AS CHAR) FROM information_schema.innodb_trx t \
             JOIN information_schema.processlist p ON p.id = t.trx_mysql_thread_id \
             WHERE p.db = DATABASE() AND p.id <> CONNECTION_ID()"
        }
    };
    let found = try_rows(url, sql).await.unwrap_or_else(|error| {
        eprintln!("who has a transaction couldn't be asked: {error}");
        Vec::new()
    });
    if scene.run.server == Server::Postgres {
        return found.len();
    }
    let mut killed = 0;
    for row in found {
        let kill = format!("KILL {}", row[0].as_deref().unwrap_or_default());
        killed += usize::from(try_execute(url, &kill).await.is_ok());
    }
    killed
}

pub async fn connection_killed(scene: &mut Scene) {
    // So that transactions take a while.
    scene.database_proxy().delay(Duration::from_millis(20));
    for _ in 0..5 {
        scene.flowing(20).await;
        eventually(PATIENCE, "a transaction is met", async || kill_transactions(scene).await > 0).await;
    }
    scene.database_proxy().pass();
    assert!(retries(scene, "sink_unavailable").await > 0, "the worker has noticed");
    scene.mended().await;
}

/// The worker is the one that finds the deadlock, and so the one that loses.
pub const QUICK_DETECTOR: Setting = Setting { postgres: &[("deadlock_timeout", "100ms")], ..OWN };

pub async fn deadlock(scene: &mut Scene) {
    let (prepare, first, second, code) = match scene.run.server {
        Server::Postgres => (
            "SELECT 1",
            "SET deadlock_timeout = '60s'; BEGIN; LOCK TABLE orders IN SHARE MODE",
            "LOCK TABLE rabbit_sink_ledger IN SHARE MODE",
            "40P01",
        ),
        // The transaction that has changed more wins.
        _ => (
            "CREATE TABLE heavy (n int); INSERT INTO heavy SELECT seq FROM seq_1_to_20000",
            "SET innodb_lock_wait_timeout = 60; START TRANSACTION; UPDATE heavy SET n = n + 1; \
             SELECT id FROM orders FOR UPDATE",
            "SELECT message_id FROM rabbit_sink_ledger FOR UPDATE",
            "1213",
        ),
    };
    scene.database.execute(prepare).await;
    let met = format!("sink_contention {code}");
    let end = std::time::Instant::now() + PATIENCE;
    // Sometimes the worker's lock_timeout is faster than we are.
    while !scene.worker().stderr().contains(&met) {
        assert!(std::time::Instant::now() < end, "no deadlock; its log:\n{}", scene.worker().log_tail());
        let mut other = Session::open(&scene.database.url).await.expect("a connection");
        other.execute(first).await.expect("locks of our own");
        other.execute(second).await.expect("the other one loses");
        other.close().await;
        scene.flowing(20).await;
    }
    scene.mended().await;
}

pub async fn table_locked(scene: &mut Scene) {
    let mut other = Session::open(&scene.database.url).await.expect("a connection");
    // The sampler may read on.
    let lock = match scene.run.server {
        Server::Postgres => "BEGIN; LOCK TABLE orders IN SHARE MODE",
        Server::Mysql => "LOCK TABLES orders READ",
        Server::Sqlite => "BEGIN IMMEDIATE",
    };
    other.execute(lock).await.expect("a lock");
    tokio::time::sleep(Duration::from_secs(60)).await;
    shows(scene, "holding", &["sink_contention"]).await;
    other.close().await;
    scene.mended().await;
}

async fn spring(scene: &mut Scene, trap: Trap, times: usize) {
    for _ in 0..times {
        scene.flowing(20).await;
        scene.database_proxy().on_commit(scene.run.server, trap).sprung().await;
    }
}

pub async fn commit_answer_lost(scene: &mut Scene) {
    spring(scene, Trap::LoseAnswer, 5).await;
    scene.mended().await;
    scene.until("what was committed is known", async |scene| counted(scene, "duplicates").await > 0).await;
}

pub async fn commit_request_lost(scene: &mut Scene) {
    spring(scene, Trap::LoseRequest, 5).await;
    scene.mended().await;
    // Not five: what it meets while it looks for a bad row it tries again at once.
    assert!(retries(scene, "sink_unavailable").await > 0, "the worker has noticed");
}

pub async fn commit_answer_held(scene: &mut Scene) {
    spring(scene, Trap::HoldAnswer, 1).await;
    // Its own deadline, and nothing else, ends the wait.
    scene.until("it has given the connection up", async |scene| retries(scene, "sink_unavailable").await > 0).await;
    scene.mended().await;
}
