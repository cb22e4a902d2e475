//! One value of the config, read as what the asker needs; what it isn't is reported.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::keys::Keys;
use super::names::{IDENTIFIER, is_identifier};
use super::problems::{Problems, nearest};
use super::reader::Section;
use super::tree::{At, Node, Value};
use super::units::{self, show_bytes, show_duration};

/// A value and its full path.
pub(super) struct Field<'a> {
    problems: &'a Problems,
    path: String,
    node: &'a Node,
}

/// What a choice may be.
pub(super) enum Word {
    Known(&'static str),
    /// Behind `column:`.
    Column(String),
}

/// `"a", "b" or "c"`
fn expected_word(words: &[&str], or_column: bool) -> String {
    let words = words.iter().copied().chain(or_column.then_some("column:NAME"));
    let words: Vec<String> = words.map(|word| format!("{word:?}")).collect();
    match words.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, before)) => format!("{} or {last}", before.join(", ")),
        None => String::new(),
    }
}

impl<'a> Field<'a> {
    pub fn new(problems: &'a Problems, path: String, node: &'a Node) -> Self {
        Field { problems, path, node }
    }

    /// It was set by an environment variable of its own.
    pub fn is_override(&self) -> bool {
        matches!(self.node.at, At::Variable(_))
    }

    /// Its text holds variables of the environment: it may be a secret in the wrong place.
    pub fn is_substituted(&self) -> bool {
        self.node.from_environment && !self.is_override()
    }

