//! `export`, `import`, `discard`.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};

use super::scene::{Bad, NO_STORM, Scene, assert_counts, ids, text};
use crate::support::broker::{Kind, Message, Taken};
use crate::support::database::Server;
use crate::support::process::new_folder;
use crate::support::worker::Worker;

fn path(folder: &std::path::Path, name: &str) -> (PathBuf, String) {
    let path = folder.join(name);
    (path.clone(), path.display().to_string())
}

/// All that stands in a letter, but for what a pass puts there.
fn content(letter: &Taken) -> (Vec<u8>, BasicProperties) {
    let mut headers: FieldTable = FieldTable::default();
    for (name, value) in letter.properties.headers().clone().unwrap_or_default().inner() {
        if name.as_str() != "x-sink-sweep" {
            headers.insert(name.clone(), value.clone());
        }
    }
    (letter.body.clone(), letter.properties.clone().with_headers(headers))
}

#[tokio::test]
async fn what_is_exported_and_imported_is_what_it_was_binary_bodies_too() {
    let scene = Scene::new(Kind::Classic).await;
    scene.work(Scene::bad(0..3, Bad::Quantity)).await;
    let mut headers = FieldTable::default();
    headers.insert("bytes".into(), AMQPValue::ByteArray(vec![0, 255, 10].into()));
    headers.insert("small".into(), AMQPValue::ShortInt(-5));
    headers.insert("list".into(), AMQPValue::FieldArray(vec![AMQPValue::Double(0.1), AMQPValue::Void].into()));
    headers.insert("not utf-8".into(), AMQPValue::LongString(vec![b'a', 0xff].into()));
    let properties = BasicProperties::default().with_headers(headers).with_timestamp(1_700_000_000);
    let properties = properties.with_correlation_id("c".into()).with_delivery_mode(2);
    scene.broker.publish(&scene.dead, [Message { body: vec![0, 159, 146, 150, b'\n'], properties }]).await;
    // Looked at once, so that foreign letters have what a look gives them.
    scene.json("list", &[]).await;
    let folder = new_folder("export");
    let (file, name) = path(&folder, "dead.ndjson");
    let exported = scene.json("export", &[&name]).await;
    assert_counts(&exported[0], &[("exported", 4)]);
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600, "there are values in it");
    let refused = scene.dlq("export", &[&name]).await.expect(2);
    assert!(refused.stderr.contains("is there already"), "{}", refused.stderr);

    let before: Vec<_> = scene.broker.drain(&scene.dead).await.iter().map(content).collect();
    assert_eq!(before.len(), 4);
    let imported = scene.json("import", &[&name]).await;
    assert_counts(&imported[0], &[("imported", 4), ("replaced", 0), ("edited", 0)]);
    let mut after: Vec<_> = scene.broker.drain(&scene.dead).await.iter().map(content).collect();
    // The foreign one's ID stands in a header now.
    let foreign = after.last_mut().unwrap();
    let mut inner = FieldTable::default();
    for (name, value) in
        foreign.1.headers().clone().unwrap().inner().iter().filter(|(name, _)| name.as_str() != "x-sink-id")
    {
        inner.insert(name.clone(), value.clone());
    }
    foreign.1 = foreign.1.clone().with_headers(inner);
    assert_eq!(after, before);
    scene.end().await;
}

#[tokio::test]
async fn slow_an_import_replaces_the_same_letters_and_knows_edited_ones() {
    let scene = Scene::new(Kind::Quorum).await;
    scene.work(Scene::bad(0..5, Bad::Quantity)).await;
    let exported = scene.dlq("export", &["-", "--where", "/extra/n=2"]).await.expect(0).stdout;
    assert_eq!(exported.lines().count(), 1);
    let folder = new_folder("import");
    let (file, name) = path(&folder, "edited.ndjson");
    std::fs::write(&file, exported.replace("\\\"many\\\"", "2")).unwrap();
    // Only said what would become of them.
    let tried = scene.json("import", &[&name, "--dry-run"]).await;
    assert_counts(&tried[0], &[("tried", 1), ("written", 1)]);
    for _ in 0..2 {
        let imported = scene.json("import", &[&name]).await;
        assert_counts(&imported[0], &[("imported", 1), ("replaced", 1), ("edited", 1)]);
    }
    assert_eq!(scene.settled_in(&scene.dead).await, 5);
    let id = text(&serde_json::from_str(&exported).unwrap(), "id");
    let shown = &scene.json("show", &[&id]).await[0];
    assert_eq!(shown["today"]["fate"], "written");
    assert!(shown["headers"]["x-sink-edited"].is_string(), "{shown}");

    // A line that is none, or somebody else's: nothing is imported.
    let other =
        exported.replace("[\"x-sink-pipeline\",{\"text\":\"orders\"}]", "[\"x-sink-pipeline\",{\"text\":\"else\"}]");
    assert_ne!(other, exported);
    for (bad, says) in [("{\"id\":", "line 2: not a line"), (&*other, "line 2: a dead letter of else")] {
        std::fs::write(&file, format!("{exported}{bad}\n")).unwrap();
        let refused = scene.dlq("import", &[&name]).await.expect(1);
        assert!(refused.stderr.contains(says), "{}", refused.stderr);
    }
    assert_eq!(scene.settled_in(&scene.dead).await, 5);
    assert_eq!(scene.dead_ids().await, ids(0..5));
    scene.end().await;
}

