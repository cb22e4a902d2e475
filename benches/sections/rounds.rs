//! Subjects that take turns over the same backlogs, and how they stand beside each other.

use crate::drain::{Backlog, Measured, drain};
use crate::page::Section as Result;
use crate::sections::Bench;
use crate::series::Series;
use crate::shapes::Shape;
use crate::stage::Stage;
use crate::subject::Deduplicate::{Column, Ledger, None as Nothing};
use crate::subject::Subject;
use crate::support::broker::Kind;
use crate::support::database::Server;

/// What a row of a table is about: a backlog and who drains it.
pub struct Point {
    /// What is varied, as it stands in the table.
    pub what: String,
    pub backlog: Backlog,
    pub subject: Subject,
}

/// The base point.
pub fn base(bench: &Bench, server: Server) -> Backlog {
    Backlog {
        server,
        kind: Kind::Quorum,
        shape: Shape::Order,
        messages: bench.messages,
        consumers: 1,
        bad_every: 0,
        round_trip: None,
        config: String::new(),
        every_row: false,
    }
}

pub fn worker() -> [Subject; 3] {
    [Subject::Worker(Column), Subject::Worker(Ledger), Subject::Worker(Nothing)]
}

/// All points in turn, round after round.
pub async fn rounds(bench: &Bench, stage: &mut Stage, points: &[Point]) -> Vec<Vec<Measured>> {
    let mut all = vec![Vec::with_capacity(bench.runs); points.len()];
    for round in 1..=bench.runs {
        for (point, measured) in points.iter().zip(&mut all) {
            let one = drain(stage, &point.backlog, &point.subject).await;
            eprintln!(
                "  {round}/{} {}, {}: {:.0}/s, {:.2} µs, {:.0} MiB",
                bench.runs,
                point.what,
                point.subject.name(),
                one.rate,
                one.cpu_us,
                one.peak_mib
            );
            measured.push(one);
        }
    }
    all
}

pub fn rates(measured: &[Measured]) -> Series {
    Series(measured.iter().map(|one| one.rate).collect())
}

pub fn cpu(measured: &[Measured]) -> Series {
    Series(measured.iter().map(|one| one.cpu_us).collect())
}

/// Throughput, processor time and memory, each beside the floor of the same point: the nearest one before.
pub async fn beside_the_floor(bench: &Bench, stage: &mut Stage, about: &str, points: Vec<Point>) -> Result {
    let all = rounds(bench, stage, &points).await;
    let mut floor = 0;
    let mut rows = Vec::new();
    for (at, (point, measured)) in points.iter().zip(&all).enumerate() {
        if point.subject == Subject::Floor {
            floor = at;
        }
        let ratio = rates(measured).over(&rates(&all[floor]));
        let time = cpu(measured).over(&cpu(&all[floor]));
        let of = |figure: fn(&Measured) -> f64| Series(measured.iter().map(figure).collect()).median();
        rows.push(vec![
            point.what.clone(),
            point.subject.name(),
            format!("{:.0}", rates(measured).median()),
            ratio.as_ratio(),
            format!("{:.1}", cpu(measured).median()),
            format!("{:.2}", time.median()),
            format!("{:.1}", of(|one| one.servers_us)),
            format!("{:.0}", of(|one| one.peak_mib)),
            format!("{:.0}", of(|one| one.first_row_ms)),
        ]);
    }
    let header = [
        "",
        "program",
        "rows a second",
        "of the floor",
        "µs of CPU a message",
        "of the floor's",
        "µs of the servers",
        "MiB at most",
        "ms to the first row",
    ];
    Result::table(about, &header, rows)
}

pub fn points(what: &str, backlog: &Backlog, subjects: impl IntoIterator<Item = Subject>) -> Vec<Point> {
    let floor = std::iter::once(Subject::Floor);
    let point = |subject| Point { what: what.to_owned(), backlog: backlog.clone(), subject };
    floor.chain(subjects).map(point).collect()
}
