//! Metrics of a real worker: what piled up, who is connected, where a message's time went.

use lapin::types::AMQPValue;

use crate::main_job::orders::Orders;
use crate::support::Worker;
use crate::support::broker::Kind;
use crate::support::database::Server;

use super::scene::Scene;

/// One sample's value.
pub async fn value(scene: &Scene, sample: &str) -> Option<f64> {
    let text = scene.get("/metrics").await.1;
    text.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' ')?.parse().ok())
}

async fn becomes(scene: &Scene, worker: &mut Worker, sample: &str, holds: impl Fn(f64) -> bool) {
    let what = format!("{sample} is what it must be");
    worker.eventually(&what, async || value(scene, sample).await.is_some_and(&holds)).await;
}

/// Dead letters of a first run, seen by a second one, which looks at once.
async fn what_piled_up_is_told(server: Server) {
    let mut scene = Scene::with(Kind::Quorum, server).await;
    scene.publish(0..20).await;
    let config = scene.config("\n[pipelines.orders.dead_letter]\nto = \"table\"\n");
    let not_json: Vec<_> = ["a", "b", "c"].map(|id| crate::support::Message::json(id, "no JSON")).into();
    scene.broker.publish(&scene.queue, not_json).await;
    Worker::until_empty(&config).await.expect(0);
    let an_hour_ago = match server {
        Server::Postgres => "now() - interval '1 hour'",
        Server::Mysql => "UTC_TIMESTAMP(6) - INTERVAL 1 HOUR",
        Server::Sqlite => "strftime('%Y-%m-%d %H:%M:%f', 'now', '-1 hour')",
    };
    let age = format!("UPDATE orders_dead_letters SET failed_at = {an_hour_ago} WHERE message_id = 'b'");
    scene.database.execute(&age).await;
    let mut worker = Worker::run(&config);
    becomes(&scene, &mut worker, r#"rabbit_sink_dead_letters_waiting{pipeline="orders"}"#, |count| count == 3.0).await;
    let oldest = r#"rabbit_sink_dead_letters_oldest_seconds{pipeline="orders"}"#;
    becomes(&scene, &mut worker, oldest, |age| (3599.0..7200.0).contains(&age)).await;
    becomes(&scene, &mut worker, r#"rabbit_sink_ledger_rows{pipeline="orders"}"#, |rows| rows == 20.0).await;
    let bytes = value(&scene, r#"rabbit_sink_ledger_bytes{pipeline="orders"}"#).await;
    assert_eq!(bytes.is_some_and(|bytes| bytes >= 8192.0), server != Server::Sqlite, "{bytes:?}");
    worker.stop().await.expect(0);
    scene.broker.delete(&scene.queue).await;
}

#[tokio::test]
async fn slow_what_piled_up_is_told_of_postgres() {
    what_piled_up_is_told(Server::Postgres).await;
}

#[tokio::test]
async fn slow_what_piled_up_is_told_of_mysql() {
    what_piled_up_is_told(Server::Mysql).await;
}

#[tokio::test]
async fn slow_what_piled_up_is_told_of_sqlite() {
    what_piled_up_is_told(Server::Sqlite).await;
}

#[tokio::test]
async fn dead_letters_in_a_queue_are_counted_and_connections_seen() {
    let mut scene = Scene::shared(Kind::Classic).await;
    scene.publish(0..20).await;
    scene.publish_bad(0..4).await;
    let mut worker = Worker::run(&scene.config("consumers = 2"));
    scene.all_written(&mut worker).await;
    scene.dead_lettered(4).await;
    for (sample, count) in [
        (r#"rabbit_sink_connections{pipeline="orders",peer="broker"}"#, 2.0),
        (r#"rabbit_sink_consumers{pipeline="orders",state="running"}"#, 2.0),
        (r#"rabbit_sink_dead_lettered_total{pipeline="orders",class="mapping"}"#, 2.0),
        (r#"rabbit_sink_reconnects_total{pipeline="orders",peer="broker"}"#, 0.0),
    ] {
        becomes(&scene, &mut worker, sample, |value| value == count).await;
    }
    for peer in ["database", "dead_letters"] {
        let open = format!("rabbit_sink_connections{{pipeline=\"orders\",peer=\"{peer}\"}}");
        becomes(&scene, &mut worker, &open, |open| open == 1.0 || open == 2.0).await;
    }
    let settled = async |consumer| {
        let sample = format!("rabbit_sink_consumer_settled_total{{pipeline=\"orders\",consumer=\"{consumer}\"}}");
        value(&scene, &sample).await.unwrap_or_default()
    };
    worker.eventually("each consumer counts its own", async || settled(0).await + settled(1).await == 24.0).await;
    worker.stop().await.expect(0);
    let mut worker = Worker::run(&scene.config(""));
    becomes(&scene, &mut worker, r#"rabbit_sink_dead_letters_waiting{pipeline="orders"}"#, |count| count == 4.0).await;
    worker.stop().await.expect(0);
    scene.audit().await;
}

#[tokio::test]
async fn the_three_parts_of_latency_are_told_as_far_as_they_are_known() {
    let mut scene = Scene::shared(Kind::Quorum).await;
    let mut orders = Orders::good(0..9);
    scene.expect(&orders);
    let now = jiff::Timestamp::now();
    for (n, message) in orders.messages.iter_mut().enumerate() {
        // Three with the broker's stamp and the publisher's, three with the publisher's alone, three bare.
        let properties = message.properties.clone();
        let published = u64::try_from(now.as_second() - 20).unwrap();
        message.properties = match n / 3 {
            0 => {
                let mut headers = lapin::types::FieldTable::default();
                headers.insert("timestamp_in_ms".into(), AMQPValue::LongLongInt(now.as_millisecond() - 7_000));
                properties.with_headers(headers).with_timestamp(published)
            }
            1 => properties.with_timestamp(published),
            _ => properties,
        };
    }
    scene.broker.publish(&scene.queue, orders.messages).await;
    let mut worker = Worker::run(&scene.config(""));
    scene.all_written(&mut worker).await;
    becomes(&scene, &mut worker, r#"rabbit_sink_delivery_duration_seconds_count{pipeline="orders"}"#, |n| n == 9.0)
        .await;
    let whole = |part: &str, labels: &str| (format!("{part}_count{{{labels}}}"), format!("{part}_sum{{{labels}}}"));
    let (publisher, broker) = (r#"pipeline="orders",since="publisher""#, r#"pipeline="orders",since="broker""#);
    for ((count, sum), least) in [
        (whole("rabbit_sink_before_queue_duration_seconds", r#"pipeline="orders""#), 3.0 * 12.0),
        (whole("rabbit_sink_queue_duration_seconds", broker), 3.0 * 7.0),
        (whole("rabbit_sink_queue_duration_seconds", publisher), 3.0 * 20.0),
    ] {
        assert_eq!(value(&scene, &count).await, Some(3.0), "{count}");
        let sum = value(&scene, &sum).await.expect("a sum");
        assert!((least..least + 600.0).contains(&sum), "{count}: {sum}");
    }
    worker.stop().await.expect(0);
    scene.audit().await;
}

#[tokio::test]
async fn a_hold_and_a_pause_are_told_with_their_causes() {
    let mut scene = Scene::shared(Kind::Classic).await;
    scene.database.execute("ALTER TABLE orders RENAME TO later").await;
    scene.publish(0..5).await;
    let mut worker = Worker::run(&scene.config(""));
    let paused = r#"rabbit_sink_pauses_total{pipeline="orders",class="sink_misconfigured"}"#;
    becomes(&scene, &mut worker, paused, |count| count == 1.0).await;
    let (_, metrics) = scene.get("/metrics").await;
    let hindrance = r#"rabbit_sink_hindrance{pipeline="orders",state="paused",class="sink_misconfigured",code=""#;
    assert!(metrics.lines().any(|line| line.starts_with(hindrance) && line.ends_with("} 1")), "{metrics}");
    scene.database.execute("ALTER TABLE later RENAME TO orders").await;
    scene.all_written(&mut worker).await;
    worker.eventually("nothing hinders it", async || !scene.get("/metrics").await.1.contains("hindrance{")).await;
    worker.stop().await.expect(0);
    scene.audit().await;
}
