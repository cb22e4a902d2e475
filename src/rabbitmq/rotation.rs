//! Taking messages out of a dead-letter queue without losing, reordering or wearing them out.
//!
//! Getting and requeueing costs one delivery each time, and a quorum queue drops a message at its
//! limit. So a pass is a rotation: what was taken is published anew at the tail, confirmed, and
//! only then acked at the head. At any moment a message stands in the queue at least once; a
//! crash in between leaves it there twice, with the same `x-sink-id`. A pass that reaches its end
//! leaves the order as it was; one that is broken off leaves what it had seen at the tail.

use std::time::Duration;

use futures_util::StreamExt;
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicGetOptions, BasicNackOptions, BasicQosOptions,
};
use lapin::types::{FieldTable, ShortString};
use tokio::time::Instant;

use super::DeadLetterQueue;
use super::connection::{CLOSE_TIMEOUT, Connection, QueueState, close_channel};
use super::convert::{self, short};
use super::depth;
use super::failure::{ANSWER_TIMEOUT, answer, failed};
use super::lock::Lock;
use super::publisher::Publisher;
use crate::dead_letter;
use crate::error::{ErrorClass, Failure};
use crate::message::Envelope;

/// The most messages that are out of the queue at a time.
pub const AT_ONCE: usize = 500;
/// Bytes of bodies beyond which no more messages are asked for.
const BYTES_AT_ONCE: usize = 32 << 20;
/// The most messages that are asked for at a time. Their sizes are known only when they have come: so many
/// large ones may follow upon small ones.
const ASKED_AT_ONCE: usize = 100;
/// The first round's messages: no size is known yet.
const FIRST: usize = 4;
/// How long nothing may arrive before the broker is asked whether the queue is empty.
const IDLE: Duration = Duration::from_millis(100);

const CLASS: ErrorClass = ErrorClass::SourceLost;
/// The broker has ended our consumer.
const CANCELLED: &str = "the broker has cancelled our consumer: the queue was deleted, or its node went away";
/// It has messages, and our consumer gets none.
const WITHHELD: &str =
    "the broker has some and gives us none; another consumer may have the queue for itself (single active consumer)";

/// A message that was taken and not settled yet.
#[derive(Debug)]
pub struct Held {
    /// Settles it.
    pub tag: u64,
    /// As it stands in the queue, wrapped where it is wrapped.
    pub envelope: Envelope,
    /// The mark of the last pass that it went through.
    mark: Option<String>,
    /// The mark of the pass that chose it, whatever passes it went through since.
    pub set: Option<String>,
}

/// What becomes of a message that was taken.
#[derive(Clone, Debug)]
pub enum Fate {
    /// It is put back.
    Stay,
    /// It is put back, and belongs to this pass's set from now on.
    Chosen,
    /// It leaves the queue.
    Gone,
    /// Another one takes its place.
    Replaced(Box<Envelope>),
}

/// The only one who takes messages out of a dead-letter queue, for as long as it lives. Dropped at
/// any point, nothing is lost.
#[derive(Debug)]
pub struct Rotation {
    connection: Connection,
    channel: lapin::Channel,
    publisher: Publisher,
    queue: String,
    name: ShortString,
    lock: Lock,
    mark: String,
    /// Messages of this pass that haven't been taken yet.
    left: u64,
    /// How many the next round takes.
    size: usize,
    /// Each has a tag of its own.
    consumers: u64,
    /// Taken to find out whether there are any: the next round.
    first: Option<Held>,
    /// Taken and not settled yet.
    unsettled: usize,
}

impl Rotation {
    /// Takes the queue's lock; `holder` is what others are told of us meanwhile.
    ///
    /// # Errors
    /// Class `source_lost`: 404 where there is no such queue, 405 while somebody else has the lock.
    pub async fn start(connection: &Connection, queue: &str, holder: &str) -> Result<Self, Failure> {
        let QueueState::Present { .. } = connection.queue_exists(queue).await? else {
            return Err(Failure::new(CLASS, "404", format!("there is no queue \"{queue}\" in this vhost")));
        };
        let lock = Lock::take(connection, queue, holder).await?;
        Ok(Rotation {
            connection: connection.clone(),
            channel: connection.channel(CLASS).await?,
            publisher: connection.publisher().await?,
            queue: queue.to_owned(),
            name: short(queue, "the queue's name")?,
            lock,
            mark: String::new(),
            left: 0,
            size: FIRST,
            consumers: 0,
            first: None,
            unsettled: 0,
        })
    }

    /// Begins a pass over the messages that stand in the queue now. Returns how many they are;
    /// what arrives later isn't among them.
    ///
    /// # Errors
    /// Class `source_lost`.
    pub async fn begin(&mut self) -> Result<u64, Failure> {
        self.mark = new_mark();
        let mut ready = depth::at_least(&self.channel, &self.name, CLASS).await?;
        if ready == 0 && self.first.is_none() {
            ready = self.get_first().await?;
        }
        self.left = ready + u64::from(self.first.is_some());
        Ok(self.left)
    }

