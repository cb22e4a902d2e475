//! What people use today for the same work: `benches/peers/`. Each runs until it is killed, and finds broker,
//! database and queue in its environment.

use std::process::Command;

use crate::subject::{Job, program};
use crate::support::broker::Kind;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    Spring,
    Telegraf,
    Pika,
    MqBridge,
    AioPika,
}

impl Peer {
    pub const ALL: [Peer; 5] = [Peer::Spring, Peer::Telegraf, Peer::Pika, Peer::MqBridge, Peer::AioPika];

    pub fn name(self) -> &'static str {
        match self {
            Peer::Spring => "Spring AMQP + JDBC, 2 workers",
            Peer::Telegraf => "Telegraf",
            Peer::Pika => "pika + SQLAlchemy",
            Peer::MqBridge => "mq-bridge",
            Peer::AioPika => "aio-pika + asyncpg",
        }
    }

    /// What it promises of a message, as it is set up here and as we have seen it keep it.
    pub fn guarantee(self) -> &'static str {
        match self {
            Peer::Spring | Peer::Pika | Peer::AioPika => {
                "acks after the commit, a repeat is dropped by the table's key; a bad message stops its batch again and \
                 again until somebody writes the code for it"
            }
            Peer::Telegraf => {
                "acks after its write; a row that the database refuses (a repeat, too, where the table has a key) takes \
                 its batch with it: dropped, logged, acked. Its table has the ID as text"
            }
            Peer::MqBridge => {
                "acks after its write, a repeat is dropped by the table's key; without a dead-letter route what the \
                 database refuses is logged, dropped, acked"
            }
        }
    }

    /// The kind of queue that it is measured on.
    pub fn kind(self) -> Kind {
        match self {
            // It declares its queue itself, always as a classic one.
            Peer::MqBridge => Kind::Classic,
            _ => Kind::Quorum,
        }
    }

    /// What is different in its table.
    pub fn table(self) -> Option<&'static str> {
        match self {
            // It sends text where a uuid is asked for.
            Peer::Telegraf => Some("ALTER TABLE orders ALTER event_id TYPE text"),
            _ => None,
        }
    }

    pub fn command(self, job: &Job) -> Command {
        let built = program("RABBIT_SINK_BENCH_PEERS");
        let sources = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/peers");
        let python = |script: &str| {
            let mut command = Command::new(format!("{built}/python/bin/python"));
            command.arg(format!("{sources}/python/{script}"));
            command
        };
        let mut command = match self {
            Peer::Spring => {
                let mut command = Command::new("java");
                command.args(["-cp", &format!("{built}/spring/classes:{built}/spring/classes/lib/*")]);
                command.args(["-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "Consumer"]);
                command
            }
            Peer::Telegraf => {
                let mut command = Command::new(format!("{built}/telegraf"));
                command.args(["--config", &format!("{sources}/telegraf/telegraf.conf")]);
                command
            }
            Peer::Pika => python("pika_sqlalchemy.py"),
            Peer::AioPika => python("aiopika_asyncpg.py"),
            Peer::MqBridge => Command::new(format!("{built}/mq-bridge-peer")),
        };
        command.env("AMQP_URL", &job.amqp).env("DATABASE_URL", &job.database).env("QUEUE", &job.queue);
        command
    }
}
