//! Dead letters that go into a table: units like any others, which travel with the next batch, so
//! that whatever happens to its transaction happens to them.

use tokio::time::Instant;

use super::{Consumer, Rejection};
use crate::config::{self, DeadLetter};
use crate::dead_letter::{self, Rejected};
use crate::message::{Delivery, Letter, Unit};
use crate::rabbitmq::Source;

/// Letters in one transaction.
const AT_A_TIME: usize = 500;

/// The unit that writes a rejected message's letter.
pub(crate) fn letter_unit(pipeline: &config::Pipeline, rejection: Rejection) -> Unit {
    let Rejection { tag, attempts, envelope, failure } = rejection;
    let row = dead_letter::rejected_row(&Rejected {
        envelope: &envelope,
        failure: &failure,
        pipeline: &pipeline.name,
        queue: &pipeline.queue,
        table: &pipeline.table.to_string(),
        attempts,
        failed_at: jiff::Timestamp::now(),
        dead_letter_queue: "",
    });
    let delivery = Delivery { tag, arrived: Instant::now(), envelope };
    let letter = Some(Box::new(Letter { failure, attempts, row }));
    Unit { delivery, ledger: None, changes: Vec::new(), attempts: 0, letter }
}

/// The rejection that such a unit is of.
pub(super) fn rejection(delivery: Delivery, letter: Letter) -> Rejection {
    let Delivery { tag, envelope, .. } = delivery;
    Rejection { tag, attempts: letter.attempts, envelope, failure: letter.failure }
}

impl<S: Source> Consumer<S> {
    /// The one place that decides where a dead letter goes.
    pub(super) fn dead_letter(&mut self, rejection: Rejection) {
        match &self.context.config.dead_letter {
            DeadLetter::Queue { .. } => self.letters.add(rejection),
            DeadLetter::Table(_) => self.letters_due.push(letter_unit(&self.context.config, rejection)),
        }
    }

    /// Letters for the next transaction.
    pub(super) fn take_letters(&mut self) -> Vec<Unit> {
        let rest = self.letters_due.split_off(self.letters_due.len().min(AT_A_TIME));
        std::mem::replace(&mut self.letters_due, rest)
    }
}
