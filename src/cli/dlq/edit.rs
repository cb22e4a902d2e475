//! `dlq edit`: another body for one dead letter.

use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use bytes::Bytes;
use serde_json::{Value, json};

use super::filter::{Where, owns};
use super::judge::{Judge, Verdict};
use super::letter::Letter;
use super::select;
use super::show::Choice;
use super::store::{Acted, Ended, Fate, Store};
use crate::cli::escape::escape;
use crate::cli::exit::{CliError, Exit};
use crate::cli::output::{Out, complain};
use crate::config::{Config, Pipeline};
use crate::dead_letter;
use crate::rabbitmq::AT_ONCE;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// Whose dead letter
    pub(super) pipeline: String,
    /// Its ID, or the beginning of it, as `dlq list` prints it
    id: String,
    /// Put this value (JSON, else text) at this place of the body instead of opening $EDITOR; may be
    /// given again
    #[arg(long = "set", value_name = "/POINTER=VALUE", value_parser = Where::parse)]
    set: Vec<Where>,
    /// Keep the edit even where the message would still be rejected
    #[arg(long)]
    yes: bool,
}

pub(super) async fn execute(
    store: &mut Store,
    config: &Config,
    pipeline: &Pipeline,
    args: &Args,
    program: &str,
    out: &mut Out,
) -> Result<Exit, CliError> {
    let mut choice = Choice::new(&args.id)?;
    let looked = store.look("looking", |letter| {
        if owns(pipeline, &letter.info) {
            choice.offer(letter);
        }
    });
    if looked.await? == Ended::Interrupted {
        return Ok(unchanged());
    }
    let letter = choice.one(&pipeline.name)?;
    let body = if args.set.is_empty() { in_editor(&letter).await? } else { with_values(&letter, &args.set)? };
    if body == letter.envelope.body {
        complain("nothing was changed");
        return Ok(Exit::Done);
    }
    let edited = dead_letter::edited(&letter.envelope, body, jiff::Timestamp::now());
    let message = dead_letter::replayed(&edited, &pipeline.queue, "edit", 0);
    let mut judge = Judge::open(config, pipeline).await?;
    let verdict = judge.verdict(message).await;
    judge.close().await;
    let (fate, still) = match verdict? {
        Verdict::Refused(failure) => ("rejected", Some(format!("it would still be rejected: {}", failure.reason()))),
        Verdict::Undecided(failure) => ("undecided", Some(format!("it can't be tried now: {failure}"))),
        Verdict::AlreadyThere => ("already_there", None),
        Verdict::Written | Verdict::Superseded | Verdict::Skipped => ("written", None),
    };
    if let Some(still) = still {
        complain(&still);
        if !select::confirmed(args.yes, "Keep the edit all the same?", store.shutdown()).await? {
            complain("the letter stays as it was");
            return Ok(Exit::Failed);
        }
    }
    let id = &letter.info.id;
    let mut replaced = 0_u64;
    let ended = store
        .pass("replacing", AT_ONCE, async |_, letters| {
            let fates = letters.into_iter().map(|other| {
                // Its copies, too; one that was edited differently in the meantime isn't one.
                if other.info.id != *id || other.envelope.body != letter.envelope.body {
                    return Fate::Stay;
                }
                replaced += 1;
                Fate::Replaced(Box::new(edited.clone()))
            });
            Acted::all(fates.collect())
        })
        .await?;
    if replaced == 0 && ended == Ended::Interrupted {
        return Ok(unchanged());
    }
    if replaced == 0 {
        return Err(CliError::failed(format!("the letter {id} isn't there any more")));
    }
    if out.json {
        out.object(&json!({ "pipeline": pipeline.name, "id": id, "today": fate }));
    } else {
        let fate = if fate == "already_there" { "is there already" } else { "would be written now" };
        let tail = if args.yes { String::new() } else { format!(" and {fate}") };
        out.line(&escape(&format!("{id} is edited{tail}: {program} dlq replay {} --id {id}", pipeline.name)));
    }
    Ok(super::looked(ended))
}

fn unchanged() -> Exit {
    complain("interrupted: the letter stays as it was");
    Exit::Failed
}

