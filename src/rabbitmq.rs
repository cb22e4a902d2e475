//! The broker: connect, consume, settle, publish. The one place that names the client library.

use std::future::Future;

use crate::error::Failure;
use crate::message::{Delivery, Envelope};

mod address;
mod connect;
mod connection;
mod convert;
mod depth;
mod failure;
mod lock;
mod management;
mod probe;
mod publisher;
mod rotation;
mod subscription;
mod wire;

pub use connect::{Rabbitmq, refuses};
pub use connection::{BrokerVersion, Connection, QueueState};
pub use management::{Management, NodeTimeout, QueueFacts};
pub use probe::{Publishing, Rights};
pub use publisher::{CONFIRM_TIMEOUT, DeadLetters, Publisher, UNROUTABLE};
pub use rotation::{AT_ONCE, Fate, Held, Rotation, new_mark};
pub use subscription::Subscription;

/// What a subscription has to say.
// Nearly all of them are deliveries, which go straight on: a box would be an allocation for each.
#[allow(clippy::large_enum_variant)]
#[derive(Debug)]
pub enum SourceEvent {
    /// A message.
    Delivery(Delivery),
    /// The channel is gone, and with it every unsettled delivery: class `source_lost`.
    Ended(Failure),
    /// After [`Source::cancel`]: everything that had arrived has been handed out.
    Cancelled,
}

/// One consumer on one channel. Its deliveries can be settled through it alone, so that no ack
/// ever crosses channels. Any error means that the source has ended: drop it and subscribe anew;
/// the broker has whatever wasn't acked.
pub trait Source: Send {
    /// The next event. Dropping the future loses nothing.
    fn next(&mut self) -> impl Future<Output = SourceEvent> + Send;

    /// Returns when the channel is gone, and takes no delivery: for a consumer that isn't reading.
    /// Dropping the future loses nothing.
    fn gone(&mut self) -> impl Future<Output = Failure> + Send;

    /// Acks one delivery, or with `multiple` every outstanding one up to `tag`. Returns when the
    /// ack is written to the socket; the order of acks is the order of calls. A tag that this
    /// channel no longer knows is an error, never silence.
    fn ack(&mut self, tag: u64, multiple: bool) -> impl Future<Output = Result<(), Failure>> + Send;

    /// How many messages are ready in the queue, unacked ones left out; `None` where the broker
    /// can't tell. Asked on the consumer's own channel: what the broker had sent it before its answer
    /// arrives before the next one.
    fn ready(&mut self) -> impl Future<Output = Result<Option<u64>, Failure>> + Send;

    /// Changes the prefetch by subscribing anew on the same channel: what is unsettled stays
    /// ours, tags go on counting.
    fn set_prefetch(&mut self, prefetch: u16) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Asks the broker for no more. What had arrived still comes out of [`Source::next`], then
    /// [`SourceEvent::Cancelled`].
    fn cancel(&mut self) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Gives every unsettled delivery back in the way that counts least against it (`tags`: those
    /// that the caller holds; what wasn't handed out yet is known here) and closes the channel.
    fn give_back(self, tags: Vec<u64>) -> impl Future<Output = ()> + Send;
}

/// Where dead letters go.
pub trait DeadLetterQueue: Send {
    /// Publishes each to the queue, persistent and mandatory, and waits for the broker's confirm
    /// of each. `Ok` says confirmed *and* routed. An error is class `dead_letter_failed`; it says
    /// nothing about whether the letter stands in the queue all the same.
    fn publish(&mut self, letters: Vec<Envelope>) -> impl Future<Output = Vec<Result<(), Failure>>> + Send;

    /// The largest header frame in bytes that the connection takes, 0 where not connected yet.
    fn frame_max(&mut self) -> impl Future<Output = Result<u32, Failure>> + Send;
}

/// Bytes of the frame in which a letter's properties and headers would be sent.
#[cfg(test)]
pub(crate) fn header_frame_size(letter: &Envelope) -> Result<usize, Failure> {
    Ok(convert::header_frame_size(&convert::to_properties(&letter.properties, &letter.headers)?))
}
