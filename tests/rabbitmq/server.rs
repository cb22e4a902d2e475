//! The broker under test: its URL, `rabbitmqctl`, queues that are deleted again.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, ConnectionProperties};
use rabbit_sink::config;
use rabbit_sink::message::{Delivery, Envelope};
use rabbit_sink::rabbitmq::{Connection, Rabbitmq, Source, SourceEvent, Subscription};
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Tests that disturb the whole node (alarms, closing all connections) run alone.
static NODE: RwLock<()> = RwLock::const_new(());

pub async fn shared() -> RwLockReadGuard<'static, ()> {
    NODE.read().await
}

pub async fn alone() -> RwLockWriteGuard<'static, ()> {
    NODE.write().await
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: these tests need a RabbitMQ of their own"))
}

pub fn url() -> String {
    variable("RABBIT_SINK_TEST_AMQP_URL")
}

/// Suspends or resumes the leader of a quorum queue: `suspend`, `resume`.
pub async fn leader(queue: &str, what: &str) {
    let code = format!(
        "{{ok, Q}} = rabbit_amqqueue:lookup(rabbit_misc:r(<<\"/\">>, queue, <<\"{queue}\">>)), \
         {{Name, _}} = amqqueue:get_pid(Q), sys:{what}(Name)."
    );
    ctl(&["eval", &code]).await;
}

/// Runs `rabbitmqctl` and returns what it prints.
pub async fn ctl(arguments: &[&str]) -> String {
    let command = variable("RABBIT_SINK_TEST_RABBITMQCTL");
    let mut words = command.split_whitespace();
    let output = tokio::process::Command::new(words.next().expect("a command"))
        .args(words)
        .args(arguments)
        .output()
        .await
        .expect("rabbitmqctl runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "rabbitmqctl {arguments:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

pub fn config_for(urls: &[String]) -> config::Broker {
    config::Broker {
        name: "default".to_owned(),
        urls: urls.iter().map(config::Secret::new).collect(),
        heartbeat: Duration::from_secs(10),
        connect_timeout: Duration::from_secs(5),
        consumer_timeout: Duration::from_secs(1800),
        tls: config::TlsFiles::default(),
        connection_name: None,
        management_url: None,
        credentials: Default::default(),
    }
}

pub fn broker() -> Rabbitmq {
    Rabbitmq::new(&config_for(&[url()])).expect("the URL is right")
}

pub async fn connected(name: &str) -> Connection {
    broker().connect(name).await.expect("the broker takes us")
}

/// A plain client beside the one under test: declares, publishes, deletes.
pub struct Client {
    pub channel: lapin::Channel,
    _connection: lapin::Connection,
    queues: Vec<String>,
}

static COUNTER: AtomicU32 = AtomicU32::new(0);

impl Client {
    pub async fn new() -> Self {
        let connection = lapin::Connection::connect(&url(), ConnectionProperties::default()).await.expect("connect");
        let channel = connection.create_channel().await.expect("channel");
        channel.confirm_select(ConfirmSelectOptions::default()).await.expect("confirms");
        Client { channel, _connection: connection, queues: Vec::new() }
    }

    /// A name of its own; the queue is deleted at the end.
    pub fn name(&mut self, what: &str) -> String {
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let name = format!("test.{}.{number}.{what}", std::process::id());
        self.queues.push(name.clone());
        name
    }

    pub async fn declare(&mut self, what: &str, arguments: &[(&str, AMQPValue)]) -> String {
        let name = self.name(what);
        let mut table = FieldTable::default();
        for (key, value) in arguments {
            table.insert((*key).into(), value.clone());
        }
        let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        self.channel.queue_declare(name.as_str().into(), options, table).await.expect("declare");
        name
    }

    pub async fn queue(&mut self, what: &str) -> String {
        self.declare(what, &[]).await
    }

    pub async fn publish(&self, queue: &str, body: &[u8], properties: BasicProperties) {
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let confirm =
            self.channel.basic_publish("".into(), queue.into(), options, body, properties).await.expect("publish");
        assert_eq!(confirm.await.expect("confirm"), lapin::Confirmation::Ack(None));
    }

    /// Publishes bodies `0..count`.
    pub async fn fill(&self, queue: &str, count: usize) {
        let mut confirms = Vec::new();
        for n in 0..count {
            let options = BasicPublishOptions::default();
            let body = n.to_string();
            let published = self.channel.basic_publish(
                "".into(),
                queue.into(),
                options,
                body.as_bytes(),
                BasicProperties::default(),
            );
            confirms.push(published.await.expect("publish"));
        }
        for confirm in confirms {
            assert!(confirm.await.expect("confirm").is_ack());
        }
    }

    pub async fn ready(&self, queue: &str) -> u32 {
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let queue = self.channel.queue_declare(queue.into(), options, FieldTable::default()).await.expect("declare");
        queue.message_count()
    }

    /// Waits until so many messages are ready: acks and requeues take their time.
    pub async fn until_ready(&self, queue: &str, count: u32) {
        let mut last = None;
        for _ in 0..200 {
            last = Some(self.ready(queue).await);
            if last == Some(count) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("{queue} has {last:?} messages ready, not {count}");
    }

    pub async fn delete(mut self) {
        for queue in std::mem::take(&mut self.queues) {
            self.channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await.expect("delete");
        }
    }
}

pub fn letter(queue: &str, body: &'static str) -> Envelope {
    Envelope { routing_key: queue.to_owned(), body: Bytes::from_static(body.as_bytes()), ..Envelope::default() }
}

/// The next delivery, which has to come.
pub async fn delivered(source: &mut Subscription) -> Delivery {
    match soon(source.next()).await {
        SourceEvent::Delivery(delivery) => delivery,
        other => panic!("no delivery but {other:?}"),
    }
}

pub async fn take(source: &mut Subscription, count: usize) -> Vec<Delivery> {
    let mut taken = Vec::new();
    for _ in 0..count {
        taken.push(delivered(source).await);
    }
    taken
}

/// Nothing here may take longer.
pub async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), what).await.expect("within 20 s")
}

/// Nothing comes for a while.
pub async fn silence(source: &mut Subscription) {
    let event = tokio::time::timeout(Duration::from_millis(300), source.next()).await;
    assert!(event.is_err(), "{event:?}");
}
