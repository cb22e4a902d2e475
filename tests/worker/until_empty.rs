//! `run --until-empty`: a job that ends, and says by its exit code how.

use std::time::{Duration, Instant};

use lapin::options::{BasicGetOptions, BasicNackOptions};

use crate::support::broker::{Depth, Kind};
use crate::support::database::Server;
use crate::support::servers::shared_postgres_url;
use crate::support::wait::unique_name;
use crate::support::{Proxy, Worker};
use crate::worker::scene::Scene;

#[tokio::test]
async fn an_empty_queue_ends_it_at_once() {
    let scene = Scene::shared(Kind::Quorum).await;
    let begin = Instant::now();
    let summary = Worker::until_empty(&scene.config("consumers = 2")).await.expect(0).summary();
    // The loop's own turn is 15 s: nobody may wait for it.
    assert!(begin.elapsed() < Duration::from_secs(14), "{:?}", begin.elapsed());
    assert_eq!((summary.settled, summary.state.as_str(), summary.reason), (0, "done", None));
    scene.audit().await;
}

#[tokio::test]
async fn two_consumers_settle_everything_and_the_summary_adds_up() {
    for kind in [Kind::Quorum, Kind::Classic] {
        let mut scene = Scene::shared(kind).await;
        scene.publish(0..5_000).await;
        scene.publish(0..50).await;
        scene.publish_bad(0..20).await;
        let summary = Worker::until_empty(&scene.config("consumers = 2")).await.expect(0).summary();
        assert_eq!((summary.settled, summary.written, summary.rows), (5_070, 5_000, 5_000));
        assert_eq!((summary.duplicates, summary.dead_lettered, summary.superseded, summary.skipped), (50, 20, 0, 0));
        assert_eq!((summary.redelivered, summary.state.as_str()), (0, "done"));
        scene.audit().await;
    }
}

#[tokio::test]
async fn other_consumers_unacked_messages_are_not_waited_for() {
    let mut scene = Scene::shared(Kind::Quorum).await;
    scene.publish(0..20).await;
    let get = scene.broker.channel.basic_get(scene.queue.as_str().into(), BasicGetOptions { no_ack: false });
    let theirs = get.await.unwrap().expect("a message");
    let summary = Worker::until_empty(&scene.config("")).await.expect(0).summary();
    assert_eq!(summary.settled, 19);
    assert_eq!(scene.broker.depth(&scene.queue).await, Depth { ready: 0, unacked: 1 });
    let back = BasicNackOptions { requeue: true, multiple: false };
    assert!(theirs.acker.nack(back).await.unwrap());
    assert_eq!(Worker::until_empty(&scene.config("")).await.expect(0).summary().settled, 1);
    scene.audit().await;
}

#[tokio::test]
async fn a_pause_ends_it_with_4_and_says_why() {
    let mut scene = Scene::shared(Kind::Quorum).await;
    scene.publish(0..20).await;
    scene.database.execute("ALTER TABLE orders RENAME TO elsewhere").await;
    let summary = Worker::until_empty(&scene.config("")).await.expect(4).summary();
    assert_eq!((summary.state.as_str(), summary.settled), ("paused", 0));
    assert!(summary.reason.as_deref().unwrap().contains("orders"), "{summary:?}");
    assert_eq!(scene.broker.depth(&scene.queue).await, Depth { ready: 20, unacked: 0 });
    scene.database.execute("ALTER TABLE elsewhere RENAME TO orders").await;
    Worker::until_empty(&scene.config("")).await.expect(0);
    scene.audit().await;
}

#[tokio::test]
async fn a_storm_ends_it_with_4_before_the_first_dead_letter() {
    let mut scene = Scene::shared(Kind::Quorum).await;
    let storm = "\n[pipelines.orders.storm]\nmin = 20\n";
    scene.publish_bad_of_one_kind(0..50).await;
    let exit = Worker::until_empty(&scene.config(storm)).await.expect(4);
    assert!(exit.summary().reason.unwrap().contains("storm"), "{}", exit.stdout);
    assert_eq!(scene.broker.ready(&scene.dead()).await, 0);
    scene.wait_until_ready(50).await;
    let anyway = format!("{storm}action = \"dead_letter\"\n");
    assert_eq!(Worker::until_empty(&scene.config(&anyway)).await.expect(0).summary().dead_lettered, 50);
    scene.audit().await;
}

#[tokio::test]
async fn a_hold_longer_than_hold_ends_it_with_3_and_the_messages_are_back() {
    let mut scene = Scene::shared(Kind::Quorum).await;
    scene.publish(0..20).await;
    let short = "hold = \"500ms\"";
    // Away from the start: nothing was taken.
    let away = scene.config_retrying("", short).replace(&scene.database.url, "postgres://nobody@127.0.0.1:1/nowhere");
    let summary = Worker::until_empty(&away).await.expect(3).summary();
    assert_eq!((summary.state.as_str(), summary.settled), ("holding", 0));
    // Away in the middle: given back.
    let postgres = Scene::with(Kind::Quorum, Server::Postgres).await;
    let proxy = Proxy::start(url::Url::parse(&shared_postgres_url()).unwrap().port().unwrap()).await;
    let through = proxy.url(&postgres.database.url);
    let trap = proxy.on_request(b"INSERT INTO", crate::support::proxy::Trap::LoseRequest);
    let worker = Worker::command(
        &scene.config_retrying("", short).replace(&scene.database.url, &through),
        ["run", "--until-empty", "--json"],
    );
    trap.sprung().await;
    proxy.refuse();
    proxy.cut();
    let exit = worker.wait().await.expect(3);
    assert_eq!(exit.summary().settled, 0);
    scene.wait_until_ready(20).await;
    Worker::until_empty(&scene.config("")).await.expect(0);
    scene.audit().await;
    postgres.broker.delete(&postgres.queue).await;
    assert_eq!(postgres.rows().await, Some(0));
}

#[tokio::test]
async fn with_others_done_a_pause_is_5() {
    let mut scene = Scene::shared(Kind::Quorum).await;
    scene.publish(0..20).await;
    let other = format!(
        "{}\n[pipelines.second]\nqueue = \"{}\"\ntable = \"orders\"\n",
        scene.config(""),
        unique_name("missing")
    );
    let exit = Worker::until_empty(&other).await.expect(5);
    let states: Vec<_> = exit.summaries().into_iter().map(|s| (s.pipeline, s.state, s.settled)).collect();
    assert_eq!(states, [("orders".into(), "done".into(), 20), ("second".to_owned(), "paused".to_owned(), 0)]);
    scene.audit().await;
}
