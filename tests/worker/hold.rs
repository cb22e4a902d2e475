//! While the database is away: no delivery is spent, memory stays small, and a worker that is
//! restarted again and again does no harm.

use crate::main_job::orders;
use crate::support::broker::{Depth, Kind};
use crate::support::database::{Server, TestDatabase};
use crate::support::servers::{Postgres, shared_postgres_url};
use crate::support::wait::{PATIENCE, eventually};
use crate::support::{Proxy, Worker};
use crate::worker::scene::Scene;

use lapin::types::{AMQPValue, FieldTable};

/// `x-delivery-count` of the messages in a quorum queue, in their order; they stay in it. From
/// RabbitMQ 4 on it isn't there before the first return.
async fn delivery_counts(scene: &Scene) -> Vec<String> {
    let taken = scene.broker.drain(&scene.queue).await;
    let counts = taken.iter().map(|message| message.header("x-delivery-count").unwrap_or_else(|| "0".into())).collect();
    let messages = taken.into_iter().map(|taken| {
        let mut properties = taken.properties;
        if let Some(headers) = properties.headers().clone() {
            let left = headers.inner().iter().filter(|(name, _)| name.as_str() != "x-delivery-count");
            let left: std::collections::BTreeMap<_, _> =
                left.map(|(name, value)| (name.clone(), value.clone())).collect();
            properties = properties.with_headers(FieldTable::from(left));
        }
        crate::support::Message { body: taken.body, properties }
    });
    scene.broker.publish(&scene.queue, messages).await;
    counts
}

#[tokio::test]
async fn a_crash_loop_beside_a_dead_database_spends_no_delivery() {
    let mut scene = Scene::with(Kind::Quorum, Server::Postgres).await;
    scene.broker.delete(&scene.queue).await;
    let mut limit = FieldTable::default();
    limit.insert("x-delivery-limit".into(), AMQPValue::LongInt(3));
    scene.broker.declare_with(&scene.queue, Kind::Quorum, limit).await;
    scene.publish(0..5).await;
    let away = scene.config("").replace(&scene.database.url, "postgres://nobody@127.0.0.1:1/nowhere");
    for round in 0..6 {
        let mut worker = Worker::run(&away);
        worker.logs("holding").await;
        if round % 3 == 0 {
            assert_eq!(scene.consumers().await, [], "no consumer before the database answers");
        }
        worker.kill().await;
    }
    assert_eq!(delivery_counts(&scene).await, ["0"; 5]);
    Worker::until_empty(&scene.config("")).await.expect(0);
    scene.audit().await;
}

#[tokio::test]
async fn slow_after_hold_messages_are_given_back_once_and_nobody_subscribes_before_the_database_answers() {
    let proxy = Proxy::start(url::Url::parse(&shared_postgres_url()).unwrap().port().unwrap()).await;
    let mut scene = Scene::with(Kind::Quorum, Server::Postgres).await;
    let through =
        scene.config_retrying("", "hold = \"1s\"").replace(&scene.database.url, &proxy.url(&scene.database.url));
    let mut worker = Worker::run(&through);
    scene.flows(&mut worker).await;
    proxy.refuse();
    proxy.cut();
    scene.publish(20..40).await;
    worker.logs("given back after").await;
    let back = Depth { ready: 20, unacked: 0 };
    for _ in 0..3 {
        assert_eq!(scene.broker.depth(&scene.queue).await, back, "given back, and left alone");
        assert_eq!(scene.consumers().await, []);
    }
    scene.ready_says(&mut worker, 503, "\"holding\"").await;
    proxy.pass();
    scene.all_written(&mut worker).await;
    let exit = worker.stop().await.expect(0);
    assert!(exit.stdout.contains("20 redelivered"), "once: {}", exit.stdout);
    scene.audit().await;
}

/// A queue of this many returns at most, after which a quorum queue drops the message.
async fn with_limit(server: Server, limit: i32) -> Scene {
    let scene = Scene::with(Kind::Quorum, server).await;
    scene.broker.delete(&scene.queue).await;
    let mut arguments = FieldTable::default();
    arguments.insert("x-delivery-limit".into(), AMQPValue::LongInt(limit));
    scene.broker.declare_with(&scene.queue, Kind::Quorum, arguments).await;
    scene
}

/// Many times `hold` with the cause still there: all are given back once, and then left alone.
async fn given_back_once(scene: &mut Scene, worker: &mut Worker) {
    worker.logs("given back after").await;
    let mut back = Depth { ready: 0, unacked: 0 };
    eventually(PATIENCE, "they are back", async || {
        back = scene.broker.depth(&scene.queue).await;
        back.ready > 0 && back.unacked == 0
    })
    .await;
    let holds = std::time::Instant::now();
    while holds.elapsed() < std::time::Duration::from_secs(4) {
        assert_eq!(scene.consumers().await, [], "nobody takes them before the cause has passed");
        assert_eq!(scene.broker.depth(&scene.queue).await, back);
    }
    scene.ready_says(worker, 503, "\"holding\"").await;
}

