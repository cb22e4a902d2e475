//! All messages are bad, or all look bad to a table that has changed: the worker pauses before it
//! drains the queue into the dead letters, and each way out of it is taken.

use serde_json::Value;

use super::books::{Expected, Order};
use super::broker::{dead, says, settled};
use super::message::letters;
use super::scene::Scene;
use super::{Fault, Group, OneFault, SHARED};
use crate::main_job::orders::{self, Cause};
use crate::support::broker::Message;
use crate::support::database::Server;
use crate::support::worker::Worker;

const fn fault(name: &'static str, about: &'static str, run: OneFault) -> Fault {
    Fault { name, group: Group::Message, about, databases: &Server::ALL, long: false, setting: SHARED, run }
}

pub const FAULTS: &[Fault] = &[
    fault(
        "storm-resumed",
        "The table refuses every message: a pause after 100 of them, ended by `resume` once it is mended; the letters \
         from before it are replayed.",
        |scene| Box::pin(resumed(scene)),
    ),
    fault("storm-table-changed", "The same, ended by a change of the table's columns, without an order.", |scene| {
        Box::pin(table_changed(scene))
    }),
    fault(
        "storm-dead-lettered",
        "2,000 messages that are all bad: a pause; `resume` pauses again, `resume --dead-letter` dead-letters them.",
        |scene| Box::pin(dead_lettered(scene)),
    ),
];

/// What a storm may dead-letter before it is noticed, and some single bad ones.
const NOTICED_WITHIN: u64 = 110;

/// From now on the table refuses every row.
async fn drift(scene: &Scene) {
    let sql = match scene.run.server {
        Server::Postgres => "ALTER TABLE orders ADD CONSTRAINT drifted CHECK (amount < 0) NOT VALID",
        Server::Mysql => {
            "SET check_constraint_checks = 0; ALTER TABLE orders ADD CONSTRAINT drifted CHECK (amount < 0)"
        }
        Server::Sqlite => "CREATE TRIGGER drifted BEFORE INSERT ON orders BEGIN SELECT RAISE(ABORT, 'drifted'); END",
    };
    scene.database.execute(sql).await;
}

async fn mend(scene: &Scene) {
    let sql = match scene.run.server {
        Server::Sqlite => "DROP TRIGGER drifted",
        _ => "ALTER TABLE orders DROP CONSTRAINT drifted",
    };
    scene.database.execute(sql).await;
}

/// Paused with few letters more than before, and nothing is tried again by itself.
async fn paused(scene: &mut Scene, letters_before: u64) {
    says(scene, "paused", "storm").await;
    // What had been decided before the storm may still be on its way.
    scene.until("nothing moves", async |scene| state_seconds(scene).await > 1.0).await;
    let before = (scene.workers[0].status().await["deliveries"].clone(), letters(scene).await);
    scene.until("it stays paused", async |scene| state_seconds(scene).await > 3.0).await;
    let after = (scene.workers[0].status().await["deliveries"].clone(), letters(scene).await);
    assert_eq!(before, after, "deliveries and letters during the pause");
    let more = after.1.saturating_sub(letters_before);
    assert!(more < NOTICED_WITHIN, "{more} dead letters");
}

/// For how long all consumers have been paused.
async fn state_seconds(scene: &Scene) -> f64 {
    let status = scene.workers[0].status().await;
    let consumers = status["consumers"].as_array().cloned().unwrap_or_default();
    let seconds = |consumer: &Value| match consumer["state"] == "paused" {
        true => consumer["state_seconds"].as_f64().unwrap_or(0.0),
        false => 0.0,
    };
    consumers.iter().map(seconds).reduce(f64::min).unwrap_or(0.0)
}

/// `rabbit-sink resume orders`, by its own command.
async fn resume(scene: &mut Scene, more: &[&str]) {
    let config = std::fs::read_to_string(scene.worker().folder().join("rabbit-sink.toml")).expect("its config");
    let arguments = ["resume", "orders"].iter().chain(more);
    let said = Worker::command(&config, arguments).wait().await.expect(0).stdout;
    assert!(said.contains("orders goes on"), "{said}");
}

/// As an operator does when the table is right again: the good ones go back into the queue.
async fn replay(scene: &mut Scene) {
    scene.producer.pause().await;
    settled(scene).await;
    scene.sampler.pause();
    let broker = scene.connect().await;
    let letters = broker.drain(&dead(scene)).await;
    let mut replayed = 0;
    for letter in letters {
        let good = letter.message_id().is_some_and(|id| id.starts_with("order-"));
        let message = Message { body: letter.body, properties: letter.properties };
        replayed += u64::from(good);
        broker.publish(&if good { scene.queue.clone() } else { dead(scene) }, [message]).await;
    }
    assert!(replayed > 0, "the storm was noticed by what it rejected");
    scene.sampler.resume();
    scene.producer.resume();
}

async fn resumed(scene: &mut Scene) {
    let before = letters(scene).await;
    drift(scene).await;
    paused(scene, before).await;
    mend(scene).await;
    resume(scene, &[]).await;
    scene.mended().await;
    scene.worker().is("running").await;
    replay(scene).await;
}

async fn table_changed(scene: &mut Scene) {
    let before = letters(scene).await;
    drift(scene).await;
    paused(scene, before).await;
    mend(scene).await;
    // What no consumer has looked at can't end it; a column can.
    scene.database.execute("ALTER TABLE orders ADD more int").await;
    scene.mended().await;
    scene.worker().is("running").await;
    replay(scene).await;
}

async fn dead_lettered(scene: &mut Scene) {
    const BAD: usize = 2_000;
    scene.producer.pause().await;
    settled(scene).await;
    let before = letters(scene).await;
    let cause = Cause { class: "mapping", code: "required", column: Some("customer") };
    let bad = |n: usize| {
        let body = orders::good(n).0.replace("\"name\"", "\"full_name\"");
        Order::new(&format!("bad-all-{n}"), body, Expected::Dead(Some(cause.clone())))
    };
    scene.publish((0..BAD).map(bad).collect()).await;
    paused(scene, before).await;
    let tried = scene.worker().status().await["deliveries"].as_u64();
    resume(scene, &[]).await;
    scene
        .until("they are tried again", async |scene| scene.workers[0].status().await["deliveries"].as_u64() > tried)
        .await;
    paused(scene, before + NOTICED_WITHIN).await;
    resume(scene, &["--dead-letter"]).await;
    let all = before + BAD as u64;
    scene.until("they are all dead-lettered", async |scene| letters(scene).await >= all).await;
    scene.producer.resume();
    scene.mended().await;
    scene.worker().is("running").await;
}
