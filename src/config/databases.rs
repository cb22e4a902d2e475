//! `[database]` and `[databases.*]`.

use std::collections::BTreeMap;

use url::Url;

use super::credentials::{Credentials, Fresh};
use super::problems::nearest;
use super::reader::Section;
use super::secrets::{
    ENCODED, Login, has_fragment, kept_here, kept_in_file, read_tls, refuse_tls, scheme, unknown_parameter,
    without_scheme,
};
use super::{Database, DatabaseKind, Secret, names};

/// What is written to where the config names no database at all.
const DEFAULT_URL: &str = "sqlite://rabbit-sink.db";

/// All databases by name.
pub(super) fn read(root: &Section<'_>) -> BTreeMap<String, Database> {
    let mut databases = BTreeMap::new();
    let default = root.given_section("database");
    for (name, section) in root.named_sections("databases") {
        names::check(root, "databases", name);
        if name == "default" && default.is_some() {
            let message = "[database] is the database \"default\" already: keep one of them";
            root.wrong_name("databases", name, message);
        }
        databases.insert(name.to_owned(), database(name, section));
    }
    if let Some(section) = default {
        databases.insert("default".to_owned(), database("default", section));
    } else if databases.is_empty() && !root.has("databases") {
        let section = root.section("database");
        let address = Some((DatabaseKind::Sqlite, DEFAULT_URL.to_owned()));
        databases.insert("default".to_owned(), settings("default", &section, address));
    }
    databases
}

fn database(name: &str, section: Section<'_>) -> Database {
    let (login, mut credentials) = Login::read(&section);
    let address = address(&section, &login, &mut credentials);
    let is_sqlite = matches!(address, Some((DatabaseKind::Sqlite, _)));
    let database = Database { credentials, ..settings(name, &section, address) };
    if is_sqlite {
        refuse_tls(&section, &database.tls, "SQLite is a file, not a server");
        for key in ["username", "password", "password_file"] {
            if section.has(key) {
                section.contradiction(&[key], "no use for it: SQLite is a file and knows no users".into(), None);
            }
        }
    }
    section.finish();
    database
}

fn settings(name: &str, section: &Section<'_>, address: Option<(DatabaseKind, String)>) -> Database {
    let (kind, url) = address.unwrap_or((DatabaseKind::Sqlite, String::new()));
    Database {
        name: name.to_owned(),
        kind,
        url: Secret::new(url),
        max_connections: section.integer("max_connections").and_then(|count| u32::try_from(count).ok()),
        connect_timeout: section.duration("connect_timeout"),
        statement_timeout: section.duration("statement_timeout"),
        lock_timeout: section.duration("lock_timeout"),
        application_name: section.text("application_name").unwrap_or_default(),
        on_connect: section.texts("on_connect"),
        tls: read_tls(section),
        ledger_table: names::table(section, "ledger_table"),
        ledger_keep: section.duration("ledger_keep"),
        credentials: Credentials::default(),
    }
}

impl Database {
    /// The ledger is in the same place, whoever logs in.
    pub fn is_same_place(&self, other: &Database) -> bool {
        let place = |url: &Secret| {
            let url = Url::parse(url.reveal()).ok()?;
            let login = |name: &str| matches!(name, "user" | "password");
            let query: Vec<(String, String)> =
                url.query_pairs().into_owned().filter(|(name, _)| !login(name)).collect();
            Some((url.host_str().map(str::to_owned), url.port(), url.path().to_owned(), query))
        };
        self.kind == other.kind && self.ledger_table == other.ledger_table && place(&self.url) == place(&other.url)
    }

    /// With URL and password as their files have them now.
    pub fn fresh(&self) -> Fresh<Database> {
        Fresh::of(self, &self.credentials, || {
            let login = self.credentials.login()?;
            let text = self.credentials.addresses()?.into_iter().next().unwrap_or_default();
            let told = |(message, _): Refusal| format!("what stands in url_file now can't be used: {message}");
            let kind = kind_of(&text).map_err(told)?;
            if kind != self.kind {
                return Err("url_file names another kind of database now".to_owned());
            }
            let url = Secret::new(checked(kind, &text, &login).map_err(told)?);
            Ok(Database { url, ..self.clone() })
        })
    }
}

