use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::error::ErrorClass;
use crate::message::Properties;

fn received() -> Envelope {
    let mut headers = Headers::default();
    headers.set_text("tenant", "acme");
    Envelope {
        body: Bytes::from_static(b"{\"a\":1}"),
        exchange: "shop".to_owned(),
        routing_key: "order.new".to_owned(),
        redelivered: true,
        properties: Properties {
            content_type: Some("application/json".to_owned()),
            message_id: Some("m1".to_owned()),
            priority: Some(3),
            timestamp: Some(1_700_000_000),
            delivery_mode: Some(1),
            ..Properties::default()
        },
        headers,
    }
}

fn build_from(envelope: &Envelope, failure: &Failure, frame_max: u32) -> Envelope {
    build(
        &Rejected {
            envelope,
            failure,
            pipeline: "orders",
            queue: "orders",
            table: "public.orders",
            attempts: 2,
            failed_at: "2026-01-02T03:04:05.678Z".parse().unwrap(),
            dead_letter_queue: "orders.dead",
        },
        frame_max,
    )
}

fn failure() -> Failure {
    Failure::new(ErrorClass::RowRejected, "23505", "a unique key is taken").column("order_id").detail("Key (x)=(7)")
}

#[test]
fn body_and_properties_stay_and_the_cause_is_told() {
    let letter = build_from(&received(), &failure(), 131_072);
    assert_eq!((letter.exchange.as_str(), letter.routing_key.as_str()), ("", "orders.dead"));
    assert_eq!(letter.body, received().body);
    assert_eq!(letter.properties, Properties { delivery_mode: Some(2), ..received().properties });
    let text = |name| letter.headers.text(name);
    assert_eq!(text("tenant"), Some("acme"));
    assert_eq!(text("x-original-exchange"), Some("shop"));
    assert_eq!(text("x-original-routingKey"), Some("order.new"));
    assert_eq!(text("x-exception-message"), Some("a unique key is taken: Key (x)=(7)"));
    assert_eq!(text("x-sink-pipeline"), Some("orders"));
    assert_eq!(text("x-sink-queue"), Some("orders"));
    assert_eq!(text("x-sink-table"), Some("public.orders"));
    assert_eq!(text("x-sink-error-class"), Some("row_rejected"));
    assert_eq!(text("x-sink-error-code"), Some("23505"));
    assert_eq!(text("x-sink-column"), Some("order_id"));
    assert_eq!(text("x-sink-failed-at"), Some("2026-01-02T03:04:05.678Z"));
    assert_eq!(text("x-sink-version"), Some(env!("CARGO_PKG_VERSION")));
    assert_eq!(letter.headers.integer("x-sink-attempts"), Some(2));
    assert_eq!(letter.headers.integer("x-sink-replays"), Some(0));
    let expected = digest::hex(&digest::sha256(&[b"orders", b"orders", b"m1", b"{\"a\":1}"]));
    assert_eq!(text("x-sink-id"), Some(expected.as_str()));
}

#[test]
fn what_the_broker_would_act_upon_is_put_aside() {
    let mut envelope = received();
    envelope.properties.user_id = Some("alice".to_owned());
    envelope.properties.expiration = Some("1000".to_owned());
    let cc = HeaderValue::List(vec![HeaderValue::Text(Bytes::from_static(b"orders"))]);
    envelope.headers.set("CC", cc.clone());
    envelope.headers.set("BCC", cc.clone());
    let letter = build_from(&envelope, &failure(), 0);
    assert_eq!((letter.properties.user_id.as_ref(), letter.properties.expiration.as_ref()), (None, None));
    assert_eq!((letter.headers.get("CC"), letter.headers.get("BCC")), (None, None));
    assert_eq!(letter.headers.text("x-sink-original-user-id"), Some("alice"));
    assert_eq!(letter.headers.text("x-sink-original-expiration"), Some("1000"));
    assert_eq!(letter.headers.get("x-sink-original-cc"), Some(&cc));
    assert_eq!(letter.headers.get("x-sink-original-bcc"), Some(&cc));
}

