use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::*;
use crate::catalogue::TableName;
use crate::config::{IdConflict, IdPlace, Property};
use crate::message::{HeaderValue, Headers};

fn column(name: &str, kind: Kind, has_default: bool) -> Column {
    Column { name: name.into(), sql_type: String::new(), kind, nullable: true, has_default, generated: false }
}

fn table() -> Table {
    let text = || Kind::Text { max_chars: None, max_bytes: None };
    Table {
        name: TableName { schema: None, name: "orders".into() },
        columns: vec![
            column("id", text(), false),
            column("amount", Kind::Decimal { precision: Some((10, 2)) }, false),
            column("note", text(), true),
            column("extra", Kind::Json, false),
        ],
        unique_keys: vec![vec!["id".into()]],
    }
}

fn from(column: &str, place: Place) -> ColumnMapping {
    ColumnMapping {
        column: column.into(),
        source: ColumnSource::From(place),
        required: false,
        default: None,
        time: None,
        zone: None,
        lossy: false,
    }
}

fn pipeline(columns: Option<Vec<ColumnMapping>>) -> config::Pipeline {
    let second = Duration::from_secs(1);
    config::Pipeline {
        name: "orders".into(),
        queue: "orders".into(),
        table: table().name,
        consumers: 1,
        prefetch: 2000,
        message_id: vec![
            IdPlace::One(Place::Property(Property::MessageId)),
            IdPlace::One(Place::Header(vec!["message-id".into()])),
            IdPlace::One(Place::Pointer(vec!["id".into()])),
        ],
        deduplicate: Deduplicate::Column("id".into()),
        id_conflict: IdConflict::DeadLetter,
        unknown_fields: UnknownFields::Ignore,
        exactly_once: false,
        single_active_consumer: false,
        broker: "default".into(),
        database: "default".into(),
        declare: None,
        columns,
        batch: config::Batch { max_rows: 1000, max_bytes: 1 << 20, linger: Duration::ZERO },
        limits: config::Limits {
            max_body: 1000,
            max_depth: 10,
            max_unacked_bytes: 1 << 20,
            max_rows_per_second: 0,
            max_replays: 5,
        },
        retry: config::Retry { initial: second, max: second, hold: second, missing_parent: second },
        storm: config::Storm { min: 100, share: 0.95, action: config::StormAction::Pause },
        dead_letter: config::DeadLetter::Queue { name: "orders.dead".into(), declare: true },
    }
}

fn envelope(body: &str) -> Envelope {
    Envelope { body: Bytes::copy_from_slice(body.as_bytes()), ..Envelope::default() }
}

fn map(plan: &Plan, envelope: Envelope) -> Result<Unit, Failure> {
    plan.map(Delivery { tag: 1, arrived: Instant::now(), envelope: Box::new(envelope) }).map_err(|refused| refused.1)
}

fn texts(unit: &Unit) -> Vec<String> {
    let cell = |cell: &Cell| match cell {
        Cell::Text(slice) => slice.text(&unit.delivery.envelope.body).to_owned(),
        other => format!("{other:?}"),
    };
    unit.changes[0].row.0.iter().map(cell).collect()
}

