//! Every place in a message as a column, through the real binary into a real table.

use bytes::Bytes;
use lapin::BasicProperties;
use lapin::options::QueueBindOptions;
use lapin::types::{AMQPValue, ByteArray, DecimalValue, FieldArray, FieldTable};

use crate::support::broker::{Broker, Kind, Message};
use crate::support::database::{Server, TestDatabase};
use crate::support::servers::shared_amqp_url;
use crate::support::wait::unique_name;
use crate::support::worker::Worker;

/// Columns, where they come from, their type, and what must stand in them as text.
const PLACES: &[(&str, &str, &str, &str)] = &[
    ("content_type", "property:content_type", "text", "application/json"),
    ("content_encoding", "property:content_encoding", "text", "utf-8"),
    ("delivery_mode", "property:delivery_mode", "smallint", "2"),
    ("priority", "property:priority", "smallint", "7"),
    ("correlation_id", "property:correlation_id", "text", "corr"),
    ("reply_to", "property:reply_to", "text", "replies"),
    ("expiration", "property:expiration", "bigint", "3600000"),
    ("id", "property:message_id", "text", "all-of-it"),
    ("sent_at", "property:timestamp", "timestamptz", "2023-11-14 22:13:20+00"),
    ("kind", "property:type", "text", "order.created"),
    ("user_id", "property:user_id", "text", "guest"),
    ("app_id", "property:app_id", "text", "shop"),
    ("cluster_id", "property:cluster_id", "text", "cluster"),
    ("routing_key", "routing_key", "text", "order.eu.new"),
    ("exchange", "exchange", "text", "amq.topic"),
    ("header_text", "header:tenant", "text", "Zoë"),
    ("header_long", "header:big", "bigint", "-9223372036854775808"),
    ("header_decimal", "header:decimal", "numeric", "123.45"),
    ("header_nested", "header:outer/list/1/deep", "boolean", "true"),
    ("header_table", "header:outer", "jsonb", r#"{"list": [1, {"deep": true}]}"#),
    ("header_bytes", "header:raw", "bytea", "\\x00ff"),
    ("header_time", "header:at", "timestamptz", "2023-11-14 22:13:20+00"),
    ("absent", "header:nowhere", "text", "NULL"),
    ("nested", "/customer/addresses/1/city", "text", "Köln 🏛"),
    ("slash", "/a~1b", "text", "slash"),
    ("tilde", "/m~0n", "text", "tilde"),
    ("whole_body", "body", "bytea", "BODY"),
    ("resolved", "message_id", "text", "all-of-it"),
    ("big", "/big", "bigint", "9223372036854775807"),
    ("exact", "/exact", "numeric", "12345678901234567.890123456789012345"),
    ("moment", "/moment", "timestamptz", "2026-03-04 03:06:07.123456+00"),
    ("uuid", "/uuid", "uuid", "123e4567-e89b-12d3-a456-426614174000"),
    ("document", "/document", "jsonb", r#"{"n": 0.1000000000000000055}"#),
    ("list", "/list", "int[]", "{1,2,3}"),
];

const BODY: &str = r#"{"customer":{"addresses":[{},{"city":"Köln 🏛"}]},"a/b":"slash","m~n":"tilde",
"big":9223372036854775807,"exact":12345678901234567.890123456789012345,"moment":"2026-03-04T05:06:07.123456+02:00",
"uuid":"123E4567-E89B-12D3-A456-426614174000","document":{"n":0.1000000000000000055},"list":[1,2,3]}"#;

fn message() -> Message {
    let text = |text: &str| AMQPValue::LongString(text.into());
    let mut deep = FieldTable::default();
    deep.insert("deep".into(), AMQPValue::Boolean(true));
    let mut outer = FieldTable::default();
    let list = vec![AMQPValue::ShortShortInt(1), AMQPValue::FieldTable(deep)];
    outer.insert("list".into(), AMQPValue::FieldArray(FieldArray::from(list)));
    let mut headers = FieldTable::default();
    headers.insert("tenant".into(), text("Zoë"));
    headers.insert("big".into(), AMQPValue::LongLongInt(i64::MIN));
    headers.insert("decimal".into(), AMQPValue::DecimalValue(DecimalValue { scale: 2, value: 12345 }));
    headers.insert("outer".into(), AMQPValue::FieldTable(outer));
    headers.insert("raw".into(), AMQPValue::ByteArray(ByteArray::from(vec![0_u8, 255])));
    headers.insert("at".into(), AMQPValue::Timestamp(1_700_000_000));
    let properties = BasicProperties::default()
        .with_content_type("application/json".into())
        .with_content_encoding("utf-8".into())
        .with_delivery_mode(2)
        .with_priority(7)
        .with_correlation_id("corr".into())
        .with_reply_to("replies".into())
        .with_expiration("3600000".into())
        .with_message_id("all-of-it".into())
        .with_timestamp(1_700_000_000)
        .with_type("order.created".into())
        .with_user_id("guest".into())
        .with_app_id("shop".into())
        .with_cluster_id("cluster".into())
        .with_headers(headers);
    Message { body: Bytes::from_static(BODY.as_bytes()).to_vec(), properties }
}

#[tokio::test]
async fn every_place_arrives_as_it_was_sent() {
    let broker = Broker::shared().await;
    let queue = unique_name("places");
    broker.declare(&queue, Kind::Classic).await;
    let bind = QueueBindOptions::default();
    let (exchange, key) = ("amq.topic", "order.*.new");
    broker
        .channel
        .queue_bind(queue.as_str().into(), exchange.into(), key.into(), bind, FieldTable::default())
        .await
        .unwrap();
    let database = TestDatabase::fresh(Server::Postgres).await;
    let columns: Vec<String> = PLACES.iter().map(|(name, _, kind, _)| format!("{name} {kind}")).collect();
    database.execute(&format!("CREATE TABLE places (queue text, channel text, {})", columns.join(", "))).await;
    broker.publish_to(exchange, "order.eu.new", [message()]).await;
    let mapped: Vec<String> = PLACES.iter().map(|(name, place, ..)| format!("{name} = {place:?}")).collect();
    let config = format!(
        "[rabbitmq]\nurl = {:?}\n[database]\nurl = {:?}\n[admin]\nlisten = \"off\"\n[pipelines.places]\n\
         queue = {queue:?}\ntable = \"places\"\n[pipelines.places.columns]\nqueue = \"queue\"\n\
         channel = {{ value = \"web\" }}\n{}\n",
        shared_amqp_url(),
        database.url,
        mapped.join("\n")
    );
    let summary = Worker::until_empty(&config).await.expect(0).summary();
    assert_eq!((summary.written, summary.dead_lettered), (1, 0), "{summary:?}");
    let names: Vec<&str> = PLACES.iter().map(|(name, ..)| *name).collect();
    let found = database.rows(&select(&names)).await;
    for ((name, .., expected), found) in PLACES.iter().zip(&found[0]) {
        let expected = match *expected {
            "NULL" => None,
            "BODY" => Some(format!("\\x{}", rabbit_sink::digest::hex(BODY.as_bytes()))),
            text => Some(text.to_owned()),
        };
        assert_eq!(*found, expected, "{name}");
    }
    let around = database.rows("SELECT queue, channel FROM places").await;
    assert_eq!(around, [[Some(queue.clone()), Some("web".to_owned())]]);
    broker.delete(&queue).await;
    broker.delete(&format!("{queue}.dead")).await;
}

/// All columns as text; times as they are in UTC, whatever the server's zone.
fn select(names: &[&str]) -> String {
    let columns = names.iter().map(|name| {
        let zoned = PLACES.iter().any(|(place, _, kind, _)| place == name && *kind == "timestamptz");
        if zoned { format!("({name} AT TIME ZONE 'UTC')::text || '+00'") } else { format!("{name}::text") }
    });
    format!("SELECT {} FROM places", columns.collect::<Vec<_>>().join(", "))
}

async fn one(table: &str, options: &str, bodies: &[(&str, &str)]) -> (TestDatabase, Vec<(String, String)>) {
    let broker = Broker::shared().await;
    let queue = unique_name("fields");
    broker.declare(&queue, Kind::Classic).await;
    let database = TestDatabase::fresh(Server::Postgres).await;
    database.execute(table).await;
    broker.publish(&queue, bodies.iter().map(|(id, body)| Message::json(id, *body))).await;
    let config = format!(
        "[rabbitmq]\nurl = {:?}\n[database]\nurl = {:?}\n[admin]\nlisten = \"off\"\n[pipelines.fields]\n\
         queue = {queue:?}\ntable = \"fields\"\n{options}\n",
        shared_amqp_url(),
        database.url
    );
    Worker::until_empty(&config).await.expect(0);
    let dead = format!("{queue}.dead");
    let letters = broker.drain(&dead).await;
    let causes =
        letters.iter().map(|letter| (letter.message_id().unwrap(), letter.header("x-sink-error-code").unwrap()));
    let causes = causes.collect();
    broker.delete(&queue).await;
    broker.delete(&dead).await;
    (database, causes)
}

#[tokio::test]
async fn left_out_columns_match_fields_by_name_and_absent_null_and_default_differ() {
    let table = "CREATE TABLE fields (id int PRIMARY KEY, a text, b text DEFAULT 'its own', serial serial, \
                 twice int GENERATED ALWAYS AS (id * 2) STORED)";
    let bodies = [
        ("1", r#"{"id":1,"a":"x","unknown":1}"#),
        ("2", r#"{"id":2,"b":null}"#),
        ("3", r#"{"id":3,"b":"y","serial":70}"#),
    ];
    let (database, dead) = one(table, "", &bodies).await;
    let text = |text: &str| Some(text.to_owned());
    let rows = database.rows("SELECT id::text, a, b, twice::text FROM fields ORDER BY id").await;
    let expected = [
        vec![text("1"), text("x"), text("its own"), text("2")],
        vec![text("2"), None, None, text("4")],
        vec![text("3"), None, text("y"), text("6")],
    ];
    assert_eq!(rows, expected);
    assert_eq!(database.rows("SELECT serial::text FROM fields WHERE id = 3").await, [[text("70")]]);
    assert!(dead.is_empty());
}

#[tokio::test]
async fn unknown_fields_are_rejected_or_kept_as_the_config_says() {
    let table = "CREATE TABLE fields (id int PRIMARY KEY, rest jsonb)";
    let bodies = [("1", r#"{"id":1}"#), ("2", r#"{"id":2,"new":{"x":[1.50]},"other":null}"#)];
    let (database, dead) = one(table, "unknown_fields = \"reject\"", &bodies).await;
    assert_eq!(database.count("fields").await, 1);
    assert_eq!(dead, [("2".to_owned(), "unknown_field".to_owned())]);
    let (database, dead) = one(table, "unknown_fields = \"column:rest\"", &bodies).await;
    let rest = database.rows("SELECT rest::text FROM fields ORDER BY id").await;
    assert_eq!(rest, [[None], [Some(r#"{"new": {"x": [1.50]}, "other": null}"#.to_owned())]]);
    assert!(dead.is_empty());
}

#[tokio::test]
async fn the_bodys_own_hash_can_be_the_id() {
    let table = "CREATE TABLE fields (n int, hash text)";
    let broker = Broker::shared().await;
    let queue = unique_name("hash");
    broker.declare(&queue, Kind::Classic).await;
    let database = TestDatabase::fresh(Server::Postgres).await;
    database.execute(table).await;
    broker.publish(&queue, [r#"{"n":1}"#, r#"{"n":1}"#, r#"{"n":2}"#].map(Message::bare)).await;
    let config = format!(
        "[rabbitmq]\nurl = {:?}\n[database]\nurl = {:?}\n[admin]\nlisten = \"off\"\n[pipelines.hash]\nqueue = {queue:?}\n\
         table = \"fields\"\nmessage_id = [\"property:message_id\", \"sha256:body\"]\n\
         [pipelines.hash.columns]\nn = \"/n\"\nhash = \"message_id\"\n",
        shared_amqp_url(),
        database.url
    );
    let summary = Worker::until_empty(&config).await.expect(0).summary();
    assert_eq!((summary.written, summary.duplicates), (2, 1));
    let hash = rabbit_sink::digest::hex(&rabbit_sink::digest::sha256(&[br#"{"n":2}"#]));
    assert_eq!(database.rows("SELECT hash FROM fields WHERE n = 2").await, [[Some(hash)]]);
    broker.delete(&queue).await;
    broker.delete(&format!("{queue}.dead")).await;
}