#[test]
fn a_second_dead_letter_keeps_the_first_originals_and_the_id() {
    let first = build_from(&received(), &failure(), 0);
    let mut replayed = Envelope { routing_key: "orders".to_owned(), ..first.clone() };
    replayed.headers.set(REPLAYS, HeaderValue::I64(3));
    replayed.headers.set_text(SWEEP, "stamp");
    let second = build_from(&replayed, &Failure::new(ErrorClass::Decode, "json", "not JSON"), 0);
    assert_eq!(second.headers.text(ORIGINAL_EXCHANGE), Some("shop"));
    assert_eq!(second.headers.text(ORIGINAL_ROUTING_KEY), Some("order.new"));
    assert_eq!(second.headers.text(ID), first.headers.text(ID));
    assert_eq!(second.headers.integer(REPLAYS), Some(3));
    // Of the first failure nothing is left.
    assert_eq!(second.headers.text(CODE), Some("json"));
    assert_eq!((second.headers.get(COLUMN), second.headers.get(SWEEP)), (None, None));
}

#[test]
fn a_reason_is_cut_between_characters() {
    let letter = build_from(&received(), &failure().detail("€".repeat(1000)), 0);
    let reason = letter.headers.text(REASON).unwrap();
    assert!(reason.len() <= REASON_MAX && reason.len() > REASON_MAX - 4, "{}", reason.len());
    assert!(reason.ends_with('€'));
}

#[test]
fn an_odd_message_makes_a_dead_letter_too() {
    let mut envelope = Envelope { body: Bytes::from_static(b"\xff\x00"), ..Envelope::default() };
    // Not text, too long, too many.
    envelope.headers.set(ORIGINAL_EXCHANGE, HeaderValue::Bool(true));
    envelope.headers.set_text(ORIGINAL_ROUTING_KEY, &"k".repeat(300));
    envelope.headers.set_text(REPLAYS, "many");
    let letter = build_from(&envelope, &failure(), 4096);
    assert_eq!(letter.headers.text(ORIGINAL_EXCHANGE), Some(""));
    assert_eq!(letter.headers.text(ORIGINAL_ROUTING_KEY), Some(""));
    assert_eq!(letter.headers.integer(REPLAYS), Some(0));
}

#[test]
fn reading_gives_what_was_built() {
    let info = read(&build_from(&received(), &failure(), 0));
    let json = serde_json::to_value(&info).unwrap();
    let keys: Vec<&str> = json.as_object().unwrap().keys().map(String::as_str).collect();
    let mut expected = [
        "id",
        "message_id",
        "failed_at",
        "class",
        "code",
        "column",
        "reason",
        "attempts",
        "replays",
        "pipeline",
        "queue",
        "table",
    ];
    expected.sort_unstable();
    let mut keys = keys;
    keys.sort_unstable();
    assert_eq!(keys, expected);
    assert_eq!(info.id, id("orders", "orders", "m1", &received().body));
    assert_eq!(info.message_id.as_deref(), Some("m1"));
    assert_eq!(info.class.as_deref(), Some("row_rejected"));
    assert_eq!((info.attempts, info.replays), (Some(2), 0));
    assert_eq!((info.exchange.as_str(), info.routing_key.as_str()), ("shop", "order.new"));
}

#[test]
fn reading_the_brokers_own_and_springs_and_nobodys() {
    let text = |text: &'static str| HeaderValue::Text(Bytes::from_static(text.as_bytes()));
    let death = Headers(vec![
        ("count".to_owned(), HeaderValue::I64(21)),
        ("reason".to_owned(), text("delivery_limit")),
        ("queue".to_owned(), text("invoices")),
        ("exchange".to_owned(), text("billing")),
        ("routing-keys".to_owned(), HeaderValue::List(vec![text("invoice.new")])),
        ("time".to_owned(), HeaderValue::Timestamp(1_767_323_045)),
    ]);
    let mut foreign = received();
    foreign.headers.set("x-death", HeaderValue::List(vec![HeaderValue::Table(death)]));
    let info = read(&foreign);
    assert_eq!(info.queue.as_deref(), Some("invoices"));
    assert_eq!(info.code.as_deref(), Some("delivery_limit"));
    assert!(info.reason.unwrap().contains("returned to the queue too often"));
    assert_eq!(info.failed_at.as_deref(), Some("2026-01-02T03:04:05Z"));
    assert_eq!(info.attempts, Some(21));
    assert_eq!((info.exchange.as_str(), info.routing_key.as_str()), ("billing", "invoice.new"));
    assert_eq!(info.id, id("", "invoices", "m1", &foreign.body));

    let mut spring = received();
    spring.headers.set_text("x-exception-message", "boom");
    assert_eq!(read(&spring).reason.as_deref(), Some("boom"));

    let nothing = read(&Envelope::default());
    assert_eq!(nothing.id, id("", "", "", b""));
    assert_eq!((nothing.reason, nothing.class, nothing.attempts), (None, None, None));

    // x-death that isn't one.
    foreign.headers.set("x-death", HeaderValue::Bool(true));
    assert_eq!(read(&foreign).reason, None);
}

