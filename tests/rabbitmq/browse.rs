//! Looking through a dead-letter queue.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::Duration;

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};
use rabbit_sink::dead_letter;
use rabbit_sink::rabbitmq::{BROWSE_AT_ONCE, Connection, browse};

use super::server::{Client, connected, delivered, shared};

async fn bodies(connection: &Connection, queue: &str, limit: usize) -> Vec<String> {
    let mut seen = Vec::new();
    let shown = browse(connection, queue, limit, |letter| {
        assert_eq!(letter.headers.get(dead_letter::SWEEP), None);
        seen.push(String::from_utf8(letter.body.to_vec()).unwrap());
        ControlFlow::Continue(())
    })
    .await
    .unwrap();
    assert_eq!(shown, seen.len());
    seen
}

#[tokio::test(flavor = "multi_thread")]
async fn looking_changes_nothing_however_often() {
    let _node = shared().await;
    let mut client = Client::new().await;
    let limit = AMQPValue::LongInt(3);
    let kind = AMQPValue::LongString("quorum".into());
    let queue = client.declare("looked", &[("x-queue-type", kind), ("x-delivery-limit", limit)]).await;
    client.fill(&queue, 4).await;
    let connection = connected("browse").await;
    for _ in 0..8 {
        assert_eq!(bodies(&connection, &queue, usize::MAX).await, ["0", "1", "2", "3"]);
    }
    client.until_ready(&queue, 4).await;
    // The lock is gone, and no stamp shows that wasn't there.
    connection.close().await;
    client.delete().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_one_round_shows_each_once() {
    let _node = shared().await;
    let mut client = Client::new().await;
    let queue = client.queue("rounds").await;
    let count = BROWSE_AT_ONCE * 2 + 17;
    client.fill(&queue, count).await;
    let connection = connected("rounds").await;
    let expected: Vec<String> = (0..count).map(|n| n.to_string()).collect();
    assert_eq!(bodies(&connection, &queue, usize::MAX).await, expected);
    assert_eq!(bodies(&connection, &queue, 3).await, ["0", "1", "2"]);
    let mut seen = 0;
    let shown = browse(&connection, &queue, usize::MAX, |_| {
        seen += 1;
        if seen == 5 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert_eq!((shown.await.unwrap(), seen), (5, 5));
    client.until_ready(&queue, u32::try_from(count).unwrap()).await;
    connection.close().await;
    client.delete().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_cannot_look_at_once() {
    let _node = shared().await;
    let mut client = Client::new().await;
    let queue = client.queue("locked").await;
    client.fill(&queue, 2).await;
    let other = Client::new().await;
    let options = lapin::options::QueueDeclareOptions { exclusive: true, ..Default::default() };
    let lock = format!("{queue}.rabbit-sink-lock");
    other.channel.queue_declare(lock.as_str().into(), options, FieldTable::default()).await.unwrap();
    let connection = connected("locked").await;
    let failure = browse(&connection, &queue, 10, |_| ControlFlow::Continue(())).await.unwrap_err();
    assert_eq!(failure.code, "405");
    assert!(failure.message.contains(&lock), "{failure}");
    other.channel.queue_delete(lock.into(), Default::default()).await.unwrap();
    assert_eq!(bodies(&connection, &queue, 10).await, ["0", "1"]);
    connection.close().await;
    client.delete().await;
    other.delete().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_locks_others_out_until_it_ends() {
    let _node = shared().await;
    let mut client = Client::new().await;
    let queue = client.queue("lock").await;
    client.fill(&queue, 2).await;
    let (first, second) = (connected("first").await, connected("second").await);
    let (begun, looking) = tokio::sync::oneshot::channel();
    let (end, ended) = std::sync::mpsc::channel::<()>();
    let name = queue.clone();
    let slow = tokio::spawn(async move {
        let mut begun = Some(begun);
        let look = browse(&first, &name, 10, move |_| {
            if let Some(begun) = begun.take() {
                begun.send(()).unwrap();
                // Holds the look, not the test.
                tokio::task::block_in_place(|| ended.recv().unwrap());
            }
            ControlFlow::Continue(())
        });
        assert_eq!(look.await.unwrap(), 2);
        first
    });
    looking.await.unwrap();
    let failure = browse(&second, &queue, 10, |_| ControlFlow::Continue(())).await.unwrap_err();
    end.send(()).unwrap();
    assert_eq!(failure.code, "405", "{failure}");
    // The first still has its connection: the lock went with the look.
    let first = slow.await.unwrap();
    assert_eq!(bodies(&second, &queue, 10).await, ["0", "1"]);
    first.close().await;
    second.close().await;
    client.delete().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_queue_says_so() {
    let _node = shared().await;
    let connection = connected("missing").await;
    let failure = browse(&connection, "test.no.such.queue", 10, |_| ControlFlow::Continue(())).await.unwrap_err();
    assert_eq!(failure.code, "404");
    connection.close().await;
}

/// Broken off anywhere, nothing is lost; what stands there twice is recognisable.
#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_look_loses_nothing() {
    let _node = shared().await;
    let mut client = Client::new().await;
    let queue = client.queue("interrupted").await;
    let count = 120;
    client.fill(&queue, count).await;
    for round in 0..30 {
        let connection = connected("interrupted").await;
        let look = browse(&connection, &queue, usize::MAX, |_| ControlFlow::Continue(()));
        let cut = tokio::time::timeout(Duration::from_millis(1 + round * 3), look).await;
        connection.close().await;
        if let Ok(ended) = cut {
            ended.unwrap();
        }
    }
    let connection = connected("count").await;
    let mut seen = BTreeMap::new();
    // Requeueing what the last one held may take the broker a moment.
    tokio::time::sleep(Duration::from_millis(500)).await;
    for body in bodies(&connection, &queue, usize::MAX).await {
        *seen.entry(body).or_insert(0) += 1;
    }
    assert_eq!(seen.len(), count);
    connection.close().await;
    client.delete().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_letter_is_put_back_without_being_copied_or_expired() {
    let _node = shared().await;
    let mut client = Client::new().await;
    let copies = client.queue("copies").await;
    let queue = client.queue("foreign").await;
    let mut headers = FieldTable::default();
    headers.insert("CC".into(), AMQPValue::FieldArray(vec![AMQPValue::LongString(copies.as_str().into())].into()));
    headers.insert("x-exception-message".into(), AMQPValue::LongString("boom".into()));
    let properties = BasicProperties::default().with_headers(headers).with_expiration("60000".into());
    client.publish(&queue, b"theirs", properties).await;
    client.until_ready(&copies, 1).await;
    let connection = connected("foreign").await;
    let mut reason = None;
    let look = browse(&connection, &queue, 10, |letter| {
        reason = dead_letter::read(letter).reason;
        ControlFlow::Continue(())
    });
    assert_eq!(look.await.unwrap(), 1);
    assert_eq!(reason.as_deref(), Some("boom"));
    assert_eq!(client.ready(&copies).await, 1);
    let mut source = connection.subscribe(&queue, 1, "t").await.unwrap();
    let letter = delivered(&mut source).await.envelope;
    assert_eq!(letter.properties.expiration, None);
    assert_eq!(letter.headers.text(dead_letter::ORIGINAL_EXPIRATION), Some("60000"));
    assert_eq!(dead_letter::read(&letter).id, dead_letter::id("", "", "", b"theirs"));
    connection.close().await;
    client.delete().await;
}
