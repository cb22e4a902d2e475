//! The cases.

use super::*;

const ORDERS: &str = "CREATE TABLE orders (order_no INTEGER NOT NULL PRIMARY KEY, event_id VARCHAR(40) UNIQUE, \
                      note VARCHAR(40) DEFAULT 'none', other INTEGER UNIQUE)";

fn order(number: i64, event: &str) -> Vec<Cell> {
    vec![Cell::Int(number), text(event)]
}

pub async fn ledger_duplicates(db: &Fresh) {
    db.run(ORDERS).await;
    let mut plan = db.plan("orders", &["order_no", "event_id"], db.ledger("p").await).await;
    let mut session = db.session().await;
    let first = [unit("a", "1", order(1, "a")), unit("A", "1", order(2, "b")), unit("a ", "1", order(3, "c"))];
    // IDs are compared byte by byte: neither case nor a blank at the end makes a duplicate.
    assert_eq!(letters(&write(&mut *session, &plan, &first).await.unwrap()), "www");
    let second = [
        unit("b", "1", order(4, "d")),
        unit("a", "1", order(5, "e")),
        unit("A", "other", order(6, "f")),
        unit("c", "1", order(7, "g")),
    ];
    let outcomes = write(&mut *session, &plan, &second).await.unwrap();
    assert_eq!(letters(&outcomes), "wdrw");
    let Outcome::Rejected(failure) = &outcomes[2] else { panic!() };
    assert_eq!((failure.class, &*failure.code), (ErrorClass::IdConflict, "other_body"));
    plan.id_conflict = IdConflict::Ignore;
    assert_eq!(letters(&write(&mut *session, &plan, &second).await.unwrap()), "dddd");
    // Back from careful to optimistic, and a pipeline's ledger is its own.
    assert_eq!(letters(&write(&mut *session, &plan, &[unit("x", "", order(8, "h"))]).await.unwrap()), "w");
    assert_eq!(letters(&write(&mut *session, &plan, &[unit("y", "", order(9, "i"))]).await.unwrap()), "w");
    plan.deduplication = db.ledger("q").await;
    assert_eq!(letters(&write(&mut *session, &plan, &[unit("a", "1", order(10, "j"))]).await.unwrap()), "w");
    let numbers = db.lines("SELECT CAST(order_no AS CHAR(10)) FROM orders ORDER BY order_no").await;
    assert_eq!(numbers, ["1", "2", "3", "4", "7", "8", "9", "10"]);
    assert_eq!(db.count("rabbit_sink_ledger").await, 8);
}

pub async fn absent_null_and_default(db: &Fresh) {
    db.run(ORDERS).await;
    let plan = db.plan("orders", &["order_no", "event_id", "note"], Deduplication::None).await;
    let mut session = db.session().await;
    let rows = [
        vec![Cell::Int(1), text("a"), Cell::Absent],
        vec![Cell::Int(2), Cell::Null, Cell::Null],
        vec![Cell::Int(3), Cell::Absent, text("given")],
        vec![Cell::Int(4), text("d"), Cell::Absent],
    ];
    let units: Vec<Unit> = rows.into_iter().map(|cells| unit("", "", cells)).collect();
    assert_eq!(letters(&write(&mut *session, &plan, &units).await.unwrap()), "wwww");
    let lines = db.lines("SELECT CAST(order_no AS CHAR(9)), event_id, note FROM orders ORDER BY order_no").await;
    assert_eq!(lines, ["1 a none", "2 ∅ ∅", "3 ∅ given", "4 d none"]);
}

/// Rows that leave every column to the database.
pub async fn no_columns(db: &Fresh, ddl: &str) {
    db.run(ddl).await;
    let plan = db.plan("defaults", &["b"], Deduplication::None).await;
    let mut session = db.session().await;
    let units: Vec<Unit> = (0..5).map(|_| unit("", "", vec![Cell::Absent])).collect();
    write(&mut *session, &plan, &units).await.unwrap();
    assert_eq!(db.lines("SELECT b FROM defaults").await, ["x"; 5]);
}

