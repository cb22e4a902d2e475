//! A sample message out of a file: a body alone, or a JSON object with what stands around it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

use crate::message::{Envelope, HeaderValue, Headers, Properties};

/// What makes a JSON object a message with its surroundings: all of its keys are among these, and
/// one of the first two is there.
const KEYS: [&str; 6] = ["properties", "headers", "body", "body_base64", "exchange", "routing_key"];

/// Reads the samples of a file: one message, or, where it isn't one JSON document, one in each line.
///
/// # Errors
/// As [`envelope`], with the line.
pub fn envelopes(text: &[u8]) -> Result<Vec<Envelope>, String> {
    let json = |text: &[u8]| serde_json::from_slice::<&RawValue>(text).is_ok();
    let lines: Vec<&[u8]> =
        text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty()).collect();
    if lines.len() < 2 || json(text) || !lines.iter().all(|line| json(line)) {
        return Ok(vec![envelope(text, false)?]);
    }
    let number =
        |(nth, line): (usize, &&[u8])| envelope(line, false).map_err(|error| format!("line {}: {error}", nth + 1));
    lines.iter().enumerate().map(number).collect()
}

/// Reads a sample. With `body_only` the text is a body, whatever it looks like.
///
/// # Errors
/// A property that AMQP doesn't have, or one of another type.
pub fn envelope(text: &[u8], body_only: bool) -> Result<Envelope, String> {
    let bare = || Envelope { body: Bytes::copy_from_slice(text), ..Envelope::default() };
    if body_only {
        return Ok(bare());
    }
    let Ok(parts) = serde_json::from_slice::<BTreeMap<String, &RawValue>>(text) else { return Ok(bare()) };
    let known = parts.keys().all(|key| KEYS.contains(&key.as_str()));
    if !known || !KEYS[..2].iter().any(|key| parts.contains_key(*key)) {
        return Ok(bare());
    }
    let value = |key: &str| -> Option<Value> { serde_json::from_str(parts.get(key)?.get()).ok() };
    let word = |key: &str| match value(key) {
        None | Some(Value::Null) => Ok(String::new()),
        Some(Value::String(text)) => Ok(text),
        Some(_) => Err(format!("{key} isn't a text")),
    };
    let body = match (parts.get("body"), value("body"), value("body_base64")) {
        (_, _, Some(Value::String(text))) => {
            STANDARD.decode(text).map_err(|error| format!("body_base64: {error}"))?.into()
        }
        (_, Some(Value::String(text)), _) => Bytes::from(text),
        // As it is written, so that numbers keep their digits.
        (Some(raw), _, _) => Bytes::copy_from_slice(raw.get().as_bytes()),
        (None, _, _) => Bytes::new(),
    };
    Ok(Envelope {
        body,
        exchange: word("exchange")?,
        routing_key: word("routing_key")?,
        redelivered: false,
        properties: properties(value("properties"))?,
        headers: headers(value("headers"))?,
    })
}

/// Properties by their names in the specification.
///
/// # Errors
/// One that AMQP doesn't have, or of another type.
pub fn properties(from: Option<Value>) -> Result<Properties, String> {
    let mut properties = Properties::default();
    let fields = match from {
        None | Some(Value::Null) => return Ok(properties),
        Some(Value::Object(fields)) => fields,
        Some(_) => return Err("properties isn't an object".to_owned()),
    };
    for (name, value) in fields {
        let text = || match &value {
            Value::String(text) => Ok(Some(text.clone())),
            Value::Null => Ok(None),
            _ => Err(format!("the property {name} isn't a text")),
        };
        let number = || match &value {
            Value::Null => Ok(None),
            value => value.as_u64().map(Some).ok_or_else(|| format!("the property {name} isn't a whole number")),
        };
        let small = || number().map(|number| number.and_then(|number| u8::try_from(number).ok()));
        match name.as_str() {
            "content_type" => properties.content_type = text()?,
            "content_encoding" => properties.content_encoding = text()?,
            "delivery_mode" => properties.delivery_mode = small()?,
            "priority" => properties.priority = small()?,
            "correlation_id" => properties.correlation_id = text()?,
            "reply_to" => properties.reply_to = text()?,
            "expiration" => properties.expiration = text()?,
            "message_id" => properties.message_id = text()?,
            "timestamp" => properties.timestamp = number()?,
            "type" => properties.kind = text()?,
            "user_id" => properties.user_id = text()?,
            "app_id" => properties.app_id = text()?,
            "cluster_id" => properties.cluster_id = text()?,
            _ => return Err(format!("AMQP has no property {name:?}; headers stand in `headers`")),
        }
    }
    Ok(properties)
}

