//! The database refuses rows: each goes alone, with its cause, and its neighbours are written.

use super::setup::{drop_role, use_role};
use super::{Site, add_bad, cause, with_customer};
use crate::main_job::orders::{Cause, Orders};
use crate::support::broker::Message;
use crate::support::database::{Server, TestDatabase};
use crate::support::servers::Mariadb;
use crate::support::worker::Worker;

/// Good orders around one whose customer the database takes offence at.
fn with_one_bad(customer: &str, why: Cause) -> Orders {
    let mut orders = Orders::good(0..40);
    add_bad(&mut orders, "bad", with_customer(1000, customer), why);
    // In the middle of a batch.
    let last = orders.messages.len() - 1;
    orders.messages.swap(last, 20);
    orders
}

/// A trigger of PostgreSQL's that does this before each row, `WHEN` this holds.
fn trigger(when: &str, action: &str) -> String {
    format!(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {action}; RETURN NEW; END $$; \
         CREATE TRIGGER refuse BEFORE INSERT ON orders FOR EACH ROW WHEN ({when}) EXECUTE FUNCTION refuse()"
    )
}

#[tokio::test]
async fn a_row_above_max_allowed_packet_goes_alone() {
    let mariadb = Mariadb::start_with(&["--max-allowed-packet=1M"]).await;
    let site = Site::on(TestDatabase::on(&mariadb.url()).await).await;
    site.database.execute("ALTER TABLE orders MODIFY customer longtext NOT NULL").await;
    let mut orders = with_one_bad(&"x".repeat(2 << 20), cause("row_rejected", "too_large"));
    // Together these don't fit into one packet either; one by one they do.
    for n in 50..54 {
        let (_, mut row) = crate::main_job::orders::good(n);
        let customer = format!("{n}").repeat(300_000 / 2);
        row[0] = Some(customer.clone());
        let id = format!("large-{n}");
        orders.accountant.expect_row(&id, row);
        orders.messages.push(Message::json(&id, with_customer(n, &customer)));
    }
    site.publish(&orders).await;
    let summary = site.drain(&orders).await.summary();
    assert_eq!((summary.written, summary.dead_lettered), (44, 1));
}

#[tokio::test]
async fn a_row_that_kills_its_session_is_found() {
    let site = Site::new(Server::Postgres).await;
    site.database.execute(&trigger("NEW.customer = 'killer'", "PERFORM pg_terminate_backend(pg_backend_pid())")).await;
    let orders = with_one_bad("killer", cause("row_rejected", "connection_lost"));
    site.publish(&orders).await;
    site.drain(&orders).await;
}

#[tokio::test]
async fn a_row_that_a_policy_refuses_goes_alone() {
    let mut site = Site::new(Server::Postgres).await;
    let role = use_role(&mut site).await;
    site.database
        .execute(
            "ALTER TABLE orders ENABLE ROW LEVEL SECURITY; \
             CREATE POLICY mine ON orders FOR INSERT WITH CHECK (customer <> 'theirs')",
        )
        .await;
    let orders = with_one_bad("theirs", cause("sink_misconfigured", "42501"));
    site.publish(&orders).await;
    site.drain(&orders).await;
    drop_role(&site, &role).await;
}

#[tokio::test]
async fn a_row_that_a_trigger_refuses_with_an_error_unknown_to_us_goes_alone() {
    let site = Site::new(Server::Postgres).await;
    site.database.execute(&trigger("NEW.customer = 'unwanted'", "RAISE EXCEPTION 'not this one'")).await;
    let orders = with_one_bad("unwanted", cause("unknown", "P0001"));
    site.publish(&orders).await;
    site.drain(&orders).await;
}

/// Each row fails alone with an error that says nothing, and a probe write passes: they are
/// rejected one after the other, which is a storm before it is a drained queue.
#[tokio::test]
async fn a_trigger_that_refuses_every_row_pauses_as_a_storm() {
    let mut site = Site::new(Server::Postgres).await;
    site.tables = "[pipelines.orders.batch]\nmax_rows = 50".into();
    site.database.execute(&trigger("true", "RAISE EXCEPTION 'none of them'")).await;
    let orders = Orders::good(0..200);
    site.publish(&orders).await;
    let mut worker = Worker::run(&site.config());
    let reason = site.wait_for_state(&mut worker, "paused").await;
    assert!(reason.contains("unknown P0001"), "{reason}");
    site.database.execute("DROP TRIGGER refuse ON orders").await;
    assert_eq!(site.command(&["resume", "orders"]).await.code, Some(0));
    let letters = site.status().await["dead_lettered"].as_u64().unwrap();
    assert!(letters < 110, "{letters} dead letters");
    site.wait_settled(&mut worker, 200).await;
    worker.stop().await.expect(0);
    // Those from before the pause, which somebody replays now.
    let dead = site.letters().await;
    assert_eq!(dead.len() as u64, letters);
    site.broker
        .publish(
            &site.queue,
            dead.into_iter().map(|letter| Message { body: letter.body, properties: letter.properties }),
        )
        .await;
    site.drain(&orders).await;
}

#[tokio::test]
async fn a_row_that_violates_a_deferred_constraint_goes_alone() {
    let site = Site::new(Server::Postgres).await;
    site.database
        .execute("ALTER TABLE orders ADD CONSTRAINT one_each UNIQUE (customer) DEFERRABLE INITIALLY DEFERRED")
        .await;
    let orders = with_one_bad("Zoë 🦊 3", cause("row_rejected", "23505"));
    site.publish(&orders).await;
    let exit = Worker::until_empty(&site.config()).await.expect(0);
    assert_eq!(exit.summary().dead_lettered, 1);
    let letters = site.audit(&orders).await;
    assert!(letters[0].header("x-exception-message").unwrap().contains("one_each"), "{letters:?}");
}

