//! The same message again: in one batch, in two, from two consumers, from two processes; with
//! another body; and while old entries are pruned from the ledger.

use sqlx::Connection as _;

use super::{Site, add_bad, cause, with_customer};
use crate::main_job::orders::{Orders, check_code};
use crate::support::broker::Message;
use crate::support::database::Server;
use crate::support::worker::Worker;

/// Each order three times, at distances that put repeats into one batch and into several.
fn thrice(count: usize) -> Orders {
    let mut orders = Orders::good(0..count);
    let once = std::mem::take(&mut orders.messages);
    for (n, message) in once.iter().enumerate() {
        orders.messages.extend([message.clone(), message.clone()]);
        // Of one from long before.
        orders.messages.push(once[n / 2].clone());
    }
    orders
}

/// Two processes with two consumers each.
async fn repeated(server: Server, keys: &str) {
    let mut site = Site::new(server).await;
    site.keys = format!("consumers = 2\nprefetch = 200\n{keys}");
    site.tables = "[pipelines.orders.batch]\nmax_rows = 50".into();
    let orders = thrice(500);
    site.publish(&orders).await;
    let first = site.config();
    site.port = crate::support::process::free_port();
    let second = site.config();
    let (one, two) = tokio::join!(Worker::until_empty(&first), Worker::until_empty(&second));
    let (one, two) = (one.expect(0).summary(), two.expect(0).summary());
    assert_eq!(one.written + two.written, 500, "{server:?} {keys}");
    assert_eq!(one.duplicates + two.duplicates, 1_000, "{server:?} {keys}");
    site.audit(&orders).await;
}

#[tokio::test]
async fn repeats_in_batches_consumers_and_processes_are_written_once_by_the_ledger() {
    for server in Server::ALL {
        repeated(server, "").await;
    }
}

#[tokio::test]
async fn slow_repeats_in_batches_consumers_and_processes_are_written_once_by_a_column() {
    for server in Server::ALL {
        repeated(server, "deduplicate = \"column:id\"").await;
    }
}

#[tokio::test]
async fn slow_repeats_without_deduplication_are_written_again() {
    for server in Server::ALL {
        let mut site = Site::new(server).await;
        site.keys = "deduplicate = \"none\"".into();
        let create = crate::main_job::orders::table(server).replace(" PRIMARY KEY", "");
        site.database.execute(&format!("DROP TABLE orders; {create}")).await;
        let orders = Orders::good(0..50);
        site.publish(&orders).await;
        site.publish(&orders).await;
        let exit = Worker::until_empty(&site.config()).await.expect(0);
        assert_eq!(exit.summary().written, 100, "{server:?}");
        assert!(exit.stderr.contains("at least once"), "the guarantee says so");
        assert_eq!(site.database.count("orders").await, 100);
        assert!(site.letters().await.is_empty());
        // What is twice is so on purpose.
        let once =
            "CREATE TABLE once AS SELECT DISTINCT * FROM orders; DROP TABLE orders; ALTER TABLE once RENAME TO orders";
        site.database.execute(once).await;
        site.audit(&orders).await;
    }
}

/// Without a ledger an ID by itself says nothing: in one batch as little as in several.
#[tokio::test]
async fn messages_that_share_an_id_keep_their_rows_where_a_column_tells_repeats() {
    for server in Server::ALL {
        let mut site = Site::new(server).await;
        site.keys = "deduplicate = \"column:customer\"".into();
        let create = crate::main_job::orders::table(server).replace(" PRIMARY KEY", "");
        let unique = "CREATE UNIQUE INDEX one_each ON orders (customer)";
        site.database.execute(&format!("DROP TABLE orders; {create}; {unique}")).await;
        let messages: Vec<Message> =
            (0..60).map(|n| Message::json("same", with_customer(n % 30, &format!("c{}", n % 30)))).collect();
        site.broker.publish(&site.queue, messages).await;
        let summary = Worker::until_empty(&site.config()).await.expect(0).summary();
        assert_eq!((summary.written, summary.duplicates, summary.dead_lettered), (30, 30, 0), "{server:?}");
        assert_eq!(site.database.count("(SELECT DISTINCT customer FROM orders) AS c").await, 30, "{server:?}");
        site.broker.delete(&site.queue).await;
        site.broker.delete(&format!("{}.dead", site.queue)).await;
    }
}

