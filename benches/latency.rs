//! From publishing to the row: messages come at a steady rate, and the table is looked at about once a
//! millisecond. What a look is late is the same for all programs.

use std::time::{Duration, Instant};

use crate::shapes::{FIRST, Shape};
use crate::stage::{Eye, Stage};
use crate::subject::{Job, Subject};
use crate::support::broker::Kind;
use crate::support::database::Server;

/// Percentiles in milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Latency {
    pub p50: f64,
    pub p99: f64,
    pub p999: f64,
}

/// Before it nothing counts: programs connect and prepare their statements.
const WARM: Duration = Duration::from_secs(1);
const LOOK_EVERY: Duration = Duration::from_millis(1);
const HANGS: Duration = Duration::from_secs(120);

pub async fn latency(stage: &mut Stage, server: Server, subject: &Subject, rate: u32, seconds: u32) -> Latency {
    let queue = stage.queue(Kind::Quorum).await;
    let database = stage.database(server).await;
    database.execute(&Shape::Order.ddl(server)).await;
    stage.settle(server).await;
    let job = Job {
        amqp: stage.rabbit.url(),
        database: database.url.clone(),
        queue: queue.clone(),
        shape: Shape::Order,
        consumers: 1,
        config: String::new(),
        folder: stage.folder().clone(),
    };
    let mut running = subject.start(&job);
    let warm = u64::from(rate) * WARM.as_secs();
    let messages = warm + u64::from(rate) * u64::from(seconds);

    let mut eye = Eye::open(&database.url).await;
    let looking = tokio::spawn(async move {
        let mut seen = Vec::with_capacity(usize::try_from(messages).expect("a number of messages"));
        let begin = Instant::now();
        while (seen.len() as u64) < messages {
            assert!(begin.elapsed() < HANGS, "messages don't arrive");
            let next = FIRST + seen.len() as u64;
            // One consumer writes in the order of the queue.
            let table = format!("orders WHERE order_id >= {next}");
            let arrived = eye.number("count(*)", &table).await;
            let now = Instant::now();
            seen.extend((0..arrived).map(|_| now));
            tokio::time::sleep(LOOK_EVERY).await;
        }
        seen
    });
    let begin = Instant::now();
    let mut published = Vec::with_capacity(usize::try_from(messages).expect("a number of messages"));
    while (published.len() as u64) < messages {
        running.must_run();
        let due = (begin.elapsed().as_secs_f64() * f64::from(rate)) as u64;
        for nth in published.len() as u64..due.min(messages) {
            published.push(Instant::now());
            stage.broker.send(&queue, Shape::Order.message(nth)).await;
        }
        tokio::time::sleep(Duration::from_micros(500)).await;
    }
    let seen = looking.await.expect("all have arrived");
    drop(running);
    stage.broker.delete(&queue).await;
    let skipped = usize::try_from(warm).expect("a number of messages");
    let mut waits: Vec<f64> =
        published.iter().zip(&seen).skip(skipped).map(|(from, to)| (*to - *from).as_secs_f64() * 1e3).collect();
    waits.sort_by(f64::total_cmp);
    let at = |share: f64| waits[((waits.len() - 1) as f64 * share) as usize];
    Latency { p50: at(0.5), p99: at(0.99), p999: at(0.999) }
}