/// A new ID with an order number that is there already.
async fn second_unique_key(server: Server, keys: &str, code: &'static str, name: &str) {
    // SQLite names the columns of the key.
    let column = (server == Server::Sqlite).then_some("customer");
    let why = || Cause { class: "row_rejected", code, column };
    let mut site = Site::new(server).await;
    site.keys = keys.into();
    site.database.execute("CREATE UNIQUE INDEX order_number ON orders (customer)").await;
    // In the same batch as the row that it collides with, and in a later one.
    let mut orders = with_one_bad("Zoë 🦊 3", why());
    site.publish(&orders).await;
    let first = Worker::until_empty(&site.config()).await.expect(0).summary();
    assert_eq!((first.written, first.duplicates, first.dead_lettered), (40, 0, 1), "{server:?} {keys}");
    let before = orders.messages.len();
    add_bad(&mut orders, "later", with_customer(1001, "Zoë 🦊 4"), why());
    site.broker.publish(&site.queue, orders.messages[before..].to_vec()).await;
    let second = Worker::until_empty(&site.config()).await.expect(0).summary();
    assert_eq!((second.written, second.duplicates, second.dead_lettered), (0, 0, 1), "{server:?} {keys}");
    for letter in site.audit(&orders).await {
        let reason = letter.header("x-exception-message").unwrap();
        assert!(reason.contains(name), "{server:?} {keys}: {reason} doesn't name the key");
    }
}

#[tokio::test]
async fn another_unique_key_rejects_in_postgres_and_never_swallows() {
    second_unique_key(Server::Postgres, "", "23505", "order_number").await;
    second_unique_key(Server::Postgres, "deduplicate = \"column:id\"", "23505", "order_number").await;
}

#[tokio::test]
async fn another_unique_key_rejects_in_mysql_and_never_swallows() {
    second_unique_key(Server::Mysql, "", "1062", "order_number").await;
    second_unique_key(Server::Mysql, "deduplicate = \"column:id\"", "1062", "order_number").await;
}

#[tokio::test]
async fn another_unique_key_rejects_in_sqlite_and_never_swallows() {
    let code = "SQLITE_CONSTRAINT_UNIQUE";
    second_unique_key(Server::Sqlite, "", code, "orders.customer").await;
    second_unique_key(Server::Sqlite, "deduplicate = \"column:id\"", code, "orders.customer").await;
}

/// Children come before their parents. Waiting for them holds nobody up; a parent that never
/// comes is the message's fault.
async fn missing_parent(server: Server, code: &'static str) {
    let mut site = Site::new(server).await;
    let text = if server == Server::Mysql { "varchar(100) CHARACTER SET utf8mb4" } else { "text" };
    let parents = format!("CREATE TABLE customers (name {text} PRIMARY KEY)");
    let foreign_key = "CONSTRAINT of_customer FOREIGN KEY (customer) REFERENCES customers (name)";
    match server {
        // SQLite can't add one later.
        Server::Sqlite => {
            let table = crate::main_job::orders::table(server);
            let table = table.replace("extra json)", &format!("extra json, {foreign_key})"));
            site.database.execute(&format!("{parents}; DROP TABLE orders; {table}")).await;
        }
        _ => site.database.execute(&format!("{parents}; ALTER TABLE orders ADD {foreign_key}")).await,
    }
    let insert = |numbers: std::ops::Range<usize>| {
        let values: Vec<String> = numbers.map(|n| format!("('Zoë 🦊 {n}')")).collect();
        format!("INSERT INTO customers VALUES {}", values.join(", "))
    };
    site.database.execute(&insert(10..60)).await;
    site.retry = "missing_parent = \"5m\"".into();
    // 0 to 9 come first, and their parents last.
    let mut orders = Orders::good(0..60);
    site.publish(&orders).await;
    let mut worker = Worker::run(&site.config());
    site.wait_settled(&mut worker, 50).await;
    let status = site.status().await;
    assert_eq!((&status["state"], &status["unsettled"]), (&"running".into(), &10.into()), "{status}");
    site.database.execute(&insert(0..10)).await;
    site.wait_settled(&mut worker, 60).await;
    worker.stop().await.expect(0);
    site.retry = "missing_parent = \"300ms\"".into();
    let before = orders.messages.len();
    add_bad(&mut orders, "orphan", with_customer(1000, "nobody"), cause("row_rejected", code));
    site.broker.publish(&site.queue, orders.messages[before..].to_vec()).await;
    let exit = Worker::until_empty(&site.config()).await.expect(0);
    assert_eq!(exit.summary().dead_lettered, 1);
    let letters = site.audit(&orders).await;
    let attempts: u32 = letters[0].header("x-sink-attempts").unwrap().parse().unwrap();
    assert!(attempts > 2, "it was tried again before it was given up: {attempts}");
}

#[tokio::test]
async fn a_child_waits_for_its_parent_in_postgres_while_others_pass() {
    missing_parent(Server::Postgres, "23503").await;
}

#[tokio::test]
async fn a_child_waits_for_its_parent_in_mysql_while_others_pass() {
    missing_parent(Server::Mysql, "1452").await;
}

#[tokio::test]
async fn a_child_waits_for_its_parent_in_sqlite_while_others_pass() {
    missing_parent(Server::Sqlite, "SQLITE_CONSTRAINT_FOREIGNKEY").await;
}
