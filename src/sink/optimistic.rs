//! How batches are written where a statement can't tell which rows it found already there (MySQL
//! has no RETURNING; in SQLite it costs more than the rows).
//!
//! Repeats are rare: a batch is inserted as if all of it were new. Where a unique key says
//! otherwise, everything is rolled back, what is known already is read, and the rest is inserted.
//! A database with repeats in one batch tends to have them in the next (a redelivered backlog), so
//! that one looks first; after a batch without, it goes back to trying.

use std::collections::HashMap;
use std::future::Future;

use super::{Entered, letters};
use crate::config::IdConflict;
use crate::error::{ErrorClass, Failure};
use crate::message::{LedgerEntry, Outcome, Row, Unit};
use crate::plan::{Deduplication, Ledger, Target, WritePlan};

/// How often another session may write the same IDs in between before the batch is given back.
const RACES: u32 = 3;

/// IDs that the ledger has, with their body hashes.
pub(super) type Known = HashMap<Box<[u8]>, Vec<u8>>;

/// What a database must do for it. No method ends a transaction but the two that say so.
pub(super) trait Engine: Send {
    /// The last batch had repeats.
    fn careful(&mut self) -> &mut bool;
    /// The failure is a unique key's.
    fn is_repeat(failure: &Failure) -> bool;
    /// Checks what can be checked before a transaction begins.
    fn check(&self, plan: &WritePlan, units: &[&Unit]) -> Result<(), Failure>;
    /// Begins a transaction, in which the plan's tables keep the columns that it was made for.
    fn begin(&mut self, plan: &WritePlan) -> impl Future<Output = Result<(), Failure>> + Send;
    /// Commits it.
    fn commit(&mut self) -> impl Future<Output = Result<(), Failure>> + Send;
    /// Rolls it back; where that fails the session refuses all further work.
    fn rollback(&mut self) -> impl Future<Output = ()> + Send;
    /// Those of the entries whose IDs the ledger has.
    fn known(
        &mut self,
        ledger: &Ledger,
        entries: &[&LedgerEntry],
    ) -> impl Future<Output = Result<Known, Failure>> + Send;
    /// Inserts entries, all new, into the ledger.
    fn enter(&mut self, ledger: &Ledger, entries: &[&LedgerEntry]) -> impl Future<Output = Result<(), Failure>> + Send;
    /// Which of the rows, by place, have a value in this column that the table has, as the
    /// table's own unique key compares.
    fn existing(
        &mut self,
        target: &Target,
        column: usize,
        rows: &[(&Row, &[u8])],
    ) -> impl Future<Output = Result<Vec<usize>, Failure>> + Send;
    /// Writes the dead letters of these units.
    fn insert_letters(
        &mut self,
        plan: &WritePlan,
        letters: &[&Unit],
    ) -> impl Future<Output = Result<(), Failure>> + Send;
    /// Inserts all changes of these units.
    fn insert(&mut self, plan: &WritePlan, units: &[&Unit]) -> impl Future<Output = Result<(), Failure>> + Send;
}

/// How a transaction without an error ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    Commit,
    /// It was a rehearsal.
    RollBack,
}

/// [`super::Session::write`], or, rolled back, [`super::Session::rehearse`].
pub(super) async fn write<E: Engine>(
    engine: &mut E,
    plan: &WritePlan,
    units: &[&Unit],
    ending: Ending,
) -> Result<Vec<Outcome>, Failure> {
    engine.check(plan, units)?;
    if units.iter().all(|unit| unit.letter.is_none()) {
        return write_rows(engine, plan, units, &Rest { letters: &[], ending }).await;
    }
    let (letters, rows): (Vec<&Unit>, Vec<&Unit>) = units.iter().partition(|unit| unit.letter.is_some());
    let outcomes = write_rows(engine, plan, &rows, &Rest { letters: &letters, ending }).await?;
    Ok(letters::merged(units, outcomes))
}

/// What else belongs to a transaction.
struct Rest<'a> {
    letters: &'a [&'a Unit],
    ending: Ending,
}

async fn write_rows<E: Engine>(
    engine: &mut E,
    plan: &WritePlan,
    units: &[&Unit],
    rest: &Rest<'_>,
) -> Result<Vec<Outcome>, Failure> {
    match &plan.deduplication {
        Deduplication::Ledger(ledger) if !units.is_empty() => with_ledger(engine, plan, ledger, units, rest).await,
        Deduplication::Column(column) if !units.is_empty() => with_column(engine, plan, *column, units, rest).await,
        _ => {
            transaction(engine, plan, None, units, rest).await.map_err(|(failure, _)| failure)?;
            Ok(vec![Outcome::Written; units.len()])
        }
    }
}

/// [`super::Session::look_up`].
pub(super) async fn look_up<E: Engine>(
    engine: &mut E,
    ledger: &Ledger,
    entries: &[&LedgerEntry],
) -> Result<Vec<Entered>, Failure> {
    let known = engine.known(ledger, entries).await?;
    Ok(entries.iter().map(|entry| Entered::of(entry, known.get(entry.id.as_str().as_bytes()))).collect())
}

/// Where a transaction failed.
#[derive(PartialEq, Eq)]
enum Step {
    Ledger,
    Rows,
    Around,
}

