//! What names may be: of sections, of queues, of tables and columns.

use super::field::Field;
use super::reader::Section;
use crate::catalogue::TableName;

/// Names of pipelines, brokers and databases. The environment knows no upper case and separates by `__`.
pub(super) fn check(root: &Section<'_>, group: &str, name: &str) {
    let plain = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if !plain || name.is_empty() || name.len() > 48 || name.contains("__") {
        let message = format!("expected a name of 1 to 48 of a-z, 0-9 and _, without __; found {name:?}");
        root.wrong_name(group, name, &message);
    }
}

/// Names in AMQP: at most 255 bytes.
pub(super) fn amqp_name(field: &Field<'_>, expected: &str) -> Option<String> {
    let name = field.text(expected)?;
    if name.is_empty() || name.len() > 255 || name.contains('\0') {
        field.expected(expected);
        return None;
    }
    Some(name)
}

/// Names in SQL: what PostgreSQL wouldn't cut, for all databases alike.
pub(super) fn is_identifier(name: &str) -> bool {
    (1..=IDENTIFIER_MAX).contains(&name.len()) && !name.contains('\0')
}

/// In bytes.
pub(super) const IDENTIFIER_MAX: usize = 63;

pub(super) const IDENTIFIER: &str = "a name of 1 to 63 bytes";

/// The table that a key names.
pub(super) fn table(section: &Section<'_>, key: &'static str) -> TableName {
    let nowhere = TableName { schema: None, name: String::new() };
    let Some(text) = section.text(key) else { return nowhere };
    table_name(&text).unwrap_or_else(|| {
        if let Some(field) = section.field(key) {
            field.expected(TABLE);
        }
        nowhere
    })
}

/// `table` or `schema.table`, split at the first dot.
fn table_name(text: &str) -> Option<TableName> {
    let (schema, name) = match text.split_once('.') {
        Some((schema, name)) => (Some(schema), name),
        None => (None, text),
    };
    let valid = is_identifier(name) && schema.is_none_or(is_identifier);
    valid.then(|| TableName { schema: schema.map(str::to_owned), name: name.to_owned() })
}

pub(super) const TABLE: &str = "a table's name, \"table\" or \"schema.table\", each of 1 to 63 bytes";
