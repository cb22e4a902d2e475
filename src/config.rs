//! The validated config: what is meant, not what was typed. Nothing downstream checks it again.
//!
//! `config/` beside this file reads TOML and environment into it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::catalogue::TableName;

mod admin;
mod brokers;
mod changes;
mod checks;
mod columns;
mod credentials;
mod databases;
mod environment;
mod field;
mod host;
pub mod keys;
mod load;
mod names;
mod pipelines;
mod places;
mod problems;
mod reader;
mod schema;
mod secrets;
mod snippet;
mod syntax;
mod together;
mod traces;
mod tree;
mod units;

pub use admin::AdminSocket;
pub use changes::{Changes, needs_restart};
pub use credentials::{Credentials, Fresh};
pub(crate) use host::is_loopback;
pub use load::{load, load_admin, load_str, process_environment};
pub use problems::{ConfigErrors, ConfigProblem};
pub use schema::schema;
pub use secrets::Secret;
pub(crate) use units::{show_bytes, show_duration};

/// Everything in one config file.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// `[worker]`
    pub worker: Worker,
    /// `[admin]`
    pub admin: Admin,
    /// `[traces]`; `None`: there are none.
    pub traces: Option<Traces>,
    /// `[rabbitmq]` as "default" and `[brokers.*]`.
    pub brokers: BTreeMap<String, Broker>,
    /// `[database]` as "default" and `[databases.*]`.
    pub databases: BTreeMap<String, Database>,
    /// `[pipelines.*]` by name.
    pub pipelines: BTreeMap<String, Pipeline>,
}

/// `[worker]`
#[derive(Clone, Debug, PartialEq)]
pub struct Worker {
    /// From the first signal to the end; what isn't done by then goes back to the broker.
    pub shutdown_timeout: Duration,
    /// Between two looks whether every replica is to pause.
    pub pause_poll: Duration,
    /// Between two looks at the config file's content; zero: it is read again at SIGHUP alone.
    pub watch_config: Duration,
}

/// `[admin]`
#[derive(Clone, Debug, PartialEq)]
pub struct Admin {
    /// Where `/livez` and the others listen; `None`: off.
    pub listen: Option<std::net::SocketAddr>,
    /// Where orders need no token; `None`: nowhere.
    pub socket: Option<AdminSocket>,
    /// The config names it (or "off"): a worker that can't have it doesn't start.
    pub socket_is_given: bool,
    /// What orders over TCP must bring; `None`: none are taken there.
    pub token: Option<Secret>,
}

/// `[traces]`
#[derive(Clone, Debug, PartialEq)]
pub struct Traces {
    /// Where a collector takes OTLP over HTTP, without `/v1/traces`.
    pub endpoint: Secret,
    /// Sent with each request.
    pub headers: Vec<(String, Secret)>,
    /// What backends show.
    pub service_name: String,
    /// Of batches whose messages carry no trace context.
    pub share: f64,
    /// For one request.
    pub timeout: Duration,
}

/// Files of a TLS identity.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// PEM certificates to trust: instead of the system's for a broker, beside them for a database.
    pub ca_file: Option<PathBuf>,
    /// PEM chain of our own certificate.
    pub cert_file: Option<PathBuf>,
    /// PEM key of our own certificate.
    pub key_file: Option<PathBuf>,
    /// A hash of what stood in them when the config was read: connections read them anew.
    pub contents: [u8; 32],
}

/// `[rabbitmq]`, `[brokers.*]`
#[derive(Clone, Debug, PartialEq)]
pub struct Broker {
    /// Its name in the config.
    pub name: String,
    /// `amqp://` or `amqps://` URLs, login included; each is tried, in random order.
    pub urls: Vec<Secret>,
    /// Asked of the broker; it and we close a connection that is silent for twice as long.
    pub heartbeat: Duration,
    /// For TCP, TLS and the AMQP handshake of one address together.
    pub connect_timeout: Duration,
    /// What the broker's consumer timeout is, as the user states it.
    pub consumer_timeout: Duration,
    /// TLS files.
    pub tls: TlsFiles,
    /// What operators see; `None`: `rabbit-sink/HOST/PIPELINE`.
    pub connection_name: Option<String>,
    /// RabbitMQ's HTTP API, login included.
    pub management_url: Option<Secret>,
    /// Where URLs and login come from.
    pub credentials: Credentials,
}

/// Which server a database URL names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DatabaseKind {
    /// `postgres://`, `postgresql://`
    Postgres,
    /// `mysql://`, `mariadb://`
    Mysql,
    /// `sqlite://`
    Sqlite,
}

