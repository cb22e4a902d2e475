//! The suite that every database passes.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join_all};
use rabbit_sink::config::IdConflict;
use rabbit_sink::error::ErrorClass;
use rabbit_sink::message::{Cell, Outcome, Unit};
use rabbit_sink::plan::{Deduplication, WritePlan};
use rabbit_sink::sink::Session;

// One list of tests, in two files.
pub use super::exercise_around::*;
use super::fixture::{World, short, some, target, text, unit, unit_of, write};

/// One test for each part of the suite, given an expression that makes a fresh [`super::fixture::Dialect`].
macro_rules! exercise {
    ($dialect:expr) => {
        exercise!(@ $dialect;
            every_kind_comes_back_exactly
            absent_takes_the_default_and_null_is_null
            rows_without_any_column_take_all_defaults
            text_is_data
            values_do_not_choose_types
            repeats_are_duplicates
            another_body_under_a_known_id_is_a_conflict
            an_id_twice_in_a_batch_is_written_once
            two_writers_with_the_same_ids_write_each_once
            an_error_leaves_nothing
            a_session_goes_on_after_an_error
            another_unique_key_is_an_error
            all_targets_or_none
            units_without_rows_are_remembered
            a_column_recognises_repeats
            a_column_recognises_repeats_of_two_writers
            a_missing_table_is_named
            a_table_that_vanishes_pauses
            the_ledger_may_be_created_by_many_at_once
            the_ledger_tells_pipelines_apart
            another_queue_or_table_is_refused_until_adopted
            a_newer_layout_is_refused
            an_emptied_ledger_is_noticed
            pruning_takes_old_entries_of_its_own_pipeline
            a_lock_is_contention
            a_probe_leaves_nothing
            a_probe_finds_what_is_missing
            expressions_stand_around_values
        );
    };
    (@ $dialect:expr; $($name:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::fixture::run(Box::new($dialect.await), super::exercise::$name).await;
            }
        )*
    };
}

pub async fn orders(world: &World) {
    let key = world.dialect.key_text();
    world.execute(&format!("CREATE TABLE orders (id bigint NOT NULL, note {key} DEFAULT 'none', UNIQUE (id))")).await;
}

pub async fn notes(world: &World) -> Vec<Option<String>> {
    world.texts("SELECT note FROM orders ORDER BY id").await
}

pub fn order(id: &str, number: i64) -> Unit {
    unit(id, &format!("{number}"), vec![Cell::Int(number), text(id)])
}

pub async fn ready(world: &World) -> (Box<dyn Session>, WritePlan) {
    orders(world).await;
    let mut session = world.session().await;
    let plan = world.ledger_plan(session.as_mut(), "orders", &["id", "note"]).await;
    (session, plan)
}

pub fn every_kind_comes_back_exactly(world: &World) -> BoxFuture<'_, ()> {
    async move {
        for specimen in world.dialect.specimens() {
            world.execute(&format!("CREATE TABLE specimen (id bigint NOT NULL, v {})", specimen.ddl)).await;
            let mut session = world.session().await;
            let plan = world.plan(session.as_mut(), "specimen", &["id", "v"], Deduplication::None).await;
            let mut cells: Vec<(Cell, Option<String>)> =
                specimen.values.into_iter().map(|(cell, printed)| (cell, Some(printed))).collect();
            cells.push((Cell::Null, None));
            let units: Vec<Unit> =
                (0..).zip(&cells).map(|(id, (cell, _))| unit("-", "-", vec![Cell::Int(id), cell.clone()])).collect();
            let outcomes = write(session.as_mut(), &plan, &units).await;
            assert!(
                outcomes.is_ok(),
                "{}: {outcomes:?} {:?}",
                specimen.ddl,
                outcomes.as_ref().err().map(|e| e.reason())
            );
            let printed =
                world.texts(&format!("SELECT {} FROM specimen ORDER BY id", world.dialect.as_text("v"))).await;
            let expected: Vec<Option<String>> = cells.into_iter().map(|(_, printed)| printed).collect();
            assert_eq!(printed, expected, "{}", specimen.ddl);
            world.execute("DROP TABLE specimen").await;
        }
    }
    .boxed()
}

pub fn absent_takes_the_default_and_null_is_null(world: &World) -> BoxFuture<'_, ()> {
    async move {
        let (mut session, plan) = ready(world).await;
        let units = [
            unit("a", "a", vec![Cell::Int(1), Cell::Absent]),
            unit("b", "b", vec![Cell::Int(2), Cell::Null]),
            unit("c", "c", vec![Cell::Int(3), text("x")]),
            unit("d", "d", vec![Cell::Int(4), Cell::Absent]),
        ];
        let outcomes = write(session.as_mut(), &plan, &units).await.unwrap();
        assert_eq!(short(&outcomes), ["written"; 4]);
        let expected = ["none", "", "x", "none"].map(|note| (!note.is_empty()).then(|| note.to_owned()));
        assert_eq!(notes(world).await, expected);
    }
    .boxed()
}

