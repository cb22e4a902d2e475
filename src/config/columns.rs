//! `[pipelines.*.columns]`.

use jiff::fmt::temporal::DateTimeParser;

use super::field::Field;
use super::keys::{COLUMN, PIPELINE};
use super::names::{IDENTIFIER, is_identifier};
use super::places::column_place;
use super::reader::Section;
use super::tree::{At, Value};
use super::{ColumnMapping, ColumnSource, Constant, Place, TimeUnit};

static ZONES: DateTimeParser = DateTimeParser::new();

/// The columns in the order of the file; `None`: left out.
pub(super) fn read(pipeline: &Section<'_>) -> Option<Vec<ColumnMapping>> {
    let section = pipeline.given_section("columns")?;
    let columns: Vec<ColumnMapping> =
        section.into_entries().filter_map(|(entry, field)| column(&entry.key, &entry.key_at, &field)).collect();
    if columns.is_empty() {
        let message = "names no column; leave the section out to fill every column that has a field of its name".into();
        pipeline.contradiction(&["columns"], message, None);
    }
    Some(columns)
}

fn column(name: &str, at: &At, field: &Field<'_>) -> Option<ColumnMapping> {
    if !is_identifier(name) {
        field.wrong_at(at, format!("expected {IDENTIFIER} for a column, found one of {} bytes", name.len()));
        return None;
    }
    let plain = |source| ColumnMapping {
        column: name.to_owned(),
        source,
        required: false,
        default: None,
        time: None,
        zone: None,
        lossy: false,
    };
    match field.table(&COLUMN) {
        Some(section) => mapping(section, field, plain),
        None if matches!(field.value(), Value::Text(_)) => Some(plain(ColumnSource::From(column_place(field)?))),
        None => {
            let help = match PIPELINE.get(name) {
                Some(_) => format!("the pipeline's own `{name}` stands above the first of its [sections]"),
                None => "a constant is written { value = … }".to_owned(),
            };
            field.expected_with("a place in the message in quotes, or { from = \"…\" }", Some(help));
            None
        }
    }
}

/// `{ from | value, required, default, time, zone, lossy }`
fn mapping(
    section: Section<'_>,
    column: &Field<'_>,
    plain: impl Fn(ColumnSource) -> ColumnMapping,
) -> Option<ColumnMapping> {
    let source = match section.one_of(&["from", "value"]) {
        Some(("from", field)) => column_place(&field).map(ColumnSource::From),
        Some((_, field)) => constant(&field).map(ColumnSource::Value),
        None => {
            if !section.has("sql") {
                column.wrong("expected `from` (a place in the message) or `value` (a constant)", None);
            }
            None
        }
    };
    let is_constant = section.has("value") && !section.has("from");
    if is_constant {
        for key in ["required", "default", "time", "zone", "lossy"] {
            if section.has(key) {
                section.contradiction(&[key], "means nothing beside `value`, which is always the same".into(), None);
            }
        }
    }
    let required = section.flag("required");
    let default = section.field("default").and_then(|field| constant(&field));
    if required && default.is_some() && !is_constant {
        let message = "never written, as `required` rejects the message first: keep one of them";
        section.contradiction(&["default", "required"], message.into(), None);
    }
    let units =
        [("epoch_s", TimeUnit::Seconds), ("epoch_ms", TimeUnit::Milliseconds), ("epoch_us", TimeUnit::Microseconds)];
    let time = section.choice("time", &units);
    let zone = section.field("zone").and_then(|field| zone(&field));
    let lossy = section.flag("lossy");
    section.finish();
    Some(ColumnMapping { required, default, time, zone, lossy, ..plain(source?) })
}

fn constant(field: &Field<'_>) -> Option<Constant> {
    let constant = match field.value() {
        Value::Text(text) => Constant::Text(text.clone()),
        Value::Date(date) => Constant::Text(date.clone()),
        Value::Integer(Some(number)) => Constant::Int(*number),
        Value::Float(digits) if digits.parse::<f64>().is_ok_and(f64::is_finite) => Constant::Number(digits.clone()),
        Value::Bool(truth) => Constant::Bool(*truth),
        Value::Float(_) | Value::Integer(None) | Value::Array(_) | Value::Table(_) => {
            field.expected("a constant: a text, a number, true, false or a date");
            return None;
        }
    };
    field.show();
    Some(constant)
}

fn zone(field: &Field<'_>) -> Option<String> {
    let expected = "a time zone, as in \"Europe/Berlin\" or \"+02:00\"";
    let zone = field.text(expected)?;
    if ZONES.parse_time_zone(&zone).is_err() {
        let help = matches!(zone.as_str(), "Z" | "z").then(|| "write \"UTC\"".to_owned());
        let known: Vec<String> = jiff::tz::db().available().map(|name| name.as_str().to_owned()).collect();
        let near = super::problems::nearest(&zone, known.iter().map(String::as_str));
        let help = help.or_else(|| near.map(|near| format!("did you mean {near:?}?")));
        field.expected_with(expected, help);
        return None;
    }
    Some(zone)
}

/// The column that holds nothing but the message ID, if there is one: mapped to `"message_id"`, or to
/// the only place where the ID may stand. (With several places the column would miss some IDs.)
pub(super) fn of_message_id(columns: Option<&[ColumnMapping]>, only_place: Option<&Place>) -> Option<String> {
    let Some(columns) = columns else {
        // Every field goes into the column of its name.
        return match only_place {
            Some(Place::Pointer(parts)) if parts.len() == 1 => parts.first().cloned(),
            _ => None,
        };
    };
    let from = |place: &Place| {
        let source = ColumnSource::From(place.clone());
        columns.iter().find(|mapping| mapping.source == source).map(|mapping| mapping.column.clone())
    };
    from(&Place::MessageId).or_else(|| from(only_place?))
}
