//! MySQL and MariaDB.

use sqlx::{Connection, MySqlConnection};

use crate::faults_database::{Site, with_login};
use crate::main_job::orders::Orders;
use crate::support::broker::{Broker, Kind, Message};
use crate::support::database::{Server, TestDatabase};
use crate::support::servers::{Flavour, shared_amqp_url};
use crate::support::wait::unique_name;
use crate::support::worker::Worker;

/// A login of its own, whom the server has never seen, until it is dropped.
async fn new_login(site: &Site) -> String {
    let login = unique_name("login");
    site.database
        .execute(&format!("CREATE USER {login}@'%' IDENTIFIED BY 'r1ght pass'; GRANT ALL ON *.* TO {login}@'%'"))
        .await;
    login
}

/// MySQL's logins (`caching_sha2_password`) are checked the whole way for the first time: without
/// TLS the password travels encrypted with the server's public key.
#[tokio::test]
async fn a_new_login_gets_in_without_tls() {
    let mut site = Site::new(Server::Mysql).await;
    let orders = Orders::good(0..20);
    site.publish(&orders).await;
    let login = new_login(&site).await;
    let plugin =
        site.database.rows(&format!("SELECT CAST(plugin AS CHAR) FROM mysql.user WHERE user = '{login}'")).await;
    if Flavour::installed() == Flavour::Mysql {
        assert_eq!(plugin, [[Some("caching_sha2_password".to_owned())]]);
    }
    site.url = with_login(&site.database.url, &login, "wrong pass") + "?ssl-mode=DISABLED";
    let refused = Worker::until_empty(&site.config()).await.expect(4).summary();
    assert!(refused.reason.as_ref().is_some_and(|reason| reason.contains("1045")), "{refused:?}");
    site.url = with_login(&site.database.url, &login, "r1ght pass") + "?ssl-mode=DISABLED";
    // The first connection takes the long way, those after it the short one.
    site.drain(&orders).await;
    site.database.execute(&format!("DROP USER {login}@'%'")).await;
}

#[tokio::test]
async fn a_new_login_gets_in_with_tls_or_is_told_that_the_server_has_none() {
    let mut site = Site::new(Server::Mysql).await;
    let orders = Orders::good(0..20);
    site.publish(&orders).await;
    let login = new_login(&site).await;
    let tls = MySqlConnection::connect(&format!("{}?ssl-mode=REQUIRED", site.database.url)).await.is_ok();
    if Flavour::installed() == Flavour::Mysql {
        assert!(tls, "MySQL makes certificates for itself");
    }
    site.url = with_login(&site.database.url, &login, "r1ght pass") + "?ssl-mode=REQUIRED";
    if !tls {
        let refused = Worker::until_empty(&site.config()).await.expect(4).summary();
        assert!(refused.reason.as_ref().is_some_and(|reason| reason.contains("TLS")), "{refused:?}");
        site.url = site.url.replace("REQUIRED", "PREFERRED");
    }
    site.drain(&orders).await;
    site.database.execute(&format!("DROP USER {login}@'%'")).await;
}

/// MariaDB's JSON is a text with a check, MySQL's is a tree. Either gives back what was sent, or it
/// was refused.
#[tokio::test]
async fn json_comes_back_as_it_was_sent_or_is_refused() {
    let broker = Broker::shared().await;
    let database = TestDatabase::fresh(Server::Mysql).await;
    database.execute("CREATE TABLE documents (id VARCHAR(20) PRIMARY KEY, doc JSON)").await;
    let queue = unique_name("documents");
    broker.declare(&queue, Kind::Quorum).await;
    // What every JSON type keeps, and what a tree of doubles doesn't.
    let kept = [
        ("nested", r#"{"b":[1,-2.5,"ü🦊\u0000\"",null,true,[]],"a":{"x":18446744073709551615,"":{}}}"#),
        ("text", r#""plain""#),
        ("number", "-9223372036854775808"),
        ("truth", "false"),
    ];
    let exact = [("long", r#"{"n":0.1000000000000000055}"#), ("large", "[12345678901234567890123]")];
    let body = |document: &str| format!("{{\"doc\":{document}}}");
    let messages = kept.iter().chain(&exact).map(|(id, document)| Message::json(id, body(document)));
    broker.publish(&queue, messages).await;
    let config = format!(
        "[rabbitmq]\nurl = {:?}\n[database]\nurl = {:?}\n[admin]\nlisten = \"off\"\n[pipelines.documents]\n\
         queue = {queue:?}\ntable = \"documents\"\n[pipelines.documents.columns]\nid = \"message_id\"\ndoc = \"/doc\"\n",
        shared_amqp_url(),
        database.url
    );
    Worker::until_empty(&config).await.expect(0);
    let dead = format!("{queue}.dead");
    let refused: Vec<String> = broker.drain(&dead).await.iter().map(|letter| letter.message_id().unwrap()).collect();
    let rows = database.rows("SELECT CAST(id AS CHAR), CAST(doc AS CHAR) FROM documents").await;
    for (id, sent) in kept.iter().chain(&exact) {
        let stored = rows.iter().find(|row| row[0].as_deref() == Some(id));
        // Compared by their values: a tree sorts keys and has blanks of its own.
        let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        match stored {
            Some(row) => assert_eq!(value(row[1].as_ref().unwrap()), value(sent), "{id}"),
            None => {
                assert!(exact.iter().any(|(exact, _)| exact == id) && refused.iter().any(|dead| dead == id), "{id}")
            }
        }
    }
    broker.delete(&queue).await;
    broker.delete(&dead).await;
}
