//! The worker writes dead letters into a table: with rows, once, or not at all.

use std::collections::BTreeSet;

use super::scene::{LETTERS, TO_TABLE, column, contents, letters, mend, scene};
use crate::dlq::scene::{Bad, NO_STORM, ids};
use crate::main_job::orders;
use crate::support::broker::Message;
use crate::support::database::{Server, TestDatabase};
use crate::support::servers::{Postgres, shared_amqp_url};
use crate::support::wait::random;
use crate::support::worker::Worker;

fn good(numbers: impl IntoIterator<Item = usize>) -> Vec<Message> {
    numbers.into_iter().map(|n| Message::json(&format!("order-{n}"), orders::good(n).0)).collect()
}

#[tokio::test]
async fn a_letter_says_why_in_columns_and_counts_as_one() {
    for server in Server::ALL {
        let scene = scene(server, "").await;
        let mut broken = crate::dlq::scene::Scene::bad([1], Bad::Broken).remove(0).header("tenant", "acme");
        broken.body.push(0xff);
        let bad = [vec![broken], crate::dlq::scene::Scene::bad([2], Bad::Negative)].concat();
        scene.broker.publish(&scene.queue, [bad, good(3..6)].concat()).await;
        let summary = Worker::until_empty(&scene.config).await.expect(0).summary();
        assert_eq!((summary.written, summary.dead_lettered, summary.rows, summary.settled), (3, 2, 3, 5), "{server:?}");
        assert_eq!(letters(&scene).await, ids([1, 2]));
        let some = |texts: [&str; 2]| texts.map(|text| Some(text.to_owned())).to_vec();
        assert_eq!(column(&scene, "class").await, some(["decode", "row_rejected"]));
        let mut codes = ["not_utf8", orders::check_code(server)];
        codes.sort_unstable();
        assert_eq!(column(&scene, "code").await, some(codes));
        assert_eq!(column(&scene, "pipeline").await, some(["orders", "orders"]));
        assert_eq!(column(&scene, "queue").await, some([&scene.queue; 2]));
        assert_eq!(column(&scene, "table_name").await, some(["orders", "orders"]));
        assert_eq!(column(&scene, "replays").await, some(["0", "0"]));
        assert!(column(&scene, "failed_at").await.iter().all(|at| at.as_ref().is_some_and(|at| at.starts_with("20"))));
        assert!(!scene.broker.has(&scene.dead).await, "no queue is declared");
        scene.end().await;
    }
}

/// In PostgreSQL a row's `xmin` is the transaction that wrote it.
#[tokio::test]
async fn letters_are_written_in_the_transactions_of_good_rows() {
    let scene = scene(Server::Postgres, "\n[pipelines.orders.batch]\nmax_rows = 50\n").await;
    let mixed = (0..200).flat_map(|n| match n % 10 {
        0 => crate::dlq::scene::Scene::bad([n], Bad::Broken),
        _ => good([n]),
    });
    scene.work(mixed.collect()).await;
    let transactions = async |table: &str| -> BTreeSet<Option<String>> {
        scene.database.table(table, &["xmin"]).await.into_iter().map(|mut row| row.remove(0)).collect()
    };
    let (rows, letters) = (transactions("orders").await, transactions(LETTERS).await);
    assert!(rows.intersection(&letters).count() > 0, "{rows:?} {letters:?}");
    assert_eq!((scene.database.count("orders").await, scene.database.count(LETTERS).await), (180, 20));
    scene.end().await;
}