/// The ID of a written order with another body: in the same batch, and in a later one.
async fn other_body(server: Server, keys: &str, rejected: bool) {
    let mut site = Site::new(server).await;
    site.keys = keys.into();
    let orders = Orders::good(0..40);
    let other = |n: usize| Message::json(&format!("order-{n}"), with_customer(n, "another"));
    site.publish(&orders).await;
    site.broker.publish(&site.queue, (0..5).map(other)).await;
    let one = Worker::until_empty(&site.config()).await.expect(0).summary();
    site.broker.publish(&site.queue, (5..10).map(other)).await;
    let two = Worker::until_empty(&site.config()).await.expect(0).summary();
    let expected = if rejected { (40, 0, 10) } else { (40, 10, 0) };
    let found = (one.written + two.written, one.duplicates + two.duplicates, one.dead_lettered + two.dead_lettered);
    assert_eq!(found, expected, "{server:?} {keys}");
    let letters = site.letters().await;
    assert_eq!(letters.len() as u64, found.2);
    for letter in &letters {
        assert_eq!(letter.header("x-sink-error-class").as_deref(), Some("id_conflict"));
        assert!(String::from_utf8_lossy(&letter.body).contains("another"), "the later one is rejected");
    }
    // Their IDs are those of good rows: without the letters, the rows are audited.
    site.audit(&orders).await;
}

#[tokio::test]
async fn an_id_with_another_body_is_dead_lettered() {
    for server in Server::ALL {
        other_body(server, "", true).await;
    }
}

#[tokio::test]
async fn slow_an_id_with_another_body_counts_as_a_duplicate_where_the_config_says_so() {
    for server in Server::ALL {
        other_body(server, "id_conflict = \"ignore\"", false).await;
    }
}

#[tokio::test]
async fn a_refused_first_does_not_swallow_its_good_repeat() {
    for server in Server::ALL {
        let site = Site::new(server).await;
        let mut orders = Orders::good(0..20);
        // Refused by the table; the publisher mends it and sends it anew with the same ID.
        let code = check_code(server);
        let bad = with_customer(5, "x").replace("\"quantity\":", "\"quantity\":-");
        let mut refused = Orders::good(0..0);
        add_bad(&mut refused, "order-5", bad, cause("row_rejected", code));
        orders.messages.splice(0..0, refused.messages);
        site.publish(&orders).await;
        let summary = Worker::until_empty(&site.config()).await.expect(0).summary();
        assert_eq!((summary.written, summary.dead_lettered), (20, 1), "{server:?}");
        let letters = site.letters().await;
        assert_eq!(letters[0].header("x-sink-error-code").as_deref(), Some(code));
        site.audit(&orders).await;
    }
}

/// So old, by this server's clock, are the entries that go.
fn days_ago(server: Server, days: u32) -> String {
    match server {
        Server::Postgres => format!("now() - interval '{days} days'"),
        Server::Mysql => format!("UTC_TIMESTAMP(6) - INTERVAL {days} DAY"),
        Server::Sqlite => format!("strftime('%Y-%m-%d %H:%M:%f000', 'now', '-{days} days')"),
    }
}

/// Entries by hand: `count` of pipeline `number`, this old.
async fn age(site: &Site, number: &str, prefix: &str, count: usize, days: u32) {
    let server = site.server();
    let hash = if server == Server::Postgres {
        "'\\x00000000000000000000000000000000'"
    } else {
        "x'00000000000000000000000000000000'"
    };
    let at = days_ago(server, days);
    let values: Vec<String> = (0..count).map(|n| format!("({number}, '{prefix}-{n}', {hash}, {at})")).collect();
    site.database
        .execute(&format!(
            "INSERT INTO rabbit_sink_ledger (pipeline, message_id, body_hash, written_at) VALUES {}",
            values.join(", ")
        ))
        .await;
}

async fn entries(site: &Site, condition: &str) -> u64 {
    site.database.count(&format!("rabbit_sink_ledger WHERE {condition}")).await
}

