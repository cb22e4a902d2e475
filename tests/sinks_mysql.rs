//! MySQL and MariaDB, on the server that RABBIT_SINK_TEST_MYSQL_URL names: a login that may create
//! databases and users. Each test has a database of its own.
#![cfg(feature = "mysql")]

// Helpers aren't tests to clippy, but nothing else calls them.
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod sink_cases;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rabbit_sink::catalogue::Kind;
use rabbit_sink::config::{DatabaseKind, Secret};
use rabbit_sink::error::ErrorClass;
use rabbit_sink::message::{Cell, Unit};
use rabbit_sink::plan::{Deduplication, WritePlan};
use rabbit_sink::sink::{self};
use sink_cases::*;

/// Makes a database, runs the test in it, and drops it, also after a failure.
#[allow(clippy::unwrap_used, clippy::expect_used)]
async fn fresh<F: Future<Output = ()> + Send + 'static>(test: impl FnOnce(Arc<Fresh>) -> F) {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let server = std::env::var("RABBIT_SINK_TEST_MYSQL_URL")
        .expect("RABBIT_SINK_TEST_MYSQL_URL must name a server, like mysql://root:password@127.0.0.1:3306");
    let name = format!("sink_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let admin = Fresh { kind: DatabaseKind::Mysql, url: server.clone() };
    admin.run(&format!("CREATE DATABASE {name} CHARACTER SET utf8mb4")).await;
    let mut url = url::Url::parse(&server).unwrap();
    url.set_path(&name);
    let outcome = tokio::spawn(test(Arc::new(Fresh { kind: DatabaseKind::Mysql, url: url.into() }))).await;
    admin.run(&format!("DROP DATABASE {name}")).await;
    if let Err(error) = outcome {
        std::panic::resume_unwind(error.into_panic());
    }
}

macro_rules! cases {
    ($($name:ident $(($($argument:expr),+))?;)+) => {$(
        #[tokio::test(flavor = "multi_thread")]
        async fn $name() {
            fresh(|db| async move { cases::$name(&db $($(, $argument)+)?).await }).await;
        }
    )+};
}

