//! Looking at a dead-letter queue without wearing its messages out.
//!
//! Getting and requeueing costs one delivery each time, and a quorum queue drops a message at its
//! limit. So a look is a rotation: what was taken is published anew at the tail, confirmed, and
//! only then acked at the head. At any moment a message stands in the queue at least once; a
//! crash in between leaves it there twice, with the same `x-sink-id`.

use std::ops::ControlFlow;
use std::time::Duration;

use lapin::options::{BasicAckOptions, BasicGetOptions, BasicNackOptions, QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::FieldTable;

use super::DeadLetterQueue;
use super::connection::{Connection, QueueState};
use super::convert::{self, short};
use super::failure::answer;
use super::publisher::Publisher;
use crate::dead_letter;
use crate::error::{ErrorClass, Failure};
use crate::message::Envelope;

/// The most messages that are out of the queue at a time.
pub const BROWSE_AT_ONCE: usize = 500;

/// How often the lock is tried for, and how long in between: two seconds together.
const LOCK_ATTEMPTS: u32 = 8;
const LOCK_WAIT: Duration = Duration::from_millis(250);

const CLASS: ErrorClass = ErrorClass::SourceLost;

/// Shows up to `limit` messages of a queue from its head to `look`, moving each to the tail, until
/// `look` breaks off, or the messages that stood there at the start have been seen. Returns how
/// many were shown. Wrapped dead letters are shown as they stand; [`dead_letter::read`] unwraps.
///
/// An exclusive queue `QUEUE.rabbit-sink-lock` keeps others from rotating at the same time. The
/// future may be dropped at any point: nothing is lost.
///
/// # Errors
/// Class `source_lost`: 404 where there is no such queue, 405 while somebody else browses it.
/// Class `dead_letter_failed` where a message couldn't be put back; it then still stands where it
/// stood.
pub async fn browse(
    connection: &Connection,
    queue: &str,
    limit: usize,
    mut look: impl FnMut(&Envelope) -> ControlFlow<()>,
) -> Result<usize, Failure> {
    let QueueState::Present { ready, .. } = connection.queue_exists(queue).await? else {
        return Err(Failure::new(CLASS, "404", format!("there is no queue \"{queue}\" in this vhost")));
    };
    let lock = lock(connection, queue).await?;
    let total = usize::try_from(ready).unwrap_or(usize::MAX).min(limit);
    let shown = sweep(connection, queue, total, &mut look).await;
    unlock(lock, queue).await;
    shown
}

async fn sweep(
    connection: &Connection,
    queue: &str,
    total: usize,
    look: &mut impl FnMut(&Envelope) -> ControlFlow<()>,
) -> Result<usize, Failure> {
    let mut sweep = Sweep {
        channel: connection.channel(CLASS).await?,
        publisher: connection.publisher().await?,
        queue,
        stamp: stamp(queue),
        frame_max: connection.frame_max(),
    };
    let mut shown = 0;
    while shown < total {
        let (letters, last) = sweep.take(BROWSE_AT_ONCE.min(total - shown)).await?;
        let mut enough = false;
        for (_, letter) in &letters {
            if !enough {
                shown += 1;
                enough = look(letter).is_break();
            }
        }
        sweep.put_back(letters).await?;
        if enough || last {
            break;
        }
    }
    Ok(shown)
}

struct Sweep<'a> {
    channel: lapin::Channel,
    publisher: Publisher,
    queue: &'a str,
    stamp: String,
    frame_max: u32,
}

