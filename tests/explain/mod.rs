//! `rabbit-sink explain`: one message, step by step, with a server's word and without.

use serde_json::{Value, json};

use crate::support::broker::{Broker, Depth, Kind, Message};
use crate::support::database::{Server, TestDatabase};
use crate::support::servers::shared_amqp_url;
use crate::support::wait::unique_name;
use crate::support::worker::{Exit, Worker};

const TABLE: &str = "CREATE TABLE orders (id VARCHAR(40) PRIMARY KEY, customer VARCHAR(10), price DECIMAL(10,2) \
                     NOT NULL CHECK (price >= 0), placed_at DATE, tenant VARCHAR(20), note VARCHAR(20) DEFAULT 'none')";

const COLUMNS: &str = "message_id = [\"property:message_id\", \"/event\"]\n[pipelines.orders.columns]\n\
                       id = \"message_id\"\ncustomer = \"/customer/name\"\n\
                       price = { from = \"/price\", required = true }\nplaced_at = \"/at\"\ntenant = \"header:tenant\"\n";

fn config(database: &str, queue: &str) -> String {
    crate::check::config(&shared_amqp_url(), database, queue, COLUMNS)
}

/// `explain orders FILE …` of a message in a file.
async fn explain(config: &str, message: &str, more: &[&str]) -> Exit {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), message).unwrap();
    let path = file.path().to_str().unwrap();
    Worker::command(config, [&["explain", "orders", path], more].concat()).wait().await
}

async fn told(config: &str, message: &str, more: &[&str]) -> (Option<i32>, Value) {
    let exit = explain(config, message, &[more, &["--json"]].concat()).await;
    let told = serde_json::from_str(&exit.stdout).unwrap_or_else(|e| panic!("{e}: {} {}", exit.stdout, exit.stderr));
    (exit.code, told)
}

const GOOD: &str = r#"{"properties": {"message_id": "a-1"}, "headers": {"tenant": "north"},
                       "body": {"customer": {"name": "Ada"}, "price": 9.50, "at": "2026-01-31"}}"#;

#[tokio::test]
async fn every_step_of_a_good_message_is_told_and_nothing_written() {
    for server in Server::ALL {
        let database = TestDatabase::fresh(server).await;
        database.execute(TABLE).await;
        let config = config(&database.url, "nowhere");
        let exit = explain(&config, GOOD, &["--write"]).await.expect(0);
        for said in [
            "decoded     ✓",
            "message ID  \"a-1\", found at property:message_id",
            "/customer/name",
            "\"Ada\"",
            "9.50",
            "2026-01-31",
            "header:tenant",
            "left to the database",
            "INSERT INTO ",
            "outcome     a row in orders",
            "rehearsed   ✓ written (rolled back)",
        ] {
            assert!(exit.stdout.contains(said), "{server:?}: {said:?} is missing:\n{}", exit.stdout);
        }
        assert_eq!(database.count("orders").await, 0, "{server:?}");
        let (_, told) = told(&config, GOOD, &[]).await;
        assert_eq!(told["message_id"], "a-1");
        let sql: Vec<&str> = told["sql"].as_array().unwrap().iter().map(|line| line.as_str().unwrap()).collect();
        assert!(sql[0].starts_with("BEGIN") || sql[0] == "START TRANSACTION", "{server:?} {sql:#?}");
        let place = |text: &str| sql.iter().position(|line| line.contains(text) && !line.contains("WHERE FALSE"));
        let (ledger, row) =
            (place("rabbit_sink_ledger").unwrap(), place("INSERT INTO").unwrap().max(place("price").unwrap()));
        assert!(ledger < row && sql.last().unwrap().ends_with("COMMIT"), "{server:?} {sql:#?}");
        executed_as_told(&database, &sql).await;
        assert_eq!(told["columns"][2]["written"], "9.50");
        assert_eq!(told["columns"][4]["from"], "header:tenant");
        assert_eq!(told["rehearsed"], Value::Null);
    }
}

