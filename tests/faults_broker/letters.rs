//! Dead letters that the broker would refuse, copy, let expire, or that don't fit in a frame.

use lapin::types::{AMQPValue, FieldArray, FieldTable};

use crate::support::Worker;
use crate::support::broker::{Kind, Message, Taken};
use crate::worker::scene::Scene;

fn with_header(mut message: Message, name: &str, value: AMQPValue) -> Message {
    let mut headers = message.properties.headers().clone().unwrap_or_default();
    headers.insert(name.into(), value);
    message.properties = message.properties.with_headers(headers);
    message
}

fn list(items: &[&str]) -> AMQPValue {
    let items: Vec<AMQPValue> = items.iter().map(|item| AMQPValue::LongString((*item).into())).collect();
    AMQPValue::FieldArray(FieldArray::from(items))
}

fn letter<'a>(letters: &'a [Taken], id: &str) -> &'a Taken {
    letters.iter().find(|letter| letter.message_id().as_deref() == Some(id)).unwrap()
}

#[tokio::test]
async fn slow_every_special_message_gets_its_dead_letter() {
    let mut scene = Scene::shared(Kind::Quorum).await;
    let (source, elsewhere) = (scene.queue.clone(), format!("{}.elsewhere", scene.queue));
    scene.broker.declare(&elsewhere, Kind::Classic).await;
    // With a login of its own: the broker refuses a `user_id` that isn't the publisher's.
    let user = scene.user("letters").await;
    let mut messages: Vec<Message> = (0..6).map(|n| scene.bad(n)).collect();
    messages[0].properties = messages[0].properties.clone().with_user_id("guest".into());
    messages[1].properties = messages[1].properties.clone().with_expiration("3600000".into());
    messages[2] = with_header(messages[2].clone(), "CC", list(&[&source, &elsewhere]));
    messages[3] = with_header(messages[3].clone(), "BCC", list(&[&elsewhere]));
    // Within the frame as it comes, beyond it with the reason.
    messages[4] = with_header(messages[4].clone(), "big", AMQPValue::LongString("x".repeat(130_600).into()));
    messages[5].properties = messages[5]
        .properties
        .clone()
        .with_correlation_id("c".into())
        .with_reply_to("r".into())
        .with_priority(7)
        .with_timestamp(1_700_000_000)
        .with_type("t".into())
        .with_app_id("a".into())
        .with_content_encoding("identity".into());
    let sent = messages.clone();
    scene.broker.publish(&source, messages).await;
    let mut worker = Worker::run(&scene.config(""));
    scene.ready_says(&mut worker, 200, "").await;
    scene.dead_lettered(6).await;
    scene.broker.wait_until_empty(&source).await;
    let shown = Worker::command(&scene.config(""), ["dlq", "list", "orders", "--json"]).wait().await.expect(0);
    let big = shown
        .stdout
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .find(|row| row["message_id"] == "bad-4")
        .unwrap();
    let show = ["dlq", "show", "orders", big["id"].as_str().unwrap(), "--json"];
    let shown = Worker::command(&scene.config(""), show).wait().await.expect(0);
    let shown: serde_json::Value = serde_json::from_str(&shown.stdout).unwrap();
    assert_eq!(shown["headers"]["big"].as_str().map(str::len), Some(130_600), "unwrapped for people");
    assert_eq!(shown["body"].as_str().unwrap().as_bytes(), sent[4].body);
    scene.flows(&mut worker).await;
    worker.stop().await.expect(0);
    let letters = scene.audit().await;
    assert_eq!(letters.len(), 6, "one each: no copy came back");
    for (n, original) in [(0, "user-id"), (1, "expiration"), (2, "cc")] {
        let letter = letter(&letters, &format!("bad-{n}"));
        assert!(letter.header(&format!("x-sink-original-{original}")).is_some(), "{letter:?}");
        assert_eq!(letter.body, sent[n].body);
    }
    let properties = |n| letter(&letters, &format!("bad-{n}")).properties.clone();
    assert_eq!(properties(0).user_id(), &None);
    assert_eq!(letter(&letters, "bad-0").header("x-sink-original-user-id").as_deref(), Some("guest"));
    assert_eq!(properties(1).expiration(), &None);
    assert_eq!(letter(&letters, "bad-1").header("x-sink-original-expiration").as_deref(), Some("3600000"));
    for (n, name) in [(2, "CC"), (3, "BCC")] {
        let headers: FieldTable = properties(n).headers().clone().unwrap();
        assert!(!headers.contains_key(name), "{headers:?}");
    }
    assert!(letter(&letters, "bad-4").header("x-sink-wrapped").is_some());
    // Looked at since: the priority stands aside, so that looks go through the queue in its order.
    assert_eq!(letter(&letters, "bad-5").header("x-sink-original-priority").as_deref(), Some("7"));
    let plain = properties(5).with_priority(7).with_headers(FieldTable::default());
    assert_eq!(plain, sent[5].properties.clone().with_headers(FieldTable::default()), "as they were");
    let copies = scene.broker.drain(&elsewhere).await;
    assert_eq!(copies.len(), 2, "the originals' own copies, none of a letter");
    scene.broker.delete(&elsewhere).await;
    scene.drop_user(&user).await;
}

#[tokio::test]
async fn a_bad_message_that_is_moved_back_keeps_where_it_first_came_from() {
    let mut scene = Scene::shared(Kind::Quorum).await;
    let bad = scene.bad(1);
    let exchange = "amq.topic";
    let bind = lapin::options::QueueBindOptions::default();
    let (queue, channel) = (scene.queue.as_str(), &scene.broker.channel);
    channel.queue_bind(queue.into(), exchange.into(), queue.into(), bind, FieldTable::default()).await.unwrap();
    scene.broker.publish_to(exchange, &scene.queue, [bad]).await;
    Worker::until_empty(&scene.config("")).await.expect(0);
    let moved: Vec<Message> = scene
        .broker
        .drain(&scene.dead())
        .await
        .into_iter()
        .map(|letter| Message { body: letter.body, properties: letter.properties })
        .collect();
    // As people do: the letter itself, back into the queue through the default exchange.
    scene.broker.publish(&scene.queue, moved).await;
    Worker::until_empty(&scene.config("")).await.expect(0);
    let letters = scene.audit().await;
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].header("x-original-exchange").as_deref(), Some(exchange));
    assert_eq!(letters[0].header("x-original-routingKey"), Some(scene.queue.clone()));
}
