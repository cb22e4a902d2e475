//! What only PostgreSQL has.

use std::str::FromStr;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use rabbit_sink::catalogue::{Kind, TableName};
use rabbit_sink::config::Secret;
use rabbit_sink::error::ErrorClass;
use rabbit_sink::message::{Cell, Unit};
use rabbit_sink::plan::{Deduplication, WritePlan};
use rabbit_sink::sink::{Session, is_table_changed};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Executor};

use super::fixture::{Test, World, identity, run, short, some, table, target, text, unit, unit_of, write};
use super::postgres::PostgresDialect;

async fn test(test: Test) {
    run(Box::new(PostgresDialect::fresh().await), test).await;
}

macro_rules! tests {
    ($($name:ident: $body:expr;)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                fn body(world: &World) -> BoxFuture<'_, ()> {
                    let body: for<'a> fn(&'a World) -> BoxFuture<'a, ()> = $body;
                    body(world)
                }
                test(body).await;
            }
        )*
    };
}

/// A login that may do nothing yet; its name is the database's, so that tests don't meet.
async fn login(world: &World) -> (String, String) {
    let name = world.texts("SELECT current_database()::text").await[0].clone().expect("a name");
    world.execute(&format!("CREATE ROLE {name} LOGIN PASSWORD 'x'")).await;
    let mut url = url::Url::parse(world.config.url.reveal()).expect("a URL");
    url.set_username(&name).expect("a user");
    url.set_password(Some("x")).expect("a password");
    (name, url.to_string())
}

async fn session_as(world: &World, url: &str) -> Box<dyn Session> {
    world.connect(|config| config.url = Secret::new(url)).await.expect("a session")
}

async fn forget(world: &World, role: &str) {
    world.execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await;
}

fn row(id: &str, cells: Vec<Cell>) -> [Unit; 1] {
    [unit(id, id, cells)]
}

