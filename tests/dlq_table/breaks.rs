//! Whatever breaks a command off loses nothing, and only one changes letters at a time.

use std::collections::BTreeSet;
use std::time::Duration;

use super::scene::{LETTERS, letters, scene};
use crate::dlq::scene::{Bad, NO_STORM, Scene, assert_counts, ids};
use crate::main_job::orders;
use crate::support::broker::{Broker, Kind, Taken};
use crate::support::database::Server;
use crate::support::servers::{Rabbitmq, shared_amqp_url};
use crate::support::wait::{PATIENCE, eventually, random};
use crate::support::worker::Worker;

/// A random moment: nothing waits for it.
async fn moment(longest: u64) {
    tokio::time::sleep(Duration::from_millis(random() % longest)).await;
}

#[tokio::test]
async fn slow_kill_9_in_the_middle_of_a_replay_at_20_random_moments_loses_nothing() {
    for server in Server::ALL {
        let scene = scene(server, "\n[pipelines.orders.limits]\nmax_replays = 100\n").await;
        scene.work(Scene::bad(0..90, Bad::Negative)).await;
        super::scene::mend(&scene, server).await;
        let mut worker = Worker::run(&scene.config);
        worker.logs("guarantee").await;
        let mut killed = 0;
        for _ in 0..20 {
            let replay = scene.start("replay", &["--yes", "--rate", "20/s", "--limit", "10"]);
            moment(500).await;
            killed += usize::from(replay.kill().await.code.is_none());
        }
        assert!(killed > 0, "or nothing was shown");
        let done = scene.json("replay", &["--yes", "--wait"]).await;
        assert_counts(&done[0], &[("left", 0), ("dead_again", 0), ("unknown", 0)]);
        scene.broker.wait_until_empty(&scene.queue).await;
        worker.stop().await.expect(0);
        assert_eq!((scene.written().await, scene.database.count(LETTERS).await), (ids(0..90), 0), "{server:?}");
        scene.end().await;
    }
}

#[tokio::test]
async fn slow_kill_9_of_discard_and_import_loses_nothing() {
    for server in Server::ALL {
        let scene = scene(server, "").await;
        scene.work(Scene::bad(0..60, Bad::Quantity)).await;
        let folder = crate::support::process::new_folder("killed");
        let file = folder.join("all.ndjson").display().to_string();
        scene.json("export", &[&file]).await;
        for round in 0..6 {
            let import = scene.start("import", &[&file]);
            moment(300).await;
            import.kill().await;
            assert_eq!(letters(&scene).await, ids(0..60), "{server:?}");
            let archive = folder.join(format!("{round}.ndjson")).display().to_string();
            let discard = scene.start("discard", &["--yes", "--archive", &archive, "--limit", "30"]);
            moment(300).await;
            discard.kill().await;
            let archived = std::fs::read_to_string(&archive).unwrap_or_default();
            let gone: BTreeSet<String> = ids(0..60).difference(&letters(&scene).await).cloned().collect();
            assert!(gone.iter().all(|id| archived.contains(&format!("\"{id}\""))), "{server:?}: {gone:?}");
            scene.json("import", &[&file]).await;
        }
        scene.end().await;
    }
}

#[tokio::test]
async fn a_second_changing_command_is_kept_out_and_told_who_has_the_table() {
    for server in Server::ALL {
        let scene = scene(server, "").await;
        scene.work(Scene::bad(0..50, Bad::Quantity)).await;
        let first = scene.start("replay", &["--yes", "--rate", "1/s"]);
        eventually(PATIENCE, "it has begun", async || scene.broker.ready(&scene.queue).await > 0).await;
        for (command, args) in [("discard", &["--yes"][..]), ("replay", &["--yes"])] {
            let kept_out = scene.dlq(command, args).await.expect(1);
            let who = match server {
                // The server knows connections, no commands.
                Server::Mysql => "connection ".to_owned(),
                _ => format!("`rabbit-sink dlq replay orders, process {}", first.id()),
            };
            assert!(kept_out.stderr.contains("somebody else works on the dead letters in orders_dead_letters"));
            assert!(kept_out.stderr.contains(&who), "{who}\n{}", kept_out.stderr);
        }
        assert!(!scene.json("list", &[]).await.is_empty(), "who looks may do so");
        // Its death frees the lock.
        first.kill().await;
        let sent: Vec<String> = scene.broker.drain(&scene.queue).await.iter().filter_map(Taken::message_id).collect();
        let dead = letters(&scene).await;
        assert!(dead.len() + sent.len() <= 51, "{server:?}: only what was in hand is there twice");
        assert_eq!(dead.into_iter().chain(sent).collect::<BTreeSet<_>>(), ids(0..50), "{server:?}");
        scene.json("discard", &["--yes", "--no-archive"]).await;
        scene.end().await;
    }
}

