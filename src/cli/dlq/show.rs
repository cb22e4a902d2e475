//! `dlq show`: one dead letter in full.

use serde_json::{Map, Value, json};

use super::judge::{Judge, Verdict};
use super::letter::Letter;
use super::store::{Ended, Store};
use super::{body, headers};
use crate::cli::escape::{escape, escape_lines};
use crate::cli::exit::{CliError, Exit};
use crate::cli::output::Out;
use crate::config::{ColumnSource, Config, Pipeline, Place};
use crate::dead_letter;

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

    /// Looks at one. Two are enough to know that there are several, and an exact one is the one.
    pub(super) fn offer(&mut self, letter: &Letter) {
        let id = letter.info.id.as_str();
        let exact = id == self.prefix;
        let known = self.found.iter().any(|known| known.info.id == id);
        if id.starts_with(&self.prefix) && !known && (exact || self.found.len() < 2) {
            self.found.push(letter.clone());
        }
    }

    /// The one that is meant.
    pub(super) fn one(mut self, pipeline: &str) -> Result<Letter, CliError> {
        if let Some(exact) = self.found.iter().position(|known| known.info.id == self.prefix) {
            return Ok(self.found.swap_remove(exact));
        }
        match self.found.as_slice() {
            [] => Err(CliError::failed(format!(
                "{pipeline} has no dead letter whose ID begins with \"{}\"; `dlq list {pipeline}` prints them",
                self.prefix
            ))),
            [one, other, ..] => Err(CliError::failed(format!(
                "several IDs begin with \"{}\", {} and {} for two: give more of it",
                self.prefix, one.info.id, other.info.id
            ))),
            [_] => Ok(self.found.swap_remove(0)),
        }
    }
}

/// Finds it, asks the database what would become of it, and prints sections for people, or one
/// object.
pub(super) async fn execute(
    store: &mut Store,
    config: &Config,
    pipeline: &Pipeline,
    id: &str,
    out: &mut Out,
) -> Result<Exit, CliError> {
    let mut choice = Choice::new(id)?;
    let ended = store
        .look("looking", |letter| {
            if super::filter::owns(pipeline, &letter.info) {
                choice.offer(letter);
            }
        })
        .await?;
    let letter = match choice.one(&pipeline.name) {
        Err(_) if ended == Ended::Interrupted => return Ok(super::looked(ended)),
        chosen => chosen?,
    };
    let today = today(config, pipeline, &letter).await;
    if out.json {
        out.object(&object(&letter, &today));
    } else {
        out.line(text(&letter, pipeline, &today).trim_end());
    }
    Ok(super::looked(ended))
}

/// What would become of it now: a word for machines, and words for people.
struct Today {
    fate: &'static str,
    why: Option<String>,
}

async fn today(config: &Config, pipeline: &Pipeline, letter: &Letter) -> Today {
    let judged = async {
        let mut judge = Judge::open(config, pipeline).await?;
        let message = dead_letter::replayed(&letter.envelope, &pipeline.queue, "show", 0);
        let verdict = judge.verdict(message).await;
        judge.close().await;
        verdict
    };
    // The server's words are for the terminal of whoever asked for this message.
    match judged.await {
        Ok(verdict) => Today::of(&verdict),
        Err(failure) => Today { fate: "unknown", why: Some(failure.to_string()) },
    }
}

impl Today {
    fn of(verdict: &Verdict) -> Self {
        let (fate, why) = match verdict {
            Verdict::Written => ("written", None),
            Verdict::AlreadyThere => ("already_there", None),
            Verdict::Superseded => ("superseded", None),
            Verdict::Skipped => ("skipped", None),
            Verdict::Refused(failure) => ("rejected", Some(failure)),
            Verdict::Undecided(failure) => ("undecided", Some(failure)),
        };
        let why = why.map(|failure| {
            let detail = failure.detail.reveal();
            if detail.is_empty() { failure.to_string() } else { format!("{failure}: {detail}") }
        });
        Today { fate, why }
    }

