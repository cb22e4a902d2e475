//! SQLite's result codes, by class.

use std::borrow::Cow;

use crate::catalogue::Column;
use crate::error::{ErrorClass, Failure};

/// Result codes by number: the primary ones, and those of constraints in full.
/// <https://www.sqlite.org/rescode.html>
const NAMES: [(i32, &str); 40] = [
    (1, "SQLITE_ERROR"),
    (2, "SQLITE_INTERNAL"),
    (3, "SQLITE_PERM"),
    (4, "SQLITE_ABORT"),
    (5, "SQLITE_BUSY"),
    (6, "SQLITE_LOCKED"),
    (7, "SQLITE_NOMEM"),
    (8, "SQLITE_READONLY"),
    (9, "SQLITE_INTERRUPT"),
    (10, "SQLITE_IOERR"),
    (11, "SQLITE_CORRUPT"),
    (12, "SQLITE_NOTFOUND"),
    (13, "SQLITE_FULL"),
    (14, "SQLITE_CANTOPEN"),
    (15, "SQLITE_PROTOCOL"),
    (16, "SQLITE_EMPTY"),
    (17, "SQLITE_SCHEMA"),
    (18, "SQLITE_TOOBIG"),
    (19, "SQLITE_CONSTRAINT"),
    (20, "SQLITE_MISMATCH"),
    (21, "SQLITE_MISUSE"),
    (22, "SQLITE_NOLFS"),
    (23, "SQLITE_AUTH"),
    (24, "SQLITE_FORMAT"),
    (25, "SQLITE_RANGE"),
    (26, "SQLITE_NOTADB"),
    (261, "SQLITE_BUSY_RECOVERY"),
    (275, "SQLITE_CONSTRAINT_CHECK"),
    (517, "SQLITE_BUSY_SNAPSHOT"),
    (531, "SQLITE_CONSTRAINT_COMMITHOOK"),
    (787, "SQLITE_CONSTRAINT_FOREIGNKEY"),
    (1043, "SQLITE_CONSTRAINT_FUNCTION"),
    (1299, "SQLITE_CONSTRAINT_NOTNULL"),
    (1555, "SQLITE_CONSTRAINT_PRIMARYKEY"),
    (1811, "SQLITE_CONSTRAINT_TRIGGER"),
    (2067, "SQLITE_CONSTRAINT_UNIQUE"),
    (2323, "SQLITE_CONSTRAINT_VTAB"),
    (2579, "SQLITE_CONSTRAINT_ROWID"),
    (2835, "SQLITE_CONSTRAINT_PINNED"),
    (3091, "SQLITE_CONSTRAINT_DATATYPE"),
];

/// A unique key's violation.
pub(super) fn is_repeat(code: &str) -> bool {
    matches!(code, "SQLITE_CONSTRAINT_UNIQUE" | "SQLITE_CONSTRAINT_PRIMARYKEY" | "SQLITE_CONSTRAINT_ROWID")
}

/// Whatever sqlx says. `columns` are those that a text may name.
pub(super) fn failure(error: sqlx::Error, columns: &[Column]) -> Failure {
    match error {
        sqlx::Error::Database(error) => {
            let code = error.code().and_then(|code| code.parse().ok()).unwrap_or(1);
            classify(code, error.message(), columns)
        }
        sqlx::Error::Io(error) => Failure::new(
            ErrorClass::SinkUnavailable,
            "io",
            format!("the database file can't be reached: {}", error.kind()),
        )
        .detail(error.to_string()),
        sqlx::Error::WorkerCrashed => Failure::new(
            ErrorClass::SinkUnavailable,
            "closed",
            "the connection's thread has ended; a new connection is needed",
        ),
        error => {
            Failure::new(ErrorClass::Unknown, "sqlx", "SQLite's answer wasn't understood").detail(error.to_string())
        }
    }
}