/// A text out of the body, a shared one, and one with everything that SQL quotes.
pub async fn slices(db: &Fresh) {
    db.run("CREATE TABLE texts (a VARCHAR(99), b VARCHAR(99), c VARCHAR(99))").await;
    let plan = db.plan("texts", &["a", "b", "c"], Deduplication::None).await;
    let mut session = db.session().await;
    let evil = "'\"`\\%_;-- \u{1F600}é";
    let cells = vec![
        Cell::Text(Slice::Body { start: 1, end: 4 }),
        Cell::Text(Slice::Shared(Arc::from(b"shared".as_slice()))),
        text(evil),
    ];
    write(&mut *session, &plan, &[unit("", "<ab\u{e9}>", cells.clone()), unit("", "!xyz!", cells)]).await.unwrap();
    let lines = db.lines("SELECT a, b, c FROM texts ORDER BY a").await;
    assert_eq!(
        lines,
        [format!("ab\u{fffd} shared {evil}"), format!("xyz shared {evil}")].map(|line| {
            // `start..end` that isn't UTF-8 reads as empty instead of panicking.
            line.replace("ab\u{fffd}", "")
        })
    );
}

pub async fn expressions(db: &Fresh) {
    db.run("CREATE TABLE texts (a VARCHAR(99), b VARCHAR(99))").await;
    let mut plan = db.plan("texts", &["a", "b"], Deduplication::None).await;
    plan.targets[0].expressions[1] = Some("lower(?)".into());
    let mut session = db.session().await;
    let units = [unit("", "", vec![text("X"), text("Y")]), unit("", "", vec![text("Z"), Cell::Null])];
    write(&mut *session, &plan, &units).await.unwrap();
    assert_eq!(db.lines("SELECT a, b FROM texts ORDER BY a").await, ["X y", "Z ∅"]);
}

/// More rows than go into one statement, in few different ones.
pub async fn many_rows(db: &Fresh) {
    db.run(ORDERS).await;
    let plan = db.plan("orders", &["order_no", "event_id"], db.ledger("p").await).await;
    let mut session = db.session().await;
    let units: Vec<Unit> = (0..5_003).map(|n| unit(&format!("id{n}"), "", order(n, &format!("e{n}")))).collect();
    let outcomes = write(&mut *session, &plan, &units).await.unwrap();
    assert!(letters(&outcomes).chars().all(|letter| letter == 'w'));
    assert_eq!(db.count("orders").await, 5_003);
    // Every third one again, among new ones.
    let again: Vec<Unit> = (0..3_000)
        .map(|n| {
            if n % 3 == 0 {
                unit(&format!("id{n}"), "", order(n, ""))
            } else {
                unit(&format!("new{n}"), "", order(9_000 + n, &format!("n{n}")))
            }
        })
        .collect();
    let outcomes = write(&mut *session, &plan, &again).await.unwrap();
    assert_eq!(letters(&outcomes), "dww".repeat(1_000));
    assert_eq!(db.count("orders").await, 7_003);
    assert_eq!(db.count("rabbit_sink_ledger").await, 7_003);
}

