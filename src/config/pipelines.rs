//! `[pipelines.*]`.

use std::collections::BTreeMap;
use std::time::Duration;

use super::field::Field;
use super::names::{IDENTIFIER, TABLE, amqp_name, is_identifier, table_name};
use super::places::id_place;
use super::reader::{Known, Section};
use super::{
    Batch, Binding, Broker, Database, DeadLetter, Declare, Deduplicate, IdConflict, IdPlace, Limits, Pipeline, Place,
    Property, QueueType, Retry, Storm, StormAction, UnknownFields, checks, columns, names,
};
use crate::catalogue::TableName;

const MS: Duration = Duration::from_millis(1);
const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);
const GIB: u64 = 1 << 30;

/// AMQP counts unacked messages in 16 bits, and two batches must fit into them.
const MAX_ROWS: i64 = 32_767;

const QUEUE: &str = "a queue's name of 1 to 255 bytes";

/// All pipelines by name, each checked against its broker.
pub(super) fn read(
    root: &Section<'_>,
    brokers: &BTreeMap<String, Broker>,
    databases: &BTreeMap<String, Database>,
) -> BTreeMap<String, Pipeline> {
    let mut pipelines = BTreeMap::new();
    for (name, section) in root.named_sections("pipelines") {
        names::check(root, "pipelines", name);
        pipelines.insert(name.to_owned(), pipeline(name, section, brokers, databases));
    }
    if pipelines.is_empty() && !root.problems().is_bad("pipelines") {
        let help = "[pipelines.orders] with `queue` and `table` makes one named orders".to_owned();
        root.missing("pipelines", "missing; expected at least one section [pipelines.NAME]", Some(help));
    }
    pipelines
}

fn pipeline(
    name: &str,
    section: Section<'_>,
    brokers: &BTreeMap<String, Broker>,
    databases: &BTreeMap<String, Database>,
) -> Pipeline {
    section.choice("mode", (), &[("insert", ())], &["upsert", "upsert_newer", "delete", "apply"]);
    section.choice("format", (), &[("json", ())], &["debezium", "cloudevents"]);
    let queue = queue(&section);
    let (dead_letter, known_dead_letter) = dead_letter(&section, &queue);
    let (batch, known_batch) = batch(&section);
    let (limits, known_limits) = limits(&section);
    let (retry, known_retry) = retry(&section);
    let (storm, known_storm) = storm(&section);
    let below = [known_batch, known_limits, known_retry, known_storm, known_dead_letter];
    let columns = columns::read(&section);
    let message_id = message_id(&section);
    let rows = i64::try_from(batch.max_rows).unwrap_or(MAX_ROWS);
    let prefetch = section.integer("prefetch", (2 * rows).max(2000), 1..=i64::from(u16::MAX));
    let mut pipeline = Pipeline {
        name: name.to_owned(),
        queue,
        table: table(&section),
        consumers: u16::try_from(section.integer("consumers", 1, 1..=64)).unwrap_or(1),
        prefetch: u16::try_from(prefetch).unwrap_or(u16::MAX),
        deduplicate: deduplicate(&section, &message_id, columns.as_deref()),
        message_id,
        id_conflict: section.choice(
            "id_conflict",
            IdConflict::DeadLetter,
            &[("dead_letter", IdConflict::DeadLetter), ("ignore", IdConflict::Ignore)],
            &[],
        ),
        unknown_fields: unknown_fields(&section),
        exactly_once: section.choice("guarantee", false, &[("exactly_once_effect", true), ("none", false)], &[]),
        broker: reference(&section, "broker", "rabbitmq", brokers.keys()),
        database: reference(&section, "database", "database", databases.keys()),
        declare: declare(&section),
        columns,
        batch,
        limits,
        retry,
        storm,
        dead_letter,
    };
    checks::pipeline(&section, &mut pipeline, brokers);
    section.not_yet(&["key", "version", "on_reject", "operation", "absent", "rows", "lanes", "order", "schema"]);
    section.finish(&below);
    pipeline
}

fn queue(section: &Section<'_>) -> String {
    if section.has("queue") {
        section.field("queue").and_then(|field| amqp_name(&field, QUEUE)).unwrap_or_default()
    } else {
        section.required_text("queue", QUEUE).unwrap_or_default()
    }
}

