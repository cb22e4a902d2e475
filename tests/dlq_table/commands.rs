//! Every `dlq` command on a table, as on a queue.

use super::scene::{LETTERS, contents, letters, mend, scene};
use crate::dlq::filters;
use crate::dlq::scene::{Bad, NO_STORM, Scene, assert_counts, ids, text};
use crate::main_job::orders;
use crate::support::broker::Message;
use crate::support::database::Server;
use crate::support::process::new_folder;
use crate::support::worker::Worker;

async fn running(scene: &Scene) -> Worker {
    let mut worker = Worker::run(&scene.config);
    worker.logs("guarantee").await;
    worker
}

#[tokio::test]
async fn looking_tells_all_and_changes_nothing() {
    for server in Server::ALL {
        let scene = scene(server, "").await;
        let mut binary = Scene::bad([9], Bad::Broken).remove(0).header("tenant", "acme");
        binary.body = vec![0xff, 0x00, b'x'];
        scene.work([Scene::bad(0..6, Bad::Negative), Scene::bad(6..8, Bad::Customer), vec![binary]].concat()).await;
        let before = contents(&scene).await;

        let stats = scene.json("stats", &[]).await;
        assert_eq!(stats.len(), 3, "{server:?}");
        assert_counts(&stats[0], &[("count", 6)]);
        assert_eq!(text(&stats[0], "code"), orders::check_code(server));
        let said = scene.dlq("stats", &[]).await.expect(0).stdout;
        assert!(said.starts_with("orders_dead_letters: 9 dead letters of orders, 3 causes"), "{said}");

        let listed = scene.json("list", &["--class", "mapping"]).await;
        assert_eq!(listed.len(), 2);
        assert_eq!(
            (text(&listed[0], "message_id").as_str(), text(&listed[0], "column").as_str()),
            ("order-6", "customer")
        );
        assert_eq!(scene.json("list", &["--limit", "4"]).await.len(), 4);
        assert_eq!(scene.json("list", &["--where", "/customer/nom=Zoë 🦊 7"]).await.len(), 1);

        let id = text(&scene.json("list", &["--code", "not_utf8"]).await[0], "id");
        let shown = &scene.json("show", &[&id[..12]]).await[0];
        assert_eq!((shown["body_base64"].as_str(), shown["headers"]["tenant"].as_str()), (Some("/wB4"), Some("acme")));
        assert_eq!(shown["today"]["fate"], "rejected");
        assert_eq!(text(shown, "routing_key"), scene.queue);

        let file = new_folder("table").join("all.ndjson");
        let exported = scene.json("export", &[&file.display().to_string()]).await;
        assert_counts(&exported[0], &[("exported", 9)]);
        let tried = scene.json_with("replay", &["--dry-run"], 1).await;
        assert_counts(&tried[0], &[("tried", 9), ("rejected", 9)]);
        assert_eq!(contents(&scene).await, before, "{server:?}");
        scene.end().await;
    }
}

/// As on a queue.
#[tokio::test]
async fn slow_each_filter_takes_its_own() {
    // The letters are filtered here, not by the server: one that looks and one that changes will do.
    let looked = scene(Server::Postgres, "").await;
    filters::looks(&looked, &filters::ten_letters(&looked).await).await;
    looked.end().await;
    let changed = scene(Server::Mysql, "").await;
    filters::changes(&changed, &filters::ten_letters(&changed).await, async || letters(&changed).await).await;
    changed.end().await;
}

