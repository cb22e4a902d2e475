//! A changed schema rejects everything: the pipeline pauses before its queue is drained into the
//! dead letters.

use super::Site;
use crate::main_job::orders::{Cause, Orders};
use crate::support::broker::Message;
use crate::support::database::Server;
use crate::support::worker::Worker;

/// More than can be unacked at once, so that most of them must stay in the queue.
const MESSAGES: usize = 3_000;

/// Every order lacks a column that has become required, or is refused by a check.
async fn drifted(server: Server, drift: &str) -> Site {
    let mut site = Site::new(server).await;
    site.keys = "prefetch = 500".into();
    site.tables = "[pipelines.orders.batch]\nmax_rows = 200".into();
    site.database.execute(drift).await;
    site.publish(&Orders::good(0..MESSAGES)).await;
    site
}

const REGION: &str = "ALTER TABLE orders ADD region varchar(10) NOT NULL";
const CHECK: &str = "ALTER TABLE orders ADD CONSTRAINT drifted CHECK (amount < 0)";

/// Paused, with few dead letters, and the rest where it was. Returns the number of dead letters.
async fn paused(site: &Site, worker: &mut Worker) -> u64 {
    let reason = site.wait_for_state(worker, "paused").await;
    assert!(reason.contains("storm"), "{reason}");
    let said = site.command(&["status"]).await.expect(0).stdout;
    assert!(said.contains("paused") && said.contains("storm"), "{said}");
    let status = site.status().await;
    let letters = status["dead_lettered"].as_u64().unwrap();
    assert!(letters < 110, "{letters} dead letters");
    let depth = site.broker.depth(&site.queue).await;
    assert_eq!(depth.ready + depth.unacked + letters, MESSAGES as u64, "{depth:?}, {letters} dead letters");
    assert!(depth.ready > 0, "reading has stopped: {depth:?}");
    // It looks at the table again and again now, and at nothing else.
    let deliveries = status["deliveries"].clone();
    site.wait_for(worker, "it stays paused", |status| status["consumers"][0]["state_seconds"].as_f64() > Some(2.0))
        .await;
    let status = site.status().await;
    assert_eq!((&status["deliveries"], &status["dead_lettered"]), (&deliveries, &letters.into()), "tried again");
    letters
}

/// What was dead-lettered before the pause is replayed; then all is there.
async fn replay_and_audit(site: &Site, letters: u64) {
    let dead = site.letters().await;
    assert_eq!(dead.len() as u64, letters);
    let again = dead.into_iter().map(|letter| Message { body: letter.body, properties: letter.properties });
    site.broker.publish(&site.queue, again).await;
    site.drain(&Orders::good(0..MESSAGES)).await;
}

#[tokio::test]
async fn slow_a_storm_pauses_and_a_changed_table_ends_it_in_postgres() {
    let site = drifted(Server::Postgres, CHECK).await;
    let mut worker = Worker::run(&site.config());
    let letters = paused(&site, &mut worker).await;
    // A check isn't part of what we know of a table; a column is.
    site.database.execute("ALTER TABLE orders DROP CONSTRAINT drifted, ADD COLUMN more text").await;
    site.wait_settled(&mut worker, MESSAGES).await;
    assert_eq!(site.status().await["dead_lettered"], letters);
    worker.stop().await.expect(0);
    replay_and_audit(&site, letters).await;
}

#[tokio::test]
async fn a_storm_pauses_and_resume_tries_again_in_mysql() {
    let site = drifted(Server::Mysql, CHECK).await;
    let mut worker = Worker::run(&site.config());
    let letters = paused(&site, &mut worker).await;
    site.database.execute("ALTER TABLE orders DROP CONSTRAINT drifted").await;
    let said = site.command(&["resume", "orders"]).await.expect(0).stdout;
    assert!(said.contains("orders goes on"), "{said}");
    site.wait_settled(&mut worker, MESSAGES).await;
    assert_eq!(site.status().await["dead_lettered"], letters);
    worker.stop().await.expect(0);
    replay_and_audit(&site, letters).await;
}

