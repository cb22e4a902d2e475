//! Bytes to a [`Record`]: finds the fields that the mapping asks for and leaves them as they were
//! sent. No value tree is built and no number becomes a float.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::error::{ErrorClass, Failure};

/// The fields that a pipeline reads, as a tree of JSON Pointers (RFC 6901).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fields {
    root: Node,
    slots: usize,
    keep_unknown: bool,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Node {
    slot: Option<usize>,
    children: Vec<(String, Node)>,
}

impl Fields {
    /// Nothing asked for yet; `keep_unknown` keeps top-level fields that nothing asks for.
    pub fn new(keep_unknown: bool) -> Self {
        Fields { keep_unknown, ..Fields::default() }
    }

    /// Asks for one more field; returns the slot in which a record has it.
    pub fn ask(&mut self, pointer: &[String]) -> usize {
        let mut node = &mut self.root;
        for part in pointer {
            let at = match node.children.iter().position(|(name, _)| name == part) {
                Some(at) => at,
                None => {
                    node.children.push((part.clone(), Node::default()));
                    node.children.len() - 1
                }
            };
            node = &mut node.children[at].1;
        }
        *node.slot.get_or_insert_with(|| {
            self.slots += 1;
            self.slots - 1
        })
    }

    /// Nothing is asked for: the body needn't be JSON.
    pub fn is_empty(&self) -> bool {
        self.slots == 0 && !self.keep_unknown
    }
}

/// A decoded message: the raw JSON of each field that was asked for.
#[derive(Debug, Default)]
pub struct Record<'a> {
    slots: Vec<Option<&'a str>>,
    /// Top-level fields that nothing asks for, where the fields keep them.
    pub unknown: Vec<(String, &'a str)>,
}

impl<'a> Record<'a> {
    /// The field's JSON as sent, `None` where the message doesn't have it.
    pub fn field(&self, slot: usize) -> Option<&'a str> {
        self.slots.get(slot).copied().flatten()
    }
}

const NOT_JSON: &str = "the body is not JSON";

/// Decodes a JSON body.
///
/// # Errors
/// Class `decode`, codes `not_utf8`, `empty`, `too_deep`, `not_json`, `not_object`,
/// `duplicate_key` (a field that is asked for stands there twice: which one counts?).
pub fn json<'a>(body: &'a [u8], fields: &Fields, max_depth: usize) -> Result<Record<'a>, Failure> {
    let refuse = |code: &'static str, message: &'static str| Failure::new(ErrorClass::Decode, code, message);
    let text = std::str::from_utf8(body)
        .map_err(|error| refuse("not_utf8", "the body is not UTF-8").detail(error.to_string()))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.trim_ascii().is_empty() {
        return Err(refuse("empty", "the body is empty"));
    }
    if deeper_than(text.as_bytes(), max_depth) {
        return Err(Failure::new(
            ErrorClass::Decode,
            "too_deep",
            format!("the body is nested deeper than limits.max_depth = {max_depth}"),
        ));
    }
    let mut record = Record { slots: vec![None; fields.slots], unknown: Vec::new() };
    if !text.trim_ascii_start().starts_with(['{', '[']) {
        // Told here: the walk would take a number that is no machine's for an object without fields.
        let raw: &RawValue =
            serde_json::from_str(text).map_err(|error| refuse("not_json", NOT_JSON).detail(error.to_string()))?;
        return match fields.root.slot.filter(|_| fields.root.children.is_empty()) {
            Some(slot) => {
                record.slots[slot] = Some(raw.get());
                Ok(record)
            }
            None => Err(refuse("not_object", "the body is JSON, but not an object or array")),
        };
    }
    let mut found = Found { record: &mut record, keep_unknown: fields.keep_unknown, duplicate: false };
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let outcome = Walk { node: &fields.root, top: true, found: &mut found }
        .deserialize(&mut deserializer)
        .and_then(|()| deserializer.end());
    match (outcome, found.duplicate) {
        (Ok(()), _) => Ok(record),
        (Err(_), true) => Err(refuse("duplicate_key", "a field that a column reads stands in the body twice")),
        (Err(error), false) => Err(refuse("not_json", NOT_JSON).detail(error.to_string())),
    }
}

