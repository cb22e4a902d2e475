//! The next messages of a queue, for commands that look at them.

use super::exit::{CliError, sentence};
use super::output::complain;
use crate::config::Broker;
use crate::message::Envelope;
use crate::rabbitmq::Rabbitmq;

/// Takes the queue's next messages, `count` at most, and gives them back together, having said what
/// that costs. A stream's first messages are read instead, which costs nothing.
pub(super) async fn next_messages(
    broker: &Broker,
    queue: &str,
    name: &str,
    count: u16,
) -> Result<Vec<Envelope>, CliError> {
    let rabbitmq = Rabbitmq::new(broker)?;
    let name = format!("{name}/look");
    let connection = rabbitmq.connect(&name).await?;
    complain(&match count {
        1 => format!("taking the next message of queue {queue} and giving it back: that counts as one delivery of it"),
        _ => format!(
            "taking the next {count} messages of queue {queue} and giving them back together: \
             that counts as one delivery of each"
        ),
    });
    let looked = connection.look_at_next(queue, count).await;
    connection.close().await;
    match looked {
        Ok(envelopes) => Ok(envelopes),
        // What a stream answers to a get, and it closes the connection.
        Err(failure) if failure.code == "540" => {
            let connection = rabbitmq.connect(&name).await?;
            let first = connection.look_at_stream(queue, count).await;
            connection.close().await;
            Ok(first?)
        }
        Err(failure) if failure.code == "405" => Err(CliError::failed(format!(
            "queue {queue} has a single active consumer, or an exclusive one: its messages can't be looked at; \
             give a sample in a file ({failure})"
        ))),
        Err(failure) if matches!(failure.code.as_ref(), "403" | "404") => Err(CliError::failed(sentence(&failure))),
        Err(failure) => Err(failure.into()),
    }
}
