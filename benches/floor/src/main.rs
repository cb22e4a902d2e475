//! One queue into one table, written by hand: consume, parse into a struct, one INSERT a batch,
//! commit, ack. Repeats are recognised by the table's key, as in any consumer that acks after the
//! commit. It has no retry, no dead letters, no checks and no way to stop: what it costs is what a
//! worker can't cost less than.
//!
//! ```text
//! floor AMQP_URL DATABASE_URL QUEUE SHAPE MESSAGES CONSUMERS
//! ```
//!
//! Ends when so many messages are acked; 0: never.

mod mysql;
mod postgres;
mod shapes;
mod sqlite;

use std::error::Error;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::StreamExt;
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, ConnectionProperties};

use mysql::Mysql;
use postgres::Postgres;
use shapes::{Large, Order, Row, Shape, Small};
use sqlite::Sqlite;

// rabbit-sink's allocator, so that the two differ in what they do alone.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

pub type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Rows of a transaction at most, and messages that may be on their way: rabbit-sink's defaults.
const BATCH: usize = 1_000;
const PREFETCH: u16 = 2_000;

static ACKED: AtomicU64 = AtomicU64::new(0);

/// What writes a batch in one transaction.
pub trait Sink: Sized + Send + 'static {
    type Arguments: Send;
    fn connect(url: &str) -> impl Future<Output = Outcome<Self>> + Send;
    /// The statements of a batch, with what is bound.
    fn statements<'a, R: Row<'a>>(rows: &[R]) -> Outcome<Vec<(String, Self::Arguments)>>;
    fn write(&mut self, statements: Vec<(String, Self::Arguments)>) -> impl Future<Output = Outcome<()>> + Send;
}

struct Job {
    channel: Channel,
    database: String,
    queue: String,
    messages: u64,
}

fn parsed<D: Sink, S: Shape>(deliveries: &[Delivery]) -> Outcome<Vec<(String, D::Arguments)>> {
    let rows: Vec<S::Row<'_>> =
        deliveries.iter().map(|delivery| serde_json::from_slice(&delivery.data)).collect::<Result<_, _>>()?;
    D::statements(&rows)
}

async fn consume<D: Sink, S: Shape>(job: Job) -> Outcome<()> {
    let mut sink = D::connect(&job.database).await?;
    job.channel.basic_qos(PREFETCH, BasicQosOptions::default()).await?;
    let options = BasicConsumeOptions::default();
    let consumer = job.channel.basic_consume(job.queue.into(), "".into(), options, FieldTable::default()).await?;
    let mut batches = consumer.ready_chunks(BATCH);
    while let Some(batch) = batches.next().await {
        let deliveries = batch.into_iter().collect::<Result<Vec<_>, _>>()?;
        sink.write(parsed::<D, S>(&deliveries)?).await?;
        if let Some(last) = deliveries.last() {
            job.channel.basic_ack(last.delivery_tag, BasicAckOptions { multiple: true }).await?;
        }
        let acked = ACKED.fetch_add(deliveries.len() as u64, Ordering::Relaxed) + deliveries.len() as u64;
        if job.messages > 0 && acked >= job.messages {
            break;
        }
    }
    Ok(())
}

async fn shaped<D: Sink>(shape: &str, job: Job) -> Outcome<()> {
    match shape {
        "order" => consume::<D, Order<'static>>(job).await,
        "small" => consume::<D, Small<'static>>(job).await,
        "large" => consume::<D, Large<'static>>(job).await,
        other => Err(format!("no shape {other}").into()),
    }
}

#[tokio::main]
async fn main() -> Outcome<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [amqp, database, queue, shape, messages, consumers] = words.as_slice() else {
        return Err("floor AMQP_URL DATABASE_URL QUEUE SHAPE MESSAGES CONSUMERS".into());
    };
    let connection = Connection::connect(amqp, ConnectionProperties::default()).await?;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..consumers.parse()? {
        let channel = connection.create_channel().await?;
        let job = Job { channel, database: database.clone(), queue: queue.clone(), messages: messages.parse()? };
        let shape = shape.clone();
        match database.split(':').next() {
            Some("postgres") => tasks.spawn(async move { shaped::<Postgres>(&shape, job).await }),
            Some("mysql") => tasks.spawn(async move { shaped::<Mysql>(&shape, job).await }),
            _ => tasks.spawn(async move { shaped::<Sqlite>(&shape, job).await }),
        };
    }
    // The first one that sees the last message acked speaks for all.
    if let Some(ended) = tasks.join_next().await {
        ended??;
    }
    // All is acked; the other consumers' channels may be on their way out, which the client takes for an error.
    connection.close(200, "done".into()).await.ok();
    Ok(())
}
