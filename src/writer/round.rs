//! The units of one job and what is decided of them.

use std::collections::HashMap;

use super::Written;
use crate::config::IdConflict;
use crate::error::{ErrorClass, Failure};
use crate::message::{LedgerEntry, MessageId, Outcome, Unit};
use crate::plan::{Deduplication, WritePlan};
use crate::sink::is_missing_parent;

/// Units and verdicts, by their place in the batch. The same message ID may stand in a batch
/// twice: the first is written, the others follow its outcome.
#[derive(Debug)]
pub(super) struct Round {
    units: Vec<Unit>,
    verdicts: Vec<Option<Verdict>>,
    id_conflict: IdConflict,
    /// Repeats are recognised by message IDs. Otherwise an ID says nothing: messages that share
    /// one may have rows of their own.
    by_id: bool,
}

#[derive(Debug)]
enum Verdict {
    Outcome(Outcome),
    Waiting(Failure),
}

impl Round {
    pub(super) fn new(units: Vec<Unit>, plan: &WritePlan) -> Self {
        let verdicts = units.iter().map(|_| None).collect();
        let by_id = matches!(plan.deduplication, Deduplication::Ledger(_));
        Round { units, verdicts, id_conflict: plan.id_conflict, by_id }
    }

    /// The undecided units; each message ID once, where IDs count.
    pub(super) fn leaders(&self) -> Vec<usize> {
        let mut seen = std::collections::HashSet::with_capacity(self.units.len());
        (0..self.units.len())
            .filter(|&at| self.verdicts[at].is_none())
            .filter(|&at| self.id(at).is_none_or(|id| seen.insert(id)))
            .collect()
    }

    fn id(&self, at: usize) -> Option<&MessageId> {
        self.units[at].ledger.as_ref().filter(|_| self.by_id).map(|entry| &entry.id)
    }

    pub(super) fn is_letter(&self, at: usize) -> bool {
        self.units[at].letter.is_some()
    }

    /// For one more transaction.
    pub(super) fn pick(&mut self, places: &[usize]) -> Vec<&Unit> {
        for &at in places {
            self.units[at].attempts += 1;
        }
        places.iter().map(|&at| &self.units[at]).collect()
    }

    pub(super) fn decide(&mut self, places: &[usize], outcomes: Vec<Outcome>) {
        debug_assert_eq!(places.len(), outcomes.len(), "a session answers for every unit");
        for (&at, outcome) in places.iter().zip(outcomes) {
            self.verdicts[at] = Some(Verdict::Outcome(outcome));
        }
    }

    /// Refused by itself: for good, or until the row that it refers to is there.
    pub(super) fn refuse(&mut self, at: usize, failure: Failure) {
        if is_missing_parent(&failure) {
            self.verdicts[at] = Some(Verdict::Waiting(failure));
        } else {
            self.reject(at, failure);
        }
    }

    pub(super) fn reject(&mut self, at: usize, failure: Failure) {
        self.verdicts[at] = Some(Verdict::Outcome(failure.into()));
    }

    /// Gives those whose ID has just been written, or was known, the outcome that this means for
    /// them. Those whose leader was refused stay undecided and lead the next round.
    pub(super) fn settle_followers(&mut self) {
        if !self.by_id || self.verdicts.iter().all(Option::is_some) {
            return;
        }
        let mut stored: HashMap<&MessageId, [u8; 16]> = HashMap::new();
        for (unit, verdict) in self.units.iter().zip(&self.verdicts) {
            if let (Some(entry), Some(Verdict::Outcome(Outcome::Written | Outcome::Duplicate))) =
                (&unit.ledger, verdict)
            {
                stored.entry(&entry.id).or_insert(entry.body_hash);
            }
        }
        let followers: Vec<(usize, Outcome)> = (0..self.units.len())
            .filter(|&at| self.verdicts[at].is_none())
            .filter_map(|at| {
                let entry = self.units[at].ledger.as_ref()?;
                Some((at, repeated(entry, *stored.get(&entry.id)?, self.id_conflict)))
            })
            .collect();
        for (at, outcome) in followers {
            self.verdicts[at] = Some(Verdict::Outcome(outcome));
        }
    }

    pub(super) fn finish(self, failure: Option<Failure>) -> Written {
        let mut written = Written { failure, ..Written::default() };
        for (unit, verdict) in self.units.into_iter().zip(self.verdicts) {
            match verdict {
                Some(Verdict::Outcome(outcome)) => written.settled.push((unit, outcome)),
                Some(Verdict::Waiting(failure)) => written.waiting.push((unit, failure)),
                None => written.left.push(unit),
            }
        }
        written
    }
}

/// What a message is whose ID has been written before.
fn repeated(entry: &LedgerEntry, stored: [u8; 16], id_conflict: IdConflict) -> Outcome {
    if entry.body_hash == stored || id_conflict == IdConflict::Ignore {
        return Outcome::Duplicate;
    }
    let message = "this message ID has been written with another body";
    Failure::new(ErrorClass::IdConflict, "other_body", message).into()
}
