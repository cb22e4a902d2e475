//! Parser and schema judge alike: each key with its default, with its example, with a wrong type and a wrong word;
//! unknown keys, and keys of later versions. A validator that isn't ours reads the schema.

use std::path::Path;
use std::sync::OnceLock;

use rabbit_sink::config::keys::{Key, Keys, Kind, ROOT};
use rabbit_sink::config::{Config, ConfigErrors, load_str, schema};

use crate::env;

/// Refuses or accepts a config as an editor would.
pub struct Schema(jsonschema::Validator);

impl Schema {
    pub fn get() -> &'static Schema {
        static SCHEMA: OnceLock<Schema> = OnceLock::new();
        SCHEMA.get_or_init(|| {
            let schema = schema();
            jsonschema::meta::validate(&schema).unwrap_or_else(|error| panic!("{error}"));
            Schema(jsonschema::draft7::new(&schema).unwrap())
        })
    }

    /// What it has against a text, a line each; nothing: it is fine.
    pub fn against(&self, text: &str) -> Vec<String> {
        let config = json(toml::Value::Table(toml::from_str(text).unwrap_or_else(|error| panic!("{error}\n{text}"))));
        self.0.iter_errors(&config).map(|error| format!("{}: {error}", error.instance_path())).collect()
    }
}

/// As editors do it: dates are texts, and what JSON doesn't know is nothing.
fn json(value: toml::Value) -> serde_json::Value {
    match value {
        toml::Value::String(text) => text.into(),
        toml::Value::Integer(number) => number.into(),
        toml::Value::Float(number) => number.into(),
        toml::Value::Boolean(truth) => truth.into(),
        toml::Value::Datetime(date) => date.to_string().into(),
        toml::Value::Array(items) => items.into_iter().map(json).collect(),
        toml::Value::Table(table) => table.into_iter().map(|(key, value)| (key, json(value))).collect(),
    }
}

/// A section as it stands in a file, what else it needs (`key = value`), and what other sections that needs.
struct Home {
    header: &'static str,
    needs: &'static [&'static str],
    more: &'static str,
}

fn home(keys: &Keys) -> Home {
    let home = |header, needs, more| Home { header, needs, more };
    let pipeline = "[pipelines.orders]\nqueue = \"orders\"\ntable = \"orders\"\n";
    match keys.path {
        "worker" => home("[worker]", &[], pipeline),
        "admin" => home("[admin]", &[], pipeline),
        "traces" => home("[traces]", &["endpoint = \"http://h:4318\""], pipeline),
        "rabbitmq" => home("[rabbitmq]", &["url = \"amqps://h\""], pipeline),
        "database" => home("[database]", &["url = \"postgres://h/d\""], pipeline),
        "pipelines.NAME" => home(
            "[pipelines.orders]",
            &["queue = \"q\"", "table = \"t\""],
            "[rabbitmq]\nurl = \"amqp://h\"\n[brokers.shop]\nurl = \"amqp://h\"\n\
             [database]\nurl = \"sqlite://f\"\n[databases.lake]\nurl = \"sqlite://f\"\n",
        ),
        "pipelines.NAME.declare" => home("[pipelines.orders.declare]", &[], pipeline),
        "pipelines.NAME.declare.bind" => home("[[pipelines.orders.declare.bind]]", &["exchange = \"x\""], pipeline),
        "pipelines.NAME.columns" => home("[pipelines.orders.columns.c]", &["from = \"/c\""], pipeline),
        "pipelines.NAME.batch" => home("[pipelines.orders.batch]", &[], pipeline),
        "pipelines.NAME.limits" => home("[pipelines.orders.limits]", &[], pipeline),
        "pipelines.NAME.retry" => home("[pipelines.orders.retry]", &[], pipeline),
        "pipelines.NAME.storm" => home("[pipelines.orders.storm]", &[], pipeline),
        "pipelines.NAME.dead_letter" => home("[pipelines.orders.dead_letter]", &[], pipeline),
        other => panic!("where does [{other}] stand?"),
    }
}

fn name_of(line: &str) -> &str {
    line.split(" = ").next().unwrap()
}

/// A config with one more key in a section, without what that key excludes.
fn with(keys: &Keys, line: &str) -> String {
    let home = home(keys);
    let name = name_of(line);
    let excluded = |other: &str| {
        other == name || keys.exclusive.iter().any(|group| group.contains(&name) && group.contains(&other))
    };
    let needs: Vec<&str> = home.needs.iter().copied().filter(|line| !excluded(name_of(line))).collect();
    let partner = match name {
        "cert_file" => "key_file = \"/etc/ssl/key.pem\"",
        "table" if keys.path.ends_with("dead_letter") => "to = \"table\"",
        "key_file" => "cert_file = \"/etc/ssl/cert.pem\"",
        _ => "",
    };
    format!("{}{}\n{}\n{partner}\n{line}\n", home.more, home.header, needs.join("\n"))
}

