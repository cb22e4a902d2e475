//! The writer's task as the loop sees it: one job at a time.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::Context;
use super::trouble::Parked;
use crate::checks::{self, Prepared};
use crate::error::Failure;
use crate::mapping::Plan;
use crate::message::{Delivery, Unit};
use crate::sink::Opening;
use crate::status::{Link, Peer};
use crate::writer::{How, Writer, Written};

/// What the writer is asked to do.
pub(super) enum Job {
    Write {
        units: Vec<Unit>,
        how: How,
        plan: Arc<Plan>,
    },
    /// Does a fresh connection take writes?
    Probe {
        plan: Arc<Plan>,
    },
    /// Does the database take this plan's rows as it did when the plan was made?
    Confirm {
        plan: Arc<Plan>,
    },
    /// Do the start's checks pass?
    Check,
}

/// What it answers.
pub(super) enum Answer {
    Written { written: Written, how: How, took: Duration },
    Probed(Result<(), Failure>),
    Confirmed(Result<(), Failure>),
    Checked(Box<Result<Prepared, Failure>>),
}

pub(super) struct Seat {
    jobs: mpsc::Sender<Job>,
    answers: mpsc::Receiver<Answer>,
    busy: bool,
    /// Deliveries of the batch in hand that mapping had refused.
    pub refused: Vec<(Delivery, Failure)>,
    /// Parked units that are being tried again: deadlines and backoffs by their tags.
    pub retried: Vec<Parked<u64>>,
}

impl Seat {
    /// Starts the task. It ends, and closes its connection, when the seat is dropped.
    pub(super) fn new(mut writer: Writer, context: Arc<Context>, consumer: usize) -> Self {
        let (jobs, mut todo) = mpsc::channel(1);
        let (done, answers) = mpsc::channel(1);
        let mut link = Link::new(context.status.connections(Peer::Database), consumer);
        tokio::spawn(async move {
            let mut known = 0;
            while let Some(job) = todo.recv().await {
                let busy = link.work();
                let answer = work(&mut writer, &context, job).await;
                drop(busy);
                let (made, open) = writer.connections();
                link.saw(made - known, open);
                known = made;
                if done.send(answer).await.is_err() {
                    break;
                }
            }
            writer.close().await;
        });
        Seat { jobs, answers, busy: false, refused: Vec::new(), retried: Vec::new() }
    }

    pub(super) fn busy(&self) -> bool {
        self.busy
    }

    pub(super) fn give(&mut self, job: Job) {
        // The channel has room, since there is one job at a time; a task that is gone shows as a
        // missing answer.
        self.busy = true;
        self.jobs.try_send(job).ok();
    }

    pub(super) fn give_parked(&mut self, due: Vec<Parked>, plan: Arc<Plan>) {
        let mut units = Vec::with_capacity(due.len());
        for parked in due {
            self.retried.push(Parked {
                what: parked.what.delivery.tag,
                deadline: parked.deadline,
                next: parked.next,
                backoff: parked.backoff,
            });
            units.push(parked.what);
        }
        self.give(Job::Write { units, how: How::Isolate, plan });
    }

    /// The answer to the job in hand. Dropping the future loses nothing. `None`: the task is gone.
    pub(super) async fn answer(&mut self) -> Option<Answer> {
        if !self.busy {
            return std::future::pending().await;
        }
        let answer = self.answers.recv().await;
        self.busy = false;
        answer
    }
}

async fn work(writer: &mut Writer, context: &Context, job: Job) -> Answer {
    match job {
        Job::Write { units, how, plan } => {
            let started = Instant::now();
            let written = writer.write(&plan.write, units, how).await;
            Answer::Written { written, how, took: started.elapsed() }
        }
        Job::Probe { plan } => Answer::Probed(writer.probe(&plan.write).await),
        Job::Confirm { plan } => Answer::Confirmed(writer.confirm(&plan.write).await),
        Job::Check => {
            let checked =
                checks::prepare(&*context.database, &context.database_config, &context.config, Opening::Existing);
            Answer::Checked(Box::new(checked.await))
        }
    }
}
