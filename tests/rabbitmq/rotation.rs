//! Passes through a dead-letter queue.

use std::collections::BTreeMap;
use std::time::Duration;

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};
use rabbit_sink::dead_letter;
use rabbit_sink::error::Failure;
use rabbit_sink::message::Envelope;
use rabbit_sink::rabbitmq::{AT_ONCE, Connection, Fate, Rotation};

use super::server::{Client, connected, delivered, leader, shared};

/// One pass in which all stay.
async fn pass(connection: &Connection, queue: &str) -> Result<Vec<Envelope>, Failure> {
    let mut rotation = Rotation::start(connection, queue, "a test").await?;
    let mut seen = Vec::new();
    rotation.begin().await?;
    loop {
        let taken = rotation.take(usize::MAX).await?;
        if taken.is_empty() {
            break;
        }
        assert!(taken.len() <= AT_ONCE);
        for held in &taken {
            assert_eq!(held.envelope.headers.get(dead_letter::SWEEP), None);
            seen.push(held.envelope.clone());
        }
        rotation.settle(taken.into_iter().map(|held| (held, Fate::Stay)).collect()).await?;
    }
    rotation.end().await;
    Ok(seen)
}

async fn bodies(connection: &Connection, queue: &str) -> Vec<String> {
    let seen = pass(connection, queue).await.unwrap();
    seen.into_iter().map(|letter| String::from_utf8(letter.body.to_vec()).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn looking_changes_nothing_however_often() {
    let _node = shared().await;
    let mut client = Client::new().await;
    let limit = AMQPValue::LongInt(3);
    let kind = AMQPValue::LongString("quorum".into());
    let queue = client.declare("looked", &[("x-queue-type", kind), ("x-delivery-limit", limit)]).await;
    client.fill(&queue, 4).await;
    let connection = connected("look").await;
    for _ in 0..8 {
        assert_eq!(bodies(&connection, &queue).await, ["0", "1", "2", "3"]);
    }
    client.until_ready(&queue, 4).await;
    connection.close().await;
    client.delete().await;
}

/// Takes all to the end of a pass that was begun, and puts them back. Returns their bodies.
async fn rest(rotation: &mut Rotation) -> Vec<String> {
    let mut seen = Vec::new();
    loop {
        let taken = rotation.take(usize::MAX).await.unwrap();
        if taken.is_empty() {
            return seen;
        }
        seen.extend(taken.iter().map(|held| String::from_utf8(held.envelope.body.to_vec()).unwrap()));
        rotation.settle(taken.into_iter().map(|held| (held, Fate::Stay)).collect()).await.unwrap();
    }
}

/// The broker says 0 while the leader doesn't answer it.
#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_hangs_hides_no_letter() {
    let _node = shared().await;
    let mut client = Client::new().await;
    let queue = client.declare("hidden", &[("x-queue-type", AMQPValue::LongString("quorum".into()))]).await;
    client.fill(&queue, 4).await;
    let connection = connected("hidden").await;
    let mut rotation = Rotation::start(&connection, &queue, "a test").await.unwrap();
    leader(&queue, "suspend").await;
    let begun = tokio::spawn(async move {
        let count = rotation.begin().await;
        (rotation, count)
    });
    let counted = client.ready(&queue).await;
    // The get waits for the leader now, or has been asked after it was back: either is good.
    tokio::time::sleep(Duration::from_millis(500)).await;
    leader(&queue, "resume").await;
    let (mut rotation, count) = begun.await.unwrap();
    assert_eq!((counted, count.unwrap()), (0, 4), "the broker can't count, or nothing was shown");
    assert_eq!(rest(&mut rotation).await, ["0", "1", "2", "3"]);
    rotation.end().await;
    assert_eq!(bodies(&connection, &queue).await, ["0", "1", "2", "3"], "the order is as it was");
    client.until_ready(&queue, 4).await;
    connection.close().await;
    client.delete().await;
}

/// Such a queue can't be asked for a message, but looked at.
#[tokio::test(flavor = "multi_thread")]
async fn an_empty_queue_with_a_single_active_consumer_is_empty() {
    let _node = shared().await;
    let mut client = Client::new().await;
    let queue = client.declare("single", &[("x-single-active-consumer", AMQPValue::Boolean(true))]).await;
    let connection = connected("single").await;
    let mut rotation = Rotation::start(&connection, &queue, "a test").await.unwrap();
    assert_eq!(rotation.begin().await.unwrap(), 0);
    client.fill(&queue, 2).await;
    assert_eq!(rotation.begin().await.unwrap(), 2);
    assert_eq!(rest(&mut rotation).await, ["0", "1"]);
    rotation.end().await;
    connection.close().await;
    client.delete().await;
}

/// What can't be put back is in the queue all the same, and isn't worn out by looking.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_can_be_looked_at_often() {
    let _node = shared().await;
    for kind in ["classic", "quorum"] {
        for overflow in ["reject-publish", "drop-head"] {
            let mut client = Client::new().await;
            let text = |text: &str| AMQPValue::LongString(text.into());
            let arguments = [
                ("x-queue-type", text(kind)),
                ("x-max-length", AMQPValue::LongInt(20)),
                ("x-overflow", text(overflow)),
                ("x-delivery-limit", AMQPValue::LongInt(3)),
            ];
            let arguments = if kind == "quorum" { &arguments[..] } else { &arguments[..3] };
            let queue = client.declare("full", arguments).await;
            client.fill(&queue, 20).await;
            let connection = connected("full").await;
            let all: Vec<String> = (0..20).map(|n| n.to_string()).collect();
            for _ in 0..6 {
                assert_eq!(bodies(&connection, &queue).await, all, "{kind} {overflow}");
            }
            connection.close().await;
            client.delete().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_one_round_shows_each_once_in_order() {
    let _node = shared().await;
    let mut client = Client::new().await;
    let queue = client.queue("rounds").await;
    let count = AT_ONCE * 3 + 17;
    client.fill(&queue, count).await;
    let connection = connected("rounds").await;
    let expected: Vec<String> = (0..count).map(|n| n.to_string()).collect();
    assert_eq!(bodies(&connection, &queue).await, expected);
    assert_eq!(bodies(&connection, &queue).await, expected, "a whole pass leaves the order as it was");
    client.until_ready(&queue, u32::try_from(count).unwrap()).await;
    connection.close().await;
    client.delete().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_arrives_meanwhile_is_left_for_later_and_sets_are_kept_apart() {
    let _node = shared().await;
    let mut client = Client::new().await;
    let queue = client.queue("sets").await;
    client.fill(&queue, 6).await;
    let connection = connected("sets").await;
    let mut rotation = Rotation::start(&connection, &queue, "a test").await.unwrap();
    assert_eq!(rotation.begin().await.unwrap(), 6);
    let set = rotation.mark().to_owned();
    let mut seen = 0;
    loop {
        let taken = rotation.take(4).await.unwrap();
        if taken.is_empty() {
            break;
        }
        seen += taken.len();
        client.publish(&queue, b"late", BasicProperties::default()).await;
        let even = |body: &[u8]| (body[0] - b'0').is_multiple_of(2);
        let fates = taken.into_iter().map(|held| {
            let fate = if even(&held.envelope.body) { Fate::Chosen } else { Fate::Stay };
            (held, fate)
        });
        rotation.settle(fates.collect()).await.unwrap();
    }
    assert_eq!(seen, 6);
    // The second pass sees the late ones, too, and knows which were chosen in the first.
    rotation.begin().await.unwrap();
    let mut chosen = Vec::new();
    loop {
        let taken = rotation.take(usize::MAX).await.unwrap();
        if taken.is_empty() {
            break;
        }
        let fates = taken.into_iter().map(|held| {
            let fate = if held.set.as_ref() == Some(&set) { Fate::Gone } else { Fate::Stay };
            if matches!(fate, Fate::Gone) {
                chosen.push(String::from_utf8(held.envelope.body.to_vec()).unwrap());
            }
            (held, fate)
        });
        rotation.settle(fates.collect()).await.unwrap();
    }
    assert_eq!(chosen, ["0", "2", "4"]);
    rotation.end().await;
    let left = bodies(&connection, &queue).await;
    assert_eq!(left.iter().filter(|body| *body != "late").collect::<Vec<_>>(), ["1", "3", "5"]);
    connection.close().await;
    client.delete().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_letter_is_seen_on_a_queue_with_priorities() {
    let _node = shared().await;
    let mut client = Client::new().await;
    let queue = client.declare("priorities", &[("x-max-priority", AMQPValue::LongInt(9))]).await;
    for n in 0..600_u32 {
        let priority = u8::try_from(n % 10).unwrap();
        client.publish(&queue, n.to_string().as_bytes(), BasicProperties::default().with_priority(priority)).await;
    }
    let connection = connected("priorities").await;
    for _ in 0..3 {
        let seen = pass(&connection, &queue).await.unwrap();
        let mut numbers: Vec<u32> =
            seen.iter().map(|letter| std::str::from_utf8(&letter.body).unwrap().parse().unwrap()).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (0..600).collect::<Vec<_>>());
        for letter in seen {
            let number: u32 = std::str::from_utf8(&letter.body).unwrap().parse().unwrap();
            let priority = dead_letter::restored(&letter).properties.priority;
            assert_eq!(priority.map(u32::from), Some(number % 10), "it is kept beside");
        }
    }
    connection.close().await;
    client.delete().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_two_cannot_look_at_once_and_the_second_is_told_who_has_it() {
    let _node = shared().await;
    let mut client = Client::new().await;
    let queue = client.queue("locked").await;
    client.fill(&queue, 2).await;
    let (first, second) = (connected("first").await, connected("second").await);
    let rotation = Rotation::start(&first, &queue, "dlq replay orders, by jo@host").await.unwrap();
    for _ in 0..2 {
        let failure = Rotation::start(&second, &queue, "another").await.unwrap_err();
        assert_eq!(failure.code, "405");
        assert!(failure.message.contains("dlq replay orders, by jo@host"), "{failure}");
        assert!(failure.message.contains(&format!("{queue}.rabbit-sink-lock")), "{failure}");
    }
    rotation.end().await;
    assert_eq!(bodies(&second, &queue).await, ["0", "1"]);
    // Killed: the lock goes with the connection, and the next one's word replaces the last.
    let killed = Rotation::start(&first, &queue, "killed").await.unwrap();
    first.close().await;
    drop(killed);
    let _third = Rotation::start(&second, &queue, "the third").await.unwrap();
    let fourth = connected("fourth").await;
    let failure = Rotation::start(&fourth, &queue, "the fourth").await.unwrap_err();
    assert!(failure.message.contains("`the third` has it"), "{failure}");
    fourth.close().await;
    second.close().await;
    client.delete().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_queue_says_so() {
    let _node = shared().await;
    let connection = connected("missing").await;
    let failure = pass(&connection, "test.no.such.queue").await.unwrap_err();
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
        let mut rotation = Rotation::start(&connection, &queue, "a test").await.unwrap();
        let whole = async {
            rotation.begin().await.unwrap();
            rest(&mut rotation).await
        };
        drop(tokio::time::timeout(Duration::from_millis(1 + round * 3), whole).await);
        rotation.end().await;
        connection.close().await;
    }
    let connection = connected("count").await;
    // Requeueing what the last one held may take the broker a moment.
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    loop {
        let mut seen = BTreeMap::new();
        for body in bodies(&connection, &queue).await {
            *seen.entry(body).or_insert(0) += 1;
        }
        if seen.len() == count {
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "{} of {count}", seen.len());
    }
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
    let seen = pass(&connection, &queue).await.unwrap();
    assert_eq!(seen.len(), 1);
    assert_eq!(dead_letter::read(&seen[0]).reason.as_deref(), Some("boom"));
    assert_eq!(client.ready(&copies).await, 1);
    let mut source = connection.subscribe(&queue, 1, "t").await.unwrap();
    let letter = delivered(&mut source).await.envelope;
    assert_eq!(letter.properties.expiration, None);
    assert_eq!(letter.headers.text(dead_letter::ORIGINAL_EXPIRATION), Some("60000"));
    assert_eq!(dead_letter::read(&letter).id, dead_letter::id("", "", "", b"theirs"));
    connection.close().await;
    client.delete().await;
}
