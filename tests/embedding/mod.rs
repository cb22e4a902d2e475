//! The library inside another program: the example that people start from, on real servers, and the
//! promises of its API that the example doesn't show.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rabbit_sink::{Resume, State, Worker as Embedded};

use crate::support::broker::{Broker, Kind, Message};
use crate::support::database::{Server, TestDatabase};
use crate::support::servers::shared_amqp_url;
use crate::support::wait::{PATIENCE, eventually, unique_name};
use crate::support::worker::Worker;

/// A queue, a table, and the config that leads from one to the other.
struct Scene {
    broker: Broker,
    queue: String,
    database: TestDatabase,
}

impl Scene {
    async fn new(server: Server) -> Scene {
        let (broker, queue) = (Broker::shared().await, unique_name("embedded"));
        broker.declare(&queue, Kind::Quorum).await;
        let database = TestDatabase::fresh(server).await;
        Scene { broker, queue, database }
    }

    async fn with_table(server: Server) -> Scene {
        let scene = Scene::new(server).await;
        scene.database.execute("CREATE TABLE orders (id varchar(40) PRIMARY KEY)").await;
        scene
    }

    fn config(&self) -> String {
        format!(
            "[rabbitmq]\nurl = \"{}\"\n[database]\nurl = \"{}\"\n[pipelines.orders]\nqueue = \"{}\"\n\
             table = \"orders\"\n[pipelines.orders.columns]\nid = \"/id\"\n[pipelines.orders.retry]\n\
             initial = \"50ms\"\nmax = \"200ms\"\n[worker]\nshutdown_timeout = \"20s\"\n",
            shared_amqp_url(),
            self.database.url,
            self.queue
        )
    }

    fn worker(&self) -> Embedded {
        Embedded::new(rabbit_sink::load_str("embedded.toml", &self.config(), &[]).expect("a right config"))
    }

    async fn publish(&self, ids: std::ops::Range<u32>) {
        let messages = ids.map(|id| Message::json(&id.to_string(), format!("{{\"id\":\"{id}\"}}")));
        self.broker.publish(&self.queue, messages).await;
    }

    async fn has(&self, rows: u64) {
        eventually(PATIENCE, &format!("{rows} rows"), async || self.database.count("orders").await == rows).await;
    }
}

#[tokio::test]
async fn the_example_moves_messages_and_drains_when_told() {
    let scene = Scene::with_table(Server::Postgres).await;
    scene.publish(0..500).await;
    let program = Path::new(Worker::program()).with_file_name("examples").join("embedded");
    assert!(program.is_file(), "{} is missing: cargo build --example embedded", program.display());
    let worker = Worker::spawn(Command::new(program), &scene.config(), []);
    scene.has(500).await;
    scene.publish(500..600).await;
    let exit = worker.stop().await.expect(0);
    assert!(exit.stdout.starts_with("pipelines: orders\n"), "{}", exit.stdout);
    assert!(exit.stdout.contains("\norders: done, "), "{}", exit.stdout);
    // What it hadn't settled is back in the queue.
    let (rows, depth) = (scene.database.count("orders").await, scene.broker.depth(&scene.queue).await);
    assert_eq!((rows + depth.ready, depth.unacked), (600, 0));
    scene.broker.delete(&scene.queue).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_ends_with_its_queue_or_when_told() {
    let scene = Scene::with_table(Server::Sqlite).await;
    scene.publish(0..50).await;
    let worker = scene.worker().until_empty();
    let watch = worker.watch();
    let summaries = worker.run(std::future::pending()).await;
    assert_eq!((summaries.len(), summaries[0].written, summaries[0].state), (1, 50, State::Done));
    assert_eq!(watch.summaries()[0].written, 50);
    assert!(watch.metrics().expect("a text").contains("rabbit_sink_written_total{pipeline=\"orders\"} 50\n"));
    // Told to stop while it waits for messages.
    let (tell, told) = tokio::sync::oneshot::channel::<()>();
    let worker = scene.worker();
    let watch = worker.watch();
    let running = tokio::spawn(worker.run(async { drop(told.await) }));
    eventually(PATIENCE, "it runs", async || watch.summaries()[0].state == State::Running).await;
    tell.send(()).expect("it listens");
    let summaries = tokio::time::timeout(PATIENCE, running).await.expect("it ends").expect("no panic");
    assert_eq!(summaries[0].state, State::Done);
    scene.broker.delete(&scene.queue).await;
}

/// What is missing is waited for and told; and a worker that is dropped leaves its messages to others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_waits_for_what_is_missing_and_dropping_it_loses_nothing() {
    let scene = Scene::new(Server::Postgres).await;
    scene.publish(0..20).await;
    let worker = scene.worker();
    let watch = worker.watch();
    let running = tokio::spawn(worker.run(std::future::pending()));
    eventually(PATIENCE, "it pauses", async || watch.summaries()[0].state == State::Paused).await;
    assert!(watch.summaries()[0].reason.as_deref().is_some_and(|reason| reason.contains("orders")), "{watch:?}");
    scene.database.execute("CREATE TABLE orders (id varchar(40) PRIMARY KEY)").await;
    assert!(watch.resume("orders", Resume::Retry) && !watch.resume("odrers", Resume::Retry));
    scene.has(20).await;
    running.abort();
    assert!(running.await.is_err_and(|error| error.is_cancelled()));
    scene.publish(20..40).await;
    let summaries = tokio::time::timeout(PATIENCE, scene.worker().until_empty().run(std::future::pending())).await;
    assert_eq!(summaries.expect("it ends")[0].state, State::Done);
    scene.has(40).await;
    scene.broker.wait_until_empty(&scene.queue).await;
    scene.broker.delete(&scene.queue).await;
}

