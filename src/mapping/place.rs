//! Places in a message: where a column's value is looked for.

use std::borrow::Cow;

use super::Seen;
use crate::config::{Place, Property};
use crate::decode::Fields;
use crate::digest;
use crate::message::HeaderValue;
use crate::value::{Refusal, Value, refuse};

/// A place, with pointers resolved to the record's slots.
#[derive(Debug)]
pub(super) enum Lookup {
    Field(usize),
    Header(Vec<String>),
    Property(Property),
    RoutingKey,
    Exchange,
    Queue,
    Body,
    BodyHash,
    MessageId,
}

impl Lookup {
    pub(super) fn compile(place: &Place, fields: &mut Fields) -> Self {
        match place {
            Place::Pointer(parts) => Lookup::Field(fields.ask(parts)),
            Place::Property(property) => Lookup::Property(*property),
            Place::Header(path) => Lookup::Header(path.clone()),
            Place::RoutingKey => Lookup::RoutingKey,
            Place::Exchange => Lookup::Exchange,
            Place::Queue => Lookup::Queue,
            Place::Body => Lookup::Body,
            Place::MessageId => Lookup::MessageId,
            Place::BodyHash => Lookup::BodyHash,
        }
    }

    /// `None`: the message doesn't have it.
    pub(super) fn find<'a>(&self, seen: &Seen<'a>) -> Result<Option<Value<'a>>, Refusal> {
        let text = |text: &'a str| Some(Value::Text(text.into()));
        Ok(match self {
            Lookup::Field(slot) => return seen.record.field(*slot).map(Value::from_json).transpose(),
            Lookup::Header(path) => return header(seen, path),
            Lookup::Property(property) => self::property(seen, *property),
            // A replay comes through the default exchange and says where the message first came from.
            Lookup::RoutingKey => {
                text(seen.envelope.headers.text("x-original-routingKey").unwrap_or(&seen.envelope.routing_key))
            }
            Lookup::Exchange => {
                text(seen.envelope.headers.text("x-original-exchange").unwrap_or(&seen.envelope.exchange))
            }
            Lookup::Queue => text(seen.queue),
            Lookup::Body => Some(Value::Bytes(Cow::Borrowed(&seen.envelope.body))),
            Lookup::BodyHash => Some(Value::Text(digest::hex(&digest::sha256(&[&seen.envelope.body])).into())),
            Lookup::MessageId => seen.id.map(|id| Value::Text(id.to_owned().into())),
        })
    }
}

impl<'a> Seen<'a> {
    /// The fields that no column takes as one JSON object.
    pub(super) fn unknown_fields(&self) -> Option<Value<'a>> {
        if self.record.unknown.is_empty() {
            return None;
        }
        let fields = self.record.unknown.iter().map(|(name, raw)| {
            // A string always has a JSON form.
            let name = serde_json::to_string(name).unwrap_or_default();
            format!("{name}:{raw}")
        });
        Some(Value::Json(format!("{{{}}}", fields.collect::<Vec<_>>().join(",")).into()))
    }
}

fn property<'a>(seen: &Seen<'a>, property: Property) -> Option<Value<'a>> {
    let properties = &seen.envelope.properties;
    let text = |text: &'a Option<String>| text.as_deref().map(|text| Value::Text(text.into()));
    let number = |number: Option<u8>| number.map(|number| Value::Number(number.to_string().into()));
    match property {
        Property::ContentType => text(&properties.content_type),
        Property::ContentEncoding => text(&properties.content_encoding),
        Property::DeliveryMode => number(properties.delivery_mode),
        Property::Priority => number(properties.priority),
        Property::CorrelationId => text(&properties.correlation_id),
        Property::ReplyTo => text(&properties.reply_to),
        Property::Expiration => text(&properties.expiration),
        Property::MessageId => text(&properties.message_id),
        Property::Timestamp => properties.timestamp.map(Value::Seconds),
        Property::Type => text(&properties.kind),
        Property::UserId => text(&properties.user_id),
        Property::AppId => text(&properties.app_id),
        Property::ClusterId => text(&properties.cluster_id),
    }
}

fn header<'a>(seen: &Seen<'a>, path: &[String]) -> Result<Option<Value<'a>>, Refusal> {
    let Some((name, rest)) = path.split_first() else { return Ok(None) };
    let mut found = seen.envelope.headers.get(name);
    for part in rest {
        found = match found {
            Some(HeaderValue::Table(table)) => table.get(part),
            Some(HeaderValue::List(list)) => part.parse::<usize>().ok().and_then(|index| list.get(index)),
            _ => None,
        };
    }
    found.map(header_value).transpose()
}

fn header_value(header: &HeaderValue) -> Result<Value<'_>, Refusal> {
    let number = |text: String| Value::Number(text.into());
    Ok(match header {
        HeaderValue::Void => Value::Null,
        HeaderValue::Bool(truth) => Value::Bool(*truth),
        HeaderValue::I8(n) => number(n.to_string()),
        HeaderValue::U8(n) => number(n.to_string()),
        HeaderValue::I16(n) => number(n.to_string()),
        HeaderValue::U16(n) => number(n.to_string()),
        HeaderValue::I32(n) => number(n.to_string()),
        HeaderValue::U32(n) => number(n.to_string()),
        HeaderValue::I64(n) => number(n.to_string()),
        HeaderValue::F32(n) if n.is_finite() => number(n.to_string()),
        HeaderValue::F64(n) if n.is_finite() => number(n.to_string()),
        HeaderValue::F32(_) | HeaderValue::F64(_) => return refuse("invalid", "the header is not a finite number"),
        HeaderValue::Decimal { scale, value } => number(format!("{value}e-{scale}")),
        HeaderValue::Text(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => Value::Text(text.into()),
            Err(_) => Value::Bytes(Cow::Borrowed(bytes)),
        },
        HeaderValue::Bytes(bytes) => Value::Bytes(Cow::Borrowed(bytes)),
        HeaderValue::Timestamp(seconds) => Value::Seconds(*seconds),
        HeaderValue::List(_) | HeaderValue::Table(_) => Value::Json(json(header)?.into()),
    })
}

/// A header's table or array as JSON.
fn json(header: &HeaderValue) -> Result<String, Refusal> {
    let quoted = |text: &str| serde_json::to_string(text).unwrap_or_default();
    Ok(match header {
        HeaderValue::List(list) => {
            let items = list.iter().map(json).collect::<Result<Vec<_>, _>>()?;
            format!("[{}]", items.join(","))
        }
        HeaderValue::Table(table) => {
            let fields = table.0.iter().map(|(name, value)| Ok(format!("{}:{}", quoted(name), json(value)?)));
            format!("{{{}}}", fields.collect::<Result<Vec<_>, Refusal>>()?.join(","))
        }
        scalar => match header_value(scalar)? {
            Value::Null => "null".to_owned(),
            Value::Bool(truth) => truth.to_string(),
            Value::Number(text) | Value::Json(text) => text.into_owned(),
            Value::Text(text) => quoted(&text),
            Value::Seconds(seconds) => seconds.to_string(),
            Value::Bytes(_) => return refuse("invalid", "a header with bytes in it can't be written as JSON"),
        },
    })
}
