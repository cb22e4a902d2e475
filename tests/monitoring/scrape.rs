//! A real Prometheus scrapes a real run: what it stores, what its rules make of it, and what the panels would show.

use super::prometheus::Prometheus;
use super::{panels, rules};
use crate::support::broker::Kind;
use crate::support::{Message, Worker};
use crate::worker::scene::Scene;

/// Panels that show nothing while nothing is wrong, or nothing is known.
const EMPTY: [&str; 12] = [
    "Restarts",
    "Before the queue",
    "In the queue",
    "Dead letters by class",
    "Tried again",
    "Holds and pauses",
    "Paused by order",
    "Why",
    "Memory",
    "Ledger",
    "Ledger on disk",
    "Time until empty",
];

#[tokio::test]
async fn slow_a_real_prometheus_scrapes_a_real_run() {
    let mut scene = Scene::shared(Kind::Quorum).await;
    scene.publish(0..200).await;
    let mut worker = Worker::run(&scene.config("consumers = 2"));
    scene.all_written(&mut worker).await;
    let prometheus = Prometheus::start(&scene.admin);
    prometheus.has_scraped().await;
    let running = r#"rabbit_sink_state{job="rabbit-sink",pipeline="orders",state="running"}"#;
    prometheus.gives(running, |found| found.len() == 1 && found[0].1 == 1.0).await;
    prometheus.gives("sum(rabbit_sink_written_total)", |found| found[0].1 == 200.0).await;
    prometheus.gives("sum(rabbit_sink_consumer_settled_total)", |found| found[0].1 == 200.0).await;
    let commits = "rabbit_sink_commit_duration_seconds_count > 0";
    prometheus.gives(commits, |found| found.len() == 1).await;
    // Two scrapes make a rate.
    prometheus.gives("count_over_time(up[1m]) > 2", |found| found.len() == 1).await;
    for (title, expr) in panels() {
        let shown = prometheus.query(&expr).await;
        assert!(!shown.is_empty() || EMPTY.contains(&title.as_str()), "{title} shows nothing: {expr}");
    }
    // The first message that is bad fires an alert.
    let bad = Message::json("bad", "no JSON");
    scene.broker.publish(&scene.queue, [bad]).await;
    let firing = r#"ALERTS{alertname="RabbitSinkDeadLetters",alertstate="firing",pipeline="orders",class="decode"}"#;
    prometheus.gives(firing, |found| found.len() == 1).await;
    let loaded = prometheus.rules().await;
    assert_eq!(loaded.len(), rules().len());
    assert!(loaded.iter().all(|rule| rule["health"] == "ok"), "{loaded:#?}");
    let firing = prometheus.query(r#"ALERTS{alertstate="firing"}"#).await;
    assert_eq!(firing.len(), 1, "no other alert has a reason: {firing:?}");
    worker.stop().await.expect(0);
    prometheus.gives("up", |found| found[0].1 == 0.0).await;
    scene.broker.delete(&scene.queue).await;
    scene.broker.delete(&scene.dead()).await;
}