/// Brackets are counted before anything is parsed, so that a body of 100,000 levels costs one pass.
fn deeper_than(text: &[u8], max_depth: usize) -> bool {
    // In pieces whose count fits into a byte: sixteen and more of them are compared at once.
    let opening = |piece: &[u8]| piece.iter().map(|&byte| u8::from(byte == b'{' || byte == b'[')).sum::<u8>();
    if text.chunks(255).map(|piece| usize::from(opening(piece))).sum::<usize>() <= max_depth {
        return false;
    }
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for &byte in text {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => {
                depth += 1;
                if depth > max_depth {
                    return true;
                }
            }
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

/// Which of an object's fields have been met. Few of them take no memory of their own.
enum Seen {
    Few(u64),
    Many(Vec<bool>),
}

impl Seen {
    fn none(fields: usize) -> Self {
        if fields <= 64 { Seen::Few(0) } else { Seen::Many(vec![false; fields]) }
    }

    /// Whether this one is met for the first time.
    fn first_time(&mut self, field: usize) -> bool {
        match self {
            Seen::Few(bits) => {
                let before = *bits;
                *bits |= 1 << field;
                before != *bits
            }
            Seen::Many(met) => !std::mem::replace(&mut met[field], true),
        }
    }
}

/// What one walk collects.
struct Found<'a, 'de> {
    record: &'a mut Record<'de>,
    keep_unknown: bool,
    /// A field that is asked for stood there twice.
    duplicate: bool,
}

struct Walk<'n, 'f, 'a, 'de> {
    node: &'n Node,
    top: bool,
    found: &'f mut Found<'a, 'de>,
}

impl<'de> DeserializeSeed<'de> for Walk<'_, '_, '_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        let Some(slot) = self.node.slot else { return deserializer.deserialize_any(self) };
        let raw: &'de RawValue = serde::Deserialize::deserialize(deserializer)?;
        self.found.record.slots[slot] = Some(raw.get());
        if self.node.children.is_empty() && !(self.top && self.found.keep_unknown) {
            return Ok(());
        }
        serde_json::Deserializer::from_str(raw.get()).deserialize_any(self).map_err(D::Error::custom)
    }
}

/// Which of a node's children a key names.
struct Key<'n> {
    node: &'n Node,
    keep: bool,
    /// The child that is likely: messages of a queue have their fields in one order.
    likely: usize,
}

enum Named {
    Child(usize),
    Other(Option<String>),
}

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = Named;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Named, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = Named;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Named, E> {
        let children = &self.node.children;
        if children.get(self.likely).is_some_and(|(name, _)| name == key) {
            return Ok(Named::Child(self.likely));
        }
        Ok(match children.iter().position(|(name, _)| name == key) {
            Some(at) => Named::Child(at),
            None => Named::Other(self.keep.then(|| key.to_owned())),
        })
    }
}

