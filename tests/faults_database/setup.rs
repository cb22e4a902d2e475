//! The database is there, but not as the pipeline needs it: it pauses, says what is missing, and
//! goes on by itself when that is mended.

use super::{Site, get, port_of, with_login};
use crate::main_job::orders::{self, Orders};
use crate::support::broker::Kind;
use crate::support::database::{Server, rows};
use crate::support::proxy::Proxy;
use crate::support::wait::unique_name;
use crate::support::worker::Worker;

/// Breaks something while the worker runs, sees it paused with the reason, mends it, and sees the
/// worker go on. Numbers: of the orders that are published meanwhile.
async fn pauses(
    site: &Site,
    worker: &mut Worker,
    numbers: std::ops::Range<usize>,
    (broken, mended): (&str, &str),
    reasons: &[&str],
) {
    let end = numbers.end;
    site.database.execute(broken).await;
    site.publish(&Orders::good(numbers)).await;
    let reason = site.wait_for_state(worker, "paused").await;
    for word in reasons {
        assert!(reason.contains(word), "after {broken}: {reason} doesn't name {word}");
    }
    let (code, body) = get(site.port, "/readyz").await;
    assert_eq!(code, 503, "not ready while paused");
    assert!(reasons.iter().all(|word| body.contains(word)), "{body}");
    assert_eq!(get(site.port, "/livez").await.0, 200, "a restart wouldn't help");
    assert_eq!(site.status().await["dead_lettered"], 0, "after {broken}");
    site.database.execute(mended).await;
    site.wait_settled(worker, end).await;
    assert_eq!(site.status().await["state"], "running");
    assert_eq!(get(site.port, "/readyz").await.0, 200);
}

async fn table_column_and_ledger(server: Server) {
    let site = Site::new(server).await;
    let mut worker = site.running().await;
    let gone = ("DROP TABLE orders", orders::table(server));
    pauses(&site, &mut worker, 0..30, gone, &["orders"]).await;
    let column = ("ALTER TABLE orders RENAME COLUMN note TO remark", "ALTER TABLE orders RENAME COLUMN remark TO note");
    pauses(&site, &mut worker, 30..60, column, &["note"]).await;
    let ledger =
        ("ALTER TABLE rabbit_sink_ledger RENAME TO elsewhere", "ALTER TABLE elsewhere RENAME TO rabbit_sink_ledger");
    // Gone it is never made anew: that would fail to be renamed back.
    pauses(&site, &mut worker, 60..90, ledger, &["rabbit_sink_ledger"]).await;
    site.publish(&Orders::good(0..90)).await;
    site.wait_settled(&mut worker, 180).await;
    assert_eq!(site.status().await["duplicates"], 90, "the ledger is the one that it was");
    site.finish(worker, &Orders::good(0..90)).await;
}

#[tokio::test]
async fn a_lost_table_column_or_ledger_pauses_postgres_until_it_is_back() {
    table_column_and_ledger(Server::Postgres).await;
}

#[tokio::test]
async fn slow_a_lost_table_column_or_ledger_pauses_mysql_until_it_is_back() {
    table_column_and_ledger(Server::Mysql).await;
}

#[tokio::test]
async fn a_lost_table_column_or_ledger_pauses_sqlite_until_it_is_back() {
    table_column_and_ledger(Server::Sqlite).await;
}

/// A new subscription begins with the checks of a start, but isn't one.
#[tokio::test]
async fn a_lost_ledger_is_not_made_anew_when_the_broker_comes_back() {
    let mut site = Site::new(Server::Postgres).await;
    let proxy = Proxy::start(port_of(&site.amqp)).await;
    site.amqp = proxy.url(&site.amqp);
    let mut worker = site.running().await;
    site.publish(&Orders::good(0..30)).await;
    site.wait_settled(&mut worker, 30).await;
    site.database.execute("ALTER TABLE rabbit_sink_ledger RENAME TO elsewhere").await;
    proxy.cut();
    let reason = site.wait_for_state(&mut worker, "paused").await;
    assert!(reason.contains("ledger_missing"), "{reason}");
    site.publish(&Orders::good(0..60)).await;
    assert_eq!(site.broker.ready(&site.queue).await, 60, "nothing is taken");
    // It could not be renamed back if there were another by now.
    site.database.execute("ALTER TABLE elsewhere RENAME TO rabbit_sink_ledger").await;
    site.wait_settled(&mut worker, 90).await;
    assert_eq!(site.status().await["duplicates"], 30);
    site.finish(worker, &Orders::good(0..60)).await;
}