    fn text(&self) -> String {
        let text = match self.fate {
            "written" => "would be written now",
            "already_there" => "is there already: a replay would write nothing",
            "superseded" => "a newer version is there: a replay would write nothing",
            "skipped" => "nothing would have to be written",
            "rejected" => "would be rejected again",
            "undecided" => "not known: somebody else's lock was in the way",
            _ => "not known",
        };
        self.why.as_ref().map_or_else(|| text.to_owned(), |why| format!("{text}: {why}"))
    }
}

fn object(letter: &Letter, today: &Today) -> Value {
    // It is an object of texts and numbers: this can't fail.
    let mut object = match serde_json::to_value(&letter.info) {
        Ok(Value::Object(object)) => object,
        _ => Map::new(),
    };
    let (info, envelope) = (&letter.info, &letter.envelope);
    object.insert("exchange".to_owned(), json!(info.exchange));
    object.insert("routing_key".to_owned(), json!(info.routing_key));
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
    object.insert("today".to_owned(), json!({ "fate": today.fate, "why": today.why }));
    Value::Object(object)
}

/// The place in the message that the refused column is filled from.
fn refused_place(pipeline: &Pipeline, column: Option<&str>) -> Option<Place> {
    let column = column?;
    let Some(columns) = &pipeline.columns else { return Some(Place::Pointer(vec![column.to_owned()])) };
    let mapping = columns.iter().find(|mapping| mapping.column == column)?;
    match &mapping.source {
        ColumnSource::From(place) => Some(place.clone()),
        ColumnSource::Value(_) => None,
    }
}

/// The body with the refused field marked; where it has no such field, that is said behind it.
fn marked_body(body: &[u8], place: Option<&Place>) -> String {
    let Some(Place::Pointer(parts)) = place else { return body::readable(body, None) };
    let (marked, plain) = (body::readable(body, Some(parts)), body::readable(body, None));
    let json = serde_json::from_slice::<serde::de::IgnoredAny>(body).is_ok();
    match place {
        Some(place) if json && marked == plain => format!("{plain}\n◀ {place} isn't there"),
        _ => marked,
    }
}

fn text(letter: &Letter, pipeline: &Pipeline, today: &Today) -> String {
    let (info, envelope) = (&letter.info, &letter.envelope);
    let mut text = String::new();
    let mut line = |name: &str, value: &str| text.push_str(&format!("{name:<12} {}\n", escape(value)));
    line("ID", &info.id);
    for (name, value) in [
        ("message ID", &info.message_id),
        ("failed at", &info.failed_at),
        ("class", &info.class),
        ("code", &info.code),
        ("column", &info.column),
        ("reason", &info.reason),
        ("pipeline", &info.pipeline),
        ("queue", &info.queue),
        ("table", &info.table),
    ] {
        line(name, value.as_deref().unwrap_or("-"));
    }
    line("attempts", &info.attempts.map_or_else(|| "-".to_owned(), |attempts| attempts.to_string()));
    line("replays", &info.replays.to_string());
    line("exchange", if info.exchange.is_empty() { "(default)" } else { &info.exchange });
    line("routing key", &info.routing_key);
    line("today", &today.text());
    let place = refused_place(pipeline, info.column.as_deref());
    let refused = place.as_ref().map(Place::to_string).unwrap_or_default();
    section(&mut text, "properties", headers::properties(&envelope.properties), refused.strip_prefix("property:"));
    section(&mut text, "headers", headers::entries(&envelope.headers), refused.strip_prefix("header:"));
    let body = escape_lines(&marked_body(&envelope.body, place.as_ref()));
    text.push_str(&format!("\nbody ({} bytes)\n{body}\n", envelope.body.len()));
    text
}

