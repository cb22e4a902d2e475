//! What producers send.

use std::time::{Duration, Instant};

use super::books::{Expected, Order};
use super::broker::{dead, numbered, settled};
use super::producer::Mix;
use super::scene::Scene;
use super::{Fault, Group, OneFault, SHARED, Setting};
use crate::main_job::orders::{self, Cause};
use crate::support::database::Server;

const fn fault(name: &'static str, about: &'static str, setting: Setting, run: OneFault) -> Fault {
    Fault { name, group: Group::Message, about, databases: &Server::ALL, long: false, setting, run }
}

const fn long(fault: Fault) -> Fault {
    Fault { long: true, ..fault }
}

/// As docs/operations.md reckons for four consumers.
const WITHIN_512_MIB: Setting = Setting { pipeline: "limits.max_unacked_bytes = \"32MiB\"", ..SHARED };

pub const FAULTS: &[Fault] = &[
    fault("every-other-bad", "Bad and good messages take turns.", SHARED, |scene| Box::pin(every_other_bad(scene))),
    fault("one-in-10000-bad", "About 2,000 messages a second, of which one in 10,000 is bad.", SHARED, |scene| {
        Box::pin(one_in_10000(scene))
    }),
    fault("same-id-other-body", "Known IDs come with another body: dead-lettered as `id_conflict`.", SHARED, |scene| {
        Box::pin(other_body(scene, Some(ID_CONFLICT)))
    }),
    fault(
        "same-id-ignored",
        "Known IDs come with another body, and the config says that the first one counts.",
        Setting { pipeline: "id_conflict = \"ignore\"", ..SHARED },
        |scene| Box::pin(other_body(scene, None)),
    ),
    fault("empty-bodies", "Bodies of 0 bytes among good ones.", SHARED, |scene| {
        Box::pin(among_good(scene, "empty", |_| (Vec::new(), decode("empty"))))
    }),
    fault("deep-nesting", "Bodies that are nested 100,000 levels deep among good ones.", SHARED, |scene| {
        Box::pin(among_good(scene, "deep", |n| (deep(n), decode("too_deep"))))
    }),
    fault("invalid-utf-8", "Bodies with bytes that are no UTF-8 among good ones.", SHARED, |scene| {
        Box::pin(among_good(scene, "bytes", |n| (no_utf_8(n), decode("not_utf8"))))
    }),
    fault("duplicate-keys", "Bodies in which a key stands twice among good ones.", SHARED, |scene| {
        Box::pin(among_good(scene, "twice", |n| (duplicate_key(n), decode("duplicate_key"))))
    }),
    fault(
        "odd-numbers",
        "1e400, 0.1000000000000000055 and the like, which no column holds exactly, and odd forms of numbers that are \
         exact.",
        SHARED,
        |scene| Box::pin(odd_numbers(scene)),
    ),
    fault(
        "large-bodies",
        "60 bodies of 16 MiB; the worker has less than 512 MiB in memory all the while.",
        WITHIN_512_MIB,
        |scene| Box::pin(large_bodies(scene, 60)),
    ),
    long(fault(
        "large-bodies-500",
        "500 bodies of 16 MiB; the worker has less than 512 MiB in memory all the while.",
        WITHIN_512_MIB,
        |scene| Box::pin(large_bodies(scene, 500)),
    )),
    long(fault("million-ids", "A million small messages, each with its own ID in the ledger.", SHARED, |scene| {
        Box::pin(million_ids(scene))
    })),
];

const ID_CONFLICT: Cause = Cause { class: "id_conflict", code: "other_body", column: None };

const fn decode(code: &'static str) -> Cause {
    Cause { class: "decode", code, column: None }
}

/// Letters in the dead-letter queue by now.
pub(super) async fn letters(scene: &Scene) -> u64 {
    scene.connect().await.ready(&dead(scene)).await
}

/// Nothing of it may stop the good ones.
fn never_stopped(scene: &mut Scene) {
    let log = scene.worker().stderr();
    assert!(!log.contains("paused") && !log.contains("holding"), "it has stopped for bad messages:\n{log}");
    assert!(!log.contains("the ledger has no entry"), "nobody has emptied it:\n{log}");
}

async fn every_other_bad(scene: &mut Scene) {
    scene.producer.set(Mix { bad_every: 2, ..Mix::USUAL });
    scene.flowing(500).await;
    scene.until("the bad ones are dead-lettered", async |scene| letters(scene).await >= 500).await;
    scene.producer.set(Mix::USUAL);
    scene.mended().await;
    never_stopped(scene);
}

async fn one_in_10000(scene: &mut Scene) {
    scene.producer.set(Mix { portion: 40, bad_every: 10_000, twice_every: 23 });
    // Two of them, after 5,000 and after 15,000.
    for _ in 0..16 {
        scene.flowing(1_000).await;
    }
    scene.producer.set(Mix::USUAL);
    scene.mended().await;
    never_stopped(scene);
}

