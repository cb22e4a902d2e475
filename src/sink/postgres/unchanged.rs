//! That a table still has the columns that a plan was made for. Where a column's type changes under a
//! running worker, values are checked against the old one, and the server would cut or round them
//! to the new one in silence.
//!
//! The rows that a transaction has inserted lock their table: whatever the catalogue says when it
//! commits held for all of them. So the condition goes with COMMIT, and costs no round trip.

use sqlx::Error;

use crate::catalogue::Column;
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

/// The number of columns that are gone or aren't what the plan knows. A domain can't change what it
/// stands for: of a column that has one the name will do.
///
/// It is planned anew each time: one table and texts take a quarter of the time that a join with
/// rows to compare takes.
fn changed(target: &Target) -> String {
    let texts = |text: &dyn Fn(&Column) -> String| {
        target.columns.iter().map(|column| literal(&text(column))).collect::<Vec<_>>().join(", ")
    };
    let known = |column: &Column| {
        let not_null = if column.nullable { "" } else { " NOT NULL" };
        format!("{} {}{not_null}", column.name, column.sql_type)
    };
    format!(
        "(SELECT abs({} - count(*)) FROM pg_attribute a WHERE a.attrelid = to_regclass({}) AND NOT a.attisdropped AND \
         (a.attname || ' ' || format_type(a.atttypid, a.atttypmod) || CASE WHEN a.attnotnull THEN ' NOT NULL' ELSE '' END \
         = ANY (ARRAY[{}]) OR a.attname = ANY (ARRAY[{}]) AND \
         (SELECT t.typtype = 'd' FROM pg_type t WHERE t.oid = a.atttypid)))",
        target.columns.len(),
        literal(&statement::table(&target.table)),
        texts(&known),
        texts(&|column| column.name.clone()),
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
