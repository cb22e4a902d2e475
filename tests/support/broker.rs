//! The producer's side of RabbitMQ: queues, confirmed messages, counts, and what lies in a queue.

use lapin::message::BasicGetMessage;
use lapin::options::{
    BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions, QueueDeleteOptions,
    QueuePurgeOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties};

use super::servers::{Rabbitmq, rabbitmqctl};
use super::wait::{PATIENCE, eventually, holds_within};

/// Confirms outstanding at most, so that a fast producer stays within the broker's credit.
const WINDOW: usize = 2_000;

/// Ready and unacked messages of a queue. Asked in Erlang, as `list_queues` tells of a quorum queue
/// only what it reported seconds ago.
const COUNTS: &str = r#"
{ok, Q} = rabbit_amqqueue:lookup(rabbit_misc:r(<<"/">>, queue, <<"QUEUE">>)),
case amqqueue:get_type(Q) of
    rabbit_quorum_queue ->
        % Both at one moment: acks that arrive in between would be missing in one of them.
        {ok, {_, Counts}, _} = ra:leader_query(amqqueue:get_pid(Q), {rabbit_fifo, overview, []}),
        #{num_ready_messages := Ready, num_messages := Total} = Counts,
        {Ready, Total - Ready};
    _ ->
        list_to_tuple([N || {_, N} <- rabbit_amqqueue:info(Q, [messages_ready, messages_unacknowledged])])
end.
"#;

/// A message to publish.
#[derive(Clone, Debug)]
pub struct Message {
    pub body: Vec<u8>,
    pub properties: BasicProperties,
}

impl Message {
    /// A persistent JSON message with this message ID.
    pub fn json(id: &str, body: impl Into<Vec<u8>>) -> Message {
        let properties = BasicProperties::default()
            .with_message_id(id.into())
            .with_content_type("application/json".into())
            .with_delivery_mode(2);
        Message { body: body.into(), properties }
    }

    /// A persistent message without anything around its body.
    pub fn bare(body: impl Into<Vec<u8>>) -> Message {
        Message { body: body.into(), properties: BasicProperties::default().with_delivery_mode(2) }
    }

    /// With a text header.
    pub fn header(mut self, name: &str, value: &str) -> Message {
        let mut headers = self.properties.headers().clone().unwrap_or_default();
        headers.insert(name.into(), AMQPValue::LongString(value.into()));
        self.properties = self.properties.with_headers(headers);
        self
    }
}

/// A message that was taken out of a queue.
#[derive(Clone, Debug)]
pub struct Taken {
    pub body: Vec<u8>,
    pub properties: BasicProperties,
    pub exchange: String,
    pub routing_key: String,
    pub redelivered: bool,
}

impl Taken {
    /// A header as text, whatever its type.
    pub fn header(&self, name: &str) -> Option<String> {
        let value = self.properties.headers().as_ref()?.inner().get(name)?;
        Some(match value {
            AMQPValue::LongString(text) => String::from_utf8_lossy(text.as_bytes()).into_owned(),
            AMQPValue::ShortString(text) => text.to_string(),
            AMQPValue::Boolean(value) => value.to_string(),
            AMQPValue::ShortShortInt(n) => n.to_string(),
            AMQPValue::ShortShortUInt(n) => n.to_string(),
            AMQPValue::ShortInt(n) => n.to_string(),
            AMQPValue::ShortUInt(n) => n.to_string(),
            AMQPValue::LongInt(n) => n.to_string(),
            AMQPValue::LongUInt(n) => n.to_string(),
            AMQPValue::LongLongInt(n) => n.to_string(),
            other => format!("{other:?}"),
        })
    }

    /// Its message ID.
    pub fn message_id(&self) -> Option<String> {
        self.properties.message_id().as_ref().map(ToString::to_string)
    }
}

impl From<BasicGetMessage> for Taken {
    fn from(message: BasicGetMessage) -> Taken {
        let delivery = message.delivery;
        Taken {
            exchange: delivery.exchange.to_string(),
            routing_key: delivery.routing_key.to_string(),
            redelivered: delivery.redelivered,
            body: delivery.data,
            properties: delivery.properties,
        }
    }
}

/// Messages in a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Depth {
    pub ready: u64,
    pub unacked: u64,
}

/// Kinds of queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Classic,
    Quorum,
    Stream,
}

impl Kind {
    fn argument(self) -> &'static str {
        match self {
            Kind::Classic => "classic",
            Kind::Quorum => "quorum",
            Kind::Stream => "stream",
        }
    }
}

/// A connection of a producer, with confirms.
pub struct Broker {
    pub connection: Connection,
    pub channel: Channel,
    ctl: String,
}

impl Broker {
    /// The broker that most tests share.
    pub async fn shared() -> Broker {
        Broker::connect(&super::servers::shared_amqp_url(), &super::servers::shared_rabbitmqctl()).await
    }

    /// A test's own node.
    pub async fn of(node: &Rabbitmq) -> Broker {
        Broker::connect(&node.url(), &node.ctl_prefix()).await
    }

