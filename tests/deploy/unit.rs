//! deploy/rabbit-sink.service: systemd takes it, and it fits what the program does.

use std::process::{Command, Output};
use std::time::Duration;

use crate::{read, root};

const FILE: &str = "deploy/rabbit-sink.service";

/// A key's values in the order of the lines.
fn values(key: &str) -> Vec<String> {
    let text = read(FILE);
    text.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('=')).map(str::to_owned).collect()
}

fn value(key: &str) -> String {
    let mut found = values(key);
    assert_eq!(found.len(), 1, "{key}");
    found.remove(0)
}

fn seconds(key: &str) -> Duration {
    Duration::from_secs(value(key).parse().unwrap())
}

/// systemd's own judgement of the unit, with a binary that is there.
fn analyze(arguments: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let unit = folder.path().join("rabbit-sink.service");
    let text = read(FILE).replace("/usr/local/bin/rabbit-sink", env!("CARGO_BIN_EXE_rabbit-sink"));
    std::fs::write(&unit, text).unwrap();
    Command::new("systemd-analyze")
        .args(arguments)
        .arg(&unit)
        .current_dir(root())
        .output()
        .unwrap_or_else(|error| panic!("systemd-analyze: {error}; ./tests/install.sh installs it"))
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn systemd_takes_it() {
    let output = analyze(&["verify", "--man=no"]);
    // Of a key that it doesn't know it speaks, and succeeds.
    assert_eq!((output.status.success(), said(&output).as_str()), (true, ""));
}

#[test]
fn systemd_finds_little_that_it_could_do() {
    // Tenths; 96 is a service with nothing taken from it.
    let output = analyze(&["security", "--offline=true", "--threshold=20", "--no-pager"]);
    assert!(output.status.success(), "{}", said(&output));
}

#[test]
fn it_drains_before_it_is_killed_and_is_reloaded_and_watched() {
    let defaults = rabbit_sink::load_str("least", "[pipelines.orders]\nqueue = \"q\"\ntable = \"t\"\n", &[]);
    let shutdown_timeout = defaults.map(|config| config.worker.shutdown_timeout).unwrap_or_else(|e| panic!("{e}"));
    assert!(seconds("TimeoutStopSec") >= shutdown_timeout + Duration::from_secs(5));
    assert_eq!(value("Type"), "notify");
    assert_eq!(value("ExecReload"), "/bin/sh -c \"kill -HUP $MAINPID\"");
    assert!(seconds("WatchdogSec") >= Duration::from_secs(30), "three chances to say that it lives");
    assert_eq!(value("Restart"), "on-failure");
}

#[test]
fn what_it_starts_is_a_command_and_ends_with_what_is_not_tried_again() {
    let start = value("ExecStart");
    let mut words = start.split(' ');
    assert_eq!(words.next(), Some("/usr/local/bin/rabbit-sink"));
    let arguments: Vec<&str> = words.collect();
    assert_eq!(arguments[..2], ["run", "--config"]);
    let nowhere = ["run", "--config", "/nonexistent/rabbit-sink.toml"];
    let output = Command::new(env!("CARGO_BIN_EXE_rabbit-sink")).args(nowhere).output().unwrap();
    assert_eq!(output.status.code().map(|code| code.to_string()), Some(value("RestartPreventExitStatus")));
}
