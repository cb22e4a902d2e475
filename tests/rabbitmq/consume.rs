//! Subscriptions: deliveries, acks, prefetch, endings, giving back.

use rabbit_sink::error::ErrorClass;
use rabbit_sink::rabbitmq::{BrokerVersion, Source, SourceEvent};

use super::server::{Client, alone, connected, ctl, delivered, leader, shared, silence, soon, take};

#[tokio::test(flavor = "multi_thread")]
async fn acked_messages_are_gone_and_others_come_back() {
    let _node = shared().await;
    let mut client = Client::new().await;
    let queue = client.queue("acks").await;
    client.fill(&queue, 5).await;
    let connection = connected("acks").await;
    let mut source = connection.subscribe(&queue, 10, "t").await.unwrap();
    let taken = take(&mut source, 5).await;
    assert_eq!(taken.iter().map(|delivery| delivery.tag).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    assert_eq!(taken[3].envelope.body, "3");
    assert_eq!((taken[0].envelope.exchange.as_str(), taken[0].envelope.routing_key.as_str()), ("", queue.as_str()));
    assert!(!taken[0].envelope.redelivered);
    source.ack(2, false).await.unwrap();
    source.ack(4, false).await.unwrap();
    assert_eq!(source.outstanding(), 3);
    // A dropped subscription closes its channel.
    drop(source);
    client.until_ready(&queue, 3).await;
    let mut again = connection.subscribe(&queue, 10, "t").await.unwrap();
    let bodies: Vec<_> = take(&mut again, 3).await.into_iter().map(|delivery| delivery.envelope).collect();
    assert_eq!(bodies.iter().map(|envelope| envelope.body.clone()).collect::<Vec<_>>(), ["0", "2", "4"]);
    assert!(bodies.iter().all(|envelope| envelope.redelivered));
    drop(again);
    connection.close().await;
    client.delete().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn multiple_acks_a_prefix_with_holes() {
    let _node = shared().await;
    let mut client = Client::new().await;
    let queue = client.queue("prefix").await;
    client.fill(&queue, 6).await;
    let connection = connected("prefix").await;
    let mut source = connection.subscribe(&queue, 10, "t").await.unwrap();
    take(&mut source, 6).await;
    source.ack(2, false).await.unwrap();
    source.ack(3, false).await.unwrap();
    source.ack(4, true).await.unwrap();
    assert_eq!(source.outstanding(), 2);
    // The end tag has gone already: the broker would close the channel over it.
    assert_eq!(source.ack(4, true).await.unwrap_err().code, "stale_ack");
    // It is still open.
    assert_eq!(source.ready().await.unwrap(), Some(0));
    source.ack(6, true).await.unwrap();
    drop(source);
    client.until_ready(&queue, 0).await;
    connection.close().await;
    client.delete().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_ack_is_an_error_and_costs_nothing() {
    let _node = shared().await;
    let mut client = Client::new().await;
    let queue = client.queue("double").await;
    client.fill(&queue, 2).await;
    let connection = connected("double").await;
    let mut source = connection.subscribe(&queue, 10, "t").await.unwrap();
    take(&mut source, 2).await;
    source.ack(1, false).await.unwrap();
    for tag in [1, 0, 3, u64::MAX] {
        let failure = source.ack(tag, false).await.unwrap_err();
        assert_eq!((failure.class, failure.code.as_ref()), (ErrorClass::SourceLost, "stale_ack"), "tag {tag}");
    }
    source.ack(2, false).await.unwrap();
    assert_eq!(source.ready().await.unwrap(), Some(0));
    drop(source);
    client.until_ready(&queue, 0).await;
    connection.close().await;
    client.delete().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_connection_ends_the_stream_and_acks_on_it_fail() {
    let _node = alone().await;
    let mut client = Client::new().await;
    let queue = client.queue("killed").await;
    client.fill(&queue, 5).await;
    let connection = connected("killed").await;
    let mut source = connection.subscribe(&queue, 10, "t").await.unwrap();
    take(&mut source, 2).await;
    ctl(&["-q", "close_all_connections", "test"]).await;
    // Of the three others that had arrived none is handed out any more: the broker has them.
    let SourceEvent::Ended(failure) = soon(source.next()).await else { panic!("still there") };
    assert_eq!((failure.class, failure.code.as_ref()), (ErrorClass::SourceLost, "320"), "{failure}");
    assert!(matches!(soon(source.next()).await, SourceEvent::Ended(again) if again == failure));
    for tag in [1, 2] {
        assert_eq!(soon(source.ack(tag, false)).await.unwrap_err().class, ErrorClass::SourceLost);
    }
    assert!(soon(source.ready()).await.is_err());
    assert!(!connection.connected());
    soon(source.give_back(vec![1, 2])).await;

    let mut again = connected("killed").await.subscribe(&queue, 10, "t").await.unwrap();
    let back = take(&mut again, 5).await;
    assert!(back[0].envelope.redelivered);
    drop(again);
    // The client's connection was closed, too.
    let deleting = Client::new().await;
    deleting.channel.queue_delete(queue.into(), Default::default()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_queue_ends_the_stream_and_closes_the_channel() {
    let _node = shared().await;
    let mut client = Client::new().await;
    let queue = client.queue("deleted").await;
    client.fill(&queue, 1).await;
    let connection = connected("deleted").await;
    let mut source = connection.subscribe(&queue, 10, "t").await.unwrap();
    let delivery = delivered(&mut source).await;
    client.channel.queue_delete(queue.into(), Default::default()).await.unwrap();
    let SourceEvent::Ended(failure) = soon(source.next()).await else { panic!("still there") };
    assert_eq!((failure.class, failure.code.as_ref()), (ErrorClass::SourceLost, "cancelled"), "{failure}");
    assert!(matches!(soon(source.next()).await, SourceEvent::Ended(_)));
    // On an open channel this ack would vanish without a word.
    assert!(soon(source.ack(delivery.tag, false)).await.is_err());
    assert!(connection.connected());
    connection.close().await;
    client.delete().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ready_leaves_out_what_is_unacked_and_comes_after_what_was_sent() {
    let _node = shared().await;
    let mut client = Client::new().await;
    let queue = client.queue("ready").await;
    client.fill(&queue, 7).await;
    let connection = connected("ready").await;
    let mut source = connection.subscribe(&queue, 5, "t").await.unwrap();
    // Until the broker has sent what the prefetch allows.
    client.until_ready(&queue, 2).await;
    assert_eq!(source.ready().await.unwrap(), Some(2));
    for _ in 0..5 {
        // Polled once: it is there without waiting.
        let event = futures_util::FutureExt::now_or_never(source.next());
        assert!(matches!(event, Some(SourceEvent::Delivery(_))), "{event:?}");
    }
    silence(&mut source).await;
    connection.close().await;
    client.delete().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_prefetch_keeps_what_is_unsettled() {
    let _node = shared().await;
    let mut client = Client::new().await;
    let queue = client.queue("prefetch").await;
    client.fill(&queue, 20).await;
    let connection = connected("prefetch").await;
    let mut source = connection.subscribe(&queue, 4, "t").await.unwrap();
    take(&mut source, 2).await;
    client.until_ready(&queue, 16).await;
    source.set_prefetch(6).await.unwrap();
    // Two in hand, two that had arrived, six for the new consumer.
    client.until_ready(&queue, 10).await;
    let more = take(&mut source, 8).await;
    assert_eq!(more.iter().map(|delivery| delivery.tag).collect::<Vec<_>>(), (3..=10).collect::<Vec<_>>());
    let bodies: Vec<String> = (2..10).map(|n| n.to_string()).collect();
    assert_eq!(more.iter().map(|delivery| delivery.envelope.body.clone()).collect::<Vec<_>>(), bodies);
    assert!(more.iter().all(|delivery| !delivery.envelope.redelivered));
    silence(&mut source).await;
    // Tags of both consumers, in one ack.
    source.ack(10, true).await.unwrap();
    assert_eq!(take(&mut source, 6).await[0].tag, 11);
    source.set_prefetch(1).await.unwrap();
    source.ack(16, true).await.unwrap();
    assert_eq!(delivered(&mut source).await.tag, 17);
    silence(&mut source).await;
    connection.close().await;
    client.delete().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_cancel_the_rest_comes_and_acks_still_count() {
    let _node = shared().await;
    let mut client = Client::new().await;
    let queue = client.queue("cancel").await;
    client.fill(&queue, 3).await;
    let connection = connected("cancel").await;
    let mut source = connection.subscribe(&queue, 10, "t").await.unwrap();
    client.until_ready(&queue, 0).await;
    source.ready().await.unwrap();
    source.cancel().await.unwrap();
    client.fill(&queue, 4).await;
    let taken = take(&mut source, 3).await;
    assert!(matches!(soon(source.next()).await, SourceEvent::Cancelled));
    assert!(matches!(soon(source.next()).await, SourceEvent::Cancelled));
    source.cancel().await.unwrap();
    source.ack(taken[2].tag, true).await.unwrap();
    assert_eq!(source.ready().await.unwrap(), None, "without a consumer 0 could be wrong");
    let started = std::time::Instant::now();
    source.give_back(Vec::new()).await;
    assert!(started.elapsed() < std::time::Duration::from_secs(2));
    client.until_ready(&queue, 4).await;
    connection.close().await;
    client.delete().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn given_back_messages_are_delivered_again_at_once() {
    let _node = shared().await;
    let mut client = Client::new().await;
    let queue = client.declare("back", &[("x-queue-type", lapin::types::AMQPValue::LongString("quorum".into()))]).await;
    client.fill(&queue, 6).await;
    let connection = connected("back").await;
    let mut source = connection.subscribe(&queue, 10, "t").await.unwrap();
    // Some in hand, one of them acked, some not even handed out.
    take(&mut source, 3).await;
    source.ack(2, false).await.unwrap();
    soon(source.give_back(vec![1, 3])).await;
    client.until_ready(&queue, 5).await;
    assert!(connection.connected());
    let mut again = connection.subscribe(&queue, 10, "t").await.unwrap();
    let back = take(&mut again, 5).await;
    let mut bodies: Vec<_> = back.iter().map(|delivery| delivery.envelope.body.clone()).collect();
    bodies.sort();
    assert_eq!(bodies, ["0", "2", "3", "4", "5"]);
    connection.close().await;
    client.delete().await;
}

/// Giving back costs a delivery only where there is no way around it.
#[tokio::test(flavor = "multi_thread")]
async fn given_back_counts_only_below_4_3() {
    let _node = shared().await;
    let mut client = Client::new().await;
    let kind = lapin::types::AMQPValue::LongString("quorum".into());
    let limit = lapin::types::AMQPValue::LongInt(5);
    let queue = client.declare("counted", &[("x-queue-type", kind), ("x-delivery-limit", limit)]).await;
    client.fill(&queue, 1).await;
    let connection = connected("counted").await;
    let free = connection.version().unwrap() >= BrokerVersion::UNCOUNTED_NACK;
    for round in 0..if free { 12 } else { 5 } {
        let mut source = connection.subscribe(&queue, 10, "t").await.unwrap();
        let delivery = delivered(&mut source).await;
        assert_eq!(delivery.envelope.delivery_count(), if free { 0 } else { round });
        source.give_back(vec![delivery.tag]).await;
    }
    connection.close().await;
    client.delete().await;
}

/// What it says then is 0, as of an empty queue.
#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_cannot_count_is_told_from_an_empty_queue() {
    let _node = shared().await;
    let mut client = Client::new().await;
    let kind = lapin::types::AMQPValue::LongString("quorum".into());
    let queue = client.declare("uncounted", &[("x-queue-type", kind)]).await;
    client.fill(&queue, 5).await;
    let connection = connected("uncounted").await;
    let mut source = connection.subscribe(&queue, 2, "t").await.unwrap();
    client.until_ready(&queue, 3).await;
    assert_eq!(source.ready().await.unwrap(), Some(3));
    leader(&queue, "suspend").await;
    let unknown = source.ready().await;
    leader(&queue, "resume").await;
    assert_eq!(unknown.unwrap(), None);
    assert_eq!(source.ready().await.unwrap(), Some(3));
    connection.close().await;
    client.delete().await;
}

/// Dropping a future of `next` over and over loses nothing.
#[tokio::test(flavor = "multi_thread")]
async fn next_may_be_dropped_at_any_time() {
    let _node = shared().await;
    let mut client = Client::new().await;
    let queue = client.queue("dropped").await;
    let connection = connected("dropped").await;
    let mut source = connection.subscribe(&queue, 1000, "t").await.unwrap();
    let filler = tokio::spawn(async move {
        client.fill(&queue, 500).await;
        client
    });
    let mut seen = Vec::new();
    while seen.len() < 500 {
        tokio::select! {
            biased;
            event = source.next() => match event {
                SourceEvent::Delivery(delivery) => seen.push(delivery.tag),
                other => panic!("{other:?}"),
            },
            () = tokio::task::yield_now() => {}
        }
    }
    assert_eq!(seen, (1..=500).collect::<Vec<_>>());
    connection.close().await;
    filler.await.unwrap().delete().await;
}
