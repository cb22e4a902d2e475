//! Properties and headers in JSON without loss: each value with its type.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::message::{HeaderValue, Headers, Properties};

/// A header value in JSON, with its type. Bits instead of digits for floating point, so that
/// nothing depends on how JSON readers round.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Json {
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
    pub(super) fn header(self) -> Option<HeaderValue> {
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
pub(super) struct JsonProperties {
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_encoding: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delivery_mode: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    priority: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reply_to: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expiration: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<u64>,
    #[serde(rename = "type")]
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    app_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
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