/// Creates a role of PostgreSQL's that may do what the worker needs, and has the worker use it.
pub async fn use_role(site: &mut Site) -> String {
    let role = unique_name("role");
    site.database
        .execute(&format!(
            "CREATE ROLE {role} LOGIN PASSWORD 'right'; GRANT ALL ON SCHEMA public TO {role}; \
             GRANT SELECT, INSERT ON orders TO {role}"
        ))
        .await;
    site.url = with_login(&site.database.url, &role, "right");
    role
}

/// Roles belong to the whole server: this one goes.
pub async fn drop_role(site: &Site, role: &str) {
    let sql = format!("REASSIGN OWNED BY {role} TO tester; DROP OWNED BY {role}; DROP ROLE {role}");
    site.database.execute(&sql).await;
}

#[tokio::test]
async fn a_lost_privilege_or_login_pauses_postgres_until_it_is_granted_again() {
    let mut site = Site::new(Server::Postgres).await;
    let role = use_role(&mut site).await;
    let kicked = format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{role}'");
    let mut worker = site.running().await;
    let steps = [
        (format!("REVOKE INSERT ON orders FROM {role}"), format!("GRANT INSERT ON orders TO {role}"), "INSERT"),
        (
            format!("REVOKE INSERT ON rabbit_sink_ledger FROM {role}"),
            format!("GRANT INSERT ON rabbit_sink_ledger TO {role}"),
            "rabbit_sink_ledger",
        ),
        (
            format!("ALTER ROLE {role} PASSWORD 'another'; {kicked}"),
            format!("ALTER ROLE {role} PASSWORD 'right'"),
            "login",
        ),
        (format!("ALTER ROLE {role} NOLOGIN; {kicked}"), format!("ALTER ROLE {role} LOGIN"), "login"),
    ];
    for (nth, (broken, mended, reason)) in steps.iter().enumerate() {
        pauses(&site, &mut worker, nth * 30..nth * 30 + 30, (broken, mended), &[reason]).await;
    }
    let exit = worker.stop().await.expect(0);
    assert!(!exit.stderr.contains("right"), "the password is in the log");
    site.audit(&Orders::good(0..120)).await;
    drop_role(&site, &role).await;
}

#[tokio::test]
async fn a_wrong_password_at_the_start_pauses_and_takes_nothing() {
    let mut site = Site::new(Server::Mysql).await;
    site.url = with_login(&site.database.url, "tester", "topsecret");
    site.publish(&Orders::good(0..10)).await;
    let mut worker = Worker::run(&site.config());
    let reason = site.wait_for_state(&mut worker, "paused").await;
    assert!(reason.contains("1045"), "{reason}");
    assert_eq!(site.broker.ready(&site.queue).await, 10);
    let exit = worker.stop().await.expect(0);
    assert!(!exit.stderr.contains("topsecret"));
    let exit = Worker::until_empty(&site.config()).await.expect(4);
    assert_eq!(exit.summary().state, "paused");
    site.url = site.database.url.clone();
    site.drain(&Orders::good(0..10)).await;
}

async fn emptied_ledger_is_said(server: Server) {
    let site = Site::new(server).await;
    let orders = Orders::good(0..10);
    site.publish(&orders).await;
    let exit = Worker::until_empty(&site.config()).await.expect(0);
    assert!(!exit.stderr.contains("\"ERROR\""), "{}", exit.stderr);
    site.database.execute("DELETE FROM rabbit_sink_ledger").await;
    let exit = site.drain(&orders).await;
    let said = exit.stderr.lines().any(|line| line.contains("\"ERROR\"") && line.contains("ledger has no entry"));
    assert!(said, "{}", exit.stderr);
}

