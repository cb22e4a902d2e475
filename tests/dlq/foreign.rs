//! Dead letters that others have made.

use lapin::BasicProperties;
use lapin::options::BasicRejectOptions;
use lapin::types::{AMQPValue, FieldTable};

use super::scene::{Scene, assert_counts, objects, text};
use crate::main_job::orders;
use crate::support::broker::{Broker, Kind, Message};
use crate::support::wait::{PATIENCE, eventually};
use crate::support::worker::Worker;

/// The broker itself moves rejected messages of the pipeline's queue into its dead-letter queue.
async fn rejected_by_a_consumer(scene: &Scene, count: usize) -> String {
    let queue = format!("{}.with_dlx", scene.queue);
    let mut arguments = FieldTable::default();
    arguments.insert("x-dead-letter-exchange".into(), AMQPValue::LongString("".into()));
    arguments.insert("x-dead-letter-routing-key".into(), AMQPValue::LongString(scene.dead.as_str().into()));
    scene.broker.declare_with(&queue, Kind::Classic, arguments).await;
    let messages = (0..count).map(|n| Message::json(&format!("order-{n}"), orders::good(n).0));
    scene.broker.publish(&queue, messages).await;
    let other = Broker::shared().await;
    for _ in 0..count {
        let got = other.channel.basic_get(queue.as_str().into(), Default::default()).await.unwrap().unwrap();
        assert!(got.acker.reject(BasicRejectOptions { requeue: false }).await.unwrap());
    }
    eventually(PATIENCE, "all are dead", async || scene.broker.ready(&scene.dead).await == count as u64).await;
    queue
}

#[tokio::test]
async fn letters_of_the_broker_are_told_shown_and_written_after_a_replay() {
    let mut scene = Scene::new(Kind::Classic).await;
    let queue = rejected_by_a_consumer(&scene, 4).await;
    // Of a queue that isn't the pipeline's: not its own.
    assert_eq!(scene.json("list", &[]).await.len(), 0);
    scene.config = scene.config.replace(
        &format!("queue = \"{}\"", scene.queue),
        &format!("queue = \"{queue}\"\ndead_letter.queue = \"{}\"", scene.dead),
    );
    let listed = scene.json("list", &[]).await;
    assert_eq!(listed.len(), 4);
    assert_eq!((text(&listed[0], "code"), text(&listed[0], "queue")), ("rejected".to_owned(), queue.clone()));
    assert!(text(&listed[0], "reason").contains("a consumer rejected it"));
    assert_eq!(listed[0]["attempts"], 1);
    let groups = scene.json("stats", &[]).await;
    assert_counts(&groups[0], &[("count", 4)]);

    // The ledger is the worker's to create.
    scene.drain_queue().await;
    let mut worker = Worker::run(&scene.config);
    worker.logs("guarantee").await;
    let done = scene.json("replay", &["--yes", "--wait", "--group", &text(&groups[0], "group")]).await;
    assert_counts(&done[0], &[("replayed", 4), ("written", 4), ("dead_again", 0), ("unknown", 0)]);
    worker.stop().await.expect(0);
    assert_eq!(scene.written().await.len(), 4);
    assert_eq!(scene.settled_in(&scene.dead).await, 0);
    scene.broker.delete(&queue).await;
    scene.end().await;
}

