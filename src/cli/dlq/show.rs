//! `dlq show`: one dead letter in full.

use std::ops::ControlFlow;

use serde_json::{Map, Value, json};

use super::letter::Letter;
use super::{body, headers};
use crate::cli::escape::{escape, escape_lines};
use crate::cli::exit::CliError;
use crate::cli::output::Out;

/// Searches letters by the beginning of their ID.
#[derive(Debug)]
pub(super) struct Choice {
    prefix: String,
    /// Those found, the same ID once: repeats are the same message.
    found: Vec<Letter>,
}

impl Choice {
    pub(super) fn new(prefix: &str) -> Result<Self, CliError> {
        match prefix.trim().trim_end_matches('…') {
            "" => Err(CliError::usage("an ID, or the beginning of one, is needed; `dlq list` prints them")),
            prefix => Ok(Choice { prefix: prefix.to_owned(), found: Vec::new() }),
        }
    }

    /// Looks at one; breaks off when the search is decided.
    pub(super) fn offer(&mut self, letter: Letter) -> ControlFlow<()> {
        let id = letter.row.id.as_str();
        if id.starts_with(&self.prefix) && self.found.iter().all(|known| known.row.id != id) {
            self.found.push(letter);
        }
        let exact = self.found.iter().any(|known| known.row.id == self.prefix);
        if exact || self.found.len() > 1 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// The one that is meant.
    pub(super) fn one(mut self, pipeline: &str) -> Result<Letter, CliError> {
        if let Some(exact) = self.found.iter().position(|known| known.row.id == self.prefix) {
            return Ok(self.found.swap_remove(exact));
        }
        match self.found.as_slice() {
            [] => Err(CliError::failed(format!(
                "{pipeline} has no dead letter whose ID begins with \"{}\"; `dlq list {pipeline}` prints them",
                self.prefix
            ))),
            [one, other, ..] => Err(CliError::failed(format!(
                "several IDs begin with \"{}\", {} and {} for two: give more of it",
                self.prefix, one.row.id, other.row.id
            ))),
            [_] => Ok(self.found.swap_remove(0)),
        }
    }
}

/// Sections for people, or one object.
pub(super) fn print(letter: &Letter, out: &mut Out) {
    if out.json { out.object(&object(letter)) } else { out.line(text(letter).trim_end()) }
}

fn object(letter: &Letter) -> Value {
    // A row is an object of texts and numbers: this can't fail.
    let mut object = match serde_json::to_value(&letter.row) {
        Ok(Value::Object(object)) => object,
        _ => Map::new(),
    };
    let envelope = &letter.envelope;
    object.insert("exchange".to_owned(), json!(envelope.exchange));
    object.insert("routing_key".to_owned(), json!(envelope.routing_key));
    object.insert(
        "properties".to_owned(),
        Value::Object(headers::properties(&envelope.properties).into_iter().collect()),
    );
    object.insert("headers".to_owned(), headers::table(&envelope.headers));
    let (key, body) = match std::str::from_utf8(&envelope.body) {
        Ok(text) => ("body", text.to_owned()),
        Err(_) => ("body_base64", body::base64(&envelope.body)),
    };
    object.insert(key.to_owned(), Value::String(body));
    Value::Object(object)
}

fn text(letter: &Letter) -> String {
    let (row, envelope) = (&letter.row, &letter.envelope);
    let mut text = String::new();
    let mut line = |name: &str, value: &str| text.push_str(&format!("{name:<12} {}\n", escape(value)));
    line("ID", &row.id);
    for (name, value) in [
        ("message ID", &row.message_id),
        ("failed at", &row.failed_at),
        ("class", &row.class),
        ("code", &row.code),
        ("column", &row.column),
        ("reason", &row.reason),
        ("pipeline", &row.pipeline),
        ("queue", &row.queue),
        ("table", &row.table),
    ] {
        line(name, value.as_deref().unwrap_or("-"));
    }
    line("attempts", &row.attempts.map_or_else(|| "-".to_owned(), |attempts| attempts.to_string()));
    line("replays", &row.replays.to_string());
    line("exchange", if envelope.exchange.is_empty() { "(default)" } else { &envelope.exchange });
    line("routing key", &envelope.routing_key);
    section(&mut text, "properties", headers::properties(&envelope.properties));
    section(&mut text, "headers", headers::entries(&envelope.headers));
    let body = escape_lines(&body::readable(&envelope.body));
    text.push_str(&format!("\nbody ({} bytes)\n{body}\n", envelope.body.len()));
    text
}

fn section(text: &mut String, title: &str, entries: Vec<(String, Value)>) {
    if entries.is_empty() {
        return;
    }
    text.push_str(&format!("\n{title}\n"));
    for (name, value) in entries {
        let value = match value {
            Value::String(value) => value,
            other => other.to_string(),
        };
        text.push_str(&format!("  {} = {}\n", escape(&name), escape(&value)));
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::letter::example;
    use super::*;

    fn with_id(id: &str) -> Letter {
        let mut letter = example();
        letter.row.id = id.to_owned();
        letter
    }

    fn choose(prefix: &str, ids: &[&str]) -> Result<String, String> {
        let mut choice = Choice::new(prefix).unwrap();
        // Every one is offered, as a browse may go on after the break.
        let breaks = ids.iter().filter(|id| choice.offer(with_id(id)).is_break()).count();
        assert!(breaks <= ids.len());
        choice.one("orders").map(|letter| letter.row.id).map_err(|error| error.message)
    }

    #[test]
    fn the_beginning_of_an_id_is_enough() {
        assert_eq!(choose("ab", &["aa1", "ab1", "b"]).unwrap(), "ab1");
        assert_eq!(choose("ab1", &["ab1", "ab12"]).unwrap(), "ab1", "an exact ID is never ambiguous");
        assert_eq!(choose("ab", &["ab1", "ab1"]).unwrap(), "ab1", "repeats are the same message");
    }

    #[test]
    fn none_and_several_are_refused() {
        assert!(choose("x", &["aa1"]).unwrap_err().contains("no dead letter whose ID begins with \"x\""));
        assert!(choose("ab", &["ab1", "ab2", "ab3"]).unwrap_err().contains("ab1 and ab2"));
        assert!(Choice::new(" ").is_err(), "everything begins with nothing");
    }

    #[test]
    fn everything_is_shown() {
        let shown = text(&example());
        for part in [
            "reason       \"many\" is no whole number",
            "  message_id = m-17",
            "  tenant = acme",
            "routing key  order.created",
            "\"price\": 19.990",
        ] {
            assert!(shown.contains(part), "{part}\n{shown}");
        }
    }

    #[test]
    fn a_message_cannot_drive_the_terminal() {
        let mut letter = example();
        let hostile = "\u{1b}[2J\u{9b}1m\u{202e}\r";
        letter.row.reason = Some(hostile.to_owned());
        letter.envelope.headers.set_text(hostile, hostile);
        letter.envelope.properties.correlation_id = Some(hostile.to_owned());
        letter.envelope.routing_key = hostile.to_owned();
        for body in [hostile.as_bytes(), b"{\"a\":\"\xc2\x9b\xe2\x80\xae\"}", b"\x1b[2J\xff"] {
            letter.envelope.body = Bytes::copy_from_slice(body);
            let shown = text(&letter);
            let kept = shown.chars().find(|&char| char != '\n' && (char.is_control() || char == '\u{202e}'));
            assert_eq!(kept, None, "{shown:?}");
        }
    }

    #[test]
    fn json_holds_any_body() {
        let mut letter = example();
        assert_eq!(object(&letter)["body"], r#"{"qty":"many","price":19.990}"#);
        letter.envelope.body = Bytes::from_static(b"\xff\x00");
        let shown = object(&letter);
        assert_eq!(shown["body_base64"], "/wA=");
        assert!(shown.get("body").is_none());
        assert_eq!(shown["headers"]["tenant"], "acme");
        assert_eq!(shown["properties"]["content_type"], "application/json");
    }
}
