//! What happens to the broker and its queues.

use std::time::Duration;

use sqlx::{Connection as _, SqliteConnection};

use super::books::{Expected, Order};
use super::producer::Mix;
use super::scene::Scene;
use super::{Fault, Group, OneFault, SHARED, Setting};
use crate::main_job::orders;
use crate::support::broker::Kind;
use crate::support::database::Server;

/// A broker of its own, which may be stopped or stall all of its publishers.
const OWN: Setting = Setting { own_broker: Some(&[]), ..SHARED };
/// A dead connection is noticed within seconds.
pub(super) const QUICK: &str = "heartbeat = \"1s\"\nconnect_timeout = \"2s\"";
/// What its log says when it has lost a consumer.
pub(super) const RECONNECTING: &str = "reconnecting: ";
/// No dead letters until the fault wants them.
const GOOD_ONLY: Mix = Mix { bad_every: 0, ..Mix::USUAL };

pub(super) const fn fault(name: &'static str, about: &'static str, setting: Setting, run: OneFault) -> Fault {
    Fault { name, group: Group::Broker, about, databases: &Server::ALL, long: false, setting, run }
}

pub const FAULTS: &[Fault] = &[
    fault("broker-restart", "The broker is stopped and started again, twice.", OWN, |scene| Box::pin(restart(scene))),
    fault("broker-killed", "The broker is killed with `kill -9` and started again, twice.", OWN, |scene| {
        Box::pin(killed(scene))
    }),
    fault(
        "broker-frozen",
        "The broker is frozen with SIGSTOP for longer than the heartbeat, and goes on.",
        Setting { rabbitmq: QUICK, ..OWN },
        |scene| Box::pin(frozen(scene)),
    ),
    fault(
        "crash-loop-beside-dead-broker",
        "The broker is stopped, and the worker is killed and started ten times before it is there again.",
        OWN,
        |scene| Box::pin(crash_loop(scene)),
    ),
    fault(
        "connections-closed",
        "The operator closes all connections, then some of the worker's one by one.",
        OWN,
        |scene| Box::pin(connections_closed(scene)),
    ),
    fault("channel-closed", "The consumers' channels end in the middle of a batch, five times.", SHARED, |scene| {
        Box::pin(channel_closed(scene))
    }),
    fault(
        "queue-deleted",
        "The queue is deleted with messages in it and in hand, and made again; what was deleted may be missing.",
        SHARED,
        |scene| Box::pin(queue_deleted(scene)),
    ),
    fault("memory-alarm", "A memory alarm while acks and dead letters are pending.", OWN, |scene| {
        let (on, off) = (["set_vm_memory_high_watermark", "0"], ["set_vm_memory_high_watermark", "0.4"]);
        Box::pin(alarm(scene, on, off))
    }),
    fault("disk-alarm", "A disk alarm while acks and dead letters are pending.", OWN, |scene| {
        let (on, off) = (["set_disk_free_limit", "1000000GB"], ["set_disk_free_limit", "1MB"]);
        Box::pin(alarm(scene, on, off))
    }),
    fault(
        "consumer-timeout",
        "The database hangs for longer than the broker waits for an ack: it closes the channels.",
        Setting { own_broker: Some(&["consumer_timeout = 2000"]), ..SHARED },
        |scene| Box::pin(consumer_timeout(scene)),
    ),
    fault(
        "delivery-limit",
        "The database is away for more than 20 attempts; a quorum queue drops what has come back 20 times.",
        Setting { retry: "hold = \"2s\"", ..SHARED },
        |scene| Box::pin(delivery_limit(scene)),
    ),
    fault(
        "dead-letter-queue-full",
        "The dead-letter queue takes no more (`reject-publish`), until there is room again.",
        Setting { mix: GOOD_ONLY, ..SHARED },
        |scene| Box::pin(dead_letter_queue_full(scene)),
    ),
    fault(
        "dead-letter-queue-missing",
        "The dead-letter queue is deleted, may not be declared by the worker, and is made again by the operator.",
        Setting { mix: GOOD_ONLY, ..SHARED },
        |scene| Box::pin(dead_letter_queue_missing(scene)),
    ),
    fault(
        "dead-letter-unroutable",
        "The dead-letter queue is deleted: a letter comes back as unroutable, and the worker declares it again.",
        Setting { mix: GOOD_ONLY, ..SHARED },
        |scene| Box::pin(dead_letter_unroutable(scene)),
    ),
];

