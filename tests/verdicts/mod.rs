//! What every error is taken for, and what happens next: tables of errors that are provoked on the
//! real servers, each with its verdict. docs/errors.md is made of the same tables.

mod broker;
mod mysql;
mod postgres;
mod refuse;
mod run;
mod sqlite;
mod verdict;

use crate::support::database::Server;

#[tokio::test]
async fn postgres_errors_are_judged_right() {
    run::run(Server::Postgres, postgres::TABLE).await;
}

#[tokio::test]
async fn mysql_errors_are_judged_right() {
    run::run(Server::Mysql, mysql::TABLE).await;
}

#[tokio::test]
async fn sqlite_errors_are_judged_right() {
    run::run(Server::Sqlite, sqlite::TABLE).await;
}

#[tokio::test]
async fn broker_errors_are_judged_right() {
    refuse::run(broker::TABLE).await;
}
