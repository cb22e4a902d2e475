//! The suite's second half: what stands around the rows. Tables, ledger, locks, probes.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join_all};
use rabbit_sink::error::ErrorClass;
use rabbit_sink::plan::{Deduplication, WritePlan};

use super::exercise::{insist, notes, order, orders, ready};
use super::fixture::{World, identity, short, some, table, write};

pub fn a_missing_table_is_named(world: &World) -> BoxFuture<'_, ()> {
    async move {
        let mut session = world.session().await;
        for failure in [
            session.describe(&table("orders")).await.unwrap_err(),
            session.check_privileges(&table("orders")).await.unwrap_err(),
        ] {
            assert_eq!(failure.class, ErrorClass::SinkMisconfigured);
            assert_eq!(failure.code, world.dialect.codes().no_table);
            assert!(failure.message.contains("orders"), "{failure}");
        }
        orders(world).await;
        session.describe(&table("orders")).await.unwrap();
        session.check_privileges(&table("orders")).await.unwrap();
    }
    .boxed()
}

pub fn a_table_that_vanishes_pauses(world: &World) -> BoxFuture<'_, ()> {
    async move {
        let (mut session, plan) = ready(world).await;
        world.execute("DROP TABLE orders").await;
        let failure = write(session.as_mut(), &plan, &[order("a", 1)]).await.unwrap_err();
        assert_eq!(
            (failure.class, failure.code.as_ref()),
            (ErrorClass::SinkMisconfigured, world.dialect.codes().no_table)
        );
        orders(world).await;
        let outcomes = write(session.as_mut(), &plan, &[order("a", 1)]).await.unwrap();
        assert_eq!(short(&outcomes), ["written"]);
    }
    .boxed()
}

pub fn the_ledger_may_be_created_by_many_at_once(world: &World) -> BoxFuture<'_, ()> {
    async move {
        let opened = join_all((0..4).map(|n| async move {
            let mut session = world.session().await;
            // Two of the same pipeline, two of others.
            world.ledger(session.as_mut(), &format!("p{}", n.max(1))).await.pipeline
        }))
        .await;
        assert_eq!(opened[0], opened[1]);
        let mut numbers = opened;
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), 3);
        assert_eq!(world.count("rabbit_sink_ledger_pipelines").await, 3);
    }
    .boxed()
}

pub fn the_ledger_tells_pipelines_apart(world: &World) -> BoxFuture<'_, ()> {
    async move {
        let (mut session, plan) = ready(world).await;
        let ledger = world.ledger(session.as_mut(), "another").await;
        let mut other = plan.clone();
        other.deduplication = Deduplication::Ledger(ledger);
        write(session.as_mut(), &plan, &[order("a", 1)]).await.unwrap();
        let outcomes = write(session.as_mut(), &other, &[order("a", 2)]).await.unwrap();
        assert_eq!(short(&outcomes), ["written"]);
    }
    .boxed()
}

pub fn another_queue_or_table_is_refused_until_adopted(world: &World) -> BoxFuture<'_, ()> {
    async move {
        let mut session = world.session().await;
        let name = &world.config.ledger_table;
        let first =
            session.open_ledger(name, &identity("p", "q", "t"), rabbit_sink::sink::Opening::Create).await.unwrap();
        assert!(!first.emptied);
        for changed in [identity("p", "q2", "t"), identity("p", "q", "t2")] {
            let failure = session.open_ledger(name, &changed, rabbit_sink::sink::Opening::Create).await.unwrap_err();
            assert_eq!((failure.class, failure.code.as_ref()), (ErrorClass::SinkMisconfigured, "ledger_identity"));
            for said in ["q", "t", &changed.queue, &changed.table.name, "--adopt"] {
                assert!(failure.message.contains(said), "{said}: {failure}");
            }
        }
        let adopted =
            session.open_ledger(name, &identity("p", "q2", "t2"), rabbit_sink::sink::Opening::Adopt).await.unwrap();
        assert_eq!(adopted.pipeline, first.pipeline);
        session.open_ledger(name, &identity("p", "q2", "t2"), rabbit_sink::sink::Opening::Create).await.unwrap();
        session.open_ledger(name, &identity("p", "q", "t"), rabbit_sink::sink::Opening::Create).await.unwrap_err();
    }
    .boxed()
}

pub fn a_newer_layout_is_refused(world: &World) -> BoxFuture<'_, ()> {
    async move {
        let mut session = world.session().await;
        world.ledger(session.as_mut(), "orders").await;
        world.execute("UPDATE rabbit_sink_ledger_pipelines SET layout = 1000").await;
        let name = &world.config.ledger_table;
        let failure = session
            .open_ledger(name, &identity("orders", "q", "orders"), rabbit_sink::sink::Opening::Create)
            .await
            .unwrap_err();
        assert_eq!((failure.class, failure.code.as_ref()), (ErrorClass::SinkMisconfigured, "ledger_layout"));
        assert!(failure.message.contains("1000"), "{failure}");
    }
    .boxed()
}

