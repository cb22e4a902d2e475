//! When deliveries are acked, and how.

use std::time::Duration;

use super::rig::{Rig, message};
use crate::status::State;

#[tokio::test(start_paused = true)]
async fn an_ack_comes_after_the_commit() {
    let rig = Rig::new();
    rig.database.state().slow = Duration::from_secs(2);
    rig.publish_good(0..10);
    let _consumer = rig.start();
    tokio::time::sleep(Duration::from_millis(1900)).await;
    assert_eq!((rig.database.ids().len(), rig.broker.acked()), (0, 0));
    rig.until_queue_empty().await;
    rig.assert_clean();
    assert_eq!(rig.database.ids().len(), 10);
    assert_eq!((rig.context.status.written.get(), rig.context.status.rows_written.get()), (10, 10));
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_to_commit_writes_nothing_twice() {
    let rig = Rig::new();
    rig.database.state().lost_commits = 2;
    rig.publish_good(0..10);
    let _consumer = rig.start();
    rig.until_queue_empty().await;
    rig.assert_clean();
    assert_eq!(rig.database.ids().len(), 10);
    assert_eq!(rig.context.status.duplicates.get(), 10, "the ledger had them");
    assert_eq!(rig.broker.most_returned(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_comes_too_late_counts_as_lost() {
    let rig = Rig::new();
    rig.database.state().late = Duration::from_secs(3600);
    rig.publish_good(0..3);
    let _consumer = rig.start();
    rig.until_state(State::Holding).await;
    rig.database.state().late = Duration::ZERO;
    rig.until_queue_empty().await;
    rig.assert_clean();
    assert_eq!(rig.context.status.duplicates.get(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_prefix_is_acked_at_once_and_what_is_behind_a_stuck_one_singly() {
    let rig = Rig::new();
    rig.publish_good(0..3);
    rig.publish("3", "child of 100");
    rig.publish_good(4..7);
    let _consumer = rig.start();
    rig.until("all but the child are acked", |rig| rig.broker.acked() == 6).await;
    {
        let queue = rig.broker.queue();
        assert_eq!(queue.acks, [(3, true), (5, false), (6, false), (7, false)]);
    }
    rig.publish("100", "good");
    rig.until_queue_empty().await;
    rig.assert_clean();
}

#[tokio::test(start_paused = true)]
async fn a_batch_collects_while_another_commits() {
    let rig = Rig::new();
    rig.database.state().slow = Duration::from_millis(100);
    let _consumer = rig.start();
    rig.publish("0", "good");
    tokio::time::sleep(Duration::from_millis(50)).await;
    rig.publish_good(1..20);
    rig.until_queue_empty().await;
    let sizes: Vec<usize> = rig.database.state().transactions.iter().map(|(ids, _)| ids.len()).collect();
    assert_eq!(sizes, [1, 19]);
    rig.assert_clean();
}

#[tokio::test(start_paused = true)]
async fn linger_waits_for_more_but_not_for_a_full_batch() {
    let rig = Rig::with(|pipeline| {
        pipeline.batch.linger = Duration::from_secs(5);
        pipeline.batch.max_rows = 4;
    });
    let _consumer = rig.start();
    rig.publish_good(0..4);
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert_eq!(rig.database.ids().len(), 4, "a full batch doesn't linger");
    rig.publish("4", "good");
    tokio::time::sleep(Duration::from_millis(4900)).await;
    assert_eq!(rig.database.ids().len(), 4);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(rig.database.ids().len(), 5);
    rig.assert_clean();
}

#[tokio::test(start_paused = true)]
async fn the_broker_takes_the_channel_and_a_new_consumer_goes_on() {
    let rig = Rig::new();
    rig.database.held.send_replace(true);
    rig.publish_good(0..10);
    let _consumer = rig.keep(0);
    rig.until("they are on their way", |rig| rig.broker.queue().unacked() == 10).await;
    tokio::time::sleep(Duration::from_millis(10)).await;
    rig.broker.kill_channels();
    tokio::time::sleep(Duration::from_millis(500)).await;
    rig.database.held.send_replace(false);
    rig.until_queue_empty().await;
    rig.assert_clean();
    assert_eq!(rig.database.ids().len(), 10);
    assert!(rig.context.status.redelivered.get() >= 10);
    let left = rig.context.status.unsettled_redelivered.load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!(left, 0, "pruning would wait for ever");
}

#[tokio::test(start_paused = true)]
async fn suspicious_messages_travel_alone() {
    let rig = Rig::new();
    rig.database.held.send_replace(true);
    rig.publish_good(0..1);
    let _consumer = rig.start();
    tokio::time::sleep(Duration::from_millis(10)).await;
    for id in ["1", "2", "3"] {
        let mut envelope = message(id, super::rig::body(id, "good"));
        if id == "2" {
            envelope.headers.set("x-delivery-count", crate::message::HeaderValue::I64(10));
        }
        rig.broker.publish(envelope);
    }
    tokio::time::sleep(Duration::from_millis(10)).await;
    rig.database.held.send_replace(false);
    rig.until_queue_empty().await;
    let transactions: Vec<Vec<String>> = rig.database.state().transactions.iter().map(|(ids, _)| ids.clone()).collect();
    assert_eq!(transactions, [["0"], ["1"], ["2"], ["3"]]);
}
