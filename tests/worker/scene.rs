//! A queue, a database and the books: what most tests of a running worker begin and end with.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;

use crate::main_job::orders::{self, Orders};
use crate::support::broker::{Broker, Kind, Message, Taken};
use crate::support::database::{Server, TestDatabase, try_rows};
use crate::support::servers::{Rabbitmq, rabbitmqctl, shared_amqp_url, shared_rabbitmqctl};
use crate::support::wait::{PATIENCE, eventually, unique_name};
use crate::support::{Accountant, Worker, process};

use rabbit_sink::rabbitmq::BrokerVersion;

/// Short waits: what takes its time here is the other side.
const RETRY: &str = "\n[pipelines.orders.retry]\ninitial = \"50ms\"\nmax = \"500ms\"\n";

/// A password that breaks whatever doesn't encode or quote it.
pub const PASSWORD: &str = "p@ss/w:ö#rd?%41&'$\"+ x";

pub struct Scene {
    pub broker: Broker,
    pub database: TestDatabase,
    pub queue: String,
    pub amqp: String,
    /// Further keys of `[rabbitmq]`.
    pub rabbitmq: String,
    /// Where the worker's admin listener is.
    pub admin: String,
    /// For files that a config names; gone with the scene.
    pub folder: PathBuf,
    ctl: String,
    books: Orders,
}

impl Drop for Scene {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

impl Scene {
    /// On the broker that all share, with SQLite.
    pub async fn shared(kind: Kind) -> Scene {
        Scene::with(kind, Server::Sqlite).await
    }

    /// On the broker that all share.
    pub async fn with(kind: Kind, server: Server) -> Scene {
        let broker = Broker::shared().await;
        Scene::new(broker, shared_amqp_url(), shared_rabbitmqctl(), kind, TestDatabase::fresh(server).await).await
    }

    /// On a node of its own, with SQLite.
    pub async fn on(node: &Rabbitmq, kind: Kind) -> Scene {
        let database = TestDatabase::fresh(Server::Sqlite).await;
        Scene::new(Broker::of(node).await, node.url(), node.ctl_prefix(), kind, database).await
    }

    async fn new(broker: Broker, amqp: String, ctl: String, kind: Kind, database: TestDatabase) -> Scene {
        let queue = unique_name("orders");
        broker.declare(&queue, kind).await;
        database.execute(orders::table(database.server)).await;
        let books = Orders { messages: Vec::new(), accountant: Accountant::default(), causes: BTreeMap::new() };
        let admin = format!("127.0.0.1:{}", process::free_port());
        let rabbitmq = "heartbeat = \"10s\"".to_owned();
        let folder = process::new_folder("scene");
        Scene { broker, database, queue, amqp, rabbitmq, admin, folder, ctl, books }
    }

    pub fn dead(&self) -> String {
        format!("{}.dead", self.queue)
    }

    /// The worker's config; `options` are keys of the pipeline, then tables of it.
    pub fn config(&self, options: &str) -> String {
        self.config_with(options, RETRY)
    }

    /// With `hold` and the like: `retry` stands in the table of that name.
    pub fn config_retrying(&self, options: &str, retry: &str) -> String {
        self.config_with(options, &format!("{RETRY}{retry}\n"))
    }

    fn config_with(&self, options: &str, retry: &str) -> String {
        let options = format!("{options}{retry}");
        let config = orders::config_for(&self.amqp, &self.database.url, &self.queue, &options);
        let config = config.replacen("[rabbitmq]\n", &format!("[rabbitmq]\n{}\n", self.rabbitmq), 1);
        config.replacen("listen = \"off\"", &format!("listen = \"{}\"", self.admin), 1)
    }

    /// After the node was away, our own connection is gone.
    pub async fn reconnect(&mut self) {
        self.broker = Broker::connect(&self.amqp, &self.ctl).await;
    }

    /// Runs `rabbitmqctl` while everything else goes on.
    pub async fn ctl(&self, arguments: &[&str]) -> String {
        let (ctl, arguments) = (self.ctl.clone(), arguments.iter().map(ToString::to_string).collect::<Vec<_>>());
        let words = move || rabbitmqctl(&ctl, &arguments.iter().map(String::as_str).collect::<Vec<_>>());
        tokio::task::spawn_blocking(words).await.expect("no panic")
    }

    /// The broker's.
    pub async fn version(&self) -> BrokerVersion {
        let said = self.ctl(&["eval", "rabbit_misc:version()."]).await;
        BrokerVersion::parse(said.trim().trim_matches('"')).expect("a version")
    }

    /// From now on the worker logs in as a user of its own, by a file with [`PASSWORD`].
    pub async fn user(&mut self, what: &str) -> String {
        let user = unique_name(what);
        self.ctl(&["add_user", &user, PASSWORD]).await;
        self.ctl(&["set_permissions", &user, ".*", ".*", ".*"]).await;
        let file = self.folder.join("password");
        std::fs::write(&file, format!("{PASSWORD}\n")).expect("a file in an own folder");
        let login = format!("username = \"{user}\"\npassword_file = \"{}\"", file.display());
        self.rabbitmq = format!("{}\n{login}", self.rabbitmq);
        let mut url = url::Url::parse(&self.amqp).expect("a URL");
        url.set_username("").expect("a URL with a host");
        url.set_password(None).expect("a URL with a host");
        self.amqp = url.into();
        user
    }

