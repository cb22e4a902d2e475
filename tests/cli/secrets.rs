//! Nothing that the program prints has a password in it: no command's output, no error, no log at its finest level, no
//! debug print. (With servers that refuse and quote: tests/faults_database/secrets.rs.)

use std::collections::BTreeSet;

use rabbit_sink::config::load_str;

use crate::{Setup, bare, eventually, text};

/// Each way to give a password has its own.
const PASSWORDS: [&str; 7] =
    ["pw-in-url", "pw-in-file", "pw/of-env", "pw-of-override", "pw-management", "pw-url-file", "pw-beside"];

/// Every command that the program may have, also those of later versions; what isn't there is refused.
const LINES: [&[&str]; 32] = [
    &["status"],
    &["status", "--json"],
    &["health"],
    &["resume", "orders"],
    &["resume", "nothing"],
    &["pause", "orders"],
    &["dlq", "list", "orders"],
    &["dlq", "show", "orders", "ab"],
    &["dlq", "stats", "orders"],
    &["dlq", "export", "orders", "-"],
    &["dlq", "import", "orders", "-"],
    &["dlq", "replay", "orders", "--dry-run"],
    &["dlq", "edit", "orders", "ab", "--set", "/a=1"],
    &["dlq", "discard", "orders", "--yes"],
    &["init", "--ledger"],
    &["init", "--ledger", "--json"],
    &["init", "--table", "orders"],
    &["check"],
    &["check", "--json"],
    &["check", "--offline"],
    &["check", "--print-config"],
    &["check", "--offline", "--print-config"],
    &["explain", "orders"],
    &["explain", "orders", "--from-queue"],
    &["test"],
    &["test", "tests"],
    &["schema"],
    &["completions", "bash"],
    &["man"],
    &["help"],
    &["run", "--adopt", "nothing"],
    &["run", "--help"],
];

/// As it is, and as a URL, JSON or a debug print would write it.
fn forms(password: &str) -> Vec<String> {
    let encoded = |set| percent_encoding::utf8_percent_encode(password, set).to_string();
    let all = [
        password.to_owned(),
        encoded(percent_encoding::NON_ALPHANUMERIC),
        encoded(percent_encoding::CONTROLS),
        password.replace('/', "\\/"),
        password.replace('/', "%2f"),
    ];
    BTreeSet::from(all).into_iter().collect()
}

#[track_caller]
fn shows_none(what: &str, shown: &str) {
    for form in PASSWORDS.iter().flat_map(|password| forms(password)) {
        assert!(!shown.contains(&form), "{what} shows {form:?}:\n{shown}");
    }
}

/// A config with a password in every place that takes one.
fn setup() -> Setup {
    let setup = Setup::new();
    let folder = setup.folder.path().display().to_string();
    std::fs::write(setup.folder.path().join("password"), "pw-in-file\n").unwrap();
    std::fs::write(setup.folder.path().join("url"), "mysql://sink:pw-url-file@127.0.0.1:1/rows\n").unwrap();
    let more = format!(
        "management_url = \"http://guest:pw-management@127.0.0.1:1\"\n\
         [brokers.second]\nurl = \"amqp://guest@127.0.0.1:1\"\npassword_file = \"{folder}/password\"\n\
         [databases.one]\nurl = \"postgres://sink@127.0.0.1:1/rows\"\npassword = \"${{DATABASE_PASSWORD}}\"\n\
         [databases.two]\nurl_file = \"{folder}/url\"\n\
         [databases.three]\nurl = \"mysql://127.0.0.1:1/rows\"\nusername = \"sink\"\npassword = \"pw-beside\"\n\
         [databases.four]\nurl = \"mysql://127.0.0.1:1/rows\"\n\
         [database]\n"
    );
    setup.edit("hunter2", "pw-in-url");
    setup.edit("[database]\n", &more);
    let mut pipelines = "[pipelines.orders]\nbroker = \"second\"\n".to_owned();
    for name in ["one", "two", "three", "four"] {
        pipelines =
            format!("[pipelines.{name}]\nqueue = \"{name}\"\ntable = \"orders\"\ndatabase = \"{name}\"\n{pipelines}");
    }
    setup.edit("[pipelines.orders]\n", &pipelines);
    setup
}