/// Whichever of them makes the ledger, the others must not take it for an emptied one.
#[tokio::test]
async fn a_new_ledger_isnt_taken_for_an_emptied_one_by_further_consumers() {
    for server in Server::ALL {
        let mut site = Site::new(server).await;
        site.keys = "consumers = 8\n".to_owned();
        let worker = site.running().await;
        let exit = site.finish(worker, &Orders::good(0..0)).await;
        assert!(!exit.stderr.contains("has run before"), "{server:?}: {}", exit.stderr);
        assert_eq!(exit.stderr.matches("guarantee: ").count(), 1, "{server:?}: {}", exit.stderr);
    }
}

#[tokio::test]
async fn slow_an_emptied_ledger_is_said_loudly_at_the_start() {
    for server in Server::ALL {
        emptied_ledger_is_said(server).await;
    }
}

async fn another_target_is_refused(server: Server) {
    let mut site = Site::new(server).await;
    let orders = Orders::good(0..10);
    site.publish(&orders).await;
    Worker::until_empty(&site.config()).await.expect(0);
    site.broker.delete(&site.queue).await;
    site.broker.delete(&format!("{}.dead", site.queue)).await;
    let first = std::mem::replace(&mut site.queue, unique_name("orders"));
    site.broker.declare(&site.queue, Kind::Quorum).await;
    let all = Orders::good(0..20);
    site.broker.publish(&site.queue, Orders::good(10..20).messages).await;
    let exit = Worker::until_empty(&site.config()).await.expect(4);
    let reason = exit.summary().reason.unwrap();
    let named = ["ledger_identity", &first, &site.queue, "--adopt"].iter().all(|word| reason.contains(word));
    assert!(named, "{server:?}: {reason}");
    assert_eq!(site.broker.ready(&site.queue).await, 10, "nothing was taken");
    let adopted = Worker::command(&site.config(), ["run", "--until-empty", "--json", "--adopt", "orders"]);
    assert_eq!(adopted.wait().await.expect(0).summary().written, 10, "{server:?}");
    // Adopted once, it is this pipeline's.
    site.drain(&all).await;
}

#[tokio::test]
async fn a_ledger_of_another_queue_is_refused_until_it_is_adopted() {
    for server in Server::ALL {
        another_target_is_refused(server).await;
    }
}

#[tokio::test]
async fn a_table_that_cannot_roll_back_is_refused() {
    let site = Site::new(Server::Mysql).await;
    site.publish(&Orders::good(0..5)).await;
    site.database.execute("ALTER TABLE orders ENGINE = MyISAM").await;
    let exit = Worker::until_empty(&site.config()).await.expect(4);
    let reason = exit.summary().reason.unwrap();
    assert!(reason.contains("orders") && reason.contains("MyISAM"), "{reason}");
    site.database.execute("ALTER TABLE orders ENGINE = InnoDB").await;
    site.drain(&Orders::good(0..5)).await;
}

#[tokio::test]
async fn an_unlogged_ledger_is_refused_and_weak_commits_are_named() {
    let site = Site::new(Server::Postgres).await;
    site.publish(&Orders::good(0..5)).await;
    Worker::until_empty(&site.config()).await.expect(0);
    site.database.execute("ALTER TABLE rabbit_sink_ledger SET UNLOGGED").await;
    let exit = Worker::until_empty(&site.config()).await.expect(4);
    let reason = exit.summary().reason.unwrap();
    assert!(reason.contains("unlogged") && reason.contains("SET LOGGED"), "{reason}");
    site.database.execute("ALTER TABLE rabbit_sink_ledger SET LOGGED").await;
    let name = rows(&site.database.url, "SELECT current_database()::text").await[0][0].clone().unwrap();
    site.database.execute(&format!("ALTER DATABASE {name} SET synchronous_commit = off")).await;
    let exit = site.drain(&Orders::good(0..5)).await;
    let guarantee = exit.stderr.lines().find(|line| line.contains("guarantee: ")).unwrap();
    assert!(guarantee.contains("synchronous_commit = off"), "{guarantee}");
}
