//! What travels through a pipeline: data only, no behaviour beyond looking at itself.
//!
//! A [`Delivery`] is decoded to a record (see [`crate::decode`]), mapped to a [`Unit`] of work,
//! written in a batch, and answered by one [`Outcome`]. The delivery itself travels inside its
//! unit, so that a body is never copied and a dead letter can be built from what was received.

use std::sync::Arc;

use bytes::Bytes;
use tokio::time::Instant;

use crate::error::Failure;

mod letter;

pub use letter::{Letter, LetterRow};

/// An AMQP field value, in the width in which it was received, so that a dead letter carries
/// headers on exactly as they were (AMQP 0-9-1, section 4.2.5.5, with RabbitMQ's errata).
#[derive(Clone, Debug, PartialEq)]
pub enum HeaderValue {
    /// `V`: no value.
    Void,
    /// `t`
    Bool(bool),
    /// `b`
    I8(i8),
    /// `B`
    U8(u8),
    /// `s`
    I16(i16),
    /// `u`
    U16(u16),
    /// `I`
    I32(i32),
    /// `i`
    U32(u32),
    /// `l`
    I64(i64),
    /// `f`
    F32(f32),
    /// `d`
    F64(f64),
    /// `D`: `value` divided by ten to the power of `scale`.
    Decimal {
        /// Digits after the point.
        scale: u8,
        /// The unscaled number.
        value: u32,
    },
    /// `S`: a long string; by convention UTF-8, but nothing makes it so.
    Text(Bytes),
    /// `x`
    Bytes(Bytes),
    /// `T`: whole seconds since 1970.
    Timestamp(u64),
    /// `A`
    List(Vec<HeaderValue>),
    /// `F`
    Table(Headers),
}

/// A message's headers in the order of their names.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Headers(pub Vec<(String, HeaderValue)>);

impl Headers {
    /// The value of a header, by its exact name.
    pub fn get(&self, name: &str) -> Option<&HeaderValue> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// A header that is text in UTF-8.
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.get(name)? {
            HeaderValue::Text(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        }
    }

    /// A header that is a whole number, whatever its width.
    pub fn integer(&self, name: &str) -> Option<i64> {
        Some(match *self.get(name)? {
            HeaderValue::I8(n) => n.into(),
            HeaderValue::U8(n) => n.into(),
            HeaderValue::I16(n) => n.into(),
            HeaderValue::U16(n) => n.into(),
            HeaderValue::I32(n) => n.into(),
            HeaderValue::U32(n) => n.into(),
            HeaderValue::I64(n) => n,
            _ => return None,
        })
    }

    /// Sets a header, replacing one of the same name.
    pub fn set(&mut self, name: &str, value: HeaderValue) {
        self.remove(name);
        self.0.push((name.to_owned(), value));
    }

    /// Sets a header to a text.
    pub fn set_text(&mut self, name: &str, value: &str) {
        self.set(name, HeaderValue::Text(Bytes::copy_from_slice(value.as_bytes())));
    }

    /// Takes a header out.
    pub fn remove(&mut self, name: &str) -> Option<HeaderValue> {
        let at = self.0.iter().position(|(key, _)| key == name)?;
        Some(self.0.remove(at).1)
    }
}

/// The properties of AMQP 0-9-1's `basic` class; headers stand beside them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Properties {
    /// MIME type of the body.
    pub content_type: Option<String>,
    /// `gzip` and the like; never applied by us.
    pub content_encoding: Option<String>,
    /// 1 transient, 2 persistent.
    pub delivery_mode: Option<u8>,
    /// 0 to 255; queues use 0 to 9 at most as a rule.
    pub priority: Option<u8>,
    /// Free for the application.
    pub correlation_id: Option<String>,
    /// Free for the application.
    pub reply_to: Option<String>,
    /// Milliseconds as text: the message's own time to live.
    pub expiration: Option<String>,
    /// Free for the application; the first place where the ID is looked for.
    pub message_id: Option<String>,
    /// Whole seconds since 1970.
    pub timestamp: Option<u64>,
    /// The application's name for the kind of message.
    pub kind: Option<String>,
    /// Checked by the broker against the publisher's login.
    pub user_id: Option<String>,
    /// Free for the application.
    pub app_id: Option<String>,
    /// Deprecated, carried on.
    pub cluster_id: Option<String>,
}

/// Everything that was received: the body and what stood around it.
#[derive(Clone, Debug, Default)]
pub struct Envelope {
    /// As sent; decoded nowhere but in [`crate::decode`].
    pub body: Bytes,
    /// The exchange that it was published to (empty: the default exchange).
    pub exchange: String,
    /// The routing key that it was published with.
    pub routing_key: String,
    /// The broker has delivered it before.
    pub redelivered: bool,
    /// AMQP properties.
    pub properties: Properties,
    /// AMQP headers.
    pub headers: Headers,
}

impl Envelope {
    /// How often a quorum queue says that it has delivered this before; 0 where it doesn't say.
    pub fn delivery_count(&self) -> u64 {
        self.headers.integer("x-delivery-count").and_then(|n| u64::try_from(n).ok()).unwrap_or(0)
    }

