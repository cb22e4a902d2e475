//! Every command that takes letters takes the same filters.

use std::collections::BTreeSet;

use super::scene::{Bad, Scene, assert_counts, ids, text};
use crate::support::broker::{Kind, Taken};
use crate::support::process::new_folder;

/// 6 × quantity, 3 × customer, 1 × not JSON. Returns a time between the first ones and the others.
pub async fn ten_letters(scene: &Scene) -> String {
    scene.work(Scene::bad(0..6, Bad::Quantity)).await;
    let between = between_two();
    scene.work([Scene::bad(6..9, Bad::Customer), Scene::bad(9..10, Bad::Broken)].concat()).await;
    between
}

/// A time that differs from those before and after it, in milliseconds.
fn between_two() -> String {
    std::thread::sleep(std::time::Duration::from_millis(5));
    let now = jiff::Timestamp::now().to_string();
    std::thread::sleep(std::time::Duration::from_millis(5));
    now
}

/// Each filter, and which of [`ten_letters`] it takes.
pub async fn filters(scene: &Scene, between: &str) -> Vec<(Vec<String>, BTreeSet<String>)> {
    let groups = scene.json("stats", &[]).await;
    let group = text(&groups[0], "group");
    let id = text(&groups[2], "sample");
    let filters: [(&[&str], BTreeSet<String>); 18] = [
        (&[], ids(0..10)),
        (&["--group", &group], ids(0..6)),
        (&["--group", &group[..4]], ids(0..6)),
        (&["--class", "mapping"], ids(0..9)),
        (&["--code", "required"], ids(6..9)),
        (&["--column", "quantity"], ids(0..6)),
        (&["--class", "mapping", "--column", "customer"], ids(6..9)),
        (&["--class", "decode", "--column", "customer"], ids([])),
        (&["--since", between], ids(6..10)),
        (&["--until", between], ids(0..6)),
        (&["--since", "1h"], ids(0..10)),
        (&["--until", "1h"], ids([])),
        (&["--where", "/quantity=many"], ids(0..6)),
        (&["--where", "/extra/n=7"], ids([7])),
        (&["--where", "/extra/n=7", "--where", "/paid=true"], ids([])),
        (&["--id", &id], ids([9])),
        (&["--id", &id[..10]], ids([9])),
        (&["--limit", "7"], ids(0..7)),
    ];
    filters.into_iter().map(|(args, taken)| (args.iter().map(|arg| (*arg).to_owned()).collect(), taken)).collect()
}

/// What looks: all filters on all commands.
pub async fn looks(scene: &Scene, between: &str) {
    for (filter, taken) in filters(scene, between).await {
        let filter: Vec<&str> = filter.iter().map(String::as_str).collect();
        let count = taken.len() as u64;
        let found = |letters: &[serde_json::Value]| -> BTreeSet<String> {
            letters.iter().map(|letter| text(letter, "message_id")).collect()
        };
        assert_eq!(found(&scene.json("list", &filter).await), taken, "list {filter:?}");
        let counted = scene.json("stats", &filter).await;
        let counted: u64 = counted.iter().map(|group| group["count"].as_u64().unwrap()).sum();
        assert_eq!(counted, count, "stats {filter:?}");
        let exported = super::scene::objects(&scene.dlq("export", &[&["-"], &filter[..]].concat()).await.expect(0));
        let exported: BTreeSet<String> =
            exported.iter().map(|letter| text(&letter["properties"], "message_id")).collect();
        assert_eq!(exported, taken, "export {filter:?}");
        let tried = scene.dlq("replay", &[&["--dry-run", "--json"], &filter[..]].concat()).await;
        assert_counts(&super::scene::objects(&tried)[0], &[("tried", count), ("rejected", count)]);
    }
}

