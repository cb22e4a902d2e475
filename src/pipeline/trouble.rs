//! What a batch that couldn't be written goes through, step by step as the policy says.

use std::sync::Arc;

use tokio::time::Instant;

use super::seat::{Answer, Job};
use super::table_letters::rejection;
use super::{Consumer, Decided, End, Hindrance};
use crate::checks::Prepared;
use crate::config;
use crate::error::{ErrorClass, Failure};
use crate::mapping::Plan;
use crate::message::{Letter, Outcome, Unit};
use crate::plan::{Deduplication, WritePlan};
use crate::policy::{Action, Stage, decide};
use crate::rabbitmq::Source;
use crate::retry::Backoff;
use crate::sink::is_table_changed;
use crate::status::{Reason, State};
use crate::writer::{How, Written};

/// What to do when the wait is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Write,
    Probe,
    Check,
}

/// Units in limbo: not written, not refused.
#[derive(Debug)]
pub(super) struct Trouble {
    units: Vec<Unit>,
    how: How,
    since: Instant,
    failure: Failure,
    /// How often it has failed in this way.
    failures: u32,
    step: Step,
    pub(super) at: Instant,
    backoff: Backoff,
    state: Option<State>,
}

/// A unit that waits for the row that its foreign key names.
#[derive(Debug)]
pub(super) struct Parked<T = Unit> {
    pub what: T,
    pub deadline: Instant,
    pub next: Instant,
    pub backoff: Backoff,
}

impl Trouble {
    fn new(retry: &config::Retry, how: How, failure: Failure) -> Self {
        Trouble {
            units: Vec::new(),
            how,
            since: Instant::now(),
            failure,
            failures: 0,
            step: Step::Write,
            at: Instant::now(),
            backoff: Backoff::new(retry.initial, retry.max),
            state: None,
        }
    }

    /// Held or paused: reading on would only fill memory.
    pub(super) fn stops_reading(&self) -> bool {
        self.state.is_some()
    }

    pub(super) fn state(&self) -> Option<(State, Reason)> {
        self.state.map(|state| (state, Reason::from(&self.failure)))
    }

    pub(super) fn job(&mut self, plan: &Arc<Plan>) -> Job {
        match self.step {
            Step::Write => Job::Write { units: std::mem::take(&mut self.units), how: self.how, plan: Arc::clone(plan) },
            Step::Probe => Job::Probe { plan: Arc::clone(plan) },
            Step::Check => Job::Check,
        }
    }

    /// The dead letters that wait in it.
    pub(super) fn letters(&self) -> impl Iterator<Item = &Letter> {
        self.units.iter().filter_map(|unit| unit.letter.as_deref())
    }

    /// What waits in it keeps a pipeline from going on: so many at most, and a dead letter.
    pub(super) fn hinders(self, hindrance: &mut Hindrance, most: usize) {
        for unit in self.units {
            match unit.letter {
                Some(letter) => hindrance.letter = Some(rejection(unit.delivery, *letter)),
                None if hindrance.deliveries.len() < most => hindrance.deliveries.push(unit.delivery),
                None => {}
            }
        }
    }

    fn wait(&mut self, step: Step) {
        self.step = step;
        self.at = Instant::now() + self.backoff.next_wait();
    }

    fn now(&mut self, step: Step) {
        self.step = step;
        self.at = Instant::now();
    }

    /// The policy's answer to one more failure.
    fn follow(&mut self, failure: Failure) {
        if failure.class == self.failure.class {
            self.failures += 1;
        } else {
            self.failures = 1;
        }
        let stage = match self.how {
            How::Together => Stage::Together,
            How::OneByOne => Stage::OneByOne,
            How::Isolate => Stage::Alone,
        };
        let action = decide(failure.class, stage, self.failures);
        self.failure = failure;
        match action {
            Action::Retry => self.wait(Step::Write),
            Action::OneByOne => self.change_how(How::OneByOne),
            Action::Isolate | Action::DeadLetter => self.change_how(How::Isolate),
            Action::Check => self.now(Step::Check),
            // The writer has found that others don't pass either: the database is at fault.
            Action::DeadLetterIfOthersPass if self.failure.class == ErrorClass::SinkMisconfigured => {
                self.now(Step::Check)
            }
            Action::DeadLetterIfOthersPass | Action::Hold | Action::Rebuild | Action::Exit => {
                self.state = Some(State::Holding);
                self.wait(Step::Probe);
            }
        }
    }

