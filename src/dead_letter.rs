//! The dead letter as an envelope: built from a rejected message, read again for people, turned
//! over in its queue. Pure: publishing is [`crate::rabbitmq`]'s.
//!
//! Body and properties stay as they were. What went wrong stands in headers, under the names that
//! users' tools know where such names exist (Spring's republisher).

use crate::digest;
use crate::error::Failure;
use crate::message::{Envelope, HeaderValue, Headers};

mod json;
mod line;
mod read;
mod replay;
mod row;
mod wrap;

pub use line::{BadLine, Line};
pub use read::{DeadLetterInfo, read};
pub use replay::{edited, replayed, replayed_as};
pub use row::{of_row, rejected_row, row};
pub use wrap::unwrapped;

/// The exchange that the message first came through.
pub const ORIGINAL_EXCHANGE: &str = "x-original-exchange";
/// The routing key that the message was first published with.
pub const ORIGINAL_ROUTING_KEY: &str = "x-original-routingKey";
/// Why, in words; at most [`REASON_MAX`] bytes.
pub const REASON: &str = "x-exception-message";
/// The hash of pipeline, queue, message ID and body: repeats have the same.
pub const ID: &str = "x-sink-id";
/// The pipeline's name.
pub const PIPELINE: &str = "x-sink-pipeline";
/// The queue that the message was rejected from.
pub const QUEUE: &str = "x-sink-queue";
/// The table that it was meant for.
pub const TABLE: &str = "x-sink-table";
/// [`crate::error::ErrorClass::name`]
pub const CLASS: &str = "x-sink-error-class";
/// SQLSTATE, errno or a code of our own.
pub const CODE: &str = "x-sink-error-code";
/// The column, where known.
pub const COLUMN: &str = "x-sink-column";
/// How often writing it was tried.
pub const ATTEMPTS: &str = "x-sink-attempts";
/// When it was rejected, RFC 3339.
pub const FAILED_AT: &str = "x-sink-failed-at";
/// How often it has been replayed.
pub const REPLAYS: &str = "x-sink-replays";
/// The version of rabbit-sink that rejected it.
pub const VERSION: &str = "x-sink-version";
/// Headers and body stand as JSON in the body, because the headers would not fit in a frame.
pub const WRAPPED: &str = "x-sink-wrapped";
/// The stamp of a look through the queue; means nothing afterwards.
pub const SWEEP: &str = "x-sink-sweep";

/// Which replay sent it, and its place there: by it a replay knows those that die again.
pub const REPLAY: &str = "x-sink-replay";
/// When somebody changed the body, RFC 3339.
pub const EDITED: &str = "x-sink-edited";

/// The property `user_id`, which the broker would check against our login.
pub const ORIGINAL_USER_ID: &str = "x-sink-original-user-id";
/// The property `expiration`, which would let the dead letter expire.
pub const ORIGINAL_EXPIRATION: &str = "x-sink-original-expiration";
/// The header `CC`, by which the broker would copy the dead letter.
pub const ORIGINAL_CC: &str = "x-sink-original-cc";
/// The header `BCC`, likewise.
pub const ORIGINAL_BCC: &str = "x-sink-original-bcc";

/// The property `priority` of a letter that a look has put back: on a queue with priorities it
/// would be taken again before what wasn't seen yet.
pub const ORIGINAL_PRIORITY: &str = "x-sink-original-priority";
/// What a quorum queue counts, and sets itself on what it delivers.
const DELIVERY_COUNT: &str = "x-delivery-count";

/// The longest reason in bytes.
pub const REASON_MAX: usize = 1024;
/// AMQP's limit for exchanges and routing keys, in bytes.
const NAME_MAX: usize = 255;

/// A message that can't be written, and all that its dead letter says of it.
#[derive(Clone, Copy, Debug)]
pub struct Rejected<'a> {
    /// As received.
    pub envelope: &'a Envelope,
    /// Why.
    pub failure: &'a Failure,
    /// The pipeline's name.
    pub pipeline: &'a str,
    /// The pipeline's queue.
    pub queue: &'a str,
    /// The pipeline's table.
    pub table: &'a str,
    /// How often writing it was tried; 0 where it never came to that.
    pub attempts: u32,
    /// When it was rejected.
    pub failed_at: jiff::Timestamp,
    /// Where the dead letter goes, if that is a queue.
    pub dead_letter_queue: &'a str,
}

