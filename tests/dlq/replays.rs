//! `replay`: tried, sent back, followed.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use lapin::options::QueueBindOptions;
use lapin::types::{AMQPValue, FieldTable};

use super::scene::{Bad, NO_STORM, Scene, assert_counts, ids, text};
use crate::main_job::orders;
use crate::support::broker::{Kind, Message, Taken};
use crate::support::database::Server;
use crate::support::worker::Worker;

/// Drops the CHECK that refuses [`Bad::Negative`].
async fn mend(scene: &Scene) {
    scene.database.execute("ALTER TABLE orders DROP CONSTRAINT positive").await;
}

async fn running(scene: &Scene) -> Worker {
    let mut worker = Worker::run(&scene.config);
    worker.logs("guarantee").await;
    worker
}

#[tokio::test]
async fn a_dry_run_says_what_would_be_written_and_changes_nothing() {
    for server in Server::ALL {
        let scene = Scene::with(Kind::Classic, server, "").await;
        scene.work([Scene::bad(0..6, Bad::Negative), Scene::bad(6..8, Bad::Customer)].concat()).await;
        let tried = scene.json_with("replay", &["--dry-run"], 1).await;
        assert_counts(&tried[0], &[("tried", 8), ("written", 0), ("rejected", 8)]);
        if server == Server::Sqlite {
            // SQLite can't drop a CHECK.
            scene.database.execute("ALTER TABLE orders RENAME TO old").await;
            let table = orders::table(server).replace("CONSTRAINT positive CHECK (quantity > 0)", "");
            scene.database.execute(&table).await;
        } else {
            mend(&scene).await;
        }
        let said = scene.dlq("replay", &["--dry-run"]).await.expect(5).stdout;
        assert_eq!(said.trim(), "6 of 8 would be written now; 2 still fail: required customer", "{server:?}");
        let tried = scene.json_with("replay", &["--dry-run", "--limit", "7"], 5).await;
        let counted = super::scene::counts(&tried[0]);
        assert_eq!((counted["tried"], counted["written"] + counted["rejected"]), (7, 7));
        let cause = &tried[0]["causes"][0];
        assert_eq!(cause["code"], "required", "{server:?}");
        scene.json("replay", &["--dry-run", "--code", orders::check_code(server)]).await;
        assert_eq!(scene.database.count("orders").await, 0);
        assert_eq!((scene.settled_in(&scene.dead).await, scene.settled_in(&scene.queue).await), (8, 0));
        scene.end().await;
    }
}

#[tokio::test]
async fn slow_id_body_and_properties_are_kept_and_replays_counted_up_to_the_limit() {
    let scene = Scene::with(Kind::Quorum, Server::Postgres, "\n[pipelines.orders.limits]\nmax_replays = 2\n").await;
    let mut sent = Scene::bad([1], Bad::Broken).remove(0).header("tenant", "acme");
    sent.properties = sent.properties.with_correlation_id("c-1".into()).with_priority(5).with_timestamp(17);
    scene.broker.publish(&scene.queue, [sent.clone()]).await;
    for replay in 1..=2_u8 {
        scene.drain_queue().await;
        let done = scene.json("replay", &["--yes"]).await;
        assert_counts(&done[0], &[("chosen", 1), ("replayed", 1), ("left", 0)]);
        let mut back = scene.broker.drain(&scene.queue).await;
        assert_eq!(back.len(), 1);
        let back = back.remove(0);
        assert_eq!((&back.exchange, &back.routing_key), (&String::new(), &scene.queue));
        assert_eq!(back.body, sent.body);
        assert_eq!(back.header("x-sink-replays"), Some(replay.to_string()));
        assert_eq!(back.header("x-original-routingKey").as_deref(), Some(scene.queue.as_str()));
        let mut headers = lapin::types::FieldTable::default();
        // The queue itself counts deliveries.
        let ours =
            ["x-delivery-count", "x-sink-replays", "x-sink-replay", "x-original-exchange", "x-original-routingKey"];
        for (name, value) in back.properties.headers().clone().unwrap().inner() {
            if !ours.contains(&name.as_str()) {
                headers.insert(name.clone(), value.clone());
            }
        }
        assert_eq!(headers.inner().len(), 1, "nothing of the rejection is left: {headers:?}");
        assert_eq!(headers.inner().get("tenant"), Some(&AMQPValue::LongString("acme".into())));
        assert_eq!(back.properties.clone().with_headers(headers), sent.properties);
        // It dies again.
        let again = Message { body: back.body, properties: back.properties };
        scene.broker.publish(&scene.queue, [again]).await;
    }
    scene.drain_queue().await;
    assert_eq!(scene.json("list", &[]).await[0]["replays"], 2);
    let refused = scene.dlq("replay", &["--yes", "--json"]).await.expect(1);
    assert_counts(&super::scene::objects(&refused)[0], &[("chosen", 0), ("replayed", 0), ("exhausted", 1)]);
    assert!(refused.stderr.contains("were replayed 2 times already (limits.max_replays)"), "{}", refused.stderr);
    assert_eq!(scene.settled_in(&scene.dead).await, 1);
    scene.end().await;
}

