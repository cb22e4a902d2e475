//! `dlq stats`: dead letters by cause.

use std::collections::HashMap;

use jiff::Timestamp;
use serde::Serialize;

use super::distinct::Distinct;
use super::filter::{FilterArgs, failed_at, fingerprint, owns};
use super::letter::Letter;
use super::list::{SHORT_ID, first_words};
use super::store::Store;
use crate::cli::escape::escape;
use crate::cli::exit::{CliError, Exit};
use crate::cli::output::{Out, complain};
use crate::config::Pipeline;

/// Causes that are told apart.
const MAX_GROUPS: usize = 1000;
/// Characters of a sample reason.
const REASON: usize = 140;
/// Characters of a full bar.
const BAR: usize = 20;

/// What letters of one cause have in common. Everything in it may come from messages.
#[derive(Debug, Default, Serialize)]
struct Group {
    group: String,
    class: Option<String>,
    code: Option<String>,
    column: Option<String>,
    table: Option<String>,
    count: u64,
    /// Of all letters that were looked at, 0 to 1.
    share: f64,
    #[serde(serialize_with = "as_text")]
    first_failed_at: Option<Timestamp>,
    #[serde(serialize_with = "as_text")]
    last_failed_at: Option<Timestamp>,
    attempts_min: Option<u64>,
    attempts_max: Option<u64>,
    replays_max: u32,
    /// Of the first letter.
    reason: Option<String>,
    sample: String,
    /// For people, who see the sample's ID in it.
    #[serde(skip)]
    show: String,
    command: String,
}

fn as_text<S: serde::Serializer>(at: &Option<Timestamp>, to: S) -> Result<S::Ok, S::Error> {
    at.map(|at| format!("{at:.3}")).serialize(to)
}

impl Group {
    fn new(letter: &Letter, pipeline: &str, program: &str) -> Self {
        let info = letter.info.clone();
        let group = fingerprint(&info);
        Group {
            show: format!("{program} dlq show {pipeline} {}", info.id.chars().take(SHORT_ID).collect::<String>()),
            command: format!("{program} dlq replay {pipeline} --group {group} --dry-run"),
            group,
            class: info.class,
            code: info.code,
            column: info.column,
            table: info.table,
            reason: info.reason,
            sample: info.id,
            ..Group::default()
        }
    }

    fn add(&mut self, letter: &Letter) {
        let info = &letter.info;
        self.count += 1;
        if let Some(at) = failed_at(info) {
            self.first_failed_at = Some(self.first_failed_at.map_or(at, |first| first.min(at)));
            self.last_failed_at = Some(self.last_failed_at.map_or(at, |last| last.max(at)));
        }
        if let Some(attempts) = info.attempts {
            self.attempts_min = Some(self.attempts_min.map_or(attempts, |least| least.min(attempts)));
            self.attempts_max = Some(self.attempts_max.map_or(attempts, |most| most.max(attempts)));
        }
        self.replays_max = self.replays_max.max(info.replays);
    }

    fn text(&self) -> String {
        let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        let time = |at: Option<Timestamp>| at.map_or_else(|| "-".to_owned(), |at| format!("{at:.0}"));
        let column = self.column.as_ref().map(|column| format!(", column {column}")).unwrap_or_default();
        let cause = match (&self.class, &self.code) {
            (None, None) => "of unknown cause".to_owned(),
            (class, code) => format!("{} {}{column}", or_dash(class), or_dash(code)),
        };
        let attempts = match (self.attempts_min, self.attempts_max) {
            (Some(least), Some(most)) if least == most => least.to_string(),
            (Some(least), Some(most)) => format!("{least} to {most}"),
            _ => "-".to_owned(),
        };
        let full = (self.share * BAR as f64).round().clamp(1.0, BAR as f64) as usize;
        let bar = format!("{}{}", "█".repeat(full), "░".repeat(BAR - full));
        [
            format!("{}  {:>7}  {bar} {:>5.1} %  {}", self.group, self.count, self.share * 100.0, escape(&cause)),
            format!("    {}", escape(&first_words(self.reason.as_deref().unwrap_or("no reason given"), REASON))),
            format!(
                "    first {}, last {}; attempts {attempts}, replays {}",
                time(self.first_failed_at),
                time(self.last_failed_at),
                self.replays_max,
            ),
            format!("    {}", escape(&self.show)),
            format!("    {}", escape(&self.command)),
        ]
        .join("\n")
    }
}

