//! Whatever breaks a command off loses nothing, and only one command works on a queue at a time.

use std::collections::BTreeSet;
use std::time::Duration;

use super::scene::{Bad, NO_STORM, Scene, assert_counts, ids};
use crate::main_job::orders::{self, config};
use crate::support::broker::{Broker, Kind, Message, Taken};
use crate::support::database::{Server, TestDatabase};
use crate::support::servers::Rabbitmq;
use crate::support::wait::{PATIENCE, eventually, random};
use crate::support::worker::Worker;

/// A random moment: nothing waits for it.
async fn moment(longest: u64) {
    tokio::time::sleep(Duration::from_millis(random() % longest)).await;
}

#[tokio::test]
async fn slow_kill_9_in_the_middle_of_a_replay_at_20_random_moments_loses_nothing() {
    let scene = Scene::with(Kind::Quorum, Server::Postgres, "\n[pipelines.orders.limits]\nmax_replays = 100\n").await;
    let good = (0..600).map(|n| Message::json(&format!("order-{n}"), orders::good(n).0));
    scene.drain_queue().await;
    scene.broker.publish(&scene.dead, good).await;
    let mut worker = Worker::run(&scene.config);
    worker.logs("guarantee").await;
    let mut killed = 0;
    for _ in 0..20 {
        let replay = scene.start("replay", &["--yes", "--rate", "60/s", "--limit", "60"]);
        moment(1200).await;
        killed += usize::from(replay.kill().await.code.is_none());
    }
    assert!(killed > 0, "or nothing was shown");
    // The rest, now that nothing disturbs it. What was sent twice is already there.
    let done = scene.json("replay", &["--yes", "--wait"]).await;
    assert_counts(&done[0], &[("left", 0), ("dead_again", 0), ("unknown", 0)]);
    scene.broker.wait_until_empty(&scene.queue).await;
    worker.stop().await.expect(0);
    assert_eq!(scene.written().await, ids(0..600));
    assert_eq!(scene.settled_in(&scene.dead).await, 0);
    scene.end().await;
}

#[tokio::test]
async fn slow_kill_9_of_discard_edit_and_import_loses_nothing() {
    let scene = Scene::new(Kind::Classic).await;
    scene.work(Scene::bad(0..60, Bad::Quantity)).await;
    let folder = crate::support::process::new_folder("killed");
    let file = folder.join("all.ndjson").display().to_string();
    scene.json("export", &[&file]).await;
    for round in 0..6 {
        let import = scene.start("import", &[&file]);
        moment(400).await;
        import.kill().await;
        let archive = folder.join(format!("{round}.ndjson")).display().to_string();
        let discard = scene.start("discard", &["--yes", "--archive", &archive, "--limit", "30"]);
        moment(400).await;
        discard.kill().await;
        // What was archived comes back: each letter is in the queue or in an archive.
        if std::path::Path::new(&archive).exists() {
            let whole: String = std::fs::read_to_string(&archive).unwrap();
            let lines: Vec<&str> = whole.split_inclusive('\n').filter(|line| line.ends_with('\n')).collect();
            std::fs::write(&archive, lines.concat()).unwrap();
            scene.json("import", &[&archive]).await;
        }
        assert_eq!(scene.dead_ids().await, ids(0..60));
    }
    scene.json("import", &[&file]).await;
    assert_eq!(scene.settled_in(&scene.dead).await, 60, "and an import that ends leaves each once");
    scene.end().await;
}

#[tokio::test]
async fn slow_ctrl_c_ends_a_replay_between_two_messages_and_the_rest_can_be_taken_up() {
    let scene = Scene::new(Kind::Quorum).await;
    scene.work(Scene::bad(0..50, Bad::Quantity)).await;
    let replay = scene.start("replay", &["--yes", "--rate", "5/s", "--json"]);
    eventually(PATIENCE, "some are sent", async || scene.broker.ready(&scene.queue).await > 2).await;
    replay.signal("INT");
    let ended = replay.wait().await.expect(5);
    assert!(ended.stderr.contains("the same command again takes up the rest"), "{}", ended.stderr);
    let object = &super::scene::objects(&ended)[0];
    let sent = object["replayed"].as_u64().unwrap();
    assert_eq!((object["interrupted"].as_bool(), object["left"].as_u64()), (Some(true), Some(50 - sent)));
    assert_eq!((scene.settled_in(&scene.queue).await, scene.settled_in(&scene.dead).await), (sent, 50 - sent));
    assert_counts(&scene.json("replay", &["--yes"]).await[0], &[("replayed", 50 - sent)]);
    assert_eq!(scene.settled_in(&scene.queue).await, 50);
    scene.end().await;
}