impl<'de> Visitor<'de> for Walk<'_, '_, '_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<(), M::Error> {
        let keep = self.top && self.found.keep_unknown;
        let mut seen = Seen::none(self.node.children.len());
        let mut likely = 0;
        while let Some(named) = map.next_key_seed(Key { node: self.node, keep, likely })? {
            match named {
                Named::Child(at) if !seen.first_time(at) => {
                    self.found.duplicate = true;
                    return Err(M::Error::custom("duplicate key"));
                }
                Named::Child(at) => {
                    let node = &self.node.children[at].1;
                    map.next_value_seed(Walk { node, top: false, found: &mut *self.found })?;
                    likely = at + 1;
                }
                Named::Other(Some(key)) => {
                    let raw: &'de RawValue = map.next_value()?;
                    self.found.record.unknown.push((key, raw.get()));
                }
                Named::Other(None) => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut sequence: S) -> Result<(), S::Error> {
        let mut index = 0_usize;
        loop {
            // RFC 6901, section 4: an index has no leading zeros, so its text is unique.
            let text = index.to_string();
            let child = self.node.children.iter().find(|(name, _)| *name == text);
            let more = match child {
                Some((_, node)) => {
                    sequence.next_element_seed(Walk { node, top: false, found: &mut *self.found })?.is_some()
                }
                None => sequence.next_element::<IgnoredAny>()?.is_some(),
            };
            if !more {
                return Ok(());
            }
            index += 1;
        }
    }

    // A scalar on the way has no fields: they are absent.

    fn visit_bool<E: serde::de::Error>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E: serde::de::Error>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E: serde::de::Error>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E: serde::de::Error>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(body: &str, pointers: &[&str]) -> Result<Vec<Option<String>>, String> {
        let mut fields = Fields::default();
        let slots: Vec<usize> = pointers
            .iter()
            .map(|pointer| fields.ask(&pointer.split('/').skip(1).map(str::to_owned).collect::<Vec<_>>()))
            .collect();
        match json(body.as_bytes(), &fields, 8) {
            Ok(record) => Ok(slots.iter().map(|&slot| record.field(slot).map(str::to_owned)).collect()),
            Err(failure) => Err(failure.code.into_owned()),
        }
    }

    #[test]
    fn fields_come_out_as_they_were_sent() {
        let body = r#" {"a": {"b": 12345678901234567.89, "c": null}, "l": [1, {"x": "\u00e9"}], "skip": 1e999} "#;
        assert_eq!(
            decode(body, &["/a/b", "/a/c", "/a/d", "/l/1/x", "/l/7", "/l"]).unwrap(),
            [
                Some("12345678901234567.89"),
                Some("null"),
                None,
                Some("\"\\u00e9\""),
                None,
                Some(r#"[1, {"x": "\u00e9"}]"#)
            ]
            .map(|field| field.map(str::to_owned))
        );
    }

    #[test]
    fn a_parent_and_its_child_can_both_be_asked_for() {
        let found = decode(r#"{"a":{"b":1}}"#, &["/a", "/a/b", ""]).unwrap();
        assert_eq!(found, [Some("{\"b\":1}"), Some("1"), Some("{\"a\":{\"b\":1}}")].map(|f| f.map(str::to_owned)));
    }

    #[test]
    fn a_scalar_on_the_way_means_absent() {
        assert_eq!(decode(r#"{"a":1,"n":null,"s":"x"}"#, &["/a/b", "/n/b", "/s/b"]).unwrap(), [None, None, None]);
    }

    #[test]
    fn bad_bodies_have_codes() {
        for (body, code) in [
            ("", "empty"),
            ("  \n", "empty"),
            ("{", "not_json"),
            ("{\"a\":1} x", "not_json"),
            ("{\"a\":01}", "not_json"),
            ("{\"a\":NaN}", "not_json"),
            ("17", "not_object"),
            ("\"text\"", "not_object"),
            ("null", "not_object"),
            ("1.5", "not_object"),
            ("-1e400", "not_object"),
            ("123456789012345678901", "not_object"),
            ("1.", "not_json"),
            ("{\"a\":1,\"a\":2}", "duplicate_key"),
            ("[[[[[[[[[1]]]]]]]]]", "too_deep"),
        ] {
            assert_eq!(decode(body, &["/a"]), Err(code.to_owned()), "{body}");
        }
        let failure = json(b"{\"a\":\"\xff\"}", &Fields::default(), 8).unwrap_err();
        assert_eq!(failure.code, "not_utf8");
    }

    #[test]
    fn a_field_that_stands_twice_is_noticed_among_many() {
        for fields in [1, 63, 64, 65, 200] {
            let names: Vec<String> = (0..fields).map(|at| format!("/f{at}")).collect();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let body: Vec<String> = (0..fields).map(|at| format!("\"f{at}\":{at}")).collect();
            assert!(decode(&format!("{{{}}}", body.join(",")), &names).is_ok());
            let twice = format!("{{{},\"f{}\":1}}", body.join(","), fields - 1);
            assert_eq!(decode(&twice, &names), Err("duplicate_key".to_owned()), "{fields}");
        }
    }

    #[test]
    fn brackets_in_strings_are_not_levels() {
        assert!(decode(r#"{"a":"[[[[[[[[[[[[\"[["}"#, &["/a"]).is_ok());
        assert!(decode("[[[[[[[[1]]]]]]]]", &["/0"]).is_ok());
    }

    #[test]
    fn unknown_fields_are_kept_on_request() {
        let mut fields = Fields { keep_unknown: true, ..Fields::default() };
        fields.ask(&["a".to_owned()]);
        let record = json(br#"{"a":1,"b":{"c":[2]}}"#, &fields, 8).unwrap();
        assert_eq!(record.unknown, [("b".to_owned(), "{\"c\":[2]}")]);
    }
}
