//! How a worker ends: told to, by itself under `--until-empty`, and with which exit code.

use sqlx::Connection as _;

use crate::support::broker::Kind;
use crate::support::database::{Server, TestDatabase};
use crate::support::wait::unique_name;
use crate::support::{Worker, process};

use super::scene::Scene;

/// Few enough a second that a signal comes while there is still a backlog, whatever the machine.
const SLOWLY: &str =
    "\n[pipelines.orders.limits]\nmax_rows_per_second = 400\n[pipelines.orders.batch]\nmax_rows = 50\n";

/// A signal in mid-stream: what was in hand is settled, the rest is there for the next worker.
async fn stops_by(signal: &str, kind: Kind) {
    let mut scene = Scene::shared(kind).await;
    scene.publish(0..5_000).await;
    let mut worker = Worker::run(&scene.config(SLOWLY));
    worker.eventually("some rows are there", async || scene.rows().await.is_some_and(|rows| rows >= 100)).await;
    worker.signal(signal);
    let exit = worker.wait().await.expect(0);
    let written = scene.rows().await.expect("the file is there");
    assert!(written < 5_000, "the signal came too late to prove anything:\n{}", exit.stderr);
    scene.broker.wait_until_given_back(&scene.queue).await;
    let left = scene.broker.depth(&scene.queue).await.ready;
    assert_eq!(left as usize, 5_000 - written, "acked is what is written, neither more nor less");
    let summary = Worker::until_empty(&scene.config("")).await.expect(0).summary();
    assert_eq!((summary.written as usize, summary.duplicates), (5_000 - written, 0), "{summary:?}");
    scene.audit().await;
}

#[tokio::test]
async fn sigterm_drains_what_is_in_hand() {
    stops_by("TERM", Kind::Quorum).await;
}

#[tokio::test]
async fn sigint_drains_what_is_in_hand() {
    stops_by("INT", Kind::Classic).await;
}

#[tokio::test]
async fn a_worker_that_holds_gives_back_and_ends_at_once() {
    let mut scene = Scene::with(Kind::Classic, Server::Postgres).await;
    let mut lock = sqlx::PgConnection::connect(&scene.database.url).await.expect("a connection");
    sqlx::raw_sql("BEGIN; LOCK TABLE orders IN ACCESS EXCLUSIVE MODE").execute(&mut lock).await.expect("a lock");
    scene.publish(0..20).await;
    let config = scene.config("").replace("[admin]", "lock_timeout = \"100ms\"\n[admin]");
    let mut worker = Worker::run(&config);
    worker.logs("holding: ").await;
    let exit = worker.stop().await.expect(0);
    assert!(!exit.stderr.contains("not everything was settled in time"), "{}", exit.stderr);
    scene.broker.wait_until_given_back(&scene.queue).await;
    assert_eq!(scene.broker.depth(&scene.queue).await.ready, 20);
    drop(lock);
    Worker::until_empty(&scene.config("")).await.expect(0);
    scene.audit().await;
}

/// A worker in the middle of a write that can't end, since somebody else has locked the table.
pub async fn stuck_in_a_write(scene: &mut Scene, worker_keys: &str) -> (Worker, sqlx::PgConnection) {
    let config =
        scene.config("").replacen("[admin]", "lock_timeout = \"60s\"\nstatement_timeout = \"90s\"\n[admin]", 1);
    let mut worker = Worker::run(&format!("{worker_keys}{config}"));
    scene.flows(&mut worker).await;
    let mut lock = sqlx::PgConnection::connect(&scene.database.url).await.expect("a connection");
    sqlx::raw_sql("BEGIN; LOCK TABLE orders IN ACCESS EXCLUSIVE MODE").execute(&mut lock).await.expect("a lock");
    scene.publish(20..40).await;
    let waiting = "SELECT count(*)::text FROM pg_locks WHERE NOT granted AND relation = 'orders'::regclass";
    worker
        .eventually("it waits for the lock", async || scene.database.rows(waiting).await[0][0].as_deref() != Some("0"))
        .await;
    (worker, lock)
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let mut scene = Scene::with(Kind::Classic, Server::Postgres).await;
    let (mut worker, lock) = stuck_in_a_write(&mut scene, "").await;
    worker.signal("TERM");
    worker.logs("draining").await;
    worker.signal("TERM");
    worker.wait().await.expect(1);
    drop(lock);
    Worker::until_empty(&scene.config("")).await.expect(0);
    scene.audit().await;
}

#[tokio::test]
async fn what_takes_longer_than_shutdown_timeout_goes_back_to_the_broker() {
    let mut scene = Scene::with(Kind::Quorum, Server::Postgres).await;
    let (worker, lock) = stuck_in_a_write(&mut scene, "[worker]\nshutdown_timeout = \"1s\"\n").await;
    worker.signal("TERM");
    let exit = worker.wait().await.expect(0);
    assert!(exit.stderr.contains("not everything was settled in time"), "{}", exit.stderr);
    drop(lock);
    Worker::until_empty(&scene.config("")).await.expect(0);
    scene.audit().await;
}

