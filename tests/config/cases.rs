//! Every mistake that a config can have, as the program tells it: tests/config_errors/TOPIC/NAME.toml, and beside it
//! what is said of it. A line `#env: NAME=VALUE` sets a variable. After a change on purpose:
//! `RABBIT_SINK_WRITE_DOCS=1 cargo test --test config cases`, and look at what has changed.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::schema::Schema;

const WRITE: &str = "RABBIT_SINK_WRITE_DOCS";

struct Case {
    topic: String,
    /// The config.
    file: PathBuf,
}

fn cases() -> Vec<Case> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config_errors");
    let mut cases = Vec::new();
    for folder in std::fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()) {
        let topic = folder.file_name().unwrap().to_str().unwrap().to_owned();
        for file in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if file.extension().is_some_and(|extension| extension == "toml") {
                cases.push(Case { topic: topic.clone(), file });
            }
        }
    }
    cases.sort_by(|one, other| one.file.cmp(&other.file));
    cases
}

/// What the program says of a config that is wrong.
fn said(case: &Case) -> String {
    let text = std::fs::read_to_string(&case.file).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_rabbit-sink"));
    // Its folder, so that no message names this machine's.
    command.current_dir(case.file.parent().unwrap()).env_clear().stdin(Stdio::null());
    for (name, value) in text.lines().filter_map(|line| line.strip_prefix("#env: ")?.split_once('=')) {
        command.env(name, value);
    }
    let output = command.arg("--config").arg(case.file.file_name().unwrap()).arg("run").output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{}: {said}", case.file.display());
    assert!(output.stdout.is_empty(), "{}", case.file.display());
    said
}

#[test]
fn every_mistake_is_told_as_agreed() {
    let cases = cases();
    let mut wrong = Vec::new();
    for case in &cases {
        let (name, said) = (case.file.display(), said(case));
        assert!(!said.contains("hunter2"), "{name} shows a secret:\n{said}");
        let file = case.file.with_extension("txt");
        if std::env::var_os(WRITE).is_some() {
            std::fs::write(&file, &said).unwrap();
        }
        let agreed = std::fs::read_to_string(&file).unwrap_or_default();
        if said != agreed {
            wrong.push(format!("{name}\nagreed:\n{agreed}\nsaid:\n{said}"));
        }
    }
    assert!(
        wrong.is_empty(),
        "{}\nWrite them anew with\n    {WRITE}=1 cargo test --test config cases",
        wrong.join("\n")
    );
    assert!(cases.len() >= 200, "only {} cases were found", cases.len());
}

#[test]
fn every_report_has_a_case() {
    for case in cases() {
        let text = case.file.with_extension("txt");
        assert!(text.is_file(), "{} is missing", text.display());
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config_errors");
    for folder in std::fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()) {
        for file in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if file.extension().is_some_and(|extension| extension == "txt") {
                assert!(file.with_extension("toml").is_file(), "{} belongs to nothing", file.display());
            }
        }
    }
}

/// `FILE:LINE:COLUMN: key: …` with the line below it, or the variable's name.
#[test]
fn every_mistake_names_its_place() {
    for case in cases().iter().filter(|case| case.file.file_stem().is_some_and(|name| name != "nothing-at-all")) {
        let name = case.file.file_name().unwrap().to_str().unwrap();
        let said = std::fs::read_to_string(case.file.with_extension("txt")).unwrap();
        let said = said.strip_prefix("rabbit-sink: the config can't be used\n\n").unwrap();
        let (blocks, count) = said.trim_end().rsplit_once("\n\n").unwrap();
        let blocks: Vec<&str> = blocks.split("\n\n").collect();
        let number: usize = count.split(' ').next().unwrap().parse().unwrap();
        assert_eq!(blocks.len(), number, "{name}: {said}");
        for block in blocks {
            let in_file = block.strip_prefix(&format!("{name}:")).is_some_and(|rest| {
                let numbers: Vec<bool> = rest.splitn(3, ':').take(2).map(|n| n.parse::<usize>().is_ok()).collect();
                numbers == [true, true] && block.contains('^')
            });
            assert!(in_file || block.starts_with("environment variable "), "{name}: {block}");
        }
    }
}

#[test]
fn unknown_keys_and_wrong_types_are_refused_by_the_schema_too() {
    let schema = Schema::get();
    let mut count = 0;
    for case in cases().iter().filter(|case| ["names", "kinds", "later"].contains(&case.topic.as_str())) {
        let text = std::fs::read_to_string(&case.file).unwrap();
        assert!(!schema.against(&text).is_empty(), "the schema takes {}", case.file.display());
        count += 1;
    }
    assert!(count >= 60, "only {count}");
}

#[test]
fn a_file_that_cannot_be_read() {
    let missing = rabbit_sink::config::load(Path::new("/nope/x.toml"), &[]).unwrap_err();
    let said = missing.to_string();
    assert!(said.starts_with("/nope/x.toml: can't read the config file: No such file"), "{said}");
    assert!(said.contains("--config"), "{said}");

    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), b"[worker]\n\xff").unwrap();
    let said = rabbit_sink::config::load(file.path(), &[]).unwrap_err().to_string();
    assert!(said.contains("line 2: not UTF-8"), "{said}");
}
