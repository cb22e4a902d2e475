//! The worker dies, the database dies, or the line between them does.

use super::{Site, port_of};
use crate::main_job::orders::Orders;
use crate::support::database::{Server, TestDatabase};
use crate::support::proxy::{Flow, Proxy, Trap};
use crate::support::servers::{Mysql, Postgres, shared_amqp_url};
use crate::support::wait::{PATIENCE, eventually};
use crate::support::worker::Worker;

#[tokio::test]
async fn killed_between_commit_and_ack_the_next_worker_counts_duplicates() {
    let mut site = Site::new(Server::Postgres).await;
    let proxy = Proxy::start(port_of(&shared_amqp_url())).await;
    site.amqp = proxy.url(&shared_amqp_url());
    // Else the worker would widen its prefetch now, for which it waits for the broker's answer.
    site.tables = "[pipelines.orders.limits]\nmax_body = \"64KiB\"".into();
    let mut worker = site.running().await;
    // Before it takes anything it asks the broker for the queue's length; that answer it gets.
    site.wait_for(&mut worker, "it has looked at the queue", |status| status["queue_ready"] == 0).await;
    // What the worker says to the broker stays in the proxy, its acks too.
    proxy.flow(Flow::Stall, Flow::Pass);
    let orders = Orders::good(0..40);
    site.publish(&orders).await;
    eventually(PATIENCE, "all rows are committed", async || site.database.count("orders").await == 40).await;
    worker.kill().await;
    proxy.cut();
    eventually(PATIENCE, "all are ready again", async || site.broker.ready(&site.queue).await == 40).await;
    site.amqp = shared_amqp_url();
    let summary = site.drain(&orders).await.summary();
    assert_eq!((summary.written, summary.duplicates, summary.redelivered), (0, 40, 40));
}

async fn killed_again_and_again(server: Server) {
    let mut site = Site::new(server).await;
    site.keys = "prefetch = 200".into();
    site.tables = "[pipelines.orders.batch]\nmax_rows = 20".into();
    let mut before = 0;
    for round in 0..3 {
        site.publish(&Orders::good(round * 1_000..(round + 1) * 1_000)).await;
        let mut worker = Worker::run(&site.config());
        let moving = async || site.database.count("orders").await > before + 100;
        worker.eventually("rows arrive", moving).await;
        worker.kill().await;
        before = site.database.count("orders").await;
    }
    let returned = async || site.broker.depth(&site.queue).await.unacked == 0;
    eventually(PATIENCE, "the dead worker's messages are ready again", returned).await;
    let last = site.drain(&Orders::good(0..3_000)).await.summary();
    assert_eq!(last.dead_lettered, 0);
}

#[tokio::test]
async fn slow_killed_again_and_again_postgres_has_each_row_once() {
    killed_again_and_again(Server::Postgres).await;
}

#[tokio::test]
async fn slow_killed_again_and_again_mysql_has_each_row_once() {
    killed_again_and_again(Server::Mysql).await;
}

#[tokio::test]
async fn slow_killed_again_and_again_sqlite_has_each_row_once() {
    killed_again_and_again(Server::Sqlite).await;
}

/// The worker's COMMIT meets a trap.
async fn commit_meets(server: Server, keys: &str, trap: Trap) {
    let mut site = Site::new(server).await;
    let proxy = Proxy::start(port_of(&site.database.url)).await;
    site.url = proxy.url(&site.database.url);
    if server == Server::Mysql {
        // A server that offers TLS would get it, and the proxy would see nothing.
        site.url.push_str("?ssl-mode=DISABLED");
    }
    site.keys = keys.into();
    let mut worker = site.running().await;
    let set = proxy.on_commit(server, trap);
    let orders = Orders::good(0..30);
    site.publish(&orders).await;
    set.sprung().await;
    site.wait_settled(&mut worker, 30).await;
    let status = site.status().await;
    let duplicates = status["duplicates"].as_u64().unwrap();
    match trap {
        Trap::LoseRequest => assert_eq!(duplicates, 0, "nothing was committed: {status}"),
        // It was committed, and found to be when it was written again.
        Trap::LoseAnswer | Trap::HoldAnswer => assert!(duplicates > 0, "{status}"),
    }
    assert_eq!(status["written"].as_u64().unwrap() + duplicates, 30, "{status}");
    assert_eq!(site.metric("rabbit_sink_retries_total", "sink_unavailable").await, 1);
    site.finish(worker, &orders).await;
}

