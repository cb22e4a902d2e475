//! One connection to a broker: looking at queues, declaring them, subscribing, publishing.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use lapin::options::{QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};

use super::convert::short;
use super::failure::{self, answer, reply};
use super::publisher::Publisher;
use super::subscription::Subscription;
use crate::config::{Declare, QueueType};
use crate::error::{ErrorClass, Failure};

/// How long closing may take; after that the broker finds out by itself.
pub(super) const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// RabbitMQ's version, as the broker states it when it greets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BrokerVersion {
    /// 4 of 4.3.1
    pub major: u16,
    /// 3 of 4.3.1
    pub minor: u16,
}

impl BrokerVersion {
    /// From here on a queue's delivery limit can be switched off with -1.
    pub const UNLIMITED_DELIVERIES: BrokerVersion = BrokerVersion { major: 4, minor: 0 };
    /// From here on a `nack` with requeue doesn't count against the delivery limit.
    pub const UNCOUNTED_NACK: BrokerVersion = BrokerVersion { major: 4, minor: 3 };

    /// Reads `4.3.1`, `3.10.8-rc.1` and the like.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('.');
        let major = parts.next()?.parse().ok()?;
        let minor = parts.next()?.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()?;
        Some(BrokerVersion { major, minor })
    }
}

impl fmt::Display for BrokerVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// What a passive look at a queue tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueState {
    /// There is no such queue.
    Missing,
    /// It is there.
    Present {
        /// Messages ready for delivery; unacked ones are left out.
        ready: u64,
        /// Consumers on it.
        consumers: u64,
    },
}

/// A connection. Clones share it; it closes when the last clone and the last channel are gone.
#[derive(Clone)]
pub struct Connection {
    connection: Arc<lapin::Connection>,
    place: Arc<str>,
    version: Option<BrokerVersion>,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("place", &self.place).field("version", &self.version).finish()
    }
}

impl Connection {
    pub(super) fn new(connection: lapin::Connection, place: String, version: Option<BrokerVersion>) -> Self {
        Connection { connection: Arc::new(connection), place: place.into(), version }
    }

    /// The address that took us, `host:port`.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// The broker's version; `None` where it doesn't tell one that can be read.
    pub fn version(&self) -> Option<BrokerVersion> {
        self.version
    }

    pub(super) fn at_least(&self, version: BrokerVersion) -> bool {
        self.version.is_some_and(|own| own >= version)
    }

    /// The broker has stopped reading what we publish, because of its memory or disk alarm. Only
    /// connections that publish are ever blocked.
    pub fn blocked(&self) -> bool {
        self.connection.status().blocked()
    }

    /// It can still be used, as far as is known.
    pub fn connected(&self) -> bool {
        self.connection.status().connected()
    }

    /// The negotiated size of a frame in bytes.
    pub fn frame_max(&self) -> u32 {
        self.connection.configuration().frame_max()
    }

    /// The negotiated heartbeat in seconds.
    pub fn heartbeat(&self) -> u16 {
        self.connection.configuration().heartbeat()
    }

    /// Says goodbye to the broker. Waits 5 s at most.
    pub async fn close(&self) {
        let closing = self.connection.close(200, "OK".into());
        match tokio::time::timeout(CLOSE_TIMEOUT, closing).await {
            Ok(Ok(())) => {}
            // It is closed or will be found dead by the broker's heartbeat.
            Ok(Err(error)) => tracing::debug!(place = %self.place, %error, "the connection was closed already"),
            Err(_) => tracing::debug!(place = %self.place, "the broker didn't answer connection.close"),
        }
    }

    /// A fresh channel. One with a consumer is to be closed by [`close_channel`] before it is dropped.
    pub(super) async fn channel(&self, class: ErrorClass) -> Result<lapin::Channel, Failure> {
        answer(class, "opening a channel", self.connection.create_channel()).await
    }

    /// Looks whether a queue is there, on a channel that is thrown away.
    ///
    /// # Errors
    /// Class `source_lost`: 403 without the right to look, 405 where another connection owns the
    /// queue exclusively, `queue_down` where the queue's node is away or its process has crashed,
    /// or whatever befell the connection.
    pub async fn queue_exists(&self, queue: &str) -> Result<QueueState, Failure> {
        let doing = format!("looking at queue \"{queue}\"");
        let name = short(queue, "the queue's name")?;
        let channel = self.channel(ErrorClass::SourceLost).await?;
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let asked = channel.queue_declare(name, options, FieldTable::default());
        let answered = tokio::time::timeout(failure::ANSWER_TIMEOUT, asked).await;
        close_channel(&channel, queue).await;
        match answered {
            Ok(Ok(queue)) => Ok(QueueState::Present {
                ready: queue.message_count().into(),
                consumers: queue.consumer_count().into(),
            }),
            Ok(Err(error)) if failure::no_such_queue(&error) => Ok(QueueState::Missing),
            Ok(Err(error)) if failure::reply_code(&error) == Some(reply::NOT_FOUND) => {
                Err(Failure { code: "queue_down".into(), ..failure::failed(ErrorClass::SourceLost, &doing, &error) })
            }
            Ok(Err(error)) => Err(failure::failed(ErrorClass::SourceLost, &doing, &error)),
            Err(_) => Err(failure::silent(ErrorClass::SourceLost, &doing)),
        }
    }

