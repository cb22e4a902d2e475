//! A record to a unit of work, by the configured columns and what the catalogue says of them.
//!
//! [`Plan::compile`] does once what doesn't depend on a message; [`Plan::map`] does the rest.

mod explain;
mod fits;
mod id;
mod place;

use std::sync::Arc;

use crate::catalogue::{Column, Kind, Table};
use crate::config::{self, ColumnMapping, ColumnSource, Constant, Deduplicate, Place, UnknownFields};
use crate::decode::{self, Fields, Record};
use crate::digest;
use crate::error::{ErrorClass, Failure};
use crate::message::{Cell, Change, Delivery, Envelope, LedgerEntry, MessageId, Operation, Row, Slice, Unit};
use crate::nearest::nearest;
use crate::plan::{Deduplication, Ledger, Target, WritePlan};
use crate::value::{self, Rules, Value};
pub use explain::{ColumnStep, Steps, cell_text, place_text};
pub use fits::never_fits;
use id::IdSource;
use place::Lookup;

/// How messages of one pipeline become units, for one state of the table's catalogue.
#[derive(Debug)]
pub struct Plan {
    fields: Fields,
    columns: Vec<ColumnPlan>,
    id: Vec<IdSource>,
    /// Messages must have an ID.
    id_required: bool,
    unknown: UnknownFields,
    limits: config::Limits,
    queue: String,
    /// What the sessions need to know.
    pub write: Arc<WritePlan>,
}

#[derive(Debug)]
struct ColumnPlan {
    name: String,
    kind: Kind,
    source: CellSource,
    required: bool,
    default: Cell,
    rules: Rules,
}

#[derive(Debug)]
enum CellSource {
    Lookup(Lookup),
    Constant(Cell),
    UnknownFields,
}

/// The message as mapping sees it.
pub(crate) struct Seen<'a> {
    envelope: &'a Envelope,
    record: Record<'a>,
    queue: &'a str,
    id: Option<&'a str>,
}

/// What is the matter with a mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// The table has no such column.
    Missing,
    /// The database computes it.
    Generated,
    /// The column that repeats are recognised by has no unique key of its own.
    NoUniqueKey,
    /// Anything else.
    Other,
}

/// Why a pipeline can't be mapped into its table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The column, where it is one's.
    pub column: Option<String>,
    /// What kind of problem.
    pub what: What,
    /// In words, with what to do.
    pub text: String,
}

impl Problem {
    fn new(what: What, column: &str, text: impl Into<String>) -> Self {
        Problem { column: Some(column.to_owned()), what, text: text.into() }
    }
}

impl Plan {
    /// Compiles a pipeline's mapping for its table.
    ///
    /// # Errors
    /// Class `sink_misconfigured`, code `columns`: columns that aren't there, are generated, or
    /// that constants don't fit, and a deduplication column without a unique key. All of them in
    /// one message.
    pub fn compile(pipeline: &config::Pipeline, table: &Table, ledger: Option<Ledger>) -> Result<Self, Failure> {
        Plan::compile_all(pipeline, table, ledger).map_err(|problems| {
            let texts: Vec<String> = problems.into_iter().map(|problem| problem.text).collect();
            Failure::new(ErrorClass::SinkMisconfigured, "columns", texts.join("; "))
        })
    }

