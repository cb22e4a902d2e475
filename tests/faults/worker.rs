//! What happens to the worker itself.

use std::process::Command;
use std::time::{Duration, Instant};

use super::books::{Expected, Order};
use super::broken::{Broken, broken};
use super::scene::Scene;
use super::{Fault, Group, SHARED, Setting};
use crate::main_job::orders;
use crate::support::database::Server;
use crate::support::proxy::Trap;
use crate::support::wait::PATIENCE;
use crate::support::worker::Worker;

pub const FAULTS: &[Fault] = &[
    Fault {
        name: "kill-at-random",
        group: Group::Worker,
        about: "The worker is killed with `kill -9` at 50 random moments, while it starts and while it writes.",
        databases: &Server::ALL,
        long: true,
        setting: SHARED,
        run: |scene| Box::pin(kill_at_random(scene)),
    },
    Fault {
        name: "kill-after-commit",
        group: Group::Worker,
        about: "The worker is killed when the database has committed and its answer is still on the way.",
        databases: &[Server::Postgres, Server::Mysql],
        long: false,
        setting: SHARED,
        run: |scene| Box::pin(kill_after_commit(scene)),
    },
    Fault {
        name: "sigterm-mid-batch",
        group: Group::Worker,
        about: "SIGTERM while a batch is being written; the worker drains and ends with 0, five times.",
        databases: &Server::ALL,
        long: false,
        setting: SHARED,
        run: |scene| Box::pin(sigterm_mid_batch(scene)),
    },
    Fault {
        name: "second-signal",
        group: Group::Worker,
        about: "A second SIGTERM while the first one's batch is being written; the worker ends at once, five times.",
        databases: &Server::ALL,
        long: false,
        setting: SHARED,
        run: |scene| Box::pin(second_signal(scene)),
    },
    Fault {
        name: "frozen-beyond-heartbeat",
        group: Group::Worker,
        about: "The worker is frozen with SIGSTOP until the broker has closed its connection, and goes on.",
        databases: &Server::ALL,
        long: false,
        setting: Setting { rabbitmq: "heartbeat = \"1s\"", ..SHARED },
        run: |scene| Box::pin(frozen_beyond_heartbeat(scene)),
    },
    Fault {
        name: "memory-limit",
        group: Group::Worker,
        about: "Messages of 1 MiB under an address space that is too small for them; the worker may die, and is \
                started again.",
        databases: &Server::ALL,
        long: false,
        setting: SHARED,
        run: |scene| Box::pin(memory_limit(scene)),
    },
    Fault {
        name: "one-of-two-killed",
        group: Group::Worker,
        about: "Of two workers on one queue one is killed with `kill -9`; the other takes over.",
        databases: &Server::ALL,
        long: false,
        setting: SHARED,
        run: |scene| Box::pin(one_of_two_killed(scene)),
    },
    Fault {
        name: "rolling-restart",
        group: Group::Worker,
        about: "A new worker starts before the old one gets its SIGTERM, five times.",
        databases: &Server::ALL,
        long: false,
        setting: SHARED,
        run: |scene| Box::pin(rolling_restart(scene)),
    },
    Fault {
        name: "wedged-writer",
        group: Group::Worker,
        about: "A writer blocks its thread for ever, so that no deadline fires; `/livez` fails, and what watches it \
                kills the worker and starts another.",
        databases: &Server::ALL,
        long: false,
        setting: Setting { retry: "hold = \"2s\"", ..SHARED },
        run: |scene| Box::pin(wedged_writer(scene)),
    },
];

async fn kill_at_random(scene: &mut Scene) {
    for kill in 0..50 {
        // While it writes, and at any moment of its start.
        if kill % 2 == 0 {
            scene.flowing(1).await;
            scene.moment(0..300).await;
        } else {
            scene.moment(0..600).await;
        }
        scene.kill_worker().await;
        scene.start_worker();
    }
    scene.mended().await;
}

async fn kill_after_commit(scene: &mut Scene) {
    for _ in 0..5 {
        let trap = scene.database_proxy().on_commit(scene.run.server, Trap::HoldAnswer);
        trap.sprung().await;
        scene.kill_worker().await;
        scene.database_proxy().cut();
        scene.start_worker();
        scene.flowing(50).await;
    }
    scene.mended().await;
}

