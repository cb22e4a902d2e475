//! The stories of "Restore" in docs/operations.md: a backup is brought back, the publisher sends again what it isn't sure
//! of, and every order is there once.

use crate::support::broker::{Broker, Kind, Message};
use crate::support::database::{Server, TestDatabase, execute};
use crate::support::servers::{shared_amqp_url, shared_postgres_url};
use crate::support::wait::unique_name;
use crate::support::worker::{Summary, Worker};

struct Shop {
    broker: Broker,
    queue: String,
}

impl Shop {
    async fn open() -> Self {
        let (broker, queue) = (Broker::shared().await, unique_name("restore"));
        broker.declare(&queue, Kind::Quorum).await;
        Self { broker, queue }
    }

    async fn publish(&self, orders: std::ops::Range<u32>) {
        let order = |n: u32| Message::json(&format!("order-{n}"), format!("{{\"id\":{n}}}"));
        self.broker.publish(&self.queue, orders.map(order)).await;
    }

    /// Empties the queue into a database.
    async fn work(&self, database: &str) -> Summary {
        let (amqp, queue) = (shared_amqp_url(), &self.queue);
        let config = format!(
            "[rabbitmq]\nurl = \"{amqp}\"\n[database]\nurl = \"{database}\"\n[admin]\nlisten = \"off\"\n\
             [pipelines.orders]\nqueue = \"{queue}\"\ntable = \"orders\"\n"
        );
        Worker::until_empty(&config).await.expect(0).summary()
    }
}

async fn orders() -> TestDatabase {
    let database = TestDatabase::fresh(Server::Postgres).await;
    database.execute("CREATE TABLE orders (id int NOT NULL)").await;
    database
}

/// Each of the first orders once, and no other.
async fn complete(database: &TestDatabase, count: u64) {
    let wrong = database.rows("SELECT id::text FROM orders GROUP BY id HAVING count(*) > 1").await;
    assert!(wrong.is_empty(), "twice: {wrong:?}");
    assert_eq!(database.count("orders").await, count);
}

#[tokio::test]
async fn a_whole_backup_knows_what_it_holds_and_takes_the_rest_again() {
    let (shop, database) = (Shop::open().await, orders().await);
    shop.publish(0..100).await;
    shop.work(&database.url).await;
    // The backup: a copy of the whole database, ledger and all.
    let restored = TestDatabase::fresh(Server::Postgres).await;
    let name = |database: &TestDatabase| database.url.rsplit_once('/').unwrap().1.to_owned();
    let (copy, original) = (name(&restored), name(&database));
    execute(&shared_postgres_url(), &format!("DROP DATABASE \"{copy}\"")).await;
    execute(&shared_postgres_url(), &format!("CREATE DATABASE \"{copy}\" TEMPLATE \"{original}\"")).await;
    // What came later was written, and acked, and is lost with the database.
    shop.publish(100..200).await;
    assert_eq!(shop.work(&database.url).await.written, 100);

    shop.publish(50..200).await;
    let summary = shop.work(&restored.url).await;
    assert_eq!((summary.written, summary.duplicates), (100, 50), "{summary:?}");
    complete(&restored, 200).await;
    shop.broker.delete(&shop.queue).await;
}

#[tokio::test]
async fn after_a_restored_table_the_ledgers_entries_of_that_time_are_deleted() {
    let (shop, database) = (Shop::open().await, orders().await);
    shop.publish(0..100).await;
    shop.work(&database.url).await;
    let time = database.rows("SELECT clock_timestamp()::text").await[0][0].clone().unwrap();
    shop.publish(100..200).await;
    shop.work(&database.url).await;
    // The table alone is back as it was.
    database.execute("DELETE FROM orders WHERE id >= 100").await;

    let page = std::fs::read_to_string(format!("{}/docs/operations.md", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let (_, block) = page.split_once("```sql\nDELETE FROM rabbit_sink_ledger\n").unwrap();
    let sql = format!("DELETE FROM rabbit_sink_ledger\n{}", block.split("```").next().unwrap());
    assert!(sql.contains("'2026-01-31 03:00:00Z'"), "{sql}");
    database.execute(&sql.replace("2026-01-31 03:00:00Z", &time)).await;

    shop.publish(50..200).await;
    let summary = shop.work(&database.url).await;
    assert_eq!((summary.written, summary.duplicates), (100, 50), "{summary:?}");
    complete(&database, 200).await;
    shop.broker.delete(&shop.queue).await;
}