    /// Any broker, with its `rabbitmqctl` prefix.
    pub async fn connect(url: &str, ctl: &str) -> Broker {
        let connection = Connection::connect(url, ConnectionProperties::default()).await.expect("the broker answers");
        let channel = connection.create_channel().await.expect("a channel");
        channel.confirm_select(ConfirmSelectOptions::default()).await.expect("confirms");
        Broker { connection, channel, ctl: ctl.to_owned() }
    }

    /// Declares a durable queue.
    pub async fn declare(&self, queue: &str, kind: Kind) {
        self.declare_with(queue, kind, FieldTable::default()).await;
    }

    /// Declares a durable queue with further arguments.
    pub async fn declare_with(&self, queue: &str, kind: Kind, mut arguments: FieldTable) {
        arguments.insert("x-queue-type".into(), AMQPValue::LongString(kind.argument().into()));
        self.channel
            .queue_declare(queue.into(), QueueDeclareOptions::durable(), arguments)
            .await
            .unwrap_or_else(|e| panic!("declaring {queue}: {e}"));
    }

    pub async fn purge(&self, queue: &str) {
        self.channel.queue_purge(queue.into(), QueuePurgeOptions::default()).await.expect("purged");
    }

    pub async fn delete(&self, queue: &str) {
        self.channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await.expect("deleted");
    }

    /// Publishes through the default exchange; returns once every message is confirmed and routed.
    pub async fn publish(&self, queue: &str, messages: impl IntoIterator<Item = Message>) {
        self.publish_to("", queue, messages).await;
    }

    /// Publishes through an exchange; returns once every message is confirmed and routed.
    pub async fn publish_to(&self, exchange: &str, routing_key: &str, messages: impl IntoIterator<Item = Message>) {
        let mut confirms = std::collections::VecDeque::new();
        // A message that no queue takes is returned and then confirmed: `mandatory` tells.
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        for message in messages {
            if confirms.len() == WINDOW {
                confirmed(confirms.pop_front()).await;
            }
            let confirm = self
                .channel
                .basic_publish(exchange.into(), routing_key.into(), options, &message.body, message.properties)
                .await
                .expect("published");
            confirms.push_back(confirm);
        }
        while !confirms.is_empty() {
            confirmed(confirms.pop_front()).await;
        }
    }

    /// Publishes one without waiting for its confirm.
    pub async fn send(&self, queue: &str, message: Message) {
        let options = BasicPublishOptions::default();
        let publishing =
            self.channel.basic_publish("".into(), queue.into(), options, &message.body, message.properties);
        publishing.await.expect("published");
    }

    /// Counts with unacked ones, exact as of now; costs about a second of `rabbitmqctl` each time.
    pub async fn depth(&self, queue: &str) -> Depth {
        let ctl = self.ctl.clone();
        let code = COUNTS.replace("QUEUE", queue);
        // `rabbitmqctl` takes its time; a proxy of the same test must go on meanwhile.
        let counted = tokio::task::spawn_blocking(move || rabbitmqctl(&ctl, &["eval", &code])).await.expect("no panic");
        let counts: Vec<u64> = counted
            .trim()
            .trim_matches(['{', '}'])
            .split(',')
            .map(|count| count.parse().unwrap_or_else(|_| panic!("counts of {queue}: {counted}")))
            .collect();
        Depth { ready: counts[0], unacked: counts[1] }
    }

    /// Whether there is such a queue. The broker closes the channel that asks for a missing one.
    pub async fn has(&self, queue: &str) -> bool {
        let channel = self.connection.create_channel().await.expect("a channel");
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::durable() };
        let found = channel.queue_declare(queue.into(), options, FieldTable::default()).await.is_ok();
        if found {
            channel.close(200, "looked".into()).await.expect("closed");
        }
        found
    }

    /// Ready messages, at the cost of one round trip.
    pub async fn ready(&self, queue: &str) -> u64 {
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::durable() };
        let queue = self.channel.queue_declare(queue.into(), options, FieldTable::default()).await.expect("a queue");
        queue.message_count().into()
    }

    /// Waits until nothing is left in the queue, neither ready nor unacked.
    pub async fn wait_until_empty(&self, queue: &str) {
        eventually(PATIENCE, &format!("queue {queue} is empty"), async || self.ready(queue).await == 0).await;
        let none = Depth { ready: 0, unacked: 0 };
        let empty = holds_within(PATIENCE, async || self.depth(queue).await == none).await;
        assert!(empty, "queue {queue} is still {:?}", self.depth(queue).await);
    }

    /// Waits until nobody holds a message of the queue.
    pub async fn wait_until_given_back(&self, queue: &str) {
        let none = async || self.depth(queue).await.unacked == 0;
        eventually(PATIENCE, &format!("nothing of {queue} is unacked"), none).await;
    }

    /// Takes everything that is ready out of a queue (a dead-letter queue, say), in its order.
    pub async fn drain(&self, queue: &str) -> Vec<Taken> {
        let mut taken = Vec::new();
        let options = BasicGetOptions { no_ack: true };
        while let Some(message) = self.channel.basic_get(queue.into(), options).await.expect("got") {
            taken.push(message.into());
        }
        taken
    }
}

async fn confirmed(confirm: Option<impl Future<Output = lapin::Result<Confirmation>>>) {
    let confirmation = confirm.expect("not empty").await.expect("confirmed");
    assert!(matches!(confirmation, Confirmation::Ack(None)), "not taken by any queue: {confirmation:?}");
}
