//! The message ID: the first of the configured places that has one.

use std::borrow::Cow;

use super::Seen;
use super::place::Lookup;
use crate::config::IdPlace;
use crate::decode::Fields;
use crate::error::{ErrorClass, Failure};
use crate::value::Value;

#[derive(Debug)]
pub(super) enum IdSource {
    One(Lookup),
    All(Vec<Lookup>),
}

impl IdSource {
    pub(super) fn compile(place: &IdPlace, fields: &mut Fields) -> Self {
        match place {
            IdPlace::One(place) => IdSource::One(Lookup::compile(place, fields)),
            IdPlace::All(places) => IdSource::All(places.iter().map(|place| Lookup::compile(place, fields)).collect()),
        }
    }

    pub(super) fn reads_the_body(&self) -> bool {
        match self {
            IdSource::One(lookup) => matches!(lookup, Lookup::Field(_)),
            IdSource::All(lookups) => lookups.iter().any(|lookup| matches!(lookup, Lookup::Field(_))),
        }
    }

    /// The ID at this place; `None` where a part of it is absent, null or empty: the next place is
    /// asked then.
    pub(super) fn find<'a>(&self, seen: &Seen<'a>) -> Result<Option<Cow<'a, str>>, Failure> {
        match self {
            IdSource::One(lookup) => part(lookup, seen),
            IdSource::All(lookups) => {
                let parts = lookups.iter().map(|lookup| part(lookup, seen)).collect::<Result<Option<Vec<_>>, _>>()?;
                // As a JSON array, so that ("a,b", "c") and ("a", "b,c") differ.
                Ok(parts.map(|parts| serde_json::to_string(&parts).unwrap_or_default().into()))
            }
        }
    }
}

fn part<'a>(lookup: &Lookup, seen: &Seen<'a>) -> Result<Option<Cow<'a, str>>, Failure> {
    let bad = |message: &'static str| Failure::new(ErrorClass::Mapping, "bad_message_id", message);
    match lookup.find(seen).map_err(|_| bad("the message ID is not valid text"))? {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Text(text)) if text.is_empty() => Ok(None),
        Some(Value::Text(text) | Value::Number(text)) => Ok(Some(text)),
        Some(Value::Seconds(seconds)) => Ok(Some(seconds.to_string().into())),
        Some(Value::Bytes(bytes)) => Ok(Some(crate::digest::hex(&bytes).into())),
        Some(Value::Bool(_) | Value::Json(_)) => Err(bad("the message ID is neither text nor a number")),
    }
}