fn address(section: &Section<'_>, login: &Login, credentials: &mut Credentials) -> Option<(DatabaseKind, String)> {
    let Some((key, field)) = section.one_of(&["url", "url_file"]) else {
        let help = "as in postgres://USER@HOST/DATABASE, mysql://USER@HOST/DATABASE or sqlite://FILE";
        section.missing("url", "missing; expected `url` or `url_file`", Some(help.to_owned()));
        return None;
    };
    let (text, kept) = if key == "url" { kept_here(&field)? } else { kept_in_file(&field)? };
    credentials.urls = vec![kept];
    let refused = |(message, help): Refusal| field.wrong(message, help);
    let kind = kind_of(&text).map_err(refused).ok()?;
    // What contradicts the kind of database can be told, whatever else is wrong with the address.
    Some((kind, checked(kind, &text, login).map_err(refused).unwrap_or_default()))
}

type Refusal = (String, Option<String>);

fn kind_of(text: &str) -> Result<DatabaseKind, Refusal> {
    let expected = "expected an address that begins with postgres://, mysql:// or sqlite://";
    let (kind, built, feature) = match scheme(text) {
        Some("postgres" | "postgresql") => (DatabaseKind::Postgres, cfg!(feature = "postgres"), "postgres"),
        Some("mysql" | "mariadb") => (DatabaseKind::Mysql, cfg!(feature = "mysql"), "mysql"),
        Some("sqlite") => (DatabaseKind::Sqlite, cfg!(feature = "sqlite"), "sqlite"),
        Some(other) => {
            let near = nearest(other, ["postgres", "postgresql", "mysql", "mariadb", "sqlite"]);
            return Err((format!("{expected}; found {other}://"), near.map(|near| format!("did you mean {near}://?"))));
        }
        None if text.starts_with("sqlite:") => {
            return Err((format!("{expected}; found sqlite: without //"), Some("write sqlite://FILE".into())));
        }
        None => return Err((format!("{expected}; found {}", without_scheme(text)), None)),
    };
    if built {
        Ok(kind)
    } else {
        Err((format!("this build has no {feature}"), Some(format!("build it with --features {feature}"))))
    }
}

const POSTGRES_PARAMETERS: [&str; 15] = [
    "sslmode",
    "ssl-mode",
    "sslrootcert",
    "ssl-root-cert",
    "ssl-ca",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
    "statement-cache-capacity",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "options",
];

const MYSQL_PARAMETERS: [&str; 11] = [
    "sslmode",
    "ssl-mode",
    "sslca",
    "ssl-ca",
    "charset",
    "collation",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
    "socket",
];

fn checked(kind: DatabaseKind, text: &str, login: &Login) -> Result<String, Refusal> {
    let known: &[&str] = match kind {
        DatabaseKind::Sqlite => return checked_sqlite(text),
        DatabaseKind::Postgres => &[&POSTGRES_PARAMETERS[..], &["user", "password"]].concat(),
        DatabaseKind::Mysql => {
            &[&MYSQL_PARAMETERS[..], &["statement-cache-capacity", "timezone", "time-zone"]].concat()
        }
    };
    let encoded = || Some(ENCODED.to_owned());
    let expected = "expected SCHEME://USER:PASSWORD@HOST:PORT/DATABASE";
    let mut url =
        Url::parse(text).map_err(|error| (format!("{expected}; found an address with {error}"), encoded()))?;
    if has_fragment(&url) {
        return Err((format!("{expected}; found a `#` in it, which ends it"), encoded()));
    }
    if let Some(name) = unknown_parameter(&url, known) {
        let help = nearest(&name, known.iter().copied()).map(|near| format!("did you mean {near:?}?"));
        return Err((format!("the URL has a parameter that isn't known: {name:?}"), help));
    }
    if !login.is_empty() && !login.put_into(&mut url) {
        if kind == DatabaseKind::Mysql {
            return Err(("the URL has no host, so the user name and password have no place in it".into(), None));
        }
        // A Unix socket: postgres:///database?host=/run/postgresql
        let mut query = url.query_pairs_mut();
        for (name, value) in [("user", &login.username), ("password", &login.password)] {
            if let Some(value) = value {
                query.append_pair(name, value);
            }
        }
    }
    Ok(url.into())
}

fn checked_sqlite(text: &str) -> Result<String, Refusal> {
    let (path, query) = text.split_once('?').unwrap_or((text, ""));
    let file = path.strip_prefix("sqlite://").unwrap_or_default();
    if file == ":memory:" || query.split('&').any(|parameter| parameter == "mode=memory") {
        let message = "a database in memory would be gone with the worker, and the messages with it: name a file";
        return Err((message.into(), None));
    }
    if file.is_empty() {
        return Err(("expected sqlite://FILE, found no file".into(), None));
    }
    Ok(text.to_owned())
}
