//! What this login may do with a queue, and what stands at its head, found out without changing it.
//!
//! The broker judges rights before it judges arguments. So a request with an argument that it can't
//! take is answered with 403 where the right is missing and with 406 where it is there, and nothing
//! comes of it either way.

use std::time::Duration;

use futures_util::StreamExt;
use lapin::ExchangeKind;
use lapin::options::{
    BasicConsumeOptions, BasicGetOptions, BasicNackOptions, BasicQosOptions, ExchangeDeclareOptions,
    QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};

use super::connection::Connection;
use super::convert::{self, short};
use super::failure::answer;
use super::{DeadLetterQueue, UNROUTABLE};
use crate::error::{ErrorClass, Failure};
use crate::message::Envelope;

const CLASS: ErrorClass = ErrorClass::SourceLost;

/// How long the probe of publishing may take: a broker under an alarm doesn't answer.
const PUBLISH_PATIENCE: Duration = Duration::from_secs(5);

/// How long a stream may take to hand out its first message.
const STREAM_PATIENCE: Duration = Duration::from_secs(5);

/// An answer about a right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rights {
    /// It is there.
    Granted,
    /// It is missing.
    Refused,
    /// The broker said something else.
    Unclear(Failure),
}

/// Whether dead letters could be published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Publishing {
    /// The broker takes messages for the default exchange.
    Possible,
    /// The right to write to it is missing.
    Refused,
    /// It takes none now: an alarm, say.
    Stopped(Failure),
}

impl Connection {
    /// Whether we may consume from a queue that is there.
    pub async fn may_consume(&self, queue: &str) -> Result<Rights, Failure> {
        let channel = self.channel(CLASS).await?;
        // Should a broker take the argument after all, it gets hold of one message at most.
        answer(CLASS, "asking for a prefetch", channel.basic_qos(1, BasicQosOptions::default())).await?;
        let mut arguments = FieldTable::default();
        arguments.insert("x-priority".into(), AMQPValue::LongString("none".into()));
        let options = BasicConsumeOptions::default();
        let asked = channel.basic_consume(short(queue, "the queue's name")?, "".into(), options, arguments);
        let answered = answer(CLASS, &format!("consuming from queue \"{queue}\""), asked).await.map(drop);
        channel.close(200, "OK".into()).await.ok();
        Ok(rights(answered))
    }

    /// Whether we may declare a queue that is missing.
    pub async fn may_declare(&self, queue: &str) -> Result<Rights, Failure> {
        let channel = self.channel(CLASS).await?;
        let mut arguments = FieldTable::default();
        arguments.insert("x-expires".into(), AMQPValue::LongString("never".into()));
        let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        let asked = channel.queue_declare(short(queue, "the queue's name")?, options, arguments);
        Ok(rights(answer(CLASS, &format!("declaring queue \"{queue}\""), asked).await.map(drop)))
    }

    /// Whether there is an exchange of this name.
    ///
    /// # Errors
    /// Class `source_lost`: 403 where even looking takes a right.
    pub async fn exchange_exists(&self, exchange: &str) -> Result<bool, Failure> {
        let channel = self.channel(CLASS).await?;
        let options = ExchangeDeclareOptions { passive: true, ..ExchangeDeclareOptions::default() };
        let name = short(exchange, "the exchange's name")?;
        // Its kind isn't looked at.
        let asked = channel.exchange_declare(name, ExchangeKind::Direct, options, FieldTable::default());
        match answer(CLASS, &format!("looking at exchange \"{exchange}\""), asked).await {
            Ok(()) => Ok(true),
            Err(failure) if failure.code == "404" => Ok(false),
            Err(failure) => Err(failure),
        }
    }

    /// Whether we may bind a queue to an exchange: to take off a binding that nobody has made takes the same rights.
    pub async fn may_bind(&self, queue: &str, exchange: &str) -> Result<Rights, Failure> {
        let channel = self.channel(CLASS).await?;
        let nowhere = format!("rabbit-sink.nowhere.{:x}", std::process::id());
        let (queue_name, exchange_name) = (short(queue, "the queue's name")?, short(exchange, "the exchange's name")?);
        let asked = channel.queue_unbind(queue_name, exchange_name, nowhere.as_str().into(), FieldTable::default());
        let answered = answer(CLASS, &format!("binding queue \"{queue}\" to exchange \"{exchange}\""), asked).await;
        Ok(match answered {
            // Rights are judged first: what isn't there yet takes none of them away.
            Err(failure) if failure.code == "404" => Rights::Granted,
            answered => rights(answered),
        })
    }