    fn change_how(&mut self, how: How) {
        self.how = how;
        self.failures = 0;
        self.now(Step::Write);
    }
}

/// Whether units of one plan can be written by the other. That the ledger is empty, as it is
/// before the first batch, is no difference.
fn same_plan(one: &WritePlan, other: &WritePlan) -> bool {
    let deduplication = match (&one.deduplication, &other.deduplication) {
        (Deduplication::Ledger(one), Deduplication::Ledger(other)) => {
            one.table == other.table && one.pipeline == other.pipeline
        }
        (one, other) => one == other,
    };
    deduplication
        && one.targets == other.targets
        && one.id_conflict == other.id_conflict
        && one.letters == other.letters
}

impl<S: Source> Consumer<S> {
    pub(super) fn answered(&mut self, answer: Answer) -> Option<End> {
        match answer {
            Answer::Written { written, how, took } => {
                self.written(written, how, took);
                None
            }
            Answer::Probed(probed) => {
                self.probed(probed);
                None
            }
            Answer::Confirmed(confirmed) => {
                self.confirmed(confirmed);
                None
            }
            Answer::Checked(checked) => self.checked(*checked),
        }
    }

    fn written(&mut self, written: Written, how: How, took: std::time::Duration) {
        self.trace(&written, how, took);
        let Written { settled, waiting, left, failure } = written;
        let status = &self.context.status;
        let rows: usize = settled
            .iter()
            .filter(|(_, outcome)| matches!(outcome, Outcome::Written))
            .map(|(unit, _)| unit.changes.len())
            .sum();
        status.rows_written.inc_by(rows as u64);
        if left.is_empty() {
            status.batch_rows.observe(settled.len() as f64);
            status.commit_duration.observe(took.as_secs_f64());
        }
        let now = Instant::now();
        if left.is_empty() {
            self.trouble_over(now);
        }
        // Refused by what isn't known any more, they wait until the table has been looked at; else until
        // their neighbours are decided: by themselves, any few bad messages would be a storm.
        let outdated = failure.as_ref().is_some_and(is_table_changed);
        let wait = outdated || !left.is_empty();
        let refused = if wait { Vec::new() } else { std::mem::take(&mut self.writer.refused) };
        let mut retried = std::mem::take(&mut self.writer.retried);
        let known = |(_, outcome): &(Unit, Outcome)| matches!(outcome, Outcome::Written | Outcome::Duplicate);
        let clean = refused.is_empty() && waiting.is_empty() && left.is_empty() && settled.iter().all(known);
        // What is to be given back is looked at only while the writer is free.
        if clean && self.batcher.is_half_full() && self.hold_expired(now).is_none() {
            // The database needn't wait until we have counted.
            self.start_writing(now);
        }
        let mut decided: Vec<Decided> = refused.into_iter().map(Decided::refused).collect();
        let (letters, settled): (Vec<_>, Vec<_>) = settled.into_iter().partition(|(unit, _)| unit.letter.is_some());
        for (unit, letter) in letters.into_iter().filter_map(|(unit, _)| Some((unit.delivery.tag, unit.letter?))) {
            self.dead_lettered(unit, &letter.failure, now);
        }
        decided.extend(settled.into_iter().map(|(unit, outcome)| Decided::unit(unit, outcome)));
        for (unit, failure) in waiting {
            let before =
                retried.iter().position(|parked| parked.what == unit.delivery.tag).map(|at| retried.swap_remove(at));
            match self.park(unit, before, now) {
                Ok(parked) => self.parked.push(parked),
                Err(unit) => decided.push(Decided::unit(*unit, failure.into())),
            }
        }
        self.conclude(decided);
        if let Some(failure) = failure.filter(|_| !left.is_empty()) {
            self.in_trouble(left, how, failure);
        }
    }

    /// A database that can't be asked doesn't keep a message that was refused.
    fn confirmed(&mut self, confirmed: Result<(), Failure>) {
        match confirmed {
            Err(failure) if is_table_changed(&failure) => self.in_trouble(Vec::new(), How::Together, failure),
            Ok(()) | Err(_) => self.conclude_refused(),
        }
    }

