//! Imports point downward only, and each library that reaches out has one place that names it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// All modules, the lowest first: each imports from those before it only.
const LAYERS: [&str; 31] = [
    // Data.
    "digest",
    "error",
    "catalogue",
    "message",
    "nearest",
    "shutdown",
    // Logic without I/O.
    "config",
    "plan",
    "decode",
    "value",
    "batch",
    "policy",
    "retry",
    "guarantee",
    "dead_letter",
    "sample",
    "infer",
    "status",
    "summary",
    "telemetry",
    "mapping",
    // I/O.
    "rabbitmq",
    "sink",
    "cases",
    "checks",
    "writer",
    // What puts them together.
    "pipeline",
    "supervisor",
    "embed",
    "admin",
    "cli",
];

/// Crates, and the module that alone names them.
const OWNED: [(&str, &str); 4] =
    [("lapin", "rabbitmq"), ("sqlx", "sink"), ("backoff", "retry"), ("opentelemetry", "telemetry")];

struct Source {
    /// As in `sink/postgres/bind.rs`.
    path: String,
    /// The top module that it belongs to.
    module: String,
    /// Without comments and tests.
    code: String,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    files
        .iter()
        .map(|file| {
            let path = file.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
            let module = path.split(['/', '.']).next().unwrap().to_owned();
            let text = std::fs::read_to_string(file).unwrap();
            let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
            let code = text.lines().map(|line| line.split("//").next().unwrap()).collect::<Vec<_>>().join("\n");
            Source { path, module, code }
        })
        .filter(|source| !source.path.ends_with("/tests.rs"))
        .collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// The names that stand right behind `prefix`, a path such as `crate::`; those in braces one by one.
fn names_behind(code: &str, prefix: &str) -> Vec<String> {
    let name = |text: &str| -> String { text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect() };
    code.match_indices(prefix)
        .filter(|(at, _)| !code[..*at].ends_with(|c: char| c.is_alphanumeric() || c == '_'))
        .flat_map(|(at, _)| {
            let rest = &code[at + prefix.len()..];
            match rest.strip_prefix('{') {
                Some(inside) => {
                    inside.split('}').next().unwrap().split(',').map(|part| name(part.trim_start())).collect()
                }
                None => vec![name(rest)],
            }
        })
        .filter(|name| !name.is_empty())
        .collect()
}

fn rank(module: &str) -> usize {
    LAYERS.iter().position(|layer| *layer == module).unwrap_or_else(|| panic!("{module} has no place in LAYERS"))
}

#[test]
fn every_module_has_its_place() {
    let root: BTreeSet<String> = sources().into_iter().map(|source| source.module).collect();
    let known: BTreeSet<String> = LAYERS.iter().chain(&["lib", "main"]).map(|layer| (*layer).to_owned()).collect();
    assert_eq!(root, known);
}

#[test]
fn imports_point_downward() {
    let mut wrong = Vec::new();
    let mut seen = 0;
    for source in sources().iter().filter(|source| !matches!(source.module.as_str(), "lib" | "main")) {
        for imported in names_behind(&source.code, "crate::") {
            seen += 1;
            if imported == source.module || rank(&imported) < rank(&source.module) {
                continue;
            }
            wrong.push(format!("{} imports {imported}", source.path));
        }
    }
    assert!(wrong.is_empty(), "upward: {wrong:#?}");
    assert!(seen > 100, "only {seen} imports were found");
}

/// `super` that climbs out of a file's own top module would be an import that the others don't see.
#[test]
fn nothing_climbs_out_of_its_module() {
    for source in sources() {
        let depth = source.path.matches('/').count();
        let climbing = "super::".repeat(depth + 1);
        assert!(!source.code.contains(&climbing), "{} says {climbing}", source.path);
    }
}

#[test]
fn broker_and_databases_do_not_know_each_other() {
    for source in sources() {
        let imported = names_behind(&source.code, "crate::");
        for (one, other) in [("rabbitmq", "sink"), ("sink", "rabbitmq")] {
            assert!(source.module != one || !imported.iter().any(|name| name == other), "{}", source.path);
        }
    }
}

#[test]
fn each_driver_is_named_in_one_place() {
    for (name, owner) in OWNED {
        let mut found = 0;
        for source in sources() {
            let named = !names_behind(&source.code, &format!("{name}::")).is_empty()
                || source.code.contains(&format!("use {name};"))
                || source.code.contains(&format!("extern crate {name}"));
            assert!(!named || source.module == owner, "{} names {name}", source.path);
            found += usize::from(named);
        }
        assert!(found > 0, "{name} is named nowhere: is this test still right?");
    }
    let retry: Vec<String> = sources().into_iter().filter(|s| s.module == "retry").map(|s| s.path).collect();
    assert_eq!(retry, ["retry.rs"], "what waits stays in one small file");
}

/// MySQL lacks the first; the others change or swallow rows.
#[test]
fn the_sink_of_mysql_says_nothing_that_only_mariadb_understands() {
    let sources = sources();
    let mysql: Vec<&Source> = sources.iter().filter(|source| source.path.starts_with("sink/mysql")).collect();
    assert!(mysql.len() > 5 && mysql.iter().any(|source| source.code.contains("INSERT INTO")));
    for source in mysql {
        for words in ["RETURNING", "INSERT IGNORE", "ON DUPLICATE KEY", "REPLACE INTO"] {
            assert!(!source.code.contains(words), "{} says {words}", source.path);
        }
    }
}

/// The library's page lists what is promised: everything else is there for the program and the tests.
#[test]
fn what_is_public_is_promised_or_hidden() {
    const PROMISED: [&str; 1] = ["config"];
    let lib = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs")).unwrap();
    let lines: Vec<&str> = lib.lines().collect();
    let mut shown = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        if let Some(module) = line.strip_prefix("pub mod ").and_then(|rest| rest.strip_suffix(';'))
            && lines[at - 1] != "#[doc(hidden)]"
        {
            shown.push(module);
        }
    }
    assert_eq!(shown, PROMISED);
    for name in ["Config", "ConfigErrors", "load", "load_str", "run", "Worker", "Watch", "Summary", "State", "Resume"] {
        let exported =
            lines.iter().any(|line| line.starts_with("pub use ") && names_in(line).any(|found| found == name));
        assert!(exported, "{name} is no longer at the library's root");
    }
}

fn names_in(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| !(c.is_alphanumeric() || c == '_'))
}
