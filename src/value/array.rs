//! PostgreSQL's arrays.

use serde_json::value::RawValue;

use super::{Refusal, Rules, Value, owned, refuse, time, to_cell};
use crate::catalogue::Kind;
use crate::message::Cell;

/// What PostgreSQL takes (`MAXDIM`).
const MAX_DIMENSIONS: usize = 6;

/// A PostgreSQL array literal ("Arrays", section "Array Input Syntax").
pub(super) fn literal(value: &Value<'_>, element: &Kind, rules: &Rules) -> Result<Cell, Refusal> {
    let Value::Json(raw) = value else { return refuse("wrong_type", "the column takes an array") };
    let mut text = String::new();
    list(raw, element, rules, 1, &mut text)?;
    Ok(owned(text))
}

/// Appends one list, of the dimension counted from 1; returns its length and that of each
/// dimension within.
fn list(raw: &str, element: &Kind, rules: &Rules, dimension: usize, text: &mut String) -> Result<Vec<usize>, Refusal> {
    if dimension > MAX_DIMENSIONS {
        return refuse("invalid", format!("the column takes arrays of at most {MAX_DIMENSIONS} dimensions"));
    }
    let Ok(items) = serde_json::from_str::<Vec<&RawValue>>(raw) else {
        return refuse("wrong_type", "the column takes an array");
    };
    if items.is_empty() && dimension > 1 {
        return refuse("lossy", "PostgreSQL keeps no empty arrays within an array");
    }
    let mut shape: Option<Vec<usize>> = None;
    for item in &items {
        text.push(if shape.is_none() { '{' } else { ',' });
        // An array's dimensions are written as nested literals of the same element kind.
        let documents = matches!(element, Kind::Json | Kind::JsonTree { .. });
        let within = match Value::from_json(item.get())? {
            Value::Json(raw) if raw.starts_with('[') && !documents => list(&raw, element, rules, dimension + 1, text)?,
            item => {
                scalar(&to_cell(&item, element, rules, &[])?, element, text);
                Vec::new()
            }
        };
        // Up to version 16 PostgreSQL reads some that aren't as the empty array, in silence.
        if *shape.get_or_insert_with(|| within.clone()) != within {
            return refuse("invalid", "an array in the column has the same length at each place of a dimension");
        }
    }
    text.push_str(if items.is_empty() { "{}" } else { "}" });
    let mut lengths = vec![items.len()];
    lengths.extend(shape.unwrap_or_default());
    Ok(lengths)
}

fn scalar(cell: &Cell, element: &Kind, text: &mut String) {
    match cell {
        Cell::Null | Cell::Absent => text.push_str("NULL"),
        Cell::Bool(truth) => text.push_str(if *truth { "true" } else { "false" }),
        Cell::Int(number) => text.push_str(&number.to_string()),
        Cell::Float(number) => text.push_str(&number.to_string()),
        Cell::Date(days) => text.push_str(&time::date_text(*days)),
        Cell::Time(micros) => text.push_str(&time::time_text(*micros)),
        Cell::Timestamp(micros) => {
            let zoned = matches!(element, Kind::Timestamp { zoned: true, .. });
            text.push_str(&format!("\"{}{}\"", time::timestamp_text(*micros), if zoned { "+00" } else { "" }));
        }
        Cell::Bytes(slice) => text.push_str(&format!("\"\\\\x{}\"", crate::digest::hex(slice.bytes(&[])))),
        Cell::Text(slice) => {
            text.push('"');
            for character in slice.text(&[]).chars() {
                if matches!(character, '"' | '\\') {
                    text.push('\\');
                }
                text.push(character);
            }
            text.push('"');
        }
    }
}
