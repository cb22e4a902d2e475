//! JSON documents: kept as text, or as a tree that doesn't hold everything.

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::decimal::Decimal;
use super::{Refusal, Value, owned, refuse, text_cell};
use crate::message::Cell;

/// As the text that it is.
pub(super) fn text(value: &Value<'_>, body: &[u8]) -> Result<Cell, Refusal> {
    Ok(match value {
        Value::Json(raw) | Value::Number(raw) => text_cell(raw, body),
        Value::Bool(truth) => owned(truth.to_string()),
        Value::Text(text) => match serde_json::to_string(text) {
            Ok(quoted) => owned(quoted),
            Err(_) => return refuse("invalid", "the text can't be written as JSON"),
        },
        Value::Seconds(seconds) => owned(seconds.to_string()),
        Value::Bytes(bytes) => match serde_json::from_slice::<&serde_json::value::RawValue>(bytes) {
            Ok(raw) => text_cell(raw.get(), body),
            Err(_) => return refuse("invalid", "the column takes JSON, the bytes are not"),
        },
        Value::Null => Cell::Null,
    })
}

/// Refused where a tree would lose a key or change a number.
pub(super) fn tree(value: &Value<'_>, doubles: bool, body: &[u8]) -> Result<Cell, Refusal> {
    match value {
        Value::Json(raw) | Value::Number(raw) => check(raw, doubles)?,
        Value::Bytes(bytes) => check(std::str::from_utf8(bytes).unwrap_or_default(), doubles)?,
        Value::Null | Value::Bool(_) | Value::Text(_) | Value::Seconds(_) => {}
    }
    text(value, body)
}

/// What can't be read here is left to the server to refuse.
fn check(raw: &str, doubles: bool) -> Result<(), Refusal> {
    let raw = raw.trim_ascii();
    match raw.as_bytes().first() {
        Some(b'{') => {
            let Ok(Entries(entries)) = serde_json::from_str(raw) else { return Ok(()) };
            let mut keys: Vec<&str> = entries.iter().map(|(key, _)| key.as_str()).collect();
            keys.sort_unstable();
            if keys.windows(2).any(|two| two[0] == two[1]) {
                return refuse("lossy", "an object in the document has a key twice, and the column keeps one of them");
            }
            entries.iter().try_for_each(|(_, value)| check(value.get(), doubles))
        }
        // Without an object in it, only its numbers could be changed.
        Some(b'[') if doubles || raw.contains('{') => {
            let Ok(items) = serde_json::from_str::<Vec<&RawValue>>(raw) else { return Ok(()) };
            items.iter().try_for_each(|item| check(item.get(), doubles))
        }
        Some(b'-' | b'0'..=b'9') if doubles && !kept(raw) => {
            refuse("lossy", "the column keeps a document's numbers as doubles, which would change one's digits")
        }
        _ => Ok(()),
    }
}

/// A 64-bit integer, or a number that a double gives back.
fn kept(number: &str) -> bool {
    if number.parse::<i64>().is_ok() || number.parse::<u64>().is_ok() {
        return true;
    }
    let Ok(double) = number.parse::<f64>() else { return false };
    let same = |shortest: Decimal| Decimal::parse(number).is_ok_and(|sent| sent == shortest);
    double.is_finite() && Decimal::parse(&double.to_string()).is_ok_and(same)
}

/// An object's keys and values in their order, none left out.
pub(crate) struct Entries<'a>(pub Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Entries<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Entries<'de>;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries<'de>, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}
