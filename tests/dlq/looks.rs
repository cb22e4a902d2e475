//! `stats`, `list`, `show`: what they say, and that a look leaves everything as it was.

use super::scene::{Bad, Scene, assert_counts, ids, text};
use crate::support::broker::{Broker, Kind, Message};
use crate::support::database::Server;
use crate::support::worker::Worker;

#[tokio::test]
async fn groups_are_told_by_cause() {
    let scene = Scene::new(Kind::Classic).await;
    super::filters::ten_letters(&scene).await;

    let groups = scene.json("stats", &[]).await;
    let told: Vec<(u64, String)> =
        groups.iter().map(|group| (group["count"].as_u64().unwrap(), text(group, "code"))).collect();
    let expected = [(6, "wrong_type"), (3, "required"), (1, "not_json")].map(|(n, code)| (n, code.to_owned()));
    assert_eq!(told, expected);
    assert_eq!(groups[0]["share"], 0.6);
    assert_eq!((&groups[0]["column"], &groups[0]["class"]), (&"quantity".into(), &"mapping".into()));
    let human = scene.dlq("stats", &[]).await.expect(0).stdout;
    let group = text(&groups[0], "group");
    for part in [
        &*format!("{}: 10 dead letters of orders, 3 causes", scene.dead),
        "████████████░░░░░░░░  60.0 %  mapping wrong_type, column quantity",
        &format!("rabbit-sink dlq replay orders --group {group} --dry-run"),
    ] {
        assert!(human.contains(part), "{part}\n{human}");
    }

    let table = scene.dlq("list", &["--limit", "2"]).await.expect(0);
    assert_eq!(table.stdout.lines().count(), 3, "{}", table.stdout);
    assert!(table.stderr.contains("8 more; --limit"), "{}", table.stderr);
    scene.end().await;
}

/// A delivery limit of 20, looked at 50 times: nothing lost, the order as it was.
async fn fifty_looks(kind: Kind) {
    let scene = Scene::new(kind).await;
    scene.work(Scene::bad(0..30, Bad::Quantity)).await;
    let order = async || -> Vec<String> {
        scene.json("list", &[]).await.iter().map(|letter| text(letter, "message_id")).collect()
    };
    let first = order().await;
    assert_eq!(first.len(), 30);
    let id = text(&scene.json("list", &["--limit", "1"]).await[0], "id");
    for look in 0..50 {
        match look % 4 {
            0 => assert_eq!(order().await, first),
            1 => drop(scene.dlq("stats", &[]).await.expect(0)),
            2 => drop(scene.dlq("show", &[&id[..10]]).await.expect(0)),
            _ => drop(scene.dlq("export", &["-", "--limit", "3"]).await.expect(0)),
        }
    }
    assert_eq!(order().await, first);
    assert_eq!(scene.settled_in(&scene.dead).await, 30);
    scene.end().await;
}

#[tokio::test]
async fn slow_fifty_looks_wear_nothing_out_on_a_quorum_queue_with_a_limit_of_twenty() {
    fifty_looks(Kind::Quorum).await;
}

#[tokio::test]
async fn slow_fifty_looks_wear_nothing_out_on_a_classic_queue() {
    fifty_looks(Kind::Classic).await;
}

#[tokio::test]
async fn show_marks_the_field_and_says_what_would_become_of_it_today() {
    for server in Server::ALL {
        let scene = Scene::with(Kind::Classic, server, "").await;
        scene.work(Scene::bad([1], Bad::Quantity)).await;
        let id = scene.only_id().await;
        let shown = scene.dlq("show", &[&id]).await.expect(0).stdout;
        for part in
            ["\"quantity\": \"many\",    ◀ this one", "today        would be rejected again: mapping wrong_type"]
        {
            assert!(shown.contains(part), "{part}\n{shown}");
        }
        let object = &scene.json("show", &[&id]).await[0];
        assert_eq!(object["today"]["fate"], "rejected");

        // Mended in the table: text is what the column takes now.
        match server {
            Server::Postgres => {
                scene.database.execute("ALTER TABLE orders DROP CONSTRAINT positive").await;
                scene.database.execute("ALTER TABLE orders ALTER quantity TYPE text").await;
            }
            Server::Mysql => {
                scene.database.execute("ALTER TABLE orders DROP CONSTRAINT positive").await;
                scene.database.execute("ALTER TABLE orders MODIFY quantity varchar(20) NOT NULL").await;
            }
            Server::Sqlite => {
                scene.database.execute("DROP TABLE orders").await;
                let table = crate::main_job::orders::table(server)
                    .replace("bigint NOT NULL CONSTRAINT positive CHECK (quantity > 0)", "text NOT NULL");
                scene.database.execute(&table).await;
            }
        }
        let object = &scene.json("show", &[&id]).await[0];
        assert_eq!(object["today"]["fate"], "written", "{server:?}: {object}");
        assert_eq!(scene.database.count("orders").await, 0, "it was only a rehearsal");
        scene.end().await;
    }
}

