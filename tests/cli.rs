//! The command line: help, exit codes, signals, output. Needs no server: the worker here has a
//! broker that isn't there.

// The lints' exemption for tests leaves out the functions that tests call.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "cli/about.rs"]
mod about;
#[path = "cli/secrets.rs"]
mod secrets;

use std::io::{Read, pipe};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// In every place of the config where a secret may stand.
const SECRET: &str = "hunter2";

/// A folder with a config: one pipeline, a SQLite file, a broker at a port where nobody listens.
struct Setup {
    folder: TempDir,
    port: u16,
    /// Of the program's environment.
    variables: Vec<(String, String)>,
}

impl Setup {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let [port, broker] = free_ports();
        let config = format!(
            "[rabbitmq]\nurl = \"amqp://guest:{SECRET}@127.0.0.1:{broker}/%2f\"\n\
             [database]\nurl = \"sqlite://{}/rows.db?mode=rwc\"\n\
             [admin]\nlisten = \"127.0.0.1:{port}\"\n\
             [pipelines.orders]\nqueue = \"orders\"\ntable = \"orders\"\n",
            folder.path().display()
        );
        std::fs::write(folder.path().join("config.toml"), config).unwrap();
        Setup { folder, port, variables: Vec::new() }
    }

    fn config(&self) -> PathBuf {
        self.folder.path().join("config.toml")
    }

    fn edit(&self, from: &str, to: &str) {
        let config = std::fs::read_to_string(self.config()).unwrap();
        assert!(config.contains(from));
        std::fs::write(self.config(), config.replace(from, to)).unwrap();
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = bare(args);
        command.env("RABBIT_SINK_CONFIG", self.config()).envs(self.variables.iter().cloned());
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// The state that the worker tells of "orders".
    fn state(&self) -> String {
        let status: Value = serde_json::from_slice(&self.run(&["status", "--json"]).stdout).unwrap();
        status["state"].as_str().unwrap().to_owned()
    }

    /// Starts a worker and waits until it answers.
    fn start(&self, args: &[&str]) -> Worker {
        let mut command = self.command(&[&["run"], args].concat());
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let worker = Worker(Some(child));
        eventually("the worker answers", || self.run(&["health"]).status.success());
        worker
    }
}

/// Killed when a test fails before its end.
struct Worker(Option<Child>);

impl Worker {
    fn signal(&self, name: &str) {
        let id = self.0.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args(["-s", name, &id]).status().unwrap().success());
    }

    fn end(mut self) -> Output {
        let mut child = self.0.take().unwrap();
        eventually("the worker ends", || child.try_wait().unwrap().is_some());
        child.wait_with_output().unwrap()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            child.kill().ok();
            child.wait().ok();
        }
    }
}

fn bare(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rabbit-sink"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("RABBIT_SINK") {
            command.env_remove(name);
        }
    }
    command.args(args).env("COLUMNS", "100").stdin(Stdio::null());
    command
}

