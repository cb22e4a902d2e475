//! What the database does to the worker: it dies, hangs, refuses, loses tables, rows and answers.
//! Each test ends with the accountant: nothing lost, nothing twice.

mod locks;
mod neighbours;
mod outage;
mod repeats;
mod rows;
mod secrets;
mod setup;
mod storm;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::main_job::orders::{self, Cause, Orders, PIPELINE};
use crate::support::broker::{Broker, Kind, Message, Taken};
use crate::support::database::{Server, TestDatabase};
use crate::support::process::free_port;
use crate::support::servers::shared_amqp_url;
use crate::support::wait::unique_name;
use crate::support::worker::{Exit, Worker};

/// Short timeouts and waits, so that a fault is met often within a short test.
const TIMEOUTS: &str = "connect_timeout = \"5s\"\nstatement_timeout = \"5s\"\nlock_timeout = \"500ms\"\n";

/// A queue, a database with the table `orders`, and the pipeline between them. Tests change the
/// fields before they ask for the config.
pub struct Site {
    pub broker: Broker,
    pub database: TestDatabase,
    pub queue: String,
    pub amqp: String,
    /// The worker's way into the database, where it isn't the test's own.
    pub url: String,
    /// Keys of `[database]`.
    pub database_keys: String,
    /// Keys of `[pipelines.orders]`.
    pub keys: String,
    /// Keys of `[pipelines.orders.retry]`.
    pub retry: String,
    /// Further sections.
    pub tables: String,
    /// Of the admin listener.
    pub port: u16,
}

impl Site {
    /// On the shared servers.
    pub async fn new(server: Server) -> Site {
        Site::on(TestDatabase::fresh(server).await).await
    }

    /// With a database of the test's own server.
    pub async fn on(database: TestDatabase) -> Site {
        let broker = Broker::shared().await;
        database.execute(orders::table(database.server)).await;
        let queue = unique_name("orders");
        broker.declare(&queue, Kind::Quorum).await;
        Site {
            broker,
            queue,
            amqp: shared_amqp_url(),
            url: database.url.clone(),
            database,
            database_keys: TIMEOUTS.to_owned(),
            keys: String::new(),
            retry: String::new(),
            tables: String::new(),
            port: free_port(),
        }
    }

    pub fn server(&self) -> Server {
        self.database.server
    }

    pub fn config(&self) -> String {
        format!(
            "[rabbitmq]\nurl = \"{}\"\n[database]\nurl = \"{}\"\n{}\n[admin]\nlisten = \"127.0.0.1:{}\"\n\
             [pipelines.orders]\nqueue = \"{}\"\ntable = \"orders\"\n{}\n{PIPELINE}\n\
             [pipelines.orders.retry]\ninitial = \"50ms\"\nmax = \"500ms\"\n{}\n{}\n",
            self.amqp, self.url, self.database_keys, self.port, self.queue, self.keys, self.retry, self.tables
        )
    }

    /// A worker that has subscribed.
    pub async fn running(&self) -> Worker {
        let mut worker = Worker::run(&self.config());
        self.wait_for(&mut worker, "it runs", |status| status["state"] == "running").await;
        worker
    }

    pub async fn publish(&self, orders: &Orders) {
        self.broker.publish(&self.queue, orders.messages.clone()).await;
    }

    /// What `/status` says of the pipeline; null while nothing answers.
    pub async fn status(&self) -> Value {
        let (_, body) = get(self.port, "/status").await;
        serde_json::from_str::<Value>(&body).map_or(Value::Null, |report| report["pipelines"][0].clone())
    }

    pub async fn wait_for(&self, worker: &mut Worker, what: &str, mut check: impl FnMut(&Value) -> bool) {
        let mut last = Value::Null;
        worker
            .eventually(what, async || {
                last = self.status().await;
                check(&last)
            })
            .await;
    }

