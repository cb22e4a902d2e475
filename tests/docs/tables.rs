//! Tables that must have a line for everything that the program knows. (That of the config's keys is written from
//! them: tests/config/reference.rs.)

use std::collections::BTreeSet;
use std::time::Instant;

use rabbit_sink::error::ErrorClass;
use rabbit_sink::status::{State, WorkerStatus};
use rabbit_sink::telemetry::metrics::Format;
use rabbit_sink::{dead_letter, telemetry};

use crate::{load, read};

const LEAST: &str = "[pipelines.orders]\nqueue = \"orders\"\ntable = \"orders\"\n";

#[test]
fn every_error_class_is_explained() {
    let page = read("docs/guarantees.md");
    for class in ErrorClass::ALL {
        assert!(page.contains(&format!("\n| `{}` |", class.name())), "{class} has no line in docs/guarantees.md");
    }
}

#[test]
fn every_header_of_a_dead_letter_is_explained() {
    let page = read("docs/guarantees.md");
    let source = read("src/dead_letter.rs");
    let constants = source.lines().filter_map(|line| line.strip_prefix("pub const ")?.split_once("\"x-"));
    let headers: Vec<String> = constants.map(|(_, rest)| format!("x-{}", rest.trim_end_matches("\";"))).collect();
    for header in &headers {
        assert!(page.contains(&format!("`{header}`")), "{header} has no line in docs/guarantees.md");
    }
    assert!(headers.len() >= 20 && headers.iter().any(|header| header == dead_letter::REASON), "{headers:?}");
    assert!(page.contains(&format!("at most {} bytes", dead_letter::REASON_MAX)));
}

#[test]
fn every_state_is_explained() {
    let page = read("docs/operations.md");
    for state in State::ALL {
        assert!(page.contains(&format!("`{}`", state.name())), "{} has no line in docs/operations.md", state.name());
    }
}

#[test]
fn every_metric_is_explained_and_no_other() {
    let status = WorkerStatus::of(&load("x", LEAST));
    let text = telemetry::metrics::render(&status, Instant::now(), Format::Prometheus).unwrap();
    let described = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let metrics: BTreeSet<String> = described.map(|(name, _)| name.to_owned()).collect();
    let page = read("docs/operations.md");
    let tables = ["rabbit_sink_ledger", "rabbit_sink_ledger_pipelines", "rabbit_sink_ledger_pauses"];
    let spans = page.split('`').skip(1).step_by(2).map(|span| span.split(['{', ' ']).next().unwrap());
    let metric = |name: &&str| name.starts_with("rabbit_sink_") || (name.starts_with("process_") && name.len() > 8);
    let named: BTreeSet<String> =
        spans.filter(metric).filter(|name| !tables.contains(name)).map(str::to_owned).collect();
    assert_eq!(named, metrics);
}
