//! `schema`: the JSON Schema of the config file, for editors.

use super::exit::{CliError, Exit};
use super::output::Out;
use crate::config;

/// Prints; reads no config.
pub(super) fn execute(out: &mut Out) -> Result<Exit, CliError> {
    let schema = config::schema();
    if out.json {
        out.object(&schema);
    } else {
        let text = serde_json::to_string_pretty(&schema)
            .map_err(|error| CliError::failed(format!("the schema can't be written: {error}")))?;
        out.line(&text);
    }
    Ok(Exit::Done)
}
