//! Measures the worker against the floor: `./benches/run.sh`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../tests/support/mod.rs"]
mod support;

mod drain;
mod shapes;
mod stage;
mod subject;
mod usage;

use drain::{Backlog, drain};
use shapes::Shape;
use stage::Stage;
use subject::{Deduplicate, Subject};
use support::broker::Kind;
use support::database::Server;

#[tokio::main]
async fn main() {
    let mut stage = Stage::start().await;
    eprintln!("{}", stage.versions().await);
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let server = match words.first().map(String::as_str) {
        Some("mysql") => Server::Mysql,
        Some("sqlite") => Server::Sqlite,
        _ => Server::Postgres,
    };
    let messages = words.get(1).map_or(200_000, |n| n.parse().unwrap());
    let runs = words.get(2).map_or(3, |n| n.parse().unwrap());
    let shape = match words.get(3).map(String::as_str) {
        Some("small") => Shape::Small,
        Some("large") => Shape::Large,
        _ => Shape::Order,
    };
    let kind = if words.get(4).map(String::as_str) == Some("classic") { Kind::Classic } else { Kind::Quorum };
    let backlog = Backlog { server, kind, shape, messages, consumers: 1, config: String::new() };
    for _ in 0..runs {
        for subject in [
            Subject::Floor,
            Subject::Worker(Deduplicate::Column),
            Subject::Worker(Deduplicate::Ledger),
            Subject::Worker(Deduplicate::None),
        ] {
            let m = drain(&mut stage, &backlog, &subject).await;
            println!(
                "{:<24} {:>8.0}/s  first {:>5.0} ms  own {:>5.2} us  servers {:>5.2} us  {:>5.1} MiB",
                subject.name(),
                m.rate,
                m.first_row_ms,
                m.cpu_us,
                m.servers_us,
                m.peak_mib
            );
        }
    }
}
