//! The scene of one run: queue, table, producer, sampler, and workers behind two proxies.

use std::ops::Range;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use super::books::{Books, Order};
pub use super::members::{DatabaseServer, Member};
use super::members::{own_broker, own_database};
use super::producer::{Line as Publisher, Producer};
use super::report::Line;
use super::sampler::{Gauge, Sampler, written};
use super::{Fault, Run, Setting};
use crate::faults_database::port_of;
use crate::main_job::orders::{self, PIPELINE};
use crate::support::broker::Broker;
use crate::support::database::{Server, TestDatabase, try_rows};
use crate::support::process::{free_port, new_folder};
use crate::support::proxy::Proxy;
use crate::support::servers::{Rabbitmq, rabbitmqctl, shared_amqp_url, shared_rabbitmqctl};
use crate::support::wait::{PATIENCE, holds_within, random, unique_name};
use crate::support::worker::{Exit, Worker};

/// Short deadlines, so that a run meets them.
const TIMEOUTS: &str = "connect_timeout = \"5s\"\nstatement_timeout = \"5s\"\nlock_timeout = \"500ms\"\n";
/// What a fault may take to be worked off once the producer has stopped.
const SETTLES_WITHIN: Duration = Duration::from_secs(300);
/// Rows that are yet to come when a fault is over.
const AFTERWARDS: u64 = 200;
/// Repeats a run's random moments.
pub const SEED: &str = "RABBIT_SINK_TEST_SEED";

/// Everything a fault needs. It begins with one worker that writes while the producer publishes.
pub struct Scene {
    /// Those that run (or have died unasked), the oldest first.
    pub workers: Vec<Member>,
    pub producer: Producer,
    pub sampler: Sampler,
    pub run: Run,
    pub database: TestDatabase,
    pub queue: String,
    /// Between the workers and the broker.
    pub broker_proxy: Proxy,
    /// The login that workers use, without the proxy; tests change it before they start one.
    pub database_url: String,
    pub setting: Setting,
    /// Further lines for the config: as in [`Setting::pipeline`], for what is known at run time only.
    pub pipeline: String,
    pub books: Books,
    /// For files; gone with the scene.
    pub folder: PathBuf,
    /// What the fault has measured beside, for its line.
    pub remark: String,
    database_proxy: Option<Proxy>,
    amqp: String,
    ctl: String,
    name: &'static str,
    seed: u64,
    dice: u64,
    recovered: Option<Duration>,
    mended: Option<Instant>,
    database_server: Option<DatabaseServer>,
    rabbitmq: Option<Rabbitmq>,
}

impl Drop for Scene {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("fault {} on {}: {SEED}={}", self.name, self.run, self.seed);
        }
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

impl Scene {
    /// Servers, queue and table, a producer that publishes, and one worker that writes.
    pub async fn start(fault: &Fault, run: Run) -> Scene {
        let mut scene = Scene::without_worker(fault, run).await;
        scene.start_worker();
        scene.flowing(20).await;
        scene
    }

    /// As [`Scene::start`], before the first worker.
    pub async fn without_worker(fault: &Fault, run: Run) -> Scene {
        let setting = fault.setting;
        let rabbitmq = match setting.own_broker {
            Some(conf) => Some(own_broker(conf).await),
            None => None,
        };
        let (amqp, ctl) = match &rabbitmq {
            Some(node) => (node.url(), node.ctl_prefix()),
            None => (shared_amqp_url(), shared_rabbitmqctl()),
        };
        let (database_server, database) = own_database(&setting, run.server).await;
        // Without a key, so that nothing but the worker keeps a message from being written twice.
        database.execute(&orders::table(run.server).replace("PRIMARY KEY", "NOT NULL")).await;
        let queue = unique_name("orders");
        Broker::connect(&amqp, &ctl).await.declare(&queue, run.kind).await;
        let (books, folder) = (Books::default(), new_folder("faults"));
        let database_proxy = match run.server {
            Server::Sqlite => None,
            _ => Some(Proxy::start(port_of(&database.url)).await),
        };
        let seed = std::env::var(SEED).ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(random);
        eprintln!("{} on {run}: {SEED}={seed}", fault.name);
        Scene {
            producer: Producer::start(&amqp, &queue, run.server, setting.mix, &books),
            sampler: Sampler::start(Gauge::new(&ctl, &queue, folder.clone()), books.clone(), &database.url),
            broker_proxy: Proxy::start(port_of(&amqp)).await,
            database_url: database.url.clone(),
            database_proxy,
            workers: Vec::new(),
            pipeline: String::new(),
            remark: String::new(),
            name: fault.name,
            dice: seed,
            recovered: None,
            mended: None,
            database,
            queue,
            setting,
            books,
            folder,
            amqp,
            ctl,
            seed,
            run,
            database_server,
            rabbitmq,
        }
    }

