//! `edit`: one letter's body, tried before it is kept.

use super::scene::{Bad, Scene, assert_counts, text};
use crate::support::broker::Kind;
use crate::support::worker::Worker;

#[tokio::test]
async fn a_value_is_set_tried_stamped_and_written_after_a_replay() {
    let scene = Scene::new(Kind::Quorum).await;
    scene.work(Scene::bad(0..3, Bad::Quantity)).await;
    let id = text(&scene.json("list", &["--where", "/extra/n=1"]).await[0], "id");
    // One that would still be rejected isn't kept without being told to.
    let refused = scene.dlq("edit", &[&id, "--set", "/quantity=few"]).await.expect(2);
    assert!(refused.stderr.contains("it would still be rejected"), "{}", refused.stderr);
    assert_eq!(scene.json("list", &["--where", "/quantity=many"]).await.len(), 3);

    let edited = scene.json("edit", &[&id[..12], "--set", "/quantity=5", "--set", "/note=mended"]).await;
    assert_eq!((&edited[0]["id"], &edited[0]["today"]), (&id.as_str().into(), &"written".into()));
    let shown = &scene.json("show", &[&id]).await[0];
    assert_eq!(shown["today"]["fate"], "written");
    assert!(shown["headers"]["x-sink-edited"].is_string(), "{shown}");
    assert!(text(shown, "body").contains("\"amount\":1.01"), "other digits stay: {shown}");
    assert_eq!(scene.settled_in(&scene.dead).await, 3);

    let sent = scene.json("replay", &["--id", &id, "--yes"]).await;
    assert_counts(&sent[0], &[("replayed", 1)]);
    scene.drain_queue().await;
    let row = scene.database.table("orders", &["id", "quantity", "note"]).await;
    assert_eq!(row, [["order-1", "5", "mended"].map(|text| Some(text.to_owned()))]);
    assert_eq!(scene.settled_in(&scene.dead).await, 2);
    scene.end().await;
}

#[tokio::test]
async fn an_editor_is_opened_for_what_isnt_even_json() {
    let scene = Scene::new(Kind::Classic).await;
    scene.work(Scene::bad([1], Bad::Broken)).await;
    let id = scene.only_id().await;
    let edit = async |editor: &str, args: &[&str]| {
        let command = [&["dlq", "edit", "orders", &id], args].concat();
        Worker::command_with(&scene.config, command, [("EDITOR", editor), ("VISUAL", "")]).wait().await
    };
    let refused = scene.dlq("edit", &[&id, "--set", "/quantity=5"]).await.expect(1);
    assert!(refused.stderr.contains("isn't JSON"), "{}", refused.stderr);
    let none = edit("", &[]).await.expect(2);
    assert!(none.stderr.contains("$EDITOR"), "{}", none.stderr);
    let failed = edit("false", &[]).await.expect(1);
    assert!(failed.stderr.contains("nothing was changed"), "{}", failed.stderr);
    let same = edit("true", &[]).await.expect(0);
    assert!(same.stderr.contains("nothing was changed"), "{}", same.stderr);
    // The broken ones lack their last three characters.
    let done = edit("sh -c 'printf ll} >> \"$1\"' sh", &[]).await.expect(0);
    assert!(done.stdout.contains(&format!("rabbit-sink dlq replay orders --id {id}")), "{}", done.stdout);
    assert_eq!(scene.json("show", &[&id]).await[0]["today"]["fate"], "written");
    scene.end().await;
}
