//! What a hostile producer tries, against real servers: words that would be SQL, names that would
//! leave their quotes.

use serde_json::json;

use crate::support::broker::{Broker, Kind, Message};
use crate::support::database::{Server, TestDatabase};
use crate::support::servers::shared_amqp_url;
use crate::support::wait::unique_name;
use crate::support::worker::Worker;

/// What would end a text, a statement, a comment or a placeholder in one of the dialects.
const HOSTILE: [&str; 12] = [
    "'; DROP TABLE victim; --",
    "\"; DROP TABLE victim; --",
    "`; DROP TABLE victim; --",
    "\\'; DROP TABLE victim; --",
    "') ON CONFLICT DO NOTHING; DELETE FROM victim; --",
    "$1, $2); DELETE FROM victim; --",
    "?, ?); DELETE FROM victim; #",
    "'/*",
    "*/'; DELETE FROM victim",
    "{\"a\",NULL,\\\\\"}",
    "%s %n ${HOME} $(id) \u{1b}[31m",
    "\u{2028}\u{ffff}𝄞 ' ” ‘",
];

/// Table and columns with everything in their names that has a meaning in SQL.
struct Names {
    table: &'static str,
    id: &'static str,
    text: &'static str,
}

const NAMES: Names = Names { table: "or\"de`r's; DROP--", id: "i\"d`'", text: "te xt\") VALUES (?), ($1" };

/// A name as this server writes it.
fn quoted(server: Server, name: &str) -> String {
    match server {
        Server::Mysql => format!("`{}`", name.replace('`', "``")),
        Server::Postgres | Server::Sqlite => format!("\"{}\"", name.replace('"', "\"\"")),
    }
}

async fn hostile_values_and_names(server: Server) {
    let database = TestDatabase::fresh(server).await;
    let quote = |name: &str| quoted(server, name);
    let (table, id, text) = (quote(NAMES.table), quote(NAMES.id), quote(NAMES.text));
    let utf8 = if server == Server::Mysql { " CHARACTER SET utf8mb4" } else { "" };
    database
        .execute(&format!(
            "CREATE TABLE {table} ({id} varchar(40) PRIMARY KEY, {text} varchar(200)){utf8}; \
             CREATE TABLE victim (id varchar(40)); INSERT INTO victim VALUES ('here')"
        ))
        .await;
    let (broker, queue) = (Broker::shared().await, unique_name("hostile'\";--"));
    broker.declare(&queue, Kind::Quorum).await;
    let message = |at: usize| {
        // The ID, too, is the producer's: it goes into the ledger.
        let body = json!({ "id": format!("{at}"), NAMES.text: HOSTILE[at] }).to_string();
        Message::json(&format!("{at}{}", HOSTILE[at]), body)
    };
    broker.publish(&queue, (0..HOSTILE.len()).map(message)).await;
    let toml = |text: &str| json!(text).to_string();
    let config = format!(
        "[rabbitmq]\nurl = \"{}\"\n[database]\nurl = {}\n[admin]\nlisten = \"off\"\n[pipelines.orders]\nqueue = {}\n\
         table = {}\n[pipelines.orders.dead_letter]\nqueue = {}\n[pipelines.orders.columns]\n{} = \"/id\"\n{} = {}\n",
        shared_amqp_url(),
        toml(&database.url),
        toml(&queue),
        toml(NAMES.table),
        toml(&format!("{queue}.dead")),
        toml(NAMES.id),
        toml(NAMES.text),
        toml(&format!("/{}", NAMES.text)),
    );
    let exit = Worker::until_empty(&config).await.expect(0);
    assert_eq!((exit.summary().written, exit.summary().dead_lettered), (HOSTILE.len() as u64, 0), "{}", exit.stderr);
    let mut expected: Vec<Vec<Option<String>>> =
        (0..HOSTILE.len()).map(|at| vec![Some(at.to_string()), Some(HOSTILE[at].to_owned())]).collect();
    expected.sort();
    let mut found = database.table(&table, &[&id, &text]).await;
    found.sort();
    assert_eq!(found, expected, "stored as they are");
    assert_eq!(database.count("victim").await, 1, "the victim is untouched");
    for said in [&exit.stderr, &exit.stdout] {
        assert!(!said.contains("victim") && !said.contains('\u{1b}'), "a value is in the log: {said}");
    }
    // A repeat is one although its ID is what it is.
    broker.publish(&queue, (0..HOSTILE.len()).map(message)).await;
    let exit = Worker::until_empty(&config).await.expect(0);
    assert_eq!(exit.summary().duplicates, HOSTILE.len() as u64);
    broker.delete(&queue).await;
}

#[tokio::test]
async fn what_looks_like_sql_is_stored_as_it_is_in_postgres() {
    hostile_values_and_names(Server::Postgres).await;
}

#[tokio::test]
async fn what_looks_like_sql_is_stored_as_it_is_in_mysql() {
    hostile_values_and_names(Server::Mysql).await;
}

#[tokio::test]
async fn what_looks_like_sql_is_stored_as_it_is_in_sqlite() {
    hostile_values_and_names(Server::Sqlite).await;
}
