//! What `dlq` and the checks do with a table of dead letters, on every database alike.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::sql::{self, Known, Value};
use super::{
    Engine, LETTERS_MISSING, LetterChange, LetterRange, LetterTable, ROWS, StoredLetter, distinct, insert, probe,
};
use crate::catalogue::TableName;
use crate::error::{ErrorClass, Failure};
use crate::message::LetterRow;
use crate::sink::Opening;
use crate::status::LettersWaiting;

/// Bytes of bodies that are read at a time, unless a single one has more.
const READ_BYTES: usize = 64 << 20;
/// How often a change that meets somebody else's locks is tried, and how long in between.
const ATTEMPTS: u32 = 5;
const WAIT: Duration = Duration::from_millis(200);
/// How often the lock of a changing command is tried for: one that was just killed may have it still.
const LOCK_ATTEMPTS: u32 = 8;

/// A table and the session that it is used through.
pub(in crate::sink) struct Letters<'t, E> {
    pub engine: E,
    pub table: &'t TableName,
}

impl<E: Engine> Letters<'_, E> {
    async fn open_table(&mut self, opening: Opening) -> Result<(), Failure> {
        let table = self.table;
        if !self.engine.exists(table).await? {
            if opening == Opening::Existing {
                return Err(missing(table));
            }
            self.engine.create(table).await.map_err(|failure| match failure.class {
                ErrorClass::SinkMisconfigured => not_created(table, &failure, &E::ddl(table)),
                _ => failure,
            })?;
        }
        self.engine.begin().await?;
        let probed = probe(&mut self.engine, Some(table)).await;
        self.engine.roll_back().await;
        probed.map_err(|failure| match failure.class {
            ErrorClass::SinkMisconfigured => not_usable(table, &failure),
            _ => failure,
        })
    }

    async fn keep_others_out(&mut self, holder: &str) -> Result<Option<String>, Failure> {
        let mut who = self.engine.try_lock(self.table, holder).await?;
        for _ in 1..LOCK_ATTEMPTS {
            if who.is_none() {
                break;
            }
            tokio::time::sleep(WAIT).await;
            who = self.engine.try_lock(self.table, holder).await?;
        }
        Ok(who)
    }

    async fn read_next(
        &mut self,
        pipeline: &str,
        after: i64,
        until: i64,
        most: usize,
    ) -> Result<Vec<StoredLetter>, Failure> {
        let quoted = E::quote(self.table);
        let of_pipeline = [Value::Text(Some(pipeline))];
        // Sizes first: bodies of any size are read then, and never too many bytes.
        let sizes = self.engine.numbers(E::DIALECT.sizes(&quoted, after, until, most), &of_pipeline).await?;
        let mut sum = 0;
        let fits = sizes.iter().take_while(|(_, bytes)| {
            sum += usize::try_from(*bytes).unwrap_or_default();
            sum <= READ_BYTES
        });
        let Some((last, _)) = fits.last().or(sizes.first()) else { return Ok(Vec::new()) };
        self.engine.stored(E::DIALECT.letters(&quoted, after, *last), &of_pipeline).await
    }

    async fn change_all(&mut self, changes: &[(i64, i64, LetterChange)]) -> Result<(), Failure> {
        let quoted = E::quote(self.table);
        let mut chosen: BTreeMap<&str, Vec<i64>> = BTreeMap::new();
        let mut removed: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
        for (seq, replays, change) in changes {
            match change {
                LetterChange::Choose(set) => chosen.entry(set).or_default().push(*seq),
                LetterChange::Remove => removed.entry(*replays).or_default().push(*seq),
                LetterChange::Replace(row) => {
                    let values = sql::values(row, None);
                    self.engine.run(E::DIALECT.replace(&quoted, *seq, *replays, &values), &values).await?;
                }
            }
        }
        for (set, seqs) in chosen {
            self.engine.run(E::DIALECT.choose(&quoted, &seqs), &[Value::Text(Some(set))]).await?;
        }
        for (replays, seqs) in removed {
            self.engine.run(sql::remove(&quoted, replays, &seqs), &[]).await?;
        }
        Ok(())
    }

    async fn put_all(&mut self, rows: &[LetterRow], set: &str) -> Result<u64, Failure> {
        let rows = distinct(rows.iter(), |_, _| true);
        let quoted = E::quote(self.table);
        let mut replaced = 0;
        for part in rows.chunks(ROWS) {
            let mut values = vec![Value::Text(Some(&part[0].pipeline)), Value::Text(Some(set))];
            values.extend(part.iter().map(|row| Value::Text(Some(&row.id))));
            let found = self.engine.numbers(E::DIALECT.known(&quoted, part.len()), &values).await?;
            replaced += found.first().and_then(|(count, _)| u64::try_from(*count).ok()).unwrap_or_default();
        }
        insert(&mut self.engine, self.table, &rows, Some(set), Known::Goes).await?;
        Ok(replaced)
    }

    /// One transaction, tried again where it meets somebody else's locks. How many letters were replaced by others.
    async fn transact(&mut self, work: Work<'_>) -> Result<u64, Failure> {
        let mut attempt = 1;
        loop {
            let done = self.transaction(&work).await;
            match done {
                Err(failure) if failure.class == ErrorClass::SinkContention && attempt < ATTEMPTS => {
                    attempt += 1;
                    tokio::time::sleep(WAIT).await;
                }
                done => return done,
            }
        }
    }

    async fn transaction(&mut self, work: &Work<'_>) -> Result<u64, Failure> {
        self.engine.begin().await?;
        let worked = match work {
            Work::Change(changes) => self.change_all(changes).await.map(|()| 0),
            Work::Put(rows, set) => self.put_all(rows, set).await,
        };
        let done = match worked {
            Ok(replaced) => self.engine.commit().await.map(|()| replaced),
            Err(failure) => Err(failure),
        };
        if done.is_err() {
            self.engine.roll_back().await;
        }
        done
    }
}

