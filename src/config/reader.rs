//! Reads sections by the table of keys: what a key may be and what holds where it is left out stands there, and
//! a key that the table doesn't have is unknown.

use std::cell::RefCell;
use std::path::PathBuf;
use std::time::Duration;

use super::field::{Field, Word};
use super::keys::{Absent, BINDING, COLUMN, Key, Keys, Kind, ROOT};
use super::problems::{Problems, adds_a_word, join, nearest};
use super::tree::{At, Entry, Table, Value};
use super::units;

/// A table of the config. [`Section::finish`] must end its reading.
pub(super) struct Section<'a> {
    problems: &'a Problems,
    path: String,
    /// Where its name stands, for keys that are missing.
    at: At,
    table: &'a Table,
    keys: &'static Keys,
    /// Its name comes from a variable, and this one of the file is nearly the same.
    meant: Option<&'a str>,
    /// For a test: a key of the table that nobody asks for would be accepted and do nothing.
    asked: RefCell<Vec<&'static str>>,
}

pub(super) const LISTEN: &str = "an IP address with a port, as in \"127.0.0.1:9464\", or \"off\"";

pub(super) const SOCKET: &str =
    "the path of a Unix socket, as in \"/run/rabbit-sink/admin.sock\", \"@NAME\", or \"off\"";

static EMPTY: Table = Table::EMPTY;