/// One whole transaction that takes all units to be new. After an error it is rolled back.
async fn transaction<E: Engine>(
    engine: &mut E,
    plan: &WritePlan,
    ledger: Option<(&Ledger, &[&LedgerEntry])>,
    units: &[&Unit],
    rest: &Rest<'_>,
) -> Result<(), (Failure, Step)> {
    if units.is_empty() && rest.letters.is_empty() {
        return Ok(());
    }
    engine.begin(plan).await.map_err(|failure| (failure, Step::Around))?;
    let result = async {
        if let Some((ledger, entries)) = ledger {
            engine.enter(ledger, entries).await.map_err(|failure| (failure, Step::Ledger))?;
        }
        engine.insert(plan, units).await.map_err(|failure| (failure, Step::Rows))?;
        if !rest.letters.is_empty() {
            engine.insert_letters(plan, rest.letters).await.map_err(|failure| (failure, Step::Around))?;
        }
        match rest.ending {
            Ending::Commit => engine.commit().await.map_err(|failure| (failure, Step::Around)),
            Ending::RollBack => Ok(()),
        }
    }
    .await;
    if result.is_err() || rest.ending == Ending::RollBack {
        engine.rollback().await;
    }
    result
}

async fn with_ledger<E: Engine>(
    engine: &mut E,
    plan: &WritePlan,
    ledger: &Ledger,
    units: &[&Unit],
    rest: &Rest<'_>,
) -> Result<Vec<Outcome>, Failure> {
    // Sessions that insert the same IDs do so in the same order: one waits, none deadlocks.
    let mut order: Vec<(usize, &LedgerEntry)> =
        units.iter().enumerate().filter_map(|(at, unit)| Some((at, unit.ledger.as_ref()?))).collect();
    order.sort_unstable_by_key(|(_, entry)| entry.id.as_str());
    let mut look = *engine.careful();
    for _ in 0..=RACES {
        let known = if look {
            let entries: Vec<&LedgerEntry> = order.iter().map(|(_, entry)| *entry).collect();
            engine.known(ledger, &entries).await?
        } else {
            Known::new()
        };
        let mut outcomes = vec![None; units.len()];
        let mut entries = Vec::with_capacity(order.len());
        let mut fresh = vec![false; units.len()];
        for &(at, entry) in &order {
            outcomes[at] = Some(match known.get(entry.id.as_str().as_bytes()) {
                Some(hash) => repeated(hash == &entry.body_hash, plan.id_conflict),
                None => {
                    entries.push(entry);
                    fresh[at] = true;
                    Outcome::Written
                }
            });
        }
        let fresh: Vec<&Unit> = units.iter().zip(&fresh).filter(|(_, fresh)| **fresh).map(|(unit, _)| *unit).collect();
        match transaction(engine, plan, Some((ledger, &entries)), &fresh, rest).await {
            Ok(()) => {
                *engine.careful() = !known.is_empty();
                return Ok(outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(without_id)).collect());
            }
            Err((failure, Step::Ledger)) if E::is_repeat(&failure) => look = true,
            Err((failure, _)) => return Err(failure),
        }
    }
    Err(Failure::new(
        ErrorClass::SinkContention,
        "ledger_race",
        "other sessions kept writing the same message IDs; is one queue consumed by several pipelines of one name?",
    ))
}

async fn with_column<E: Engine>(
    engine: &mut E,
    plan: &WritePlan,
    column: usize,
    units: &[&Unit],
    rest: &Rest<'_>,
) -> Result<Vec<Outcome>, Failure> {
    let target = plan.targets.first().ok_or_else(no_target)?;
    let mut outcomes = vec![Outcome::Written; units.len()];
    let mut look = *engine.careful();
    let mut refused: Option<Failure> = None;
    // Ends: every round finds at least one more row that is there, or returns.
    loop {
        let places: Vec<usize> = (0..units.len()).filter(|&at| matches!(outcomes[at], Outcome::Written)).collect();
        let rows: Vec<(usize, (&Row, &[u8]))> = places
            .iter()
            .filter_map(|&at| {
                let change = units[at].changes.iter().find(|change| change.target == 0)?;
                Some((at, (&change.row, units[at].delivery.envelope.body.as_ref())))
            })
            .collect();
        if look {
            let values: Vec<(&Row, &[u8])> = rows.iter().map(|(_, row)| *row).collect();
            let found = engine.existing(target, column, &values).await?;
            // A unique key refused a row, and the column's own isn't it: that is another key's
            // violation, an error, never a duplicate.
            if let (true, Some(refused)) = (found.is_empty(), refused.take()) {
                return Err(refused);
            }
            for place in found {
                if let Some((at, _)) = rows.get(place) {
                    outcomes[*at] = Outcome::Duplicate;
                }
            }
        }
        let fresh: Vec<&Unit> = units
            .iter()
            .zip(&outcomes)
            .filter(|(_, outcome)| matches!(outcome, Outcome::Written))
            .map(|(unit, _)| *unit)
            .collect();
        match transaction(engine, plan, None, &fresh, rest).await {
            Ok(()) => {
                *engine.careful() = fresh.len() < units.len();
                return Ok(outcomes);
            }
            Err((failure, Step::Rows)) if E::is_repeat(&failure) => {
                look = true;
                refused = Some(failure);
            }
            Err((failure, _)) => return Err(failure),
        }
    }
}

/// What a known ID is.
fn repeated(same_body: bool, conflict: IdConflict) -> Outcome {
    if same_body || conflict == IdConflict::Ignore {
        return Outcome::Duplicate;
    }
    let message = "a message with the same ID but another body was written before; either the publisher re-uses IDs, \
                   or message_id names the wrong place";
    Failure::new(ErrorClass::IdConflict, "other_body", message).into()
}

/// Mapping lets no message without an ID through to a ledger; should one come all the same, it is
/// not written without a trace.
fn without_id() -> Outcome {
    Failure::new(ErrorClass::Mapping, "no_message_id", "the message has no ID for the ledger").into()
}

/// A plan without a table.
pub(super) fn no_target() -> Failure {
    Failure::new(ErrorClass::Unknown, "no_target", "the plan names no table; this is a bug")
}
