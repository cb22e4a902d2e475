//! The JSON Schema of the config file, written from the table of keys.
//!
//! It knows every key, type, word and number's range. What needs more than one value (contradictions), or a unit
//! (how long "10m" is), only the reader itself can judge.

use serde_json::{Map, Value, json};

use super::keys::{Absent, Key, Keys, Kind, ROOT};
use super::places::PROPERTIES;

/// The JSON Schema (draft 7, which editors understand) of the config file.
pub fn schema() -> Value {
    let mut definitions = Map::new();
    definitions.insert("variable".into(), variable());
    for keys in ROOT.sections().into_iter().filter(|keys| !keys.path.is_empty()) {
        definitions.insert(keys.path.to_owned(), section(keys));
    }
    let mut root = section(&ROOT);
    root["$schema"] = "http://json-schema.org/draft-07/schema#".into();
    root["title"] = "rabbit-sink".into();
    root["definitions"] = definitions.into();
    root
}

/// What stands for any value, once the variable is put in.
fn variable() -> Value {
    json!({
        "type": "string",
        "pattern": "\\$\\{[A-Za-z0-9_]+\\}",
        "description": "A text with `${NAME}`: the environment variable of that name is put in."
    })
}

fn section(keys: &'static Keys) -> Value {
    let now = keys.keys.iter().filter(|key| !matches!(key.kind, Kind::Later));
    let properties: Map<String, Value> = now.map(|key| (key.name.to_owned(), property(key))).collect();
    let required = keys.keys.iter().filter(|key| matches!(key.absent, Absent::Required));
    let required: Vec<&str> = required.map(|key| key.name).collect();
    let mut section = json!({
        "type": "object",
        "description": keys.about,
        "properties": properties,
        "additionalProperties": false,
    });
    if !required.is_empty() {
        section["required"] = required.into();
    }
    let pairs: Vec<Value> = keys.exclusive.iter().flat_map(|group| pairs(group)).collect();
    if !pairs.is_empty() {
        section["not"] = json!({ "anyOf": pairs });
    }
    section
}

/// Every two of these together.
fn pairs(group: &[&str]) -> Vec<Value> {
    let pair = |at: usize| group.iter().skip(at + 1).map(move |other| json!({ "required": [group.get(at), other] }));
    (0..group.len()).flat_map(pair).collect()
}

fn property(key: &Key) -> Value {
    let mut property = value(&key.kind);
    // Beside a reference nothing else counts: a section says for itself what it is.
    if property.get("$ref").is_some() {
        return property;
    }
    let absent = match key.absent.shown() {
        shown if shown.is_empty() || matches!(key.absent, Absent::Required) => String::new(),
        shown => format!(" Left out: {shown}."),
    };
    let kind = if key.kind.section().is_some() { String::new() } else { format!("\n\nType: {}.", key.kind.shown()) };
    property["description"] = format!("{}{kind}{absent}", key.about).into();
    if let Some(default) = key.absent.literal().and_then(toml_value) {
        property["default"] = default;
    }
    if let Some(example) = toml_value(key.example) {
        property["examples"] = json!([example]);
    }
    property
}

/// A value as it stands in TOML, in JSON.
fn toml_value(literal: &str) -> Option<Value> {
    let table: toml::Table = toml::from_str(&format!("value = {literal}")).ok()?;
    serde_json::to_value(table.get("value")?).ok()
}

fn value(kind: &Kind) -> Value {
    match kind {
        Kind::Text(_) | Kind::Secret => json!({ "type": "string" }),
        Kind::Zone | Kind::SecretFile | Kind::PemFile | Kind::Socket => json!({ "type": "string", "minLength": 1 }),
        Kind::Name(_) => json!({ "type": "string", "minLength": 1, "maxLength": 255 }),
        Kind::Table => json!({ "type": "string", "minLength": 1, "maxLength": 127 }),
        Kind::Url(schemes) => text_or_variable(&format!("^({})://", schemes.join("|"))),
        Kind::Listen => text_or_variable("^(off|.+:[0-9]{1,5})$"),
        Kind::Duration(..) => text_or_variable("^ *[0-9].*[A-Za-zµ] *$"),
        Kind::Size(low, high) => or_variable(vec![
            json!({ "type": "integer", "minimum": low, "maximum": high }),
            json!({ "type": "string", "pattern": "^[0-9]+ *(|B|KiB|MiB|GiB|kB|MB|GB)$" }),
        ]),
        Kind::Flag => or_variable(vec![json!({ "type": "boolean" })]),
        Kind::Integer(low, high) => or_variable(vec![json!({ "type": "integer", "minimum": low, "maximum": high })]),
        Kind::Share => or_variable(vec![json!({ "type": "number", "exclusiveMinimum": 0, "maximum": 1 })]),
        Kind::Choice { now, or_column, .. } => {
            let column = or_column.then(|| json!({ "type": "string", "pattern": "^column:." }));
            or_variable([json!({ "enum": now })].into_iter().chain(column).collect())
        }
        Kind::Place => place(&["message_id"]),
        Kind::IdPlaces => {
            let all = json!({
                "type": "object",
                "properties": { "all": { "type": "array", "items": place(&["sha256:body"]), "minItems": 1 } },
                "required": ["all"],
                "additionalProperties": false,
            });
            json!({ "type": "array", "items": { "anyOf": [place(&["sha256:body"]), all] } })
        }
        Kind::Constant => json!({ "type": ["string", "number", "boolean"] }),
        Kind::Reference(_) => or_variable(vec![name()]),
        Kind::List(item, _) => json!({ "type": "array", "items": value(item) }),
        Kind::Section(keys) => reference(keys),
        Kind::Sections(keys) => {
            json!({ "type": "object", "propertyNames": name(), "additionalProperties": reference(keys) })
        }
        Kind::Columns(keys) => json!({
            "type": "object",
            "minProperties": 1,
            "propertyNames": { "minLength": 1, "maxLength": 63 },
            "additionalProperties": { "anyOf": [place(&["message_id"]), reference(keys)] },
        }),
        Kind::Tables(keys) => json!({ "type": "array", "items": reference(keys) }),
        // Not among the properties, and so refused.
        Kind::Later => json!(false),
    }
}

fn reference(keys: &Keys) -> Value {
    json!({ "$ref": format!("#/definitions/{}", keys.path) })
}

fn or_variable(mut these: Vec<Value>) -> Value {
    these.push(json!({ "$ref": "#/definitions/variable" }));
    json!({ "anyOf": these })
}

fn text_or_variable(pattern: &str) -> Value {
    or_variable(vec![json!({ "type": "string", "pattern": pattern })])
}

/// The names that pipelines, brokers and databases may have: no two underscores side by side.
fn name() -> Value {
    json!({ "type": "string", "minLength": 1, "maxLength": 48, "pattern": "^_?([a-z0-9]+_)*[a-z0-9]*$" })
}

/// A place, and the words that are places here only.
fn place(more: &[&str]) -> Value {
    let properties: Vec<&str> = PROPERTIES.iter().map(|(name, _)| *name).collect();
    let words = [&["routing_key", "exchange", "queue", "body"], more].concat().join("|");
    let pattern = format!("^($|/|header:[^/]|property:({})$|({words})$)", properties.join("|"));
    text_or_variable(&pattern)
}
