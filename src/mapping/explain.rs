//! What mapping does with one message, step by step, for people who want to see it.

use super::{CellSource, Plan, Seen};
use crate::catalogue::Kind;
use crate::config::{self, ColumnSource, Constant, IdPlace, UnknownFields};
use crate::decode::{self, Record};
use crate::error::{ErrorClass, Failure};
use crate::message::{Cell, Envelope};
use crate::value::Value;

/// Characters of a value that are shown.
const SHOWN: usize = 120;

/// One column of one message.
#[derive(Clone, Debug, PartialEq)]
pub struct ColumnStep {
    /// Its name.
    pub column: String,
    /// Its type as the database prints it.
    pub sql_type: String,
    /// Where its value is looked for, as the config writes it.
    pub source: String,
    /// What stands there; `None`: nothing.
    pub found: Option<String>,
    /// What is written, or why it is refused.
    pub written: Result<Cell, Failure>,
    /// The column means a point in time, which is written in UTC.
    pub zoned: bool,
}

impl ColumnStep {
    /// What is written, as people read it; `None`: nothing is, or the column's DEFAULT.
    pub fn written_text(&self, body: &[u8]) -> Option<String> {
        let cell = self.written.as_ref().ok()?;
        let mut text = cell_text(cell, body)?;
        if self.zoned && matches!(cell, Cell::Timestamp(_)) {
            text.push_str("+00");
        }
        Some(text)
    }
}

/// All of one message.
#[derive(Clone, Debug, PartialEq)]
pub struct Steps {
    /// Whether the body could be read, as far as it must be.
    pub decoded: Result<(), Failure>,
    /// The message ID and the place where it was found.
    pub id: Result<Option<(String, String)>, Failure>,
    /// The columns in their order; empty where the body couldn't be read.
    pub columns: Vec<ColumnStep>,
}

impl Plan {
    /// Goes on where [`Plan::map`] stops at the first refusal.
    pub fn steps(&self, pipeline: &config::Pipeline, envelope: &Envelope) -> Steps {
        let record = match self.read(envelope) {
            Ok(record) => record,
            Err(failure) => return Steps { decoded: Err(failure), id: Ok(None), columns: Vec::new() },
        };
        let mut seen = Seen { envelope, record, queue: &self.queue, id: None };
        let mut id = Ok(None);
        for (source, place) in self.id.iter().zip(&pipeline.message_id) {
            match source.find(&seen) {
                Ok(None) => {}
                Ok(Some(found)) => {
                    id = Ok(Some((found.into_owned(), place_text(place))));
                    break;
                }
                Err(failure) => {
                    id = Err(failure);
                    break;
                }
            }
        }
        seen.id = id.as_ref().ok().and_then(Option::as_ref).map(|(id, _)| id.as_str());
        let targets = self.write.targets.iter().flat_map(|target| &target.columns);
        let columns = self
            .columns
            .iter()
            .zip(targets)
            .map(|(column, target)| ColumnStep {
                column: column.name.clone(),
                sql_type: target.sql_type.clone(),
                zoned: matches!(target.kind, Kind::Timestamp { zoned: true, .. }),
                source: source(pipeline, &column.name),
                found: found(&column.source, &seen),
                written: column.cell(&seen),
            })
            .collect();
        Steps { decoded: Ok(()), id, columns }
    }

    fn read<'a>(&self, envelope: &'a Envelope) -> Result<Record<'a>, Failure> {
        let body = &envelope.body;
        if body.len() > self.limits.max_body {
            let message = format!("the body has {} bytes, limits.max_body is {}", body.len(), self.limits.max_body);
            return Err(Failure::new(ErrorClass::Decode, "too_large", message));
        }
        if self.fields.is_empty() {
            return Ok(Record::default());
        }
        let record = decode::json(body, &self.fields, self.limits.max_depth)?;
        match (&self.unknown, record.unknown.first()) {
            (UnknownFields::Reject, Some((name, _))) => {
                let message = "the body has a field that no column takes";
                Err(Failure::new(ErrorClass::Mapping, "unknown_field", message).detail(name.clone()))
            }
            _ => Ok(record),
        }
    }
}

