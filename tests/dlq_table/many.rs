//! 100,000 letters in a table.

use super::scene::{LETTERS, scene};
use crate::dlq::many::measured;
use crate::dlq::scene::{assert_counts, objects};
use crate::main_job::orders;
use crate::support::database::Server;
use crate::support::worker::Worker;

const MANY: usize = 100_000;
/// KiB that any command may have at its peak.
const MEMORY: u64 = 150_000;

/// Letters of good orders, a little over 1 KiB each.
fn insert(server: Server, from: usize, to: usize) -> String {
    let rows: Vec<String> = (from..to)
        .map(|n| {
            let mut body = orders::good(n).0;
            body.insert_str(1, &format!("\"filling\":\"{}\",", "x".repeat(900)));
            let code = if n.is_multiple_of(10) { "22001" } else { "23505" };
            let headers = format!(
                "[[\"x-sink-pipeline\",{{\"text\":\"orders\"}}],[\"x-sink-error-class\",{{\"text\":\"row_rejected\"}}],\
                 [\"x-sink-error-code\",{{\"text\":\"{code}\"}}],\
                 [\"x-sink-failed-at\",{{\"text\":\"2026-01-02T03:04:05.678Z\"}}]]"
            );
            let hex: String = body.bytes().map(|byte| format!("{byte:02x}")).collect();
            let body = if server == Server::Postgres { format!("'\\x{hex}'") } else { format!("x'{hex}'") };
            format!("('orders','{n:08}','','',0,'{{\"message_id\":\"order-{n}\"}}','{headers}',{body})")
        })
        .collect();
    format!(
        "INSERT INTO {LETTERS} (pipeline, id, exchange, routing_key, replays, properties, headers, body) VALUES {}",
        rows.join(",")
    )
}

#[tokio::test]
async fn slow_a_hundred_thousand_letters_are_counted_listed_and_replayed_in_bounded_memory() {
    let server = Server::Postgres;
    let scene = scene(server, "").await;
    scene.drain_queue().await;
    for from in (0..MANY).step_by(1000) {
        scene.database.execute(&insert(server, from, from + 1000)).await;
    }
    let (stats, peak) = measured(&scene, "stats", &["--json"]).await;
    let groups = objects(&stats.expect(0));
    assert_eq!(groups.len(), 2);
    assert_counts(&groups[0], &[("count", 90_000)]);
    assert_counts(&groups[1], &[("count", 10_000)]);
    assert!(peak < MEMORY, "{peak} KiB");

    let (discarded, peak) = measured(&scene, "discard", &["--json", "--code", "22001", "--yes"]).await;
    assert_counts(&objects(&discarded.expect(0))[0], &[("discarded", 10_000)]);
    assert!(peak < MEMORY, "{peak} KiB");

    let mut worker = Worker::run(&scene.config);
    worker.logs("guarantee").await;
    let (replayed, peak) = measured(&scene, "replay", &["--json", "--wait", "--yes"]).await;
    let done = objects(&replayed.expect(0));
    assert_counts(&done[0], &[("chosen", 90_000), ("replayed", 90_000), ("written", 90_000), ("unknown", 0)]);
    assert!(peak < MEMORY, "{peak} KiB");
    worker.stop().await.expect(0);
    assert_eq!((scene.database.count("orders").await, scene.database.count(LETTERS).await), (90_000, 0));
    scene.end().await;
}
