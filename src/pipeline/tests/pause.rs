//! A pause that somebody orders: what is in hand is settled or given back once, and nothing more is taken.

use std::time::Duration;

use super::rig::Rig;
use crate::pipeline::End;
use crate::shutdown::Phase;
use crate::status::{Pause, Scope, State};

fn pause(rig: &Rig) {
    rig.context.status.pause(Pause::new(Scope::Worker, "ann", "new index", jiff::Timestamp::now()));
}

async fn ends_within(consumer: tokio::task::JoinHandle<End>, limit: Duration) -> End {
    tokio::time::timeout(limit, consumer).await.expect("it goes on").unwrap()
}

#[tokio::test(start_paused = true)]
async fn what_is_in_hand_is_written_and_nothing_more_is_taken() {
    let rig = Rig::new();
    rig.database.state().slow = Duration::from_secs(2);
    rig.publish_good(0..30);
    let consumer = rig.start();
    tokio::time::sleep(Duration::from_millis(100)).await;
    pause(&rig);
    tokio::time::sleep(Duration::from_millis(10)).await;
    let (state, reason) = rig.state();
    assert_eq!((state, reason.as_deref().unwrap()), (State::Draining, "paused by ann: new index"));
    rig.publish_good(30..40);
    let end = ends_within(consumer, Duration::from_secs(5)).await;
    assert!(matches!(end, End::PauseOrdered), "{end:?}");
    rig.assert_clean();
    assert_eq!((rig.database.ids().len(), rig.broker.acked()), (30, 30));
    let queue = rig.broker.queue();
    assert_eq!((queue.ready(), queue.unacked(), queue.returns), (10, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_settled_is_given_back_at_once_and_once() {
    let rig = Rig::new();
    let consumer = rig.start();
    tokio::time::sleep(Duration::from_millis(100)).await;
    rig.database.go_away();
    rig.publish_good(0..10);
    rig.until_state(State::Holding).await;
    pause(&rig);
    let end = ends_within(consumer, Duration::from_millis(100)).await;
    assert!(matches!(end, End::PauseOrdered), "{end:?}");
    assert_eq!((rig.broker.ready(), rig.broker.acked(), rig.broker.queue().returns), (10, 0, 1));
}

#[tokio::test(start_paused = true)]
async fn one_that_comes_between_the_look_and_the_subscription_counts() {
    let rig = Rig::new();
    pause(&rig);
    rig.publish_good(0..1);
    let end = ends_within(rig.start(), Duration::from_secs(1)).await;
    assert!(matches!(end, End::PauseOrdered), "{end:?}");
    rig.assert_clean();
}

#[tokio::test(start_paused = true)]
async fn a_resume_before_it_is_drained_and_a_signal_in_the_middle_change_nothing_else() {
    for stop in [false, true] {
        let rig = Rig::new();
        rig.database.state().slow = Duration::from_secs(2);
        rig.publish_good(0..10);
        let consumer = rig.start();
        tokio::time::sleep(Duration::from_millis(100)).await;
        pause(&rig);
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert!(rig.context.status.lift().is_some());
        if stop {
            rig.shutdown.send_replace(Phase::Drain);
        }
        let end = ends_within(consumer, Duration::from_secs(5)).await;
        assert_eq!((matches!(end, End::Stopped), matches!(end, End::PauseOrdered)), (stop, !stop), "{end:?}");
        assert_eq!((rig.database.ids().len(), rig.broker.acked()), (10, 10));
    }
}

#[tokio::test(start_paused = true)]
async fn it_does_not_repeat_an_old_order_to_resume() {
    let rig = Rig::with(|pipeline| pipeline.storm.min = 5);
    (0..10).for_each(|id| rig.publish(&id.to_string(), "bad"));
    let consumer = rig.start();
    rig.until_state(State::Paused).await;
    pause(&rig);
    let end = ends_within(consumer, Duration::from_millis(100)).await;
    assert!(matches!(end, End::PauseOrdered), "{end:?}");
    assert_eq!((rig.broker.ready(), rig.dead.len()), (10, 0), "the storm's letters stay where they are");
    assert!(rig.context.storm.active().is_some());
}
