//! The fault harness: whatever breaks, nothing is lost, nothing is written twice.
//!
//! Each [`Fault`] runs on a [`Scene`]: the real binary behind two proxies, a producer that
//! publishes with confirms all the while, and an accountant that compares what was confirmed with
//! the table and the dead letters. `./tests/faults.sh` runs all of them on all databases and writes
//! `tests/FAULTS.md`; `./tests/run.sh` runs each that isn't `long` once, on one database.
//!
//! # How to add a fault
//!
//! 1. An entry in the `FAULTS` of its group's file (`worker.rs`, `broker.rs`, …):
//!    name, one sentence, databases, and what the scene needs ([`Setting`]; `SHARED` as a rule).
//! 2. Its function: `async fn name(scene: &mut Scene)`. It is called while messages flow. It does
//!    harm, waits until the harm has been met (`scene.until(…)`, `scene.worker().is("holding")`), mends it, and
//!    says `scene.mended().await`, which waits for the next row. It needn't look at rows: after it
//!    the producer stops, everything is settled, the workers stop, and the audit follows.
//! 3. `./tests/faults.sh NAME`, which adds its lines to `tests/FAULTS.md`. Commit these too.
//!
//! A row or a letter that the fault itself takes away (a deleted queue) is excused with
//! `scene.producer.pause()`, `scene.sampler.pause()`, the harm, `scene.doubt_backlog()`, and both
//! resumed. Messages of the fault's own go through `scene.publish(vec![Order::new(…)])`.

pub mod books;
pub mod broken;
mod broker;
mod database;
mod long_run;
mod matrix;
mod members;
mod message;
mod network;
pub mod producer;
mod report;
pub mod sampler;
pub mod scene;
mod storm;
mod worker;

use std::fmt;

use futures_util::future::LocalBoxFuture;

use crate::support::broker::Kind;
use crate::support::database::Server;
use producer::Mix;
use scene::Scene;

/// What breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    Worker,
    Broker,
    Database,
    Message,
    LongRun,
}

impl Group {
    fn name(self) -> &'static str {
        match self {
            Group::Worker => "worker",
            Group::Broker => "broker",
            Group::Database => "database",
            Group::Message => "message",
            Group::LongRun => "long run",
        }
    }
}

/// One thing that breaks.
pub struct Fault {
    /// kebab-case.
    pub name: &'static str,
    pub group: Group,
    /// One sentence.
    pub about: &'static str,
    /// Where it applies.
    pub databases: &'static [Server],
    /// Not in the selection of `./tests/run.sh`.
    pub long: bool,
    pub setting: Setting,
    /// Called while messages flow; see the module's documentation.
    pub run: OneFault,
}

/// A fault's function.
pub type OneFault = for<'a> fn(&'a mut Scene) -> LocalBoxFuture<'a, ()>;

/// What a fault's scene needs beyond the usual. `Setting { rabbitmq: "heartbeat = \"2s\"", ..SHARED }`
#[derive(Clone, Copy)]
pub struct Setting {
    /// A broker of its own, with these lines in rabbitmq.conf.
    pub own_broker: Option<&'static [&'static str]>,
    /// A PostgreSQL or MariaDB server of its own, with these settings. SQLite has a file of its own anyway.
    pub own_database: bool,
    pub postgres: &'static [(&'static str, &'static str)],
    pub mariadb: &'static [&'static str],
    /// Keys of `[rabbitmq]`.
    pub rabbitmq: &'static str,
    /// Keys of `[database]`.
    pub database: &'static str,
    /// Keys of `[pipelines.orders]`.
    pub pipeline: &'static str,
    /// Keys of `[pipelines.orders.retry]` (`initial` and `max` are set).
    pub retry: &'static str,
    /// Further tables.
    pub tables: &'static str,
    /// What the producer publishes.
    pub mix: Mix,
}

/// The servers that all share, and the usual config.
pub const SHARED: Setting = Setting {
    own_broker: None,
    own_database: false,
    postgres: &[],
    mariadb: &[],
    rabbitmq: "",
    database: "",
    pipeline: "",
    retry: "",
    tables: "",
    mix: Mix::USUAL,
};

/// All faults. Each group stands in a file of its own.
fn all() -> impl Iterator<Item = &'static Fault> {
    let groups = [
        worker::FAULTS,
        broker::FAULTS,
        network::FAULTS,
        database::FAULTS,
        message::FAULTS,
        storm::FAULTS,
        long_run::FAULTS,
    ];
    groups.into_iter().flatten()
}

/// One way to run a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    pub server: Server,
    pub kind: Kind,
    pub consumers: u16,
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.kind == Kind::Quorum { "quorum" } else { "classic" };
        write!(
            f,
            "{}, {kind}, {} consumer{}",
            server_name(self.server),
            self.consumers,
            if self.consumers == 1 { "" } else { "s" }
        )
    }
}

fn server_name(server: Server) -> &'static str {
    match server {
        Server::Postgres => "PostgreSQL",
        Server::Mysql => "MariaDB",
        Server::Sqlite => "SQLite",
    }
}

impl Fault {
    /// Each database once, a single one twice; between them they meet both kinds of queue, and one
    /// and four consumers.
    pub fn runs(&self) -> Vec<Run> {
        const WAYS: [(Kind, u16); 4] = [(Kind::Classic, 1), (Kind::Quorum, 4), (Kind::Classic, 4), (Kind::Quorum, 1)];
        // Not always the same way on the same database; by the name, so that other faults come and
        // go without changing it.
        let first = self.name.bytes().map(usize::from).sum::<usize>() % 2 * 2;
        let count = self.databases.len().max(2);
        let run = |at: usize| {
            let (kind, consumers) = WAYS[(first + at) % WAYS.len()];
            Run { server: self.databases[at % self.databases.len()], kind, consumers }
        };
        (0..count).map(run).collect()
    }

    /// Runs it once.
    pub async fn go(&self, run: Run) -> report::Line {
        let mut scene = Scene::start(self, run).await;
        (self.run)(&mut scene).await;
        scene.finish().await
    }
}

#[test]
fn names_are_short_and_different() {
    let mut names: Vec<&str> = all().map(|fault| fault.name).collect();
    for name in &names {
        assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'), "{name}");
    }
    names.sort_unstable();
    names.windows(2).for_each(|pair| assert_ne!(pair[0], pair[1]));
}

#[test]
fn each_fault_meets_both_queues_and_one_and_four_consumers() {
    for fault in all() {
        let runs = fault.runs();
        for kind in [Kind::Classic, Kind::Quorum] {
            assert!(runs.iter().any(|run| run.kind == kind), "{}: {kind:?}", fault.name);
        }
        for consumers in [1, 4] {
            assert!(runs.iter().any(|run| run.consumers == consumers), "{}: {consumers}", fault.name);
        }
        for server in fault.databases {
            assert!(runs.iter().any(|run| run.server == *server), "{}: {server:?}", fault.name);
        }
    }
}
