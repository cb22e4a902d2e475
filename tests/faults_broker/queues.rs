//! Queues and exchanges are missing, deleted, made anew.

use lapin::options::{ExchangeDeclareOptions, ExchangeDeleteOptions};
use lapin::types::FieldTable;

use crate::main_job::orders::Orders;
use crate::support::Worker;
use crate::support::broker::{Depth, Kind};
use crate::support::wait::{PATIENCE, eventually, unique_name};
use crate::worker::scene::Scene;

use rabbit_sink::rabbitmq::BrokerVersion;

#[tokio::test]
async fn a_deleted_queue_pauses_by_its_name_until_it_is_there_again() {
    let mut scene = Scene::shared(Kind::Quorum).await;
    let mut worker = Worker::run(&scene.config(""));
    scene.flows(&mut worker).await;
    scene.broker.delete(&scene.queue).await;
    scene.ready_says(&mut worker, 503, &format!("queue {} is missing", scene.queue)).await;
    scene.ready_says(&mut worker, 503, "\"paused\"").await;
    assert_eq!(scene.get("/livez").await.0, 200);
    scene.broker.declare(&scene.queue, Kind::Classic).await;
    scene.flows(&mut worker).await;
    scene.ready_says(&mut worker, 200, "").await;
    worker.stop().await.expect(0);
    scene.audit().await;
}

#[tokio::test]
async fn a_queue_missing_at_start_is_named_and_awaited() {
    let mut scene = Scene::shared(Kind::Quorum).await;
    scene.broker.delete(&scene.queue).await;
    let mut worker = Worker::run(&scene.config(""));
    worker.logs(&format!("queue {} is missing: create it", scene.queue)).await;
    scene.broker.declare(&scene.queue, Kind::Quorum).await;
    scene.flows(&mut worker).await;
    worker.stop().await.expect(0);
    scene.audit().await;
}

#[tokio::test]
async fn a_queue_is_declared_and_bound_by_the_config_once_its_exchange_is_there() {
    let mut scene = Scene::shared(Kind::Quorum).await;
    scene.broker.delete(&scene.queue).await;
    let exchange = unique_name("shop");
    let declare = format!(
        "declare = {{ type = \"quorum\", bind = [{{ exchange = \"{exchange}\", routing_key = \"order.*\" }}] }}"
    );
    let mut worker = Worker::run(&scene.config(&declare));
    worker.logs("paused").await;
    scene.ready_says(&mut worker, 503, &exchange).await;
    let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    let topic = lapin::ExchangeKind::Topic;
    scene
        .broker
        .channel
        .exchange_declare(exchange.as_str().into(), topic, options, FieldTable::default())
        .await
        .unwrap();
    scene.ready_says(&mut worker, 200, "").await;
    let orders = Orders::good(0..20);
    scene.expect(&orders);
    scene.broker.publish_to(&exchange, "order.new", orders.messages).await;
    scene.all_written(&mut worker).await;
    let list = scene.ctl(&["list_queues", "name", "type"]).await;
    assert!(list.lines().any(|line| line == format!("{}\tquorum", scene.queue)), "{list}");
    worker.stop().await.expect(0);
    scene.broker.channel.exchange_delete(exchange.as_str().into(), ExchangeDeleteOptions::default()).await.unwrap();
    scene.audit().await;
}

#[tokio::test]
async fn a_queue_with_other_arguments_than_declared_is_taken_as_it_is() {
    let mut arguments = FieldTable::default();
    arguments.insert("x-max-length".into(), lapin::types::AMQPValue::LongInt(100_000));
    let mut scene = Scene::shared(Kind::Quorum).await;
    scene.broker.delete(&scene.queue).await;
    scene.broker.declare_with(&scene.queue, Kind::Classic, arguments.clone()).await;
    scene.broker.declare_with(&scene.dead(), Kind::Quorum, arguments).await;
    let mut worker = Worker::run(&scene.config("declare = { type = \"quorum\" }"));
    scene.flows(&mut worker).await;
    scene.publish_bad(0..4).await;
    scene.dead_lettered(4).await;
    worker.stop().await.expect(0);
    scene.audit().await;
}

