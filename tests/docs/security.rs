//! SECURITY.md and docs/scaling.md name tests: they are there.

use std::path::Path;

use crate::{read, root};

/// All sources of the crate and its tests.
fn sources(folder: &Path) -> String {
    let mut text = String::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            text.push_str(&sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text.push_str(&std::fs::read_to_string(path).unwrap());
        }
    }
    text
}

#[test]
fn every_named_test_is_there() {
    let all = [sources(&root().join("src")), sources(&root().join("tests"))].concat();
    // Tests' names are sentences; keys of the config, which stand in code as well, are shorter.
    let sentence = |span: &&str| {
        span.matches('_').count() >= 3 && span.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    };
    let key = |span: &&str| {
        ![
            "rabbitmq_auth_mechanism_ssl",
            "rabbitmq_consistent_hash_exchange",
            "ssl_cert_login_from",
            "rabbit_sink_commit_duration_seconds",
        ]
        .contains(span)
    };
    for (file, least) in [("SECURITY.md", 20), ("docs/scaling.md", 7)] {
        let page = read(file);
        let named: Vec<&str> = page.split('`').skip(1).step_by(2).filter(sentence).filter(key).collect();
        for name in &named {
            assert!(all.contains(&format!("fn {name}(")), "{file} names the test {name}, which isn't there");
        }
        assert!(named.len() >= least, "only {} tests are named in {file}", named.len());
    }
}

#[test]
fn every_defence_has_its_test() {
    let page = read("SECURITY.md");
    let rows = page.lines().filter(|line| line.starts_with("| ") && line.matches('|').count() == 4);
    for row in rows.filter(|row| !row.contains("held by")) {
        let held = row.trim_end_matches(" |").rsplit("| ").next().unwrap();
        assert!(held.contains('`'), "nothing holds this: {row}");
    }
}
