//! That a table still has the columns that a plan was made for. Where a column's type changes under a
//! running worker, values are checked against the old one, and the server would cut or round them
//! to the new one in silence.
//!
//! The rows that a transaction has inserted lock their table: whatever the catalogue says when it
//! commits held for all of them. So the condition goes with COMMIT, and costs no round trip.

use sqlx::Error;

use crate::error::Failure;
use crate::plan::Target;

use super::{classify, statement};

/// What the condition's failure is recognised by.
const MARK: &str = "rabbit-sink: the table was changed";

/// A SELECT that fails unless all columns have the types that the plan knows.
pub(super) fn condition(targets: &[Target]) -> String {
    let tables: Vec<String> = targets.iter().filter(|target| !target.columns.is_empty()).map(changed).collect();
    if tables.is_empty() {
        return "SELECT".to_owned();
    }
    // The cast of a text without the number would fail at once, while the statement is planned.
    format!(
        "SELECT CASE WHEN changed > 0 THEN ('{MARK} ' || changed)::int END FROM (SELECT {}) AS c(changed)",
        tables.join(" + ")
    )
}

/// The number of columns that are gone or have another type. A domain can't change what it stands
/// for: of a column that has one the name will do.
fn changed(target: &Target) -> String {
    let names: Vec<String> = target.columns.iter().map(|column| literal(&column.name)).collect();
    let types: Vec<String> = target
        .columns
        .iter()
        .map(|column| format!("({}, {}, {})", literal(&column.name), literal(&column.sql_type), !column.nullable))
        .collect();
    format!(
        "(SELECT abs({} - count(*)) FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid \
         WHERE a.attrelid = to_regclass({}) AND NOT a.attisdropped AND (t.typtype = 'd' AND a.attname IN ({}) \
         OR (a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull) IN ({})))",
        target.columns.len(),
        literal(&statement::table(&target.table)),
        names.join(", "),
        types.join(", "),
    )
}

/// A text as SQL, whatever `standard_conforming_strings` says.
fn literal(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('\'', "''");
    if text.contains('\\') { format!("E'{escaped}'") } else { format!("'{escaped}'") }
}

/// A failure of COMMIT, or of the condition before it.
pub(super) fn failure(error: Error) -> Failure {
    let failure = classify::failure(error);
    if failure.code != "22P02" || !failure.detail.reveal().contains(MARK) {
        return failure;
    }
    crate::sink::table_changed("the table")
}