/// The morning after: the cause is mended, and the replay proves itself.
#[tokio::test]
async fn a_mended_cause_is_proved_by_the_ledger() {
    let scene = Scene::new(Kind::Quorum).await;
    scene.work([Scene::bad(0..40, Bad::Negative), Scene::bad(40..45, Bad::Broken)].concat()).await;
    let group = text(&scene.json("stats", &[]).await[0], "group");
    mend(&scene).await;
    let worker = running(&scene).await;
    let done = scene.dlq("replay", &["--group", &group, "--canary", "3", "--wait", "--yes"]).await.expect(0);
    assert!(done.stderr.contains("the first 3: 3 written; going on"), "{}", done.stderr);
    assert_eq!(done.stdout.trim(), "40 of 40 replayed: 40 written");
    assert_eq!(scene.written().await, ids(0..40));
    assert_eq!(scene.dead_ids().await, ids(40..45));
    worker.stop().await.expect(0);
    scene.end().await;
}

#[tokio::test]
async fn canaries_that_die_of_the_same_cause_stop_a_replay() {
    let scene = Scene::new(Kind::Classic).await;
    scene.work(Scene::bad(0..20, Bad::Quantity)).await;
    let worker = running(&scene).await;
    let stopped = scene.dlq("replay", &["--canary", "4", "--yes", "--json"]).await.expect(5);
    let object = &super::scene::objects(&stopped)[0];
    assert_counts(object, &[("chosen", 20), ("replayed", 4), ("left", 16), ("dead_again", 4), ("written", 0)]);
    assert_eq!(object["causes"][0]["code"], "wrong_type");
    assert!(stopped.stderr.contains("4 dead again: wrong_type quantity; the rest stays"), "{}", stopped.stderr);
    worker.stop().await.expect(0);
    let letters = scene.json("list", &[]).await;
    assert_eq!(letters.iter().filter(|letter| letter["replays"] == 1).count(), 4);
    assert_eq!(letters.len(), 20);
    scene.end().await;
}

/// Canaries that died and came back aren't sent again with the rest.
#[tokio::test]
async fn canaries_that_die_of_another_cause_are_sent_once() {
    let scene = Scene::new(Kind::Quorum).await;
    scene.drain_queue().await;
    let good = |n: usize| Message::json(&format!("order-{n}"), orders::good(n).0);
    let mixed = (0..8).flat_map(|n| if n % 2 == 0 { vec![good(n)] } else { Scene::bad([n], Bad::Broken) });
    // By hand: they say nothing of a cause.
    scene.broker.publish(&scene.dead, mixed).await;
    let worker = running(&scene).await;
    let done = scene.json_with("replay", &["--canary", "4", "--wait", "--yes"], 5).await;
    assert_counts(&done[0], &[("chosen", 8), ("replayed", 8), ("written", 4), ("dead_again", 4), ("left", 0)]);
    worker.stop().await.expect(0);
    let letters = scene.json("list", &[]).await;
    assert_eq!(letters.iter().map(|letter| letter["replays"].as_u64().unwrap()).collect::<Vec<_>>(), [1; 4]);
    scene.end().await;
}

/// The worker runs and rejects half of it again: the replay ends, with the right counts, and takes
/// none twice.
#[tokio::test]
async fn slow_half_of_it_dies_again_and_the_counts_are_right() {
    let scene = Scene::with(Kind::Quorum, Server::Postgres, NO_STORM).await;
    let messages = (0..600).flat_map(|n| Scene::bad([n], if n % 2 == 0 { Bad::Negative } else { Bad::Customer }));
    scene.work(messages.collect()).await;
    assert_eq!(scene.settled_in(&scene.dead).await, 600);
    mend(&scene).await;
    let worker = running(&scene).await;
    let done = scene.json_with("replay", &["--wait", "--yes"], 5).await;
    assert_counts(
        &done[0],
        &[("chosen", 600), ("replayed", 600), ("left", 0), ("written", 300), ("dead_again", 300), ("unknown", 0)],
    );
    assert_eq!(done[0]["causes"][0]["code"], "required");
    // Without --wait, all of them die again while it runs: each is sent once.
    let done = scene.json("replay", &["--yes"]).await;
    assert_counts(&done[0], &[("chosen", 300), ("replayed", 300)]);
    scene.broker.wait_until_empty(&scene.queue).await;
    worker.stop().await.expect(0);
    let letters = scene.json("list", &["--limit", "1000"]).await;
    assert_eq!(letters.len(), 300);
    assert!(letters.iter().all(|letter| letter["replays"] == 2));
    assert_eq!(scene.written().await, ids((0..600).step_by(2)));
    scene.end().await;
}

