//! One consumer on one channel: deliveries out, acks in.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::time::Duration;

use futures_util::StreamExt;
use lapin::options::{BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions};
use lapin::types::{FieldTable, ShortString};

use super::connection::{BrokerVersion, CLOSE_TIMEOUT, Connection, close_channel};
use super::convert::{self, short};
use super::depth;
use super::failure::{answer, failed};
use super::{Source, SourceEvent};
use crate::error::{ErrorClass, Failure};
use crate::message::Delivery;

/// How often a consumer that isn't reading looks whether its channel is still there.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// A subscription to a queue. Its channel closes when it is dropped; what is unsettled then goes
/// back to the queue.
///
/// Acks are sent on the channel itself, which is never shared and never recovered, and only for
/// tags that are known to be outstanding here: a second ack of a tag would close the channel.
pub struct Subscription {
    channel: lapin::Channel,
    consumer: lapin::Consumer,
    /// Keeps the connection, and with it the channel, alive.
    connection: Connection,
    queue: ShortString,
    consumer_tag: String,
    /// Counts the consumers on this channel: each has a tag of its own.
    incarnation: u32,
    /// Arrived, not handed out yet.
    arrived: VecDeque<Delivery>,
    outstanding: Outstanding,
    state: State,
    /// The consumer's stream has said its last; asked again it would be silent for ever.
    exhausted: bool,
    /// See [`Subscription::keep_turn`].
    keeps_turn: bool,
}

/// What the stream's end will mean, or has meant.
enum State {
    Active,
    Cancelled,
    Ended(Failure),
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription")
            .field("queue", &self.queue)
            .field("connection", &self.connection)
            .field("outstanding", &self.outstanding.len())
            .finish_non_exhaustive()
    }
}

impl Subscription {
    pub(super) async fn start(
        connection: &Connection,
        queue: &str,
        prefetch: u16,
        consumer_tag: &str,
    ) -> Result<Self, Failure> {
        let queue = short(queue, "the queue's name")?;
        let channel = connection.channel(ErrorClass::SourceLost).await?;
        let consumer = consume(&channel, &queue, prefetch, consumer_tag, 1).await?;
        Ok(Subscription {
            channel,
            consumer,
            connection: connection.clone(),
            queue,
            consumer_tag: consumer_tag.to_owned(),
            incarnation: 1,
            arrived: VecDeque::new(),
            outstanding: Outstanding::default(),
            state: State::Active,
            exhausted: false,
            keeps_turn: false,
        })
    }

    /// For a queue with a single active consumer. Cancelling would let the next consumer have what follows
    /// while we still write what came before: so the turn ends with the channel alone, which gives
    /// back, in their order, what has not been settled. Until then the consumer stays, and its prefetch.
    pub fn keep_turn(&mut self) {
        self.keeps_turn = true;
    }

    /// How many deliveries are unsettled, those included that [`Source::next`] hasn't handed out
    /// yet but that had to be taken over at [`Source::set_prefetch`].
    pub fn outstanding(&self) -> usize {
        self.outstanding.len()
    }

    fn take_in(&mut self, delivery: lapin::message::Delivery) -> Delivery {
        self.outstanding.insert(delivery.delivery_tag);
        convert::delivery(delivery)
    }

    /// Remembers why the stream has ended, so that every later call says the same.
    fn end(&mut self, failure: Failure) -> Failure {
        self.state = State::Ended(failure.clone());
        failure
    }

    fn lost(&self, what: &str, error: &lapin::Error) -> Failure {
        failed(
            ErrorClass::SourceLost,
            &format!("{what} queue \"{}\" at {}", self.queue, self.connection.place()),
            error,
        )
    }

    /// The channel is gone: what the library still has from it is of no use, the reason is.
    async fn reason_of_end(&mut self) -> Failure {
        // The library closes the channel and ends the stream in two steps of another thread.
        let rest = async {
            while let Some(event) = self.consumer.next().await {
                if let Err(error) = event {
                    return Some(error);
                }
            }
            None
        };
        let told = !self.exhausted;
        if told && let Ok(Some(error)) = tokio::time::timeout(Duration::from_secs(1), rest).await {
            return self.lost("consuming from", &error);
        }
        let message =
            format!("the channel consuming queue \"{}\" at {} was closed", self.queue, self.connection.place());
        Failure::new(ErrorClass::SourceLost, "closed", message)
    }