    fn trouble_over(&mut self, now: Instant) {
        let Some(trouble) = self.trouble.take() else { return };
        // Parents couldn't be written, nor children be tried again: that time doesn't count.
        let lasted = now.duration_since(trouble.since);
        self.parked.iter_mut().for_each(|parked| parked.deadline += lasted);
    }

    /// Keeps a child for its parent, or returns it when it has waited long enough.
    fn park(&self, unit: Unit, before: Option<Parked<u64>>, now: Instant) -> Result<Parked, Box<Unit>> {
        let retry = &self.context.config.retry;
        let (deadline, mut backoff) = match before {
            Some(parked) => (parked.deadline, parked.backoff),
            None => (now + retry.missing_parent, Backoff::new(retry.initial, retry.max)),
        };
        if now >= deadline {
            return Err(Box::new(unit));
        }
        self.context.status.retries.get_or_create(&ErrorClass::RowRejected.into()).inc();
        let next = (now + backoff.next_wait()).min(deadline);
        Ok(Parked { what: unit, deadline, next, backoff })
    }

    fn in_trouble(&mut self, units: Vec<Unit>, how: How, failure: Failure) {
        let context = &self.context;
        context.status.retries.get_or_create(&failure.class.into()).inc();
        if failure.class != ErrorClass::RowRejected
            && let Some(passed) = context.throttle.pass(&context.config.name, failure.class.name())
        {
            tracing::warn!(pipeline = context.config.name, "not written yet: {failure}{passed}");
        }
        let trouble = self.trouble.get_or_insert_with(|| Trouble::new(&context.config.retry, how, failure.clone()));
        trouble.units = units;
        trouble.how = how;
        trouble.follow(failure);
    }

    fn probed(&mut self, probed: Result<(), Failure>) {
        let Some(trouble) = &mut self.trouble else { return };
        match probed {
            Err(failure) if matches!(failure.class, ErrorClass::SinkUnavailable | ErrorClass::SinkContention) => {
                trouble.failure = failure;
                trouble.wait(Step::Probe);
            }
            // It answers: whatever else is wrong will show on the batch itself.
            Ok(()) | Err(_) => trouble.now(Step::Write),
        }
    }

    fn checked(&mut self, checked: Result<Prepared, Failure>) -> Option<End> {
        let Some(trouble) = &mut self.trouble else {
            return self.checked_in_storm(checked);
        };
        match checked {
            Ok(prepared) if prepared.table == self.table && same_plan(&prepared.plan.write, &self.plan.write) => {
                // The setup is right: after a pause it was mended, otherwise a row is at fault.
                let mended = trouble.state.take().is_some();
                trouble.change_how(if mended { How::Together } else { How::Isolate });
                None
            }
            Ok(_) => Some(End::PlanChanged),
            Err(failure) if matches!(failure.class, ErrorClass::SinkUnavailable | ErrorClass::SinkContention) => {
                trouble.failure = failure;
                trouble.state = Some(State::Holding);
                trouble.wait(Step::Check);
                None
            }
            Err(failure) => {
                let reason = Reason::from(&failure);
                trouble.failure = failure;
                trouble.state = Some(State::Paused);
                trouble.wait(Step::Check);
                self.context.emptiness.is_some().then_some(End::Paused(reason))
            }
        }
    }

    /// During a storm the catalogue is looked at now and then: a changed one ends the pause.
    fn checked_in_storm(&mut self, checked: Result<Prepared, Failure>) -> Option<End> {
        self.storm_on().then(|| self.next_storm_check = Some(Instant::now() + self.context.config.retry.max));
        match checked {
            Ok(prepared) if prepared.table != self.table => {
                self.context.storm.clear();
                Some(End::PlanChanged)
            }
            Ok(_) | Err(_) => None,
        }
    }

    /// Asks for that look when it is time.
    pub(super) fn look_during_storm(&mut self, now: Instant) {
        if self.next_storm_check.is_some_and(|at| at <= now) && !self.writer.busy() && self.trouble.is_none() {
            self.next_storm_check = None;
            self.writer.give(Job::Check);
        }
    }
}