#[tokio::test]
async fn a_commit_whose_answer_is_lost_writes_once_in_postgres() {
    commit_meets(Server::Postgres, "", Trap::LoseAnswer).await;
}

#[tokio::test]
async fn a_commit_whose_answer_is_lost_writes_once_in_mysql() {
    commit_meets(Server::Mysql, "", Trap::LoseAnswer).await;
}

#[tokio::test]
async fn a_commit_whose_answer_is_lost_writes_once_by_a_column_in_postgres() {
    commit_meets(Server::Postgres, "deduplicate = \"column:id\"", Trap::LoseAnswer).await;
}

#[tokio::test]
async fn a_commit_whose_answer_is_lost_writes_once_by_a_column_in_mysql() {
    commit_meets(Server::Mysql, "deduplicate = \"column:id\"", Trap::LoseAnswer).await;
}

#[tokio::test]
async fn a_commit_that_never_arrives_is_written_again_in_postgres() {
    commit_meets(Server::Postgres, "", Trap::LoseRequest).await;
}

#[tokio::test]
async fn a_commit_that_never_arrives_is_written_again_in_mysql() {
    commit_meets(Server::Mysql, "", Trap::LoseRequest).await;
}

/// A worker with a connection to its database, which has widened its prefetch to the full 100.
async fn warm(site: &Site) -> Worker {
    let mut worker = site.running().await;
    site.publish(&Orders::good(0..WARM)).await;
    site.wait_settled(&mut worker, WARM).await;
    worker
}

const WARM: usize = 400;

/// While the database is away: reading has stopped, nothing is lost, and it is tried on and on.
/// Returns all orders.
async fn holds(site: &Site, worker: &mut Worker) -> Orders {
    let orders = Orders::good(WARM..WARM + 500);
    site.publish(&orders).await;
    let reason = site.wait_for_state(worker, "holding").await;
    assert!(reason.contains("sink_unavailable"), "{reason}");
    // Longer than any wait or timeout of this config.
    site.wait_for(worker, "it holds on", |status| {
        status["state"] == "holding" && status["consumers"][0]["state_seconds"].as_f64() > Some(2.0)
    })
    .await;
    let depth = site.broker.depth(&site.queue).await;
    assert!(depth.unacked <= 100, "no more than the prefetch: {depth:?}");
    assert!(depth.unacked > 0, "they are kept, not given back: {depth:?}");
    assert_eq!(depth.ready + depth.unacked, 500, "nothing is acked");
    let status = site.status().await;
    assert_eq!((&status["dead_lettered"], &status["written"]), (&0.into(), &WARM.into()));
    assert_eq!(super::get(site.port, "/livez").await.0, 200, "a restart wouldn't help");
    Orders::good(0..WARM + 500)
}

async fn short(mut site: Site) -> Site {
    site.keys = "prefetch = 100".into();
    site.tables = "[pipelines.orders.batch]\nmax_rows = 50".into();
    site.database_keys =
        "connect_timeout = \"500ms\"\nstatement_timeout = \"500ms\"\nlock_timeout = \"500ms\"\n".into();
    site
}

#[tokio::test]
async fn slow_a_postgres_that_is_stopped_is_waited_for() {
    let mut postgres = Postgres::start().await;
    let site = short(Site::on(TestDatabase::on(&postgres.url()).await).await).await;
    let mut worker = warm(&site).await;
    postgres.stop().await;
    let orders = holds(&site, &mut worker).await;
    postgres.restart().await;
    site.wait_settled(&mut worker, WARM + 500).await;
    site.finish(worker, &orders).await;
}