/// The same IDs again, with another body: a letter each, or nothing.
async fn other_body(scene: &mut Scene, cause: Option<Cause>) {
    const IDS: usize = 60;
    scene.publish((0..IDS).map(|n| numbered("known", n)).collect()).await;
    scene.until("the first ones are written", async |scene| scene.written_like("known-").await == IDS).await;
    let again = |n: usize| {
        let expected = match &cause {
            Some(cause) => Expected::Dead(Some(cause.clone())),
            None => numbered("known", n).expected,
        };
        Order::new(&format!("known-{n}"), orders::good(n + IDS).0, expected)
    };
    let before = letters(scene).await;
    scene.publish((0..IDS).map(again).collect()).await;
    if cause.is_some() {
        scene.until("they are rejected", async |scene| letters(scene).await >= before + IDS as u64).await;
    }
    // Both in one batch, perhaps: one consumer takes the first one first.
    if scene.run.consumers == 1 {
        let pair = |n: usize| {
            let first = numbered("pair", n);
            let expected = cause.clone().map_or(first.expected.clone(), |cause| Expected::Dead(Some(cause)));
            let second = Order::new(&first.id, orders::good(n + IDS).0, expected);
            [first, second]
        };
        scene.publish((0..IDS).flat_map(pair).collect()).await;
    }
    scene.mended().await;
    never_stopped(scene);
}

/// Sixty bad ones of a kind, ten at a time with good ones between them.
async fn among_good(scene: &mut Scene, prefix: &str, bad: impl Fn(usize) -> (Vec<u8>, Cause)) {
    let bad = |n: usize| {
        let (body, cause) = bad(n);
        Order::new(&format!("bad-{prefix}-{n}"), body, Expected::Dead(Some(cause)))
    };
    let orders: Vec<Order> = (0..60).flat_map(|n| [numbered(prefix, n), bad(n)]).collect();
    let before = letters(scene).await;
    for some in orders.chunks(20) {
        scene.publish(some.to_vec()).await;
        scene.flowing(20).await;
    }
    scene.until("all have their letters", async |scene| letters(scene).await >= before + 60).await;
    scene.mended().await;
    never_stopped(scene);
}

/// A good body with another value of `extra`, which is JSON.
fn with_extra(n: usize, extra: &str) -> String {
    orders::good(n).0.replace(&format!("{{\"n\":{n}}}"), extra)
}

fn deep(n: usize) -> Vec<u8> {
    const LEVELS: usize = 100_000;
    // Complete or not, of arrays or objects: no parser may follow them down.
    let (open, close) = if n.is_multiple_of(2) { ("[", "]") } else { ("{\"a\":", "}") };
    let end = if n.is_multiple_of(3) { String::new() } else { format!("1{}", close.repeat(LEVELS)) };
    with_extra(n, &format!("{}{end}", open.repeat(LEVELS))).into_bytes()
}

