//! What is measured. One base point for each database, then one thing varied at a time.

use futures_util::future::LocalBoxFuture;

use crate::page::Section as Result;
use crate::stage::Stage;
use crate::support::database::Server;

mod curves;
mod footprint;
mod instructions;
mod latencies;
mod outage;
mod peers;
mod rounds;
mod throughput;

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub struct Bench {
    /// Rounds, in each of which every subject has its turn.
    pub runs: usize,
    /// A backlog's messages, of the shape `order`; of others as many as take about as long.
    pub messages: u64,
}

type Measure = for<'a> fn(&'a Bench, &'a mut Stage) -> LocalBoxFuture<'a, Result>;

/// One section of the page.
pub struct Section {
    pub name: &'static str,
    pub title: &'static str,
    /// Stands on the page, and is measured without being asked for by its name.
    pub always: bool,
    run: Measure,
}

pub const SECTIONS: &[Section] = &[
    section("noise", "The floor against itself", |bench, stage| Box::pin(throughput::noise(bench, stage))),
    section("databases", "Databases and ways to recognise repeats", |bench, stage| {
        Box::pin(throughput::databases(bench, stage))
    }),
    section("queues", "Kinds of queue", |bench, stage| Box::pin(throughput::queues(bench, stage))),
    section("consumers", "Consumers", |bench, stage| Box::pin(throughput::consumers(bench, stage))),
    section("shapes", "Sizes of messages", |bench, stage| Box::pin(throughput::shapes(bench, stage))),
    section("latency", "From publishing to the row", |bench, stage| Box::pin(latencies::latencies(bench, stage))),
    section("bad", "Bad messages among good ones", |bench, stage| Box::pin(throughput::bad(bench, stage))),
    section("outage", "After an outage of the database", |bench, stage| Box::pin(outage::outages(bench, stage))),
    section("distance", "Round trips to the database", |bench, stage| Box::pin(curves::distance(bench, stage))),
    section("batches", "Rows in a batch", |bench, stage| Box::pin(curves::batches(bench, stage))),
    section("prefetch", "Messages on their way", |bench, stage| Box::pin(curves::prefetch(bench, stage))),
    section("backlog", "Memory and the length of the queue", |bench, stage| Box::pin(footprint::backlog(bench, stage))),
    section("start", "From the start to the first row", |bench, stage| Box::pin(footprint::start(bench, stage))),
    section("peers", "What people use today", |bench, stage| Box::pin(peers::peers(bench, stage))),
    section("micro", "Without any server", |bench, stage| Box::pin(instructions::micro(bench, stage))),
    section("instructions", "Instructions", |bench, stage| Box::pin(instructions::instructions(bench, stage))),
    Section {
        name: "compare",
        title: "Against another commit",
        always: false,
        run: |bench, stage| Box::pin(throughput::compare(bench, stage)),
    },
];

const fn section(name: &'static str, title: &'static str, run: Measure) -> Section {
    Section { name, title, always: true, run }
}

impl Section {
    pub async fn measure(&self, bench: &Bench, stage: &mut Stage) -> Result {
        (self.run)(bench, stage).await
    }
}

pub fn names() -> String {
    SECTIONS.iter().map(|section| section.name).collect::<Vec<_>>().join(" ")
}

/// What belongs on the page, for the test that compares.
pub fn list() {
    for section in SECTIONS.iter().filter(|section| section.always) {
        println!("{}\t{}", section.name, section.title);
    }
}

pub fn server_name(server: Server) -> &'static str {
    match server {
        Server::Postgres => "PostgreSQL",
        Server::Mysql => "MariaDB",
        Server::Sqlite => "SQLite",
    }
}

impl Bench {
    /// Messages where memory or time depends on how many there are: not fewer because a run is short,
    /// unless it is there to try the harness.
    fn in_full(&self, messages: u64) -> u64 {
        if self.messages < 20_000 { messages * self.messages / 200_000 } else { messages }
    }
}
