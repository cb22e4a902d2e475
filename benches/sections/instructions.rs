//! What doesn't depend on the machine's mood: instructions, counted by Valgrind; beside them the times of
//! what needs no server.

use std::process::Command;

use super::rounds::{Point, base, points};
use super::{Bench, server_name};
use crate::drain::Backlog;
use crate::page::Section as Result;
use crate::stage::{Eye, Stage};
use crate::subject::Deduplicate::{Column, Ledger};
use crate::subject::{Subject, program};
use crate::support::database::Server;

/// Messages of the two runs whose difference is taken: what a program does once falls out.
const FEW: u64 = 2_000;
const MANY: u64 = 6_000;

pub async fn instructions(bench: &Bench, stage: &mut Stage) -> Result {
    let of =
        |server| points(server_name(server), &base(bench, server), [Subject::Worker(Column), Subject::Worker(Ledger)]);
    let mut rows = Vec::new();
    let mut floor = f64::NAN;
    for point in Server::ALL.into_iter().flat_map(of) {
        let (few, many) = (bench.in_full(FEW), bench.in_full(MANY));
        let counted = whole(stage, &point, many).await.saturating_sub(whole(stage, &point, few).await);
        let each = counted as f64 / (many - few) as f64;
        if point.subject == Subject::Floor {
            floor = each;
        }
        eprintln!("  {}, {}: {each:.0} a message", point.what, point.subject.name());
        rows.push(vec![
            point.what.clone(),
            point.subject.name(),
            format!("{each:.0}"),
            format!("**{:.2}**", each / floor),
        ]);
    }
    let about = "Of the whole program, libraries included, from the socket to the ack: the difference between 6,000 and \
                 2,000 messages, so that what is done once at the start falls out. Counted once; batches are large, \
                 as Valgrind slows the program and not the servers. It knows no SHA instructions of the processor: with a \
                 ledger some thousands are counted for each body's hash that don't happen.";
    Result::table(about, &["database", "program", "instructions a message", "of the floor's"], rows)
}

/// Instructions of a whole run, from start to end.
async fn whole(stage: &mut Stage, point: &Point, messages: u64) -> u64 {
    let backlog = Backlog { messages, ..point.backlog.clone() };
    let (database, job) = backlog.prepare(stage).await;
    stage.broker.publish(&job.queue, (0..messages).map(|nth| backlog.message(nth))).await;
    let command = point.subject.to_the_end(&job, messages);
    let counted = tokio::task::spawn_blocking(move || callgrind(&command)).await.expect("no panic");
    backlog.check(&mut Eye::open(&database.url).await).await;
    stage.broker.delete(&job.queue).await;
    counted
}

/// Instructions of a program that ends by itself.
fn callgrind(program: &Command) -> u64 {
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
    command.arg(program.get_program()).args(program.get_args());
    // It takes fifty times as long.
    for server in ["RABBITMQ", "DATABASE"] {
        command.env(format!("RABBIT_SINK__{server}__CONNECT_TIMEOUT"), "5m");
    }
    let said = command.output().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
    let text = String::from_utf8_lossy(&said.stderr);
    assert!(said.status.success(), "{command:?} failed ({}):\n{text}", said.status);
    let collected = text.lines().find_map(|line| line.split_once("Collected : ")?.1.trim().parse().ok());
    collected.unwrap_or_else(|| panic!("{command:?} counted nothing:\n{text}"))
}

/// Messages in a batch of `benches/micro.rs`.
const BATCH: f64 = 1_000.0;

pub async fn micro(_: &Bench, _: &mut Stage) -> Result {
    let micro = || Command::new(program("RABBIT_SINK_BENCH_MICRO"));
    let said = |command: &mut Command| {
        let said = command.output().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
        assert!(said.status.success(), "{command:?} failed:\n{}", String::from_utf8_lossy(&said.stderr));
        String::from_utf8_lossy(&said.stdout).into_owned()
    };
    let cases = said(micro().arg("--cases"));
    let count = |what: &str, case: &str, batches: u32| {
        let mut command = micro();
        command.args(["--count", what, case, &batches.to_string()]);
        callgrind(&command) as f64
    };
    let mut rows = Vec::new();
    for (what, name) in [("decode_and_map", "decoding and mapping"), ("build_a_batch", "building a batch")] {
        let times = said(micro().args(["--bench", what]));
        for case in cases.lines() {
            let (shape, database) = case.split_once('-').expect("SHAPE-DATABASE");
            let server = Server::ALL.into_iter().find(|server| format!("{server:?}").eq_ignore_ascii_case(database));
            rows.push(vec![
                name.to_owned(),
                server.map(server_name).expect("a database").to_owned(),
                shape.to_owned(),
                format!("{:.0}", median_ns(&times, case) / BATCH),
                format!("{:.0}", (count(what, case, 3) - count(what, case, 1)) / (2.0 * BATCH)),
            ]);
        }
    }
    let about = "`cargo bench --bench micro`, in batches of 1,000, without any server. A body becomes a row of typed values \
                 for the table's columns, without the hash for a ledger; rows become a statement and its bound values, as \
                 the driver takes them.";
    Result::table(about, &["what", "database", "shape", "ns a message", "instructions a message"], rows)
}

/// From a table that divan prints: fastest, slowest, median, …
fn median_ns(table: &str, case: &str) -> f64 {
    let found = table.lines().find_map(|line| {
        let name = line.split_whitespace().find(|word| !word.contains(['│', '├', '╰', '─']))?;
        (name == case).then_some(())?;
        let (value, unit) = line.split('│').rev().nth(3)?.trim().split_once(' ')?;
        let factor = [("ns", 1.0), ("µs", 1e3), ("ms", 1e6), ("s", 1e9)];
        let factor = factor.into_iter().find_map(|(name, factor)| (name == unit).then_some(factor))?;
        Some(value.parse::<f64>().ok()? * factor)
    });
    found.unwrap_or_else(|| panic!("no median of {case} in:\n{table}"))
}
