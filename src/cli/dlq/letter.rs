//! A dead letter as the `dlq` commands see it.

use serde::Serialize;

use crate::message::Envelope;

/// What `dlq list --json` prints of a dead letter. Everything in it may come from a message.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct DeadLetterRow {
    /// `x-sink-id`: the same for repeats of the same message.
    pub id: String,
    /// The message's own ID.
    pub message_id: Option<String>,
    /// RFC 3339.
    pub failed_at: Option<String>,
    /// The error's class.
    pub class: Option<String>,
    /// SQLSTATE, errno, or a word.
    pub code: Option<String>,
    /// The column, where known.
    pub column: Option<String>,
    /// In the words of whoever rejected it.
    pub reason: Option<String>,
    /// How often writing it was tried.
    pub attempts: Option<u64>,
    /// How often it has been replayed.
    pub replays: u32,
    /// The pipeline that rejected it; `None` where somebody else dead-lettered it.
    pub pipeline: Option<String>,
    /// The queue that it came from.
    pub queue: Option<String>,
    /// The table that it was meant for.
    pub table: Option<String>,
}

/// A row and the message behind it, unwrapped.
#[derive(Clone, Debug)]
pub(super) struct Letter {
    pub row: DeadLetterRow,
    pub envelope: Envelope,
}

#[cfg(test)]
pub(super) fn example() -> Letter {
    let mut envelope = Envelope {
        body: bytes::Bytes::from_static(br#"{"qty":"many","price":19.990}"#),
        exchange: "shop".to_owned(),
        routing_key: "order.created".to_owned(),
        ..Envelope::default()
    };
    envelope.properties.message_id = Some("m-17".to_owned());
    envelope.properties.content_type = Some("application/json".to_owned());
    envelope.headers.set_text("tenant", "acme");
    Letter {
        row: DeadLetterRow {
            id: "0123456789abcdef0123456789abcdef".to_owned(),
            message_id: Some("m-17".to_owned()),
            failed_at: Some("2025-11-21T05:28:00Z".to_owned()),
            class: Some("mapping".to_owned()),
            code: Some("lossy".to_owned()),
            column: Some("qty".to_owned()),
            reason: Some("\"many\" is no whole number".to_owned()),
            attempts: Some(1),
            replays: 0,
            pipeline: Some("orders".to_owned()),
            queue: Some("orders".to_owned()),
            table: Some("orders".to_owned()),
        },
        envelope,
    }
}