    pub fn value(&self) -> &'a Value {
        &self.node.value
    }

    pub fn wrong(&self, message: impl Into<String>, help: Option<String>) {
        self.problems.add(self.node.at.clone(), &self.path, message, help);
    }

    /// Like [`Field::wrong`], at another place: the key's own.
    pub fn wrong_at(&self, at: &At, message: impl Into<String>) {
        self.problems.add(at.clone(), &self.path, message, None);
    }

    /// Something was said about it already.
    pub fn is_bad(&self) -> bool {
        self.problems.is_bad(&self.path)
    }

    /// The value is no secret.
    pub fn show(&self) {
        self.problems.may_show(&self.node.at);
    }

    /// Says what was found. Never for secrets.
    pub fn expected(&self, expected: &str) {
        self.expected_with(expected, None);
    }

    pub fn expected_with(&self, expected: &str, help: Option<String>) {
        self.problems.may_show(&self.node.at);
        self.wrong(format!("expected {expected}, found {}", self.found()), help);
    }

    fn found(&self) -> String {
        match &self.node.value {
            Value::Text(_) if self.is_substituted() => "what the environment says".into(),
            Value::Text(text) if text.chars().count() > 60 => {
                format!("{:?}", text.chars().take(60).chain(['…']).collect::<String>())
            }
            Value::Text(text) => format!("{text:?}"),
            Value::Integer(Some(number)) => number.to_string(),
            Value::Integer(None) => "an integer beyond 64 bits".into(),
            Value::Float(digits) => digits.clone(),
            Value::Bool(truth) => truth.to_string(),
            Value::Date(date) => date.clone(),
            Value::Array(_) => "a list".into(),
            Value::Table(_) => "a table".into(),
        }
    }

    /// Like [`Field::expected`] where the value may be a secret: its kind only.
    pub fn expected_kind(&self, expected: &str, help: Option<String>) {
        let found = match &self.node.value {
            Value::Text(_) => "a text",
            Value::Integer(_) | Value::Float(_) => "a number",
            Value::Bool(true) => "true",
            Value::Bool(false) => "false",
            Value::Date(_) => "a date",
            Value::Array(_) => "a list",
            Value::Table(_) => "a section",
        };
        self.wrong(format!("expected {expected}, found {found}"), help);
    }

    /// Text that may be shown.
    pub fn text(&self, expected: &str) -> Option<String> {
        self.problems.may_show(&self.node.at);
        match &self.node.value {
            Value::Text(text) => Some(text.clone()),
            _ => {
                self.expected(expected);
                None
            }
        }
    }

    /// Text that no message may show.
    pub fn secret(&self) -> Option<String> {
        match &self.node.value {
            Value::Text(text) => Some(text.clone()),
            _ => {
                self.expected_kind("a text in quotes", None);
                None
            }
        }
    }

    /// The text of a number, where the environment gave one.
    fn digits(&self) -> Option<&'a str> {
        match &self.node.value {
            Value::Text(text) if self.node.from_environment => Some(text.trim()),
            _ => None,
        }
    }

    /// One of a few words, or what stands behind `column:`.
    pub fn choice(&self, now: &[&'static str], later: &[&str], or_column: bool) -> Option<Word> {
        let expected = expected_word(now, or_column);
        let text = self.text(&expected)?;
        if let Some(word) = now.iter().find(|word| **word == text) {
            return Some(Word::Known(word));
        }
        if let Some(name) = text.strip_prefix("column:").filter(|_| or_column) {
            if !is_identifier(name) {
                self.expected(&format!("\"column:NAME\" with {IDENTIFIER}"));
                return None;
            }
            return Some(Word::Column(name.to_owned()));
        }
        if later.contains(&text.as_str()) {
            self.wrong(format!("{text:?} is not available in this version; expected {expected}"), None);
            return None;
        }
        let near = nearest(&text, now.iter().copied());
        self.expected_with(&expected, near.map(|near| format!("did you mean {near:?}?")));
        None
    }

    pub fn flag(&self) -> Option<bool> {
        self.problems.may_show(&self.node.at);
        match (&self.node.value, self.digits()) {
            (Value::Bool(truth), _) => Some(*truth),
            (_, Some("true")) => Some(true),
            (_, Some("false")) => Some(false),
            _ => {
                self.expected("true or false");
                None
            }
        }
    }

    pub fn integer(&self, range: &RangeInclusive<i64>) -> Option<i64> {
        self.problems.may_show(&self.node.at);
        let number = match (&self.node.value, self.digits()) {
            (Value::Integer(number), _) => *number,
            (_, Some(digits)) => digits.parse().ok(),
            _ => None,
        };
        if let Some(number) = number.filter(|number| range.contains(number)) {
            return Some(number);
        }
        let unquoted =
            matches!((&self.node.value, self.digits()), (Value::Text(text), None) if text.parse::<i64>().is_ok());
        let help = unquoted.then(|| "numbers stand without quotes".to_owned());
        self.expected_with(&format!("a whole number from {} to {}", range.start(), range.end()), help);
        None
    }

    pub fn share(&self) -> Option<f64> {
        self.problems.may_show(&self.node.at);
        let share = match (&self.node.value, self.digits()) {
            (Value::Float(digits), _) => digits.parse::<f64>().ok(),
            (_, Some(digits)) => digits.parse::<f64>().ok(),
            (Value::Integer(Some(1)), _) => Some(1.0),
            _ => None,
        };
        if share.is_none_or(|share| !(share > 0.0 && share <= 1.0)) {
            self.expected("a share above 0 and at most 1, as in 0.95");
            return None;
        }
        share
    }

    pub fn duration(&self, range: &RangeInclusive<Duration>) -> Option<Duration> {
        self.problems.may_show(&self.node.at);
        let duration = match &self.node.value {
            Value::Text(text) => units::duration(text),
            _ => None,
        };
        if let Some(duration) = duration.filter(|duration| range.contains(duration)) {
            return Some(duration);
        }
        let (low, high) = (show_duration(*range.start()), show_duration(*range.end()));
        let help = match &self.node.value {
            Value::Integer(Some(number)) => Some(format!("a number needs its unit: \"{number}s\" for seconds")),
            Value::Text(text) if duration.is_none() && text.trim().parse::<f64>().is_ok() => {
                Some("a number needs its unit: ms, s, m, h or d".to_owned())
            }
            _ => None,
        };
        self.expected_with(
            &format!("a duration from {low} to {high}, as in \"25s\", \"100ms\", \"10m\" or \"30d\""),
            help,
        );
        None
    }

    pub fn bytes(&self, range: &RangeInclusive<u64>) -> Option<u64> {
        self.problems.may_show(&self.node.at);
        let bytes = match &self.node.value {
            Value::Text(text) => units::bytes(text),
            Value::Integer(Some(bytes)) => u64::try_from(*bytes).ok(),
            _ => None,
        };
        if let Some(bytes) = bytes.filter(|bytes| range.contains(bytes)) {
            return Some(bytes);
        }
        let (low, high) = (show_bytes(*range.start()), show_bytes(*range.end()));
        self.expected(&format!("a size from {low} to {high}, as in \"8MiB\", \"64KiB\" or 1000 (bytes)"));
        None
    }

    /// The items of a list. From the environment, one text alone is a list of itself.
    pub fn list(&self) -> Option<Vec<Field<'a>>> {
        let node = self.node.parsed.as_deref().unwrap_or(self.node);
        match &node.value {
            Value::Array(items) => {
                let field = |(index, item)| Field::new(self.problems, format!("{}[{index}]", self.path), item);
                Some(items.iter().enumerate().map(field).collect())
            }
            Value::Text(text) if self.is_override() && several(text) => {
                self.wrong("several stand in brackets, as in TOML: [\"…\", \"…\"]", None);
                None
            }
            Value::Text(text) if self.is_override() && !text.trim_start().starts_with('[') => {
                Some(vec![Field::new(self.problems, self.path.clone(), node)])
            }
            _ => {
                let alone = matches!(node.value, Value::Text(_)) && !self.is_override();
                let help = alone.then(|| "a single one stands in brackets, too: [\"…\"]".to_owned());
                self.expected_kind("a list, as in [\"…\", \"…\"]", help);
                // What else is wrong with it is told in the same run.
                alone.then(|| vec![Field::new(self.problems, self.path.clone(), node)])
            }
        }
    }

    /// The table that it is, if it is one, with these keys.
    pub fn table(&self, keys: &'static Keys) -> Option<Section<'a>> {
        let node = self.node.parsed.as_deref().unwrap_or(self.node);
        match &node.value {
            Value::Table(table) => Some(Section::new(self.problems, self.path.clone(), node.at.clone(), table, keys)),
            _ => None,
        }
    }

    /// The section that it must be; `at`: where its name stands.
    pub fn section_at(&self, at: At, keys: &'static Keys) -> Option<Section<'a>> {
        let node = self.node.parsed.as_deref().unwrap_or(self.node);
        match &node.value {
            Value::Table(table) => Some(Section::new(self.problems, self.path.clone(), at, table, keys)),
            _ => {
                let help = match (&self.node.value, keys.path) {
                    (Value::Array(items), _) if items.iter().all(|item| matches!(item.value, Value::Table(_))) => {
                        Some("a section's name stands in one pair of brackets, not in two".to_owned())
                    }
                    (Value::Bool(true), path) if path.ends_with(".declare") => {
                        Some("with the defaults: declare = {}".to_owned())
                    }
                    (Value::Bool(false), path) if path.ends_with(".declare") => {
                        Some("leave it out: without the section nothing is declared".to_owned())
                    }
                    _ if ["pipelines", "brokers", "databases"].contains(&self.path.as_str()) => {
                        Some(format!("each has a section of its own: [{}.NAME]", self.path))
                    }
                    _ => keys.as_in(self.path.rsplit('.').next().unwrap_or(&self.path)),
                };
                self.expected_kind(&format!("a section [{}]", self.path), help);
                None
            }
        }
    }
}

/// Whether a text is meant for a list, as `/a,/b` or `amqp://a, amqp://b`.
fn several(text: &str) -> bool {
    let begins = |part: &str| {
        let name = |name: &str| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        part.starts_with('/') || part.split_once(':').is_some_and(|(before, _)| name(before))
    };
    text.contains(',') && !text.trim_start().starts_with(['[', '{']) && text.split(',').all(|part| begins(part.trim()))
}
