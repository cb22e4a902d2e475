//! Random values through the whole way: published to a queue, written by the real binary, read back
//! from a real table. Each record is stored once and means what was sent, or is a dead letter once;
//! what a column takes is never refused.
//!
//! `RABBIT_SINK_SEED` repeats a run, `RABBIT_SINK_RANDOM_RECORDS` says how many records each test
//! sends (3000), and `RABBIT_SINK_RANDOM_SECONDS` lets it go on with new seeds until the time is up.

mod columns;
mod equal;
mod generate;
mod judge;
mod read;
mod rng;

use std::time::{Duration, Instant};

use columns::Layout;
use generate::Sent;
use judge::{Finding, Tally, judge};
use rng::Rng;

use crate::support::broker::{Broker, Kind, Message};
use crate::support::database::{Server, TestDatabase};
use crate::support::servers::shared_amqp_url;
use crate::support::wait::{random, unique_name};
use crate::support::worker::Worker;

/// Records of one run of the worker.
const RECORDS: u64 = 3000;

/// For one run of the worker, on a machine that has much else to do.
const ROUND: Duration = Duration::from_secs(600);

/// Findings that are looked at column by column; more would only say the same again.
const LOOKED_INTO: usize = 20;

/// One message: some columns' values.
pub struct Record {
    pub id: String,
    /// Column numbers, and what is sent for each.
    pub fields: Vec<(usize, Sent)>,
}

impl Record {
    fn random(rng: &mut Rng, id: String, layout: &Layout) -> Record {
        let wanted = [1, 1, 1, 2, 2, 3, 3, 8][rng.below(8)];
        let mut fields: Vec<(usize, Sent)> = Vec::new();
        for _ in 0..wanted {
            let at = rng.below(layout.columns.len());
            if fields.iter().all(|(taken, _)| *taken != at) {
                fields.push((at, generate::value(rng, &layout.columns[at].kind)));
            }
        }
        Record { id, fields }
    }

    pub fn body(&self, layout: &Layout) -> String {
        let fields: Vec<String> =
            self.fields.iter().map(|(at, sent)| format!("\"{}\":{}", layout.columns[*at].name, sent.raw)).collect();
        format!("{{{}}}", fields.join(","))
    }
}

/// A queue, a table and the pipeline between them.
pub struct Place {
    broker: Broker,
    database: TestDatabase,
    queue: String,
    layout: Layout,
}

impl Place {
    async fn new(layout: Layout) -> Place {
        let broker = Broker::shared().await;
        let database = TestDatabase::fresh(layout.server).await;
        database.execute(&layout.statements()).await;
        let queue = unique_name("random");
        broker.declare(&queue, Kind::Quorum).await;
        Place { broker, database, queue, layout }
    }

    fn config(&self) -> String {
        format!(
            "[rabbitmq]\nurl = \"{}\"\n[database]\nurl = \"{}\"\n[admin]\nlisten = \"off\"\n\
             [pipelines.random]\nqueue = \"{}\"\ntable = \"random_values\"\nmessage_id = [\"property:message_id\"]\n\
             [pipelines.random.columns]\n{}\
             [pipelines.random.batch]\nmax_rows = 200\n\
             [pipelines.random.retry]\ninitial = \"1ms\"\nmax = \"20ms\"\n\
             [pipelines.random.storm]\nmin = 1000000\nshare = 1.0\naction = \"dead_letter\"\n",
            shared_amqp_url(),
            self.database.url,
            self.queue,
            self.layout.mapping()
        )
    }

    /// Sends these records, lets the worker drain the queue, and judges what became of each.
    async fn round(&self, records: &[Record], tally: &mut Tally) -> Vec<Finding> {
        self.database.execute("DELETE FROM random_values").await;
        let messages = records.iter().map(|record| Message::json(&record.id, record.body(&self.layout)));
        self.broker.publish(&self.queue, messages).await;
        self.drain(records.len()).await;
        let rows = read::rows(&self.database.url, &self.layout.select()).await;
        let letters = self.broker.drain(&format!("{}.dead", self.queue)).await;
        judge(&self.layout, records, &rows, &letters, tally)
    }