tests! {
    the_catalogue_is_read_completely: |world| async {
        world.execute("CREATE TYPE mood AS ENUM ('sad', 'o''k'); CREATE DOMAIN short AS varchar(3) NOT NULL; \
            CREATE DOMAIN shorter AS short CHECK (value <> 'no'); CREATE EXTENSION citext; \
            CREATE TABLE \"T\" (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, \"Na\"\"me\" varchar(7), gone int, \
            price numeric(10,2) NOT NULL DEFAULT 0, m mood, s shorter, a int[], t time(3), ts timestamp(0), ci citext, \
            double int GENERATED ALWAYS AS (1 + 1) STORED, serial serial, h numeric(3,-2), c char(4), b bit(3), \
            UNIQUE (s, m) INCLUDE (a), UNIQUE (price) DEFERRABLE); ALTER TABLE \"T\" DROP COLUMN gone; \
            CREATE UNIQUE INDEX ON \"T\" (ts) WHERE ts IS NOT NULL; CREATE UNIQUE INDEX ON \"T\" (lower(c)); \
            CREATE UNIQUE INDEX ON \"T\" (t)").await;
        let mut session = world.session().await;
        let found = session.describe(&table("T")).await.unwrap();
        let lines: Vec<String> = found.columns.iter().map(|c| {
            let marks = format!("{}{}{}", if c.nullable { "?" } else { "" }, if c.has_default { "=" } else { "" }, if c.generated { "!" } else { "" });
            format!("{} {} {marks}", c.name, c.sql_type)
        }).collect();
        assert_eq!(lines, ["id bigint =!", "Na\"me character varying(7) ?", "price numeric(10,2) =", "m mood ?",
            "s character varying(3) ", "a integer[] ?", "t time(3) without time zone ?",
            "ts timestamp(0) without time zone ?", "ci citext ?", "double integer ?=!", "serial integer =",
            "h numeric(3,-2) ?", "c character(4) ?", "b bit(3) ?"]);
        let kind = |name: &str| found.column(name).unwrap().kind.clone();
        assert_eq!(kind("Na\"me"), Kind::Text { max_chars: Some(7), max_bytes: None });
        assert_eq!(kind("price"), Kind::Decimal { precision: Some((10, 2)) });
        assert_eq!(kind("m"), Kind::Enum { labels: vec!["sad".into(), "o'k".into()] });
        assert_eq!(kind("s"), Kind::Text { max_chars: Some(3), max_bytes: None });
        assert_eq!(kind("a"), Kind::Array(Box::new(Kind::Int { min: (-2147483648), max: 2147483647 })));
        assert_eq!(kind("t"), Kind::Time { fraction: 3 });
        assert_eq!(kind("ts"), Kind::Timestamp { fraction: 0, zoned: false, range: None });
        assert_eq!(kind("ci"), Kind::Text { max_chars: None, max_bytes: None });
        assert_eq!((kind("h"), kind("b")), (Kind::Other, Kind::Other));
        assert_eq!(found.unique_keys, [vec!["id".to_owned()], vec!["s".into(), "m".into()], vec!["t".into()]]);
        let failure = session.describe(&table("t")).await.unwrap_err();
        assert!(failure.message.contains("public.T"), "{failure}");
    }.boxed();

    schemas_and_odd_names_are_quoted: |world| async {
        world.execute("CREATE SCHEMA \"o dd\"; CREATE TABLE \"o dd\".\"x\"\"; y\" (\"?\" int, \"$1\" text)").await;
        let mut session = world.session().await;
        let name = TableName { schema: Some("o dd".into()), name: "x\"; y".into() };
        let described = session.describe(&name).await.unwrap();
        session.check_privileges(&name).await.unwrap();
        let mut plan = world.plan(session.as_mut(), "pg_class", &[], Deduplication::None).await;
        plan.targets[0].table = name;
        plan.targets[0].columns = described.columns;
        write(session.as_mut(), &plan, &row("a", vec![Cell::Int(1), text("x")])).await.unwrap();
        assert_eq!(world.texts("SELECT \"$1\" FROM \"o dd\".\"x\"\"; y\"").await, some(&["x"]));
    }.boxed();

    nothing_is_cut_or_rounded_in_silence: |world| async {
        world.execute("CREATE DOMAIN short AS varchar(3); CREATE TABLE t (v varchar(3), d short, b bit(3), \
            a varchar(3)[], n numeric(3,-2), i smallint, s numeric(2,4))").await;
        let mut session = world.session().await;
        for (column, value, code) in [("v", text("abcd"), "22001"), ("d", text("abcd"), "22001"),
            ("b", text("1010"), "lossy"), ("a", text("{abcd}"), "22001"), ("n", text("12345"), "lossy"),
            ("i", Cell::Int(40000), "22003"), ("s", text("0.00001"), "lossy"), ("v", text("a\0b"), "22021")] {
            let plan = world.plan(session.as_mut(), "t", &[column], Deduplication::None).await;
            let failure = write(session.as_mut(), &plan, &row("a", vec![value])).await.unwrap_err();
            assert_eq!((failure.class, failure.code.as_ref()), (ErrorClass::RowRejected, code), "{column}");
        }
        assert_eq!(world.count("t").await, 0);
    }.boxed();

    enums_domains_and_citext_are_written: |world| async {
        world.execute("CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE DOMAIN mine AS mood; CREATE DOMAIN pos AS int \
            CHECK (value > 0); CREATE EXTENSION citext; CREATE TABLE t (m mood, d mine, p pos, c citext, ms mood[])").await;
        let mut session = world.session().await;
        let plan = world.plan(session.as_mut(), "t", &["m", "d", "p", "c", "ms"], Deduplication::None).await;
        let cells = |n| vec![text("ok"), text("sad"), Cell::Int(n), text("Xy"), text("{ok,sad}")];
        write(session.as_mut(), &plan, &row("a", cells(1))).await.unwrap();
        assert_eq!(world.texts("SELECT t::text FROM t").await, some(&["(ok,sad,1,Xy,\"{ok,sad}\")"]));
        let failure = write(session.as_mut(), &plan, &row("a", cells(-1))).await.unwrap_err();
        assert_eq!((failure.code.as_ref(), failure.constraint.as_deref()), ("23514", Some("pos_check")));
    }.boxed();

    a_column_recognises_repeats_in_any_spelling: |world| async {
        world.execute("CREATE EXTENSION citext").await;
        let mut session = world.session().await;
        for (ddl, first, again, other) in [("uuid", "00112233-4455-6677-8899-aabbccddeeff", "00112233-4455-6677-8899-AABBCCDDEEFF", "10112233-4455-6677-8899-aabbccddeeff"),
            ("numeric(10,2)", "1", "01.00", "2.00"), ("citext", "a", "A", "b"), ("char(5)", "ab", "ab", "abc"),
            ("inet", "10.0.0.1", "10.0.0.1/32", "10.0.0.2"), ("jsonb", "{\"a\":1,\"b\":2}", "{\"b\":2, \"a\":1}", "{}")] {
            world.execute(&format!("CREATE TABLE t (k {ddl} UNIQUE)")).await;
            let plan = world.plan(session.as_mut(), "t", &["k"], Deduplication::Column(0)).await;
            let units = [first, again, other, first].map(|key| unit("-", "-", vec![text(key)]));
            let outcomes = write(session.as_mut(), &plan, &units).await.unwrap();
            assert_eq!(short(&outcomes), ["written", "duplicate", "written", "duplicate"], "{ddl}");
            let outcomes = write(session.as_mut(), &plan, &units).await.unwrap();
            assert_eq!(short(&outcomes), ["duplicate"; 4], "{ddl}");
            world.execute("DROP TABLE t").await;
        }
    }.boxed();

    a_key_that_a_trigger_changes_is_refused: |world| async {
        world.execute("CREATE TABLE t (k text UNIQUE); CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS \
            $$BEGIN NEW.k := NEW.k || '!'; RETURN NEW; END$$; CREATE TRIGGER g BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f()").await;
        let mut session = world.session().await;
        let plan = world.plan(session.as_mut(), "t", &["k"], Deduplication::Column(0)).await;
        let failure = write(session.as_mut(), &plan, &row("a", vec![text("a")])).await.unwrap_err();
        assert_eq!((failure.class, failure.code.as_ref()), (ErrorClass::SinkMisconfigured, "key_changed"));
        assert_eq!(world.count("t").await, 0);
    }.boxed();

    a_key_without_a_unique_index_is_misconfigured: |world| async {
        world.execute("CREATE TABLE t (k text)").await;
        let mut session = world.session().await;
        let plan = world.plan(session.as_mut(), "t", &["k"], Deduplication::Column(0)).await;
        let failure = write(session.as_mut(), &plan, &row("a", vec![text("a")])).await.unwrap_err();
        assert_eq!((failure.class, failure.code.as_ref()), (ErrorClass::SinkMisconfigured, "42P10"));
    }.boxed();

    a_deferred_constraint_fails_the_commit: |world| async {
        world.execute("CREATE TABLE parents (id int PRIMARY KEY); CREATE TABLE orders (id int PRIMARY KEY, \
            p int CONSTRAINT has_parent REFERENCES parents DEFERRABLE INITIALLY DEFERRED)").await;
        let mut session = world.session().await;
        let plan = world.ledger_plan(session.as_mut(), "orders", &["id", "p"]).await;
        let orphan = row("a", vec![Cell::Int(1), Cell::Int(1)]);
        for isolating in [false, true] {
            let failure = session.write(&plan, &[&orphan[0]], isolating).await.unwrap_err();
            assert_eq!((failure.class, failure.code.as_ref()), (ErrorClass::RowRejected, "23503"));
            assert_eq!(failure.constraint.as_deref(), Some("has_parent"));
            assert_eq!((world.count("orders").await, world.count("rabbit_sink_ledger").await), (0, 0));
        }
        // Isolating, it fails at its own statement: before another row does.
        world.execute("CREATE TABLE items (n int NOT NULL)").await;
        let mut two = plan.clone();
        two.targets.push(target(session.as_mut(), "items", &["n"]).await);
        let orders_first = unit_of("b", "b", vec![(0, vec![Cell::Int(1), Cell::Int(1)]), (1, vec![Cell::Null])]);
        for (isolating, code) in [(false, "23502"), (true, "23503")] {
            let failure = session.write(&two, &[&orders_first], isolating).await.unwrap_err();
            assert_eq!(failure.code, code);
        }
        world.execute("INSERT INTO parents VALUES (1)").await;
        assert_eq!(short(&write(session.as_mut(), &plan, &orphan).await.unwrap()), ["written"]);
    }.boxed();

    every_batch_is_read_committed_whatever_the_default: |world| async {
        let name = world.texts("SELECT current_database()::text").await[0].clone().unwrap();
        world.execute(&format!("ALTER DATABASE \"{name}\" SET default_transaction_isolation = 'serializable'; \
            CREATE TABLE seen (level text); CREATE TABLE t (v text); CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS \
            $$BEGIN INSERT INTO seen VALUES (current_setting('transaction_isolation')); RETURN NEW; END$$; \
            CREATE TRIGGER g BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f()")).await;
        let mut session = world.session().await;
        let plan = world.ledger_plan(session.as_mut(), "t", &["v"]).await;
        // The careful way, then as one statement.
        for id in ["a", "b"] {
            assert_eq!(short(&write(session.as_mut(), &plan, &row(id, vec![text("x")])).await.unwrap()), ["written"]);
        }
        assert_eq!(world.texts("SELECT level FROM seen").await, some(&["read committed", "read committed"]));
    }.boxed();

    a_batch_after_one_that_was_all_new_is_one_statement: |world| async {
        world.execute("CREATE TABLE seen (query text); CREATE TABLE t (id bigint UNIQUE); \
            CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS \
            $$BEGIN INSERT INTO seen VALUES (current_query()); RETURN NEW; END$$; \
            CREATE TRIGGER g BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f()").await;
        let mut session = world.session().await;
        let plan = world.ledger_plan(session.as_mut(), "t", &["id"]).await;
        for (ids, outcomes, one_statement) in [
            (vec![1, 2], vec!["written", "written"], "false"),
            (vec![3, 4], vec!["written", "written"], "true"),
            (vec![4, 5], vec!["duplicate", "written"], "false"),
            (vec![6], vec!["written"], "false"),
            (vec![7], vec!["written"], "true"),
        ] {
            let units: Vec<Unit> =
                ids.iter().map(|id| unit(&id.to_string(), &id.to_string(), vec![Cell::Int(*id)])).collect();
            assert_eq!(short(&write(session.as_mut(), &plan, &units).await.unwrap()), outcomes);
            let alone = world.texts("SELECT (bool_and(query LIKE '%ledger%t\"%changed%'))::text FROM seen").await;
            assert_eq!(alone, some(&[one_statement]), "{ids:?}");
            world.execute("TRUNCATE seen").await;
        }
    }.boxed();

    a_slow_statement_is_contention: |world| async {
        world.execute("CREATE TABLE t (v text)").await;
        let mut session = world.connect(|config| config.statement_timeout = Duration::from_millis(200)).await.unwrap();
        let mut plan = world.ledger_plan(session.as_mut(), "t", &["v"]).await;
        plan.targets[0].expressions = vec![Some("? || pg_sleep(10)".into())];
        let failure = write(session.as_mut(), &plan, &row("a", vec![text("a")])).await.unwrap_err();
        assert_eq!((failure.class, failure.code.as_ref()), (ErrorClass::SinkContention, "57014"));
        plan.targets[0].expressions = vec![None];
        assert_eq!(short(&write(session.as_mut(), &plan, &row("a", vec![text("a")])).await.unwrap()), ["written"]);
    }.boxed();

    a_terminated_session_is_unavailable_and_stays_so: |world| async {
        world.execute("CREATE TABLE t (v text)").await;
        let mut session = world.session().await;
        let mut plan = world.ledger_plan(session.as_mut(), "t", &["v"]).await;
        plan.targets[0].expressions = vec![Some("? || pg_terminate_backend(pg_backend_pid())".into())];
        let failure = write(session.as_mut(), &plan, &row("a", vec![text("a")])).await.unwrap_err();
        assert_eq!((failure.class, failure.code.as_ref()), (ErrorClass::SinkUnavailable, "57P01"));
        let failure = write(session.as_mut(), &plan, &row("a", vec![text("a")])).await.unwrap_err();
        assert_eq!((failure.class, failure.code.as_ref()), (ErrorClass::SinkUnavailable, "session_broken"));
        session.close().await;
        assert_eq!((world.count("t").await, world.count("rabbit_sink_ledger").await), (0, 0));
    }.boxed();

    a_dropped_write_leaves_nothing_and_no_session: |world| async {
        world.execute("CREATE TABLE t (v text)").await;
        let mut session = world.session().await;
        let mut plan = world.ledger_plan(session.as_mut(), "t", &["v"]).await;
        let quick = plan.clone();
        plan.targets[0].expressions = vec![Some("? || pg_sleep(1)".into())];
        let units = row("a", vec![text("a")]);
        let given_up = tokio::time::timeout(Duration::from_millis(300), write(session.as_mut(), &plan, &units)).await;
        assert!(given_up.is_err());
        let failure = write(session.as_mut(), &quick, &units).await.unwrap_err();
        assert_eq!((failure.class, failure.code.as_ref()), (ErrorClass::SinkUnavailable, "session_broken"));
        drop(session);
        let mut session = world.session().await;
        assert_eq!(short(&write(session.as_mut(), &quick, &units).await.unwrap()), ["written"]);
        assert_eq!(world.count("t").await, 1);
    }.boxed();

    a_read_only_server_is_unavailable: |world| async {
        let failure = world.connect(|config| config.on_connect = vec!["SET default_transaction_read_only = on".into()]).await.err().unwrap();
        assert_eq!((failure.class, failure.code.as_ref()), (ErrorClass::SinkUnavailable, "25006"));
        // One that becomes so while a session is open.
        world.execute("CREATE TABLE t (v text)").await;
        let mut session = world.session().await;
        let mut plan = world.ledger_plan(session.as_mut(), "t", &["v"]).await;
        plan.targets[0].expressions = vec![Some("? || set_config('transaction_read_only', 'on', true)".into())];
        write(session.as_mut(), &plan, &row("a", vec![text("a")])).await.unwrap();
        let twice = [unit("b", "b", vec![text("b")]), unit("c", "c", vec![Cell::Absent])];
        let failure = write(session.as_mut(), &plan, &twice).await.unwrap_err();
        assert_eq!((failure.class, failure.code.as_ref()), (ErrorClass::SinkUnavailable, "25006"));
        assert_eq!(world.count("t").await, 1);
    }.boxed();

    who_can_not_be_reached_is_told_apart: |world| async {
        let change = |from: &str, to: &str| world.config.url.reveal().replace(from, to);
        let name = world.texts("SELECT current_database()::text").await[0].clone().unwrap();
        for (url, class, code) in [
            (change(&name, "no_such_database"), ErrorClass::SinkMisconfigured, "3D000"),
            ("postgres://u:hunter2@127.0.0.1:1/x".to_owned(), ErrorClass::SinkUnavailable, "io"),
            (format!("{}?sslmode=verify-full", world.config.url.reveal()), ErrorClass::SinkMisconfigured, "tls"),
        ] {
            let failure = world.connect(|config| config.url = Secret::new(url)).await.err().unwrap();
            assert_eq!((failure.class, failure.code.as_ref()), (class, code), "{}", failure.reason());
            assert!(!failure.to_string().contains("hunter2"));
        }
        let failure = world.connect(|config| config.url = Secret::new("postgres://u:hunter2@h/x?sslmode=maybe")).await.err().unwrap();
        assert_eq!(failure.class, ErrorClass::Config);
        assert!(!failure.reason().contains("hunter2"));
        let failure = world.connect(|config| config.on_connect = vec!["SELECT 1".into(), "SET ROLE nobody_here".into()]).await.err().unwrap();
        assert!(failure.message.contains("on_connect, statement 2"), "{failure}");
        // Accepts, and says nothing.
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("postgres://u@{}/x", silent.local_addr().unwrap());
        let failure = world.connect(|config| {
            config.url = Secret::new(url);
            config.connect_timeout = Duration::from_millis(200);
        }).await.err().unwrap();
        assert_eq!((failure.class, failure.code.as_ref()), (ErrorClass::SinkUnavailable, "connect_timeout"));
    }.boxed();

    missing_privileges_are_named: |world| async {
        let (role, url) = login(world).await;
        world.execute("CREATE TABLE orders (id int, note text); CREATE SCHEMA hidden; CREATE TABLE hidden.t (a int)").await;
        let mut session = session_as(world, &url).await;
        let failure = session.check_privileges(&table("orders")).await.unwrap_err();
        assert_eq!((failure.class, failure.code.as_ref()), (ErrorClass::SinkMisconfigured, "42501"));
        assert!(failure.message.contains("GRANT INSERT ON \"orders\""), "{failure}");
        let hidden = TableName { schema: Some("hidden".into()), name: "t".into() };
        let failure = session.describe(&hidden).await.unwrap_err();
        assert_eq!((failure.class, failure.code.as_ref()), (ErrorClass::SinkMisconfigured, "42501"));
        assert!(failure.message.contains("GRANT USAGE ON SCHEMA hidden"), "{failure}");
        let plan = world.plan(session.as_mut(), "orders", &["id"], Deduplication::None).await;
        let failure = session.probe_write(&plan).await.unwrap_err();
        assert_eq!((failure.class, failure.code.as_ref()), (ErrorClass::SinkMisconfigured, "42501"));
        world.execute(&format!("GRANT INSERT (id) ON orders TO {role}")).await;
        session.check_privileges(&table("orders")).await.unwrap();
        session.probe_write(&plan).await.unwrap();
        write(session.as_mut(), &plan, &row("a", vec![Cell::Int(1)])).await.unwrap();
        forget(world, &role).await;
    }.boxed();

    the_ledger_needs_no_right_to_create_once_it_is_there: |world| async {
        let (role, url) = login(world).await;
        let mut session = session_as(world, &url).await;
        let ledger = world.config.ledger_table.clone();
        let who = identity("orders", "q", "orders");
        let failure = session.open_ledger(&ledger, &who, rabbit_sink::sink::Opening::Create).await.unwrap_err();
        assert_eq!((failure.class, failure.code.as_ref()), (ErrorClass::SinkMisconfigured, "42501"));
        let ddl = world.database.ledger_ddl(&ledger);
        assert!(failure.message.contains(&ddl), "{failure}");
        // What it prints is what it needs, and may be run twice.
        world.execute(&ddl).await;
        world.execute(&ddl).await;
        let failure = session.open_ledger(&ledger, &who, rabbit_sink::sink::Opening::Create).await.unwrap_err();
        assert!(failure.message.contains("GRANT SELECT, INSERT, DELETE ON \"rabbit_sink_ledger\""), "{failure}");
        world.execute(&format!("GRANT SELECT, INSERT, DELETE ON rabbit_sink_ledger TO {role}; \
            GRANT SELECT, INSERT ON rabbit_sink_ledger_pipelines TO {role}")).await;
        let opened = session.open_ledger(&ledger, &who, rabbit_sink::sink::Opening::Create).await.unwrap();
        assert_eq!(session.prune(&opened, Duration::from_secs(1), 10).await.unwrap(), 0);
        forget(world, &role).await;
    }.boxed();

    an_unlogged_ledger_is_refused: |world| async {
        let mut session = world.session().await;
        world.ledger(session.as_mut(), "orders").await;
        world.execute("ALTER TABLE rabbit_sink_ledger SET UNLOGGED").await;
        let who = identity("orders", "q", "orders");
        let failure = session.open_ledger(&world.config.ledger_table, &who, rabbit_sink::sink::Opening::Create).await.unwrap_err();
        assert_eq!((failure.class, failure.code.as_ref()), (ErrorClass::SinkMisconfigured, "ledger_unlogged"));
        let long = table(&"x".repeat(60));
        let failure = session.open_ledger(&long, &who, rabbit_sink::sink::Opening::Create).await.unwrap_err();
        assert_eq!((failure.class, failure.code.as_ref()), (ErrorClass::SinkMisconfigured, "ledger_name"));
    }.boxed();

    what_a_trigger_says_is_not_sent: |world| async {
        world.execute("CREATE TABLE t (v text); CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS \
            $$BEGIN RAISE EXCEPTION 'no %', NEW.v; END$$; CREATE TRIGGER g BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f()").await;
        let mut session = world.session().await;
        let plan = world.plan(session.as_mut(), "t", &["v"], Deduplication::None).await;
        let failure = write(session.as_mut(), &plan, &row("a", vec![text("hunter2")])).await.unwrap_err();
        assert_eq!((failure.class, failure.code.as_ref()), (ErrorClass::Unknown, "P0001"));
        assert!(!failure.to_string().contains("hunter2"));
        assert!(failure.reason().contains("hunter2"));
    }.boxed();

    weak_durability_is_told: |world| async {
        let mut session = world.session().await;
        let before = session.weaknesses().await.unwrap();
        assert!(!before.iter().any(|weakness| weakness.contains("synchronous_commit")), "{before:?}");
        let mut session = world.connect(|config| config.on_connect = vec!["SET synchronous_commit = off".into()]).await.unwrap();
        let after = session.weaknesses().await.unwrap();
        assert!(after.iter().any(|weakness| weakness.starts_with("synchronous_commit = off")), "{after:?}");
    }.boxed();

    rows_reach_a_partitioned_table_and_a_view: |world| async {
        world.execute("CREATE TABLE p (id int, note text) PARTITION BY RANGE (id); CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10); \
            CREATE VIEW v AS SELECT id, note FROM p WHERE id < 5 WITH CHECK OPTION; CREATE MATERIALIZED VIEW m AS SELECT 1 AS id").await;
        let mut session = world.session().await;
        for name in ["p", "v"] {
            let plan = world.plan(session.as_mut(), name, &["id", "note"], Deduplication::None).await;
            write(session.as_mut(), &plan, &row("a", vec![Cell::Int(1), text("a")])).await.unwrap();
            let code = if name == "p" { "23514" } else { "44000" };
            let failure = write(session.as_mut(), &plan, &row("a", vec![Cell::Int(if name == "p" { 10 } else { 7 }), text("a")])).await.unwrap_err();
            assert_eq!((failure.class, failure.code.as_ref()), (ErrorClass::RowRejected, code));
        }
        assert_eq!(world.count("p").await, 2);
        let failure = session.describe(&table("m")).await.unwrap_err();
        assert_eq!((failure.class, failure.code.as_ref()), (ErrorClass::SinkMisconfigured, "42809"));
    }.boxed();

    a_plan_ends_with_the_columns_that_it_was_made_for: |world| async {
        world.execute(r#"CREATE DOMAIN label AS varchar(9); CREATE DOMAIN tag AS label NOT NULL;
            CREATE TABLE orders (id int UNIQUE, "it's \ a" numeric(9,2), tag tag, rest text)"#).await;
        let mut session = world.session().await;
        let columns = ["id", r"it's \ a", "tag"];
        let value = || vec![Cell::Int(1), text("1.2"), text("t")];
        for (nth, change) in ["TYPE numeric(9,1)", "TYPE numeric(9,2)", "SET NOT NULL", "DROP NOT NULL"].iter().enumerate() {
            let plan = world.ledger_plan(session.as_mut(), "orders", &columns).await;
            let by_column = WritePlan { deduplication: Deduplication::Column(0), ..plan.clone() };
            // Another column is nobody's business.
            world.execute("ALTER TABLE orders DROP rest; ALTER TABLE orders ADD rest int").await;
            write(session.as_mut(), &plan, &row(&format!("before {nth}"), value())).await.unwrap();
            world.execute(&format!(r#"DELETE FROM orders; ALTER TABLE orders ALTER "it's \ a" {change}"#)).await;
            for plan in [&plan, &by_column] {
                let failure = write(session.as_mut(), plan, &row(&format!("after {nth}"), value())).await.unwrap_err();
                assert!(is_table_changed(&failure), "{change}: {failure}");
                assert!(is_table_changed(&session.probe_write(plan).await.unwrap_err()), "{change}");
            }
            assert_eq!(world.count("orders").await, 0, "{change}");
        }
    }.boxed();

    // What the commit of a write leans on: the driver alone takes the ROLLBACK for success.
    a_commit_behind_a_select_tells_a_failed_transaction: |world| async {
        let mut conn = PgConnectOptions::from_str(world.config.url.reveal()).unwrap().connect().await.unwrap();
        for (commit, told) in [("COMMIT", false), ("SELECT; COMMIT", true)] {
            conn.execute("BEGIN").await.unwrap();
            conn.execute("SELECT 1 / 0").await.unwrap_err();
            assert_eq!(conn.execute(commit).await.is_err(), told, "{commit}");
            conn.execute("ROLLBACK").await.unwrap();
        }
        conn.execute("CREATE TABLE t (v text); BEGIN; INSERT INTO t VALUES ('a')").await.unwrap();
        conn.execute("SELECT; COMMIT").await.unwrap();
        assert_eq!(world.count("t").await, 1);
    }.boxed();
}
