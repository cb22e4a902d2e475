//! Dead letters whose headers don't fit in a frame: everything goes into the body, as JSON.
//!
//! AMQP sends all properties and headers in a single frame; a longer one costs the connection.
//! The wrapped letter keeps the few headers by which it is found and listed.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};

use super::json::{Json, JsonProperties};
use super::{REASON, WRAPPED, cut};
use crate::message::{Envelope, HeaderValue, Headers, Properties};

/// Frame header and end (8 bytes), content header (14 bytes).
const OVERHEAD: usize = 22;
/// Room left for what brokers and `dlq` add on the way (`x-delivery-count`, `x-death`, a stamp).
const SPARE: usize = 1024;
/// AMQP's smallest frame, in which even a wrapped letter's headers must fit.
const SMALLEST_FRAME: usize = 4096;

/// The headers that a wrapped letter still has, beside those of ours by which `dlq` lists.
const KEPT: [&str; 15] = [
    super::ORIGINAL_EXCHANGE,
    super::ORIGINAL_ROUTING_KEY,
    super::ID,
    super::PIPELINE,
    super::QUEUE,
    super::TABLE,
    super::CLASS,
    super::CODE,
    super::COLUMN,
    super::ATTEMPTS,
    super::FAILED_AT,
    super::REPLAYS,
    super::VERSION,
    super::SWEEP,
    super::ORIGINAL_PRIORITY,
];

/// The body of a wrapped letter.
#[derive(Serialize, Deserialize)]
struct Wrapping {
    properties: JsonProperties,
    headers: Vec<(String, Json)>,
    /// Base64.
    body: String,
}

/// Wraps a letter if it has to be.
pub(super) fn fit(letter: Envelope, frame_max: u32) -> Envelope {
    let frame = match frame_max {
        0 => return letter,
        frame_max => (frame_max as usize).max(SMALLEST_FRAME),
    };
    let room = frame - OVERHEAD - SPARE.min(frame / 4);
    if size(&letter) <= room || letter.headers.get(WRAPPED).is_some() {
        return letter;
    }
    let mut outer = Headers::default();
    for name in KEPT {
        if let Some(value) = letter.headers.get(name).filter(|value| value_size(value) <= 300) {
            outer.set(name, value.clone());
        }
    }
    outer.set_text(WRAPPED, "base64");
    let wrapping = Wrapping {
        properties: JsonProperties::from(&letter.properties),
        headers: letter.headers.0.iter().map(|(name, value)| (name.clone(), Json::from(value))).collect(),
        body: BASE64.encode(&letter.body),
    };
    // Strings and numbers only: this can't fail.
    let body = serde_json::to_vec(&wrapping).unwrap_or_default();
    let mut wrapped = Envelope {
        body: body.into(),
        headers: outer,
        properties: Properties {
            content_type: Some("application/json".to_owned()),
            delivery_mode: Some(2),
            priority: letter.properties.priority,
            message_id: letter.properties.message_id.clone(),
            timestamp: letter.properties.timestamp,
            ..Properties::default()
        },
        ..letter.clone()
    };
    if let Some(reason) = letter.headers.text(REASON) {
        let left = room.saturating_sub(size(&wrapped) + REASON.len() + 6);
        wrapped.headers.set_text(REASON, cut(reason, left.min(super::REASON_MAX)));
    }
    wrapped
}

/// The letter as it was before it had to be wrapped; any other comes back as it is, and so does
/// one whose body isn't what the mark says.
pub fn unwrapped(letter: &Envelope) -> Envelope {
    let inner = || {
        letter.headers.get(WRAPPED)?;
        let wrapping: Wrapping = serde_json::from_slice(&letter.body).ok()?;
        let headers = wrapping.headers.into_iter().map(|(name, value)| Some((name, value.header()?)));
        Some(Envelope {
            body: BASE64.decode(wrapping.body).ok()?.into(),
            properties: wrapping.properties.into(),
            headers: Headers(headers.collect::<Option<_>>()?),
            ..letter.clone()
        })
    };
    inner().unwrap_or_else(|| letter.clone())
}

/// Bytes of properties and headers on the wire.
fn size(letter: &Envelope) -> usize {
    let properties = &letter.properties;
    let texts = [
        &properties.content_type,
        &properties.content_encoding,
        &properties.correlation_id,
        &properties.reply_to,
        &properties.expiration,
        &properties.message_id,
        &properties.kind,
        &properties.user_id,
        &properties.app_id,
        &properties.cluster_id,
    ];
    // Delivery mode and priority have one byte each, the timestamp eight.
    10 + texts.into_iter().flatten().map(|text| 1 + text.len()).sum::<usize>() + table_size(&letter.headers)
}

fn table_size(headers: &Headers) -> usize {
    4 + headers.0.iter().map(|(name, value)| 1 + name.len() + value_size(value)).sum::<usize>()
}

/// With its type's letter.
fn value_size(value: &HeaderValue) -> usize {
    1 + match value {
        HeaderValue::Void => 0,
        HeaderValue::Bool(_) | HeaderValue::I8(_) | HeaderValue::U8(_) => 1,
        HeaderValue::I16(_) | HeaderValue::U16(_) => 2,
        HeaderValue::I32(_) | HeaderValue::U32(_) | HeaderValue::F32(_) => 4,
        HeaderValue::Decimal { .. } => 5,
        HeaderValue::I64(_) | HeaderValue::F64(_) | HeaderValue::Timestamp(_) => 8,
        HeaderValue::Text(bytes) | HeaderValue::Bytes(bytes) => 4 + bytes.len(),
        HeaderValue::List(values) => 4 + values.iter().map(value_size).sum::<usize>(),
        HeaderValue::Table(headers) => table_size(headers),
    }
}
