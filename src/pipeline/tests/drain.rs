//! Stop means drain.

use std::time::Duration;

use super::rig::Rig;
use crate::pipeline::End;
use crate::shutdown::Phase;
use crate::status::State;

async fn assert_stops_within(consumer: tokio::task::JoinHandle<End>, limit: Duration) {
    let end = tokio::time::timeout(limit, consumer).await.expect("it didn't stop").unwrap();
    assert!(matches!(end, End::Stopped), "{end:?}");
}

#[tokio::test(start_paused = true)]
async fn the_batch_in_hand_and_what_had_arrived_is_finished_and_acked() {
    let rig = Rig::new();
    rig.database.state().slow = Duration::from_secs(2);
    rig.publish_good(0..1);
    let consumer = rig.start();
    tokio::time::sleep(Duration::from_millis(100)).await;
    rig.publish_good(1..30);
    tokio::time::sleep(Duration::from_millis(100)).await;
    rig.shutdown.send_replace(Phase::Drain);
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert_eq!(rig.state().0, State::Draining);
    rig.publish_good(30..40);
    assert_stops_within(consumer, Duration::from_secs(5)).await;
    rig.assert_clean();
    assert_eq!((rig.database.ids().len(), rig.broker.acked()), (30, 30));
    let queue = rig.broker.queue();
    assert_eq!((queue.ready(), queue.unacked(), queue.returns), (10, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn dead_letters_in_hand_are_confirmed_first() {
    let rig = Rig::new();
    rig.dead.state().slow = Duration::from_secs(3);
    rig.publish("0", "bad");
    let consumer = rig.start();
    tokio::time::sleep(Duration::from_millis(100)).await;
    rig.shutdown.send_replace(Phase::Drain);
    assert_stops_within(consumer, Duration::from_secs(5)).await;
    assert_eq!((rig.dead.len(), rig.broker.is_empty()), (1, true));
    rig.assert_clean();
}

#[tokio::test(start_paused = true)]
async fn an_idle_consumer_stops_at_once() {
    for rig in [Rig::new(), Rig::until_empty(|_| {})] {
        let consumer = rig.start();
        rig.shutdown.send_replace(Phase::Drain);
        assert_stops_within(consumer, Duration::from_millis(10)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn while_holding_it_gives_back_at_once() {
    let rig = Rig::new();
    let consumer = rig.start();
    tokio::time::sleep(Duration::from_millis(100)).await;
    rig.database.go_away();
    rig.publish_good(0..10);
    rig.until_state(State::Holding).await;
    rig.shutdown.send_replace(Phase::Drain);
    assert_stops_within(consumer, Duration::from_millis(100)).await;
    assert_eq!((rig.broker.ready(), rig.broker.acked()), (10, 0));
}

#[tokio::test(start_paused = true)]
async fn while_paused_by_a_storm_it_gives_back_at_once() {
    let rig = Rig::with(|pipeline| pipeline.storm.min = 5);
    (0..10).for_each(|id| rig.publish(&id.to_string(), "bad"));
    let consumer = rig.start();
    rig.until_state(State::Paused).await;
    rig.shutdown.send_replace(Phase::Drain);
    assert_stops_within(consumer, Duration::from_millis(100)).await;
    assert_eq!((rig.broker.ready(), rig.dead.len()), (10, 0));
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_a_parent_or_its_turn_is_given_back() {
    let rig = Rig::new();
    rig.publish("0", "child of 50");
    rig.publish_good(1..5);
    let consumer = rig.start();
    tokio::time::sleep(Duration::from_millis(100)).await;
    rig.shutdown.send_replace(Phase::Drain);
    assert_stops_within(consumer, Duration::from_secs(1)).await;
    assert_eq!((rig.broker.ready(), rig.database.ids().len()), (1, 4));

    let rig = Rig::with(|pipeline| pipeline.limits.max_rows_per_second = 1);
    rig.publish_good(0..50);
    let consumer = rig.start();
    tokio::time::sleep(Duration::from_millis(3500)).await;
    rig.shutdown.send_replace(Phase::Drain);
    assert_stops_within(consumer, Duration::from_secs(2)).await;
    rig.assert_clean();
    let queue = rig.broker.queue();
    assert_eq!(queue.ready() + queue.acked, 50);
    assert_eq!(queue.acked, rig.database.ids().len());
}

#[tokio::test(start_paused = true)]
async fn lingering_is_over() {
    let rig = Rig::with(|pipeline| pipeline.batch.linger = Duration::from_secs(60));
    rig.publish_good(0..5);
    let consumer = rig.start();
    tokio::time::sleep(Duration::from_secs(1)).await;
    rig.shutdown.send_replace(Phase::Drain);
    assert_stops_within(consumer, Duration::from_millis(100)).await;
    assert_eq!(rig.database.ids().len(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_second_signal_stops_at_once() {
    let rig = Rig::new();
    rig.database.held.send_replace(true);
    rig.publish_good(0..10);
    let consumer = rig.start();
    tokio::time::sleep(Duration::from_millis(100)).await;
    rig.shutdown.send_replace(Phase::Drain);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!consumer.is_finished());
    rig.shutdown.send_replace(Phase::Abort);
    assert_stops_within(consumer, Duration::from_millis(10)).await;
    assert_eq!((rig.broker.ready(), rig.broker.acked()), (10, 0));
}

#[tokio::test(start_paused = true)]
async fn a_channel_that_is_gone_ends_it_too() {
    let rig = Rig::new();
    rig.broker.queue().refuse_cancel = true;
    let consumer = rig.start();
    tokio::time::sleep(Duration::from_millis(100)).await;
    rig.shutdown.send_replace(Phase::Drain);
    assert_stops_within(consumer, Duration::from_millis(10)).await;
}
