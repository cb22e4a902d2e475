//! Dead letters: routed, confirmed, and otherwise never taken for it.

use std::time::Duration;

use bytes::Bytes;
use lapin::types::{AMQPValue, FieldArray, FieldTable};
use lapin::{BasicProperties, Confirmation};
use rabbit_sink::dead_letter::{self, Rejected};
use rabbit_sink::error::{ErrorClass, Failure};
use rabbit_sink::message::{Envelope, HeaderValue};
use rabbit_sink::rabbitmq::{Connection, DeadLetterQueue, Source};

use super::server::{Client, alone, broker, connected, ctl, delivered, letter, shared, soon};

fn codes(results: &[Result<(), Failure>]) -> Vec<&str> {
    results.iter().map(|result| result.as_ref().map_or_else(|failure| failure.code.as_ref(), |()| "ok")).collect()
}

fn dead(envelope: &Envelope, queue: &str, frame_max: u32) -> Envelope {
    let rejected = Rejected {
        envelope,
        failure: &Failure::new(ErrorClass::Decode, "json", "the body isn't JSON").detail("at byte 7"),
        pipeline: "orders",
        queue: "orders",
        table: "orders",
        attempts: 1,
        failed_at: jiff::Timestamp::now(),
        dead_letter_queue: queue,
    };
    dead_letter::build(&rejected, frame_max)
}