pub async fn a_bad_row_leaves_nothing(db: &Fresh) {
    db.run(ORDERS).await;
    let plan = db.plan("orders", &["order_no", "event_id"], db.ledger("p").await).await;
    let mut session = db.session().await;
    let units =
        [unit("a", "", order(1, "a")), unit("b", "", vec![Cell::Null, text("b")]), unit("c", "", order(3, "c"))];
    let failure = write(&mut *session, &plan, &units).await.unwrap_err();
    assert_eq!((failure.class, failure.column.as_deref()), (ErrorClass::RowRejected, Some("order_no")), "{failure}");
    assert_eq!((db.count("orders").await, db.count("rabbit_sink_ledger").await), (0, 0));
    // The session goes on.
    let units = [unit("a", "", order(1, "a")), unit("c", "", order(3, "c"))];
    assert_eq!(letters(&write(&mut *session, &plan, &units).await.unwrap()), "ww");
    assert_eq!(db.count("orders").await, 2);
    // Another unique key of the target is an error under the ledger, too.
    let failure = write(&mut *session, &plan, &[unit("d", "", order(1, "d"))]).await.unwrap_err();
    assert_eq!(failure.class, ErrorClass::RowRejected);
    assert!(failure.constraint.is_some() && !failure.to_string().contains("'1'"), "{failure}");
    assert_eq!(db.count("rabbit_sink_ledger").await, 2);
}

pub async fn by_column(db: &Fresh) {
    db.run(ORDERS).await;
    let plan = db.plan("orders", &["event_id", "order_no"], Deduplication::Column(0)).await;
    let row = |event: &str, number| unit(event, "", vec![text(event), Cell::Int(number)]);
    let mut session = db.session().await;
    assert_eq!(letters(&write(&mut *session, &plan, &[row("a", 1), row("b", 2)]).await.unwrap()), "ww");
    let outcomes = write(&mut *session, &plan, &[row("c", 3), row("a", 9), row("d", 4), row("b", 9)]).await.unwrap();
    assert_eq!(letters(&outcomes), "wdwd");
    // Careful now; a batch without repeats, then optimistic again.
    assert_eq!(letters(&write(&mut *session, &plan, &[row("e", 5)]).await.unwrap()), "w");
    assert_eq!(letters(&write(&mut *session, &plan, &[row("e", 5)]).await.unwrap()), "d");
    // A new ID with a known order number is a violation of another key, never a duplicate, and
    // changes no other row; whether or not there are repeats beside it.
    let failure = write(&mut *session, &plan, &[row("f", 6), row("g", 1)]).await.unwrap_err();
    assert_eq!(failure.class, ErrorClass::RowRejected, "{failure}");
    let failure = write(&mut *session, &plan, &[row("a", 1), row("g", 1)]).await.unwrap_err();
    assert_eq!(failure.class, ErrorClass::RowRejected, "{failure}");
    let lines = db.lines("SELECT event_id, CAST(order_no AS CHAR(9)) FROM orders ORDER BY order_no").await;
    assert_eq!(lines, ["a 1", "b 2", "c 3", "d 4", "e 5"]);
}

/// `ddl` has a table `users` with a unique, case-insensitive `login` and a `note`.
pub async fn by_column_as_the_server_compares(db: &Fresh, ddl: &str) {
    db.run(ddl).await;
    let plan = db.plan("users", &["login", "note"], Deduplication::Column(0)).await;
    let row = |login: &str| unit(login, "", vec![text(login), text(login)]);
    let mut session = db.session().await;
    assert_eq!(letters(&write(&mut *session, &plan, &[row("Ann")]).await.unwrap()), "w");
    assert_eq!(letters(&write(&mut *session, &plan, &[row("Bob"), row("ANN"), row("Eve")]).await.unwrap()), "wdw");
    // Two in one batch that are equal to the server alone: isolation decides, one by one.
    let failure = write(&mut *session, &plan, &[row("joe"), row("Joe")]).await.unwrap_err();
    assert_eq!(failure.class, ErrorClass::RowRejected);
    assert_eq!(letters(&write(&mut *session, &plan, &[row("joe")]).await.unwrap()), "w");
    assert_eq!(letters(&write(&mut *session, &plan, &[row("Joe")]).await.unwrap()), "d");
    assert_eq!(db.lines("SELECT note FROM users ORDER BY note").await, ["Ann", "Bob", "Eve", "joe"]);
}