/// Held together until both are known, so that they differ.
fn free_ports() -> [u16; 2] {
    let listeners = [(); 2].map(|()| std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}

fn eventually(what: &str, mut happens: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !happens() {
        assert!(Instant::now() < deadline, "not within 30 s: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("ended by a signal")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[track_caller]
fn assert_says(output: &Output, expected: i32, words: &[&str]) {
    let said = text(&output.stderr);
    assert_eq!(code(output), expected, "{said}");
    words.iter().for_each(|word| assert!(said.contains(word), "\"{word}\" is missing in:\n{said}"));
    assert!(output.stdout.is_empty(), "messages belong on stderr: {}", text(&output.stdout));
}

/// `tests/cli/help.txt` is what users read; after a change on purpose: `UPDATE_HELP=1 cargo test --test cli help`.
#[test]
fn help_is_what_was_agreed() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cli/help.txt");
    let mut shown = String::new();
    let dlq =
        ["stats", "list", "show", "export", "import", "replay", "edit", "discard"].map(|name| format!("dlq {name}"));
    let dlq = dlq.iter().map(String::as_str);
    let worker = ["", "run", "check", "explain", "test", "status", "pause", "resume", "health", "dlq"];
    for command in worker.into_iter().chain(dlq).chain(["init", "schema", "completions", "man"]) {
        let args: Vec<&str> = command.split_whitespace().chain(["--help"]).collect();
        let output = bare(&args).output().unwrap();
        assert_eq!(code(&output), 0);
        shown.push_str(&format!("$ rabbit-sink {}\n{}\n", args.join(" "), text(&output.stdout)));
    }
    if std::env::var_os("UPDATE_HELP").is_some() {
        std::fs::write(file, &shown).unwrap();
    }
    assert_eq!(shown, std::fs::read_to_string(file).unwrap());
    assert!(shown.lines().all(|line| line.chars().count() <= 100), "wider than a terminal may be");
}

#[test]
fn wrong_usage_is_2() {
    for (line, says) in [(&[][..], "First steps:"), (&["dlq"], "The morning after:"), (&["--json", "dlq"], "replay")] {
        let told = [bare(line).output().unwrap(), bare(line).env("RABBIT_SINK_CONFIG", "x.toml").output().unwrap()];
        told.iter().for_each(|output| assert_says(output, 2, &["Usage: rabbit-sink ", says]));
    }
    assert_says(&bare(&["rnu"]).output().unwrap(), 2, &["'rnu'", "a similar subcommand exists: 'run'"]);
    for (line, near) in
        [(&["stauts"][..], "status"), (&["--json", "dlq", "lsit", "x"], "list"), (&["shcema"], "schema")]
    {
        let tip = format!("a similar subcommand exists: '{near}'");
        assert_says(&bare(line).output().unwrap(), 2, &[&tip]);
    }
    assert!(!text(&bare(&["frobnicate"]).output().unwrap().stderr).contains("similar"));
    assert_says(&bare(&["run", "--until-emty"]).output().unwrap(), 2, &["--until-empty"]);
    assert_says(&bare(&["dlq", "list", "orders", "--limit", "0"]).output().unwrap(), 2, &["--limit"]);
    let setup = Setup::new();
    assert_says(&setup.run(&["--log-level", "rabbit_sink=loud", "status"]), 2, &["rabbit_sink=loud", "expected error"]);
    for args in [&["resume", "ordres"][..], &["dlq", "list", "ordres"], &["dlq", "show", "ordres", "ab"]] {
        assert_says(&setup.run(args), 2, &["there is no pipeline \"ordres\"; did you mean \"orders\"?"]);
    }
    assert_says(&setup.run(&["run", "--adopt", "ordres"]), 2, &["--adopt", "did you mean \"orders\"?"]);
    assert_says(&setup.run(&["dlq", "show", "orders", ""]), 2, &["an ID"]);
}

#[test]
fn a_wrong_config_is_2_and_names_the_place() {
    let setup = Setup::new();
    assert_says(&bare(&["status", "--config", "/nowhere/x.toml"]).output().unwrap(), 2, &["/nowhere/x.toml"]);
    setup.edit("queue = \"orders\"", "queeu = \"orders\"");
    assert_says(&setup.run(&["run"]), 2, &["config.toml", "queeu", "queue"]);
}

#[test]
fn the_option_goes_before_the_variable() {
    let setup = Setup::new();
    let output = setup.run(&["status", "--config", "/nowhere/x.toml"]);
    assert_says(&output, 2, &["/nowhere/x.toml"]);
}

#[test]
fn a_worker_that_does_not_run_is_1() {
    let setup = Setup::new();
    for args in [&["status"][..], &["health"]] {
        assert_says(&setup.run(args), 1, &["no answer from a worker at 127.0.0.1:", "[admin] listen"]);
    }
    for args in [&["pause", "orders"], &["resume", "orders"]] {
        assert_says(&setup.run(args), 1, &["no answer from a worker at @rabbit-sink/127.0.0.1:", "[admin] socket"]);
    }
    let listen = format!("\"127.0.0.1:{}\"", setup.port);
    setup.edit(&listen, "\"off\"");
    assert_says(&setup.run(&["health"]), 2, &["[admin] listen is \"off\""]);
}

#[test]
fn something_else_on_the_port_is_no_worker() {
    let setup = Setup::new();
    let listener = std::net::TcpListener::bind(("127.0.0.1", setup.port)).unwrap();
    let other = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.read_exact(&mut [0; 16]).unwrap();
        std::io::Write::write_all(&mut stream, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi").unwrap();
    });
    assert_says(&setup.run(&["health"]), 1, &["something else listens there"]);
    other.join().unwrap();
}

#[test]
fn an_address_in_use_is_2_and_named() {
    let setup = Setup::new();
    let _taken = std::net::TcpListener::bind(("127.0.0.1", setup.port)).unwrap();
    let address = format!("127.0.0.1:{}", setup.port);
    assert_says(&setup.run(&["run"]), 2, &["[admin] listen", &address, "in use"]);
}

#[test]
fn a_broker_that_is_away_is_3_for_those_who_need_it_now() {
    let setup = Setup::new();
    assert_says(&setup.run(&["dlq", "list", "orders"]), 3, &["source_lost"]);
}

#[test]
fn the_worker_answers_while_it_waits_and_ends_with_0_when_told() {
    let setup = Setup::new();
    let worker = setup.start(&["--json"]);
    let status = setup.run(&["status", "--json"]);
    assert_eq!(code(&status), 0);
    let lines: Vec<Value> = text(&status.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((lines.len(), &lines[0]["pipeline"], &lines[0]["settled"]), (1, &"orders".into(), &0.into()));
    let table = text(&setup.run(&["status"]).stdout);
    let mut rows = table.lines();
    assert!(rows.next().unwrap().split_whitespace().eq([
        "PIPELINE",
        "STATE",
        "READY",
        "UNSETTLED",
        "OLDEST",
        "SETTLED",
        "WRITTEN",
        "DUPLICATES",
        "DEAD-LETTERED",
        "REASON"
    ]));
    assert!(rows.next().unwrap().trim_start().starts_with("orders "), "{table}");
    worker.signal("TERM");
    let ended = worker.end();
    assert_eq!(code(&ended), 0, "{}", text(&ended.stderr));
    let summary: Value = serde_json::from_slice(&ended.stdout).unwrap();
    let fields: Vec<_> = summary.as_object().unwrap().keys().map(String::as_str).collect();
    let mut promised = [
        "pipeline",
        "state",
        "reason",
        "settled",
        "written",
        "duplicates",
        "superseded",
        "skipped",
        "dead_lettered",
        "rows",
        "redelivered",
        "seconds",
    ];
    promised.sort_unstable();
    assert_eq!(fields, promised);
}

#[test]
fn sigint_drains_too() {
    let setup = Setup::new();
    let worker = setup.start(&[]);
    worker.signal("INT");
    let ended = worker.end();
    assert_eq!(code(&ended), 0, "{}", text(&ended.stderr));
    assert!(text(&ended.stdout).starts_with("orders: "), "{}", text(&ended.stdout));
}

#[test]
fn a_paused_pipeline_says_why_and_can_be_resumed() {
    let setup = Setup::new();
    // The database has no table.
    let worker = setup.start(&[]);
    eventually("it pauses", || setup.state() == "paused");
    assert!(text(&setup.run(&["status"]).stdout).contains("table"), "the reason is shown");
    let resumed = setup.run(&["resume", "orders", "--dead-letter"]);
    assert_eq!(code(&resumed), 0, "{}", text(&resumed.stderr));
    assert_eq!(text(&resumed.stdout), "orders goes on and dead-letters what it had paused for\n");
    assert_eq!(code(&setup.run(&["health"])), 0, "a pause is no reason for a restart");
    worker.signal("TERM");
    assert_eq!(code(&worker.end()), 0);
}

#[test]
fn resume_of_a_pipeline_that_is_not_paused_is_1() {
    let setup = Setup::new();
    let database = format!("postgres://sink:{SECRET}@127.0.0.1:{}/rows", free_ports()[0]);
    setup.edit(&format!("sqlite://{}/rows.db?mode=rwc", setup.folder.path().display()), &database);
    let worker = setup.start(&[]);
    eventually("it holds", || setup.state() == "holding");
    assert_says(&setup.run(&["resume", "orders"]), 1, &["orders is not paused", "holding"]);
    assert_eq!(code(&setup.run(&["health"])), 0, "a database that is away is no reason for a restart");
    worker.signal("TERM");
    let ended = worker.end();
    assert_eq!(code(&ended), 0);
    assert!(!text(&ended.stderr).contains(SECRET) && !text(&ended.stdout).contains(SECRET));
}

#[test]
fn logs_are_json_where_nobody_sits_and_text_where_asked() {
    let setup = Setup::new();
    let logged = |args: &[&str]| {
        let worker = setup.start(args);
        worker.signal("TERM");
        text(&worker.end().stderr)
    };
    let json = logged(&[]);
    assert!(json.lines().count() >= 2, "{json}");
    for line in json.lines() {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("not JSON: {line}"));
        assert!(line["timestamp"].is_string() && line["level"].is_string() && line["message"].is_string(), "{line}");
    }
    let plain = logged(&["--log-format", "text"]);
    assert!(plain.contains(" INFO ") && !plain.contains('{') && !plain.contains('\u{1b}'), "{plain}");
    assert!(!logged(&["--log-level", "error"]).contains("INFO"));
    let by_variable = setup.command(&["run"]).env("RABBIT_SINK_LOG", "rabbit_sink=loud").output().unwrap();
    assert_says(&by_variable, 2, &["rabbit_sink=loud"]);
}

#[test]
fn the_ledgers_ddl_is_sql_as_a_whole() {
    let setup = Setup::new();
    let ddl = text(&setup.run(&["init", "--ledger"]).stdout);
    assert!(ddl.starts_with("-- ") && ddl.contains("CREATE TABLE"), "{ddl}");
    let object: Value = serde_json::from_slice(&setup.run(&["init", "--ledger", "--json"]).stdout).unwrap();
    assert_eq!((&object["database"], &object["ledger_table"]), (&"default".into(), &"rabbit_sink_ledger".into()));
    assert!(object["ddl"].as_str().unwrap().starts_with("CREATE TABLE"));
    assert!(!setup.folder.path().join("rows.db").exists(), "it connects to nothing");
}

#[test]
fn a_new_user_without_a_config_gets_the_ddl_of_the_database_that_is_named() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("sample.json"), r#"{"id": 1, "sent": true}"#).unwrap();
    let init = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rabbit-sink"));
        let output = command.arg("init").args(args).current_dir(folder.path()).env_clear().output().unwrap();
        assert_eq!(code(&output), 0, "{}", text(&output.stderr));
        (text(&output.stdout), text(&output.stderr))
    };
    let (ledger, told) = init(&["--ledger", "--database", "postgres://nobody@192.0.2.1/none"]);
    assert!(ledger.contains("timestamptz") && told.is_empty(), "{ledger}{told}");
    let (table, told) = init(&["--sample", "sample.json", "--ddl", "--database", "mysql://nobody@192.0.2.1/none"]);
    assert!(table.starts_with("-- For MySQL and MariaDB; ") && told.is_empty(), "{table}{told}");
    let (table, told) = init(&["--sample", "sample.json", "--ddl"]);
    assert!(table.starts_with("-- For SQLite; ") && told.contains("--database URL"), "{table}{told}");
}

