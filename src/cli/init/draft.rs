//! Which column is filled from where.

use super::Known;
use crate::catalogue::{Column, Kind, Table};
use crate::cli::exit::CliError;
use crate::config::{self, ColumnMapping, ColumnSource, DatabaseKind, Place, Property, TimeUnit};
use crate::infer::{self, Field, Guess, field_for, normal};
use crate::sink;
use crate::value::{self, Rules, Value};

/// One line of the columns.
pub(super) struct Line {
    pub mapping: ColumnMapping,
    /// Stands there as a comment: the column is left to the database.
    pub off: bool,
    pub comment: String,
}

/// What goes into a config.
pub(super) struct Draft {
    pub message_id: Vec<String>,
    pub message_id_comment: String,
    pub columns: Vec<Line>,
    /// What somebody should look at.
    pub remarks: Vec<String>,
}

/// For a table as it is.
pub(super) fn for_table(known: &Known, table: &Table, database: &config::Database) -> Result<Draft, CliError> {
    let mut columns: Vec<Line> =
        table.columns.iter().filter(|column| !column.generated).map(|column| line(column, table, known)).collect();
    let mut remarks = Vec::new();
    // By a column of its own, or in an object that a column takes as a whole.
    let taken = |field: &Field| {
        columns.iter().any(|line| match &line.mapping.source {
            ColumnSource::From(Place::Pointer(path)) => field.path.starts_with(path),
            _ => false,
        })
    };
    let whole = columns.iter().any(|line| !line.off && line.mapping.source == ColumnSource::From(Place::Body));
    let left: Vec<&Field> = known.fields.iter().filter(|field| !taken(field)).collect();
    if !left.is_empty() && !whole {
        let opened = sink::open(database)?;
        let places: Vec<String> = left.iter().map(|field| field.place().to_string()).collect();
        let mut remark = format!("no column takes {} of the sample; to keep them:", places.join(", "));
        for field in &left {
            let name = field.column();
            let quoted = opened.quote(&crate::catalogue::TableName { schema: None, name: name.clone() });
            let sql_type = infer::sql_type(&field.guess, database.kind, false);
            remark.push_str(&format!("\n  ALTER TABLE {} ADD COLUMN {quoted} {sql_type};", opened.quote(&known.table)));
        }
        remarks.push(remark);
        let comment = || "in the sample, and no column for it yet".to_owned();
        let off =
            |field: &&Field| Line { mapping: plain(&field.column(), field.place()), off: true, comment: comment() };
        columns.extend(left.iter().map(off).collect::<Vec<_>>());
    }
    remarks.extend(
        columns
            .iter()
            .filter(|line| line.comment.starts_with('!'))
            .map(|line| format!("column {}: {}", line.mapping.column, line.comment.trim_start_matches(['!', ' ']))),
    );
    Ok(finish(known, table_id(known, table, &columns), columns, remarks))
}

/// A field that fills a unique column: as good an ID as one by name, since no two rows may have the same.
fn table_id<'k>(known: &'k Known, table: &Table, columns: &[Line]) -> Option<&'k Field> {
    let unique = |column: &str| table.unique_keys.iter().any(|key| key.as_slice() == [column.to_owned()]);
    let mut fills = columns.iter().filter(|line| !line.off && unique(&line.mapping.column));
    fills.find_map(|line| {
        known
            .fields
            .iter()
            .find(|field| line.mapping.source == ColumnSource::From(field.place()) && distinct(known, field))
    })
}

/// For the table that [`ddl`] makes of the samples. `remarks`: what is to be said besides.
pub(super) fn for_samples(known: &Known, remarks: Vec<String>) -> Draft {
    let key = body_id(known).map(|field| field.path.clone());
    let line = |(field, name): (&Field, String)| {
        let mut mapping = plain(&name, field.place());
        mapping.required = key.as_ref() == Some(&field.path);
        Line { mapping, off: false, comment: String::new() }
    };
    finish(known, None, known.fields.iter().zip(infer::columns(&known.fields)).map(line).collect(), remarks)
}

fn finish(known: &Known, unique: Option<&Field>, columns: Vec<Line>, mut remarks: Vec<String>) -> Draft {
    let (message_id, message_id_comment) = message_id(known, unique);
    if message_id_comment.starts_with('!') {
        remarks.push(message_id_comment.trim_start_matches(['!', ' ']).to_owned());
    }
    Draft { message_id, message_id_comment, columns, remarks }
}