/// Many sessions with the same messages in other orders: each is written once.
pub async fn sessions_at_once(db: &Fresh, by_column: bool) {
    db.run(ORDERS).await;
    let deduplication = if by_column { Deduplication::Column(0) } else { db.ledger("p").await };
    let plan = Arc::new(db.plan("orders", &["event_id", "order_no"], deduplication).await);
    let mut tasks = Vec::new();
    for seed in 0..4_usize {
        let (plan, mut session) = (Arc::clone(&plan), db.session().await);
        tasks.push(tokio::spawn(async move {
            let mut written = 0;
            for batch in 0..20_i64 {
                let mut units: Vec<Unit> = (0..50)
                    .map(|n| batch * 25 + n)
                    .map(|n| unit(&format!("m{n}"), "", vec![text(&format!("m{n}")), Cell::Int(n)]))
                    .collect();
                let turn = seed * 13 % units.len();
                units.rotate_left(turn);
                // Contention is the caller's to repeat.
                written += loop {
                    match write(&mut *session, &plan, &units).await {
                        Ok(outcomes) => break letters(&outcomes).matches('w').count(),
                        Err(failure) if failure.class == ErrorClass::SinkContention => {}
                        // Under `column` a key that another session holds is found to be another key's
                        // violation only if it was rolled back meanwhile; nobody does here but by deadlock.
                        Err(failure) => panic!("{failure} {}", failure.detail.reveal()),
                    }
                };
            }
            written
        }));
    }
    let mut written = 0;
    for task in tasks {
        written += task.await.unwrap();
    }
    assert_eq!(written, 525);
    assert_eq!(db.count("orders").await, 525);
}

pub async fn ledger_made_at_once(db: &Fresh) {
    let database = db.database();
    let tasks: Vec<_> = (0..4)
        .map(|n| {
            let database = Arc::clone(&database);
            tokio::spawn(async move {
                let mut session = database.connect().await.unwrap();
                let pipeline = if n % 2 == 0 { "even" } else { "odd" };
                session
                    .open_ledger(&name("rabbit_sink_ledger"), &identity(pipeline), rabbit_sink::sink::Opening::Create)
                    .await
                    .unwrap()
                    .pipeline
            })
        })
        .collect();
    let mut numbers = Vec::new();
    for task in tasks {
        numbers.push(task.await.unwrap());
    }
    assert!(numbers[0] == numbers[2] && numbers[1] == numbers[3] && numbers[0] != numbers[1], "{numbers:?}");
    assert_eq!(db.count("rabbit_sink_ledger_pipelines").await, 2);
}

pub async fn marker(db: &Fresh) {
    let table = name("rabbit_sink_ledger");
    let mut session = db.session().await;
    let first = session.open_ledger(&table, &identity("p"), rabbit_sink::sink::Opening::Create).await.unwrap();
    assert!(!first.emptied);
    // The marker is there, its entries aren't.
    let again = session.open_ledger(&table, &identity("p"), rabbit_sink::sink::Opening::Create).await.unwrap();
    assert!(again.emptied && again.pipeline == first.pipeline);
    let other = LedgerIdentity { queue: "elsewhere".into(), ..identity("p") };
    let failure = session.open_ledger(&table, &other, rabbit_sink::sink::Opening::Create).await;
    let failure = assert_failure(failure, ErrorClass::SinkMisconfigured, "ledger_identity");
    assert!(failure.message.contains("elsewhere") && failure.message.contains("orders"), "{failure}");
    let adopted = session.open_ledger(&table, &other, rabbit_sink::sink::Opening::Adopt).await.unwrap();
    assert_eq!(adopted.pipeline, first.pipeline);
    session.open_ledger(&table, &other, rabbit_sink::sink::Opening::Create).await.unwrap();
    // An older layout is migrated, a newer one is refused.
    db.run("UPDATE rabbit_sink_ledger_pipelines SET layout = 0").await;
    session.open_ledger(&table, &other, rabbit_sink::sink::Opening::Create).await.unwrap();
    assert_eq!(db.lines("SELECT CAST(layout AS CHAR(9)) FROM rabbit_sink_ledger_pipelines").await, ["1"]);
    db.run("UPDATE rabbit_sink_ledger_pipelines SET layout = 2").await;
    assert_failure(
        session.open_ledger(&table, &other, rabbit_sink::sink::Opening::Create).await,
        ErrorClass::SinkMisconfigured,
        "ledger_layout",
    );
    session.close().await;
}