/// Something keeps the database from answering, whichever it is.
pub(super) enum Jam {
    Network,
    Lock(Box<SqliteConnection>),
}

impl Jam {
    /// From now on nothing is written.
    pub(super) async fn on(scene: &Scene) -> Jam {
        if scene.run.server != Server::Sqlite {
            scene.database_proxy().stall();
            return Jam::Network;
        }
        let mut lock = SqliteConnection::connect(&scene.database.url).await.expect("its file");
        sqlx::raw_sql("PRAGMA busy_timeout = 60000; BEGIN IMMEDIATE").execute(&mut lock).await.expect("locked");
        Jam::Lock(Box::new(lock))
    }

    pub(super) async fn lift(self, scene: &Scene) {
        match self {
            Jam::Network => scene.database_proxy().pass(),
            Jam::Lock(mut lock) => {
                sqlx::raw_sql("ROLLBACK").execute(&mut *lock).await.expect("unlocked");
                lock.close().await.expect("closed");
            }
        }
    }
}

/// Waits until the worker says this state, with this in its reason.
pub(super) async fn says(scene: &mut Scene, state: &str, reason: &str) {
    scene
        .until(&format!("it says {state}: {reason}"), async |scene| {
            let status = scene.workers[0].status().await;
            status["state"] == state && status["reason"].as_str().unwrap_or_default().contains(reason)
        })
        .await;
}

/// Waits until the worker holds deliveries that it can't settle at the moment.
pub(super) async fn in_hand(scene: &mut Scene) {
    let holds = async |scene: &Scene| scene.workers[0].status().await["unsettled"].as_u64() > Some(0);
    scene.until("something is in hand", holds).await;
}

/// How often the worker's log says this.
pub(super) fn logged(scene: &Scene, text: &str) -> usize {
    scene.workers[0].stderr().matches(text).count()
}

/// Waits until its log says this once more than so often.
pub(super) async fn logs_again(scene: &mut Scene, text: &str, before: usize) {
    scene.until(&format!("it logs {text:?} again"), async |scene| logged(scene, text) > before).await;
}

/// With the producer paused: waits until nothing is left in the queue, ready or unacked.
pub(super) async fn settled(scene: &mut Scene) {
    let seen = scene.sampler.found().samples;
    let empty = async |scene: &Scene| {
        let found = scene.sampler.found();
        // The first one may have been under way when this was asked.
        found.samples >= seen + 2 && found.depth == 0
    };
    scene.until("all is settled", empty).await;
}

pub(super) fn dead(scene: &Scene) -> String {
    format!("{}.dead", scene.queue)
}

async fn restart(scene: &mut Scene) {
    for _ in 0..2 {
        scene.flowing(100).await;
        scene.broker().stop().await;
        scene.worker().is("reconnecting").await;
        assert_eq!(scene.worker().get("/livez").await.0, 200, "a restart of the worker wouldn't help");
        scene.broker().restart().await;
    }
    scene.mended().await;
    scene.worker().is("running").await;
}

async fn killed(scene: &mut Scene) {
    // What RabbitMQ 3.10 knows of a quorum queue isn't safe from a kill in the queue's first moments.
    scene.flowing(100).await;
    scene.broker().stop().await;
    scene.broker().restart().await;
    for _ in 0..2 {
        scene.flowing(100).await;
        scene.moment(0..300).await;
        scene.broker().kill();
        scene.worker().is("reconnecting").await;
        scene.broker().restart().await;
    }
    scene.mended().await;
    scene.worker().is("running").await;
}

async fn frozen(scene: &mut Scene) {
    scene.broker().pause();
    says(scene, "reconnecting", "").await;
    scene.broker().resume();
    scene.mended().await;
    scene.worker().is("running").await;
}

async fn crash_loop(scene: &mut Scene) {
    scene.broker().stop().await;
    for _ in 0..10 {
        scene.kill_worker().await;
        scene.start_worker().is("reconnecting").await;
    }
    scene.broker().restart().await;
    scene.mended().await;
}

async fn connections_closed(scene: &mut Scene) {
    for _ in 0..3 {
        scene.moment(0..300).await;
        let before = logged(scene, "CONNECTION_FORCED");
        scene.ctl(&["close_all_connections", "maintenance"]).await;
        logs_again(scene, "CONNECTION_FORCED", before).await;
        scene.flowing(50).await;
    }
    let list = scene.ctl(&["list_connections", "pid", "client_properties"]).await;
    let ours = list.lines().filter(|line| line.contains("\"rabbit-sink/"));
    let ours: Vec<&str> = ours.filter_map(|line| line.split_whitespace().next()).collect();
    assert!(!ours.is_empty(), "the worker's connections have its name: {list}");
    for pid in ours.into_iter().take(3) {
        scene.ctl(&["close_connection", pid, "maintenance"]).await;
        scene.flowing(20).await;
    }
    scene.mended().await;
    scene.worker().is("running").await;
}