#[tokio::test]
async fn slow_a_full_dead_letter_queue_spends_no_deliveries() {
    let mut scene = with_limit(Server::Sqlite, 3).await;
    let mut full = FieldTable::default();
    full.insert("x-max-length".into(), AMQPValue::LongInt(1));
    full.insert("x-overflow".into(), AMQPValue::LongString("reject-publish".into()));
    scene.broker.declare_with(&scene.dead(), Kind::Classic, full).await;
    scene.broker.publish(&scene.dead(), [crate::support::Message::bare("stands in the way")]).await;
    scene.publish_bad(0..3).await;
    let mut worker = Worker::run(&scene.config_retrying("", "hold = \"500ms\""));
    given_back_once(&mut scene, &mut worker).await;
    let (dead, mut letters) = (scene.dead(), Vec::new());
    eventually(PATIENCE, "all have come through", async || {
        let taken = scene.broker.drain(&dead).await;
        letters.extend(taken.into_iter().filter(|letter| letter.message_id().is_some()));
        let ids: std::collections::BTreeSet<_> = letters.iter().map(|letter| letter.message_id()).collect();
        ids.len() == 3
    })
    .await;
    scene.ready_says(&mut worker, 200, "").await;
    worker.stop().await.expect(0);
    scene.audit_with(letters).await;
}

#[tokio::test]
async fn slow_a_row_that_stays_locked_spends_no_deliveries() {
    let mut scene = with_limit(Server::Postgres, 3).await;
    scene.publish(0..5).await;
    let insert = "INSERT INTO orders VALUES ('order-3', '', 0, 1, true, now())";
    let mut other = <sqlx::PgConnection as sqlx::Connection>::connect(&scene.database.url).await.unwrap();
    sqlx::Executor::execute(&mut other, "BEGIN").await.unwrap();
    sqlx::Executor::execute(&mut other, insert).await.unwrap();
    let config = scene.config_retrying("", "hold = \"500ms\"");
    let mut worker = Worker::run(&config.replace("[database]\n", "[database]\nlock_timeout = \"100ms\"\n"));
    given_back_once(&mut scene, &mut worker).await;
    sqlx::Executor::execute(&mut other, "ROLLBACK").await.unwrap();
    scene.all_written(&mut worker).await;
    worker.stop().await.expect(0);
    scene.audit().await;
}

#[tokio::test]
async fn a_message_that_has_come_back_often_is_written_by_itself_and_reported() {
    let mut scene = Scene::shared(Kind::Quorum).await;
    scene.publish(0..3).await;
    for _ in 0..10 {
        let channel = scene.broker.connection.create_channel().await.unwrap();
        let get = lapin::options::BasicGetOptions { no_ack: false };
        for _ in 0..2 {
            channel.basic_get(scene.queue.as_str().into(), get).await.unwrap().expect("a message");
        }
        channel.close(200, "back".into()).await.unwrap();
        eventually(PATIENCE, "they are back", async || scene.broker.ready(&scene.queue).await == 3).await;
    }
    let exit = Worker::until_empty(&scene.config("")).await.expect(0);
    let reports = exit.stderr.matches("a message has come back many times").count();
    assert_eq!(reports, 2, "{}", exit.stderr);
    assert_eq!((exit.summary().written, exit.summary().redelivered), (3, 2));
    scene.audit().await;
}

#[tokio::test]
async fn hold_beyond_the_consumer_timeout_is_refused_before_anything_connects() {
    let mut scene = Scene::shared(Kind::Classic).await;
    scene.rabbitmq = "consumer_timeout = \"5m\"".to_owned();
    let exit = Worker::run(&scene.config_retrying("", "hold = \"5m\"")).wait().await.expect(2);
    assert!(exit.stderr.contains("hold") && exit.stderr.contains("consumer_timeout"), "{}", exit.stderr);
    scene.broker.delete(&scene.queue).await;
}

#[tokio::test]
async fn slow_holding_before_200000_messages_takes_little_memory() {
    let mut server = Postgres::start().await;
    let database = TestDatabase::on(&server.url()).await;
    let mut scene = Scene::shared(Kind::Quorum).await;
    database.execute(orders::table(Server::Postgres)).await;
    let config = scene.config("").replace(&scene.database.url, &database.url);
    let mut worker = Worker::run(&config);
    // Wide open first: the prefetch follows the sizes that were seen.
    let warm = orders::Orders::good(0..5_000);
    scene.broker.publish(&scene.queue, warm.messages).await;
    worker.eventually("the first are written", async || database.count("orders").await == 5_000).await;
    server.stop().await;
    scene.publish(5_000..205_000).await;
    scene.ready_says(&mut worker, 503, "\"holding\"").await;
    let depth = scene.broker.depth(&scene.queue).await;
    assert_eq!(depth.ready + depth.unacked, 200_000);
    assert!(depth.unacked <= 2_000, "the prefetch bounds what is in hand: {depth:?}");
    let status = std::fs::read_to_string(format!("/proc/{}/status", worker.id())).unwrap();
    let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")).unwrap();
    let kib: u64 = rss.trim().parse().unwrap();
    assert!(kib < 150 * 1024, "{kib} KiB");
    server.restart().await;
    worker.eventually("all are written", async || database.count("orders").await == 205_000).await;
    worker.stop().await.expect(0);
    // The books are kept for the other database: only these count.
    let rows = database.table("orders", &orders::columns(Server::Postgres)).await;
    let mut all = orders::Orders::good(0..5_000).accountant;
    for n in 5_000..205_000 {
        all.expect_row(format!("order-{n}"), orders::good(n).1);
    }
    all.audit(&rows, []).assert_clean();
    scene.broker.delete(&scene.queue).await;
    scene.broker.delete(&scene.dead()).await;
}