pub fn an_emptied_ledger_is_noticed(world: &World) -> BoxFuture<'_, ()> {
    async move {
        let (mut session, plan) = ready(world).await;
        write(session.as_mut(), &plan, &[order("a", 1)]).await.unwrap();
        assert!(!world.ledger(session.as_mut(), "orders").await.emptied);
        world.execute("DELETE FROM rabbit_sink_ledger").await;
        assert!(world.ledger(session.as_mut(), "orders").await.emptied);
        world.execute("DROP TABLE rabbit_sink_ledger").await;
        assert!(world.ledger(session.as_mut(), "orders").await.emptied);
    }
    .boxed()
}

pub fn pruning_takes_old_entries_of_its_own_pipeline(world: &World) -> BoxFuture<'_, ()> {
    async move {
        let (mut session, plan) = ready(world).await;
        let Deduplication::Ledger(ledger) = plan.deduplication.clone() else { panic!("{plan:?}") };
        let mut other = plan.clone();
        other.deduplication = Deduplication::Ledger(world.ledger(session.as_mut(), "another").await);
        write(session.as_mut(), &other, &[order("a", 1)]).await.unwrap();
        write(session.as_mut(), &plan, &(2..7).map(|n| order(&format!("{n}"), n)).collect::<Vec<_>>()).await.unwrap();
        assert_eq!(session.prune(&ledger, Duration::from_secs(60), 100).await.unwrap(), 0);
        tokio::time::sleep(Duration::from_millis(1500)).await;
        write(session.as_mut(), &plan, &[order("young", 8)]).await.unwrap();
        let keep = Duration::from_millis(1200);
        assert_eq!(session.prune(&ledger, keep, 3).await.unwrap(), 3);
        assert_eq!(session.prune(&ledger, keep, 3).await.unwrap(), 2);
        assert_eq!(session.prune(&ledger, keep, 3).await.unwrap(), 0);
        let left = world.texts("SELECT message_id FROM rabbit_sink_ledger ORDER BY message_id").await;
        assert_eq!(left, some(&["a", "young"]));
    }
    .boxed()
}

pub fn a_lock_is_contention(world: &World) -> BoxFuture<'_, ()> {
    async move {
        let (mut session, plan) = ready(world).await;
        write(session.as_mut(), &plan, &[order("a", 1)]).await.unwrap();
        let mut hasty = world.connect(|config| config.lock_timeout = Duration::from_millis(300)).await.unwrap();
        let held = world.dialect.hold("INSERT INTO orders (id) VALUES (2)").await;
        let failure = write(hasty.as_mut(), &plan, &[order("b", 2)]).await.unwrap_err();
        assert_eq!((failure.class, failure.code.as_ref()), (ErrorClass::SinkContention, world.dialect.codes().lock));
        assert_eq!(world.count("rabbit_sink_ledger").await, 1);
        drop(held);
        // The server may take a moment to notice that the other one is gone.
        insist(hasty.as_mut(), &plan, &[&order("b", 2)]).await;
        assert_eq!(world.count("orders").await, 2);
    }
    .boxed()
}

pub fn a_probe_leaves_nothing(world: &World) -> BoxFuture<'_, ()> {
    async move {
        let (mut session, plan) = ready(world).await;
        session.probe_write(&plan).await.unwrap();
        let by_column = WritePlan { deduplication: Deduplication::Column(0), ..plan.clone() };
        session.probe_write(&by_column).await.unwrap();
        session.probe_write(&WritePlan { deduplication: Deduplication::None, ..plan.clone() }).await.unwrap();
        assert_eq!((world.count("orders").await, world.count("rabbit_sink_ledger").await), (0, 0));
        write(session.as_mut(), &plan, &[order("a", 1)]).await.unwrap();
        assert_eq!(world.count("orders").await, 1);
    }
    .boxed()
}

pub fn a_probe_finds_what_is_missing(world: &World) -> BoxFuture<'_, ()> {
    async move {
        let (mut session, plan) = ready(world).await;
        world.execute("ALTER TABLE orders DROP COLUMN note").await;
        let failure = session.probe_write(&plan).await.unwrap_err();
        assert_eq!(failure.class, ErrorClass::SinkMisconfigured);
        world.execute("DROP TABLE rabbit_sink_ledger").await;
        let failure = session.probe_write(&plan).await.unwrap_err();
        assert_eq!(
            (failure.class, failure.code.as_ref()),
            (ErrorClass::SinkMisconfigured, world.dialect.codes().no_table)
        );
    }
    .boxed()
}

pub fn expressions_stand_around_values(world: &World) -> BoxFuture<'_, ()> {
    async move {
        let (mut session, mut plan) = ready(world).await;
        plan.targets[0].expressions = vec![Some("? + 1".into()), Some("upper(?)".into())];
        write(session.as_mut(), &plan, &[order("a", 1), order("b", 2)]).await.unwrap();
        assert_eq!(notes(world).await, some(&["A", "B"]));
        plan.deduplication = Deduplication::Column(0);
        let outcomes = write(session.as_mut(), &plan, &[order("c", 3), order("b", 2)]).await.unwrap();
        assert_eq!(short(&outcomes), ["written", "duplicate"]);
        assert_eq!(notes(world).await, some(&["A", "B", "C"]));
    }
    .boxed()
}
