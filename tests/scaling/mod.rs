//! More than one process on the same messages: competing for one queue, taking turns on it, or each
//! with partitions of its own; and databases that spread the rows.

mod galera;
mod ordered;
mod partitioned_table;
mod rolling;

use crate::support::broker::{Broker, Message};
use crate::support::database::{Server, TestDatabase, select_as_text};
use crate::support::worker::Worker;

/// Without a key: whatever is written twice stands there twice. `at` counts as rows are written.
fn table(server: Server) -> &'static str {
    match server {
        Server::Postgres => "CREATE TABLE orders (at bigserial, id varchar(40), customer varchar(40), seq int)",
        Server::Mysql => {
            "CREATE TABLE orders (at bigint AUTO_INCREMENT PRIMARY KEY, id varchar(40), customer varchar(40), seq int)"
        }
        Server::Sqlite => "CREATE TABLE orders (at integer PRIMARY KEY, id varchar(40), customer varchar(40), seq int)",
    }
}

/// One of the processes' configs: all have the same.
fn config(amqp: &str, database: &str, pipelines: &str) -> String {
    format!("[rabbitmq]\nurl = \"{amqp}\"\n[database]\nurl = \"{database}\"\n[admin]\nlisten = \"off\"\n{pipelines}")
}

fn pipeline(name: &str, queue: &str) -> String {
    with_keys(name, queue, "")
}

/// A pipeline that knows that it has the queue for a while and then no more.
fn turn(name: &str, queue: &str) -> String {
    let limits = format!("[pipelines.{name}.limits]\nmax_body = \"512KiB\"\n");
    with_keys(name, queue, "single_active_consumer = true\n") + &limits
}

fn with_keys(name: &str, queue: &str, keys: &str) -> String {
    format!(
        "[pipelines.{name}]\nqueue = \"{queue}\"\ntable = \"orders\"\nprefetch = 100\n{keys}\
         [pipelines.{name}.columns]\nid = \"/id\"\ncustomer = \"/customer\"\nseq = \"/seq\"\n\
         [pipelines.{name}.batch]\nmax_rows = 50\n[pipelines.{name}.retry]\ninitial = \"50ms\"\nmax = \"500ms\"\n"
    )
}

/// The `seq`th order of a customer.
fn order(customer: &str, seq: usize) -> Message {
    let id = format!("{customer}-{seq}");
    Message::json(&id, format!("{{\"id\":\"{id}\",\"customer\":\"{customer}\",\"seq\":{seq}}}"))
}

/// A process that has begun to read.
async fn started(config: &str) -> Worker {
    let mut worker = Worker::run(config);
    worker.logs("\"message\":\"running").await;
    worker
}

/// Whether each of these customers has its orders from 0 on, once each.
async fn complete(database: &TestDatabase, customers: &[String], orders: usize) {
    let columns = ["customer", "count(*)", "count(DISTINCT id)", "max(seq)"];
    let mut found = database.rows(&select_as_text(database.server, "orders GROUP BY customer", &columns)).await;
    found.sort();
    let mut expected: Vec<Vec<Option<String>>> = customers
        .iter()
        .map(|customer| {
            let count = Some(orders.to_string());
            vec![Some(customer.clone()), count.clone(), count, Some((orders - 1).to_string())]
        })
        .collect();
    expected.sort();
    assert_eq!(found, expected, "customer, rows, orders, last");
}

/// Customers whose rows were written in another order than that of their orders.
async fn out_of_order(database: &TestDatabase) -> Vec<String> {
    let rows = database.table("orders", &["customer", "seq", "at"]).await;
    let number = |cell: &Option<String>| cell.as_ref().and_then(|text| text.parse::<u64>().ok()).expect("a number");
    let mut all: Vec<(String, u64, u64)> =
        rows.iter().map(|row| (row[0].clone().expect("a customer"), number(&row[1]), number(&row[2]))).collect();
    all.sort();
    let wrong = all.windows(2).filter(|pair| pair[0].0 == pair[1].0 && pair[0].2 >= pair[1].2);
    wrong.map(|pair| format!("{}: {} was written after {}", pair[0].0, pair[0].1, pair[1].1)).collect()
}

/// Nothing is left, in hand or dead.
async fn empty(broker: &Broker, queue: &str) {
    broker.wait_until_empty(queue).await;
    assert_eq!(broker.depth(&format!("{queue}.dead")).await.ready, 0, "dead letters");
}
