//! What a column can never take, as far as the place says what kind of value stands there.

use std::borrow::Cow;

use crate::catalogue::Kind;
use crate::config::{ColumnMapping, Place, Property};
use crate::value::{self, Refusal, Rules, Value};

/// Why no value of this place fits into the column; `None`: some do, or nobody can tell.
pub fn never_fits(place: &Place, mapping: &ColumnMapping, kind: &Kind) -> Option<Refusal> {
    let rules = Rules { time: mapping.time, zone: Some(jiff::tz::TimeZone::UTC), lossy: true };
    let mut last = None;
    for sample in samples(place)? {
        match value::to_cell(&sample, kind, &rules, &[]) {
            Ok(_) => return None,
            // A length, a range, a label: another value may fit.
            Err(refusal) if refusal.code != "wrong_type" => return None,
            Err(refusal) => last = Some(refusal),
        }
    }
    last
}

/// Values of every kind that the place may have.
fn samples(place: &Place) -> Option<Vec<Value<'static>>> {
    let texts = || ["1", "a", "true", "{}", "2026-01-31"].map(|text| Value::Text(text.into())).to_vec();
    match place {
        Place::Pointer(_) | Place::Header(_) => None,
        Place::Property(Property::Timestamp) => Some(vec![Value::Seconds(1_700_000_000)]),
        Place::Property(Property::DeliveryMode | Property::Priority) => Some(vec![Value::Number("1".into())]),
        Place::Body => Some(vec![Value::Bytes(Cow::Borrowed(b"{}"))]),
        Place::Property(_)
        | Place::RoutingKey
        | Place::Exchange
        | Place::Queue
        | Place::MessageId
        | Place::BodyHash => Some(texts()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ColumnSource;

    #[test]
    fn places_whose_values_have_one_kind() {
        let int = Kind::Int { min: 0, max: 100 };
        let text = Kind::Text { max_chars: Some(1), max_bytes: None };
        let seconds = Place::Property(Property::Timestamp);
        for (place, kind, never) in [
            (&seconds, &Kind::Bool, true),
            (&seconds, &Kind::Timestamp { fraction: 0, zoned: true, range: None }, false),
            (&seconds, &text, false),
            (&Place::Body, &int, true),
            (&Place::Body, &Kind::Json, false),
            (&Place::Body, &Kind::Bytes { max_bytes: None, fixed: false }, false),
            (&Place::RoutingKey, &Kind::Bool, true),
            (&Place::RoutingKey, &int, false),
            (&Place::MessageId, &Kind::Uuid, false),
            (&Place::Pointer(vec!["a".to_owned()]), &Kind::Bool, false),
        ] {
            let mapping = ColumnMapping {
                column: "c".to_owned(),
                source: ColumnSource::From(place.clone()),
                required: false,
                default: None,
                time: None,
                zone: None,
                lossy: false,
            };
            assert_eq!(never_fits(place, &mapping, kind).is_some(), never, "{place} {kind:?}");
        }
    }
}