/// By extended result code. The text decides only between a row's fault and a missing table.
pub(super) fn classify(code: i32, text: &str, columns: &[Column]) -> Failure {
    let primary = code & 0xff;
    let (class, message) = match primary {
        1 if is_setup(text) => {
            // Names out of our own statement, which has no values in it.
            return Failure::new(
                ErrorClass::SinkMisconfigured,
                "SQLITE_ERROR",
                format!("SQLite refuses the statement: {text}"),
            );
        }
        3 | 23 => (ErrorClass::SinkMisconfigured, "SQLite forbids it; look at the file's permissions"),
        26 => (ErrorClass::SinkMisconfigured, "the file isn't an SQLite database; look at the URL's path"),
        5 | 6 | 15 => (ErrorClass::SinkContention, "another connection holds the database's lock"),
        9 | 17 => (ErrorClass::SinkContention, "the statement was interrupted, or the schema changed under it"),
        7 => (ErrorClass::SinkUnavailable, "SQLite is out of memory"),
        8 => (ErrorClass::SinkUnavailable, "the database file, or its folder, can't be written to"),
        10 => (ErrorClass::SinkUnavailable, "reading or writing the database file failed"),
        11 => (ErrorClass::SinkUnavailable, "the database file is damaged; see `PRAGMA integrity_check`"),
        13 => (ErrorClass::SinkUnavailable, "the disk is full"),
        14 => (ErrorClass::SinkUnavailable, "the database file can't be opened; does its folder exist?"),
        18 => (ErrorClass::RowRejected, "a value, or the row, is larger than SQLite stores"),
        19 => (ErrorClass::RowRejected, "the row violates a constraint"),
        20 => (ErrorClass::RowRejected, "a value's type doesn't fit its column"),
        _ => (ErrorClass::Unknown, "SQLite refuses the statement"),
    };
    let mut failure = Failure::new(class, name(code), message).detail(text);
    if primary == 19 {
        (failure.column, failure.constraint) = names_in(code, text, columns);
    }
    failure
}

/// The code's name; one without an own name as its primary code's with the number.
fn name(code: i32) -> Cow<'static, str> {
    let find = |code: i32| NAMES.iter().find(|(number, _)| *number == code).map(|(_, name)| *name);
    match (find(code), find(code & 0xff)) {
        (Some(name), _) => name.into(),
        (None, Some(primary)) => format!("{primary} ({code})").into(),
        (None, None) => code.to_string().into(),
    }
}

/// The plain error code covers a missing table as well as a function's complaint about a value.
fn is_setup(text: &str) -> bool {
    ["no such table", "no such column", "no such collation", "no such function", "no such module", "unknown database"]
        .iter()
        .any(|start| text.starts_with(start))
        || text.contains(" has no column named ")
        || text.contains(" values for ") && text.contains(" columns")
        || text.starts_with("cannot modify ")
        || text.starts_with("cannot INSERT into generated column")
        || text.contains("syntax error")
        || text == "incomplete input"
        || text.starts_with("foreign key mismatch")
}

/// `NOT NULL constraint failed: t.c` and the like: a column only if the table has it, and of the
/// constraint only what a name can look like.
fn names_in(code: i32, text: &str, columns: &[Column]) -> (Option<String>, Option<String>) {
    // A trigger's text is anything.
    if code == 1811 {
        return (None, None);
    }
    let Some((_, names)) = text.split_once("constraint failed: ") else {
        let column = text.rsplit_once(" column ").and_then(|(_, name)| known_column(name, columns));
        return (column, None);
    };
    let names = names.trim_start_matches("index '").trim_end_matches('\'');
    let harmless = names.len() <= 200 && names.chars().all(|c| c.is_alphanumeric() || "_$., ".contains(c));
    (known_column(names, columns), harmless.then(|| names.to_owned()))
}

