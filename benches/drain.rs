//! One run over a backlog: a full queue, an empty table, one program.

use std::time::{Duration, Instant};

use crate::distance::away;
use crate::shapes::{FIRST, Shape, uuid};
use crate::stage::{Eye, Stage};
use crate::subject::{Job, Running, Subject};
use crate::support::broker::{Kind, Message};
use crate::support::database::{Server, TestDatabase, rows};
use crate::support::process::tree;
use crate::usage;

/// What is drained.
#[derive(Clone, Debug)]
pub struct Backlog {
    pub server: Server,
    pub kind: Kind,
    pub shape: Shape,
    pub messages: u64,
    pub consumers: u32,
    /// Every so many-th message is no JSON; 0: none.
    pub bad_every: u64,
    /// To the database; `None`: as it is on one machine.
    pub round_trip: Option<Duration>,
    /// Further lines of the worker's config.
    pub config: String,
    /// Each column of each row is compared in the end, not sums alone. Orders in PostgreSQL only.
    pub every_row: bool,
}

/// What one run took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Measured {
    /// Rows a second, from the first row in the table to the last.
    pub rate: f64,
    /// Milliseconds from the program's start to the first row.
    pub first_row_ms: f64,
    /// Microseconds of processor time a message: the program's, between first and last row.
    pub cpu_us: f64,
    /// The same of the broker and the database.
    pub servers_us: f64,
    /// MiB of resident memory at most.
    pub peak_mib: f64,
}

/// A run that takes longer hangs.
const HANGS: Duration = Duration::from_secs(600);

/// An order's fields, and how PostgreSQL is asked for what became of them.
const ORDER: [(&str, &str); 10] = [
    ("order_id", "order_id::text"),
    ("event_id", "event_id::text"),
    ("customer", "customer"),
    ("country", "country"),
    ("quantity", "quantity::text"),
    ("price", "price::text"),
    ("weight", "weight::text"),
    ("paid", "paid::text"),
    ("placed_at", "to_char(placed_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')"),
    ("note", "note"),
];

/// How many of the last messages are looked at: their rows are counted by their keys.
const TAIL: u64 = 200;

impl Backlog {
    fn is_bad(&self, nth: u64) -> bool {
        self.bad_every > 0 && nth % self.bad_every == self.bad_every / 2
    }

    pub fn message(&self, nth: u64) -> Message {
        if self.is_bad(nth) { Message::json(&uuid(nth), "no JSON") } else { self.shape.message(nth) }
    }

    /// An empty queue, an empty table, and what a program must know of them.
    pub async fn prepare(&self, stage: &mut Stage) -> (TestDatabase, Job) {
        let queue = stage.queue(self.kind).await;
        let database = stage.database(self.server).await;
        database.execute(&self.shape.ddl(self.server)).await;
        let job = Job {
            amqp: stage.rabbit.url(),
            database: match self.round_trip {
                Some(round_trip) => moved(&database.url, round_trip),
                None => database.url.clone(),
            },
            queue,
            shape: self.shape,
            consumers: self.consumers,
            config: self.config.clone(),
            folder: stage.folder().clone(),
        };
        (database, job)
    }

    /// Waits for the row of this message or of one behind it.
    pub async fn row(&self, eye: &mut Eye, running: &mut Running, nth: u64) {
        let one = format!("(SELECT 1 FROM {} WHERE {} >= {} LIMIT 1) AS one", self.table(), self.key(), FIRST + nth);
        wait_for(running, Duration::from_millis(1), async || eye.number("max(1)", &one).await > 0).await;
    }

    /// Waits for the rows of all messages. The last ones are counted by their keys, while it goes on: all
    /// are more work for the database.
    pub async fn rows(&self, eye: &mut Eye, running: &mut Running) {
        let good: Vec<u64> = (0..self.messages).filter(|&nth| !self.is_bad(nth)).collect();
        let tail = good.iter().filter(|&&nth| nth + TAIL >= self.messages).count() as u64;
        let last = format!("{} WHERE {} >= {}", self.table(), self.key(), FIRST + self.messages.saturating_sub(TAIL));
        wait_for(running, Duration::from_millis(5), async || {
            eye.number("count(*)", &last).await >= tail
                && eye.number("count(*)", self.table()).await >= good.len() as u64
        })
        .await;
    }

