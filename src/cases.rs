//! Test cases of users: a message in, a row or a rejection out, without a server.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use crate::catalogue::{Column, Table};
use crate::config::{DatabaseKind, Deduplicate, Pipeline};
use crate::error::Failure;
use crate::mapping::{Plan, cell_text};
use crate::message::{Cell, Delivery, Envelope, MessageId, Unit};
use crate::plan::Ledger;
use crate::{sample, sink};

/// Words behind which a column's declaration is no type any more.
const BEHIND_TYPE: [&str; 11] = [
    "not",
    "null",
    "default",
    "primary",
    "unique",
    "generated",
    "check",
    "references",
    "auto_increment",
    "collate",
    "comment",
];

/// A file of cases.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaseFile {
    /// Which pipeline; may be left out where the config has only one.
    pub pipeline: Option<String>,
    /// What CREATE TYPE and CREATE DOMAIN have made, by their names: `enum('a', 'b')`, or a domain's base type.
    #[serde(default)]
    pub types: BTreeMap<String, String>,
    /// The table's columns as a CREATE TABLE declares them.
    pub columns: BTreeMap<String, String>,
    /// The cases.
    #[serde(rename = "case")]
    pub cases: Vec<Case>,
}

/// One message and what must become of it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// What it shows.
    pub name: String,
    /// A file with the message, beside the file of cases; its body, or JSON with its surroundings.
    message: Option<String>,
    /// The body: text as it is, a table or a list as JSON.
    body: Option<toml::Value>,
    properties: Option<toml::Value>,
    headers: Option<toml::Value>,
    #[serde(default)]
    exchange: String,
    #[serde(default)]
    routing_key: String,
    /// The row: every column that gets a value other than NULL and its DEFAULT.
    row: Option<BTreeMap<String, toml::Value>>,
    /// Columns that get NULL.
    #[serde(default)]
    null: Vec<String>,
    /// Columns that are left to their DEFAULT.
    #[serde(default)]
    default: Vec<String>,
    /// The message ID.
    id: Option<String>,
    rejected: Option<Rejected>,
}

/// How it is rejected; what isn't said isn't compared.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rejected {
    class: Option<String>,
    code: Option<String>,
    column: Option<String>,
}

/// The plan for a table of these columns.
///
/// # Errors
/// What is wrong with a column, or with the pipeline's mapping to them.
pub fn plan(file: &CaseFile, pipeline: &Pipeline, database: DatabaseKind) -> Result<Plan, String> {
    let mut unique_keys = Vec::new();
    let mut columns = Vec::new();
    for (name, declared) in &file.columns {
        let words: Vec<String> = declared.to_ascii_lowercase().split_whitespace().map(str::to_owned).collect();
        let end = words.iter().position(|word| BEHIND_TYPE.contains(&word.as_str())).unwrap_or(words.len());
        let sql_type = declared.split_whitespace().take(end).collect::<Vec<_>>().join(" ");
        let kind = sink::kind_of(database, own_type(file, &sql_type)).map_err(|error| {
            format!("column {name}: {error}; what CREATE TYPE or CREATE DOMAIN has made is named in [types]")
        })?;
        let has = |word: &str| words.iter().any(|other| other == word);
        let key = has("primary") || has("unique");
        if key {
            unique_keys.push(vec![name.clone()]);
        }
        columns.push(Column {
            name: name.clone(),
            kind,
            nullable: !has("primary") && !words.windows(2).any(|pair| pair == ["not", "null"]),
            has_default: has("default") || has("auto_increment") || words.iter().any(|word| word.ends_with("serial")),
            generated: has("generated") && has("as"),
            sql_type,
        });
    }
    let table = Table { name: pipeline.table.clone(), columns, unique_keys };
    let ledger = Ledger { table: pipeline.table.clone(), pipeline: 0, emptied: false };
    let ledger = (pipeline.deduplicate == Deduplicate::Ledger).then_some(ledger);
    Plan::compile(pipeline, &table, ledger).map_err(|failure| failure.message.into_owned())
}

/// What a type of the users' own stands for; others stand for themselves.
fn own_type<'f>(file: &'f CaseFile, name: &'f str) -> &'f str {
    file.types.iter().find(|(own, _)| own.eq_ignore_ascii_case(name)).map_or(name, |(_, what)| what)
}

impl Case {
    /// The message. `folder`: where the file of cases lies.
    ///
    /// # Errors
    /// A file that can't be read, or a message that can't be made.
    pub fn envelope(&self, folder: &Path) -> Result<Envelope, String> {
        let json = |value: &Option<toml::Value>| {
            value.as_ref().map(serde_json::to_value).transpose().map_err(|error| error.to_string())
        };
        if let Some(file) = &self.message {
            if self.body.is_some() || self.properties.is_some() || self.headers.is_some() {
                return Err("message excludes body, properties and headers: they stand in the file".to_owned());
            }
            let bytes = std::fs::read(folder.join(file)).map_err(|error| format!("{file}: {error}"))?;
            return sample::envelope(&bytes, false).map_err(|error| format!("{file}: {error}"));
        }
        let body = match &self.body {
            None => return Err("it has neither message nor body".to_owned()),
            Some(toml::Value::String(text)) => text.clone(),
            Some(value) => serde_json::to_string(value).map_err(|error| error.to_string())?,
        };
        Ok(Envelope {
            body: body.into(),
            exchange: self.exchange.clone(),
            routing_key: self.routing_key.clone(),
            redelivered: false,
            properties: sample::properties(json(&self.properties)?)?,
            headers: sample::headers(json(&self.headers)?)?,
        })
    }

