//! The database is away, locked, or not as the pipeline needs it: no message is lost to that.

use std::time::Duration;

use super::rig::Rig;
use crate::pipeline::End;
use crate::status::{Resume, State};

#[tokio::test(start_paused = true)]
async fn contention_is_retried_then_one_by_one_then_held_and_never_dead_lettered() {
    let rig = Rig::new();
    rig.database.state().contention = 60;
    rig.publish_good(0..10);
    let _consumer = rig.start();
    rig.until_state(State::Holding).await;
    rig.until_queue_empty().await;
    rig.assert_clean();
    assert_eq!((rig.database.ids().len(), rig.dead.len()), (10, 0));
    let sizes: Vec<usize> = rig.database.state().transactions.iter().map(|(ids, _)| ids.len()).collect();
    assert_eq!(sizes[..6], [10; 6]);
    assert!(sizes[6..].iter().all(|&size| size == 1), "{sizes:?}");
    rig.until_state(State::Running).await;
}

#[tokio::test(start_paused = true)]
async fn a_locked_row_costs_its_neighbours_a_moment_only() {
    let rig = Rig::new();
    rig.database.state().locked.insert("3".to_owned());
    rig.publish_good(0..10);
    let _consumer = rig.start();
    rig.until("the others are written", |rig| rig.database.ids().len() == 9).await;
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert_eq!((rig.broker.acked(), rig.dead.len()), (9, 0));
    rig.database.state().locked.clear();
    rig.until_queue_empty().await;
    rig.assert_clean();
    assert_eq!(rig.database.ids().len(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_locked_row_beside_a_bad_one_costs_its_neighbours_a_moment_only() {
    let rig = Rig::new();
    rig.database.state().locked.insert("5".to_owned());
    rig.publish("3", "bad");
    rig.publish_good(5..10);
    let _consumer = rig.start();
    tokio::time::sleep(Duration::from_secs(120)).await;
    rig.database.state().locked.clear();
    rig.until_queue_empty().await;
    rig.assert_clean();
    assert_eq!((rig.database.ids().len(), rig.dead.len()), (5, 1));
}

#[tokio::test(start_paused = true)]
async fn away_means_that_reading_stops_and_nothing_is_acked() {
    let rig = Rig::with(|pipeline| {
        pipeline.batch.max_rows = 10;
        pipeline.prefetch = 20;
    });
    let _consumer = rig.start();
    tokio::time::sleep(Duration::from_millis(10)).await;
    rig.database.go_away();
    rig.publish_good(0..500);
    rig.until_state(State::Holding).await;
    tokio::time::sleep(Duration::from_secs(300)).await;
    assert_eq!(rig.broker.acked(), 0);
    assert_eq!(rig.broker.queue().most_unacked, 20);
    assert!(rig.context.status.unsettled() <= 20);
    assert!(rig.context.status.deliveries.get() <= 20, "more was taken than one batch in hand and one collected");
    rig.database.come_back();
    rig.until_queue_empty().await;
    rig.assert_clean();
    assert_eq!(rig.database.ids().len(), 500);
    assert_eq!(rig.broker.returns(), 0);
    rig.until_state(State::Running).await;
}

#[tokio::test(start_paused = true)]
async fn while_it_is_away_it_is_asked_ever_more_rarely() {
    let rig = Rig::with(|pipeline| pipeline.retry.hold = Duration::from_secs(36_000));
    let _consumer = rig.start();
    tokio::time::sleep(Duration::from_millis(10)).await;
    rig.database.go_away();
    rig.publish_good(0..5);
    tokio::time::sleep(Duration::from_secs(3600)).await;
    let connects = rig.database.state().connects;
    assert!((80..400).contains(&connects), "{connects} attempts in an hour, one in about 30 s expected");
}

#[tokio::test(start_paused = true)]
async fn misconfigured_pauses_and_goes_on_when_mended() {
    let rig = Rig::new();
    let _consumer = rig.start();
    tokio::time::sleep(Duration::from_millis(10)).await;
    rig.database.state().misconfigured = true;
    rig.publish_good(0..5);
    rig.until_state(State::Paused).await;
    assert!(rig.state().1.unwrap().contains("table orders is missing"));
    rig.publish_good(5..50);
    tokio::time::sleep(Duration::from_secs(200)).await;
    assert_eq!((rig.broker.acked(), rig.dead.len(), rig.context.status.deliveries.get()), (0, 0, 5));
    rig.database.state().misconfigured = false;
    rig.until_queue_empty().await;
    rig.assert_clean();
    assert_eq!((rig.database.ids().len(), rig.broker.returns()), (50, 0));
    rig.until_state(State::Running).await;
}

#[tokio::test(start_paused = true)]
async fn resume_looks_at_once_whether_it_is_mended() {
    let rig = Rig::new();
    let _consumer = rig.start();
    tokio::time::sleep(Duration::from_millis(10)).await;
    rig.database.state().misconfigured = true;
    rig.publish_good(0..5);
    tokio::time::sleep(Duration::from_secs(120)).await;
    rig.database.state().misconfigured = false;
    rig.resume(Resume::Retry);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(rig.database.ids().len(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_changed_table_means_a_new_plan() {
    let rig = Rig::new();
    let consumer = rig.start();
    tokio::time::sleep(Duration::from_millis(10)).await;
    rig.database.state().misconfigured = true;
    rig.publish_good(0..5);
    rig.until_state(State::Paused).await;
    rig.database.state().altered = true;
    rig.database.state().misconfigured = false;
    assert!(matches!(consumer.await.unwrap(), End::PlanChanged));
    rig.start();
    rig.until_queue_empty().await;
    rig.assert_clean();
}

#[tokio::test(start_paused = true)]
async fn away_and_then_misconfigured_is_told_apart() {
    let rig = Rig::new();
    let _consumer = rig.start();
    tokio::time::sleep(Duration::from_millis(10)).await;
    rig.database.go_away();
    rig.publish_good(0..5);
    rig.until_state(State::Holding).await;
    rig.database.state().misconfigured = true;
    rig.database.come_back();
    rig.until_state(State::Paused).await;
    rig.database.go_away();
    rig.until_state(State::Holding).await;
    rig.database.state().misconfigured = false;
    rig.database.come_back();
    rig.until_queue_empty().await;
    rig.assert_clean();
}

#[tokio::test(start_paused = true)]
async fn a_parked_child_and_a_database_away_do_not_turn_the_loop_without_end() {
    // In paused time, a loop that turns without waiting for anything never comes to this end.
    let rig = Rig::new();
    rig.publish("0", "child of 50");
    let _consumer = rig.start();
    tokio::time::sleep(Duration::from_secs(5)).await;
    rig.database.go_away();
    rig.publish_good(1..5);
    tokio::time::sleep(Duration::from_secs(100)).await;
    rig.database.come_back();
    rig.publish("50", "good");
    rig.until_queue_empty().await;
    assert_eq!(rig.database.ids().len(), 6);
}