#[test]
fn rotating_a_foreign_letter_keeps_where_it_came_from() {
    let mut foreign = received();
    foreign.properties.expiration = Some("5".to_owned());
    let once = rotated(foreign, "orders.dead", "stamp-1", 0);
    assert_eq!((once.exchange.as_str(), once.routing_key.as_str()), ("", "orders.dead"));
    assert_eq!(once.headers.text(ORIGINAL_EXCHANGE), Some("shop"));
    assert_eq!(once.headers.text(SWEEP), Some("stamp-1"));
    assert_eq!(once.properties.expiration, None);
    let twice = rotated(once.clone(), "orders.dead", "stamp-2", 0);
    assert_eq!(twice.headers.text(ORIGINAL_EXCHANGE), Some("shop"));
    assert_eq!(twice.headers.text(ORIGINAL_EXPIRATION), Some("5"));
    assert_eq!(twice.headers.text(SWEEP), Some("stamp-2"));
}

/// Encodes as the wire does, by the library that does it.
fn wire_size(letter: &Envelope) -> usize {
    crate::rabbitmq::header_frame_size(letter).unwrap()
}

#[test]
fn headers_beyond_the_frame_go_into_the_body_and_come_back() {
    for frame_max in [4096, 8192, 131_072] {
        for filling in (0..2 * frame_max as usize).step_by(frame_max as usize / 16) {
            let mut envelope = received();
            envelope.headers.set_text("big", &"b".repeat(filling));
            envelope.headers.set("odd", HeaderValue::Text(Bytes::from_static(b"\xff")));
            envelope.headers.set("nan", HeaderValue::F64(f64::NAN));
            let failure = failure().detail("x".repeat(2000));
            let plain = build_from(&envelope, &failure, 0);
            let letter = build_from(&envelope, &failure, frame_max);
            assert!(wire_size(&letter) <= frame_max as usize, "{filling} in {frame_max}");
            let again = unwrapped(&letter);
            assert_eq!(again.body, envelope.body);
            assert_eq!(again.properties, plain.properties);
            assert_eq!(format!("{:?}", again.headers), format!("{:?}", plain.headers));
            let info = read(&letter);
            assert_eq!(info.wrapped, letter.headers.get(WRAPPED).is_some());
            assert_eq!(info.id, id("orders", "orders", "m1", &envelope.body));
            // What lists it stands outside, too.
            assert_eq!(letter.headers.text(ID), Some(info.id.as_str()));
            assert_eq!(letter.headers.text(CODE), Some("23505"));
        }
    }
}

#[test]
fn a_false_mark_is_no_wrapping() {
    let mut envelope = received();
    envelope.headers.set_text(WRAPPED, "base64");
    assert_eq!(unwrapped(&envelope).body, envelope.body);
    assert_eq!(read(&envelope).message_id.as_deref(), Some("m1"));
}

proptest! {
    #[test]
    fn wrapping_loses_nothing(
        body in any::<Vec<u8>>(),
        values in proptest::collection::vec(any::<Vec<u8>>(), 1..20),
        number in any::<f64>(),
        wide in any::<u64>(),
    ) {
        let mut envelope = Envelope { body: body.into(), ..received() };
        for (n, value) in values.into_iter().enumerate() {
            envelope.headers.set(&format!("h{n}"), HeaderValue::Text(value.clone().into()));
            envelope.headers.set(&format!("b{n}"), HeaderValue::List(vec![HeaderValue::Bytes(value.into())]));
        }
        envelope.headers.set("f", HeaderValue::F64(number));
        envelope.headers.set("t", HeaderValue::Timestamp(wide));
        envelope.headers.set_text("big", &"b".repeat(5000));
        let plain = build_from(&envelope, &failure(), 0);
        let letter = build_from(&envelope, &failure(), 4096);
        prop_assert!(letter.headers.get(WRAPPED).is_some());
        prop_assert!(wire_size(&letter) <= 4096);
        let again = unwrapped(&letter);
        prop_assert_eq!(again.body, plain.body);
        prop_assert_eq!(again.properties, plain.properties);
        prop_assert_eq!(again.headers, plain.headers);
    }
}
