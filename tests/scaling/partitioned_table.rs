//! Tables that PostgreSQL divides into partitions: nothing is different for the worker, and a row
//! without a partition is a dead letter until there is one.

use super::{complete, config, order, pipeline, table};
use crate::support::broker::{Broker, Kind};
use crate::support::database::{Server, TestDatabase};
use crate::support::servers::shared_amqp_url;
use crate::support::wait::unique_name;
use crate::support::worker::Worker;

#[tokio::test]
async fn rows_go_to_the_partitions_of_their_hash() {
    let database = TestDatabase::fresh(Server::Postgres).await;
    database.execute(&format!("{} PARTITION BY HASH (customer)", table(Server::Postgres))).await;
    for n in 0..4 {
        let of = format!("PARTITION OF orders FOR VALUES WITH (MODULUS 4, REMAINDER {n})");
        database.execute(&format!("CREATE TABLE orders_{n} {of}")).await;
    }
    let (broker, queue) = (Broker::shared().await, unique_name("partitioned"));
    broker.declare(&queue, Kind::Quorum).await;
    let customers: Vec<String> = (0..20).map(|n| format!("c{n}")).collect();
    let all = || customers.iter().flat_map(|customer| (0..25).map(move |seq| order(customer, seq)));
    broker.publish(&queue, all().chain(all())).await;
    let config = config(&shared_amqp_url(), &database.url, &pipeline("orders", &queue));
    let summary = Worker::until_empty(&config).await.expect(0).summary();
    assert_eq!((summary.written, summary.duplicates), (500, 500));
    complete(&database, &customers, 25).await;
    for n in 0..4 {
        assert!(database.count(&format!("orders_{n}")).await > 0, "orders_{n} has no rows");
    }
    broker.delete(&queue).await;
}

#[tokio::test]
async fn a_row_without_a_partition_is_dead_lettered_and_replayed_once_there_is_one() {
    let database = TestDatabase::fresh(Server::Postgres).await;
    database
        .execute(
            "CREATE TABLE orders (at bigserial, id varchar(40), customer varchar(40), seq int) PARTITION BY RANGE (seq);
             CREATE TABLE orders_0 PARTITION OF orders FOR VALUES FROM (0) TO (10)",
        )
        .await;
    let (broker, queue) = (Broker::shared().await, unique_name("partitioned"));
    broker.declare(&queue, Kind::Quorum).await;
    broker.publish(&queue, (0..12).map(|seq| order("ada", seq))).await;
    let config = config(&shared_amqp_url(), &database.url, &pipeline("orders", &queue));
    let summary = Worker::until_empty(&config).await.expect(0).summary();
    assert_eq!((summary.written, summary.dead_lettered), (10, 2));
    database.execute("CREATE TABLE orders_1 PARTITION OF orders FOR VALUES FROM (10) TO (20)").await;
    let replay = ["dlq", "replay", "orders", "--class", "row_rejected", "--code", "23514", "--yes"];
    Worker::command(&config, replay).wait().await.expect(0);
    assert_eq!(Worker::until_empty(&config).await.expect(0).summary().written, 2);
    complete(&database, &["ada".to_owned()], 12).await;
    broker.delete(&queue).await;
}
