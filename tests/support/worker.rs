//! The real binary, with a config of the test's own.

use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use serde::Deserialize;

use super::process::{new_folder, signal, tail};
use super::wait::{PATIENCE, holds_within};

/// A pipeline's line of `run --until-empty --json`.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Summary {
    pub pipeline: String,
    pub state: String,
    pub reason: Option<String>,
    pub settled: u64,
    pub written: u64,
    pub duplicates: u64,
    pub superseded: u64,
    pub skipped: u64,
    pub dead_lettered: u64,
    pub rows: u64,
    pub redelivered: u64,
    pub seconds: f64,
}

/// How a worker ended and what it said.
#[derive(Clone, Debug)]
pub struct Exit {
    /// `None`: ended by a signal.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Exit {
    /// The summary, a line per pipeline.
    pub fn summaries(&self) -> Vec<Summary> {
        let lines = self.stdout.lines().filter(|line| !line.trim().is_empty());
        lines
            .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}\n{}", self.stderr)))
            .collect()
    }

    /// The summary of the only pipeline.
    pub fn summary(&self) -> Summary {
        let mut summaries = self.summaries();
        assert_eq!(summaries.len(), 1, "one pipeline; stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        summaries.remove(0)
    }

    /// Fails the test unless the exit code is this one.
    pub fn expect(self, code: i32) -> Exit {
        assert_eq!(self.code, Some(code), "exit code; stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }
}

/// A running worker. Dropped, it is killed.
#[derive(Debug)]
pub struct Worker {
    child: Child,
    folder: PathBuf,
    ended: Option<ExitStatus>,
}

impl Worker {
    /// `rabbit-sink run` with this config.
    pub fn run(config: &str) -> Worker {
        Worker::command(config, ["run"])
    }

    /// `rabbit-sink run --until-empty --json` with this config, to its end.
    pub async fn until_empty(config: &str) -> Exit {
        Worker::command(config, ["run", "--until-empty", "--json"]).wait().await
    }

    /// Any command with this config, which it finds by `RABBIT_SINK_CONFIG`.
    pub fn command<S: AsRef<OsStr>>(config: &str, arguments: impl IntoIterator<Item = S>) -> Worker {
        Worker::command_with(config, arguments, [])
    }

    /// Any command with this config and further environment variables.
    pub fn command_with<'a, S: AsRef<OsStr>>(
        config: &str,
        arguments: impl IntoIterator<Item = S>,
        environment: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Worker {
        let mut command = Command::new(Worker::program());
        command.args(arguments);
        Worker::spawn(command, config, environment)
    }

    /// The real binary.
    pub fn program() -> &'static str {
        env!("CARGO_BIN_EXE_rabbit-sink")
    }

    /// Any program that takes a config by `RABBIT_SINK_CONFIG`: one that runs the worker under a
    /// limit, say.
    pub fn spawn<'a>(
        mut command: Command,
        config: &str,
        environment: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Worker {
        let folder = new_folder("worker");
        let file = folder.join("rabbit-sink.toml");
        std::fs::write(&file, config).expect("a file in an own folder");
        let output = |name: &str| File::create(folder.join(name)).expect("a file in an own folder");
        // What is set where the tests run must not change what the worker does.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("RABBIT_SINK") {
                command.env_remove(name);
            }
        }
        command.env("RABBIT_SINK_CONFIG", file).envs(environment).current_dir(&folder);
        command.stdin(Stdio::null()).stdout(output("stdout")).stderr(output("stderr"));
        let child = command.spawn().expect("the worker's binary");
        Worker { child, folder, ended: None }
    }

    /// Its files: config, output, and what it writes into its working folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has printed up to now.
    pub fn stdout(&self) -> String {
        self.read("stdout")
    }

    /// Its log up to now.
    pub fn stderr(&self) -> String {
        self.read("stderr")
    }

    fn read(&self, name: &str) -> String {
        String::from_utf8_lossy(&std::fs::read(self.folder.join(name)).expect("its output")).into_owned()
    }

    /// Whether it runs.
    pub fn alive(&mut self) -> bool {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().expect("an own child");
        }
        self.ended.is_none()
    }

    /// Waits until it ends by itself.
    pub async fn wait(self) -> Exit {
        self.wait_for(PATIENCE).await
    }

    /// Waits until it ends by itself; past the deadline the test fails and shows its log.
    pub async fn wait_for(mut self, deadline: Duration) -> Exit {
        let ended = holds_within(deadline, async || !self.alive()).await;
        assert!(ended, "the worker still runs after {deadline:?}; its log:\n{}", self.log_tail());
        Exit { code: self.ended.and_then(|status| status.code()), stdout: self.stdout(), stderr: self.stderr() }
    }

    /// SIGTERM, then waits.
    pub async fn stop(self) -> Exit {
        self.signal("TERM");
        self.wait().await
    }

    /// `kill -9`.
    pub async fn kill(self) -> Exit {
        self.signal("KILL");
        self.wait().await
    }

    /// Sends a signal, by its name without SIG.
    pub fn signal(&self, name: &str) {
        if self.ended.is_none() {
            signal(&[self.id()], name);
        }
    }

    /// Looks until `check` holds; past the deadline, or when the worker ends before, the test fails
    /// and shows its log.
    pub async fn eventually(&mut self, what: &str, mut check: impl AsyncFnMut() -> bool) {
        let mut ended = false;
        let held = holds_within(PATIENCE, async || {
            let holds = check().await;
            ended = !holds && !self.alive();
            holds || ended
        })
        .await;
        assert!(
            held && !ended,
            "waited in vain until {what} (the worker has ended: {ended}); its log:\n{}",
            self.log_tail()
        );
    }

    /// Waits until its log says this.
    pub async fn logs(&mut self, text: &str) {
        let log = self.folder.join("stderr");
        let said = async || String::from_utf8_lossy(&std::fs::read(&log).unwrap_or_default()).contains(text);
        self.eventually(&format!("it logs {text:?}"), said).await;
    }

    /// The last lines of its log.
    pub fn log_tail(&self) -> String {
        tail(&self.folder.join("stderr"))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if self.alive() {
            drop(self.child.kill());
            drop(self.child.wait());
        }
        if std::thread::panicking() {
            eprintln!("the worker's log:\n{}", self.log_tail());
        }
        drop(std::fs::remove_dir_all(&self.folder));
    }
}
