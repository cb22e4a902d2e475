//! What users have today, beside the floor and the worker: the same messages, the same table.

use super::Bench;
use super::rounds::{Point, base, cpu, rates, rounds};
use crate::drain::{Backlog, Measured};
use crate::page::Section as Result;
use crate::peer::Peer;
use crate::series::Series;
use crate::stage::Stage;
use crate::subject::Deduplicate::{Column, Ledger};
use crate::subject::Subject;
use crate::support::broker::Kind;
use crate::support::database::Server;

pub async fn peers(bench: &Bench, stage: &mut Stage) -> Result {
    let point = |subject: Subject, kind: Kind| Point {
        what: format!("{kind:?}").to_lowercase(),
        backlog: Backlog { kind, every_row: true, ..base(bench, Server::Postgres) },
        subject,
    };
    let mut points = Vec::new();
    for kind in [Kind::Quorum, Kind::Classic] {
        points.push(point(Subject::Floor, kind));
        points.push(point(Subject::Worker(Column), kind));
        points.push(point(Subject::Worker(Ledger), kind));
        let its = Peer::ALL.into_iter().filter(|peer| peer.kind() == kind);
        points.extend(its.map(|peer| point(Subject::Peer(peer), kind)));
    }
    let all = rounds(bench, stage, &points).await;
    let of_kind = |what: &str, subject: &Subject| {
        let found = points.iter().position(|point| point.what == what && point.subject == *subject);
        rates(&all[found.expect("measured on each kind of queue")])
    };
    let mut rows = Vec::new();
    for (point, measured) in points.iter().zip(&all) {
        let rate = rates(measured);
        let of = |figure: fn(&Measured) -> f64| Series(measured.iter().map(figure).collect()).median();
        rows.push(vec![
            point.what.clone(),
            point.subject.name(),
            format!("{:.0}", rate.median()),
            rate.over(&of_kind(&point.what, &Subject::Floor)).as_ratio(),
            format!("{:.1}", of_kind(&point.what, &Subject::Worker(Ledger)).over(&rate).median()),
            format!("{:.1}", cpu(measured).median()),
            format!("{:.0}", of(|one| one.peak_mib)),
            guarantee(&point.subject).to_owned(),
        ]);
    }
    let header = [
        "queue",
        "program",
        "rows a second",
        "of the floor",
        "times slower than rabbit-sink with a ledger",
        "µs of CPU a message",
        "MiB at most",
        "what it guarantees",
    ];
    let about = "PostgreSQL. Programs in `benches/peers/`, set up for this table as somebody would who knows them: batches of \
                 1,000 where they have batches, acks after the commit. After each run every column of every row is \
                 compared with its message.";
    Result::table(about, &header, rows)
}

fn guarantee(subject: &Subject) -> &'static str {
    match subject {
        Subject::Peer(peer) => peer.guarantee(),
        Subject::Worker(Column) => "each message one row, by the table's key; what can't be written is dead-lettered",
        Subject::Worker(_) => {
            "each message ID written once, known by a ledger in the same transaction; what can't be written is dead-lettered"
        }
        _ => "acks after the commit; whatever goes wrong ends it",
    }
}