/// A CREATE TABLE for what the samples have.
pub(super) fn ddl(known: &Known, database: &config::Database) -> Result<String, CliError> {
    let opened = sink::open(database)?;
    let quote = |name: &str| opened.quote(&crate::catalogue::TableName { schema: None, name: name.to_owned() });
    let id = body_id(known).map(|field| &field.path);
    let (mut lines, mut key) = (Vec::new(), None);
    for (field, name) in known.fields.iter().zip(infer::columns(&known.fields)) {
        let is_key = id == Some(&field.path);
        let sql_type = infer::sql_type(&field.guess, database.kind, is_key);
        let not_null = if is_key { " NOT NULL" } else { "" };
        lines.push(format!("    {} {sql_type}{not_null}", quote(&name)));
        key = key.or_else(|| is_key.then_some(name));
    }
    if let Some(key) = &key {
        lines.push(format!("    PRIMARY KEY ({})", quote(key)));
    }
    let dialect = match database.kind {
        DatabaseKind::Postgres => "PostgreSQL",
        DatabaseKind::Mysql => "MySQL and MariaDB",
        DatabaseKind::Sqlite => "SQLite",
    };
    let count = known.samples.len();
    let unsure: Vec<String> = known
        .fields
        .iter()
        .filter(|field| matches!(field.guess, Guess::Nothing))
        .map(|field| format!("-- {} is null in every sample: correct its type\n", field.column()))
        .collect();
    Ok(format!(
        "-- For {dialect}; types inferred from {count} sample{}; what another message has and its column doesn't hold is dead-lettered.\n\
         {}CREATE TABLE {} (\n{}\n);\n",
        if count == 1 { "" } else { "s" },
        unsure.concat(),
        opened.quote(&known.table),
        lines.join(",\n")
    ))
}

fn plain(column: &str, place: Place) -> ColumnMapping {
    ColumnMapping {
        column: column.to_owned(),
        source: ColumnSource::From(place),
        required: false,
        default: None,
        time: None,
        zone: None,
        lossy: false,
    }
}

fn line(column: &Column, table: &Table, known: &Known) -> Line {
    let needed = !column.nullable && !column.has_default;
    let with = |place: Place, comment: &str| {
        let mapping = ColumnMapping { required: needed, ..plain(&column.name, place) };
        Line { mapping, off: false, comment: comment.to_owned() }
    };
    if let Some(object) = whole_object(column, known) {
        return with(Place::Pointer(object), "");
    }
    if let Some(field) = field_for(&column.name, &known.fields) {
        return fitted(column, field, needed);
    }
    if let Some(place) = around(column, known) {
        return with(place, "");
    }
    let guessed = Place::Pointer(vec![column.name.clone()]);
    let counted = column.has_default
        && matches!(column.kind, Kind::Int { .. })
        && table.unique_keys.iter().any(|key| key.as_slice() == std::slice::from_ref(&column.name));
    match (known.samples.is_empty(), needed) {
        (true, _) if counted => Line { off: true, ..with(guessed, "the database counts it up") },
        (true, _) => with(guessed, ""),
        (false, true) => with(guessed, "! NOT NULL, without a default, and not in the sample: correct this"),
        (false, false) => Line { off: true, ..with(guessed, "not in the sample: left to the database") },
    }
}

/// An object of the column's name, where the column takes JSON.
fn whole_object(column: &Column, known: &Known) -> Option<Vec<String>> {
    let takes_json = matches!(column.kind, Kind::Json | Kind::JsonTree { .. });
    let objects = if takes_json { infer::objects(&known.fields) } else { Vec::new() };
    objects.into_iter().find(|object| normal(&object.concat()) == normal(&column.name))
}

/// A column that is filled from what stands around the body, by its name.
fn around(column: &Column, known: &Known) -> Option<Place> {
    let name = normal(&column.name);
    let has = |test: &dyn Fn(&crate::message::Envelope) -> bool| known.samples.iter().any(test);
    if known.samples.is_empty() {
        return None;
    }
    let header = known
        .samples
        .iter()
        .flat_map(|sample| &sample.headers.0)
        .map(|(header, _)| header)
        .find(|header| normal(header) == name || normal(header.trim_start_matches("x-")) == name);
    if let Some(header) = header {
        return Some(Place::Header(vec![header.clone()]));
    }
    let texts =
        matches!(column.kind, Kind::Json | Kind::JsonTree { .. } | Kind::Bytes { .. } | Kind::Text { .. } | Kind::Any);
    match name.as_str() {
        "messageid" | "eventid" | "msgid" => Some(Place::MessageId),
        "routingkey" => Some(Place::RoutingKey),
        "exchange" => Some(Place::Exchange),
        "queue" => Some(Place::Queue),
        "timestamp" | "receivedat" | "sentat" | "publishedat" | "messagetimestamp"
            if has(&|sample| sample.properties.timestamp.is_some()) =>
        {
            Some(Place::Property(Property::Timestamp))
        }
        "payload" | "body" | "raw" | "rawbody" | "message" | "document" | "data" | "event" if texts => {
            Some(Place::Body)
        }
        _ => None,
    }
}

