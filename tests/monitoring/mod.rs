//! What `deploy/` has for those who watch: rules for Prometheus, a dashboard for Grafana, and the pages that they
//! lead to, held to a real worker and a real Prometheus.

mod names;
mod prometheus;
mod rules;
mod scrape;

use std::path::{Path, PathBuf};

use serde_json::Value;

pub const RULES: &str = "deploy/prometheus/rules.yml";
pub const RULE_TESTS: &str = "tests/monitoring/rules_test.yml";
pub const DASHBOARD: &str = "deploy/grafana/rabbit-sink.json";

pub fn path(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(file)
}

pub fn read(file: &str) -> String {
    std::fs::read_to_string(path(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// All rules of the one group.
pub fn rules() -> Vec<Value> {
    let file: Value = serde_saphyr::from_str(&read(RULES)).expect("YAML");
    let rules = file["groups"][0]["rules"].as_array().expect("rules").clone();
    assert!(rules.len() > 10 && file["groups"].as_array().expect("groups").len() == 1);
    rules
}

/// A panel's title and an expression of it, with what Grafana fills in before it asks.
pub fn panels() -> Vec<(String, String)> {
    let dashboard: Value = serde_json::from_str(&read(DASHBOARD)).expect("JSON");
    let annotations = dashboard["annotations"]["list"].as_array().expect("annotations").iter();
    let annotations = annotations.map(|one| (one["name"].clone(), one["expr"].clone()));
    let panels = dashboard["panels"].as_array().expect("panels").iter();
    let targets = panels.flat_map(|panel| {
        let targets = panel["targets"].as_array().cloned().unwrap_or_default();
        targets.into_iter().map(|target| (panel["title"].clone(), target["expr"].clone())).collect::<Vec<_>>()
    });
    let text = |value: Value| value.as_str().expect("a text").to_owned();
    let filled = |expr: &str| expr.replace("$__rate_interval", "1m").replace("$job", ".+").replace("$pipeline", ".+");
    let all: Vec<_> = annotations.chain(targets).map(|(title, expr)| (text(title), filled(&text(expr)))).collect();
    assert!(all.len() > 40, "only {} expressions were found", all.len());
    all
}

/// Names of our metrics that an expression has.
pub fn metrics_in(expr: &str) -> Vec<String> {
    let words = expr.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words.filter(|word| word.starts_with("rabbit_sink_") || word.starts_with("process_")).map(str::to_owned).collect()
}