/// Headers out of JSON: `{"base64": "…"}` stands for bytes.
///
/// # Errors
/// Not an object.
pub fn headers(from: Option<Value>) -> Result<Headers, String> {
    match from {
        None | Some(Value::Null) => Ok(Headers::default()),
        Some(Value::Object(fields)) => {
            Ok(Headers(fields.into_iter().map(|(name, value)| (name, header(value))).collect()))
        }
        Some(_) => Err("headers isn't an object".to_owned()),
    }
}

fn header(value: Value) -> HeaderValue {
    match value {
        Value::Null => HeaderValue::Void,
        Value::Bool(truth) => HeaderValue::Bool(truth),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => HeaderValue::I64(whole),
            (None, Some(float)) => HeaderValue::F64(float),
            (None, None) => HeaderValue::Text(Bytes::from(number.to_string())),
        },
        Value::String(text) => HeaderValue::Text(Bytes::from(text)),
        Value::Array(items) => HeaderValue::List(items.into_iter().map(header).collect()),
        Value::Object(fields) => {
            let bytes = fields.get("base64").and_then(Value::as_str).filter(|_| fields.len() == 1);
            match bytes.and_then(|text| STANDARD.decode(text).ok()) {
                Some(bytes) => HeaderValue::Bytes(bytes.into()),
                None => {
                    HeaderValue::Table(Headers(fields.into_iter().map(|(name, value)| (name, header(value))).collect()))
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_alone_stays_as_it_is() {
        for text in ["{\"id\": 1.50}", "[1]", "not JSON", "{\"body\": 1}", "{\"headers\": {}, \"other\": 1}"] {
            let sample = envelope(text.as_bytes(), false).unwrap();
            assert_eq!((&sample.body[..], &sample.properties), (text.as_bytes(), &Properties::default()), "{text}");
        }
        assert_eq!(&envelope(b"{\"headers\":{}}", true).unwrap().body[..], b"{\"headers\":{}}");
    }

    #[test]
    fn a_file_of_lines_is_several_samples() {
        let bodies = |text: &str| -> Vec<String> {
            let found = envelopes(text.as_bytes()).unwrap();
            found.iter().map(|sample| String::from_utf8_lossy(&sample.body).into_owned()).collect()
        };
        assert_eq!(bodies("{\"a\": 1}\n\n{\"headers\": {}, \"body\": {\"a\": 2}}\n"), ["{\"a\": 1}", "{\"a\": 2}"]);
        assert_eq!(bodies("{\n\"a\": 1\n}"), ["{\n\"a\": 1\n}"]);
        assert_eq!(bodies("{\"a\": 1}\nnot JSON"), ["{\"a\": 1}\nnot JSON"]);
        assert!(envelopes(b"{}\n{\"properties\":{\"x\":1}}").unwrap_err().starts_with("line 2: "));
    }

    #[test]
    fn a_message_with_its_surroundings() {
        let text = br#"{"headers": {"n": 7, "b": {"base64": "/w=="}, "t": {"x": [true]}}, "routing_key": "k",
                        "properties": {"message_id": "a", "timestamp": 5}, "body": {"price": 1.50}}"#;
        let sample = envelope(text, false).unwrap();
        assert_eq!(&sample.body[..], b"{\"price\": 1.50}");
        assert_eq!((sample.routing_key.as_str(), sample.properties.timestamp), ("k", Some(5)));
        assert_eq!(sample.headers.integer("n"), Some(7));
        assert_eq!(sample.headers.get("b"), Some(&HeaderValue::Bytes(Bytes::from_static(b"\xff"))));
        assert_eq!(&envelope(br#"{"headers":{},"body":"not JSON"}"#, false).unwrap().body[..], b"not JSON");
        assert_eq!(&envelope(br#"{"headers":{},"body_base64":"/w=="}"#, false).unwrap().body[..], b"\xff");
        assert!(envelope(br#"{"properties":{"messageid":"a"}}"#, false).unwrap_err().contains("messageid"));
        assert!(envelope(br#"{"properties":{"timestamp":"a"}}"#, false).is_err());
    }
}
