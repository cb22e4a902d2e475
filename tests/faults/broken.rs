//! The harness is worth something only if it catches workers that are broken: three of them, built
//! from the library with a faulty sink, each of which must turn its line red, in its own colour.

use std::path::Path;
use std::process::Command;

use super::producer::Mix;
use super::report::Line;
use super::scene::Scene;
use super::{Fault, Group, Run, SHARED, Setting};
use crate::support::broker::Kind;
use crate::support::database::Server;
use crate::support::worker::Worker;

/// What is wrong with a worker: arguments of `broken_worker.rs`.
#[derive(Clone, Copy, Debug)]
pub enum Broken {
    /// Says "written", and writes two seconds later.
    AcksBeforeCommit,
    /// Writes without looking into the ledger.
    DropsLedger,
    /// Rejects a batch whose connection breaks.
    DeadLettersOnOutage,
    /// Blocks its thread in the middle of a write, for ever.
    Wedged,
}

/// A worker that is broken so; it takes the config that the real one takes.
pub fn broken(what: Broken) -> Command {
    let name = match what {
        Broken::AcksBeforeCommit => "acks-before-commit",
        Broken::DropsLedger => "drops-ledger",
        Broken::DeadLettersOnOutage => "dead-letters-on-outage",
        Broken::Wedged => "wedged",
    };
    let program = Path::new(Worker::program()).with_file_name("examples").join("broken-worker");
    assert!(program.is_file(), "{} is missing: cargo build --example broken-worker", program.display());
    let mut command = Command::new(program);
    command.arg(name);
    command
}

/// What isn't bad can't be dead-lettered for what it is.
const GOOD: Mix = Mix { bad_every: 0, ..Mix::USUAL };

const BROKEN: Fault = Fault {
    name: "broken-worker",
    group: Group::Worker,
    about: "Not in the matrix: its lines must be red.",
    databases: &[Server::Postgres],
    long: true,
    setting: SHARED,
    run: |_| Box::pin(async {}),
};

async fn scene(what: Broken, setting: Setting) -> Scene {
    let run = Run { server: Server::Postgres, kind: Kind::Quorum, consumers: 1 };
    let mut scene = Scene::without_worker(&Fault { setting, ..BROKEN }, run).await;
    scene.start_program(broken(what));
    scene.flowing(20).await;
    scene
}

fn red(line: &Line, damage: &[&str]) {
    assert_eq!(line.damage(), damage, "{line:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_a_worker_that_acks_before_it_commits_is_caught() {
    let setting = Setting { mix: GOOD, ..SHARED };
    let mut scene = scene(Broken::AcksBeforeCommit, setting).await;
    scene.flowing(300).await;
    // Rows come every two seconds; what comes in between is lost.
    scene.moment(700..1500).await;
    scene.kill_worker().await;
    scene.start_program(broken(Broken::AcksBeforeCommit));
    scene.mended().await;
    red(&scene.finish().await, &["lost", "acked early"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_a_worker_that_drops_the_ledger_is_caught() {
    let mut scene = scene(Broken::DropsLedger, SHARED).await;
    scene.flowing(500).await;
    red(&scene.finish().await, &["duplicates"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_a_worker_that_dead_letters_on_outage_is_caught() {
    let storm = "[pipelines.orders.storm]\naction = \"dead_letter\"";
    let setting = Setting { tables: storm, mix: GOOD, ..SHARED };
    let mut scene = scene(Broken::DeadLettersOnOutage, setting).await;
    for _ in 0..3 {
        scene.database_proxy().cut();
        scene.flowing(20).await;
    }
    scene.mended().await;
    red(&scene.finish().await, &["wrongly dead-lettered"]);
}
