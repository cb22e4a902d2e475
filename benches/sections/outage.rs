//! The database stops, messages go on coming, the database is back: how fast is what has gathered
//! written? The floor doesn't survive that: it is measured on the same messages without an outage.

use std::time::{Duration, Instant};

use super::rounds::base;
use super::{Bench, server_name};
use crate::drain::{Backlog, drain};
use crate::page::Section as Result;
use crate::series::Series;
use crate::stage::{Eye, Stage};
use crate::subject::Deduplicate::Ledger;
use crate::subject::Subject;
use crate::support::database::Server;

/// Written before the outage, so that the worker is connected and warm.
const BEFORE: u64 = 1_000;

/// The database is away for so long at least, and for longer where publishing takes longer.
const AWAY: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug)]
struct Outage {
    /// From the database's first answer to the first row that comes after it.
    first_row_ms: f64,
    /// From that row to the last one.
    rate: f64,
}

pub async fn outages(bench: &Bench, stage: &mut Stage) -> Result {
    let mut rows = Vec::new();
    // A file of SQLite is never away.
    for server in [Server::Postgres, Server::Mysql] {
        let backlog = base(bench, server);
        let subject = Subject::Worker(Ledger);
        let (mut floor, mut first, mut rate) = (Series::default(), Series::default(), Series::default());
        for round in 1..=bench.runs {
            floor.0.push(drain(stage, &backlog, &Subject::Floor).await.rate);
            let one = outage(stage, &backlog, &subject).await;
            eprintln!("  {round}/{} {}: {one:?}", bench.runs, server_name(server));
            first.0.push(one.first_row_ms);
            rate.0.push(one.rate);
        }
        rows.push(vec![
            server_name(server).to_owned(),
            subject.name(),
            format!("{:.0} ({:.0}–{:.0})", first.median(), first.min(), first.max()),
            format!("{:.0}", rate.median()),
            rate.over(&floor).as_ratio(),
        ]);
    }
    let header = ["database", "program", "ms until it writes again", "rows a second", "of the floor's on a backlog"];
    let about = format!(
        "The server is stopped for {} s while the messages come, and started again. The worker, which holds meanwhile, \
         asks at growing intervals (`retry`) whether it is back. The floor can't do that; it drains the same messages \
         without an outage.",
        AWAY.as_secs()
    );
    Result::table(&about, &header, rows)
}

async fn outage(stage: &mut Stage, backlog: &Backlog, subject: &Subject) -> Outage {
    let backlog = Backlog { messages: backlog.messages + BEFORE, ..backlog.clone() };
    let (database, job) = backlog.prepare(stage).await;
    let mut running = subject.start(&job);
    stage.broker.publish(&job.queue, (0..BEFORE).map(|nth| backlog.message(nth))).await;
    let mut eye = Eye::open(&database.url).await;
    backlog.row(&mut eye, &mut running, BEFORE - 1).await;
    drop(eye);

    stage.stop(backlog.server).await;
    let stopped = Instant::now();
    stage.broker.publish(&job.queue, (BEFORE..backlog.messages).map(|nth| backlog.message(nth))).await;
    tokio::time::sleep(AWAY.saturating_sub(stopped.elapsed())).await;
    stage.restart(backlog.server).await;
    let back = Instant::now();
    let mut eye = Eye::open(&database.url).await;
    backlog.row(&mut eye, &mut running, BEFORE).await;
    let first = Instant::now();
    backlog.rows(&mut eye, &mut running).await;
    let outage = Outage {
        first_row_ms: (first - back).as_secs_f64() * 1e3,
        rate: (backlog.messages - BEFORE) as f64 / first.elapsed().as_secs_f64(),
    };
    drop(running);
    backlog.check(&mut eye).await;
    stage.broker.delete(&job.queue).await;
    outage
}