/// The field, with what its values need to go into the column.
fn fitted(column: &Column, field: &Field, required: bool) -> Line {
    let base = ColumnMapping { required, ..plain(&column.name, field.place()) };
    let mut refusal = None;
    for (time, zone, comment) in [
        (None, None, ""),
        (epoch(field), None, "a number that stands for a time: check the unit"),
        (None, Some("UTC"), "a time without a zone: is it UTC?"),
    ] {
        match refused(field, column, time, zone) {
            None => {
                let mapping = ColumnMapping { time, zone: zone.map(str::to_owned), ..base };
                return Line { mapping, off: false, comment: comment.to_owned() };
            }
            Some(found) => refusal = refusal.or(Some(found)),
        }
    }
    let why = refusal
        .map(|found: value::Refusal| format!("! the sample's value is refused ({}): {}", found.code, found.message));
    Line { mapping: base, off: false, comment: why.unwrap_or_default() }
}

/// The unit of numbers of this size, if they were times of our days.
fn epoch(field: &Field) -> Option<TimeUnit> {
    let number: f64 = field.values.iter().find(|value| *value != "null")?.parse().ok()?;
    Some(match number.abs() {
        size if size < 1e11 => TimeUnit::Seconds,
        size if size < 1e14 => TimeUnit::Milliseconds,
        _ => TimeUnit::Microseconds,
    })
}

fn refused(field: &Field, column: &Column, time: Option<TimeUnit>, zone: Option<&str>) -> Option<value::Refusal> {
    let zone = zone.map(|_| jiff::tz::TimeZone::UTC);
    let rules = Rules { time, zone, lossy: false };
    field.values.iter().filter(|raw| *raw != "null").find_map(|raw| {
        let value = Value::from_json(raw);
        value.and_then(|value| value::to_cell(&value, &column.kind, &rules, &[])).err()
    })
}

/// Every sample has a value of its own for it.
fn distinct(known: &Known, field: &Field) -> bool {
    let mut values = field.values.clone();
    values.sort_unstable();
    values.dedup();
    let scalar = matches!(field.guess, Guess::Int | Guess::Uuid | Guess::Text(_));
    scalar && field.seen == known.samples.len() && values.len() == known.samples.len()
}

/// A field that tells the messages apart, by its name and values.
fn body_id(known: &Known) -> Option<&Field> {
    let own = |field: &&Field| field.path.len() == 1 && distinct(known, field);
    let candidates: Vec<&Field> = known.fields.iter().filter(own).collect();
    let named = |name: &str| candidates.iter().find(|field| normal(&field.path[0]) == name).copied();
    let own = format!("{}id", normal(known.table.name.trim_end_matches('s')));
    ["eventid", "messageid", "msgid", "uuid", "id", own.as_str()].into_iter().find_map(named).or_else(|| {
        let by_name = |field: &&&Field| normal(&field.path[0]).ends_with("id");
        candidates.iter().filter(by_name).filter(|_| known.samples.len() > 1).copied().next()
    })
}

fn message_id(known: &Known, unique: Option<&Field>) -> (Vec<String>, String) {
    let all =
        |test: &dyn Fn(&crate::message::Envelope) -> bool| !known.samples.is_empty() && known.samples.iter().all(test);
    let has_one = if known.samples.len() == 1 { "the sample has one" } else { "each sample has one" };
    if all(&|sample| sample.properties.message_id.as_ref().is_some_and(|id| !id.is_empty())) {
        return (vec!["property:message_id".to_owned()], has_one.to_owned());
    }
    if all(&|sample| sample.headers.get("message-id").is_some()) {
        return (vec!["header:message-id".to_owned()], has_one.to_owned());
    }
    let both = vec!["property:message_id".to_owned(), "header:message-id".to_owned()];
    match body_id(known).or(unique) {
        Some(field) => {
            let places = vec!["property:message_id".to_owned(), field.place().to_string()];
            (places, "the first that is there; must be another for each message".to_owned())
        }
        None if known.samples.is_empty() => {
            (both, "the first that is there; without one a message is dead-lettered".to_owned())
        }
        None => (
            [both, vec!["sha256:body".to_owned()]].concat(),
            "! the sample has no ID: the body counts as its own, so that two with the same body are one".to_owned(),
        ),
    }
}
