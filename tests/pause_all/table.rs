//! The table of orders.

use futures_util::future::join_all;
use rabbit_sink::config::{self, Config};
use rabbit_sink::error::ErrorClass;
use rabbit_sink::sink::{self, Session, StoredPause};

use crate::support::database::{Server, TestDatabase};

const SERVERS: [Server; 3] = [Server::Postgres, Server::Mysql, Server::Sqlite];

fn config(url: &str) -> Config {
    let text = format!("[database]\nurl = \"{url}\"\n[pipelines.orders]\nqueue = \"q\"\ntable = \"t\"\n");
    config::load_str("test.toml", &text, &[]).unwrap()
}

async fn session(config: &Config) -> Box<dyn Session> {
    sink::open(&config.databases["default"]).unwrap().connect().await.unwrap()
}

fn order(pipeline: &str, by: &str) -> StoredPause {
    StoredPause {
        pipeline: pipeline.to_owned(),
        by: by.to_owned(),
        reason: "a reason with 'quotes' and ümläuts".to_owned(),
        since: "2026-01-31T08:09:10.123456Z".parse().unwrap(),
    }
}

#[tokio::test]
async fn orders_come_back_as_they_were_given_until_they_are_taken_back() {
    for server in SERVERS {
        let database = TestDatabase::fresh(server).await;
        let config = config(&database.url);
        let ledger = &config.databases["default"].ledger_table;
        let mut session = session(&config).await;
        let mut table = session.pauses(ledger).unwrap();
        assert_eq!(table.read().await.unwrap(), None, "{server:?}: no table yet");
        table.remove(&["orders"]).await.unwrap();
        let orders = [order("orders", "ann"), order("payments", "ann")];
        table.put(&orders).await.unwrap();
        assert_eq!(table.read().await.unwrap().unwrap(), orders, "{server:?}");
        table.put(&[order("orders", "bob")]).await.unwrap();
        let second = [order("orders", "bob"), order("payments", "ann")];
        assert_eq!(table.read().await.unwrap().unwrap(), second, "{server:?}: the later one holds");
        table.remove(&["orders", "unknown"]).await.unwrap();
        assert_eq!(table.read().await.unwrap().unwrap(), second[1..], "{server:?}");
        drop(table);
        session.close().await;
    }
}

#[tokio::test]
async fn orders_given_at_once_all_hold() {
    for server in SERVERS {
        let database = TestDatabase::fresh(server).await;
        let config = config(&database.url);
        let ledger = &config.databases["default"].ledger_table;
        join_all((0..4).map(|n| {
            let config = &config;
            async move {
                let mut session = session(config).await;
                let orders = [order("all", &format!("n{n}")), order(&format!("p{n}"), "ann")];
                session.pauses(ledger).unwrap().put(&orders).await.unwrap();
                session.close().await;
            }
        }))
        .await;
        let mut session = session(&config).await;
        let found = session.pauses(ledger).unwrap().read().await.unwrap().unwrap();
        let names: Vec<&str> = found.iter().map(|order| order.pipeline.as_str()).collect();
        assert_eq!(names, ["all", "p0", "p1", "p2", "p3"], "{server:?}");
    }
}

/// What somebody puts there by hand is an order, too.
#[tokio::test]
async fn the_printed_ddl_makes_the_table_and_a_row_by_hand_counts() {
    for server in SERVERS {
        let database = TestDatabase::fresh(server).await;
        let config = config(&database.url);
        let ledger = &config.databases["default"].ledger_table;
        database.execute(&sink::open(&config.databases["default"]).unwrap().ledger_ddl(ledger)).await;
        let insert = "INSERT INTO rabbit_sink_ledger_pauses (pipeline, paused_by, reason, paused_at) VALUES";
        database.execute(&format!("{insert} ('orders', 'ann', '', '2026-01-31 08:00:00')")).await;
        let mut session = session(&config).await;
        let found = session.pauses(ledger).unwrap().read().await.unwrap().unwrap();
        assert_eq!((found[0].by.as_str(), found[0].reason.as_str()), ("ann", ""), "{server:?}");
    }
}

/// A login of its own, which may do nothing yet.
async fn restricted(database: &TestDatabase, server: Server) -> (Config, String) {
    let user = crate::support::wait::unique_name("u");
    match server {
        Server::Postgres => database.execute(&format!("CREATE ROLE {user} LOGIN PASSWORD 's3cret'")).await,
        _ => database.execute(&format!("CREATE USER {user} IDENTIFIED BY 's3cret'")).await,
    }
    database.execute("CREATE TABLE other (id INT)").await;
    let grantee = if server == Server::Postgres { format!("\"{user}\"") } else { user.clone() };
    database.execute(&format!("GRANT SELECT ON other TO {grantee}")).await;
    let mut url = url::Url::parse(&database.url).unwrap();
    url.set_username(&user).unwrap();
    url.set_password(Some("s3cret")).unwrap();
    (config(url.as_str()), grantee)
}

#[tokio::test]
async fn without_privileges_the_ddl_and_the_grants_are_named() {
    for server in [Server::Postgres, Server::Mysql] {
        let database = TestDatabase::fresh(server).await;
        let (config, grantee) = restricted(&database, server).await;
        let ledger = &config.databases["default"].ledger_table;
        let mut session = session(&config).await;
        let mut table = session.pauses(ledger).unwrap();
        assert_eq!(table.read().await.unwrap(), None, "{server:?}: a worker without any order goes on");
        let refused = table.put(&[order("orders", "ann")]).await.unwrap_err();
        assert_eq!(refused.class, ErrorClass::SinkMisconfigured, "{server:?}");
        let ddl = refused.message.split_once(":\n").unwrap().1.to_owned();
        assert!(refused.message.contains("grant SELECT, INSERT and DELETE"), "{server:?} {refused}");
        database.execute(&ddl).await;
        if server == Server::Postgres {
            let refused = table.read().await.unwrap_err();
            let text = refused.to_string();
            assert!(text.contains("GRANT SELECT ON \"rabbit_sink_ledger_pauses\""), "{text}");
        }
        database.execute(&format!("GRANT SELECT, INSERT, DELETE ON rabbit_sink_ledger_pauses TO {grantee}")).await;
        table.put(&[order("orders", "ann")]).await.unwrap();
        assert_eq!(table.read().await.unwrap().unwrap().len(), 1, "{server:?}");
    }
}
