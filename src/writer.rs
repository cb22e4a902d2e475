//! Turns batches into outcomes over one connection: each message ID once per transaction, bad
//! rows found by bisection, and no await without a deadline.

mod round;

use std::sync::Arc;
use std::time::Duration;

use crate::config;
use crate::error::{ErrorClass, Failure};
use crate::message::{Outcome, Unit};
use crate::plan::WritePlan;
use crate::policy::CONNECTION_LOSSES;
use crate::sink::{Database, Session, is_connection_lost, is_table_changed};
use round::Round;
use tokio::time::Instant;

/// How long a search for the row that breaks connections waits for the server to come back.
const RECOVERY: Duration = Duration::from_secs(10);
/// Before a single row that has lost its connection is tried again, times the losses so far.
const LOSS_WAIT: Duration = Duration::from_millis(500);
/// So many contended units in one job are tried before the rest waits.
const CONTENDED_AT_ONCE: u32 = 3;

/// How to write units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// All in one transaction.
    Together,
    /// A transaction for each.
    OneByOne,
    /// In halves, and halves of halves, until what can't be written stands alone. They are known
    /// to fail together.
    Isolate,
}

/// What became of a job. Every unit is in exactly one of the three lists.
#[derive(Debug, Default)]
pub struct Written {
    /// Decided: committed, known, or refused for good.
    pub settled: Vec<(Unit, Outcome)>,
    /// Alone at fault only because a row that they refer to isn't there yet.
    pub waiting: Vec<(Unit, Failure)>,
    /// Not decided, because of `failure`.
    pub left: Vec<Unit>,
    /// Why units are left.
    pub failure: Option<Failure>,
}

/// One connection, made when needed and dropped after anything that leaves its state unknown.
pub struct Writer {
    database: Arc<dyn Database>,
    session: Option<Box<dyn Session>>,
    connects: u64,
    connect_deadline: Duration,
    write_deadline: Duration,
}

impl Writer {
    /// No connection yet.
    pub fn new(database: Arc<dyn Database>, config: &config::Database) -> Self {
        // The server cancels a statement first; these fire when the link is dead.
        Writer {
            database,
            session: None,
            connects: 0,
            connect_deadline: config.connect_timeout * 2,
            write_deadline: config.statement_timeout * 2 + Duration::from_secs(5),
        }
    }

    /// Writes units.
    pub async fn write(&mut self, plan: &WritePlan, units: Vec<Unit>, how: How) -> Written {
        let mut round = Round::new(units, plan);
        let mut failure = None;
        while failure.is_none() {
            let leaders = round.leaders();
            if leaders.is_empty() {
                break;
            }
            failure = match how {
                How::Together => self.together(plan, &mut round, &leaders).await.err(),
                How::OneByOne => self.one_by_one(plan, &mut round, &leaders).await.err(),
                How::Isolate => self.isolate(plan, &mut round, leaders).await.err(),
            };
            round.settle_followers();
        }
        round.finish(failure)
    }

    async fn together(&mut self, plan: &WritePlan, round: &mut Round, leaders: &[usize]) -> Result<(), Failure> {
        let outcomes = self.transaction(plan, &round.pick(leaders), false).await?;
        round.decide(leaders, outcomes);
        Ok(())
    }

    /// A unit that meets contention doesn't keep the others waiting, unless too many do.
    async fn one_by_one(&mut self, plan: &WritePlan, round: &mut Round, leaders: &[usize]) -> Result<(), Failure> {
        let mut contended = Contended::default();
        let mut unwritten = None;
        for &at in leaders {
            match self.transaction(plan, &round.pick(&[at]), true).await {
                Ok(outcomes) => round.decide(&[at], outcomes),
                Err(failure) if round.is_letter(at) && failure.class == ErrorClass::RowRejected => {
                    unwritten = Some(letter_failed(failure));
                }
                Err(failure) if failure.class == ErrorClass::RowRejected => round.refuse(at, failure),
                Err(failure) => contended.meet(failure)?,
            }
        }
        unwritten.map_or_else(|| contended.end(), Err)
    }

