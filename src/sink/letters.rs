//! Dead letters in a table: written beside rows, in their transaction, by [`insert`]; worked on by
//! `dlq` through a [`LetterTable`].
//!
//! A letter's ID is unique in its pipeline, so that a repeat of a message makes no second letter.
//! A replay publishes a letter before it removes it: should the message die again in between, its new
//! letter has been replayed once more, and takes the old one's place; what is removed is a letter
//! with the count that was read, so that the new one stays. No row has to be locked for that while
//! a broker is waited for.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::Opening;
use crate::catalogue::TableName;
use crate::error::{ErrorClass, Failure};
use crate::message::{LetterRow, Outcome, Unit};

mod sql;

pub(super) use sql::{Dialect, Known, Value};

/// Rows of one INSERT: at 18 values a row, below every database's number of bound values.
const ROWS: usize = 250;
/// Bytes of one INSERT's bodies and headers, unless a single one has more.
const BYTES: usize = 4 << 20;
/// Bytes of bodies that are read at a time, unless a single one has more.
const READ_BYTES: usize = 64 << 20;
/// How often a change that meets somebody else's locks is tried, and how long in between.
const ATTEMPTS: u32 = 5;
const WAIT: Duration = Duration::from_millis(200);
/// How often the lock of a changing command is tried for: one that was just killed may have it still.
const LOCK_ATTEMPTS: u32 = 8;

/// [`Failure::code`] where the table is gone.
pub const LETTERS_MISSING: &str = "dead_letters_missing";

/// A letter as it stands in the table.
#[derive(Clone, Debug)]
pub struct StoredLetter {
    /// Its number: letters are gone through in this order.
    pub seq: i64,
    /// How often it had been replayed: what is changed is a letter with this count.
    pub replays: i64,
    /// The set that it was chosen for.
    pub set: Option<String>,
    /// Where its message was first published to.
    pub exchange: String,
    /// And with what.
    pub routing_key: String,
    /// JSON.
    pub properties: String,
    /// JSON.
    pub headers: String,
    /// As sent.
    pub body: Vec<u8>,
}

/// What stands in the table now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LetterRange {
    /// The highest number; what arrives later has a higher one.
    pub last: i64,
    /// How many of the pipeline.
    pub count: u64,
}

/// What becomes of a letter.
#[derive(Clone, Debug)]
pub enum LetterChange {
    /// It belongs to this set from now on.
    Choose(String),
    /// It leaves the table.
    Remove,
    /// Another one takes its place.
    Replace(Box<LetterRow>),
}

/// A table of dead letters, through one session. The session's contract holds here, too.
pub trait LetterTable: Send {
    /// Looks whether the table is there and this login may use it; with [`Opening::Create`] or
    /// `Adopt`, makes it where it is missing. Missing, it is `sink_misconfigured` with code
    /// [`LETTERS_MISSING`], or with the DDL in the message where it couldn't be made.
    fn open(&mut self, opening: Opening) -> BoxFuture<'_, Result<(), Failure>>;

    /// The table is there.
    fn exists(&mut self) -> BoxFuture<'_, Result<bool, Failure>>;

    /// Keeps other changing commands out until the session ends, however that happens. `Some`: who
    /// has it.
    fn lock<'a>(&'a mut self, holder: &'a str) -> BoxFuture<'a, Result<Option<String>, Failure>>;

    /// What there is of a pipeline.
    fn range<'a>(&'a mut self, pipeline: &'a str) -> BoxFuture<'a, Result<LetterRange, Failure>>;

    /// The next letters after one number up to another, `most` so many and 64 MiB.
    fn read<'a>(
        &'a mut self,
        pipeline: &'a str,
        after: i64,
        until: i64,
        most: usize,
    ) -> BoxFuture<'a, Result<Vec<StoredLetter>, Failure>>;

    /// Changes letters in one transaction: number, replays as read, what becomes of it.
    fn change(&mut self, changes: Vec<(i64, i64, LetterChange)>) -> BoxFuture<'_, Result<(), Failure>>;

    /// Puts letters into the table as members of a set, in place of those with their IDs.
    fn put<'a>(&'a mut self, rows: &'a [LetterRow], set: &'a str) -> BoxFuture<'a, Result<(), Failure>>;
}

/// What a database must do for it. No method ends a transaction but the two that say so.
pub(super) trait Engine: Send {
    const DIALECT: Dialect;

    fn quote(table: &TableName) -> String;
    fn ddl(table: &TableName) -> String;

    /// Bytes that a statement's values may have.
    fn most_bytes(&self) -> usize {
        usize::MAX
    }

    /// Whether there is such a table. One that wouldn't keep what is written is an error.
    fn exists(&mut self, table: &TableName) -> impl Future<Output = Result<bool, Failure>> + Send;
    fn create(&mut self, table: &TableName) -> impl Future<Output = Result<(), Failure>> + Send;
    /// Tries once; `Some`: who has it.
    fn try_lock(
        &mut self,
        table: &TableName,
        holder: &str,
    ) -> impl Future<Output = Result<Option<String>, Failure>> + Send;

    fn begin(&mut self) -> impl Future<Output = Result<(), Failure>> + Send;
    fn commit(&mut self) -> impl Future<Output = Result<(), Failure>> + Send;
    fn roll_back(&mut self) -> impl Future<Output = ()> + Send;

