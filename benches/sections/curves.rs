//! One figure that is varied, and what it does to the throughput: tables with a plot.

use std::time::Duration;

use super::rounds::{Point, base, rates, rounds};
use super::{Bench, server_name};
use crate::drain::Backlog;
use crate::page::{Curve, Section as Result};
use crate::stage::Stage;
use crate::subject::Deduplicate::Ledger;
use crate::subject::Subject;
use crate::support::database::Server;

/// One figure that is varied: a row and a point of a curve for each value.
async fn curve(bench: &Bench, stage: &mut Stage, about: &str, axis: &str, points: Vec<(String, f64, Point)>) -> Result {
    let (labels, points): (Vec<(String, f64)>, Vec<Point>) =
        points.into_iter().map(|(line, x, point)| ((line, x), point)).unzip();
    let all = rounds(bench, stage, &points).await;
    let mut curves: Vec<Curve> = Vec::new();
    let mut rows = Vec::new();
    for ((line, x), measured) in labels.into_iter().zip(&all) {
        let rate = rates(measured);
        let spread = format!("{:.0} ({:.0}–{:.0})", rate.median(), rate.min(), rate.max());
        rows.push(vec![line.clone(), x.to_string(), spread]);
        match curves.iter_mut().find(|curve| curve.name == line) {
            Some(curve) => curve.points.push((x, rate.median())),
            None => curves.push(Curve { name: line, points: vec![(x, rate.median())] }),
        }
    }
    let header = vec!["program".to_owned(), axis.to_owned(), "rows a second".to_owned()];
    Result { about: about.to_owned(), header, rows, curves }
}

pub async fn distance(bench: &Bench, stage: &mut Stage) -> Result {
    let mut points = Vec::new();
    for milliseconds in [0.1, 1.0, 2.5, 12.0] {
        for consumers in [1, 4] {
            for subject in [Subject::Floor, Subject::Worker(Ledger)] {
                let line = format!("{}, {consumers} consumer{}", subject.name(), if consumers > 1 { "s" } else { "" });
                let round_trip = Some(Duration::from_secs_f64(milliseconds / 1e3));
                let messages = bench.messages / 2;
                let backlog = Backlog { consumers, round_trip, messages, ..base(bench, Server::Postgres) };
                points.push((line, milliseconds, Point { what: format!("{milliseconds} ms"), backlog, subject }));
            }
        }
    }
    let about = "PostgreSQL behind a relay that delays every byte. A batch that is all new is one round trip.";
    curve(bench, stage, about, "ms of round trip", points).await
}

pub async fn batches(bench: &Bench, stage: &mut Stage) -> Result {
    let mut points = Vec::new();
    for server in Server::ALL {
        for rows in [100, 500, 1_000, 2_000, 4_000] {
            let config = format!("prefetch = {}\n[pipelines.bench.batch]\nmax_rows = {rows}", (2 * rows).max(2_000));
            let backlog = Backlog { config, messages: bench.messages / 2, ..base(bench, server) };
            let what = format!("{}, {rows} rows", server_name(server));
            let point = Point { what, backlog, subject: Subject::Worker(Ledger) };
            points.push((server_name(server).to_owned(), f64::from(rows), point));
        }
    }
    curve(bench, stage, "`batch.max_rows` with a `prefetch` of twice as many.", "rows in a batch", points).await
}

pub async fn prefetch(bench: &Bench, stage: &mut Stage) -> Result {
    let mut points = Vec::new();
    // A file is never far away.
    for server in [Server::Postgres, Server::Mysql] {
        for prefetch in [500, 1_000, 2_000, 4_000, 8_000] {
            // A prefetch holds two batches, or the config is refused.
            let config =
                format!("prefetch = {prefetch}\n[pipelines.bench.batch]\nmax_rows = {}", 1_000.min(prefetch / 2));
            let backlog = Backlog { config, messages: bench.messages / 2, ..base(bench, server) };
            let what = format!("{}, prefetch {prefetch}", server_name(server));
            let point = Point { what, backlog, subject: Subject::Worker(Ledger) };
            points.push((server_name(server).to_owned(), f64::from(prefetch), point));
        }
    }
    curve(
        bench,
        stage,
        "`prefetch` with batches of 1,000, or of half the prefetch where that is less.",
        "messages on their way",
        points,
    )
    .await
}
