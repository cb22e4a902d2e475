//! A dead letter as one line of JSON, without loss: what `dlq export` writes, `dlq discard`
//! archives and `dlq import` reads.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::json::{Json, JsonProperties};
use super::{DeadLetterInfo, ID};
use crate::message::{Envelope, Headers};

/// One line. What is said of the letter is for readers; what comes back is ID, properties, headers
/// and body.
#[derive(Deserialize, Serialize)]
pub struct Line {
    id: String,
    #[serde(flatten, skip_deserializing)]
    said: Said,
    #[serde(default)]
    exchange: String,
    #[serde(default)]
    routing_key: String,
    #[serde(default)]
    properties: JsonProperties,
    #[serde(default)]
    headers: Vec<(String, Json)>,
    /// A body that is UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    /// Any other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
}

/// What [`super::read`] found.
#[derive(Default, Serialize)]
struct Said {
    failed_at: Option<String>,
    class: Option<String>,
    code: Option<String>,
    column: Option<String>,
    reason: Option<String>,
    attempts: Option<u64>,
    replays: u32,
    pipeline: Option<String>,
    queue: Option<String>,
    table: Option<String>,
}

/// Why a line is no dead letter.
#[derive(Debug)]
pub struct BadLine(String);

impl fmt::Display for BadLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Line {
    /// Of a letter that is [`super::restored`].
    pub fn new(info: &DeadLetterInfo, letter: &Envelope) -> Self {
        let (body, body_base64) = match std::str::from_utf8(&letter.body) {
            Ok(text) => (Some(text.to_owned()), None),
            Err(_) => (None, Some(BASE64.encode(&letter.body))),
        };
        let info = info.clone();
        Line {
            id: info.id,
            said: Said {
                failed_at: info.failed_at,
                class: info.class,
                code: info.code,
                column: info.column,
                reason: info.reason,
                attempts: info.attempts,
                replays: info.replays,
                pipeline: info.pipeline,
                queue: info.queue,
                table: info.table,
            },
            exchange: letter.exchange.clone(),
            routing_key: letter.routing_key.clone(),
            properties: JsonProperties::from(&letter.properties),
            headers: letter.headers.0.iter().map(|(name, value)| (name.clone(), Json::from(value))).collect(),
            body,
            body_base64,
        }
    }

    /// Reads a line. The letter has its ID in a header, whatever becomes of its body.
    ///
    /// # Errors
    /// What is wrong with the line, without its values.
    pub fn parse(line: &str) -> Result<Envelope, BadLine> {
        let bad = |what: &str| BadLine(what.to_owned());
        let line: Line = serde_json::from_str(line).map_err(|error| {
            BadLine(format!("not a line of an export, at its column {}: {:?} error", error.column(), error.classify()))
        })?;
        let body = match (line.body, line.body_base64) {
            (Some(text), None) => Bytes::from(text),
            (None, Some(text)) => BASE64.decode(text).map_err(|_| bad("`body_base64` isn't Base64"))?.into(),
            (Some(_), Some(_)) => return Err(bad("it has `body` and `body_base64`: which one?")),
            (None, None) => return Err(bad("it has neither `body` nor `body_base64`")),
        };
        if line.id.is_empty() {
            return Err(bad("`id` is empty"));
        }
        let headers = line.headers.into_iter().map(|(name, value)| Some((name, value.header()?)));
        let mut headers = Headers(headers.collect::<Option<_>>().ok_or_else(|| bad("a header isn't Base64"))?);
        if headers.text(ID) != Some(&line.id) {
            headers.set_text(ID, &line.id);
        }
        Ok(Envelope {
            body,
            exchange: line.exchange,
            routing_key: line.routing_key,
            redelivered: false,
            properties: line.properties.into(),
            headers,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::read;
    use super::*;
    use crate::message::{HeaderValue, Properties};

    fn there_and_back(letter: &Envelope) -> Envelope {
        let line = serde_json::to_string(&Line::new(&read(letter), letter)).unwrap();
        assert!(!line.contains('\n'));
        Line::parse(&line).unwrap()
    }

    proptest! {
        #[test]
        fn nothing_is_lost(
            body in any::<Vec<u8>>(),
            text in any::<Vec<u8>>(),
            number in any::<f64>().prop_filter("equal to itself", |number| !number.is_nan()),
            id in proptest::option::of("\\PC{0,40}"),
        ) {
            let mut letter = Envelope { body: body.into(), ..Envelope::default() };
            letter.properties = Properties { message_id: id, priority: Some(3), ..Properties::default() };
            letter.headers.set("t", HeaderValue::Text(text.clone().into()));
            letter.headers.set("l", HeaderValue::List(vec![HeaderValue::Bytes(text.into()), HeaderValue::F64(number)]));
            let mut again = there_and_back(&letter);
            // A letter without an ID header has got one.
            again.headers.remove(ID);
            prop_assert_eq!(again.body, letter.body);
            prop_assert_eq!(again.properties, letter.properties);
            prop_assert_eq!(again.headers, letter.headers);
        }
    }

    #[test]
    fn an_edited_line_keeps_its_id() {
        let letter = Envelope { body: "1".into(), ..Envelope::default() };
        let id = read(&letter).id;
        let line = serde_json::to_string(&Line::new(&read(&letter), &letter)).unwrap();
        let again = Line::parse(&line.replace("\"body\":\"1\"", "\"body\":\"2\"")).unwrap();
        assert_eq!((read(&again).id, &again.body[..]), (id, &b"2"[..]));
    }

    #[test]
    fn what_is_no_line_says_why_without_its_values() {
        for (line, why) in [
            ("hunter2", "not a line"),
            ("{\"id\":\"a\"}", "neither"),
            ("{\"id\":\"\",\"body\":\"\"}", "empty"),
            ("{\"id\":\"a\",\"body\":\"hunter2\",\"body_base64\":\"\"}", "which one"),
            ("{\"id\":\"a\",\"body_base64\":\"hunter2!\"}", "isn't Base64"),
            ("{\"id\":\"a\",\"body\":\"\",\"headers\":[[\"h\",{\"hunter2\":1}]]}", "not a line"),
        ] {
            let said = Line::parse(line).err().unwrap().to_string();
            assert!(said.contains(why) && !said.contains("hunter2"), "{said}");
        }
    }
}