const VARIABLES: [(&str, &str); 4] = [
    ("RABBITMQ_PASSWORD", "p"),
    ("DATABASE_PASSWORD", "p"),
    ("RABBIT_SINK_TOKEN", "0123456789abcdef"),
    ("OTLP_TOKEN", "p"),
];

/// With files where the config names some, and variables.
fn load(text: &str) -> Result<Config, ConfigErrors> {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.display().to_string()
    };
    let secrets = [
        ("rabbitmq-url", "amqp://h"),
        ("database-url", "postgres://h/d"),
        ("management-url", "http://h"),
        ("rabbitmq-password", "p"),
        ("database-password", "p"),
        ("token", "0123456789abcdef"),
    ];
    let mut text = text.to_owned();
    for (name, content) in secrets {
        text = text.replace(&format!("/run/secrets/{name}"), &file(name, content));
    }
    let pem = file("x.pem", "-");
    let parts: Vec<&str> =
        text.split('"').map(|part| if part.starts_with("/etc/ssl/") { &pem } else { part }).collect();
    load_str("test.toml", &parts.join("\""), &env(&VARIABLES))
}

/// Every key of every section that is a value.
fn values() -> impl Iterator<Item = (&'static Keys, &'static Key)> {
    let sections = ROOT.sections().into_iter().filter(|keys| !keys.path.is_empty());
    sections
        .flat_map(|keys| keys.keys.iter().map(move |key| (keys, key)))
        .filter(|(_, key)| key.kind.section().is_none() && !matches!(key.kind, Kind::Later))
}

#[test]
fn every_example_is_taken_and_means_something() {
    let schema = Schema::get();
    let mut count = 0;
    for (keys, key) in values() {
        let text = with(keys, &format!("{} = {}", key.name, key.example));
        let config = load(&text).unwrap_or_else(|errors| panic!("[{}]\n{errors}", keys.path));
        assert_eq!(schema.against(&text), [""; 0], "{text}");
        let without = load(&with(keys, "")).unwrap();
        let only_one = ["mode", "format", "to", "url", "url_file", "from", "exchange", "queue", "table"];
        let secret = key.kind.is_secret() || matches!(key.kind, Kind::SecretFile) || key.name == "username";
        if !only_one.contains(&key.name) && !secret {
            assert_ne!(format!("{config:?}"), format!("{without:?}"), "[{}] {} changes nothing", keys.path, key.name);
        }
        count += 1;
    }
    assert!(count >= 65, "only {count} keys were found");
}

#[test]
fn the_defaults_are_the_defaults() {
    let schema = Schema::get();
    let mut count = 0;
    for (keys, key) in values() {
        let Some(default) = key.absent.literal() else { continue };
        let text = with(keys, &format!("{} = {default}", key.name));
        let explicit = load(&text).unwrap_or_else(|errors| panic!("[{}]\n{errors}", keys.path));
        let implicit = load(&with(keys, "")).unwrap();
        assert_eq!(format!("{explicit:?}"), format!("{implicit:?}"), "[{}] {} = {default}", keys.path, key.name);
        assert_eq!(schema.against(&text), [""; 0], "{text}");
        count += 1;
    }
    assert!(count >= 40, "only {count} defaults were found");
}

#[track_caller]
fn both_refuse(schema: &Schema, keys: &Keys, line: &str) {
    let text = with(keys, line);
    let errors = load(&text).expect_err(&format!("the parser takes\n{text}"));
    let name = name_of(line);
    assert!(errors.problems().iter().any(|problem| problem.key.contains(name)), "{name} isn't named:\n{errors}");
    assert!(!schema.against(&text).is_empty(), "the schema takes\n{text}");
}

#[test]
fn wrong_types_are_refused_by_both() {
    let schema = Schema::get();
    for (keys, key) in values() {
        for wrong in ["{ a = 1 }", "[[1]]", "[{ b = 1 }]"] {
            both_refuse(schema, keys, &format!("{} = {wrong}", key.name));
        }
        let wrong = match key.kind {
            Kind::Flag | Kind::Integer(..) | Kind::Share => "\"much\"",
            Kind::Size(..) => "\"much\"",
            Kind::Constant => "[1]",
            _ => "true",
        };
        both_refuse(schema, keys, &format!("{} = {wrong}", key.name));
    }
    let sections = ROOT.sections().into_iter().filter(|keys| !keys.path.is_empty());
    for (keys, key) in sections.flat_map(|keys| keys.keys.iter().map(move |key| (keys, key))) {
        if key.kind.section().is_some() {
            both_refuse(schema, keys, &format!("{} = 1", key.name));
        }
    }
}

