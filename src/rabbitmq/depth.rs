//! How many messages wait in a queue.

use lapin::options::QueueDeclareOptions;
use lapin::types::{FieldTable, ShortString};

use super::failure::answer;
use crate::error::{ErrorClass, Failure};

/// Messages ready in a queue, unacked ones left out. Asked while a consumer of ours is on the queue;
/// `None`: the broker doesn't know.
///
/// A quorum queue whose leader doesn't answer the broker within 250 ms, or is away, is said to have
/// no message and no consumer (`rabbit_quorum_queue:stat/2`, from 3.8 to 4.x). With ours on it, it
/// has one at least: so this 0 can be told from a true one.
///
/// # Errors
/// Of this class: the queue is gone, or the connection.
pub(super) async fn beside_consumer(
    channel: &lapin::Channel,
    queue: &ShortString,
    class: ErrorClass,
) -> Result<Option<u64>, Failure> {
    let asked = look(channel, queue, class).await?;
    Ok((asked.consumer_count() > 0).then(|| asked.message_count().into()))
}

/// The same without a consumer of ours: a 0 may be wrong, any other number isn't.
///
/// # Errors
/// Of this class: the queue is gone, or the connection.
pub(super) async fn at_least(channel: &lapin::Channel, queue: &ShortString, class: ErrorClass) -> Result<u64, Failure> {
    Ok(look(channel, queue, class).await?.message_count().into())
}

async fn look(channel: &lapin::Channel, queue: &ShortString, class: ErrorClass) -> Result<lapin::Queue, Failure> {
    let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    let asked = channel.queue_declare(queue.clone(), options, FieldTable::default());
    answer(class, &format!("looking at queue \"{queue}\""), asked).await
}
