//! Whether a table's columns can take what the config maps to them.

use super::Finding;
use crate::catalogue::{Column, Kind, Table};
use crate::config::{self, ColumnMapping, ColumnSource, DatabaseKind, UnknownFields};
use crate::mapping::{self, Problem, What};
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
                    .todo("with the type that fits:")
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

/// What can be told of columns that are there: `filled` by the pipeline, or by nothing. No line: nothing is wrong.
pub(super) fn fit(
    pipeline: &config::Pipeline,
    table: &Table,
    filled: &[&Column],
    access: &Access,
    kind: DatabaseKind,
) -> Vec<Finding> {
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
        findings.extend(idle(mapping, column));
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
    findings
}

/// What the columns that the pipeline maps are called in the table, as far as they are there.
pub(super) fn mapped<'t>(pipeline: &config::Pipeline, table: &'t Table) -> Vec<&'t Column> {
    let named = |name: &str| match &pipeline.columns {
        Some(columns) => columns.iter().any(|mapping| mapping.column == name),
        None => true,
    };
    let collects = |name: &str| matches!(&pipeline.unknown_fields, UnknownFields::Column(other) if other == name);
    let filled = |column: &&Column| !column.generated && (named(&column.name) || collects(&column.name));
    table.columns.iter().filter(filled).collect()
}

/// Keys of a column that say how times are read, where it holds none.
fn idle(mapping: &ColumnMapping, column: &Column) -> Option<Finding> {
    fn of_times(kind: &Kind) -> bool {
        match kind {
            Kind::Date | Kind::Time { .. } | Kind::Timestamp { .. } => true,
            Kind::Array(element) => of_times(element),
            _ => false,
        }
    }
    let keys: Vec<&str> = [("time", mapping.time.is_some()), ("zone", mapping.zone.is_some())]
        .into_iter()
        .filter_map(|(key, given)| given.then_some(key))
        .collect();
    if keys.is_empty() || of_times(&column.kind) {
        return None;
    }
    let (keys, are) = (keys.join(" and "), if keys.len() == 1 { "does" } else { "do" });
    let text = format!(
        "column {} ({}): {keys} {are} nothing, since the column holds no times: values are written as they are",
        column.name, column.sql_type
    );
    Some(Finding::warning("columns", text).todo(format!("take {keys} out, or give the column a type of times")))
}

/// Which columns are filled, and which are left out, in one line.
pub(super) fn told(table: &Table, filled: &[&Column]) -> String {
    let names = |columns: Vec<&Column>| {
        // SQLite's columns may have no type.
        let named = |column: &&Column| format!("{} {}", column.name, column.sql_type).trim_end().to_owned();
        columns.iter().map(named).collect::<Vec<_>>().join(", ")
    };
    let left: Vec<&Column> =
        table.columns.iter().filter(|column| !filled.iter().any(|other| other.name == column.name)).collect();
    let mut text = format!("{} filled: {}", filled.len(), names(filled.to_vec()));
    if !left.is_empty() {
        text.push_str(&format!("; left to the database: {}", names(left)));
    }
    text
}
