//! The database is there, but not as the pipeline needs it: the worker pauses, says what is wrong,
//! and goes on by itself when that is mended.

use std::process::Command;

use super::session::{WORKER, disconnect, log_in_as_worker};
use super::{SHARED, Setting, counted, quiet, retries, shows};
use crate::faults::books::{Expected, Order};
use crate::faults::producer::Mix;
use crate::faults::scene::Scene;
use crate::main_job::orders::{self, Cause};
use crate::support::database::{Server, try_execute};
use crate::support::process::run;
use crate::support::wait::{PATIENCE, eventually};
use crate::support::worker::Worker;

pub async fn password_changed(scene: &mut Scene) {
    log_in_as_worker(scene).await;
    let (alter, code) = match scene.run.server {
        Server::Postgres => ("ALTER ROLE worker PASSWORD", "28P01"),
        _ => ("ALTER USER worker IDENTIFIED BY", "1045"),
    };
    scene.database.execute(&format!("{alter} 'another'")).await;
    disconnect(scene, WORKER).await;
    shows(scene, "paused", &[code, "login"]).await;
    scene.database.execute(&format!("{alter} 'right'")).await;
    scene.mended().await;
}

pub async fn privilege_revoked(scene: &mut Scene) {
    log_in_as_worker(scene).await;
    for table in ["orders", "rabbit_sink_ledger"] {
        scene.database.execute(&format!("REVOKE INSERT ON {table} FROM worker")).await;
        shows(scene, "paused", &["INSERT", table]).await;
        scene.database.execute(&format!("GRANT INSERT ON {table} TO worker")).await;
        scene.flowing(20).await;
    }
    scene.mended().await;
}

/// Nobody sees a state in between. Statements may wait for the worker's transactions.
async fn at_once(scene: &Scene, tables: &str, sql: &str) {
    let sql = match scene.run.server {
        Server::Postgres => {
            let locks = if tables.is_empty() { String::new() } else { format!("LOCK TABLE {tables}; ") };
            format!("BEGIN; {locks}{sql}; COMMIT")
        }
        Server::Mysql => {
            let locks = tables.replace(',', " WRITE,");
            let locks = if tables.is_empty() { String::new() } else { format!("LOCK TABLES {locks} WRITE; ") };
            format!("{locks}{sql}; UNLOCK TABLES")
        }
        Server::Sqlite => format!("BEGIN IMMEDIATE; {sql}; COMMIT"),
    };
    let url = &scene.database.url;
    let mut said = String::new();
    // It may meet the worker in a deadlock.
    eventually(PATIENCE, &sql, async || match try_execute(url, &sql).await {
        Ok(()) => true,
        Err(error) => {
            let error = error.to_string();
            if said != error {
                eprintln!("{sql}: {error}");
                said = error;
            }
            false
        }
    })
    .await;
}

/// The table without a key, under this name.
fn table(server: Server, name: &str) -> String {
    let text = orders::table(server).replace("PRIMARY KEY", "NOT NULL");
    text.replace("TABLE orders", &format!("TABLE {name}")).replace("CONSTRAINT positive ", "")
}

pub async fn table_dropped(scene: &mut Scene) {
    let server = scene.run.server;
    scene.database.execute(&table(server, "kept")).await;
    at_once(scene, "orders, kept", "INSERT INTO kept SELECT * FROM orders; DROP TABLE orders").await;
    shows(scene, "paused", &["orders"]).await;
    let create = table(server, "fresh");
    let copy = format!("{create}; INSERT INTO fresh SELECT * FROM kept");
    at_once(scene, "", &format!("{copy}; ALTER TABLE fresh RENAME TO orders")).await;
    scene.mended().await;
}

/// Moves all rows into a table that is made with these options of MariaDB's.
pub async fn rebuild(scene: &Scene, options: &str) {
    scene.database.execute(&format!("{}{options}", table(scene.run.server, "fresh"))).await;
    let copy = "INSERT INTO fresh SELECT * FROM orders; DROP TABLE orders; ALTER TABLE fresh RENAME TO orders";
    at_once(scene, "orders, fresh", copy).await;
}

pub async fn column_dropped(scene: &mut Scene) {
    let text = if scene.run.server == Server::Mysql { "varchar(20)" } else { "text" };
    let drop = format!(
        "ALTER TABLE orders ADD COLUMN kept {text}; UPDATE orders SET kept = note; ALTER TABLE orders DROP COLUMN note"
    );
    at_once(scene, "orders", &drop).await;
    shows(scene, "paused", &["note"]).await;
    let add = format!(
        "ALTER TABLE orders ADD COLUMN note {text} DEFAULT 'none'; UPDATE orders SET note = kept; \
         ALTER TABLE orders DROP COLUMN kept"
    );
    at_once(scene, "orders", &add).await;
    scene.mended().await;
}

pub async fn column_added(scene: &mut Scene) {
    for column in ["region varchar(10)", "source varchar(10) NOT NULL DEFAULT 'web'"] {
        at_once(scene, "orders", &format!("ALTER TABLE orders ADD COLUMN {column}")).await;
        scene.flowing(100).await;
    }
    assert_eq!(retries(scene, "sink_misconfigured").await, 0, "tried again");
    assert_eq!(scene.worker().status().await["state"], "running");
    scene.mended().await;
}

