//! A table of verdicts on one worker: a pipeline, a queue and a table for each.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use super::hand::Hand;
use super::verdict::{Act, BAD_AT, GOOD, Next, On, TIMEOUTS, Verdict};
use crate::faults_database::{get, with_login};
use crate::support::broker::{Broker, Kind, Message, Taken};
use crate::support::database::{Server, TestDatabase, select_as_text, try_execute};
use crate::support::process::free_port;
use crate::support::servers::{shared_amqp_url, shared_mysql_url, shared_postgres_url};
use crate::support::wait::{PATIENCE, holds_within, unique_name};
use crate::support::worker::Worker;

/// A verdict with the names that it has in this run.
struct Case {
    verdict: Verdict,
    server: Server,
    queue: String,
    role: String,
    /// The test's way to the database that its table is in.
    url: String,
    /// Where cause and mend come from.
    hand_url: String,
    hand: Option<Hand>,
    /// Of its own, dropped with it.
    own: Option<TestDatabase>,
}

impl Case {
    async fn new(verdict: Verdict, shared: &TestDatabase) -> Case {
        let server = shared.server;
        let own = match verdict.own || server == Server::Sqlite {
            true => Some(TestDatabase::fresh(server).await),
            false => None,
        };
        let url = own.as_ref().unwrap_or(shared).url.clone();
        let hand_url = match (verdict.own, server) {
            (true, Server::Postgres) => shared_postgres_url(),
            (true, Server::Mysql) => shared_mysql_url(),
            _ => url.clone(),
        };
        let (queue, role) = (unique_name(verdict.name), unique_name("role"));
        Case { verdict, server, queue, role, url, hand_url, hand: None, own }
    }

    fn text(&self, text: &str) -> String {
        let database = url::Url::parse(&self.url).map(|url| url.path().trim_start_matches('/').to_owned());
        text.replace("{t}", &format!("t_{}", self.verdict.name))
            .replace("{l}", &format!("l_{}", self.verdict.name))
            .replace("{r}", &self.role)
            .replace("{d}", &database.unwrap_or_default())
    }

    fn dead(&self) -> String {
        format!("{}.dead", self.queue)
    }

    fn own_ledger(&self) -> bool {
        let named = |act: Act| matches!(act, Act::Sql(sql) if sql.contains("{l}"));
        self.verdict.login || named(self.verdict.cause) || self.verdict.setup.contains("{l}")
    }

    /// The worker's part of the config.
    fn config(&self) -> String {
        let Verdict { name, table, columns, database, pipeline, login, storm, .. } = self.verdict;
        let url = if login { with_login(&self.url, &self.role, "right") } else { self.url.clone() };
        let keys = if database.is_empty() { TIMEOUTS } else { database };
        let ledger = if self.own_ledger() { self.text("ledger_table = \"{l}\"") } else { String::new() };
        let at_once = GOOD + usize::from(self.verdict.bad.is_some());
        format!(
            "[databases.{name}]\nurl = \"{url}\"\napplication_name = \"{name}\"\n{}\n{ledger}\n\
             [pipelines.{name}]\nqueue = \"{}\"\ntable = \"{}\"\ndatabase = \"{name}\"\n{pipeline}\n\
             [pipelines.{name}.columns]\nid = \"/id\"\n{columns}\n\
             [pipelines.{name}.batch]\nmax_rows = {at_once}\nlinger = \"1m\"\n\
             [pipelines.{name}.limits]\nmax_body = \"256KiB\"\n\
             [pipelines.{name}.retry]\ninitial = \"50ms\"\nmax = \"300ms\"\nmissing_parent = \"9m\"\n\
             [pipelines.{name}.storm]\nmin = {storm}\n",
            self.text(keys),
            self.queue,
            self.text(table),
        )
    }

    /// All of them make one batch.
    fn messages(&self) -> Vec<Message> {
        let mut bodies: Vec<(String, &str)> = (0..GOOD).map(|n| (format!("good-{n}"), self.verdict.good)).collect();
        if let Some(bad) = self.verdict.bad {
            bodies.insert(BAD_AT, ("bad".to_owned(), bad));
        }
        let message = |(n, (id, fields)): (usize, &(String, &str))| {
            Message::json(id, format!("{{\"id\":\"{id}\",{}}}", fields.replace("{n}", &n.to_string())))
        };
        bodies.iter().enumerate().map(message).collect()
    }

    /// What is in the table at the end.
    fn written(&self) -> Vec<String> {
        let mut ids: Vec<String> = (0..GOOD).map(|n| format!("good-{n}")).collect();
        if self.verdict.bad.is_some() && self.verdict.next != Next::DeadLettered {
            ids.insert(0, "bad".to_owned());
        }
        ids
    }