pub fn rows_without_any_column_take_all_defaults(world: &World) -> BoxFuture<'_, ()> {
    async move {
        world.execute("CREATE TABLE counted (n int DEFAULT 7, m int DEFAULT 8)").await;
        let mut session = world.session().await;
        let plan = world.plan(session.as_mut(), "counted", &["n", "m"], Deduplication::None).await;
        let units = [0, 1, 2].map(|_| unit("-", "-", vec![Cell::Absent, Cell::Absent]));
        write(session.as_mut(), &plan, &units).await.unwrap();
        let sum = world.dialect.as_text("count(*) * 1000 + sum(n) + sum(m)");
        assert_eq!(world.texts(&format!("SELECT {sum} FROM counted")).await, some(&["3045"]));
    }
    .boxed()
}

pub fn text_is_data(world: &World) -> BoxFuture<'_, ()> {
    async move {
        let (mut session, plan) = ready(world).await;
        let nasty =
            ["'; DROP TABLE orders; --", "\\", "$1 ? {}", "日本語 🦀", "", " x ", "\n\t\u{7f}", "NULL", "{a,b}"];
        let units: Vec<Unit> =
            (0..).zip(&nasty).map(|(n, note)| unit(note, note, vec![Cell::Int(n), text(note)])).collect();
        write(session.as_mut(), &plan, &units).await.unwrap();
        assert_eq!(notes(world).await, some(&nasty));
    }
    .boxed()
}

/// One session, one shape: what was bound first must not decide how the next is read.
pub fn values_do_not_choose_types(world: &World) -> BoxFuture<'_, ()> {
    async move {
        world.execute("CREATE TABLE v (id bigint, n bigint, note varchar(20))").await;
        let mut session = world.session().await;
        let plan = world.plan(session.as_mut(), "v", &["id", "n", "note"], Deduplication::None).await;
        let rows = [(Cell::Null, Cell::Null), (Cell::Int(1 << 60), text("12345678")), (Cell::Int(1), text("x"))];
        for (id, (n, note)) in (0..).zip(rows) {
            write(session.as_mut(), &plan, &[unit("-", "-", vec![Cell::Int(id), n, note])]).await.unwrap();
        }
        let n = world.dialect.as_text("n");
        let numbers = world.texts(&format!("SELECT {n} FROM v ORDER BY id")).await;
        assert_eq!(numbers, [None, Some("1152921504606846976".into()), Some("1".into())]);
        let notes = world.texts("SELECT note FROM v ORDER BY id").await;
        assert_eq!(notes, [None, Some("12345678".into()), Some("x".into())]);
    }
    .boxed()
}

pub fn repeats_are_duplicates(world: &World) -> BoxFuture<'_, ()> {
    async move {
        let (mut session, plan) = ready(world).await;
        let outcomes = write(session.as_mut(), &plan, &[order("b", 2), order("a", 1)]).await.unwrap();
        assert_eq!(short(&outcomes), ["written", "written"]);
        // IDs differ by case and by trailing blanks.
        let batch = [order("c", 3), order("a", 1), order("A", 4), order("b", 2), order("a ", 5)];
        let outcomes = write(session.as_mut(), &plan, &batch).await.unwrap();
        assert_eq!(short(&outcomes), ["written", "duplicate", "written", "duplicate", "written"]);
        assert_eq!(notes(world).await, some(&["a", "b", "c", "A", "a "]));
    }
    .boxed()
}

pub fn another_body_under_a_known_id_is_a_conflict(world: &World) -> BoxFuture<'_, ()> {
    async move {
        let (mut session, mut plan) = ready(world).await;
        write(session.as_mut(), &plan, &[order("a", 1)]).await.unwrap();
        let outcomes = write(session.as_mut(), &plan, &[order("a", 2), order("b", 3)]).await.unwrap();
        assert_eq!(short(&outcomes), ["other_body", "written"]);
        let Outcome::Rejected(failure) = &outcomes[0] else { panic!("{outcomes:?}") };
        assert_eq!(failure.class, ErrorClass::IdConflict);
        plan.id_conflict = IdConflict::Ignore;
        let outcomes = write(session.as_mut(), &plan, &[order("a", 2)]).await.unwrap();
        assert_eq!(short(&outcomes), ["duplicate"]);
        assert_eq!(notes(world).await, some(&["a", "b"]));
    }
    .boxed()
}

