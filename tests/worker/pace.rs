//! How much is taken at a time.

use std::time::Instant;

use sqlx::{Connection, SqliteConnection};

use crate::main_job::orders;
use crate::support::Worker;
use crate::support::broker::{Kind, Message};
use crate::support::wait::{PATIENCE, eventually};
use crate::worker::scene::Scene;

#[tokio::test]
async fn slow_the_prefetch_starts_small_widens_and_narrows_for_large_bodies() {
    let mut scene = Scene::shared(Kind::Quorum).await;
    let limits = "\n[pipelines.orders.limits]\nmax_body = \"128KiB\"\nmax_unacked_bytes = \"1MiB\"\n";
    let mut worker = Worker::run(&scene.config(limits));
    scene.ready_says(&mut worker, 200, "").await;
    let prefetch = async |scene: &Scene| scene.consumers().await.first().map(|(_, prefetch)| *prefetch);
    // As many as fit if each is as large as allowed.
    assert_eq!(prefetch(&scene).await, Some(8));
    scene.publish(0..6_000).await;
    scene.all_written(&mut worker).await;
    eventually(PATIENCE, "it is wide", async || prefetch(&scene).await == Some(2_000)).await;
    let large = |n: usize| {
        let body = orders::good(n).0;
        let padding = format!("{{\"padding\":\"{}\",", "x".repeat(64 * 1024));
        Message::json(&format!("order-{n}"), body.replacen('{', &padding, 1))
    };
    scene.broker.publish(&scene.queue, (6_000..6_100).map(large)).await;
    scene.expect(&orders::Orders::good(6_000..6_100));
    scene.all_written(&mut worker).await;
    // 16 would fit exactly; it isn't changed for less than a half.
    eventually(PATIENCE, "it is narrow", async || prefetch(&scene).await.is_some_and(|now| now <= 32)).await;
    // Nothing is settled now: what is unacked stays near the bytes that are allowed.
    let mut lock = SqliteConnection::connect(&scene.database.url).await.unwrap();
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut lock).await.unwrap();
    scene.broker.publish(&scene.queue, (6_100..6_200).map(large)).await;
    scene.expect(&orders::Orders::good(6_100..6_200));
    eventually(PATIENCE, "some are in hand", async || scene.broker.depth(&scene.queue).await.unacked > 0).await;
    for _ in 0..3 {
        let depth = scene.broker.depth(&scene.queue).await;
        assert!(depth.unacked * 64 <= 2 * 1024, "{depth:?}");
    }
    sqlx::raw_sql("ROLLBACK").execute(&mut lock).await.unwrap();
    lock.close().await.unwrap();
    scene.all_written(&mut worker).await;
    worker.stop().await.expect(0);
    scene.audit().await;
}

/// A backlog, and a database that is to be spared. What is counted here is an upper bound: true on any machine.
#[tokio::test]
async fn a_backlog_reaches_the_database_no_faster_than_allowed() {
    const RATE: f64 = 50.0;
    let mut scene = Scene::shared(Kind::Classic).await;
    scene.publish(0..2_000).await;
    let options = format!(
        "consumers = 2\nprefetch = 20\n\n[pipelines.orders.batch]\nmax_rows = 5\n\n\
         [pipelines.orders.limits]\nmax_rows_per_second = {RATE}\n"
    );
    let begun = Instant::now();
    let mut worker = Worker::run(&scene.config(&options));
    let mut seen = 0;
    while seen < 60 {
        worker.eventually("there are more rows", async || scene.rows().await.is_some_and(|rows| rows > seen)).await;
        seen = scene.rows().await.expect("a database that is there");
        let allowed = begun.elapsed().as_secs_f64() * RATE;
        assert!(seen as f64 <= allowed + 10.0, "{seen} rows where {allowed} and a first batch of each consumer may be");
    }
    worker.stop().await.expect(0);
    scene.broker.delete(&scene.queue).await;
}
