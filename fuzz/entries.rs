//! What is fed with arbitrary bytes, and what must hold whatever they are. Shared by the fuzz targets
//! beside this file, which look for new inputs, and by tests/fuzz.rs, which runs on stable Rust.

use std::sync::OnceLock;
use tokio::time::Instant;

use rabbit_sink::cases::{self, CaseFile};
use rabbit_sink::config::{self, Config, DatabaseKind};
use rabbit_sink::decode::{self, Fields};
use rabbit_sink::error::{ErrorClass, Failure};
use rabbit_sink::mapping::{Plan, cell_text};
use rabbit_sink::message::Delivery;
use rabbit_sink::sample;
use serde_json::Value;

/// Levels that the decoder is told to take; below what the JSON library takes by itself, which is
/// asked for its opinion.
const DEPTH: usize = 60;

/// Places that are asked for: the whole, fields, what hides behind escapes, and parts of parts.
const POINTERS: [&str; 8] = ["/a", "/b/c", "/b", "/l/0", "/l/1/a", "/~0~1", "/", "/a/a/a"];

/// Bytes to fields: what comes out is what a JSON library finds at the same place, or a reason.
pub fn decode(data: &[u8]) {
    let Some((&how, body)) = data.split_first() else { return };
    let mut fields = Fields::new(how & 1 == 1);
    let asked: Vec<(usize, &str)> = POINTERS
        .iter()
        .enumerate()
        .filter(|(nth, _)| how & (2 << (nth % 7)) == 0)
        .map(|(_, pointer)| (fields.ask(&parts(pointer)), *pointer))
        .collect();
    let value = || serde_json::from_slice::<Value>(body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body));
    match decode::json(body, &fields, DEPTH) {
        Err(failure) => {
            assert_eq!(failure.class, ErrorClass::Decode);
            told(&failure);
            // These say that it isn't JSON; then a library must think so, too.
            if ["not_utf8", "empty", "not_json"].contains(&failure.code.as_ref()) {
                assert!(value().is_err(), "refused as {}, and is JSON", failure.code);
            }
        }
        Ok(record) => {
            let Ok(whole) = value() else {
                // What nothing asks for is skipped, not understood: half of a surrogate pair in it, say.
                let json = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
                serde_json::from_slice::<serde::de::IgnoredAny>(json).expect("accepted, and isn't JSON");
                return;
            };
            assert!(whole.is_object() || whole.is_array(), "a body without fields became a record");
            for (slot, pointer) in asked {
                let expected = whole.pointer(pointer);
                let found = record.field(slot).map(|raw| serde_json::from_str::<Value>(raw).expect("a field is JSON"));
                assert_eq!(found.as_ref(), expected, "at {pointer}");
            }
        }
    }
}

fn parts(pointer: &str) -> Vec<String> {
    pointer.split('/').skip(1).map(|part| part.replace("~1", "/").replace("~0", "~")).collect()
}

/// A message, as samples are written (`{"properties": …, "headers": …, "body": …}`), or a body alone,
/// to a row of every kind of column.
pub fn mapping(data: &[u8]) {
    let Some((&how, message)) = data.split_first() else { return };
    let (_, plan) = &plans()[usize::from(how) % plans().len()];
    let Ok(envelope) = sample::envelope(message, how & 0x80 != 0) else { return };
    let delivery = || Delivery { tag: 1, arrived: Instant::now(), envelope: Box::new(envelope.clone()) };
    match plan.map(delivery()) {
        Ok(unit) => {
            let again = plan.map(delivery()).expect("the same message, the same end");
            assert_eq!(format!("{:?}", unit.changes), format!("{:?}", again.changes));
            for cell in unit.changes.iter().flat_map(|change| &change.row.0) {
                cell_text(cell, &envelope.body);
            }
            assert!(unit.ledger.is_some(), "written without an ID");
        }
        Err(rejected) => {
            let (back, failure) = *rejected;
            assert_eq!(back.envelope.body, envelope.body, "the message comes back as it was");
            assert!(matches!(failure.class, ErrorClass::Decode | ErrorClass::Mapping), "{failure}");
            told(&failure);
        }
    }
}

/// What a log shows is of ours, and short, whatever the message said.
fn told(failure: &Failure) {
    let shown = failure.to_string();
    assert!(shown.len() < 1_000 && !shown.contains('\n'), "{shown:?}");
}

