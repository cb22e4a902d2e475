//! What became of each record, and whether that is right.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::Record;
use super::columns::{Layout, UNSENT};
use super::equal::json::{self, Json};
use super::equal::{Stored, equal};
use super::read::Rows;
use crate::support::broker::Taken;

/// A record that isn't as it must be.
#[derive(Debug)]
pub struct Finding {
    pub id: String,
    what: String,
    /// Types and what was sent for them.
    sent: Vec<(String, String)>,
    /// What was read back, or the dead letter.
    found: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.id, self.what)?;
        for (kind, raw) in &self.sent {
            write!(f, "\n    {kind:?} was sent {}", cut(raw))?;
        }
        write!(f, "\n    found {}", cut(&self.found))
    }
}

fn cut(text: &str) -> String {
    let mut shown: String = text.chars().take(300).collect();
    if shown.len() < text.len() {
        shown.push_str(&format!("… ({} bytes)", text.len()));
    }
    shown
}

/// Counts over all rounds.
pub struct Tally {
    records: usize,
    stored: usize,
    rejected: BTreeMap<String, usize>,
    /// Columns with a value in them, by column.
    values: Vec<usize>,
    /// All that was sent, in rounds before as well.
    sent: BTreeSet<String>,
}

impl Tally {
    pub fn new(layout: &Layout) -> Tally {
        Tally {
            records: 0,
            stored: 0,
            rejected: BTreeMap::new(),
            values: vec![0; layout.columns.len()],
            sent: BTreeSet::new(),
        }
    }

    fn rejected(&self) -> usize {
        self.rejected.values().sum()
    }

    /// A run in which all is refused, or all taken, would prove nothing.
    pub fn assert_telling(&self, layout: &Layout) {
        assert!(self.stored * 100 >= self.records * 30, "too few are stored: {self}");
        assert!(self.rejected() * 100 >= self.records * 5, "too few are rejected: {self}");
        for (column, count) in layout.columns.iter().zip(&self.values) {
            assert!(*count > 0, "no value was ever stored in the column {:?}", column.sql);
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let values: usize = self.values.iter().sum();
        let (records, stored, rejected) = (self.records, self.stored, self.rejected());
        write!(f, "{records} records: {stored} stored with {values} values, {rejected} rejected {:?}", self.rejected)
    }
}

/// Compares what was sent with the table and the dead letters.
pub fn judge(layout: &Layout, records: &[Record], rows: &Rows, letters: &[Taken], tally: &mut Tally) -> Vec<Finding> {
    tally.sent.extend(records.iter().map(|record| record.id.clone()));
    let mut dead: BTreeMap<String, Vec<&Taken>> = BTreeMap::new();
    for letter in letters {
        let same = dead.entry(letter.message_id().unwrap_or_default()).or_default();
        // At least once, if an ack is lost; this header tells repeats.
        if !same.iter().any(|known| known.header("x-sink-id") == letter.header("x-sink-id")) {
            same.push(letter);
        }
    }
    let mut findings = Vec::new();
    for record in records {
        tally.records += 1;
        let stored = rows.get(&record.id).map_or(&[][..], Vec::as_slice);
        let letters = dead.get(&record.id).map_or(&[][..], Vec::as_slice);
        match (stored, letters) {
            ([row], []) => findings.extend(changed(layout, record, row, tally)),
            ([], [letter]) => findings.extend(wrongly_dead(layout, record, letter, tally)),
            ([], []) => findings.push(finding(layout, record, None, "is lost", String::new())),
            _ => {
                let found = format!("{} rows, {} dead letters", stored.len(), letters.len());
                findings.push(finding(layout, record, None, "is there more than once", found));
            }
        }
    }
    let known: BTreeSet<&String> = records.iter().map(|record| &record.id).collect();
    // A dead letter may come again, and later; a row never.
    let unknown =
        rows.keys().filter(|id| !known.contains(id)).chain(dead.keys().filter(|id| !tally.sent.contains(*id)));
    for id in unknown {
        let what = "is none that was sent".to_owned();
        findings.push(Finding { id: id.clone(), what, sent: Vec::new(), found: String::new() });
    }
    findings
}

/// `at`: only the field of that number.
fn finding(layout: &Layout, record: &Record, at: Option<usize>, what: &str, found: String) -> Finding {
    let fields = record.fields.iter().filter(|(column, _)| at.is_none_or(|at| at == *column));
    let sent = fields.map(|(column, sent)| (layout.columns[*column].sql.to_owned(), sent.raw.clone())).collect();
    Finding { id: record.id.clone(), what: what.to_owned(), sent, found }
}

fn changed(layout: &Layout, record: &Record, row: &[Stored], tally: &mut Tally) -> Vec<Finding> {
    tally.stored += 1;
    let (unsent, cells) = row.split_first().expect("a column that is never sent");
    let mut findings = Vec::new();
    if *unsent != Stored::Text(UNSENT.1.to_owned()) {
        findings.push(finding(layout, record, None, "has lost a default", format!("{unsent:?}")));
    }
    for (at, cell) in cells.iter().enumerate() {
        let Some((_, sent)) = record.fields.iter().find(|(column, _)| *column == at) else {
            if *cell != Stored::Null {
                findings.push(finding(layout, record, None, "has a value that was not sent", format!("{cell:?}")));
            }
            continue;
        };
        let same = json::parse(&sent.raw).is_some_and(|node| {
            tally.values[at] += usize::from(!matches!(node.value, Json::Null));
            equal(&layout.columns[at].kind, &node, cell)
        });
        if !same {
            findings.push(finding(layout, record, Some(at), "was changed", format!("{cell:?}")));
        }
    }
    findings
}

fn wrongly_dead(layout: &Layout, record: &Record, letter: &Taken, tally: &mut Tally) -> Option<Finding> {
    let header = |name| letter.header(name).unwrap_or_default();
    let class = header("x-sink-error-class");
    let cause = ["x-sink-error-code", "x-sink-column", "x-exception-message"].map(header).join(" | ");
    *tally.rejected.entry(class.clone()).or_default() += 1;
    if !matches!(class.as_str(), "decode" | "mapping" | "row_rejected") {
        return Some(finding(
            layout,
            record,
            None,
            "was rejected for a fault that isn't its own",
            format!("{class} | {cause}"),
        ));
    }
    if letter.body != record.body(layout).as_bytes() {
        let found = String::from_utf8_lossy(&letter.body).into_owned();
        return Some(finding(layout, record, None, "has another body as a dead letter", found));
    }
    if record.fields.iter().all(|(_, sent)| sent.must) {
        return Some(finding(layout, record, None, "was refused, though its columns take it", cause));
    }
    None
}