/// What was exported, discarded and imported again is what there was, byte for byte.
#[tokio::test]
async fn export_discard_and_import_lose_nothing() {
    for server in Server::ALL {
        let scene = scene(server, "").await;
        let mut binary = Scene::bad([9], Bad::Broken).remove(0).header("tenant", "acme");
        binary.body = vec![0xff, 0x00];
        binary.properties = binary.properties.with_priority(5).with_timestamp(17).with_correlation_id("c".into());
        scene.work([Scene::bad(0..5, Bad::Quantity), vec![binary]].concat()).await;
        let folder = new_folder("table");
        let file = |name: &str| folder.join(name).display().to_string();
        scene.json("export", &[&file("before")]).await;
        let discarded = scene.json("discard", &["--yes", "--archive", &file("archive")]).await;
        assert_counts(&discarded[0], &[("chosen", 6), ("discarded", 6)]);
        assert_eq!(scene.database.count(LETTERS).await, 0);
        let imported = scene.json("import", &[&file("archive")]).await;
        assert_counts(&imported[0], &[("imported", 6), ("edited", 0), ("replaced", 0)]);
        // Again: each replaces itself.
        assert_counts(&scene.json("import", &[&file("archive")]).await[0], &[("imported", 6), ("replaced", 6)]);
        scene.json("export", &[&file("after")]).await;
        let sorted = |name: &str| {
            let whole = std::fs::read_to_string(folder.join(name)).unwrap();
            let mut lines: Vec<String> = whole.lines().map(str::to_owned).collect();
            lines.sort();
            lines
        };
        assert_eq!(sorted("after"), sorted("before"), "{server:?}");

        // Mended by any tool in between.
        let whole = std::fs::read_to_string(folder.join("after")).unwrap();
        std::fs::write(folder.join("mended"), whole.replace("\\\"many\\\"", "7")).unwrap();
        let tried = scene.json_with("import", &["--dry-run", &file("mended")], 5).await;
        assert_counts(&tried[0], &[("tried", 6), ("written", 5), ("rejected", 1)]);
        assert_counts(
            &scene.json("import", &[&file("mended")]).await[0],
            &[("imported", 6), ("edited", 5), ("replaced", 6)],
        );
        assert_eq!(scene.database.count(LETTERS).await, 6);
        let worker = running(&scene).await;
        let done = scene.json("replay", &["--column", "quantity", "--yes", "--wait"]).await;
        assert_counts(&done[0], &[("chosen", 5), ("written", 5), ("left", 0)]);
        worker.stop().await.expect(0);
        assert_eq!((scene.written().await, letters(&scene).await), (ids(0..5), ids([9])), "{server:?}");
        scene.end().await;
    }
}

#[tokio::test]
async fn an_edited_letter_is_written() {
    for server in Server::ALL {
        let scene = scene(server, "").await;
        scene.work(Scene::bad([1, 2], Bad::Quantity)).await;
        let id = text(&scene.json("list", &["--limit", "1"]).await[0], "id");
        let edited = scene.dlq("edit", &[&id, "--set", "/quantity=17"]).await.expect(0);
        assert!(edited.stdout.contains("is edited and would be written now"), "{}", edited.stdout);
        assert_eq!(text(&scene.json("show", &[&id]).await[0]["today"], "fate"), "written");
        let worker = running(&scene).await;
        assert_counts(&scene.json("replay", &["--id", &id, "--yes", "--wait"]).await[0], &[("written", 1)]);
        worker.stop().await.expect(0);
        let quantity = scene.database.table("orders", &["quantity"]).await;
        assert_eq!(quantity, [[Some("17".to_owned())]], "{server:?}");
        assert_eq!(scene.database.count(LETTERS).await, 1);
        scene.end().await;
    }
}

/// The morning after, and a body that was mended by SQL alone.
#[tokio::test]
async fn a_mended_cause_is_proved_by_the_ledger() {
    for server in Server::ALL {
        let scene = scene(server, "").await;
        scene.work([Scene::bad(0..40, Bad::Negative), Scene::bad(40..45, Bad::Quantity)].concat()).await;
        let group = text(&scene.json("stats", &[]).await[0], "group");
        mend(&scene, server).await;
        let worker = running(&scene).await;
        let done = scene.dlq("replay", &["--group", &group, "--canary", "3", "--wait", "--yes"]).await.expect(0);
        assert!(done.stderr.contains("the first 3: 3 written; going on"), "{}", done.stderr);
        assert_eq!(done.stdout.trim(), "40 of 40 replayed: 40 written", "{server:?}");
        assert_eq!(letters(&scene).await, ids(40..45));
        let by_sql = match server {
            Server::Postgres => {
                "UPDATE orders_dead_letters SET body = convert_to(replace(convert_from(body, 'UTF8'), '\"many\"', '3'), 'UTF8')"
            }
            Server::Mysql => {
                "UPDATE orders_dead_letters SET body = REPLACE(CONVERT(body USING utf8mb4), '\"many\"', '3')"
            }
            Server::Sqlite => "UPDATE orders_dead_letters SET body = replace(CAST(body AS TEXT), '\"many\"', '3')",
        };
        scene.database.execute(by_sql).await;
        assert_counts(&scene.json("replay", &["--wait", "--yes"]).await[0], &[("written", 5), ("left", 0)]);
        worker.stop().await.expect(0);
        assert_eq!((scene.written().await, scene.database.count(LETTERS).await), (ids(0..45), 0), "{server:?}");
        scene.end().await;
    }
}