cases! {
    ledger_duplicates;
    absent_null_and_default;
    no_columns("CREATE TABLE defaults (a INT AUTO_INCREMENT PRIMARY KEY, b VARCHAR(9) DEFAULT 'x')");
    slices;
    expressions;
    many_rows;
    a_bad_row_leaves_nothing;
    by_column;
    by_column_as_the_server_compares(
        "CREATE TABLE users (login VARCHAR(40) CHARACTER SET latin1 COLLATE latin1_swedish_ci UNIQUE, note VARCHAR(40))"
    );
    ledger_made_at_once;
    ledger_by_hand;
    marker;
    prune("'2000-01-01 00:00:00'");
    probe_and_checks("1146");
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_at_once_with_a_ledger() {
    fresh(|db| async move { cases::sessions_at_once(&db, false).await }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_at_once_by_column() {
    fresh(|db| async move { cases::sessions_at_once(&db, true).await }).await;
}

#[tokio::test]
async fn every_kind_arrives_as_it_was_sent() {
    fresh(|db| async move {
        db.run(
            "CREATE TABLE kinds (i1 TINYINT, i8 BIGINT, u8 BIGINT UNSIGNED, y YEAR, bo BOOLEAN, b1 BIT(1), b64 BIT(64), \
             n DECIMAL(65,30), f FLOAT, d DOUBLE, c CHAR(3), v VARCHAR(9), t TEXT, bi BINARY(2), vb VARBINARY(9), \
             da DATE, ti TIME(6), dt DATETIME(6), ts TIMESTAMP(6) NULL, j JSON, e ENUM('a','it''s'), s SET('x','y'), l VARCHAR(9) CHARACTER SET latin1)",
        )
        .await;
        let columns = [
            "i1", "i8", "u8", "y", "bo", "b1", "b64", "n", "f", "d", "c", "v", "t", "bi", "vb", "da", "ti", "dt", "ts", "j",
            "e", "s", "l",
        ];
        let plan = db.plan("kinds", &columns, Deduplication::None).await;
        let mut session = db.session().await;
        let high = vec![
            Cell::Int(127), Cell::Int(i64::MAX), text("18446744073709551615"), Cell::Int(2155), Cell::Int(1),
            Cell::Bool(true), text("18446744073709551615"),
            text("99999999999999999999999999999999999.999999999999999999999999999999"),
            Cell::Float(1.5), Cell::Float(f64::MAX), text("ab"), text(" v "), text("\u{1F600}"), bytes(b"\0\xff"),
            bytes(b"\0 \xff\0"), Cell::Date(2_932_896), Cell::Time(86_399_999_999), Cell::Timestamp(253_402_300_799_999_999),
            Cell::Timestamp(2_147_483_647_999_999), text("{\"a\": [1.10]}"), text("it's"), text("x,y"), text("\u{e9}"),
        ];
        let low = vec![
            Cell::Int(-128), Cell::Int(i64::MIN), Cell::Int(0), Cell::Int(1901), Cell::Int(0), Cell::Bool(false),
            Cell::Int(0), text("-0.000000000000000000000000000001"), Cell::Float(-0.25), Cell::Float(2.2250738585072014e-308),
            text(""), text(""), text(""), bytes(b"\0\0"), bytes(b""), Cell::Date(-354_285), Cell::Time(0),
            Cell::Timestamp(-30_610_224_000_000_000), Cell::Timestamp(1_000_000), text("null"), text("a"), text(""), text(""),
        ];
        let nulls = vec![Cell::Null; columns.len()];
        let units: Vec<Unit> = [high, low, nulls].into_iter().map(|cells| unit("", "", cells)).collect();
        write(&mut *session, &plan, &units).await.unwrap();
        db.run("SET time_zone = '+00:00'").await;
        let lines = db
            .lines(
                "SELECT CONCAT_WS('|', i1, i8, u8, y, bo, b1 + 0, b64 + 0, n, f, d = 1.7976931348623157e308 OR d = 2.2250738585072014e-308, \
                 c, v, HEX(t), HEX(bi), HEX(vb), da, ti, dt, UNIX_TIMESTAMP(ts), e, s, HEX(l)), \
                 JSON_UNQUOTE(JSON_EXTRACT(j, '$.a[0]')) FROM kinds ORDER BY i1 DESC",
            )
            .await;
        assert_eq!(lines[0].split(' ').next().unwrap(), "127|9223372036854775807|18446744073709551615|2155|1|1|\
             18446744073709551615|99999999999999999999999999999999999.999999999999999999999999999999|1.5|1|ab|");
        assert!(lines[0].contains("| v |F09F9880|00FF|0020FF00|9999-12-31|23:59:59.999999|9999-12-31 23:59:59.999999|2147483647.999999|it's|x,y|E9"), "{}", lines[0]);
        assert_eq!(lines[1], "-128|-9223372036854775808|0|1901|0|0|0|-0.000000000000000000000000000001|-0.25|1||||0000||\
             1000-01-01|00:00:00.000000|1000-01-01 00:00:00.000000|1.000000|a|| ∅");
        assert_eq!(lines[2], " ∅");
    })
    .await;
}

#[tokio::test]
async fn what_the_server_would_change_is_refused() {
    fresh(|db| async move {
        db.run("CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, c CHAR(9), i INT, v VARCHAR(3), d DATE, u INT UNSIGNED)").await;
        let mut session = db.session().await;
        for (column, cell, code) in [
            ("c", text("a "), "lossy"),
            ("id", Cell::Null, "1048"),
            ("i", Cell::Int(1 << 40), "1264"),
            ("v", text("abcd"), "1406"),
            ("d", Cell::Date(i32::MAX), "1292"),
            ("u", Cell::Int(-1), "1264"),
        ] {
            let plan = db.plan("t", &[column], Deduplication::None).await;
            let failure = write(&mut *session, &plan, &[unit("", "", vec![cell])]).await;
            let failure = assert_failure(failure, ErrorClass::RowRejected, code);
            assert_eq!(failure.column.as_deref(), Some(column), "{}", failure.detail.reveal());
        }
        assert_eq!(db.count("t").await, 0);
        // A 0 is a 0 and not the next number.
        let plan = db.plan("t", &["id"], Deduplication::None).await;
        write(&mut *session, &plan, &[unit("", "", vec![Cell::Int(0)])]).await.unwrap();
        assert_eq!(db.lines("SELECT CAST(id AS CHAR) FROM t").await, ["0"]);
    })
    .await;
}

#[tokio::test]
async fn descriptions() {
    fresh(|db| async move {
        db.run(
            "CREATE TABLE `odd ``name` (id INT AUTO_INCREMENT, a VARCHAR(9) NOT NULL, b INT DEFAULT 5, c INT, \
             g INT AS (b + 1) STORED, s SMALLINT UNSIGNED NOT NULL DEFAULT 1, j JSON, n DECIMAL(7,2), t TEXT, \
             l TEXT CHARACTER SET latin1, x FLOAT(7,4), ti TIME(3), at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP, \
             PRIMARY KEY (id), UNIQUE two (a, b), UNIQUE part (a(3)))",
        )
        .await;
        let mut session = db.session().await;
        let table = session.describe(&name("odd `name")).await.unwrap();
        let flags: Vec<_> = table
            .columns
            .iter()
            .map(|column| (&*column.name, column.nullable, column.has_default, column.generated))
            .filter(|flags| "id a b c g s at".split(' ').any(|name| name == flags.0))
            .collect();
        assert_eq!(
            flags,
            [
                ("id", false, true, false),
                ("a", false, false, false),
                ("b", true, true, false),
                ("c", true, false, false),
                ("g", true, false, true),
                ("s", false, true, false),
                ("at", false, true, false)
            ]
        );
        assert_eq!(table.unique_keys, [vec!["id".to_owned()], vec!["a".into(), "b".into()]]);
        let kind = |name| table.column(name).unwrap().kind.clone();
        assert_eq!(kind("s"), Kind::Int { min: 0, max: 65_535 });
        let mariadb = db.lines("SELECT VERSION()").await[0].contains("MariaDB");
        assert_eq!(kind("j"), if mariadb { Kind::Json } else { Kind::JsonTree { doubles: true } });
        assert_eq!(kind("n"), Kind::Decimal { precision: Some((7, 2)) });
        assert_eq!(kind("x"), Kind::ScaledFloat { bits: 32, precision: (7, 4) });
        assert_eq!(kind("t"), Kind::Text { max_chars: None, max_bytes: Some(65_535) });
        assert_eq!(kind("l"), Kind::Text { max_chars: None, max_bytes: None });
        assert_eq!(kind("a"), Kind::Text { max_chars: Some(9), max_bytes: None });
        assert_eq!(kind("ti"), Kind::Time { fraction: 3 });
    })
    .await;
}

#[tokio::test]
async fn tables_that_cannot_roll_back_are_refused() {
    fresh(|db| async move {
        let mut session = db.session().await;
        for engine in ["MyISAM", "MEMORY"] {
            db.run(&format!("CREATE TABLE t_{engine} (a INT) ENGINE={engine}")).await;
            let table = name(&format!("t_{engine}"));
            assert_failure(session.describe(&table).await, ErrorClass::SinkMisconfigured, "engine");
            assert_failure(session.check_privileges(&table).await, ErrorClass::SinkMisconfigured, "engine");
        }
        db.run(&db.database().ledger_ddl(&name("rabbit_sink_ledger")).replace("InnoDB", "MyISAM")).await;
        let opened =
            session.open_ledger(&name("rabbit_sink_ledger"), &identity("p"), rabbit_sink::sink::Opening::Create).await;
        assert_failure(opened, ErrorClass::SinkMisconfigured, "engine");
    })
    .await;
}

/// Sizes around max_allowed_packet as the server has it.
#[tokio::test]
async fn packets() {
    fresh(|db| async move {
        db.run("CREATE TABLE t (a INT, b LONGBLOB)").await;
        let packet: usize = db.lines("SELECT CAST(@@max_allowed_packet AS CHAR)").await[0].parse().unwrap();
        let plan = db.plan("t", &["a", "b"], db.ledger("p").await).await;
        let mut session = db.session().await;
        let row = |id: &str, size: usize| unit(id, "", vec![Cell::Int(1), bytes(&vec![b'x'; size])]);
        // Never sent: the session is good for the next.
        let failure = write(&mut *session, &plan, &[row("a", 1), row("b", packet), row("c", 1)]).await;
        assert_failure(failure, ErrorClass::RowRejected, "too_large");
        assert_eq!(db.count("t").await, 0);
        // More than a packet in one transaction, and one row just below it.
        let units = [row("a", packet / 3), row("b", packet / 3), row("c", packet / 3), row("d", packet / 3)];
        assert_eq!(letters(&write(&mut *session, &plan, &units).await.unwrap()), "wwww");
        let largest = packet - 1_024 - 27 - 2 * 12;
        assert_eq!(letters(&write(&mut *session, &plan, &[row("e", largest)]).await.unwrap()), "w");
        let failure = write(&mut *session, &plan, &[row("f", largest + 1)]).await;
        assert_failure(failure, ErrorClass::RowRejected, "too_large");
        let sizes = db.lines("SELECT CAST(SUM(LENGTH(b)) AS CHAR) FROM t").await;
        assert_eq!(sizes, [(packet / 3 * 4 + largest).to_string()]);
    })
    .await;
}

#[tokio::test]
async fn locks_and_deadlocks_are_contention() {
    fresh(|db| async move {
        db.run("CREATE TABLE t (a INT PRIMARY KEY); INSERT INTO t VALUES (1)").await;
        let plan = db.plan("t", &["a"], db.ledger("p").await).await;
        let mut config = db.config();
        config.lock_timeout = Duration::from_secs(1);
        let mut session = sink::open(&config).unwrap().connect().await.unwrap();
        let mut other = <sqlx::MySqlConnection as sqlx::Connection>::connect(&db.url).await.unwrap();
        sqlx::raw_sql("START TRANSACTION; INSERT INTO t VALUES (2)").execute(&mut other).await.unwrap();
        let started = Instant::now();
        let two = [unit("m", "", vec![Cell::Int(3)]), unit("n", "", vec![Cell::Int(2)])];
        assert_failure(write(&mut *session, &plan, &two).await, ErrorClass::SinkContention, "1205");
        assert!(started.elapsed() < Duration::from_secs(4));
        // 1205 rolls back its statement alone: nothing of the rest may stay.
        assert_eq!((db.count("t").await, db.count("rabbit_sink_ledger").await), (1, 0));
        sqlx::raw_sql("ROLLBACK").execute(&mut other).await.unwrap();
        assert_eq!(letters(&write(&mut *session, &plan, &two).await.unwrap()), "ww");
    })
    .await;
}

#[tokio::test]
async fn a_killed_connection_is_unavailable() {
    fresh(|db| async move {
        db.run("CREATE TABLE t (a INT)").await;
        let plan = db.plan("t", &["a"], Deduplication::None).await;
        let mut session = db.session().await;
        let name = db.url.rsplit('/').next().unwrap().to_owned();
        let find = format!(
            "SELECT CAST(ID AS CHAR) FROM information_schema.PROCESSLIST WHERE DB = '{name}' AND ID <> CONNECTION_ID()"
        );
        for id in db.lines(&find).await {
            db.run(&format!("KILL {id}")).await;
        }
        let failure = write(&mut *session, &plan, &[unit("", "", vec![Cell::Int(1)])]).await.unwrap_err();
        assert_eq!(failure.class, ErrorClass::SinkUnavailable, "{failure}");
        let failure = write(&mut *session, &plan, &[unit("", "", vec![Cell::Int(1)])]).await.unwrap_err();
        assert_eq!(failure.class, ErrorClass::SinkUnavailable, "{failure}");
        assert_eq!(db.count("t").await, 0);
    })
    .await;
}

#[tokio::test]
async fn a_plan_ends_with_the_columns_that_it_was_made_for() {
    fresh(|db| async move {
        db.run(r"CREATE TABLE t (id INT UNIQUE, `it's \ a` DECIMAL(9,2), rest INT)").await;
        let mut session = db.session().await;
        let value = || vec![Cell::Int(1), text("1.2")];
        for (nth, change) in
            ["DECIMAL(9,1)", "DECIMAL(9,2)", "DECIMAL(9,2) NOT NULL", "DECIMAL(9,2)"].iter().enumerate()
        {
            let plan = db.plan("t", &["id", r"it's \ a"], db.ledger("orders").await).await;
            let by_column = WritePlan { deduplication: Deduplication::Column(0), ..plan.clone() };
            // Another column is nobody's business.
            db.run("ALTER TABLE t DROP rest; ALTER TABLE t ADD rest INT").await;
            write(&mut *session, &plan, &[unit(&format!("before {nth}"), "", value())]).await.unwrap();
            db.run(&format!(r"DELETE FROM t; ALTER TABLE t MODIFY `it's \ a` {change}")).await;
            for plan in [&plan, &by_column] {
                let units = [unit(&format!("after {nth}"), "", value())];
                let failure = write(&mut *session, plan, &units).await.unwrap_err();
                assert!(sink::is_table_changed(&failure), "{change}: {failure}");
                assert!(sink::is_table_changed(&session.probe_write(plan).await.unwrap_err()), "{change}");
            }
            assert_eq!(db.count("t").await, 0, "{change}");
        }
    })
    .await;
}

/// The session's settings, seen from inside by what they do.
#[tokio::test]
async fn settings() {
    fresh(|db| async move {
        db.run(
            "CREATE TABLE seen (a VARCHAR(999), modes VARCHAR(999) DEFAULT 'x'); \
             CREATE TRIGGER look BEFORE INSERT ON seen FOR EACH ROW SET NEW.modes = CONCAT_WS('|', @@time_zone, \
             @@innodb_lock_wait_timeout, @@lock_wait_timeout, @@autocommit + 0, @@foreign_key_checks + 0, @@unique_checks + 0, \
             @@character_set_connection, @mine)",
        )
        .await;
        let plan = db.plan("seen", &["a"], Deduplication::None).await;
        let mut config = db.config();
        config.lock_timeout = Duration::from_millis(2_100);
        config.on_connect = vec!["SET @mine = 'on_connect'".into()];
        let mut session = sink::open(&config).unwrap().connect().await.unwrap();
        write(&mut *session, &plan, &[unit("", "", vec![text("a")])]).await.unwrap();
        assert_eq!(db.lines("SELECT modes FROM seen").await, ["+00:00|3|3|1|1|1|utf8mb4|on_connect"]);
        session.weaknesses().await.unwrap();
        session.close().await;
        for (statement, code) in [
            ("SET sql_mode = ''", "sql_mode"),
            ("SET autocommit = 0", "sql_mode"),
            ("SET @password = 'secret' secret", "1064"),
        ] {
            config.on_connect = vec![statement.into()];
            let failure = sink::open(&config).unwrap().connect().await.map(drop);
            let failure = assert_failure(failure, ErrorClass::SinkMisconfigured, code);
            assert!(!failure.to_string().contains("secret"), "{failure}");
        }
    })
    .await;
}

/// A client that falls silent in a transaction doesn't keep its keys for long.
#[tokio::test]
async fn idle_transactions_end() {
    fresh(|db| async move {
        let mut config = db.config();
        config.statement_timeout = Duration::from_secs(60);
        db.run("CREATE TABLE t (a VARCHAR(99))").await;
        let mut plan = db.plan("t", &["a"], Deduplication::None).await;
        let mariadb = db.lines("SELECT VERSION()").await[0].contains("MariaDB");
        let variable = if mariadb { "@@idle_transaction_timeout" } else { "@@wait_timeout" };
        plan.targets[0].expressions[0] = Some(format!("concat(?, {variable})"));
        let mut session = sink::open(&config).unwrap().connect().await.unwrap();
        write(&mut *session, &plan, &[unit("", "", vec![text("=")])]).await.unwrap();
        assert_eq!(db.lines("SELECT a FROM t").await, ["=60"]);
    })
    .await;
}

#[tokio::test]
async fn logins_and_privileges() {
    fresh(|db| async move {
        let database = db.url.rsplit('/').next().unwrap().to_owned();
        let host = url::Url::parse(&db.url).unwrap();
        let user = format!("u_{database}");
        let at = |password: &str, database: &str| {
            let mut url = host.clone();
            url.set_username(&user).unwrap();
            url.set_password(Some(password)).unwrap();
            url.set_path(database);
            let mut config = db.config();
            config.url = Secret::new(url);
            config
        };
        for host in ["%", "localhost"] {
            db.run(&format!("CREATE USER {user}@'{host}' IDENTIFIED BY 'pass'")).await;
        }
        db.run("CREATE TABLE t (a INT, b INT); CREATE TABLE hidden (a INT)").await;
        let wrong = sink::open(&at("wrong", &database)).unwrap().connect().await.map(drop);
        let failure = assert_failure(wrong, ErrorClass::SinkMisconfigured, "1045");
        assert!(!failure.to_string().contains("wrong"), "{failure}");
        let denied = sink::open(&at("pass", &database)).unwrap().connect().await.map(drop);
        assert_failure(denied, ErrorClass::SinkMisconfigured, "1044");
        for host in ["%", "localhost"] {
            db.run(&format!("GRANT SELECT ON {database}.hidden TO {user}@'{host}'")).await;
            db.run(&format!("GRANT INSERT (a) ON {database}.t TO {user}@'{host}'")).await;
        }
        let mut session = sink::open(&at("pass", &database)).unwrap().connect().await.unwrap();
        session.check_privileges(&name("t")).await.unwrap();
        assert_failure(session.check_privileges(&name("hidden")).await, ErrorClass::SinkMisconfigured, "1142");
        let plan = db.plan("t", &["a"], Deduplication::None).await;
        session.probe_write(&plan).await.unwrap();
        write(&mut *session, &plan, &[unit("", "", vec![Cell::Int(1)])]).await.unwrap();
        let plan = db.plan("t", &["a", "b"], Deduplication::None).await;
        assert_failure(session.probe_write(&plan).await, ErrorClass::SinkMisconfigured, "1143");
        // Without the right to create the ledger, the DDL is in the message.
        let opened =
            session.open_ledger(&name("rabbit_sink_ledger"), &identity("p"), rabbit_sink::sink::Opening::Create).await;
        let failure = assert_failure(opened, ErrorClass::SinkMisconfigured, "1142");
        assert!(failure.message.contains("CREATE TABLE IF NOT EXISTS `rabbit_sink_ledger`"), "{failure}");
        for host in ["%", "localhost"] {
            db.run(&format!("DROP USER {user}@'{host}'")).await;
        }
        let nowhere = sink::open(&{
            let mut config = db.config();
            config.url = Secret::new(db.url.replace(&database, "sink_nowhere"));
            config
        });
        assert_failure(nowhere.unwrap().connect().await.map(drop), ErrorClass::SinkMisconfigured, "1049");
    })
    .await;
}

#[tokio::test]
async fn servers_that_do_not_answer() {
    fresh(|db| async move {
        let mut config = db.config();
        config.url = Secret::new("mysql://u:p@127.0.0.1:1/x");
        let refused = sink::open(&config).unwrap().connect().await.map(drop);
        assert_failure(refused, ErrorClass::SinkUnavailable, "io");
        // Accepts and says nothing.
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        config.url = Secret::new(format!("mysql://u:p@{}/x", silent.local_addr().unwrap()));
        config.connect_timeout = Duration::from_millis(300);
        let timed_out = sink::open(&config).unwrap().connect().await.map(drop);
        assert_failure(timed_out, ErrorClass::SinkUnavailable, "connect_timeout");
        // TLS is asked for, and a self-signed certificate, or none, isn't enough.
        config.connect_timeout = Duration::from_secs(5);
        config.url = Secret::new(format!("{}?ssl-mode=VERIFY_IDENTITY", db.url));
        let untrusted = sink::open(&config).unwrap().connect().await.map(drop);
        assert_failure(untrusted, ErrorClass::SinkMisconfigured, "tls");
    })
    .await;
}

/// Values that differ only beyond floating point are different under a unique decimal, too.
#[tokio::test]
async fn by_column_of_other_types() {
    fresh(|db| async move {
        db.run("CREATE TABLE t (n DECIMAL(30,10) UNIQUE, b VARBINARY(9) UNIQUE, at DATETIME(6) UNIQUE)").await;
        let mut session = db.session().await;
        let same = |a: Cell, b: Cell, c: Cell| [unit("", "", vec![a]), unit("", "", vec![b]), unit("", "", vec![c])];
        for (column, first, second) in [
            (
                "n",
                ["1234567890123456789.0000000001", "1", "2"].map(text),
                ["1234567890123456789.0000000002", "1", "3"].map(text),
            ),
            ("b", [b"A", b"b", b"c"].map(|b| bytes(b)), [b"a", b"b", b"d"].map(|b| bytes(b))),
            ("at", [0, 1, 2].map(Cell::Timestamp), [3, 1, 4].map(Cell::Timestamp)),
        ] {
            let plan = db.plan("t", &[column], Deduplication::Column(0)).await;
            let [a, b, c] = first;
            assert_eq!(letters(&write(&mut *session, &plan, &same(a, b, c)).await.unwrap()), "www");
            let [a, b, c] = second;
            assert_eq!(letters(&write(&mut *session, &plan, &same(a, b, c)).await.unwrap()), "wdw", "{column}");
        }
    })
    .await;
}
