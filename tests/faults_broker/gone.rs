//! The broker, a connection or a channel is gone.

use std::time::Duration;

use crate::support::broker::{Broker, Kind};
use crate::support::servers::Rabbitmq;
use crate::support::wait::{PATIENCE, eventually};
use crate::support::{Proxy, Worker};
use crate::worker::scene::Scene;

#[tokio::test]
async fn slow_a_broker_that_is_restarted_and_killed_costs_nothing() {
    let mut node = Rabbitmq::start().await;
    let mut scene = Scene::on(&node, Kind::Quorum).await;
    let mut worker = Worker::run(&scene.config(""));
    scene.flows(&mut worker).await;
    // A clean stop first: what RabbitMQ 3.10 knows of a quorum queue isn't safe from a kill in the
    // queue's first moments.
    for kill in [false, true] {
        let first = scene.expected_rows();
        let bad = usize::from(kill) * 8;
        scene.publish(first..first + 3_000).await;
        scene.publish_bad(bad..bad + 8).await;
        // In the middle of it.
        if kill {
            node.kill();
        } else {
            node.stop().await;
        }
        scene.ready_says(&mut worker, 503, "\"reconnecting\"").await;
        assert_eq!(scene.get("/livez").await.0, 200, "a restart of the worker wouldn't help");
        node.restart().await;
        scene.reconnect().await;
        scene.ready_says(&mut worker, 200, "").await;
        scene.flows(&mut worker).await;
    }
    scene.dead_lettered(16).await;
    worker.stop().await.expect(0);
    scene.audit().await;
}

#[tokio::test]
async fn slow_a_broker_frozen_beyond_its_heartbeat_is_left_and_found_again() {
    let node = Rabbitmq::start().await;
    let mut scene = Scene::on(&node, Kind::Quorum).await;
    scene.rabbitmq = "heartbeat = \"1s\"\nconnect_timeout = \"1s\"".to_owned();
    let mut worker = Worker::run(&scene.config(""));
    scene.flows(&mut worker).await;
    scene.publish(20..1_000).await;
    node.pause();
    scene_is_away(&scene, &mut worker).await;
    node.resume();
    scene.reconnect().await;
    scene.flows(&mut worker).await;
    worker.stop().await.expect(0);
    scene.audit().await;
}

async fn scene_is_away(scene: &Scene, worker: &mut Worker) {
    scene.ready_says(worker, 503, "\"reconnecting\"").await;
}

#[tokio::test]
async fn slow_a_silent_network_is_noticed_by_heartbeats() {
    let node_port = url::Url::parse(&crate::support::servers::shared_amqp_url()).unwrap().port().unwrap();
    let proxy = Proxy::start(node_port).await;
    let mut scene = Scene::shared(Kind::Quorum).await;
    scene.amqp = proxy.url(&scene.amqp);
    scene.rabbitmq = "heartbeat = \"1s\"\nconnect_timeout = \"1s\"".to_owned();
    let mut worker = Worker::run(&scene.config(""));
    scene.flows(&mut worker).await;
    proxy.stall();
    scene_is_away(&scene, &mut worker).await;
    // The broker's side notices as well and has the messages back by then.
    proxy.cut();
    proxy.pass();
    scene.flows(&mut worker).await;
    worker.stop().await.expect(0);
    scene.audit().await;
}

#[tokio::test]
async fn slow_connections_and_channels_closed_by_the_operator_come_back() {
    let node = Rabbitmq::start().await;
    let mut scene = Scene::on(&node, Kind::Quorum).await;
    let mut worker = Worker::run(&scene.config("consumers = 2"));
    scene.flows(&mut worker).await;
    scene.publish(20..3_000).await;
    scene.publish_bad(0..8).await;
    scene.ctl(&["close_all_connections", "maintenance"]).await;
    scene.reconnect().await;
    worker.logs("CONNECTION_FORCED").await;
    scene.flows(&mut worker).await;
    // A channel ends alone when its process is told to: its connection stays.
    let channels = "[exit(P, kill) || P <- rabbit_channel:list(), rabbit_channel:info(P, [consumer_count]) /= [{consumer_count, 0}]].";
    scene.ctl(&["eval", channels]).await;
    scene.flows(&mut worker).await;
    scene.dead_lettered(8).await;
    // One for each consumer and one for its dead letters: none is left behind.
    eventually(PATIENCE, "no connection is left behind", async || {
        scene.ctl(&["list_connections", "client_properties"]).await.matches("\"rabbit-sink/").count() <= 4
    })
    .await;
    worker.stop().await.expect(0);
    scene.audit().await;
}

#[tokio::test]
async fn slow_with_two_urls_the_surviving_node_is_used_when_the_other_is_killed() {
    let mut cluster = Rabbitmq::start_cluster(2).await;
    // Its queues live on the node that survives.
    let mut scene = Scene::on(&cluster[1], Kind::Classic).await;
    let urls = format!("urls = [\"{}\", \"{}\"]", cluster[0].url(), cluster[1].url());
    let with_urls = |config: String| config.replacen(&format!("url = \"{}\"", cluster[1].url()), &urls, 1);
    scene.broker.declare(&scene.dead(), Kind::Classic).await;
    let mut workers = Vec::new();
    // At random a worker takes either node: of some, one has the first.
    for _ in 0..4 {
        scene.admin = "off".to_owned();
        workers.push(Worker::run(&with_urls(scene.config(""))));
    }
    scene.flows(&mut workers[0]).await;
    eventually(PATIENCE, "all consume", async || scene.consumers().await.len() == 4).await;
    scene.publish(20..2_000).await;
    cluster[0].kill();
    scene.flows(&mut workers[0]).await;
    eventually(PATIENCE, "all consume again", async || {
        tokio::time::sleep(Duration::from_millis(200)).await;
        scene.consumers().await.len() == 4
    })
    .await;
    for worker in workers {
        worker.stop().await.expect(0);
    }
    // RabbitMQ 4.3 deletes no queue while half of the nodes are away.
    cluster[0].restart().await;
    scene.audit().await;
    // The other way round: the queue's only node is away, which is no reason to declare it anew
    // or to call it missing.
    let mut scene = Scene::on(&cluster[1], Kind::Classic).await;
    scene.amqp = cluster[0].url();
    scene.rabbitmq = String::new();
    let mut worker = Worker::run(&scene.config("declare = { type = \"classic\" }"));
    scene.flows(&mut worker).await;
    let version = scene.version().await;
    cluster[1].kill();
    // RabbitMQ 3 says so at once; 4 says nothing until we lose patience.
    let why = if version.major == 3 { "down or inaccessible" } else { "no answer" };
    scene.ready_says(&mut worker, 503, why).await;
    scene.ready_says(&mut worker, 503, "\"reconnecting\"").await;
    cluster[1].restart().await;
    scene.broker = Broker::of(&cluster[1]).await;
    scene.flows(&mut worker).await;
    worker.stop().await.expect(0);
    scene.audit().await;
}
