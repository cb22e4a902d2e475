//! Keys that are right one by one and wrong together.

use std::collections::BTreeMap;

use super::reader::Section;
use super::units::show_duration;
use super::{Broker, Database, DatabaseKind, DeadLetter, Deduplicate, Pipeline, UnknownFields, names};
use crate::catalogue::TableName;

/// A pipeline in itself and against its broker. Lowers its prefetch where a rate limit wants that.
pub(super) fn pipeline(section: &Section<'_>, pipeline: &mut Pipeline, brokers: &BTreeMap<String, Broker>) {
    prefetch_fits_batches(section, pipeline);
    hold_fits_broker(section, pipeline, brokers);
    rate_fits_hold(section, pipeline);
    turns(section, pipeline);
    ids(section, pipeline);
    guarantee(section, pipeline);
    dead_letters(section, pipeline);
    let retry = &pipeline.retry;
    if retry.initial > retry.max {
        let (initial, max) = (show_duration(retry.initial), show_duration(retry.max));
        let message = format!("the first wait ({initial}) is longer than the longest, `max` ({max})");
        section.contradiction(&["retry.initial", "retry.max"], message, None);
    }
    if retry.missing_parent >= retry.hold {
        let (wait, hold) = (show_duration(retry.missing_parent), show_duration(retry.hold));
        let message = format!(
            "a row would wait for its parent ({wait}) until it is given back, `retry.hold` ({hold}), and then anew, for ever"
        );
        section.contradiction(&["retry.missing_parent", "retry.hold"], message, None);
    }
    if pipeline.batch.linger >= retry.hold {
        let (linger, hold) = (show_duration(pipeline.batch.linger), show_duration(retry.hold));
        let message = format!("a batch would wait ({linger}) until its messages are given back, `retry.hold` ({hold})");
        section.contradiction(&["batch.linger", "retry.hold"], message, None);
    }
    unknown_fields(section, pipeline);
}

fn unknown_fields(section: &Section<'_>, pipeline: &Pipeline) {
    let UnknownFields::Column(name) = &pipeline.unknown_fields else { return };
    if pipeline.columns.iter().flatten().any(|mapping| mapping.column == *name) {
        let message = format!("the column {name:?} is filled by columns already");
        section.contradiction(&["unknown_fields"], message, None);
    } else if pipeline.deduplicate == Deduplicate::Column(name.clone()) {
        let message = format!("the column {name:?} holds the message ID, by deduplicate");
        section.contradiction(&["unknown_fields", "deduplicate"], message, None);
    }
}

fn prefetch_fits_batches(section: &Section<'_>, pipeline: &Pipeline) {
    let (prefetch, rows) = (usize::from(pipeline.prefetch), pipeline.batch.max_rows);
    if prefetch < 2 * rows {
        let message =
            format!("expected at least 2 × batch.max_rows = {}, or batches never fill; found {prefetch}", 2 * rows);
        let help = format!("raise prefetch to {}, or lower batch.max_rows to {}", 2 * rows, (prefetch / 2).max(1));
        section.contradiction(&["prefetch", "batch.max_rows"], message, Some(help));
    }
}

fn hold_fits_broker(section: &Section<'_>, pipeline: &Pipeline, brokers: &BTreeMap<String, Broker>) {
    let Some(broker) = brokers.get(&pipeline.broker) else { return };
    let problems = section.problems();
    let name = &broker.name;
    let stated = ["rabbitmq.consumer_timeout".to_owned(), format!("brokers.{name}.consumer_timeout")];
    if stated.iter().any(|path| problems.is_bad(path)) || pipeline.retry.hold < broker.consumer_timeout {
        return;
    }
    let message = format!(
        "expected less than the broker's consumer_timeout ({}), which would close the channel first; found {}{}",
        show_duration(broker.consumer_timeout),
        show_duration(pipeline.retry.hold),
        if section.is_given("retry.hold") { "" } else { ", its default" }
    );
    let help = "if the broker's timeout is longer, say so: consumer_timeout in the broker's section".to_owned();
    section.contradiction(&["retry.hold"], message, Some(help));
}

/// Consumers of one process would take turns, too: all but one only wait.
fn turns(section: &Section<'_>, pipeline: &Pipeline) {
    if pipeline.single_active_consumer && pipeline.consumers > 1 {
        let message =
            format!("with single_active_consumer one of {} consumers reads, the others wait", pipeline.consumers);
        section.contradiction(&["consumers"], message, Some("set consumers = 1, and start another process".to_owned()));
    }
}

