//! Order with more than one process: they take turns on one queue (single active consumer), or a
//! customer's orders all lie in one of several queues (consistent-hash or modulus exchange).

use lapin::ExchangeKind;
use lapin::options::{ExchangeDeclareOptions, QueueBindOptions};
use lapin::types::{AMQPValue, FieldTable};

use super::{complete, config, order, out_of_order, started, table, turn};
use crate::support::broker::{Broker, Kind};
use crate::support::database::{Server, TestDatabase};
use crate::support::servers::{Rabbitmq, RabbitmqOptions, shared_amqp_url};
use crate::support::wait::{PATIENCE, eventually, unique_name};

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

/// What config/partitions.toml says must be there, on a broker with this kind of exchange.
async fn partitions(broker: &Broker, kind: &str, queues: &[String]) {
    let channel = &broker.channel;
    let durable = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    let kind = ExchangeKind::Custom(kind.into());
    channel.exchange_declare("orders".into(), kind, durable, FieldTable::default()).await.expect("an exchange");
    for queue in queues {
        broker.declare_with(queue, Kind::Quorum, single_active()).await;
        // For a consistent-hash exchange the binding's key is the queue's weight.
        let bound = channel.queue_bind(
            queue.as_str().into(),
            "orders".into(),
            "1".into(),
            QueueBindOptions::default(),
            FieldTable::default(),
        );
        bound.await.expect("bound");
    }
}

/// A customer's next order, addressed by the customer.
async fn publish(broker: &Broker, customers: &[String], seqs: std::ops::Range<usize>) {
    for seq in seqs {
        for customer in customers {
            broker.publish_to("orders", customer, [order(customer, seq)]).await;
        }
    }
}

async fn each_partition_keeps_its_order(plugin: &str, kind: &str) {
    let plugins = vec![plugin.to_owned()];
    let node = Rabbitmq::start_with(RabbitmqOptions { plugins, ..RabbitmqOptions::default() }).await;
    let broker = Broker::of(&node).await;
    let database = TestDatabase::fresh(Server::Postgres).await;
    database.execute(table(Server::Postgres)).await;
    let queues: Vec<String> = (0..4).map(|n| format!("orders.{n}")).collect();
    partitions(&broker, kind, &queues).await;
    let pipelines: String = (0..4).map(|n| turn(&format!("orders_{n}"), &queues[n])).collect();
    let config = config(&node.url(), &database.url, &pipelines);
    let customers: Vec<String> = (0..30).map(|n| format!("c{n}")).collect();
    // Before anybody reads: where does each customer's first order lie?
    publish(&broker, &customers, 0..1).await;
    for queue in &queues {
        assert!(broker.ready(queue).await > 0, "no customer is in {queue}");
    }
    let mut running = vec![started(&config).await, started(&config).await];
    for round in 0..4 {
        publish(&broker, &customers, 1 + round * 15..1 + (round + 1) * 15).await;
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
    complete(&database, &customers, 61).await;
    assert_eq!(out_of_order(&database).await, Vec::<String>::new());
}

#[tokio::test]
async fn slow_partition_queues_of_a_consistent_hash_exchange_keep_each_customers_order() {
    each_partition_keeps_its_order("rabbitmq_consistent_hash_exchange", "x-consistent-hash").await;
}

#[tokio::test]
async fn slow_partition_queues_of_a_modulus_exchange_keep_each_customers_order() {
    each_partition_keeps_its_order("rabbitmq_sharding", "x-modulus-hash").await;
}
