//! One at a time on a dead-letter queue: an exclusive queue is the lock, which goes away with its
//! connection, however that ends. An exclusive queue tells others nothing, so that who has it
//! stands in a second one beside it.

use std::time::Duration;

use lapin::options::{BasicGetOptions, BasicNackOptions, BasicPublishOptions, QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::{AMQPValue, FieldTable};

use super::connection::{Connection, close_channel};
use super::convert::short;
use super::failure::answer;
use crate::error::{ErrorClass, Failure};

/// How often the lock is tried for, and how long in between: two seconds together. The lock of a
/// command that was just broken off doesn't go away at once.
const ATTEMPTS: u32 = 8;
const WAIT: Duration = Duration::from_millis(250);
/// How long it is known who had the lock, where they were killed.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(3600);
/// Of what is told of the holder.
const HOLDER_MAX: usize = 300;

const CLASS: ErrorClass = ErrorClass::SourceLost;

/// The lock of one queue.
#[derive(Debug)]
pub(super) struct Lock {
    channel: lapin::Channel,
    queue: String,
}

impl Lock {
    /// Takes it.
    ///
    /// # Errors
    /// Code 405 while somebody else has it, saying who.
    pub(super) async fn take(connection: &Connection, queue: &str, holder: &str) -> Result<Self, Failure> {
        for _ in 0..ATTEMPTS {
            match attempt(connection, queue).await {
                Err(failure) if failure.code == "405" => tokio::time::sleep(WAIT).await,
                Err(failure) => return Err(failure),
                Ok(channel) => {
                    let lock = Lock { channel, queue: queue.to_owned() };
                    // Only a courtesy to others: the lock holds without it.
                    if let Err(failure) = leave_word(connection, queue, holder).await {
                        tracing::debug!(%failure, "others won't see who has the lock");
                    }
                    return Ok(lock);
                }
            }
        }
        let who = match word(connection, queue).await {
            Ok(Some(who)) => format!("`{who}` has it"),
            _ => "find its connection with `rabbitmqctl list_queues name owner_pid`".to_owned(),
        };
        let message = format!(
            "somebody else works on queue \"{queue}\" and holds the lock \"{}\": {who}; wait for them",
            name(queue)
        );
        Err(Failure::new(CLASS, "405", message))
    }

    /// Gives it back.
    pub(super) async fn give_back(self) {
        for name in [word_name(&self.queue), name(&self.queue)] {
            let Ok(name) = short(&name, "the name of the lock's queue") else { continue };
            let deleted = self.channel.queue_delete(name, QueueDeleteOptions::default());
            if let Err(failure) = answer(CLASS, "deleting the lock", deleted).await {
                // It goes with the connection.
                tracing::debug!(%failure, "the lock stays until the connection closes");
            }
        }
        close_channel(&self.channel, &self.queue).await;
    }
}

fn name(queue: &str) -> String {
    format!("{queue}.rabbit-sink-lock")
}

fn word_name(queue: &str) -> String {
    format!("{queue}.rabbit-sink-lock.holder")
}

async fn attempt(connection: &Connection, queue: &str) -> Result<lapin::Channel, Failure> {
    let channel = connection.channel(CLASS).await?;
    let options = QueueDeclareOptions { exclusive: true, auto_delete: true, ..QueueDeclareOptions::default() };
    let name = short(&name(queue), "the name of the lock's queue")?;
    answer(CLASS, "declaring the lock", channel.queue_declare(name, options, FieldTable::default())).await?;
    Ok(channel)
}

async fn leave_word(connection: &Connection, queue: &str, holder: &str) -> Result<(), Failure> {
    let channel = connection.channel(CLASS).await?;
    let name = short(&word_name(queue), "the name of the lock's queue")?;
    let mut arguments = FieldTable::default();
    let millis = i64::try_from(FORGOTTEN_AFTER.as_millis()).unwrap_or(i64::MAX);
    arguments.insert("x-expires".into(), AMQPValue::LongLongInt(millis));
    // The last one's word replaces that of one who was killed.
    arguments.insert("x-max-length".into(), AMQPValue::LongLongInt(1));
    let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    answer(CLASS, "declaring the lock's word", channel.queue_declare(name.clone(), options, arguments)).await?;
    let word = &holder[..holder.floor_char_boundary(HOLDER_MAX)];
    let options = BasicPublishOptions::default();
    let published = channel.basic_publish("".into(), name, options, word.as_bytes(), Default::default());
    answer(CLASS, "leaving word of the lock", published).await?;
    close_channel(&channel, queue).await;
    Ok(())
}

/// What the holder says of itself.
async fn word(connection: &Connection, queue: &str) -> Result<Option<String>, Failure> {
    let channel = connection.channel(CLASS).await?;
    let name = short(&word_name(queue), "the name of the lock's queue")?;
    let got = channel.basic_get(name, BasicGetOptions { no_ack: false });
    let Some(message) = answer(CLASS, "asking who has the lock", got).await? else { return Ok(None) };
    let word: String = String::from_utf8_lossy(&message.delivery.data).chars().take(HOLDER_MAX).collect();
    let back = channel.basic_nack(message.delivery.delivery_tag, BasicNackOptions { multiple: false, requeue: true });
    answer(CLASS, "putting the lock's word back", back).await?;
    close_channel(&channel, queue).await;
    Ok(Some(word))
}