/// It takes up a new pipeline, and counts on in one that has changed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_goes_on_with_another_config() {
    let scene = Scene::with_table(Server::Sqlite).await;
    scene.database.execute("CREATE TABLE others (id varchar(40) PRIMARY KEY)").await;
    let queue = unique_name("other");
    scene.broker.declare(&queue, Kind::Classic).await;
    let load = |keys: &str| {
        let text = scene.config().replace("[pipelines.orders]\n", &format!("[pipelines.orders]\n{keys}\n"));
        let other = format!("[pipelines.other]\nqueue = \"{queue}\"\ntable = \"others\"\n");
        let text = if keys.is_empty() { text } else { text + &other };
        std::sync::Arc::new(rabbit_sink::load_str("embedded.toml", &text, &[]).expect("a right config"))
    };
    let configs = tokio::sync::watch::Sender::new(load(""));
    let worker = scene.worker().reloads(configs.subscribe());
    let watch = worker.watch();
    let (tell, told) = tokio::sync::oneshot::channel::<()>();
    let running = tokio::spawn(worker.run(async { drop(told.await) }));
    scene.publish(0..20).await;
    scene.has(20).await;
    configs.send_replace(load("prefetch = 3000"));
    let states = || watch.summaries().iter().map(|summary| summary.state).collect::<Vec<_>>();
    eventually(PATIENCE, "both run", async || states() == [State::Running; 2]).await;
    scene.publish(20..40).await;
    scene.has(40).await;
    tell.send(()).expect("it listens");
    let summaries = tokio::time::timeout(PATIENCE, running).await.expect("it ends").expect("no panic");
    assert_eq!((summaries.len(), summaries[0].written), (2, 40));
    scene.broker.delete(&scene.queue).await;
    scene.broker.delete(&queue).await;
}

/// A stop is obeyed before anything could be connected to.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_stops_though_nothing_answers() {
    let text = "[rabbitmq]\nurl = \"amqp://127.0.0.1:1\"\n[database]\nurl = \"postgres://127.0.0.1:1/x\"\n\
                [pipelines.orders]\nqueue = \"orders\"\ntable = \"orders\"\n";
    let worker = Embedded::new(rabbit_sink::load_str("embedded.toml", text, &[]).expect("a right config"));
    let watch = worker.watch();
    let stop = {
        let watch = watch.clone();
        async move {
            while watch.summaries()[0].reason.is_none() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    };
    let summaries = tokio::time::timeout(PATIENCE, worker.run(stop)).await.expect("it ends");
    assert_eq!((summaries.len(), summaries[0].settled), (1, 0));
}