/// The DDL that somebody with more rights is asked to run is what the program itself would run.
pub async fn ledger_by_hand(db: &Fresh) {
    db.run(&db.database().ledger_ddl(&name("rabbit_sink_ledger"))).await;
    db.ledger("p").await;
    assert_eq!(db.count("rabbit_sink_ledger_pipelines").await, 1);
}

pub async fn prune(db: &Fresh, age: &str) {
    db.run(ORDERS).await;
    let plan = db.plan("orders", &["order_no", "event_id"], db.ledger("p").await).await;
    let other = db.plan("orders", &["order_no", "event_id"], db.ledger("q").await).await;
    let mut session = db.session().await;
    let units: Vec<Unit> = (0..10).map(|n| unit(&format!("m{n}"), "", order(n, &format!("{n}")))).collect();
    write(&mut *session, &plan, &units).await.unwrap();
    write(&mut *session, &other, &[unit("m0", "", order(99, "q"))]).await.unwrap();
    let Deduplication::Ledger(ledger) = &plan.deduplication else { panic!() };
    let hour = Duration::from_secs(3600);
    assert_eq!(session.prune(ledger, hour, 100).await.unwrap(), 0);
    db.run(&format!("UPDATE rabbit_sink_ledger SET written_at = {age} WHERE message_id <> 'm9'")).await;
    assert_eq!(session.prune(ledger, hour, 4).await.unwrap(), 4);
    assert_eq!(session.prune(ledger, hour, 4).await.unwrap(), 4);
    assert_eq!(session.prune(ledger, hour, 4).await.unwrap(), 1);
    assert_eq!(session.prune(ledger, hour, 4).await.unwrap(), 0);
    assert_eq!(session.prune(ledger, Duration::MAX, 4).await.unwrap(), 0);
    let left = db.lines("SELECT message_id FROM rabbit_sink_ledger ORDER BY message_id").await;
    assert_eq!(left, ["m0", "m9"]);
}

pub async fn probe_and_checks(db: &Fresh, missing: &str) {
    db.run(ORDERS).await;
    let plan = db.plan("orders", &["order_no", "event_id"], db.ledger("p").await).await;
    let mut session = db.session().await;
    session.check_privileges(&name("orders")).await.unwrap();
    session.probe_write(&plan).await.unwrap();
    session.probe_write(&plan).await.unwrap();
    assert_eq!((db.count("orders").await, db.count("rabbit_sink_ledger").await), (0, 0));
    assert_failure(session.describe(&name("nowhere")).await, ErrorClass::SinkMisconfigured, missing);
    // Changes under a running pipeline.
    db.run("ALTER TABLE orders RENAME COLUMN event_id TO renamed").await;
    let failure = session.probe_write(&plan).await.unwrap_err();
    assert_eq!(failure.class, ErrorClass::SinkMisconfigured, "{failure}");
    let failure = write(&mut *session, &plan, &[unit("a", "", order(1, "a"))]).await.unwrap_err();
    assert_eq!(failure.class, ErrorClass::SinkMisconfigured, "{failure}");
    assert!(failure.message.contains("event_id"), "{failure}");
    db.run("ALTER TABLE orders RENAME COLUMN renamed TO event_id").await;
    db.run("DROP TABLE rabbit_sink_ledger").await;
    let failure = write(&mut *session, &plan, &[unit("a", "", order(1, "a"))]).await.unwrap_err();
    assert_eq!(failure.class, ErrorClass::SinkMisconfigured, "{failure}");
    assert_eq!(db.count("orders").await, 0);
}
