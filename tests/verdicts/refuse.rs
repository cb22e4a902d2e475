//! The broker's table on one worker: a pipeline, a queue and a user for each line.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::broker::{self, Other, Refusal, Step};
use super::verdict::GOOD;
use crate::faults_database::{get, with_login};
use crate::support::broker::{Broker, Kind, Message};
use crate::support::database::{Server, TestDatabase};
use crate::support::process::free_port;
use crate::support::servers::{rabbitmqctl, shared_amqp_url, shared_rabbitmqctl};
use crate::support::wait::{PATIENCE, holds_within, unique_name};
use crate::support::worker::Worker;

const ADD_USER: &str = "rabbit_auth_backend_internal:add_user(<<\"{u}\">>, <<\"right\">>, <<\"test\">>), \
    rabbit_auth_backend_internal:set_permissions(<<\"{u}\">>, <<\"/\">>, <<\".*\">>, <<\".*\">>, <<\".*\">>, <<\"test\">>)";
const DELETE_USER: &str = "rabbit_auth_backend_internal:delete_user(<<\"{u}\">>, <<\"test\">>)";

/// A line with the names that it has in this run.
struct Case {
    refusal: Refusal,
    queue: String,
    user: String,
    database: TestDatabase,
    other: Option<Other>,
}

impl Case {
    async fn new(refusal: Refusal, broker: &Broker) -> Case {
        let database = TestDatabase::fresh(Server::Sqlite).await;
        database.execute("CREATE TABLE rows (id text)").await;
        let case = Case { refusal, queue: unique_name(refusal.name), user: unique_name("user"), database, other: None };
        broker.declare(&case.queue, Kind::Classic).await;
        case
    }

    fn text(&self, text: &str) -> String {
        text.replace("{q}", &self.queue).replace("{u}", &self.user)
    }

    fn dead(&self) -> String {
        format!("{}.dead", self.queue)
    }

    fn config(&self) -> String {
        let (name, url) = (self.refusal.name, with_login(&shared_amqp_url(), &self.user, "right"));
        format!(
            "[brokers.{name}]\nurl = \"{url}\"\n[databases.{name}]\nurl = \"{}\"\n\
             [pipelines.{name}]\nqueue = \"{}\"\ntable = \"rows\"\nbroker = \"{name}\"\ndatabase = \"{name}\"\n{}\n\
             [pipelines.{name}.retry]\ninitial = \"50ms\"\nmax = \"1s\"\n",
            self.database.url,
            self.queue,
            self.text(self.refusal.pipeline)
        )
    }

    fn erlang<'a>(&'a self, steps: &'a [Step]) -> impl Iterator<Item = String> {
        steps.iter().filter_map(|step| match step {
            Step::Erlang(code) => Some(self.text(code)),
            _ => None,
        })
    }

    /// Whatever isn't done in the node itself.
    async fn act(&mut self, broker: &Broker, steps: &[Step]) {
        for step in steps {
            match step {
                Step::Erlang(_) => {}
                Step::Delete(queue) => broker.delete(&self.text(queue)).await,
                Step::Declare(queue) => broker.declare(&self.text(queue), Kind::Classic).await,
                Step::DeclareFull(queue) => {
                    broker.declare_with(&self.text(queue), Kind::Classic, broker::full()).await;
                }
                Step::DeclareExclusive(queue) => {
                    self.other = Some(Other::declare(&shared_amqp_url(), &self.text(queue)).await);
                }
                Step::ConsumeAlone(queue) => {
                    self.other = Some(Other::consume(&shared_amqp_url(), &self.text(queue)).await);
                }
                Step::LetGo => self.other.take().expect("another connection").close().await,
                Step::DeclareExchange(name) => broker::declare_exchange(&broker.channel, &self.text(name)).await,
                Step::DeleteExchange(name) => broker::delete_exchange(&broker.channel, &self.text(name)).await,
            }
        }
    }

    fn reached(&self, status: &Value, log: &str) -> Result<(), String> {
        let (names, reason) = (self.refusal.names, status["reason"].as_str().unwrap_or_default());
        let named = |text: &str| names.iter().all(|word| text.contains(&self.text(word)));
        let reached = match self.refusal.state {
            Some(state) => status["state"] == state && named(reason),
            None => self.logged(log).any(named),
        };
        let said = || self.logged(log).collect::<Vec<_>>().join("\n    ");
        match reached {
            true => Ok(()),
            false => {
                Err(format!("{:?} with {names:?}: {} {reason}\n    {}", self.refusal.state, status["state"], said()))
            }
        }
    }

    fn settled(&self, status: &Value, _: &str) -> Result<(), String> {
        let counts = ["written", "dead_lettered", "unsettled"].map(|what| status[what].as_u64());
        match counts == [Some(GOOD as u64), Some(self.refusal.letter.into()), Some(0)] && status["state"] == "running" {
            true => Ok(()),
            false => Err(format!("it doesn't go on: {status}")),
        }
    }

    fn logged<'a>(&self, log: &'a str) -> impl Iterator<Item = &'a str> {
        let pipeline = format!("\"pipeline\":\"{}\"", self.refusal.name);
        log.lines().filter(move |line| line.contains(&pipeline))
    }

    /// The worker is gone.
    async fn audit(&self, broker: &Broker) -> Vec<String> {
        let mut wrong = Vec::new();
        let expected: Vec<Vec<Option<String>>> = (0..GOOD).map(|n| vec![Some(format!("good-{n}"))]).collect();
        let found = self.database.table("rows", &["id"]).await;
        if found != expected {
            wrong.push(format!("the table has {found:?}"));
        }
        let letters: BTreeSet<_> = broker.drain(&self.dead()).await.iter().map(|letter| letter.message_id()).collect();
        let expected: BTreeSet<_> = self.refusal.letter.then(|| Some("bad".to_owned())).into_iter().collect();
        if letters != expected || broker.ready(&self.queue).await != 0 {
            wrong.push(format!("dead letters {letters:?}, {} ready", broker.ready(&self.queue).await));
        }
        broker.delete(&self.queue).await;
        broker.delete(&self.dead()).await;
        wrong
    }
}

