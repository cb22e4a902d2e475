//! AMQP properties and headers as JSON values, for people and machines.

use serde_json::{Map, Number, Value, json};

use super::body::base64;
use crate::message::{HeaderValue, Headers, Properties};

/// The properties that are set, by their names in the specification.
pub(super) fn properties(properties: &Properties) -> Vec<(String, Value)> {
    let Properties {
        content_type,
        content_encoding,
        delivery_mode,
        priority,
        correlation_id,
        reply_to,
        expiration,
        message_id,
        timestamp,
        kind,
        user_id,
        app_id,
        cluster_id,
    } = properties;
    let text = |name, value: &Option<String>| Some((name, json!(value.as_ref()?)));
    [
        text("content_type", content_type),
        text("content_encoding", content_encoding),
        delivery_mode.map(|mode| ("delivery_mode", json!(mode))),
        priority.map(|priority| ("priority", json!(priority))),
        text("correlation_id", correlation_id),
        text("reply_to", reply_to),
        text("expiration", expiration),
        text("message_id", message_id),
        timestamp.map(|timestamp| ("timestamp", json!(timestamp))),
        text("type", kind),
        text("user_id", user_id),
        text("app_id", app_id),
        text("cluster_id", cluster_id),
    ]
    .into_iter()
    .flatten()
    .map(|(name, value)| (name.to_owned(), value))
    .collect()
}

/// All headers as one object. Of two with the same name the last is left, as JSON has it.
pub(super) fn table(headers: &Headers) -> Value {
    Value::Object(entries(headers).into_iter().collect::<Map<_, _>>())
}

/// All headers in their order.
pub(super) fn entries(headers: &Headers) -> Vec<(String, Value)> {
    headers.0.iter().map(|(name, value)| (name.clone(), json(value))).collect()
}

fn json(value: &HeaderValue) -> Value {
    match value {
        HeaderValue::Void => Value::Null,
        HeaderValue::Bool(value) => json!(value),
        HeaderValue::I8(value) => json!(value),
        HeaderValue::U8(value) => json!(value),
        HeaderValue::I16(value) => json!(value),
        HeaderValue::U16(value) => json!(value),
        HeaderValue::I32(value) => json!(value),
        HeaderValue::U32(value) => json!(value),
        HeaderValue::I64(value) => json!(value),
        HeaderValue::F32(value) => float(f64::from(*value), value.to_string()),
        HeaderValue::F64(value) => float(*value, value.to_string()),
        HeaderValue::Decimal { scale, value } => json!(decimal(*scale, *value)),
        HeaderValue::Text(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => json!(text),
            Err(_) => json!({ "base64": base64(bytes) }),
        },
        HeaderValue::Bytes(bytes) => json!({ "base64": base64(bytes) }),
        HeaderValue::Timestamp(seconds) => json!(seconds),
        HeaderValue::List(values) => Value::Array(values.iter().map(json).collect()),
        HeaderValue::Table(headers) => table(headers),
    }
}

/// JSON has no NaN and no infinity: these are shown as text.
fn float(value: f64, shown: String) -> Value {
    // The shortest digits of the width that was received: 0.1, not 0.10000000149011612.
    let number = shown.parse::<f64>().ok().and_then(Number::from_f64).or_else(|| Number::from_f64(value));
    number.map_or(Value::String(shown), Value::Number)
}

fn decimal(scale: u8, value: u32) -> String {
    let digits = format!("{value:0>width$}", width = usize::from(scale) + 1);
    let (whole, fraction) = digits.split_at(digits.len() - usize::from(scale));
    if fraction.is_empty() { whole.to_owned() } else { format!("{whole}.{fraction}") }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn every_kind_of_header_is_shown() {
        let nested = Headers(vec![("a".to_owned(), HeaderValue::I64(i64::MIN))]);
        for (value, shown) in [
            (HeaderValue::Void, "null"),
            (HeaderValue::Bool(true), "true"),
            (HeaderValue::F32(0.1), "0.1"),
            (HeaderValue::F64(f64::NAN), "\"NaN\""),
            (HeaderValue::F64(f64::NEG_INFINITY), "\"-inf\""),
            (HeaderValue::Decimal { scale: 2, value: 1999 }, "\"19.99\""),
            (HeaderValue::Decimal { scale: 3, value: 5 }, "\"0.005\""),
            (HeaderValue::Decimal { scale: 0, value: 7 }, "\"7\""),
            (HeaderValue::Text(Bytes::from_static(b"x")), "\"x\""),
            (HeaderValue::Text(Bytes::from_static(b"\xff")), r#"{"base64":"/w=="}"#),
            (HeaderValue::Timestamp(1), "1"),
            (
                HeaderValue::List(vec![HeaderValue::U8(1), HeaderValue::Table(nested)]),
                r#"[1,{"a":-9223372036854775808}]"#,
            ),
        ] {
            assert_eq!(json(&value).to_string(), shown, "{value:?}");
        }
    }

    #[test]
    fn only_properties_that_are_set_are_shown() {
        let set = Properties { kind: Some("order".to_owned()), timestamp: Some(5), ..Properties::default() };
        assert_eq!(properties(&set), [("timestamp".to_owned(), json!(5)), ("type".to_owned(), json!("order"))]);
    }
}
