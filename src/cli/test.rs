//! `test`: cases out of files, without servers.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::escape::escape_lines;
use super::exit::{CliError, Exit};
use super::output::Out;
use crate::cases::{self, CaseFile};
use crate::config::{Config, Pipeline};
use crate::nearest::{nearest, no_such_pipeline};

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Files of cases in TOML, or folders with such
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

const EXAMPLES: &str = "\
A file of cases:
  pipeline = \"orders\"                  # unless the config has only one

  [columns]                            # of the table, as CREATE TABLE has them
  order_id = \"bigint NOT NULL PRIMARY KEY\"
  price = \"numeric(10,2)\"

  [[case]]
  name = \"an order\"
  properties = { message_id = \"a-1\" }
  body = '{\"order_id\": 1, \"price\": 9.50}'
  row = { order_id = 1, price = \"9.50\" }

  [[case]]
  name = \"more digits than the column keeps\"
  properties = { message_id = \"a-2\" }
  body = '{\"order_id\": 2, \"price\": 9.505}'
  rejected = { class = \"mapping\", code = \"lossy\", column = \"price\" }

Exit codes: 0 all pass, 1 some fail, 2 a file isn't one of cases.";

#[derive(Serialize)]
struct Line<'a> {
    file: String,
    case: &'a str,
    passed: bool,
    wrong: &'a [String],
}

/// Runs all cases. 0: all passed. 1: some didn't. 2: a file isn't one of cases.
pub(super) fn execute(config: &Config, args: &Args, out: &mut Out) -> Result<Exit, CliError> {
    let (mut passed, mut failed) = (0, 0);
    for file in files(&args.files)? {
        let shown = file.display().to_string();
        let bad = |error: String| CliError::usage(format!("{shown}: {error}"));
        let text = std::fs::read_to_string(&file).map_err(|error| bad(error.to_string()))?;
        let cases: CaseFile = toml::from_str(&text).map_err(|error| CliError::usage(misread(&shown, &text, &error)))?;
        let pipeline = pipeline(config, &cases).map_err(bad)?;
        let database = config.databases.get(&pipeline.database).ok_or_else(|| bad("no database".to_owned()))?;
        let plan = cases::plan(&cases, pipeline, database.kind).map_err(bad)?;
        for case in &cases.cases {
            let folder = file.parent().unwrap_or(Path::new("."));
            let envelope = case.envelope(folder).map_err(|error| bad(format!("case {:?}: {error}", case.name)))?;
            let wrong = case.run(&plan, envelope);
            if wrong.is_empty() {
                passed += 1;
            } else {
                failed += 1;
            }
            tell(out, &shown, &case.name, &wrong);
        }
    }
    if passed + failed == 0 {
        return Err(CliError::usage("no case was found: files end in .toml and have [[case]]"));
    }
    if !out.json {
        out.line(&format!("{passed} passed, {failed} failed"));
    }
    Ok(if failed == 0 { Exit::Done } else { Exit::Failed })
}

/// `FILE:LINE:COLUMN: …`, as for the config.
fn misread(file: &str, text: &str, error: &toml::de::Error) -> String {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    let (lines, last) = (before.matches('\n').count(), before.rsplit('\n').next().unwrap_or_default());
    let said = error.message().trim_end();
    let near = meant(said).map(|name| format!("; did you mean `{name}`?")).unwrap_or_default();
    format!("{file}:{}:{}: {said}{near}", lines + 1, last.chars().count() + 1)
}

/// The nearest of the names that the parser lists: "unknown field `rwo`, expected one of `row`, …".
fn meant(said: &str) -> Option<&str> {
    let (typed, known) = said.strip_prefix("unknown field `")?.split_once('`')?;
    nearest(typed, known.split('`').skip(1).step_by(2))
}

fn tell(out: &mut Out, file: &str, case: &str, wrong: &[String]) {
    if out.json {
        return out.object(&Line { file: file.to_owned(), case, passed: wrong.is_empty(), wrong });
    }
    let mark = if wrong.is_empty() { "✓" } else { "✗" };
    out.line(&escape_lines(&format!("{mark} {file}: {case}")));
    for line in wrong {
        out.line(&format!("    {}", escape_lines(line)));
    }
}

/// The files themselves, and those in folders by their names.
fn files(given: &[PathBuf]) -> Result<Vec<PathBuf>, CliError> {
    let mut files = Vec::new();
    for path in given {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let bad = |error: std::io::Error| CliError::usage(format!("{}: {error}", path.display()));
        let entries = std::fs::read_dir(path).map_err(bad)?;
        let mut inside =
            entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>, std::io::Error>>().map_err(bad)?;
        inside.retain(|file| file.extension().is_some_and(|extension| extension == "toml"));
        inside.sort();
        files.extend(inside);
    }
    Ok(files)
}

fn pipeline<'c>(config: &'c Config, cases: &CaseFile) -> Result<&'c Pipeline, String> {
    let known = || config.pipelines.keys().map(String::as_str);
    match &cases.pipeline {
        Some(name) => config.pipelines.get(name).ok_or_else(|| no_such_pipeline(name, known())),
        None => match config.pipelines.values().collect::<Vec<_>>().as_slice() {
            [only] => Ok(only),
            _ => Err(format!(
                "pipeline is missing, and the config has several: {}",
                known().collect::<Vec<_>>().join(", ")
            )),
        },
    }
}