/// In the node, all at once: `rabbitmqctl` takes a second each time.
async fn evaluate(code: impl Iterator<Item = String>) {
    let code: Vec<String> = code.collect();
    let code = format!("{}.", code.join(",\n"));
    tokio::task::spawn_blocking(move || rabbitmqctl(&shared_rabbitmqctl(), &["eval", &code])).await.expect("evaluated");
}

/// Runs the table. All that is wrong is told at the end, together.
pub async fn run(table: &[Refusal]) {
    let broker = Broker::shared().await;
    let mut cases = Vec::new();
    for refusal in table {
        cases.push(Case::new(*refusal, &broker).await);
    }
    evaluate(cases.iter().map(|case| case.text(ADD_USER))).await;
    let cause = |at_start: bool| move |case: &&mut Case| case.refusal.at_start == at_start;
    evaluate(cases.iter().filter(|case| case.refusal.at_start).flat_map(|case| case.erlang(case.refusal.cause))).await;
    for case in cases.iter_mut().filter(cause(true)) {
        case.act(&broker, case.refusal.cause).await;
    }
    let port = free_port();
    let sections: Vec<String> = cases.iter().map(Case::config).collect();
    let mut worker = Worker::run(&format!("[admin]\nlisten = \"127.0.0.1:{port}\"\n{}", sections.join("")));
    let mut wrong = BTreeMap::new();
    let running = |case: &Case, status: &Value, _: &str| match status["state"] == "running" || case.refusal.at_start {
        true => Ok(()),
        false => Err(format!("it doesn't start: {status}")),
    };
    wait(&mut worker, port, &cases, running, &mut wrong).await;
    evaluate(cases.iter().filter(|case| !case.refusal.at_start).flat_map(|case| case.erlang(case.refusal.cause))).await;
    for case in cases.iter_mut().filter(cause(false)) {
        case.act(&broker, case.refusal.cause).await;
    }
    for case in cases.iter().filter(|case| case.refusal.letter) {
        broker.publish(&case.queue, [Message::json("bad", "no JSON")]).await;
    }
    wait(&mut worker, port, &cases, Case::reached, &mut wrong).await;
    evaluate(cases.iter().flat_map(|case| case.erlang(case.refusal.mend))).await;
    for case in &mut cases {
        case.act(&broker, case.refusal.mend).await;
        let good = (0..GOOD).map(|n| Message::json(&format!("good-{n}"), format!("{{\"id\":\"good-{n}\"}}")));
        broker.publish(&case.queue, good).await;
    }
    wait(&mut worker, port, &cases, Case::settled, &mut wrong).await;
    worker.stop().await;
    for case in &mut cases {
        wrong.entry(case.refusal.name).or_default().extend(case.audit(&broker).await);
        let exchanges: Vec<Step> = case.refusal.mend.iter().filter_map(undone).collect();
        case.act(&broker, &exchanges).await;
    }
    evaluate(cases.iter().map(|case| case.text(DELETE_USER))).await;
    wrong.retain(|_, said| !said.is_empty());
    assert!(wrong.is_empty(), "{} verdicts of the broker are wrong:\n{wrong:#?}", wrong.len());
}

/// What a mend leaves behind.
fn undone(step: &Step) -> Option<Step> {
    match step {
        Step::DeclareExchange(name) => Some(Step::DeleteExchange(name)),
        _ => None,
    }
}

async fn wait(
    worker: &mut Worker,
    port: u16,
    cases: &[Case],
    check: impl Fn(&Case, &Value, &str) -> Result<(), String>,
    wrong: &mut BTreeMap<&'static str, Vec<String>>,
) {
    let mut left: BTreeMap<&'static str, String> =
        cases.iter().map(|case| (case.refusal.name, String::new())).collect();
    left.retain(|name, _| !wrong.contains_key(name));
    holds_within(PATIENCE, async || {
        assert!(worker.alive(), "the worker has ended:\n{}", worker.stderr());
        let report: Value = serde_json::from_str(&get(port, "/status").await.1).unwrap_or_default();
        let log = worker.stderr();
        for case in cases {
            let pipelines = report["pipelines"].as_array().map_or(&[][..], Vec::as_slice);
            let status = pipelines.iter().find(|one| one["pipeline"] == case.refusal.name);
            let Some(said) = left.get_mut(case.refusal.name) else { continue };
            match check(case, status.unwrap_or(&Value::Null), &log) {
                Ok(()) => drop(left.remove(case.refusal.name)),
                Err(still) => *said = still,
            }
        }
        left.is_empty()
    })
    .await;
    for (name, said) in left {
        wrong.entry(name).or_default().push(said);
    }
}
