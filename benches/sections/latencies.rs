//! From publishing to the row, at rates that leave time to spare.

use super::{Bench, server_name};
use crate::latency::latency;
use crate::page::Section as Result;
use crate::series::Series;
use crate::stage::Stage;
use crate::subject::Deduplicate::{Column, Ledger};
use crate::subject::Subject;
use crate::support::database::Server;

/// Enough for a thousand messages at least.
fn seconds(rate: u32) -> u32 {
    if rate < 1_000 { 5 } else { 3 }
}

pub async fn latencies(bench: &Bench, stage: &mut Stage) -> Result {
    let mut rows = Vec::new();
    for server in Server::ALL {
        for rate in [200, 2_000, 8_000] {
            let subjects = [Subject::Floor, Subject::Worker(Column), Subject::Worker(Ledger)];
            let mut all = vec![(Series::default(), Series::default(), Series::default()); subjects.len()];
            for _ in 0..bench.runs {
                for (subject, series) in subjects.iter().zip(&mut all) {
                    let one = latency(stage, server, subject, rate, seconds(rate)).await;
                    eprintln!("  {}, {rate}/s, {}: {one:?}", server_name(server), subject.name());
                    series.0.0.push(one.p50);
                    series.1.0.push(one.p99);
                    series.2.0.push(one.p999);
                }
            }
            for (subject, series) in subjects.iter().zip(&all) {
                rows.push(vec![
                    server_name(server).to_owned(),
                    rate.to_string(),
                    subject.name(),
                    format!("{:.1}", series.0.median()),
                    format!("{:.1}", series.1.median()),
                    format!("{:.1}", series.2.median()),
                    format!("**{:.2}**", series.1.over(&all[0].1).median()),
                ]);
            }
        }
    }
    let header = ["database", "messages a second", "program", "p50 ms", "p99 ms", "p99.9 ms", "p99 of the floor's"];
    let about = "One consumer, a quorum queue, three to five seconds after one second to warm up. The table is looked at \
                 about once a millisecond.";
    Result::table(about, &header, rows)
}