    pub async fn drop_user(&self, user: &str) {
        self.ctl(&["delete_user", user]).await;
    }

    /// Publishes good orders and expects their rows.
    pub async fn publish(&mut self, numbers: Range<usize>) {
        let orders = Orders::good(numbers);
        self.expect(&orders);
        self.broker.publish(&self.queue, orders.messages).await;
    }

    /// Rows of these orders are expected, whoever publishes them.
    pub fn expect(&mut self, orders: &Orders) {
        for message in &orders.messages {
            let id = message.properties.message_id().as_ref().expect("an ID").to_string();
            let number = id.strip_prefix("order-").and_then(|n| n.parse().ok()).expect("a number");
            self.books.accountant.expect_row(id, orders::good(number).1);
        }
    }

    /// Publishes bad orders and expects their dead letters.
    pub async fn publish_bad(&mut self, numbers: Range<usize>) {
        self.publish_bad_where(numbers).await;
    }

    async fn publish_bad_where(&mut self, numbers: impl Iterator<Item = usize>) {
        let messages: Vec<Message> = numbers.map(|n| self.bad(n)).collect();
        self.broker.publish(&self.queue, messages).await;
    }

    /// A bad order, whose dead letter is expected.
    pub fn bad(&mut self, n: usize) -> Message {
        let (body, cause) = orders::bad(n, self.database.server);
        let id = format!("bad-{n}");
        self.books.accountant.expect_dead(&id);
        self.books.causes.insert(id.clone(), cause);
        Message::json(&id, body)
    }

    /// Good orders up to now.
    pub fn expected_rows(&self) -> usize {
        self.books.accountant.rows()
    }

    /// Rows in the table by now; `None` while it can't be asked.
    pub async fn rows(&self) -> Option<usize> {
        let counted = try_rows(&self.database.url, "SELECT CAST(count(*) AS CHAR(20)) FROM orders").await.ok()?;
        counted[0][0].as_ref()?.trim_end().parse().ok()
    }

    /// Waits until every good order that was published stands in the table.
    pub async fn all_written(&self, worker: &mut Worker) {
        let expected = self.books.accountant.rows();
        worker.eventually(&format!("{expected} rows are there"), async || self.rows().await == Some(expected)).await;
    }

    /// Publishes some more and sees them written.
    pub async fn flows(&mut self, worker: &mut Worker) {
        let next = self.books.accountant.rows();
        self.publish(next..next + 20).await;
        self.all_written(worker).await;
    }

    /// Waits until so many letters are ready in the dead-letter queue.
    pub async fn dead_lettered(&self, count: u64) {
        let dead = self.dead();
        eventually(PATIENCE, "the dead letters are there", async || self.broker.ready(&dead).await >= count).await;
    }

    /// Nothing is left in the queue; rows and dead letters are what they must be. Returns the
    /// letters, and deletes the queues.
    pub async fn audit(&self) -> Vec<Taken> {
        self.audit_with(Vec::new()).await
    }

    /// As [`Scene::audit`], with letters that were taken out before.
    pub async fn audit_with(&self, mut letters: Vec<Taken>) -> Vec<Taken> {
        self.broker.wait_until_empty(&self.queue).await;
        letters.extend(self.broker.drain(&self.dead()).await);
        self.books.audit(&self.database, &letters).await;
        self.broker.delete(&self.queue).await;
        self.broker.delete(&self.dead()).await;
        letters
    }

    /// Consumers of the queue, as `rabbitmqctl` lists them: tag and prefetch.
    pub async fn consumers(&self) -> Vec<(String, u32)> {
        let list = self.ctl(&["list_consumers", "queue_name", "consumer_tag", "prefetch_count"]).await;
        let consumer = |line: &str| {
            let mut cells = line.split('\t');
            let (queue, tag, prefetch) = (cells.next()?, cells.next()?, cells.next()?);
            if queue == self.queue { Some((tag.to_owned(), prefetch.trim().parse().ok()?)) } else { None }
        };
        list.lines().filter_map(consumer).collect()
    }

    /// Asks the worker's admin listener: status and body.
    pub async fn get(&self, path: &str) -> (u16, String) {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut text = String::new();
        eventually(PATIENCE, "the admin listener answers", async || {
            text.clear();
            let Ok(mut stream) = tokio::net::TcpStream::connect(&self.admin).await else { return false };
            let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.admin);
            stream.write_all(request.as_bytes()).await.is_ok() && stream.read_to_string(&mut text).await.is_ok()
        })
        .await;
        let status = text.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
        (status, text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default())
    }

    /// Waits until `/readyz` says that, in its own words.
    pub async fn ready_says(&self, worker: &mut Worker, status: u16, text: &str) {
        let mut last = (0, String::new());
        worker
            .eventually(&format!("/readyz says {status} {text:?}"), async || {
                last = self.get("/readyz").await;
                last.0 == status && last.1.contains(text)
            })
            .await;
    }
}
