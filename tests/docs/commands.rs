//! Command lines that stand in pages.

use std::collections::BTreeSet;
use std::process::Command;

use crate::{blocks, pages, prose, read, root};

/// Where no config is, so that a command that parses does nothing.
const NOWHERE: &str = "/nonexistent/rabbit-sink.toml";

/// Commands that read none.
const WITHOUT_CONFIG: [&str; 3] = ["completions", "man", "schema"];

/// The words behind `rabbit-sink`, up to the line's end, a pipe, a comment, or anything else of a shell's.
fn words(rest: &str) -> Vec<String> {
    let ends = |word: &&str| !word.starts_with(['|', '#', '>', '&', ';']);
    rest.split_whitespace().take_while(ends).map(|word| word.trim_end_matches([';', ',']).to_owned()).collect()
}

/// Every command line of ours in a piece of text that is code.
fn in_code(text: &str, found: &mut BTreeSet<Vec<String>>) {
    for line in text.lines() {
        for (at, _) in line.match_indices("rabbit-sink ") {
            let begins = line[..at].chars().next_back().is_none_or(|before| matches!(before, ' ' | '/' | '='));
            let words = words(&line[at + "rabbit-sink ".len()..]);
            // `deploy/rabbit-sink -- …` is somebody else's argument.
            let command = words.first().is_some_and(|word| word.starts_with(|c: char| c.is_ascii_lowercase()));
            if begins && command {
                found.insert(words);
            }
        }
    }
}

fn all() -> BTreeSet<Vec<String>> {
    let mut found = BTreeSet::new();
    for page in pages() {
        for block in blocks(&page).iter().filter(|block| ["sh", "console", "ini"].contains(&block.language.as_str())) {
            in_code(&block.text, &mut found);
        }
        for span in prose(&page).split('`').skip(1).step_by(2) {
            in_code(&span.replace('\n', " "), &mut found);
        }
    }
    found
}

/// Parses by the program itself: what is wrong with the command line is said before the config is looked for.
fn parses(words: &[String]) {
    let mut arguments = words.to_vec();
    while let Some(at) = arguments.iter().position(|word| word == "--config") {
        let file: Vec<String> = arguments.drain(at..at + 2).collect();
        let ours = file[1].starts_with("config/");
        assert!(!ours || root().join(&file[1]).is_file(), "{words:?}: there is no {}", file[1]);
    }
    let output = Command::new(env!("CARGO_BIN_EXE_rabbit-sink"))
        .args(&arguments)
        .env("RABBIT_SINK_CONFIG", NOWHERE)
        .current_dir(std::env::temp_dir())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    if WITHOUT_CONFIG.contains(&words[0].as_str()) {
        assert!(output.status.success(), "{words:?}: {said}");
        return;
    }
    assert!(said.contains("can't read the config file"), "{words:?}: {said}");
    assert_eq!(output.status.code(), Some(2), "{words:?}: {said}");
}

#[test]
fn every_command_line_parses() {
    let all = all();
    for words in &all {
        parses(words);
    }
    let commands: BTreeSet<&str> = all.iter().map(|words| words[0].as_str()).collect();
    let expected = [
        "check",
        "completions",
        "dlq",
        "explain",
        "health",
        "init",
        "man",
        "pause",
        "resume",
        "run",
        "schema",
        "status",
        "test",
    ];
    assert_eq!(Vec::from_iter(commands), expected, "{all:#?}");
}

/// What a command says behind its options, for somebody who has nothing but `--help`.
#[test]
fn every_command_line_in_the_help_parses() {
    let mut found = BTreeSet::new();
    for command in ["dlq", "dlq stats", "dlq export", "dlq import", "dlq replay", "dlq edit", "dlq discard"] {
        let help =
            Command::new(env!("CARGO_BIN_EXE_rabbit-sink")).args(command.split(' ')).arg("--help").output().unwrap();
        let help = String::from_utf8(help.stdout).unwrap();
        let lines = help.lines().filter_map(|line| line.strip_prefix("  rabbit-sink "));
        // Behind two blanks stands what it is for.
        found.extend(lines.map(|line| words(line.split("  ").next().unwrap())));
    }
    found.iter().for_each(|words| parses(words));
    let named: BTreeSet<&str> = found.iter().map(|words| words[1].as_str()).collect();
    assert_eq!(Vec::from_iter(named), ["discard", "export", "import", "replay", "show", "stats"]);
}

/// Shortened, but not made up: the page's recording is checked by running it.
#[test]
fn the_readmes_morning_after_is_the_pages() {
    let [readme, page] = ["README.md", "docs/dead-letters.md"].map(read);
    let (_, recording) = page.split_once("```console\n").unwrap();
    let (recording, _) = recording.split_once("```").unwrap();
    let (_, morning) = readme.split_once("$ rabbit-sink dlq stats orders ").unwrap();
    let (morning, _) = morning.split_once("```").unwrap();
    let lines: Vec<&str> = morning.lines().skip(1).filter(|line| !line.is_empty()).collect();
    for line in &lines {
        let begins = line.starts_with("$ ") && recording.lines().any(|recorded| recorded.starts_with(line));
        assert!(begins || recording.lines().any(|recorded| recorded == *line), "README.md: not recorded: {line}");
    }
    assert!(lines.len() > 6 && lines.iter().any(|line| line.contains("--canary")), "{lines:#?}");
}

#[test]
fn a_wrong_command_line_would_be_noticed() {
    for line in ["run --until-emtpy", "dlq list", "replay orders", "resume"] {
        let words = words(line);
        assert!(std::panic::catch_unwind(|| parses(&words)).is_err(), "{line} parses");
    }
}

#[test]
fn what_containers_run_parses() {
    let list = |text: &str| -> Vec<String> {
        let inside = text.trim().trim_start_matches('[').trim_end_matches(']');
        inside.split(',').map(|word| word.trim().trim_matches('"').to_owned()).collect()
    };
    let dockerfile = read("deploy/Dockerfile");
    assert!(dockerfile.contains("\nENTRYPOINT [\"rabbit-sink\"]\n"));
    let health = dockerfile.lines().find_map(|line| line.strip_prefix("HEALTHCHECK ")?.split_once("CMD ")).unwrap();
    assert_eq!(list(health.1)[0], "rabbit-sink");
    parses(&list(health.1)[1..]);
    let command = dockerfile.lines().find_map(|line| line.strip_prefix("CMD ")).unwrap();
    parses(&list(command));
    let kubernetes = read("deploy/kubernetes.yaml");
    let arguments = kubernetes.lines().find_map(|line| line.trim().strip_prefix("args: ")).unwrap();
    parses(&list(arguments));
}
