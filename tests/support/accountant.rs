//! Says after a test whether every message is where it belongs: once in the table, with the values
//! that were sent, or in the dead-letter queue if it deserved it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// What one row holds, as text, its ID left out; `None` is NULL.
pub type Values = Vec<Option<String>>;

/// What was published and what is to become of it.
#[derive(Clone, Debug, Default)]
pub struct Accountant {
    rows: BTreeMap<String, Values>,
    dead: BTreeSet<String>,
    /// May be there or not, as far as anybody knows.
    unsure: BTreeSet<String>,
}

/// What is not where it belongs, by ID.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Neither in the table nor dead-lettered.
    pub lost: Vec<String>,
    /// In the table more than once.
    pub duplicates: Vec<String>,
    /// In the table with other values: what was expected and what is there.
    pub wrong: Vec<(String, Values, Values)>,
    /// Good, but dead-lettered (in the table as well, perhaps).
    pub wrongly_dead: Vec<String>,
    /// Bad, but in the table.
    pub wrongly_written: Vec<String>,
    /// Bad, and not dead-lettered.
    pub dead_missing: Vec<String>,
    /// In the table or dead-lettered, but never published.
    pub unknown: Vec<String>,
}

impl Accountant {
    /// A good message: this row, once. Said again with the same values (a duplicate was
    /// published), it changes nothing.
    pub fn expect_row(&mut self, id: impl Into<String>, values: Values) {
        let id = id.into();
        let before = self.rows.insert(id.clone(), values.clone());
        assert!(before.is_none_or(|before| before == values), "the test expects two different rows for {id}");
    }

    /// A bad message: dead-lettered, at least once. Beside a good one of the same ID (another body
    /// under a known ID), both the row and the letter are expected.
    pub fn expect_dead(&mut self, id: impl Into<String>) {
        self.dead.insert(id.into());
    }

    /// An expected one may as well be missing from now on: its confirm never came, or somebody
    /// deleted it. If it is there, it must be right.
    pub fn doubt(&mut self, id: impl Into<String>) {
        self.unsure.insert(id.into());
    }

    /// One that was in doubt is expected again: it has been confirmed after all.
    pub fn confirm(&mut self, id: &str) {
        self.unsure.remove(id);
    }

    /// Whether this ID, good or bad, is known.
    pub fn knows(&self, id: &str) -> bool {
        self.rows.contains_key(id) || self.dead.contains(id)
    }

    /// All that are expected for sure, good and bad.
    pub fn sure(&self) -> impl Iterator<Item = &String> {
        self.rows.keys().chain(&self.dead).filter(|id| !self.unsure.contains(*id))
    }

    /// Good messages.
    pub fn rows(&self) -> usize {
        self.rows.len()
    }

    /// Compares with the table's rows (the first column is the ID) and the IDs of the dead letters
    /// (which may repeat: a dead letter on a queue is there at least once).
    pub fn audit(&self, table: &[Vec<Option<String>>], dead_letters: impl IntoIterator<Item = String>) -> Report {
        let mut report = Report::default();
        let dead: BTreeSet<String> = dead_letters.into_iter().collect();
        let mut seen: BTreeSet<&str> = BTreeSet::new();
        for row in table {
            let (id, values) = row.split_first().expect("a row with an ID");
            let id = id.as_deref().unwrap_or("NULL");
            if !seen.insert(id) {
                report.duplicates.push(id.to_owned());
            } else if let Some(expected) = self.rows.get(id) {
                if expected.as_slice() != values {
                    report.wrong.push((id.to_owned(), expected.clone(), values.to_vec()));
                }
            } else if self.dead.contains(id) {
                report.wrongly_written.push(id.to_owned());
            } else {
                report.unknown.push(id.to_owned());
            }
        }
        for id in self.rows.keys() {
            if dead.contains(id) && !self.dead.contains(id) {
                report.wrongly_dead.push(id.clone());
            } else if !seen.contains(id.as_str()) && !self.unsure.contains(id) {
                report.lost.push(id.clone());
            }
        }
        let missing = self.dead.difference(&dead).filter(|id| !self.unsure.contains(*id));
        report.dead_missing.extend(missing.cloned());
        let published = |id: &&String| !self.rows.contains_key(*id) && !self.dead.contains(*id);
        report.unknown.extend(dead.iter().filter(published).cloned());
        report
    }
}

impl Report {
    /// Whether all is where it belongs.
    pub fn is_clean(&self) -> bool {
        *self == Report::default()
    }

    /// Fails the test unless all is where it belongs.
    pub fn assert_clean(&self) {
        assert!(self.is_clean(), "the books don't balance:\n{self}");
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lists = [
            ("lost", &self.lost),
            ("duplicates", &self.duplicates),
            ("wrongly dead-lettered", &self.wrongly_dead),
            ("written though bad", &self.wrongly_written),
            ("dead letters missing", &self.dead_missing),
            ("never published", &self.unknown),
        ];
        for (what, ids) in lists {
            let some: Vec<&str> = ids.iter().take(10).map(String::as_str).collect();
            writeln!(f, "{what}: {} {}", ids.len(), some.join(" "))?;
        }
        writeln!(f, "wrong values: {}", self.wrong.len())?;
        for (id, expected, found) in self.wrong.iter().take(10) {
            writeln!(f, "  {id}: expected {expected:?}, found {found:?}")?;
        }
        Ok(())
    }
}
