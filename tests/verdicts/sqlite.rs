//! SQLite's errors, all of them genuine.

use std::path::Path;

use super::verdict::Act::{File, Sql};
use super::verdict::{AWAY, CHILD, CONTENTION, ROW, SETUP, Verdict};

/// The file's folder goes away.
fn hide(file: &Path) {
    let folder = file.parent().expect("a folder");
    std::fs::rename(folder, folder.with_extension("away")).expect("an own folder");
}

fn show(file: &Path) {
    let folder = file.parent().expect("a folder");
    std::fs::rename(folder.with_extension("away"), folder).expect("an own folder");
}

/// The file becomes something else.
fn spoil(file: &Path) {
    std::fs::rename(file, file.with_extension("saved")).expect("an own file");
    std::fs::write(file, "This is no database. ".repeat(1_000)).expect("an own file");
}

fn restore(file: &Path) {
    std::fs::rename(file.with_extension("saved"), file).expect("an own file");
}

pub const TABLE: &[Verdict] = &[
    Verdict {
        name: "not_null",
        means: "a column that takes no NULL gets one",
        setup: "CREATE TABLE {t} (id text, v text NOT NULL); CREATE TRIGGER {t}_first AFTER INSERT ON {t} WHEN NEW.v = 'bad' BEGIN UPDATE {t} SET v = NULL WHERE id = NEW.id; END",
        code: "SQLITE_CONSTRAINT_NOTNULL",
        column: Some("v"),
        constraint: Some("{t}.v"),
        ..ROW
    },
    Verdict {
        name: "unique_column",
        means: "another row has the same value in a unique column",
        setup: "CREATE TABLE {t} (id text, v text UNIQUE)",
        bad: Some("\"v\":\"0\""),
        code: "SQLITE_CONSTRAINT_UNIQUE",
        column: Some("v"),
        constraint: Some("{t}.v"),
        ..ROW
    },
    Verdict {
        name: "unique_columns",
        means: "another row has the same values in a unique key of several columns",
        setup: "CREATE TABLE {t} (id text, v text, w text DEFAULT 'w', UNIQUE (v, w))",
        bad: Some("\"v\":\"0\""),
        code: "SQLITE_CONSTRAINT_UNIQUE",
        constraint: Some("{t}.v, {t}.w"),
        ..ROW
    },
    Verdict {
        name: "unique_expression",
        means: "another row has the same value in a unique index of an expression",
        setup: "CREATE TABLE {t} (id text, v text); CREATE UNIQUE INDEX {t}_lower ON {t} (lower(v))",
        good: "\"v\":\"a{n}\"",
        bad: Some("\"v\":\"A0\""),
        code: "SQLITE_CONSTRAINT_UNIQUE",
        constraint: Some("{t}_lower"),
        ..ROW
    },
    Verdict {
        name: "primary_key",
        means: "another row has the same primary key",
        setup: "CREATE TABLE {t} (id text, v integer PRIMARY KEY)",
        good: "\"v\":{n}",
        bad: Some("\"v\":0"),
        code: "SQLITE_CONSTRAINT_PRIMARYKEY",
        column: Some("v"),
        constraint: Some("{t}.v"),
        ..ROW
    },
    Verdict {
        name: "rowid",
        means: "a trigger inserts a row number that is there",
        setup: "CREATE TABLE {t}_log (v text); INSERT INTO {t}_log VALUES ('x'); CREATE TABLE {t} (id text, v text); CREATE TRIGGER {t}_first BEFORE INSERT ON {t} WHEN NEW.v = 'bad' BEGIN INSERT INTO {t}_log (rowid, v) VALUES (1, 'x'); END",
        code: "SQLITE_CONSTRAINT_ROWID",
        constraint: Some("{t}_log.rowid"),
        ..ROW
    },
    Verdict {
        name: "check",
        means: "a check constraint refuses the row",
        setup: "CREATE TABLE {t} (id text, v text CONSTRAINT {t}_good CHECK (v <> 'bad'))",
        code: "SQLITE_CONSTRAINT_CHECK",
        constraint: Some("{t}_good"),
        ..ROW
    },
    Verdict {
        name: "check_without_name",
        means: "a check without a name refuses the row; what SQLite calls it may have values in it and isn't shown",
        setup: "CREATE TABLE {t} (id text, v text CHECK (v <> 'bad'))",
        code: "SQLITE_CONSTRAINT_CHECK",
        ..ROW
    },
    Verdict {
        name: "missing_parent",
        means: "the row that a foreign key names isn't there yet",
        setup: "CREATE TABLE {t}_parent (v text PRIMARY KEY); INSERT INTO {t}_parent VALUES ('p'); CREATE TABLE {t} (id text, v text REFERENCES {t}_parent)",
        good: "\"v\":\"p\"",
        code: "SQLITE_CONSTRAINT_FOREIGNKEY",
        mend: Sql("INSERT INTO {t}_parent VALUES ('bad')"),
        ..CHILD
    },
    Verdict {
        name: "missing_parent_at_commit",
        means: "the same, by a deferred foreign key that speaks at COMMIT",
        setup: "CREATE TABLE {t}_parent (v text PRIMARY KEY); INSERT INTO {t}_parent VALUES ('p'); CREATE TABLE {t} (id text, v text REFERENCES {t}_parent DEFERRABLE INITIALLY DEFERRED)",
        good: "\"v\":\"p\"",
        code: "SQLITE_CONSTRAINT_FOREIGNKEY",
        mend: Sql("INSERT INTO {t}_parent VALUES ('bad')"),
        ..CHILD
    },
    Verdict {
        name: "trigger_abort",
        means: "a trigger refuses the row with `RAISE(ABORT, …)`",
        setup: "CREATE TABLE {t} (id text, v text); CREATE TRIGGER {t}_first BEFORE INSERT ON {t} WHEN NEW.v = 'bad' BEGIN SELECT RAISE(ABORT, 'not this one'); END",
        code: "SQLITE_CONSTRAINT_TRIGGER",
        ..ROW
    },
    Verdict {
        name: "trigger_fail",
        means: "a trigger refuses the row with `RAISE(FAIL, …)`",
        setup: "CREATE TABLE {t} (id text, v text); CREATE TRIGGER {t}_first BEFORE INSERT ON {t} WHEN NEW.v = 'bad' BEGIN SELECT RAISE(FAIL, 'not this one'); END",
        code: "SQLITE_CONSTRAINT_TRIGGER",
        ..ROW
    },
    Verdict {
        name: "trigger_rollback",
        means: "a trigger refuses the row with `RAISE(ROLLBACK, …)`",
        setup: "CREATE TABLE {t} (id text, v text); CREATE TRIGGER {t}_first BEFORE INSERT ON {t} WHEN NEW.v = 'bad' BEGIN SELECT RAISE(ROLLBACK, 'not this one'); END",
        code: "SQLITE_CONSTRAINT_TRIGGER",
        ..ROW
    },
    Verdict {
        name: "strict_type",
        means: "a value of another type in a STRICT table",
        setup: "CREATE TABLE {t} (id text, v integer) STRICT; CREATE TRIGGER {t}_first AFTER INSERT ON {t} WHEN NEW.v = 99 BEGIN UPDATE {t} SET v = 'x' WHERE id = NEW.id; END",
        good: "\"v\":{n}",
        bad: Some("\"v\":99"),
        code: "SQLITE_CONSTRAINT_DATATYPE",
        column: Some("v"),
        ..ROW
    },
    Verdict {
        name: "mismatch",
        means: "a trigger inserts a text as a row number",
        setup: "CREATE TABLE {t}_log (v text); CREATE TABLE {t} (id text, v text); CREATE TRIGGER {t}_first BEFORE INSERT ON {t} WHEN NEW.v = 'bad' BEGIN INSERT INTO {t}_log (rowid) VALUES ('x'); END",
        code: "SQLITE_MISMATCH",
        ..ROW
    },
    Verdict {
        name: "too_big",
        means: "a value is larger than SQLite stores",
        setup: "CREATE TABLE {t}_log (v blob); CREATE TABLE {t} (id text, v text); CREATE TRIGGER {t}_first BEFORE INSERT ON {t} WHEN NEW.v = 'bad' BEGIN INSERT INTO {t}_log VALUES (zeroblob(2000000000)); END",
        code: "SQLITE_TOOBIG",
        ..ROW
    },
    Verdict {
        name: "virtual_table",
        means: "a virtual table that a trigger writes to refuses the row",
        setup: "CREATE VIRTUAL TABLE {t}_box USING rtree (id, low, high); CREATE TABLE {t} (id text, v text); CREATE TRIGGER {t}_first BEFORE INSERT ON {t} WHEN NEW.v = 'bad' BEGIN INSERT INTO {t}_box VALUES (1, 2.0, 1.0); END",
        code: "SQLITE_CONSTRAINT",
        ..ROW
    },
    Verdict {
        name: "malformed_json",
        means: "an expression of the table reads the value as JSON, and others pass",
        setup: "CREATE TABLE {t} (id text, v text CHECK (json_extract(v, '$.a') IS NULL))",
        good: "\"v\":\"{n}\"",
        class: "unknown",
        code: "SQLITE_ERROR",
        ..ROW
    },
    Verdict {
        name: "integer_overflow",
        means: "an expression of a trigger is beyond 64 bits",
        setup: "CREATE TABLE {t} (id text, v text); CREATE TRIGGER {t}_first BEFORE INSERT ON {t} WHEN NEW.v = 'bad' BEGIN SELECT abs(-9223372036854775807 - 1); END",
        class: "unknown",
        code: "SQLITE_ERROR",
        ..ROW
    },
    Verdict {
        name: "pattern_too_complex",
        means: "a pattern of LIKE is too long",
        setup: "CREATE TABLE {t} (id text, v text); CREATE TRIGGER {t}_first BEFORE INSERT ON {t} WHEN NEW.v = 'bad' BEGIN SELECT 'a' LIKE hex(zeroblob(30000)); END",
        class: "unknown",
        code: "SQLITE_ERROR",
        ..ROW
    },
    Verdict {
        name: "escape_of_several_characters",
        means: "the value is used as an escape character and isn't one",
        setup: "CREATE TABLE {t} (id text, v text); CREATE TRIGGER {t}_first BEFORE INSERT ON {t} WHEN true BEGIN SELECT 'a' LIKE 'b' ESCAPE NEW.v; END",
        class: "unknown",
        code: "SQLITE_ERROR",
        ..ROW
    },
    Verdict {
        name: "trigger_recursion",
        means: "triggers call each other without end",
        setup: "CREATE TABLE {t}_log (v text); CREATE TRIGGER {t}_again AFTER INSERT ON {t}_log BEGIN INSERT INTO {t}_log VALUES ('x'); END; CREATE TABLE {t} (id text, v text); CREATE TRIGGER {t}_first BEFORE INSERT ON {t} WHEN NEW.v = 'bad' BEGIN INSERT INTO {t}_log VALUES ('x'); END",
        database: "on_connect = [\"PRAGMA recursive_triggers = 1\"]
lock_timeout = \"20s\"",
        class: "unknown",
        code: "SQLITE_ERROR",
        ..ROW
    },
    Verdict {
        name: "busy",
        means: "another connection writes for longer than `lock_timeout`",
        cause: Sql("BEGIN IMMEDIATE"),
        code: "SQLITE_BUSY",
        mend: Sql("ROLLBACK"),
        ..CONTENTION
    },
    Verdict {
        name: "busy_table_changed",
        means: "another connection changes the table for longer than `lock_timeout`; then it is read anew",
        cause: Sql("BEGIN IMMEDIATE; ALTER TABLE {t} ADD COLUMN w text"),
        code: "SQLITE_BUSY",
        mend: Sql("COMMIT"),
        ..CONTENTION
    },
    Verdict {
        name: "full",
        means: "the disk is full, or the file at `max_page_count`",
        setup: "CREATE TABLE {t}_fill (v blob); CREATE TABLE {t}_log (v blob); CREATE TABLE {t} (id text, v text); CREATE TRIGGER {t}_first BEFORE INSERT ON {t} BEGIN INSERT INTO {t}_log VALUES (zeroblob(50000)); END",
        database: "on_connect = [\"PRAGMA max_page_count = 150\"]
lock_timeout = \"20s\"",
        cause: Sql("INSERT INTO {t}_fill VALUES (zeroblob(1000000))"),
        code: "SQLITE_FULL",
        mend: Sql("DELETE FROM {t}_fill"),
        ..AWAY
    },
    Verdict {
        name: "corrupt",
        means: "the file is damaged",
        setup: "CREATE TABLE {t} (id text, v text); CREATE TABLE {t}_other (v text)",
        cause: Sql(
            "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = 'nothing' WHERE name = '{t}_other'; PRAGMA schema_version = 1000",
        ),
        code: "SQLITE_CORRUPT",
        mend: Sql(
            "UPDATE sqlite_schema SET sql = 'CREATE TABLE {t}_other (v text)' WHERE name = '{t}_other'; PRAGMA schema_version = 1001",
        ),
        ..AWAY
    },
    Verdict {
        name: "cannot_open",
        means: "the file's folder isn't there",
        at_start: true,
        cause: File(hide),
        code: "SQLITE_CANTOPEN",
        mend: File(show),
        ..AWAY
    },
    Verdict {
        name: "unknown_for_all",
        means: "an error that nobody knows refuses a probe write, too: it isn't a row's fault",
        cause: Sql("CREATE TRIGGER {l}_no BEFORE INSERT ON {l} BEGIN SELECT abs(-9223372036854775807 - 1); END"),
        class: "unknown",
        code: "SQLITE_ERROR",
        mend: Sql("DROP TRIGGER {l}_no"),
        ..AWAY
    },
    Verdict {
        name: "table_gone",
        means: "the table isn't there any more",
        cause: Sql("ALTER TABLE {t} RENAME TO {t}_away"),
        code: "table_changed",
        names: &["{t}"],
        mend: Sql("ALTER TABLE {t}_away RENAME TO {t}"),
        ..SETUP
    },
    Verdict {
        name: "column_gone",
        means: "a column isn't there any more",
        cause: Sql("ALTER TABLE {t} RENAME COLUMN v TO w"),
        code: "table_changed",
        names: &["column v"],
        mend: Sql("ALTER TABLE {t} RENAME COLUMN w TO v"),
        ..SETUP
    },
    Verdict {
        name: "ledger_gone",
        means: "the ledger isn't there any more; it is never made anew while the pipeline runs",
        cause: Sql("ALTER TABLE {l} RENAME TO {l}_away"),
        code: "SQLITE_ERROR",
        names: &["{l}"],
        mend: Sql("ALTER TABLE {l}_away RENAME TO {l}"),
        ..SETUP
    },
    Verdict {
        name: "view",
        means: "the table has become a view",
        cause: Sql("ALTER TABLE {t} RENAME TO {t}_base; CREATE VIEW {t} AS SELECT * FROM {t}_base"),
        code: "SQLITE_ERROR",
        names: &["view"],
        mend: Sql("DROP VIEW {t}; ALTER TABLE {t}_base RENAME TO {t}"),
        ..SETUP
    },
    Verdict {
        name: "generated_always",
        means: "the column has become one that SQLite fills itself",
        cause: Sql("ALTER TABLE {t} DROP COLUMN v; ALTER TABLE {t} ADD COLUMN v text GENERATED ALWAYS AS (id) VIRTUAL"),
        code: "table_changed",
        names: &["column v"],
        mend: Sql("ALTER TABLE {t} DROP COLUMN v; ALTER TABLE {t} ADD COLUMN v text"),
        ..SETUP
    },
    Verdict {
        name: "not_a_database",
        means: "the file isn't an SQLite database",
        at_start: true,
        cause: File(spoil),
        code: "SQLITE_NOTADB",
        mend: File(restore),
        ..SETUP
    },
    Verdict {
        name: "triggers_table_gone",
        means: "a trigger uses a table that isn't there: no row can be written",
        setup: "CREATE TABLE {t}_log (v text); CREATE TABLE {t} (id text, v text); CREATE TRIGGER {t}_first BEFORE INSERT ON {t} BEGIN INSERT INTO {t}_log VALUES (NEW.v); END",
        cause: Sql("DROP TABLE {t}_log"),
        code: "SQLITE_ERROR",
        names: &["{t}_log"],
        mend: Sql("CREATE TABLE {t}_log (v text)"),
        ..SETUP
    },
    Verdict {
        name: "foreign_key_mismatch",
        means: "a foreign key's parent has lost its unique key",
        setup: "CREATE TABLE {t}_parent (v text); CREATE UNIQUE INDEX {t}_key ON {t}_parent (v); INSERT INTO {t}_parent VALUES ('p'); CREATE TABLE {t} (id text, v text REFERENCES {t}_parent (v))",
        good: "\"v\":\"p\"",
        cause: Sql("DROP INDEX {t}_key"),
        code: "SQLITE_ERROR",
        names: &["foreign key mismatch"],
        mend: Sql("CREATE UNIQUE INDEX {t}_key ON {t}_parent (v)"),
        ..SETUP
    },
];