fn table(section: &Section<'_>) -> TableName {
    let nowhere = TableName { schema: None, name: String::new() };
    let Some(text) = section.required_text("table", TABLE) else { return nowhere };
    table_name(&text).unwrap_or_else(|| {
        if let Some(field) = section.field("table") {
            field.expected(TABLE);
        }
        nowhere
    })
}

fn message_id(section: &Section<'_>) -> Vec<IdPlace> {
    match section.list("message_id") {
        Some(places) => places.iter().filter_map(id_place).collect(),
        None => vec![
            IdPlace::One(Place::Property(Property::MessageId)),
            IdPlace::One(Place::Header(vec!["message-id".to_owned()])),
        ],
    }
}

fn deduplicate(section: &Section<'_>, message_id: &[IdPlace], columns: Option<&[super::ColumnMapping]>) -> Deduplicate {
    let Some(field) = section.field("deduplicate") else { return Deduplicate::Ledger };
    let choices = [("ledger", Some(Deduplicate::Ledger)), ("none", Some(Deduplicate::None)), ("column", None)];
    let expected = "\"ledger\", \"none\", \"column\" or \"column:NAME\"";
    let Some(text) = field.text(expected) else { return Deduplicate::Ledger };
    if let Some(name) = text.strip_prefix("column:") {
        let mapped = columns.is_none_or(|columns| columns.iter().any(|mapping| mapping.column == name));
        if !is_identifier(name) {
            field.expected(&format!("\"column:NAME\" with {IDENTIFIER}"));
        } else if !mapped && !section.problems().is_bad(&section.path_of("columns")) {
            let message = format!("no message has a value for the column {name:?}: it is missing in columns");
            let help = format!("map the message ID to it: {name} = \"message_id\"");
            section.contradiction(&["deduplicate"], message, Some(help));
        }
        return Deduplicate::Column(name.to_owned());
    }
    match choices.into_iter().find(|(name, _)| *name == text) {
        Some((_, Some(choice))) => choice,
        Some((_, None)) => {
            let only = match message_id {
                [IdPlace::One(place)] => Some(place),
                _ => None,
            };
            let Some(column) = columns::of_message_id(columns, only) else {
                let message = "no column holds the message ID".to_owned();
                let help = "map one to it (event_id = \"message_id\" in columns), or name it: \"column:NAME\"";
                section.contradiction(&["deduplicate", "columns", "message_id"], message, Some(help.to_owned()));
                return Deduplicate::Ledger;
            };
            Deduplicate::Column(column)
        }
        None => {
            let near = super::problems::nearest(&text, ["ledger", "none", "column"]);
            field.expected_with(expected, near.map(|near| format!("did you mean {near:?}?")));
            Deduplicate::Ledger
        }
    }
}

fn unknown_fields(section: &Section<'_>) -> UnknownFields {
    let Some(field) = section.field("unknown_fields") else { return UnknownFields::Ignore };
    let expected = "\"ignore\", \"reject\" or \"column:NAME\"";
    match field.text(expected).as_deref() {
        Some("ignore") | None => UnknownFields::Ignore,
        Some("reject") => UnknownFields::Reject,
        Some(text) => match text.strip_prefix("column:").filter(|name| is_identifier(name)) {
            Some(name) => UnknownFields::Column(name.to_owned()),
            None => {
                let near = super::problems::nearest(text, ["ignore", "reject"]);
                field.expected_with(expected, near.map(|near| format!("did you mean {near:?}?")));
                UnknownFields::Ignore
            }
        },
    }
}

/// The name of a broker or database, which must exist.
fn reference<'n>(
    section: &Section<'_>,
    key: &'static str,
    default_section: &str,
    known: impl Iterator<Item = &'n String>,
) -> String {
    let known: Vec<&str> = known.map(String::as_str).collect();
    let name = section.text(key, "default", &format!("the name of a {key}"));
    let bad = section.problems().is_bad(&section.path_of(key));
    if !known.contains(&name.as_str()) && !known.is_empty() && !bad {
        let substituted = section.field(key).is_some_and(|field| field.is_substituted());
        let shown = if substituted { "of the environment's name".to_owned() } else { format!("{name:?}") };
        let message = format!("there is no {key} {shown}; known: {}", known.join(", "));
        let near = super::problems::nearest(&name, known.iter().copied());
        let help = match near {
            Some(near) => format!("did you mean {near:?}?"),
            None if name == "default" => format!("the default one stands in [{default_section}]"),
            None => format!("define it in [{key}s.NAME]"),
        };
        section.contradiction(&[key], message, Some(help));
    }
    name
}

