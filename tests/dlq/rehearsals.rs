//! `replay --dry-run`: one message a transaction, never in the worker's way, with the worker's own verdict.

use super::scene::{Bad, Scene, assert_counts, counts, objects, text};
use crate::main_job::orders;
use crate::support::broker::{Kind, Message};
use crate::support::database::{Server, Session};
use crate::support::worker::Worker;

/// Good orders by hand in the dead-letter queue: they would be written.
async fn good_ones(scene: &Scene, count: usize) {
    scene.drain_queue().await;
    let good = (0..count).map(|n| Message::json(&format!("order-{n}"), orders::good(n).0));
    scene.broker.publish(&scene.dead, good).await;
}

/// Somebody else's transaction keeps one row: that one isn't known, all others are, and it ends although
/// the config would wait for an hour.
#[tokio::test]
async fn slow_a_lock_of_somebody_else_costs_one_message() {
    for server in Server::ALL {
        let scene = Scene::with(Kind::Classic, server, "").await;
        good_ones(&scene, 4).await;
        let patience = "[database]\nlock_timeout = \"50m\"\nstatement_timeout = \"1h\"";
        let config = scene.config.replacen("[database]", patience, 1);
        let run = async |args: &[&str]| Worker::command(&config, ["dlq"].iter().chain(args)).wait().await;
        let insert = "INSERT INTO orders (id, customer, amount, quantity, paid, placed_at) \
                      VALUES ('order-2', 'x', 1, 1, true, '2026-01-01 00:00:00')";
        let mut other = Session::open(&scene.database.url).await.unwrap();
        let id = text(&scene.json("list", &["--where", "/extra/n=2"]).await[0], "id");
        if server == Server::Sqlite {
            // There it is the whole file's.
            other.execute(&format!("BEGIN IMMEDIATE; {insert}")).await.unwrap();
            let refused = run(&["replay", "orders", "--dry-run"]).await.expect(1);
            assert!(refused.stderr.contains("another connection holds the database's lock"), "{}", refused.stderr);
        } else {
            other.execute(&format!("BEGIN; {insert}")).await.unwrap();
            let tried = run(&["replay", "orders", "--dry-run", "--json"]).await.expect(5);
            assert_counts(&objects(&tried)[0], &[("tried", 4), ("undecided", 1), ("written", 3), ("rejected", 0)]);
        }
        // The letter is looked at all the same.
        let shown = run(&["show", "orders", &id]).await.expect(0).stdout;
        assert!(shown.contains("today        not known: ") && shown.contains("lock"), "{shown}");
        other.execute("ROLLBACK").await.unwrap();
        other.close().await;
        let said = scene.dlq("replay", &["--dry-run"]).await.expect(0).stdout;
        assert_eq!(said.trim(), "4 of 4 would be written now", "{server:?}");
        assert_eq!(scene.database.count("orders").await, 0);
        scene.end().await;
    }
}

/// What no class says belongs to a row is the row's fault if the database takes others, as the worker has it.
#[tokio::test]
async fn what_a_trigger_refuses_still_fails() {
    let scene = Scene::new(Kind::Classic).await;
    good_ones(&scene, 3).await;
    let trigger = "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'not this one'; END $$; \
                   CREATE TRIGGER no BEFORE INSERT ON orders FOR EACH ROW WHEN (NEW.id = 'order-1') EXECUTE FUNCTION no()";
    scene.database.execute(trigger).await;
    let said = scene.dlq("replay", &["--dry-run"]).await.expect(5).stdout;
    assert_eq!(said.trim(), "2 of 3 would be written now; 1 still fail: P0001");
    scene.end().await;
}

/// A setup that takes no message at all is no message's fault.
#[tokio::test]
async fn a_wrong_setup_is_told_once_and_no_letter_is_blamed() {
    let scene = Scene::new(Kind::Classic).await;
    scene.work(Scene::bad(0..3, Bad::Negative)).await;
    scene.database.execute("ALTER TABLE orders RENAME TO elsewhere").await;
    let refused = scene.dlq("replay", &["--dry-run"]).await.expect(4);
    assert!(refused.stdout.is_empty() && refused.stderr.contains("orders"), "{}", refused.stderr);
    scene.database.execute("ALTER TABLE elsewhere RENAME TO orders").await;
    let tried = scene.json_with("replay", &["--dry-run"], 1).await;
    assert_eq!(counts(&tried[0])["rejected"], 3);
    assert_eq!(scene.settled_in(&scene.dead).await, 3);
    scene.end().await;
}
