//! Looks all the while whether something was acked before it was committed.
//!
//! The reads are in an order in which a worker that acks after its commit can never look guilty:
//!
//! 1. `confirmed`: publishings that the broker had by now. Each of them is in the queue or acked.
//! 2. `depth`: messages in the queue, ready and unacked, at one moment after 1. At least
//!    `confirmed - depth` had been acked by then.
//! 3. Rows, dead letters and what was sent twice, all after 2. Whatever had been acked is among
//!    them: its row is there, or it repeats an ID, or its dead letter is there.
//!
//! So `confirmed - depth` above the sum of 3 are acks of messages that are nowhere. What a lagging
//! read adds to 3 can hide an early ack for a moment, never invent one.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::books::Books;
use crate::support::broker::{Broker, Kind, Message};
use crate::support::database::{Server, select_as_text, try_rows};
use crate::support::process::new_folder;
use crate::support::servers::Rabbitmq;
use crate::support::wait::{random, unique_name};

/// Between two samples.
const EVERY: Duration = Duration::from_millis(250);
/// A database that doesn't answer within this can't be read now.
const READ_WITHIN: Duration = Duration::from_secs(5);
/// Fewer messages than this in the queue are no backlog.
const NO_BACKLOG: u64 = 200;

/// Runs inside the broker's node and writes the depths of both queues into a file, ten times a
/// second, as long as a second file exists: `rabbitmqctl` would cost a second of CPU each time.
/// `messages` are ready and unacked ones, at one moment. While a node starts, queues are missing
/// that it hasn't recovered yet, and a quorum queue's leader may lack what is in its log.
const WATCH: &str = r#"
File = "FILE", Go = "FILE.go",
Total = fun(Name) ->
    case rabbit_amqqueue:lookup(rabbit_misc:r(<<"/">>, queue, Name)) of
        {ok, Q} ->
            case amqqueue:get_type(Q) of
                rabbit_quorum_queue ->
                    {ok, N, _} = ra:consistent_query(amqqueue:get_pid(Q), fun rabbit_fifo:query_messages_total/1, 5000), N;
                _ -> [{messages, N}] = rabbit_amqqueue:info(Q, [messages]), N
            end;
        _ -> missing
    end
end,
Loop = fun(Self, Number) ->
    case filelib:is_file(Go) of
        true ->
            Next = try
                true = rabbit:is_running(),
                Main = Total(<<"QUEUE">>), Dead = Total(<<"QUEUE.dead">>),
                ok = file:write_file(File ++ ".new", io_lib:format("~w ~w ~w", [Number, Main, Dead])),
                ok = file:rename(File ++ ".new", File),
                Number + 1
            catch _:_ -> Number
            end,
            timer:sleep(100),
            Self(Self, Next);
        false -> ok
    end
end,
spawn(fun() -> Loop(Loop, 1) end), rabbit_misc:version().
"#;

/// Messages in the two queues at one moment, ready and unacked ones together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Depths {
    pub queue: u64,
    pub dead: u64,
}

/// Reads the depths of one scene's queues.
pub struct Gauge {
    ctl: String,
    queue: String,
    folder: PathBuf,
    file: Option<PathBuf>,
    version: String,
}

impl Gauge {
    pub fn new(ctl: &str, queue: &str, folder: PathBuf) -> Gauge {
        Gauge { ctl: ctl.to_owned(), queue: queue.to_owned(), folder, file: None, version: String::new() }
    }