    /// Bisection. Each failure that may be a row's own splits its range; a range of one is at
    /// fault alone.
    async fn isolate(&mut self, plan: &WritePlan, round: &mut Round, leaders: Vec<usize>) -> Result<(), Failure> {
        let mut ranges = vec![leaders];
        let mut suspects = Vec::new();
        let mut unavailable = None;
        let mut contended = Contended::default();
        let mut losses = 0;
        while let Some(range) = ranges.pop() {
            let failure = match self.transaction(plan, &round.pick(&range), true).await {
                Ok(outcomes) => {
                    losses = 0;
                    round.decide(&range, outcomes);
                    continue;
                }
                Err(failure) => failure,
            };
            let class = failure.class;
            if class == ErrorClass::SinkUnavailable {
                // Only while fresh connections work can the row be what breaks them.
                self.probe_after_loss(plan).await?;
            }
            match range.as_slice() {
                // There is nowhere else for it to go: it waits, and keeps no other from being written.
                [at] if round.is_letter(*at) && class != ErrorClass::SinkContention && !is_table_changed(&failure) => {
                    unavailable = Some(letter_failed(failure));
                }
                [at] if class == ErrorClass::RowRejected => round.refuse(*at, failure),
                [_] if class == ErrorClass::SinkContention => contended.meet(failure)?,
                // No row's doing, and the next one would meet it, too.
                _ if class == ErrorClass::SinkContention || is_table_changed(&failure) => return Err(failure),
                [_] if class == ErrorClass::SinkUnavailable && !is_connection_lost(&failure) => {
                    unavailable = Some(failure);
                }
                [_] if class == ErrorClass::SinkUnavailable && losses + 1 < CONNECTION_LOSSES => {
                    losses += 1;
                    ranges.push(range);
                    // A network that flaps is no row's doing: it gets time to do so.
                    tokio::time::sleep(LOSS_WAIT * losses).await;
                }
                [at] => {
                    losses = 0;
                    suspects.push((*at, class));
                }
                _ => {
                    let mut first = range;
                    let second = first.split_off(first.len() / 2);
                    ranges.push(second);
                    ranges.push(first);
                }
            }
        }
        self.convict(plan, round, suspects).await?;
        match unavailable {
            Some(failure) => Err(failure),
            None => contended.end(),
        }
    }

    /// A row is at fault for an error that may be the database's only if it fails once more, now
    /// that all others have been tried, while the database takes writes: before it and after it.
    async fn convict(
        &mut self,
        plan: &WritePlan,
        round: &mut Round,
        suspects: Vec<(usize, ErrorClass)>,
    ) -> Result<(), Failure> {
        if suspects.is_empty() {
            return Ok(());
        }
        self.probe(plan).await?;
        let mut guilty = Vec::new();
        for (at, suspected_of) in suspects {
            match self.transaction(plan, &round.pick(&[at]), true).await {
                Ok(outcomes) => round.decide(&[at], outcomes),
                Err(failure) => match failure.class {
                    // Its answers alone were lost, again and again, while those of others arrived.
                    ErrorClass::SinkUnavailable if suspected_of == failure.class && is_connection_lost(&failure) => {
                        self.probe_after_loss(plan).await?;
                        guilty.push((at, lost_with(failure)));
                    }
                    ErrorClass::SinkContention | ErrorClass::SinkUnavailable => return Err(failure),
                    ErrorClass::RowRejected => round.refuse(at, failure),
                    _ => guilty.push((at, failure)),
                },
            }
        }
        if !guilty.is_empty() {
            self.probe(plan).await?;
        }
        guilty.into_iter().for_each(|(at, failure)| round.reject(at, failure));
        Ok(())
    }

    /// A server that a row has crashed needs a moment to come back. Giving up at once would start
    /// the search for that row anew each time, and it would never end.
    async fn probe_after_loss(&mut self, plan: &WritePlan) -> Result<(), Failure> {
        let until = Instant::now() + RECOVERY;
        loop {
            match self.probe(plan).await {
                Err(failure) if failure.class == ErrorClass::SinkUnavailable && Instant::now() < until => {
                    tokio::time::sleep(RECOVERY / 20).await;
                }
                probed => return probed,
            }
        }
    }

    /// One transaction within its deadline. The session doesn't outlive an error that leaves its
    /// state unknown.
    async fn transaction(
        &mut self,
        plan: &WritePlan,
        units: &[&Unit],
        isolating: bool,
    ) -> Result<Vec<Outcome>, Failure> {
        let mut session = match self.session.take() {
            Some(session) => session,
            None => self.connect().await?,
        };
        let written = match tokio::time::timeout(self.write_deadline, session.write(plan, units, isolating)).await {
            Ok(written) => written,
            Err(_) => return Err(overdue("the database didn't answer a transaction in time")),
        };
        let broken = |failure: &Failure| matches!(failure.class, ErrorClass::SinkUnavailable | ErrorClass::Unknown);
        if !written.as_ref().is_err_and(broken) {
            self.session = Some(session);
        }
        written
    }

