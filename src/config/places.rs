//! How places in a message are written: `"/pointer"`, `"header:tenant"`, `"property:timestamp"`, `"body"`, …

use std::fmt;

use super::field::Field;
use super::keys::ALL;
use super::problems::nearest;
use super::tree::Value;
use super::{IdPlace, Place, Property};

pub(super) const PROPERTIES: [(&str, Property); 13] = [
    ("content_type", Property::ContentType),
    ("content_encoding", Property::ContentEncoding),
    ("delivery_mode", Property::DeliveryMode),
    ("priority", Property::Priority),
    ("correlation_id", Property::CorrelationId),
    ("reply_to", Property::ReplyTo),
    ("expiration", Property::Expiration),
    ("message_id", Property::MessageId),
    ("timestamp", Property::Timestamp),
    ("type", Property::Type),
    ("user_id", Property::UserId),
    ("app_id", Property::AppId),
    ("cluster_id", Property::ClusterId),
];

const WORDS: [(&str, Place); 6] = [
    ("routing_key", Place::RoutingKey),
    ("exchange", Place::Exchange),
    ("queue", Place::Queue),
    ("body", Place::Body),
    ("message_id", Place::MessageId),
    ("sha256:body", Place::BodyHash),
];

const EXPECTED: &str = "a place in the message: \"/field\", \"header:NAME\", \"property:NAME\", \"routing_key\", \
                        \"exchange\", \"queue\", \"body\" or \"message_id\"";
const EXPECTED_ID: &str = "a place of the message ID: \"property:message_id\", \"header:NAME\", \"/field\", \
                           \"sha256:body\", or { all = [\"…\", \"…\"] }";

/// What is wrong with a text, and what may be meant.
type Refusal = (String, Option<String>);

/// A place that a column is filled from.
pub(super) fn column_place(field: &Field<'_>) -> Option<Place> {
    let text = field.text(EXPECTED)?;
    let place = note(field, parse(&text, EXPECTED), EXPECTED)?;
    if place == Place::BodyHash {
        field.wrong("\"sha256:body\" is for message_id only; a column can take \"message_id\"", None);
        return None;
    }
    Some(place)
}

/// One entry of `message_id`.
pub(super) fn id_place(field: &Field<'_>) -> Option<IdPlace> {
    let Some(table) = field.table(&ALL) else { return one_id_place(field).map(IdPlace::One) };
    let all = table.list("all");
    table.finish();
    let Some(all) = all else {
        if !field.is_bad() {
            field.wrong(format!("expected {EXPECTED_ID}"), None);
        }
        return None;
    };
    if all.is_empty() {
        field.wrong("expected at least one place in `all`, found none", None);
    }
    Some(IdPlace::All(all.iter().filter_map(one_id_place).collect()))
}

fn one_id_place(field: &Field<'_>) -> Option<Place> {
    let Value::Text(_) = field.value() else {
        field.expected(EXPECTED_ID);
        return None;
    };
    let text = field.text(EXPECTED_ID)?;
    let place = note(field, parse(&text, EXPECTED_ID), EXPECTED_ID)?;
    if place == Place::MessageId {
        let help = "write \"property:message_id\" for the AMQP property of that name".to_owned();
        field.wrong("the message ID can't be found in itself", Some(help));
        return None;
    }
    Some(place)
}

fn note(field: &Field<'_>, parsed: Result<Place, Refusal>, expected: &str) -> Option<Place> {
    match parsed {
        Ok(place) => Some(place),
        Err(_) if field.is_substituted() => {
            field.expected(expected);
            None
        }
        Err((message, help)) => {
            field.wrong(message, help);
            None
        }
    }
}

fn parse(text: &str, expected: &str) -> Result<Place, Refusal> {
    if let Some((_, place)) = WORDS.iter().find(|(word, _)| *word == text) {
        return Ok(place.clone());
    }
    if text.is_empty() {
        return Ok(Place::Pointer(Vec::new()));
    }
    if let Some(rest) = text.strip_prefix('/') {
        return Ok(Place::Pointer(parts(rest, text)?));
    }
    if let Some(rest) = text.strip_prefix("header:") {
        let parts = parts(rest, text)?;
        if parts.iter().any(String::is_empty) {
            let message =
                format!("expected \"header:NAME\" or \"header:NAME/INNER/0\", found {text:?} with an empty name");
            return Err((message, None));
        }
        return Ok(Place::Header(parts));
    }
    if let Some(name) = text.strip_prefix("property:") {
        if let Some((_, property)) = PROPERTIES.iter().find(|(known, _)| *known == name) {
            return Ok(Place::Property(*property));
        }
        let names: Vec<&str> = PROPERTIES.iter().map(|(known, _)| *known).collect();
        let help = match nearest(name, names.iter().copied()) {
            Some(near) => format!("did you mean \"property:{near}\"?"),
            None => format!("known properties: {}; others are headers: \"header:{name}\"", names.join(", ")),
        };
        return Err((format!("AMQP has no property {name:?}"), Some(help)));
    }
    Err((format!("expected {expected}; found {text:?}"), Some(meant(text))))
}