/// The first sweep comes 5 s after the start.
async fn pruned(server: Server) {
    let site = Site::new(server).await;
    let first = Orders::good(0..100);
    site.publish(&first).await;
    Worker::until_empty(&site.config()).await.expect(0);
    let number = &site.database.table("rabbit_sink_ledger_pipelines", &["id"]).await[0][0].clone().unwrap();
    let other = &(number.parse::<i32>().unwrap() + 1_000).to_string();
    age(&site, number, "old", 1_500, 40).await;
    age(&site, number, "recent", 50, 20).await;
    age(&site, other, "old", 50, 40).await;
    let mut worker = site.running().await;
    let mut published = 100;
    // Messages flow all the while, repeats of written ones among them.
    let mut orders = Orders::good(0..100);
    while entries(&site, &format!("pipeline = {number} AND message_id LIKE 'old-%'")).await > 0 {
        let more = Orders::good(published..published + 50);
        site.publish(&more).await;
        site.broker.publish(&site.queue, first.messages[..10].to_vec()).await;
        for (id, n) in (published..published + 50).map(|n| (format!("order-{n}"), n)) {
            orders.accountant.expect_row(id, crate::main_job::orders::good(n).1);
        }
        published += 50;
        assert!(published < 100_000, "never pruned");
        site.wait_settled(&mut worker, (published - 100) / 50 * 60).await;
    }
    assert_eq!(entries(&site, "message_id LIKE 'recent-%'").await, 50, "{server:?}: recent ones stay");
    assert_eq!(entries(&site, &format!("pipeline = {other}")).await, 50, "{server:?}: another pipeline's stay");
    assert_eq!(entries(&site, "message_id LIKE 'order-%'").await, published as u64, "{server:?}");
    let before = site.status().await["settled"].as_u64().unwrap() as usize;
    site.publish(&first).await;
    site.wait_settled(&mut worker, before + 100).await;
    assert_eq!(site.status().await["written"], published - 100, "{server:?}: repeats are known still");
    worker.logs("ledger pruned").await;
    site.finish(worker, &orders).await;
}

#[tokio::test]
async fn slow_old_entries_are_pruned_under_load_in_postgres() {
    pruned(Server::Postgres).await;
}

#[tokio::test]
async fn slow_old_entries_are_pruned_under_load_in_mysql() {
    pruned(Server::Mysql).await;
}

#[tokio::test]
async fn slow_old_entries_are_pruned_under_load_in_sqlite() {
    pruned(Server::Sqlite).await;
}

/// Ruled out by design: a delivery that has come again may be about to meet its own old entry.
#[tokio::test]
async fn slow_nothing_is_pruned_while_a_redelivered_message_is_unsettled() {
    let site = Site::new(Server::Postgres).await;
    site.publish(&Orders::good(0..2)).await;
    let taken = site.broker.channel.basic_get(site.queue.as_str().into(), Default::default()).await.unwrap().unwrap();
    Worker::until_empty(&site.config()).await.expect(0);
    let number = &site.database.table("rabbit_sink_ledger_pipelines", &["id"]).await[0][0].clone().unwrap();
    let mut worker = site.running().await;
    let mut lock = sqlx::PgConnection::connect(&site.database.url).await.unwrap();
    sqlx::raw_sql("BEGIN; LOCK TABLE orders IN ACCESS EXCLUSIVE MODE").execute(&mut lock).await.unwrap();
    let requeue = lapin::options::BasicNackOptions { requeue: true, ..Default::default() };
    taken.delivery.acker.nack(requeue).await.unwrap();
    site.wait_for(&mut worker, "the message is in hand", |status| status["unsettled"] == 1).await;
    age(&site, number, "old", 50, 40).await;
    // The first sweep is due 5 s after the start. On a slow machine it may be over: then this shows less, never wrongly.
    tokio::time::sleep(std::time::Duration::from_secs(8)).await;
    assert_eq!(entries(&site, "message_id LIKE 'old-%'").await, 50);
    drop(lock);
    worker.eventually("it is written", async || site.database.count("orders").await == 2).await;
    worker.stop().await.expect(0);
}