#[test]
fn what_is_out_of_its_range_is_refused_by_both() {
    let schema = Schema::get();
    let mut count = 0;
    for (keys, key) in values() {
        let wrong: Vec<String> = match key.kind {
            Kind::Integer(low, high) => vec![(low - 1).to_string(), (high + 1).to_string(), "1.5".into()],
            Kind::Size(low, high) => {
                vec![(low - 1).to_string(), (high + 1).to_string(), "\"8mib\"".into(), "\"\"".into()]
            }
            Kind::Share => ["0", "1.5", "-1"].map(str::to_owned).into(),
            Kind::Duration(..) => ["5", "\"5\"", "\"soon\"", "\"-5s\"", "\"\""].map(str::to_owned).into(),
            Kind::Choice { later, .. } => {
                let later = later.iter().map(|word| format!("\"{word}\""));
                later.chain(["\"colum\"".into(), "\"\"".into()]).collect()
            }
            Kind::Url(_) => vec!["\"gopher://h\"".into(), "\"\"".into()],
            Kind::Name(_) | Kind::Table | Kind::Listen | Kind::Reference(_) => vec!["\"\"".into()],
            Kind::Place => vec!["\"field\"".into(), "\"header:\"".into(), "\"property:nothing\"".into()],
            _ => continue,
        };
        for wrong in wrong {
            both_refuse(schema, keys, &format!("{} = {wrong}", key.name));
            count += 1;
        }
    }
    assert!(count >= 100, "only {count}");
}

#[test]
fn unknown_keys_and_those_of_later_versions_are_refused_by_both() {
    let schema = Schema::get();
    for keys in ROOT.sections().into_iter().filter(|keys| !keys.path.is_empty()) {
        both_refuse(schema, keys, "zzz = 1");
        for key in keys.keys.iter().filter(|key| matches!(key.kind, Kind::Later)) {
            both_refuse(schema, keys, &format!("{} = \"x\"", key.name));
        }
    }
    for name in ["Orders", "a__b", "a-b", "", "a123456789012345678901234567890123456789012345678"] {
        let text = format!("[pipelines.\"{name}\"]\nqueue = \"q\"\ntable = \"t\"\n");
        assert!(load(&text).is_err() && !schema.against(&text).is_empty(), "{text}");
    }
    for name in ["a", "a_b", "_a", "a_", "_", "a_b_c_1", "9"] {
        let text = format!("[pipelines.{name}]\nqueue = \"q\"\ntable = \"t\"\n");
        assert!(load(&text).is_ok() && schema.against(&text).is_empty(), "{text}");
    }
}

#[test]
fn variables_stand_for_anything() {
    let schema = Schema::get();
    for (keys, key) in values() {
        if !matches!(key.kind, Kind::List(..) | Kind::IdPlaces) {
            let text = with(keys, &format!("{} = \"${{NAME}}\"", key.name));
            assert_eq!(schema.against(&text), [""; 0], "{text}");
        }
    }
}

#[test]
fn the_samples_are_fine_and_name_their_schema() {
    let schema = Schema::get();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let mut count = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            let text = std::fs::read_to_string(&path).unwrap();
            assert_eq!(schema.against(&text), [""; 0], "{}", path.display());
            let named =
                text.lines().next().and_then(|line| line.strip_prefix("#:schema ")).map(|name| folder.join(name));
            assert!(named.is_some_and(|file| file.is_file()), "{}", path.display());
            count += 1;
        }
    }
    assert!(count >= 5, "only {count} samples");
}

#[test]
fn the_configs_in_the_documentation_are_fine() {
    let schema = Schema::get();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut count = 0;
    for folder in [root.to_owned(), root.join("docs")] {
        for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.extension().is_none_or(|extension| extension != "md") {
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            for block in text.split("\n```toml\n").skip(1) {
                let block = block.split("\n```").next().unwrap();
                assert_eq!(schema.against(block), [""; 0], "{}\n{block}", path.display());
                count += 1;
            }
        }
    }
    assert!(count >= 3, "only {count} blocks of TOML");
}

proptest::proptest! {
    /// What is written as the documentation says is what the schema's patterns take, whenever the parser takes it.
    #[test]
    fn durations_and_sizes_have_the_form_that_the_schema_knows(
        time in "[0-9]{1,3}(ms|s|m|h|d)( ?[0-9]{1,2}(ms|s|m))?|[0-9]\\.[0-9]s",
        size in "[0-9]{1,4} ?(B|KiB|MiB|kB|MB)?",
    ) {
        let text = format!(
            "[pipelines.orders]\nqueue = \"q\"\ntable = \"t\"\nretry.missing_parent = \"{time}\"\n\
             batch.max_bytes = \"{size}\"\n"
        );
        if load_str("x", &text, &[]).is_ok() {
            let against = Schema::get().against(&text);
            proptest::prop_assert!(against.is_empty(), "{against:?}\n{text}");
        }
    }
}