fn declare(section: &Section<'_>) -> Option<Declare> {
    let declare = section.given_section("declare")?;
    let types = [("quorum", QueueType::Quorum), ("classic", QueueType::Classic)];
    let queue_type = declare.choice("type", QueueType::Quorum, &types, &["stream"]);
    let bind = declare.list("bind").unwrap_or_default().iter().filter_map(binding).collect();
    declare.finish(&[]);
    Some(Declare { queue_type, bind })
}

fn binding(field: &Field<'_>) -> Option<Binding> {
    let Some(section) = field.table() else {
        field.expected("{ exchange = \"…\", routing_key = \"…\" }");
        return None;
    };
    let expected = "the name of an exchange, 1 to 255 bytes";
    if !section.has("exchange") {
        section.missing("exchange", &format!("missing; expected {expected}"), None);
    }
    let exchange = section.field("exchange").and_then(|field| amqp_name(&field, expected)).unwrap_or_default();
    let routing_key = section.text("routing_key", "", "a routing key, at most 255 bytes");
    if routing_key.len() > 255 {
        section.contradiction(&["routing_key"], "expected at most 255 bytes, found more".into(), None);
    }
    section.finish(&[]);
    Some(Binding { exchange, routing_key })
}

fn batch(pipeline: &Section<'_>) -> (Batch, Known) {
    let section = pipeline.section("batch");
    let batch = Batch {
        max_rows: usize::try_from(section.integer("max_rows", 1000, 1..=MAX_ROWS)).unwrap_or(1),
        max_bytes: section.bytes("max_bytes", "8MiB", 1..=GIB),
        linger: section.duration("linger", "0ms", Duration::ZERO..=10 * MINUTE),
    };
    (batch, ("batch", section.finish(&[])))
}

fn limits(pipeline: &Section<'_>) -> (Limits, Known) {
    let section = pipeline.section("limits");
    let count = |key, default| u32::try_from(section.integer(key, default, 0..=1_000_000_000)).unwrap_or(u32::MAX);
    let limits = Limits {
        max_body: section.bytes("max_body", "16MiB", 1..=GIB),
        max_depth: usize::try_from(section.integer("max_depth", 128, 1..=128)).unwrap_or(128),
        max_unacked_bytes: section.bytes("max_unacked_bytes", "64MiB", 1..=64 * GIB),
        max_rows_per_second: count("max_rows_per_second", 0),
        max_replays: count("max_replays", 5),
    };
    (limits, ("limits", section.finish(&[])))
}

fn retry(pipeline: &Section<'_>) -> (Retry, Known) {
    let section = pipeline.section("retry");
    let mut retry = Retry {
        initial: section.duration("initial", "100ms", MS..=60 * MINUTE),
        max: section.duration("max", "30s", MS..=60 * MINUTE),
        hold: section.duration("hold", "10m", 100 * MS..=365 * DAY),
        missing_parent: section.duration("missing_parent", "30s", Duration::ZERO..=DAY),
    };
    // Beyond `hold` a child would be given back before it has waited long enough, again and again.
    if !section.has("missing_parent") {
        retry.missing_parent = retry.missing_parent.min(retry.hold / 2);
    }
    (retry, ("retry", section.finish(&[])))
}

fn storm(pipeline: &Section<'_>) -> (Storm, Known) {
    let section = pipeline.section("storm");
    let actions = [("pause", StormAction::Pause), ("dead_letter", StormAction::DeadLetter)];
    let storm = Storm {
        min: usize::try_from(section.integer("min", 100, 1..=1_000_000)).unwrap_or(1),
        share: section.share("share", 0.95),
        action: section.choice("action", StormAction::Pause, &actions, &[]),
    };
    (storm, ("storm", section.finish(&[])))
}

fn dead_letter(pipeline: &Section<'_>, source: &str) -> (DeadLetter, Known) {
    let section = pipeline.section("dead_letter");
    section.choice("to", (), &[("queue", ())], &["table"]);
    let queue = match section.field("queue") {
        Some(field) => amqp_name(&field, QUEUE).unwrap_or_default(),
        None => format!("{source}.dead"),
    };
    let dead_letter = DeadLetter { queue, declare: section.flag("declare", true) };
    // The other sections have keys of the same names, so that a hint to this one would mislead.
    section.finish(&[]);
    (dead_letter, ("dead_letter", Vec::new()))
}
