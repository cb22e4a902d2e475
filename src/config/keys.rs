//! Every key of the config: name, kind, range, default, meaning and an example stand here and nowhere else. The
//! reader asks this table what a key may be, and the JSON Schema and docs/config.md are written from it.

use std::time::Duration;

mod kinds;
mod pipelines;
mod servers;

pub use kinds::{Absent, Kind};
pub(super) use pipelines::{ALL, BINDING, COLUMN, PIPELINE};

use servers::{ADMIN, BROKER, DATABASE, TRACES, WORKER};

/// The keys of a section.
#[derive(Debug)]
pub struct Keys {
    /// As headings name it, with NAME for what the user chooses: `pipelines.NAME.batch`.
    pub path: &'static str,
    /// What the section is for.
    pub about: &'static str,
    /// In the order of the documentation.
    pub keys: &'static [Key],
    /// Keys of which only one may be given.
    pub exclusive: &'static [&'static [&'static str]],
}

/// One key.
#[derive(Debug)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// What its value may be.
    pub kind: Kind,
    /// What holds where it is left out.
    pub absent: Absent,
    /// What it means, and why one would change it. Markdown.
    pub about: &'static str,
    /// A value as it stands in TOML.
    pub example: &'static str,
}

/// Everything.
pub static ROOT: Keys = Keys {
    path: "",
    about: "The config of rabbit-sink: one TOML file. Environment variables `RABBIT_SINK__SECTION__KEY` set keys \
            over it, and `${NAME}` in its texts stands for a variable.",
    keys: &[
        below("worker", &WORKER),
        below("admin", &ADMIN),
        below("traces", &TRACES),
        below("rabbitmq", &BROKER),
        named("brokers", &BROKER),
        below("database", &DATABASE),
        named("databases", &DATABASE),
        named("pipelines", &PIPELINE),
    ],
    exclusive: &[],
};

const fn key(name: &'static str, kind: Kind, absent: Absent, about: &'static str, example: &'static str) -> Key {
    Key { name, kind, absent, about, example }
}

/// A section of a fixed name.
const fn below(name: &'static str, keys: &'static Keys) -> Key {
    key(name, Kind::Section(keys), Absent::Nothing, keys.about, "")
}

/// Sections that the user names.
const fn named(name: &'static str, keys: &'static Keys) -> Key {
    key(name, Kind::Sections(keys), Absent::Nothing, keys.about, "")
}

/// A key that a later version will have.
const fn later(name: &'static str) -> Key {
    key(name, Kind::Later, Absent::Nothing, "", "")
}

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const GIB: u64 = 1 << 30;

const fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

const fn days(count: u64) -> Duration {
    Duration::from_secs(count * 86_400)
}

impl Keys {
    /// The key of this name.
    pub fn get(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }

    /// The names of the keys that this version has.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.keys.iter().filter(|key| !matches!(key.kind, Kind::Later)).map(|key| key.name)
    }

    /// How such a section looks, for who wrote something else; `name`: its own.
    pub(super) fn as_in(&self, name: &str) -> Option<String> {
        if std::ptr::eq(self, &COLUMN) {
            return Some(format!("as in {name} = {{ order_id = \"/order_id\" }}"));
        }
        let key = self.get("queue").or_else(|| self.keys.iter().find(|key| !key.example.is_empty()))?;
        Some(format!("as in {name} = {{ {} = {} }}", key.name, key.example))
    }

    /// The sections in it, at all levels, itself first. Sections of one kind come once.
    pub fn sections(&'static self) -> Vec<&'static Keys> {
        let mut all = vec![self];
        for key in self.keys {
            if let Some(below) = key.kind.section() {
                for keys in below.sections() {
                    if !all.iter().any(|known| std::ptr::eq(*known, keys)) {
                        all.push(keys);
                    }
                }
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_section_is_found_once() {
        let paths: Vec<&str> = ROOT.sections().iter().map(|keys| keys.path).collect();
        let expected = [
            "",
            "worker",
            "admin",
            "traces",
            "rabbitmq",
            "database",
            "pipelines.NAME",
            "pipelines.NAME.declare",
            "pipelines.NAME.declare.bind",
            "pipelines.NAME.columns",
            "pipelines.NAME.batch",
            "pipelines.NAME.limits",
            "pipelines.NAME.retry",
            "pipelines.NAME.storm",
            "pipelines.NAME.dead_letter",
        ];
        assert_eq!(paths, expected);
    }

    #[test]
    fn every_key_stands_once_and_says_what_it_means() {
        for keys in ROOT.sections() {
            for (at, key) in keys.keys.iter().enumerate() {
                let place = format!("[{}] {}", keys.path, key.name);
                assert!(!keys.keys[..at].iter().any(|other| other.name == key.name), "{place} stands twice");
                if matches!(key.kind, Kind::Later) {
                    continue;
                }
                assert!(key.about.len() > 10 && key.about.ends_with(['.', '…']), "{place}: {}", key.about);
                let value = key.kind.section().is_none();
                assert_eq!(value, !key.example.is_empty(), "{place}: an example, unless it is a section");
            }
            for name in keys.exclusive.iter().copied().flatten() {
                assert!(keys.get(name).is_some(), "[{}] has no {name}", keys.path);
            }
        }
    }
}
