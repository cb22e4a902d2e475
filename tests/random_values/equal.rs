//! The oracle: does what was read back mean what was sent? It shares no code with the product.

pub mod clock;
pub mod decimal;
pub mod json;

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::columns::Type;
use clock::Moment;
use decimal::Decimal;
use json::{Json, Node};

/// What a column gave back.
#[derive(Clone, Debug, PartialEq)]
pub enum Stored {
    Null,
    Text(String),
    Integer(i64),
    Real(f64),
    Bytes(Vec<u8>),
}

/// Whether a column of this type holds what the JSON says.
pub fn equal(kind: &Type, sent: &Node<'_>, stored: &Stored) -> bool {
    match (&sent.value, stored) {
        (Json::Null, stored) => *stored == Stored::Null,
        (_, Stored::Null) => false,
        _ => holds(kind, sent, stored).unwrap_or(false),
    }
}

/// `None`: one of both is nothing that such a column can mean.
fn holds(kind: &Type, sent: &Node<'_>, stored: &Stored) -> Option<bool> {
    Some(match kind {
        Type::Int { truths: true, .. } if matches!(sent.value, Json::Bool(_)) => {
            truth(&sent.value)? == (number(stored)? == Decimal::parse("1")?)
        }
        // NaN, which PostgreSQL takes in the columns whose texts it reads itself.
        Type::Decimal { .. } if *stored == Stored::Text("NaN".into()) => unicode(&sent.value)? == "NaN",
        Type::Int { .. } | Type::Decimal { .. } => sent_number(&sent.value)? == number(stored)?,
        Type::Float { bits } => float(*bits, &sent_number(&sent.value)?, stored)?,
        Type::Bool => truth(&sent.value)? == stored_truth(stored)?,
        Type::Text { .. } => *stored == Stored::Text(text(sent)?),
        Type::Bytes { .. } => unicode(&sent.value)?.as_bytes() == bytes(stored)?,
        Type::Date => date(&unicode(&sent.value)?, stored_text(stored)?)?,
        Type::Time { .. } => clock::near(clock::time(&unicode(&sent.value)?)?, clock::time(stored_text(stored)?)?),
        Type::Timestamp { zoned, .. } => timestamp(*zoned, &unicode(&sent.value)?, stored_text(stored)?)?,
        Type::Uuid => unicode(&sent.value)?.eq_ignore_ascii_case(stored_text(stored)?),
        Type::Json { .. } => match stored {
            Stored::Text(document) => json::same(&sent.value, &json::parse(document)?.value),
            number => matches!(sent.value, Json::Number(_)) && sent_number(&sent.value)? == self::number(number)?,
        },
        Type::Enum { .. } => unicode(&sent.value)? == stored_text(stored)?,
        Type::Set { .. } => members(&unicode(&sent.value)?) == members(stored_text(stored)?),
        Type::Address => address(&unicode(&sent.value)?)? == address(stored_text(stored)?)?,
        Type::Array(element) => array(element, sent, &json::parse(stored_text(stored)?)?)?,
        Type::Any { numeric } => any(*numeric, sent, stored)?,
    })
}

fn unicode(sent: &Json<'_>) -> Option<String> {
    match sent {
        Json::Text(units) => String::from_utf16(units).ok(),
        _ => None,
    }
}

fn stored_text(stored: &Stored) -> Option<&str> {
    match stored {
        Stored::Text(text) => Some(text),
        _ => None,
    }
}

/// Numbers may be sent as text, so that nobody's float touches them.
fn sent_number(sent: &Json<'_>) -> Option<Decimal> {
    match sent {
        Json::Number(digits) => Decimal::parse(digits),
        text => Decimal::parse(&unicode(text)?),
    }
}

fn number(stored: &Stored) -> Option<Decimal> {
    match stored {
        Stored::Text(digits) => Decimal::parse(digits),
        Stored::Integer(value) => Decimal::parse(&value.to_string()),
        Stored::Real(value) => Decimal::parse(&format!("{value:e}")),
        Stored::Null | Stored::Bytes(_) => None,
    }
}

/// Whether the column shows the number that was sent: the shortest that reads back as the same
/// float. Where the float itself was read, and not its text, either of two such numbers will do.
fn float(bits: u8, sent: &Decimal, stored: &Stored) -> Option<bool> {
    let Stored::Real(float) = *stored else { return Some(*sent == number(stored)?) };
    let number = sent.scientific();
    let (shown, same) = if bits == 32 {
        (format!("{:e}", float as f32), number.parse() == Ok(float as f32))
    } else {
        (format!("{float:e}"), number.parse() == Ok(float))
    };
    Some(same && sent.digits.len() <= Decimal::parse(&shown)?.digits.len())
}