    /// As [`Plan::compile`], with each problem on its own.
    ///
    /// # Errors
    /// All problems.
    pub fn compile_all(
        pipeline: &config::Pipeline,
        table: &Table,
        ledger: Option<Ledger>,
    ) -> Result<Self, Vec<Problem>> {
        let mut fields = Fields::new(pipeline.unknown_fields != UnknownFields::Ignore);
        let mut problems = Vec::new();
        let mut columns = Vec::new();
        let mut target = Vec::new();
        let by_name = by_name(pipeline, table);
        for mapping in pipeline.columns.as_deref().unwrap_or(&by_name) {
            match column_plan(mapping, table, &mut fields) {
                Ok((plan, column)) => {
                    columns.push(plan);
                    target.push(column.clone());
                }
                Err(problem) => problems.push(problem),
            }
        }
        if let UnknownFields::Column(name) = &pipeline.unknown_fields {
            match unknown_fields_column(name, table, &target) {
                Ok(column) => {
                    columns.push(ColumnPlan {
                        name: name.clone(),
                        kind: column.kind.clone(),
                        source: CellSource::UnknownFields,
                        required: false,
                        default: Cell::Absent,
                        rules: Rules::default(),
                    });
                    target.push(column.clone());
                }
                Err(problem) => problems.push(problem),
            }
        }
        let deduplication = deduplication(pipeline, table, &target, ledger).unwrap_or_else(|problem| {
            problems.push(problem);
            Deduplication::None
        });
        if target.is_empty() && problems.is_empty() {
            let text = format!("table {} has no column that messages could fill", table.name);
            problems.push(Problem { column: None, what: What::Other, text });
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let id = pipeline.message_id.iter().map(|place| IdSource::compile(place, &mut fields)).collect();
        let expressions = vec![None; target.len()];
        Ok(Plan {
            fields,
            columns,
            id,
            id_required: pipeline.deduplicate != Deduplicate::None,
            unknown: pipeline.unknown_fields.clone(),
            limits: pipeline.limits.clone(),
            queue: pipeline.queue.clone(),
            write: Arc::new(WritePlan {
                targets: vec![Target { table: table.name.clone(), columns: target, expressions }],
                deduplication,
                id_conflict: pipeline.id_conflict,
                letters: pipeline.dead_letter.table().cloned(),
            }),
        })
    }

    /// Decodes and maps one delivery.
    ///
    /// # Errors
    /// The delivery comes back with a failure of class `decode` or `mapping`, to be dead-lettered.
    pub fn map(&self, delivery: Delivery) -> Result<Unit, Box<(Delivery, Failure)>> {
        match self.unit_parts(&delivery.envelope) {
            Ok((ledger, row)) => Ok(Unit {
                delivery,
                ledger,
                changes: vec![Change { target: 0, operation: Operation::Insert, row }],
                attempts: 0,
                letter: None,
            }),
            Err(failure) => Err(Box::new((delivery, failure))),
        }
    }

    /// What the ledger would have of a message, whatever becomes of its columns.
    ///
    /// # Errors
    /// Class `decode` or `mapping` where there is no way to know its ID.
    pub fn entry(&self, envelope: &Envelope) -> Result<Option<LedgerEntry>, Failure> {
        let record = match self.record(&envelope.body) {
            Ok(record) => record,
            // An ID that stands beside the body can be told all the same.
            Err(failure) if self.id.iter().any(IdSource::reads_the_body) => return Err(failure),
            Err(_) => Record::default(),
        };
        let id = self.id(&Seen { envelope, record, queue: &self.queue, id: None })?;
        Ok(id.as_deref().map(|id| entry(id, &envelope.body)))
    }

    fn record<'a>(&self, body: &'a bytes::Bytes) -> Result<Record<'a>, Failure> {
        if body.len() > self.limits.max_body {
            let message = format!("the body has {} bytes, limits.max_body is {}", body.len(), self.limits.max_body);
            return Err(Failure::new(ErrorClass::Decode, "too_large", message));
        }
        if self.fields.is_empty() {
            return Ok(Record::default());
        }
        decode::json(body, &self.fields, self.limits.max_depth)
    }

    fn id<'a>(&self, seen: &Seen<'a>) -> Result<Option<std::borrow::Cow<'a, str>>, Failure> {
        let id = self.id.iter().find_map(|source| source.find(seen).transpose()).transpose()?;
        if id.is_none() && self.id_required {
            let message = "no message ID at any of the places that `message_id` names";
            return Err(Failure::new(ErrorClass::Mapping, "no_message_id", message));
        }
        Ok(id)
    }

    fn unit_parts(&self, envelope: &Envelope) -> Result<(Option<LedgerEntry>, Row), Failure> {
        let body = &envelope.body;
        let record = self.record(body)?;
        if let (UnknownFields::Reject, Some((name, _))) = (&self.unknown, record.unknown.first()) {
            let failure =
                Failure::new(ErrorClass::Mapping, "unknown_field", "the body has a field that no column takes");
            return Err(failure.detail(name.clone()));
        }
        let mut seen = Seen { envelope, record, queue: &self.queue, id: None };
        let id = self.id(&seen)?;
        seen.id = id.as_deref();
        let mut cells = Vec::with_capacity(self.columns.len());
        for column in &self.columns {
            cells.push(column.cell(&seen)?);
        }
        if let Deduplication::Column(at) = self.write.deduplication
            && matches!(cells.get(at), Some(Cell::Absent | Cell::Null) | None)
        {
            let message = "the column that repeats are recognised by has no value";
            return Err(Failure::new(ErrorClass::Mapping, "no_message_id", message).column(&self.columns[at].name));
        }
        let ledger = match self.write.deduplication {
            Deduplication::Ledger(_) => id.as_deref().map(|id| entry(id, body)),
            Deduplication::Column(_) | Deduplication::None => None,
        };
        Ok((ledger, Row(cells)))
    }
}

