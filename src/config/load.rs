//! From the file and the environment to a checked [`Config`].

use std::collections::BTreeMap;
use std::path::Path;

use super::keys::ROOT;
use super::problems::{ConfigErrors, Problems};
use super::reader::Section;
use super::tree::At;
use super::{
    Admin, Config, Worker, admin, brokers, checks, databases, environment, pipelines, syntax, together, traces,
};

/// Reads the config file and what the environment sets over it (`RABBIT_SINK__SECTION__KEY`, and `${NAME}` within
/// the file's texts). Files that the config names (secrets, TLS) are read or tried, relative to the current folder;
/// nothing is connected to.
///
/// # Errors
/// All mistakes at once; see [`ConfigErrors`].
pub fn load(path: &Path, environment: &[(String, String)]) -> Result<Config, ConfigErrors> {
    let (name, text) = read_file(path)?;
    load_str(&name, &text, environment)
}

/// `[admin]` alone, whatever is wrong elsewhere: by it a worker is reached that has refused what the file says by now.
///
/// # Errors
/// The file can't be read or isn't TOML, or mistakes in this section.
pub fn load_admin(path: &Path, environment: &[(String, String)]) -> Result<Admin, ConfigErrors> {
    let (name, text) = read_file(path)?;
    let problems = Problems::default();
    let parsed = syntax::parse(&text, &problems);
    // What can't be read may have been this section's.
    let Some(mut root) = parsed.filter(|_| problems.is_empty()) else {
        return Err(problems.report(&name, &text, None));
    };
    root.entries.retain(|entry| entry.key == "admin");
    let environment: Vec<_> =
        environment.iter().filter(|(name, _)| !environment::overrides_elsewhere(name)).cloned().collect();
    environment::substitute(&mut root, &environment, &problems);
    environment::apply_overrides(&mut root, &environment, &problems);
    let admin = admin::read(&Section::new(&problems, String::new(), At::Whole, &root, &ROOT));
    if problems.is_empty() { Ok(admin) } else { Err(problems.report(&name, &text, None)) }
}

/// What its mistakes are reported under, and its text.
fn read_file(path: &Path) -> Result<(String, String), ConfigErrors> {
    let name = path.display().to_string();
    let failed = |message: String, help: Option<&str>| {
        let problems = Problems::default();
        problems.add(At::Whole, "", message, help.map(str::to_owned));
        problems.report(&name, "", None)
    };
    let bytes = std::fs::read(path).map_err(|error| {
        let help =
            "name another file by --config or in RABBIT_SINK_CONFIG; `rabbit-sink init` prints one to start from";
        failed(format!("can't read the config file: {error}"), Some(help))
    })?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let line = error.as_bytes().iter().take(at).filter(|byte| **byte == b'\n').count() + 1;
        failed(format!("line {line}: not UTF-8"), Some("save the file in UTF-8"))
    })?;
    Ok((name, text))
}

/// Like [`load`], for a text; `name` is what its mistakes are reported under.
///
/// # Errors
/// All mistakes at once; see [`ConfigErrors`].
pub fn load_str(name: &str, text: &str, environment: &[(String, String)]) -> Result<Config, ConfigErrors> {
    let problems = Problems::default();
    let Some(mut root) = syntax::parse(text, &problems) else { return Err(problems.report(name, text, None)) };
    let mut scalars = Vec::new();
    root.scalars(&mut scalars);
    environment::substitute(&mut root, environment, &problems);
    environment::apply_overrides(&mut root, environment, &problems);
    let config = read(Section::new(&problems, String::new(), At::Whole, &root, &ROOT));
    if problems.is_empty() { Ok(config) } else { Err(problems.report(name, text, Some(scalars))) }
}

/// The process's environment, as [`load`] takes it. Variables that aren't UTF-8 are left out.
pub fn process_environment() -> Vec<(String, String)> {
    let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    std::env::vars_os().filter_map(text).collect()
}

fn read(root: Section<'_>) -> Config {
    let brokers = brokers::read(&root);
    let databases = databases::read(&root);
    let pipelines: BTreeMap<_, _> = pipelines::read(&root, &brokers, &databases);
    checks::connections(&root, &databases, &pipelines);
    let config = Config {
        worker: worker(&root),
        admin: admin::read(&root),
        traces: traces::read(&root),
        brokers,
        databases,
        pipelines,
    };
    together::check(&root, &config);
    root.finish();
    config
}

fn worker(root: &Section<'_>) -> Worker {
    let section = root.section("worker");
    let worker = Worker {
        shutdown_timeout: section.duration("shutdown_timeout"),
        pause_poll: section.duration("pause_poll"),
        watch_config: section.duration("watch_config"),
    };
    section.finish();
    worker
}