/// Where the ledger is gone, repeats are written again.
pub const NO_REPEATS: Setting = Setting { mix: Mix { twice_every: 0, ..Mix::USUAL }, ..SHARED };

pub async fn ledger_dropped(scene: &mut Scene) {
    at_once(scene, "rabbit_sink_ledger", "DROP TABLE rabbit_sink_ledger").await;
    shows(scene, "paused", &["ledger_missing", "rabbit_sink_ledger"]).await;
    let config = scene.folder.join("rabbit-sink.toml");
    std::fs::write(&config, scene.config(1)).expect("an own folder");
    let ddl = run(Command::new(Worker::program()).args(["init", "--ledger", "--config"]).arg(&config));
    scene.database.execute(&ddl).await;
    scene.mended().await;
}

/// Each of these is settled, whatever becomes of it.
async fn settle(scene: &mut Scene, orders: Vec<Order>) {
    let target = counted(scene, "settled").await + orders.len() as u64;
    scene.publish(orders).await;
    scene.until("all of them are settled", async |scene| counted(scene, "settled").await >= target).await;
}

pub async fn column_narrowed(scene: &mut Scene) {
    quiet(scene).await;
    let (narrow, widen, cause) = match scene.run.server {
        Server::Postgres => (
            "ALTER TABLE orders ALTER COLUMN customer TYPE varchar(20)",
            "ALTER TABLE orders ALTER COLUMN customer TYPE text",
            // Whoever meets it first: the server (22001), or a mapping that knows by now.
            None,
        ),
        _ => (
            "ALTER TABLE orders MODIFY customer varchar(20) CHARACTER SET utf8mb4 NOT NULL",
            "ALTER TABLE orders MODIFY customer varchar(100) CHARACTER SET utf8mb4 NOT NULL",
            Some(Cause { class: "mapping", code: "too_long", column: Some("customer") }),
        ),
    };
    at_once(scene, "orders", narrow).await;
    let mut among: Vec<Order> = (0..20).map(fine).collect();
    for n in 0..5 {
        let (body, _) = orders::good(n);
        let body = body.replace(&format!("Zoë 🦊 {n}"), "a name of more than twenty characters");
        among.insert(4 * n, Order::new(&format!("long-{n}"), body, Expected::Dead(cause.clone())));
    }
    settle(scene, among).await;
    at_once(scene, "orders", widen).await;
    scene.producer.resume();
    scene.mended().await;
}

/// A good order whose amount is a whole number.
fn fine(n: usize) -> Order {
    let (body, row) = orders::good(100 * n);
    Order::new(&format!("fine-{n}"), body, Expected::Row(row))
}

/// A good order whose amount has two digits after the point.
fn fraction(n: usize) -> (String, String) {
    let (body, _) = orders::good(100 * n + 55);
    (format!("fraction-{n}"), body)
}

/// Among others, orders whose amount the column can't keep for now.
async fn publish_fractions(scene: &mut Scene) {
    let mut among: Vec<Order> = (1..21).map(fine).collect();
    for n in 0..5 {
        let (id, body) = fraction(n);
        let cause = Cause { class: "mapping", code: "lossy", column: Some("amount") };
        among.insert(4 * n, Order::new(&id, body, Expected::Dead(Some(cause))));
    }
    settle(scene, among).await;
}

/// The column `amount` becomes this type, in which some orders can't be kept as they were sent.
async fn amount_changed(scene: &mut Scene, to: &str, back: &str) {
    quiet(scene).await;
    let server = scene.run.server;
    if server == Server::Sqlite {
        // SQLite rounds nothing, and changes no column of a table.
        let rebuild = |to: &str| {
            let create = table(server, "fresh").replace("amount decimal(12,2)", &format!("amount {to}"));
            format!(
                "{create}; INSERT INTO fresh SELECT * FROM orders; DROP TABLE orders; ALTER TABLE fresh RENAME TO orders"
            )
        };
        at_once(scene, "", &rebuild(to)).await;
        publish_fractions(scene).await;
        at_once(scene, "", &rebuild(back)).await;
        scene.producer.resume();
        return scene.mended().await;
    }
    let alter = |to: &str| match server {
        Server::Postgres => format!("ALTER TABLE orders ALTER COLUMN amount TYPE {to}"),
        _ => format!("ALTER TABLE orders MODIFY amount {to} NOT NULL"),
    };
    // What is there mustn't be rounded either.
    at_once(scene, "orders", &format!("ALTER TABLE orders ADD COLUMN kept {back}")).await;
    at_once(scene, "orders", &format!("UPDATE orders SET kept = amount; {}", alter(to))).await;
    publish_fractions(scene).await;
    let restore = "UPDATE orders SET amount = kept WHERE kept IS NOT NULL; ALTER TABLE orders DROP COLUMN kept";
    at_once(scene, "orders", &format!("{}; {restore}", alter(back))).await;
    scene.producer.resume();
    scene.mended().await;
}

pub async fn scale_narrowed(scene: &mut Scene) {
    amount_changed(scene, "decimal(12,1)", "decimal(12,2)").await;
}

pub async fn type_changed(scene: &mut Scene) {
    amount_changed(scene, "bigint", "decimal(12,2)").await;
}
