//! Whether a table's columns can take what the config maps to them.

use super::Finding;
use crate::catalogue::{Column, Kind, Table};
use crate::config::{self, ColumnSource, DatabaseKind};
use crate::mapping::{self, Plan, Problem, What};
use crate::sink::{Access, Database};

/// What is wrong with the mapping, a line each.
pub(super) fn problems(
    problems: &[Problem],
    table: &Table,
    database: &dyn Database,
    kind: DatabaseKind,
) -> Vec<Finding> {
    let quoted = database.quote(&table.name);
    let name = |column: &str| match kind {
        DatabaseKind::Mysql => format!("`{}`", column.replace('`', "``")),
        DatabaseKind::Postgres | DatabaseKind::Sqlite => format!("\"{}\"", column.replace('"', "\"\"")),
    };
    problems
        .iter()
        .map(|problem| {
            let finding = Finding::wrong("columns", &problem.text);
            match (&problem.what, &problem.column) {
                (What::Missing, Some(column)) => finding
                    .todo("add it (with the type that fits), or correct the pipeline's columns")
                    .mend(format!("ALTER TABLE {quoted} ADD COLUMN {} text;", name(column))),
                (What::Generated, _) => finding.todo("take it out of the pipeline's columns"),
                (What::NoUniqueKey, Some(column)) => {
                    let index = format!("{}_{column}_key", table.name.name);
                    finding.mend(format!("CREATE UNIQUE INDEX {} ON {quoted} ({});", name(&index), name(column)))
                }
                _ => finding,
            }
        })
        .collect()
}

/// Lines about the columns of a mapping that compiles.
pub(super) fn fit(
    pipeline: &config::Pipeline,
    table: &Table,
    plan: &Plan,
    access: &Access,
    kind: DatabaseKind,
) -> Vec<Finding> {
    let filled: Vec<&Column> = plan.write.targets.iter().flat_map(|target| &target.columns).collect();
    let mut findings = Vec::new();
    for mapping in pipeline.columns.as_deref().unwrap_or_default() {
        let (ColumnSource::From(place), Some(column)) = (&mapping.source, table.column(&mapping.column)) else {
            continue;
        };
        if let Some(refusal) = mapping::never_fits(place, mapping, &column.kind) {
            findings.push(
                Finding::wrong(
                    "columns",
                    format!("column {} ({}) can never take {place}: {}", column.name, column.sql_type, refusal.message),
                )
                .todo(format!("map {} to another place, or change its type", column.name)),
            );
        }
    }
    let unfilled = |column: &&Column| {
        !filled.iter().any(|other| other.name == column.name)
            && !column.nullable
            && !column.has_default
            && !column.generated
    };
    for column in table.columns.iter().filter(unfilled) {
        let text = format!("column {} is NOT NULL, has no default, and nothing fills it", column.name);
        let todo = "map it in the pipeline's columns, or give it a DEFAULT: every row would be refused";
        // MySQL and MariaDB refuse a row without it, except for this type (the reference manual's
        // "Data Type Default Values").
        let first_label = kind == DatabaseKind::Mysql && matches!(column.kind, Kind::Enum { .. });
        findings.push(match access.triggers {
            _ if first_label => Finding::warning("columns", format!("{text}: the server takes its first label")),
            Some(false) => Finding::wrong("columns", text).todo(todo),
            Some(true) => Finding::warning("columns", format!("{text}; does one of the table's triggers?")),
            None => Finding::warning("columns", format!("{text}; triggers can't be seen by this login")).todo(todo),
        });
    }
    if findings.is_empty() {
        findings.push(Finding::ok("columns", told(table, &filled)));
    }
    findings
}

fn told(table: &Table, filled: &[&Column]) -> String {
    let names = |columns: Vec<&Column>| {
        columns.iter().map(|column| format!("{} {}", column.name, column.sql_type)).collect::<Vec<_>>().join(", ")
    };
    let left: Vec<&Column> =
        table.columns.iter().filter(|column| !filled.iter().any(|other| other.name == column.name)).collect();
    let mut text = format!("{} filled: {}", filled.len(), names(filled.to_vec()));
    if !left.is_empty() {
        text.push_str(&format!("; left to the database: {}", names(left)));
    }
    text
}