/// `| head`: who reads has seen enough. The look goes on to its end, so that the order stays.
#[tokio::test]
async fn an_export_whose_reader_leaves_is_no_failure() {
    let scene = Scene::with(Kind::Classic, Server::Sqlite, NO_STORM).await;
    // More than a pipe holds.
    scene.work(Scene::bad(0..300, Bad::Quantity)).await;
    let before = scene.json("list", &["--limit", "300"]).await;
    let mut shell = std::process::Command::new("bash");
    let piped = format!("set -o pipefail; {} dlq export orders - | head -n 1", Worker::program());
    shell.args(["-c", &piped]);
    let ended = Worker::spawn(shell, &scene.config, []).wait().await.expect(0);
    assert_eq!((ended.stdout.lines().count(), ended.stderr.as_str()), (1, ""));
    assert_eq!(scene.json("list", &["--limit", "300"]).await, before);
    scene.end().await;
}

/// In one line, as people type it: who writes the pipe has the queue until it is done.
#[tokio::test]
async fn letters_are_mended_in_a_pipe() {
    let scene = Scene::new(Kind::Classic).await;
    scene.work(Scene::bad(0..3, Bad::Quantity)).await;
    let shell = async |line: &str| {
        let mut shell = std::process::Command::new("bash");
        shell.args(["-c", &line.replace("dlq", &format!("{} --json dlq", Worker::program()))]);
        Worker::spawn(shell, &scene.config, []).wait().await
    };
    let mended =
        shell("dlq export orders - --where /extra/n=1 | sed 's/many/few/g' | dlq import orders -").await.expect(0);
    assert_counts(&super::scene::objects(&mended)[0], &[("imported", 1), ("edited", 1), ("replaced", 1)]);
    assert_eq!(scene.json("list", &["--where", "/quantity=few"]).await.len(), 1);
    assert_eq!(scene.dead_ids().await, ids(0..3));
    // What can't be read twice, and what is wrong at its end: nothing of it is published.
    let folder = new_folder("stdin");
    let (_, name) = path(&folder, "gone.ndjson");
    scene.json("discard", &["--yes", "--archive", &name]).await;
    let refused = shell(&format!("(cat {name}; echo '{{}}') | dlq import orders -")).await.expect(1);
    assert!(refused.stderr.contains("stdin, line 4: not a line"), "{}", refused.stderr);
    assert_eq!(scene.settled_in(&scene.dead).await, 0);
    let done = shell(&format!("dlq import orders <(head -n 1 {name}; sleep 1; tail -n +2 {name})")).await.expect(0);
    assert_counts(&super::scene::objects(&done)[0], &[("imported", 3), ("replaced", 0)]);
    assert_eq!(scene.dead_ids().await, ids(0..3));
    scene.end().await;
}

#[tokio::test]
async fn discard_archives_first_and_the_archive_can_be_imported() {
    let scene = Scene::new(Kind::Classic).await;
    scene.work([Scene::bad(0..6, Bad::Quantity), Scene::bad(6..8, Bad::Broken)].concat()).await;
    // Nobody is there to answer.
    let refused = scene.dlq("discard", &["--column", "quantity"]).await.expect(2);
    assert!(refused.stderr.contains("6 dead letters of orders are discarded") && refused.stderr.contains("--yes"));
    assert_eq!(scene.settled_in(&scene.dead).await, 8);
    let folder = new_folder("discard");
    let (file, name) = path(&folder, "gone.ndjson");
    let gone = scene.json("discard", &["--column", "quantity", "--limit", "4", "--yes", "--archive", &name]).await;
    assert_counts(&gone[0], &[("chosen", 4), ("discarded", 4)]);
    assert_eq!(std::fs::read_to_string(&file).unwrap().lines().count(), 4);
    assert_eq!(scene.dead_ids().await, ids(4..8));
    // A file that is there is never overwritten, and then nothing is discarded.
    scene.dlq("discard", &["--yes", "--archive", &name]).await.expect(2);
    scene.dlq("discard", &["--yes", "--archive", "/nowhere/at/all"]).await.expect(2);
    assert_eq!(scene.dead_ids().await, ids(4..8));
    assert_counts(&scene.json("import", &[&name]).await[0], &[("imported", 4), ("replaced", 0)]);
    assert_eq!(scene.dead_ids().await, ids(0..8));

    // The archive's own name, in the working folder.
    let worker = Worker::command(&scene.config, ["dlq", "discard", "orders", "--yes", "--code", "not_json"]);
    let cwd = worker.folder().to_owned();
    let archived = async || {
        let entries = std::fs::read_dir(&cwd).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        entries.filter(|name| name.starts_with("orders-discarded-") && name.ends_with(".ndjson")).count()
    };
    let mut worker = worker;
    worker.eventually("the archive is there", async || archived().await == 1).await;
    worker.wait().await.expect(0);
    assert_eq!(scene.dead_ids().await, ids(0..6));
    let gone = scene.json("discard", &["--yes", "--no-archive"]).await;
    assert_counts(&gone[0], &[("discarded", 6)]);
    assert!(gone[0]["archive"].is_null());
    assert_eq!(scene.settled_in(&scene.dead).await, 0);
    scene.end().await;
}