    /// Waits for a state and returns its reason.
    pub async fn wait_for_state(&self, worker: &mut Worker, state: &str) -> String {
        let mut reason = String::new();
        self.wait_for(worker, &format!("it says {state}"), |status| {
            reason = status["reason"].as_str().unwrap_or_default().to_owned();
            status["state"] == state && !reason.is_empty()
        })
        .await;
        reason
    }

    /// Waits until this many messages are settled, in all.
    pub async fn wait_settled(&self, worker: &mut Worker, count: usize) {
        self.wait_for(worker, &format!("{count} are settled"), |status| status["settled"] == count).await;
    }

    /// The sum of a metric's lines that have this label in them.
    pub async fn metric(&self, name: &str, label: &str) -> u64 {
        let (_, body) = get(self.port, "/metrics").await;
        let lines = body.lines().filter(|line| line.starts_with(name) && line.contains(label));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>() as u64
    }

    /// Waits until units have been tried again this often for errors of this class.
    pub async fn wait_retries(&self, worker: &mut Worker, class: &str, count: u64) {
        let what = format!("{count} retries for {class}");
        worker.eventually(&what, async || self.metric("rabbit_sink_retries_total", class).await >= count).await;
    }

    /// `rabbit-sink status|resume …` against the running worker.
    pub async fn command(&self, arguments: &[&str]) -> Exit {
        Worker::command(&self.config(), arguments).wait().await
    }

    /// The dead letters, taken out of their queue.
    pub async fn letters(&self) -> Vec<Taken> {
        self.broker.drain(&format!("{}.dead", self.queue)).await
    }

    /// Stops the worker, which has settled everything, and audits.
    pub async fn finish(&self, worker: Worker, orders: &Orders) -> Exit {
        let exit = worker.stop().await.expect(0);
        self.audit(orders).await;
        exit
    }

    /// Drains with a worker of its own, and audits.
    pub async fn drain(&self, orders: &Orders) -> Exit {
        let exit = Worker::until_empty(&self.config()).await.expect(0);
        self.audit(orders).await;
        exit
    }

    /// No worker runs any more: the queue is empty, and everything is where it belongs.
    pub async fn audit(&self, orders: &Orders) -> Vec<Taken> {
        // Without a consumer, what wasn't acked is ready again.
        assert_eq!(self.broker.ready(&self.queue).await, 0, "ready messages");
        let letters = self.letters().await;
        orders.audit(&self.database, &letters).await;
        self.broker.delete(&self.queue).await;
        self.broker.delete(&format!("{}.dead", self.queue)).await;
        letters
    }
}

/// One order more, with its body changed, which is dead-lettered for this cause.
pub fn add_bad(orders: &mut Orders, id: &str, body: String, cause: Cause) {
    orders.accountant.expect_dead(id);
    orders.causes.insert(id.to_owned(), cause);
    orders.messages.push(Message::json(id, body));
}

/// A good order's body with another customer.
pub fn with_customer(n: usize, customer: &str) -> String {
    orders::good(n).0.replace(&format!("Zoë 🦊 {n}"), customer)
}

pub fn cause(class: &'static str, code: &'static str) -> Cause {
    Cause { class, code, column: None }
}

/// Status and body of a GET; 0 where nobody listens.
pub async fn get(port: u16, path: &str) -> (u16, String) {
    let Ok(mut stream) = tokio::net::TcpStream::connect(("127.0.0.1", port)).await else { return (0, String::new()) };
    let request = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n");
    let mut answer = String::new();
    if stream.write_all(request.as_bytes()).await.is_err() || stream.read_to_string(&mut answer).await.is_err() {
        return (0, String::new());
    }
    let code = answer.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
    (code, answer.split_once("\r\n\r\n").map_or(String::new(), |(_, body)| body.to_owned()))
}

/// The port of a server's URL.
pub fn port_of(url: &str) -> u16 {
    url::Url::parse(url).unwrap().port().unwrap()
}

/// The same URL with another login.
pub fn with_login(url: &str, user: &str, password: &str) -> String {
    let mut url = url::Url::parse(url).unwrap();
    url.set_username(user).unwrap();
    url.set_password(Some(password)).unwrap();
    url.into()
}