/// What a transaction is to do.
enum Work<'a> {
    Change(&'a [(i64, i64, LetterChange)]),
    Put(&'a [LetterRow], &'a str),
}

impl<E: Engine> LetterTable for Letters<'_, E> {
    fn open(&mut self, opening: Opening) -> BoxFuture<'_, Result<(), Failure>> {
        Box::pin(self.open_table(opening))
    }

    fn ddl(&self) -> String {
        E::ddl(self.table)
    }

    fn exists(&mut self) -> BoxFuture<'_, Result<bool, Failure>> {
        Box::pin(self.engine.exists(self.table))
    }

    fn lock<'a>(&'a mut self, holder: &'a str) -> BoxFuture<'a, Result<Option<String>, Failure>> {
        Box::pin(self.keep_others_out(holder))
    }

    fn waiting<'a>(&'a mut self, pipeline: &'a str) -> BoxFuture<'a, Result<LettersWaiting, Failure>> {
        Box::pin(async move {
            let sql = E::DIALECT.waiting(&E::quote(self.table));
            let found = self.engine.numbers(sql, &[Value::Text(Some(pipeline))]).await?;
            let (count, since) = found.first().copied().unwrap_or_default();
            let age = jiff::Timestamp::now().as_second().saturating_sub(since);
            let oldest = (since > 0).then(|| Duration::from_secs(u64::try_from(age).unwrap_or_default()));
            Ok(LettersWaiting { count: u64::try_from(count).unwrap_or_default(), oldest })
        })
    }

    fn range<'a>(&'a mut self, pipeline: &'a str) -> BoxFuture<'a, Result<LetterRange, Failure>> {
        Box::pin(async move {
            let sql = E::DIALECT.range(&E::quote(self.table));
            let found = self.engine.numbers(sql, &[Value::Text(Some(pipeline))]).await?;
            let (last, count) = found.first().copied().unwrap_or_default();
            Ok(LetterRange { last, count: u64::try_from(count).unwrap_or_default() })
        })
    }

    fn read<'a>(
        &'a mut self,
        pipeline: &'a str,
        after: i64,
        until: i64,
        most: usize,
    ) -> BoxFuture<'a, Result<Vec<StoredLetter>, Failure>> {
        Box::pin(self.read_next(pipeline, after, until, most))
    }

    fn change(&mut self, changes: Vec<(i64, i64, LetterChange)>) -> BoxFuture<'_, Result<(), Failure>> {
        Box::pin(async move {
            match changes.is_empty() {
                true => Ok(()),
                false => self.transact(Work::Change(&changes)).await.map(|_| ()),
            }
        })
    }

    fn put<'a>(&'a mut self, rows: &'a [LetterRow], set: &'a str) -> BoxFuture<'a, Result<u64, Failure>> {
        Box::pin(self.transact(Work::Put(rows, set)))
    }
}

fn misconfigured(code: impl Into<std::borrow::Cow<'static, str>>, message: String) -> Failure {
    Failure::new(ErrorClass::SinkMisconfigured, code, message)
}

fn missing(table: &TableName) -> Failure {
    let message = format!(
        "the table of dead letters `{table}` is gone: restore it with what stood in it; or restart the worker, which \
         makes a new one"
    );
    misconfigured(LETTERS_MISSING, message)
}

/// Without the right to create it, somebody else has to.
fn not_created(table: &TableName, cause: &Failure, ddl: &str) -> Failure {
    let message = format!(
        "the table of dead letters `{table}` isn't there, or not to be seen, and this login may not create it. Let \
         somebody run the following and grant SELECT, INSERT, UPDATE and DELETE on it:\n{ddl}"
    );
    misconfigured(cause.code.clone(), message).detail(cause.detail.reveal())
}

fn not_usable(table: &TableName, cause: &Failure) -> Failure {
    let message = format!(
        "`{table}` can't be used for dead letters ({cause}): it needs the columns that rabbit-sink gives it, and this \
         login SELECT, INSERT, UPDATE and DELETE on it"
    );
    misconfigured(cause.code.clone(), message).detail(cause.detail.reveal())
}