/// As the config writes it.
pub fn place_text(place: &IdPlace) -> String {
    match place {
        IdPlace::One(place) => place.to_string(),
        IdPlace::All(places) => places.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and "),
    }
}

fn source(pipeline: &config::Pipeline, column: &str) -> String {
    if matches!(&pipeline.unknown_fields, UnknownFields::Column(name) if name == column) {
        return "fields that no column takes".to_owned();
    }
    let Some(columns) = &pipeline.columns else { return format!("/{column}") };
    let mapping = columns.iter().find(|mapping| mapping.column == column);
    match mapping.map(|mapping| &mapping.source) {
        Some(ColumnSource::From(place)) if place.to_string().is_empty() => "the whole document".to_owned(),
        Some(ColumnSource::From(place)) => place.to_string(),
        Some(ColumnSource::Value(Constant::Text(text))) => format!("constant {text:?}"),
        Some(ColumnSource::Value(Constant::Number(text))) => format!("constant {text}"),
        Some(ColumnSource::Value(Constant::Int(number))) => format!("constant {number}"),
        Some(ColumnSource::Value(Constant::Bool(truth))) => format!("constant {truth}"),
        None => String::new(),
    }
}

fn found(source: &CellSource, seen: &Seen<'_>) -> Option<String> {
    let value = match source {
        CellSource::Constant(_) => return None,
        CellSource::UnknownFields => seen.unknown_fields(),
        // What can't be read is told by the refusal.
        CellSource::Lookup(lookup) => lookup.find(seen).ok().flatten(),
    };
    value.map(|value| match value {
        Value::Null => "null".to_owned(),
        Value::Bool(truth) => truth.to_string(),
        Value::Number(text) | Value::Json(text) => beginning(&text),
        Value::Text(text) => format!("{:?}", beginning(&text)),
        Value::Seconds(seconds) => seconds.to_string(),
        Value::Bytes(bytes) => format!("{} bytes", bytes.len()),
    })
}

fn beginning(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// A cell as people read it; `None`: left to the column's DEFAULT.
pub fn cell_text(cell: &Cell, body: &[u8]) -> Option<String> {
    const DAY: i64 = 86_400_000_000;
    let day = |days: i64| {
        let date = jiff::civil::date(1970, 1, 1).checked_add(jiff::Span::new().try_days(days).unwrap_or_default());
        date.map_or_else(|_| days.to_string(), |date| date.to_string())
    };
    Some(match cell {
        Cell::Absent => return None,
        Cell::Null => "NULL".to_owned(),
        Cell::Bool(truth) => truth.to_string(),
        Cell::Int(number) => number.to_string(),
        Cell::Float(number) => number.to_string(),
        Cell::Date(days) => day((*days).into()),
        Cell::Time(micros) => clock(*micros),
        Cell::Timestamp(micros) => format!("{} {}", day(micros.div_euclid(DAY)), clock(micros.rem_euclid(DAY))),
        Cell::Text(slice) => slice.text(body).to_owned(),
        Cell::Bytes(slice) => match std::str::from_utf8(slice.bytes(body)) {
            Ok(text) => text.to_owned(),
            Err(_) => format!("0x{}", crate::digest::hex(slice.bytes(body))),
        },
    })
}

/// Microseconds of a day as a clock shows them; the fraction only where there is one.
fn clock(micros: i64) -> String {
    let (seconds, fraction) = (micros / 1_000_000, micros % 1_000_000);
    let clock = format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    match fraction {
        0 => clock,
        fraction => format!("{clock}.{}", format!("{fraction:06}").trim_end_matches('0')),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_as_people_write_them() {
        let shown = |cell: Cell| cell_text(&cell, &[]).unwrap();
        assert_eq!(shown(Cell::Date(-1)), "1969-12-31");
        assert_eq!(shown(Cell::Time(86_399_500_000)), "23:59:59.5");
        assert_eq!(shown(Cell::Timestamp(-1)), "1969-12-31 23:59:59.999999");
        assert_eq!(shown(Cell::Timestamp(1_769_860_799_000_000)), "2026-01-31 11:59:59");
        assert_eq!(cell_text(&Cell::Absent, &[]), None);
    }
}
