//! The main job: real messages from a real queue in a real table, through the real binary.

pub mod orders;

use std::collections::BTreeSet;

use crate::support::broker::{Broker, Kind};
use crate::support::database::{Server, TestDatabase};
use crate::support::servers::shared_amqp_url;
use crate::support::wait::unique_name;
use crate::support::worker::Worker;
use orders::{Orders, config};

/// 20,000 orders, every tenth ID twice, 1 in 500 bad, two processes at once.
async fn main_job(server: Server, kind: Kind) {
    let broker = Broker::shared().await;
    let database = TestDatabase::fresh(server).await;
    database.execute(orders::table(server)).await;
    let queue = unique_name("orders");
    broker.declare(&queue, kind).await;
    let orders = Orders::mixed(20_000, server);
    broker.publish(&queue, orders.messages.clone()).await;
    let config = config(&shared_amqp_url(), &database, &queue, "");
    let (one, two) = tokio::join!(Worker::until_empty(&config), Worker::until_empty(&config));
    let mut settled = 0;
    for exit in [one, two] {
        let summary = exit.expect(0).summary();
        assert_eq!(summary.settled, summary.written + summary.duplicates + summary.dead_lettered);
        settled += summary.settled;
    }
    // One may end while the other still gives nothing back; what either was given it settled.
    assert_eq!(settled as usize, orders.messages.len(), "every message was settled exactly once");
    broker.wait_until_empty(&queue).await;
    let dead = format!("{queue}.dead");
    let letters = broker.drain(&dead).await;
    orders.audit(&database, &letters).await;
    let distinct: BTreeSet<_> = letters.iter().map(|letter| letter.header("x-sink-id")).collect();
    assert_eq!(distinct.len(), orders.causes.len());
    broker.delete(&queue).await;
    broker.delete(&dead).await;
}

#[tokio::test]
async fn postgres_gets_every_order_once() {
    main_job(Server::Postgres, Kind::Quorum).await;
}

#[tokio::test]
async fn mysql_gets_every_order_once() {
    main_job(Server::Mysql, Kind::Classic).await;
}

#[tokio::test]
async fn sqlite_gets_every_order_once() {
    main_job(Server::Sqlite, Kind::Quorum).await;
}