/// What PostgreSQL takes as a whole: its own words for the statements, without the values.
async fn executed_as_told(database: &TestDatabase, sql: &[&str]) {
    if database.server != Server::Postgres {
        return;
    }
    // Each can be prepared once the ledger is there, so that they are SQL and not a likeness of it.
    let config = config(&database.url, "nowhere");
    let ledger = Worker::command(&config, ["init", "--ledger"]).wait().await.expect(0).stdout;
    database.execute(&ledger).await;
    for (nth, statement) in sql[1..sql.len() - 1].iter().enumerate() {
        database.execute(&format!("PREPARE s{nth} AS {statement}")).await;
    }
    database.execute("DROP TABLE rabbit_sink_ledger, rabbit_sink_ledger_pipelines").await;
}

#[tokio::test]
async fn what_would_be_refused_is_told_with_every_reason() {
    let database = TestDatabase::fresh(Server::Postgres).await;
    database.execute(TABLE).await;
    let config = config(&database.url, "nowhere");
    // Two columns at once, although the worker stops at the first.
    let body = r#"{"event": "e", "customer": {"name": "longer than ten"}, "price": 9.505, "at": "2026-01-31"}"#;
    let (code, told) = self::told(&config, body, &[]).await;
    assert_eq!((code, &told["outcome"]), (Some(4), &json!("rejected")), "{told:#}");
    assert_eq!(told["message_id_from"], "/event");
    assert_eq!(told["columns"][1]["rejected"]["code"], "too_long");
    assert_eq!(told["columns"][2]["rejected"]["code"], "lossy");
    assert_eq!(told["rejected"]["column"], "customer");
    for (body, class, code) in [
        ("{", "decode", "not_json"),
        ("{\"price\": 1}", "mapping", "no_message_id"),
        ("{\"event\": \"e\"}", "mapping", "required"),
    ] {
        let (exit, told) = self::told(&config, body, &[]).await;
        let found = (exit, told["rejected"]["class"].as_str(), told["rejected"]["code"].as_str());
        assert_eq!(found, (Some(4), Some(class), Some(code)), "{told:#}");
    }
    // What only the database refuses is found by writing.
    let negative = "{\"event\": \"e\", \"price\": -1}";
    explain(&config, negative, &[]).await.expect(0);
    let (code, told) = self::told(&config, negative, &["--write"]).await;
    assert_eq!((code, &told["rehearsed"]["rejected"]["code"]), (Some(4), &json!("23514")), "{told:#}");
    // The same with the ledger there: a message that was written before is a duplicate.
    let broker = Broker::shared().await;
    let queue = unique_name("explain");
    broker.declare(&queue, Kind::Classic).await;
    let written = r#"{"price": 9.50}"#;
    broker.publish(&queue, [Message::json("a-9", written)]).await;
    let config = self::config(&database.url, &queue);
    Worker::until_empty(&config).await.expect(0);
    let again = format!("{{\"properties\": {{\"message_id\": \"a-9\"}}, \"body\": {written}}}");
    let (code, told) = self::told(&config, &again, &["--write"]).await;
    assert_eq!((code, &told["rehearsed"]["outcome"]), (Some(0), &json!("duplicate")), "{told:#}");
    broker.delete(&queue).await;
    broker.delete(&format!("{queue}.dead")).await;
}

#[tokio::test]
async fn without_a_server_it_tells_what_it_can() {
    let port = crate::support::process::free_port();
    let config = config(&format!("postgres://u:geheim@127.0.0.1:{port}/d"), "nowhere");
    let exit = explain(&config, GOOD, &[]).await.expect(0);
    for said in ["the columns' types are not known", "found at property:message_id", "\"Ada\"", "header:tenant"] {
        assert!(exit.stdout.contains(said), "{said:?} is missing:\n{}", exit.stdout);
    }
    assert!(!exit.stdout.contains("geheim") && !exit.stderr.contains("geheim"));
    explain(&config, GOOD, &["--write"]).await.expect(1);
    let unknown = Worker::command(&config, ["explain", "ordres", "-"]).wait().await.expect(2);
    assert!(unknown.stderr.contains("orders"), "{}", unknown.stderr);
    let nothing = Worker::command(&config, ["explain", "orders"]).wait().await.expect(2);
    assert!(nothing.stderr.contains("<PIPELINE> <FILE|-|--from-queue>"), "{}", nothing.stderr);
}