/// No message may wait for longer than `hold` because of the rate limit: half of that is the most that is taken.
fn rate_fits_hold(section: &Section<'_>, pipeline: &mut Pipeline) {
    let rate = pipeline.limits.max_rows_per_second;
    if rate == 0 {
        return;
    }
    // The consumers share the rate.
    let rate_of_one = f64::from(rate) / f64::from(pipeline.consumers);
    let most = (rate_of_one * pipeline.retry.hold.as_secs_f64() / 2.0).floor();
    if most < 1.0 {
        let message = format!(
            "at {rate} a second, not one message of each consumer is done within half of retry.hold ({})",
            show_duration(pipeline.retry.hold)
        );
        section.contradiction(&["limits.max_rows_per_second", "retry.hold"], message, None);
    } else if most < f64::from(pipeline.prefetch) {
        // Below 2^16, and whole.
        pipeline.prefetch = most as u16;
    }
}

fn guarantee(section: &Section<'_>, pipeline: &Pipeline) {
    if pipeline.exactly_once && pipeline.deduplicate == Deduplicate::None {
        let message = "can't be kept: deduplicate = \"none\" writes again whatever is delivered again".to_owned();
        let help = "set deduplicate = \"ledger\", or take the guarantee out".to_owned();
        section.contradiction(&["guarantee", "deduplicate"], message, Some(help));
    }
}

fn ids(section: &Section<'_>, pipeline: &Pipeline) {
    if pipeline.message_id.is_empty() && pipeline.deduplicate != Deduplicate::None {
        let message = "expected at least one place of the message ID, found none".to_owned();
        let help = "without IDs, deduplicate = \"none\" writes every message at least once".to_owned();
        section.contradiction(&["message_id", "deduplicate"], message, Some(help));
    }
}

fn dead_letters(section: &Section<'_>, pipeline: &Pipeline) {
    let dead = match &pipeline.dead_letter {
        DeadLetter::Queue { name, .. } => name,
        DeadLetter::Table(table) => return dead_letter_table(section, pipeline, table),
    };
    let queue = &pipeline.queue;
    let bad = section.problems().is_bad(&section.path_of("queue"));
    if bad {
        return;
    }
    if queue == dead {
        let message = "dead letters would come back for ever: it is the queue that the pipeline reads".to_owned();
        section.contradiction(&["dead_letter.queue", "queue"], message, None);
    } else if dead.len() > 255 {
        let message = "its default, the queue's name and `.dead`, is longer than the 255 bytes of a queue's name";
        section.contradiction(&["dead_letter.queue"], message.to_owned(), None);
    }
}

fn dead_letter_table(section: &Section<'_>, pipeline: &Pipeline, table: &TableName) {
    let bad = section.problems().is_bad(&section.path_of("table"));
    if !bad && *table == pipeline.table {
        let message = "rows go into this table: dead letters need one of their own".to_owned();
        section.contradiction(&["dead_letter.table", "table"], message, None);
    } else if !bad && table.name.len() > names::IDENTIFIER_MAX {
        let message =
            "its default, the table's name and `_dead_letters`, is longer than the 63 bytes of a table's name";
        section.contradiction(&["dead_letter.table", "dead_letter.to"], message.to_owned(), None);
    }
}

/// Each consumer writes on a connection of its own; two more are for probes and upkeep.
pub(super) fn connections(
    root: &Section<'_>,
    databases: &BTreeMap<String, Database>,
    pipelines: &BTreeMap<String, Pipeline>,
) {
    for database in databases.values().filter(|database| database.kind != DatabaseKind::Sqlite) {
        let Some(max) = database.max_connections else { continue };
        let consumers: u32 = pipelines
            .values()
            .filter(|pipeline| pipeline.database == database.name)
            .map(|pipeline| u32::from(pipeline.consumers))
            .sum();
        if max < consumers + 2 {
            let message = format!(
                "expected at least {}, one for each of {consumers} consumers and two more; found {max}",
                consumers + 2
            );
            let stated =
                [vec!["databases", database.name.as_str(), "max_connections"], vec!["database", "max_connections"]];
            root.contradiction_within(&stated, message, None);
        }
    }
}