#[tokio::test]
async fn the_dead_letter_queue_has_no_delivery_limit_and_is_quorum_only_from_4_0_on() {
    let mut scene = Scene::shared(Kind::Quorum).await;
    let mut worker = Worker::run(&scene.config(""));
    scene.flows(&mut worker).await;
    let list = scene.ctl(&["list_queues", "name", "type", "durable", "arguments"]).await;
    let dead = scene.dead();
    // Looking through it must not wear its messages out, and below 4.0 no limit can be switched off.
    let expected = match scene.version().await < BrokerVersion::UNLIMITED_DELIVERIES {
        true => format!("{dead}\tclassic\ttrue\t[]"),
        false => format!("{dead}\tquorum\ttrue\t[{{\"x-delivery-limit\",-1}},{{\"x-queue-type\",\"quorum\"}}]"),
    };
    let found = list.lines().find(|line| line.starts_with(&format!("{dead}\t")));
    assert_eq!(found, Some(&*expected), "{list}");
    worker.stop().await.expect(0);
    scene.audit().await;
}

#[tokio::test]
async fn a_dead_letter_queue_missing_at_start_pauses_unless_it_may_be_declared() {
    let mut scene = Scene::shared(Kind::Quorum).await;
    let options = "\n[pipelines.orders.dead_letter]\ndeclare = false\n";
    scene.publish(0..20).await;
    scene.publish_bad(0..4).await;
    let mut worker = Worker::run(&scene.config(options));
    worker.logs(&format!("dead-letter queue {} is missing", scene.dead())).await;
    scene.ready_says(&mut worker, 503, "\"paused\"").await;
    assert_eq!(scene.rows().await, Some(0), "nothing is taken before its dead letter has a place");
    assert_eq!(scene.broker.depth(&scene.queue).await, Depth { ready: 24, unacked: 0 });
    scene.broker.declare(&scene.dead(), Kind::Quorum).await;
    scene.all_written(&mut worker).await;
    scene.dead_lettered(4).await;
    worker.stop().await.expect(0);
    scene.audit().await;
}

#[tokio::test]
async fn slow_a_dead_letter_queue_deleted_while_running_keeps_its_messages_unacked() {
    let mut scene = Scene::shared(Kind::Quorum).await;
    scene.broker.declare(&scene.dead(), Kind::Classic).await;
    let mut worker = Worker::run(&scene.config("\n[pipelines.orders.dead_letter]\ndeclare = false\n"));
    scene.flows(&mut worker).await;
    scene.broker.delete(&scene.dead()).await;
    scene.publish_bad(0..4).await;
    // Returned as unroutable, and confirmed all the same.
    scene.ready_says(&mut worker, 503, "the queue doesn't exist").await;
    let kept = Depth { ready: 0, unacked: 4 };
    assert_eq!(scene.broker.depth(&scene.queue).await, kept, "not acked, not given back");
    scene.publish(20..40).await;
    scene.broker.declare(&scene.dead(), Kind::Classic).await;
    scene.dead_lettered(4).await;
    scene.all_written(&mut worker).await;
    scene.ready_says(&mut worker, 200, "").await;
    worker.stop().await.expect(0);
    scene.audit().await;
}

#[tokio::test]
async fn a_dead_letter_queue_deleted_while_running_is_declared_again() {
    let mut scene = Scene::shared(Kind::Quorum).await;
    let mut worker = Worker::run(&scene.config(""));
    scene.flows(&mut worker).await;
    scene.broker.delete(&scene.dead()).await;
    scene.publish_bad(0..4).await;
    worker.logs("dead-letter queue declared again").await;
    scene.dead_lettered(4).await;
    scene.ready_says(&mut worker, 200, "").await;
    worker.stop().await.expect(0);
    scene.audit().await;
}

#[tokio::test]
async fn a_full_dead_letter_queue_holds_and_goes_on_when_there_is_room() {
    let mut scene = Scene::shared(Kind::Quorum).await;
    let mut full = FieldTable::default();
    full.insert("x-max-length".into(), lapin::types::AMQPValue::LongInt(2));
    full.insert("x-overflow".into(), lapin::types::AMQPValue::LongString("reject-publish".into()));
    scene.broker.declare_with(&scene.dead(), Kind::Classic, full).await;
    scene.publish(0..20).await;
    scene.publish_bad(0..6).await;
    let mut worker = Worker::run(&scene.config(""));
    scene.ready_says(&mut worker, 503, "basic.nack").await;
    scene.ready_says(&mut worker, 503, "\"holding\"").await;
    let (dead, mut letters) = (scene.dead(), Vec::new());
    eventually(PATIENCE, "all six have come through", async || {
        letters.extend(scene.broker.drain(&dead).await);
        let ids: std::collections::BTreeSet<_> = letters.iter().map(|letter| letter.message_id()).collect();
        ids.len() == 6
    })
    .await;
    scene.all_written(&mut worker).await;
    scene.ready_says(&mut worker, 200, "").await;
    worker.stop().await.expect(0);
    letters.extend(scene.broker.drain(&dead).await);
    scene.audit_with(letters).await;
}