#[test]
fn absent_null_and_default_are_three_things() {
    let plan = Plan::compile(&pipeline(None), &table(), None).unwrap();
    let unit = map(&plan, envelope(r#"{"id":"a","note":null}"#)).unwrap();
    assert_eq!(texts(&unit), ["a", "Null", "Null", "Null"], "a column without DEFAULT gets NULL when absent");
    let unit = map(&plan, envelope(r#"{"id":"a","amount":1.5}"#)).unwrap();
    assert_eq!(texts(&unit), ["a", "1.5", "Absent", "Null"], "a column with DEFAULT is left to it when absent");
    let mut with_default = from("note", Place::Pointer(vec!["note".into()]));
    with_default.default = Some(Constant::Text("none".into()));
    let columns = vec![from("id", Place::MessageId), with_default];
    let plan = Plan::compile(&pipeline(Some(columns)), &table(), None).unwrap();
    assert_eq!(texts(&map(&plan, envelope(r#"{"id":"a"}"#)).unwrap()), ["a", "none"]);
    assert_eq!(texts(&map(&plan, envelope(r#"{"id":"a","note":null}"#)).unwrap()), ["a", "Null"]);
}

#[test]
fn required_is_about_absence_and_names_the_column() {
    let mut amount = from("amount", Place::Pointer(vec!["amount".into()]));
    amount.required = true;
    let plan = Plan::compile(&pipeline(Some(vec![from("id", Place::MessageId), amount])), &table(), None).unwrap();
    let failure = map(&plan, envelope(r#"{"id":"a"}"#)).unwrap_err();
    assert_eq!(
        (failure.class, &*failure.code, failure.column.as_deref()),
        (ErrorClass::Mapping, "required", Some("amount"))
    );
    assert!(map(&plan, envelope(r#"{"id":"a","amount":null}"#)).is_ok());
}

#[test]
fn the_id_comes_from_the_first_place_that_has_one() {
    let plan = Plan::compile(&pipeline(None), &table(), None).unwrap();
    let mut message = envelope(r#"{"id":"body"}"#);
    let id = |message: &Envelope| plan.entry(message).unwrap().unwrap().id.as_str().to_owned();
    assert_eq!(id(&message), "body");
    message.headers.set_text("message-id", "header");
    assert_eq!(id(&message), "header");
    message.properties.message_id = Some("property".into());
    assert_eq!(id(&message), "property");
    message.properties.message_id = Some("x".repeat(256));
    assert!(id(&message).starts_with("sha256:") && id(&message).len() == 71);
    let failure = map(&plan, envelope(r#"{"amount":1}"#)).unwrap_err();
    assert_eq!(failure.code, "no_message_id");
    assert_eq!(map(&plan, envelope(r#"{"id":true}"#)).unwrap_err().code, "bad_message_id");
}

#[test]
fn composite_ids_need_all_parts_and_keep_them_apart() {
    let mut pipeline = pipeline(None);
    let pointer = |name: &str| Place::Pointer(vec![name.into()]);
    pipeline.message_id = vec![IdPlace::All(vec![pointer("id"), pointer("note")])];
    let plan = Plan::compile(&pipeline, &table(), None).unwrap();
    let id = |body: &str| plan.entry(&envelope(body)).map(|entry| entry.unwrap().id);
    assert_ne!(id(r#"{"id":"a,b","note":"c"}"#).unwrap(), id(r#"{"id":"a","note":"b,c"}"#).unwrap());
    assert_eq!(id(r#"{"id":"a"}"#).unwrap_err().code, "no_message_id");
}

#[test]
fn headers_reach_into_tables_and_arrays_and_replays_say_where_they_came_from() {
    let columns = vec![
        from("id", Place::Header(vec!["a".into(), "b".into(), "1".into()])),
        from("note", Place::RoutingKey),
        from("extra", Place::Header(vec!["a".into()])),
    ];
    let plan = Plan::compile(&pipeline(Some(columns)), &table(), None).unwrap();
    let mut message = envelope(r#"{"id":"x"}"#);
    let list = HeaderValue::List(vec![HeaderValue::I32(7), HeaderValue::Text(Bytes::from_static(b"deep"))]);
    message.headers.set("a", HeaderValue::Table(Headers(vec![("b".into(), list)])));
    message.routing_key = "orders".into();
    assert_eq!(texts(&map(&plan, message.clone()).unwrap()), ["deep", "orders", r#"{"b":[7,"deep"]}"#]);
    message.headers.set_text("x-original-routingKey", "order.new");
    assert_eq!(texts(&map(&plan, message).unwrap())[1], "order.new");
}

#[test]
fn unknown_fields_are_ignored_rejected_or_collected() {
    let body = r#"{"id":"a","new":{"x":1.50},"q\"":null}"#;
    let mut pipeline = pipeline(None);
    pipeline.unknown_fields = UnknownFields::Reject;
    let plan = Plan::compile(&pipeline, &table(), None).unwrap();
    assert_eq!(map(&plan, envelope(body)).unwrap_err().code, "unknown_field");
    pipeline.unknown_fields = UnknownFields::Column("extra".into());
    let plan = Plan::compile(&pipeline, &table(), None).unwrap();
    assert_eq!(texts(&map(&plan, envelope(body)).unwrap())[3], r#"{"new":{"x":1.50},"q\"":null}"#);
}

#[test]
fn what_does_not_fit_the_table_is_told_at_once() {
    let mut constant = from("amount", Place::Body);
    constant.source = ColumnSource::Value(Constant::Text("cheap".into()));
    let columns = vec![from("nope", Place::Body), from("missing", Place::Body), constant];
    let failure = Plan::compile(&pipeline(Some(columns)), &table(), None).unwrap_err();
    assert_eq!(failure.class, ErrorClass::SinkMisconfigured);
    for part in ["nope", "missing", "amount", "deduplicate"] {
        assert!(failure.message.contains(part), "{part} in {}", failure.message);
    }
    let mut other = table();
    other.unique_keys.clear();
    assert!(Plan::compile(&pipeline(None), &other, None).unwrap_err().message.contains("unique key"));
}

#[test]
fn a_reason_shows_the_value_and_a_log_does_not() {
    let plan = Plan::compile(&pipeline(None), &table(), None).unwrap();
    let failure = map(&plan, envelope(r#"{"id":"a","amount":"MARKER"}"#)).unwrap_err();
    assert!(failure.reason().contains("MARKER"));
    assert!(!failure.to_string().contains("MARKER") && !format!("{failure:?}").contains("MARKER"));
}
