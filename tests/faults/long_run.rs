//! Hours of trouble, in half of one: everything that a worker outlives, at random, again and again.
//! Beside the audit it shows that the worker keeps nothing: memory, open files, connections.

use std::time::{Duration, Instant};

use super::books::Order;
use super::broker::{Jam, QUICK, numbered, settled};
use super::message::memory;
use super::scene::Scene;
use super::{Fault, Group, SHARED, Setting};
use crate::support::database::Server;

/// For how many minutes it breaks things.
const MINUTES: &str = "RABBIT_SINK_LONG_RUN_MINUTES";

pub const FAULTS: &[Fault] = &[Fault {
    name: "long-run",
    group: Group::LongRun,
    about: "30 minutes of mixed load with everything above that one worker outlives, in random order: the database cut \
            off, stopped, locked, the broker restarted, its connections closed and cut, the worker frozen for a while, \
            bad, large and repeated messages.",
    databases: &Server::ALL,
    long: true,
    setting: Setting { own_broker: Some(&[]), own_database: true, rabbitmq: QUICK, ..SHARED },
    run: |scene| Box::pin(long_run(scene)),
}];

/// How long it breaks things.
pub fn lasts() -> Duration {
    let minutes = std::env::var(MINUTES).ok().and_then(|minutes| minutes.parse().ok()).unwrap_or(30.0);
    Duration::from_secs_f64(minutes * 60.0)
}

/// One way to break something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Harm {
    DatabaseCut,
    DatabaseAway,
    DatabaseRestart,
    DatabaseLock,
    BrokerRestart,
    BrokerCut,
    BrokerStall,
    ConnectionsClosed,
    WorkerFrozen,
    BadMessages,
    LargeMessages,
    Repeats,
}

impl Harm {
    const ALL: [Harm; 12] = [
        Harm::DatabaseCut,
        Harm::DatabaseAway,
        Harm::DatabaseRestart,
        Harm::DatabaseLock,
        Harm::BrokerRestart,
        Harm::BrokerCut,
        Harm::BrokerStall,
        Harm::ConnectionsClosed,
        Harm::WorkerFrozen,
        Harm::BadMessages,
        Harm::LargeMessages,
        Harm::Repeats,
    ];

    /// SQLite has no network and no server.
    fn applies(self, server: Server) -> bool {
        let network = matches!(self, Harm::DatabaseCut | Harm::DatabaseAway | Harm::DatabaseRestart);
        !network || server != Server::Sqlite
    }

    async fn strike(self, scene: &mut Scene, round: usize) {
        match self {
            Harm::DatabaseCut => scene.database_proxy().cut(),
            Harm::DatabaseAway => {
                scene.database_proxy().refuse();
                scene.database_proxy().cut();
                scene.worker().is("holding").await;
                scene.moment(0..3_000).await;
                scene.database_proxy().pass();
            }
            Harm::DatabaseRestart => {
                scene.database_server().stop().await;
                scene.moment(0..2_000).await;
                scene.database_server().restart().await;
            }
            Harm::DatabaseLock => {
                let jam = Jam::on(scene).await;
                scene.moment(500..3_000).await;
                jam.lift(scene).await;
            }
            Harm::BrokerRestart => {
                scene.broker().stop().await;
                scene.worker().is("reconnecting").await;
                scene.broker().restart().await;
            }
            Harm::BrokerCut => scene.broker_proxy.cut(),
            Harm::BrokerStall => {
                scene.broker_proxy.stall();
                scene.moment(500..5_000).await;
                scene.broker_proxy.pass();
            }
            Harm::ConnectionsClosed => {
                scene.ctl(&["close_all_connections", "maintenance"]).await;
            }
            Harm::WorkerFrozen => {
                scene.worker().signal("STOP");
                scene.moment(200..5_000).await;
                scene.worker().signal("CONT");
            }
            Harm::BadMessages | Harm::LargeMessages | Harm::Repeats => scene.publish(self.messages(scene, round)).await,
        }
    }

    /// What it publishes beside the producer.
    fn messages(self, scene: &Scene, round: usize) -> Vec<Order> {
        match self {
            Harm::BadMessages => (0..40).map(|n| Order::bad(1_000_000 + round * 40 + n, scene.run.server)).collect(),
            Harm::LargeMessages => (0..20).map(|n| large(round * 20 + n)).collect(),
            // Those of an earlier round among them.
            _ => (0..100).map(|n| numbered("again", n + round % 4 * 50)).collect(),
        }
    }
}

