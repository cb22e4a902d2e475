//! One queue in memory, as strict as RabbitMQ: an ack of an unknown tag closes the channel, what a
//! closed channel held is redelivered in its old place.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::watch;
use tokio::time::Instant;

use crate::error::{ErrorClass, Failure};
use crate::message::{Delivery, Envelope, HeaderValue};
use crate::rabbitmq::{Source, SourceEvent};

/// Whether a message may be acked now: it is committed, or its dead letter is confirmed.
type Proof = Arc<dyn Fn(&Envelope) -> bool + Send + Sync>;

#[derive(Clone)]
pub(super) struct Broker {
    queue: Arc<Mutex<Queue>>,
    changed: Arc<watch::Sender<()>>,
}

pub(super) struct Queue {
    ready: VecDeque<Message>,
    channels: BTreeMap<u64, Channel>,
    published: u64,
    opened: u64,
    proof: Proof,
    /// What RabbitMQ, or an auditor, would complain about.
    pub violations: Vec<String>,
    /// Acks as they came: end tag, multiple.
    pub acks: Vec<(u64, bool)>,
    pub acked: usize,
    /// Prefetches as they were set.
    pub prefetches: Vec<u16>,
    /// Channels that had messages to give back.
    pub returns: u32,
    /// The most messages and bytes that one channel has held.
    pub most_unacked: usize,
    pub most_bytes: usize,
    /// A name for the end of every channel that is opened from now on.
    pub refuse_cancel: bool,
    /// Answers overtake what is on its way to the asker at that moment, as RabbitMQ's do.
    pub overtaking: bool,
    /// So many answers yet say that the broker doesn't know how many are ready.
    pub uncounted: u32,
}

struct Message {
    number: u64,
    envelope: Envelope,
    count: u32,
}

#[derive(Default)]
struct Channel {
    prefetch: u16,
    last_tag: u64,
    unacked: BTreeMap<u64, Message>,
    /// Sent, not taken by the consumer yet.
    arrived: VecDeque<u64>,
    /// Where answers overtake: will arrive behind the next answer, or behind the one after it.
    coming: [VecDeque<u64>; 2],
    cancelled: bool,
    closed: bool,
}

impl Broker {
    pub(super) fn new(proof: Proof) -> Self {
        let queue = Queue {
            ready: VecDeque::new(),
            channels: BTreeMap::new(),
            published: 0,
            opened: 0,
            proof,
            violations: Vec::new(),
            acks: Vec::new(),
            acked: 0,
            prefetches: Vec::new(),
            returns: 0,
            most_unacked: 0,
            most_bytes: 0,
            refuse_cancel: false,
            overtaking: false,
            uncounted: 0,
        };
        Broker { queue: Arc::new(Mutex::new(queue)), changed: Arc::new(watch::Sender::new(())) }
    }

    pub(super) fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap()
    }

    pub(super) fn publish(&self, envelope: Envelope) {
        let mut queue = self.queue();
        let number = queue.published;
        queue.published += 1;
        queue.ready.push_back(Message { number, envelope, count: 0 });
        queue.pump();
        drop(queue);
        self.changed.send_replace(());
    }

    pub(super) fn subscribe(&self, prefetch: u16) -> FakeSource {
        let mut queue = self.queue();
        queue.opened += 1;
        let channel = queue.opened;
        queue.prefetches.push(prefetch);
        queue.channels.insert(channel, Channel { prefetch, ..Channel::default() });
        queue.pump();
        drop(queue);
        FakeSource { broker: self.clone(), channel }
    }

    /// The broker, or the network, closes all channels.
    pub(super) fn kill_channels(&self) {
        let mut queue = self.queue();
        let open: Vec<u64> = queue.channels.keys().copied().collect();
        open.into_iter().for_each(|channel| queue.close(channel));
        drop(queue);
        self.changed.send_replace(());
    }

    /// Nothing ready, nothing unacked.
    pub(super) fn is_empty(&self) -> bool {
        let queue = self.queue();
        queue.ready.is_empty() && queue.unacked() == 0
    }

    pub(super) async fn emptied(&self) {
        let mut changed = self.changed.subscribe();
        while !self.is_empty() {
            changed.changed().await.unwrap();
        }
    }

    pub(super) fn ready(&self) -> usize {
        self.queue().ready.len()
    }

    pub(super) fn acked(&self) -> usize {
        self.queue().acked
    }

    /// How many channels had messages to give back.
    pub(super) fn returns(&self) -> u32 {
        self.queue().returns
    }

    /// The highest delivery count in the queue.
    pub(super) fn most_returned(&self) -> u32 {
        let queue = self.queue();
        let unacked = queue.channels.values().flat_map(|channel| channel.unacked.values());
        queue.ready.iter().chain(unacked).map(|message| message.count).max().unwrap_or(0)
    }
}

impl Queue {
    pub(super) fn unacked(&self) -> usize {
        self.channels.values().map(|channel| channel.unacked.len()).sum()
    }

    pub(super) fn ready(&self) -> usize {
        self.ready.len()
    }

    /// Sends what fits, one message to each consumer in turn.
    fn pump(&mut self) {
        loop {
            let before = self.ready.len();
            for channel in self.channels.values_mut() {
                let room = channel.unacked.len() < usize::from(channel.prefetch);
                if channel.cancelled || channel.closed || !room {
                    continue;
                }
                let Some(message) = self.ready.pop_front() else { break };
                channel.last_tag += 1;
                channel.unacked.insert(channel.last_tag, message);
                let to = if self.overtaking { &mut channel.coming[1] } else { &mut channel.arrived };
                to.push_back(channel.last_tag);
                self.most_unacked = self.most_unacked.max(channel.unacked.len());
                let bytes = channel.unacked.values().map(|message| message.envelope.body.len()).sum();
                self.most_bytes = self.most_bytes.max(bytes);
            }
            if self.ready.len() == before {
                return;
            }
        }
    }

