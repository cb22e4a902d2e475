//! What the program needs before and beside its work: memory, time to start, a file.

use super::rounds::{Point, base, points, rounds};
use super::{Bench, server_name};
use crate::drain::Backlog;
use crate::page::Section as Result;
use crate::series::Series;
use crate::shapes::Shape;
use crate::stage::Stage;
use crate::subject::Deduplicate::{Column, Ledger};
use crate::subject::Subject;
use crate::support::database::Server;

pub async fn backlog(bench: &Bench, stage: &mut Stage) -> Result {
    let base = base(bench, Server::Postgres);
    let point = |shape, messages, what| Point {
        what,
        backlog: Backlog { shape, messages, ..base.clone() },
        subject: Subject::Worker(Ledger),
    };
    let of = |full| {
        let messages = bench.in_full(full);
        point(Shape::Order, messages, messages.to_string())
    };
    let large = bench.in_full(20_000);
    let points = [of(10_000), of(1_000_000), point(Shape::Large, large, format!("{large} of 10 KB"))];
    // Memory isn't noisy.
    let all = rounds(&Bench { runs: 1, ..*bench }, stage, &points).await;
    let rows = points.iter().zip(&all).map(|(point, measured)| {
        let peak = measured.iter().map(|one| one.peak_mib).fold(0.0, f64::max);
        vec![point.what.clone(), format!("{peak:.0}")]
    });
    let about = "PostgreSQL, ledger, everything else by default: the resident memory at its highest.";
    Result::table(about, &["messages in the queue", "MiB at most"], rows.collect())
}

/// So many wait when it starts: enough that it needn't wait for more.
const WAITING: u64 = 1_000;

pub async fn start(bench: &Bench, stage: &mut Stage) -> Result {
    let of = |server| {
        let backlog = Backlog { messages: WAITING, ..base(bench, server) };
        points(server_name(server), &backlog, [Subject::Worker(Column), Subject::Worker(Ledger)])
    };
    let points: Vec<Point> = Server::ALL.into_iter().flat_map(of).collect();
    let all = rounds(bench, stage, &points).await;
    let rows = points.iter().zip(&all).map(|(point, measured)| {
        let first = Series(measured.iter().map(|one| one.first_row_ms).collect());
        vec![
            point.what.clone(),
            point.subject.name(),
            format!("**{:.0}** ({:.0}–{:.0})", first.median(), first.min(), first.max()),
            point.subject.size_mib().map_or_else(String::new, |size| format!("{size:.1}")),
        ]
    });
    let about = "From starting the program to the first row that others can see, with messages waiting. The worker \
                 checks broker, queue and table first, and makes the ledger, which isn't there yet.";
    Result::table(about, &["database", "program", "ms to the first row", "MiB of the program's file"], rows.collect())
}