/// Returns while a batch is being written, which takes a while now wherever there is a network.
async fn mid_batch(scene: &mut Scene) {
    scene.flowing(50).await;
    if scene.run.server != Server::Sqlite {
        scene.database_proxy().delay(Duration::from_millis(5));
    }
    let writing = async |scene: &Scene| scene.workers[0].status().await["unsettled"].as_u64() > Some(0);
    scene.until("something is in hand", writing).await;
    scene.moment(0..50).await;
}

fn without_delay(scene: &Scene) {
    if scene.run.server != Server::Sqlite {
        scene.database_proxy().pass();
    }
}

async fn sigterm_mid_batch(scene: &mut Scene) {
    for _ in 0..5 {
        mid_batch(scene).await;
        scene.stop_worker().await;
        without_delay(scene);
        scene.start_worker();
    }
    scene.mended().await;
}

async fn second_signal(scene: &mut Scene) {
    for _ in 0..5 {
        mid_batch(scene).await;
        scene.worker().signal("TERM");
        scene.moment(0..20).await;
        // Its exit code says whether it had anything left: either is right.
        scene.abort_worker().await;
        without_delay(scene);
        scene.start_worker();
    }
    scene.mended().await;
}

async fn frozen_beyond_heartbeat(scene: &mut Scene) {
    scene.worker().signal("STOP");
    scene.until("the broker has given it up", async |scene| scene.consumers().await == 0).await;
    scene.worker().signal("CONT");
    scene.mended().await;
}

const BIG: usize = 24;

/// Kibibytes of address space that the oldest worker has.
fn address_space(scene: &mut Scene) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", scene.worker().id())).expect("it runs");
    let size = status.lines().find_map(|line| line.strip_prefix("VmSize:")).expect("a size");
    size.trim().trim_end_matches(" kB").parse().expect("a number")
}

async fn memory_limit(scene: &mut Scene) {
    let limited = |kib: &str| {
        let mut command = Command::new("sh");
        command.args(["-c", "ulimit -v \"$0\" && exec \"$@\"", kib, Worker::program(), "run"]);
        // Else the allocator reserves tens of megabytes for each thread.
        command.env("MALLOC_ARENA_MAX", "1");
        command
    };
    scene.stop_worker().await;
    scene.start_program(limited("unlimited"));
    scene.flowing(300).await;
    // Enough to run, not for all that the broker sends at once.
    let kib = (address_space(scene) + 16 * 1024).to_string();
    scene.kill_worker().await;
    scene.publish((0..BIG).map(big).collect()).await;
    scene.start_program(limited(&kib));
    let (mut ends, end) = (0, Instant::now() + PATIENCE);
    while ends < 5 && scene.written_like("big-").await < BIG {
        let log = scene.worker().log_tail();
        assert!(Instant::now() < end, "it neither dies nor holds nor writes; its log:\n{log}");
        // What is left may be too little for the thread of a further connection: then it doesn't die, it holds.
        if !scene.worker().alive() || log.contains("holding: ") {
            ends += 1;
            scene.kill_worker().await;
            scene.start_program(limited(&kib));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    eprintln!("under {kib} KiB of address space the worker has died or held {ends} times");
    scene.kill_worker().await;
    scene.start_worker();
    scene.mended().await;
}

/// A good order with 1 MiB in a column that the audit doesn't read.
fn big(n: usize) -> Order {
    let (body, row) = orders::good(n);
    let body = body.replace(&format!("{{\"n\":{n}}}"), &format!("{{\"n\":\"{}\"}}", "x".repeat(1024 * 1024)));
    Order::new(&format!("big-{n}"), body, Expected::Row(row))
}

async fn one_of_two_killed(scene: &mut Scene) {
    scene.start_worker().is("running").await;
    scene.worker().is("running").await;
    scene.flowing(100).await;
    scene.kill_worker().await;
    scene.mended().await;
}

async fn rolling_restart(scene: &mut Scene) {
    for _ in 0..5 {
        scene.start_worker().is("running").await;
        scene.moment(0..200).await;
        scene.stop_worker().await;
    }
    scene.mended().await;
}

async fn wedged_writer(scene: &mut Scene) {
    scene.stop_worker().await;
    scene.start_program(broken(Broken::Wedged));
    scene.until("/livez fails", async |scene| scene.workers[0].get("/livez").await.0 == 503).await;
    let (_, said) = scene.worker().get("/livez").await;
    assert!(said.contains("consumer"), "/livez says which: {said}");
    // As an orchestrator does whose probe fails: SIGTERM, and SIGKILL when it has had its time.
    scene.kill_worker().await;
    scene.start_worker();
    scene.mended().await;
}
