//! Every type of column on the real servers: what is sent, and what is then found there or in the
//! dead letter. The tables stand in `postgres.rs`, `mysql.rs` and `sqlite.rs`; docs/values.md is
//! made from them.

mod case;
mod mysql;
mod page;
mod postgres;
mod sqlite;

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::support::broker::{Broker, Kind, Message, Taken};
use crate::support::database::{Server, TestDatabase};
use crate::support::servers::{Mysql, shared_amqp_url};
use crate::support::wait::unique_name;
use crate::support::worker::Worker;
use case::{Expect, Flavour, Section, Table};

/// How the messages of a run are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Batches {
    /// Mixed, as many at a time as there are.
    Mixed,
    /// From the last to the first, each in a transaction of its own.
    OneByOneInReverse,
}

/// What became of one message.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    Row(Option<String>),
    Letter { class: Option<String>, code: Option<String>, column: Option<String> },
    Nothing,
}

impl Found {
    fn is(&self, expect: &Expect, name: &str) -> bool {
        let letter = |class: &str, code: &str, column: Option<&str>| {
            let [class, code, column] = [Some(class), Some(code), column].map(|text| text.map(str::to_owned));
            *self == Found::Letter { class, code, column }
        };
        match expect {
            Expect::Stored(text) => *self == Found::Row(text.clone()),
            Expect::Anything => matches!(self, Found::Row(Some(_))),
            Expect::Refused(code) => letter("mapping", code, Some(name)),
            Expect::Rejected { code, column } => letter("row_rejected", code, column.then_some(name)),
        }
    }
}

/// One table of a run, with its own queue and pipeline.
struct Lane<'a> {
    table: &'a Table,
    queue: String,
    flavour: Option<Flavour>,
}

