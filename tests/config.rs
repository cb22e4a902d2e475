//! What the config file and the environment become, and what is said of mistakes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "config/cases.rs"]
mod cases;
#[path = "config/defaults.rs"]
mod defaults;
#[path = "config/environment.rs"]
mod environment;
#[path = "config/reference.rs"]
mod reference;
#[path = "config/rendering.rs"]
mod rendering;
#[path = "config/samples.rs"]
mod samples;
#[path = "config/schema.rs"]
mod schema;
#[path = "config/secrets.rs"]
mod secrets;
#[path = "config/values.rs"]
mod values;

use rabbit_sink::config::{Config, ConfigErrors, load_str};

/// The least that a config needs.
const LEAST: &str = "[pipelines.orders]\nqueue = \"orders\"\ntable = \"orders\"\n";

fn env(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// [`LEAST`] and more keys of that pipeline or sections.
fn with(more: &str) -> String {
    format!("{LEAST}{more}\n")
}

#[track_caller]
fn good(text: &str) -> Config {
    good_env(text, &[])
}

#[track_caller]
fn good_env(text: &str, pairs: &[(&str, &str)]) -> Config {
    match load_str("test.toml", text, &env(pairs)) {
        Ok(config) => config,
        Err(errors) => panic!("refused:\n{errors}"),
    }
}

#[track_caller]
fn bad(text: &str) -> ConfigErrors {
    bad_env(text, &[])
}

#[track_caller]
fn bad_env(text: &str, pairs: &[(&str, &str)]) -> ConfigErrors {
    load_str("test.toml", text, &env(pairs)).expect_err("a mistake was let through")
}