    /// Both depths as of a moment after this call; `None` while the broker or the queue is away.
    pub async fn read(&mut self) -> Option<Depths> {
        if self.file.is_none() {
            self.watch().await?;
        }
        let file = self.file.clone()?;
        let first = number(&file).unwrap_or(0);
        let end = Instant::now() + READ_WITHIN;
        loop {
            // One count may have been under way when we were called; the one after it was not.
            if let Some((_, depths)) = parse(&file).filter(|(at, _)| *at >= first + 2) {
                return depths;
            }
            if Instant::now() >= end {
                // The node was restarted, perhaps: begin anew.
                self.end();
                return None;
            }
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    }

    async fn watch(&mut self) -> Option<()> {
        let file = self.folder.join(format!("depths-{:08x}", random() & 0xffff_ffff));
        std::fs::write(file.with_extension("go"), "").ok()?;
        let code = WATCH.replace("FILE", &file.display().to_string()).replace("QUEUE", &self.queue);
        let mut words = self.ctl.split_whitespace().map(str::to_owned);
        let mut command = tokio::process::Command::new(words.next()?);
        command.args(words).args(["eval", &code]).stdin(std::process::Stdio::null()).kill_on_drop(true);
        let said = tokio::time::timeout(Duration::from_secs(20), command.output()).await.ok()?.ok()?;
        if !said.status.success() {
            drop(std::fs::remove_file(file.with_extension("go")));
            return None;
        }
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        self.version = said.trim().trim_matches('"').to_owned();
        self.file = Some(file);
        Some(())
    }

    fn end(&mut self) {
        if let Some(file) = self.file.take() {
            drop(std::fs::remove_file(file.with_extension("go")));
        }
    }
}

impl Drop for Gauge {
    fn drop(&mut self) {
        self.end();
    }
}

fn number(file: &std::path::Path) -> Option<u64> {
    std::fs::read_to_string(file).ok()?.split(' ').next()?.parse().ok()
}

/// The number, and the depths unless the queue is missing. A missing dead-letter queue is empty.
fn parse(file: &std::path::Path) -> Option<(u64, Option<Depths>)> {
    let text = std::fs::read_to_string(file).ok()?;
    let mut words = text.split_whitespace();
    let (at, queue, dead) = (words.next()?.parse().ok()?, words.next()?, words.next()?);
    Some((at, queue.parse().ok().map(|queue| Depths { queue, dead: dead.parse().unwrap_or(0) })))
}

/// Distinct IDs in the table; `None` while it can't be read.
pub async fn written(url: &str) -> Option<u64> {
    let sql = select_as_text(Server::of(url), "orders", &["count(DISTINCT id)"]);
    let counted = tokio::time::timeout(READ_WITHIN, try_rows(url, &sql)).await.ok()?.ok()?;
    counted[0][0].as_ref()?.parse().ok()
}

/// What the samples have shown.
#[derive(Clone, Debug, Default)]
pub struct Found {
    pub samples: u64,
    /// In the queue at the last sample, ready and unacked.
    pub depth: u64,
    /// Of the broker.
    pub version: String,
    /// The most at any moment.
    pub acked_early: u64,
    /// The first moment after `since` at which there was no backlog.
    pub caught_up: Option<Instant>,
    since: Option<Instant>,
}

/// Samples until it is dropped.
pub struct Sampler {
    found: Arc<Mutex<Found>>,
    runs: watch::Sender<bool>,
    handle: JoinHandle<()>,
}

impl Sampler {
    pub fn start(gauge: Gauge, books: Books, url: &str) -> Sampler {
        let found = Arc::new(Mutex::new(Found::default()));
        let runs = watch::Sender::new(true);
        let handle = tokio::spawn(sample_on(gauge, books, url.to_owned(), Arc::clone(&found), runs.subscribe()));
        Sampler { found, runs, handle }
    }

    pub fn found(&self) -> Found {
        self.found.lock().expect("no panic under this lock").clone()
    }

    /// From now on it is noted when the backlog is gone.
    pub fn mended(&self) {
        let mut found = self.found.lock().expect("no panic under this lock");
        (found.since, found.caught_up) = (Some(Instant::now()), None);
    }

    /// No samples until [`Sampler::resume`]: while somebody deletes rows, letters or queues.
    pub fn pause(&self) {
        self.runs.send_replace(false);
    }

    pub fn resume(&self) {
        self.runs.send_replace(true);
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        self.handle.abort();
    }
}

async fn sample_on(
    mut gauge: Gauge,
    books: Books,
    url: String,
    found: Arc<Mutex<Found>>,
    mut runs: watch::Receiver<bool>,
) {
    while runs.wait_for(|&runs| runs).await.is_ok() {
        if let Some((early, depth)) = sample(&mut gauge, &books, &url).await
            && *runs.borrow()
        {
            let mut found = found.lock().expect("no panic under this lock");
            found.samples += 1;
            found.depth = depth;
            found.version.clone_from(&gauge.version);
            found.acked_early = found.acked_early.max(early);
            if found.since.is_some() && depth < NO_BACKLOG {
                found.caught_up.get_or_insert_with(Instant::now);
            }
        }
        tokio::time::sleep(EVERY).await;
    }
}

/// Acks of messages that are nowhere, and the queue's depth.
async fn sample(gauge: &mut Gauge, books: &Books, url: &str) -> Option<(u64, u64)> {
    let confirmed = books.tally().confirmed;
    let depths = gauge.read().await?;
    let written = written(url).await?;
    let after = books.tally();
    let there = written + depths.dead + after.repeats + after.excused;
    Some((confirmed.saturating_sub(depths.queue).saturating_sub(there), depths.queue))
}

/// What is in a queue doesn't become less because its node starts anew: a depth too low would look
/// like an early ack.
#[tokio::test(flavor = "multi_thread")]
async fn slow_a_restart_never_lowers_a_depth() {
    const MESSAGES: usize = 3_000;
    let mut node = Rabbitmq::start().await;
    let queue = unique_name("depths");
    {
        let broker = Broker::of(&node).await;
        for name in [queue.clone(), format!("{queue}.dead")] {
            broker.declare(&name, Kind::Quorum).await;
            broker.publish(&name, (0..MESSAGES).map(|n| Message::json(&n.to_string(), "{}"))).await;
        }
    }
    let mut gauge = Gauge::new(&node.ctl_prefix(), &queue, new_folder("depths"));
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let reading = tokio::spawn(async move {
        let mut read = Vec::new();
        while !stopped.load(Ordering::Relaxed) {
            read.extend(gauge.read().await);
        }
        read
    });
    for _ in 0..3 {
        node.stop().await;
        node.restart().await;
        tokio::time::sleep(Duration::from_secs(3)).await;
    }
    stop.store(true, Ordering::Relaxed);
    let read = reading.await.expect("no panic");
    let all = Depths { queue: MESSAGES as u64, dead: MESSAGES as u64 };
    let wrong: Vec<&Depths> = read.iter().filter(|depths| **depths != all).collect();
    assert!(wrong.is_empty() && !read.is_empty(), "{} of {}: {wrong:?}", wrong.len(), read.len());
}