#[tokio::test]
async fn an_empty_queue_ends_it_with_0_and_nothing_settled() {
    let scene = Scene::shared(Kind::Quorum).await;
    let summary = Worker::until_empty(&scene.config("consumers = 2")).await.expect(0).summary();
    assert_eq!((summary.state.as_str(), summary.settled), ("done", 0));
    assert!(summary.seconds < 10.0, "it asks at once: {summary:?}");
    scene.audit().await;
}

#[tokio::test]
async fn unacked_messages_of_others_are_not_waited_for() {
    let mut scene = Scene::shared(Kind::Classic).await;
    scene.publish(0..10).await;
    let taken = scene.broker.channel.basic_get(scene.queue.as_str().into(), Default::default()).await.expect("a get");
    let taken = taken.expect("a message");
    let summary = Worker::until_empty(&scene.config("")).await.expect(0).summary();
    assert_eq!((summary.settled, summary.written), (9, 9));
    taken
        .delivery
        .acker
        .nack(lapin::options::BasicNackOptions { requeue: true, ..Default::default() })
        .await
        .expect("given back");
    let summary = Worker::until_empty(&scene.config("")).await.expect(0).summary();
    assert_eq!((summary.settled, summary.redelivered), (1, 1));
    scene.audit().await;
}

#[tokio::test]
async fn several_consumers_settle_everything_and_the_sum_adds_up() {
    let mut scene = Scene::with(Kind::Quorum, Server::Postgres).await;
    scene.publish(0..3_000).await;
    scene.publish_bad(0..8).await;
    let summary = Worker::until_empty(&scene.config("consumers = 4")).await.expect(0).summary();
    assert_eq!((summary.written, summary.dead_lettered, summary.rows), (3_000, 8, 3_000), "{summary:?}");
    assert_eq!(summary.settled, summary.written + summary.duplicates + summary.dead_lettered);
    scene.audit().await;
}

/// A second pipeline for this config, on a queue of its own.
fn with_second(config: &str, queue: &str, table: &str, database: &str) -> String {
    let (pipeline, url) = (unique_name("second"), database);
    format!(
        "{config}\n[databases.other]\nurl = \"{url}\"\nconnect_timeout = \"1s\"\n[pipelines.{pipeline}]\n\
         queue = \"{queue}\"\ntable = \"{table}\"\ndatabase = \"other\"\ndeclare = {{ type = \"classic\" }}\n\
         [pipelines.{pipeline}.retry]\ninitial = \"50ms\"\nmax = \"100ms\"\nhold = \"1s\"\n"
    )
}

#[tokio::test]
async fn a_pause_ends_it_with_4_and_with_5_when_others_are_done() {
    let mut scene = Scene::shared(Kind::Classic).await;
    scene.publish(0..10).await;
    let missing = scene.config("").replace("table = \"orders\"", "table = \"nowhere\"");
    let exit = Worker::until_empty(&missing).await.expect(4);
    assert!(exit.summary().reason.is_some_and(|reason| reason.contains("nowhere")));
    let other = TestDatabase::fresh(Server::Sqlite).await;
    let queue = unique_name("second");
    let exit = Worker::until_empty(&with_second(&scene.config(""), &queue, "nowhere", &other.url)).await.expect(5);
    let states: Vec<String> = exit.summaries().into_iter().map(|summary| summary.state).collect();
    assert_eq!(states, ["done", "paused"]);
    scene.audit().await;
}

#[tokio::test]
async fn an_outage_longer_than_hold_ends_it_with_3_and_with_5_when_others_are_done() {
    let mut scene = Scene::shared(Kind::Classic).await;
    scene.publish(0..10).await;
    let nobody = format!("postgres://nobody@127.0.0.1:{}/x", process::free_port());
    let away = scene.config_retrying("", "hold = \"1s\"").replace(&scene.database.url, &nobody);
    let exit = Worker::until_empty(&away).await.expect(3);
    assert_eq!(exit.summary().state, "holding");
    let queue = unique_name("second");
    let exit = Worker::until_empty(&with_second(&scene.config(""), &queue, "any", &nobody)).await.expect(5);
    let states: Vec<String> = exit.summaries().into_iter().map(|summary| summary.state).collect();
    assert_eq!(states, ["done", "holding"]);
    scene.audit().await;
}

#[tokio::test]
async fn a_broker_that_never_answers_ends_it_with_3() {
    let scene = Scene::shared(Kind::Classic).await;
    let config = scene.config_retrying("", "hold = \"1s\"");
    let config = config.replace(&scene.amqp, &format!("amqp://guest:guest@127.0.0.1:{}/%2f", process::free_port()));
    let exit = Worker::until_empty(&config).await.expect(3);
    assert_eq!(exit.summary().state, "reconnecting");
    scene.broker.delete(&scene.queue).await;
}