#[tokio::test]
async fn headers_of_spring_and_masstransit_are_read_and_a_bare_message_too() {
    let scene = Scene::new(Kind::Classic).await;
    let body = orders::good(1).0;
    let spring = Message::json("spring", body.clone())
        .header("x-exception-message", "could not insert")
        .header("x-exception-stacktrace", "at com.example.Orders")
        .header("x-original-exchange", "shop")
        .header("x-original-routingKey", "order.new");
    let masstransit = Message::json("masstransit", body.clone())
        .header("MT-Reason", "fault")
        .header("MT-Fault-ExceptionType", "System.ArgumentException")
        .header("MT-Fault-Message", "quantity is negative")
        .header("MT-Fault-Timestamp", "2026-01-02T03:04:05.678Z")
        .header("MT-Fault-InputAddress", &format!("rabbitmq://host/vhost/{}?temporary=true", scene.queue));
    scene.broker.publish(&scene.dead, [spring, masstransit, Message::bare("nothing is known of me")]).await;

    let listed = scene.json("list", &[]).await;
    assert_eq!(listed.len(), 3);
    assert_eq!(text(&listed[0], "reason"), "could not insert");
    let of = |field| text(&listed[1], field);
    assert_eq!(of("code"), "System.ArgumentException");
    assert_eq!(of("reason"), "quantity is negative");
    assert_eq!((of("failed_at"), of("queue")), ("2026-01-02T03:04:05.678Z".to_owned(), scene.queue.clone()));
    assert!(listed[2]["reason"].is_null() && listed[2]["code"].is_null());
    // Each has an ID that stays the same.
    let again = scene.json("list", &[]).await;
    assert_eq!(listed, again);
    for letter in &listed {
        let shown = scene.dlq("show", &[&text(letter, "id")]).await.expect(0);
        assert!(shown.stdout.contains("body ("), "{}", shown.stdout);
    }
    assert_eq!(scene.json("list", &["--since", "2026-01-02", "--until", "2026-01-03"]).await.len(), 1);

    scene.json("replay", &["--yes"]).await;
    let sent = scene.broker.drain(&scene.queue).await;
    assert_eq!(sent.len(), 3);
    assert_eq!(sent[0].header("x-original-exchange").as_deref(), Some("shop"));
    assert_eq!(sent[0].header("x-original-routingKey").as_deref(), Some("order.new"));
    for message in &sent {
        assert_eq!(message.header("x-sink-replays").as_deref(), Some("1"));
        for stale in ["x-exception-message", "x-exception-stacktrace", "MT-Fault-Message", "MT-Reason", "x-sink-sweep"]
        {
            assert_eq!(message.header(stale), None, "{stale}");
        }
    }
    assert_eq!(sent[1].message_id().as_deref(), Some("masstransit"));
    assert_eq!(sent[2].body, b"nothing is known of me");
    scene.end().await;
}

/// What the broker would act upon stays put aside, through a look, an export and a replay.
#[tokio::test]
async fn copies_expiration_and_user_are_shown_and_never_applied_again() {
    let scene = Scene::new(Kind::Classic).await;
    let elsewhere = format!("{}.copies", scene.queue);
    scene.broker.declare(&elsewhere, Kind::Classic).await;
    let mut headers = FieldTable::default();
    headers.insert("CC".into(), AMQPValue::FieldArray(vec![AMQPValue::LongString(elsewhere.as_str().into())].into()));
    let properties = BasicProperties::default().with_headers(headers).with_expiration("3600000".into());
    let properties = properties.with_user_id("guest".into()).with_priority(7).with_message_id("m".into());
    scene.broker.publish(&scene.dead, [Message { body: b"{}".to_vec(), properties }]).await;
    assert_eq!(scene.settled_in(&elsewhere).await, 1, "the publisher's own copy");
    let id = scene.only_id().await;
    let shown = scene.dlq("show", &[&id]).await.expect(0).stdout;
    let exported = scene.dlq("export", &["-"]).await.expect(0).stdout;
    for name in ["x-sink-original-cc", "x-sink-original-expiration", "x-sink-original-user-id"] {
        assert!(shown.contains(name) && exported.contains(name), "{name}\n{shown}\n{exported}");
    }
    assert!(shown.contains("priority = 7"), "{shown}");
    assert_counts(&objects(&scene.dlq("replay", &["--yes", "--json"]).await.expect(0))[0], &[("replayed", 1)]);
    assert_eq!(scene.settled_in(&elsewhere).await, 1, "no copy more");
    let sent = scene.broker.drain(&scene.queue).await;
    assert_eq!((sent[0].properties.expiration(), sent[0].properties.user_id()), (&None, &None));
    assert_eq!(*sent[0].properties.priority(), Some(7));
    scene.broker.delete(&elsewhere).await;
    scene.end().await;
}
