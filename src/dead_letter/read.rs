//! What a dead letter says of itself, whoever made it: this program, Spring's republisher,
//! MassTransit, the broker's own dead-lettering, or nobody who left a word.

use serde::Serialize;

use super::{
    ATTEMPTS, CLASS, CODE, COLUMN, FAILED_AT, ID, ORIGINAL_EXCHANGE, ORIGINAL_ROUTING_KEY, PIPELINE, QUEUE, REASON,
    TABLE, WRAPPED, id, unwrapped,
};
use crate::message::{Envelope, HeaderValue, Headers};

/// A line of `dlq list`. All of it comes from a message: data, to be shown as such.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DeadLetterInfo {
    /// What `dlq` calls it by; computed where the letter has none.
    pub id: String,
    /// The property `message_id`.
    pub message_id: Option<String>,
    /// RFC 3339.
    pub failed_at: Option<String>,
    /// Ours only.
    pub class: Option<String>,
    /// SQLSTATE, errno or a word.
    pub code: Option<String>,
    /// Where known.
    pub column: Option<String>,
    /// In words.
    pub reason: Option<String>,
    /// How often writing it was tried, or how often the broker dead-lettered it.
    pub attempts: Option<u64>,
    /// How often it has been replayed.
    pub replays: u32,
    /// Ours only.
    pub pipeline: Option<String>,
    /// Where it was rejected from.
    pub queue: Option<String>,
    /// Ours only.
    pub table: Option<String>,
    /// Where it was first published to.
    #[serde(skip)]
    pub exchange: String,
    /// What it was first published with.
    #[serde(skip)]
    pub routing_key: String,
    /// Its headers had to be put into the body.
    #[serde(skip)]
    pub wrapped: bool,
}

/// Reads a message of a dead-letter queue. A wrapped one is unwrapped first.
pub fn read(letter: &Envelope) -> DeadLetterInfo {
    let letter_itself = unwrapped(letter);
    let headers = &letter_itself.headers;
    let death = last_death(headers);
    let text = |name: &str| headers.text(name).map(str::to_owned);
    let message_id = letter_itself.properties.message_id.clone();
    let queue = text(QUEUE)
        .or_else(|| text("x-first-death-queue"))
        .or_else(|| death?.text("queue").map(str::to_owned))
        .or_else(|| faulted_in(headers));
    let (exchange, routing_key) = match (headers.text(ORIGINAL_EXCHANGE), headers.text(ORIGINAL_ROUTING_KEY)) {
        (Some(exchange), Some(routing_key)) => (exchange, routing_key),
        _ => died_at(headers).unwrap_or((&letter_itself.exchange, &letter_itself.routing_key)),
    };
    DeadLetterInfo {
        id: text(ID).unwrap_or_else(|| {
            let pipeline = headers.text(PIPELINE).unwrap_or_default();
            let message_id = message_id.as_deref().unwrap_or_default();
            id(pipeline, queue.as_deref().unwrap_or_default(), message_id, &letter_itself.body)
        }),
        failed_at: text(FAILED_AT).or_else(|| death.and_then(died_when)).or_else(|| text("MT-Fault-Timestamp")),
        class: text(CLASS),
        code: text(CODE)
            .or_else(|| text("MT-Fault-ExceptionType"))
            .or_else(|| death?.text("reason").map(str::to_owned)),
        column: text(COLUMN),
        reason: text(REASON).or_else(|| text("MT-Fault-Message")).or_else(|| death.and_then(died_why)),
        attempts: headers
            .integer(ATTEMPTS)
            .or_else(|| death?.integer("count"))
            .and_then(|attempts| u64::try_from(attempts).ok()),
        replays: letter_itself.replays(),
        pipeline: text(PIPELINE),
        table: text(TABLE),
        exchange: exchange.to_owned(),
        routing_key: routing_key.to_owned(),
        wrapped: letter.headers.get(WRAPPED).is_some(),
        message_id,
        queue,
    }
}

/// The newest entry of the broker's own `x-death`.
fn last_death(headers: &Headers) -> Option<&Headers> {
    match headers.get("x-death")? {
        HeaderValue::List(deaths) => match deaths.first()? {
            HeaderValue::Table(death) => Some(death),
            _ => None,
        },
        _ => None,
    }
}

/// Exchange and first routing key of a message before the broker dead-lettered it the first time.
pub(super) fn died_at(headers: &Headers) -> Option<(&str, &str)> {
    let HeaderValue::List(deaths) = headers.get("x-death")? else { return None };
    let HeaderValue::Table(first) = deaths.last()? else { return None };
    let HeaderValue::List(keys) = first.get("routing-keys")? else { return None };
    let HeaderValue::Text(key) = keys.first()? else { return None };
    Some((first.text("exchange")?, std::str::from_utf8(key).ok()?))
}

/// The queue that MassTransit's endpoint reads: the last part of `rabbitmq://host/vhost/queue?…`.
fn faulted_in(headers: &Headers) -> Option<String> {
    let address = headers.text("MT-Fault-InputAddress")?;
    let path = address.split(['?', '#']).next()?;
    let name = path.rsplit('/').next().filter(|name| !name.is_empty())?;
    percent_encoding::percent_decode_str(name).decode_utf8().ok().map(Into::into)
}

fn died_when(death: &Headers) -> Option<String> {
    let HeaderValue::Timestamp(seconds) = *death.get("time")? else { return None };
    jiff::Timestamp::from_second(i64::try_from(seconds).ok()?).ok().map(|time| time.to_string())
}

fn died_why(death: &Headers) -> Option<String> {
    let reason = match death.text("reason")? {
        "rejected" => "a consumer rejected it",
        "expired" => "its time to live ran out",
        "maxlen" => "the queue was full",
        "delivery_limit" => "it was returned to the queue too often",
        other => other,
    };
    Some(format!("dead-lettered by the broker: {reason}"))
}