async fn channel_closed(scene: &mut Scene) {
    // A channel ends alone when its process does: its connection stays.
    let look = format!("{{ok, Q}} = rabbit_amqqueue:lookup(rabbit_misc:r(<<\"/\">>, queue, <<\"{}\">>))", scene.queue);
    let count = format!("{look}, length(rabbit_amqqueue:consumers(Q)).");
    let kill = format!("{look}, length([exit(element(1, C), kill) || C <- rabbit_amqqueue:consumers(Q)]).");
    let consumers = scene.run.consumers.to_string();
    for _ in 0..5 {
        // One of them that runs is enough to be called running.
        let all = async |scene: &Scene| scene.ctl(&["eval", &count]).await.trim() == consumers;
        scene.until("all consumers are there", all).await;
        let (before, jam) = (logged(scene, RECONNECTING), Jam::on(scene).await);
        in_hand(scene).await;
        let killed = scene.ctl(&["eval", &kill]).await;
        // One may have been lost by itself in between: a broker under load does that.
        assert_ne!(killed.trim(), "0", "consumers' channels");
        logs_again(scene, RECONNECTING, before).await;
        jam.lift(scene).await;
        scene.flowing(50).await;
    }
    scene.mended().await;
    scene.worker().is("running").await;
}

async fn queue_deleted(scene: &mut Scene) {
    let broker = scene.connect().await;
    let jam = Jam::on(scene).await;
    in_hand(scene).await;
    scene.producer.pause().await;
    scene.sampler.pause();
    scene.publish((0..300).map(|n| numbered("deleted", n)).collect()).await;
    broker.delete(&scene.queue).await;
    // What is in hand is nowhere else any more: it is written all the same.
    jam.lift(scene).await;
    let missing = format!("queue {} is missing", scene.queue);
    says(scene, "paused", &missing).await;
    let excused = scene.doubt_backlog().await;
    assert!(excused > 0, "there was something in it");
    broker.declare(&scene.queue, scene.run.kind).await;
    scene.sampler.resume();
    scene.producer.resume();
    scene.mended().await;
    scene.worker().is("running").await;
}

/// A good order under an ID of the fault's own.
pub(super) fn numbered(prefix: &str, n: usize) -> Order {
    let (body, row) = orders::good(n);
    Order::new(&format!("{prefix}-{n}"), body, Expected::Row(row))
}

