//! SQLite, in files of its own.
#![cfg(feature = "sqlite")]

// Helpers aren't tests to clippy, but nothing else calls them.
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod sink_cases;

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use rabbit_sink::catalogue::Kind;
use rabbit_sink::config::{DatabaseKind, Secret};
use rabbit_sink::error::ErrorClass;
use rabbit_sink::message::{Cell, Unit};
use rabbit_sink::plan::{Deduplication, WritePlan};
use rabbit_sink::sink::{self};
use sink_cases::*;

struct File {
    folder: tempfile::TempDir,
    db: Fresh,
}

#[allow(clippy::unwrap_used)]
fn fresh() -> File {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}?mode=rwc", folder.path().join("t.db").display());
    File { folder, db: Fresh { kind: DatabaseKind::Sqlite, url } }
}

macro_rules! cases {
    ($($name:ident $(($($argument:expr),+))?;)+) => {$(
        #[tokio::test(flavor = "multi_thread")]
        async fn $name() {
            let file = fresh();
            cases::$name(&file.db $($(, $argument)+)?).await;
        }
    )+};
}

cases! {
    ledger_duplicates;
    absent_null_and_default;
    no_columns("CREATE TABLE defaults (a INTEGER PRIMARY KEY, b TEXT DEFAULT 'x')");
    slices;
    expressions;
    many_rows;
    a_bad_row_leaves_nothing;
    by_column;
    by_column_as_the_server_compares("CREATE TABLE users (login TEXT COLLATE NOCASE UNIQUE, note TEXT)");
    ledger_made_at_once;
    ledger_by_hand;
    marker;
    prune("'2000-01-01 00:00:00'");
    probe_and_checks("no_such_table");
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_at_once_with_a_ledger() {
    cases::sessions_at_once(&fresh().db, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_at_once_by_column() {
    cases::sessions_at_once(&fresh().db, true).await;
}

#[tokio::test]
async fn every_kind_arrives_as_it_was_sent() {
    let file = fresh();
    file.db
        .run(
            "CREATE TABLE kinds (i INTEGER, b BOOLEAN, n DECIMAL(30,10), f REAL, s TEXT, y BLOB, d DATE, t TIME, \
             ts DATETIME, tz TIMESTAMPTZ, u UUID, j JSON, o STRING, a)",
        )
        .await;
    let columns = ["i", "b", "n", "f", "s", "y", "d", "t", "ts", "tz", "u", "j", "o", "a"];
    let plan = file.db.plan("kinds", &columns, Deduplication::None).await;
    let mut session = file.db.session().await;
    let uuid = "123e4567-e89b-12d3-a456-426614174000";
    let rows = [
        vec![
            Cell::Int(i64::MAX),
            Cell::Bool(true),
            text("-12.3400"),
            Cell::Float(f64::MAX),
            text("007"),
            bytes(b"\0\xff"),
            Cell::Date(2_932_896),
            Cell::Time(86_399_999_999),
            Cell::Timestamp(253_402_300_799_999_999),
            Cell::Timestamp(0),
            text(uuid),
            text("{\"a\": 1.10}"),
            text("x1"),
            text("1.50"),
        ],
        vec![
            Cell::Int(i64::MIN),
            Cell::Bool(false),
            text("9223372036854775807"),
            Cell::Float(5e-324),
            text(""),
            bytes(b""),
            Cell::Date(-719_162),
            Cell::Time(0),
            Cell::Timestamp(-62_135_596_800_000_000),
            Cell::Timestamp(1_500_000),
            text(uuid),
            text("12"),
            text("12"),
            Cell::Float(1.5),
        ],
    ];
    let units: Vec<Unit> = rows.into_iter().map(|cells| unit("", "", cells)).collect();
    write(&mut *session, &plan, &units).await.unwrap();
    let lines = file
        .db
        .lines(
            "SELECT i, b, n, f = 1.7976931348623157e308 OR f = 5e-324, s, hex(y), d, t, ts, tz, u, j, o, a, typeof(n), typeof(a) \
             FROM kinds ORDER BY i DESC",
        )
        .await;
    assert_eq!(
        lines,
        [
            format!(
                "9223372036854775807 1 -12.34 1 007 00FF 9999-12-31 23:59:59.999999 9999-12-31 23:59:59.999999 \
                 1970-01-01 00:00:00+00:00 {uuid} {{\"a\": 1.10}} x1 1.50 real text"
            ),
            format!(
                "-9223372036854775808 0 9223372036854775807 1   0001-01-01 00:00:00 0001-01-01 00:00:00 \
                 1970-01-01 00:00:01.500000+00:00 {uuid} 12 12 1.5 integer real"
            ),
        ]
    );
}

#[tokio::test]
async fn what_sqlite_would_change_is_refused() {
    let file = fresh();
    file.db.run("CREATE TABLE t (n DECIMAL(40,20), o STRING, j JSON, k INTEGER PRIMARY KEY)").await;
    let mut session = file.db.session().await;
    for (column, cell) in [
        ("n", text("0.12345678901234567890")),
        ("n", text("9223372036854775809")),
        ("o", text("007")),
        ("o", text("1.50")),
        ("j", text("12345678901234567890.1")),
    ] {
        let plan = file.db.plan("t", &[column], Deduplication::None).await;
        let failure = write(&mut *session, &plan, &[unit("", "", vec![cell])]).await;
        let failure = assert_failure(failure, ErrorClass::RowRejected, "lossy");
        assert_eq!(failure.column.as_deref(), Some(column));
    }
    // SQLite would number the row instead.
    let plan = file.db.plan("t", &["k"], Deduplication::None).await;
    let failure = write(&mut *session, &plan, &[unit("", "", vec![Cell::Null])]).await;
    assert_failure(failure, ErrorClass::RowRejected, "SQLITE_CONSTRAINT_NOTNULL");
    assert_eq!(file.db.count("t").await, 0);
}

#[tokio::test]
async fn descriptions() {
    let file = fresh();
    file.db
        .run(
            "CREATE TABLE \"odd \"\"name\" (id INTEGER PRIMARY KEY, a TEXT NOT NULL, b INT DEFAULT 5, \
             c INT GENERATED ALWAYS AS (b + 1) STORED, UNIQUE (a, b)); \
             CREATE UNIQUE INDEX part ON \"odd \"\"name\" (b) WHERE b > 1; \
             CREATE UNIQUE INDEX expression ON \"odd \"\"name\" (lower(a)); \
             CREATE TABLE w (k INTEGER PRIMARY KEY, v ANY) WITHOUT ROWID, STRICT; \
             CREATE VIEW v AS SELECT 1 AS x",
        )
        .await;
    let mut session = file.db.session().await;
    let table = session.describe(&name("odd \"name")).await.unwrap();
    let flags: Vec<_> = table
        .columns
        .iter()
        .map(|column| (&*column.name, column.nullable, column.has_default, column.generated))
        .collect();
    assert_eq!(
        flags,
        [("id", false, true, false), ("a", false, false, false), ("b", true, true, false), ("c", true, false, true)]
    );
    assert_eq!(table.unique_keys, [vec!["a".to_owned(), "b".into()], vec!["id".into()]]);
    let table = session.describe(&name("w")).await.unwrap();
    assert_eq!(table.unique_keys, [["k"]]);
    assert!(!table.columns[0].has_default && !table.columns[0].nullable);
    assert_eq!(table.columns[1].kind, Kind::Any);
    assert_failure(session.describe(&name("v")).await, ErrorClass::SinkMisconfigured, "view");
}

#[tokio::test]
async fn constraints_name_their_columns() {
    let file = fresh();
    file.db
        .run(
            "CREATE TABLE parent (id INTEGER PRIMARY KEY); \
             CREATE TABLE t (a TEXT NOT NULL, b INT CHECK (b > 0), p INT REFERENCES parent, \
             d INT REFERENCES parent DEFERRABLE INITIALLY DEFERRED); \
             CREATE TABLE s (i INT) STRICT",
        )
        .await;
    let plan = file.db.plan("t", &["a", "b", "p", "d"], file.db.ledger("p").await).await;
    let mut session = file.db.session().await;
    for (cells, code) in [
        (vec![Cell::Null, Cell::Int(1), Cell::Null, Cell::Null], "SQLITE_CONSTRAINT_NOTNULL"),
        (vec![text("x"), Cell::Int(0), Cell::Null, Cell::Null], "SQLITE_CONSTRAINT_CHECK"),
        (vec![text("x"), Cell::Int(1), Cell::Int(7), Cell::Null], "SQLITE_CONSTRAINT_FOREIGNKEY"),
        // Fails at COMMIT.
        (vec![text("x"), Cell::Int(1), Cell::Null, Cell::Int(7)], "SQLITE_CONSTRAINT_FOREIGNKEY"),
    ] {
        assert_failure(write(&mut *session, &plan, &[unit("m", "", cells)]).await, ErrorClass::RowRejected, code);
        assert_eq!((file.db.count("t").await, file.db.count("rabbit_sink_ledger").await), (0, 0));
    }
    let good = unit("m", "", vec![text("x"), Cell::Int(1), Cell::Null, Cell::Null]);
    assert_eq!(letters(&write(&mut *session, &plan, &[good]).await.unwrap()), "w");
    let plan = file.db.plan("s", &["i"], Deduplication::None).await;
    let failure = write(&mut *session, &plan, &[unit("m", "", vec![bytes(b"x")])]).await;
    let failure = assert_failure(failure, ErrorClass::RowRejected, "SQLITE_CONSTRAINT_DATATYPE");
    assert_eq!(failure.column.as_deref(), Some("i"));
}

#[tokio::test]
async fn a_plan_ends_with_the_columns_that_it_was_made_for() {
    let file = fresh();
    let db = &file.db;
    let mut session = db.session().await;
    db.run(r#"CREATE TABLE t (id INTEGER PRIMARY KEY, "it's" DECIMAL(9,2), rest INT)"#).await;
    let value = || vec![Cell::Int(1), text("1.2")];
    for (nth, kind) in ["DECIMAL(9,1)", "TEXT", "TEXT NOT NULL", "DECIMAL(9,2)"].iter().enumerate() {
        let plan = db.plan("T", &["id", "it's"], db.ledger("orders").await).await;
        let by_column = WritePlan { deduplication: Deduplication::Column(0), ..plan.clone() };
        // Another column is nobody's business.
        db.run("ALTER TABLE t DROP rest; ALTER TABLE t ADD rest INT").await;
        write(&mut *session, &plan, &[unit(&format!("before {nth}"), "", value())]).await.unwrap();
        db.run(&format!(r#"DROP TABLE t; CREATE TABLE t (id INTEGER PRIMARY KEY, "it's" {kind}, rest INT)"#)).await;
        for plan in [&plan, &by_column] {
            let units = [unit(&format!("after {nth}"), "", value())];
            let failure = write(&mut *session, plan, &units).await.unwrap_err();
            assert!(sink::is_table_changed(&failure), "{kind}: {failure}");
            assert!(sink::is_table_changed(&session.probe_write(plan).await.unwrap_err()), "{kind}");
        }
        assert_eq!(db.count("t").await, 0, "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_writer_is_contention() {
    let file = fresh();
    file.db.run("CREATE TABLE t (a INT)").await;
    let plan = file.db.plan("t", &["a"], Deduplication::None).await;
    let mut config = file.db.config();
    config.lock_timeout = Duration::from_millis(200);
    let database = sink::open(&config).unwrap();
    let mut session = database.connect().await.unwrap();
    let mut other = <sqlx::SqliteConnection as sqlx::Connection>::connect(&file.db.url).await.unwrap();
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
    let failure = write(&mut *session, &plan, &[unit("", "", vec![Cell::Int(1)])]).await;
    assert_failure(failure, ErrorClass::SinkContention, "SQLITE_BUSY");
    sqlx::raw_sql("ROLLBACK").execute(&mut other).await.unwrap();
    assert_eq!(letters(&write(&mut *session, &plan, &[unit("", "", vec![Cell::Int(1)])]).await.unwrap()), "w");
}

#[tokio::test]
async fn settings_and_weaknesses() {
    let file = fresh();
    let mut config = file.db.config();
    config.url = Secret::new(format!("sqlite://{}", file.folder.path().join("made here.db").display()));
    let mut session = sink::open(&config).unwrap().connect().await.unwrap();
    assert!(file.folder.path().join("made here.db").exists());
    assert_eq!(session.weaknesses().await.unwrap(), Vec::<String>::new());
    config.on_connect = vec!["PRAGMA synchronous = NORMAL".into()];
    let mut session = sink::open(&config).unwrap().connect().await.unwrap();
    assert!(session.weaknesses().await.unwrap()[0].contains("NORMAL"));
    config.on_connect = vec!["SELECT 'secret' FROM".into()];
    let failure = sink::open(&config).unwrap().connect().await.map(drop);
    let failure = assert_failure(failure, ErrorClass::SinkMisconfigured, "SQLITE_ERROR");
    assert!(!failure.to_string().contains("secret"));
    for url in ["sqlite::memory:", "sqlite://x?mode=memory", "sqlite://", "sqlite://x?mode=odd"] {
        config.url = Secret::new(url);
        assert_failure(sink::open(&config).map(drop), ErrorClass::Config, "url");
    }
}

#[tokio::test]
async fn files_that_cannot_be_used() {
    let file = fresh();
    let mut config = file.db.config();
    config.url = Secret::new(format!("sqlite://{}/nowhere/t.db", file.folder.path().display()));
    let failure = sink::open(&config).unwrap().connect().await.map(drop);
    assert_failure(failure, ErrorClass::SinkUnavailable, "SQLITE_CANTOPEN");
    let path = file.folder.path().join("text.db");
    std::fs::write(
        &path,
        "this is no database, whatever its name says, and longer than a header of 100 bytes is. ".repeat(20),
    )
    .unwrap();
    config.url = Secret::new(format!("sqlite://{}", path.display()));
    let failure = sink::open(&config).unwrap().connect().await.map(drop);
    assert_failure(failure, ErrorClass::SinkMisconfigured, "SQLITE_NOTADB");
    // Opened for reading: root may write to any file, so permissions alone wouldn't show it.
    file.db.run("CREATE TABLE t (a INT)").await;
    let plan = file.db.plan("t", &["a"], Deduplication::None).await;
    std::fs::set_permissions(file.folder.path().join("t.db"), std::fs::Permissions::from_mode(0o444)).unwrap();
    config.url = Secret::new(file.db.url.replace("mode=rwc", "mode=ro"));
    let mut session = sink::open(&config).unwrap().connect().await.unwrap();
    assert_failure(session.check_privileges(&name("t")).await, ErrorClass::SinkUnavailable, "SQLITE_READONLY");
    let failure = write(&mut *session, &plan, &[unit("", "", vec![Cell::Int(1)])]).await;
    assert_failure(failure, ErrorClass::SinkUnavailable, "SQLITE_READONLY");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_costs_nothing() {
    let file = fresh();
    file.db.run("CREATE TABLE t (a TEXT)").await;
    let plan = file.db.plan("t", &["a"], file.db.ledger("p").await).await;
    let mut config = file.db.config();
    config.on_connect = vec!["PRAGMA max_page_count = 40".into()];
    let mut session = sink::open(&config).unwrap().connect().await.unwrap();
    let big = "x".repeat(10_000);
    let units: Vec<Unit> = (0..100).map(|n| unit(&format!("m{n}"), "", vec![text(&big)])).collect();
    assert_failure(write(&mut *session, &plan, &units).await, ErrorClass::SinkUnavailable, "SQLITE_FULL");
    assert_eq!((file.db.count("t").await, file.db.count("rabbit_sink_ledger").await), (0, 0));
    let outcomes = write(&mut *session, &plan, &[unit("m", "", vec![text("small")])]).await.unwrap();
    assert_eq!(letters(&outcomes), "w");
}

/// A connection's thread holds the file open for as long as it lives.
#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_session_ends_its_thread_and_its_transaction() {
    let file = fresh();
    file.db.run("CREATE TABLE t (a INT)").await;
    let plan = file.db.plan("t", &["a"], Deduplication::None).await;
    let open_files = || {
        let links =
            std::fs::read_dir("/proc/self/fd").unwrap().filter_map(|fd| std::fs::read_link(fd.ok()?.path()).ok());
        links.filter(|link| link.starts_with(file.folder.path())).count()
    };
    let mut session = file.db.session().await;
    assert!(open_files() > 0);
    let units: Vec<Unit> = (0..3_000).map(|n| unit("", "", vec![Cell::Int(n)])).collect();
    let units: Vec<&Unit> = units.iter().collect();
    // Given up in the middle of its transaction.
    tokio::time::timeout(Duration::from_micros(300), session.write(&plan, &units, false)).await.map(drop).ok();
    drop(session);
    for _ in 0..200 {
        tokio::time::sleep(Duration::from_millis(10)).await;
        if open_files() == 0 {
            let rows = file.db.count("t").await;
            assert!(rows == 0 || rows == 3_000, "{rows}");
            return;
        }
    }
    panic!("the connection is still open");
}