/// Groups, the largest first.
pub(super) async fn execute(
    store: &mut Store,
    pipeline: &Pipeline,
    filter: &FilterArgs,
    program: &str,
    out: &mut Out,
) -> Result<Exit, CliError> {
    filter.check()?;
    let limit = filter.limit.unwrap_or(u64::MAX);
    let mut groups: HashMap<String, Group> = HashMap::new();
    let mut seen = Distinct::default();
    let (mut others, mut own, mut total, mut further) = (0_u64, 0_u64, 0_u64, 0_u64);
    let ended = store
        .look("looking", |letter| {
            if !owns(pipeline, &letter.info) {
                others += 1;
                return;
            }
            if !seen.is_new(&letter.info.id) {
                return;
            }
            own += 1;
            if total == limit || !filter.matches(letter) {
                return;
            }
            total += 1;
            let full = groups.len() >= MAX_GROUPS;
            match groups.entry(fingerprint(&letter.info)) {
                std::collections::hash_map::Entry::Vacant(_) if full => further += 1,
                entry => entry.or_insert_with(|| Group::new(letter, &pipeline.name, program)).add(letter),
            }
        })
        .await?;
    let mut groups: Vec<Group> = groups.into_values().collect();
    groups.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.group.cmp(&b.group)));
    for group in &mut groups {
        group.share = group.count as f64 / total.max(1) as f64;
    }
    if out.json {
        groups.iter().for_each(|group| out.object(group));
    } else {
        print(pipeline, &groups, (total, own), out);
    }
    let mut notes = Vec::new();
    if seen.copies > 0 {
        notes.push(format!("{} stand there twice and are counted once", seen.copies));
    }
    if others > 0 {
        notes.push(format!("{others} letters in {} are other pipelines'", pipeline.dead_letter));
    }
    if further > 0 {
        notes.push(format!("{further} letters have causes beyond the first {MAX_GROUPS}"));
    }
    notes.iter().for_each(|note| complain(note));
    Ok(super::looked(ended))
}

/// `total` letters of its `own` ones.
fn print(pipeline: &Pipeline, groups: &[Group], (total, own): (u64, u64), out: &mut Out) {
    let s = |count: u64| if count == 1 { "" } else { "s" };
    let count = groups.len() as u64;
    let queue = escape(&pipeline.dead_letter.to_string());
    let of = if total == own { String::new() } else { format!(" of {own}") };
    out.line(&format!("{queue}: {total}{of} dead letter{} of {}, {count} cause{}", s(own), pipeline.name, s(count)));
    for group in groups {
        out.line(&format!("\n{}", group.text()));
    }
}

#[cfg(test)]
mod tests {
    use super::super::letter::example;
    use super::*;

    #[test]
    fn a_group_tells_count_times_cause_and_what_to_do() {
        let mut letter = example();
        let mut group = Group::new(&letter, "orders", "rabbit-sink");
        group.add(&letter);
        letter.info.failed_at = Some("2025-11-20T01:02:03Z".to_owned());
        letter.info.attempts = Some(4);
        group.add(&letter);
        group.share = 0.5;
        let text = group.text();
        for part in [
            "2  ██████████░░░░░░░░░░  50.0 %  mapping lossy, column qty",
            "first 2025-11-20T01:02:03Z, last 2025-11-21T05:28:00Z; attempts 1 to 4, replays 0\n",
            "rabbit-sink dlq show orders 0123456789ab\n",
            &format!("rabbit-sink dlq replay orders --group {} --dry-run", group.group),
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
    }
}
