//! What the program says of itself: version, completions, manual page, schema. None of it needs a config.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::{assert_says, bare, code, text};

/// How a build finds its commit.
#[allow(dead_code)]
#[path = "../../build.rs"]
mod build;

const COMMANDS: [&str; 9] = ["run", "status", "resume", "health", "dlq", "init", "schema", "completions", "man"];

fn said(args: &[&str]) -> String {
    let output = bare(args).env("RABBIT_SINK_CONFIG", "/nowhere/rabbit-sink.toml").output().unwrap();
    assert_eq!((code(&output), text(&output.stderr)), (0, String::new()), "{args:?}");
    text(&output.stdout)
}

#[test]
fn version_is_data_and_names_the_build() {
    let build = if cfg!(debug_assertions) { " (debug build)" } else { "" };
    let version = said(&["--version"]);
    assert!(version.starts_with(&format!("rabbit-sink {}{build}", env!("CARGO_PKG_VERSION"))), "{version}");
    assert_eq!(version.lines().count(), 1);
}

/// Where a build doesn't see `.cargo/config.toml`, it needs twice the memory with large messages.
#[test]
fn the_allocator_is_built_with_its_settings() {
    let output = bare(&["--version"]).env("_RJEM_MALLOC_CONF", "stats_print:true").output().unwrap();
    let told = text(&output.stderr);
    let settings = toml::from_str::<toml::Table>(include_str!("../../.cargo/config.toml")).unwrap();
    let settings = settings["env"]["JEMALLOC_SYS_WITH_MALLOC_CONF"].as_str().unwrap().split(',');
    for (name, value) in settings.map(|setting| setting.split_once(':').unwrap()) {
        assert!(told.contains(&format!("opt.{name}: {value}")), "{name}: {told}");
    }
}

fn git(folder: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new("git");
    command.arg("-C").arg(folder).args(["-c", "user.name=t", "-c", "user.email=t@example.com"]).args(arguments);
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
    text(&output.stdout).trim().to_owned()
}

#[test]
fn a_build_knows_its_commit_where_there_is_one() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    assert_eq!(build::commit(root), None, "no clone");
    git(root, &["init", "-q"]);
    std::fs::write(root.join("a"), "1").unwrap();
    assert_eq!(build::commit(root), None, "no commit");
    git(root, &["add", "a"]);
    git(root, &["commit", "-q", "-m", "x"]);
    git(root, &["tag", "-a", "-m", "x", "v1"]);
    let hash = git(root, &["rev-parse", "--short=12", "HEAD"]);
    assert_eq!(build::commit(root), Some(hash.clone()));
    std::fs::write(root.join("a"), "2").unwrap();
    assert_eq!(build::commit(root), Some(format!("{hash}-dirty")));
    // Somebody else's clone around our sources, and a crate's package inside of one.
    let inside = root.join("inside");
    std::fs::create_dir(&inside).unwrap();
    assert_eq!(build::commit(&inside), None);
    let packed = "{\n  \"git\": {\n    \"sha1\": \"0123456789abcdef0123456789abcdef01234567\"\n  }\n}";
    std::fs::write(inside.join(".cargo_vcs_info.json"), packed).unwrap();
    assert_eq!(build::commit(&inside).as_deref(), Some("0123456789ab"));
}

#[test]
fn completions_complete() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = said(&["completions", shell]);
        for command in COMMANDS {
            assert!(script.contains(command), "{shell}: {command} is missing");
        }
    }
    assert_says(&bare(&["completions", "bahs"]).output().unwrap(), 2, &["'bahs'", "bash"]);
    let complete = |words: &str, last: usize| {
        let script = format!(
            "{}\nCOMP_WORDS=({words})\nCOMP_CWORD={last}\n_rabbit_sink_or_pipelines rabbit-sink \"${{COMP_WORDS[{last}]}}\" x\n\
             echo \"${{COMPREPLY[@]}}\"",
            said(&["completions", "bash"])
        );
        let output = Command::new("bash").args(["--norc", "-c", &script]).output().unwrap();
        assert_eq!(text(&output.stderr), "");
        text(&output.stdout).trim().to_owned()
    };
    assert_eq!(complete("rabbit-sink resu", 1), "resume");
    assert_eq!(complete("rabbit-sink run --until", 2), "--until-empty");
    // Pipelines' names, out of the config that is named, as far as it can be read.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("c.toml");
    std::fs::write(&file, "[pipelines.orders]\nunknown = 1\n[pipelines.customers]\n").unwrap();
    let (program, file) = (env!("CARGO_BIN_EXE_rabbit-sink"), file.display());
    for (words, last, completed) in [
        (format!("{program} --config {file} explain or"), 4, "orders"),
        (format!("{program} dlq list --config {file} ''"), 5, "customers orders"),
        ("rabbit-sink explain orders --wri".to_owned(), 3, "--write"),
        (format!("{program} --config /nowhere explain or"), 4, ""),
    ] {
        assert_eq!(complete(&words, last), completed, "{words}");
    }
    let zsh = said(&["completions", "zsh"]);
    assert!(
        zsh.starts_with("#compdef rabbit-sink\n") && !zsh.contains("':pipeline -- The pipeline:_default'"),
        "{zsh}"
    );
    assert!(zsh.contains("':pipeline -- The pipeline:_rabbit_sink_pipelines'"), "{zsh}");
    let fish = said(&["completions", "fish"]);
    assert!(fish.contains("__fish_seen_subcommand_from dlq; and __fish_seen_subcommand_from replay\""), "{fish}");
}

#[test]
fn the_manual_page_has_every_command_and_option() {
    let page = said(&["man"]);
    assert!(page.contains("\n.TH rabbit-sink 1 "), "{page}");
    for section in ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "COMMANDS", "ENVIRONMENT"] {
        assert!(page.contains(&format!("\n.SH {section}\n")), "{section} is missing:\n{page}");
    }
    let plain = page.replace('\\', "");
    for command in COMMANDS.iter().filter(|command| **command != "dlq") {
        assert!(
            plain.contains(&format!("\n.SS \"{command}")) || plain.contains(&format!("\n.SS {command}")),
            "{command}"
        );
    }
    for words in [
        "dlq show PIPELINE ID",
        "--until-empty",
        "--adopt PIPELINE",
        "--config",
        "RABBIT_SINK_CONFIG",
        "RABBIT_SINK__SECTION__KEY",
        "Exit codes",
    ] {
        assert!(plain.contains(words), "{words:?} is missing:\n{plain}");
    }
}

#[test]
fn the_schema_is_json() {
    let pretty = said(&["schema"]);
    let one_line = said(&["schema", "--json"]);
    assert_eq!(one_line.lines().count(), 1);
    let schema: Value = serde_json::from_str(&pretty).unwrap();
    assert_eq!(schema, serde_json::from_str::<Value>(&one_line).unwrap());
    assert_eq!(schema["properties"]["pipelines"]["type"], "object");
}
