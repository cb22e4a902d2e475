//! A pipeline with orders, some of them bad, and its dead-letter queue.

use std::collections::{BTreeMap, BTreeSet};

use lapin::types::{AMQPValue, FieldTable};
use serde_json::Value;

use crate::main_job::orders::{self, config};
use crate::support::broker::{Broker, Kind, Message};
use crate::support::database::{Server, TestDatabase};
use crate::support::servers::shared_amqp_url;
use crate::support::wait::unique_name;
use crate::support::worker::{Exit, Worker};

/// The worker dead-letters whatever comes, however thick.
pub const NO_STORM: &str = "\n[pipelines.orders.storm]\naction = \"dead_letter\"\n";

/// How bad orders are made.
#[derive(Clone, Copy, Debug)]
pub enum Bad {
    /// `quantity` is a text: `mapping`, `wrong_type`, column `quantity`.
    Quantity,
    /// No customer: `mapping`, `required`, column `customer`.
    Customer,
    /// Not JSON.
    Broken,
    /// A CHECK of the table refuses it: mended by dropping that.
    Negative,
}

/// Everything that one test has for itself.
pub struct Scene {
    pub broker: Broker,
    pub database: TestDatabase,
    pub queue: String,
    pub dead: String,
    pub config: String,
}

impl Scene {
    pub async fn new(kind: Kind) -> Scene {
        Scene::with(kind, Server::Postgres, "").await
    }

    /// `options` as for [`config`]. The dead-letter queue is of the same kind, with a delivery limit of
    /// 20 if that is quorum.
    pub async fn with(kind: Kind, server: Server, options: &str) -> Scene {
        let broker = Broker::shared().await;
        let database = TestDatabase::fresh(server).await;
        database.execute(orders::table(server)).await;
        let queue = unique_name("dlq");
        let dead = format!("{queue}.dead");
        broker.declare(&queue, kind).await;
        let mut arguments = FieldTable::default();
        if kind == Kind::Quorum {
            arguments.insert("x-delivery-limit".into(), AMQPValue::LongInt(20));
        }
        broker.declare_with(&dead, kind, arguments).await;
        let config = config(&shared_amqp_url(), &database, &queue, options);
        Scene { broker, database, queue, dead, config }
    }

    /// Bad orders with these numbers.
    pub fn bad(numbers: impl IntoIterator<Item = usize>, bad: Bad) -> Vec<Message> {
        let message = |n| {
            let (body, _) = orders::good(n);
            let body = match bad {
                Bad::Quantity => {
                    let (before, after) = body.split_once("\"quantity\":").unwrap();
                    format!("{before}\"quantity\":\"many\"{}", &after[after.find(',').unwrap()..])
                }
                Bad::Customer => body.replace("\"name\"", "\"nom\""),
                Bad::Broken => body[..body.len() - 3].to_owned(),
                Bad::Negative => body.replace("\"quantity\":", "\"quantity\":-"),
            };
            Message::json(&format!("order-{n}"), body)
        };
        numbers.into_iter().map(message).collect()
    }

    /// Publishes messages and lets the worker run until the queue is empty: the bad ones are dead then.
    pub async fn work(&self, messages: Vec<Message>) {
        self.broker.publish(&self.queue, messages).await;
        self.drain_queue().await;
    }

    /// Lets the worker run until the queue is empty.
    pub async fn drain_queue(&self) {
        Worker::until_empty(&self.config).await.expect(0);
    }

    /// `rabbit-sink dlq COMMAND orders …`
    pub fn start(&self, command: &str, args: &[&str]) -> Worker {
        Worker::command(&self.config, ["dlq", command, "orders"].iter().chain(args))
    }

    /// The same, to its end.
    pub async fn dlq(&self, command: &str, args: &[&str]) -> Exit {
        self.start(command, args).wait().await
    }

    /// The same with `--json`: the objects on stdout; exit code 0.
    pub async fn json(&self, command: &str, args: &[&str]) -> Vec<Value> {
        self.json_with(command, args, 0).await
    }

    /// The same with another exit code.
    pub async fn json_with(&self, command: &str, args: &[&str], code: i32) -> Vec<Value> {
        let args = [&["--json"], args].concat();
        objects(&self.dlq(command, &args).await.expect(code))
    }

    /// Message IDs in the dead-letter queue and how often, as `list` tells.
    pub async fn dead_ids(&self) -> BTreeSet<String> {
        let listed = self.json("list", &["--limit", "1000000"]).await;
        listed.iter().map(|letter| text(letter, "message_id")).collect()
    }

    /// The ID of the only dead letter.
    pub async fn only_id(&self) -> String {
        let listed = self.json("list", &[]).await;
        assert_eq!(listed.len(), 1, "{listed:?}");
        text(&listed[0], "id")
    }

    /// The order IDs in the table.
    pub async fn written(&self) -> BTreeSet<String> {
        let rows = self.database.table("orders", &["id"]).await;
        let ids: BTreeSet<String> = rows.iter().filter_map(|row| row[0].clone()).collect();
        assert_eq!(ids.len(), rows.len(), "each once");
        ids
    }

    /// Counts messages of a queue, ready ones, as soon as none is unacked any more.
    pub async fn settled_in(&self, queue: &str) -> u64 {
        self.broker.wait_until_given_back(queue).await;
        self.broker.depth(queue).await.ready
    }

    pub async fn end(self) {
        self.broker.delete(&self.queue).await;
        self.broker.delete(&self.dead).await;
    }
}

/// The objects that a command printed, one a line.
pub fn objects(exit: &Exit) -> Vec<Value> {
    let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    exit.stdout.lines().map(parse).collect()
}

/// A field that is text.
pub fn text(object: &Value, field: &str) -> String {
    object[field].as_str().unwrap_or_else(|| panic!("no text {field} in {object}")).to_owned()
}

/// `order-0`, `order-1`, …
pub fn ids(numbers: impl IntoIterator<Item = usize>) -> BTreeSet<String> {
    numbers.into_iter().map(|n| format!("order-{n}")).collect()
}

/// The fields of an object that are numbers.
pub fn counts(object: &Value) -> BTreeMap<String, u64> {
    let fields = object.as_object().unwrap_or_else(|| panic!("no object: {object}"));
    fields.iter().filter_map(|(name, value)| Some((name.clone(), value.as_u64()?))).collect()
}

/// Fails the test unless the object has these numbers.
#[track_caller]
pub fn assert_counts(object: &Value, expected: &[(&str, u64)]) {
    let found = counts(object);
    for (name, count) in expected {
        assert_eq!(found.get(*name), Some(count), "{name} in {object}");
    }
}