#[tokio::test]
async fn slow_a_resumed_storm_that_goes_on_pauses_again() {
    let site = drifted(Server::Postgres, CHECK).await;
    let mut worker = Worker::run(&site.config());
    let before = paused(&site, &mut worker).await;
    site.command(&["resume", "orders"]).await.expect(0);
    site.wait_for(&mut worker, "it has tried again", |status| {
        status["state"] == "paused" && status["deliveries"].as_u64() > Some(500)
    })
    .await;
    site.wait_for(&mut worker, "it stays paused", |status| {
        status["consumers"][0]["state_seconds"].as_f64() > Some(2.0)
    })
    .await;
    let letters = site.status().await["dead_lettered"].as_u64().unwrap();
    assert!(letters < before + 110, "{before}, then {letters} dead letters");
    site.database.execute("ALTER TABLE orders DROP CONSTRAINT drifted").await;
    site.command(&["resume", "orders"]).await.expect(0);
    site.wait_settled(&mut worker, MESSAGES).await;
    worker.stop().await.expect(0);
    replay_and_audit(&site, letters).await;
}

/// Beyond `hold` the messages are given back; neither then nor later are they tried again, though
/// the storm before this one was ended by a `resume`.
#[tokio::test]
async fn slow_a_storm_that_outlasts_hold_gives_back_and_goes_on_waiting() {
    let mut site = drifted(Server::Postgres, CHECK).await;
    site.retry = "hold = \"6s\"".into();
    let mut worker = Worker::run(&site.config());
    site.wait_for_state(&mut worker, "paused").await;
    let before = site.status().await["deliveries"].as_u64();
    site.command(&["resume", "orders"]).await.expect(0);
    // On a slow machine `hold` is over before the second storm is noticed: what counts comes after it.
    site.wait_for(&mut worker, "the second storm has given back", |status| {
        let tried_again = status["deliveries"].as_u64() > before;
        tried_again && status["state"] == "paused" && status["unsettled"] == 0
    })
    .await;
    let status = site.status().await;
    let seconds = |status: &serde_json::Value| status["seconds"].as_f64().unwrap();
    site.wait_for(&mut worker, "it stays paused", |later| {
        assert_eq!(later["state"], "paused", "giving back ends no pause");
        seconds(later) > seconds(&status) + 3.0
    })
    .await;
    let later = site.status().await;
    assert_eq!((&later["deliveries"], &later["dead_lettered"]), (&status["deliveries"], &status["dead_lettered"]));
    let letters = later["dead_lettered"].as_u64().unwrap();
    assert!(letters < 220, "{letters} dead letters of two storms");
    site.database.execute("ALTER TABLE orders DROP CONSTRAINT drifted").await;
    site.command(&["resume", "orders"]).await.expect(0);
    site.wait_settled(&mut worker, MESSAGES).await;
    worker.stop().await.expect(0);
    replay_and_audit(&site, letters).await;
}

#[tokio::test]
async fn slow_a_storm_that_somebody_wants_dead_lettered_drains() {
    let site = drifted(Server::Postgres, CHECK).await;
    let mut worker = Worker::run(&site.config());
    paused(&site, &mut worker).await;
    site.command(&["resume", "orders", "--dead-letter"]).await.expect(0);
    site.wait_settled(&mut worker, MESSAGES).await;
    let mut orders = Orders::good(0..0);
    for message in Orders::good(0..MESSAGES).messages {
        let id = message.properties.message_id().as_ref().unwrap().to_string();
        orders.accountant.expect_dead(&id);
        orders.causes.insert(id, Cause { class: "row_rejected", code: "23514", column: None });
    }
    // After it the table is as it was, and single rejections are single again.
    site.finish(worker, &orders).await;
}

#[tokio::test]
async fn a_storm_ends_until_empty_with_4() {
    // Refused before any database: a column that no order has a value for has become required.
    let site = drifted(Server::Mysql, REGION).await;
    let config = site.config();
    let exit = Worker::until_empty(&config).await;
    assert_eq!(exit.code, Some(4), "{}", exit.stderr);
    let summary = exit.summary();
    assert_eq!(summary.state, "paused");
    assert!(summary.dead_lettered < 110, "{summary:?}");
    let ready = site.broker.ready(&site.queue).await;
    assert_eq!(ready + summary.dead_lettered, MESSAGES as u64);
    site.database.execute("ALTER TABLE orders DROP COLUMN region").await;
    Worker::until_empty(&config).await.expect(0);
    replay_and_audit(&site, summary.dead_lettered).await;
}
