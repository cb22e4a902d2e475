//! Stop means drain: what is in hand is settled, the rest is the broker's again.

use std::time::{Duration, Instant};

use sqlx::{Connection, SqliteConnection};

use crate::support::Worker;
use crate::support::broker::{Depth, Kind};
use crate::support::database::Server;
use crate::support::wait::{PATIENCE, eventually, unique_name};
use crate::worker::scene::Scene;

/// Slow enough that a signal comes in the middle, on the fastest machine too.
const SLOW: &str =
    "prefetch = 400\n[pipelines.orders.batch]\nmax_rows = 100\n[pipelines.orders.limits]\nmax_rows_per_second = 1000\n";

async fn stopped_in_the_middle(signal: &str, kind: Kind) {
    let mut scene = Scene::with(kind, Server::Postgres).await;
    scene.publish(0..5_000).await;
    scene.publish_bad(0..8).await;
    let mut worker = Worker::run(&scene.config(SLOW));
    worker.eventually("some are written", async || scene.rows().await > Some(200)).await;
    worker.signal(signal);
    let exit = worker.wait().await.expect(0);
    let written = scene.rows().await.unwrap();
    assert!(written < 5_000, "it was stopped in the middle");
    let left = Depth { ready: 5_008 - written as u64, unacked: 0 };
    eventually(PATIENCE, "the rest is ready", async || scene.broker.ready(&scene.queue).await == left.ready).await;
    assert_eq!(scene.broker.depth(&scene.queue).await, left, "what is written is acked, and nothing else");
    assert!(exit.stdout.contains(&format!("{written} written")), "{}", exit.stdout);
    let rest = Worker::until_empty(&scene.config("")).await.expect(0).summary();
    assert_eq!((rest.written as usize, rest.duplicates), (5_000 - written, 0), "a drained stop repeats nothing");
    scene.audit().await;
}

#[tokio::test]
async fn sigterm_in_the_middle_settles_what_is_in_hand_and_repeats_nothing() {
    stopped_in_the_middle("TERM", Kind::Quorum).await;
}

#[tokio::test]
async fn sigint_does_the_same() {
    stopped_in_the_middle("INT", Kind::Classic).await;
}

#[tokio::test]
async fn a_second_signal_stops_at_once_and_loses_nothing() {
    let mut scene = Scene::shared(Kind::Quorum).await;
    scene.publish(0..20).await;
    let mut lock = SqliteConnection::connect(&scene.database.url).await.unwrap();
    sqlx::raw_sql("PRAGMA journal_mode = WAL").execute(&mut lock).await.unwrap();
    let config = scene.config("").replacen("[database]\n", "[database]\nlock_timeout = \"1h\"\n", 1);
    let config = config.replacen("[rabbitmq]\n", "[worker]\nshutdown_timeout = \"1h\"\n[rabbitmq]\n", 1);
    let mut worker = Worker::run(&config);
    scene.all_written(&mut worker).await;
    // One writer at a time: its next transaction waits for ours, for an hour.
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut lock).await.unwrap();
    scene.publish(20..40).await;
    eventually(PATIENCE, "they are in hand", async || {
        scene.broker.depth(&scene.queue).await == Depth { ready: 0, unacked: 20 }
    })
    .await;
    worker.signal("TERM");
    worker.logs("draining").await;
    assert!(worker.alive(), "the first signal drains");
    worker.signal("TERM");
    worker.wait().await.expect(1);
    sqlx::raw_sql("COMMIT").execute(&mut lock).await.unwrap();
    lock.close().await.unwrap();
    let rest = Worker::until_empty(&scene.config("")).await.expect(0).summary();
    assert_eq!(rest.settled, 20);
    scene.audit().await;
}

#[tokio::test]
async fn a_drain_ends_at_its_timeout_and_gives_the_rest_back() {
    let mut scene = Scene::shared(Kind::Quorum).await;
    scene.publish(0..20).await;
    let mut lock = SqliteConnection::connect(&scene.database.url).await.unwrap();
    sqlx::raw_sql("PRAGMA journal_mode = WAL").execute(&mut lock).await.unwrap();
    let config = scene.config("").replacen("[database]\n", "[database]\nlock_timeout = \"1h\"\n", 1);
    let config = config.replacen("[rabbitmq]\n", "[worker]\nshutdown_timeout = \"500ms\"\n[rabbitmq]\n", 1);
    let mut worker = Worker::run(&config);
    scene.all_written(&mut worker).await;
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut lock).await.unwrap();
    scene.publish(20..40).await;
    eventually(PATIENCE, "they are in hand", async || {
        scene.broker.depth(&scene.queue).await == Depth { ready: 0, unacked: 20 }
    })
    .await;
    let exit = worker.stop().await.expect(0);
    assert!(exit.stderr.contains("not everything was settled in time"), "{}", exit.stderr);
    eventually(PATIENCE, "they are back", async || scene.broker.ready(&scene.queue).await == 20).await;
    sqlx::raw_sql("COMMIT").execute(&mut lock).await.unwrap();
    lock.close().await.unwrap();
    Worker::until_empty(&scene.config("")).await.expect(0);
    scene.audit().await;
}

#[tokio::test]
async fn sigterm_while_holding_exits_0_and_the_messages_are_back() {
    let postgres = url::Url::parse(&crate::support::servers::shared_postgres_url()).unwrap();
    let proxy = crate::support::Proxy::start(postgres.port().unwrap()).await;
    let mut scene = Scene::with(Kind::Quorum, Server::Postgres).await;
    let direct = std::mem::replace(&mut scene.database.url, String::new());
    let config = {
        scene.database.url = proxy.url(&direct);
        let config = scene.config("").replacen("[rabbitmq]\n", "[worker]\nshutdown_timeout = \"1h\"\n[rabbitmq]\n", 1);
        scene.database.url = direct;
        config
    };
    let mut worker = Worker::run(&config);
    scene.flows(&mut worker).await;
    proxy.refuse();
    proxy.cut();
    scene.publish(20..60).await;
    scene.ready_says(&mut worker, 503, "\"holding\"").await;
    let begin = Instant::now();
    worker.stop().await.expect(0);
    assert!(begin.elapsed() < Duration::from_secs(60), "it doesn't wait for the database");
    eventually(PATIENCE, "they are back", async || scene.broker.ready(&scene.queue).await == 40).await;
    proxy.pass();
    let rest = Worker::until_empty(&scene.config("")).await.expect(0).summary();
    assert_eq!(rest.settled, 40);
    scene.audit().await;
}

#[tokio::test]
async fn sigterm_while_paused_or_before_anything_runs_exits_0() {
    let scene = Scene::shared(Kind::Classic).await;
    let missing = scene.config("").replace(&scene.queue, &unique_name("missing"));
    let mut worker = Worker::run(&missing);
    worker.logs("is missing").await;
    worker.stop().await.expect(0);
    let nowhere = missing.replace(&scene.amqp, "amqp://127.0.0.1:1/%2f");
    let mut worker = Worker::run(&nowhere);
    worker.logs("reconnecting").await;
    worker.stop().await.expect(0);
    scene.broker.delete(&scene.queue).await;
}