    fn dead_lettered(&self) -> u64 {
        u64::from(self.verdict.next == Next::DeadLettered)
    }

    async fn prepare(&mut self, broker: &Broker, shared: &mut Hand) {
        broker.declare(&self.queue, Kind::Classic).await;
        let (login, grants) = match self.server {
            Server::Postgres => (
                "CREATE ROLE {r} LOGIN PASSWORD 'right'; GRANT ALL ON SCHEMA public TO {r}",
                "GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA public TO {r}",
            ),
            Server::Mysql => (
                "CREATE USER {r} IDENTIFIED BY 'right'; GRANT ALL ON {l} TO {r}; GRANT ALL ON {l}_pipelines TO {r}",
                "GRANT SELECT, INSERT ON {t} TO {r}",
            ),
            Server::Sqlite => ("", ""),
        };
        let (login, grants) = if self.verdict.login { (login, grants) } else { ("", "") };
        for sql in [login, self.verdict.setup, grants].into_iter().filter(|sql| !sql.is_empty()) {
            self.execute(shared, sql).await;
        }
    }

    /// In the database that its table is in. A login costs far more than what it is for.
    async fn execute(&self, shared: &mut Hand, sql: &str) {
        let sql = self.text(sql);
        let done = match &self.own {
            None => shared.execute(&sql).await,
            Some(own) => try_execute(&own.url, &sql).await,
        };
        done.unwrap_or_else(|e| panic!("{}: {sql}: {e}", self.verdict.name));
    }

    async fn act(&mut self, shared: &mut Hand, act: Act) {
        match act {
            Act::Nothing => {}
            // What begins a transaction keeps its connection until the mend.
            Act::Sql(sql) if self.hand.is_none() && !keeps(sql) && !self.verdict.own => {
                self.execute(shared, sql).await;
            }
            Act::Sql(sql) => {
                let sql = self.text(sql);
                let hand = match &mut self.hand {
                    Some(hand) => hand,
                    None => self.hand.insert(Hand::open(&self.hand_url).await.expect("the database answers")),
                };
                hand.execute(&sql).await.unwrap_or_else(|e| panic!("{}: {sql}: {e}", self.verdict.name));
            }
            Act::File(change) => change(&self.file()),
        }
    }

    /// SQLite's file.
    fn file(&self) -> PathBuf {
        let path = self.url.trim_start_matches("sqlite://");
        path.split('?').next().unwrap_or_default().into()
    }

    async fn mend(&mut self, shared: &mut Hand) {
        self.act(shared, self.verdict.mend).await;
        if let Some(hand) = self.hand.take() {
            hand.close().await;
        }
    }

    /// Whether the verdict has been reached: `Err` says what is still otherwise.
    fn reached(&self, status: &Value, log: &str) -> Result<(), String> {
        let Verdict { class, code, names, next, .. } = self.verdict;
        let said = format!("{class} {code}");
        let count = |what: &str| status[what].as_u64().unwrap_or(u64::MAX);
        let (good, reason) = (GOOD as u64, status["reason"].as_str().unwrap_or_default());
        // What is wrong from the start, no message meets.
        let logged = self.verdict.at_start || self.logged(log).any(|line| line.contains(&said));
        let named = names.iter().all(|word| reason.contains(&self.text(word)));
        let reached = match next {
            Next::DeadLettered => (count("settled"), count("dead_lettered")) == (good + 1, 1),
            Next::Waits => (count("written"), count("unsettled")) == (good, 1) && status["state"] == "running",
            Next::Retried => logged,
            Next::Held => status["state"] == "holding" && reason.contains(&said) && named,
            // What the checks say is more than the error did.
            Next::Paused => status["state"] == "paused" && reason.contains(class) && logged && named,
        };
        match reached && (next == Next::DeadLettered || count("dead_lettered") == 0) {
            true => Ok(()),
            false => Err(format!("{next:?} with {said} {names:?}: {}", self.brief(status, log))),
        }
    }

    /// Whether everything is settled: `Err` says what isn't.
    fn settled(&self, status: &Value, log: &str) -> Result<(), String> {
        let dead = self.dead_lettered();
        let written = self.written().len() as u64;
        let counts = ["written", "dead_lettered", "unsettled"].map(|what| status[what].as_u64());
        match counts == [Some(written), Some(dead), Some(0)] && status["state"] == "running" {
            true => Ok(()),
            false => Err(format!("{written} written, {dead} dead-lettered: {}", self.brief(status, log))),
        }
    }