    /// Whether we may publish through the default exchange: a message for a queue that doesn't
    /// exist, which comes back.
    pub async fn may_publish(&self) -> Result<Publishing, Failure> {
        let nowhere = format!("rabbit-sink.nowhere.{:x}", std::process::id());
        let letter = Envelope { routing_key: nowhere, ..Envelope::default() };
        let mut publisher = self.publisher().await?.with_confirm_timeout(PUBLISH_PATIENCE);
        let answer = publisher.publish(vec![letter]).await.into_iter().next();
        Ok(match answer {
            Some(Err(failure)) if failure.code == UNROUTABLE => Publishing::Possible,
            Some(Err(failure)) if failure.code == "403" => Publishing::Refused,
            Some(Err(failure)) => Publishing::Stopped(failure),
            Some(Ok(())) | None => Publishing::Possible,
        })
    }

    /// The queue's next messages, `count` at most, which are held together and then given back
    /// together. That costs each one delivery, and their places may change.
    ///
    /// # Errors
    /// Class `source_lost`: 404 missing, 403 no right to read, 405 a single active consumer has it,
    /// 540 a stream.
    pub async fn look_at_next(&self, queue: &str, count: u16) -> Result<Vec<Envelope>, Failure> {
        let channel = self.channel(CLASS).await?;
        let name = short(queue, "the queue's name")?;
        let doing = format!("getting a message of queue \"{queue}\"");
        let (mut envelopes, mut last) = (Vec::new(), None);
        while envelopes.len() < usize::from(count) {
            let get = channel.basic_get(name.clone(), BasicGetOptions { no_ack: false });
            // A stream can't be asked so (540), and the broker closes the connection for it.
            let Some(message) = answer(CLASS, &doing, get).await? else { break };
            last = Some(message.delivery.delivery_tag);
            envelopes.push(convert::envelope(message.delivery));
        }
        if let Some(tag) = last {
            let options = BasicNackOptions { multiple: true, requeue: true };
            answer(CLASS, "giving the messages back", channel.basic_nack(tag, options)).await?;
        }
        // Closing waits for the broker, which by then has them back.
        channel.close(200, "OK".into()).await.ok();
        Ok(envelopes)
    }

    /// The first messages of a stream, `count` at most.
    ///
    /// # Errors
    /// Class `source_lost`.
    pub async fn look_at_stream(&self, queue: &str, count: u16) -> Result<Vec<Envelope>, Failure> {
        let channel = self.channel(CLASS).await?;
        answer(CLASS, "asking for a prefetch", channel.basic_qos(count, BasicQosOptions::default())).await?;
        let mut arguments = FieldTable::default();
        arguments.insert("x-stream-offset".into(), AMQPValue::LongString("first".into()));
        let name = short(queue, "the queue's name")?;
        let asked = channel.basic_consume(name, "".into(), BasicConsumeOptions::default(), arguments);
        let mut consumer = answer(CLASS, &format!("reading stream \"{queue}\""), asked).await?;
        let mut envelopes = Vec::new();
        while envelopes.len() < usize::from(count) {
            match tokio::time::timeout(STREAM_PATIENCE, consumer.next()).await {
                Ok(Some(Ok(delivery))) => envelopes.push(convert::envelope(delivery)),
                Ok(Some(Err(_)) | None) | Err(_) => break,
            }
        }
        channel.close(200, "OK".into()).await.ok();
        Ok(envelopes)
    }
}

fn rights(answered: Result<(), Failure>) -> Rights {
    match answered {
        Ok(()) => Rights::Granted,
        Err(failure) => match failure.code.as_ref() {
            "406" => Rights::Granted,
            // Also what a queue with an exclusive consumer says.
            "403" if !failure.message.contains("exclusive") => Rights::Refused,
            _ => Rights::Unclear(failure),
        },
    }
}
