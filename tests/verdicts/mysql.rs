//! Errors of MySQL and MariaDB, genuine ones as far as a test can make them; those of a server that
//! is ill are raised by a trigger. Where the two differ, each has its own line.

use super::verdict::Act::{self, Sql};
use super::verdict::{AWAY, CHILD, CONTENTION, On, ROW, SETUP, Verdict};

/// A table whose rows go through this first. What is not transactional stays after a ROLLBACK.
macro_rules! trigger {
    ($body:literal) => {
        trigger!($body, "v varchar(100)")
    };
    ($body:literal, $columns:literal) => {
        concat!(
            "CREATE TABLE {t} (id varchar(100), ",
            $columns,
            "); CREATE TABLE {t}_fault (id int); CREATE TABLE {t}_once (n int) ENGINE = MyISAM; \
             CREATE TRIGGER {t}_first BEFORE INSERT ON {t} FOR EACH ROW BEGIN ",
            $body,
            "; END"
        )
    };
}

/// A table, and a procedure that ends the worker's sessions. MySQL can't list sessions (3854) while
/// one of them runs a statement with bytes in it: then it asks again.
macro_rules! kick {
    () => {
        "CREATE TABLE {t} (id varchar(100), v varchar(100)); CREATE PROCEDURE {t}_kick() BEGIN \
         DECLARE CONTINUE HANDLER FOR 1094, 3854 BEGIN END; \
         SET @session = 0; REPEAT \
         SET @session = (SELECT MIN(id) FROM information_schema.processlist WHERE user = '{r}' AND id > @session); \
         IF @session IS NOT NULL THEN KILL @session; END IF; UNTIL @session IS NULL END REPEAT; END"
    };
}

const BREAK: Act = Sql("INSERT INTO {t}_fault VALUES (1)");
const REPAIR: Act = Sql("DELETE FROM {t}_fault");