pub fn an_id_twice_in_a_batch_is_written_once(world: &World) -> BoxFuture<'_, ()> {
    async move {
        let (mut session, plan) = ready(world).await;
        let outcomes = write(session.as_mut(), &plan, &[order("a", 1), order("a", 1)]).await.unwrap();
        assert_eq!(short(&outcomes), ["written", "duplicate"]);
        // The first one counts, whatever the hashes are.
        for (id, bodies) in [("b", [1, 2]), ("c", [4, 3])] {
            let batch = bodies.map(|body| order(id, body * 10));
            assert_eq!(short(&write(session.as_mut(), &plan, &batch).await.unwrap()), ["written", "other_body"]);
            assert_eq!(short(&write(session.as_mut(), &plan, &batch).await.unwrap()), ["duplicate", "other_body"]);
        }
        assert_eq!(world.texts("SELECT note FROM orders ORDER BY id").await, some(&["a", "b", "c"]));
        assert_eq!(world.count("orders").await, 3);
    }
    .boxed()
}

/// Writes a batch again while it is contention, as a pipeline does.
pub async fn insist(session: &mut dyn Session, plan: &WritePlan, units: &[&Unit]) -> Vec<Outcome> {
    loop {
        match session.write(plan, units, false).await {
            Ok(outcomes) => return outcomes,
            Err(failure) => assert_eq!(failure.class, ErrorClass::SinkContention, "{}", failure.reason()),
        }
    }
}

pub fn two_writers_with_the_same_ids_write_each_once(world: &World) -> BoxFuture<'_, ()> {
    async move {
        let (_, plan) = ready(world).await;
        let units: Vec<Unit> =
            (0..400).map(|n| order(&format!("m{:03}", (n * 7919) % 400), (n * 7919) % 400)).collect();
        let (plan, units) = (&plan, &units);
        let writers = [false, true].map(|backwards| async move {
            let mut session = world.session().await;
            let mut written = 0;
            for turn in 0..units.len() / 20 {
                let mut batch: Vec<&Unit> = units.iter().skip(turn * 20).take(20).collect();
                if backwards {
                    batch = units.iter().rev().skip(turn * 20).take(20).collect();
                }
                let outcomes = insist(session.as_mut(), plan, &batch).await;
                written += outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Written)).count();
            }
            written
        });
        let written = tokio::time::timeout(Duration::from_secs(60), join_all(writers)).await.expect("no standstill");
        assert_eq!(written.iter().sum::<usize>(), 400, "{written:?}");
        assert_eq!(world.count("orders").await, 400);
        assert_eq!(world.count("rabbit_sink_ledger").await, 400);
    }
    .boxed()
}

pub fn an_error_leaves_nothing(world: &World) -> BoxFuture<'_, ()> {
    async move {
        let (mut session, plan) = ready(world).await;
        let units = [order("a", 1), unit("b", "b", vec![Cell::Null, text("b")]), order("c", 3)];
        for isolating in [false, true] {
            let units: Vec<&Unit> = units.iter().collect();
            let failure = session.write(&plan, &units, isolating).await.unwrap_err();
            assert_eq!(
                (failure.class, failure.code.as_ref()),
                (ErrorClass::RowRejected, world.dialect.codes().not_null)
            );
            assert_eq!(failure.column.as_deref(), Some("id"));
        }
        assert_eq!((world.count("orders").await, world.count("rabbit_sink_ledger").await), (0, 0));
    }
    .boxed()
}

pub fn a_session_goes_on_after_an_error(world: &World) -> BoxFuture<'_, ()> {
    async move {
        let (mut session, plan) = ready(world).await;
        let bad = [unit("b", "b", vec![Cell::Null, text("b")])];
        write(session.as_mut(), &plan, &bad).await.unwrap_err();
        let outcomes = write(session.as_mut(), &plan, &[order("a", 1)]).await.unwrap();
        assert_eq!(short(&outcomes), ["written"]);
        drop(session);
        assert_eq!((world.count("orders").await, world.count("rabbit_sink_ledger").await), (1, 1));
    }
    .boxed()
}

pub fn another_unique_key_is_an_error(world: &World) -> BoxFuture<'_, ()> {
    async move {
        let (mut session, plan) = ready(world).await;
        write(session.as_mut(), &plan, &[order("a", 1)]).await.unwrap();
        let failure = write(session.as_mut(), &plan, &[order("b", 2), order("secret-value", 1)]).await.unwrap_err();
        assert_eq!((failure.class, failure.code.as_ref()), (ErrorClass::RowRejected, world.dialect.codes().unique));
        assert!(failure.constraint.is_some(), "{failure:?}");
        assert!(!failure.to_string().contains("secret-value") && !format!("{failure:?}").contains("secret-value"));
        assert_eq!((world.count("orders").await, world.count("rabbit_sink_ledger").await), (1, 1));
    }
    .boxed()
}