impl Sweep<'_> {
    /// Up to `limit` messages from the head with their tags, and whether these are the last:
    /// the queue is empty, or the next message has our stamp.
    async fn take(&self, limit: usize) -> Result<(Vec<(u64, Envelope)>, bool), Failure> {
        let mut taken = Vec::new();
        while taken.len() < limit {
            let get = self.channel.basic_get(short(self.queue, "the queue's name")?, BasicGetOptions { no_ack: false });
            let doing = format!("getting a message of queue \"{}\"", self.queue);
            let Some(message) = answer(CLASS, &doing, get).await? else { return Ok((taken, true)) };
            let tag = message.delivery.delivery_tag;
            let mut envelope = convert::envelope(message.delivery);
            let stamp = envelope.headers.text(dead_letter::SWEEP).map(str::to_owned);
            envelope.headers.remove(dead_letter::SWEEP);
            if stamp.as_deref() == Some(&self.stamp) {
                let options = BasicNackOptions { multiple: false, requeue: true };
                answer(CLASS, "giving a message back", self.channel.basic_nack(tag, options)).await?;
                return Ok((taken, true));
            }
            taken.push((tag, envelope));
        }
        Ok((taken, false))
    }

    /// Publishes each anew, and acks those that are confirmed.
    async fn put_back(&mut self, letters: Vec<(u64, Envelope)>) -> Result<(), Failure> {
        let (tags, letters): (Vec<_>, Vec<_>) = letters.into_iter().unzip();
        let copies = letters
            .into_iter()
            .map(|letter| dead_letter::rotated(letter, self.queue, &self.stamp, self.frame_max))
            .collect();
        let mut failure = None;
        for (tag, result) in tags.into_iter().zip(self.publisher.publish(copies).await) {
            match result {
                Ok(()) => {
                    let options = BasicAckOptions { multiple: false };
                    answer(CLASS, "acking a message that was put back", self.channel.basic_ack(tag, options)).await?;
                }
                Err(error) => {
                    failure.get_or_insert(error);
                    let options = BasicNackOptions { multiple: false, requeue: true };
                    answer(CLASS, "giving a message back", self.channel.basic_nack(tag, options)).await?;
                }
            }
        }
        failure.map_or(Ok(()), Err)
    }
}

/// Unlike that of any other sweep: the hash of a random number.
fn stamp(queue: &str) -> String {
    use std::hash::{BuildHasher, RandomState};
    let random = RandomState::new();
    format!("{:016x}{:016x}", random.hash_one(queue), random.hash_one(0))
}

fn lock_name(queue: &str) -> String {
    format!("{queue}.rabbit-sink-lock")
}

/// Takes the lock. It goes away with its connection, however that ends, but not at once: the lock
/// of a look that was just broken off is waited for.
async fn lock(connection: &Connection, queue: &str) -> Result<lapin::Channel, Failure> {
    for _ in 0..LOCK_ATTEMPTS {
        match try_lock(connection, queue).await {
            Err(failure) if failure.code == "405" => tokio::time::sleep(LOCK_WAIT).await,
            locked => return locked,
        }
    }
    let message = format!(
        "somebody else is looking through queue \"{queue}\" and holds the lock \"{}\"; wait for them, or find the \
         connection with `rabbitmqctl list_queues name owner_pid`",
        lock_name(queue)
    );
    Err(Failure::new(CLASS, "405", message))
}

async fn try_lock(connection: &Connection, queue: &str) -> Result<lapin::Channel, Failure> {
    let channel = connection.channel(CLASS).await?;
    let options = QueueDeclareOptions { exclusive: true, auto_delete: true, ..QueueDeclareOptions::default() };
    let name = short(&lock_name(queue), "the name of the lock's queue")?;
    answer(CLASS, "declaring the lock", channel.queue_declare(name, options, FieldTable::default())).await?;
    Ok(channel)
}

async fn unlock(channel: lapin::Channel, queue: &str) {
    let Ok(name) = short(&lock_name(queue), "the name of the lock's queue") else { return };
    let deleted = channel.queue_delete(name, QueueDeleteOptions::default());
    if let Err(failure) = answer(CLASS, "deleting the lock", deleted).await {
        // It goes with the connection.
        tracing::debug!(%failure, "the lock stays until the connection closes");
    }
}