    /// What the worker says of it.
    fn brief(&self, status: &Value, log: &str) -> String {
        let shown = ["state", "reason", "settled", "written", "dead_lettered", "unsettled"];
        let status: Vec<String> = shown.iter().map(|what| format!("{what} {}", status[what])).collect();
        let said: Vec<&str> = self.logged(log).collect();
        format!("{}\n    {}", status.join(", "), said[said.len().saturating_sub(6)..].join("\n    "))
    }

    /// Its lines in the log.
    fn logged<'a>(&self, log: &'a str) -> impl Iterator<Item = &'a str> {
        let pipeline = format!("\"pipeline\":\"{}\"", self.verdict.name);
        log.lines().filter(move |line| line.contains(&pipeline) && !line.contains("\"INFO\""))
    }

    /// What the log says of its dead letter.
    fn told(&self) -> String {
        let Verdict { class, code, column, constraint, .. } = self.verdict;
        let column = column.map_or(String::new(), |column| format!(" column {column}"));
        let constraint = constraint.map_or(String::new(), |name| format!(" constraint {}", self.text(name)));
        format!("dead-lettered: {class} {code}{column}{constraint}: ")
    }

    /// The worker is gone: the table, and the dead letter with its reason.
    async fn audit(&self, broker: &Broker, shared: &mut Hand, log: &str) -> Vec<String> {
        let mut wrong = Vec::new();
        let ready = broker.ready(&self.queue).await;
        if ready != 0 {
            wrong.push(format!("{ready} messages are still in the queue"));
        }
        let select = select_as_text(self.server, &self.text(self.verdict.audited), &["id"]);
        let found = match &self.own {
            None => shared.texts(&select).await,
            Some(own) => {
                own.rows(&select).await.into_iter().map(|row| Ok(row[0].clone().unwrap_or_default())).collect()
            }
        };
        let (found, expected) = (found.expect("the table can be read"), self.written());
        if found != expected {
            wrong.push(format!("the table has {found:?} instead of {expected:?}"));
        }
        if !broker.has(&self.dead()).await {
            wrong.push("its dead-letter queue was never declared".to_owned());
            return wrong;
        }
        let letters = broker.drain(&self.dead()).await;
        if letters.len() as u64 != self.dead_lettered() {
            wrong.push(format!("{} dead letters", letters.len()));
        }
        wrong.extend(letters.iter().flat_map(|letter| self.audit_letter(letter)));
        // Of other classes, retries have used up the lines that the log has room for.
        if self.dead_lettered() > 0
            && self.verdict.class == "row_rejected"
            && !self.logged(log).any(|line| line.contains(&self.told()))
        {
            wrong.push(format!("the log doesn't say {:?}: {:?}", self.told(), self.logged(log).collect::<Vec<_>>()));
        }
        broker.delete(&self.queue).await;
        broker.delete(&self.dead()).await;
        wrong
    }

    fn audit_letter(&self, letter: &Taken) -> Vec<String> {
        let Verdict { class, code, column, names, .. } = self.verdict;
        let attempts = Next::attempts(class, code).map(|attempts| attempts.to_string());
        let headers = [
            ("x-sink-error-class", Some(class)),
            ("x-sink-error-code", Some(code)),
            ("x-sink-column", column),
            ("x-sink-attempts", attempts.as_deref()),
        ];
        let mut wrong = Vec::new();
        if letter.message_id().as_deref() != Some("bad") {
            wrong.push(format!("{:?} was dead-lettered", letter.message_id()));
        }
        let reason = letter.header("x-exception-message").unwrap_or_default();
        for (name, expected) in headers {
            if letter.header(name).as_deref() != expected {
                wrong.push(format!("{name} {:?} instead of {expected:?} in {reason}", letter.header(name)));
            }
        }
        for word in names.iter().map(|word| self.text(word)) {
            if !reason.contains(&word) {
                wrong.push(format!("the dead letter's reason doesn't name {word}: {reason}"));
            }
        }
        wrong
    }

    async fn clean(self, shared: &mut Hand) {
        if self.verdict.login {
            let sql = match self.server {
                Server::Postgres => "REASSIGN OWNED BY {r} TO tester; DROP OWNED BY {r}; DROP ROLE {r}",
                _ => "DROP USER {r}",
            };
            self.execute(shared, sql).await;
        }
    }
}

/// What belongs to a connection, and would end with it.
fn keeps(sql: &str) -> bool {
    sql.starts_with("BEGIN") || sql.starts_with("PRAGMA")
}

/// Runs a table. All verdicts that are wrong are told at the end, together.
pub async fn run(server: Server, table: &[Verdict]) {
    run_for(server, table, Duration::ZERO).await;
}