#[tokio::test]
async fn ctrl_c_ends_a_replay_between_two_messages_and_the_rest_can_be_taken_up() {
    let scene = scene(Server::Sqlite, "").await;
    scene.work(Scene::bad(0..50, Bad::Quantity)).await;
    let replay = scene.start("replay", &["--yes", "--rate", "5/s", "--json"]);
    eventually(PATIENCE, "some are sent", async || scene.broker.ready(&scene.queue).await > 2).await;
    replay.signal("INT");
    let ended = replay.wait().await.expect(5);
    let sent = crate::dlq::scene::objects(&ended)[0]["replayed"].as_u64().unwrap();
    assert_eq!(scene.settled_in(&scene.queue).await, sent);
    assert_eq!(scene.database.count(LETTERS).await, 50 - sent);
    assert_counts(&scene.json("replay", &["--yes"]).await[0], &[("replayed", 50 - sent)]);
    assert_eq!((scene.settled_in(&scene.queue).await, scene.database.count(LETTERS).await), (50, 0));
    scene.end().await;
}

/// The broker is away: no letter leaves the table.
#[tokio::test]
async fn a_replay_without_a_broker_removes_nothing() {
    for server in Server::ALL {
        let scene = scene(server, "").await;
        scene.work(Scene::bad(0..5, Bad::Quantity)).await;
        let away = scene.config.replacen("amqp://", "amqp://nowhere.invalid/", 1);
        let refused = Worker::command(&away, ["dlq", "replay", "orders", "--yes"]).wait().await.expect(3);
        assert!(refused.stderr.contains("nowhere.invalid"), "{}", refused.stderr);
        assert_eq!(letters(&scene).await, ids(0..5), "{server:?}");
        scene.end().await;
    }
}

/// The broker goes away in the middle of a replay out of a table.
#[tokio::test]
async fn slow_a_broker_that_goes_away_mid_replay_costs_no_letter() {
    let mut node = Rabbitmq::start().await;
    let scene = scene(Server::Postgres, NO_STORM).await;
    scene.work(Scene::bad(0..300, Bad::Quantity)).await;
    let broker = Broker::of(&node).await;
    broker.declare(&scene.queue, Kind::Classic).await;
    let config = scene.config.replace(&shared_amqp_url(), &node.url());
    let replay = Worker::command(&config, ["dlq", "replay", "orders", "--yes", "--rate", "50/s"]);
    eventually(PATIENCE, "some are sent", async || broker.ready(&scene.queue).await > 10).await;
    node.kill();
    let ended = replay.wait().await.expect(5);
    assert!(ended.stderr.contains("takes up the rest"), "{}", ended.stderr);
    node.restart().await;
    let broker = Broker::of(&node).await;
    let mut found = letters(&scene).await;
    assert!(found.len() < 300, "some had left");
    eventually(PATIENCE, "all are there again", async || {
        found.extend(broker.drain(&scene.queue).await.iter().filter_map(Taken::message_id));
        found == ids(0..300)
    })
    .await;
    node.stop().await;
    scene.end().await;
}

#[tokio::test]
async fn without_a_table_or_a_database_it_says_so() {
    for server in Server::ALL {
        let scene = scene(server, "").await;
        let missing = scene.dlq("stats", &[]).await.expect(1);
        assert!(missing.stderr.contains("there is no table orders_dead_letters"), "{}", missing.stderr);
        scene.end().await;
    }
    let url = "postgres://nobody@127.0.0.1:1/x";
    let config = orders::config_for(&crate::support::servers::shared_amqp_url(), url, "q", super::scene::TO_TABLE);
    Worker::command(&config, ["dlq", "stats", "orders"]).wait().await.expect(3);
}
