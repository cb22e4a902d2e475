//! What networks do to the connections between the worker and its database.

use std::time::Duration;

use super::{counted, retries, shows};
use crate::faults::scene::Scene;
use crate::support::proxy::Flow;

pub async fn reset(scene: &mut Scene) {
    for _ in 0..10 {
        scene.flowing(20).await;
        scene.moment(0..200).await;
        scene.database_proxy().cut();
    }
    scene.mended().await;
}

pub async fn cut(scene: &mut Scene) {
    scene.database_proxy().refuse();
    scene.database_proxy().cut();
    shows(scene, "holding", &["sink_unavailable"]).await;
    scene.database_proxy().pass();
    scene.mended().await;
}

/// Until the worker's own deadlines have passed: nobody says a word.
async fn silence(scene: &mut Scene, up: Flow, down: Flow) {
    scene.database_proxy().flow(up, down);
    shows(scene, "holding", &["sink_unavailable"]).await;
    let probing = scene.database_proxy().accepted();
    scene.until("it tries new connections", async |scene| scene.database_proxy().accepted() > probing + 1).await;
    scene.database_proxy().pass();
    scene.mended().await;
}

pub async fn half_open(scene: &mut Scene) {
    silence(scene, Flow::Stall, Flow::Stall).await;
}

pub async fn deaf(scene: &mut Scene) {
    silence(scene, Flow::Discard, Flow::Pass).await;
}

pub async fn mute(scene: &mut Scene) {
    silence(scene, Flow::Pass, Flow::Discard).await;
}

pub async fn slow(scene: &mut Scene) {
    scene.database_proxy().delay(Duration::from_millis(60));
    scene.flowing(300).await;
    // Slow is not away.
    assert_eq!(retries(scene, "sink_unavailable").await, 0, "tried again");
    scene.database_proxy().pass();
    scene.mended().await;
}

pub async fn narrow(scene: &mut Scene) {
    scene.database_proxy().throttle(24_000);
    let before = counted(scene, "written").await;
    scene.until("500 are written", async |scene| counted(scene, "written").await > before + 500).await;
    scene.database_proxy().pass();
    scene.mended().await;
}
