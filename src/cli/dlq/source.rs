//! Where letters come from: the pipeline's dead-letter queue.

use std::ops::ControlFlow;

use super::letter::{DeadLetterRow, Letter};
use crate::cli::exit::CliError;
use crate::config::{Config, Pipeline};
use crate::dead_letter;
use crate::error::Failure;
use crate::message::Envelope;
use crate::rabbitmq::{self, Rabbitmq};

/// Shows every letter that stands in the queue to `look`, until it breaks off; after that it may
/// still be called for letters that were already there.
pub(super) async fn browse(
    config: &Config,
    pipeline: &Pipeline,
    mut look: impl FnMut(Letter) -> ControlFlow<()>,
) -> Result<(), CliError> {
    let Some(broker) = config.brokers.get(&pipeline.broker) else {
        return Err(CliError::usage(format!("pipeline {}: there is no broker \"{}\"", pipeline.name, pipeline.broker)));
    };
    let connection = Rabbitmq::new(broker)?.connect(&format!("{}/dlq", pipeline.name)).await?;
    let browsed =
        rabbitmq::browse(&connection, &pipeline.dead_letter.queue, usize::MAX, |envelope| look(letter(envelope))).await;
    connection.close().await;
    browsed.map(|_| ()).map_err(refused)
}

/// A broker that answers, but with a no, is reachable.
fn refused(failure: Failure) -> CliError {
    match failure.code.as_ref() {
        "404" | "405" => CliError::failed(failure.to_string()),
        _ => failure.into(),
    }
}

fn letter(envelope: &Envelope) -> Letter {
    let info = dead_letter::read(envelope);
    let mut envelope = dead_letter::unwrapped(envelope);
    // As the message was first published, not as its dead letter was.
    (envelope.exchange, envelope.routing_key) = (info.exchange, info.routing_key);
    let row = DeadLetterRow {
        id: info.id,
        message_id: info.message_id,
        failed_at: info.failed_at,
        class: info.class,
        code: info.code,
        column: info.column,
        reason: info.reason,
        attempts: info.attempts,
        replays: info.replays,
        pipeline: info.pipeline,
        queue: info.queue,
        table: info.table,
    };
    Letter { row, envelope }
}
