//! `[rabbitmq]` and `[brokers.*]`.

use std::collections::BTreeMap;

use url::{Host, Url};

use super::credentials::{Credentials, Fresh, Kept};
use super::field::Field;
use super::problems::nearest;
use super::reader::Section;
use super::secrets::{
    ENCODED, Login, has_fragment, kept_here, kept_in_file, read_tls, refuse_tls, scheme, unknown_parameter,
    without_scheme,
};
use super::{Broker, Secret};

/// What is connected to where the config names no broker at all.
const DEFAULT_URL: &str = "amqp://guest:guest@127.0.0.1:5672/%2f";

/// All brokers by name.
pub(super) fn read(root: &Section<'_>) -> BTreeMap<String, Broker> {
    let mut brokers = BTreeMap::new();
    let default = root.given_section("rabbitmq");
    for (name, section) in root.named_sections("brokers") {
        super::names::check(root, "brokers", name);
        if name == "default" && default.is_some() {
            let message = "[rabbitmq] is the broker \"default\" already: keep one of them";
            root.wrong_name("brokers", name, message);
        }
        brokers.insert(name.to_owned(), broker(name, section));
    }
    if let Some(section) = default {
        brokers.insert("default".to_owned(), broker("default", section));
    } else if brokers.is_empty() && !root.has("brokers") {
        brokers.insert("default".to_owned(), broker_without_section(root));
    }
    brokers
}

fn broker_without_section(root: &Section<'_>) -> Broker {
    let section = root.section("rabbitmq");
    Broker { urls: vec![Secret::new(DEFAULT_URL)], ..settings("default", &section) }
}

fn broker(name: &str, section: Section<'_>) -> Broker {
    let (login, mut credentials) = Login::read(&section);
    let urls = urls(&section, &login, &mut credentials);
    let mut broker = settings(name, &section);
    broker.management_url = management_url(&section, &login, urls.first(), &mut credentials);
    broker.credentials = credentials;
    if !urls.is_empty() && urls.iter().all(|url| url.scheme() == "amqp") {
        refuse_tls(&section, &broker.tls, "the URL says amqp://, which is not encrypted; write amqps://");
    }
    let external = |url: &Url| url.query_pairs().any(|(name, value)| name == "auth_mechanism" && value == "external");
    if broker.tls.cert_file.is_none() && urls.iter().any(external) {
        section.contradiction(
            &["url", "urls", "url_file"],
            "auth_mechanism=external needs cert_file and key_file".into(),
            None,
        );
    }
    broker.urls = urls.into_iter().map(Secret::new).collect();
    section.finish();
    broker
}

/// Everything but the addresses.
fn settings(name: &str, section: &Section<'_>) -> Broker {
    Broker {
        name: name.to_owned(),
        urls: Vec::new(),
        heartbeat: section.duration("heartbeat"),
        connect_timeout: section.duration("connect_timeout"),
        consumer_timeout: section.duration("consumer_timeout"),
        tls: read_tls(section),
        connection_name: section.text("connection_name"),
        management_url: None,
        credentials: Credentials::default(),
    }
}

impl Broker {
    /// With URLs and passwords as their files have them now.
    pub fn fresh(&self) -> Fresh<Broker> {
        Fresh::of(self, &self.credentials, || {
            let login = self.credentials.login()?;
            let address = |text: &String| {
                address(text, &login)
                    .map_err(|(message, _)| format!("what stands in url_file now can't be used: {message}"))
            };
            let urls = self.credentials.addresses()?.iter().map(address).collect::<Result<Vec<Url>, String>>()?;
            let managed = |text: String| {
                managed(&text, &login, urls.first())
                    .map_err(|(message, _)| format!("what stands in management_url_file now can't be used: {message}"))
            };
            let management_url = self.credentials.management()?.map(managed).transpose()?;
            let urls = urls.into_iter().map(Secret::new).collect();
            Ok(Broker { urls, management_url: management_url.map(Secret::new), ..self.clone() })
        })
    }
}

fn urls(section: &Section<'_>, login: &Login, credentials: &mut Credentials) -> Vec<Url> {
    let expected = "missing; expected `url`, `urls` or `url_file`";
    let given: Vec<(Field<'_>, (String, Kept))> = match section.one_of(&["url", "urls", "url_file"]) {
        Some(("url", field)) => kept_here(&field).map(|given| (field, given)).into_iter().collect(),
        Some(("urls", field)) => {
            let items = field.list().unwrap_or_default();
            if items.is_empty() && !section.problems().is_bad(&section.path_of("urls")) {
                field.wrong("expected at least one address, found none", None);
            }
            items.into_iter().filter_map(|item| kept_here(&item).map(|given| (item, given))).collect()
        }
        Some((_, field)) => kept_in_file(&field).map(|given| (field, given)).into_iter().collect(),
        None => {
            section.missing("url", expected, Some(format!("a local broker is {DEFAULT_URL}")));
            Vec::new()
        }
    };
    let mut urls = Vec::new();
    for (field, (text, kept)) in given {
        credentials.urls.push(kept);
        match address(&text, login) {
            Ok(url) => urls.push(url),
            Err((message, help)) => field.wrong(message, help),
        }
    }
    urls
}

