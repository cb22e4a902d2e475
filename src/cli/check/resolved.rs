//! The config as it is meant: with defaults, environment and files, without secrets.

use std::fmt::{Display, Write};
use std::time::Duration;

use crate::config::{
    Broker, ColumnMapping, ColumnSource, Config, Constant, Database, DeadLetter, Deduplicate, IdConflict, IdPlace,
    Pipeline, QueueType, Secret, StormAction, TimeUnit, TlsFiles, UnknownFields, show_bytes, show_duration,
};

/// TOML text. Passwords read `***`.
pub(super) fn print(config: &Config) -> String {
    let mut text = Toml(String::from("# As it is after defaults, environment and files. Secrets read ***.\n"));
    text.section("worker");
    text.time("shutdown_timeout", config.worker.shutdown_timeout);
    text.time("pause_poll", config.worker.pause_poll);
    text.time("watch_config", config.worker.watch_config);
    text.section("admin");
    text.text("listen", &config.admin.listen.map_or_else(|| "off".to_owned(), |address| address.to_string()));
    let socket = config.admin.socket.as_ref().map_or_else(|| "off".to_owned(), ToString::to_string);
    match config.admin.socket_is_given {
        true => text.text("socket", &socket),
        false => text.raw(format_args!("# socket: {socket}")),
    }
    if config.admin.token.is_some() {
        text.raw("# token: set");
    }
    for broker in config.brokers.values() {
        text.broker(broker);
    }
    for database in config.databases.values() {
        text.database(database);
    }
    for pipeline in config.pipelines.values() {
        text.pipeline(pipeline);
    }
    text.0
}

struct Toml(String);

impl Toml {
    fn section(&mut self, name: &str) {
        self.raw(format_args!("\n[{name}]"));
    }

    fn raw(&mut self, line: impl Display) {
        // Writing to a String can't fail.
        writeln!(self.0, "{line}").ok();
    }

    fn key(&mut self, key: &str, value: impl Display) {
        self.raw(format_args!("{key} = {value}"));
    }

    fn text(&mut self, key: &str, value: &str) {
        self.key(key, quoted(value));
    }

    fn time(&mut self, key: &str, value: Duration) {
        self.text(key, &show_duration(value));
    }

    fn bytes(&mut self, key: &str, value: usize) {
        self.text(key, &show_bytes(value as u64));
    }

    fn tls(&mut self, tls: &TlsFiles) {
        for (key, file) in [("ca_file", &tls.ca_file), ("cert_file", &tls.cert_file), ("key_file", &tls.key_file)] {
            if let Some(file) = file {
                self.text(key, &file.display().to_string());
            }
        }
    }

    fn broker(&mut self, broker: &Broker) {
        match broker.name.as_str() {
            "default" => self.section("rabbitmq"),
            name => self.section(&format!("brokers.{name}")),
        }
        let urls: Vec<String> = broker.urls.iter().map(|url| quoted(&without_password(url))).collect();
        match urls.as_slice() {
            [url] => self.key("url", url),
            urls => self.key("urls", format_args!("[{}]", urls.join(", "))),
        }
        self.time("heartbeat", broker.heartbeat);
        self.time("connect_timeout", broker.connect_timeout);
        self.time("consumer_timeout", broker.consumer_timeout);
        self.tls(&broker.tls);
        if let Some(name) = &broker.connection_name {
            self.text("connection_name", name);
        }
        if let Some(url) = &broker.management_url {
            self.text("management_url", &without_password(url));
        }
    }

    fn database(&mut self, database: &Database) {
        match database.name.as_str() {
            "default" => self.section("database"),
            name => self.section(&format!("databases.{name}")),
        }
        self.text("url", &without_password(&database.url));
        if let Some(most) = database.max_connections {
            self.key("max_connections", most);
        }
        self.time("connect_timeout", database.connect_timeout);
        self.time("statement_timeout", database.statement_timeout);
        self.time("lock_timeout", database.lock_timeout);
        self.text("application_name", &database.application_name);
        if !database.on_connect.is_empty() {
            self.raw(format_args!(
                "# on_connect: {} statements, which may have secrets in them",
                database.on_connect.len()
            ));
        }
        self.tls(&database.tls);
        self.text("ledger_table", &database.ledger_table.to_string());
        self.time("ledger_keep", database.ledger_keep);
    }

