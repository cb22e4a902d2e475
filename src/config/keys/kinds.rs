//! What a value may be, and how that is said to people.

use std::time::Duration;

use super::Keys;
use crate::config::units::{show_bytes, show_duration};

/// What a key's value may be.
#[derive(Debug)]
pub enum Kind {
    /// Any text; what is expected, for messages.
    Text(&'static str),
    /// A name in AMQP, 1 to 255 bytes; what is expected.
    Name(&'static str),
    /// A text that is never shown.
    Secret,
    /// An address with one of these schemes. It may hold a password, so it is never shown.
    Url(&'static [&'static str]),
    /// The path of a file with a secret.
    SecretFile,
    /// The path of a PEM file.
    PemFile,
    /// `true` or `false`.
    Flag,
    /// A whole number in this range.
    Integer(i64, i64),
    /// A number above 0 and at most 1.
    Share,
    /// A duration in this range.
    Duration(Duration, Duration),
    /// Bytes, in this range.
    Size(u64, u64),
    /// One of a few words.
    Choice {
        /// The words.
        now: &'static [&'static str],
        /// Words that a later version will have.
        later: &'static [&'static str],
        /// Or `column:NAME`.
        or_column: bool,
    },
    /// A table's name, with its schema or without.
    Table,
    /// An IP address with a port, or "off".
    Listen,
    /// A Unix socket: a path, "@NAME" or "off".
    Socket,
    /// A place in a message that a column is filled from.
    Place,
    /// A list of places of the message ID, and of `{ all = […] }`.
    IdPlaces,
    /// A text, a number, a boolean or a date.
    Constant,
    /// A time zone.
    Zone,
    /// The name of a section below this key of the root.
    Reference(&'static str),
    /// A list of values of one kind; what they are called.
    List(&'static Kind, &'static str),
    /// A section.
    Section(&'static Keys),
    /// Sections that the user names.
    Sections(&'static Keys),
    /// Columns: a place each, or a section of these keys.
    Columns(&'static Keys),
    /// A list of tables with these keys.
    Tables(&'static Keys),
    /// A key that a later version will have.
    Later,
}

/// What holds where a key is left out.
#[derive(Clone, Copy, Debug)]
pub enum Absent {
    /// Nothing is set.
    Nothing,
    /// It may not be left out.
    Required,
    /// This value, as it stands in TOML.
    Is(&'static str),
    /// This value, and what it means.
    Means(&'static str, &'static str),
    /// What can't be said by a value.
    Words(&'static str),
}

impl Kind {
    /// Whether a value of it may be a secret.
    pub fn is_secret(&self) -> bool {
        match self {
            Kind::Secret | Kind::Url(_) => true,
            Kind::List(item, _) => item.is_secret(),
            _ => false,
        }
    }

    /// The keys below it.
    pub fn section(&self) -> Option<&'static Keys> {
        match self {
            Kind::Section(keys) | Kind::Sections(keys) | Kind::Columns(keys) | Kind::Tables(keys) => Some(keys),
            _ => None,
        }
    }

    /// As the documentation's tables name it. Markdown.
    pub fn shown(&self) -> String {
        match self {
            Kind::Text(_) | Kind::Name(_) | Kind::Secret | Kind::Zone => "text".to_owned(),
            Kind::Url(schemes) => {
                let schemes: Vec<String> = schemes.iter().map(|scheme| format!("`{scheme}://`")).collect();
                format!("text: {}", schemes.join(", "))
            }
            Kind::SecretFile => "path".to_owned(),
            Kind::PemFile => "path to PEM".to_owned(),
            Kind::Flag => "boolean".to_owned(),
            Kind::Integer(low, high) => format!("{low}–{high}"),
            Kind::Share => "number above 0, to 1".to_owned(),
            Kind::Duration(low, high) if low.is_zero() => format!("duration, to {}", show_duration(*high)),
            Kind::Duration(low, high) => format!("duration, {}–{}", show_duration(*low), show_duration(*high)),
            Kind::Size(low, high) => format!("size, {}–{}", show_bytes(*low), show_bytes(*high)),
            Kind::Choice { now, or_column, .. } => {
                let column = or_column.then_some("column:NAME");
                let words = now.iter().copied().chain(column);
                words.map(|word| format!("`\"{word}\"`")).collect::<Vec<_>>().join(", ")
            }
            Kind::Table => "`\"table\"` or `\"schema.table\"`".to_owned(),
            Kind::Listen => "IP and port, or `\"off\"`".to_owned(),
            Kind::Socket => "path, `\"@NAME\"`, or `\"off\"`".to_owned(),
            Kind::Place => "place".to_owned(),
            Kind::IdPlaces => "list of places".to_owned(),
            Kind::Constant => "text, number, boolean, date".to_owned(),
            Kind::Reference(_) => "name".to_owned(),
            Kind::List(_, called) => format!("list of {called}"),
            Kind::Section(_) | Kind::Sections(_) => "section".to_owned(),
            Kind::Columns(_) => "columns".to_owned(),
            Kind::Tables(_) => "list of tables".to_owned(),
            Kind::Later => String::new(),
        }
    }
}

impl Absent {
    /// The value as it stands in TOML, if it is one.
    pub fn literal(&self) -> Option<&'static str> {
        match self {
            Absent::Is(literal) | Absent::Means(literal, _) => Some(literal),
            Absent::Nothing | Absent::Required | Absent::Words(_) => None,
        }
    }

    /// The value without the quotes of a text.
    pub(in crate::config) fn text(&self) -> Option<&'static str> {
        self.literal().map(|literal| literal.trim_matches('"'))
    }

    /// As the documentation's tables show it. Markdown.
    pub fn shown(&self) -> String {
        match self {
            Absent::Nothing => String::new(),
            Absent::Required => "*required*".to_owned(),
            Absent::Is(literal) => format!("`{literal}`"),
            Absent::Means(literal, meaning) => format!("`{literal}`: {meaning}"),
            Absent::Words(words) => (*words).to_owned(),
        }
    }
}