/// The body with values put in. Numbers elsewhere keep their digits; blanks are not kept.
fn with_values(letter: &Letter, values: &[Where]) -> Result<Bytes, CliError> {
    let mut body: Value = serde_json::from_slice(&letter.envelope.body)
        .map_err(|_| CliError::failed("the body isn't JSON: --set can't be used; edit it without"))?;
    for value in values {
        put(&mut body, value.pointer(), value.json()).map_err(CliError::failed)?;
    }
    Ok(body.to_string().into())
}

/// Replaces what is there, or adds a field to an object, or an element to the end of an array.
fn put(body: &mut Value, pointer: &str, value: Value) -> Result<(), String> {
    if let Some(place) = body.pointer_mut(pointer) {
        *place = value;
        return Ok(());
    }
    let nothing = || format!("the body has no place {pointer}, and nothing that it could be added to");
    let (parent, name) = pointer.rsplit_once('/').ok_or_else(nothing)?;
    let name = name.replace("~1", "/").replace("~0", "~");
    match body.pointer_mut(parent) {
        Some(Value::Object(fields)) => drop(fields.insert(name, value)),
        Some(Value::Array(elements)) if name == "-" || name == elements.len().to_string() => elements.push(value),
        _ => return Err(nothing()),
    }
    Ok(())
}

/// The body in `$VISUAL` or `$EDITOR`, in a file that nobody else can read.
async fn in_editor(letter: &Letter) -> Result<Bytes, CliError> {
    let editor = ["VISUAL", "EDITOR"].iter().find_map(|name| std::env::var(name).ok().filter(|it| !it.is_empty()));
    let editor = editor.ok_or_else(|| CliError::usage("$EDITOR isn't set: set it, or say --set /pointer=value"))?;
    let id: String = letter.info.id.chars().filter(char::is_ascii_alphanumeric).take(12).collect();
    let path = std::env::temp_dir().join(format!("rabbit-sink-{id}-{}.json", std::process::id()));
    let body = letter.envelope.body.clone();
    // The broker's heartbeats go on meanwhile.
    let edited = tokio::task::spawn_blocking(move || {
        let edited = edit_file(&editor, &path, &body);
        std::fs::remove_file(&path).ok();
        edited
    });
    match edited.await {
        Ok(edited) => edited,
        Err(_) => Err(CliError::failed("the editor was lost")),
    }
}

fn edit_file(editor: &str, path: &Path, body: &[u8]) -> Result<Bytes, CliError> {
    let failed = |error: std::io::Error| CliError::failed(format!("{}: {error}", path.display()));
    let options = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    options.and_then(|mut file| file.write_all(body)).map_err(failed)?;
    // `$EDITOR` may have arguments: the shell takes it apart, as other tools do it.
    let command = format!("{editor} \"$1\"");
    let status = std::process::Command::new("sh").args(["-c", &command, "sh"]).arg(path).status();
    let status = status.map_err(|error| CliError::failed(format!("{editor}: {error}")))?;
    if !status.success() {
        return Err(CliError::failed(format!("{editor} ended with {status}; nothing was changed")));
    }
    let mut edited = Vec::new();
    std::fs::File::open(path).and_then(|mut file| file.read_to_end(&mut edited)).map_err(failed)?;
    // Editors end the last line, whether the message had an end of line or not.
    if edited.ends_with(b"\n") && !body.ends_with(b"\n") {
        edited.pop();
    }
    Ok(edited.into())
}

#[cfg(test)]
mod tests {
    use super::super::letter::example;
    use super::*;

    fn set(values: &[&str]) -> Result<String, String> {
        let values: Vec<Where> = values.iter().map(|value| Where::parse(value).unwrap()).collect();
        let body = with_values(&example(), &values).map_err(|error| error.message)?;
        Ok(String::from_utf8(body.to_vec()).unwrap())
    }

    #[test]
    fn values_are_put_where_they_belong_and_other_digits_stay() {
        assert_eq!(set(&["/qty=17"]).unwrap(), r#"{"price":19.990,"qty":17}"#);
        assert_eq!(set(&["/qty=\"17\"", "/new=x y"]).unwrap(), r#"{"new":"x y","price":19.990,"qty":"17"}"#);
        assert_eq!(set(&["/tags=[]", "/tags/0=a", "/tags/-=null"]).unwrap(), {
            r#"{"price":19.990,"qty":"many","tags":["a",null]}"#
        });
        assert!(set(&["/a/b=1"]).unwrap_err().contains("/a/b"));
        assert!(set(&["/price/0=1"]).is_err());
    }
}