/// Lines of names and values, the refused one marked.
fn section(text: &mut String, title: &str, entries: Vec<(String, Value)>, refused: Option<&str>) {
    if entries.is_empty() {
        return;
    }
    text.push_str(&format!("\n{title}\n"));
    for (name, value) in entries {
        let value = match value {
            Value::String(value) => value,
            other => other.to_string(),
        };
        let mark = if refused == Some(&name) { body::MARK } else { "" };
        text.push_str(&format!("  {} = {}{mark}\n", escape(&name), escape(&value)));
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::letter::example;
    use super::*;

    const TODAY: Today = Today { fate: "written", why: None };

    fn pipeline() -> Pipeline {
        let config = "[rabbitmq]\nurl = \"amqp://127.0.0.1\"\n[database]\nurl = \"sqlite://x.db\"\n\
                      [pipelines.orders]\nqueue = \"orders\"\ntable = \"orders\"\n";
        crate::config::load_str("test.toml", config, &[]).unwrap().pipelines.remove("orders").unwrap()
    }

    fn with_id(id: &str) -> Letter {
        let mut letter = example();
        letter.info.id = id.to_owned();
        letter
    }

    fn choose(prefix: &str, ids: &[&str]) -> Result<String, String> {
        let mut choice = Choice::new(prefix).unwrap();
        ids.iter().for_each(|id| choice.offer(&with_id(id)));
        choice.one("orders").map(|letter| letter.info.id).map_err(|error| error.message)
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
        let shown = text(&example(), &pipeline(), &TODAY);
        for part in [
            "reason       \"many\" is no whole number",
            "  message_id = m-17",
            "  tenant = acme",
            "routing key  order.created",
            "\"price\": 19.990",
            "\"qty\": \"many\",    ◀ this one",
            "today        would be written now",
        ] {
            assert!(shown.contains(part), "{part}\n{shown}");
        }
    }

    #[test]
    fn the_refused_place_is_marked_wherever_it_is() {
        let shown = |source: &str| {
            let mut pipeline = pipeline();
            let config = format!(
                "[rabbitmq]\nurl = \"amqp://127.0.0.1\"\n[database]\nurl = \"sqlite://x.db\"\n[pipelines.orders]\n\
                 queue = \"orders\"\ntable = \"orders\"\n[pipelines.orders.columns]\nqty = {source:?}\n"
            );
            pipeline.columns =
                crate::config::load_str("t", &config, &[]).unwrap().pipelines.remove("orders").unwrap().columns;
            let text = text(&example(), &pipeline, &TODAY);
            text.lines().filter(|line| line.contains('◀')).map(|line| line.trim().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(shown("/price"), ["\"price\": 19.990    ◀ this one"]);
        assert_eq!(shown("header:tenant"), ["tenant = acme    ◀ this one"]);
        assert_eq!(shown("property:message_id"), ["message_id = m-17    ◀ this one"]);
        assert_eq!(shown("/a/b"), ["◀ /a/b isn't there"]);
    }

    #[test]
    fn a_message_cannot_drive_the_terminal() {
        let mut letter = example();
        let hostile = "\u{1b}[2J\u{9b}1m\u{202e}\r";
        letter.info.reason = Some(hostile.to_owned());
        letter.envelope.headers.set_text(hostile, hostile);
        letter.envelope.properties.correlation_id = Some(hostile.to_owned());
        letter.info.routing_key = hostile.to_owned();
        for body in [hostile.as_bytes(), b"{\"a\":\"\xc2\x9b\xe2\x80\xae\"}", b"\x1b[2J\xff"] {
            letter.envelope.body = Bytes::copy_from_slice(body);
            let shown = text(&letter, &pipeline(), &TODAY);
            let kept = shown.chars().find(|&char| char != '\n' && (char.is_control() || char == '\u{202e}'));
            assert_eq!(kept, None, "{shown:?}");
        }
    }

    #[test]
    fn json_holds_any_body() {
        let mut letter = example();
        assert_eq!(object(&letter, &TODAY)["body"], r#"{"qty":"many","price":19.990}"#);
        letter.envelope.body = Bytes::from_static(b"\xff\x00");
        let shown = object(&letter, &TODAY);
        assert_eq!(shown["body_base64"], "/wA=");
        assert!(shown.get("body").is_none());
        assert_eq!(shown["headers"]["tenant"], "acme");
        assert_eq!(shown["properties"]["content_type"], "application/json");
    }
}