async fn alarm(scene: &mut Scene, on: [&str; 2], off: [&str; 2]) {
    const GOOD: usize = 500;
    const BAD: usize = 8;
    // Some letters first, so that the connections on which they go are there.
    scene.publish((0..BAD).map(|n| Order::bad(1_000_000 + n, scene.run.server)).collect()).await;
    scene.producer.pause().await;
    settled(scene).await;
    let jam = Jam::on(scene).await;
    // Of the kind that the database refuses: others need none for their letters.
    let bad = (0..BAD).map(|n| Order::bad(2_000_003 + 4 * n, scene.run.server));
    scene.publish((0..GOOD).map(|n| numbered("acked", n)).chain(bad).collect()).await;
    in_hand(scene).await;
    scene.ctl(&on).await;
    while scene.ctl(&["eval", "rabbit_alarm:get_alarms()."]).await.trim() == "[]" {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    jam.lift(scene).await;
    let acked = async |scene: &Scene| scene.sampler.found().depth == BAD as u64;
    scene.until("all are acked but those whose letters can't be published", acked).await;
    assert_eq!(scene.written_like("acked-").await, GOOD);
    let seen = scene.sampler.found().samples;
    scene.until("a while has passed", async |scene| scene.sampler.found().samples >= seen + 4).await;
    assert_eq!(scene.sampler.found().depth, BAD as u64, "not acked without their letters");
    // What it publishes isn't read before the alarm is over.
    scene.producer.resume();
    scene.ctl(&off).await;
    scene.mended().await;
    scene.worker().is("running").await;
}

async fn consumer_timeout(scene: &mut Scene) {
    // Channels look once a minute, unless they were opened after this.
    scene.ctl(&["eval", "application:set_env(rabbit, channel_tick_interval, 500)."]).await;
    let before = logged(scene, RECONNECTING);
    scene.broker_proxy.cut();
    logs_again(scene, RECONNECTING, before).await;
    scene.flowing(50).await;
    scene.worker().is("running").await;
    let jam = Jam::on(scene).await;
    in_hand(scene).await;
    scene.worker().logs("timed out").await;
    assert!(scene.worker().stderr().contains("PRECONDITION"), "by the broker");
    jam.lift(scene).await;
    scene.mended().await;
    scene.worker().is("running").await;
}

/// The most deliveries that the next message in the queue has had. That look is one more.
async fn delivery_count(scene: &Scene) -> u64 {
    let broker = scene.connect().await;
    let options = lapin::options::BasicGetOptions { no_ack: false };
    let got = broker.channel.basic_get(scene.queue.as_str().into(), options).await.expect("got");
    let taken: crate::support::broker::Taken = got.expect("a backlog").into();
    broker.connection.close(200, "bye".into()).await.expect("closed");
    taken.header("x-delivery-count").map_or(0, |count| count.parse().expect("a number"))
}

async fn delivery_limit(scene: &mut Scene) {
    let (policy, pattern) = (format!("limit-{}", scene.queue), format!("^{}$", scene.queue));
    scene.ctl(&["set_policy", "--apply-to", "queues", &policy, &pattern, r#"{"delivery-limit":20}"#]).await;
    scene.flowing(50).await;
    if scene.run.server == Server::Sqlite {
        let jam = Jam::on(scene).await;
        in_hand(scene).await;
        // It tries once a second or so.
        scene
            .until("more than 20 attempts have failed", async |scene| {
                let status = scene.workers[0].status().await;
                status["state"] == "holding" && status["consumers"][0]["state_seconds"].as_f64() > Some(25.0)
            })
            .await;
        after_outage(scene).await;
        jam.lift(scene).await;
    } else {
        let from = scene.database_proxy().accepted();
        scene.database_proxy().refuse();
        scene.database_proxy().cut();
        let attempts = from + 25 * u64::from(scene.run.consumers);
        scene
            .until("more than 20 attempts have failed", async |scene| scene.database_proxy().accepted() >= attempts)
            .await;
        after_outage(scene).await;
        scene.database_proxy().pass();
    }
    scene.mended().await;
    scene.ctl(&["clear_policy", &policy]).await;
    scene.worker().is("running").await;
}

/// Everything was given back once, and is left alone since.
async fn after_outage(scene: &mut Scene) {
    scene.worker().logs("given back after").await;
    says(scene, "holding", "").await;
    assert_eq!(scene.consumers().await, 0, "nobody takes them before the database answers");
    if scene.run.kind == Kind::Quorum {
        let count = delivery_count(scene).await;
        assert!(count <= 2, "{count} deliveries were spent on an outage");
    }
}

async fn dead_letter_queue_full(scene: &mut Scene) {
    let (policy, pattern) = (format!("full-{}", scene.queue), format!("^{}$", dead(scene)));
    // Letters beyond it would be dropped, had there been any before.
    let full = r#"{"max-length":2,"overflow":"reject-publish"}"#;
    scene.ctl(&["set_policy", "--apply-to", "queues", &policy, &pattern, full]).await;
    scene.producer.set(Mix::USUAL);
    says(scene, "holding", "basic.nack").await;
    scene.ctl(&["clear_policy", &policy]).await;
    scene.mended().await;
    scene.worker().is("running").await;
}

async fn dead_letter_queue_missing(scene: &mut Scene) {
    scene.stop_worker().await;
    scene.pipeline = "dead_letter.declare = false".to_owned();
    scene.start_worker().is("running").await;
    let (broker, dead) = (scene.connect().await, dead(scene));
    broker.delete(&dead).await;
    scene.producer.set(Mix::USUAL);
    says(scene, "holding", "the queue doesn't exist").await;
    broker.declare(&dead, scene.run.kind).await;
    scene.mended().await;
    scene.worker().is("running").await;
}

async fn dead_letter_unroutable(scene: &mut Scene) {
    let (broker, dead) = (scene.connect().await, dead(scene));
    broker.delete(&dead).await;
    scene.producer.set(Mix::USUAL);
    scene.worker().logs("dead-letter queue declared again").await;
    scene.mended().await;
    scene.worker().is("running").await;
}
