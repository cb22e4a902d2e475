//! What every error is taken for, and what happens next: tables of errors that are provoked on the
//! real servers, each with its verdict. docs/errors.md is made of the same tables.

mod broker;
mod hand;
mod mysql;
mod page;
mod postgres;
mod refuse;
mod run;
mod sqlite;
mod verdict;

use std::collections::BTreeSet;
use std::time::Duration;

use crate::support::database::Server;
use verdict::{Next, On, Verdict};

#[tokio::test]
async fn slow_postgres_errors_are_judged_right() {
    run::run(Server::Postgres, postgres::TABLE).await;
}

#[tokio::test]
async fn slow_mysql_errors_are_judged_right() {
    run::run(Server::Mysql, mysql::TABLE).await;
}

#[tokio::test]
async fn slow_sqlite_errors_are_judged_right() {
    run::run(Server::Sqlite, sqlite::TABLE).await;
}

#[tokio::test]
async fn slow_broker_errors_are_judged_right() {
    refuse::run(broker::TABLE).await;
}

#[test]
fn tables_are_long_enough_and_name_each_line_once() {
    for (what, table) in [("postgres", postgres::TABLE), ("mysql", mysql::TABLE), ("sqlite", sqlite::TABLE)] {
        let of = |on: On| table.iter().filter(|verdict| verdict.on == On::All || verdict.on == on).count();
        assert!(of(On::Mariadb) >= 25 && of(On::Mysql) >= 25, "{what}: {} and {}", of(On::Mariadb), of(On::Mysql));
        let names: BTreeSet<&str> = table.iter().map(|verdict| verdict.name).collect();
        assert_eq!(names.len(), table.len(), "{what} has a name twice");
        let said = |verdict: &&Verdict| !verdict.means.is_empty() && !verdict.code.is_empty();
        assert_eq!(table.iter().filter(said).count(), table.len(), "{what} has a line that says nothing");
        for next in [Next::DeadLettered, Next::Waits, Next::Retried, Next::Held, Next::Paused] {
            assert!(table.iter().any(|verdict| verdict.next == next), "{what} has no {next:?}");
        }
    }
    assert!(broker::TABLE.len() >= 12);
}

/// A minute is the point here: it is longer than all of the worker's timeouts together.
#[tokio::test]
async fn slow_a_lock_held_for_a_minute_dead_letters_nothing() {
    let lock = |server, table: &[Verdict]| {
        let locked: Vec<Verdict> = table.iter().filter(|verdict| verdict.name == "table_locked").copied().collect();
        async move { run::run_for(server, &locked, Duration::from_secs(61)).await }
    };
    tokio::join!(lock(Server::Postgres, postgres::TABLE), lock(Server::Mysql, mysql::TABLE));
}
