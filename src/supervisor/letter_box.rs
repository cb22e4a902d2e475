//! Dead letters into a queue.

use crate::config::DeadLetter;
use crate::dead_letter::{self, Rejected};
use crate::error::Failure;
use crate::message::Envelope;
use crate::pipeline::{Context, LetterBox, Rejection};
use crate::rabbitmq::{DeadLetterQueue, DeadLetters, Rabbitmq, UNROUTABLE};
use crate::status::{Link, Peer};

/// Publishes on a connection of its own, which an alarm that blocks publishers blocks alone.
pub(super) struct QueueLetters {
    publisher: DeadLetters,
    pipeline: String,
    queue: String,
    table: String,
    dead_letter_queue: String,
    declare: bool,
    link: Link,
    connects: u64,
}

impl QueueLetters {
    /// Connects when there is a letter: where they go into a table, never.
    pub(super) fn new(rabbitmq: &Rabbitmq, context: &Context, consumer: usize) -> Self {
        let pipeline = &context.config;
        let (dead_letter_queue, declare) = match &pipeline.dead_letter {
            DeadLetter::Queue { name, declare } => (name.clone(), *declare),
            DeadLetter::Table(_) => (String::new(), false),
        };
        QueueLetters {
            publisher: rabbitmq.dead_letters(&pipeline.name),
            pipeline: pipeline.name.clone(),
            queue: pipeline.queue.clone(),
            table: pipeline.table.to_string(),
            dead_letter_queue,
            declare,
            link: Link::new(context.status.connections(Peer::DeadLetters), consumer),
            connects: 0,
        }
    }

    pub(super) async fn close(self) {
        self.publisher.close().await;
    }

    /// Somebody has deleted the queue, and the config says that we may make it. The letters are
    /// tried again as they are after any failure.
    async fn declare_again(&mut self) {
        let declared = match self.publisher.connection().await {
            Ok(connection) => connection.declare_dead_letter_queue(&self.dead_letter_queue).await,
            Err(failure) => Err(failure),
        };
        match declared {
            Ok(()) => {
                tracing::warn!(
                    pipeline = self.pipeline,
                    queue = self.dead_letter_queue,
                    "dead-letter queue declared again"
                );
            }
            Err(failure) => {
                tracing::warn!(
                    pipeline = self.pipeline,
                    queue = self.dead_letter_queue,
                    "dead-letter queue not declared: {failure}"
                );
            }
        }
    }

    fn letter(&self, rejection: &Rejection, frame_max: u32) -> Envelope {
        let rejected = Rejected {
            envelope: &rejection.envelope,
            failure: &rejection.failure,
            pipeline: &self.pipeline,
            queue: &self.queue,
            table: &self.table,
            attempts: rejection.attempts,
            failed_at: jiff::Timestamp::now(),
            dead_letter_queue: &self.dead_letter_queue,
        };
        dead_letter::build(&rejected, frame_max)
    }
}

impl LetterBox for QueueLetters {
    async fn publish(&mut self, rejections: &[Rejection]) -> Vec<Result<(), Failure>> {
        let results = self.publish_all(rejections).await;
        let (made, open) = self.publisher.connections();
        self.link.saw(made - self.connects, open);
        self.connects = made;
        results
    }
}

impl QueueLetters {
    async fn publish_all(&mut self, rejections: &[Rejection]) -> Vec<Result<(), Failure>> {
        match self.publisher.frame_max().await {
            Ok(frame_max) => {
                let letters = rejections.iter().map(|rejection| self.letter(rejection, frame_max)).collect();
                let results = self.publisher.publish(letters).await;
                let gone = |result: &Result<(), Failure>| matches!(result, Err(failure) if failure.code == UNROUTABLE);
                if self.declare && results.iter().any(gone) {
                    self.declare_again().await;
                }
                results
            }
            Err(failure) => rejections.iter().map(|_| Err(failure.clone())).collect(),
        }
    }
}
