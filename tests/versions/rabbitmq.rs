//! RabbitMQ.

use std::time::Duration;

use crate::support::broker::Kind;
use crate::support::database::{Server, TestDatabase};
use crate::support::servers::{Rabbitmq, RabbitmqOptions};
use crate::support::wait::{PATIENCE, eventually};
use crate::support::{Proxy, Worker};
use crate::worker::scene::Scene;

/// The broker loses patience while the database is away: up to 4.2 it closes the channel, from 4.3
/// on it cancels the consumer and takes the messages back behind an open channel.
#[tokio::test]
async fn slow_a_consumer_timeout_costs_nothing() {
    let options = RabbitmqOptions { consumer_timeout: Some(Duration::from_secs(2)), ..RabbitmqOptions::default() };
    let node = Rabbitmq::start_with(options).await;
    // How often it looks; it has no line in rabbitmq.conf.
    node.ctl(&["eval", "application:set_env(rabbit, channel_tick_interval, 1000)."]);
    let mut scene = Scene::on(&node, Kind::Quorum).await;
    scene.database = TestDatabase::fresh(Server::Postgres).await;
    scene.database.execute(crate::main_job::orders::table(Server::Postgres)).await;
    let port = url::Url::parse(&scene.database.url).unwrap().port().unwrap();
    let proxy = Proxy::start(port).await;
    let through = scene.config("").replace(&scene.database.url, &proxy.url(&scene.database.url));
    let mut worker = Worker::run(&through);
    scene.flows(&mut worker).await;
    proxy.refuse();
    proxy.cut();
    scene.publish(20..40).await;
    worker.logs("holding").await;
    // Something new comes now and then: in a queue in which nothing happens, 4.3 was seen to let the
    // timeout pass.
    let mut next = 40;
    eventually(PATIENCE, "the broker has taken them back", async || {
        if scene.broker.depth(&scene.queue).await.unacked == 0 {
            return true;
        }
        scene.publish(next..next + 1).await;
        next += 1;
        false
    })
    .await;
    proxy.pass();
    scene.all_written(&mut worker).await;
    scene.flows(&mut worker).await;
    worker.stop().await.expect(0);
    scene.audit().await;
}