#[tokio::test]
async fn show_works_while_the_database_is_away() {
    let scene = Scene::new(Kind::Classic).await;
    scene.work(Scene::bad([1], Bad::Quantity)).await;
    let id = scene.only_id().await;
    let config = scene.config.replace(&scene.database.url, "postgres://nobody@127.0.0.1:1/nothing");
    let shown = Worker::command(&config, ["dlq", "show", "orders", &id]).wait().await.expect(0).stdout;
    assert!(shown.contains("today        not known: sink_unavailable"), "{shown}");
    assert!(shown.contains("\"many\""), "{shown}");
    scene.end().await;
}

/// Two pipelines share a dead-letter queue: each command touches its own alone.
#[tokio::test]
async fn slow_a_shared_queue_is_shown_to_each_pipeline_in_part() {
    let scene = Scene::new(Kind::Classic).await;
    let other_queue = format!("{}.other", scene.queue);
    scene.broker.declare(&other_queue, Kind::Classic).await;
    let pipeline = scene.config.split_once("[pipelines.orders]").unwrap().1;
    let second = format!("[pipelines.others]{pipeline}")
        .replace("[pipelines.orders.columns]", "[pipelines.others.columns]")
        .replace(&format!("queue = \"{}\"", scene.queue), &format!("queue = \"{other_queue}\""));
    let shared = |name: &str| format!("\n[pipelines.{name}.dead_letter]\nqueue = \"{}\"\n", scene.dead);
    let config = format!("{}\n{second}{}{}", scene.config, shared("orders"), shared("others"));
    scene.broker.publish(&scene.queue, Scene::bad(0..3, Bad::Quantity)).await;
    scene.broker.publish(&other_queue, Scene::bad(3..8, Bad::Quantity)).await;
    Worker::until_empty(&config).await.expect(0);

    let run = async |args: &[&str]| Worker::command(&config, args).wait().await;
    let dlq = async |args: &[&str]| super::scene::objects(&run(args).await.expect(0));
    assert_eq!(dlq(&["dlq", "list", "orders", "--json"]).await.len(), 3);
    assert_eq!(dlq(&["dlq", "list", "others", "--json"]).await.len(), 5);
    let told = run(&["dlq", "stats", "orders"]).await.expect(0);
    assert!(told.stderr.contains("5 letters in"), "{}", told.stderr);
    let gone = dlq(&["dlq", "discard", "orders", "--yes", "--no-archive", "--json"]).await;
    assert_counts(&gone[0], &[("chosen", 3), ("discarded", 3)]);
    assert_eq!(dlq(&["dlq", "list", "others", "--json"]).await.len(), 5);
    let sent = dlq(&["dlq", "replay", "others", "--yes", "--json"]).await;
    assert_counts(&sent[0], &[("replayed", 5)]);
    assert_eq!(scene.settled_in(&other_queue).await, 5);
    assert_eq!(scene.settled_in(&scene.queue).await, 0);
    scene.broker.delete(&other_queue).await;
    scene.end().await;
}

/// After a crash a letter may stand there twice: it counts once.
#[tokio::test]
async fn copies_are_counted_once() {
    let scene = Scene::new(Kind::Quorum).await;
    scene.work(Scene::bad(0..2, Bad::Quantity)).await;
    let letters = scene.broker.drain(&scene.dead).await;
    let copies = letters.iter().chain(&letters[..1]);
    let copies: Vec<Message> =
        copies.map(|letter| Message { body: letter.body.clone(), properties: letter.properties.clone() }).collect();
    scene.broker.publish(&scene.dead, copies).await;
    assert_eq!(scene.json("list", &[]).await.len(), 2);
    let stats = scene.dlq("stats", &["--json"]).await.expect(0);
    assert_counts(&super::scene::objects(&stats)[0], &[("count", 2)]);
    assert!(stats.stderr.contains("1 stand there twice"), "{}", stats.stderr);
    assert_eq!(scene.dead_ids().await, ids(0..2));
    scene.end().await;
}

#[tokio::test]
async fn an_empty_and_a_missing_queue_are_told_apart() {
    let scene = Scene::new(Kind::Classic).await;
    let empty = scene.dlq("list", &[]).await.expect(0);
    assert!(empty.stdout.is_empty() && empty.stderr.contains("no dead letters"), "{}", empty.stderr);
    // Nothing to do is done.
    for command in ["replay", "discard"] {
        assert_counts(&scene.json(command, &["--yes"]).await[0], &[("chosen", 0)]);
    }
    scene.broker.delete(&scene.dead).await;
    let missing = scene.dlq("list", &[]).await.expect(1);
    assert!(missing.stderr.contains(&scene.dead), "{}", missing.stderr);
    let broker = Broker::shared().await;
    broker.declare(&scene.dead, Kind::Classic).await;
    scene.end().await;
}
