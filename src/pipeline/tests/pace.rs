//! How much is taken, and how fast.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::rig::{Rig, message};

/// A good body of so many bytes.
fn padded(number: u32, size: usize) -> Bytes {
    let head = format!("{{\"n\":{number},\"kind\":\"good\",\"pad\":\"");
    let pad = size.saturating_sub(head.len() + 2);
    format!("{head}{}\"}}", "x".repeat(pad)).into()
}

#[tokio::test(start_paused = true)]
async fn small_messages_widen_the_prefetch_to_what_the_config_says() {
    let rig = Rig::new();
    rig.publish_good(0..5000);
    let _consumer = rig.start();
    rig.until_queue_empty().await;
    rig.assert_clean();
    let prefetches = rig.broker.queue().prefetches.clone();
    assert_eq!(prefetches.first(), Some(&50));
    assert_eq!(prefetches.last(), Some(&rig.context.config.prefetch));
    assert!(prefetches.len() <= 5, "each change is a new subscription: {prefetches:?}");
}

#[tokio::test(start_paused = true)]
async fn large_messages_narrow_it() {
    const LIMIT: usize = 1_000_000;
    let rig = Rig::with(|pipeline| {
        pipeline.limits.max_unacked_bytes = LIMIT;
        pipeline.limits.max_body = 20_000;
    });
    (0..3000).for_each(|n| rig.broker.publish(message(&n.to_string(), padded(n, 60))));
    let _consumer = rig.start();
    rig.until_queue_empty().await;
    assert_eq!(rig.broker.queue().prefetches.last(), Some(&2000));
    rig.broker.queue().most_bytes = 0;
    // The first large ones meet a wide prefetch; from then on the limit holds.
    (3000..3100).for_each(|n| rig.broker.publish(message(&n.to_string(), padded(n, 10_000))));
    rig.until_queue_empty().await;
    rig.broker.queue().most_bytes = 0;
    (3100..5000).for_each(|n| rig.broker.publish(message(&n.to_string(), padded(n, 10_000))));
    rig.until_queue_empty().await;
    rig.assert_clean();
    let most = rig.broker.queue().most_bytes;
    assert!(most <= LIMIT + LIMIT / 3, "{most} bytes unacked");
    assert_eq!(rig.database.ids().len(), 5000);
}

#[tokio::test(start_paused = true)]
async fn large_messages_are_no_more_batches_than_small_ones() {
    let rig = Rig::new();
    // Two batches of small messages, so two of 8 MiB.
    let config = &rig.context.config;
    assert_eq!((config.prefetch, config.batch.max_rows, config.batch.max_bytes), (2000, 1000, 8 << 20));
    (0..3000).for_each(|n| rig.broker.publish(message(&n.to_string(), padded(n, 20_000))));
    let _consumer = rig.start();
    rig.until_queue_empty().await;
    rig.assert_clean();
    assert_eq!(rig.broker.queue().prefetches.last(), Some(&838));
}

#[tokio::test(start_paused = true)]
async fn no_more_than_the_limit_is_taken_while_nothing_settles() {
    const LIMIT: usize = 100_000;
    let rig = Rig::with(|pipeline| pipeline.limits.max_unacked_bytes = LIMIT);
    rig.database.held.send_replace(true);
    (0..40).for_each(|n| rig.broker.publish(message(&n.to_string(), padded(n, 10_000))));
    let _consumer = rig.start();
    tokio::time::sleep(Duration::from_secs(60)).await;
    let taken = rig.context.status.unsettled() * 10_000;
    assert!(taken <= LIMIT + 10_000, "{taken} bytes");
    rig.database.held.send_replace(false);
    rig.until_queue_empty().await;
    assert_eq!(rig.database.ids().len(), 40);
}

#[tokio::test(start_paused = true)]
async fn the_rate_limit_holds_for_all_consumers_together() {
    for consumers in [1, 2] {
        let rig = Rig::with(|pipeline| {
            pipeline.limits.max_rows_per_second = 20;
            pipeline.consumers = consumers;
        });
        rig.publish_good(0..600);
        let start = Instant::now();
        let _consumers: Vec<_> = (0..consumers).map(|index| rig.start_consumer(index.into())).collect();
        rig.until_queue_empty().await;
        let seconds = start.elapsed().as_secs_f64();
        // Which consumer takes how many is the broker's choice, so that one may have to work longer.
        assert!((27.0..60.0).contains(&seconds), "{seconds} s with {consumers} consumers for 30 s of rows");
        rig.assert_clean();
        assert_eq!(rig.broker.returns(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_taken_under_a_rate_limit_has_its_turn_before_hold() {
    let rig = Rig::with(|pipeline| {
        pipeline.limits.max_rows_per_second = 2;
        pipeline.consumers = 2;
        pipeline.retry.hold = Duration::from_secs(20);
    });
    rig.publish_good(0..200);
    let _consumers = [rig.start_consumer(0), rig.start_consumer(1)];
    rig.until_queue_empty().await;
    rig.assert_clean();
    assert_eq!(rig.broker.returns(), 0, "messages waited for their turn for longer than hold");
}