    /// The config of a worker whose admin listener is on this port.
    pub fn config(&self, port: u16) -> String {
        let amqp = self.broker_proxy.url(&self.amqp);
        let database = match &self.database_proxy {
            Some(proxy) => proxy.url(&self.database_url),
            None => self.database_url.clone(),
        };
        let Setting { rabbitmq, database: keys, pipeline, retry, tables, .. } = self.setting;
        format!(
            "[rabbitmq]\nurl = \"{amqp}\"\n{rabbitmq}\n[database]\nurl = \"{database}\"\n{TIMEOUTS}{keys}\n\
             [admin]\nlisten = \"127.0.0.1:{port}\"\n[pipelines.orders]\nqueue = \"{}\"\ntable = \"orders\"\n\
             consumers = {}\n{pipeline}\n{}\n{PIPELINE}\n\
             [pipelines.orders.retry]\ninitial = \"50ms\"\nmax = \"500ms\"\n{retry}\n{tables}\n",
            self.queue, self.run.consumers, self.pipeline
        )
    }

    /// Starts one worker more: the real binary.
    pub fn start_worker(&mut self) -> &mut Member {
        let mut command = Command::new(Worker::program());
        command.arg("run");
        self.start_program(command)
    }

    /// Starts one worker more by any program that takes its config by `RABBIT_SINK_CONFIG`.
    pub fn start_program(&mut self, command: Command) -> &mut Member {
        let port = free_port();
        let worker = Worker::spawn(command, &self.config(port), []);
        self.workers.push(Member { worker, port });
        self.workers.last_mut().expect("just pushed")
    }

    /// The oldest worker.
    pub fn worker(&mut self) -> &mut Member {
        self.workers.first_mut().expect("a worker")
    }

    /// `kill -9` for the oldest worker.
    pub async fn kill_worker(&mut self) -> Exit {
        self.workers.remove(0).worker.kill().await
    }

    /// A further SIGTERM for the oldest worker, which has got one.
    pub async fn abort_worker(&mut self) -> Exit {
        self.workers.remove(0).worker.stop().await
    }

    /// SIGTERM for the oldest worker, which must end with 0.
    pub async fn stop_worker(&mut self) -> Exit {
        self.workers.remove(0).worker.stop().await.expect(0)
    }

    /// Waits until there are this many rows more than now.
    pub async fn flowing(&mut self, rows: u64) {
        let mut from = None;
        self.until(&format!("{rows} more rows are committed"), async |now| {
            let written = now.written().await;
            from = from.or(written);
            matches!((from, written), (Some(from), Some(written)) if written >= from + rows)
        })
        .await;
    }

    /// Waits until `check` holds; past the deadline, or when the last worker ends by itself, the
    /// run fails and shows the log.
    pub async fn until(&mut self, what: &str, check: impl AsyncFnMut(&Scene) -> bool) {
        self.until_within(PATIENCE, what, check).await;
    }

    async fn until_within(&mut self, deadline: Duration, what: &str, mut check: impl AsyncFnMut(&Scene) -> bool) {
        let mut alone = false;
        let held = holds_within(deadline, async || {
            if check(self).await {
                return true;
            }
            alone = !self.workers.is_empty() && self.workers.iter_mut().all(|member| !member.alive());
            alone
        })
        .await;
        if !held || alone {
            let log = self.workers.last().map(|member| member.log_tail()).unwrap_or_default();
            panic!("waited in vain until {what} (all workers have ended: {alone}); the last one's log:\n{log}");
        }
    }

    /// Rows with different IDs by now; `None` while the database can't be read.
    pub async fn written(&self) -> Option<u64> {
        written(&self.database.url).await
    }

    /// Distinct rows whose IDs begin so; 0 while the database can't be read.
    pub async fn written_like(&self, prefix: &str) -> usize {
        let sql = format!("SELECT DISTINCT id FROM orders WHERE id LIKE '{prefix}%'");
        try_rows(&self.database.url, &sql).await.map_or(0, |rows| rows.len())
    }

    /// The fault is over. Waits until the next row is committed and notes how long that takes.
    pub async fn mended(&mut self) {
        self.mended = Some(Instant::now());
        self.sampler.mended();
        self.flowing(1).await;
        self.recovered = self.mended.map(|mended| mended.elapsed());
    }

    /// A number within a range, as the seed has it.
    pub fn random(&mut self, range: Range<u64>) -> u64 {
        // splitmix64
        self.dice = self.dice.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.dice;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        range.start + (z ^ (z >> 31)) % (range.end - range.start)
    }

