//! `[pipelines.*]`.

use std::collections::BTreeMap;

use super::field::{Field, Word};
use super::keys::BINDING;
use super::places::id_place;
use super::reader::Section;
use super::{
    Batch, Binding, Broker, Database, DeadLetter, Declare, Deduplicate, IdConflict, IdPlace, Limits, Pipeline, Place,
    Property, QueueType, Retry, Storm, StormAction, UnknownFields, checks, columns, names,
};
use crate::catalogue::TableName;

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
    section.choice("mode", &[("insert", ())]);
    section.choice("format", &[("json", ())]);
    let queue = section.text("queue").unwrap_or_default();
    let table = names::table(&section, "table");
    let dead_letter = dead_letter(&section, &queue, &table);
    let batch = batch(&section);
    let columns = columns::read(&section);
    let message_id = message_id(&section);
    let prefetch = match section.integer("prefetch") {
        Some(given) => u16::try_from(given),
        None => u16::try_from((2 * batch.max_rows).max(2000)),
    };
    let id_conflicts = [("dead_letter", IdConflict::DeadLetter), ("ignore", IdConflict::Ignore)];
    let mut pipeline = Pipeline {
        name: name.to_owned(),
        queue,
        table,
        consumers: section.count("consumers"),
        single_active_consumer: section.flag("single_active_consumer"),
        prefetch: prefetch.unwrap_or(u16::MAX),
        deduplicate: deduplicate(&section, &message_id, columns.as_deref()),
        message_id,
        id_conflict: section.choice("id_conflict", &id_conflicts).unwrap_or(IdConflict::DeadLetter),
        unknown_fields: unknown_fields(&section),
        exactly_once: section.choice("guarantee", &[("exactly_once_effect", true), ("none", false)]).unwrap_or(false),
        broker: reference(&section, "broker", "rabbitmq", brokers.keys()),
        database: reference(&section, "database", "database", databases.keys()),
        declare: declare(&section),
        columns,
        batch,
        limits: limits(&section),
        retry: retry(&section),
        storm: storm(&section),
        dead_letter,
    };
    checks::pipeline(&section, &mut pipeline, brokers);
    section.finish();
    pipeline
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
    match section.word("deduplicate") {
        Some(Word::Column(name)) => {
            let mapped = columns.is_none_or(|columns| columns.iter().any(|mapping| mapping.column == name));
            if !mapped && !section.problems().is_bad(&section.path_of("columns")) {
                let message = format!("no message has a value for the column {name:?}: it is missing in columns");
                let help = format!("map the message ID to it: {name} = \"message_id\"");
                section.contradiction(&["deduplicate"], message, Some(help));
            }
            Deduplicate::Column(name)
        }
        Some(Word::Known("none")) => Deduplicate::None,
        Some(Word::Known("column")) => {
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
        Some(Word::Known(_)) | None => Deduplicate::Ledger,
    }
}

fn unknown_fields(section: &Section<'_>) -> UnknownFields {
    match section.word("unknown_fields") {
        Some(Word::Column(name)) => UnknownFields::Column(name),
        Some(Word::Known("reject")) => UnknownFields::Reject,
        Some(Word::Known(_)) | None => UnknownFields::Ignore,
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
    let name = section.text(key).unwrap_or_default();
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
    let queue_type = declare.choice("type", &types).unwrap_or(QueueType::Quorum);
    let bind = declare.list("bind").unwrap_or_default().iter().filter_map(binding).collect();
    declare.finish();
    Some(Declare { queue_type, bind })
}

fn binding(field: &Field<'_>) -> Option<Binding> {
    let Some(section) = field.table(&BINDING) else {
        field.expected("{ exchange = \"…\", routing_key = \"…\" }");
        return None;
    };
    let exchange = section.text("exchange").unwrap_or_default();
    let routing_key = section.text("routing_key").unwrap_or_default();
    if routing_key.len() > 255 {
        section.contradiction(&["routing_key"], "expected at most 255 bytes, found more".into(), None);
    }
    section.finish();
    Some(Binding { exchange, routing_key })
}

fn batch(pipeline: &Section<'_>) -> Batch {
    let section = pipeline.section("batch");
    let batch = Batch {
        max_rows: section.count("max_rows"),
        max_bytes: section.bytes("max_bytes"),
        linger: section.duration("linger"),
    };
    section.finish();
    batch
}

fn limits(pipeline: &Section<'_>) -> Limits {
    let section = pipeline.section("limits");
    let limits = Limits {
        max_body: section.bytes("max_body"),
        max_depth: section.count("max_depth"),
        max_unacked_bytes: section.bytes("max_unacked_bytes"),
        max_rows_per_second: section.count("max_rows_per_second"),
        max_replays: section.count("max_replays"),
    };
    section.finish();
    limits
}

fn retry(pipeline: &Section<'_>) -> Retry {
    let section = pipeline.section("retry");
    let mut retry = Retry {
        initial: section.duration("initial"),
        max: section.duration("max"),
        hold: section.duration("hold"),
        missing_parent: section.duration("missing_parent"),
    };
    // Beyond `hold` a child would be given back before it has waited long enough, again and again.
    if !section.has("missing_parent") {
        retry.missing_parent = retry.missing_parent.min(retry.hold / 2);
    }
    section.finish();
    retry
}

fn storm(pipeline: &Section<'_>) -> Storm {
    let section = pipeline.section("storm");
    let actions = [("pause", StormAction::Pause), ("dead_letter", StormAction::DeadLetter)];
    let storm = Storm {
        min: section.count("min"),
        share: section.share("share"),
        action: section.choice("action", &actions).unwrap_or(StormAction::Pause),
    };
    section.finish();
    storm
}

fn dead_letter(pipeline: &Section<'_>, source: &str, target: &TableName) -> DeadLetter {
    let section = pipeline.section("dead_letter");
    let to_table = section.choice("to", &[("queue", false), ("table", true)]).unwrap_or(false);
    let queue = section.text("queue");
    let name = if section.has("queue") { queue.unwrap_or_default() } else { format!("{source}.dead") };
    let declare = section.flag("declare");
    let given = names::table(&section, "table");
    let by_default = TableName { schema: target.schema.clone(), name: format!("{}_dead_letters", target.name) };
    let table = if section.has("table") { given } else { by_default };
    let (to, others): (_, &[&'static str]) =
        if to_table { ("table", &["queue", "declare"]) } else { ("queue", &["table"]) };
    for key in others.iter().copied().filter(|key| section.has(key)) {
        let message = format!("it says nothing where dead letters go to a {to}");
        let help = format!("take it out, or set to = \"{}\"", if to_table { "queue" } else { "table" });
        section.contradiction(&[key, "to"], message, Some(help));
    }
    section.finish();
    if to_table { DeadLetter::Table(table) } else { DeadLetter::Queue { name, declare } }
}