async fn one_from(connection: &Connection, queue: &str) -> Envelope {
    let mut source = connection.subscribe(queue, 1, "reader").await.unwrap();
    let delivery = delivered(&mut source).await;
    source.ack(delivery.tag, false).await.unwrap();
    source.ready().await.unwrap();
    *delivery.envelope
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_confirmed_stands_in_the_queue_and_is_persistent() {
    let _node = shared().await;
    let mut client = Client::new().await;
    let queue = client.queue("confirmed").await;
    let connection = connected("confirmed").await;
    let mut publisher = connection.publisher().await.unwrap();
    let letters: Vec<_> = (0..200).map(|_| letter(&queue, "x")).collect();
    let results = publisher.publish(letters).await;
    assert!(results.iter().all(Result::is_ok));
    assert_eq!(client.ready(&queue).await, 200);
    // Persistent, though the letter didn't say so.
    assert_eq!(one_from(&connection, &queue).await.properties.delivery_mode, Some(2));
    assert!(publisher.publish(Vec::new()).await.is_empty());
    connection.close().await;
    client.delete().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unroutable_is_not_confirmed_and_costs_no_other() {
    let _node = shared().await;
    let mut client = Client::new().await;
    let queue = client.queue("routable").await;
    let connection = connected("unroutable").await;
    let mut publisher = connection.publisher().await.unwrap();
    let missing = format!("{queue}.missing");
    let results = publisher.publish(vec![letter(&missing, "x")]).await;
    assert_eq!(codes(&results), ["unroutable"]);
    let failure = results[0].as_ref().unwrap_err();
    assert_eq!(failure.class, ErrorClass::DeadLetterFailed);
    assert!(failure.message.contains(&missing), "{failure}");

    // Among many whose confirms come together: exactly those, whatever confirm the return came with.
    for _ in 0..20 {
        let mut letters = Vec::new();
        let mut expected = Vec::new();
        for n in 0..300 {
            let lost = n % 7 == 3;
            letters.push(letter(if lost { &missing } else { &queue }, if n % 2 == 0 { "" } else { "odd" }));
            expected.push(if lost { "unroutable" } else { "ok" });
        }
        let results = publisher.publish(letters).await;
        assert_eq!(codes(&results), expected);
    }
    client.delete().await;
    connection.close().await;
}

/// `CC` names a queue that exists: the broker would confirm without returning the letter, though
/// the dead-letter queue is missing.
#[tokio::test(flavor = "multi_thread")]
async fn a_carbon_copy_cannot_hide_a_missing_queue() {
    let _node = shared().await;
    let mut client = Client::new().await;
    let elsewhere = client.queue("elsewhere").await;
    let mut envelope = letter("orders", "not json");
    let copy = HeaderValue::List(vec![HeaderValue::Text(Bytes::copy_from_slice(elsewhere.as_bytes()))]);
    envelope.headers.set("CC", copy.clone());
    envelope.headers.set("BCC", copy);
    let connection = connected("cc").await;
    let mut publisher = connection.publisher().await.unwrap();
    let results = publisher.publish(vec![dead(&envelope, "test.no.such.queue", connection.frame_max())]).await;
    assert_eq!(codes(&results), ["unroutable"]);
    assert_eq!(client.ready(&elsewhere).await, 0);
    connection.close().await;
    client.delete().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_is_neither_refused_nor_copied_nor_expired() {
    let _node = shared().await;
    let mut client = Client::new().await;
    let source = client.queue("source").await;
    let queue = client.queue("dead").await;
    let mut headers = FieldTable::default();
    let copies = FieldArray::from(vec![AMQPValue::LongString(queue.as_str().into())]);
    headers.insert("CC".into(), AMQPValue::FieldArray(copies));
    headers.insert("tenant".into(), AMQPValue::LongString("acme".into()));
    // `user_id` must be the login for the broker to take it; another login would be refused.
    let user = url::Url::parse(&super::server::url()).unwrap().username().to_owned();
    let properties = BasicProperties::default()
        .with_headers(headers)
        .with_expiration("60000".into())
        .with_user_id(if user.is_empty() { "guest".into() } else { user.as_str().into() })
        .with_message_id("m-1".into())
        .with_priority(4)
        .with_content_type("text/plain".into());
    client.publish(&source, b"not json", properties).await;
    let connection = connected("aside").await;
    // The copy that CC made.
    one_from(&connection, &queue).await;
    let mut received = one_from(&connection, &source).await;
    // As if another user had sent it, soon to expire.
    received.properties.user_id = Some("somebody-else".to_owned());
    received.properties.expiration = Some("1".to_owned());

    let mut publisher = connection.publisher().await.unwrap();
    let results = publisher.publish(vec![dead(&received, &queue, connection.frame_max())]).await;
    assert_eq!(codes(&results), ["ok"]);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!((client.ready(&queue).await, client.ready(&source).await), (1, 0));
    let letter = one_from(&connection, &queue).await;
    assert_eq!(letter.body, "not json");
    assert_eq!(letter.headers.text("x-sink-original-user-id"), Some("somebody-else"));
    assert_eq!(letter.headers.text("x-sink-original-expiration"), Some("1"));
    assert_eq!(letter.headers.get("x-sink-original-cc"), received.headers.get("CC"));
    assert_eq!(letter.headers.get("CC"), None);
    assert_eq!(letter.headers.text("tenant"), Some("acme"));
    assert_eq!(letter.properties.message_id.as_deref(), Some("m-1"));
    assert_eq!(letter.properties.priority, Some(4));
    assert_eq!(letter.properties.content_type.as_deref(), Some("text/plain"));
    let info = dead_letter::read(&letter);
    assert_eq!(info.reason.as_deref(), Some("the body isn't JSON: at byte 7"));
    assert_eq!(info.routing_key, source);
    connection.close().await;
    client.delete().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_of_a_frames_size_arrive_wrapped() {
    let _node = shared().await;
    let mut client = Client::new().await;
    let queue = client.queue("wrapped").await;
    let connection = connected("wrapped").await;
    let frame_max = connection.frame_max();
    let mut publisher = connection.publisher().await.unwrap();
    let size = frame_max as usize;
    // As large as a producer can send it, and around the edge where wrapping begins.
    for filling in [size - 100, size - 1200, size - 1700, size - 2100, size - 2500] {
        let mut received = letter("orders", "body");
        received.headers.set_text("big", &"b".repeat(filling));
        received.properties.message_id = Some("m".to_owned());
        let built = dead(&received, &queue, frame_max);
        let results = publisher.publish(vec![built]).await;
        assert_eq!(codes(&results), ["ok"], "{filling}");
        let arrived = one_from(&connection, &queue).await;
        let again = dead_letter::unwrapped(&arrived);
        assert_eq!(again.body, "body");
        assert_eq!(again.headers.text("big").map(str::len), Some(filling));
        assert_eq!(dead_letter::read(&arrived).code.as_deref(), Some("json"));
    }
    // Never sent: it would cost the connection.
    let mut raw = letter(&queue, "body");
    raw.headers.set_text("big", &"b".repeat(size));
    let results = publisher.publish(vec![raw, letter(&queue, "after")]).await;
    assert_eq!(codes(&results), ["headers_too_large", "ok"]);
    connection.close().await;
    client.delete().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_message_is_not_confirmed() {
    let _node = shared().await;
    let mut client = Client::new().await;
    let overflow = AMQPValue::LongString("reject-publish".into());
    let queue = client.declare("full", &[("x-max-length", AMQPValue::LongInt(2)), ("x-overflow", overflow)]).await;
    let connection = connected("nacked").await;
    let mut publisher = connection.publisher().await.unwrap();
    for _ in 0..2 {
        assert_eq!(codes(&publisher.publish(vec![letter(&queue, "x")]).await), ["ok"]);
    }
    let results = publisher.publish(vec![letter(&queue, "x"), letter(&queue, "y")]).await;
    assert_eq!(codes(&results), ["nacked", "nacked"]);
    // The channel is as good as before.
    one_from(&connection, &queue).await;
    assert_eq!(codes(&publisher.publish(vec![letter(&queue, "z")]).await), ["ok"]);
    connection.close().await;
    client.delete().await;
}

/// The second letter may still be on its way when the broker closes the channel over the first;
/// where it arrives after that, the broker closes the connection, too.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_channel_is_replaced() {
    let _node = shared().await;
    let mut client = Client::new().await;
    let queue = client.queue("exchange").await;
    let mut letters = broker().dead_letters("exchange");
    for _ in 0..10 {
        let lost = Envelope { exchange: "no.such.exchange".to_owned(), ..letter("k", "x") };
        let results = letters.publish(vec![lost, letter(&queue, "x")]).await;
        assert_eq!(codes(&results)[0], "404");
        for failure in results.iter().filter_map(|result| result.as_ref().err()) {
            assert_eq!(failure.class, ErrorClass::DeadLetterFailed);
        }
        let mut results = Vec::new();
        for _ in 0..5 {
            results = letters.publish(vec![letter(&queue, "x")]).await;
            if results[0].is_ok() {
                break;
            }
        }
        assert_eq!(codes(&results), ["ok"]);
    }
    letters.close().await;
    client.delete().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_connect_again() {
    let _node = alone().await;
    let mut client = Client::new().await;
    let queue = client.queue("again").await;
    let mut letters = broker().dead_letters("again/dead-letters");
    assert!(letters.frame_max().await.unwrap() >= 4096);
    assert_eq!(codes(&letters.publish(vec![letter(&queue, "x")]).await), ["ok"]);
    let list = ctl(&["-q", "list_connections", "client_properties"]).await;
    assert!(list.contains("/again/dead-letters"), "{list}");
    ctl(&["-q", "close_all_connections", "test"]).await;
    let mut results = Vec::new();
    for _ in 0..20 {
        results = letters.publish(vec![letter(&queue, "y")]).await;
        if results[0].is_ok() {
            break;
        }
        assert_eq!(results[0].as_ref().unwrap_err().class, ErrorClass::DeadLetterFailed);
    }
    assert_eq!(codes(&results), ["ok"]);
    letters.close().await;
    let after = Client::new().await;
    assert_eq!(after.ready(&queue).await, 2);
    after.channel.queue_delete(queue.into(), Default::default()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn under_a_memory_alarm_nothing_is_confirmed_and_acks_go_on() {
    let _node = alone().await;
    let mut client = Client::new().await;
    let queue = client.queue("alarm").await;
    let source = client.queue("alarm-source").await;
    client.fill(&source, 3).await;
    let consuming = connected("consumer").await;
    let mut consumer = consuming.subscribe(&source, 10, "t").await.unwrap();
    for _ in 0..3 {
        delivered(&mut consumer).await;
    }
    let publishing = connected("publisher").await;
    let mut publisher = publishing.publisher().await.unwrap().with_confirm_timeout(Duration::from_secs(1));
    ctl(&["-q", "set_vm_memory_high_watermark", "0"]).await;
    // The broker looks at its memory now and then only.
    let mut results = Vec::new();
    for _ in 0..50 {
        results = soon(publisher.publish(vec![letter(&queue, "x"), letter(&queue, "y")])).await;
        if results.iter().any(Result::is_err) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let again = soon(publisher.publish(vec![letter(&queue, "z")])).await;
    let blocked = (publishing.blocked(), consuming.blocked());
    let acked = soon(consumer.ack(3, true)).await;
    let ready = soon(consumer.ready()).await;
    // First of all the alarm is over, whatever was found.
    ctl(&["-q", "set_vm_memory_high_watermark", "0.4"]).await;
    assert_eq!(codes(&results), ["not_confirmed", "not_confirmed"]);
    assert_eq!(codes(&again), ["not_confirmed"]);
    assert!(again[0].as_ref().unwrap_err().message.contains("alarm"), "{again:?}");
    assert_eq!(blocked, (true, false));
    acked.unwrap();
    assert_eq!(ready.unwrap(), Some(0));
    drop(consumer);
    let mut results = Vec::new();
    for _ in 0..10 {
        results = soon(publisher.publish(vec![letter(&queue, "after")])).await;
        if results[0].is_ok() {
            break;
        }
    }
    assert_eq!(codes(&results), ["ok"]);
    client.until_ready(&source, 0).await;
    consuming.close().await;
    publishing.close().await;
    client.delete().await;
}

/// What the publisher relies on: the broker does say "ack" for what it has returned.
#[tokio::test(flavor = "multi_thread")]
async fn the_broker_confirms_what_it_returns() {
    let _node = shared().await;
    let client = Client::new().await;
    let options = lapin::options::BasicPublishOptions { mandatory: true, immediate: false };
    let published = client
        .channel
        .basic_publish("".into(), "test.no.such.queue".into(), options, b"x", BasicProperties::default())
        .await
        .unwrap();
    let confirmation = published.await.unwrap();
    assert!(matches!(confirmation, Confirmation::Ack(Some(_))), "{confirmation:?}");
    client.delete().await;
}