/// The dead letter to publish: through the default exchange, persistent, with all headers
/// together in one frame of `frame_max` bytes (0: unlimited).
pub fn build(letter: &Rejected<'_>, frame_max: u32) -> Envelope {
    let mut envelope = addressed(letter.envelope.clone(), letter.dead_letter_queue);
    put_aside(&mut envelope);
    keep_originals(&mut envelope.headers, letter.envelope);
    let failure = letter.failure;
    let headers = &mut envelope.headers;
    for stale in [COLUMN, WRAPPED, SWEEP] {
        headers.remove(stale);
    }
    let message_id = letter.envelope.properties.message_id.as_deref().unwrap_or_default();
    headers.set_text(ID, &id(letter.pipeline, letter.queue, message_id, &letter.envelope.body));
    headers.set_text(PIPELINE, letter.pipeline);
    headers.set_text(QUEUE, letter.queue);
    headers.set_text(TABLE, letter.table);
    headers.set_text(CLASS, failure.class.name());
    headers.set_text(CODE, &failure.code);
    if let Some(column) = &failure.column {
        headers.set_text(COLUMN, column);
    }
    headers.set_text(REASON, cut(&failure.reason(), REASON_MAX));
    headers.set(ATTEMPTS, HeaderValue::I64(letter.attempts.into()));
    headers.set_text(FAILED_AT, &format!("{:.3}", letter.failed_at));
    headers.set(REPLAYS, HeaderValue::I64(letter.envelope.replays().into()));
    headers.set_text(VERSION, env!("CARGO_PKG_VERSION"));
    wrap::fit(envelope, frame_max)
}

/// A message of a dead-letter queue, made ready to be published to that queue's tail by a look
/// through it. A message that somebody else dead-lettered loses what would let the broker refuse,
/// copy or expire it, and keeps where it came from.
pub(crate) fn rotated(envelope: Envelope, queue: &str, stamp: &str, frame_max: u32) -> Envelope {
    let moved = envelope.exchange.is_empty() && envelope.routing_key == queue;
    let (exchange, routing_key) = match read::died_at(&envelope.headers) {
        Some((exchange, routing_key)) => (exchange.to_owned(), routing_key.to_owned()),
        None => (envelope.exchange.clone(), envelope.routing_key.clone()),
    };
    let mut envelope = addressed(envelope, queue);
    put_aside(&mut envelope);
    envelope.headers.remove(DELIVERY_COUNT);
    if let Some(priority) = envelope.properties.priority.take() {
        envelope.headers.set(ORIGINAL_PRIORITY, HeaderValue::U8(priority));
    }
    if !moved && envelope.headers.get(ORIGINAL_EXCHANGE).is_none() {
        envelope.headers.set_text(ORIGINAL_EXCHANGE, &exchange);
        envelope.headers.set_text(ORIGINAL_ROUTING_KEY, &routing_key);
    }
    envelope.headers.set_text(SWEEP, stamp);
    wrap::fit(envelope, frame_max)
}

/// The ID of a dead letter: 64 hexadecimal digits.
pub fn id(pipeline: &str, queue: &str, message_id: &str, body: &[u8]) -> String {
    digest::hex(&digest::sha256(&[pipeline.as_bytes(), queue.as_bytes(), message_id.as_bytes(), body]))
}

fn addressed(mut envelope: Envelope, queue: &str) -> Envelope {
    envelope.exchange = String::new();
    envelope.routing_key = queue.to_owned();
    envelope.redelivered = false;
    envelope.properties.delivery_mode = Some(2);
    envelope
}

/// A message of a dead-letter queue as it was before a look put it back: unwrapped, with its
/// priority. What would let the broker refuse, copy or expire it stays put aside.
pub fn restored(letter: &Envelope) -> Envelope {
    let mut envelope = unwrapped(letter);
    // It was wrapped on the way, with the stamp in it.
    envelope.headers.remove(SWEEP);
    let priority = envelope.headers.integer(ORIGINAL_PRIORITY).and_then(|priority| u8::try_from(priority).ok());
    if envelope.headers.remove(ORIGINAL_PRIORITY).is_some() {
        envelope.properties.priority = priority;
    }
    envelope
}

/// Moves what the broker would act upon to headers of ours. The first originals stay.
fn put_aside(envelope: &mut Envelope) {
    let text = |text: String| HeaderValue::Text(text.into());
    let found = [
        (ORIGINAL_USER_ID, envelope.properties.user_id.take().map(text)),
        (ORIGINAL_EXPIRATION, envelope.properties.expiration.take().map(text)),
        (ORIGINAL_CC, envelope.headers.remove("CC")),
        (ORIGINAL_BCC, envelope.headers.remove("BCC")),
    ];
    for (name, value) in found {
        if let Some(value) = value
            && envelope.headers.get(name).is_none()
        {
            envelope.headers.set(name, value);
        }
    }
}

/// Notes where the message came from, unless an earlier dead-lettering has.
fn keep_originals(headers: &mut Headers, received: &Envelope) {
    let known = |name| headers.text(name).is_some_and(|text| text.len() <= NAME_MAX);
    if !(known(ORIGINAL_EXCHANGE) && known(ORIGINAL_ROUTING_KEY)) {
        headers.set_text(ORIGINAL_EXCHANGE, &received.exchange);
        headers.set_text(ORIGINAL_ROUTING_KEY, &received.routing_key);
    }
}

/// At most `max` bytes of a text, cut between characters.
fn cut(text: &str, max: usize) -> &str {
    &text[..text.floor_char_boundary(max)]
}

#[cfg(test)]
mod tests;
