//! 100,000 dead letters.

use std::time::Duration;

use super::scene::{Scene, assert_counts, objects};
use crate::main_job::orders;
use crate::support::broker::{Kind, Message};
use crate::support::database::Server;
use crate::support::worker::{Exit, Worker};

const MANY: usize = 100_000;
/// KiB that any command may have at its peak, however many letters there are. A letter that is a
/// little over 1 KiB would be 100 MB if they were all kept.
const MEMORY: u64 = 150_000;
/// Ends a hang.
const LONG: Duration = Duration::from_secs(1800);

/// Runs a command to its end, and returns its peak memory in KiB.
pub async fn measured(scene: &Scene, command: &str, args: &[&str]) -> (Exit, u64) {
    let begun = std::time::Instant::now();
    let mut worker = scene.start(command, args);
    let mut peak = 0;
    while worker.alive() {
        let status = std::fs::read_to_string(format!("/proc/{}/status", worker.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
        peak = peak.max(kib.unwrap_or(0));
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(begun.elapsed() < LONG, "{command} hangs");
    }
    println!("dlq {command} {args:?}: {:?}, {} MiB", begun.elapsed(), peak / 1024);
    (worker.wait().await, peak)
}

/// A letter of a little over 1 KiB; one in ten has another code.
fn dead(n: usize) -> Message {
    let mut body = orders::good(n).0;
    body.insert_str(1, &format!("\"filling\":\"{}\",", "x".repeat(900)));
    let code = if n.is_multiple_of(10) { "22001" } else { "23505" };
    Message::json(&format!("order-{n}"), body)
        .header("x-sink-pipeline", "orders")
        .header("x-sink-error-class", "row_rejected")
        .header("x-sink-error-code", code)
        .header("x-sink-failed-at", "2026-01-02T03:04:05.678Z")
}

/// Ten times as many need no more memory than what tells one ID from another, on either kind of queue.
#[tokio::test]
#[ignore = "takes many minutes: cargo test --test main a_million_letters -- --ignored --nocapture, below with-servers"]
async fn a_million_letters_are_counted_and_listed_in_bounded_memory() {
    for kind in [Kind::Classic, Kind::Quorum] {
        println!("{kind:?}");
        let scene = Scene::with(kind, Server::Sqlite, "").await;
        scene.drain_queue().await;
        for part in 0..100 {
            scene.broker.publish(&scene.dead, (part * 10_000..(part + 1) * 10_000).map(dead)).await;
        }
        let (stats, peak) = measured(&scene, "stats", &["--json"]).await;
        let groups = objects(&stats.expect(0));
        assert_counts(&groups[0], &[("count", 900_000)]);
        assert_counts(&groups[1], &[("count", 100_000)]);
        assert!(peak < MEMORY, "{peak} KiB");

        let (listed, peak) = measured(&scene, "list", &["--json", "--code", "22001", "--limit", "1000000"]).await;
        assert_eq!(objects(&listed.expect(0)).len(), 100_000);
        assert!(peak < MEMORY, "{peak} KiB");
        assert_eq!(scene.settled_in(&scene.dead).await, 1_000_000);
        scene.end().await;
    }
}

/// Sizes are known only when letters have come: large ones behind small ones don't fill the memory.
#[tokio::test]
async fn slow_large_letters_behind_small_ones_take_bounded_memory() {
    let scene = Scene::with(Kind::Classic, Server::Sqlite, "").await;
    scene.drain_queue().await;
    let large = |n| Message::json(&format!("large-{n}"), format!("{{\"filling\":\"{}\"}}", "x".repeat(1 << 20)));
    scene.broker.publish(&scene.dead, (0..1000).map(dead)).await;
    scene.broker.publish(&scene.dead, (0..400).map(large)).await;
    let (stats, peak) = measured(&scene, "stats", &["--json"]).await;
    let total: u64 = objects(&stats.expect(0)).iter().map(|group| group["count"].as_u64().unwrap()).sum();
    assert_eq!(total, 1400);
    assert!(peak < 2 * MEMORY, "{peak} KiB");
    scene.end().await;
}

#[tokio::test]
async fn slow_a_hundred_thousand_letters_are_counted_listed_and_replayed_in_bounded_memory() {
    let scene = Scene::with(Kind::Quorum, Server::Postgres, "").await;
    scene.drain_queue().await;
    scene.broker.publish(&scene.dead, (0..MANY).map(dead)).await;

    let (stats, peak) = measured(&scene, "stats", &["--json"]).await;
    let groups = objects(&stats.expect(0));
    assert_eq!(groups.len(), 2);
    assert_counts(&groups[0], &[("count", 90_000)]);
    assert_counts(&groups[1], &[("count", 10_000)]);
    assert!(peak < MEMORY, "{peak} KiB");

    let (listed, peak) = measured(&scene, "list", &["--json", "--code", "22001", "--limit", "1000000"]).await;
    assert_eq!(objects(&listed.expect(0)).len(), 10_000);
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
    assert_eq!(scene.database.count("orders").await, 90_000);
    assert_eq!(scene.settled_in(&scene.dead).await, 0);
    scene.end().await;
}