fn entry(id: &str, body: &[u8]) -> LedgerEntry {
    LedgerEntry { id: MessageId::new(id), body_hash: digest::body_hash(body) }
}

/// Left out, columns match top-level fields by name.
fn by_name(pipeline: &config::Pipeline, table: &Table) -> Vec<ColumnMapping> {
    let takes_unknown =
        |name: &str| matches!(&pipeline.unknown_fields, UnknownFields::Column(column) if column == name);
    table
        .columns
        .iter()
        .filter(|column| !column.generated && !takes_unknown(&column.name))
        .map(|column| ColumnMapping {
            column: column.name.clone(),
            source: ColumnSource::From(Place::Pointer(vec![column.name.clone()])),
            required: false,
            default: None,
            time: None,
            zone: None,
            lossy: false,
        })
        .collect()
}

fn missing_column(name: &str, table: &Table) -> Problem {
    let near = nearest(name, table.columns.iter().map(|column| column.name.as_str()));
    let near = near.map(|near| format!("; did you mean \"{near}\"?")).unwrap_or_default();
    let text = format!("column {name} is not in table {}: add it, or correct the pipeline's columns{near}", table.name);
    Problem::new(What::Missing, name, text)
}

fn unknown_fields_column<'t>(name: &str, table: &'t Table, target: &[Column]) -> Result<&'t Column, Problem> {
    if target.iter().any(|taken| taken.name == *name) {
        let text = format!("column {name} takes unknown_fields and is mapped, too");
        return Err(Problem::new(What::Other, name, text));
    }
    table.column(name).ok_or_else(|| missing_column(name, table))
}

fn column_plan<'t>(
    mapping: &ColumnMapping,
    table: &'t Table,
    fields: &mut Fields,
) -> Result<(ColumnPlan, &'t Column), Problem> {
    let column = table.column(&mapping.column).ok_or_else(|| missing_column(&mapping.column, table))?;
    if column.generated {
        let text = format!("column {} of table {} is computed by the database", column.name, table.name);
        return Err(Problem::new(What::Generated, &column.name, text));
    }
    let other = |text: String| Problem::new(What::Other, &column.name, text);
    let zone = match &mapping.zone {
        None => None,
        Some(name) => {
            let unknown = || other(format!("column {}: zone {name} is not known here", column.name));
            Some(zone(name).ok_or_else(unknown)?)
        }
    };
    let rules = Rules { time: mapping.time, zone, lossy: mapping.lossy };
    let constant = |constant: &Constant| constant_cell(constant, column, &rules).map_err(other);
    let source = match &mapping.source {
        ColumnSource::From(place) => CellSource::Lookup(Lookup::compile(place, fields)),
        ColumnSource::Value(value) => CellSource::Constant(constant(value)?),
    };
    let default = mapping.default.as_ref().map(constant).transpose()?.unwrap_or(Cell::Absent);
    let plan = ColumnPlan {
        name: column.name.clone(),
        kind: column.kind.clone(),
        source,
        required: mapping.required,
        default: if mapping.default.is_none() && !column.has_default { Cell::Null } else { default },
        rules,
    };
    Ok((plan, column))
}