    /// Lets the worker settle all of them. Acks that a loaded broker had not handed on to its
    /// queue when the channel was closed are lost; those messages are there again, redelivered.
    async fn drain(&self, published: usize) {
        for run in 0..5 {
            let worker = Worker::command(&self.config(), ["run", "--until-empty", "--json"]);
            let exit = worker.wait_for(ROUND).await.expect(0);
            assert!(!exit.stderr.contains("panicked"), "the worker panicked:\n{}", exit.stderr);
            let summary = exit.summary();
            let right =
                if run == 0 { summary.settled >= published as u64 } else { summary.settled == summary.redelivered };
            assert!(right, "the first run settles all, the others only repeats: {summary:?}");
            let left = self.broker.ready(&self.queue).await;
            if left == 0 {
                return;
            }
            println!("{left} messages are back in the queue after {summary:?}");
        }
        panic!("after five runs there are still messages in the queue");
    }

    /// Which single columns of these records do it alone.
    async fn shrink(&self, records: &[Record], findings: &[Finding]) -> Vec<Finding> {
        let mut single = Vec::new();
        for finding in findings.iter().take(LOOKED_INTO) {
            let Some(record) = records.iter().find(|record| record.id == finding.id) else { continue };
            for (at, sent) in &record.fields {
                single.push(Record { id: format!("{}-c{at}", record.id), fields: vec![(*at, sent.clone())] });
            }
        }
        self.round(&single, &mut Tally::new(&self.layout)).await
    }

    async fn run(self) {
        let begin = Instant::now();
        let seconds = Duration::from_secs(setting("RABBIT_SINK_RANDOM_SECONDS").unwrap_or(0));
        let count = setting("RABBIT_SINK_RANDOM_RECORDS").unwrap_or(RECORDS);
        let first = setting("RABBIT_SINK_SEED").unwrap_or_else(|| random() >> 16);
        let mut tally = Tally::new(&self.layout);
        for seed in first.. {
            println!("{:?}: RABBIT_SINK_SEED={seed}, {count} records", self.layout.server);
            let mut rng = Rng::new(seed);
            let records: Vec<Record> =
                (0..count).map(|n| Record::random(&mut rng, format!("{seed}-{n}"), &self.layout)).collect();
            let findings = self.round(&records, &mut tally).await;
            if !findings.is_empty() {
                let alone = self.shrink(&records, &findings).await;
                panic!("RABBIT_SINK_SEED={seed}\n{}\n\ncolumn by column:\n{}", lines(&findings), lines(&alone));
            }
            if begin.elapsed() >= seconds {
                break;
            }
        }
        println!("{:?}: {tally}, {} s", self.layout.server, begin.elapsed().as_secs());
        if count >= RECORDS {
            tally.assert_telling(&self.layout);
        }
        self.broker.delete(&self.queue).await;
        self.broker.delete(&format!("{}.dead", self.queue)).await;
    }
}

fn lines(findings: &[Finding]) -> String {
    let shown: Vec<String> = findings.iter().take(3 * LOOKED_INTO).map(ToString::to_string).collect();
    format!("{} findings\n{}", findings.len(), shown.join("\n"))
}

fn setting(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text:?}")))
}

#[tokio::test]
async fn postgres_values_are_stored_as_sent_or_rejected() {
    Place::new(Layout::postgres()).await.run().await;
}

#[tokio::test]
async fn mysql_values_are_stored_as_sent_or_rejected() {
    let database = TestDatabase::fresh(Server::Mysql).await;
    let version = database.rows("SELECT CAST(VERSION() AS CHAR)").await[0][0].clone();
    let mariadb = version.is_some_and(|version| version.contains("MariaDB"));
    Place::new(Layout::mysql(mariadb)).await.run().await;
}

#[tokio::test]
async fn sqlite_values_are_stored_as_sent_or_rejected() {
    Place::new(Layout::sqlite()).await.run().await;
}

#[tokio::test]
async fn sqlite_strict_values_are_stored_as_sent_or_rejected() {
    Place::new(Layout::sqlite_strict()).await.run().await;
}
