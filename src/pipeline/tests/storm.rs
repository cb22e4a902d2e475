//! A changed schema must not move the queue into the dead-letter queue.

use std::time::Duration;

use super::rig::{Rig, replayed};
use crate::pipeline::End;
use crate::status::{Resume, State};

/// A storm is five of a cause here.
fn rig(consumers: u16) -> Rig {
    Rig::with(|pipeline| {
        pipeline.storm.min = 5;
        pipeline.consumers = consumers;
    })
}

fn publish_bad(rig: &Rig, ids: std::ops::Range<u32>) {
    ids.for_each(|id| rig.publish(&id.to_string(), "bad"));
}

#[tokio::test(start_paused = true)]
async fn it_pauses_before_the_first_dead_letter_of_its_batch() {
    let rig = rig(1);
    publish_bad(&rig, 0..40);
    let _consumer = rig.start();
    rig.until_state(State::Paused).await;
    assert!(rig.state().1.unwrap().contains("row_rejected 22001 column kind"));
    tokio::time::sleep(Duration::from_secs(500)).await;
    assert_eq!((rig.dead.len(), rig.broker.acked()), (0, 0));
    assert!(rig.context.status.unsettled() > 0);
}

#[tokio::test(start_paused = true)]
async fn single_bad_messages_come_before_it() {
    let rig = rig(1);
    let _consumer = rig.start();
    for id in 0..4 {
        rig.publish(&id.to_string(), "bad");
        rig.until_queue_empty().await;
    }
    assert_eq!(rig.dead.len(), 4);
    publish_bad(&rig, 4..40);
    rig.until_state(State::Paused).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(rig.dead.len(), 4);
}

#[tokio::test(start_paused = true)]
async fn good_neighbours_in_its_batch_are_settled() {
    let rig = rig(1);
    rig.publish_good(100..103);
    publish_bad(&rig, 0..10);
    let _consumer = rig.start();
    rig.until_state(State::Paused).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!((rig.database.ids().len(), rig.broker.acked(), rig.dead.len()), (3, 3, 0));
}

/// One bad row fails the batch; those that mapping refused are judged among their neighbours, not
/// before them.
#[tokio::test(start_paused = true)]
async fn bad_messages_among_good_ones_are_none_though_their_batch_fails() {
    let rig = rig(1);
    (0..30).for_each(|id| rig.publish(&id.to_string(), if id % 3 == 0 { "broken" } else { "good" }));
    rig.publish("30", "bad");
    let _consumer = rig.start();
    rig.until_queue_empty().await;
    rig.assert_clean();
    assert_eq!((rig.database.ids().len(), rig.dead.len(), rig.state().0), (20, 11, State::Running));
}

#[tokio::test(start_paused = true)]
async fn replayed_messages_neither_make_one_nor_end_one() {
    let rig = rig(1);
    (0..30).for_each(|id| rig.broker.publish(replayed(&id.to_string(), "bad")));
    let _consumer = rig.start();
    rig.until_queue_empty().await;
    assert_eq!((rig.dead.len(), rig.state().0), (30, State::Running));
    rig.assert_clean();
}

#[tokio::test(start_paused = true)]
async fn resume_tries_the_messages_again() {
    let rig = rig(1);
    publish_bad(&rig, 0..20);
    let _consumer = rig.keep(0);
    rig.until_state(State::Paused).await;
    rig.resume(Resume::Retry);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!((rig.state().0, rig.dead.len()), (State::Paused, 0), "nothing was mended");
    rig.database.state().altered = true;
    rig.resume(Resume::Retry);
    rig.until_queue_empty().await;
    rig.assert_clean();
    assert_eq!((rig.database.ids().len(), rig.dead.len()), (20, 0));
}

#[tokio::test(start_paused = true)]
async fn resume_with_dead_letters_gives_all_consumers_held_messages_up() {
    let rig = rig(2);
    publish_bad(&rig, 0..80);
    let _consumers = (rig.start_consumer(0), rig.start_consumer(1));
    rig.until_state(State::Paused).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(rig.dead.len(), 0);
    rig.resume(Resume::DeadLetter);
    rig.until_queue_empty().await;
    rig.assert_clean();
    assert_eq!((rig.dead.len(), rig.broker.returns()), (80, 0));
}

#[tokio::test(start_paused = true)]
async fn accepting_a_storm_again_does_not_take_the_acceptance_back() {
    // The second consumer hears the order when the first has followed it.
    let rig = rig(1);
    publish_bad(&rig, 0..10);
    let _consumer = rig.start();
    rig.until_state(State::Paused).await;
    rig.context.storm.accept();
    rig.context.storm.accept();
    publish_bad(&rig, 10..100);
    rig.until_queue_empty().await;
    assert_eq!(rig.dead.len(), 100);
}

#[tokio::test(start_paused = true)]
async fn a_changed_table_ends_it_for_every_consumer() {
    let rig = rig(2);
    publish_bad(&rig, 0..80);
    let _consumers = (rig.keep(0), rig.keep(1));
    rig.until_state(State::Paused).await;
    rig.database.state().altered = true;
    rig.until_queue_empty().await;
    rig.assert_clean();
    assert_eq!((rig.database.ids().len(), rig.dead.len()), (80, 0));
}

#[tokio::test(start_paused = true)]
async fn a_consumer_that_starts_into_one_knows_of_it() {
    let rig = rig(1);
    let cause = crate::error::Failure::new(crate::error::ErrorClass::Mapping, "lossy", "").cause();
    let prepared = rig.prepare().await.unwrap();
    rig.context.storm.record((0..5).map(|_| Some(cause.clone())));
    let source = rig.broker.subscribe(10);
    let context = std::sync::Arc::clone(&rig.context);
    let consumer =
        crate::pipeline::Consumer::new(context, 0, &prepared, source, rig.dead.clone(), rig.shutdown.subscribe());
    let consumer = tokio::spawn(consumer.run());
    tokio::time::sleep(Duration::from_secs(1)).await;
    rig.database.state().altered = true;
    let end = tokio::time::timeout(Duration::from_secs(60), consumer).await.expect("it never looked").unwrap();
    assert!(matches!(end, End::PlanChanged), "{end:?}");
}

#[tokio::test(start_paused = true)]
async fn beside_a_database_that_is_away_it_does_not_turn_the_loop_without_end() {
    // In paused time, a loop that turns without waiting for anything never comes to this end.
    let rig = rig(2);
    rig.database.state().slow = Duration::from_secs(1);
    publish_bad(&rig, 0..80);
    let _consumers = (rig.keep(0), rig.keep(1));
    rig.until_state(State::Paused).await;
    rig.database.go_away();
    tokio::time::sleep(Duration::from_secs(1000)).await;
    rig.database.come_back();
    rig.database.state().altered = true;
    rig.until_queue_empty().await;
    assert_eq!(rig.database.ids().len(), 80);
}

#[tokio::test(start_paused = true)]
async fn the_config_can_let_it_pass() {
    let rig = Rig::with(|pipeline| {
        pipeline.storm.min = 5;
        pipeline.storm.action = crate::config::StormAction::DeadLetter;
    });
    publish_bad(&rig, 0..80);
    let _consumer = rig.start();
    rig.until_queue_empty().await;
    assert_eq!(rig.dead.len(), 80);
}