#[tokio::test]
async fn slow_a_mariadb_that_is_killed_is_waited_for() {
    let mut mariadb = Mysql::start().await;
    let site = short(Site::on(TestDatabase::on(&mariadb.url()).await).await).await;
    let mut worker = warm(&site).await;
    mariadb.kill();
    let orders = holds(&site, &mut worker).await;
    mariadb.restart().await;
    site.wait_settled(&mut worker, WARM + 500).await;
    site.finish(worker, &orders).await;
}

#[tokio::test]
async fn slow_a_frozen_postgres_is_noticed_by_our_own_deadline() {
    let postgres = Postgres::start().await;
    let site = short(Site::on(TestDatabase::on(&postgres.url()).await).await).await;
    let mut worker = warm(&site).await;
    postgres.pause();
    let orders = holds(&site, &mut worker).await;
    postgres.resume();
    site.wait_settled(&mut worker, WARM + 500).await;
    site.finish(worker, &orders).await;
}

#[tokio::test]
async fn slow_a_half_open_line_to_mysql_is_noticed_by_our_own_deadline() {
    let mut site = short(Site::new(Server::Mysql).await).await;
    let proxy = Proxy::start(port_of(&site.database.url)).await;
    site.url = proxy.url(&site.database.url);
    let mut worker = warm(&site).await;
    proxy.stall();
    let orders = holds(&site, &mut worker).await;
    proxy.pass();
    site.wait_settled(&mut worker, WARM + 500).await;
    site.finish(worker, &orders).await;
}

#[tokio::test]
async fn slow_a_commit_whose_answer_never_comes_writes_once() {
    let mut site = short(Site::new(Server::Postgres).await).await;
    let proxy = Proxy::start(port_of(&site.database.url)).await;
    site.url = proxy.url(&site.database.url);
    let mut worker = site.running().await;
    let set = proxy.on_commit(Server::Postgres, Trap::HoldAnswer);
    let orders = Orders::good(0..30);
    site.publish(&orders).await;
    set.sprung().await;
    site.wait_settled(&mut worker, 30).await;
    assert!(site.status().await["duplicates"].as_u64() > Some(0));
    site.finish(worker, &orders).await;
}

#[tokio::test]
async fn slow_a_database_that_is_away_at_the_start_costs_no_delivery() {
    let mut postgres = Postgres::start().await;
    let site = short(Site::on(TestDatabase::on(&postgres.url()).await).await).await;
    let orders = Orders::good(0..100);
    site.publish(&orders).await;
    postgres.stop().await;
    let mut worker = Worker::run(&site.config());
    site.wait_for_state(&mut worker, "holding").await;
    let depth = site.broker.depth(&site.queue).await;
    assert_eq!((depth.ready, depth.unacked), (100, 0), "nothing was taken");
    postgres.restart().await;
    site.wait_settled(&mut worker, 100).await;
    assert_eq!(site.status().await["redelivered"], 0);
    site.finish(worker, &orders).await;
}

#[tokio::test]
async fn slow_after_hold_messages_are_given_back_once_and_taken_again_when_the_database_is_back() {
    let mut postgres = Postgres::start().await;
    let mut site = short(Site::on(TestDatabase::on(&postgres.url()).await).await).await;
    site.retry = "hold = \"3s\"".into();
    let mut worker = site.running().await;
    postgres.stop().await;
    let orders = Orders::good(0..100);
    site.publish(&orders).await;
    site.wait_for_state(&mut worker, "holding").await;
    eventually(PATIENCE, "given back", async || site.broker.ready(&site.queue).await == 100).await;
    site.wait_for(&mut worker, "none is in hand", |status| status["unsettled"] == 0).await;
    let deliveries = site.status().await["deliveries"].as_u64().unwrap();
    site.wait_for(&mut worker, "it goes on probing", |status| {
        status["consumers"][0]["state_seconds"].as_f64() > Some(5.0)
    })
    .await;
    assert_eq!(site.status().await["deliveries"], deliveries, "not taken again while the database is away");
    postgres.restart().await;
    site.wait_settled(&mut worker, 100).await;
    site.finish(worker, &orders).await;
}