    async fn connect(&mut self) -> Result<Box<dyn Session>, Failure> {
        match tokio::time::timeout(self.connect_deadline, self.database.connect()).await {
            Ok(connected) => {
                self.connects += u64::from(connected.is_ok());
                connected
            }
            Err(_) => Err(overdue("the database didn't answer a connection attempt in time")),
        }
    }

    /// Whether units that couldn't be written for a while would be decided now, each by itself:
    /// tried in a transaction that is rolled back. An error that may be the row's own is a
    /// decision, as isolating them will make it.
    ///
    /// # Errors
    /// What still keeps the database from writing one of them.
    pub async fn rehearse(&mut self, plan: &WritePlan, units: &[Unit]) -> Result<(), Failure> {
        for unit in units {
            let mut session = self.connect().await?;
            let failure = match tokio::time::timeout(self.write_deadline, session.rehearse(plan, &[unit])).await {
                Ok(Err(failure)) if unit.letter.is_some() => return Err(failure),
                Ok(Ok(_)) => {
                    session.close().await;
                    continue;
                }
                Ok(Err(failure)) => failure,
                Err(_) => overdue("the database didn't answer a transaction in time"),
            };
            let away = failure.class == ErrorClass::SinkUnavailable && !is_connection_lost(&failure);
            if away || failure.class == ErrorClass::SinkContention {
                return Err(failure);
            }
        }
        Ok(())
    }

    /// Asks on a fresh connection whether the database takes writes at all.
    ///
    /// # Errors
    /// Whatever keeps it from that.
    pub async fn probe(&mut self, plan: &WritePlan) -> Result<(), Failure> {
        self.session = None;
        let mut session = self.connect().await?;
        match tokio::time::timeout(self.write_deadline, session.probe_write(plan)).await {
            Ok(probed) => probed?,
            Err(_) => return Err(overdue("the database didn't answer a probe in time")),
        }
        self.session = Some(session);
        Ok(())
    }

    /// Asks on the connection in use whether the database takes the plan's rows, as [`Writer::probe`]
    /// does on a fresh one.
    ///
    /// # Errors
    /// Whatever keeps it from that; see [`crate::sink::is_table_changed`].
    pub async fn confirm(&mut self, plan: &WritePlan) -> Result<(), Failure> {
        let mut session = match self.session.take() {
            Some(session) => session,
            None => self.connect().await?,
        };
        match tokio::time::timeout(self.write_deadline, session.probe_write(plan)).await {
            Ok(Ok(())) => {
                self.session = Some(session);
                Ok(())
            }
            Ok(Err(failure)) => Err(failure),
            Err(_) => Err(overdue("the database didn't answer a probe in time")),
        }
    }

    /// How many connections it has made, and whether it has one now.
    pub fn connections(&self) -> (u64, bool) {
        (self.connects, self.session.is_some())
    }

    /// Says goodbye to the server.
    pub async fn close(self) {
        if let Some(session) = self.session {
            // A goodbye that hangs is no reason to hang.
            tokio::time::timeout(Duration::from_secs(2), session.close()).await.ok();
        }
    }
}

fn overdue(message: &'static str) -> Failure {
    Failure::new(ErrorClass::SinkUnavailable, "deadline", message)
}

/// A dead letter that can't be written can't become another dead letter.
fn letter_failed(failure: Failure) -> Failure {
    match failure.class {
        ErrorClass::SinkUnavailable => failure,
        _ => {
            let message = format!("a dead letter can't be written ({failure})");
            Failure::new(ErrorClass::DeadLetterFailed, failure.code, message).detail(failure.detail.reveal())
        }
    }
}

/// What a row is dead-lettered as that loses its connection each time.
fn lost_with(failure: Failure) -> Failure {
    let message = "the database closes the connection whenever this message is written";
    Failure { detail: failure.detail, ..Failure::new(ErrorClass::RowRejected, "connection_lost", message) }
}

/// Single units that somebody else's locks keep from being written.
#[derive(Debug, Default)]
struct Contended {
    met: u32,
    last: Option<Failure>,
}

impl Contended {
    /// Each one waits for the server's lock timeout: after a few of them the others wait, too.
    /// Whatever isn't contention ends the job.
    fn meet(&mut self, failure: Failure) -> Result<(), Failure> {
        self.met += 1;
        if failure.class != ErrorClass::SinkContention || self.met == CONTENDED_AT_ONCE {
            return Err(failure);
        }
        self.last = Some(failure);
        Ok(())
    }

    fn end(self) -> Result<(), Failure> {
        self.last.map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests;
