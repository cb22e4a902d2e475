//! The next message of a queue, for commands that look at it.

use super::exit::CliError;
use crate::config::Broker;
use crate::message::Envelope;
use crate::rabbitmq::Rabbitmq;

/// Takes the queue's next message and gives it back. A stream's first message is read instead,
/// which costs nothing.
pub(super) async fn next_message(broker: &Broker, queue: &str, name: &str) -> Result<Option<Envelope>, CliError> {
    let rabbitmq = Rabbitmq::new(broker)?;
    let name = format!("{name}/look");
    let connection = rabbitmq.connect(&name).await?;
    let looked = connection.look_at_next(queue).await;
    connection.close().await;
    match looked {
        Ok(envelope) => Ok(envelope),
        // What a stream answers to a get, and it closes the connection.
        Err(failure) if failure.code == "540" => {
            let connection = rabbitmq.connect(&name).await?;
            let first = connection.look_at_stream(queue).await;
            connection.close().await;
            Ok(first?)
        }
        Err(failure) if failure.code == "405" => Err(CliError::failed(format!(
            "queue {queue} has a single active consumer, or an exclusive one: its messages can't be looked at; \
             give a sample in a file ({failure})"
        ))),
        Err(failure) if matches!(failure.code.as_ref(), "403" | "404") => Err(CliError::failed(failure.to_string())),
        Err(failure) => Err(failure.into()),
    }
}