const VARIABLES: [(&str, &str); 2] = [
    ("DATABASE_PASSWORD", "pw/of-env"),
    ("RABBIT_SINK__DATABASES__FOUR__URL", "mysql://sink:pw-of-override@127.0.0.1:1/rows"),
];

#[test]
fn no_command_and_no_log_shows_a_password() {
    let setup =
        Setup { variables: VARIABLES.map(|(name, value)| (name.to_owned(), value.to_owned())).into(), ..setup() };
    let worker = setup.start(&["--log-level", "trace,lapin=trace,sqlx=trace,hyper=trace"]);
    eventually("all of them have met their server", || {
        let status = text(&setup.run(&["status", "--json"]).stdout);
        let states: Vec<serde_json::Value> = status.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        states.iter().all(|state| state["reason"].is_string())
    });
    for line in LINES {
        for level in ["trace", "trace,lapin=trace,sqlx=trace"] {
            let output = setup.command(line).env("RABBIT_SINK_LOG", level).output().unwrap();
            shows_none(&line.join(" "), &(text(&output.stdout) + &text(&output.stderr)));
        }
    }
    worker.signal("TERM");
    let ended = worker.end();
    let shown = text(&ended.stdout) + &text(&ended.stderr);
    assert!(shown.contains("127.0.0.1") && shown.len() > 2000, "it says what it does:\n{shown}");
    shows_none("the worker", &shown);
}

/// A command that isn't in [`LINES`] wouldn't be looked at.
#[test]
fn every_command_is_looked_at() {
    let help = text(&bare(&["--help"]).output().unwrap().stdout);
    let (_, commands) = help.split_once("Commands:\n").unwrap();
    for line in commands.lines().take_while(|line| !line.is_empty()) {
        let command = line.split_whitespace().next().unwrap();
        let below = text(&bare(&[command, "--help"]).output().unwrap().stdout);
        let below = below.split_once("Commands:\n").map_or("", |(_, below)| below);
        let below: Vec<&str> = below.lines().map_while(|line| line.split_whitespace().next()).collect();
        assert!(LINES.iter().any(|line| line[0] == command), "{command} isn't in LINES");
        for inner in below.iter().filter(|inner| **inner != "help") {
            assert!(LINES.iter().any(|line| line.starts_with(&[command, inner])), "{command} {inner} isn't in LINES");
        }
    }
}

/// Each password with each mistake beside it, so that every message about a server is made once.
#[test]
fn no_error_and_no_debug_print_shows_a_password() {
    let setup = setup();
    let good = std::fs::read_to_string(setup.config()).unwrap();
    let variables: Vec<(String, String)> =
        VARIABLES.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let config = load_str("config.toml", &good, &variables).unwrap();
    assert!(config.databases["one"].url.reveal().contains("pw%2Fof%2Denv"), "they do get to where they belong");
    shows_none("a debug print", &format!("{config:?}{config:#?}"));
    let mut reports = 0;
    let edits = [
        ("amqp://", "ampq://"),
        ("127.0.0.1:1", "127.0.0.1:99999"),
        ("127.0.0.1:1", "[::1]:1"),
        ("postgres://", "postgress://"),
        ("mysql://", "sqlite://"),
        ("password = ", "pasword = "),
        ("password_file = ", "password = "),
        ("password = \"", "password = \"\"\""),
        ("url_file", "url"),
        ("url = ", "url_file = "),
        ("url = ", "urls = "),
        ("url = ", "uri = "),
        ("management_url = ", "managment_url = "),
        ("management_url = ", "username = 1\nmanagement_url = "),
        ("[databases.", "[database."),
        ("[brokers.", "[broker."),
        ("\"\n", "\n"),
        (" = \"", " = "),
        (" = ", " "),
        ("[", ""),
        ("@", " "),
        ("${", "$${"),
        ("}", ""),
    ];
    for (from, to) in edits {
        for (at, _) in good.match_indices(from) {
            let wrong = format!("{}{to}{}", &good[..at], &good[at + from.len()..]);
            let shown = match load_str("config.toml", &wrong, &variables) {
                Ok(config) => format!("{config:?}"),
                Err(errors) => {
                    reports += 1;
                    format!("{errors}{errors:?}")
                }
            };
            shows_none(&format!("{from:?} → {to:?}"), &shown);
        }
    }
    assert!(reports > 100, "only {reports} mistakes were made");
}