impl<'a> Section<'a> {
    pub fn new(problems: &'a Problems, path: String, at: At, table: &'a Table, keys: &'static Keys) -> Self {
        Section { problems, path, at, table, keys, meant: None, asked: RefCell::default() }
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

    /// What the table says of a key.
    fn key(&self, name: &'static str) -> Option<&'static Key> {
        self.asked.borrow_mut().push(name);
        let key = self.keys.get(name);
        debug_assert!(key.is_some(), "[{}] has no key {name}", self.keys.path);
        key
    }

    /// A key's value, if it is there, read as the table says; else what holds without it.
    fn read<T>(
        &self,
        name: &'static str,
        given: impl FnOnce(&Kind, &Field<'a>) -> Option<T>,
        absent: impl FnOnce(&'static str) -> Option<T>,
    ) -> Option<T> {
        let key = self.key(name)?;
        let read = match (self.field(name), key.absent) {
            (Some(field), _) => given(&key.kind, &field),
            (None, Absent::Required) => {
                self.missing_required(key);
                None
            }
            (None, _) => None,
        };
        read.or_else(|| absent(key.absent.text()?))
    }

    /// The key, if it is there.
    pub fn field(&self, name: &'static str) -> Option<Field<'a>> {
        self.key(name)?;
        let entry = self.table.get(name)?;
        Some(Field::new(self.problems, self.path_of(name), &entry.node))
    }

    /// Of keys that exclude each other, the one that is there. One from the environment replaces those of the file.
    pub fn one_of(&self, keys: &[&'static str]) -> Option<(&'static str, Field<'a>)> {
        debug_assert!(
            self.keys.exclusive.contains(&keys),
            "[{}]: {keys:?} aren't said to be exclusive",
            self.keys.path
        );
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

    fn missing_required(&self, key: &Key) {
        let expected = match &key.kind {
            Kind::Name(expected) | Kind::Text(expected) => expected,
            Kind::Table => super::names::TABLE,
            _ => "a value",
        };
        let help = match (self.misspelt(key.name), self.meant) {
            (Some(typed), _) => Some(format!("`{typed}` looks like it")),
            (None, Some(name)) => Some(format!("the file has a section {name:?}: is that one meant?")),
            (None, None) => None,
        };
        self.missing(key.name, &format!("missing; expected {expected}"), help);
    }

    /// A key that is there, unknown, and nearly this one.
    fn misspelt(&self, key: &str) -> Option<&'a str> {
        let others = self.table.entries.iter().map(|entry| entry.key.as_str());
        nearest(key, others.filter(|other| self.keys.get(other).is_none()))
    }

    /// A text or a name of some kind.
    pub fn text(&self, key: &'static str) -> Option<String> {
        let given = |kind: &Kind, field: &Field<'a>| match kind {
            Kind::Name(expected) => super::names::amqp_name(field, expected),
            Kind::Text(expected) => field.text(expected),
            Kind::Table => field.text(super::names::TABLE),
            Kind::Listen => field.text(LISTEN),
            Kind::Socket => field.text(SOCKET),
            Kind::Reference(_) => field.text(&format!("the name of a {key}")),
            _ => not_of_this_kind(key),
        };
        self.read(key, given, |text| Some(text.to_owned()))
    }

    /// The word, or the column behind `column:`.
    pub fn word(&self, key: &'static str) -> Option<Word> {
        let given = |kind: &Kind, field: &Field<'a>| match kind {
            Kind::Choice { now, later, or_column } => field.choice(now, later, *or_column),
            _ => not_of_this_kind(key),
        };
        self.read(key, given, |word| Some(Word::Known(word)))
    }

    /// The meaning of a word; the names must be those of the table of keys.
    pub fn choice<T: Copy>(&self, key: &'static str, meanings: &[(&str, T)]) -> Option<T> {
        if let Some(Kind::Choice { now, .. }) = self.keys.get(key).map(|key| &key.kind) {
            debug_assert!(meanings.iter().map(|(word, _)| word).eq(now.iter()), "[{}] {key}: {now:?}", self.keys.path);
        }
        let Some(Word::Known(found)) = self.word(key) else { return None };
        meanings.iter().find(|(word, _)| *word == found).map(|(_, meaning)| *meaning)
    }

    pub fn flag(&self, key: &'static str) -> bool {
        self.read(key, |_, field| field.flag(), |text| Some(text == "true")).unwrap_or_default()
    }

    pub fn integer(&self, key: &'static str) -> Option<i64> {
        let given = |kind: &Kind, field: &Field<'a>| match kind {
            Kind::Integer(low, high) => field.integer(&(*low..=*high)),
            _ => not_of_this_kind(key),
        };
        self.read(key, given, |text| text.parse().ok())
    }

    /// A count with a default, as whatever type holds its range.
    pub fn count<T: TryFrom<i64> + Default>(&self, key: &'static str) -> T {
        self.integer(key).and_then(|number| T::try_from(number).ok()).unwrap_or_default()
    }

    /// A share, above 0 and at most 1.
    pub fn share(&self, key: &'static str) -> f64 {
        self.read(key, |_, field| field.share(), |text| text.parse().ok()).unwrap_or(1.0)
    }

    pub fn duration(&self, key: &'static str) -> Duration {
        let given = |kind: &Kind, field: &Field<'a>| match kind {
            Kind::Duration(low, high) => field.duration(&(*low..=*high)),
            _ => not_of_this_kind(key),
        };
        self.read(key, given, units::duration).unwrap_or_default()
    }

    pub fn bytes(&self, key: &'static str) -> usize {
        let given = |kind: &Kind, field: &Field<'a>| match kind {
            Kind::Size(low, high) => field.bytes(&(*low..=*high)),
            _ => not_of_this_kind(key),
        };
        let bytes = self.read(key, given, units::bytes).unwrap_or_default();
        usize::try_from(bytes).unwrap_or(usize::MAX)
    }

    /// A file that must be readable, and what stands in it.
    pub fn readable(&self, key: &'static str) -> Option<(PathBuf, Vec<u8>)> {
        super::secrets::readable(&self.field(key)?)
    }

    pub fn list(&self, key: &'static str) -> Option<Vec<Field<'a>>> {
        self.field(key)?.list()
    }

    /// The texts of a list.
    pub fn texts(&self, key: &'static str) -> Vec<String> {
        let Some(Kind::List(Kind::Text(expected), _)) = self.keys.get(key).map(|key| &key.kind) else {
            return not_of_this_kind(key).unwrap_or_default();
        };
        self.list(key).unwrap_or_default().iter().filter_map(|item| item.text(expected)).collect()
    }

    /// The section below; an empty one if it isn't there.
    pub fn section(&self, key: &'static str) -> Section<'a> {
        let keys = self.keys_of(key);
        self.given_section(key)
            .unwrap_or_else(|| Section::new(self.problems, self.path_of(key), self.at.clone(), &EMPTY, keys))
    }

    /// The section below, if it is there.
    pub fn given_section(&self, key: &'static str) -> Option<Section<'a>> {
        let keys = self.keys_of(key);
        let entry = self.table.get(key)?;
        let field = Field::new(self.problems, self.path_of(key), &entry.node);
        field.section_at(entry.key_at.clone(), keys)
    }

    fn keys_of(&self, key: &'static str) -> &'static Keys {
        let keys = self.key(key).and_then(|key| key.kind.section());
        debug_assert!(keys.is_some(), "[{}] {key} is no section", self.keys.path);
        keys.unwrap_or(&ROOT)
    }

    /// The sections below, which the user has named.
    pub fn named_sections(&self, key: &'static str) -> Vec<(&'a str, Section<'a>)> {
        let keys = self.keys_of(key);
        let Some(below) = self.given_section(key) else { return Vec::new() };
        let of_file = below.table.entries.iter().filter(|entry| matches!(entry.key_at, At::File(_)));
        let of_file: Vec<&str> = of_file.map(|entry| entry.key.as_str()).collect();
        let section = |(entry, field): (&'a Entry, Field<'a>)| {
            let section = field.section_at(entry.key_at.clone(), keys)?;
            let by_variable = matches!(entry.key_at, At::Variable(_));
            let meant = if by_variable { nearest(&entry.key, of_file.iter().copied()) } else { None };
            Some((entry.key.as_str(), Section { meant, ..section }))
        };
        below.into_entries().filter_map(section).collect()
    }

    /// All keys, whatever their names are.
    pub fn into_entries(self) -> impl Iterator<Item = (&'a Entry, Field<'a>)> {
        let table = self.table;
        table.entries.iter().map(move |entry| (entry, Field::new(self.problems, self.path_of(&entry.key), &entry.node)))
    }

    /// Notes keys that contradict each other (paths relative to this section, the likeliest culprit first), unless
    /// the culprit was told of already, or the value of one of them can't be used anyway.
    pub fn contradiction(&self, keys: &[&str], message: String, help: Option<String>) {
        let paths: Vec<String> = keys.iter().map(|key| format!("{}.{key}", self.path)).collect();
        let told = paths.first().is_some_and(|culprit| self.problems.is_bad(culprit));
        if told || paths.iter().any(|path| self.problems.is_unusable(path)) {
            return;
        }
        let given = keys.iter().zip(&paths).find_map(|(key, path)| Some((self.find(key)?.clone(), path)));
        let fallback = paths.first().map_or(self.path.as_str(), |path| path.as_str());
        match given {
            Some((at, path)) => self.problems.add_contradiction(at, path, message, help),
            None => self.problems.add_contradiction(self.at.clone(), fallback, message, help),
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
    pub fn contradiction_within(&self, paths: &[Vec<&str>], message: String, help: Option<String>) {
        let Some(path) = paths.iter().find(|path| self.find_parts(path).is_some()) else { return };
        let shown = path.iter().fold(String::new(), |shown, part| join(&shown, part));
        if let Some(at) = self.find_parts(path).filter(|_| !self.problems.is_bad(&shown)) {
            self.problems.add_contradiction(at.clone(), &shown, message, help);
        }
    }

    /// Whether a key stands there; `path`: relative to this section.
    pub fn is_given(&self, path: &str) -> bool {
        self.find(path).is_some()
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

    /// Ends the reading: what the table of keys doesn't have is unknown.
    pub fn finish(self) {
        for entry in &self.table.entries {
            let message = match self.keys.get(&entry.key).map(|key| &key.kind) {
                Some(Kind::Later) => "not available in this version",
                Some(_) => continue,
                None => "unknown key",
            };
            let help = (message == "unknown key").then(|| self.home_or_known(entry)).flatten();
            self.problems.add(entry.key_at.clone(), &self.path_of(&entry.key), message, help);
        }
        let asked = self.asked.into_inner();
        let forgotten = self.keys.names().find(|name| !asked.contains(name));
        debug_assert!(forgotten.is_none(), "[{}]: nobody reads {forgotten:?}", self.keys.path);
    }

    /// What to do about an unknown key. Its value is shown only where what was meant is surely no secret.
    fn home_or_known(&self, entry: &Entry) -> Option<String> {
        if let Some((section, key)) = self.home(&entry.key) {
            if !key.kind.is_secret() {
                self.problems.may_show(&entry.node.at);
            }
            return Some(format!("it belongs in [{section}]"));
        }
        if let Some((section, key)) = self.inside(&entry.key) {
            return Some(match &entry.key_at {
                At::Variable(_) => format!("two underscores stand between `{section}` and `{key}`"),
                At::File(_) | At::Whole => format!("`{key}` belongs in [{}]", self.path_of(section)),
            });
        }
        let typed = entry.key.to_lowercase();
        if let Some((_, ours)) =
            NAMES_ELSEWHERE.iter().find(|(name, ours)| *name == typed && self.keys.get(ours).is_some())
        {
            return Some(format!("did you mean `{ours}`?"));
        }
        if let Some(url) = self.keys.get("url") {
            if PARTS_OF_ADDRESS.contains(&typed.as_str()) {
                return Some(format!("it is part of `url`, as in {}", url.example));
            }
            if typed == "sslmode" || typed == "ssl_mode" {
                return Some("it is a parameter of `url`: ?sslmode=… in PostgreSQL, ?ssl-mode=… in MySQL".to_owned());
            }
        }
        let Some(near) = nearest(&entry.key, self.keys.names()) else {
            return Some(format!("known here: {}", self.keys.names().collect::<Vec<_>>().join(", ")));
        };
        if !adds_a_word(&entry.key, near) && self.keys.get(near).is_some_and(|key| !key.kind.is_secret()) {
            self.problems.may_show(&entry.node.at);
        }
        Some(format!("did you mean `{near}`?"))
    }

    /// The section and the key that a name such as `batch_max_rows` means.
    fn inside<'n>(&self, name: &'n str) -> Option<(&'static str, &'n str)> {
        let sections = self.keys.keys.iter().filter_map(|key| Some((key.name, key.kind.section()?)));
        let mut inside = sections.filter_map(|(section, keys)| {
            let key = name.strip_prefix(section)?.strip_prefix('_')?;
            keys.get(key).map(|_| (section, key))
        });
        inside.next()
    }

    /// The only other section that has a key of this name, if it is one.
    fn home(&self, name: &str) -> Option<(String, &'static Key)> {
        // Inside columns and bindings, nobody looks for a section's key.
        let inner = |keys: &&Keys| std::ptr::eq(*keys, &COLUMN) || std::ptr::eq(*keys, &BINDING);
        let sections = ROOT.sections().into_iter().filter(|keys| !keys.path.is_empty() && !inner(keys));
        let mut homes = sections.filter_map(|keys| Some((keys, keys.get(name)?)));
        let (Some((keys, key)), None) = (homes.next(), homes.next()) else { return None };
        if matches!(key.kind, Kind::Later) {
            return None;
        }
        // The user's own name, where this is about the same thing.
        let mut named = self.path.split('.');
        let path = match (self.keys.path.starts_with("pipelines."), named.next(), named.next()) {
            (true, Some(_), Some(name)) => keys.path.replace("NAME", name),
            _ => keys.path.to_owned(),
        };
        Some((path, key))
    }
}

/// Keys that other programs have where ours has one address.
const PARTS_OF_ADDRESS: [&str; 10] =
    ["host", "hostname", "hosts", "port", "vhost", "virtual_host", "database", "dbname", "db", "name"];

/// What other programs call it, where that is nothing like our name.
const NAMES_ELSEWHERE: [(&str, &str); 9] = [
    ("user", "username"),
    ("pass", "password"),
    ("pwd", "password"),
    ("dsn", "url"),
    ("pool_size", "max_connections"),
    ("dlq", "dead_letter"),
    ("dlx", "dead_letter"),
    ("batch_size", "batch"),
    ("concurrency", "consumers"),
];

/// The reader and the table of keys disagree: a mistake in the code, which every test of a config finds.
fn not_of_this_kind<T>(key: &str) -> Option<T> {
    debug_assert!(false, "{key} is of another kind");
    None
}