    /// Lets a random time pass: when a fault strikes is not up to the test.
    pub async fn moment(&mut self, millis: Range<u64>) {
        let millis = self.random(millis);
        tokio::time::sleep(Duration::from_millis(millis)).await;
    }

    /// The run's own broker ([`Setting::own_broker`]).
    pub fn broker(&mut self) -> &mut Rabbitmq {
        self.rabbitmq.as_mut().expect("own_broker in the fault's setting")
    }

    /// The run's own database server ([`Setting::own_database`]): stopped, killed, frozen,
    /// restarted whichever it is.
    pub fn database_server(&mut self) -> &mut DatabaseServer {
        self.database_server.as_mut().expect("own_database in the fault's setting, and not SQLite")
    }

    /// Between the workers and the database server; SQLite has none.
    pub fn database_proxy(&self) -> &Proxy {
        self.database_proxy.as_ref().expect("a database with a server")
    }

    /// A connection of our own to the broker, past the proxy.
    pub async fn connect(&self) -> Broker {
        Broker::connect(&self.amqp, &self.ctl).await
    }

    /// Consumers that the broker knows of.
    pub async fn consumers(&self) -> u32 {
        use lapin::options::QueueDeclareOptions;
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::durable() };
        let broker = self.connect().await;
        let queue = broker.channel.queue_declare(self.queue.as_str().into(), options, Default::default()).await;
        queue.expect("a queue").consumer_count()
    }

    /// Runs `rabbitmqctl` while everything else goes on.
    pub async fn ctl(&self, arguments: &[&str]) -> String {
        let (ctl, arguments) = (self.ctl.clone(), arguments.iter().map(ToString::to_string).collect::<Vec<_>>());
        let words = move || rabbitmqctl(&ctl, &arguments.iter().map(String::as_str).collect::<Vec<_>>());
        tokio::task::spawn_blocking(words).await.expect("no panic")
    }

    /// Publishes these beside the producer, until each is confirmed.
    pub async fn publish(&self, orders: Vec<Order>) {
        let mut publisher = Publisher { url: self.amqp.clone(), queue: self.queue.clone(), channel: None };
        let mut left = orders;
        let end = Instant::now() + PATIENCE;
        while !left.is_empty() {
            assert!(Instant::now() < end, "{} messages are not confirmed", left.len());
            left = publisher.publish(left, &self.books).await;
        }
    }

    /// Somebody has deleted the queue, with the producer and the sampler paused: what isn't in the
    /// table may be missing. Returns how many messages that are.
    pub async fn doubt_backlog(&self) -> usize {
        let ids = self.database.table("orders", &["id"]).await;
        self.books.doubt_missing(&ids.into_iter().filter_map(|mut row| row.pop().flatten()).collect())
    }

    /// Ends the producer, waits until everything is settled, ends the workers, and audits.
    pub async fn finish(mut self) -> Line {
        self.sampler.resume();
        // What it does after the fault belongs to the run.
        self.flowing(AFTERWARDS).await;
        self.producer.stop().await;
        let seen = self.sampler.found().samples;
        self.until_within(SETTLES_WITHIN, "the queue is empty", async |now| {
            let found = now.sampler.found();
            found.samples >= seen + 2 && found.depth == 0
        })
        .await;
        let settled = Instant::now();
        while !self.workers.is_empty() {
            self.stop_worker().await;
        }
        let found = self.sampler.found();
        self.sampler.pause();
        let broker = self.connect().await;
        let dead = format!("{}.dead", self.queue);
        let letters = broker.drain(&dead).await;
        let table = self.database.table("orders", &orders::columns(self.run.server)).await;
        let audit = self.books.audit(&table, &letters);
        if !audit.report.is_clean() || !audit.causes.is_empty() {
            eprintln!("{} on {}, {SEED}={}:\n{}{:#?}", self.name, self.run, self.seed, audit.report, audit.causes);
        }
        broker.delete(&self.queue).await;
        broker.delete(&dead).await;
        let since_mended = |at: Instant| self.mended.map(|mended| at.saturating_duration_since(mended));
        let mut line = Line::new(self.name, self.run);
        line.messages = self.books.tally().confirmed;
        line.audited(&audit, letters.len() as u64);
        line.acked_early = found.acked_early;
        line.recovered = self.recovered;
        line.remark.clone_from(&self.remark);
        // Before anything flows again, a short queue says nothing.
        line.caught_up = since_mended(found.caught_up.unwrap_or(settled)).max(self.recovered);
        line.versions(&found.version, &self.database).await;
        line
    }
}
