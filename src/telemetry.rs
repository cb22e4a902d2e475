//! Logs and metric names: how they are set up, throttled and rendered.

use std::io::IsTerminal;

use tracing::{Level, Metadata};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

pub mod metrics;
mod process;
mod throttle;
pub mod traces;

pub use process::{machine_memory, memory, memory_limit};
pub use throttle::{Passed, Throttle};

/// The environment variable that sets the level where `--log-level` doesn't.
pub const LOG_VARIABLE: &str = "RABBIT_SINK_LOG";

/// What is logged without further wishes. Libraries are kept at warnings: below that they print
/// frames and statements, which belong to nobody's log by accident.
const DEFAULT_FILTER: &str = "info,lapin=off,sqlx=warn,hyper=warn,hyper_util=warn";

/// How a log line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// An object a line.
    Json,
}

/// Starts logging to stderr. `level` is a level (`debug`) or a list of filters
/// (`info,rabbit_sink::pipeline=trace`); it replaces those of `DEFAULT_FILTER` that it names and
/// leaves the others; but libraries are never heard at `trace`. `None` for `format`: text on a terminal, JSON elsewhere.
///
/// # Errors
/// The level can't be read, or logging had been started before.
pub fn init(level: Option<&str>, format: Option<LogFormat>) -> Result<(), String> {
    let filter = filter(level)?;
    let terminal = std::io::stderr().is_terminal();
    let format = format.unwrap_or(if terminal { LogFormat::Text } else { LogFormat::Json });
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()))
        // Its own complaint about a closed stderr would go to stderr, and panic.
        .log_internal_errors(false);
    let registry = tracing_subscriber::registry().with(filter).with(filter_fn(is_printable));
    match format {
        LogFormat::Text => registry.with(lines.with_target(false)).try_init(),
        LogFormat::Json => registry.with(lines.json().flatten_event(true)).try_init(),
    }
    .map_err(|error| format!("logging can't be started: {error}"))
}

/// At their finest level libraries print whole frames, with logins and bodies in them: no wish shows those.
fn is_printable(event: &Metadata<'_>) -> bool {
    *event.level() != Level::TRACE || event.target().starts_with("rabbit_sink")
}

fn filter(level: Option<&str>) -> Result<EnvFilter, String> {
    let wanted = level.map(str::trim).filter(|wanted| !wanted.is_empty());
    let directives = match wanted {
        Some(wanted) => format!("{DEFAULT_FILTER},{wanted}"),
        None => DEFAULT_FILTER.to_owned(),
    };
    EnvFilter::builder().parse(&directives).map_err(|error| {
        format!(
            "the log level \"{}\" can't be read ({error}); expected error, warn, info, debug or trace, \
             or a list such as info,rabbit_sink::pipeline=debug",
            wanted.unwrap_or_default().escape_debug()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_leaves_the_libraries_quiet() {
        let filter = filter(Some("debug")).unwrap().to_string();
        assert!(filter.contains("lapin=off") && filter.contains("sqlx=warn"), "{filter}");
        assert!(filter.split(',').any(|part| part == "debug"), "{filter}");
        assert!(!filter.split(',').any(|part| part == "info"), "{filter}");
    }

    #[test]
    fn a_library_is_heard_when_it_is_named() {
        let filter = filter(Some("lapin=debug")).unwrap().to_string();
        assert!(filter.contains("lapin=debug") && !filter.contains("lapin=off"), "{filter}");
        assert!(filter.split(',').any(|part| part == "info"), "{filter}");
    }

    #[test]
    fn nonsense_is_refused_with_what_was_expected() {
        let error = filter(Some("rabbit_sink=loud")).unwrap_err();
        assert!(error.contains("rabbit_sink=loud") && error.contains("expected error, warn"), "{error}");
    }

    #[test]
    fn an_empty_variable_is_the_same_as_none() {
        assert_eq!(filter(Some(" ")).unwrap().to_string(), filter(None).unwrap().to_string());
    }
}