    /// Panics where the rows aren't the messages.
    pub async fn check(&self, eye: &mut Eye) {
        let good: Vec<u64> = (0..self.messages).filter(|&nth| !self.is_bad(nth)).collect();
        let (sum, expected) = self.shape.check(&good);
        assert_eq!(eye.number("count(*)", self.table()).await, good.len() as u64, "rows");
        assert_eq!(eye.number(&sum, self.table()).await, expected, "rows with other values");
    }

    /// Panics where a column of a row isn't what its message says.
    async fn check_every_row(&self, url: &str) {
        let columns: Vec<&str> = ORDER.iter().map(|(_, expression)| *expression).collect();
        let found = rows(url, &format!("SELECT {} FROM orders ORDER BY order_id", columns.join(", "))).await;
        assert_eq!(found.len() as u64, self.messages, "rows");
        for (nth, row) in (0..).zip(&found) {
            let body: serde_json::Value = serde_json::from_slice(&self.message(nth).body).expect("JSON");
            for ((field, _), cell) in ORDER.iter().zip(row) {
                let sent = body[*field].as_str().map_or_else(|| body[*field].to_string(), str::to_owned);
                assert_eq!(cell.as_ref(), Some(&sent), "{field} of message {nth}");
            }
        }
    }

    fn table(&self) -> &'static str {
        self.shape.table()
    }

    fn key(&self) -> &'static str {
        self.shape.key()
    }
}

async fn wait_for(running: &mut Running, pause: Duration, mut done: impl AsyncFnMut() -> bool) {
    let begin = Instant::now();
    while !done().await {
        running.must_run();
        assert!(begin.elapsed() < HANGS, "it doesn't get done; its log is {}", running.log.display());
        tokio::time::sleep(pause).await;
    }
}

pub async fn drain(stage: &mut Stage, backlog: &Backlog, subject: &Subject) -> Measured {
    let (database, job) = backlog.prepare(stage).await;
    if let Subject::Peer(peer) = subject
        && let Some(difference) = peer.table()
    {
        database.execute(difference).await;
    }
    stage.broker.publish(&job.queue, (0..backlog.messages).map(|nth| backlog.message(nth))).await;
    stage.settle(backlog.server).await;
    let mut eye = Eye::open(&database.url).await;

    let begin = Instant::now();
    let mut running = subject.start(&job);
    backlog.row(&mut eye, &mut running, 0).await;
    let first = Instant::now();
    let servers = stage.servers(backlog.server);
    let (own_before, servers_before) = (usage::cpu(&tree(running.id())), usage::cpu(&servers));
    backlog.rows(&mut eye, &mut running).await;
    let seconds = first.elapsed().as_secs_f64();
    let own = tree(running.id());
    let per_message = 1e6 / backlog.messages as f64;
    let measured = Measured {
        rate: backlog.messages as f64 / seconds,
        first_row_ms: (first - begin).as_secs_f64() * 1e3,
        cpu_us: (usage::cpu(&own) - own_before) * per_message,
        servers_us: (usage::cpu(&servers) - servers_before) * per_message,
        peak_mib: usage::peak_mib(&own),
    };
    drop(running);
    backlog.check(&mut eye).await;
    if backlog.every_row {
        backlog.check_every_row(&database.url).await;
    }
    stage.broker.delete(&job.queue).await;
    measured
}

/// The same database, further away.
fn moved(database: &str, round_trip: Duration) -> String {
    let mut url = url::Url::parse(database).expect("a URL");
    let port = away(url.port().expect("a server's port"), round_trip);
    url.set_port(Some(port)).expect("a URL with a port");
    url.into()
}
