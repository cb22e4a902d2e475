//! Backlogs: what is varied is the database, the queue, the pool, the messages.

use super::rounds::{Point, base, beside_the_floor, cpu, points, rates, rounds, worker};
use super::{Bench, server_name};
use crate::drain::Backlog;
use crate::page::Section as Result;
use crate::shapes::Shape;
use crate::stage::Stage;
use crate::subject::Deduplicate::{Column, Ledger};
use crate::subject::Subject;
use crate::support::broker::Kind;
use crate::support::database::Server;

pub async fn noise(bench: &Bench, stage: &mut Stage) -> Result {
    let of = |server| points(server_name(server), &base(bench, server), [Subject::Again]);
    let points = Server::ALL.into_iter().flat_map(of).collect();
    let about = "The same program twice: what a ratio may be off by chance.";
    beside_the_floor(bench, stage, about, points).await
}

pub async fn databases(bench: &Bench, stage: &mut Stage) -> Result {
    let of = |server| points(server_name(server), &base(bench, server), worker());
    let points = Server::ALL.into_iter().flat_map(of).collect();
    let about = "The base point: a quorum queue, one consumer, messages of the shape `order`.";
    beside_the_floor(bench, stage, about, points).await
}

pub async fn queues(bench: &Bench, stage: &mut Stage) -> Result {
    let of =
        |(kind, name)| points(name, &Backlog { kind, ..base(bench, Server::Postgres) }, worker().into_iter().take(2));
    let points = [(Kind::Classic, "classic"), (Kind::Quorum, "quorum")].into_iter().flat_map(of).collect();
    beside_the_floor(bench, stage, "PostgreSQL.", points).await
}

pub async fn consumers(bench: &Bench, stage: &mut Stage) -> Result {
    let of = |consumers| {
        let backlog = Backlog { consumers, ..base(bench, Server::Postgres) };
        points(&consumers.to_string(), &backlog, worker().into_iter().take(2))
    };
    let about = "PostgreSQL. With two cores for all, a second consumer only fills what the first leaves idle.";
    let points = [1, 2, 4].into_iter().flat_map(of).collect();
    beside_the_floor(bench, stage, about, points).await
}

pub async fn shapes(bench: &Bench, stage: &mut Stage) -> Result {
    let of = |(shape, part): (Shape, u64)| {
        let backlog = Backlog { shape, messages: bench.messages / part, ..base(bench, Server::Postgres) };
        points(shape.name(), &backlog, worker().into_iter().take(2))
    };
    let about = "PostgreSQL. `small`: 60 bytes, 3 columns; `order`: 207 bytes, 10 columns; `large`: 10 KB, 40 columns.";
    let points = [(Shape::Small, 1), (Shape::Order, 1), (Shape::Large, 20)].into_iter().flat_map(of).collect();
    beside_the_floor(bench, stage, about, points).await
}

pub async fn bad(bench: &Bench, stage: &mut Stage) -> Result {
    let points: Vec<Point> = [0, 100, 10]
        .into_iter()
        .map(|bad_every| Point {
            what: if bad_every == 0 { "none".to_owned() } else { format!("1 in {bad_every}") },
            // A tenth of bad ones is no storm by the defaults, which begin at 95 %.
            backlog: Backlog { bad_every, ..base(bench, Server::Postgres) },
            subject: Subject::Worker(Ledger),
        })
        .collect();
    let all = rounds(bench, stage, &points).await;
    let rows = points.iter().zip(&all).map(|(point, measured)| {
        let ratio = rates(measured).over(&rates(&all[0]));
        vec![
            point.what.clone(),
            format!("{:.0}", rates(measured).median()),
            ratio.as_ratio(),
            format!("{:.1}", cpu(measured).median()),
        ]
    });
    let rows = rows.collect();
    let header = ["bad", "messages a second", "of what it is without", "µs of CPU a message"];
    let about = "PostgreSQL, ledger. Bad ones aren't JSON; each is dead-lettered with its reason, confirmed and acked.";
    Result::table(about, &header, rows)
}

pub async fn compare(bench: &Bench, stage: &mut Stage) -> Result {
    let mut rows = Vec::new();
    for server in Server::ALL {
        for how in [Column, Ledger] {
            let point = |subject| Point { what: server_name(server).to_owned(), backlog: base(bench, server), subject };
            let points = [point(Subject::Other(how)), point(Subject::Worker(how))];
            let all = rounds(bench, stage, &points).await;
            let (ratio, time) = (rates(&all[1]).over(&rates(&all[0])), cpu(&all[1]).over(&cpu(&all[0])));
            rows.push(vec![
                server_name(server).to_owned(),
                how.name().to_owned(),
                ratio.as_ratio(),
                format!("{:.2}", time.median()),
            ]);
            eprintln!("{}", rows.last().map(|row| row.join(", ")).unwrap_or_default());
        }
    }
    let header = ["database", "deduplicate", "rows a second of what they were", "CPU of what it was"];
    let about = "This tree beside the commit that was named.";
    Result::table(about, &header, rows)
}