/// A zone by its IANA name or as an offset like `+02:00`.
fn zone(name: &str) -> Option<jiff::tz::TimeZone> {
    jiff::tz::TimeZone::get(name).ok().or_else(|| {
        let probe = format!("2000-01-01T00:00:00{name}[{name}]");
        probe.parse::<jiff::Zoned>().ok().map(|zoned| zoned.time_zone().clone())
    })
}

fn constant_cell(constant: &Constant, column: &Column, rules: &Rules) -> Result<Cell, String> {
    let value = match constant {
        Constant::Text(text) => Value::Text(text.into()),
        Constant::Int(number) => Value::Number(number.to_string().into()),
        Constant::Number(text) => Value::Number(text.into()),
        Constant::Bool(truth) => Value::Bool(*truth),
    };
    match value::to_cell(&value, &column.kind, rules, &[]) {
        Ok(Cell::Text(slice)) => Ok(Cell::Text(Slice::Shared(slice.bytes(&[]).into()))),
        Ok(Cell::Bytes(slice)) => Ok(Cell::Bytes(Slice::Shared(slice.bytes(&[]).into()))),
        Ok(cell) => Ok(cell),
        Err(refusal) => Err(format!("column {}: the config's value doesn't fit: {}", column.name, refusal.message)),
    }
}

fn deduplication(
    pipeline: &config::Pipeline,
    table: &Table,
    target: &[Column],
    ledger: Option<Ledger>,
) -> Result<Deduplication, Problem> {
    match (&pipeline.deduplicate, ledger) {
        (Deduplicate::Ledger, Some(ledger)) => Ok(Deduplication::Ledger(ledger)),
        (Deduplicate::Ledger, None) => {
            Err(Problem { column: None, what: What::Other, text: "the ledger is not open".to_owned() })
        }
        (Deduplicate::None, _) => Ok(Deduplication::None),
        (Deduplicate::Column(name), _) => {
            let at = target.iter().position(|column| column.name == *name);
            let unfilled = || format!("deduplicate names column {name}, which no source fills");
            let at = at.ok_or_else(|| Problem::new(What::Other, name, unfilled()))?;
            if !table.unique_keys.iter().any(|key| key.as_slice() == std::slice::from_ref(name)) {
                let text = format!(
                    "deduplicate = \"column:{name}\" needs a unique key on {name} alone in table {}",
                    table.name
                );
                return Err(Problem::new(What::NoUniqueKey, name, text));
            }
            Ok(Deduplication::Column(at))
        }
    }
}

impl ColumnPlan {
    fn cell(&self, seen: &Seen<'_>) -> Result<Cell, Failure> {
        let fail = |refusal: value::Refusal, detail: &Value<'_>| {
            Failure::new(ErrorClass::Mapping, refusal.code, refusal.message).column(&self.name).detail(shown(detail))
        };
        let value = match &self.source {
            CellSource::Constant(cell) => return Ok(cell.clone()),
            CellSource::UnknownFields => seen.unknown_fields(),
            CellSource::Lookup(lookup) => lookup.find(seen).map_err(|refusal| fail(refusal, &Value::Null))?,
        };
        match value {
            Some(value) => value::to_cell(&value, &self.kind, &self.rules, &seen.envelope.body)
                .map_err(|refusal| fail(refusal, &value)),
            None if self.required => {
                let message = "the message doesn't have what this column requires";
                Err(Failure::new(ErrorClass::Mapping, "required", message).column(&self.name))
            }
            None => Ok(self.default.clone()),
        }
    }
}

/// The beginning of a value, for the dead letter's reason.
fn shown(value: &Value<'_>) -> String {
    let text = match value {
        Value::Number(text) | Value::Text(text) | Value::Json(text) => text.chars().take(80).collect(),
        Value::Bool(truth) => truth.to_string(),
        Value::Seconds(seconds) => seconds.to_string(),
        Value::Null => String::new(),
        Value::Bytes(bytes) => format!("{} bytes", bytes.len()),
    };
    if text.is_empty() { text } else { format!("found {text:?}") }
}

#[cfg(test)]
mod tests;
