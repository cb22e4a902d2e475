//! The config as it was typed: a tree of values that know where they stand.

use std::ops::Range;

use toml::de::{DeTable, DeValue};

/// Where a key or value was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum At {
    /// These bytes of the file.
    File(Range<usize>),
    /// This environment variable.
    Variable(String),
    /// Nowhere in particular: the file as a whole.
    Whole,
}

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub value: Value,
    pub at: At,
    /// It is text from the environment, so that text stands for numbers, too, and isn't shown where it might be secret.
    pub from_environment: bool,
    /// What an override means where a list or a table is asked for.
    pub parsed: Option<Box<Node>>,
}

/// What TOML knows, with numbers in the digits in which they were written.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Text(String),
    /// `None`: beyond 64 bits.
    Integer(Option<i64>),
    Float(String),
    Bool(bool),
    Date(String),
    Array(Vec<Node>),
    Table(Table),
}

/// Entries in the order of the file.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    pub entries: Vec<Entry>,
}

/// One `key = value`, or one `[key]`.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub key: String,
    pub key_at: At,
    pub node: Node,
}

impl Table {
    pub const EMPTY: Table = Table { entries: Vec::new() };

    pub fn get(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }

    /// From a parsed document. `variable`: the override that it came from.
    pub fn from_toml(table: &DeTable<'_>, variable: Option<&str>) -> Table {
        let mut entries: Vec<(usize, Entry)> = table
            .iter()
            .map(|(key, value)| {
                let entry = Entry {
                    key: key.get_ref().to_string(),
                    key_at: at(key.span(), variable),
                    node: Node::from_toml(value.get_ref(), value.span(), variable),
                };
                (key.span().start, entry)
            })
            .collect();
        // The parser sorts by name; columns are better written in the user's order.
        entries.sort_by_key(|(start, _)| *start);
        Table { entries: entries.into_iter().map(|(_, entry)| entry).collect() }
    }

    /// Where every scalar of the file stands.
    pub fn scalars(&self, into: &mut Vec<Range<usize>>) {
        for entry in &self.entries {
            entry.node.scalars(into);
        }
    }
}

impl Node {
    pub fn from_toml(value: &DeValue<'_>, span: Range<usize>, variable: Option<&str>) -> Node {
        let value = match value {
            DeValue::String(text) => Value::Text(text.to_string()),
            DeValue::Integer(digits) => Value::Integer(i64::from_str_radix(digits.as_str(), digits.radix()).ok()),
            DeValue::Float(digits) => Value::Float(digits.as_str().trim_start_matches('+').to_owned()),
            DeValue::Boolean(truth) => Value::Bool(*truth),
            DeValue::Datetime(date) => Value::Date(date.to_string()),
            DeValue::Array(items) => {
                Value::Array(items.iter().map(|item| Node::from_toml(item.get_ref(), item.span(), variable)).collect())
            }
            DeValue::Table(table) => Value::Table(Table::from_toml(table, variable)),
        };
        Node { value, at: at(span, variable), from_environment: variable.is_some(), parsed: None }
    }

    fn scalars(&self, into: &mut Vec<Range<usize>>) {
        match (&self.value, &self.at) {
            (Value::Table(table), _) => table.scalars(into),
            (Value::Array(items), _) => items.iter().for_each(|item| item.scalars(into)),
            (_, At::File(span)) => into.push(span.clone()),
            (_, At::Variable(_) | At::Whole) => {}
        }
    }
}

fn at(span: Range<usize>, variable: Option<&str>) -> At {
    match variable {
        Some(variable) => At::Variable(variable.to_owned()),
        None => At::File(span),
    }
}
