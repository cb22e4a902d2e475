//! What becomes of deliveries when they are decided: counted, settled, dead-lettered, or held.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::time::Instant;

use super::{Consumer, Rejection};
use crate::error::Failure;
use crate::message::{Delivery, Outcome, Unit};
use crate::rabbitmq::Source;

/// What was decided of one delivery.
pub(super) struct Decided {
    pub delivery: Delivery,
    pub outcome: Outcome,
    /// In how many transactions it has been.
    pub attempts: u32,
}

impl Decided {
    pub(super) fn refused((delivery, failure): (Delivery, Failure)) -> Self {
        Decided { delivery, outcome: failure.into(), attempts: 0 }
    }

    pub(super) fn unit(unit: Unit, outcome: Outcome) -> Self {
        Decided { delivery: unit.delivery, outcome, attempts: unit.attempts }
    }
}

impl<S: Source> Consumer<S> {
    /// Of the batch in hand only those that mapping has refused.
    pub(super) fn conclude_refused(&mut self) {
        let refused = std::mem::take(&mut self.writer.refused);
        self.conclude(refused.into_iter().map(Decided::refused).collect());
    }

    /// Takes outcomes in the order of the queue: counts, settles, dead-letters or, in a storm,
    /// holds.
    pub(super) fn conclude(&mut self, mut decided: Vec<Decided>) {
        decided.sort_unstable_by_key(|one| one.delivery.tag);
        let fresh = decided.iter().filter(|one| one.delivery.envelope.replays() == 0);
        let causes = fresh.map(|one| match &one.outcome {
            Outcome::Rejected(failure) => Some(failure.cause()),
            Outcome::Written | Outcome::Duplicate | Outcome::Superseded | Outcome::Skipped => None,
        });
        let before = self.context.storm.active();
        let storm = self.context.storm.record(causes);
        if let (None, Some(cause)) = (&before, &storm) {
            tracing::error!(
                pipeline = self.context.config.name,
                "paused: nearly all messages are rejected with {cause}; \
                 nothing more is dead-lettered until `rabbit-sink resume {}` or a changed table",
                self.context.config.name
            );
        }
        let (status, now) = (Arc::clone(&self.context.status), Instant::now());
        for one in decided {
            match one.outcome {
                Outcome::Written => status.written.inc(),
                Outcome::Duplicate => status.duplicates.inc(),
                Outcome::Superseded => status.superseded.inc(),
                Outcome::Skipped => status.skipped.inc(),
                Outcome::Rejected(failure) => {
                    let held = storm.as_ref().is_some_and(|cause| *cause == failure.cause());
                    let Delivery { tag, envelope, .. } = one.delivery;
                    let rejection = Rejection { tag, attempts: one.attempts, envelope, failure: *failure };
                    if held {
                        self.held.push(rejection)
                    } else {
                        self.dead_letter(rejection)
                    }
                    continue;
                }
            };
            self.settle(one.delivery.tag, now);
        }
    }

    fn settle(&mut self, tag: u64, now: Instant) {
        let Some(settled) = self.settlement.settle(tag) else {
            tracing::error!(
                pipeline = self.context.config.name,
                tag,
                "a delivery was settled twice; only the first counts"
            );
            return;
        };
        self.acks_due = true;
        self.settled += 1;
        self.context.status.delivery_duration.observe(now.duration_since(settled.arrived).as_secs_f64());
        if settled.redelivered {
            self.context.status.unsettled_redelivered.fetch_sub(1, Ordering::Relaxed);
        }
    }

    pub(super) fn letters_answered(&mut self, answers: Vec<(Rejection, Result<(), Failure>)>) {
        let now = Instant::now();
        for (rejection, answer) in answers {
            match answer {
                Ok(()) => self.dead_lettered(rejection.tag, &rejection.failure, now),
                Err(failure) => {
                    self.context.status.retries.get_or_create(&failure.class.into()).inc();
                    self.letters.failed(rejection, failure, now);
                }
            }
        }
        self.letters.answered();
    }

    /// Its letter is where it belongs.
    pub(super) fn dead_lettered(&mut self, tag: u64, failure: &Failure, now: Instant) {
        let config = &self.context.config;
        if let Some(passed) = self.context.throttle.pass(&config.name, failure.class.name()) {
            tracing::warn!(pipeline = config.name, to = %config.dead_letter, "dead-lettered: {failure}{passed}");
        }
        self.context.status.dead_lettered.get_or_create(&failure.class.into()).inc();
        self.settle(tag, now);
    }
}