    /// A quorum queue whose leader hangs, or is away, is said to be empty. A get is answered by the leader
    /// itself, or not at all. What it takes belongs to the next round; returns how many are behind.
    async fn get_first(&mut self) -> Result<u64, Failure> {
        let doing = format!("getting a message of queue \"{}\"", self.queue);
        let get = self.channel.basic_get(self.name.clone(), BasicGetOptions { no_ack: false });
        match answer(CLASS, &doing, get).await {
            Ok(None) => Ok(0),
            Ok(Some(got)) => {
                self.first = Some(held(got.delivery));
                Ok(got.message_count.into())
            }
            // A queue with a single active consumer can't be asked so; its 0 has to do.
            Err(failure) if failure.code == "405" => {
                self.channel = self.connection.channel(CLASS).await?;
                Ok(0)
            }
            Err(failure) => Err(failure),
        }
    }

    /// The mark of this pass: the name of the set of those that it chooses or adds.
    pub fn mark(&self) -> &str {
        &self.mark
    }

    /// The next messages of this pass, `at_most` so many; none at its end. All of them are to be
    /// settled before the next call.
    ///
    /// # Errors
    /// Class `source_lost`.
    pub async fn take(&mut self, at_most: usize) -> Result<Vec<Held>, Failure> {
        let left = usize::try_from(self.left).unwrap_or(usize::MAX);
        let wanted = self.size.min(at_most.max(1)).min(left);
        if wanted == 0 {
            return Ok(Vec::new());
        }
        let round = match self.first.take() {
            Some(first) => vec![first],
            None => self.round(wanted).await?,
        };
        self.adapt(&round);
        self.unsettled = round.len();
        // On a queue with priorities what was put back may come before what wasn't seen yet.
        let (again, fresh): (Vec<Held>, Vec<Held>) =
            round.into_iter().partition(|held| held.mark.as_deref() == Some(&self.mark));
        self.settle(again.into_iter().map(|held| (held, Fate::Stay)).collect()).await?;
        self.left = if fresh.is_empty() { 0 } else { self.left.saturating_sub(fresh.len() as u64) };
        Ok(fresh)
    }

    /// Up to so many messages, fewer where they are large or the queue has no more.
    async fn round(&mut self, wanted: usize) -> Result<Vec<Held>, Failure> {
        let mut taken = Vec::with_capacity(wanted);
        let mut bytes = 0;
        while taken.len() < wanted && bytes < BYTES_AT_ONCE {
            let asked = (wanted - taken.len()).min(ASKED_AT_ONCE);
            let came = self.consume(asked).await?;
            let all = came.len() < asked;
            bytes += came.iter().map(|held| held.envelope.body.len()).sum::<usize>();
            taken.extend(came);
            if all {
                break;
            }
        }
        Ok(taken)
    }

    /// A consumer whose prefetch is what is wanted, cancelled before the first ack: so it is never
    /// given a message too many, which would have to be returned.
    async fn consume(&mut self, wanted: usize) -> Result<Vec<Held>, Failure> {
        let doing = format!("taking messages of queue \"{}\"", self.queue);
        let prefetch = u16::try_from(wanted).unwrap_or(u16::MAX);
        if self.channel.status().qos().prefetch_count != Some(prefetch) {
            answer(CLASS, &doing, self.channel.basic_qos(prefetch, BasicQosOptions::default())).await?;
        }
        self.consumers += 1;
        let tag = short(&format!("rabbit-sink-dlq-{}", self.consumers), "the consumer's tag")?;
        let options = BasicConsumeOptions::default();
        let consuming = self.channel.basic_consume(self.name.clone(), tag.clone(), options, FieldTable::default());
        let mut consumer = answer(CLASS, &doing, consuming).await?;
        let mut taken = Vec::with_capacity(wanted);
        let patience = Instant::now() + ANSWER_TIMEOUT;
        while taken.len() < wanted {
            match tokio::time::timeout(IDLE, consumer.next()).await {
                Ok(Some(Ok(delivery))) => taken.push(held(delivery)),
                Ok(Some(Err(error))) => return Err(failed(CLASS, &doing, &error)),
                Ok(None) => return Err(Failure::new(CLASS, "cancelled", format!("{doing}: {CANCELLED}"))),
                Err(_) => match depth::beside_consumer(&self.channel, &self.name, CLASS).await? {
                    // What is on its way to us comes before the consumer's end.
                    Some(0) => break,
                    _ if Instant::now() < patience => {}
                    Some(_) => return Err(Failure::new(CLASS, "no_answer", format!("{doing}: {WITHHELD}"))),
                    None => return Err(super::failure::silent(CLASS, &doing)),
                },
            }
        }
        answer(CLASS, &doing, self.channel.basic_cancel(tag, BasicCancelOptions::default())).await?;
        let rest = async {
            while let Some(delivery) = consumer.next().await {
                taken.push(held(delivery.map_err(|error| failed(CLASS, &doing, &error))?));
            }
            Ok(())
        };
        match tokio::time::timeout(ANSWER_TIMEOUT, rest).await {
            Ok(ended) => ended.map(|()| taken),
            Err(_) => Err(super::failure::silent(CLASS, &doing)),
        }
    }

