//! Reads sections: whoever asks for a key names its kind, default and range here and nowhere else, and
//! what nobody asked for is an unknown key.

use std::cell::RefCell;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::field::Field;
use super::problems::{Problems, join, nearest};
use super::tree::{At, Entry, Table, Value};
use super::units;

/// A table of the config. [`Section::finish`] must end its reading.
pub(super) struct Section<'a> {
    problems: &'a Problems,
    path: String,
    /// Where its name stands, for keys that are missing.
    at: At,
    table: &'a Table,
    asked: RefCell<Vec<&'static str>>,
}

/// A section's name and the keys that it knows, to tell where a misplaced key belongs.
pub(super) type Known = (&'static str, Vec<&'static str>);

static EMPTY: Table = Table::EMPTY;

impl<'a> Section<'a> {
    pub fn new(problems: &'a Problems, path: String, at: At, table: &'a Table) -> Self {
        Section { problems, path, at, table, asked: RefCell::default() }
    }

    pub fn problems(&self) -> &'a Problems {
        self.problems
    }

    pub fn path_of(&self, key: &str) -> String {
        join(&self.path, key)
    }

    pub fn has(&self, key: &str) -> bool {
        self.table.get(key).is_some()
    }

    fn entry(&self, key: &'static str) -> Option<&'a Entry> {
        let mut asked = self.asked.borrow_mut();
        if !asked.contains(&key) {
            asked.push(key);
        }
        self.table.get(key)
    }

    /// The key, if it is there.
    pub fn field(&self, key: &'static str) -> Option<Field<'a>> {
        let entry = self.entry(key)?;
        Some(Field::new(self.problems, self.path_of(key), &entry.node))
    }

    /// Of keys that exclude each other, the one that is there. One from the environment replaces those of the file.
    pub fn one_of(&self, keys: &[&'static str]) -> Option<(&'static str, Field<'a>)> {
        let mut there: Vec<(&'static str, Field<'a>)> =
            keys.iter().filter_map(|key| Some((*key, self.field(key)?))).collect();
        if there.iter().any(|(_, field)| field.is_override()) {
            there.retain(|(_, field)| field.is_override());
        }
        if let [(first, _), (_, second), ..] = there.as_slice() {
            second.wrong(format!("excludes `{first}`, which is given, too: keep one of them"), None);
        }
        there.into_iter().next()
    }

    /// Notes that a key is missing.
    pub fn missing(&self, key: &str, message: &str, help: Option<String>) {
        self.problems.add(self.at.clone(), &self.path_of(key), message, help);
    }

    pub fn required_text(&self, key: &'static str, expected: &str) -> Option<String> {
        let Some(field) = self.field(key) else {
            let help = self.misspelt(key).map(|typed| format!("`{typed}` looks like it"));
            self.missing(key, &format!("missing; expected {expected}"), help);
            return None;
        };
        field.text(expected)
    }

    /// A key that is there, unknown, and nearly this one.
    fn misspelt(&self, key: &str) -> Option<&'a str> {
        let asked = self.asked.borrow();
        let others = self.table.entries.iter().map(|entry| entry.key.as_str()).filter(|other| !asked.contains(other));
        nearest(key, others)
    }

    pub fn text(&self, key: &'static str, default: &str, expected: &str) -> String {
        self.field(key).and_then(|field| field.text(expected)).unwrap_or_else(|| default.to_owned())
    }

    pub fn choice<T: Copy>(&self, key: &'static str, default: T, choices: &[(&str, T)], later: &[&str]) -> T {
        self.field(key).and_then(|field| field.choice(choices, later)).unwrap_or(default)
    }

    pub fn flag(&self, key: &'static str, default: bool) -> bool {
        self.field(key).and_then(|field| field.flag()).unwrap_or(default)
    }

    pub fn integer(&self, key: &'static str, default: i64, range: RangeInclusive<i64>) -> i64 {
        self.field(key).and_then(|field| field.integer(range)).unwrap_or(default)
    }

    /// A share, above 0 and at most 1.
    pub fn share(&self, key: &'static str, default: f64) -> f64 {
        self.field(key).and_then(|field| field.share()).unwrap_or(default)
    }

    pub fn duration(&self, key: &'static str, default: &str, range: RangeInclusive<Duration>) -> Duration {
        let given = self.field(key).and_then(|field| field.duration(&range));
        given.or_else(|| units::duration(default)).unwrap_or(*range.start())
    }

    pub fn bytes(&self, key: &'static str, default: &str, range: RangeInclusive<u64>) -> usize {
        let given = self.field(key).and_then(|field| field.bytes(&range));
        let bytes = given.or_else(|| units::bytes(default)).unwrap_or(*range.start());
        usize::try_from(bytes).unwrap_or(usize::MAX)
    }

    pub fn list(&self, key: &'static str) -> Option<Vec<Field<'a>>> {
        self.field(key)?.list()
    }

    /// The section below; an empty one if it isn't there.
    pub fn section(&self, key: &'static str) -> Section<'a> {
        self.given_section(key)
            .unwrap_or_else(|| Section::new(self.problems, self.path_of(key), self.at.clone(), &EMPTY))
    }

    /// The section below, if it is there.
    pub fn given_section(&self, key: &'static str) -> Option<Section<'a>> {
        let entry = self.entry(key)?;
        let field = Field::new(self.problems, self.path_of(key), &entry.node);
        field.section_at(entry.key_at.clone())
    }

    /// The sections below, which the user has named.
    pub fn named_sections(&self, key: &'static str) -> Vec<(&'a str, Section<'a>)> {
        let Some(below) = self.given_section(key) else { return Vec::new() };
        below
            .into_entries()
            .filter_map(|(entry, field)| Some((entry.key.as_str(), field.section_at(entry.key_at.clone())?)))
            .collect()
    }

    /// All keys, whatever their names are.
    pub fn into_entries(self) -> impl Iterator<Item = (&'a Entry, Field<'a>)> {
        let table = self.table;
        table.entries.iter().map(move |entry| (entry, Field::new(self.problems, self.path_of(&entry.key), &entry.node)))
    }

    /// Keys that a later version will have.
    pub fn not_yet(&self, keys: &[&'static str]) {
        for key in keys {
            if let Some(entry) = self.entry(key) {
                self.problems.add(entry.key_at.clone(), &self.path_of(key), "not available in this version", None);
            }
        }
    }

    /// Notes keys that contradict each other (paths relative to this section, the likeliest culprit first),
    /// unless something is wrong with one of them anyway.
    pub fn contradiction(&self, keys: &[&str], message: String, help: Option<String>) {
        let paths: Vec<String> = keys.iter().map(|key| format!("{}.{key}", self.path)).collect();
        if paths.iter().any(|path| self.problems.is_bad(path)) {
            return;
        }
        let given = keys.iter().zip(&paths).find_map(|(key, path)| Some((self.find(key)?.clone(), path)));
        let fallback = paths.first().map_or(self.path.as_str(), |path| path.as_str());
        match given {
            Some((at, path)) => self.problems.add(at, path, message, help),
            None => self.problems.add(self.at.clone(), fallback, message, help),
        }
    }

    /// Notes that a section's own name is wrong.
    pub fn wrong_name(&self, group: &str, name: &str, message: &str) {
        let entry = self.table.get(group).and_then(|entry| match &entry.node.value {
            Value::Table(below) => below.get(name),
            _ => None,
        });
        let at = entry.map_or(&self.at, |entry| &entry.key_at);
        self.problems.add(at.clone(), &join(&self.path_of(group), name), message, None);
    }

    /// Like [`Section::contradiction`] for one key that may stand at either of these paths.
    pub fn contradiction_within(&self, paths: &[Vec<&str>], message: String) {
        let Some(path) = paths.iter().find(|path| self.find_parts(path).is_some()) else { return };
        let shown = path.join(".");
        if let Some(at) = self.find_parts(path).filter(|_| !self.problems.is_bad(&shown)) {
            self.problems.add(at.clone(), &shown, message, None);
        }
    }

    fn find(&self, path: &str) -> Option<&At> {
        self.find_parts(&path.split('.').collect::<Vec<_>>())
    }

    fn find_parts(&self, path: &[&str]) -> Option<&At> {
        let (last, sections) = path.split_last()?;
        let mut table = self.table;
        for section in sections {
            let node = &table.get(section)?.node;
            match &node.parsed.as_deref().unwrap_or(node).value {
                Value::Table(below) => table = below,
                _ => return None,
            }
        }
        table.get(last).map(|entry| &entry.node.at)
    }

    /// Ends the reading: what wasn't asked for is unknown. `below`: sections where such a key may belong.
    pub fn finish(self, below: &[Known]) -> Vec<&'static str> {
        let asked = self.asked.into_inner();
        for entry in &self.table.entries {
            if asked.contains(&entry.key.as_str()) {
                continue;
            }
            let home = below.iter().find(|(_, keys)| keys.contains(&entry.key.as_str()));
            let help = match home {
                Some((section, _)) => Some(format!("it belongs in [{}]", join(&self.path, section))),
                None => nearest(&entry.key, asked.iter().copied()).map(|near| format!("did you mean `{near}`?")),
            };
            let help = help.or_else(|| (!asked.is_empty()).then(|| format!("known here: {}", asked.join(", "))));
            self.problems.add(entry.key_at.clone(), &join(&self.path, &entry.key), "unknown key", help);
        }
        asked
    }
}
