//! What stands between the worker and its servers, or isn't the server that it should be.

use super::{about, check, config, lines};
use crate::support::broker::{Broker, Kind, Message};
use crate::support::database::{Server, TestDatabase};
use crate::support::process::free_port;
use crate::support::servers::{Pgbouncer, Postgres, Rabbitmq, RabbitmqOptions, shared_amqp_url, shared_postgres_url};
use crate::support::wait::{PATIENCE, eventually, unique_name};
use crate::support::worker::Worker;
use crate::tls::Authority;

/// A queue with messages on the shared broker, and a table for them.
async fn orders(count: usize) -> (TestDatabase, Broker, String) {
    let database = TestDatabase::fresh(Server::Postgres).await;
    database.execute(super::TABLE).await;
    let (broker, queue) = (Broker::shared().await, unique_name("check"));
    broker.declare(&queue, Kind::Quorum).await;
    let message = |n: usize| Message::json(&n.to_string(), format!("{{\"id\":\"{n}\",\"price\":1}}"));
    broker.publish(&queue, (0..count).map(message)).await;
    (database, broker, queue)
}

#[tokio::test]
async fn a_pooler_that_pools_sessions_is_told_and_the_worker_works_behind_it() {
    let pooler = Pgbouncer::start(&shared_postgres_url(), "session").await;
    let (database, broker, queue) = orders(300).await;
    let config = config(&shared_amqp_url(), &pooler.in_front_of(&database.url), &queue, "");
    for _ in 0..2 {
        check(&config).await.expect(0);
    }
    let found = lines(&config).await;
    assert_eq!(about(&found, "pooler"), ["warning: a pooler such as PgBouncer stands in between"], "{found:#?}");
    assert_eq!(Worker::until_empty(&config).await.expect(0).summary().written, 300);
    assert_eq!(database.count("orders").await, 300);
    broker.delete(&queue).await;
}

/// In transaction mode a session's settings and prepared statements are anybody's: said by `check`, and the worker
/// doesn't begin.
#[tokio::test]
async fn a_pooler_that_shares_sessions_is_told_and_nothing_is_lost_behind_it() {
    let pooler = Pgbouncer::start(&shared_postgres_url(), "transaction").await;
    let (database, broker, queue) = orders(300).await;
    let config = config(&shared_amqp_url(), &pooler.in_front_of(&database.url), &queue, "");
    for _ in 0..2 {
        let exit = check(&config).await.expect(4);
        let said = "✗ pooler: a pooler such as PgBouncer hands one connection of the server to several sessions";
        assert!(exit.stdout.contains(said) && exit.stdout.contains("pool_mode = session"), "{}", exit.stdout);
    }
    let summary = Worker::until_empty(&config).await.expect(4).summary();
    assert_eq!((summary.state.as_str(), summary.settled), ("paused", 0), "{summary:?}");
    assert!(summary.reason.as_ref().unwrap().contains("pool_mode = session"), "{summary:?}");
    assert_eq!(database.count("orders").await, 0);
    assert_eq!(broker.depth(&queue).await.ready, 300);
    broker.delete(&queue).await;
}

#[tokio::test]
async fn slow_a_hot_standby_is_told_and_the_worker_waits_for_it_to_become_the_primary() {
    let primary = Postgres::start().await;
    let database = TestDatabase::on(&primary.url()).await;
    database.execute(super::TABLE).await;
    let standby = Postgres::standby_of(&primary).await;
    let (broker, queue) = (Broker::shared().await, unique_name("check"));
    broker.declare(&queue, Kind::Quorum).await;
    broker.publish(&queue, [Message::json("a", "{\"id\":\"a\",\"price\":1}")]).await;
    let there = database.url.replace(&primary.port().to_string(), &standby.port().to_string());
    let config = config(&shared_amqp_url(), &there, &queue, "");
    let exit = check(&config).await.expect(4);
    let said = format!("✗ database: PostgreSQL at 127.0.0.1:{}", standby.port());
    assert!(exit.stdout.contains(&said), "{}", exit.stdout);
    assert!(exit.stdout.contains("is a standby: nothing can be written (25006)"), "{}", exit.stdout);
    assert!(exit.stdout.contains("→ name the primary in the URL"), "{}", exit.stdout);
    // The worker takes nothing meanwhile, and goes on when the standby is promoted.
    let mut worker = Worker::command(&config, ["run", "--until-empty", "--json"]);
    worker.logs("is a standby").await;
    assert_eq!(broker.depth(&queue).await.ready, 1);
    crate::support::database::execute(&standby.url(), "SELECT pg_promote()").await;
    eventually(PATIENCE, "the row is written", async || {
        crate::support::database::try_rows(&there, "SELECT id::text FROM orders")
            .await
            .is_ok_and(|rows| rows.len() == 1)
    })
    .await;
    assert_eq!(worker.wait().await.expect(0).summary().written, 1);
    broker.delete(&queue).await;
}

/// Broker and management API behind certificates of an own authority.
#[tokio::test]
async fn slow_broker_and_management_are_asked_over_tls() {
    let (authority, other) = (Authority::new(), Authority::new());
    let server = authority.server("localhost");
    let (port, https) = (free_port(), free_port());
    let conf = [
        format!("listeners.ssl.1 = 127.0.0.1:{port}"),
        format!("ssl_options.cacertfile = {}", authority.file()),
        format!("ssl_options.certfile = {}", server.certificate),
        format!("ssl_options.keyfile = {}", server.key),
        "management.ssl.ip = 127.0.0.1".to_owned(),
        format!("management.ssl.port = {https}"),
        format!("management.ssl.cacertfile = {}", authority.file()),
        format!("management.ssl.certfile = {}", server.certificate),
        format!("management.ssl.keyfile = {}", server.key),
    ];
    let plugins = vec!["rabbitmq_management".to_owned()];
    let node = Rabbitmq::start_with(RabbitmqOptions { conf: conf.to_vec(), plugins, ..Default::default() }).await;
    let (broker, database) = (Broker::of(&node).await, TestDatabase::fresh(Server::Sqlite).await);
    database.execute(super::TABLE).await;
    broker.declare("orders", Kind::Quorum).await;
    let with = |management: &str, ca: &str| {
        let more = format!("management_url = \"{management}\"\nca_file = \"{ca}\"\n[database]");
        let amqp = format!("amqps://guest:guest@localhost:{port}/%2f");
        config(&amqp, &database.url, "orders", "").replace("[database]", &more)
    };
    let named = format!("https://localhost:{https}");
    let good = with(&named, &authority.file());
    check(&good).await.expect(0);
    let found = lines(&good).await;
    assert!(about(&found, "broker")[0].ends_with(", encrypted"), "{found:#?}");
    assert_eq!(about(&found, "queue type"), ["ok: quorum, durable"], "{found:#?}");
    let clock = about(&found, "clock").join("\n");
    assert!(clock.contains("ok: the broker's is ours, give or take "), "{clock}");
    // By its address it isn't who it says: nothing is known then, and nobody is told the password.
    let by_address = with(&format!("https://127.0.0.1:{https}"), &authority.file());
    let exit = check(&by_address).await.expect(0);
    assert!(exit.stdout.contains("! management: ") && exit.stdout.contains("certificate"), "{}", exit.stdout);
    assert!(exit.stdout.contains("? queue type: not known"), "{}", exit.stdout);
    let exit = check(&with(&named, &other.file())).await.expect(4);
    assert!(exit.stdout.contains("UnknownIssuer") && exit.stdout.contains("→ check ca_file"), "{}", exit.stdout);
    assert!(!exit.stdout.contains("guest:guest"), "{}", exit.stdout);
}