/// Half of what goes back dies again, while the replay runs: each letter is there once, and counted.
#[tokio::test]
async fn slow_a_replay_while_the_worker_rejects_half_of_it_again_ends_with_the_right_counts() {
    for server in Server::ALL {
        let scene = scene(server, NO_STORM).await;
        let bad = (0..400).flat_map(|n| Scene::bad([n], if n % 2 == 0 { Bad::Negative } else { Bad::Quantity }));
        scene.work(bad.collect()).await;
        mend(&scene, server).await;
        let worker = running(&scene).await;
        let done = scene.json_with("replay", &["--wait", "--yes"], 5).await;
        assert_counts(
            &done[0],
            &[("chosen", 400), ("replayed", 400), ("written", 200), ("dead_again", 200), ("unknown", 0)],
        );
        let odd = ids((0..400).filter(|n| n % 2 == 1));
        assert_eq!(letters(&scene).await, odd, "{server:?}");
        assert!(scene.json("list", &["--limit", "1000"]).await.iter().all(|letter| letter["replays"] == 1));
        // Without waiting: what comes back isn't in the set, so that it ends.
        let done = scene.json("replay", &["--yes"]).await;
        assert_counts(&done[0], &[("chosen", 200), ("replayed", 200), ("left", 0)]);
        scene.broker.wait_until_empty(&scene.queue).await;
        worker.stop().await.expect(0);
        assert_eq!((letters(&scene).await, scene.written().await.len()), (odd, 200), "{server:?}");
        scene.end().await;
    }
}

/// A letter that dies again before its replay has removed it isn't taken for the old one.
#[tokio::test]
async fn a_letter_that_comes_back_at_once_stays() {
    for server in Server::ALL {
        let scene = scene(server, NO_STORM).await;
        scene.work(Scene::bad(0..20, Bad::Quantity)).await;
        let before = contents(&scene).await;
        // What a replay has sent that was killed before it removed anything.
        let replayed = Scene::bad(0..20, Bad::Quantity).into_iter().map(|message| {
            let mut headers = lapin::types::FieldTable::default();
            headers.insert("x-sink-replays".into(), lapin::types::AMQPValue::LongLongInt(1));
            Message { properties: message.properties.with_headers(headers), ..message }
        });
        scene.work(replayed.collect()).await;
        assert_eq!(letters(&scene).await, ids(0..20), "{server:?}");
        assert_eq!(contents(&scene).await.len(), before.len());
        assert!(
            scene.json("list", &[]).await.iter().all(|letter| letter["replays"] == 1),
            "the newer one stands there"
        );
        // And the first ones once more: they are older than what is there.
        scene.work(Scene::bad(0..20, Bad::Quantity)).await;
        assert!(scene.json("list", &[]).await.iter().all(|letter| letter["replays"] == 1));
        scene.end().await;
    }
}

#[tokio::test]
async fn what_looks_needs_no_broker_and_pipelines_share_a_table() {
    for server in Server::ALL {
        let scene = scene(server, "").await;
        scene.work(Scene::bad(0..3, Bad::Quantity)).await;
        let copy = "pipeline, id, failed_at, exchange, routing_key, replays, properties, headers, body";
        let others = format!(
            "INSERT INTO {LETTERS} ({copy}) SELECT 'other', id, failed_at, exchange, routing_key, replays, properties, headers, \
             body FROM {LETTERS} WHERE pipeline = 'orders'"
        );
        scene.database.execute(&others).await;
        let away = scene.config.replacen("amqp://", "amqp://nowhere.invalid/", 1);
        let listed = Worker::command(&away, ["dlq", "list", "orders", "--json"]).wait().await.expect(0);
        assert_eq!(listed.stdout.lines().count(), 3, "{server:?}");
        scene.json("discard", &["--yes", "--no-archive"]).await;
        assert_eq!(scene.database.count(LETTERS).await, 3, "the other pipeline's");
        scene.end().await;
    }
}
