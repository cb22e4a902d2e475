//! `hold`: from the arrival of the oldest unsettled delivery, in every state, and given back once.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::rig::Rig;
use crate::pipeline::End;

const HOLD: Duration = Duration::from_secs(600);

/// It ends `HOLD` after `oldest` and gives everything back, once.
async fn assert_gives_back(rig: &Rig, consumer: JoinHandle<End>, oldest: Instant, slack: Duration) {
    let end = tokio::time::timeout(2 * HOLD, consumer).await.expect("nothing was given back").unwrap();
    assert!(matches!(end, End::HoldExpired { .. }), "{end:?}");
    let held = oldest.elapsed();
    assert!(held >= HOLD && held <= HOLD + slack, "given back after {held:?}");
    let queue = rig.broker.queue();
    assert_eq!((queue.unacked(), queue.returns), (0, 1));
    assert!(queue.ready() > 0);
    drop(queue);
    assert_eq!((rig.context.status.unsettled(), rig.broker.most_returned()), (0, 1));
    rig.assert_clean();
}

#[tokio::test(start_paused = true)]
async fn while_the_database_is_away() {
    let rig = Rig::new();
    let consumer = rig.start();
    tokio::time::sleep(Duration::from_secs(1)).await;
    rig.database.go_away();
    rig.publish_good(0..5);
    assert_gives_back(&rig, consumer, Instant::now(), Duration::from_millis(10)).await;
}

#[tokio::test(start_paused = true)]
async fn while_paused() {
    let rig = Rig::new();
    let consumer = rig.start();
    tokio::time::sleep(Duration::from_secs(1)).await;
    rig.database.state().misconfigured = true;
    rig.publish_good(0..5);
    assert_gives_back(&rig, consumer, Instant::now(), Duration::from_millis(10)).await;
}

#[tokio::test(start_paused = true)]
async fn while_others_hold_a_lock() {
    let rig = Rig::new();
    rig.database.state().locked.insert("3".to_owned());
    rig.publish_good(0..5);
    let consumer = rig.start();
    assert_gives_back(&rig, consumer, Instant::now(), Duration::from_millis(10)).await;
    assert_eq!(rig.database.ids().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn while_dead_letters_are_refused() {
    let rig = Rig::new();
    rig.dead.state().away = true;
    rig.publish("0", "bad");
    rig.publish_good(1..5);
    let consumer = rig.start();
    assert_gives_back(&rig, consumer, Instant::now(), Duration::from_millis(10)).await;
    assert_eq!(rig.broker.acked(), 4);
}

#[tokio::test(start_paused = true)]
async fn while_a_slow_letter_box_refuses() {
    let rig = Rig::new();
    rig.dead.state().away = true;
    rig.dead.state().slow = Duration::from_secs(20);
    rig.publish("0", "bad");
    let consumer = rig.start();
    assert_gives_back(&rig, consumer, Instant::now(), Duration::from_secs(20)).await;
}

#[tokio::test(start_paused = true)]
async fn while_a_storm_pauses() {
    let rig = Rig::with(|pipeline| pipeline.storm.min = 4);
    (0..10).for_each(|id| rig.publish(&id.to_string(), "bad"));
    let consumer = rig.start();
    assert_gives_back(&rig, consumer, Instant::now(), Duration::from_millis(10)).await;
    assert_eq!(rig.dead.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn while_a_parent_is_missing_for_longer() {
    let rig = Rig::with(|pipeline| pipeline.retry.missing_parent = 2 * HOLD);
    rig.publish("0", "child of 50");
    rig.publish_good(1..5);
    let consumer = rig.start();
    assert_gives_back(&rig, consumer, Instant::now(), Duration::from_millis(50)).await;
}

/// The writer has its next batch before the last one is settled: it is never free to be seen so.
#[tokio::test(start_paused = true)]
async fn while_a_parent_is_missing_and_others_keep_the_writer_busy() {
    let rig = Rig::with(|pipeline| {
        (pipeline.retry.missing_parent, pipeline.retry.max) = (2 * HOLD, 2 * HOLD);
        pipeline.batch.max_rows = 2;
    });
    rig.database.state().slow = Duration::from_secs(1);
    rig.publish("0", "child of 5000");
    rig.publish_good(1..4_000);
    let consumer = rig.start();
    assert_gives_back(&rig, consumer, Instant::now(), Duration::from_secs(3)).await;
}

#[tokio::test(start_paused = true)]
async fn while_a_writer_is_slow_its_answer_is_waited_for() {
    let rig = Rig::new();
    rig.database.state().slow = Duration::from_secs(50);
    rig.database.state().contention = u32::MAX;
    rig.publish_good(0..5);
    let consumer = rig.start();
    // One by one, three contended units end a job: three transactions at most.
    assert_gives_back(&rig, consumer, Instant::now(), Duration::from_secs(150)).await;
}

#[tokio::test(start_paused = true)]
async fn a_young_delivery_does_not_make_an_old_one_younger() {
    let rig = Rig::new();
    rig.database.state().locked.insert("3".to_owned());
    let consumer = rig.start();
    rig.publish("3", "good");
    let oldest = Instant::now();
    tokio::time::sleep(Duration::from_secs(5)).await;
    rig.publish_good(4..9);
    assert_gives_back(&rig, consumer, oldest, Duration::from_secs(1)).await;
}

#[tokio::test(start_paused = true)]
async fn few_bad_messages_that_come_back_do_not_add_up_to_a_storm() {
    let rig = Rig::with(|pipeline| pipeline.storm.min = 10);
    rig.dead.state().away = true;
    (0..4).for_each(|id| rig.publish(&id.to_string(), "bad"));
    let _consumer = rig.keep(0);
    tokio::time::sleep(6 * HOLD).await;
    assert!(rig.broker.most_returned() >= 4, "they have been counted often enough");
    assert_eq!(rig.context.storm.active(), None);
    rig.dead.state().away = false;
    rig.until_queue_empty().await;
    rig.assert_clean();
    assert_eq!(rig.dead.len(), 4);
}

/// Nothing is read then, but a channel that is gone shows all the same: the broker has everything
/// again, and neither `hold` nor the database has to pass first.
#[tokio::test(start_paused = true)]
async fn a_channel_that_is_lost_meanwhile_is_noticed() {
    for (kind, break_it) in [
        ("good", (|rig: &Rig| rig.database.go_away()) as fn(&Rig)),
        ("good", |rig| rig.database.state().misconfigured = true),
        ("bad", |rig| rig.dead.state().away = true),
    ] {
        let rig = Rig::new();
        let consumer = rig.start();
        tokio::time::sleep(Duration::from_secs(1)).await;
        break_it(&rig);
        rig.publish("0", kind);
        tokio::time::sleep(HOLD / 2).await;
        assert!(!consumer.is_finished(), "{:?}", rig.state());
        rig.broker.kill_channels();
        let end = tokio::time::timeout(Duration::from_secs(1), consumer).await.expect("it isn't noticed").unwrap();
        assert!(matches!(end, End::SourceLost(_)), "{end:?}");
        assert_eq!(rig.context.status.unsettled(), 0);
    }
}
