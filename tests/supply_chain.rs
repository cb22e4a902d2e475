//! What the dependencies bring along is what deny.toml allows: licences, sources, and each advisory
//! that it ignores for its reason. Needs no tool but cargo, and no network.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Each ignored advisory, its crate, and who alone may depend on that crate: more users than these
/// may use it in another way than the reason says.
const IGNORED: [(&str, &str, &[&str]); 3] = [
    ("RUSTSEC-2023-0071", "rsa", &["sqlx-mysql"]),
    ("RUSTSEC-2024-0384", "instant", &["backoff"]),
    ("RUSTSEC-2025-0012", "backoff", &["rabbit-sink"]),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn toml_of(file: &str) -> toml::Table {
    toml::from_str(&std::fs::read_to_string(root().join(file)).unwrap()).unwrap()
}

fn texts(list: &toml::Value) -> Vec<String> {
    list.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
}

/// What cargo knows of every package that a build for this platform takes, with all features.
fn metadata() -> Value {
    let rustc = Command::new("rustc").arg("-vV").output().unwrap();
    let said = String::from_utf8(rustc.stdout).unwrap();
    let host = said.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked", "--all-features", "--filter-platform", host])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// IDs of the packages that are passed on with the program: what only tests take isn't.
fn shipped(metadata: &Value) -> BTreeSet<String> {
    let nodes = metadata["resolve"]["nodes"].as_array().unwrap();
    let mut open = vec![metadata["resolve"]["root"].as_str().unwrap().to_owned()];
    let mut reached = BTreeSet::new();
    while let Some(id) = open.pop() {
        let node = nodes.iter().find(|node| node["id"] == id.as_str()).unwrap();
        for dependency in node["deps"].as_array().unwrap() {
            let kinds = dependency["dep_kinds"].as_array().unwrap();
            let next = dependency["pkg"].as_str().unwrap();
            if kinds.iter().any(|kind| kind["kind"] != "dev") && !reached.contains(next) {
                open.push(next.to_owned());
            }
        }
        reached.insert(id);
    }
    reached
}

/// Whether an expression of SPDX can be kept with these licences alone.
fn allowed(expression: &str, licences: &[String]) -> bool {
    // What stands in brackets is judged first, and replaced by its verdict.
    if let Some(close) = expression.find(')') {
        let open = expression[..close].rfind('(').unwrap();
        let verdict = if allowed(&expression[open + 1..close], licences) { "yes" } else { "no" };
        return allowed(&format!("{}{verdict}{}", &expression[..open], &expression[close + 1..]), licences);
    }
    // The slash is the older way to write OR. An exception (WITH) only adds permissions.
    let one = |licence: &str| {
        let name = licence.split(" WITH ").next().unwrap().trim();
        name == "yes" || licences.iter().any(|allowed| allowed == name)
    };
    expression.replace('/', " OR ").split(" OR ").any(|all| all.split(" AND ").all(one))
}

#[test]
fn licences_are_read_as_they_are_meant() {
    let ours = ["MIT".to_owned(), "ISC".to_owned()];
    for expression in ["MIT", "MIT OR GPL-3.0", "GPL-3.0/MIT", "MIT AND ISC", "(MIT OR GPL-3.0) AND ISC", "MIT WITH X"]
    {
        assert!(allowed(expression, &ours), "{expression}");
    }
    for expression in ["GPL-3.0", "MIT AND GPL-3.0", "(GPL-3.0 OR X) AND ISC", "ISC AND (GPL-3.0)", "MIT-0", ""] {
        assert!(!allowed(expression, &ours), "{expression}");
    }
}

#[test]
fn licences_sources_and_crates_are_those_that_are_allowed() {
    let deny = toml_of("deny.toml");
    let licences = texts(&deny["licenses"]["allow"]);
    let banned: Vec<&str> =
        deny["bans"]["deny"].as_array().unwrap().iter().map(|ban| ban["crate"].as_str().unwrap()).collect();
    let metadata = metadata();
    let shipped = shipped(&metadata);
    assert!(shipped.len() > 150, "only {} packages were found", shipped.len());
    for package in metadata["packages"].as_array().unwrap() {
        let name = package["name"].as_str().unwrap();
        if shipped.contains(package["id"].as_str().unwrap()) {
            let licence = package["license"].as_str().unwrap_or_default();
            assert!(allowed(licence, &licences), "{name}: {licence:?} is not among deny.toml's licences");
        }
        assert!(!banned.contains(&name), "{name} is banned by deny.toml");
        let ours = name == env!("CARGO_PKG_NAME");
        assert!(ours || package["source"] == CRATES_IO, "{name} comes from {}", package["source"]);
    }
    assert_eq!(deny["sources"]["unknown-registry"].as_str(), Some("deny"));
    assert_eq!(deny["sources"]["unknown-git"].as_str(), Some("deny"));
}

/// An advisory is ignored for what the crate is used for: so who uses it must not change unseen, and
/// the exception goes with the crate.
#[test]
fn each_ignored_advisory_still_has_its_reason() {
    let deny = toml_of("deny.toml");
    let ignored: BTreeMap<&str, &str> = deny["advisories"]["ignore"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| (entry["id"].as_str().unwrap(), entry["reason"].as_str().unwrap()))
        .collect();
    assert_eq!(ignored.keys().copied().collect::<Vec<_>>(), IGNORED.map(|(id, ..)| id));
    let lock = toml_of("Cargo.lock");
    let packages = lock["package"].as_array().unwrap();
    let name = |package: &toml::Value| package["name"].as_str().unwrap().to_owned();
    for (id, subject, users) in IGNORED {
        assert!(ignored[id].contains(subject), "{id}: the reason doesn't name {subject}");
        assert!(packages.iter().any(|package| name(package) == subject), "{subject} is gone: take {id} out");
        let takes = |package: &&toml::Value| {
            let dependencies = package.get("dependencies").map(texts).unwrap_or_default();
            dependencies.iter().any(|dependency| dependency.split(' ').next() == Some(subject))
        };
        let found: BTreeSet<String> = packages.iter().filter(takes).map(name).collect();
        assert_eq!(found, users.iter().map(|&user| user.to_owned()).collect(), "{id}: who depends on {subject}");
    }
}