/// `[database]`, `[databases.*]`
#[derive(Clone, Debug, PartialEq)]
pub struct Database {
    /// Its name in the config.
    pub name: String,
    /// From the URL's scheme.
    pub kind: DatabaseKind,
    /// The URL, login included.
    pub url: Secret,
    /// Connections in all, as far as the user bounds them; checked against consumers at load.
    pub max_connections: Option<u32>,
    /// For a connection with login and session settings.
    pub connect_timeout: Duration,
    /// After which the server cancels a statement. Every await has a deadline slightly above.
    pub statement_timeout: Duration,
    /// After which the server gives up waiting for a lock.
    pub lock_timeout: Duration,
    /// What operators see in the server's list of sessions.
    pub application_name: String,
    /// SQL that every new session runs.
    pub on_connect: Vec<String>,
    /// TLS files.
    pub tls: TlsFiles,
    /// Where message IDs are kept.
    pub ledger_table: TableName,
    /// For how long.
    pub ledger_keep: Duration,
    /// Where URL and login come from.
    pub credentials: Credentials,
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A JSON Pointer (RFC 6901) into the body, split and unescaped; empty: the whole document.
    Pointer(Vec<String>),
    /// An AMQP property.
    Property(Property),
    /// A header; further parts reach into tables by name and into arrays by index.
    Header(Vec<String>),
    /// The routing key (the original one of a replayed message).
    RoutingKey,
    /// The exchange (the original one of a replayed message).
    Exchange,
    /// The pipeline's queue.
    Queue,
    /// The body as received.
    Body,
    /// The resolved message ID.
    MessageId,
    /// `sha256:body`: the body's SHA-256 in hexadecimal. For IDs only.
    BodyHash,
}

/// The AMQP properties by their names in the specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Property {
    ContentType,
    ContentEncoding,
    DeliveryMode,
    Priority,
    CorrelationId,
    ReplyTo,
    Expiration,
    MessageId,
    Timestamp,
    Type,
    UserId,
    AppId,
    ClusterId,
}

/// One way to find the message ID.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IdPlace {
    /// One place.
    One(Place),
    /// All of these together.
    All(Vec<Place>),
}

/// A value that stands in the config.
#[derive(Clone, Debug, PartialEq)]
pub enum Constant {
    /// A TOML string or date, as text.
    Text(String),
    /// A TOML integer.
    Int(i64),
    /// A TOML float, in the digits in which it was written.
    Number(String),
    /// A TOML boolean.
    Bool(bool),
}

/// How a number stands for a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeUnit {
    /// `epoch_s`
    Seconds,
    /// `epoch_ms`
    Milliseconds,
    /// `epoch_us`
    Microseconds,
}

/// Where a column's value comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum ColumnSource {
    /// A place in the message.
    From(Place),
    /// The same for all messages.
    Value(Constant),
}

/// `[pipelines.*.columns]`: one column.
#[derive(Clone, Debug, PartialEq)]
pub struct ColumnMapping {
    /// The column's name.
    pub column: String,
    /// Where its value comes from.
    pub source: ColumnSource,
    /// Absent is an error. (`null` is not absent.)
    pub required: bool,
    /// What is written when it is absent, instead of the column's own DEFAULT.
    pub default: Option<Constant>,
    /// How numbers are read as times.
    pub time: Option<TimeUnit>,
    /// The zone (IANA name or offset) that a zone-less column's clock shows; UTC if `None`.
    pub zone: Option<String>,
    /// Let the column cut or round.
    pub lossy: bool,
}

/// Where message IDs already written are looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deduplicate {
    /// The ledger table.
    Ledger,
    /// A unique column of the target.
    Column(String),
    /// Nowhere: at least once.
    None,
}

/// What the same ID with another body means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdConflict {
    /// Dead-lettered.
    DeadLetter,
    /// Counted as a duplicate.
    Ignore,
}

/// What happens to top-level fields that no column takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UnknownFields {
    /// Nothing.
    Ignore,
    /// The message is rejected.
    Reject,
    /// They are collected as one JSON object in this column.
    Column(String),
}

/// An exchange that a declared queue is bound to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// It must exist.
    pub exchange: String,
    /// May be empty.
    pub routing_key: String,
}

/// What kind of queue to declare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum QueueType {
    Classic,
    Quorum,
}

/// `declare = { … }`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declare {
    /// `type`
    pub queue_type: QueueType,
    /// `bind`
    pub bind: Vec<Binding>,
}