    async fn next_event(&mut self) -> SourceEvent {
        if let State::Ended(failure) = &self.state {
            return SourceEvent::Ended(failure.clone());
        }
        if !self.channel.status().connected() {
            let failure = self.reason_of_end().await;
            return SourceEvent::Ended(self.end(failure));
        }
        if let Some(delivery) = self.arrived.pop_front() {
            return SourceEvent::Delivery(delivery);
        }
        if self.exhausted {
            return SourceEvent::Cancelled;
        }
        match self.consumer.next().await {
            Some(Ok(delivery)) => SourceEvent::Delivery(self.take_in(delivery)),
            Some(Err(error)) => {
                let failure = self.lost("consuming from", &error);
                SourceEvent::Ended(self.end(failure))
            }
            None if !self.channel.status().connected() => {
                let failure = self.reason_of_end().await;
                SourceEvent::Ended(self.end(failure))
            }
            None if matches!(self.state, State::Cancelled) => {
                self.exhausted = true;
                SourceEvent::Cancelled
            }
            None => {
                let message = format!(
                    "the broker cancelled the consumer of queue \"{}\": the queue was deleted, its leader is gone, or an \
                     acknowledgement took too long",
                    self.queue
                );
                let failure = self.end(Failure::new(ErrorClass::SourceLost, "cancelled", message));
                // A cancelled consumer's channel stays open, and late acks would vanish on it.
                self.close().await;
                SourceEvent::Ended(failure)
            }
        }
    }

    async fn await_end(&mut self) -> Failure {
        if let State::Ended(failure) = &self.state {
            return failure.clone();
        }
        // The library tells of it only behind all deliveries that have arrived.
        while self.channel.status().connected() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        let failure = self.reason_of_end().await;
        self.end(failure)
    }

    /// A process that ends before the broker has answered takes with it what the broker hasn't read:
    /// messages that are done would come back.
    async fn close(&self) {
        close_channel(&self.channel, self.queue.as_str()).await;
    }

    /// Tells the broker to send no more and takes over what had arrived.
    async fn stop_consuming(&mut self) -> Result<(), Failure> {
        let cancel = self.channel.basic_cancel(self.consumer.tag(), BasicCancelOptions::default());
        answer(ErrorClass::SourceLost, "cancelling the consumer", cancel).await
    }

    async fn drain(&mut self) -> Result<(), Failure> {
        if self.exhausted {
            return Ok(());
        }
        while let Some(event) = self.consumer.next().await {
            match event {
                Ok(delivery) => {
                    let delivery = self.take_in(delivery);
                    self.arrived.push_back(delivery);
                }
                Err(error) => {
                    let failure = self.lost("consuming from", &error);
                    return Err(self.end(failure));
                }
            }
        }
        self.exhausted = true;
        Ok(())
    }

    async fn settle(&mut self, tag: u64, multiple: bool) -> Result<(), Failure> {
        if !self.outstanding.settle(tag, multiple) {
            let message =
                format!("delivery {tag} isn't outstanding on this channel: acked twice, or of an earlier channel");
            return Err(Failure::new(ErrorClass::SourceLost, "stale_ack", message));
        }
        // Checked by the library, too; its answer to a closed channel is an error, not a false.
        let acked = self.channel.basic_ack(tag, BasicAckOptions { multiple });
        match acked.await {
            Ok(()) => Ok(()),
            Err(error) => Err(self.lost("acking messages of", &error)),
        }
    }

    async fn hand_back(mut self) {
        // A nack needs the consumer cancelled first.
        let nack = !self.keeps_turn && self.channel.status().connected();
        if nack && self.connection.at_least(BrokerVersion::UNCOUNTED_NACK) {
            let nacked = tokio::time::timeout(CLOSE_TIMEOUT, self.requeue_all()).await;
            if !matches!(nacked, Ok(Ok(()))) {
                tracing::debug!(queue = %self.queue, "giving back by closing the channel instead of by nack");
            }
        }
        self.close().await;
    }

    /// All that is outstanding, in one nack. Nothing may be delivered in between, so the consumer
    /// is cancelled first.
    async fn requeue_all(&mut self) -> Result<(), Failure> {
        if matches!(self.state, State::Active) {
            self.stop_consuming().await?;
        }
        self.drain().await?;
        if let Some(last) = self.outstanding.last() {
            let options = BasicNackOptions { multiple: true, requeue: true };
            answer(ErrorClass::SourceLost, "giving back messages", self.channel.basic_nack(last, options)).await?;
        }
        Ok(())
    }
}

