//! What happens to the network between the worker and the broker.

use std::time::Duration;

use super::broker::{QUICK, RECONNECTING, fault, in_hand, logged, logs_again, says};
use super::scene::Scene;
use super::{Fault, SHARED, Setting};
use crate::support::proxy::Flow;

/// Where heartbeats are what ends a dead connection.
const HEARTBEAT: Setting = Setting { rabbitmq: QUICK, ..SHARED };

pub const FAULTS: &[Fault] = &[
    fault(
        "broker-network-cut",
        "The network between worker and broker is cut, refuses connections for a while, and is there again.",
        SHARED,
        |scene| Box::pin(cut(scene)),
    ),
    fault("broker-network-reset", "Connections to the broker are reset at ten random moments.", SHARED, |scene| {
        Box::pin(reset(scene))
    }),
    fault(
        "broker-network-half-open",
        "Connections to the broker stay open and silent; heartbeats end them.",
        HEARTBEAT,
        |scene| Box::pin(half_open(scene)),
    ),
    fault("broker-network-delay", "Each packet to and from the broker takes 100 ms.", SHARED, |scene| {
        Box::pin(delay(scene))
    }),
    fault("broker-network-throttled", "20 kB a second to and from the broker, then all at once.", SHARED, |scene| {
        Box::pin(throttled(scene))
    }),
    fault(
        "broker-network-up-lost",
        "What the worker sends to the broker is lost, acks among it; deliveries go on arriving.",
        HEARTBEAT,
        |scene| Box::pin(one_direction(scene, Flow::Discard, Flow::Pass)),
    ),
    fault(
        "broker-network-down-lost",
        "What the broker sends to the worker is lost, deliveries among it; acks go on arriving.",
        HEARTBEAT,
        |scene| Box::pin(one_direction(scene, Flow::Pass, Flow::Discard)),
    ),
];

async fn cut(scene: &mut Scene) {
    scene.moment(0..300).await;
    scene.broker_proxy.refuse();
    scene.broker_proxy.cut();
    says(scene, "reconnecting", "").await;
    assert_eq!(scene.worker().get("/livez").await.0, 200, "a restart of the worker wouldn't help");
    let from = scene.broker_proxy.accepted();
    scene.until("it tries again and again", async |scene| scene.broker_proxy.accepted() >= from + 5).await;
    scene.broker_proxy.pass();
    scene.mended().await;
    scene.worker().is("running").await;
}

async fn reset(scene: &mut Scene) {
    for _ in 0..10 {
        in_hand(scene).await;
        scene.moment(0..100).await;
        let before = logged(scene, RECONNECTING);
        scene.broker_proxy.cut();
        logs_again(scene, RECONNECTING, before).await;
        scene.flowing(20).await;
    }
    scene.mended().await;
    scene.worker().is("running").await;
}

async fn half_open(scene: &mut Scene) {
    scene.broker_proxy.stall();
    says(scene, "reconnecting", "").await;
    scene.broker_proxy.pass();
    scene.mended().await;
    scene.worker().is("running").await;
}

async fn delay(scene: &mut Scene) {
    scene.broker_proxy.delay(Duration::from_millis(100));
    // As slow as it is, it goes on.
    scene.flowing(300).await;
    scene.broker_proxy.pass();
    scene.mended().await;
}

async fn throttled(scene: &mut Scene) {
    scene.broker_proxy.throttle(20_000);
    scene.flowing(200).await;
    scene.broker_proxy.pass();
    scene.mended().await;
}

async fn one_direction(scene: &mut Scene, up: Flow, down: Flow) {
    in_hand(scene).await;
    scene.broker_proxy.flow(up, down);
    says(scene, "reconnecting", "").await;
    scene.broker_proxy.pass();
    scene.mended().await;
    scene.worker().is("running").await;
}
