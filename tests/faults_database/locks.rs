//! Somebody else holds what the worker needs, or the server takes too long: it waits and tries
//! again, and no message is to blame.

use sqlx::{Connection, Executor, MySqlConnection, PgConnection, SqliteConnection};

use super::Site;
use crate::main_job::orders::Orders;
use crate::support::database::Server;
use crate::support::servers::Flavour;
use crate::support::worker::Worker;

/// A connection of the test's that holds a lock until it is closed.
enum Locker {
    Postgres(PgConnection),
    Mysql(MySqlConnection),
    Sqlite(SqliteConnection),
}

impl Locker {
    async fn lock(site: &Site) -> Locker {
        let url = &site.database.url;
        match site.server() {
            Server::Postgres => {
                let mut connection = PgConnection::connect(url).await.unwrap();
                connection.execute("BEGIN; LOCK TABLE orders IN ACCESS EXCLUSIVE MODE").await.unwrap();
                Locker::Postgres(connection)
            }
            Server::Mysql => {
                let mut connection = MySqlConnection::connect(url).await.unwrap();
                connection.execute("LOCK TABLES orders WRITE").await.unwrap();
                Locker::Mysql(connection)
            }
            Server::Sqlite => {
                let mut connection = SqliteConnection::connect(url).await.unwrap();
                connection.execute("BEGIN EXCLUSIVE").await.unwrap();
                Locker::Sqlite(connection)
            }
        }
    }

    async fn unlock(self) {
        match self {
            Locker::Postgres(connection) => connection.close().await.unwrap(),
            Locker::Mysql(connection) => connection.close().await.unwrap(),
            Locker::Sqlite(mut connection) => {
                connection.execute("ROLLBACK").await.unwrap();
                connection.close().await.unwrap();
            }
        }
    }
}

/// A lock for longer than `lock_timeout`, met this often.
async fn locked(server: Server, retries: u64, held: bool) {
    let mut site = Site::new(server).await;
    site.database_keys = "lock_timeout = \"100ms\"\nstatement_timeout = \"5s\"\n".into();
    let mut worker = site.running().await;
    let locker = Locker::lock(&site).await;
    let orders = Orders::good(0..60);
    site.publish(&orders).await;
    site.wait_retries(&mut worker, "sink_contention", retries).await;
    if held {
        let reason = site.wait_for_state(&mut worker, "holding").await;
        assert!(reason.contains("sink_contention"), "{reason}");
    }
    let status = site.status().await;
    assert_eq!((&status["written"], &status["dead_lettered"]), (&0.into(), &0.into()), "{status}");
    locker.unlock().await;
    site.wait_settled(&mut worker, 60).await;
    site.finish(worker, &orders).await;
}

#[tokio::test]
async fn slow_a_locked_table_is_waited_for_and_then_held_in_postgres() {
    locked(Server::Postgres, 12, true).await;
}

// MySQL counts this timeout in whole seconds.
#[tokio::test]
async fn slow_a_locked_table_is_waited_for_in_mysql() {
    locked(Server::Mysql, 2, false).await;
}

#[tokio::test]
async fn slow_a_locked_file_is_waited_for_and_then_held_in_sqlite() {
    locked(Server::Sqlite, 12, true).await;
}

/// A statement that takes longer than `statement_timeout` as long as there is a brake: this failure
/// is met again and again.
async fn braked(server: Server, trigger: &str, (class, code): (&str, &str)) {
    let mut site = Site::new(server).await;
    site.database_keys = "statement_timeout = \"300ms\"\nlock_timeout = \"5s\"\n".into();
    site.database.execute("CREATE TABLE brake (id int)").await;
    site.database.execute(trigger).await;
    let mut worker = site.running().await;
    site.database.execute("INSERT INTO brake VALUES (1)").await;
    let orders = Orders::good(0..60);
    site.publish(&orders).await;
    worker.logs(&format!("{class} {code}")).await;
    site.wait_retries(&mut worker, class, if class == "sink_contention" { 7 } else { 2 }).await;
    let status = site.status().await;
    assert_eq!((&status["written"], &status["dead_lettered"]), (&0.into(), &0.into()), "{status}");
    site.database.execute("DELETE FROM brake").await;
    site.wait_settled(&mut worker, 60).await;
    site.finish(worker, &orders).await;
}

#[tokio::test]
async fn a_statement_that_takes_too_long_costs_no_message_in_postgres() {
    let trigger = "CREATE FUNCTION brake() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
                   PERFORM pg_sleep(60) FROM brake; RETURN NEW; END $$; \
                   CREATE TRIGGER brake BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION brake()";
    braked(Server::Postgres, trigger, ("sink_contention", "57014")).await;
}

#[tokio::test]
async fn slow_a_statement_that_takes_too_long_costs_no_message_in_mysql() {
    let trigger = "CREATE TRIGGER brake BEFORE INSERT ON orders FOR EACH ROW \
                   SET @slept = (SELECT SLEEP(60) FROM brake LIMIT 1)";
    let failure = match Flavour::installed() {
        Flavour::Mariadb => ("sink_contention", "1969"),
        // Its own timeout is for SELECT only: it is we who lose patience.
        Flavour::Mysql => ("sink_unavailable", "deadline"),
    };
    braked(Server::Mysql, trigger, failure).await;
}

/// One writer at a time, and each of them impatient: they queue up behind SQLITE_BUSY.
#[tokio::test]
async fn two_processes_share_one_sqlite_file() {
    let mut site = Site::new(Server::Sqlite).await;
    site.database_keys = "lock_timeout = \"100ms\"\n".into();
    site.keys = "prefetch = 100".into();
    site.tables = "[pipelines.orders.batch]\nmax_rows = 20".into();
    let mut one = site.running().await;
    // So that they really meet: nobody can write when both have something to write.
    let locker = Locker::lock(&site).await;
    let mut orders = Orders::good(0..2_000);
    orders.messages.extend(Orders::good(0..200).messages);
    site.publish(&orders).await;
    site.wait_retries(&mut one, "sink_contention", 2).await;
    let first = std::mem::replace(&mut site.port, crate::support::process::free_port());
    let mut two = Worker::run(&site.config());
    let reason = site.wait_for_state(&mut two, "holding").await;
    assert!(reason.contains("SQLITE_BUSY"), "{reason}");
    locker.unlock().await;
    let second = site.port;
    let mut counts = [0; 2];
    one.eventually("all are settled between them", async || {
        for (count, port) in counts.iter_mut().zip([first, second]) {
            site.port = port;
            *count = site.status().await["settled"].as_u64().unwrap_or(0);
        }
        counts.iter().sum::<u64>() == 2_200
    })
    .await;
    assert!(counts.iter().all(|&count| count > 0), "both have written: {counts:?}");
    two.stop().await.expect(0);
    site.finish(one, &orders).await;
}
