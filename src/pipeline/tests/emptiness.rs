//! `--until-empty`: not too early, not too late.

use std::time::Duration;

use tokio::time::Instant;

use super::rig::Rig;
use crate::pipeline::End;
use crate::status::State;

fn two() -> Rig {
    Rig::until_empty(|pipeline| {
        pipeline.consumers = 2;
        pipeline.storm.min = 5;
    })
}

#[tokio::test(start_paused = true)]
async fn an_empty_queue_is_the_end_at_once() {
    let rig = Rig::until_empty(|_| {});
    let start = Instant::now();
    assert!(matches!(rig.run(0).await, End::Drained));
    assert!(start.elapsed() < Duration::from_millis(200));
}

#[tokio::test(start_paused = true)]
async fn everything_is_settled_first() {
    let rig = Rig::until_empty(|_| {});
    rig.database.state().slow = Duration::from_secs(1);
    rig.dead.state().slow = Duration::from_secs(1);
    rig.publish_good(0..500);
    rig.publish("500", "bad");
    rig.publish("501", "child of 1000");
    assert!(matches!(rig.run(0).await, End::Drained));
    rig.assert_clean();
    assert!(rig.broker.is_empty());
    assert_eq!((rig.database.ids().len(), rig.dead.len()), (500, 2));
}

#[tokio::test(start_paused = true)]
async fn a_message_that_the_answer_has_overtaken_is_not_left_behind() {
    let rig = Rig::until_empty(|_| {});
    rig.broker.queue().overtaking = true;
    rig.publish_good(0..20);
    assert!(matches!(rig.run(0).await, End::Drained));
    rig.assert_clean();
    assert!(rig.broker.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_cannot_count_is_no_empty_queue() {
    let rig = Rig::until_empty(|_| {});
    {
        let mut queue = rig.broker.queue();
        (queue.overtaking, queue.uncounted) = (true, 10);
    }
    rig.publish_good(0..20);
    assert!(matches!(rig.run(0).await, End::Drained));
    rig.assert_clean();
    assert!(rig.broker.is_empty());
}

#[tokio::test(start_paused = true)]
async fn two_consumers_end_only_when_both_have_nothing() {
    let rig = two();
    rig.database.held.send_replace(true);
    rig.publish_good(0..1);
    let consumers = [rig.start_consumer(0), rig.start_consumer(1)];
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(consumers.iter().all(|consumer| !consumer.is_finished()), "the other's message isn't settled");
    rig.database.held.send_replace(false);
    for consumer in consumers {
        assert!(matches!(consumer.await.unwrap(), End::Drained));
    }
    rig.assert_clean();
    assert!(rig.broker.is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_one_gives_back_the_other_takes() {
    let rig = two();
    rig.database.held.send_replace(true);
    rig.publish_good(0..20);
    let first = rig.start_consumer(0);
    let second = rig.start_consumer(1);
    tokio::time::sleep(Duration::from_secs(1)).await;
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    rig.database.held.send_replace(false);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let first = rig.start_consumer(0);
    assert!(matches!(first.await.unwrap(), End::Drained));
    assert!(matches!(second.await.unwrap(), End::Drained));
    rig.assert_clean();
    assert_eq!((rig.broker.is_empty(), rig.database.ids().len()), (true, 20));
}

#[tokio::test(start_paused = true)]
async fn a_pause_ends_it() {
    let rig = Rig::until_empty(|_| {});
    let consumer = rig.start();
    rig.database.held.send_replace(true);
    rig.publish_good(0..5);
    tokio::time::sleep(Duration::from_millis(10)).await;
    rig.database.state().misconfigured = true;
    rig.database.held.send_replace(false);
    let end = tokio::time::timeout(Duration::from_secs(10), consumer).await.unwrap().unwrap();
    assert!(matches!(end, End::Paused(_)), "{end:?}");
    assert_eq!(rig.broker.ready(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_storm_ends_it_for_every_consumer() {
    let rig = two();
    (0..200).for_each(|id| rig.publish(&id.to_string(), "bad"));
    let consumers = [rig.start_consumer(0), rig.start_consumer(1)];
    for consumer in consumers {
        let end = tokio::time::timeout(Duration::from_secs(10), consumer).await.expect("it goes on").unwrap();
        assert!(matches!(end, End::Paused(_)), "{end:?}");
    }
    assert_eq!((rig.broker.ready(), rig.dead.len()), (200, 0));
}

#[tokio::test(start_paused = true)]
async fn an_outage_longer_than_hold_ends_it() {
    let rig = Rig::until_empty(|_| {});
    rig.publish_good(0..5);
    rig.database.held.send_replace(true);
    let consumer = rig.start();
    tokio::time::sleep(Duration::from_millis(10)).await;
    rig.database.go_away();
    rig.database.held.send_replace(false);
    rig.until_state(State::Holding).await;
    assert!(matches!(consumer.await.unwrap(), End::HoldExpired { .. }));
    assert_eq!(rig.broker.ready(), 5);
}
