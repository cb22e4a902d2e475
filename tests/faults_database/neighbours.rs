//! Pipelines of one process don't wait for each other's troubles.

use super::{Site, add_bad, cause, with_customer};
use crate::main_job::orders::{self, Orders, PIPELINE};
use crate::support::broker::{Broker, Kind};
use crate::support::database::{Server, TestDatabase, rows, select_as_text};
use crate::support::servers::Postgres;
use crate::support::wait::unique_name;
use crate::support::worker::Worker;

/// So many go through the healthy pipeline meanwhile.
const MESSAGES: usize = 20_000;

/// The healthy pipeline `calm`, beside whatever [`Site`] has: another table in a database of its
/// own.
struct Calm {
    database: TestDatabase,
    queue: String,
    orders: Orders,
}

impl Calm {
    async fn beside(site: &mut Site) -> Calm {
        let database = TestDatabase::fresh(Server::Postgres).await;
        database.execute(orders::table(Server::Postgres)).await;
        let queue = unique_name("calm");
        site.broker.declare(&queue, Kind::Quorum).await;
        site.tables.push_str(&format!(
            "[databases.calm]\nurl = \"{}\"\n[pipelines.calm]\nqueue = \"{queue}\"\ntable = \"orders\"\n\
             database = \"calm\"\n{}\n",
            database.url,
            PIPELINE.replace("pipelines.orders", "pipelines.calm")
        ));
        Calm { database, queue, orders: Orders::good(0..MESSAGES) }
    }

    /// Sees all of them through.
    async fn drains(&self, broker: &Broker, worker: &mut Worker) {
        broker.publish(&self.queue, self.orders.messages.clone()).await;
        let count = select_as_text(Server::Postgres, "orders", &["count(*)"]);
        let all = async || rows(&self.database.url, &count).await[0][0].as_deref() == Some("20000");
        worker.eventually("the other pipeline has drained", all).await;
    }

    async fn audit(&self, broker: &Broker) {
        assert_eq!(broker.ready(&self.queue).await, 0);
        let dead = format!("{}.dead", self.queue);
        self.orders.audit(&self.database, &broker.drain(&dead).await).await;
        broker.delete(&self.queue).await;
        broker.delete(&dead).await;
    }
}

/// The pipeline `orders` of several.
async fn wait_for_orders(site: &Site, worker: &mut Worker, state: &str) {
    worker
        .eventually(&format!("orders is {state}"), async || {
            let (_, body) = super::get(site.port, "/status").await;
            let report: serde_json::Value = serde_json::from_str(&body).unwrap_or_default();
            let pipelines = report["pipelines"].as_array().cloned().unwrap_or_default();
            pipelines.iter().any(|pipeline| pipeline["pipeline"] == "orders" && pipeline["state"] == state)
        })
        .await;
}

#[tokio::test]
async fn a_paused_pipeline_holds_nobody_up() {
    let mut site = Site::new(Server::Postgres).await;
    let calm = Calm::beside(&mut site).await;
    site.database.execute("DROP TABLE orders").await;
    let orders = Orders::good(0..100);
    site.publish(&orders).await;
    let mut worker = Worker::run(&site.config());
    wait_for_orders(&site, &mut worker, "paused").await;
    calm.drains(&site.broker, &mut worker).await;
    wait_for_orders(&site, &mut worker, "paused").await;
    site.database.execute(orders::table(Server::Postgres)).await;
    worker.eventually("orders goes on", async || site.database.count("orders").await == 100).await;
    worker.stop().await.expect(0);
    calm.audit(&site.broker).await;
    site.audit(&orders).await;
}

#[tokio::test]
async fn slow_a_holding_pipeline_holds_nobody_up() {
    let mut postgres = Postgres::start().await;
    let mut site = Site::on(TestDatabase::on(&postgres.url()).await).await;
    let calm = Calm::beside(&mut site).await;
    let mut worker = Worker::run(&site.config());
    wait_for_orders(&site, &mut worker, "running").await;
    postgres.stop().await;
    let orders = Orders::good(0..100);
    site.publish(&orders).await;
    wait_for_orders(&site, &mut worker, "holding").await;
    calm.drains(&site.broker, &mut worker).await;
    wait_for_orders(&site, &mut worker, "holding").await;
    postgres.restart().await;
    worker.eventually("orders goes on", async || site.database.count("orders").await == 100).await;
    worker.stop().await.expect(0);
    calm.audit(&site.broker).await;
    site.audit(&orders).await;
}

/// Every other message is refused by the database, each found by bisection.
#[tokio::test]
async fn slow_a_bisecting_pipeline_holds_nobody_up() {
    let mut site = Site::new(Server::Mysql).await;
    let calm = Calm::beside(&mut site).await;
    let mut orders = Orders::good(0..0);
    for n in 0..1_000 {
        let mut one = Orders::good(n..n + 1);
        orders.messages.append(&mut one.messages);
        orders.accountant.expect_row(format!("order-{n}"), orders::good(n).1);
        let body = with_customer(n, "nobody").replace("\"quantity\":", "\"quantity\":-");
        add_bad(&mut orders, &format!("bad-{n}"), body, cause("row_rejected", orders::check_code(Server::Mysql)));
    }
    site.publish(&orders).await;
    let mut worker = Worker::run(&site.config());
    calm.drains(&site.broker, &mut worker).await;
    let all = async || site.metric("rabbit_sink_dead_lettered_total", "pipeline=\"orders\"").await == 1_000;
    worker.eventually("all bad ones are dead-lettered", all).await;
    worker.eventually("all good ones are written", async || site.database.count("orders").await == 1_000).await;
    worker.stop().await.expect(0);
    calm.audit(&site.broker).await;
    site.audit(&orders).await;
}
