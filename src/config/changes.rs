//! What a new config changes of one that is in use.

use super::{Admin, Config};

/// Pipelines by what becomes of them, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// New ones.
    pub added: Vec<String>,
    /// Those that are gone.
    pub removed: Vec<String>,
    /// Those whose own section, broker or database isn't what it was: secrets and certificates in files count as
    /// their content.
    pub changed: Vec<String>,
    /// Those that go on as they are.
    pub kept: Vec<String>,
}

impl Changes {
    /// From one config to the next.
    pub fn between(old: &Config, new: &Config) -> Self {
        let mut changes = Changes::default();
        for name in new.pipelines.keys() {
            let place = match old.pipelines.contains_key(name) {
                false => &mut changes.added,
                true if is_same(old, new, name) => &mut changes.kept,
                true => &mut changes.changed,
            };
            place.push(name.clone());
        }
        changes.removed = old.pipelines.keys().filter(|name| !new.pipelines.contains_key(*name)).cloned().collect();
        changes
    }
}

fn is_same(old: &Config, new: &Config, name: &str) -> bool {
    let (Some(before), Some(after)) = (old.pipelines.get(name), new.pipelines.get(name)) else { return false };
    before == after
        && old.brokers.get(&before.broker) == new.brokers.get(&after.broker)
        && old.databases.get(&before.database) == new.databases.get(&after.database)
}

/// What differs of that which a process can't change while it runs, as keys of the config.
pub fn needs_restart(started: &Config, now: &Config) -> Vec<&'static str> {
    // What the others hold is followed: pipelines by `Changes`, the rest by who asks for it each time.
    let Config { admin, traces, worker: _, brokers: _, databases: _, pipelines: _ } = started;
    let Admin { listen, socket, socket_is_given: _, token: _ } = admin;
    let parts = [
        ("[admin] listen", *listen != now.admin.listen),
        ("[admin] socket", *socket != now.admin.socket),
        ("[traces]", *traces != now.traces),
    ];
    parts.into_iter().filter(|(_, differs)| *differs).map(|(key, _)| key).collect()
}

/// As a line of the log.
impl std::fmt::Display for Changes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let parts = [("started", &self.added), ("ended", &self.removed), ("restarted", &self.changed)];
        let mut told = parts.iter().filter(|(_, names)| !names.is_empty()).peekable();
        if told.peek().is_none() {
            return f.write_str("no pipeline has changed");
        }
        for (at, (what, names)) in told.enumerate() {
            write!(f, "{}{what}: {}", if at == 0 { "" } else { "; " }, names.join(", "))?;
        }
        if !self.kept.is_empty() {
            write!(f, "; unchanged: {}", self.kept.len())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load_str;

    const TEXT: &str = "[brokers.a]\nurl = \"amqp://a\"\n[brokers.b]\nurl = \"amqp://b\"\n[database]\nurl = \"sqlite://x.db\"\n\
                        [databases.y]\nurl = \"sqlite://y.db\"\n[pipelines.one]\nqueue = \"q\"\ntable = \"t\"\nbroker = \"a\"\n\
                        [pipelines.two]\nqueue = \"r\"\ntable = \"t\"\nbroker = \"b\"\ndatabase = \"y\"\n";

    fn changes(from: &str, to: &str) -> Changes {
        Changes::between(&load_str("a", from, &[]).unwrap(), &load_str("b", to, &[]).unwrap())
    }

    #[test]
    fn only_what_a_pipeline_uses_changes_it() {
        for (from, to, changed) in [
            ("# nothing", "# a comment", [].as_slice()),
            ("queue = \"q\"", "queue = \"s\"", &["one"]),
            ("amqp://b", "amqp://c", &["two"]),
            ("sqlite://x.db", "sqlite://z.db", &["one"]),
            ("sqlite://y.db\"", "sqlite://y.db\"\nlock_timeout = \"1s\"", &["two"]),
            ("[brokers.a]", "[worker]\nshutdown_timeout = \"1s\"\n[brokers.a]", &[]),
        ] {
            let text = format!("# nothing\n{TEXT}");
            assert!(text.contains(from));
            let found = changes(&text, &text.replacen(from, to, 1));
            assert_eq!(found.changed, changed, "{from} → {to}");
            assert_eq!(found.kept.len() + changed.len(), 2);
        }
    }

    #[test]
    fn pipelines_come_and_go() {
        let renamed = TEXT.replace("[pipelines.one]", "[pipelines.three]");
        let found = changes(TEXT, &renamed);
        assert_eq!(
            (found.added, found.removed, found.kept),
            (vec!["three".into()], vec!["one".into()], vec!["two".into()])
        );
    }

    #[test]
    fn the_line_names_them() {
        let found = changes(TEXT, &TEXT.replace("[pipelines.one]", "[pipelines.three]").replace("\"r\"", "\"s\""));
        assert_eq!(found.to_string(), "started: three; ended: one; restarted: two");
        assert_eq!(changes(TEXT, TEXT).to_string(), "no pipeline has changed");
        assert_eq!(changes(TEXT, &TEXT.replace("\"r\"", "\"s\"")).to_string(), "restarted: two; unchanged: 1");
    }

    #[test]
    fn what_needs_a_restart_is_named() {
        let of = |admin: &str| {
            let with = |admin: &str| load_str("a", &format!("[admin]\n{admin}\n{TEXT}"), &[]).unwrap();
            needs_restart(&with("listen = \"127.0.0.1:1\""), &with(admin))
        };
        assert_eq!(of("listen = \"127.0.0.1:1\"\ntoken = \"0123456789abcdef\""), [""; 0]);
        assert_eq!(of("listen = \"127.0.0.1:2\"\nsocket = \"@rabbit-sink/127.0.0.1:1\""), ["[admin] listen"]);
        assert_eq!(of("listen = \"127.0.0.1:1\"\nsocket = \"off\""), ["[admin] socket"]);
        assert_eq!(of("listen = \"127.0.0.1:2\""), ["[admin] listen", "[admin] socket"]);
    }
}