impl Lane<'_> {
    fn sections(&self) -> impl DoubleEndedIterator<Item = (String, &Section)> {
        let own = self.table.sections.iter().filter(|section| section.applies(self.flavour));
        own.enumerate().map(|(at, section)| (format!("c{at}"), section)).collect::<Vec<_>>().into_iter()
    }

    fn ddl(&self, server: Server) -> String {
        let id = if server == Server::Sqlite { "TEXT" } else { "varchar(40)" };
        let columns: Vec<String> =
            self.sections().map(|(name, section)| format!("{name} {}", section.column)).collect();
        format!("CREATE TABLE {} (id {id} NOT NULL, {}) {}", self.table.name, columns.join(", "), self.table.suffix)
    }

    /// The columns' first cases, then their second ones, and so on: a batch has something of each.
    fn messages(&self) -> Vec<Message> {
        let mut messages = Vec::new();
        for (name, section) in self.sections() {
            for (nth, case) in section.all_cases(self.flavour).iter().enumerate() {
                let mut fields = Vec::new();
                if !case.sent.is_empty() {
                    fields.push(format!("\"{name}\": {}", case.sent));
                }
                for (other, section) in self.sections().filter(|(other, _)| *other != name) {
                    fields.extend(section.filler.map(|filler| format!("\"{other}\": {filler}")));
                }
                messages.push((nth, Message::json(&id(&name, nth), format!("{{{}}}", fields.join(", ")))));
            }
        }
        messages.sort_by_key(|(nth, _)| *nth);
        messages.into_iter().map(|(_, message)| message).collect()
    }

    fn pipeline(&self, batches: Batches) -> String {
        let table = self.table.name;
        let mut text = format!(
            "[pipelines.{table}]\nqueue = \"{}\"\ntable = \"{table}\"\nmessage_id = [\"property:message_id\"]\n{}\n\
             [pipelines.{table}.storm]\nmin = 100000\n[pipelines.{table}.limits]\nmax_body = \"256KiB\"\n",
            self.queue,
            if batches == Batches::Mixed { "" } else { "prefetch = 10" }
        );
        let rows = if batches == Batches::Mixed { 1000 } else { 1 };
        write!(text, "[pipelines.{table}.batch]\nmax_rows = {rows}\nlinger = \"200ms\"\n").unwrap();
        write!(text, "[pipelines.{table}.columns]\nid = \"message_id\"\n").unwrap();
        for (name, section) in self.sections() {
            let comma = if section.options.is_empty() { "" } else { ", " };
            writeln!(text, "{name} = {{ from = \"/{name}\"{comma}{} }}", section.options).unwrap();
        }
        text
    }

    fn select(&self, server: Server) -> String {
        let usual = match server {
            Server::Postgres => "{}::text",
            Server::Mysql => "CAST({} AS CHAR)",
            Server::Sqlite => sqlite::READS,
        };
        let columns = self.sections().map(|(name, section)| section.reads.unwrap_or(usual).replace("{}", &name));
        format!("SELECT id, {} FROM {}", columns.collect::<Vec<_>>().join(", "), self.table.name)
    }

    /// Every case that didn't go as it must.
    fn wrong(&self, rows: &[Vec<Option<String>>], letters: &[Taken]) -> Vec<String> {
        let mut wrong = Vec::new();
        let rows: BTreeMap<&str, &[Option<String>]> =
            rows.iter().map(|row| (row[0].as_deref().expect("an ID"), &row[1..])).collect();
        let letters: BTreeMap<String, &Taken> =
            letters.iter().map(|letter| (letter.message_id().expect("an ID"), letter)).collect();
        for (at, (name, section)) in self.sections().enumerate() {
            for (nth, case) in section.all_cases(self.flavour).iter().enumerate() {
                let id = id(&name, nth);
                let found = match (rows.get(id.as_str()), letters.get(&id)) {
                    (Some(row), None) => Found::Row(row[at].clone()),
                    (None, Some(letter)) => {
                        let [class, code, column] =
                            ["x-sink-error-class", "x-sink-error-code", "x-sink-column"].map(|h| letter.header(h));
                        Found::Letter { class, code, column }
                    }
                    (None, None) => Found::Nothing,
                    (Some(_), Some(_)) => panic!("{id} was written and dead-lettered"),
                };
                if !found.is(&case.expect, &name) {
                    let why = letters.get(&id).and_then(|letter| letter.header("x-exception-message"));
                    let sent = case.shown();
                    wrong.push(format!(
                        "{} [{}] ({name}) ← {sent}\n      expected {}\n      found    {} {}",
                        section.column,
                        section.options,
                        brief(&case.expect),
                        brief(&found),
                        why.unwrap_or_default()
                    ));
                }
            }
        }
        wrong
    }
}

/// Short enough for a line: long values are cut.
fn brief(what: &impl std::fmt::Debug) -> String {
    let text = format!("{what:?}");
    text.char_indices().nth(300).map_or(text.clone(), |(end, _)| format!("{}…", &text[..end]))
}

fn id(column: &str, nth: usize) -> String {
    format!("{column}.{nth}")
}

/// Sends all cases of all tables through one worker, and compares every row and dead letter.
async fn check(database: &TestDatabase, setup: &str, tables: &[Table], batches: Batches) {
    let flavour = flavour(database).await;
    let broker = Broker::shared().await;
    let lanes: Vec<Lane<'_>> =
        tables.iter().map(|table| Lane { table, queue: unique_name("values"), flavour }).collect();
    if !setup.is_empty() {
        database.execute(setup).await;
    }
    for lane in &lanes {
        database.execute(&lane.ddl(database.server)).await;
        broker.declare(&lane.queue, Kind::Classic).await;
        let mut messages = lane.messages();
        if batches == Batches::OneByOneInReverse {
            messages.reverse();
        }
        broker.publish(&lane.queue, messages).await;
    }
    let pipelines: Vec<String> = lanes.iter().map(|lane| lane.pipeline(batches)).collect();
    let config = format!(
        "[rabbitmq]\nurl = {:?}\n[database]\nurl = {:?}\n[admin]\nlisten = \"off\"\n{}",
        shared_amqp_url(),
        database.url,
        pipelines.join("\n")
    );
    let exit = Worker::until_empty(&config).await.expect(0);
    let mut wrong = Vec::new();
    for (lane, summary) in lanes.iter().zip(exit.summaries()) {
        let sent = lane.messages().len() as u64;
        let rows = database.rows(&lane.select(database.server)).await;
        let dead = format!("{}.dead", lane.queue);
        let letters = broker.drain(&dead).await;
        wrong.extend(lane.wrong(&rows, &letters));
        let counted = (summary.settled, summary.written, summary.dead_lettered);
        assert_eq!(counted, (sent, rows.len() as u64, letters.len() as u64), "{summary:?}");
        broker.delete(&lane.queue).await;
        broker.delete(&dead).await;
    }
    assert!(wrong.is_empty(), "{} cases went wrong, {batches:?}:\n  {}", wrong.len(), wrong.join("\n  "));
}