fn known_column(name: &str, columns: &[Column]) -> Option<String> {
    let bare = name.rsplit_once('.').map_or(name, |(_, bare)| bare);
    (!name.contains(", "))
        .then(|| columns.iter().find(|column| column.name == bare))
        .flatten()
        .map(|column| column.name.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::Kind;

    fn columns() -> Vec<Column> {
        ["c", "d"]
            .map(|name| Column {
                name: name.into(),
                sql_type: "TEXT".into(),
                kind: Kind::Other,
                nullable: true,
                has_default: false,
                generated: false,
            })
            .into()
    }

    #[test]
    fn every_line_of_the_table() {
        use ErrorClass::{RowRejected, SinkContention, SinkMisconfigured, SinkUnavailable, Unknown};
        for (code, text, class, name) in [
            (1, "no such table: t", SinkMisconfigured, "SQLITE_ERROR"),
            (1, "table t has no column named x", SinkMisconfigured, "SQLITE_ERROR"),
            (1, "no such column: x", SinkMisconfigured, "SQLITE_ERROR"),
            (1, "near \"x\": syntax error", SinkMisconfigured, "SQLITE_ERROR"),
            (1, "cannot modify v because it is a view", SinkMisconfigured, "SQLITE_ERROR"),
            (1, "malformed JSON", Unknown, "SQLITE_ERROR"),
            (3, "", SinkMisconfigured, "SQLITE_PERM"),
            (5, "", SinkContention, "SQLITE_BUSY"),
            (517, "", SinkContention, "SQLITE_BUSY_SNAPSHOT"),
            (6, "", SinkContention, "SQLITE_LOCKED"),
            (262, "", SinkContention, "SQLITE_LOCKED (262)"),
            (7, "", SinkUnavailable, "SQLITE_NOMEM"),
            (8, "", SinkUnavailable, "SQLITE_READONLY"),
            (9, "", SinkContention, "SQLITE_INTERRUPT"),
            (10, "", SinkUnavailable, "SQLITE_IOERR"),
            (778, "", SinkUnavailable, "SQLITE_IOERR (778)"),
            (11, "", SinkUnavailable, "SQLITE_CORRUPT"),
            (13, "", SinkUnavailable, "SQLITE_FULL"),
            (14, "", SinkUnavailable, "SQLITE_CANTOPEN"),
            (15, "", SinkContention, "SQLITE_PROTOCOL"),
            (17, "", SinkContention, "SQLITE_SCHEMA"),
            (18, "", RowRejected, "SQLITE_TOOBIG"),
            (275, "", RowRejected, "SQLITE_CONSTRAINT_CHECK"),
            (787, "", RowRejected, "SQLITE_CONSTRAINT_FOREIGNKEY"),
            (1299, "", RowRejected, "SQLITE_CONSTRAINT_NOTNULL"),
            (1555, "", RowRejected, "SQLITE_CONSTRAINT_PRIMARYKEY"),
            (1811, "", RowRejected, "SQLITE_CONSTRAINT_TRIGGER"),
            (2067, "", RowRejected, "SQLITE_CONSTRAINT_UNIQUE"),
            (3091, "", RowRejected, "SQLITE_CONSTRAINT_DATATYPE"),
            (20, "", RowRejected, "SQLITE_MISMATCH"),
            (21, "", Unknown, "SQLITE_MISUSE"),
            (23, "", SinkMisconfigured, "SQLITE_AUTH"),
            (26, "", SinkMisconfigured, "SQLITE_NOTADB"),
            (99, "", Unknown, "99"),
        ] {
            let failure = classify(code, text, &columns());
            assert_eq!((failure.class, &*failure.code), (class, name), "{code} {text}");
        }
    }

    #[test]
    fn names_but_never_values() {
        let failure = classify(1299, "NOT NULL constraint failed: t.c", &columns());
        assert_eq!((failure.column.as_deref(), failure.constraint.as_deref()), (Some("c"), Some("t.c")));
        let failure = classify(2067, "UNIQUE constraint failed: t.c, t.d", &columns());
        assert_eq!((failure.column, failure.constraint.as_deref()), (None, Some("t.c, t.d")));
        let failure = classify(275, "CHECK constraint failed: c > 'secret'", &columns());
        assert_eq!((failure.column, failure.constraint), (None, None));
        let failure = classify(3091, "cannot store TEXT value in INTEGER column t.c", &columns());
        assert_eq!(failure.column.as_deref(), Some("c"));
        let failure = classify(1811, "constraint failed: t.c", &columns());
        assert_eq!((failure.column, failure.constraint), (None, None));
        let failure = classify(1, "malformed JSON in 4711", &columns());
        assert!(!failure.to_string().contains("4711") && failure.detail.reveal().contains("4711"));
    }

    #[test]
    fn which_codes_are_repeats() {
        for (name, repeat) in NAMES.map(|(_, name)| (name, name.ends_with("UNIQUE") || name.ends_with("KEY"))) {
            let repeat = (repeat || name.ends_with("ROWID")) && !name.ends_with("FOREIGNKEY");
            assert_eq!(is_repeat(name), repeat, "{name}");
        }
    }
}