#[tokio::test]
async fn what_the_ledger_had_before_is_already_there_and_a_copy_is_a_duplicate() {
    for server in Server::ALL {
        let scene = Scene::with(Kind::Classic, server, "").await;
        let good = |n: usize| Message::json(&format!("order-{n}"), orders::good(n).0);
        scene.work(vec![good(0)]).await;
        // By hand into the dead-letter queue: one that is written, one that isn't, and that twice.
        scene.broker.publish(&scene.dead, [good(0), good(1), good(1)]).await;
        // Another body for a known ID.
        scene.broker.publish(&scene.dead, [Message::json("order-0", orders::good(2).0)]).await;
        let worker = running(&scene).await;
        let done = scene.json_with("replay", &["--wait", "--yes"], 5).await;
        assert_counts(
            &done[0],
            &[
                ("replayed", 4),
                ("written", 1),
                ("duplicates", 1),
                ("already_there", 1),
                ("dead_again", 1),
                ("unknown", 0),
            ],
        );
        assert_eq!(done[0]["causes"][0]["class"], "id_conflict", "{server:?}");
        worker.stop().await.expect(0);
        assert_eq!(scene.written().await, ids(0..2));
        scene.end().await;
    }
}

#[tokio::test]
async fn slow_without_a_worker_the_fate_is_unknown_and_without_a_ledger_not_asked_for() {
    let scene = Scene::new(Kind::Classic).await;
    scene.work(Scene::bad(0..3, Bad::Quantity)).await;
    let done = scene.dlq("replay", &["--wait", "--yes", "--timeout", "1s", "--json"]).await.expect(5);
    assert_counts(&super::scene::objects(&done)[0], &[("replayed", 3), ("unknown", 3)]);
    assert!(done.stderr.contains(&format!("nobody reads queue {} now", scene.queue)), "{}", done.stderr);
    assert_eq!(scene.settled_in(&scene.queue).await, 3);
    let config =
        scene.config.replace("[pipelines.orders.columns]", "deduplicate = \"none\"\n[pipelines.orders.columns]");
    for option in ["--wait", "--canary=1"] {
        let refused = Worker::command(&config, ["dlq", "replay", "orders", "--yes", option]).wait().await.expect(2);
        assert!(refused.stderr.contains("this pipeline has none"), "{}", refused.stderr);
    }
    scene.end().await;
}

#[tokio::test]
async fn slow_another_queue_a_missing_queue_and_nobody_to_ask() {
    let scene = Scene::new(Kind::Classic).await;
    scene.work(Scene::bad(0..5, Bad::Quantity)).await;
    let refused = scene.dlq("replay", &[]).await.expect(2);
    assert!(refused.stderr.contains("5 dead letters of orders go back to queue"), "{}", refused.stderr);
    let refused = scene.dlq("replay", &["--to", "no.such.queue", "--yes"]).await.expect(1);
    assert!(refused.stderr.contains("no queue \"no.such.queue\""), "{}", refused.stderr);
    scene.dlq("replay", &["--to", "x", "--wait"]).await.expect(2);
    scene.dlq("replay", &["--dry-run", "--yes"]).await.expect(2);
    let other = format!("{}.other", scene.queue);
    scene.broker.declare(&other, Kind::Classic).await;
    let done = scene.json("replay", &["--to", &other, "--yes", "--limit", "2"]).await;
    assert_counts(&done[0], &[("chosen", 2), ("replayed", 2)]);
    let sent = scene.broker.drain(&other).await;
    assert_eq!(sent.iter().filter_map(|message| message.message_id()).collect::<Vec<_>>(), ["order-0", "order-1"]);
    assert_eq!((scene.settled_in(&scene.dead).await, scene.settled_in(&scene.queue).await), (3, 0));
    scene.broker.delete(&other).await;
    scene.end().await;
}

