//! What deploy/compose.yaml starts, on this machine's servers: its config, its table, its shop.

use std::process::Command;

use crate::support::Worker;
use crate::support::broker::Broker;
use crate::support::database::{Server, TestDatabase};
use crate::support::servers::{Rabbitmq, RabbitmqOptions};

fn read(name: &str) -> String {
    std::fs::read_to_string(format!("{}/deploy/compose/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// The file's config with this machine's addresses.
fn config(amqp: &str, management: &str, database: &str) -> String {
    let mut config = read("rabbit-sink.toml");
    let password = format!("{}/deploy/compose/password", env!("CARGO_MANIFEST_DIR"));
    for (there, here) in [
        ("amqp://rabbitmq/%2f", amqp),
        ("http://rabbitmq:15672", management),
        ("postgres://postgres/shop?sslmode=disable", database),
        ("/run/secrets/rabbitmq-password", &password),
        ("username = \"rabbit_sink\"\npassword_file = \"/run/secrets/database-password\"\n", ""),
        ("0.0.0.0:9464", "127.0.0.1:0"),
    ] {
        assert!(config.contains(there), "{there} is not in the config");
        config = config.replace(there, here);
    }
    config
}

#[tokio::test]
async fn slow_the_shop_of_the_compose_file_brings_orders_into_rows() {
    let plugins = vec!["rabbitmq_management".to_owned()];
    let node = Rabbitmq::start_with(RabbitmqOptions { plugins, ..RabbitmqOptions::default() }).await;
    node.ctl(&["add_user", "shop", "shop"]);
    node.ctl(&["set_user_tags", "shop", "administrator"]);
    node.ctl(&["set_permissions", "shop", ".*", ".*", ".*"]);
    let database = TestDatabase::fresh(Server::Postgres).await;
    database.execute(&read("orders.sql")).await;
    let management = format!("http://127.0.0.1:{}", node.http_port());
    let config = config(&format!("amqp://127.0.0.1:{}/%2f", node.port()), &management, &database.url);
    let mut worker = Worker::run(&config);

    let mut shop = Command::new("sh")
        .arg(format!("{}/deploy/compose/publish.sh", env!("CARGO_MANIFEST_DIR")))
        .envs([("API", format!("{management}/api").as_str()), ("LOGIN", "shop:shop"), ("ORDERS", "30"), ("PAUSE", "0")])
        .spawn()
        .unwrap();
    let broker = Broker::of(&node).await;
    worker.eventually("27 orders are rows", async || database.count("orders").await == 27).await;
    worker
        .eventually("3 are dead letters", async || {
            broker.has("orders.dead").await && broker.ready("orders.dead").await == 3
        })
        .await;
    assert!(shop.wait().unwrap().success());
    let rows =
        database.rows("SELECT customer, quantity::text, price::text FROM orders WHERE order_id LIKE '%-13'").await;
    assert_eq!(rows, [["Customer 6", "3", "13.50"].map(|text| Some(text.to_owned()))]);
    worker.stop().await.expect(0);
}
