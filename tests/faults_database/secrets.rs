//! Whatever goes wrong, values stay out of logs, metrics and `/status`; the dead letter alone tells
//! them. Passwords are told nowhere.

use super::{Site, add_bad, cause, get, with_customer, with_login};
use crate::main_job::orders::{Cause, Orders, check_code, good};
use crate::support::broker::{Message, Taken};
use crate::support::database::Server;
use crate::support::worker::Worker;

/// Planted in every value that a server or a parser might quote.
const MARKER: &str = "sEcReT-4711";

/// Also in the shape in which a library prints a frame's bytes.
fn tells(text: &str) -> bool {
    let bytes = format!("{:?}", MARKER.as_bytes());
    text.contains(MARKER) || text.contains(bytes.trim_matches(['[', ']']))
}

/// Our own words at the finest level, and those of the libraries that see logins and bodies.
const LOG: (&str, &str) = ("RABBIT_SINK_LOG", "trace,lapin=trace,sqlx=trace,hyper=trace");

/// Bad orders of every kind that this server refuses, and of those that we refuse ourselves.
fn provoking(server: Server) -> Orders {
    let mut orders = Orders::good(0..20);
    let column = |class, code, column| Cause { class, code, column: Some(column) };
    let unique = match server {
        Server::Postgres => cause("row_rejected", "23505"),
        Server::Mysql => cause("row_rejected", "1062"),
        Server::Sqlite => column("row_rejected", "SQLITE_CONSTRAINT_UNIQUE", "customer"),
    };
    let check = cause("row_rejected", check_code(server));
    // Two with one customer, of which the first is good.
    let (_, mut row) = good(100);
    row[0] = Some(MARKER.to_owned());
    orders.accountant.expect_row("first", row);
    orders.messages.push(Message::json("first", with_customer(100, MARKER)));
    add_bad(&mut orders, "unique", with_customer(101, MARKER), unique);
    let negative = with_customer(102, &format!("{MARKER} 2")).replace("\"quantity\":", "\"quantity\":-");
    add_bad(&mut orders, "check", negative, check.clone());
    add_bad(
        &mut orders,
        &format!("{MARKER}-id"),
        with_customer(103, "x").replace("\"quantity\":", "\"quantity\":-"),
        check,
    );
    add_bad(&mut orders, "json", format!("{{\"customer\": {MARKER}}}"), cause("decode", "not_json"));
    add_bad(&mut orders, "cut", format!("{{\"{MARKER}\": \"{MARKER}"), cause("decode", "not_json"));
    let amount = good(104).0.replace("\"amount\":", &format!("\"amount\":\"{MARKER}\",\"old\":"));
    add_bad(&mut orders, "amount", amount, column("mapping", "wrong_type", "amount"));
    let placed = good(105).0.replace("\"placed_at\":", &format!("\"placed_at\":\"{MARKER}\",\"old\":"));
    add_bad(&mut orders, "placed", placed, column("mapping", "invalid", "placed_at"));
    orders
}

/// An order whose ID was written with another body before: its letter and its row have one ID.
fn other_body() -> Message {
    Message::json("order-3", with_customer(3, &format!("{MARKER} 3")))
}

async fn values_stay_out_of_sight(server: Server) {
    let mut site = Site::new(server).await;
    site.database_keys.push_str("application_name = \"orders\"\n");
    site.database.execute("CREATE UNIQUE INDEX one_each ON orders (customer)").await;
    let orders = provoking(server);
    site.publish(&orders).await;
    let mut worker = Worker::command_with(&site.config(), ["run"], [LOG]);
    let count = orders.messages.len();
    site.wait_settled(&mut worker, count).await;
    site.broker.publish(&site.queue, [other_body()]).await;
    site.wait_settled(&mut worker, count + 1).await;
    for path in ["/metrics", "/status", "/readyz", "/livez"] {
        let (_, body) = get(site.port, path).await;
        assert!(!body.is_empty() && !tells(&body), "{server:?} {path}: {body}");
    }
    let exit = worker.stop().await.expect(0);
    let told = format!("{}\n{}", exit.stdout, exit.stderr);
    assert!(told.contains("dead-lettered"), "it does log: {told}");
    assert!(!tells(&told), "{server:?}: {told}");
    let (conflicts, letters): (Vec<Taken>, Vec<Taken>) =
        site.letters().await.into_iter().partition(|letter| letter.message_id().as_deref() == Some("order-3"));
    assert_eq!(conflicts.len(), 1);
    assert_eq!(conflicts[0].header("x-sink-error-class").as_deref(), Some("id_conflict"));
    orders.audit(&site.database, &letters).await;
    let reason = |id: &str| {
        let letter = letters.iter().find(|letter| letter.message_id().as_deref() == Some(id)).unwrap();
        letter.header("x-exception-message").unwrap()
    };
    // SQLite's own words have no values in them.
    let quoting: &[&str] =
        if server == Server::Sqlite { &["amount", "placed"] } else { &["unique", "amount", "placed"] };
    for id in quoting {
        assert!(reason(id).contains(MARKER), "{server:?} {id}: {}", reason(id));
    }
    site.broker.delete(&site.queue).await;
    site.broker.delete(&format!("{}.dead", site.queue)).await;
}

#[tokio::test]
async fn values_stay_out_of_logs_metrics_and_status_in_postgres() {
    values_stay_out_of_sight(Server::Postgres).await;
}

#[tokio::test]
async fn values_stay_out_of_logs_metrics_and_status_in_mysql() {
    values_stay_out_of_sight(Server::Mysql).await;
}

#[tokio::test]
async fn values_stay_out_of_logs_metrics_and_status_in_sqlite() {
    values_stay_out_of_sight(Server::Sqlite).await;
}

/// Wrong passwords, unreachable servers: the places where URLs would like to be quoted.
#[tokio::test]
async fn passwords_stay_out_of_everything() {
    for server in [Server::Postgres, Server::Mysql] {
        let mut site = Site::new(server).await;
        let database = with_login(&site.database.url, "tester", MARKER);
        let away = database.replace(&format!(":{}", super::port_of(&database)), ":1");
        let amqp = site.amqp.replace("guest:guest", &format!("guest:{MARKER}"));
        let good = (site.url.clone(), site.amqp.clone());
        for (database, amqp, state) in
            [(&database, &good.1, "paused"), (&away, &good.1, "holding"), (&good.0, &amqp, "reconnecting")]
        {
            (site.url, site.amqp) = (database.clone(), amqp.clone());
            let mut worker = Worker::command_with(&site.config(), ["run"], [LOG]);
            let mut reason = String::new();
            // A refused login of the broker's may be a pause as well.
            site.wait_for(&mut worker, "it has met the fault", |status| {
                reason = status["reason"].as_str().unwrap_or_default().to_owned();
                !reason.is_empty() && (status["state"] == state || status["state"] == "paused")
            })
            .await;
            let mut told = reason;
            for path in ["/metrics", "/status", "/readyz"] {
                told.push_str(&get(site.port, path).await.1);
            }
            let exit = worker.stop().await.expect(0);
            told.push_str(&exit.stderr);
            told.push_str(&exit.stdout);
            for arguments in [["check"].as_slice(), &["status"]] {
                let exit = site.command(arguments).await;
                told.push_str(&exit.stderr);
                told.push_str(&exit.stdout);
            }
            assert!(!tells(&told), "{server:?}, {state}: {told}");
        }
        site.broker.delete(&site.queue).await;
    }
}
