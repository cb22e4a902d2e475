//! `health`: is the running worker alive?

use hyper::StatusCode;

use super::client::ask;
use super::exit::{CliError, Exit};
use super::output::{Out, complain};
use crate::config::Admin;

/// 0 or 1, by `/livez`. A worker that can't be asked isn't alive.
pub(super) async fn execute(admin: &Admin, out: &mut Out) -> Result<Exit, CliError> {
    let answer = ask(admin, "/livez").await?;
    let wedged = answer.json.get("wedged").and_then(|wedged| wedged.as_object());
    for (pipeline, reason) in wedged.into_iter().flatten() {
        complain(&format!("{pipeline}: {}", reason.as_str().unwrap_or_default()));
    }
    let alive = answer.status == StatusCode::OK;
    match out.json {
        true => out.object(&answer.json),
        false => out.line(if alive { "alive" } else { "not alive" }),
    }
    Ok(if alive { Exit::Done } else { Exit::Failed })
}
