//! The rules by themselves: Prometheus' own tools, and the page that each alert leads to.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::{Value, json};

use super::{DASHBOARD, RULE_TESTS, RULES, panels, path, read, rules};
use crate::support::process::{new_folder, run};

fn promtool(arguments: &[&str]) -> String {
    run(Command::new("promtool").args(arguments).current_dir(path("")))
}

fn alerts() -> BTreeSet<String> {
    rules().iter().map(|rule| rule["alert"].as_str().expect("a name").to_owned()).collect()
}

#[test]
fn the_rules_pass_their_unit_tests() {
    promtool(&["check", "rules", "--lint=all", "--lint-fatal", RULES]);
    let said = promtool(&["test", "rules", RULE_TESTS]);
    assert!(said.contains("SUCCESS"), "{said}");
}

/// Each fires in one test, and is silent at another moment.
#[test]
fn every_alert_has_both_tests() {
    let file: Value = serde_saphyr::from_str(&read(RULE_TESTS)).expect("YAML");
    let tests = file["tests"].as_array().expect("tests").iter();
    let moments: Vec<&Value> = tests.flat_map(|test| test["alert_rule_test"].as_array().expect("alerts")).collect();
    for alert in alerts() {
        let of = |fires: bool| {
            let expected = |moment: &&&Value| !moment["exp_alerts"].as_array().is_none_or(Vec::is_empty);
            moments.iter().filter(|moment| moment["alertname"] == alert).any(|moment| expected(&moment) == fires)
        };
        assert!(of(true) && of(false), "{alert}: fires {}, is silent {}", of(true), of(false));
    }
}

#[test]
fn every_alert_leads_to_its_runbook_and_every_runbook_has_an_alert() {
    let page = read("docs/runbooks.md");
    let headings: BTreeSet<String> =
        page.lines().filter_map(|line| line.strip_prefix("## ")).map(str::to_owned).collect();
    assert_eq!(headings, alerts());
    for rule in rules() {
        let alert = rule["alert"].as_str().expect("a name");
        let link = format!("docs/runbooks.md#{}", alert.to_lowercase());
        assert_eq!(rule["annotations"]["runbook_url"], link, "{alert}");
        assert!(matches!(rule["labels"]["severity"].as_str(), Some("critical" | "warning")), "{alert}");
        for annotation in ["summary", "description"] {
            assert!(rule["annotations"][annotation].as_str().is_some_and(|text| text.len() > 20), "{alert}");
        }
    }
}

/// Prometheus reads each expression of the dashboard: written down as rules, since `promtool` takes those.
#[test]
fn prometheus_can_read_every_panel() {
    let expressions = panels();
    let rules: Vec<Value> = expressions
        .iter()
        .enumerate()
        .map(|(at, (_, expr))| json!({"record": format!("panel:number{at}"), "expr": expr}))
        .collect();
    let folder = new_folder("panels");
    let file = folder.join("panels.yml");
    // JSON is YAML, too.
    std::fs::write(&file, json!({"groups": [{"name": "panels", "rules": rules}]}).to_string()).expect("a file");
    promtool(&["check", "rules", "--lint=none", file.to_str().expect("UTF-8")]);
    std::fs::remove_dir_all(folder).expect("an own folder");
}

#[test]
fn panels_say_what_they_show_and_do_not_overlap() {
    let dashboard: Value = serde_json::from_str(&read(DASHBOARD)).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let mut cells = BTreeSet::new();
    let mut numbers = BTreeSet::new();
    for panel in panels {
        let title = panel["title"].as_str().expect("a title");
        assert!(numbers.insert(panel["id"].as_u64()), "{title}: its number is another one's, too");
        assert!(panel["type"] == "row" || panel["description"].as_str().is_some_and(|text| text.len() > 5), "{title}");
        let place = |key: &str| panel["gridPos"][key].as_u64().expect("a place");
        assert!(place("x") + place("w") <= 24, "{title} is beyond the edge");
        for (x, y) in (place("x")..place("x") + place("w"))
            .flat_map(|x| (place("y")..place("y") + place("h")).map(move |y| (x, y)))
        {
            assert!(cells.insert((x, y)), "{title} lies on another panel");
        }
    }
    assert!(panels.len() > 25);
}