/// A good order with 256 KiB in a field that no column reads.
fn large(n: usize) -> Order {
    let mut order = numbered("large", n);
    let padding = format!("{{\"padding\":\"{}\",", "x".repeat(256 * 1024));
    order.message.body = String::from_utf8(order.message.body).expect("text").replacen('{', &padding, 1).into_bytes();
    order
}

/// What the worker has while nothing breaks.
#[derive(Clone, Copy, Debug)]
struct Quiet {
    /// KiB in memory.
    memory: u64,
    files: usize,
    connections: usize,
}

/// Open files, and sockets among them.
fn open_files(scene: &mut Scene) -> (usize, usize) {
    let folder = format!("/proc/{}/fd", scene.worker().id());
    let open =
        std::fs::read_dir(folder).expect("it runs").filter_map(|file| std::fs::read_link(file.ok()?.path()).ok());
    let open: Vec<_> = open.collect();
    (open.len(), open.iter().filter(|file| file.to_string_lossy().starts_with("socket:")).count())
}

/// The medians of half a minute under the usual load.
async fn quiet(scene: &mut Scene) -> Quiet {
    const SAMPLES: usize = 120;
    const MEDIAN: usize = SAMPLES / 2;
    scene.producer.pause().await;
    settled(scene).await;
    // Each consumer has a connection for dead letters since its last bad one, and after a fault none.
    scene.publish((0..200).map(|n| Order::bad(3_000_000 + n, scene.run.server)).collect()).await;
    settled(scene).await;
    scene.producer.resume();
    let (mut memories, mut files, mut sockets) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..SAMPLES {
        tokio::time::sleep(Duration::from_millis(250)).await;
        let (file, socket) = open_files(scene);
        memories.push(memory(scene, "VmRSS"));
        files.push(file);
        sockets.push(socket);
    }
    memories.sort_unstable();
    files.sort_unstable();
    sockets.sort_unstable();
    let quiet = Quiet { memory: memories[MEDIAN], files: files[MEDIAN], connections: sockets[MEDIAN] };
    eprintln!("{quiet:?}");
    quiet
}

/// All that apply, each once, in random order.
fn round(scene: &mut Scene) -> Vec<Harm> {
    let mut harms: Vec<Harm> = Harm::ALL.into_iter().filter(|harm| harm.applies(scene.run.server)).collect();
    for at in (1..harms.len()).rev() {
        let other = scene.random(0..at as u64 + 1) as usize;
        harms.swap(at, other);
    }
    harms
}

async fn long_run(scene: &mut Scene) {
    let (begin, worker) = (Instant::now(), scene.worker().id());
    let (mut first, mut harms) = (None, 0_usize);
    let mut rounds = 0;
    while begin.elapsed() < lasts() {
        for harm in round(scene) {
            eprintln!("{:>5} s: {harm:?}", begin.elapsed().as_secs());
            harm.strike(scene, rounds).await;
            harms += 1;
            scene.flowing(50).await;
            scene.moment(0..3_000).await;
        }
        rounds += 1;
        // After a minute, and after each of them once: what they need at most is there by then.
        if first.is_none() && begin.elapsed() > Duration::from_secs(60) {
            first = Some(quiet(scene).await);
        }
    }
    let first = first.expect("longer than a minute");
    scene.mended().await;
    let last = quiet(scene).await;
    assert_eq!(scene.worker().id(), worker, "one worker outlives it all");
    let (from, to) = (first.memory, last.memory);
    scene.remark = format!(
        "{:.0} minutes, {harms} faults; memory {:.1} MiB after the first minute, {:.1} MiB at the end; open files {} \
         and {}; connections {} and {}",
        begin.elapsed().as_secs_f64() / 60.0,
        from as f64 / 1024.0,
        to as f64 / 1024.0,
        first.files,
        last.files,
        first.connections,
        last.connections
    );
    eprintln!("{}", scene.remark);
    assert!(to <= from + from / 10, "memory grows: {}", scene.remark);
    assert_eq!((first.files, first.connections), (last.files, last.connections), "{}", scene.remark);
}