    fn pipeline(&mut self, pipeline: &Pipeline) {
        let name = format!("pipelines.{}", pipeline.name);
        self.section(&name);
        self.text("queue", &pipeline.queue);
        self.text("table", &pipeline.table.to_string());
        self.text("mode", "insert");
        self.text("format", "json");
        self.key("consumers", pipeline.consumers);
        self.key("prefetch", pipeline.prefetch);
        let places: Vec<String> = pipeline.message_id.iter().map(id_place).collect();
        self.key("message_id", format_args!("[{}]", places.join(", ")));
        self.text(
            "deduplicate",
            &match &pipeline.deduplicate {
                Deduplicate::Ledger => "ledger".to_owned(),
                Deduplicate::Column(column) => format!("column:{column}"),
                Deduplicate::None => "none".to_owned(),
            },
        );
        self.text(
            "id_conflict",
            match pipeline.id_conflict {
                IdConflict::DeadLetter => "dead_letter",
                IdConflict::Ignore => "ignore",
            },
        );
        self.text(
            "unknown_fields",
            &match &pipeline.unknown_fields {
                UnknownFields::Ignore => "ignore".to_owned(),
                UnknownFields::Reject => "reject".to_owned(),
                UnknownFields::Column(column) => format!("column:{column}"),
            },
        );
        self.key("single_active_consumer", pipeline.single_active_consumer);
        self.text("guarantee", if pipeline.exactly_once { "exactly_once_effect" } else { "none" });
        self.text("broker", &pipeline.broker);
        self.text("database", &pipeline.database);
        self.declare(pipeline);
        self.columns(&name, pipeline);
        self.bounds(&name, pipeline);
    }

    fn declare(&mut self, pipeline: &Pipeline) {
        let Some(declare) = &pipeline.declare else { return };
        let bind = declare.bind.iter().map(|binding| {
            let (exchange, key) = (quoted(&binding.exchange), quoted(&binding.routing_key));
            format!("{{ exchange = {exchange}, routing_key = {key} }}")
        });
        let kind = match declare.queue_type {
            QueueType::Classic => "classic",
            QueueType::Quorum => "quorum",
        };
        let bind = bind.collect::<Vec<_>>().join(", ");
        self.key("declare", format_args!("{{ type = \"{kind}\", bind = [{bind}] }}"));
    }

    fn columns(&mut self, name: &str, pipeline: &Pipeline) {
        match &pipeline.columns {
            None => self.raw("# columns: each from the top-level field of its name"),
            Some(columns) => {
                self.section(&format!("{name}.columns"));
                for column in columns {
                    self.key(&quoted(&column.column), mapping(column));
                }
            }
        }
    }

    fn bounds(&mut self, name: &str, pipeline: &Pipeline) {
        self.section(&format!("{name}.batch"));
        self.key("max_rows", pipeline.batch.max_rows);
        self.bytes("max_bytes", pipeline.batch.max_bytes);
        self.time("linger", pipeline.batch.linger);
        self.section(&format!("{name}.limits"));
        self.bytes("max_body", pipeline.limits.max_body);
        self.key("max_depth", pipeline.limits.max_depth);
        self.bytes("max_unacked_bytes", pipeline.limits.max_unacked_bytes);
        self.key("max_rows_per_second", pipeline.limits.max_rows_per_second);
        self.key("max_replays", pipeline.limits.max_replays);
        self.section(&format!("{name}.retry"));
        self.time("initial", pipeline.retry.initial);
        self.time("max", pipeline.retry.max);
        self.time("hold", pipeline.retry.hold);
        self.time("missing_parent", pipeline.retry.missing_parent);
        self.section(&format!("{name}.storm"));
        self.key("min", pipeline.storm.min);
        self.key("share", format_args!("{:?}", pipeline.storm.share));
        self.text(
            "action",
            match pipeline.storm.action {
                StormAction::Pause => "pause",
                StormAction::DeadLetter => "dead_letter",
            },
        );
        self.section(&format!("{name}.dead_letter"));
        match &pipeline.dead_letter {
            DeadLetter::Queue { name, declare } => {
                self.text("to", "queue");
                self.text("queue", name);
                self.key("declare", declare);
            }
            DeadLetter::Table(table) => {
                self.text("to", "table");
                self.text("table", &table.to_string());
            }
        }
    }
}

