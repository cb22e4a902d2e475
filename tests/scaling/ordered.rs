//! Order with more than one process: they take turns on one queue (single active consumer), or a
//! customer's orders all lie in one of several queues (consistent-hash or modulus exchange).

use lapin::ExchangeKind;
use std::collections::BTreeSet;

use lapin::options::ExchangeDeclareOptions;
use lapin::types::{AMQPValue, FieldTable};

use super::{complete, config, order, out_of_order, started, table, turn};
use crate::support::broker::{Broker, Kind};
use crate::support::database::{Server, TestDatabase};
use crate::support::servers::{Rabbitmq, RabbitmqOptions, shared_amqp_url};
use crate::support::wait::{PATIENCE, eventually, unique_name};
use crate::support::worker::Worker;

/// One consumer at a time has the queue; the others wait for it to go.
fn single_active() -> FieldTable {
    let mut arguments = FieldTable::default();
    arguments.insert("x-single-active-consumer".into(), AMQPValue::Boolean(true));
    arguments
}

#[tokio::test]
async fn slow_processes_that_take_turns_keep_the_queues_order() {
    let database = TestDatabase::fresh(Server::Postgres).await;
    database.execute(table(Server::Postgres)).await;
    let (broker, queue) = (Broker::shared().await, unique_name("turns"));
    broker.declare_with(&queue, Kind::Quorum, single_active()).await;
    let config = config(&shared_amqp_url(), &database.url, &turn("orders", &queue));
    let mut running = vec![started(&config).await, started(&config).await];
    let mut published = 0;
    for round in 0..4 {
        broker.publish(&queue, (published..published + 1_000).map(|seq| order("ada", seq))).await;
        published += 1_000;
        let some = async || database.count("orders").await > (published - 1_000) as u64;
        eventually(PATIENCE, "some of them are there", some).await;
        // The one whose turn it is goes, in peace or not; a new one queues up behind.
        let active = running.remove(0);
        if round % 2 == 0 {
            active.stop().await.expect(0);
        } else {
            active.kill().await;
        }
        running.push(started(&config).await);
    }
    super::empty(&broker, &queue).await;
    complete(&database, &["ada".to_owned()], published).await;
    assert_eq!(out_of_order(&database).await, Vec::<String>::new());
    broker.delete(&queue).await;
}

/// A customer's next order, addressed by the customer.
async fn publish(broker: &Broker, customers: &[String], seqs: std::ops::Range<usize>) {
    for seq in seqs {
        for customer in customers {
            broker.publish_to("orders", customer, [order(customer, seq)]).await;
        }
    }
}

/// config/partitions.toml itself, on this broker and database.
fn sample(node: &Rabbitmq, database: &TestDatabase) -> String {
    let sample = include_str!("../../config/partitions.toml");
    let (_, pipelines) = sample.split_once("\n[pipelines").expect("pipelines");
    config(&node.url(), &database.url, &format!("[pipelines{pipelines}"))
}

async fn each_partition_keeps_its_order(plugin: &str, kind: &str) {
    let plugins = vec![plugin.to_owned()];
    let node = Rabbitmq::start_with(RabbitmqOptions { plugins, ..RabbitmqOptions::default() }).await;
    let broker = Broker::of(&node).await;
    let database = TestDatabase::fresh(Server::Postgres).await;
    database.execute(&format!("{}; ALTER TABLE orders ADD source_queue text", table(Server::Postgres))).await;
    let durable = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    let kind = ExchangeKind::Custom(kind.into());
    broker.channel.exchange_declare("orders".into(), kind, durable, FieldTable::default()).await.expect("an exchange");
    let queues: Vec<String> = (0..4).map(|n| format!("orders.{n}")).collect();
    let customers: Vec<String> = (0..30).map(|n| format!("c{n}")).collect();
    let config = sample(&node, &database);
    let mut running = Vec::new();
    for _ in 0..2 {
        let mut worker = Worker::run(&config);
        let all =
            async || queues.iter().all(|queue| node.ctl(&["list_consumers", "queue_name"]).contains(queue.as_str()));
        worker.eventually("it reads every queue", all).await;
        running.push(worker);
    }
    for round in 0..4 {
        publish(&broker, &customers, round * 15..(round + 1) * 15).await;
        let old = running.remove(0);
        if round % 2 == 0 {
            old.stop().await.expect(0);
        } else {
            old.kill().await;
        }
        running.push(started(&config).await);
    }
    for queue in &queues {
        super::empty(&broker, queue).await;
    }
    complete(&database, &customers, 60).await;
    assert_eq!(out_of_order(&database).await, Vec::<String>::new());
    let spread = database.table("orders", &["source_queue", "customer"]).await;
    let spread: BTreeSet<_> = spread.iter().collect();
    assert_eq!(spread.len(), customers.len(), "each customer in one queue alone");
    let used: BTreeSet<_> = spread.iter().map(|row| row[0].clone()).collect();
    assert_eq!(used.len(), queues.len(), "every queue has customers");
}

#[tokio::test]
async fn slow_partition_queues_of_a_consistent_hash_exchange_keep_each_customers_order() {
    each_partition_keeps_its_order("rabbitmq_consistent_hash_exchange", "x-consistent-hash").await;
}

#[tokio::test]
async fn slow_partition_queues_of_a_modulus_exchange_keep_each_customers_order() {
    each_partition_keeps_its_order("rabbitmq_sharding", "x-modulus-hash").await;
}