    fn adapt(&mut self, round: &[Held]) {
        let bytes: usize = round.iter().map(|held| held.envelope.body.len()).sum();
        let each = (bytes / round.len().max(1)).max(1);
        self.size = (BYTES_AT_ONCE / each).clamp(1, (self.size * 4).min(AT_ONCE));
    }

    /// Publishes what stays, waits for the confirms, and only then acks. What couldn't be put back
    /// still stands where it stood.
    ///
    /// # Errors
    /// Class `dead_letter_failed`, the first one; or `source_lost`.
    pub async fn settle(&mut self, settled: Vec<(Held, Fate)>) -> Result<(), Failure> {
        let Some(last) = settled.iter().map(|(held, _)| held.tag).max() else { return Ok(()) };
        // With `multiple` an ack is everybody's up to its tag.
        let all_of_them = settled.len() == self.unsettled;
        self.unsettled -= settled.len().min(self.unsettled);
        let frame_max = self.connection.frame_max();
        let (mut tags, mut copies, mut gone) = (Vec::new(), Vec::new(), Vec::new());
        for (held, fate) in settled {
            let (stays, set) = match fate {
                Fate::Gone => {
                    gone.push(held.tag);
                    continue;
                }
                Fate::Stay => (held.envelope, held.set),
                Fate::Chosen => (held.envelope, Some(self.mark.clone())),
                Fate::Replaced(other) => (*other, held.set),
            };
            tags.push(held.tag);
            copies.push(dead_letter::rotated(stays, &self.queue, &stamp(&self.mark, set.as_deref()), frame_max));
        }
        let mut failure = None;
        let mut back = Vec::new();
        for (tag, published) in tags.into_iter().zip(self.publisher.publish(copies).await) {
            match published {
                Ok(()) => gone.push(tag),
                Err(error) => {
                    failure.get_or_insert(error);
                    back.push(tag);
                }
            }
        }
        if back.is_empty() && all_of_them {
            let all = self.channel.basic_ack(last, BasicAckOptions { multiple: true });
            return answer(CLASS, "acking messages that were put back", all).await;
        }
        for tag in gone {
            let ack = self.channel.basic_ack(tag, BasicAckOptions { multiple: false });
            answer(CLASS, "acking a message that was put back", ack).await?;
        }
        for tag in back {
            let nack = self.channel.basic_nack(tag, BasicNackOptions { multiple: false, requeue: true });
            answer(CLASS, "giving a message back", nack).await?;
        }
        failure.map_or(Ok(()), Err)
    }

    /// Publishes messages at the queue's tail as members of this pass's set; one answer for each.
    pub async fn add(&mut self, letters: Vec<Envelope>) -> Vec<Result<(), Failure>> {
        let frame_max = self.connection.frame_max();
        let stamp = stamp(&self.mark, Some(&self.mark));
        let copies = letters.into_iter().map(|it| dead_letter::rotated(it, &self.queue, &stamp, frame_max));
        self.publisher.publish(copies.collect()).await
    }

    /// Publishes messages to where they are addressed, confirmed and routed; one answer for each.
    pub async fn send(&mut self, messages: Vec<Envelope>) -> Vec<Result<(), Failure>> {
        self.publisher.publish(messages).await
    }

    /// Gives back what is still out, and then the lock.
    pub async fn end(self) {
        let goodbye = async {
            close_channel(&self.channel, &self.queue).await;
            self.lock.give_back().await;
            self.publisher.close().await;
        };
        // A broker that has blocked us doesn't answer; the lock goes with the connection.
        if tokio::time::timeout(CLOSE_TIMEOUT, goodbye).await.is_err() {
            tracing::debug!(queue = %self.queue, "the broker didn't answer our goodbye");
        }
    }
}

fn held(delivery: lapin::message::Delivery) -> Held {
    let tag = delivery.delivery_tag;
    let mut envelope = convert::envelope(delivery);
    let stamp = envelope.headers.text(dead_letter::SWEEP).map(str::to_owned);
    envelope.headers.remove(dead_letter::SWEEP);
    let (mark, set) = match stamp.as_deref().map(|stamp| stamp.split_once('/').ok_or(stamp)) {
        Some(Ok((mark, set))) => (Some(mark.to_owned()), Some(set.to_owned())),
        Some(Err(mark)) => (Some(mark.to_owned()), None),
        None => (None, None),
    };
    Held { tag, envelope, mark, set }
}

fn stamp(mark: &str, set: Option<&str>) -> String {
    set.map_or_else(|| mark.to_owned(), |set| format!("{mark}/{set}"))
}

/// Unlike that of any other pass: the hash of a random number.
pub fn new_mark() -> String {
    use std::hash::{BuildHasher, RandomState};
    let random = RandomState::new();
    format!("{:016x}{:016x}", random.hash_one(0), random.hash_one(1))
}