/// A column's value in the config.
pub(in crate::cli) fn mapping(mapping: &ColumnMapping) -> String {
    let source = match &mapping.source {
        ColumnSource::From(place) => format!("from = {}", quoted(&place.to_string())),
        ColumnSource::Value(value) => format!("value = {}", constant(value)),
    };
    let mut parts = vec![source];
    if mapping.required {
        parts.push("required = true".to_owned());
    }
    if let Some(default) = &mapping.default {
        parts.push(format!("default = {}", constant(default)));
    }
    if let Some(time) = mapping.time {
        let unit = match time {
            TimeUnit::Seconds => "epoch_s",
            TimeUnit::Milliseconds => "epoch_ms",
            TimeUnit::Microseconds => "epoch_us",
        };
        parts.push(format!("time = \"{unit}\""));
    }
    if let Some(zone) = &mapping.zone {
        parts.push(format!("zone = {}", quoted(zone)));
    }
    if mapping.lossy {
        parts.push("lossy = true".to_owned());
    }
    match (&mapping.source, parts.len()) {
        (ColumnSource::From(place), 1) => quoted(&place.to_string()),
        _ => format!("{{ {} }}", parts.join(", ")),
    }
}

fn constant(constant: &Constant) -> String {
    match constant {
        Constant::Text(text) => quoted(text),
        Constant::Int(number) => number.to_string(),
        Constant::Number(text) => text.clone(),
        Constant::Bool(truth) => truth.to_string(),
    }
}

fn id_place(place: &IdPlace) -> String {
    match place {
        IdPlace::One(place) => quoted(&place.to_string()),
        IdPlace::All(places) => {
            let places: Vec<String> = places.iter().map(|place| quoted(&place.to_string())).collect();
            format!("{{ all = [{}] }}", places.join(", "))
        }
    }
}

/// A TOML text; a `$` is doubled, as the config wants it.
pub(in crate::cli) fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '$' => quoted.push_str("$$"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            character if character.is_control() => quoted.push_str(&format!("\\u{:04X}", u32::from(character))),
            character => quoted.push(character),
        }
    }
    quoted.push('"');
    quoted
}

/// A URL with its password masked, also where it stands as a parameter.
pub(in crate::cli) fn without_password(secret: &Secret) -> String {
    let Ok(mut url) = url::Url::parse(secret.reveal()) else { return "***".to_owned() };
    if url.password().is_some() && url.set_password(Some("***")).is_err() {
        return "***".to_owned();
    }
    if url.query_pairs().any(|(name, _)| name == "password") {
        let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
        let masked =
            |(name, value): (String, String)| if name == "password" { (name, "***".to_owned()) } else { (name, value) };
        url.query_pairs_mut().clear().extend_pairs(pairs.into_iter().map(masked));
    }
    url.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_masked_wherever_they_stand() {
        for (url, shown) in [
            ("amqp://u:geheim@h/%2f", "amqp://u:***@h/%2f"),
            ("postgres:///d?host=/run&user=u&password=geheim", "postgres:///d?host=%2Frun&user=u&password=***"),
            ("sqlite://f.db", "sqlite://f.db"),
            ("geheim", "***"),
        ] {
            assert_eq!(without_password(&Secret::new(url)), shown);
        }
    }

    #[test]
    fn what_is_printed_means_the_same() {
        let text = "[database]\nurl = \"sqlite://a.db\"\nledger_keep = \"7d\"\n[pipelines.orders]\nqueue = \"a$$b\"\n\
                    table = \"s.t\"\nmessage_id = [\"/a~1b\", { all = [\"header:x/0\", \"sha256:body\"] }]\n\
                    declare = { bind = [{ exchange = \"e\" }] }\n[pipelines.orders.columns]\n\
                    a = { from = \"/a\", required = true }\n\"b c\" = { value = 1.50 }\n\
                    d = { from = \"/d\", default = \"x\\\"y\", time = \"epoch_ms\", zone = \"UTC\", lossy = true }\n";
        let config = crate::config::load_str("a", text, &[]).unwrap();
        let printed = print(&config);
        let again = crate::config::load_str("b", &printed, &[]).unwrap_or_else(|errors| panic!("{errors}\n{printed}"));
        assert_eq!(format!("{config:?}"), format!("{again:?}"), "{printed}");
    }
}
