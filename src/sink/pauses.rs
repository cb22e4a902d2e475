//! Orders to pause that every replica obeys: a row for each pipeline, in a table beside the ledger's.
//!
//! The table is made with the ledger, or by the first order: a worker that finds none knows that nothing
//! was ordered. It has no layout of its own: columns are named in every statement, so that a later
//! version may add some.

use std::future::Future;

use futures_util::future::BoxFuture;

use super::letters::{Engine, Value};
use crate::catalogue::TableName;
use crate::error::{ErrorClass, Failure};

/// How often an order that meets another one is tried: one of those that meet gets through each time.
const ATTEMPTS: u32 = 10;
/// Rows that are read: more than any config has pipelines.
const MOST: u32 = 10_000;

/// An order as it stands in the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredPause {
    /// The pipeline's name.
    pub pipeline: String,
    /// Whoever gave it.
    pub by: String,
    /// Why; may be empty.
    pub reason: String,
    /// When.
    pub since: jiff::Timestamp,
}

/// The table of orders, through one session. The session's contract holds here, too.
pub trait PauseTable: Send {
    /// What is ordered now. `None`: there is no such table, or, in MySQL, none that this login may see.
    fn read(&mut self) -> BoxFuture<'_, Result<Option<Vec<StoredPause>>, Failure>>;

    /// Orders, each in place of an earlier one of its pipeline. Makes the table where it is missing;
    /// without the right to, `sink_misconfigured` with the DDL in the message.
    fn put<'a>(&'a mut self, orders: &'a [StoredPause]) -> BoxFuture<'a, Result<(), Failure>>;

    /// Takes back what is ordered of these pipelines.
    fn remove<'a>(&'a mut self, pipelines: &'a [&'a str]) -> BoxFuture<'a, Result<(), Failure>>;
}

/// What a database must do for it, besides what dead letters need.
pub(super) trait Rows: Engine {
    /// `paused_at` as `2026-01-31 08:00:00.000000` in UTC.
    const PAUSED_AT: &'static str;

    fn pauses_ddl(table: &TableName) -> String;

    /// Rows of texts. NULL reads as an empty one.
    fn texts(&mut self, sql: String) -> impl Future<Output = Result<Vec<Vec<String>>, Failure>> + Send;
}

/// The name of the table.
pub(super) fn table(ledger: &TableName) -> TableName {
    TableName { schema: ledger.schema.clone(), name: format!("{}_pauses", ledger.name) }
}

/// A table and the session that it is used through.
pub(super) struct Pauses<E> {
    pub engine: E,
    pub table: TableName,
}

impl<E: Rows> Pauses<E> {
    async fn read_all(&mut self) -> Result<Option<Vec<StoredPause>>, Failure> {
        let sql = format!(
            "SELECT pipeline, paused_by, reason, {} FROM {} ORDER BY pipeline LIMIT {MOST}",
            E::PAUSED_AT,
            E::quote(&self.table)
        );
        match self.engine.texts(sql).await {
            Ok(rows) => Ok(Some(rows.into_iter().map(stored).collect())),
            Err(failure) if is_unseen(&failure) => Ok(None),
            Err(failure) if failure.class == ErrorClass::SinkMisconfigured => {
                Err(not_readable(&E::quote(&self.table), &failure))
            }
            Err(failure) => Err(failure),
        }
    }

    async fn put_all(&mut self, orders: &[StoredPause]) -> Result<(), Failure> {
        if self.read_all().await?.is_none() {
            self.create().await?;
        }
        let mut attempt = 1;
        loop {
            match self.transaction(Work::Put(orders)).await {
                // Somebody else's order of the same pipeline: ours is the later one.
                Err(failure)
                    if attempt < ATTEMPTS
                        && matches!(failure.class, ErrorClass::RowRejected | ErrorClass::SinkContention) =>
                {
                    attempt += 1;
                }
                done => return done,
            }
        }
    }

    async fn create(&mut self) -> Result<(), Failure> {
        let ddl = E::pauses_ddl(&self.table);
        match self.engine.run(ddl.trim_end().trim_end_matches(';').to_owned(), &[]).await {
            Ok(()) => Ok(()),
            // Another order may have made it at the same time, which fails in PostgreSQL.
            Err(_) if self.read_all().await.is_ok_and(|found| found.is_some()) => Ok(()),
            Err(failure) if failure.class == ErrorClass::SinkMisconfigured => {
                Err(not_created(&self.table, &failure, &ddl))
            }
            Err(failure) => Err(failure),
        }
    }