/// `[pipelines.*]`
#[derive(Clone, Debug, PartialEq)]
pub struct Pipeline {
    /// `[a-z0-9_]{1,48}` without `__`.
    pub name: String,
    /// The queue.
    pub queue: String,
    /// The table.
    pub table: TableName,
    /// Consumers on the queue, each with a writer.
    pub consumers: u16,
    /// The queue lets one consumer at a time have its messages: a turn is kept until it is given up, and nothing is
    /// in hand then.
    pub single_active_consumer: bool,
    /// Unacked messages per consumer, at least 1. At least 2 × `batch.max_rows`, unless the rate limit allows
    /// fewer: then rate × `retry.hold` / 2, so that no message waits until it must be given back.
    pub prefetch: u16,
    /// Where the ID may stand; the first that is there.
    pub message_id: Vec<IdPlace>,
    /// How repeats are recognised.
    pub deduplicate: Deduplicate,
    /// Same ID, other body.
    pub id_conflict: IdConflict,
    /// Fields without a column.
    pub unknown_fields: UnknownFields,
    /// `guarantee = "exactly_once_effect"`: refuse to start where it can't be kept.
    pub exactly_once: bool,
    /// Key into [`Config::brokers`].
    pub broker: String,
    /// Key into [`Config::databases`].
    pub database: String,
    /// Declare the queue where it is missing.
    pub declare: Option<Declare>,
    /// `None`: every top-level field that has a column of its name.
    pub columns: Option<Vec<ColumnMapping>>,
    /// `[…batch]`
    pub batch: Batch,
    /// `[…limits]`
    pub limits: Limits,
    /// `[…retry]`
    pub retry: Retry,
    /// `[…storm]`
    pub storm: Storm,
    /// `[…dead_letter]`
    pub dead_letter: DeadLetter,
}

/// `[pipelines.*.batch]`
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// Messages in one transaction at most.
    pub max_rows: usize,
    /// Bytes of their bodies at most (a single larger one makes a batch of its own).
    pub max_bytes: usize,
    /// How long an incomplete batch waits for more.
    pub linger: Duration,
}

/// `[pipelines.*.limits]`
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Bytes; a larger body is dead-lettered undecoded.
    pub max_body: usize,
    /// Levels of nesting.
    pub max_depth: usize,
    /// Bytes of unacked bodies per consumer.
    pub max_unacked_bytes: usize,
    /// 0: no limit.
    pub max_rows_per_second: u32,
    /// A message replayed more often isn't replayed again.
    pub max_replays: u32,
}

/// `[pipelines.*.retry]`
#[derive(Clone, Debug, PartialEq)]
pub struct Retry {
    /// The first wait.
    pub initial: Duration,
    /// The longest wait.
    pub max: Duration,
    /// How long deliveries are kept unacked, from the arrival of the oldest.
    pub hold: Duration,
    /// How long a row waits for the row that its foreign key names.
    pub missing_parent: Duration,
}

/// What a storm of rejections does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StormAction {
    /// Pause the pipeline.
    Pause,
    /// Dead-letter them all.
    DeadLetter,
}

/// `[pipelines.*.storm]`
#[derive(Clone, Debug, PartialEq)]
pub struct Storm {
    /// Rejections of one cause.
    pub min: usize,
    /// Their share of the last outcomes, above 0 and at most 1.
    pub share: f64,
    /// What to do.
    pub action: StormAction,
}

/// `[pipelines.*.dead_letter]`: where rejected messages go.
#[derive(Clone, Debug, PartialEq)]
pub enum DeadLetter {
    /// Into a queue.
    Queue {
        /// Published to through the default exchange.
        name: String,
        /// Declare it where it is missing.
        declare: bool,
    },
    /// Into a table of the pipeline's database.
    Table(TableName),
}

impl DeadLetter {
    /// The queue, if it is one.
    pub fn queue(&self) -> Option<&str> {
        match self {
            DeadLetter::Queue { name, .. } => Some(name),
            DeadLetter::Table(_) => None,
        }
    }

    /// The table, if it is one.
    pub fn table(&self) -> Option<&TableName> {
        match self {
            DeadLetter::Queue { .. } => None,
            DeadLetter::Table(table) => Some(table),
        }
    }
}

/// The queue's name, or the table's.
impl fmt::Display for DeadLetter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeadLetter::Queue { name, .. } => f.write_str(name),
            DeadLetter::Table(table) => table.fmt(f),
        }
    }
}
