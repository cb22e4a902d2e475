//! What ./deploy/quickstart.sh needs beside the worker: a table, sample orders in a queue, a look
//! at the rows.
//!
//! ```text
//! quickstart wait    AMQP_URL                     until the broker answers
//! quickstart create  SQLITE_URL SQL_FILE          makes the table
//! quickstart publish AMQP_URL QUEUE GOOD REPEATS  sample orders; prints what was published as JSON
//! quickstart show    SQLITE_URL                   the first rows, and on the last line how many there are
//! quickstart delete  AMQP_URL QUEUE…              deletes the queues
//! ```

use std::collections::VecDeque;
use std::error::Error;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection as _, Row, SqliteConnection};

type Done = Result<(), Box<dyn Error>>;

/// A broker that was just started may take a while on a small machine.
const BROKER_STARTS: Duration = Duration::from_secs(180);

/// Confirms outstanding at most.
const WINDOW: usize = 1_000;

#[tokio::main]
async fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["wait", broker] => wait(broker).await,
        ["create", database, file] => create(database, file).await,
        ["publish", broker, queue, good, repeats] => publish(broker, queue, good, repeats).await,
        ["show", database] => show(database).await,
        ["delete", broker, queues @ ..] => delete(broker, queues).await,
        _ => Err("usage: quickstart wait|create|publish|show|delete …; see the top of its source".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("quickstart: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn connect(broker: &str) -> lapin::Result<Connection> {
    Connection::connect(broker, ConnectionProperties::default().with_connection_name("rabbit-sink quickstart".into()))
        .await
}

async fn wait(broker: &str) -> Done {
    let end = Instant::now() + BROKER_STARTS;
    loop {
        match tokio::time::timeout(Duration::from_secs(10), connect(broker)).await {
            Ok(Ok(connection)) => return Ok(connection.close(200, "bye".into()).await?),
            Ok(Err(error)) if Instant::now() >= end => return Err(error.into()),
            Err(silent) if Instant::now() >= end => return Err(silent.into()),
            _ => tokio::time::sleep(Duration::from_millis(250)).await,
        }
    }
}

async fn create(database: &str, file: &str) -> Done {
    let mut connection = SqliteConnection::connect(database).await?;
    sqlx::raw_sql(AssertSqlSafe(std::fs::read_to_string(file)?)).execute(&mut connection).await?;
    Ok(connection.close().await?)
}

/// One sample order.
fn order(number: usize) -> Value {
    const CUSTOMERS: [&str; 5] = ["Ada", "Grace", "Zoë", "Edsger", "李明"];
    const ITEMS: [&str; 4] = ["lettuce", "carrots", "radishes", "clover"];
    json!({
        "order_id": format!("o-{number:05}"),
        "customer": { "name": CUSTOMERS[number % CUSTOMERS.len()] },
        "item": ITEMS[number % ITEMS.len()],
        "quantity": 1 + number % 7,
        "price_cents": 199 + number % 1_000,
    })
}

/// Messages that can't become rows: ID and body.
fn bad_orders() -> Vec<(Option<&'static str>, Vec<u8>)> {
    let changed = |field: &str, value: Value| {
        let mut order = order(99_999);
        order[field] = value;
        order.to_string().into_bytes()
    };
    vec![
        (Some("bad-1"), b"order o-1, two lettuces please".to_vec()),
        (Some("bad-2"), b"{\"order_id\":\"o-2\",\"customer\":{".to_vec()),
        (Some("bad-3"), changed("customer", json!({}))),
        (Some("bad-4"), changed("customer", Value::Null)),
        (Some("bad-5"), changed("quantity", json!(0))),
        (Some("bad-6"), changed("quantity", json!("a few"))),
        (Some("bad-7"), changed("price_cents", json!(19.95))),
        (Some("bad-8"), changed("item", Value::Null)),
        (None, changed("order_id", json!("o-nameless"))),
        // The ID of a good order, with another body.
        (Some("m-0"), changed("order_id", json!("o-other"))),
    ]
}

async fn publish(broker: &str, queue: &str, good: &str, repeats: &str) -> Done {
    let (good, repeats): (usize, usize) = (good.parse()?, repeats.parse()?);
    let connection = connect(broker).await?;
    declare_new(&connection, queue).await?;
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let bad = bad_orders();
    let mut messages: Vec<(Option<String>, Vec<u8>)> =
        (0..good).map(|n| (Some(format!("m-{n}")), order(n).to_string().into_bytes())).collect();
    // Among the others; the conflicting ID after the order whose ID it takes.
    for (at, (id, body)) in bad.iter().enumerate() {
        let place = (at + 1) * messages.len() / (bad.len() + 1);
        messages.insert(place.max(1), (id.map(str::to_owned), body.clone()));
    }
    for n in 0..repeats {
        let number = n * good / repeats;
        messages.push((Some(format!("m-{number}")), order(number).to_string().into_bytes()));
    }
    let published = messages.len();
    send(&channel, queue, messages).await?;
    connection.close(200, "bye".into()).await?;
    println!("{}", json!({ "published": published, "good": good, "duplicates": repeats, "bad": bad.len() }));
    Ok(())
}

/// Declares the queue; one that is there already is somebody's, or left over: not to be touched.
async fn declare_new(connection: &Connection, queue: &str) -> Done {
    let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::durable() };
    // A queue that is missing closes the channel.
    let look = connection.create_channel().await?;
    if look.queue_declare(queue.into(), passive, FieldTable::default()).await.is_ok() {
        return Err(format!("the broker has a queue {queue} already; if an earlier run left it, delete it").into());
    }
    let channel = connection.create_channel().await?;
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    channel.queue_declare(queue.into(), QueueDeclareOptions::durable(), arguments).await?;
    Ok(())
}