    /// Declares a pipeline's queue where it is missing, durable, of the type asked for and with a single active
    /// consumer if so, and binds it. A queue that is there stays as it is, whatever its arguments.
    ///
    /// # Errors
    /// Class `source_lost`: 404 where an exchange is missing, 403 without the right.
    pub async fn declare_source(&self, queue: &str, declare: &Declare, single_active: bool) -> Result<(), Failure> {
        let mut arguments = FieldTable::default();
        let kind = match declare.queue_type {
            QueueType::Classic => "classic",
            QueueType::Quorum => "quorum",
        };
        arguments.insert("x-queue-type".into(), AMQPValue::LongString(kind.into()));
        if single_active {
            arguments.insert("x-single-active-consumer".into(), AMQPValue::Boolean(true));
        }
        self.declare_missing(queue, arguments).await?;
        for binding in &declare.bind {
            let exchange = &binding.exchange;
            let channel = self.channel(ErrorClass::SourceLost).await?;
            let bound = channel.queue_bind(
                short(queue, "the queue's name")?,
                short(exchange, "the exchange's name")?,
                short(&binding.routing_key, "the routing key")?,
                QueueBindOptions::default(),
                FieldTable::default(),
            );
            let doing = format!("binding queue \"{queue}\" to exchange \"{exchange}\", which must exist");
            answer(ErrorClass::SourceLost, &doing, bound).await?;
        }
        Ok(())
    }

    /// Declares a dead-letter queue where it is missing: from RabbitMQ 4.0 on a quorum queue
    /// without a delivery limit, so that looking at it never wears a message out; below, where
    /// such a limit can't be switched off safely, a durable classic queue, which has none.
    ///
    /// # Errors
    /// Class `source_lost`: 403 without the right.
    pub async fn declare_dead_letter_queue(&self, queue: &str) -> Result<(), Failure> {
        let mut arguments = FieldTable::default();
        if self.at_least(BrokerVersion::UNLIMITED_DELIVERIES) {
            arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
            arguments.insert("x-delivery-limit".into(), AMQPValue::LongInt(-1));
        }
        self.declare_missing(queue, arguments).await
    }

    async fn declare_missing(&self, queue: &str, arguments: FieldTable) -> Result<(), Failure> {
        if self.queue_exists(queue).await? != QueueState::Missing {
            return Ok(());
        }
        let doing = format!("declaring queue \"{queue}\"");
        let channel = self.channel(ErrorClass::SourceLost).await?;
        let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        let declared = channel.queue_declare(short(queue, "the queue's name")?, options, arguments);
        match answer(ErrorClass::SourceLost, &doing, declared).await {
            Ok(_) => Ok(()),
            // Somebody else has just declared it in another way: theirs to choose.
            Err(failure) if failure.code == "406" => Ok(()),
            Err(failure) => Err(failure),
        }
    }

    /// Subscribes to a queue on a channel of its own, with `prefetch` unacked messages at most
    /// (at least 1; 0 would mean without a limit).
    ///
    /// # Errors
    /// Class `source_lost`: 404 missing, 403 no right to read, 405 owned by another connection.
    pub async fn subscribe(&self, queue: &str, prefetch: u16, consumer_tag: &str) -> Result<Subscription, Failure> {
        Subscription::start(self, queue, prefetch, consumer_tag).await
    }

    /// A publisher of dead letters on a confirm channel of this connection, which should be
    /// another one than the consumer's: a blocked connection carries no acks either.
    ///
    /// # Errors
    /// Class `dead_letter_failed`.
    pub async fn publisher(&self) -> Result<Publisher, Failure> {
        Publisher::start(self).await
    }
}

/// Closes a channel and waits for the answer, which says that the broker has read all acks before it.
///
/// A channel that is dropped is closed by the library behind our back. If its connection closes at that
/// moment, too, that ends in an error instead of a goodbye; with deliveries on their way, the library's
/// threads can wait for each other for ever.
pub(super) async fn close_channel(channel: &lapin::Channel, queue: &str) {
    if !channel.status().connected() {
        return;
    }
    match tokio::time::timeout(failure::ANSWER_TIMEOUT, channel.close(200, "OK".into())).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(queue, %error, "the channel was closed already"),
        Err(_) => tracing::debug!(queue, "the broker didn't answer channel.close"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        let version = |text| BrokerVersion::parse(text);
        assert_eq!(version("3.10.8"), Some(BrokerVersion { major: 3, minor: 10 }));
        assert_eq!(version("4.3.0-rc.1"), Some(BrokerVersion { major: 4, minor: 3 }));
        assert_eq!(version("4.3+7"), Some(BrokerVersion { major: 4, minor: 3 }));
        assert_eq!(version("four"), None);
        assert!(version("4.2.9") < Some(BrokerVersion::UNCOUNTED_NACK));
        assert!(version("10.0.0") > Some(BrokerVersion::UNCOUNTED_NACK));
    }
}