/// A point in time is written in UTC, whatever zone it was sent in: that is said.
#[tokio::test]
async fn a_time_with_a_zone_is_shown_with_one() {
    let database = TestDatabase::fresh(Server::Postgres).await;
    database.execute("CREATE TABLE orders (id text PRIMARY KEY, at timestamptz, local timestamp)").await;
    let config = crate::check::config(&shared_amqp_url(), &database.url, "nowhere", "message_id = [\"/id\"]");
    let body = "{\"id\": \"a\", \"at\": \"2026-01-31T01:02:03+02:00\", \"local\": \"2026-01-31 01:02:03\"}";
    let (_, told) = told(&config, body, &[]).await;
    let written = |column: &str| {
        let columns = told["columns"].as_array().unwrap();
        columns.iter().find(|step| step["column"] == column).unwrap()["written"].clone()
    };
    assert_eq!((written("at"), written("local")), (json!("2026-01-30 23:02:03+00"), json!("2026-01-31 01:02:03")));
}

#[tokio::test]
async fn the_queues_next_message_is_given_back() {
    let broker = Broker::shared().await;
    let database = TestDatabase::fresh(Server::Sqlite).await;
    database.execute(TABLE).await;
    for kind in [Kind::Classic, Kind::Quorum, Kind::Stream] {
        let queue = unique_name("explain");
        broker.declare(&queue, kind).await;
        let config = config(&database.url, &queue);
        if kind != Kind::Stream {
            let none = Worker::command(&config, ["explain", "orders", "--from-queue"]).wait().await.expect(1);
            assert!(none.stderr.contains("no message is ready"), "{kind:?}: {}", none.stderr);
        }
        let message =
            Message::json("a-7", "{\"customer\": {\"name\": \"Ada\"}, \"price\": 1}").header("tenant", "south");
        broker.publish(&queue, [message, Message::json("a-8", "{}")]).await;
        let looked = Worker::command(&config, ["explain", "orders", "--from-queue"]).wait().await.expect(0);
        assert!(looked.stdout.contains("\"a-7\", found at property:message_id"), "{kind:?}: {}", looked.stdout);
        assert!(looked.stdout.contains("south"), "{kind:?}: {}", looked.stdout);
        assert!(looked.stderr.contains("counts as one delivery"), "{kind:?}: {}", looked.stderr);
        if kind != Kind::Stream {
            assert_eq!(broker.depth(&queue).await, Depth { ready: 2, unacked: 0 }, "{kind:?}");
        }
        broker.delete(&queue).await;
    }
}

#[tokio::test]
async fn a_single_active_consumers_queue_is_left_alone() {
    use lapin::types::{AMQPValue, FieldTable};
    let broker = Broker::shared().await;
    let database = TestDatabase::fresh(Server::Sqlite).await;
    database.execute(TABLE).await;
    let queue = unique_name("explain");
    let mut arguments = FieldTable::default();
    arguments.insert("x-single-active-consumer".into(), AMQPValue::Boolean(true));
    broker.declare_with(&queue, Kind::Quorum, arguments).await;
    broker.publish(&queue, [Message::json("a", "{}")]).await;
    let config = config(&database.url, &queue);
    let refused = Worker::command(&config, ["explain", "orders", "--from-queue"]).wait().await.expect(1);
    assert!(refused.stderr.contains("single active consumer"), "{}", refused.stderr);
    assert_eq!(broker.depth(&queue).await, Depth { ready: 1, unacked: 0 });
    broker.delete(&queue).await;
}