    /// Maps the message and says what is otherwise than expected; nothing: it passes.
    pub fn run(&self, plan: &Plan, envelope: Envelope) -> Vec<String> {
        if self.row.is_none() && self.rejected.is_none() {
            return vec!["it expects nothing: give it row or rejected".to_owned()];
        }
        let id = plan.entry(&envelope).ok().flatten().map(|entry| entry.id);
        let delivery = Delivery { tag: 0, arrived: tokio::time::Instant::now(), envelope: Box::new(envelope) };
        match (plan.map(delivery), &self.rejected) {
            (Ok(unit), None) => self.compare(plan, &unit, id.as_ref()),
            (Ok(_), Some(_)) => vec!["expected a rejection, found a row".to_owned()],
            (Err(refused), Some(expected)) => expected.compare(&refused.1),
            (Err(refused), None) => {
                let (_, mut refused) = *refused;
                // With the values: who wrote the case knows them.
                refused.message = refused.reason().into();
                vec![format!("expected a row, found a rejection: {refused}")]
            }
        }
    }

    fn compare(&self, plan: &Plan, unit: &Unit, id: Option<&MessageId>) -> Vec<String> {
        let mut wrong = Vec::new();
        let body: &[u8] = &unit.delivery.envelope.body;
        let columns = plan.write.targets.iter().flat_map(|target| &target.columns);
        let cells = unit.changes.iter().flat_map(|change| &change.row.0);
        let found: BTreeMap<&str, &Cell> = columns.map(|column| column.name.as_str()).zip(cells).collect();
        let shown = |cell: &Cell| cell_text(cell, body).unwrap_or_else(|| "DEFAULT".to_owned());
        let expected = self.row.iter().flatten();
        for (name, value) in expected {
            match found.get(name.as_str()) {
                None => wrong.push(format!("column {name}: nothing is mapped to it")),
                Some(cell) if !same(value, cell, body) => {
                    wrong.push(format!("column {name}: expected {}, found {}", told(value), shown(cell)));
                }
                Some(_) => {}
            }
        }
        for (names, word, fits) in [
            (&self.null, "NULL", (|cell: &Cell| *cell == Cell::Null) as fn(&Cell) -> bool),
            (&self.default, "DEFAULT", |cell: &Cell| *cell == Cell::Absent),
        ] {
            for name in names {
                match found.get(name.as_str()) {
                    Some(cell) if fits(cell) => {}
                    Some(cell) => wrong.push(format!("column {name}: expected {word}, found {}", shown(cell))),
                    None if word == "DEFAULT" => {}
                    None => wrong.push(format!("column {name}: nothing is mapped to it")),
                }
            }
        }
        for (name, cell) in found {
            let named = self.row.iter().flatten().any(|(other, _)| other == name)
                || self.null.iter().chain(&self.default).any(|other| other == name);
            if !named && !matches!(cell, Cell::Null | Cell::Absent) {
                wrong.push(format!("column {name}: expected nothing, found {}", shown(cell)));
            }
        }
        let id = id.map(MessageId::as_str);
        if let Some(expected) = self.id.as_deref().filter(|expected| Some(*expected) != id) {
            wrong.push(format!("message ID: expected {expected:?}, found {}", id.unwrap_or("none")));
        }
        wrong
    }
}

impl Rejected {
    fn compare(&self, found: &Failure) -> Vec<String> {
        let mut wrong = Vec::new();
        let column = found.column.as_deref().unwrap_or("none");
        for (what, expected, found) in [
            ("class", &self.class, found.class.name()),
            ("code", &self.code, found.code.as_ref()),
            ("column", &self.column, column),
        ] {
            if let Some(expected) = expected.as_deref().filter(|expected| *expected != found) {
                wrong.push(format!("{what}: expected {expected}, found {found}"));
            }
        }
        if !wrong.is_empty() {
            wrong.push(format!("reason: {}", found.reason()));
        }
        wrong
    }
}

fn told(expected: &toml::Value) -> String {
    match expected {
        toml::Value::Datetime(time) => time.to_string(),
        value => serde_json::to_string(value).unwrap_or_default(),
    }
}

/// Whether a cell is what a case says. Text is compared as it is, so that it can hold every digit.
fn same(expected: &toml::Value, cell: &Cell, body: &[u8]) -> bool {
    let Some(found) = cell_text(cell, body) else { return false };
    match expected {
        toml::Value::String(text) => *text == found,
        toml::Value::Integer(number) => number.to_string() == found,
        toml::Value::Float(number) => found.parse::<f64>().is_ok_and(|found| found == *number),
        toml::Value::Boolean(truth) => truth.to_string() == found,
        // TOML's T and Z; a cell has neither.
        toml::Value::Datetime(time) => {
            let time = time.to_string().replace('T', " ");
            time.trim_end_matches('Z') == found
        }
        toml::Value::Array(_) | toml::Value::Table(_) => {
            let json = serde_json::to_value(expected).ok();
            json.is_some() && serde_json::from_str::<serde_json::Value>(&found).ok() == json
        }
    }
}