async fn consume(
    channel: &lapin::Channel,
    queue: &ShortString,
    prefetch: u16,
    consumer_tag: &str,
    incarnation: u32,
) -> Result<lapin::Consumer, Failure> {
    let class = ErrorClass::SourceLost;
    // 0 would be without a limit, and the library's buffer has none either.
    let qos = channel.basic_qos(prefetch.max(1), BasicQosOptions { global: false });
    answer(class, "setting the prefetch", qos).await?;
    let tag = short(&format!("{consumer_tag}-{incarnation}"), "the consumer tag")?;
    let options = BasicConsumeOptions { no_ack: false, ..BasicConsumeOptions::default() };
    let consumer = channel.basic_consume(queue.clone(), tag, options, FieldTable::default());
    answer(class, &format!("subscribing to queue \"{queue}\""), consumer).await
}

impl Source for Subscription {
    fn next(&mut self) -> impl Future<Output = SourceEvent> + Send {
        self.next_event()
    }

    fn gone(&mut self) -> impl Future<Output = Failure> + Send {
        self.await_end()
    }

    fn ack(&mut self, tag: u64, multiple: bool) -> impl Future<Output = Result<(), Failure>> + Send {
        self.settle(tag, multiple)
    }

    fn ready(&mut self) -> impl Future<Output = Result<Option<u64>, Failure>> + Send {
        depth::beside_consumer(&self.channel, &self.queue, ErrorClass::SourceLost)
    }

    async fn set_prefetch(&mut self, prefetch: u16) -> Result<(), Failure> {
        if self.keeps_turn || !matches!(self.state, State::Active) {
            return Ok(());
        }
        self.stop_consuming().await?;
        self.drain().await?;
        self.incarnation += 1;
        self.consumer = consume(&self.channel, &self.queue, prefetch, &self.consumer_tag, self.incarnation).await?;
        self.exhausted = false;
        Ok(())
    }

    async fn cancel(&mut self) -> Result<(), Failure> {
        if matches!(self.state, State::Active) {
            // First, so that the stream's end is known for ours whenever this future is dropped.
            self.state = State::Cancelled;
            if self.keeps_turn {
                // What has been handed out comes first in the queue's order; the rest goes back with the channel.
                self.exhausted = true;
            } else {
                self.stop_consuming().await?;
            }
        }
        Ok(())
    }

    // All that is outstanding is known here, those tags included.
    async fn give_back(self, _tags: Vec<u64>) {
        self.hand_back().await;
    }
}

/// The tags that have been delivered on a channel and not been settled. Tags count up, so a
/// queue of flags from the oldest outstanding one on is enough.
#[derive(Default)]
struct Outstanding {
    /// The tag of the first flag.
    first: u64,
    /// Whether a tag is outstanding. The first flag always is.
    flags: VecDeque<bool>,
    count: usize,
}

impl Outstanding {
    fn len(&self) -> usize {
        self.count
    }

    fn insert(&mut self, tag: u64) {
        if self.flags.is_empty() {
            self.first = tag;
        }
        while self.first + (self.flags.len() as u64) < tag {
            self.flags.push_back(false);
        }
        self.flags.push_back(true);
        self.count += 1;
    }

    /// The newest outstanding tag.
    fn last(&self) -> Option<u64> {
        self.flags.iter().rposition(|outstanding| *outstanding).map(|at| self.first + at as u64)
    }

    /// Settles a tag, or every outstanding one up to it. `false`, and nothing settled, where the
    /// tag itself isn't outstanding.
    fn settle(&mut self, tag: u64, multiple: bool) -> bool {
        let Some(at) = tag.checked_sub(self.first).and_then(|at| usize::try_from(at).ok()) else { return false };
        if self.flags.get(at) != Some(&true) {
            return false;
        }
        let from = if multiple { 0 } else { at };
        for flag in self.flags.range_mut(from..=at) {
            self.count -= usize::from(*flag);
            *flag = false;
        }
        while self.flags.front() == Some(&false) {
            self.flags.pop_front();
            self.first += 1;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Against the plainest model: a set.
        #[test]
        fn outstanding_tags_are_a_set(steps in proptest::collection::vec((0..3u8, 0..40u64), 0..200)) {
            let mut model = BTreeSet::new();
            let mut tested = Outstanding::default();
            let mut next = 1;
            for (step, tag) in steps {
                match step {
                    0 => {
                        model.insert(next);
                        tested.insert(next);
                        next += 1;
                    }
                    1 => prop_assert_eq!(tested.settle(tag, false), model.remove(&tag)),
                    _ => {
                        let known = model.contains(&tag);
                        prop_assert_eq!(tested.settle(tag, true), known);
                        if known {
                            model.retain(|other| *other > tag);
                        }
                    }
                }
                prop_assert_eq!(tested.len(), model.len());
                prop_assert_eq!(tested.last(), model.last().copied());
            }
        }
    }
}