    fn close(&mut self, number: u64) {
        let Some(channel) = self.channels.get_mut(&number) else { return };
        channel.closed = true;
        channel.arrived.clear();
        let back = std::mem::take(&mut channel.unacked);
        self.returns += u32::from(!back.is_empty());
        for mut message in back.into_values() {
            message.count += 1;
            message.envelope.redelivered = true;
            message.envelope.headers.set("x-delivery-count", HeaderValue::I64(message.count.into()));
            self.ready.push_back(message);
        }
        self.ready.make_contiguous().sort_by_key(|message| message.number);
        self.pump();
    }

    fn ack(&mut self, number: u64, tag: u64, multiple: bool) -> Result<(), Failure> {
        let channel = self.channels.get_mut(&number).unwrap();
        if channel.closed {
            return Err(lost("the channel is closed"));
        }
        if !channel.unacked.contains_key(&tag) {
            self.violations.push(format!("PRECONDITION_FAILED - unknown delivery tag {tag}"));
            self.close(number);
            return Err(lost("unknown delivery tag"));
        }
        if channel.arrived.front().is_some_and(|&first| tag >= first) {
            self.violations.push(format!("tag {tag} was acked before it was taken"));
        }
        let tags: Vec<u64> = match multiple {
            true => channel.unacked.range(..=tag).map(|(&tag, _)| tag).collect(),
            false => vec![tag],
        };
        self.acks.push((tag, multiple));
        for tag in tags {
            let message = channel.unacked.remove(&tag).unwrap();
            self.acked += 1;
            if !(self.proof)(&message.envelope) {
                self.violations.push(format!("acked before it was committed: {:?}", message.envelope.body));
            }
        }
        self.pump();
        Ok(())
    }
}

fn lost(message: &'static str) -> Failure {
    Failure::new(ErrorClass::SourceLost, "closed", message)
}

pub(super) struct FakeSource {
    broker: Broker,
    channel: u64,
}

impl FakeSource {
    fn try_next(&self) -> Option<SourceEvent> {
        let mut queue = self.broker.queue();
        let channel = queue.channels.get_mut(&self.channel).unwrap();
        if channel.closed {
            return Some(SourceEvent::Ended(lost("the channel is closed")));
        }
        if let Some(tag) = channel.arrived.pop_front() {
            let envelope = channel.unacked[&tag].envelope.clone();
            return Some(SourceEvent::Delivery(Delivery {
                tag,
                arrived: Instant::now(),
                envelope: Box::new(envelope),
            }));
        }
        channel.cancelled.then_some(SourceEvent::Cancelled)
    }

    fn with<T>(&self, change: impl FnOnce(&mut Queue) -> T) -> T {
        let answer = change(&mut self.broker.queue());
        self.broker.changed.send_replace(());
        answer
    }
}

impl Source for FakeSource {
    async fn next(&mut self) -> SourceEvent {
        let mut changed = self.broker.changed.subscribe();
        loop {
            if let Some(event) = self.try_next() {
                return event;
            }
            changed.changed().await.unwrap();
        }
    }

    async fn gone(&mut self) -> Failure {
        let mut changed = self.broker.changed.subscribe();
        while !self.broker.queue().channels[&self.channel].closed {
            changed.changed().await.unwrap();
        }
        lost("the channel is closed")
    }

    async fn ack(&mut self, tag: u64, multiple: bool) -> Result<(), Failure> {
        self.with(|queue| queue.ack(self.channel, tag, multiple))
    }

    async fn ready(&mut self) -> Result<Option<u64>, Failure> {
        let mut queue = self.broker.queue();
        if queue.uncounted > 0 {
            queue.uncounted -= 1;
            return Ok(None);
        }
        let channel = queue.channels.get_mut(&self.channel).unwrap();
        if channel.closed {
            return Err(lost("the channel is closed"));
        }
        let [now, next] = std::mem::take(&mut channel.coming);
        channel.arrived.extend(now);
        channel.coming[0] = next;
        Ok(Some(queue.ready.len() as u64))
    }

    async fn set_prefetch(&mut self, prefetch: u16) -> Result<(), Failure> {
        self.with(|queue| {
            queue.prefetches.push(prefetch);
            queue.channels.get_mut(&self.channel).unwrap().prefetch = prefetch;
            queue.pump();
        });
        Ok(())
    }

    async fn cancel(&mut self) -> Result<(), Failure> {
        self.with(|queue| match queue.refuse_cancel {
            true => Err(lost("the channel is closed")),
            false => {
                queue.channels.get_mut(&self.channel).unwrap().cancelled = true;
                Ok(())
            }
        })
    }

    async fn give_back(self, tags: Vec<u64>) {
        self.with(|queue| {
            let channel = &queue.channels[&self.channel];
            let unknown: Vec<u64> = tags.into_iter().filter(|tag| !channel.unacked.contains_key(tag)).collect();
            if !channel.closed && !unknown.is_empty() {
                queue.violations.push(format!("tags {unknown:?} were given back that aren't held"));
            }
        });
    }
}

impl Drop for FakeSource {
    fn drop(&mut self) {
        self.with(|queue| {
            queue.close(self.channel);
            queue.channels.remove(&self.channel);
        });
    }
}