/// Publishes, and returns once the broker has confirmed every message.
async fn send(channel: &Channel, queue: &str, messages: Vec<(Option<String>, Vec<u8>)>) -> Done {
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let mut confirms = VecDeque::new();
    let mut messages = messages.into_iter();
    loop {
        let message = messages.next();
        if confirms.len() == WINDOW || message.is_none() {
            let Some(confirm) = confirms.pop_front() else { return Ok(()) };
            match Box::pin(confirm).await? {
                Confirmation::Ack(None) => {}
                other => return Err(format!("the broker didn't take a message: {other:?}").into()),
            }
        }
        if let Some((id, body)) = message {
            let mut properties =
                BasicProperties::default().with_content_type("application/json".into()).with_delivery_mode(2);
            if let Some(id) = id {
                properties = properties.with_message_id(id.into());
            }
            confirms.push_back(channel.basic_publish("".into(), queue.into(), options, &body, properties).await?);
        }
    }
}

async fn show(database: &str) -> Done {
    let mut connection = SqliteConnection::connect(database).await?;
    let select = "SELECT order_id, customer, item, CAST(quantity AS TEXT), CAST(price_cents AS TEXT), channel \
                  FROM orders ORDER BY order_id LIMIT 5";
    let mut table = comfy_table::Table::new();
    table.set_header(["order_id", "customer", "item", "quantity", "price_cents", "channel"]);
    for row in sqlx::query(select).fetch_all(&mut connection).await? {
        let cells: Result<Vec<String>, sqlx::Error> = (0..row.len()).map(|at| row.try_get(at)).collect();
        table.add_row(cells?);
    }
    let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM orders").fetch_one(&mut connection).await?;
    println!("{table}\n{rows}");
    Ok(connection.close().await?)
}

async fn delete(broker: &str, queues: &[&str]) -> Done {
    let connection = connect(broker).await?;
    let channel = connection.create_channel().await?;
    for &queue in queues {
        channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await?;
    }
    Ok(connection.close(200, "bye".into()).await?)
}
