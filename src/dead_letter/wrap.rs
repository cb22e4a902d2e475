//! Dead letters whose headers don't fit in a frame: everything goes into the body, as JSON.
//!
//! AMQP sends all properties and headers in a single frame; a longer one costs the connection.
//! The wrapped letter keeps the few headers by which it is found and listed.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{REASON, WRAPPED, cut};
use crate::message::{Envelope, HeaderValue, Headers, Properties};

/// Frame header and end (8 bytes), content header (14 bytes).
const OVERHEAD: usize = 22;
/// Room left for what brokers and `dlq` add on the way (`x-delivery-count`, `x-death`, a stamp).
const SPARE: usize = 1024;
/// AMQP's smallest frame, in which even a wrapped letter's headers must fit.
const SMALLEST_FRAME: usize = 4096;

/// The headers that a wrapped letter still has, beside those of ours by which `dlq` lists.
const KEPT: [&str; 14] = [
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

/// A header value in JSON, with its type. Bits instead of digits for floating point, so that
/// nothing depends on how JSON readers round.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Json {
    Void,
    Bool(bool),
    I8(i8),
    U8(u8),
    I16(i16),
    U16(u16),
    I32(i32),
    U32(u32),
    I64(i64),
    F32Bits(u32),
    F64Bits(u64),
    Decimal { scale: u8, value: u32 },
    Text(String),
    TextBase64(String),
    BytesBase64(String),
    Timestamp(u64),
    List(Vec<Json>),
    Table(Vec<(String, Json)>),
}

impl From<&HeaderValue> for Json {
    fn from(value: &HeaderValue) -> Self {
        match value {
            HeaderValue::Void => Json::Void,
            HeaderValue::Bool(value) => Json::Bool(*value),
            HeaderValue::I8(value) => Json::I8(*value),
            HeaderValue::U8(value) => Json::U8(*value),
            HeaderValue::I16(value) => Json::I16(*value),
            HeaderValue::U16(value) => Json::U16(*value),
            HeaderValue::I32(value) => Json::I32(*value),
            HeaderValue::U32(value) => Json::U32(*value),
            HeaderValue::I64(value) => Json::I64(*value),
            HeaderValue::F32(value) => Json::F32Bits(value.to_bits()),
            HeaderValue::F64(value) => Json::F64Bits(value.to_bits()),
            HeaderValue::Decimal { scale, value } => Json::Decimal { scale: *scale, value: *value },
            HeaderValue::Text(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => Json::Text(text.to_owned()),
                Err(_) => Json::TextBase64(BASE64.encode(bytes)),
            },
            HeaderValue::Bytes(bytes) => Json::BytesBase64(BASE64.encode(bytes)),
            HeaderValue::Timestamp(value) => Json::Timestamp(*value),
            HeaderValue::List(values) => Json::List(values.iter().map(Json::from).collect()),
            HeaderValue::Table(headers) => {
                Json::Table(headers.0.iter().map(|(name, value)| (name.clone(), Json::from(value))).collect())
            }
        }
    }
}

impl Json {
    /// `None` where base64 isn't.
    fn header(self) -> Option<HeaderValue> {
        let bytes = |text: String| BASE64.decode(text).ok().map(Bytes::from);
        Some(match self {
            Json::Void => HeaderValue::Void,
            Json::Bool(value) => HeaderValue::Bool(value),
            Json::I8(value) => HeaderValue::I8(value),
            Json::U8(value) => HeaderValue::U8(value),
            Json::I16(value) => HeaderValue::I16(value),
            Json::U16(value) => HeaderValue::U16(value),
            Json::I32(value) => HeaderValue::I32(value),
            Json::U32(value) => HeaderValue::U32(value),
            Json::I64(value) => HeaderValue::I64(value),
            Json::F32Bits(bits) => HeaderValue::F32(f32::from_bits(bits)),
            Json::F64Bits(bits) => HeaderValue::F64(f64::from_bits(bits)),
            Json::Decimal { scale, value } => HeaderValue::Decimal { scale, value },
            Json::Text(text) => HeaderValue::Text(text.into()),
            Json::TextBase64(text) => HeaderValue::Text(bytes(text)?),
            Json::BytesBase64(text) => HeaderValue::Bytes(bytes(text)?),
            Json::Timestamp(value) => HeaderValue::Timestamp(value),
            Json::List(values) => HeaderValue::List(values.into_iter().map(Json::header).collect::<Option<_>>()?),
            Json::Table(table) => HeaderValue::Table(Headers(
                table.into_iter().map(|(name, value)| Some((name, value.header()?))).collect::<Option<_>>()?,
            )),
        })
    }
}

/// The properties in JSON, by their names in AMQP.
#[derive(Serialize, Deserialize, Default)]
#[serde(default)]
struct JsonProperties {
    content_type: Option<String>,
    content_encoding: Option<String>,
    delivery_mode: Option<u8>,
    priority: Option<u8>,
    correlation_id: Option<String>,
    reply_to: Option<String>,
    expiration: Option<String>,
    message_id: Option<String>,
    timestamp: Option<u64>,
    #[serde(rename = "type")]
    kind: Option<String>,
    user_id: Option<String>,
    app_id: Option<String>,
    cluster_id: Option<String>,
}

impl From<&Properties> for JsonProperties {
    fn from(from: &Properties) -> Self {
        let from = from.clone();
        JsonProperties {
            content_type: from.content_type,
            content_encoding: from.content_encoding,
            delivery_mode: from.delivery_mode,
            priority: from.priority,
            correlation_id: from.correlation_id,
            reply_to: from.reply_to,
            expiration: from.expiration,
            message_id: from.message_id,
            timestamp: from.timestamp,
            kind: from.kind,
            user_id: from.user_id,
            app_id: from.app_id,
            cluster_id: from.cluster_id,
        }
    }
}

impl From<JsonProperties> for Properties {
    fn from(from: JsonProperties) -> Self {
        Properties {
            content_type: from.content_type,
            content_encoding: from.content_encoding,
            delivery_mode: from.delivery_mode,
            priority: from.priority,
            correlation_id: from.correlation_id,
            reply_to: from.reply_to,
            expiration: from.expiration,
            message_id: from.message_id,
            timestamp: from.timestamp,
            kind: from.kind,
            user_id: from.user_id,
            app_id: from.app_id,
            cluster_id: from.cluster_id,
        }
    }
}