async fn flavour(database: &TestDatabase) -> Option<Flavour> {
    if database.server != Server::Mysql {
        return None;
    }
    let version = database.rows("SELECT VERSION()").await[0][0].clone().expect("a version");
    Some(if version.contains("MariaDB") { Flavour::Mariadb } else { Flavour::Mysql })
}

/// The explicit cases that a server of this flavour is asked.
fn count(tables: &[Table], flavour: Option<Flavour>) -> usize {
    let sections = tables.iter().flat_map(|table| &table.sections).filter(|section| section.applies(flavour));
    sections.map(|section| section.cases.iter().filter(|case| case.applies(flavour)).count()).sum()
}

#[tokio::test]
async fn postgres_mixed_in_one_batch() {
    let database = TestDatabase::fresh(Server::Postgres).await;
    check(&database, postgres::SETUP, &postgres::tables(), Batches::Mixed).await;
}

#[tokio::test]
async fn slow_postgres_one_by_one_in_reverse() {
    let database = TestDatabase::fresh(Server::Postgres).await;
    check(&database, postgres::SETUP, &postgres::tables(), Batches::OneByOneInReverse).await;
}

#[tokio::test]
async fn mysql_mixed_in_one_batch() {
    let database = TestDatabase::fresh(Server::Mysql).await;
    check(&database, "", &mysql::tables(), Batches::Mixed).await;
}

#[tokio::test]
async fn slow_mysql_one_by_one_in_reverse() {
    let database = TestDatabase::fresh(Server::Mysql).await;
    check(&database, "", &mysql::tables(), Batches::OneByOneInReverse).await;
}

/// What a server's own `sql_mode` is makes no difference: without strictness it would cut and clip.
#[tokio::test]
async fn mysql_on_a_server_without_strictness() {
    let server = Mysql::start_with(&["--sql-mode="]).await;
    let database = TestDatabase::on(&server.url()).await;
    assert_eq!(database.rows("SELECT @@GLOBAL.sql_mode").await, [[Some(String::new())]]);
    check(&database, "", &mysql::tables(), Batches::Mixed).await;
}

#[tokio::test]
async fn sqlite_mixed_in_one_batch() {
    let database = TestDatabase::fresh(Server::Sqlite).await;
    check(&database, "", &sqlite::tables(), Batches::Mixed).await;
}

#[tokio::test]
async fn sqlite_one_by_one_in_reverse() {
    let database = TestDatabase::fresh(Server::Sqlite).await;
    check(&database, "", &sqlite::tables(), Batches::OneByOneInReverse).await;
}

#[test]
fn each_database_has_its_cases() {
    for (name, tables, flavour) in [
        ("PostgreSQL", postgres::tables(), None),
        ("MariaDB", mysql::tables(), Some(Flavour::Mariadb)),
        ("MySQL", mysql::tables(), Some(Flavour::Mysql)),
        ("SQLite", sqlite::tables(), None),
    ] {
        let cases = count(&tables, flavour);
        assert!(cases >= 120, "{name} has {cases} cases only");
    }
}