/// A constraint that is checked at COMMIT refuses what was written together: rows and letters.
#[tokio::test]
async fn a_transaction_that_fails_at_its_end_leaves_neither_rows_nor_letters() {
    let scene = scene(Server::Postgres, "\n[pipelines.orders.retry]\nmax = \"200ms\"\n").await;
    scene.drain_queue().await;
    // As if the database broke each time a letter's transaction commits.
    let fail = "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS \
                $$ BEGIN RAISE EXCEPTION 'not now' USING ERRCODE = '53100'; END $$; \
                CREATE CONSTRAINT TRIGGER fail AFTER INSERT ON orders_dead_letters DEFERRABLE INITIALLY DEFERRED \
                FOR EACH ROW EXECUTE FUNCTION fail()";
    scene.database.execute(fail).await;
    scene.broker.publish(&scene.queue, crate::dlq::scene::Scene::bad(0..3, Bad::Broken)).await;
    let mut worker = Worker::run(&scene.config);
    worker.logs("53100").await;
    assert_eq!(scene.database.count(LETTERS).await, 0);
    assert_eq!(scene.broker.depth(&scene.queue).await.unacked, 3, "held, never acked");
    scene.database.execute("DROP TRIGGER fail ON orders_dead_letters").await;
    scene.broker.publish(&scene.queue, good(3..6)).await;
    worker.eventually("all are written", async || scene.database.count(LETTERS).await == 3).await;
    scene.broker.wait_until_empty(&scene.queue).await;
    worker.stop().await.expect(0);
    assert_eq!((letters(&scene).await, scene.written().await), (ids(0..3), ids(3..6)));
    scene.end().await;
}

/// A letter that its table refuses is held, and keeps those beside it from nothing.
#[tokio::test]
async fn a_letter_that_cannot_be_written_is_held_and_the_others_are_written() {
    for server in Server::ALL {
        let scene = scene(server, "\n[pipelines.orders.retry]\nmax = \"200ms\"\n").await;
        scene.drain_queue().await;
        let refuse = match server {
            Server::Sqlite => {
                "CREATE TRIGGER no BEFORE INSERT ON orders_dead_letters WHEN new.message_id = 'order-0' \
                 BEGIN SELECT RAISE(ABORT, 'no'); END"
            }
            _ => "ALTER TABLE orders_dead_letters ADD CONSTRAINT no CHECK (message_id <> 'order-0')",
        };
        scene.database.execute(refuse).await;
        let bad = crate::dlq::scene::Scene::bad(0..3, Bad::Broken);
        scene.broker.publish(&scene.queue, [bad, good(3..6)].concat()).await;
        let mut worker = Worker::run(&scene.config);
        worker.eventually("the others are written", async || scene.database.count(LETTERS).await == 2).await;
        worker.logs("holding: dead_letter_failed").await;
        // Behind it acks are single, and wait half a second for a larger one.
        let all_but_it = async || {
            let depth = scene.broker.depth(&scene.queue).await;
            depth.ready + depth.unacked == 1 && scene.database.count("orders").await == 3
        };
        worker.eventually("the others are acked", all_but_it).await;
        let mend = if server == Server::Sqlite {
            "DROP TRIGGER no"
        } else {
            "ALTER TABLE orders_dead_letters DROP CONSTRAINT no"
        };
        scene.database.execute(mend).await;
        worker.eventually("it is written, too", async || scene.database.count(LETTERS).await == 3).await;
        scene.broker.wait_until_empty(&scene.queue).await;
        worker.stop().await.expect(0);
        assert_eq!((letters(&scene).await, scene.written().await), (ids(0..3), ids(3..6)), "{server:?}");
        scene.end().await;
    }
}

#[tokio::test]
async fn slow_kill_9_of_the_worker_makes_no_letter_twice() {
    for server in Server::ALL {
        let scene = scene(server, &format!("\n[pipelines.orders.batch]\nmax_rows = 5\n{NO_STORM}")).await;
        scene.drain_queue().await;
        let mixed = (0..400).flat_map(|n| match n % 2 {
            0 => crate::dlq::scene::Scene::bad([n], Bad::Broken),
            _ => good([n]),
        });
        scene.broker.publish(&scene.queue, mixed.collect::<Vec<_>>()).await;
        for _ in 0..6 {
            let mut worker = Worker::run(&scene.config);
            worker.logs("guarantee").await;
            tokio::time::sleep(std::time::Duration::from_millis(random() % 150)).await;
            worker.kill().await;
        }
        scene.broker.wait_until_given_back(&scene.queue).await;
        scene.drain_queue().await;
        let even = ids((0..400).filter(|n| n % 2 == 0));
        assert_eq!(letters(&scene).await, even, "{server:?}");
        assert_eq!(scene.written().await, ids((0..400).filter(|n| n % 2 == 1)), "{server:?}");
        scene.end().await;
    }
}

