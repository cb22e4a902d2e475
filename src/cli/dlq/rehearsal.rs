//! What a replay would do: each letter decoded, mapped and written in a transaction that is rolled
//! back.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::judge::{Judge, Verdict};
use super::letter::Letter;
use crate::cli::escape::escape;
use crate::cli::exit::{CliError, Exit};
use crate::cli::output::Out;
use crate::config::{Config, Pipeline};
use crate::dead_letter;
use crate::error::Failure;

/// Causes that are told apart.
const MAX_CAUSES: usize = 100;

/// Letters by cause of rejection: class, code, column.
#[derive(Debug, Default)]
pub(super) struct Causes(BTreeMap<Cause, u64>);

/// As letters tell it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Cause {
    pub class: Option<String>,
    pub code: Option<String>,
    pub column: Option<String>,
}

impl Cause {
    pub(super) fn of(failure: &Failure) -> Self {
        Cause {
            class: Some(failure.class.name().to_owned()),
            code: Some(failure.code.clone().into_owned()),
            column: failure.column.clone(),
        }
    }

    /// As the letter says.
    pub(super) fn told_by(letter: &Letter) -> Self {
        let info = &letter.info;
        Cause { class: info.class.clone(), code: info.code.clone(), column: info.column.clone() }
    }

    fn text(&self) -> String {
        let parts = [&self.code, &self.column].into_iter().flatten().cloned().collect::<Vec<_>>();
        if parts.is_empty() { "of unknown cause".to_owned() } else { parts.join(" ") }
    }
}

impl Causes {
    pub(super) fn add(&mut self, cause: Cause) {
        *self.slot(cause) += 1;
    }

    /// What comes beyond the bound is counted as of unknown cause.
    fn slot(&mut self, cause: Cause) -> &mut u64 {
        let known = self.0.contains_key(&cause) || self.0.len() < MAX_CAUSES;
        self.0.entry(if known { cause } else { Cause::default() }).or_default()
    }

    pub(super) fn merge(&mut self, other: Causes) {
        for (cause, count) in other.0 {
            *self.slot(cause) += count;
        }
    }

    pub(super) fn total(&self) -> u64 {
        self.0.values().sum()
    }

    /// `12 × 22001 name, 6 × 23505`, the most frequent first; without counts where there is one.
    pub(super) fn text(&self) -> String {
        let mut causes: Vec<(&Cause, u64)> = self.0.iter().map(|(cause, count)| (cause, *count)).collect();
        causes.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let text = match causes.as_slice() {
            [(cause, _)] => cause.text(),
            causes => {
                causes.iter().map(|(cause, count)| format!("{count} × {}", cause.text())).collect::<Vec<_>>().join(", ")
            }
        };
        escape(&text)
    }

    pub(super) fn json(&self) -> Value {
        self.0
            .iter()
            .map(|(cause, count)| {
                json!({ "class": cause.class, "code": cause.code, "column": cause.column, "count": count })
            })
            .collect()
    }
}

/// Verdicts, counted.
pub(super) struct Tally {
    judge: Judge,
    pipeline: String,
    queue: String,
    total: u64,
    written: u64,
    already_there: u64,
    superseded: u64,
    skipped: u64,
    undecided: u64,
    refused: Causes,
    interrupted: bool,
}

impl Tally {
    pub(super) async fn begin(config: &Config, pipeline: &Pipeline) -> Result<Self, CliError> {
        Ok(Tally {
            judge: Judge::open(config, pipeline).await?,
            pipeline: pipeline.name.clone(),
            queue: pipeline.queue.clone(),
            total: 0,
            written: 0,
            already_there: 0,
            superseded: 0,
            skipped: 0,
            undecided: 0,
            refused: Causes::default(),
            interrupted: false,
        })
    }

    /// Tries one.
    pub(super) async fn add(&mut self, letter: &Letter) -> Result<(), CliError> {
        let message = dead_letter::replayed(&letter.envelope, &self.queue, "dry-run", 0);
        let verdict = self.judge.verdict(message).await?;
        self.total += 1;
        match verdict {
            Verdict::Written => self.written += 1,
            Verdict::AlreadyThere => self.already_there += 1,
            Verdict::Superseded => self.superseded += 1,
            Verdict::Skipped => self.skipped += 1,
            Verdict::Undecided(_) => self.undecided += 1,
            Verdict::Refused(failure) => self.refused.add(Cause::of(&failure)),
        }
        Ok(())
    }

    /// Not all were tried.
    pub(super) fn interrupted(&mut self) {
        self.interrupted = true;
    }

    fn text(&self) -> String {
        let mut parts = vec![format!("{} of {} would be written now", self.written, self.total)];
        for (count, what) in [
            (self.already_there, "are there already"),
            (self.superseded, "are superseded by newer versions"),
            (self.skipped, "need no writing"),
            (self.undecided, "undecided: somebody else's lock was in the way"),
        ] {
            if count > 0 {
                parts.push(format!("{count} {what}"));
            }
        }
        if self.refused.total() > 0 {
            parts.push(format!("{} still fail: {}", self.refused.total(), self.refused.text()));
        }
        if self.interrupted {
            parts.push("interrupted before the end".to_owned());
        }
        parts.join("; ")
    }

    /// Prints the counts and says goodbye to the database.
    pub(super) async fn end(self, out: &mut Out) -> Exit {
        if out.json {
            out.object(&json!({
                "pipeline": self.pipeline,
                "tried": self.total,
                "written": self.written,
                "already_there": self.already_there,
                "superseded": self.superseded,
                "skipped": self.skipped,
                "undecided": self.undecided,
                "rejected": self.refused.total(),
                "causes": self.refused.json(),
                "interrupted": self.interrupted,
            }));
        } else {
            out.line(&self.text());
        }
        let bad = self.refused.total() + self.undecided;
        let exit = match bad {
            0 if !self.interrupted => Exit::Done,
            bad if bad == self.total && !self.interrupted => Exit::Failed,
            _ => Exit::Partly,
        };
        self.judge.close().await;
        exit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_told_the_most_frequent_first() {
        let cause = |code: &str, column: Option<&str>| Cause {
            class: Some("row_rejected".to_owned()),
            code: Some(code.to_owned()),
            column: column.map(str::to_owned),
        };
        let mut causes = Causes::default();
        causes.add(cause("22001", Some("name")));
        assert_eq!(causes.text(), "22001 name");
        causes.add(cause("23505", None));
        causes.add(cause("23505", None));
        assert_eq!((causes.text().as_str(), causes.total()), ("2 × 23505, 1 × 22001 name", 3));
        (0..1000).for_each(|n| causes.add(cause(&n.to_string(), None)));
        assert_eq!((causes.0.len(), causes.total()), (MAX_CAUSES + 1, 1003));
    }
}
