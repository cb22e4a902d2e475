//! A dead letter that goes into a table.

use bytes::Bytes;

use crate::error::Failure;

/// One row of a dead-letter table. What comes back of it is properties, headers and body; the rest
/// is for whoever looks with SQL, cut to what columns hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LetterRow {
    /// Repeats of a message have the same; at most [`super::MessageId::MAX_BYTES`] bytes.
    pub id: String,
    /// The pipeline's name.
    pub pipeline: String,
    /// When it was rejected, in microseconds since 1970.
    pub failed_at: Option<i64>,
    /// [`crate::error::ErrorClass::name`]
    pub class: Option<String>,
    /// SQLSTATE, errno or a word.
    pub code: Option<String>,
    /// Where known.
    pub column: Option<String>,
    /// In words.
    pub reason: Option<String>,
    /// The property `message_id`.
    pub message_id: Option<String>,
    /// The table that the message was meant for.
    pub table: Option<String>,
    /// The queue that it was rejected from.
    pub queue: Option<String>,
    /// Where it was first published to.
    pub exchange: String,
    /// What it was first published with.
    pub routing_key: String,
    /// How often writing it was tried.
    pub attempts: Option<i64>,
    /// How often it had been replayed. Of two letters with one ID the one with more is the newer.
    pub replays: i64,
    /// JSON, without loss.
    pub properties: String,
    /// JSON, without loss: those of the message, and those that a dead letter in a queue has.
    pub headers: String,
    /// As it was sent.
    pub body: Bytes,
}

/// What makes a unit one of a dead letter.
#[derive(Clone, Debug)]
pub struct Letter {
    /// Why the message was rejected.
    pub failure: Failure,
    /// In how many transactions the message itself had been.
    pub attempts: u32,
    /// What is written.
    pub row: LetterRow,
}