pub fn all_targets_or_none(world: &World) -> BoxFuture<'_, ()> {
    async move {
        let (mut session, mut plan) = ready(world).await;
        world.execute("CREATE TABLE items (n int NOT NULL)").await;
        plan.targets.push(target(session.as_mut(), "items", &["n"]).await);
        let good = |id, n| {
            unit_of(
                id,
                id,
                vec![(0, vec![Cell::Int(n), Cell::Absent]), (1, vec![Cell::Int(n)]), (1, vec![Cell::Int(n)])],
            )
        };
        write(session.as_mut(), &plan, &[good("a", 1)]).await.unwrap();
        let bad = unit_of("b", "b", vec![(0, vec![Cell::Int(2), Cell::Absent]), (1, vec![Cell::Null])]);
        write(session.as_mut(), &plan, &[good("c", 3), bad]).await.unwrap_err();
        assert_eq!((world.count("orders").await, world.count("items").await), (1, 2));
    }
    .boxed()
}

pub fn units_without_rows_are_remembered(world: &World) -> BoxFuture<'_, ()> {
    async move {
        let (mut session, plan) = ready(world).await;
        let nothing = || [unit_of("a", "a", Vec::new())];
        assert_eq!(short(&write(session.as_mut(), &plan, &nothing()).await.unwrap()), ["written"]);
        assert_eq!(short(&write(session.as_mut(), &plan, &nothing()).await.unwrap()), ["duplicate"]);
        assert!(write(session.as_mut(), &plan, &[]).await.unwrap().is_empty());
    }
    .boxed()
}

pub fn a_column_recognises_repeats(world: &World) -> BoxFuture<'_, ()> {
    async move {
        orders(world).await;
        world.execute("CREATE UNIQUE INDEX note_is_unique ON orders (note)").await;
        let mut session = world.session().await;
        let plan = world.plan(session.as_mut(), "orders", &["id", "note"], Deduplication::Column(0)).await;
        let outcomes = write(session.as_mut(), &plan, &[order("b", 2), order("a", 1)]).await.unwrap();
        assert_eq!(short(&outcomes), ["written", "written"]);
        // Known ones, new ones, a new one twice, and one of another shape.
        let batch = [
            order("c", 3),
            order("a", 1),
            order("d", 4),
            order("other", 4),
            unit("-", "-", vec![Cell::Int(2), Cell::Absent]),
            unit("-", "-", vec![Cell::Int(5), Cell::Absent]),
        ];
        let outcomes = write(session.as_mut(), &plan, &batch).await.unwrap();
        assert_eq!(short(&outcomes), ["written", "duplicate", "written", "duplicate", "duplicate", "written"]);
        assert_eq!(notes(world).await, some(&["a", "b", "c", "d", "none"]));
        // A new order under a known note isn't a repeat.
        let failure = write(session.as_mut(), &plan, &[order("e", 6), order("a", 7)]).await.unwrap_err();
        assert_eq!((failure.class, failure.code.as_ref()), (ErrorClass::RowRejected, world.dialect.codes().unique));
        assert_eq!(world.count("orders").await, 5);
    }
    .boxed()
}

pub fn a_column_recognises_repeats_of_two_writers(world: &World) -> BoxFuture<'_, ()> {
    async move {
        orders(world).await;
        let mut session = world.session().await;
        let plan = world.plan(session.as_mut(), "orders", &["id", "note"], Deduplication::Column(0)).await;
        let units: Vec<Unit> = (0..200).map(|n| order("x", n)).collect();
        let (plan, units) = (&plan, &units);
        let writers = [false, true].map(|backwards| async move {
            let mut session = world.session().await;
            let mut written = 0;
            for turn in 0..10 {
                let mut batch: Vec<&Unit> = units.iter().skip(turn * 20).take(20).collect();
                if backwards {
                    batch.reverse();
                }
                let outcomes = insist(session.as_mut(), plan, &batch).await;
                written += outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Written)).count();
            }
            written
        });
        let written = tokio::time::timeout(Duration::from_secs(60), join_all(writers)).await.expect("no standstill");
        assert_eq!(written.iter().sum::<usize>(), 200, "{written:?}");
        assert_eq!(world.count("orders").await, 200);
    }
    .boxed()
}
