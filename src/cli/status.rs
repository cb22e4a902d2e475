//! `status`: what the running worker does.

use serde_json::Value;

use super::client::ask;
use super::exit::{CliError, Exit};
use super::output::Out;
use crate::config::Admin;

const HEADER: [&str; 10] = [
    "PIPELINE",
    "STATE",
    "READY",
    "UNSETTLED",
    "OLDEST",
    "SETTLED",
    "WRITTEN",
    "DUPLICATES",
    "DEAD-LETTERED",
    "REASON",
];

/// Prints a line per pipeline.
pub(super) async fn execute(admin: &Admin, out: &mut Out) -> Result<Exit, CliError> {
    let report = ask(admin, "/status").await?.ok()?;
    let Some(pipelines) = report.get("pipelines").and_then(Value::as_array) else {
        return Err(CliError::failed("the worker's answer has no pipelines: is it of another version?"));
    };
    if out.json {
        pipelines.iter().for_each(|pipeline| out.object(pipeline));
        return Ok(Exit::Done);
    }
    out.table(&HEADER, pipelines.iter().map(row));
    for pipeline in pipelines {
        if let (Some(name), Some(guarantee)) = (text(pipeline, "pipeline"), text(pipeline, "guarantee")) {
            out.line(&super::escape::escape(&format!("{name}: {guarantee}")));
        }
    }
    for line in of_config(&report) {
        out.line(&super::escape::escape_lines(&line));
    }
    Ok(Exit::Done)
}

/// What somebody has to do about the config, if anything.
fn of_config(report: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    if let (Some(refused), Some(loaded)) = (text(report, "config_refused"), text(report, "config_loaded")) {
        lines.push(format!(
            "config: the newest can't be used, the one of {loaded} goes on; mend it and reload once more\n\n{refused}"
        ));
    }
    let keys = report.get("config_needs_restart").and_then(Value::as_array);
    for key in keys.into_iter().flatten().filter_map(Value::as_str) {
        lines.push(format!("config: {key} has changed and stays as it was until the worker is restarted"));
    }
    lines
}

fn row(pipeline: &Value) -> Vec<String> {
    let number =
        |key| pipeline.get(key).filter(|value| !value.is_null()).map_or_else(|| "?".to_owned(), Value::to_string);
    let oldest = pipeline.get("oldest_unsettled_seconds").and_then(Value::as_f64);
    vec![
        text(pipeline, "pipeline").unwrap_or("?").to_owned(),
        text(pipeline, "state").unwrap_or("?").to_owned(),
        number("queue_ready"),
        number("unsettled"),
        oldest.map_or_else(|| "-".to_owned(), |seconds| format!("{seconds:.1} s")),
        number("settled"),
        number("written"),
        number("duplicates"),
        number("dead_lettered"),
        text(pipeline, "reason").unwrap_or_default().to_owned(),
    ]
}

fn text<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object.get(key)?.as_str()
}
