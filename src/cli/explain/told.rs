//! What `explain` prints.

use serde_json::{Value, json};

use crate::catalogue::Table;
use crate::cli::escape::{escape, escape_lines};
use crate::cli::output::Out;
use crate::config::{Deduplicate, Pipeline};
use crate::error::Failure;
use crate::mapping::{ColumnStep, Steps, place_text};
use crate::message::{Envelope, Outcome};

/// Everything about one message.
pub(super) struct Told<'a> {
    pub pipeline: &'a Pipeline,
    pub envelope: &'a Envelope,
    pub steps: Steps,
    /// Where it is known.
    pub table: Option<Table>,
    /// What isn't known, or is wrong with the setup.
    pub note: Option<String>,
    /// From BEGIN to COMMIT.
    pub sql: Vec<String>,
    /// Why it would be dead-lettered.
    pub rejected: Option<Failure>,
    /// What a transaction that was rolled back made of it.
    pub rehearsed: Option<Result<Outcome, Failure>>,
}

const HEADER: [&str; 5] = ["COLUMN", "TYPE", "FROM", "FOUND", "WRITTEN"];

impl Told<'_> {
    pub(super) fn print(&self, out: &mut Out) {
        if out.json {
            return out.object(&self.json());
        }
        let kind = self.envelope.properties.content_type.as_deref().unwrap_or("no content type");
        out.line(&format!(
            "message     {} bytes, {}, exchange {:?}, routing key {:?}",
            self.envelope.body.len(),
            escape(kind),
            self.envelope.exchange,
            self.envelope.routing_key
        ));
        match &self.steps.decoded {
            Ok(()) => out.line("decoded     ✓"),
            Err(failure) => out.line(&format!("decoded     ✗ {}", told(failure))),
        }
        out.line(&format!("message ID  {}", self.id()));
        if let Some(note) = &self.note {
            out.line(&format!("            ! {}", escape_lines(note)));
        }
        if !self.steps.columns.is_empty() {
            out.table(&HEADER, self.steps.columns.iter().map(|step| self.row(step)));
        }
        for (step, failure) in self.refused() {
            out.line(&format!("✗ {}: {}", escape(&step.column), told(failure)));
        }
        for column in self.untouched() {
            out.line(&format!("  {column}: left to the database"));
        }
        for (nth, sql) in self.sql.iter().enumerate() {
            let head = if nth == 0 { "SQL" } else { "" };
            out.line(&format!("{head:<12}{}", escape_lines(sql)));
        }
        out.line(&format!("outcome     {}", self.outcome()));
        if let Some(rehearsed) = &self.rehearsed {
            out.line(&format!("rehearsed   {} (rolled back)", rehearsal(rehearsed)));
        }
    }

    fn id(&self) -> String {
        let places: Vec<String> = self.pipeline.message_id.iter().map(place_text).collect();
        match &self.steps.id {
            Ok(Some((id, place))) => format!("{:?}, found at {place}", escape(id)),
            Ok(None) if self.pipeline.deduplicate == Deduplicate::None => "none, and none is needed".to_owned(),
            Ok(None) => format!("✗ none at {}", places.join(", ")),
            Err(failure) => format!("✗ {}", told(failure)),
        }
    }

    fn refused(&self) -> impl Iterator<Item = (&ColumnStep, &Failure)> {
        self.steps.columns.iter().filter_map(|step| Some((step, step.written.as_ref().err()?)))
    }

    fn row(&self, step: &ColumnStep) -> Vec<String> {
        vec![
            step.column.clone(),
            step.sql_type.clone(),
            step.source.clone(),
            step.found.clone().unwrap_or_else(|| "-".to_owned()),
            match &step.written {
                Ok(_) => step.written_text(&self.envelope.body).unwrap_or_else(|| "DEFAULT".to_owned()),
                Err(failure) => format!("✗ {}", failure.code),
            },
        ]
    }

    fn untouched(&self) -> Vec<String> {
        let filled = |name: &str| self.steps.columns.iter().any(|step| step.column == name);
        let columns = self.table.iter().flat_map(|table| &table.columns);
        let left = columns.filter(|column| !self.steps.columns.is_empty() && !filled(&column.name));
        left.map(|column| escape(format!("{} {}", column.name, column.sql_type).trim_end())).collect()
    }

    fn outcome(&self) -> String {
        match &self.rejected {
            // What was tried stands below.
            None if self.rehearsed.is_some() => format!("a row in {}", self.pipeline.table),
            None => format!(
                "a row in {}, as far as can be told without writing it (--write tries it, and rolls back)",
                self.pipeline.table
            ),
            Some(failure) => {
                let column = failure.column.as_ref().map(|column| format!(" column {column}")).unwrap_or_default();
                format!(
                    "dead letter in {}{}: {} {}{column}: {}",
                    self.pipeline.dead_letter.table().map_or("", |_| "table "),
                    self.pipeline.dead_letter,
                    failure.class,
                    failure.code,
                    escape(&failure.reason())
                )
            }
        }
    }

    fn json(&self) -> Value {
        let columns: Vec<Value> = self.steps.columns.iter().map(|step| self.column_json(step)).collect();
        let id = self.steps.id.as_ref().ok().and_then(Option::as_ref);
        json!({
            "pipeline": self.pipeline.name,
            "table": self.pipeline.table.to_string(),
            "decoded": self.steps.decoded.is_ok(),
            "message_id": id.map(|(id, _)| id),
            "message_id_from": id.map(|(_, place)| place),
            "columns": columns,
            "sql": self.sql,
            "note": self.note,
            "outcome": if self.rejected.is_some() { "rejected" } else { "row" },
            "rejected": self.rejected.as_ref().map(failure_json),
            "rehearsed": self.rehearsed.as_ref().map(|rehearsed| match rehearsed {
                Ok(Outcome::Rejected(failure)) => rejection_json(failure),
                Err(failure) => rejection_json(failure),
                Ok(outcome) => json!({"outcome": outcome_name(outcome)}),
            }),
        })
    }

    fn column_json(&self, step: &ColumnStep) -> Value {
        let cell = step.written.as_ref().ok();
        let text = step.written_text(&self.envelope.body);
        let null = matches!(cell, Some(crate::message::Cell::Null));
        json!({
            "column": step.column,
            "type": step.sql_type,
            "from": step.source,
            "found": step.found,
            "written": if null { None } else { text },
            "default": matches!(cell, Some(crate::message::Cell::Absent)),
            "rejected": step.written.as_ref().err().map(failure_json),
        })
    }
}

fn told(failure: &Failure) -> String {
    format!("{} {}: {}", failure.class, failure.code, escape(&failure.reason()))
}

fn failure_json(failure: &Failure) -> Value {
    json!({
        "class": failure.class.name(),
        "code": failure.code,
        "column": failure.column,
        "reason": failure.reason(),
    })
}

fn outcome_name(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Written => "written",
        Outcome::Duplicate => "duplicate",
        Outcome::Superseded => "superseded",
        Outcome::Skipped => "skipped",
        Outcome::Rejected(_) => "rejected",
    }
}

fn rejection_json(failure: &Failure) -> Value {
    json!({"outcome": "rejected", "rejected": failure_json(failure)})
}

fn rehearsal(rehearsed: &Result<Outcome, Failure>) -> String {
    match rehearsed {
        Ok(Outcome::Rejected(failure)) => format!("✗ {}", told(failure)),
        Err(failure) => format!("✗ {}", told(failure)),
        Ok(outcome) => format!("✓ {}", outcome_name(outcome)),
    }
}