/// As [`run`]; each cause lasts for so long at least.
pub async fn run_for(server: Server, table: &[Verdict], lasts: Duration) {
    let shared = TestDatabase::fresh(server).await;
    let flavour = flavour(&shared).await;
    let broker = Broker::shared().await;
    let mut hand = Hand::open(&shared.url).await.expect("the database answers");
    let mut cases = Vec::new();
    for verdict in table.iter().filter(|verdict| verdict.on == On::All || verdict.on == flavour) {
        let mut case = Case::new(*verdict, &shared).await;
        case.prepare(&broker, &mut hand).await;
        if case.verdict.at_start {
            case.act(&mut hand, case.verdict.cause).await;
        }
        cases.push(case);
    }
    let port = free_port();
    let sections: Vec<String> = cases.iter().map(Case::config).collect();
    let mut worker = Worker::run(&format!(
        "[rabbitmq]\nurl = \"{}\"\n[admin]\nlisten = \"127.0.0.1:{port}\"\n{}",
        shared_amqp_url(),
        sections.join("")
    ));
    let running = |case: &Case, status: &Value, _: &str| match status["state"] == "running" || case.verdict.at_start {
        true => Ok(()),
        false => Err(format!("it doesn't start: {} {}", status["state"], status["reason"])),
    };
    let mut wrong: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    wait(&mut worker, port, &mut cases, running, &mut wrong, None).await;
    for case in &mut cases {
        if !case.verdict.at_start {
            case.act(&mut hand, case.verdict.cause).await;
        }
        broker.publish(&case.queue, case.messages()).await;
    }
    tokio::time::sleep(lasts).await;
    wait(&mut worker, port, &mut cases, Case::reached, &mut wrong, Some(&mut hand)).await;
    wait(&mut worker, port, &mut cases, Case::settled, &mut wrong, None).await;
    let log = worker.stop().await.stderr;
    for case in cases {
        wrong.entry(case.verdict.name).or_default().extend(case.audit(&broker, &mut hand, &log).await);
        case.clean(&mut hand).await;
    }
    let wrong: Vec<String> = wrong
        .into_iter()
        .filter(|(_, said)| !said.is_empty())
        .map(|(name, said)| format!("{name}:\n  {}", said.join("\n  ")))
        .collect();
    assert!(wrong.is_empty(), "{} verdicts of {server:?} are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// Waits until something has held once of every case; of those of which it doesn't, notes what
/// they say. Each is mended as soon as it holds, if it is to be: what is broken costs time.
async fn wait(
    worker: &mut Worker,
    port: u16,
    cases: &mut [Case],
    check: impl Fn(&Case, &Value, &str) -> Result<(), String>,
    wrong: &mut BTreeMap<&str, Vec<String>>,
    mut mend: Option<&mut Hand>,
) {
    let mut left: BTreeMap<&'static str, String> = cases
        .iter()
        .filter(|case| !wrong.contains_key(case.verdict.name))
        .map(|case| (case.verdict.name, String::new()))
        .collect();
    let all = async || {
        assert!(worker.alive(), "the worker has ended:\n{}", worker.stderr());
        let report: Value = serde_json::from_str(&get(port, "/status").await.1).unwrap_or_default();
        let log = worker.stderr();
        for case in cases.iter_mut() {
            if !left.contains_key(case.verdict.name) {
                continue;
            }
            let pipelines = report["pipelines"].as_array().map_or(&[][..], Vec::as_slice);
            let none = Value::Null;
            let status = pipelines.iter().find(|one| one["pipeline"] == case.verdict.name).unwrap_or(&none);
            match check(case, status, &log) {
                Ok(()) => {
                    left.remove(case.verdict.name);
                    if let Some(hand) = &mut mend {
                        case.mend(hand).await;
                    }
                }
                Err(said) => drop(left.insert(case.verdict.name, said)),
            }
        }
        left.is_empty()
    };
    holds_within(PATIENCE, all).await;
    let missed: Vec<&str> = left.keys().copied().collect();
    for (name, said) in left {
        wrong.entry(name).or_default().push(said);
    }
    // Those that are wrong, too, so that they let go of what others need.
    if let Some(hand) = mend {
        for case in cases.iter_mut().filter(|case| missed.contains(&case.verdict.name)) {
            case.mend(hand).await;
        }
    }
}

/// MySQL and MariaDB by their version.
async fn flavour(database: &TestDatabase) -> On {
    if database.server != Server::Mysql {
        return On::All;
    }
    let version = database.rows("SELECT CAST(VERSION() AS CHAR)").await[0][0].clone().expect("a version");
    if version.contains("MariaDB") { On::Mariadb } else { On::Mysql }
}
