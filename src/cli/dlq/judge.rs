//! What would become of a message now: decoded, mapped and written in a transaction of its own
//! that is rolled back, with a short lock timeout, so that it doesn't stand in the worker's way.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::checks;
use crate::config::{Config, Pipeline};
use crate::error::{ErrorClass, Failure};
use crate::mapping::Plan;
use crate::message::{Delivery, Envelope, LedgerEntry, Outcome};
use crate::plan::Deduplication;
use crate::sink::{self, Database, Entered, Opening, Session, is_connection_lost, is_table_changed};

/// The longest wait for somebody else's lock.
const LOCK_TIMEOUT: Duration = Duration::from_secs(1);

/// What would become of a message.
#[derive(Clone, Debug)]
pub(super) enum Verdict {
    /// It would be written.
    Written,
    /// Its ID is in the ledger already, or its value in the column that tells repeats.
    AlreadyThere,
    /// A newer version of its row is there.
    Superseded,
    /// Nothing would have to be written.
    Skipped,
    /// It would die again.
    Refused(Failure),
    /// Somebody else's lock was in the way.
    Undecided(Failure),
}

/// A pipeline's mapping and a connection to its database.
pub(super) struct Judge {
    plan: Arc<Plan>,
    database: Arc<dyn Database>,
    session: Option<Box<dyn Session>>,
    connect_deadline: Duration,
    deadline: Duration,
}

impl Judge {
    /// Checks the database side as the worker does at its start, but creates nothing.
    pub(super) async fn open(config: &Config, pipeline: &Pipeline) -> Result<Self, Failure> {
        let Some(database) = config.databases.get(&pipeline.database) else {
            let message = format!("pipeline {}: there is no database \"{}\"", pipeline.name, pipeline.database);
            return Err(Failure::new(ErrorClass::Config, "database", message));
        };
        let mut patient = database.clone();
        patient.lock_timeout = patient.lock_timeout.min(LOCK_TIMEOUT);
        let opened = sink::open(&patient)?;
        let prepared = checks::prepare(opened.as_ref(), &patient, pipeline, Opening::Existing).await?;
        Ok(Judge {
            plan: prepared.plan,
            database: opened,
            session: None,
            connect_deadline: patient.connect_timeout * 2,
            deadline: patient.statement_timeout * 2 + Duration::from_secs(5),
        })
    }

    /// What would become of this message, as it would arrive.
    ///
    /// # Errors
    /// What keeps the database from answering, or from taking any message.
    pub(super) async fn verdict(&mut self, message: Envelope) -> Result<Verdict, Failure> {
        let delivery = Delivery { tag: 0, arrived: Instant::now(), envelope: Box::new(message) };
        let unit = match self.plan.map(delivery) {
            Ok(unit) => unit,
            Err(refused) => return Ok(Verdict::Refused(refused.1)),
        };
        let plan = Arc::clone(&self.plan);
        let units = [&unit];
        let mut losses = 0;
        let failure = loop {
            let mut session = self.session().await?;
            match tokio::time::timeout(self.deadline, session.rehearse(&plan.write, &units)).await {
                Ok(Ok(outcomes)) => {
                    self.session = Some(session);
                    return Ok(outcomes.into_iter().next().map_or(Verdict::Skipped, verdict));
                }
                // It may have been idle for too long: once more on a fresh connection.
                Ok(Err(failure)) if is_connection_lost(&failure) && losses == 0 => losses += 1,
                Ok(Err(failure)) => {
                    if matches!(failure.class, ErrorClass::RowRejected | ErrorClass::SinkContention) {
                        self.session = Some(session);
                    }
                    break failure;
                }
                Err(_) => return Err(silent()),
            }
        };
        match failure.class {
            ErrorClass::RowRejected | ErrorClass::IdConflict => Ok(Verdict::Refused(failure)),
            ErrorClass::SinkContention => Ok(Verdict::Undecided(failure)),
            _ if is_table_changed(&failure) => Err(failure),
            // As the worker judges: it is the message's fault if the database takes others.
            ErrorClass::Unknown | ErrorClass::SinkMisconfigured => {
                self.probe().await?;
                Ok(Verdict::Refused(failure))
            }
            _ => Err(failure),
        }
    }

    /// Shows that the database takes writes at all.
    async fn probe(&mut self) -> Result<(), Failure> {
        let plan = Arc::clone(&self.plan);
        let mut session = self.session().await?;
        match tokio::time::timeout(self.deadline, session.probe_write(&plan.write)).await {
            Ok(probed) => {
                probed?;
                self.session = Some(session);
                Ok(())
            }
            Err(_) => Err(silent()),
        }
    }

    /// What the ledger would have of a message; `None` where its ID can't be told.
    pub(super) fn entry(&self, message: &Envelope) -> Option<LedgerEntry> {
        self.plan.entry(message).ok().flatten()
    }

    /// What the ledger has of these. Without a ledger: of nothing.
    ///
    /// # Errors
    /// What keeps the database from answering.
    pub(super) async fn look_up(&mut self, entries: &[&LedgerEntry]) -> Result<Vec<Entered>, Failure> {
        let plan = Arc::clone(&self.plan);
        let Deduplication::Ledger(ledger) = &plan.write.deduplication else {
            return Ok(vec![Entered::Absent; entries.len()]);
        };
        let mut session = self.session().await?;
        match tokio::time::timeout(self.deadline, session.look_up(ledger, entries)).await {
            Ok(found) => {
                let found = found?;
                self.session = Some(session);
                Ok(found)
            }
            Err(_) => Err(silent()),
        }
    }

    async fn session(&mut self) -> Result<Box<dyn Session>, Failure> {
        if let Some(session) = self.session.take() {
            return Ok(session);
        }
        match tokio::time::timeout(self.connect_deadline, self.database.connect()).await {
            Ok(session) => session,
            Err(_) => Err(silent()),
        }
    }

    /// Says goodbye to the database.
    pub(super) async fn close(self) {
        if let Some(session) = self.session {
            // A goodbye that hangs is no reason to hang.
            tokio::time::timeout(Duration::from_secs(2), session.close()).await.ok();
        }
    }
}

fn verdict(outcome: Outcome) -> Verdict {
    match outcome {
        Outcome::Written => Verdict::Written,
        Outcome::Duplicate => Verdict::AlreadyThere,
        Outcome::Superseded => Verdict::Superseded,
        Outcome::Skipped => Verdict::Skipped,
        Outcome::Rejected(failure) => Verdict::Refused(*failure),
    }
}

fn silent() -> Failure {
    Failure::new(ErrorClass::SinkUnavailable, "deadline", "the database didn't answer in time")
}
