//! One run over a backlog: a full queue, an empty table, one program.

use std::time::{Duration, Instant};

use crate::distance::away;
use crate::shapes::{FIRST, Shape, uuid};
use crate::stage::{Eye, Stage};
use crate::subject::{Job, Subject};
use crate::support::broker::{Kind, Message};
use crate::support::database::Server;
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

/// How many of the last messages are looked at: their rows are counted by their keys.
const TAIL: u64 = 200;

pub async fn drain(stage: &mut Stage, backlog: &Backlog, subject: &Subject) -> Measured {
    let queue = stage.queue(backlog.kind).await;
    let messages = backlog.messages;
    let is_bad = |nth: u64| backlog.bad_every > 0 && nth % backlog.bad_every == backlog.bad_every / 2;
    let message = |nth| if is_bad(nth) { Message::json(&uuid(nth), "no JSON") } else { backlog.shape.message(nth) };
    stage.broker.publish(&queue, (0..messages).map(message)).await;
    let good: Vec<u64> = (0..messages).filter(|&nth| !is_bad(nth)).collect();
    let rows = good.len() as u64;
    let database = stage.database(backlog.server).await;
    database.execute(&backlog.shape.ddl(backlog.server)).await;
    stage.settle(backlog.server).await;
    let mut eye = Eye::open(&database.url).await;
    let job = Job {
        amqp: stage.rabbit.url(),
        database: match backlog.round_trip {
            Some(round_trip) => moved(&database.url, round_trip),
            None => database.url.clone(),
        },
        queue: queue.clone(),
        shape: backlog.shape,
        consumers: backlog.consumers,
        config: backlog.config.clone(),
        folder: stage.folder().clone(),
    };

    let begin = Instant::now();
    let mut running = subject.start(&job);
    let table = backlog.shape.table();
    let wait = |since: Instant| {
        assert!(since.elapsed() < HANGS, "{} doesn't get done", subject.name());
    };
    while eye.number("max(1)", &format!("(SELECT 1 FROM {table} LIMIT 1) AS one")).await == 0 {
        running.must_run();
        wait(begin);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let first = Instant::now();
    let servers = stage.servers(backlog.server);
    let (own_before, servers_before) = (usage::cpu(&tree(running.id())), usage::cpu(&servers));
    let tail = good.iter().filter(|&&nth| nth + TAIL >= messages).count() as u64;
    let last = format!("{table} WHERE {} >= {}", backlog.shape.key(), FIRST + messages - TAIL);
    while eye.number("count(*)", &last).await < tail || eye.number("count(*)", table).await < rows {
        running.must_run();
        wait(begin);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let seconds = first.elapsed().as_secs_f64();
    let own = tree(running.id());
    let per_message = 1e6 / messages as f64;
    let measured = Measured {
        rate: messages as f64 / seconds,
        first_row_ms: (first - begin).as_secs_f64() * 1e3,
        cpu_us: (usage::cpu(&own) - own_before) * per_message,
        servers_us: (usage::cpu(&servers) - servers_before) * per_message,
        peak_mib: usage::peak_mib(&own),
    };
    drop(running);
    let (sum, expected) = backlog.shape.check(&good);
    assert_eq!(eye.number(&sum, table).await, expected, "{}: rows with other values", subject.name());
    stage.broker.delete(&queue).await;
    measured
}

/// The same database, further away.
fn moved(database: &str, round_trip: Duration) -> String {
    let mut url = url::Url::parse(database).expect("a URL");
    let port = away(url.port().expect("a server's port"), round_trip);
    url.set_port(Some(port)).expect("a URL with a port");
    url.into()
}