    /// How often this message has been replayed out of a dead-letter queue.
    pub fn replays(&self) -> u32 {
        self.headers.integer("x-sink-replays").and_then(|n| u32::try_from(n).ok()).unwrap_or(0)
    }
}

/// A message as the broker hands it over on one channel; settled exactly once.
#[derive(Debug)]
pub struct Delivery {
    /// Counts from 1 on its channel; means nothing on another.
    pub tag: u64,
    /// When it arrived here.
    pub arrived: Instant,
    /// What was received. Boxed: a delivery is handed on more often than it is looked into.
    pub envelope: Box<Envelope>,
}

/// Text of a cell: a part of the message's body wherever it stands there as is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Slice {
    /// Bytes `start..end` of the body, checked to be UTF-8 where the cell is text.
    Body {
        /// First byte.
        start: u32,
        /// Byte after the last.
        end: u32,
    },
    /// What had to be made: unescaped, from a header, a constant.
    Owned(Box<[u8]>),
    /// A constant of the config, shared by all rows.
    Shared(Arc<[u8]>),
}

impl Slice {
    /// The bytes, given the body that the cell was mapped from.
    pub fn bytes<'a>(&'a self, body: &'a [u8]) -> &'a [u8] {
        match self {
            Slice::Body { start, end } => body.get(*start as usize..*end as usize).unwrap_or_default(),
            Slice::Owned(bytes) => bytes,
            Slice::Shared(bytes) => bytes,
        }
    }

    /// The text. Mapping has checked it; a slice that isn't UTF-8 after all reads as empty
    /// rather than panicking.
    pub fn text<'a>(&'a self, body: &'a [u8]) -> &'a str {
        std::str::from_utf8(self.bytes(body)).unwrap_or_default()
    }
}

/// One value on its way into one column, already checked against the column's
/// [`crate::catalogue::Kind`]: what kind gives which variant is said there.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// The message doesn't have it: the column's own DEFAULT applies.
    Absent,
    /// SQL NULL, because the message says `null`.
    Null,
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A binary floating point number; never NaN or infinite.
    Float(f64),
    /// Days since 1970-01-01.
    Date(i32),
    /// Microseconds since midnight.
    Time(i64),
    /// Microseconds since 1970-01-01T00:00:00, in UTC or, for a column without a zone, as the
    /// column's clock shows it.
    Timestamp(i64),
    /// Text: also decimals, UUIDs, JSON and whatever the server itself reads from text.
    Text(Slice),
    /// Bytes.
    Bytes(Slice),
}

/// The values of one table row, in the order of the target's columns.
#[derive(Clone, Debug, PartialEq)]
pub struct Row(pub Vec<Cell>);

/// What a change does to its table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// A new row.
    Insert,
}

/// One change to one table.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// Which of the plan's targets, by its place in [`crate::plan::WritePlan::targets`].
    pub target: usize,
    /// What to do.
    pub operation: Operation,
    /// The values.
    pub row: Row,
}

/// A message ID as the ledger stores it: at most [`MessageId::MAX_BYTES`] bytes of UTF-8 without
/// NUL. A longer one stands there as `sha256:` and 64 hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId(Box<str>);

impl MessageId {
    /// The longest ID that is stored as it is; MySQL's key columns set the measure.
    pub const MAX_BYTES: usize = 255;

    /// Takes an ID as it was found in a message.
    pub fn new(found: &str) -> Self {
        if found.len() <= Self::MAX_BYTES && !found.contains('\0') {
            return MessageId(found.into());
        }
        MessageId(format!("sha256:{}", crate::digest::hex(&crate::digest::sha256(&[found.as_bytes()]))).into())
    }

    /// As stored.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What the ledger keeps of a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerEntry {
    /// The message's ID.
    pub id: MessageId,
    /// The first 16 bytes of the body's SHA-256: the same ID with another body is a conflict.
    pub body_hash: [u8; 16],
}

/// What one delivery asks of the database: all of its changes and its ledger entry in one
/// transaction, or nothing, with one outcome. A stream's offset would be a change on a further
/// target.
#[derive(Debug)]
pub struct Unit {
    /// Where it came from, to be settled by the outcome.
    pub delivery: Delivery,
    /// Its ledger entry; `None` where the pipeline has no ledger.
    pub ledger: Option<LedgerEntry>,
    /// 0..n changes on 1..n tables.
    pub changes: Vec<Change>,
    /// In how many transactions it has been.
    pub attempts: u32,
    /// The message was rejected: its dead letter is all that is written of it.
    pub letter: Option<Box<Letter>>,
}

/// What became of a delivery.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// Its transaction committed.
    Written,
    /// It had been written before; nothing was written now.
    Duplicate,
    /// A newer version of its row is there.
    Superseded,
    /// Nothing had to be written (a tombstone, say).
    Skipped,
    /// It can't be written: to be dead-lettered. Boxed: it is rare, and outcomes are handed on by the thousand.
    Rejected(Box<Failure>),
}

impl From<Failure> for Outcome {
    fn from(failure: Failure) -> Self {
        Outcome::Rejected(Box::new(failure))
    }
}