/// One signal or two at any moment of any command: each letter is in its queue, or in the one that it was
/// sent to, and the command ends.
#[tokio::test]
async fn slow_ctrl_c_at_any_moment_of_any_command_loses_nothing() {
    let options = format!("{NO_STORM}[pipelines.orders.limits]\nmax_replays = 100\n");
    let scene = Scene::with(Kind::Quorum, Server::Postgres, &options).await;
    scene.work(Scene::bad(0..300, Bad::Quantity)).await;
    let commands: [(&str, &[&str]); 5] = [
        ("stats", &[]),
        ("export", &["-"]),
        ("replay", &["--dry-run"]),
        ("replay", &["--yes", "--rate", "100/s", "--limit", "50"]),
        ("replay", &["--yes", "--limit", "50", "--wait", "--timeout", "2s"]),
    ];
    let mut sent = BTreeSet::new();
    for round in 0..20 {
        let (command, args) = commands[round % commands.len()];
        let mut running = scene.start(command, args);
        moment(700).await;
        let signals = 1 + random() % 2;
        for _ in 0..signals {
            running.signal("INT");
            moment(100).await;
            running.alive();
        }
        let ended = running.wait().await;
        // One that had said no word to the system yet dies of the signal itself.
        assert!(matches!(ended.code, None | Some(0 | 1 | 5)), "{command} {args:?}: {ended:?}");
        sent.extend(scene.broker.drain(&scene.queue).await.iter().filter_map(Taken::message_id));
    }
    let dead = scene.dead_ids().await;
    assert_eq!(dead.into_iter().chain(sent).collect::<BTreeSet<_>>(), ids(0..300));
    scene.end().await;
}

#[tokio::test]
async fn slow_a_second_command_is_kept_out_and_told_who_has_the_queue() {
    let scene = Scene::new(Kind::Classic).await;
    scene.work(Scene::bad(0..50, Bad::Quantity)).await;
    let first = scene.start("replay", &["--yes", "--rate", "1/s"]);
    eventually(PATIENCE, "it has begun", async || scene.broker.ready(&scene.queue).await > 0).await;
    for (command, args) in [("discard", &["--yes"][..]), ("replay", &["--yes"]), ("list", &[])] {
        let kept_out = scene.dlq(command, args).await.expect(1);
        for part in ["rabbit-sink dlq replay orders, ", &format!("process {}", first.id())] {
            assert!(kept_out.stderr.contains(part), "{part}\n{}", kept_out.stderr);
        }
    }
    // Its death frees the lock.
    first.kill().await;
    let dead = scene.dead_ids().await;
    let sent: Vec<String> = scene.broker.drain(&scene.queue).await.iter().filter_map(Taken::message_id).collect();
    assert!(dead.len() + sent.len() <= 51, "only what was in hand is there twice: {sent:?}");
    assert_eq!(dead.into_iter().chain(sent).collect::<BTreeSet<_>>(), ids(0..50));
    scene.end().await;
}

#[tokio::test]
async fn slow_a_broker_that_goes_away_mid_replay_costs_no_letter() {
    let mut node = Rabbitmq::start().await;
    let database = TestDatabase::fresh(Server::Postgres).await;
    database.execute(orders::table(Server::Postgres)).await;
    let broker = Broker::of(&node).await;
    for queue in ["q", "q.dead"] {
        broker.declare(queue, Kind::Classic).await;
    }
    let good = (0..300).map(|n| Message::json(&format!("order-{n}"), orders::good(n).0));
    broker.publish("q.dead", good).await;
    let config = config(&node.url(), &database, "q", "");
    let replay = Worker::command(&config, ["dlq", "replay", "orders", "--yes", "--rate", "50/s"]);
    eventually(PATIENCE, "some are sent", async || broker.ready("q").await > 10).await;
    node.kill();
    let ended = replay.wait().await.expect(5);
    assert!(ended.stderr.contains("takes up the rest"), "{}", ended.stderr);
    let refused = Worker::command(&config, ["dlq", "list", "orders"]).wait().await;
    refused.expect(3);
    node.restart().await;
    let broker = Broker::of(&node).await;
    let mut found = BTreeSet::new();
    eventually(PATIENCE, "all are there again", async || {
        for queue in ["q", "q.dead"] {
            found.extend(broker.drain(queue).await.iter().filter_map(Taken::message_id));
        }
        found == ids(0..300)
    })
    .await;
    node.stop().await;
}