fn no_utf_8(n: usize) -> Vec<u8> {
    const BYTES: [&[u8]; 4] = [b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xf8\x88\x80\x80\x80"];
    let body = orders::good(n).0.into_bytes();
    let at = body.windows(3).position(|window| window == b"Zo\xc3").expect("a customer");
    [&body[..at], BYTES[n % BYTES.len()], &body[at..]].concat()
}

fn duplicate_key(n: usize) -> Vec<u8> {
    let body = orders::good(n).0;
    // At the top and further down, written alike or not.
    match n % 3 {
        0 => body.replacen('{', "{\"amount\":1,", 1),
        1 => body.replace("{\"name\":", "{\"name\":\"x\",\"name\":"),
        _ => body.replacen('{', "{\"am\\u006funt\":1,", 1),
    }
    .into_bytes()
}

/// A good body with another amount.
fn with_amount(n: usize, amount: &str) -> String {
    let own = format!("\"amount\":{}.{:02},", n % 1_000_000, n % 100);
    orders::good(n).0.replace(&own, &format!("\"amount\":{amount},"))
}

async fn odd_numbers(scene: &mut Scene) {
    const BAD: [(&str, &str); 8] = [
        ("1e400", "out_of_range"),
        ("-1e400", "out_of_range"),
        ("1e99999999999999999999", "out_of_range"),
        ("10000000000", "out_of_range"),
        ("0.1000000000000000055", "lossy"),
        ("1e-400", "lossy"),
        ("0.005", "lossy"),
        ("12345678901234567890.123", "lossy"),
    ];
    const GOOD: [(&str, &str); 6] = [
        ("1e2", "100.00"),
        ("12.5E-1", "1.25"),
        ("0.1000000000000000000", "0.10"),
        ("9999999999.99", "9999999999.99"),
        ("-0.01", "-0.01"),
        ("\"1234567.80\"", "1234567.80"),
    ];
    let cause = |code| Cause { class: "mapping", code, column: Some("amount") };
    let bad = |n: usize, (amount, code)| {
        Order::new(&format!("bad-odd-{n}"), with_amount(n, amount), Expected::Dead(Some(cause(code))))
    };
    let good = |n: usize, (amount, kept): (&str, &str)| {
        let mut row = orders::good(n).1;
        row[1] = Some(kept.to_owned());
        Order::new(&format!("odd-{n}"), with_amount(n, amount), Expected::Row(row))
    };
    let odd = |n: usize| [bad(n, BAD[n % BAD.len()]), good(n, GOOD[n % GOOD.len()])];
    scene.publish((0..48).flat_map(odd).collect()).await;
    scene.until("the good ones are written", async |scene| scene.written_like("odd-").await == 48).await;
    scene.mended().await;
    never_stopped(scene);
}

const MIB: usize = 1024 * 1024;

/// As large as a body may be.
fn large(n: usize, server: Server) -> Order {
    let (body, row) = orders::good(n);
    let x = |length: usize| "x".repeat(length);
    let length = 16 * MIB - body.len();
    let body = match (n % 8, server) {
        // Into the table as well, where it takes such a value.
        (0, Server::Postgres | Server::Sqlite) => {
            let own = format!("{{\"n\":{n}}}");
            body.replace(&own, &format!("{{\"n\":\"{}\"}}", x(length + own.len() - 8)))
        }
        // In a field that no column reads.
        _ => body.replacen('{', &format!("{{\"padding\":\"{}\",", x(length - 13)), 1),
    };
    assert_eq!(body.len(), 16 * MIB);
    Order::new(&format!("large-{n}"), body, Expected::Row(row))
}

/// A line of `/proc/PID/status` in KiB: `VmHWM`, the most that was in memory at any time, or `VmRSS`.
pub(super) fn memory(scene: &mut Scene, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", scene.worker().id())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).expect("a size");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

async fn large_bodies(scene: &mut Scene, count: usize) {
    const BACKLOG: usize = 56;
    scene.producer.pause().await;
    settled(scene).await;
    scene.stop_worker().await;
    for first in (0..count).step_by(4) {
        let server = scene.run.server;
        scene.publish((first..count.min(first + 4)).map(|n| large(n, server)).collect()).await;
        if first + 4 < BACKLOG.min(count) {
            continue;
        }
        if scene.workers.is_empty() {
            // It finds a backlog, but none that fills the broker's disk.
            scene.start_worker();
        }
        if first >= count / 2 {
            // Small ones between them.
            scene.producer.resume();
        }
        wait_for_large(scene, (first + 4).saturating_sub(BACKLOG)).await;
    }
    for written in (0..=count).step_by(4) {
        wait_for_large(scene, written).await;
    }
    scene.mended().await;
    let most = memory(scene, "VmHWM");
    assert!(most < 512 * 1024, "{most} KiB");
    scene.remark = format!("at most {} MiB in memory", most / 1024);
}

async fn wait_for_large(scene: &mut Scene, count: usize) {
    let written = async |scene: &Scene| scene.written_like("large-").await >= count;
    scene.until(&format!("{count} large ones are written"), written).await;
}

async fn million_ids(scene: &mut Scene) {
    const IDS: u64 = 1_000_000;
    // Counting them is not what is tried here.
    let key = if scene.run.server == Server::Mysql { "id" } else { "id, customer" };
    scene.database.execute(&format!("CREATE INDEX counted ON orders ({key})")).await;
    scene.producer.set(Mix { portion: 1_000, ..Mix::USUAL });
    scene.sampler.pause();
    write_up_to(scene, IDS / 5).await;
    let first = memory_while_writing(scene).await;
    write_up_to(scene, IDS).await;
    let last = memory_while_writing(scene).await;
    scene.producer.set(Mix::USUAL);
    scene.sampler.resume();
    scene.mended().await;
    assert!(last <= first + first / 10, "{first} KiB after a fifth, {last} KiB at the end");
    scene.remark = format!("{} MiB in memory after a fifth, {} MiB at the end", first / 1024, last / 1024);
}

/// What the worker counts: `written` rows, `settled` messages.
async fn told(scene: &Scene, count: &str) -> u64 {
    scene.workers[0].status().await[count].as_u64().unwrap_or(0)
}

/// KiB: the median of ten seconds with a backlog.
async fn memory_while_writing(scene: &mut Scene) -> u64 {
    let mut memories = Vec::new();
    for _ in 0..20 {
        let rows = told(scene, "written").await;
        write_up_to(scene, rows + 1).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        memories.push(memory(scene, "VmRSS"));
    }
    memories.sort_unstable();
    memories[memories.len() / 2]
}

/// Until there are so many rows, as the worker counts them (to count a million in the table takes
/// long): the producer stays just so far ahead that there is a backlog.
async fn write_up_to(scene: &mut Scene, rows: u64) {
    const AHEAD: u64 = 20_000;
    let end = Instant::now() + Duration::from_secs(50 * 60);
    loop {
        let written = told(scene, "written").await;
        if written >= rows {
            return scene.producer.resume();
        }
        assert!(scene.worker().alive() && Instant::now() < end, "{written} of {rows} rows");
        if scene.books.tally().sent > told(scene, "settled").await + AHEAD {
            scene.producer.pause().await;
        } else {
            scene.producer.resume();
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