#[test]
fn a_closed_stdout_or_stderr_is_no_panic() {
    let setup = Setup::new();
    let closed = || {
        let (reader, writer) = pipe().unwrap();
        drop(reader);
        writer
    };
    for (args, expected) in [(&["init", "--ledger"][..], 0), (&["--help"], 0), (&["init", "--ledger", "--json"], 0)] {
        let output = setup.command(args).stdout(closed()).stderr(Stdio::piped()).output().unwrap();
        assert_eq!((code(&output), text(&output.stderr)), (expected, String::new()), "{args:?}");
    }
    for (args, expected) in [(&["status"][..], 1), (&["rnu"], 2), (&["status", "--config", "/nowhere"], 2)] {
        let output = setup.command(args).stderr(closed()).stdout(Stdio::piped()).output().unwrap();
        assert_eq!(code(&output), expected, "{args:?}");
    }
    // Logging goes on into nothing.
    let worker = Worker(Some(setup.command(&["run"]).stdout(closed()).stderr(closed()).spawn().unwrap()));
    eventually("the worker answers", || setup.run(&["health"]).status.success());
    worker.signal("TERM");
    assert_eq!(code(&worker.end()), 0);
}

#[test]
fn a_full_disk_is_not_hidden() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = Setup::new().command(&["init", "--ledger"]).stdout(full).stderr(Stdio::piped()).output().unwrap();
    assert_says(&output, 1, &["stdout can't be written"]);
}

#[tokio::test]
async fn the_first_signal_drains_and_the_second_aborts() {
    use rabbit_sink::shutdown::{Phase, reached};
    let mut shutdown = rabbit_sink::cli::signals::listen().unwrap();
    assert_eq!(*shutdown.borrow(), Phase::Run);
    let signal = |name: &str| {
        let id = std::process::id().to_string();
        assert!(Command::new("kill").args(["-s", name, &id]).status().unwrap().success());
    };
    signal("TERM");
    reached(&mut shutdown, Phase::Drain).await;
    assert_eq!(*shutdown.borrow(), Phase::Drain);
    signal("INT");
    reached(&mut shutdown, Phase::Abort).await;
}