/// A letter leaves only for a queue that has taken its message.
#[tokio::test]
async fn what_a_full_queue_refuses_stays() {
    let scene = Scene::new(Kind::Quorum).await;
    scene.work(Scene::bad(0..5, Bad::Quantity)).await;
    let full = format!("{}.full", scene.queue);
    let mut arguments = FieldTable::default();
    arguments.insert("x-max-length".into(), AMQPValue::LongInt(2));
    arguments.insert("x-overflow".into(), AMQPValue::LongString("reject-publish".into()));
    scene.broker.declare_with(&full, Kind::Classic, arguments).await;
    let ended = scene.dlq("replay", &["--to", &full, "--yes", "--json"]).await.expect(5);
    assert_counts(&super::scene::objects(&ended)[0], &[("chosen", 5), ("replayed", 2), ("left", 3)]);
    assert!(ended.stderr.contains("the same command again takes up the rest"), "{}", ended.stderr);
    let taken: BTreeSet<String> = scene.broker.drain(&full).await.iter().filter_map(Taken::message_id).collect();
    let dead = scene.dead_ids().await;
    assert_eq!((taken.len(), dead.len()), (2, 3));
    assert_eq!(taken.into_iter().chain(dead).collect::<BTreeSet<_>>(), ids(0..5));
    scene.broker.delete(&full).await;
    scene.end().await;
}

#[tokio::test]
async fn a_rate_is_an_upper_bound() {
    let scene = Scene::new(Kind::Classic).await;
    scene.work(Scene::bad(0..21, Bad::Quantity)).await;
    let begun = Instant::now();
    assert_counts(&scene.json("replay", &["--rate", "20/s", "--yes"]).await[0], &[("replayed", 21)]);
    // 21 letters at 20 a second: the last one's turn comes no earlier.
    assert!(begun.elapsed() >= Duration::from_millis(900), "{:?}", begun.elapsed());
    for rate in ["0/s", "fast"] {
        scene.dlq("replay", &["--rate", rate]).await.expect(2);
    }
    scene.end().await;
}

/// A replay comes through the default exchange: columns read where the message first came from.
#[tokio::test]
async fn columns_read_after_a_replay_where_a_message_first_came_from() {
    let mut scene = Scene::new(Kind::Quorum).await;
    scene.database.execute("ALTER TABLE orders ADD COLUMN key text").await;
    scene.config = scene.config.replace("note = \"/note\"", "note = \"exchange\"\nkey = \"routing_key\"");
    let (exchange, key) = ("amq.topic", format!("{}.new", scene.queue));
    let bind = QueueBindOptions::default();
    let (queue, channel) = (scene.queue.as_str().into(), &scene.broker.channel);
    channel.queue_bind(queue, exchange.into(), key.as_str().into(), bind, FieldTable::default()).await.unwrap();
    scene.broker.publish_to(exchange, &key, Scene::bad([1], Bad::Negative)).await;
    scene.drain_queue().await;
    // It dies once more on its way: what it came from at first stays.
    assert_counts(&scene.json("replay", &["--yes"]).await[0], &[("replayed", 1)]);
    scene.drain_queue().await;
    mend(&scene).await;
    assert_counts(&scene.json("replay", &["--yes"]).await[0], &[("replayed", 1)]);
    scene.drain_queue().await;
    let row = scene.database.table("orders", &["id", "note", "key"]).await;
    assert_eq!(row, [["order-1", exchange, &key].map(|text| Some(text.to_owned()))]);
    scene.end().await;
}

/// A letter whose headers fill a frame is wrapped; it comes back as it was.
#[tokio::test]
async fn a_wrapped_letter_is_replayed_unwrapped() {
    let scene = Scene::new(Kind::Classic).await;
    let big = "b".repeat(130_400);
    let message = Scene::bad([1], Bad::Broken).remove(0).header("big", &big);
    scene.work(vec![message.clone()]).await;
    let raw = scene.broker.drain(&scene.dead).await.remove(0);
    assert!(raw.header("x-sink-wrapped").is_some(), "or the test shows nothing");
    scene.broker.publish(&scene.dead, [Message { body: raw.body, properties: raw.properties }]).await;
    let id = scene.only_id().await;
    assert_eq!(scene.json("show", &[&id]).await[0]["headers"]["big"], big);
    assert_counts(&scene.json("replay", &["--yes"]).await[0], &[("replayed", 1)]);
    let back = scene.broker.drain(&scene.queue).await.remove(0);
    assert_eq!((back.body, back.properties.message_id().clone()), (message.body, Some("order-1".into())));
    assert_eq!(
        back.properties.headers().as_ref().unwrap().inner().get("big"),
        Some(&AMQPValue::LongString(big.into()))
    );
    scene.end().await;
}