    async fn transaction(&mut self, work: Work<'_>) -> Result<(), Failure> {
        self.engine.begin().await?;
        let worked = match work {
            Work::Put(orders) => self.replace(orders).await,
            Work::Remove(pipelines) => self.delete(pipelines.iter().copied()).await,
        };
        let done = match worked {
            Ok(()) => self.engine.commit().await,
            Err(failure) => Err(failure),
        };
        if done.is_err() {
            self.engine.roll_back().await;
        }
        done
    }

    async fn replace(&mut self, orders: &[StoredPause]) -> Result<(), Failure> {
        self.delete(orders.iter().map(|order| order.pipeline.as_str())).await?;
        let place = E::DIALECT.place;
        let sql = format!(
            "INSERT INTO {} (pipeline, paused_by, reason, paused_at) VALUES ({}, {}, {}, {})",
            E::quote(&self.table),
            place(1, false),
            place(2, false),
            place(3, false),
            place(4, true)
        );
        for order in orders {
            let text = |text| Value::Text(Some(text));
            let since = Value::Time(Some(order.since.as_microsecond()));
            let values = [text(&order.pipeline), text(&order.by), text(&order.reason), since];
            self.engine.run(sql.clone(), &values).await?;
        }
        Ok(())
    }

    async fn delete(&mut self, pipelines: impl Iterator<Item = &str> + Send) -> Result<(), Failure> {
        let sql = format!("DELETE FROM {} WHERE pipeline = {}", E::quote(&self.table), (E::DIALECT.place)(1, false));
        for pipeline in pipelines.map(str::to_owned).collect::<Vec<_>>() {
            self.engine.run(sql.clone(), &[Value::Text(Some(&pipeline))]).await?;
        }
        Ok(())
    }
}

enum Work<'a> {
    Put(&'a [StoredPause]),
    Remove(&'a [&'a str]),
}

impl<E: Rows> PauseTable for Pauses<E> {
    fn read(&mut self) -> BoxFuture<'_, Result<Option<Vec<StoredPause>>, Failure>> {
        Box::pin(self.read_all())
    }

    fn put<'a>(&'a mut self, orders: &'a [StoredPause]) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(self.put_all(orders))
    }

    fn remove<'a>(&'a mut self, pipelines: &'a [&'a str]) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async move {
            match self.read_all().await? {
                None => Ok(()),
                Some(_) => self.transaction(Work::Remove(pipelines)).await,
            }
        })
    }
}

fn stored(row: Vec<String>) -> StoredPause {
    let mut texts = row.into_iter();
    let mut next = || texts.next().unwrap_or_default();
    let (pipeline, by, reason, at) = (next(), next(), next(), next());
    // A row that somebody has put there by hand may say anything: it is an order all the same.
    let since = at.parse::<jiff::civil::DateTime>().ok().and_then(|at| at.to_zoned(jiff::tz::TimeZone::UTC).ok());
    StoredPause { pipeline, by, reason, since: since.map_or(jiff::Timestamp::UNIX_EPOCH, |at| at.timestamp()) }
}

fn is_unseen(failure: &Failure) -> bool {
    failure.class == ErrorClass::SinkMisconfigured
        && match failure.code.as_ref() {
            "42P01" | "1146" => true,
            // To a login that was given single tables MySQL doesn't say whether another one is there.
            "1142" => true,
            // It has one code for everything that a statement may have wrong.
            "SQLITE_ERROR" => failure.message.contains("no such table"),
            _ => false,
        }
}

/// Whoever can't read orders can't obey them.
fn not_readable(quoted: &str, cause: &Failure) -> Failure {
    let message = format!("the orders to pause can't be read ({cause}): GRANT SELECT ON {quoted}");
    Failure::new(ErrorClass::SinkMisconfigured, cause.code.clone(), message).detail(cause.detail.reveal())
}

fn not_created(table: &TableName, cause: &Failure, ddl: &str) -> Failure {
    let message = format!(
        "the table of orders to pause `{table}` isn't there, or not to be seen, and this login may not create it. Let \
         somebody run the following and grant SELECT, INSERT and DELETE on it:\n{ddl}"
    );
    Failure::new(ErrorClass::SinkMisconfigured, cause.code.clone(), message).detail(cause.detail.reveal())
}