pub const TABLE: &[Verdict] = &[
    Verdict {
        name: "text_too_long",
        means: "a value is longer than its column, after a trigger has made it",
        setup: trigger!("IF NEW.v = 'bad' THEN SET NEW.v = REPEAT('x', 101); END IF"),
        code: "1406",
        column: Some("v"),
        ..ROW
    },
    Verdict {
        name: "number_out_of_range",
        means: "a number doesn't fit into its column, after a trigger has made it",
        setup: trigger!("SET NEW.v = NEW.v * 1000", "v int"),
        good: "\"v\":{n}",
        bad: Some("\"v\":9000000"),
        code: "1264",
        column: Some("v"),
        ..ROW
    },
    Verdict {
        name: "not_a_number",
        means: "a trigger puts a text that isn't a number into a column of numbers",
        setup: trigger!("SET NEW.n = NEW.v", "v varchar(100), n int"),
        code: "1366",
        ..ROW
    },
    Verdict {
        name: "not_a_date",
        means: "a trigger puts a text that isn't a date into a column of dates",
        setup: trigger!("SET NEW.d = NEW.v", "v varchar(100), d datetime"),
        good: "\"v\":\"2026-01-01\"",
        code: "1292",
        ..ROW
    },
    Verdict {
        name: "no_such_day",
        means: "a trigger reads a text as a date",
        setup: trigger!("SET NEW.d = STR_TO_DATE(NEW.v, '%Y-%m-%d')", "v varchar(100), d date"),
        good: "\"v\":\"2026-01-01\"",
        code: "1411",
        ..ROW
    },
    Verdict {
        name: "division_by_zero",
        means: "a trigger divides by the value",
        setup: trigger!("SET NEW.v = 100 / NEW.v", "v int"),
        good: "\"v\":5",
        bad: Some("\"v\":0"),
        code: "1365",
        ..ROW
    },
    Verdict {
        name: "not_null",
        means: "a column that takes no NULL gets one",
        setup: trigger!("IF NEW.v = 'bad' THEN SET NEW.v = NULL; END IF", "v varchar(100) NOT NULL"),
        code: "1048",
        column: Some("v"),
        ..ROW
    },
    Verdict {
        name: "unique_key",
        means: "another row has the same value in a second unique key",
        setup: "CREATE TABLE {t} (id varchar(100), v varchar(100), UNIQUE KEY {t}_v_once (v))",
        bad: Some("\"v\":\"0\""),
        code: "1062",
        on: On::Mariadb,
        constraint: Some("{t}_v_once"),
        ..ROW
    },
    Verdict {
        name: "unique_key_named_with_table",
        means: "another row has the same value in a second unique key",
        setup: "CREATE TABLE {t} (id varchar(100), v varchar(100), UNIQUE KEY {t}_v_once (v))",
        bad: Some("\"v\":\"0\""),
        code: "1062",
        on: On::Mysql,
        constraint: Some("{t}.{t}_v_once"),
        ..ROW
    },
    Verdict {
        name: "check",
        means: "a check constraint refuses the row",
        on: On::Mariadb,
        setup: "CREATE TABLE {t} (id varchar(100), v varchar(100), CONSTRAINT {t}_good CHECK (v <> 'bad'))",
        code: "4025",
        constraint: Some("{t}_good"),
        ..ROW
    },
    Verdict {
        name: "check_of_mysql",
        means: "a check constraint refuses the row",
        on: On::Mysql,
        setup: "CREATE TABLE {t} (id varchar(100), v varchar(100), CONSTRAINT {t}_good CHECK (v <> 'bad'))",
        code: "3819",
        constraint: Some("{t}_good"),
        ..ROW
    },
    Verdict {
        name: "trigger_signal",
        means: "a trigger refuses the row with SIGNAL",
        setup: trigger!("IF NEW.v = 'bad' THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'not this one'; END IF"),
        code: "1644",
        ..ROW
    },
    Verdict {
        name: "result_out_of_range",
        means: "an expression of the table is beyond the range of its type",
        setup: trigger!("SET NEW.v = NEW.v - 5", "v bigint unsigned"),
        good: "\"v\":7",
        bad: Some("\"v\":3"),
        code: "1690",
        ..ROW
    },
    Verdict {
        name: "character_not_in_encoding",
        means: "a character isn't in the column's character set",
        setup: "CREATE TABLE {t} (id varchar(100), v varchar(100) CHARACTER SET latin1)",
        bad: Some("\"v\":\"🦊\""),
        code: "1366",
        column: Some("v"),
        ..ROW
    },
    Verdict {
        name: "not_json",
        means: "a trigger puts what isn't JSON into a JSON column",
        on: On::Mariadb,
        setup: trigger!("IF NEW.v = 'bad' THEN SET NEW.j = '{'; END IF", "v varchar(100), j json"),
        code: "4025",
        constraint: Some("{t}.j"),
        ..ROW
    },
    Verdict {
        name: "not_json_of_mysql",
        means: "a trigger puts what isn't JSON into a JSON column",
        on: On::Mysql,
        setup: trigger!("IF NEW.v = 'bad' THEN SET NEW.j = '{'; END IF", "v varchar(100), j json"),
        code: "3140",
        ..ROW
    },
    Verdict {
        name: "no_partition",
        means: "no partition takes the row",
        setup: "CREATE TABLE {t} (id varchar(100), v varchar(100)) PARTITION BY LIST COLUMNS (v) (PARTITION one VALUES IN ('1'))",
        good: "\"v\":\"1\"",
        code: "1526",
        ..ROW
    },
    Verdict {
        name: "view_check_option",
        means: "a view doesn't show the row that is inserted through it",
        setup: "CREATE TABLE {t}_all (id varchar(100), v varchar(100)); CREATE VIEW {t} AS SELECT * FROM {t}_all WHERE v <> 'bad' WITH CHECK OPTION",
        code: "1369",
        ..ROW
    },
    Verdict {
        name: "missing_parent",
        means: "the row that a foreign key names isn't there yet",
        setup: "CREATE TABLE {t}_parent (v varchar(100) PRIMARY KEY); INSERT INTO {t}_parent VALUES ('p'); CREATE TABLE {t} (id varchar(100), v varchar(100), CONSTRAINT {t}_of FOREIGN KEY (v) REFERENCES {t}_parent (v))",
        good: "\"v\":\"p\"",
        code: "1452",
        mend: Sql("INSERT INTO {t}_parent VALUES ('bad')"),
        ..CHILD
    },
    Verdict {
        name: "trigger_changes_its_table",
        means: "a trigger changes the table that it belongs to",
        setup: trigger!("IF NEW.v = 'bad' THEN DELETE FROM {t} WHERE v = 'x'; END IF"),
        class: "unknown",
        code: "1442",
        ..ROW
    },
    Verdict {
        name: "more_than_one_row",
        means: "a subquery of a trigger returns more than one row",
        setup: trigger!("IF NEW.v = 'bad' THEN SET NEW.v = (SELECT 1 UNION SELECT 2); END IF"),
        class: "unknown",
        code: "1242",
        ..ROW
    },
    Verdict {
        name: "case_without_else",
        means: "a CASE of a trigger has no branch for the value",
        setup: trigger!("CASE WHEN NEW.v <> 'bad' THEN SET @x = 1; END CASE"),
        class: "unknown",
        code: "1339",
        ..ROW
    },
    Verdict {
        name: "bad_regular_expression",
        means: "the value is used as a regular expression and isn't one",
        on: On::Mariadb,
        setup: trigger!("SET @x = 'a' REGEXP NEW.v"),
        bad: Some("\"v\":\"(\""),
        class: "unknown",
        code: "1139",
        ..ROW
    },
    Verdict {
        name: "bad_regular_expression_of_mysql",
        means: "the value is used as a regular expression and isn't one",
        on: On::Mysql,
        setup: trigger!("SET @x = 'a' REGEXP NEW.v"),
        bad: Some("\"v\":\"(\""),
        class: "unknown",
        code: "3691",
        ..ROW
    },
    Verdict {
        name: "procedure_missing_for_one_row",
        means: "a trigger calls for this row what isn't there; the checks find nothing wrong with the table",
        setup: trigger!("IF NEW.v = 'bad' THEN CALL {t}_nowhere(); END IF"),
        class: "sink_misconfigured",
        code: "1305",
        ..ROW
    },
    Verdict {
        name: "row_kills_session",
        means: "the session ends whenever this row is written, and others pass",
        on: On::Mariadb,
        setup: trigger!("IF NEW.v = 'bad' THEN KILL CONNECTION_ID(); END IF"),
        code: "connection_lost",
        ..ROW
    },
    Verdict {
        name: "table_locked",
        means: "another session holds a lock for longer than `lock_timeout`",
        cause: Sql("BEGIN; LOCK TABLES {t} WRITE"),
        code: "1205",
        mend: Sql("UNLOCK TABLES"),
        ..CONTENTION
    },
    Verdict {
        name: "row_locked",
        means: "another session has the row that a trigger needs",
        setup: "CREATE TABLE {t}_counter (n int); INSERT INTO {t}_counter VALUES (0); CREATE TABLE {t} (id varchar(100), v varchar(100)); CREATE TRIGGER {t}_first BEFORE INSERT ON {t} FOR EACH ROW UPDATE {t}_counter SET n = n + 1",
        cause: Sql("BEGIN; UPDATE {t}_counter SET n = n + 1"),
        code: "1205",
        mend: Sql("ROLLBACK"),
        ..CONTENTION
    },
    Verdict {
        name: "deadlock",
        means: "a deadlock with another transaction",
        setup: trigger!(
            "INSERT INTO {t}_once VALUES (1); IF (SELECT count(*) FROM {t}_once) = 1 THEN SIGNAL SQLSTATE '40001' SET MYSQL_ERRNO = 1213, MESSAGE_TEXT = 'raised'; END IF"
        ),
        code: "1213",
        ..CONTENTION
    },
    Verdict {
        name: "table_changed",
        means: "the table was changed while the transaction ran",
        setup: trigger!(
            "INSERT INTO {t}_once VALUES (1); IF (SELECT count(*) FROM {t}_once) = 1 THEN SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = 1412, MESSAGE_TEXT = 'raised'; END IF"
        ),
        code: "1412",
        ..CONTENTION
    },
    Verdict {
        name: "statement_timeout",
        means: "a statement takes longer than `statement_timeout`",
        on: On::Mariadb,
        setup: trigger!("SET @x = (SELECT SLEEP(60) FROM {t}_fault LIMIT 1)"),
        database: "statement_timeout = \"300ms\"
lock_timeout = \"5s\"",
        cause: BREAK,
        code: "1969",
        mend: REPAIR,
        ..CONTENTION
    },
    Verdict {
        name: "statement_killed",
        means: "somebody kills the statement",
        setup: trigger!(
            "INSERT INTO {t}_once VALUES (1); IF (SELECT count(*) FROM {t}_once) = 1 THEN KILL QUERY CONNECTION_ID(); END IF"
        ),
        class: "sink_unavailable",
        code: "1317",
        ..CONTENTION
    },
    Verdict {
        name: "session_killed",
        means: "somebody kills the session",
        setup: trigger!(
            "INSERT INTO {t}_once VALUES (1); IF (SELECT count(*) FROM {t}_once) = 1 THEN KILL CONNECTION_ID(); END IF"
        ),
        class: "sink_unavailable",
        code: "1927",
        on: On::Mariadb,
        ..CONTENTION
    },
    Verdict {
        name: "session_killed_by_mysql",
        means: "somebody kills the session",
        setup: trigger!(
            "INSERT INTO {t}_once VALUES (1); IF (SELECT count(*) FROM {t}_once) = 1 THEN KILL CONNECTION_ID(); END IF"
        ),
        class: "sink_unavailable",
        code: "1317",
        on: On::Mysql,
        ..CONTENTION
    },
    Verdict {
        name: "tablespace_full",
        means: "the tablespace is full",
        setup: trigger!(
            "IF EXISTS (SELECT * FROM {t}_fault) THEN SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = 1114, MESSAGE_TEXT = 'raised'; END IF"
        ),
        cause: BREAK,
        code: "1114",
        mend: REPAIR,
        ..AWAY
    },
    Verdict {
        name: "disk_full",
        means: "the server's disk is full",
        setup: trigger!(
            "IF EXISTS (SELECT * FROM {t}_fault) THEN SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = 1021, MESSAGE_TEXT = 'raised'; END IF"
        ),
        cause: BREAK,
        code: "1021",
        mend: REPAIR,
        ..AWAY
    },
    Verdict {
        name: "out_of_memory",
        means: "the server is out of memory",
        setup: trigger!(
            "IF EXISTS (SELECT * FROM {t}_fault) THEN SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = 1041, MESSAGE_TEXT = 'raised'; END IF"
        ),
        cause: BREAK,
        code: "1041",
        mend: REPAIR,
        ..AWAY
    },
    Verdict {
        name: "file_error",
        means: "the server can't read or write its files",
        setup: trigger!(
            "IF EXISTS (SELECT * FROM {t}_fault) THEN SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = 1026, MESSAGE_TEXT = 'raised'; END IF"
        ),
        cause: BREAK,
        code: "1026",
        mend: REPAIR,
        ..AWAY
    },
    Verdict {
        name: "read_only",
        means: "the server takes no writes",
        setup: trigger!(
            "IF EXISTS (SELECT * FROM {t}_fault) THEN SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = 1290, MESSAGE_TEXT = 'raised'; END IF"
        ),
        cause: BREAK,
        code: "1290",
        mend: REPAIR,
        ..AWAY
    },
    Verdict {
        name: "shutting_down",
        means: "the server is going down",
        setup: trigger!(
            "IF EXISTS (SELECT * FROM {t}_fault) THEN SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = 1053, MESSAGE_TEXT = 'raised'; END IF"
        ),
        cause: BREAK,
        code: "1053",
        mend: REPAIR,
        ..AWAY
    },
    Verdict {
        name: "cluster_not_ready",
        means: "the cluster's node isn't ready",
        setup: trigger!(
            "IF EXISTS (SELECT * FROM {t}_fault) THEN SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = 1047, MESSAGE_TEXT = 'raised'; END IF"
        ),
        cause: BREAK,
        code: "1047",
        mend: REPAIR,
        ..AWAY
    },
    Verdict {
        name: "login_at_its_limit",
        means: "the login, or the server, is at its limit of connections or statements",
        login: true,
        setup: kick!(),
        cause: Sql("ALTER USER {r} WITH MAX_QUERIES_PER_HOUR 1; CALL {t}_kick()"),
        code: "1226",
        mend: Sql("ALTER USER {r} WITH MAX_QUERIES_PER_HOUR 0; FLUSH USER_RESOURCES"),
        ..AWAY
    },
    Verdict {
        name: "unknown_for_all",
        means: "an error that nobody knows refuses a probe write, too: it isn't a row's fault",
        cause: Sql(
            "CREATE TRIGGER {l}_no BEFORE INSERT ON {l} FOR EACH ROW SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = 30001, MESSAGE_TEXT = 'nobody'",
        ),
        class: "unknown",
        code: "30001",
        mend: Sql("DROP TRIGGER {l}_no"),
        ..AWAY
    },
    Verdict {
        name: "table_gone",
        means: "the table isn't there any more",
        cause: Sql("RENAME TABLE {t} TO {t}_away"),
        code: "1146",
        names: &["{t}"],
        mend: Sql("RENAME TABLE {t}_away TO {t}"),
        ..SETUP
    },
    Verdict {
        name: "column_gone",
        means: "a column isn't there any more",
        cause: Sql("ALTER TABLE {t} RENAME COLUMN v TO w"),
        code: "1054",
        names: &["column v"],
        mend: Sql("ALTER TABLE {t} RENAME COLUMN w TO v"),
        ..SETUP
    },
    Verdict {
        name: "ledger_gone",
        means: "the ledger isn't there any more; it is never made anew while the pipeline runs",
        cause: Sql("RENAME TABLE {l} TO {l}_away"),
        code: "1146",
        names: &["{l}"],
        mend: Sql("RENAME TABLE {l}_away TO {l}"),
        ..SETUP
    },
    Verdict {
        name: "triggers_table_gone",
        means: "a trigger uses for every row a table that isn't there: from `storm.min` messages on that is a storm",
        setup: "CREATE TABLE {t}_log (v varchar(100)); CREATE TABLE {t} (id varchar(100), v varchar(100)); \
                CREATE TRIGGER {t}_first BEFORE INSERT ON {t} FOR EACH ROW INSERT INTO {t}_log VALUES (NEW.v)",
        storm: 6,
        cause: Sql("RENAME TABLE {t}_log TO {t}_away"),
        code: "1146",
        mend: Sql("RENAME TABLE {t}_away TO {t}_log; ALTER TABLE {t} ADD COLUMN mended int"),
        ends: "`rabbit-sink resume PIPELINE`, or a change of the pipeline's table",
        ..SETUP
    },
    Verdict {
        name: "privilege_gone",
        means: "the login may not insert any more",
        login: true,
        cause: Sql("REVOKE INSERT ON {t} FROM {r}"),
        code: "1142",
        names: &["{t}"],
        mend: Sql("GRANT INSERT ON {t} TO {r}"),
        ..SETUP
    },
    Verdict {
        name: "column_privilege_gone",
        means: "the login may not fill a column any more",
        login: true,
        cause: Sql("REVOKE INSERT ON {t} FROM {r}; GRANT INSERT (id) ON {t} TO {r}"),
        code: "1143",
        names: &["v"],
        mend: Sql("GRANT INSERT ON {t} TO {r}"),
        ..SETUP
    },
    Verdict {
        name: "database_privilege_gone",
        means: "the login has no rights in the database any more",
        login: true,
        setup: kick!(),
        cause: Sql("REVOKE ALL PRIVILEGES, GRANT OPTION FROM {r}; CALL {t}_kick()"),
        code: "1044",
        mend: Sql("GRANT ALL ON {l} TO {r}; GRANT ALL ON {l}_pipelines TO {r}; GRANT SELECT, INSERT ON {t} TO {r}"),
        ..SETUP
    },
    Verdict {
        name: "view_that_takes_no_rows",
        means: "the table has become a view that can't be inserted into",
        cause: Sql("RENAME TABLE {t} TO {t}_base; CREATE VIEW {t} AS SELECT DISTINCT id, v FROM {t}_base"),
        code: "1471",
        mend: Sql("DROP VIEW {t}; RENAME TABLE {t}_base TO {t}"),
        ..SETUP
    },
    Verdict {
        name: "generated_always",
        means: "the column has become one that the server fills itself",
        on: On::Mariadb,
        cause: Sql(
            "ALTER TABLE {t} DROP COLUMN v; ALTER TABLE {t} ADD COLUMN v varchar(100) GENERATED ALWAYS AS (CONCAT(id, 'x')) VIRTUAL",
        ),
        code: "1906",
        names: &["column v"],
        mend: Sql("ALTER TABLE {t} DROP COLUMN v; ALTER TABLE {t} ADD COLUMN v varchar(100)"),
        ..SETUP
    },
    Verdict {
        name: "generated_always_of_mysql",
        means: "the column has become one that the server fills itself",
        on: On::Mysql,
        cause: Sql(
            "ALTER TABLE {t} DROP COLUMN v; ALTER TABLE {t} ADD COLUMN v varchar(100) GENERATED ALWAYS AS (CONCAT(id, 'x')) VIRTUAL",
        ),
        code: "3105",
        names: &["column v"],
        mend: Sql("ALTER TABLE {t} DROP COLUMN v; ALTER TABLE {t} ADD COLUMN v varchar(100)"),
        ..SETUP
    },
    Verdict {
        name: "password_changed",
        means: "the login has another password by now",
        login: true,
        setup: kick!(),
        cause: Sql("ALTER USER {r} IDENTIFIED BY 'another'; CALL {t}_kick()"),
        code: "1045",
        names: &["login"],
        mend: Sql("ALTER USER {r} IDENTIFIED BY 'right'"),
        ..SETUP
    },
    Verdict {
        name: "login_locked",
        means: "the login is locked",
        on: On::Mariadb,
        login: true,
        setup: kick!(),
        cause: Sql("ALTER USER {r} ACCOUNT LOCK; CALL {t}_kick()"),
        code: "4151",
        names: &["login"],
        mend: Sql("ALTER USER {r} ACCOUNT UNLOCK"),
        ..SETUP
    },
    Verdict {
        name: "login_locked_by_mysql",
        means: "the login is locked",
        on: On::Mysql,
        login: true,
        setup: kick!(),
        cause: Sql("ALTER USER {r} ACCOUNT LOCK; CALL {t}_kick()"),
        code: "3118",
        names: &["login"],
        mend: Sql("ALTER USER {r} ACCOUNT UNLOCK"),
        ..SETUP
    },
    Verdict {
        name: "database_gone",
        means: "the database isn't there any more",
        own: true,
        setup: "CREATE TABLE {t} (id varchar(100), v varchar(100))",
        cause: Sql(
            "CREATE DATABASE {d}_away; RENAME TABLE {d}.{t} TO {d}_away.{t}, {d}.rabbit_sink_ledger TO {d}_away.l, {d}.rabbit_sink_ledger_pipelines TO {d}_away.p; DROP DATABASE {d}",
        ),
        code: "1049",
        names: &["{d}"],
        mend: Sql(
            "CREATE DATABASE {d}; RENAME TABLE {d}_away.{t} TO {d}.{t}, {d}_away.l TO {d}.rabbit_sink_ledger, {d}_away.p TO {d}.rabbit_sink_ledger_pipelines; DROP DATABASE {d}_away",
        ),
        ..SETUP
    },
];
