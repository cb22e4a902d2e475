//! The broker's errors: each pipeline has a queue and a user of its own, on the broker that all
//! share.

use lapin::options::{BasicConsumeOptions, ExchangeDeclareOptions, ExchangeDeleteOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};

/// One error of the broker. `{q}` is the pipeline's queue, `{u}` its user.
#[derive(Clone, Copy)]
pub struct Refusal {
    /// The pipeline's name.
    pub name: &'static str,
    /// For the documentation: when somebody meets this.
    pub means: &'static str,
    /// The reply code, or the word that stands for one.
    pub code: &'static str,
    pub class: &'static str,
    /// Keys of `[pipelines.NAME]` and its sections.
    pub pipeline: &'static str,
    /// The cause is there before the worker starts.
    pub at_start: bool,
    pub cause: &'static [Step],
    /// A message that isn't JSON meets it.
    pub letter: bool,
    /// What the worker then is; `None`: it is over too soon to be seen, and the log tells.
    pub state: Option<&'static str>,
    /// Words of the reason.
    pub names: &'static [&'static str],
    pub mend: &'static [Step],
    /// For the documentation.
    pub ends: &'static str,
}

/// What the test does to the broker.
#[derive(Clone, Copy)]
pub enum Step {
    /// In the node itself, in place of a second of `rabbitmqctl` for each.
    Erlang(&'static str),
    Delete(&'static str),
    Declare(&'static str),
    /// A queue that takes nothing.
    DeclareFull(&'static str),
    /// A queue that belongs to another connection.
    DeclareExclusive(&'static str),
    /// A consumer beside which there is no other.
    ConsumeAlone(&'static str),
    /// That other connection ends.
    LetGo,
    DeclareExchange(&'static str),
    DeleteExchange(&'static str),
}

use Step::{ConsumeAlone, Declare, DeclareExchange, DeclareExclusive, DeclareFull, Delete, Erlang, LetGo};

/// What the user may: configure, write, read.
macro_rules! permit {
    ($configure:literal, $write:literal, $read:literal) => {
        Erlang(concat!(
            "rabbit_auth_backend_internal:set_permissions(<<\"{u}\">>, <<\"/\">>, <<\"",
            $configure,
            "\">>, <<\"",
            $write,
            "\">>, <<\"",
            $read,
            "\">>, <<\"test\">>)"
        ))
    };
}

const CLOSE: Step = Erlang(
    "[rabbit_networking:close_connection(Pid, \"maintenance\") \
     || [{pid, Pid}, {user, <<\"{u}\">>}] <- rabbit_networking:connection_info_all([pid, user])]",
);
const KILL_CHANNELS: Step = Erlang(
    "[exit(Pid, kill) || Pid <- rabbit_channel:list(), (catch rabbit_channel:info(Pid, [user])) =:= [{user, <<\"{u}\">>}]]",
);
const PERMIT: Step = permit!(".*", ".*", ".*");

const REFUSAL: Refusal = Refusal {
    name: "",
    means: "",
    code: "",
    class: "source_lost",
    pipeline: "",
    at_start: false,
    cause: &[],
    letter: false,
    state: Some("reconnecting"),
    names: &[],
    mend: &[],
    ends: "",
};

pub const TABLE: &[Refusal] = &[
    Refusal {
        name: "queue_deleted",
        means: "somebody deletes the queue; the broker cancels the consumer",
        code: "404",
        state: Some("paused"),
        cause: &[Delete("{q}")],
        names: &["queue {q} is missing", "declare"],
        mend: &[Declare("{q}")],
        ends: "the queue; by itself with `declare`",
        ..REFUSAL
    },
    Refusal {
        name: "queue_missing",
        means: "there is no such queue at the start",
        code: "404",
        state: Some("paused"),
        at_start: true,
        cause: &[Delete("{q}")],
        names: &["queue {q} is missing", "declare"],
        mend: &[Declare("{q}")],
        ends: "the queue",
        ..REFUSAL
    },
    Refusal {
        name: "exchange_missing",
        means: "`declare` binds the queue to an exchange that isn't there",
        code: "404",
        state: Some("paused"),
        pipeline: "declare = { type = \"classic\", bind = [{ exchange = \"{q}.x\", routing_key = \"#\" }] }",
        at_start: true,
        cause: &[],
        names: &["404", "no exchange '{q}.x'"],
        mend: &[DeclareExchange("{q}.x")],
        ends: "the exchange",
        ..REFUSAL
    },
    Refusal {
        name: "dead_letter_queue_missing",
        means: "there is no dead-letter queue at the start, and `dead_letter.declare = false`: nothing is taken",
        code: "404",
        state: Some("paused"),
        pipeline: "dead_letter = { declare = false }",
        at_start: true,
        cause: &[],
        names: &["dead-letter queue {q}.dead is missing"],
        mend: &[Declare("{q}.dead")],
        ends: "the dead-letter queue",
        ..REFUSAL
    },
    Refusal {
        name: "dead_letter_unroutable",
        means: "somebody deletes the dead-letter queue: the broker returns the letter",
        code: "unroutable",
        class: "dead_letter_failed",
        state: None,
        cause: &[Delete("{q}.dead")],
        letter: true,
        names: &["dead_letter_failed unroutable", "the queue doesn't exist"],
        ends: "by itself; the dead-letter queue, with `dead_letter.declare = false`",
        ..REFUSAL
    },
    Refusal {
        name: "dead_letter_refused",
        means: "the dead-letter queue is full and refuses the letter (`x-overflow = reject-publish`)",
        code: "nacked",
        class: "dead_letter_failed",
        state: Some("holding"),
        cause: &[Delete("{q}.dead"), DeclareFull("{q}.dead")],
        letter: true,
        names: &["dead_letter_failed nacked", "basic.nack"],
        mend: &[Delete("{q}.dead")],
        ends: "room in the dead-letter queue",
        ..REFUSAL
    },
    Refusal {
        name: "dead_letter_forbidden",
        means: "the user may not write to the default exchange",
        code: "403",
        class: "dead_letter_failed",
        state: Some("holding"),
        cause: &[permit!(".*", "^$", ".*")],
        letter: true,
        names: &["dead_letter_failed 403", "ACCESS_REFUSED", "set_permissions"],
        mend: &[PERMIT],
        ends: "the right to write",
        ..REFUSAL
    },
    Refusal {
        name: "dead_letter_queue_forbidden",
        means: "the user may not declare the dead-letter queue",
        code: "403",
        state: Some("paused"),
        at_start: true,
        cause: &[permit!("^$", ".*", ".*")],
        names: &["403", "ACCESS_REFUSED", "{q}.dead", "set_permissions"],
        mend: &[PERMIT],
        ends: "the right to configure, or the queue",
        ..REFUSAL
    },
    Refusal {
        name: "reading_forbidden",
        means: "the user may not read from the queue any more",
        code: "403",
        cause: &[permit!(".*", ".*", "^$"), CLOSE],
        names: &["source_lost 403", "ACCESS_REFUSED", "{q}", "set_permissions"],
        mend: &[PERMIT],
        ends: "the right to read",
        ..REFUSAL
    },
    Refusal {
        name: "exclusive_consumer",
        means: "another consumer has the queue for itself",
        code: "403",
        at_start: true,
        cause: &[ConsumeAlone("{q}")],
        names: &["source_lost 403", "exclusive use"],
        mend: &[LetGo],
        ends: "the other consumer's end",
        ..REFUSAL
    },
    Refusal {
        name: "exclusive_queue",
        means: "the queue belongs to another connection alone",
        code: "405",
        cause: &[Delete("{q}"), DeclareExclusive("{q}")],
        names: &["source_lost 405", "RESOURCE_LOCKED", "another connection has it exclusively"],
        mend: &[LetGo, Declare("{q}")],
        ends: "the other connection's end",
        ..REFUSAL
    },
    Refusal {
        name: "login_refused",
        means: "the user has another password by now",
        code: "403",
        cause: &[
            Erlang("rabbit_auth_backend_internal:change_password(<<\"{u}\">>, <<\"another\">>, <<\"test\">>)"),
            CLOSE,
        ],
        names: &["source_lost 403", "login"],
        mend: &[Erlang("rabbit_auth_backend_internal:change_password(<<\"{u}\">>, <<\"right\">>, <<\"test\">>)")],
        ends: "the right password",
        ..REFUSAL
    },
    Refusal {
        name: "vhost_forbidden",
        means: "the user has no rights in the vhost",
        code: "530",
        cause: &[Erlang("rabbit_auth_backend_internal:clear_permissions(<<\"{u}\">>, <<\"/\">>, <<\"test\">>)"), CLOSE],
        names: &["source_lost 530", "vhost"],
        mend: &[PERMIT],
        ends: "rights in the vhost",
        ..REFUSAL
    },
    Refusal {
        name: "user_at_its_limit",
        means: "the user has as many connections as it may",
        code: "530",
        cause: &[
            Erlang(
                "rabbit_auth_backend_internal:set_user_limits(<<\"{u}\">>, \
                 #{<<\"max-connections\">> => 0}, <<\"test\">>)",
            ),
            CLOSE,
        ],
        names: &["source_lost 530", "limit"],
        mend: &[Erlang("rabbit_auth_backend_internal:clear_user_limits(<<\"{u}\">>, <<\"all\">>, <<\"test\">>)")],
        ends: "a higher limit",
        ..REFUSAL
    },
    Refusal {
        name: "connection_closed",
        means: "an operator closes the connection, or the broker stops",
        code: "320",
        state: None,
        cause: &[CLOSE],
        names: &["source_lost 320", "CONNECTION_FORCED"],
        ends: "connects again by itself",
        ..REFUSAL
    },
    Refusal {
        name: "channel_killed",
        means: "something inside of the broker is wrong and ends the channel",
        code: "541",
        state: None,
        cause: &[KILL_CHANNELS],
        names: &["source_lost 541"],
        ends: "connects again by itself",
        ..REFUSAL
    },
];

/// A connection of the test's that has something for itself.
pub struct Other {
    connection: lapin::Connection,
    /// Dropped, it would close.
    _channel: lapin::Channel,
    _consumer: Option<lapin::Consumer>,
}

impl Other {
    async fn open(url: &str) -> (lapin::Connection, lapin::Channel) {
        let properties = lapin::ConnectionProperties::default();
        let connection = lapin::Connection::connect(url, properties).await.expect("the broker answers");
        let channel = connection.create_channel().await.expect("a channel");
        (connection, channel)
    }

    pub async fn declare(url: &str, queue: &str) -> Other {
        let (connection, channel) = Other::open(url).await;
        let options = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
        channel.queue_declare(queue.into(), options, FieldTable::default()).await.expect("an exclusive queue");
        Other { connection, _channel: channel, _consumer: None }
    }

    pub async fn consume(url: &str, queue: &str) -> Other {
        let (connection, channel) = Other::open(url).await;
        let options = BasicConsumeOptions { exclusive: true, ..BasicConsumeOptions::default() };
        let consumer = channel.basic_consume(queue.into(), "alone".into(), options, FieldTable::default());
        let consumer = consumer.await.expect("consumes");
        Other { connection, _channel: channel, _consumer: Some(consumer) }
    }

    pub async fn close(self) {
        self.connection.close(200, "".into()).await.expect("closed");
    }
}

/// Arguments of a queue that takes nothing.
pub fn full() -> FieldTable {
    let mut arguments = FieldTable::default();
    arguments.insert("x-max-length".into(), AMQPValue::LongInt(0));
    arguments.insert("x-overflow".into(), AMQPValue::LongString("reject-publish".into()));
    arguments
}

pub async fn declare_exchange(channel: &lapin::Channel, name: &str) {
    let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    let kind = lapin::ExchangeKind::Topic;
    channel.exchange_declare(name.into(), kind, options, FieldTable::default()).await.expect("an exchange");
}

pub async fn delete_exchange(channel: &lapin::Channel, name: &str) {
    channel.exchange_delete(name.into(), ExchangeDeleteOptions::default()).await.expect("deleted");
}