/// What changes: a filter on each command takes what it says and leaves the others.
pub async fn changes(scene: &Scene, between: &str, left: impl AsyncFn() -> BTreeSet<String>) {
    let folder = new_folder("filters");
    let file = |name: &str| folder.join(name).display().to_string();
    let filters = filters(scene, between).await;
    for (at, (filter, taken)) in filters.iter().enumerate() {
        let filter: Vec<&str> = filter.iter().map(String::as_str).collect();
        let rest: BTreeSet<String> = ids(0..10).difference(taken).cloned().collect();
        let (count, archive) = (taken.len() as u64, file(&at.to_string()));
        let gone = scene.json("discard", &[&["--yes", "--archive", &archive], &filter[..]].concat()).await;
        assert_counts(&gone[0], &[("chosen", count), ("discarded", count)]);
        // What was imported stands behind the others: the first seven are other ones by now.
        match filter[..] {
            ["--limit", _] => assert_eq!(left().await.len(), rest.len()),
            _ => assert_eq!(left().await, rest, "discard {filter:?}"),
        }
        if count > 0 {
            assert_counts(&scene.json("import", &[&archive]).await[0], &[("imported", count)]);
        }
        assert_eq!(left().await, ids(0..10));
    }
    goes_and_comes_back(scene, &filters, &file("all"), left).await;
}

/// Each filter says what a replay sends, and what comes back from a file with all.
async fn goes_and_comes_back(
    scene: &Scene,
    filters: &[(Vec<String>, BTreeSet<String>)],
    all: &str,
    left: impl AsyncFn() -> BTreeSet<String>,
) {
    scene.json("export", &[all]).await;
    let elsewhere = format!("{}.elsewhere", scene.queue);
    scene.broker.declare(&elsewhere, Kind::Classic).await;
    for (filter, taken) in filters {
        let filter: Vec<&str> = filter.iter().map(String::as_str).collect();
        let count = taken.len() as u64;
        let sent = scene.json("replay", &[&["--yes", "--to", &elsewhere], &filter[..]].concat()).await;
        assert_counts(&sent[0], &[("chosen", count), ("replayed", count)]);
        let arrived = scene.broker.drain(&elsewhere).await;
        let arrived: BTreeSet<String> = arrived.iter().filter_map(Taken::message_id).collect();
        let imported = scene.json("import", &[&[all], &filter[..]].concat()).await;
        assert_counts(&imported[0], &[("imported", count)]);
        if let ["--limit", _] = filter[..] {
            // The first of the queue are other ones than the first of the file by now.
            assert_eq!(arrived.len(), taken.len());
            scene.json("import", &[all]).await;
        } else {
            assert_eq!(arrived, *taken, "replay {filter:?}");
        }
        assert_eq!(left().await, ids(0..10), "import {filter:?}");
    }
    scene.broker.delete(&elsewhere).await;
}

#[tokio::test]
async fn slow_each_filter_takes_its_own_whoever_looks() {
    let scene = Scene::new(Kind::Classic).await;
    let between = ten_letters(&scene).await;
    looks(&scene, &between).await;
    scene.end().await;
}

#[tokio::test]
async fn slow_each_filter_takes_its_own_whoever_changes() {
    let scene = Scene::new(Kind::Quorum).await;
    let between = ten_letters(&scene).await;
    changes(&scene, &between, async || scene.dead_ids().await).await;
    scene.end().await;
}

#[tokio::test]
async fn a_filter_that_takes_none_is_told_from_an_empty_queue() {
    let scene = Scene::new(Kind::Classic).await;
    let empty = scene.dlq("list", &["--code", "x"]).await.expect(0);
    assert!(empty.stderr.contains("no dead letter matches"), "{}", empty.stderr);
    scene.work(Scene::bad(0..3, Bad::Quantity)).await;
    for (command, args) in
        [("list", &[][..]), ("replay", &["--yes"]), ("replay", &["--dry-run"]), ("discard", &["--yes"])]
    {
        let none = scene.dlq(command, &[args, &["--code", "x"]].concat()).await.expect(0);
        assert!(none.stderr.contains("no dead letter matches"), "{command}: {}", none.stderr);
    }
    let stats = scene.dlq("stats", &["--limit", "2"]).await.expect(0).stdout;
    assert!(stats.starts_with(&format!("{}: 2 of 3 dead letters of orders, 1 cause", scene.dead)), "{stats}");
    for (args, says) in [
        (&["--since", "yesterday-ish"][..], "expected a time"),
        (&["--where", "quantity=1"], "begins with a slash"),
        (&["--group", "ab"], "at least four"),
        (&["--id", " "], "the beginning of one"),
        (&["--limit", "0"], "0"),
    ] {
        let refused = scene.dlq("list", args).await.expect(2);
        assert!(refused.stderr.contains(says), "{}", refused.stderr);
    }
    scene.end().await;
}
