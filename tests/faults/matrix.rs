//! Runs faults: all of them for `./tests/faults.sh`, a selection in the tests.

use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use futures_util::FutureExt;

use super::report::{self, Line, key};
use super::{Fault, Group, Run, all, long_run};

/// Only faults whose names begin so; a full name means that one alone.
const NAME: &str = "RABBIT_SINK_TEST_FAULT";
/// Set: what an interrupted run has done is done again.
const FRESH: &str = "RABBIT_SINK_TEST_FAULTS_FRESH";
/// No run takes longer, whatever hangs; a long one four times as long, and the long run its own time beside it.
const HANGS: Duration = Duration::from_secs(15 * 60);

/// Runs that an interrupted matrix has done, a line each: key, and whether it was right.
struct Done {
    file: PathBuf,
    right: BTreeSet<String>,
    wrong: BTreeSet<String>,
}

impl Done {
    fn read() -> Done {
        // Below the build's own folder, wherever that is.
        let tests = std::env::current_exe().expect("a path");
        let file = tests.ancestors().nth(3).expect("target/debug/deps/main").join("faults-done");
        if std::env::var_os(FRESH).is_some() {
            drop(std::fs::remove_file(&file));
        }
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        let of = |word: &str| text.lines().filter_map(|line| line.strip_prefix(word)).map(str::to_owned).collect();
        Done { right: of("right "), wrong: of("wrong "), file }
    }

    fn note(&mut self, key: String, right: bool) {
        if right {
            self.right.insert(key)
        } else {
            self.wrong.insert(key)
        };
        let lines =
            |word: &str, keys: &BTreeSet<String>| keys.iter().map(|key| format!("{word} {key}\n")).collect::<String>();
        let text = lines("right", &self.right) + &lines("wrong", &self.wrong);
        std::fs::write(&self.file, text).expect("the build's folder can be written");
    }
}

/// Runs a fault. No line, but words, where it didn't come to its end.
async fn run(fault: &Fault, run: Run) -> Result<Line, String> {
    let hangs = match fault.group {
        Group::LongRun => HANGS + long_run::lasts(),
        _ if fault.long => 4 * HANGS,
        _ => HANGS,
    };
    let running = AssertUnwindSafe(tokio::time::timeout(hangs, fault.go(run))).catch_unwind();
    match running.await {
        Ok(Ok(line)) => Ok(line),
        Ok(Err(_)) => Err(format!("still running after {} minutes", hangs.as_secs() / 60)),
        Err(panic) => {
            let said = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
            Err(said.and_then(|said| said.lines().next()).unwrap_or("it panicked").to_owned())
        }
    }
}

/// What is wrong with a run, in words; empty where all is well.
fn verdict(ended: &Result<Line, String>) -> String {
    match ended {
        Ok(line) => line.damage().join(", "),
        Err(said) => format!("it didn't come to its end: {said}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes long: ./tests/faults.sh runs it"]
async fn matrix() {
    let name = std::env::var(NAME).unwrap_or_default();
    let exact = all().any(|fault| fault.name == name);
    let wanted = |fault: &&Fault| if exact { fault.name == name } else { fault.name.starts_with(&name) };
    let runs: Vec<(&Fault, Run)> =
        all().filter(wanted).flat_map(|fault| fault.runs().into_iter().map(move |run| (fault, run))).collect();
    assert!(!runs.is_empty(), "no fault's name begins with {name:?}");
    let mut done = if name.is_empty() { Some(Done::read()) } else { None };
    let mut wrong: Vec<String> = done.iter().flat_map(|done| done.wrong.iter().cloned()).collect();
    for (number, (fault, how)) in runs.iter().enumerate() {
        let key = key(fault, *how);
        let progress = format!("[{} of {}] {}: {how}", number + 1, runs.len(), fault.name);
        if done.as_ref().is_some_and(|done| done.right.contains(&key) || done.wrong.contains(&key)) {
            eprintln!("{progress}: done before");
            continue;
        }
        eprintln!("{progress}");
        let begin = Instant::now();
        let ended = run(fault, *how).await;
        let (seconds, damage) = (begin.elapsed().as_secs(), verdict(&ended));
        match &ended {
            Ok(line) => report::write(line),
            Err(_) => report::remove(&key),
        }
        if damage.is_empty() {
            eprintln!("{progress}: right, {seconds} s");
        } else {
            eprintln!("{progress}: WRONG, {seconds} s: {damage}");
            wrong.push(key.clone());
        }
        if let Some(done) = &mut done {
            done.note(key, damage.is_empty());
        }
    }
    if let Some(done) = done {
        // Complete: the next call begins anew.
        std::fs::remove_file(done.file).expect("an own file");
    }
    assert!(wrong.is_empty(), "wrong: {}", wrong.join("; "));
}

/// Each fault of a group that isn't long, once: the databases take turns.
async fn selection(group: Group) {
    let mut wrong = Vec::new();
    for (number, fault) in all().filter(|fault| fault.group == group && !fault.long).enumerate() {
        let runs = fault.runs();
        let how = runs[number % runs.len()];
        let damage = verdict(&run(fault, how).await);
        if !damage.is_empty() {
            wrong.push(format!("{}: {how}: {damage}", fault.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_faults_of_the_worker_cost_nothing() {
    selection(Group::Worker).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_faults_of_the_broker_cost_nothing() {
    selection(Group::Broker).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_faults_of_the_database_cost_nothing() {
    selection(Group::Database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_faults_of_messages_cost_nothing() {
    selection(Group::Message).await;
}
