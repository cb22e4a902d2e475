//! Dead letters in a table: written beside rows, in their transaction, by [`insert`]; worked on by
//! `dlq` through a [`LetterTable`].
//!
//! A letter's ID is unique in its pipeline, so that a repeat of a message makes no second letter.
//! A replay publishes a letter before it removes it: should the message die again in between, its new
//! letter has been replayed once more, and takes the old one's place; what is removed is a letter
//! with the count that was read, so that the new one stays. No row has to be locked for that while
//! a broker is waited for.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::future::Future;

use futures_util::future::BoxFuture;

use super::Opening;
use crate::catalogue::TableName;
use crate::error::{ErrorClass, Failure};
use crate::message::{LetterRow, Outcome, Unit};
use crate::status::LettersWaiting;

mod sql;
mod table;

use sql::Known;
pub(super) use sql::{Dialect, Value};
pub(super) use table::Letters;

/// Rows of one INSERT: at 18 values a row, below every database's number of bound values.
const ROWS: usize = 250;
/// Bytes of one INSERT's bodies and headers, unless a single one has more.
const BYTES: usize = 4 << 20;
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

    /// The CREATE TABLE that makes it.
    fn ddl(&self) -> String;

    /// Keeps other changing commands out until the session ends, however that happens. `Some`: who
    /// has it.
    fn lock<'a>(&'a mut self, holder: &'a str) -> BoxFuture<'a, Result<Option<String>, Failure>>;

    /// How many letters of a pipeline wait, and for how long the oldest has, by our clock.
    fn waiting<'a>(&'a mut self, pipeline: &'a str) -> BoxFuture<'a, Result<LettersWaiting, Failure>>;

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

    /// Puts letters of one pipeline into the table as members of a set, in place of those with their
    /// IDs. Returns how many of other sets these were.
    fn put<'a>(&'a mut self, rows: &'a [LetterRow], set: &'a str) -> BoxFuture<'a, Result<u64, Failure>>;
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
    let row = |rows: &mut std::vec::IntoIter<Outcome>| rows.next().unwrap_or_else(|| lacking().into());
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
    if let Some(large) = rows.iter().map(bytes).find(|bytes| *bytes > engine.most_bytes()) {
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