#[tokio::test]
async fn slow_a_database_that_is_away_holds_letters() {
    let mut server = Postgres::start().await;
    let database = TestDatabase::on(&server.url()).await;
    database.execute(orders::table(Server::Postgres)).await;
    let broker = crate::support::broker::Broker::shared().await;
    let queue = crate::support::wait::unique_name("dlq_table");
    broker.declare(&queue, crate::support::broker::Kind::Quorum).await;
    let config = orders::config(&shared_amqp_url(), &database, &queue, TO_TABLE);
    let mut worker = Worker::run(&config);
    worker.logs("guarantee").await;
    server.kill();
    broker.publish(&queue, crate::dlq::scene::Scene::bad(0..3, Bad::Broken)).await;
    worker.logs("holding").await;
    assert_eq!(broker.depth(&queue).await.unacked, 3);
    server.restart().await;
    broker.wait_until_empty(&queue).await;
    worker.stop().await.expect(0);
    assert_eq!(database.count(LETTERS).await, 3);
    broker.delete(&queue).await;
}

#[tokio::test]
async fn a_lost_table_pauses_and_a_restored_one_goes_on() {
    for server in Server::ALL {
        let scene = scene(server, "\n[pipelines.orders.retry]\nmax = \"200ms\"\n").await;
        scene.drain_queue().await;
        let mut worker = Worker::run(&scene.config);
        worker.logs("guarantee").await;
        scene.database.execute("ALTER TABLE orders_dead_letters RENAME TO kept").await;
        let bad = crate::dlq::scene::Scene::bad(0..3, Bad::Broken);
        scene.broker.publish(&scene.queue, [bad, good(3..6)].concat()).await;
        worker.logs("the table of dead letters `orders_dead_letters` is gone").await;
        assert_eq!(
            scene.broker.depth(&scene.queue).await.ready + scene.broker.depth(&scene.queue).await.unacked,
            6 - scene.database.count("orders").await,
            "{server:?}: what isn't written isn't acked"
        );
        scene.database.execute("ALTER TABLE kept RENAME TO orders_dead_letters").await;
        worker.eventually("it goes on", async || scene.database.count(LETTERS).await == 3).await;
        scene.broker.wait_until_empty(&scene.queue).await;
        worker.stop().await.expect(0);
        assert_eq!((letters(&scene).await, scene.written().await), (ids(0..3), ids(3..6)), "{server:?}");
        scene.end().await;
    }
}

#[tokio::test]
async fn a_storm_pauses_before_its_first_letter() {
    let scene = scene(Server::Postgres, "").await;
    let mut worker = Worker::run(&scene.config);
    worker.logs("guarantee").await;
    scene.broker.publish(&scene.queue, crate::dlq::scene::Scene::bad(0..300, Bad::Customer)).await;
    worker.logs("nearly all messages are rejected with mapping required column customer").await;
    // Those before it noticed the storm are letters: fewer than make one.
    assert!(scene.database.count(LETTERS).await < 100);
    worker.stop().await.expect(0);
    scene.end().await;
}

#[tokio::test]
async fn check_and_explain_tell_the_table_and_no_queue() {
    for server in Server::ALL {
        let scene = scene(server, "").await;
        let check = Worker::command(&scene.config, ["check"]).wait().await;
        assert!(check.stdout.contains("table orders_dead_letters is missing; the worker makes it"), "{}", check.stdout);
        assert!(!check.stdout.contains(&scene.dead), "{}", check.stdout);
        scene.work(crate::dlq::scene::Scene::bad([1], Bad::Negative)).await;
        let before = contents(&scene).await;
        let check = Worker::command(&scene.config, ["check"]).wait().await;
        assert!(check.stdout.contains("table orders_dead_letters takes them; 1 lie there"), "{}", check.stdout);
        assert_eq!(contents(&scene).await, before);
        let file = crate::support::process::new_folder("explain").join("bad.json");
        std::fs::write(&file, "{").unwrap();
        let told = Worker::command(&scene.config, ["explain", "orders", &file.display().to_string()]).wait().await;
        assert!(told.stdout.contains("dead letter in table orders_dead_letters: decode"), "{}", told.stdout);
        mend(&scene, server).await;
        scene.end().await;
    }
}
