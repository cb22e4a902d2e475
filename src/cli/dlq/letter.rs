//! A dead letter as the `dlq` commands see it.

use crate::dead_letter::{self, DeadLetterInfo};
use crate::message::Envelope;

/// What it says of itself, and the message behind it. Everything in it may come from a message.
#[derive(Clone, Debug)]
pub(super) struct Letter {
    pub info: DeadLetterInfo,
    /// Unwrapped; exchange and routing key are those of the dead letter.
    pub envelope: Envelope,
    /// Which fixed set it belongs to.
    pub set: Option<String>,
}

impl Letter {
    pub(super) fn new(envelope: &Envelope, set: Option<String>) -> Self {
        Letter { info: dead_letter::read(envelope), envelope: dead_letter::restored(envelope), set }
    }
}

#[cfg(test)]
pub(super) fn example() -> Letter {
    let mut envelope = Envelope {
        body: bytes::Bytes::from_static(br#"{"qty":"many","price":19.990}"#),
        routing_key: "orders.dead".to_owned(),
        ..Envelope::default()
    };
    envelope.properties.message_id = Some("m-17".to_owned());
    envelope.properties.content_type = Some("application/json".to_owned());
    envelope.headers.set_text("tenant", "acme");
    let text = |text: &str| Some(text.to_owned());
    let info = DeadLetterInfo {
        id: "0123456789abcdef0123456789abcdef".to_owned(),
        message_id: text("m-17"),
        failed_at: text("2025-11-21T05:28:00Z"),
        class: text("mapping"),
        code: text("lossy"),
        column: text("qty"),
        reason: text("\"many\" is no whole number"),
        attempts: Some(1),
        replays: 0,
        pipeline: text("orders"),
        queue: text("orders"),
        table: text("orders"),
        exchange: "shop".to_owned(),
        routing_key: "order.created".to_owned(),
        wrapped: false,
    };
    Letter { info, envelope, set: None }
}