fn truth(sent: &Json<'_>) -> Option<bool> {
    match sent {
        Json::Bool(truth) => Some(*truth),
        _ => None,
    }
}

fn stored_truth(stored: &Stored) -> Option<bool> {
    match stored {
        Stored::Integer(1) => Some(true),
        Stored::Integer(0) => Some(false),
        stored => match stored_text(stored)? {
            "1" | "true" => Some(true),
            "0" | "false" => Some(false),
            _ => None,
        },
    }
}

/// Text columns take everything else as it was spelled.
fn text(sent: &Node<'_>) -> Option<String> {
    match &sent.value {
        Json::Text(_) => unicode(&sent.value),
        _ => Some(sent.raw.to_owned()),
    }
}

fn bytes(stored: &Stored) -> Option<Vec<u8>> {
    match stored {
        Stored::Bytes(bytes) => Some(bytes.clone()),
        Stored::Text(hex) => {
            let hex = hex.trim_start_matches("\\x");
            (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok()).collect()
        }
        _ => None,
    }
}

fn date(sent: &str, stored: &str) -> Option<bool> {
    let stored = clock::date(stored)?;
    Some(match (clock::date(sent), clock::moment(sent)) {
        (Some(days), _) => days == stored,
        (None, Some(Moment::Instant(moment) | Moment::Clock(moment))) => clock::near(moment, stored * clock::DAY),
        (None, None) => false,
    })
}

fn timestamp(zoned: bool, sent: &str, stored: &str) -> Option<bool> {
    let (Moment::Instant(stored) | Moment::Clock(stored)) = clock::moment(stored)?;
    Some(match (clock::moment(sent)?, zoned) {
        // By convention an instant goes into a column without a zone as UTC.
        (Moment::Instant(sent), _) | (Moment::Clock(sent), false) => clock::near(sent, stored),
        (Moment::Clock(_), true) => false,
    })
}

fn members(text: &str) -> BTreeSet<&str> {
    text.split(',').filter(|member| !member.is_empty()).collect()
}

fn address(text: &str) -> Option<(IpAddr, u8)> {
    let (address, prefix) = text.split_once('/').map_or((text, None), |(a, p)| (a, Some(p)));
    let address: IpAddr = address.parse().ok()?;
    let whole = if address.is_ipv4() { 32 } else { 128 };
    Some((address, prefix.map_or(Some(whole), |prefix| prefix.parse().ok())?))
}

/// Arrays are read back as JSON; their dimensions are arrays in arrays.
fn array(element: &Type, sent: &Node<'_>, stored: &Node<'_>) -> Option<bool> {
    let (Json::Array(sent), Json::Array(stored)) = (&sent.value, &stored.value) else { return None };
    if sent.len() != stored.len() {
        return Some(false);
    }
    for (sent, stored) in sent.iter().zip(stored) {
        let nested = matches!(stored.value, Json::Array(_)) && !matches!(element, Type::Json { .. });
        let same = if nested {
            array(element, sent, stored)?
        } else {
            let stored = match &stored.value {
                // A null among documents is SQL's NULL, as it is in a column of its own.
                Json::Null => Stored::Null,
                _ if matches!(element, Type::Json { .. }) => Stored::Text(stored.raw.to_owned()),
                Json::Text(_) => Stored::Text(unicode(&stored.value)?),
                _ => Stored::Text(stored.raw.to_owned()),
            };
            equal(element, sent, &stored)
        };
        if !same {
            return Some(false);
        }
    }
    Some(true)
}

/// SQLite's columns without a type keep each value's own. With numeric affinity all comes as text,
/// of which the plainest whole numbers become numbers.
fn any(numeric: bool, sent: &Node<'_>, stored: &Stored) -> Option<bool> {
    Some(match (&sent.value, stored) {
        (_, Stored::Text(stored)) => text(sent)? == *stored,
        (_, Stored::Integer(value)) if numeric => text(sent)? == value.to_string(),
        (Json::Bool(truth), Stored::Integer(value)) => i64::from(*truth) == *value,
        (Json::Number(_), Stored::Integer(_) | Stored::Real(_)) => sent_number(&sent.value)? == number(stored)?,
        _ => false,
    })
}