/// Types of each database, by the column's name, which is also where its value stands in the body.
const TYPES: [(DatabaseKind, &[&str]); 3] = [
    (
        DatabaseKind::Postgres,
        &[
            "int2",
            "int8",
            "numeric(7,2)",
            "float4",
            "float8",
            "bool",
            "text",
            "varchar(3)",
            "char(3)",
            "bytea",
            "date",
            "time",
            "timestamp",
            "timestamptz",
            "uuid",
            "json",
            "jsonb",
            "int4[]",
            "text[]",
            "inet",
        ],
    ),
    (
        DatabaseKind::Mysql,
        &[
            "tinyint",
            "bigint unsigned",
            "decimal(7,2)",
            "float",
            "double",
            "boolean",
            "text",
            "varchar(3)",
            "char(3)",
            "varbinary(4)",
            "date",
            "time",
            "datetime(3)",
            "timestamp",
            "json",
            "enum('a','b')",
            "set('a','b')",
            "year",
        ],
    ),
    (
        DatabaseKind::Sqlite,
        &["integer", "real", "text", "blob", "numeric", "varchar(3)", "boolean", "date", "datetime"],
    ),
];

/// A plan with all types of a database, once strict and once with `lossy`, `default` and `time`.
fn plans() -> &'static Vec<(DatabaseKind, Plan)> {
    static PLANS: OnceLock<Vec<(DatabaseKind, Plan)>> = OnceLock::new();
    PLANS.get_or_init(|| {
        let mut plans = Vec::new();
        for (database, types) in TYPES {
            for keys in ["", ", lossy = true, zone = \"Europe/Vienna\""] {
                let columns: String =
                    (0..types.len()).map(|n| format!("c{n} = {{ from = \"/c{n}\"{keys} }}\n")).collect();
                let declared: String =
                    types.iter().enumerate().map(|(n, kind)| format!("c{n} = \"{kind}\"\n")).collect();
                let config = format!(
                    "[pipelines.p]\nqueue = \"q\"\ntable = \"t\"\nmessage_id = [\"property:message_id\", \
                     {{ all = [\"/id\", \"header:id\"] }}, \"/id\"]\n[pipelines.p.columns]\n{columns}\
                     h = \"header:h\"\nk = \"routing_key\"\nb = \"body\"\n"
                );
                let file =
                    format!("columns.h = \"text\"\ncolumns.k = \"text\"\ncolumns.b = \"text\"\n[columns]\n{declared}");
                let file = file.replace("columns.", "").replacen("[columns]\n", "", 1);
                let file: CaseFile = toml::from_str(&format!("case = []\n[columns]\n{file}")).expect("a file of cases");
                let config = config::load_str("fuzz.toml", &config, &[]).expect("a right config");
                plans.push((database, cases::plan(&file, &config.pipelines["p"], database).expect("a plan")));
            }
        }
        plans
    })
}

/// A config, and behind a zero byte lines `NAME=VALUE` of the environment: all is read, or every mistake
/// is told.
pub fn config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (text, environment) = text.split_once('\0').unwrap_or((text, ""));
    // Names of files would be opened; an escape could hide one.
    if text.contains("file") || text.contains("\\") || environment.to_ascii_uppercase().contains("FILE") {
        return;
    }
    let environment: Vec<(String, String)> = environment
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    match config::load_str("fuzz.toml", text, &environment) {
        Ok(read) => checked(&read),
        Err(mistakes) => {
            let told = mistakes.to_string();
            assert!(told.contains("mistake"), "{told}");
        }
    }
}

/// Nothing downstream checks these again.
fn checked(config: &Config) {
    for pipeline in config.pipelines.values() {
        assert!(config.brokers.contains_key(&pipeline.broker) && config.databases.contains_key(&pipeline.database));
        assert!(pipeline.consumers >= 1 && pipeline.prefetch >= 1 && pipeline.batch.max_rows >= 1);
        assert!(!pipeline.queue.is_empty() && !pipeline.table.name.is_empty());
        assert!(pipeline.retry.initial <= pipeline.retry.max);
    }
    for broker in config.brokers.values() {
        assert!(!broker.urls.is_empty(), "a broker without an address");
        rabbit_sink::rabbitmq::Rabbitmq::new(broker).expect("what the config takes, the client can read");
    }
}
