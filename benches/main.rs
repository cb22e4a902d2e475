//! Measures the worker against programs written by hand, on real servers: `./benches/run.sh`.
//!
//! A section (`sections.rs`) is a table of `RESULTS.md`, and perhaps a plot. Each is kept with its date and
//! commit below `target/benches`, so that one can be measured again alone; the page is made of all that
//! are there.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../tests/support/mod.rs"]
mod support;

mod distance;
mod drain;
mod latency;
mod page;
mod peer;
mod plot;
mod sections;
mod series;
mod shapes;
mod stage;
mod subject;
mod usage;

use std::time::Instant;

use page::Page;
use sections::{Bench, SECTIONS};
use stage::Stage;

const USAGE: &str =
    "usage: against-the-floor [--runs N] [--messages N] [--into FOLDER] [--page | --sections | SECTION…]";

#[tokio::main]
async fn main() {
    let mut bench = Bench { runs: 5, messages: 200_000 };
    let mut page = Page::of_the_project();
    let mut only_write = false;
    let mut wanted = Vec::new();
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut number = || words.next().and_then(|number| number.parse().ok()).expect(USAGE);
        match word.as_str() {
            // Cargo's own.
            "--bench" => {}
            "--runs" => bench.runs = number(),
            "--messages" => bench.messages = number() as u64,
            "--into" => page = Page::in_folder(words.next().expect(USAGE).as_ref()),
            "--page" => only_write = true,
            "--sections" => return sections::list(),
            name => wanted.push(name.to_owned()),
        }
    }
    if only_write {
        return page.write();
    }
    let chosen: Vec<_> = SECTIONS
        .iter()
        .filter(|section| match wanted.is_empty() {
            true => section.always,
            false => wanted.iter().any(|name| name == section.name),
        })
        .collect();
    assert!(!chosen.is_empty() && chosen.len() >= wanted.len(), "{USAGE}; sections: {}", sections::names());
    let mut stage = Stage::start().await;
    let versions = stage.versions().await;
    eprintln!("{versions}");
    for (nth, section) in chosen.iter().enumerate() {
        eprintln!("[{}/{}] {}: {}", nth + 1, chosen.len(), section.name, section.title);
        let begin = Instant::now();
        let measured = section.measure(&bench, &mut stage).await;
        if section.always {
            page.keep(section.name, &bench, &versions, begin.elapsed(), measured);
            page.write();
        }
    }
}