/// Ways to log in: by password, the same in another form, and by the certificate of the connection.
const MECHANISMS: [&str; 3] = ["plain", "amqplain", "external"];

type Refusal = (String, Option<String>);

/// A URL that the client library understands as it is meant.
fn address(text: &str, login: &Login) -> Result<Url, Refusal> {
    let expected = "expected amqp://USER:PASSWORD@HOST:PORT/VHOST, or amqps:// for TLS";
    match scheme(text) {
        Some("amqp" | "amqps") => {}
        Some(other) => {
            let near = nearest(other, ["amqp", "amqps"]).map(|near| format!("did you mean {near}://?"));
            return Err((format!("{expected}; found {other}://"), near));
        }
        None => return Err((format!("{expected}; found {}", without_scheme(text)), None)),
    }
    let encoded = || Some(ENCODED.to_owned());
    let mut url =
        Url::parse(text).map_err(|error| (format!("{expected}; found an address with {error}"), encoded()))?;
    if has_fragment(&url) {
        return Err((format!("{expected}; found a `#` in it, which ends it"), encoded()));
    }
    match url.host() {
        Some(Host::Domain(host)) if !host.is_empty() => {}
        // The library would connect to "localhost" instead, with our password.
        Some(Host::Ipv6(_)) => {
            let message = "an IPv6 address can't stand in an AMQP URL: give the broker a host name";
            return Err((message.into(), Some("an entry in /etc/hosts will do".into())));
        }
        _ => return Err((format!("{expected}; found no host"), None)),
    }
    if let Some(name) = unknown_parameter(&url, &["frame_max", "channel_max", "auth_mechanism"]) {
        let message = format!("the URL has a parameter that isn't known: {name:?}");
        let key = match name.as_str() {
            "heartbeat" => Some("write heartbeat = \"…s\" beside the URL instead".to_owned()),
            "connection_timeout" => Some("write connect_timeout = \"…s\" beside the URL instead".to_owned()),
            _ => Some("known: frame_max, channel_max, auth_mechanism".to_owned()),
        };
        return Err((message, key));
    }
    parameters(&url)?;
    if !login.put_into(&mut url) {
        return Err(("can't take the user name and password".into(), None));
    }
    // The library takes a lone slash for the virtual host "", which nobody has; everyone means "/".
    if matches!(url.path(), "" | "/") {
        url.set_path("/%2f");
    }
    Ok(url)
}

/// What the parameters of a URL say.
fn parameters(url: &Url) -> Result<(), Refusal> {
    for (name, value) in url.query_pairs() {
        let (fits, expected) = match &*name {
            "frame_max" => {
                let bytes = value.parse::<u32>();
                (bytes.is_ok_and(|bytes| bytes == 0 || bytes >= 4096), "bytes, at least 4096 (0: as the broker wants)")
            }
            "channel_max" => (value.parse::<u16>().is_ok(), "a whole number, at most 65535 (0: as the broker wants)"),
            _ => (MECHANISMS.contains(&&*value), "plain, amqplain or external"),
        };
        if !fits {
            return Err((format!("the URL's {name}: expected {expected}"), None));
        }
        if value == "external" && url.scheme() == "amqp" {
            return Err(("auth_mechanism=external logs in by a certificate, which needs amqps://".into(), None));
        }
    }
    Ok(())
}

/// `management_url`.
fn management_url(
    section: &Section<'_>,
    login: &Login,
    first: Option<&Url>,
    credentials: &mut Credentials,
) -> Option<Secret> {
    let (key, field) = section.one_of(&["management_url", "management_url_file"])?;
    let (text, kept) = if key == "management_url" { kept_here(&field)? } else { kept_in_file(&field)? };
    credentials.management_url = Some(kept);
    match managed(&text, login, first) {
        Ok(url) => Some(Secret::new(url)),
        Err((message, help)) => {
            field.wrong(message, help);
            None
        }
    }
}

/// The HTTP API's address. Without a login of its own it gets the broker's.
fn managed(text: &str, login: &Login, first: Option<&Url>) -> Result<Url, Refusal> {
    let url = match scheme(text) {
        Some("http" | "https") => Url::parse(text).ok().filter(Url::has_host),
        _ => None,
    };
    let expected = "expected the address of RabbitMQ's HTTP API";
    let mut url = url.ok_or_else(|| (format!("{expected}, as in http://HOST:15672"), None))?;
    if has_fragment(&url) {
        return Err((format!("{expected}; found a `#` in it, which ends it"), Some(ENCODED.to_owned())));
    }
    if url.username().is_empty() {
        if let Some(first) = first {
            // Encoded already; these setters leave `%` alone.
            let user = url.set_username(first.username());
            let password = url.set_password(first.password());
            if user.is_err() || password.is_err() {
                return Err(("can't take the broker's user name and password".to_owned(), None));
            }
        } else if !login.put_into(&mut url) {
            return Err(("can't take the user name and password".to_owned(), None));
        }
    }
    Ok(url)
}