    fn run(&mut self, sql: String, values: &[Value<'_>]) -> impl Future<Output = Result<(), Failure>> + Send;
    fn numbers(
        &mut self,
        sql: String,
        values: &[Value<'_>],
    ) -> impl Future<Output = Result<Vec<(i64, i64)>, Failure>> + Send;
    /// Rows with the columns of [`StoredLetter`].
    fn stored(
        &mut self,
        sql: String,
        values: &[Value<'_>],
    ) -> impl Future<Output = Result<Vec<StoredLetter>, Failure>> + Send;
}

/// Writes the letters of these units within the transaction in hand.
pub(super) async fn insert_units<E: Engine>(
    engine: &mut E,
    table: Option<&TableName>,
    units: &[&Unit],
) -> Result<(), Failure> {
    let letters = units.iter().filter_map(|unit| unit.letter.as_ref()).map(|letter| &letter.row);
    let rows = distinct(letters, |row, known| row.replays > known.replays);
    match table {
        _ if rows.is_empty() => Ok(()),
        Some(table) => insert(engine, table, &rows, None, Known::StaysUnlessOlder).await,
        None => Err(Failure::new(ErrorClass::Unknown, "no_letters", "the plan names no table of dead letters")),
    }
}

/// A statement can't write a row twice: of letters with one ID one is left, in the first one's place.
fn distinct<'a>(
    letters: impl Iterator<Item = &'a LetterRow>,
    replaces: impl Fn(&LetterRow, &LetterRow) -> bool,
) -> Vec<&'a LetterRow> {
    let mut rows: Vec<&LetterRow> = Vec::new();
    let mut places: HashMap<(&str, &str), usize> = HashMap::new();
    for row in letters {
        match places.entry((&row.pipeline, &row.id)) {
            Entry::Vacant(free) => {
                free.insert(rows.len());
                rows.push(row);
            }
            Entry::Occupied(taken) if replaces(row, rows[*taken.get()]) => rows[*taken.get()] = row,
            Entry::Occupied(_) => {}
        }
    }
    rows
}

/// The outcomes of all units, given those of the ones that aren't letters.
pub(super) fn merged(units: &[&Unit], rows: Vec<Outcome>) -> Vec<Outcome> {
    let mut rows = rows.into_iter();
    let lacking = || Failure::new(ErrorClass::Unknown, "no_outcome", "a unit has no outcome; this is a bug");
    let row = |rows: &mut std::vec::IntoIter<Outcome>| rows.next().unwrap_or_else(|| Outcome::Rejected(lacking()));
    units.iter().map(|unit| if unit.letter.is_some() { Outcome::Written } else { row(&mut rows) }).collect()
}

async fn insert<E: Engine>(
    engine: &mut E,
    table: &TableName,
    rows: &[&LetterRow],
    set: Option<&str>,
    known: Known,
) -> Result<(), Failure> {
    let bytes = |row: &&LetterRow| row.body.len() + row.headers.len() + row.properties.len() + 8 * 1024;
    if let Some(large) = rows.iter().map(|row| bytes(row)).find(|bytes| *bytes > engine.most_bytes()) {
        let message = format!("a dead letter needs a packet of about {large} bytes: raise max_allowed_packet");
        return Err(Failure::new(ErrorClass::RowRejected, "too_large", message));
    }
    let limit = BYTES.min(engine.most_bytes());
    let quoted = E::quote(table);
    let mut rest = rows;
    while !rest.is_empty() {
        let mut sum = 0;
        let fits = rest.iter().take(ROWS).take_while(|row| {
            sum += bytes(row);
            sum <= limit
        });
        let (now, later) = rest.split_at(fits.count().max(1));
        rest = later;
        let values: Vec<Value<'_>> = now.iter().flat_map(|row| sql::values(row, set)).collect();
        engine.run(E::DIALECT.insert(&quoted, now.len(), known), &values).await?;
    }
    Ok(())
}

/// Shows that letters could be written, within the transaction in hand.
pub(super) async fn probe<E: Engine>(engine: &mut E, table: Option<&TableName>) -> Result<(), Failure> {
    let Some(table) = table else { return Ok(()) };
    for statement in E::DIALECT.rehearsal(&E::quote(table)) {
        engine.run(statement, &[]).await?;
    }
    Ok(())
}

/// A table and the session that it is used through.
pub(super) struct Letters<'t, E> {
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

    async fn put_all(&mut self, rows: &[LetterRow], set: &str) -> Result<(), Failure> {
        let rows = distinct(rows.iter(), |_, _| true);
        insert(&mut self.engine, self.table, &rows, Some(set), Known::Goes).await
    }

    /// One transaction, tried again where it meets somebody else's locks.
    async fn transact(&mut self, work: Work<'_>) -> Result<(), Failure> {
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

    async fn transaction(&mut self, work: &Work<'_>) -> Result<(), Failure> {
        self.engine.begin().await?;
        let worked = match work {
            Work::Change(changes) => self.change_all(changes).await,
            Work::Put(rows, set) => self.put_all(rows, set).await,
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

    fn exists(&mut self) -> BoxFuture<'_, Result<bool, Failure>> {
        Box::pin(self.engine.exists(self.table))
    }

    fn lock<'a>(&'a mut self, holder: &'a str) -> BoxFuture<'a, Result<Option<String>, Failure>> {
        Box::pin(self.keep_others_out(holder))
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
                false => self.transact(Work::Change(&changes)).await,
            }
        })
    }

    fn put<'a>(&'a mut self, rows: &'a [LetterRow], set: &'a str) -> BoxFuture<'a, Result<(), Failure>> {
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
