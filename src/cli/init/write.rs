//! The config's text.

use std::fmt::Write;

use super::Known;
use super::connections::Connections;
use super::draft::Draft;
use crate::cli::check::{mapping, quoted};
use crate::config::Secret;

/// Names in the environment that a new config takes passwords from.
const DATABASE_PASSWORD: &str = "DATABASE_PASSWORD";
const RABBITMQ_PASSWORD: &str = "RABBITMQ_PASSWORD";

/// The variables that a config takes passwords from.
pub(super) fn passwords(config: &str) -> Vec<&'static str> {
    let taken = |variable: &&str| config.contains(&format!("${{{variable}}}"));
    [RABBITMQ_PASSWORD, DATABASE_PASSWORD].into_iter().filter(taken).collect()
}

/// A config to start from.
pub(super) fn config(draft: &Draft, known: &Known, connections: &Connections) -> String {
    let mut text = String::from(
        "# Written by `rabbit-sink init`. Next: `rabbit-sink check`, then `rabbit-sink explain`, then `rabbit-sink run`.\n\
         # docs/config.md has all keys; what isn't here has a default. For editors: rabbit-sink schema > schema.json,\n\
         # and as this file's first line #:schema ./schema.json\n",
    );
    let mut line = |line: String| {
        // Writing to a String can't fail.
        writeln!(text, "{line}").ok();
    };
    line("\n[rabbitmq]".to_owned());
    let first = connections.broker.urls.first().cloned().unwrap_or_default();
    for connection in connection(&first, connections.broker_from_environment, RABBITMQ_PASSWORD, "RABBITMQ") {
        line(connection);
    }
    line(
        "# management_url = \"http://HOST:15672\"   # lets `check` see the queue's type, limits and policies"
            .to_owned(),
    );
    line("\n[database]".to_owned());
    let from_environment = connections.database_from_environment;
    for connection in connection(&connections.database.url, from_environment, DATABASE_PASSWORD, "DATABASE") {
        line(connection);
    }
    let name = pipeline_name(&known.table.name);
    line(format!("\n[pipelines.{name}]"));
    line(format!("queue = {}", quoted(&known.queue)));
    line(format!("table = {}", quoted(&known.table.to_string())));
    let places: Vec<String> = draft.message_id.iter().map(|place| quoted(place)).collect();
    line(format!("message_id = [{}]   # {}", places.join(", "), draft.message_id_comment));
    line(
        "# deduplicate = \"ledger\"   # IDs are kept in a table beside; \"column:NAME\": a unique column of this one"
            .to_owned(),
    );
    line("# guarantee = \"exactly_once_effect\"   # refuse to start where it can't be kept".to_owned());
    line("# declare = { type = \"quorum\" }   # make the queue if it is missing".to_owned());
    line(format!("\n[pipelines.{name}.columns]"));
    for column in &draft.columns {
        let off = if column.off { "# " } else { "" };
        let comment = if column.comment.is_empty() { String::new() } else { format!("   # {}", column.comment) };
        line(format!("{off}{} = {}{comment}", key(&column.mapping.column), mapping(&column.mapping)));
    }
    line(format!("\n[pipelines.{name}.dead_letter]"));
    line(format!("queue = {}   # made if it is missing", quoted(&format!("{}.dead", known.queue))));
    text
}

/// A key, in quotes where TOML wants them.
fn key(name: &str) -> String {
    let bare = name.chars().all(|character| character.is_ascii_alphanumeric() || matches!(character, '_' | '-'));
    if bare && !name.is_empty() { name.to_owned() } else { quoted(name) }
}

/// The URL, with its password out of the environment.
fn connection(secret: &Secret, from_environment: bool, variable: &str, section: &str) -> Vec<String> {
    let Ok(mut url) = url::Url::parse(secret.reveal()) else {
        return vec![format!("url = {}", quoted(secret.reveal()))];
    };
    // Everybody knows this one.
    let known = url.username() == "guest" && url.password() == Some("guest");
    let mut secret = url.password().is_some() && !known;
    if secret && url.set_password(None).is_err() {
        return vec![format!("url = \"${{{variable}_URL}}\"")];
    }
    // PostgreSQL's drivers take it from there, too.
    let parameters: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    if parameters.iter().any(|(name, _)| name == "password") {
        secret = true;
        let others: Vec<_> = parameters.iter().filter(|(name, _)| name != "password").collect();
        url.set_query(None);
        if !others.is_empty() {
            url.query_pairs_mut().extend_pairs(others);
        }
    }
    let mut lines = vec![format!("url = {}", quoted(url.as_str()))];
    match (secret, from_environment) {
        (false, _) => {}
        (true, true) => lines
            .push(format!("# RABBIT_SINK__{section}__URL is set, and goes before this one; its password stays there")),
        (true, false) => lines.push(format!("password = \"${{{variable}}}\"   # or password_file = \"…\"")),
    }
    lines
}

/// A name that is fit for a pipeline.
fn pipeline_name(text: &str) -> String {
    let mut name = plain(text);
    name.truncate(48);
    let name = name.trim_matches('_');
    if name.is_empty() { "messages".to_owned() } else { name.to_owned() }
}

/// Small letters, digits and single underscores.
pub(super) fn plain(text: &str) -> String {
    let mut name = String::new();
    for character in text.chars() {
        match character {
            character if character.is_ascii_alphanumeric() => name.push(character.to_ascii_lowercase()),
            _ if name.is_empty() || name.ends_with('_') => {}
            _ => name.push('_'),
        }
    }
    let name = name.trim_end_matches('_');
    if name.is_empty() { "messages".to_owned() } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_fit_for_pipelines() {
        for (text, name) in
            [("Orders", "orders"), ("shop.orders-v2", "shop_orders_v2"), ("__é", "messages"), ("a__b", "a_b")]
        {
            assert_eq!(pipeline_name(text), name);
        }
    }

    #[test]
    fn passwords_stay_out() {
        let of =
            |url, environment| connection(&Secret::new(url), environment, "DATABASE_PASSWORD", "DATABASE").join("\n");
        for environment in [true, false] {
            let text = of("postgres://u:geheim@h/d", environment);
            assert!(text.starts_with("url = \"postgres://u@h/d\"\n") && !text.contains("geheim"), "{text}");
        }
        let socket = of("postgres:///d?host=/run&user=u&password=geheim", false);
        assert!(socket.starts_with("url = \"postgres:///d?host=%2Frun&user=u\"\n"), "{socket}");
        assert!(socket.contains("${DATABASE_PASSWORD}") && !socket.contains("geheim"), "{socket}");
        assert_eq!(of("postgres:///d?password=geheim", true).lines().next(), Some("url = \"postgres:///d\""));
        assert_eq!(of("amqp://guest:guest@h/%2f", false), "url = \"amqp://guest:guest@h/%2f\"");
    }
}
