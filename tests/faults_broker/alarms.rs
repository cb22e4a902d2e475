//! Memory and disk alarms: the broker reads nothing more from connections that publish.

use sqlx::{Connection, SqliteConnection};

use crate::support::Worker;
use crate::support::broker::{Depth, Kind};
use crate::support::servers::Rabbitmq;
use crate::support::wait::{PATIENCE, eventually};
use crate::worker::scene::Scene;

#[tokio::test]
async fn slow_during_alarms_acks_go_on_and_dead_letters_wait() {
    let node = Rabbitmq::start().await;
    let mut scene = Scene::on(&node, Kind::Quorum).await;
    let mut worker = Worker::run(&scene.config(""));
    scene.ready_says(&mut worker, 200, "").await;
    let alarms = [
        (["set_vm_memory_high_watermark", "0"], ["set_vm_memory_high_watermark", "0.4"]),
        (["set_disk_free_limit", "1000000GB"], ["set_disk_free_limit", "1MB"]),
    ];
    for (round, (on, off)) in alarms.into_iter().enumerate() {
        let (bad, letters) = (round * 8, 8 * round as u64);
        // The connection of dead letters exists, and publishes.
        scene.publish_bad(bad..bad + 4).await;
        scene.dead_lettered(letters + 4).await;
        scene.flows(&mut worker).await;
        // All is published before the alarm, which blocks our own connection as well.
        let mut lock = SqliteConnection::connect(&scene.database.url).await.unwrap();
        sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut lock).await.unwrap();
        let next = scene.expected_rows();
        scene.publish(next..next + 3_000).await;
        scene.publish_bad(bad + 4..bad + 8).await;
        scene.ctl(&on).await;
        eventually(PATIENCE, "the alarm is on", async || {
            scene.ctl(&["eval", "rabbit_alarm:get_alarms()."]).await.trim() != "[]"
        })
        .await;
        sqlx::raw_sql("ROLLBACK").execute(&mut lock).await.unwrap();
        lock.close().await.unwrap();
        scene.all_written(&mut worker).await;
        let waiting = Depth { ready: 0, unacked: 4 };
        eventually(PATIENCE, "the rest is acked", async || scene.broker.depth(&scene.queue).await == waiting).await;
        assert_eq!(scene.broker.ready(&scene.dead()).await, letters + 4, "no letter gets through");
        scene.ctl(&off).await;
        scene.dead_lettered(letters + 8).await;
        scene.broker.wait_until_empty(&scene.queue).await;
        scene.flows(&mut worker).await;
    }
    scene.ready_says(&mut worker, 200, "").await;
    worker.stop().await.expect(0);
    scene.audit().await;
}
