//! PostgreSQL's errors, genuine ones as far as a test can make them; those of a server that is ill
//! are raised by a trigger.

use super::verdict::Act::{self, Sql};
use super::verdict::{AWAY, CHILD, CONTENTION, ROW, SETUP, Verdict};

/// A table whose rows go through this first.
macro_rules! trigger {
    ($body:literal) => {
        concat!(
            "CREATE TABLE {t} (id varchar(100), v varchar(100)); \
             CREATE TABLE {t}_fault (id int); CREATE SEQUENCE {t}_once; \
             CREATE FUNCTION {t}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN ",
            $body,
            "; RETURN NEW; END $$; CREATE TRIGGER first BEFORE INSERT ON {t} FOR EACH ROW EXECUTE FUNCTION {t}()"
        )
    };
}

const BREAK: Act = Sql("INSERT INTO {t}_fault VALUES (1)");
const REPAIR: Act = Sql("DELETE FROM {t}_fault");

pub const TABLE: &[Verdict] = &[
    Verdict {
        name: "text_too_long",
        means: "a value is longer than its column, after a trigger or a generated column has made it",
        setup: "CREATE TABLE {t} (id varchar(100), v varchar(100), short varchar(3) GENERATED ALWAYS AS (v) STORED)",
        bad: Some("\"v\":\"12345\""),
        code: "22001",
        ..ROW
    },
    Verdict {
        name: "number_out_of_range",
        means: "a number doesn't fit into the type that an expression of the table gives it",
        setup: "CREATE TABLE {t} (id varchar(100), v text, n smallint GENERATED ALWAYS AS (v::int::smallint) STORED)",
        bad: Some("\"v\":\"100000\""),
        code: "22003",
        ..ROW
    },
    Verdict {
        name: "not_a_number",
        means: "a text can't be read as the type that an expression of the table casts it to",
        setup: "CREATE TABLE {t} (id varchar(100), v text, n int GENERATED ALWAYS AS (v::int) STORED)",
        code: "22P02",
        ..ROW
    },
    Verdict {
        name: "not_a_date",
        means: "a text isn't a date",
        setup: trigger!("PERFORM NEW.v::date"),
        good: "\"v\":\"2026-01-01\"",
        code: "22007",
        ..ROW
    },
    Verdict {
        name: "no_such_day",
        means: "a date that no calendar has",
        setup: trigger!("PERFORM NEW.v::date"),
        good: "\"v\":\"2026-01-01\"",
        bad: Some("\"v\":\"2026-02-30\""),
        code: "22008",
        ..ROW
    },
    Verdict {
        name: "division_by_zero",
        means: "an expression of the table divides by the value",
        setup: "CREATE TABLE {t} (id varchar(100), v int, q int GENERATED ALWAYS AS (100 / v) STORED)",
        good: "\"v\":7",
        bad: Some("\"v\":0"),
        code: "22012",
        ..ROW
    },
    Verdict {
        name: "bytes_that_are_no_text",
        means: "bytes aren't UTF-8 where the table makes text of them",
        setup: trigger!("NEW.v := convert_from(decode(NEW.v, 'hex'), 'UTF8')"),
        good: "\"v\":\"61\"",
        bad: Some("\"v\":\"ff\""),
        code: "22021",
        ..ROW
    },
    Verdict {
        name: "character_not_in_encoding",
        means: "a character isn't in the encoding that the table asks for",
        setup: "CREATE TABLE {t} (id varchar(100), v text CHECK (length(convert_to(v, 'LATIN1')) > 0))",
        bad: Some("\"v\":\"€\""),
        code: "22P05",
        ..ROW
    },
    Verdict {
        name: "bad_regular_expression",
        means: "the value is used as a regular expression and isn't one",
        setup: "CREATE TABLE {t} (id varchar(100), v text CHECK (('a' ~ v) IS NOT NULL))",
        bad: Some("\"v\":\"(\""),
        code: "2201B",
        ..ROW
    },
    Verdict {
        name: "negative_substring_length",
        means: "an expression of the table takes so many characters",
        setup: "CREATE TABLE {t} (id varchar(100), v int CHECK (substring('abc', 1, v) IS NOT NULL))",
        good: "\"v\":2",
        bad: Some("\"v\":-1"),
        code: "22011",
        ..ROW
    },
    Verdict {
        name: "logarithm_of_zero",
        means: "an expression of the table isn't defined for the value",
        setup: "CREATE TABLE {t} (id varchar(100), v float8 CHECK (ln(v) IS NOT NULL))",
        good: "\"v\":2.5",
        bad: Some("\"v\":0"),
        code: "2201E",
        ..ROW
    },
    Verdict {
        name: "not_null",
        means: "a column that takes no NULL gets one",
        setup: "CREATE TABLE {t} (id varchar(100), v varchar(100) NOT NULL); CREATE FUNCTION {t}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.v = 'bad' THEN NEW.v := NULL; END IF; RETURN NEW; END $$; CREATE TRIGGER first BEFORE INSERT ON {t} FOR EACH ROW EXECUTE FUNCTION {t}()",
        code: "23502",
        column: Some("v"),
        ..ROW
    },
    Verdict {
        name: "unique_key",
        means: "another row has the same value in a second unique key",
        setup: "CREATE TABLE {t} (id varchar(100), v text CONSTRAINT {t}_v_once UNIQUE)",
        bad: Some("\"v\":\"0\""),
        code: "23505",
        constraint: Some("{t}_v_once"),
        ..ROW
    },
    Verdict {
        name: "unique_key_at_commit",
        means: "the same, by a deferred constraint that speaks at COMMIT",
        setup: "CREATE TABLE {t} (id varchar(100), v text CONSTRAINT {t}_v_once UNIQUE DEFERRABLE INITIALLY DEFERRED)",
        bad: Some("\"v\":\"0\""),
        code: "23505",
        constraint: Some("{t}_v_once"),
        ..ROW
    },
    Verdict {
        name: "check",
        means: "a check constraint refuses the row",
        setup: "CREATE TABLE {t} (id varchar(100), v text CONSTRAINT {t}_good CHECK (v <> 'bad'))",
        code: "23514",
        constraint: Some("{t}_good"),
        ..ROW
    },
    Verdict {
        name: "domain",
        means: "a domain's constraint refuses the value",
        setup: "CREATE DOMAIN {t}_d AS text CONSTRAINT {t}_good CHECK (VALUE <> 'bad'); CREATE TABLE {t} (id varchar(100), v {t}_d)",
        code: "23514",
        constraint: Some("{t}_good"),
        ..ROW
    },
    Verdict {
        name: "exclusion",
        means: "an exclusion constraint finds a row in the way",
        setup: "CREATE TABLE {t} (id varchar(100), v text, CONSTRAINT {t}_alone EXCLUDE (v WITH =))",
        bad: Some("\"v\":\"0\""),
        code: "23P01",
        constraint: Some("{t}_alone"),
        ..ROW
    },
    Verdict {
        name: "no_partition",
        means: "no partition takes the row",
        setup: "CREATE TABLE {t} (id varchar(100), v text) PARTITION BY LIST (v); CREATE TABLE {t}_1 PARTITION OF {t} FOR VALUES IN ('1')",
        good: "\"v\":\"1\"",
        code: "23514",
        ..ROW
    },
    Verdict {
        name: "integrity_raised",
        means: "a trigger raises an integrity error of its own",
        setup: trigger!("IF NEW.v = 'bad' THEN RAISE integrity_constraint_violation USING CONSTRAINT = 'ours'; END IF"),
        code: "23000",
        constraint: Some("ours"),
        ..ROW
    },
    Verdict {
        name: "view_check_option",
        means: "a view doesn't show the row that is inserted through it",
        setup: "CREATE TABLE {t}_all (id varchar(100), v text); CREATE VIEW {t} AS SELECT * FROM {t}_all WHERE v <> 'bad' WITH CHECK OPTION",
        code: "44000",
        ..ROW
    },
    Verdict {
        name: "missing_parent",
        means: "the row that a foreign key names isn't there yet",
        setup: "CREATE TABLE {t}_parent (v text PRIMARY KEY); INSERT INTO {t}_parent VALUES ('p'); CREATE TABLE {t} (id varchar(100), v text CONSTRAINT {t}_of REFERENCES {t}_parent)",
        good: "\"v\":\"p\"",
        code: "23503",
        mend: Sql("INSERT INTO {t}_parent VALUES ('bad')"),
        ..CHILD
    },
    Verdict {
        name: "missing_parent_at_commit",
        means: "the same, by a deferred foreign key that speaks at COMMIT",
        setup: "CREATE TABLE {t}_parent (v text PRIMARY KEY); INSERT INTO {t}_parent VALUES ('p'); CREATE TABLE {t} (id varchar(100), v text REFERENCES {t}_parent DEFERRABLE INITIALLY DEFERRED)",
        good: "\"v\":\"p\"",
        code: "23503",
        mend: Sql("INSERT INTO {t}_parent VALUES ('bad')"),
        ..CHILD
    },
    Verdict {
        name: "row_policy",
        means: "a row-level policy refuses the row; the checks find nothing wrong with the table",
        login: true,
        setup: "CREATE TABLE {t} (id varchar(100), v text); ALTER TABLE {t} ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON {t} FOR INSERT WITH CHECK (v <> 'bad')",
        class: "sink_misconfigured",
        code: "42501",
        ..ROW
    },
    Verdict {
        name: "function_missing_for_one_row",
        means: "a trigger calls for this row what isn't there; the checks find nothing wrong with the table",
        setup: trigger!("IF NEW.v = 'bad' THEN PERFORM {t}_nowhere(); END IF"),
        class: "sink_misconfigured",
        code: "42883",
        ..ROW
    },
    Verdict {
        name: "trigger_exception",
        means: "a trigger refuses the row in its own words, and others pass",
        setup: trigger!("IF NEW.v = 'bad' THEN RAISE EXCEPTION 'not this one'; END IF"),
        class: "unknown",
        code: "P0001",
        ..ROW
    },
    Verdict {
        name: "index_row_too_large",
        means: "an indexed value is too long for its index, and others pass",
        setup: "CREATE FUNCTION {t}_long(v text) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT CASE WHEN v = 'bad' THEN (SELECT string_agg(md5(i::text), '') FROM generate_series(1, 1000) i) END $$; CREATE TABLE {t} (id varchar(100), v text); CREATE INDEX ON {t} ({t}_long(v))",
        class: "unknown",
        code: "54000",
        ..ROW
    },
    Verdict {
        name: "feature_not_supported",
        means: "a trigger does what can't be done in it",
        setup: trigger!("IF NEW.v = 'bad' THEN EXECUTE 'COMMIT'; END IF"),
        class: "unknown",
        code: "0A000",
        ..ROW
    },
    Verdict {
        name: "more_than_one_row",
        means: "a subquery of a trigger returns more than one row",
        setup: trigger!("IF NEW.v = 'bad' THEN NEW.v := (SELECT x FROM generate_series(1, 2) x); END IF"),
        class: "unknown",
        code: "21000",
        ..ROW
    },
    Verdict {
        name: "trigger_without_return",
        means: "a trigger ends without a RETURN",
        setup: "CREATE TABLE {t} (id varchar(100), v text); CREATE FUNCTION {t}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.v <> 'bad' THEN RETURN NEW; END IF; END $$; CREATE TRIGGER first BEFORE INSERT ON {t} FOR EACH ROW EXECUTE FUNCTION {t}()",
        class: "unknown",
        code: "2F005",
        ..ROW
    },
    Verdict {
        name: "row_kills_session",
        means: "the session ends whenever this row is written, and others pass",
        setup: trigger!("IF NEW.v = 'bad' THEN PERFORM pg_terminate_backend(pg_backend_pid()); END IF"),
        code: "connection_lost",
        ..ROW
    },
    Verdict {
        name: "table_locked",
        means: "another session holds a lock for longer than `lock_timeout`",
        cause: Sql("BEGIN; LOCK TABLE {t} IN ACCESS EXCLUSIVE MODE"),
        code: "55P03",
        mend: Sql("ROLLBACK"),
        ..CONTENTION
    },
    Verdict {
        name: "row_locked",
        means: "another session has the row that a trigger needs",
        setup: "CREATE TABLE {t}_counter (n int); INSERT INTO {t}_counter VALUES (0); CREATE TABLE {t} (id varchar(100), v text); CREATE FUNCTION {t}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN UPDATE {t}_counter SET n = n + 1; RETURN NEW; END $$; CREATE TRIGGER first BEFORE INSERT ON {t} FOR EACH ROW EXECUTE FUNCTION {t}()",
        cause: Sql("BEGIN; UPDATE {t}_counter SET n = n"),
        code: "55P03",
        mend: Sql("ROLLBACK"),
        ..CONTENTION
    },
    Verdict {
        name: "serialization_failure",
        means: "a transaction can't be put in a row with others",
        setup: trigger!("IF nextval('{t}_once') = 1 THEN RAISE serialization_failure; END IF"),
        code: "40001",
        ..CONTENTION
    },
    Verdict {
        name: "deadlock",
        means: "a deadlock with another transaction",
        setup: trigger!("IF nextval('{t}_once') = 1 THEN RAISE deadlock_detected; END IF"),
        code: "40P01",
        ..CONTENTION
    },
    Verdict {
        name: "statement_timeout",
        means: "a statement takes longer than `statement_timeout`",
        setup: trigger!("PERFORM pg_sleep(60) FROM {t}_fault"),
        database: "statement_timeout = \"300ms\"
lock_timeout = \"5s\"",
        cause: BREAK,
        code: "57014",
        mend: REPAIR,
        ..CONTENTION
    },
    Verdict {
        name: "statement_cancelled",
        means: "somebody cancels the statement",
        setup: trigger!("IF nextval('{t}_once') = 1 THEN PERFORM pg_cancel_backend(pg_backend_pid()); END IF"),
        code: "57014",
        ..CONTENTION
    },
    Verdict {
        name: "column_type_changed",
        means: "the column has another type since the worker started; it reads the table anew",
        setup: "CREATE TABLE {t} (id varchar(100), v int)",
        good: "\"v\":{n}",
        cause: Sql("ALTER TABLE {t} ALTER v TYPE jsonb USING to_jsonb(v)"),
        class: "sink_misconfigured",
        code: "42804",
        ends: "the checks see the changed table; its messages are mapped anew",
        ..CONTENTION
    },
    Verdict {
        name: "session_terminated",
        means: "somebody ends the session, or the server stops",
        setup: trigger!("IF nextval('{t}_once') = 1 THEN PERFORM pg_terminate_backend(pg_backend_pid()); END IF"),
        class: "sink_unavailable",
        code: "57P01",
        ..CONTENTION
    },
    Verdict {
        name: "disk_full",
        means: "the server's disk is full",
        setup: trigger!(
            "IF EXISTS (SELECT FROM {t}_fault) THEN RAISE EXCEPTION 'raised' USING ERRCODE = '53100'; END IF"
        ),
        cause: BREAK,
        code: "53100",
        mend: REPAIR,
        ..AWAY
    },
    Verdict {
        name: "out_of_memory",
        means: "the server is out of memory",
        setup: trigger!(
            "IF EXISTS (SELECT FROM {t}_fault) THEN RAISE EXCEPTION 'raised' USING ERRCODE = '53200'; END IF"
        ),
        cause: BREAK,
        code: "53200",
        mend: REPAIR,
        ..AWAY
    },
    Verdict {
        name: "io_error",
        means: "the server can't read or write its files",
        setup: trigger!(
            "IF EXISTS (SELECT FROM {t}_fault) THEN RAISE EXCEPTION 'raised' USING ERRCODE = '58030'; END IF"
        ),
        cause: BREAK,
        code: "58030",
        mend: REPAIR,
        ..AWAY
    },
    Verdict {
        name: "internal_error",
        means: "something inside of the server is wrong",
        setup: trigger!(
            "IF EXISTS (SELECT FROM {t}_fault) THEN RAISE EXCEPTION 'raised' USING ERRCODE = 'XX000'; END IF"
        ),
        cause: BREAK,
        code: "XX000",
        mend: REPAIR,
        ..AWAY
    },
    Verdict {
        name: "data_corrupted",
        means: "the server finds its data damaged",
        setup: trigger!(
            "IF EXISTS (SELECT FROM {t}_fault) THEN RAISE EXCEPTION 'raised' USING ERRCODE = 'XX001'; END IF"
        ),
        cause: BREAK,
        code: "XX001",
        mend: REPAIR,
        ..AWAY
    },
    Verdict {
        name: "too_many_connections",
        means: "the login, the database or the server is at its limit of connections",
        login: true,
        cause: Sql(
            "ALTER ROLE {r} CONNECTION LIMIT 0; SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{r}'",
        ),
        code: "53300",
        mend: Sql("ALTER ROLE {r} CONNECTION LIMIT -1"),
        ..AWAY
    },
    Verdict {
        name: "read_only",
        means: "the server is a standby, or takes no writes",
        login: true,
        cause: Sql(
            "ALTER ROLE {r} SET default_transaction_read_only = on; SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{r}'",
        ),
        code: "25006",
        mend: Sql("ALTER ROLE {r} RESET default_transaction_read_only"),
        ..AWAY
    },
    Verdict {
        name: "unknown_for_all",
        means: "an error that nobody knows refuses a probe write, too: it isn't a row's fault",
        setup: "CREATE TABLE {t} (id varchar(100), v text); CREATE TABLE {t}_fault (id int); CREATE FUNCTION {t}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF EXISTS (SELECT FROM {t}_fault) THEN RAISE EXCEPTION 'nobody'; END IF; RETURN NULL; END $$; CREATE TRIGGER first BEFORE INSERT ON {t} FOR EACH STATEMENT EXECUTE FUNCTION {t}()",
        cause: BREAK,
        class: "unknown",
        code: "P0001",
        mend: REPAIR,
        ..AWAY
    },
    Verdict {
        name: "view_without_rule",
        means: "the table has become a view that can't be inserted into",
        cause: Sql("ALTER TABLE {t} RENAME TO {t}_base; CREATE VIEW {t} AS SELECT DISTINCT id, v FROM {t}_base"),
        class: "unknown",
        code: "55000",
        mend: Sql("DROP VIEW {t}; ALTER TABLE {t}_base RENAME TO {t}"),
        ..AWAY
    },
    Verdict {
        name: "database_closed",
        means: "the database accepts no connections",
        own: true,
        cause: Sql(
            "ALTER DATABASE {d} WITH ALLOW_CONNECTIONS false; SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{d}'",
        ),
        class: "unknown",
        code: "55000",
        mend: Sql("ALTER DATABASE {d} WITH ALLOW_CONNECTIONS true"),
        ..AWAY
    },
    Verdict {
        name: "table_gone",
        means: "the table isn't there any more",
        cause: Sql("ALTER TABLE {t} RENAME TO {t}_away"),
        code: "42P01",
        names: &["{t}"],
        mend: Sql("ALTER TABLE {t}_away RENAME TO {t}"),
        ..SETUP
    },
    Verdict {
        name: "column_gone",
        means: "a column isn't there any more",
        cause: Sql("ALTER TABLE {t} RENAME COLUMN v TO w"),
        code: "42703",
        names: &["column v"],
        mend: Sql("ALTER TABLE {t} RENAME COLUMN w TO v"),
        ..SETUP
    },
    Verdict {
        name: "schema_gone",
        means: "the schema isn't there any more",
        setup: "CREATE SCHEMA {t}_s; CREATE TABLE {t}_s.{t} (id varchar(100), v varchar(100))",
        table: "{t}_s.{t}",
        audited: "{t}_s.{t}",
        cause: Sql("ALTER SCHEMA {t}_s RENAME TO {t}_away"),
        code: "42P01",
        names: &["{t}_s"],
        mend: Sql("ALTER SCHEMA {t}_away RENAME TO {t}_s"),
        ..SETUP
    },
    Verdict {
        name: "ledger_gone",
        means: "the ledger isn't there any more; it is never made anew while the pipeline runs",
        cause: Sql("ALTER TABLE {l} RENAME TO {l}_away"),
        code: "ledger_missing",
        names: &["{l}"],
        mend: Sql("ALTER TABLE {l}_away RENAME TO {l}"),
        ..SETUP
    },
    Verdict {
        name: "privilege_gone",
        means: "the login may not insert any more",
        login: true,
        cause: Sql("REVOKE INSERT ON {t} FROM {r}"),
        code: "42501",
        names: &["{t}", "INSERT"],
        mend: Sql("GRANT INSERT ON {t} TO {r}"),
        ..SETUP
    },
    Verdict {
        name: "schema_privilege_gone",
        means: "the login may not use the schema any more",
        login: true,
        setup: "CREATE SCHEMA {t}_s; CREATE TABLE {t}_s.{t} (id varchar(100), v varchar(100)); GRANT USAGE ON SCHEMA {t}_s TO {r}; GRANT SELECT, INSERT ON {t}_s.{t} TO {r}",
        table: "{t}_s.{t}",
        audited: "{t}_s.{t}",
        cause: Sql("REVOKE USAGE ON SCHEMA {t}_s FROM {r}"),
        code: "42501",
        names: &["{t}_s"],
        mend: Sql("GRANT USAGE ON SCHEMA {t}_s TO {r}"),
        ..SETUP
    },
    Verdict {
        name: "generated_always",
        means: "the column has become one that the server fills itself",
        setup: "CREATE TABLE {t} (id varchar(100), v int NOT NULL)",
        good: "\"v\":{n}",
        cause: Sql("ALTER TABLE {t} ALTER v ADD GENERATED ALWAYS AS IDENTITY"),
        code: "428C9",
        names: &["column v"],
        mend: Sql("ALTER TABLE {t} ALTER v DROP IDENTITY"),
        ..SETUP
    },
    Verdict {
        name: "key_without_index",
        means: "the column that repeats are recognised by has lost its unique index",
        setup: "CREATE TABLE {t} (id varchar(100) CONSTRAINT {t}_key UNIQUE, v text)",
        pipeline: "deduplicate = \"column:id\"",
        cause: Sql("ALTER TABLE {t} DROP CONSTRAINT {t}_key"),
        code: "42P10",
        names: &["unique key on id"],
        mend: Sql("ALTER TABLE {t} ADD CONSTRAINT {t}_key UNIQUE (id)"),
        ..SETUP
    },
    Verdict {
        name: "login_refused",
        means: "the login may not log in any more",
        login: true,
        cause: Sql(
            "ALTER ROLE {r} NOLOGIN; SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{r}'",
        ),
        code: "28000",
        names: &["login"],
        mend: Sql("ALTER ROLE {r} LOGIN"),
        ..SETUP
    },
    Verdict {
        name: "password_changed",
        means: "the login has another password by now",
        login: true,
        cause: Sql(
            "ALTER ROLE {r} PASSWORD 'another'; SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{r}'",
        ),
        code: "28P01",
        names: &["login"],
        mend: Sql("ALTER ROLE {r} PASSWORD 'right'"),
        ..SETUP
    },
    Verdict {
        name: "database_gone",
        means: "the database isn't there any more",
        own: true,
        cause: Sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{d}'; ALTER DATABASE {d} RENAME TO {d}_away",
        ),
        code: "3D000",
        names: &["{d}"],
        mend: Sql("ALTER DATABASE {d}_away RENAME TO {d}"),
        ..SETUP
    },
];
