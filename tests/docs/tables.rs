//! Tables that must have a line for everything that the program knows.

use std::collections::BTreeSet;
use std::time::Instant;

use rabbit_sink::config::load_str;
use rabbit_sink::error::ErrorClass;
use rabbit_sink::status::{State, WorkerStatus};
use rabbit_sink::{dead_letter, telemetry};

use crate::{load, read};

const LEAST: &str = "[pipelines.orders]\nqueue = \"orders\"\ntable = \"orders\"\n";

/// Sections as headings in docs/config.md and as a config names them, with a config in which they may stand.
const SECTIONS: [(&str, &str, &str); 11] = [
    ("## [worker]", "worker", ""),
    ("## [admin]", "admin", ""),
    ("## [rabbitmq], [brokers.NAME]", "rabbitmq", "url = \"amqp://h\"\n"),
    ("## [database], [databases.NAME]", "database", "url = \"sqlite://f\"\n"),
    ("## [pipelines.NAME]", "pipelines.orders", ""),
    ("## [pipelines.NAME.columns]", "pipelines.orders.columns.c", "from = \"/c\"\n"),
    ("## [pipelines.NAME.batch]", "pipelines.orders.batch", ""),
    ("## [pipelines.NAME.limits]", "pipelines.orders.limits", ""),
    ("## [pipelines.NAME.retry]", "pipelines.orders.retry", ""),
    ("## [pipelines.NAME.storm]", "pipelines.orders.storm", ""),
    ("## [pipelines.NAME.dead_letter]", "pipelines.orders.dead_letter", ""),
];

/// A section of docs/config.md, up to the next heading of its level.
fn section(heading: &str) -> String {
    let text = read("docs/config.md");
    let start = text.find(&format!("{heading}\n")).unwrap_or_else(|| panic!("no heading {heading}"));
    let rest = &text[start + heading.len()..];
    rest[..rest.find("\n## ").unwrap_or(rest.len())].to_owned()
}

/// A config with one more line in a section.
fn with(name: &str, base: &str, line: &str) -> String {
    match name {
        "pipelines.orders" => format!("{LEAST}{line}\n"),
        _ => format!("{LEAST}[{name}]\n{base}{line}\n"),
    }
}

/// What the reader knows in a section: it says so when it meets an unknown key.
fn known(name: &str, base: &str) -> Vec<String> {
    // Nothing is near enough to this for another hint.
    let errors = load_str("x", &with(name, base, "zzzzzzzzzzzzzzzzzzzzzz = 1"), &[]).unwrap_err().to_string();
    let (_, keys) = errors.split_once("known here: ").unwrap_or_else(|| panic!("{name}: {errors}"));
    keys.lines().next().unwrap().split(", ").map(str::to_owned).collect()
}

#[test]
fn every_key_has_its_place() {
    for (heading, name, base) in SECTIONS {
        let section = section(heading);
        let below = ["batch", "limits", "retry", "storm", "dead_letter", "columns"];
        let keys = known(name, base);
        for key in keys.iter().filter(|key| name != "pipelines.orders" || !below.contains(&key.as_str())) {
            assert!(section.contains(&format!("`{key}`")), "docs/config.md, {heading}: {key} is missing");
        }
    }
}

#[test]
fn every_key_in_the_tables_is_known() {
    for (heading, name, base) in SECTIONS {
        let keys = known(name, base);
        let section = section(heading);
        // The first table of a section; below it, others are about places.
        let table = section.lines().skip_while(|line| !line.starts_with("| key ")).skip(2);
        for line in table.take_while(|line| line.starts_with('|')) {
            for key in line.split('|').nth(1).unwrap().split('`').skip(1).step_by(2) {
                assert!(keys.iter().any(|known| known == key), "docs/config.md, {heading}: {key} is not a key");
            }
        }
    }
}

/// Setting a key to what the table calls its default changes nothing.
#[test]
fn the_defaults_are_the_defaults() {
    let mut count = 0;
    for (heading, name, base) in SECTIONS {
        for line in section(heading).lines().filter(|line| line.starts_with("| `")) {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            let (Some(key), Some(value)) = (code(cells[1]), cells.get(3).copied().and_then(code)) else { continue };
            let explicit = load("explicit", &with(name, base, &format!("{key} = {value}")));
            let implicit = load("implicit", &with(name, base, ""));
            assert_eq!(format!("{explicit:?}"), format!("{implicit:?}"), "{heading}: {key} = {value}");
            count += 1;
        }
    }
    assert!(count >= 40, "only {count} defaults were found");
}

/// The one span of code in a cell, which a remark behind a colon may follow.
fn code(cell: &str) -> Option<&str> {
    let (code, rest) = cell.strip_prefix('`')?.split_once('`')?;
    (rest.is_empty() || rest.starts_with(':')).then_some(code)
}

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
    let text = telemetry::metrics::render(&WorkerStatus::of(&load("x", LEAST)), Instant::now()).unwrap();
    let metrics: BTreeSet<String> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '))
        .map(|(name, kind)| match kind {
            "counter" => format!("{name}_total"),
            "info" => format!("{name}_info"),
            _ => name.to_owned(),
        })
        .collect();
    let page = read("docs/operations.md");
    let named: BTreeSet<String> = page
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|span| span.starts_with("rabbit_sink_") && !span.contains("ledger"))
        .map(|span| span.split(['{', ' ']).next().unwrap().to_owned())
        .collect();
    assert_eq!(named, metrics);
}
