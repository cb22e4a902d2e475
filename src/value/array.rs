//! PostgreSQL's arrays.

use super::{Refusal, Rules, Value, owned, refuse, time, to_cell};
use crate::catalogue::Kind;
use crate::message::Cell;

/// What PostgreSQL takes (`MAXDIM`).
const MAX_DIMENSIONS: usize = 6;

/// A PostgreSQL array literal ("Arrays", section "Array Input Syntax"). `dimension` counts from 1.
pub(super) fn literal(value: &Value<'_>, element: &Kind, rules: &Rules, dimension: usize) -> Result<Cell, Refusal> {
    if dimension > MAX_DIMENSIONS {
        return refuse("invalid", format!("the column takes arrays of at most {MAX_DIMENSIONS} dimensions"));
    }
    let Value::Json(raw) = value else { return refuse("wrong_type", "the column takes an array") };
    let Ok(items) = serde_json::from_str::<Vec<&serde_json::value::RawValue>>(raw) else {
        return refuse("wrong_type", "the column takes an array");
    };
    let mut text = String::from("{");
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            text.push(',');
        }
        let item = Value::from_json(item.get())?;
        // An array's dimensions are written as nested literals of the same element kind.
        let documents = matches!(element, Kind::Json | Kind::JsonTree { .. });
        let nested = matches!(&item, Value::Json(raw) if raw.starts_with('[')) && !documents;
        if nested && matches!(&item, Value::Json(raw) if raw[1..].trim_ascii_start().starts_with(']')) {
            return refuse("lossy", "PostgreSQL keeps no empty arrays within an array");
        }
        match if nested { literal(&item, element, rules, dimension + 1)? } else { to_cell(&item, element, rules, &[])? }
        {
            Cell::Null | Cell::Absent => text.push_str("NULL"),
            Cell::Bool(truth) => text.push_str(if truth { "true" } else { "false" }),
            Cell::Int(number) => text.push_str(&number.to_string()),
            Cell::Float(number) => text.push_str(&number.to_string()),
            Cell::Date(days) => text.push_str(&time::date_text(days)),
            Cell::Time(micros) => text.push_str(&time::time_text(micros)),
            Cell::Timestamp(micros) => {
                let zoned = matches!(element, Kind::Timestamp { zoned: true, .. });
                text.push_str(&format!("\"{}{}\"", time::timestamp_text(micros), if zoned { "+00" } else { "" }));
            }
            Cell::Bytes(slice) => text.push_str(&format!("\"\\\\x{}\"", crate::digest::hex(slice.bytes(&[])))),
            Cell::Text(slice) if nested => text.push_str(slice.text(&[])),
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
    text.push('}');
    Ok(owned(text))
}
