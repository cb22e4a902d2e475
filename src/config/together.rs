//! Pipelines that are right one by one and wrong beside each other, or beside the ledger.

use std::collections::{BTreeMap, BTreeSet};

use percent_encoding::percent_decode_str;
use url::Url;

use super::reader::Section;
use super::{Broker, Config, Database, DatabaseKind, Pipeline};
use crate::catalogue::TableName;

/// What no pipeline can know alone.
pub(super) fn check(root: &Section<'_>, config: &Config) {
    let pipelines: Vec<&Pipeline> = config.pipelines.values().collect();
    for (at, pipeline) in pipelines.iter().enumerate() {
        if let Some(other) = pipelines[..at].iter().find(|other| same_queue(config, pipeline, other)) {
            two_on_one_queue(root, pipeline, other);
        }
        dead_letters_come_back(root, config, pipeline);
        if let Some(database) = config.databases.get(&pipeline.database) {
            table_is_the_ledger(root, pipeline, database);
            columns_of_one_name(root, pipeline, database);
        }
    }
}

/// The same broker and virtual host, by whatever name and login. (Whether two hosts are of one cluster can't be told.)
fn same_broker(brokers: &BTreeMap<String, Broker>, one: &str, other: &str) -> bool {
    let places = |name: &str| brokers.get(name).map(places).unwrap_or_default();
    one == other || !places(one).is_disjoint(&places(other))
}

/// Host, port and virtual host of each address.
fn places(broker: &Broker) -> BTreeSet<(String, u16, String)> {
    let place = |url: Url| {
        let port = url.port().unwrap_or(if url.scheme() == "amqps" { 5671 } else { 5672 });
        (
            url.host_str().unwrap_or_default().to_owned(),
            port,
            percent_decode_str(url.path()).decode_utf8_lossy().into_owned(),
        )
    };
    broker.urls.iter().filter_map(|url| Url::parse(url.reveal()).ok()).map(place).collect()
}

fn same_queue(config: &Config, one: &Pipeline, other: &Pipeline) -> bool {
    one.queue == other.queue && same_broker(&config.brokers, &one.broker, &other.broker)
}

/// Each message reaches one of them only, and a repeat may reach the other, whose entries in the ledger bear another
/// name: it would be written twice.
fn two_on_one_queue(root: &Section<'_>, pipeline: &Pipeline, other: &Pipeline) {
    if pipeline.queue.is_empty() {
        return;
    }
    let message = format!(
        "the pipeline \"{}\" reads this queue, too: each message would reach one of them, and a repeat the other, which \
         doesn't know it",
        other.name
    );
    let help = "bind a queue for each, or raise `consumers` of one of them".to_owned();
    root.contradiction_within(&[vec!["pipelines", &pipeline.name, "queue"]], message, Some(help));
}

/// From dead-letter queue to dead-letter queue, until one is the pipeline's own again.
fn dead_letters_come_back(root: &Section<'_>, config: &Config, first: &Pipeline) {
    let mut last = first;
    let mut seen = vec![first.name.as_str()];
    loop {
        let reads = |next: &&Pipeline| {
            last.dead_letter.queue() == Some(next.queue.as_str())
                && same_broker(&config.brokers, &next.broker, &last.broker)
        };
        let Some(next) = config.pipelines.values().find(reads) else { return };
        if next.name == first.name {
            break;
        }
        if seen.contains(&next.name.as_str()) {
            return;
        }
        seen.push(&next.name);
        last = next;
    }
    // A queue that is its own dead-letter queue is said already; a ring is said once, where its first name stands.
    if seen.len() > 1 && seen.iter().all(|name| first.name.as_str() <= *name) {
        let message =
            format!("dead letters would go round for ever: {}, and to {} again", seen.join(", then "), first.name);
        let section = ["pipelines", &first.name];
        let paths = [vec![section[0], section[1], "dead_letter", "queue"], vec![section[0], section[1], "queue"]];
        root.contradiction_within(&paths, message, None);
    }
}

fn table_is_the_ledger(root: &Section<'_>, pipeline: &Pipeline, database: &Database) {
    let ledger = &database.ledger_table;
    let beside = format!("{}_pipelines", ledger.name);
    let own = vec!["pipelines", pipeline.name.as_str(), "table"];
    let dead = vec!["pipelines", pipeline.name.as_str(), "dead_letter", "table"];
    for (table, path) in [(Some(&pipeline.table), own), (pipeline.dead_letter.table(), dead)] {
        let taken =
            |table: &&TableName| table.schema == ledger.schema && [&ledger.name, &beside].contains(&&table.name);
        if table.is_some_and(|table| taken(&table)) {
            let message = "the ledger itself is kept in this table".to_owned();
            let help = "choose another one here, or in ledger_table of the database".to_owned();
            root.contradiction_within(&[path], message, Some(help));
        }
    }
}

/// PostgreSQL alone tells `Total` from `total`.
fn columns_of_one_name(root: &Section<'_>, pipeline: &Pipeline, database: &Database) {
    let unknown = database.kind == DatabaseKind::Sqlite && database.url.reveal().is_empty();
    if database.kind == DatabaseKind::Postgres || unknown {
        return;
    }
    let names: Vec<&str> = pipeline.columns.iter().flatten().map(|mapping| mapping.column.as_str()).collect();
    for (at, name) in names.iter().enumerate() {
        if let Some(other) = names[..at].iter().find(|other| other.eq_ignore_ascii_case(name)) {
            let message = format!("it is the column {other:?}, which is filled already: this database knows no case");
            root.contradiction_within(&[vec!["pipelines", &pipeline.name, "columns", name]], message, None);
        }
    }
}