/// What may be meant by a text that is no place.
fn meant(text: &str) -> String {
    if let Some(near) = nearest(text, WORDS.iter().map(|(word, _)| *word)) {
        return format!("did you mean {near:?}?");
    }
    if let Some((kind, name)) = text.split_once(':')
        && let Some(near) = nearest(kind, ["header", "property"])
        && !name.is_empty()
    {
        return format!("did you mean {:?}?", format!("{near}:{name}"));
    }
    let path = text.strip_prefix("$.").unwrap_or(text);
    if path != text || path.contains('.') {
        let pointer = format!("/{}", path.replace('.', "/"));
        return format!("fields are written as a JSON Pointer, with slashes: {pointer:?}");
    }
    let field = format!("a field of the body is written with a slash: {:?}", format!("/{text}"));
    match PROPERTIES.iter().any(|(known, _)| *known == text) {
        true => format!("{field}; AMQP's property is {:?}", format!("property:{text}")),
        false => field,
    }
}

/// Parts between slashes, with `~1` for a slash and `~0` for a tilde inside of them (RFC 6901).
fn parts(rest: &str, whole: &str) -> Result<Vec<String>, Refusal> {
    let unescape = |part: &str| {
        let without = part.replace("~0", "").replace("~1", "");
        if without.contains('~') {
            let message = format!("in {whole:?} there is a `~` that is neither `~0` nor `~1`");
            return Err((message, Some("write `~0` for a plain `~`, `~1` for a `/` inside a name".to_owned())));
        }
        Ok(part.replace("~1", "/").replace("~0", "~"))
    };
    rest.split('/').map(unescape).collect()
}

/// As it is written in the config.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let escaped = |part: &String| part.replace('~', "~0").replace('/', "~1");
        if let Some((word, _)) = WORDS.iter().find(|(_, place)| place == self) {
            return f.write_str(word);
        }
        match self {
            Place::Pointer(parts) => parts.iter().try_for_each(|part| write!(f, "/{}", escaped(part))),
            Place::Header(parts) => {
                write!(f, "header:{}", parts.iter().map(escaped).collect::<Vec<_>>().join("/"))
            }
            Place::Property(property) => {
                let known = PROPERTIES.iter().find(|(_, known)| known == property);
                write!(f, "property:{}", known.map_or("", |(name, _)| name))
            }
            // The words, all of them found above.
            Place::RoutingKey | Place::Exchange | Place::Queue | Place::Body | Place::MessageId | Place::BodyHash => {
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pointer(parts: &[&str]) -> Place {
        Place::Pointer(parts.iter().map(|part| (*part).to_owned()).collect())
    }

    #[test]
    fn places() {
        let cases = [
            ("", pointer(&[])),
            ("/", pointer(&[""])),
            ("/a/0/b", pointer(&["a", "0", "b"])),
            ("/a~1b/~0x/~01", pointer(&["a/b", "~x", "~1"])),
            ("header:tenant", Place::Header(vec!["tenant".into()])),
            ("header:x-death/0/queue", Place::Header(vec!["x-death".into(), "0".into(), "queue".into()])),
            ("property:timestamp", Place::Property(Property::Timestamp)),
            ("routing_key", Place::RoutingKey),
            ("exchange", Place::Exchange),
            ("queue", Place::Queue),
            ("body", Place::Body),
            ("message_id", Place::MessageId),
            ("sha256:body", Place::BodyHash),
        ];
        for (text, place) in cases {
            assert_eq!(place.to_string(), text);
            assert_eq!(parse(text, EXPECTED), Ok(place), "{text}");
        }
    }

    #[test]
    fn nonsense() {
        let cases = [
            ("/a~b", "neither `~0` nor `~1`", "write `~0`"),
            ("/~", "neither", "write `~0`"),
            ("header:", "empty name", ""),
            ("header:a//b", "empty name", ""),
            ("property:messageid", "no property", "property:message_id"),
            ("property:tenant", "no property", "\"header:tenant\""),
            ("order_id", "expected", "\"/order_id\""),
            ("routingkey", "expected", "routing_key"),
            ("Header:x", "expected", "\"header:x\""),
            ("headers:x", "expected", "\"header:x\""),
            ("prop:type", "expected", "\"/prop:type\""),
            ("customer.name", "expected", "\"/customer/name\""),
            ("$.id", "expected", "\"/id\""),
            ("timestamp", "expected", "\"/timestamp\"; AMQP's property is \"property:timestamp\""),
        ];
        for (text, message, help) in cases {
            let (said, helped) = parse(text, EXPECTED).unwrap_err();
            assert!(said.contains(message), "{text}: {said}");
            assert!(helped.unwrap_or_default().contains(help), "{text}");
        }
    }
}
