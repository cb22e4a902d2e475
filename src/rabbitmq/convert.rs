//! Between the client library's types and ours, without loss in either direction.

use bytes::Bytes;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, ByteArray, DecimalValue, FieldArray, FieldTable, LongString, ShortString};
use tokio::time::Instant;

use crate::error::{ErrorClass, Failure};
use crate::message::{Delivery, Envelope, HeaderValue, Headers, Properties};

/// What the library delivers, body and all moved over.
pub(super) fn delivery(from: lapin::message::Delivery) -> Delivery {
    Delivery { tag: from.delivery_tag, arrived: Instant::now(), envelope: Box::new(envelope(from)) }
}

/// The envelope of a delivery.
pub(super) fn envelope(from: lapin::message::Delivery) -> Envelope {
    Envelope {
        body: body(from.data),
        exchange: from.exchange.into(),
        routing_key: from.routing_key.into(),
        redelivered: from.redelivered,
        headers: from.properties.headers().as_ref().map(headers).unwrap_or_default(),
        properties: properties(&from.properties),
    }
}

/// The library puts a body of several frames together in a vector that doubles: up to half of it may
/// be empty, which would stay so for as long as the delivery is unsettled.
fn body(mut data: Vec<u8>) -> Bytes {
    if data.capacity() - data.len() > data.len() / 8 {
        data.shrink_to_fit();
    }
    Bytes::from(data)
}

fn properties(from: &BasicProperties) -> Properties {
    let text = |value: &Option<ShortString>| value.as_ref().map(|text| text.as_str().to_owned());
    Properties {
        content_type: text(from.content_type()),
        content_encoding: text(from.content_encoding()),
        delivery_mode: *from.delivery_mode(),
        priority: *from.priority(),
        correlation_id: text(from.correlation_id()),
        reply_to: text(from.reply_to()),
        expiration: text(from.expiration()),
        message_id: text(from.message_id()),
        timestamp: *from.timestamp(),
        kind: text(from.kind()),
        user_id: text(from.user_id()),
        app_id: text(from.app_id()),
        cluster_id: text(from.cluster_id()),
    }
}

fn headers(from: &FieldTable) -> Headers {
    Headers(from.into_iter().map(|(name, value)| (name.as_str().to_owned(), header(value))).collect())
}

fn header(from: &AMQPValue) -> HeaderValue {
    match from {
        AMQPValue::Void => HeaderValue::Void,
        AMQPValue::Boolean(value) => HeaderValue::Bool(*value),
        AMQPValue::ShortShortInt(value) => HeaderValue::I8(*value),
        AMQPValue::ShortShortUInt(value) => HeaderValue::U8(*value),
        AMQPValue::ShortInt(value) => HeaderValue::I16(*value),
        AMQPValue::ShortUInt(value) => HeaderValue::U16(*value),
        AMQPValue::LongInt(value) => HeaderValue::I32(*value),
        AMQPValue::LongUInt(value) => HeaderValue::U32(*value),
        AMQPValue::LongLongInt(value) => HeaderValue::I64(*value),
        AMQPValue::Float(value) => HeaderValue::F32(*value),
        AMQPValue::Double(value) => HeaderValue::F64(*value),
        AMQPValue::DecimalValue(value) => HeaderValue::Decimal { scale: value.scale, value: value.value },
        // Never on the wire: field values have no letter for it.
        AMQPValue::ShortString(value) => HeaderValue::Text(Bytes::copy_from_slice(value.as_str().as_bytes())),
        AMQPValue::LongString(value) => HeaderValue::Text(Bytes::copy_from_slice(value.as_bytes())),
        AMQPValue::ByteArray(value) => HeaderValue::Bytes(Bytes::copy_from_slice(value.as_slice())),
        AMQPValue::Timestamp(value) => HeaderValue::Timestamp(*value),
        AMQPValue::FieldArray(values) => HeaderValue::List(values.as_slice().iter().map(header).collect()),
        AMQPValue::FieldTable(table) => HeaderValue::Table(headers(table)),
    }
}

/// A short string: what AMQP limits to 255 bytes. The library's own conversion panics above.
pub(super) fn short(text: &str, what: &str) -> Result<ShortString, Failure> {
    ShortString::try_new(text).map_err(|_| {
        Failure::new(ErrorClass::Config, "too_long", format!("{what} has {} bytes; AMQP takes 255", text.len()))
    })
}

/// The properties and headers of a message to publish.
///
/// # Errors
/// Code `too_long` where a name or a property is above 255 bytes.
pub(super) fn to_properties(from: &Properties, headers: &Headers) -> Result<BasicProperties, Failure> {
    let mut to = BasicProperties::default();
    if !headers.0.is_empty() {
        to = to.with_headers(to_table(headers)?);
    }
    if let Some(mode) = from.delivery_mode {
        to = to.with_delivery_mode(mode);
    }
    if let Some(priority) = from.priority {
        to = to.with_priority(priority);
    }
    if let Some(timestamp) = from.timestamp {
        to = to.with_timestamp(timestamp);
    }
    type Setter = fn(BasicProperties, ShortString) -> BasicProperties;
    let texts: [(&Option<String>, Setter, &str); 10] = [
        (&from.content_type, BasicProperties::with_content_type, "the property content_type"),
        (&from.content_encoding, BasicProperties::with_content_encoding, "the property content_encoding"),
        (&from.correlation_id, BasicProperties::with_correlation_id, "the property correlation_id"),
        (&from.reply_to, BasicProperties::with_reply_to, "the property reply_to"),
        (&from.expiration, BasicProperties::with_expiration, "the property expiration"),
        (&from.message_id, BasicProperties::with_message_id, "the property message_id"),
        (&from.kind, BasicProperties::with_type, "the property type"),
        (&from.user_id, BasicProperties::with_user_id, "the property user_id"),
        (&from.app_id, BasicProperties::with_app_id, "the property app_id"),
        (&from.cluster_id, BasicProperties::with_cluster_id, "the property cluster_id"),
    ];
    for (text, set, what) in texts {
        if let Some(text) = text {
            to = set(to, short(text, what)?);
        }
    }
    Ok(to)
}

fn to_table(from: &Headers) -> Result<FieldTable, Failure> {
    let mut table = FieldTable::default();
    for (name, value) in &from.0 {
        table.insert(short(name, "a header's name")?, to_value(value)?);
    }
    Ok(table)
}

fn to_value(from: &HeaderValue) -> Result<AMQPValue, Failure> {
    Ok(match from {
        HeaderValue::Void => AMQPValue::Void,
        HeaderValue::Bool(value) => AMQPValue::Boolean(*value),
        HeaderValue::I8(value) => AMQPValue::ShortShortInt(*value),
        HeaderValue::U8(value) => AMQPValue::ShortShortUInt(*value),
        HeaderValue::I16(value) => AMQPValue::ShortInt(*value),
        HeaderValue::U16(value) => AMQPValue::ShortUInt(*value),
        HeaderValue::I32(value) => AMQPValue::LongInt(*value),
        HeaderValue::U32(value) => AMQPValue::LongUInt(*value),
        HeaderValue::I64(value) => AMQPValue::LongLongInt(*value),
        HeaderValue::F32(value) => AMQPValue::Float(*value),
        HeaderValue::F64(value) => AMQPValue::Double(*value),
        HeaderValue::Decimal { scale, value } => AMQPValue::DecimalValue(DecimalValue { scale: *scale, value: *value }),
        HeaderValue::Text(value) => AMQPValue::LongString(LongString::from(value.to_vec())),
        HeaderValue::Bytes(value) => AMQPValue::ByteArray(ByteArray::from(value.to_vec())),
        HeaderValue::Timestamp(value) => AMQPValue::Timestamp(*value),
        HeaderValue::List(values) => {
            AMQPValue::FieldArray(FieldArray::from(values.iter().map(to_value).collect::<Result<Vec<_>, _>>()?))
        }
        HeaderValue::Table(headers) => AMQPValue::FieldTable(to_table(headers)?),
    })
}

/// Bytes of the frame that these properties and headers are sent in.
pub(super) fn header_frame_size(properties: &BasicProperties) -> usize {
    // Frame header and end: 8 bytes; class, weight and size of the body: 12.
    let written = lapin::protocol::basic::gen_properties(properties)(Vec::new().into());
    written.map_or(usize::MAX, |context| context.write.len() + 20)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Any header value but NaN, which isn't equal to itself.
    fn any_value() -> impl Strategy<Value = HeaderValue> {
        let leaf = prop_oneof![
            Just(HeaderValue::Void),
            any::<bool>().prop_map(HeaderValue::Bool),
            any::<i8>().prop_map(HeaderValue::I8),
            any::<u8>().prop_map(HeaderValue::U8),
            any::<i16>().prop_map(HeaderValue::I16),
            any::<u16>().prop_map(HeaderValue::U16),
            any::<i32>().prop_map(HeaderValue::I32),
            any::<u32>().prop_map(HeaderValue::U32),
            any::<i64>().prop_map(HeaderValue::I64),
            any::<f32>().prop_map(HeaderValue::F32),
            any::<f64>().prop_map(HeaderValue::F64),
            (any::<u8>(), any::<u32>()).prop_map(|(scale, value)| HeaderValue::Decimal { scale, value }),
            any::<Vec<u8>>().prop_map(|bytes| HeaderValue::Text(bytes.into())),
            any::<Vec<u8>>().prop_map(|bytes| HeaderValue::Bytes(bytes.into())),
            any::<u64>().prop_map(HeaderValue::Timestamp),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(HeaderValue::List),
                proptest::collection::btree_map("[a-zé]{0,20}", inner, 0..4)
                    .prop_map(|table| HeaderValue::Table(Headers(table.into_iter().collect()))),
            ]
        })
    }

    fn any_headers() -> impl Strategy<Value = Headers> {
        proptest::collection::btree_map("[ -~]{0,60}", any_value(), 0..6)
            .prop_map(|table| Headers(table.into_iter().collect()))
    }

    fn any_properties() -> impl Strategy<Value = Properties> {
        let text = || proptest::option::of("\\PC{0,60}");
        (
            (text(), text(), text(), text(), text()),
            (text(), text(), text(), text(), text()),
            (any::<Option<u8>>(), any::<Option<u8>>(), any::<Option<u64>>()),
        )
            .prop_map(|(a, b, (delivery_mode, priority, timestamp))| Properties {
                content_type: a.0,
                content_encoding: a.1,
                correlation_id: a.2,
                reply_to: a.3,
                expiration: a.4,
                message_id: b.0,
                kind: b.1,
                user_id: b.2,
                app_id: b.3,
                cluster_id: b.4,
                delivery_mode,
                priority,
                timestamp,
            })
    }

    proptest! {
        #[test]
        fn nothing_is_lost_on_the_way_out_and_back(given in any_properties(), with in any_headers()) {
            let there = to_properties(&given, &with).unwrap();
            prop_assert_eq!(properties(&there), given);
            prop_assert_eq!(there.headers().as_ref().map(headers).unwrap_or_default(), with);
        }
    }

    #[test]
    fn what_amqp_cannot_hold_is_an_error_and_no_panic() {
        let given = Properties { message_id: Some("x".repeat(256)), ..Properties::default() };
        assert_eq!(to_properties(&given, &Headers::default()).unwrap_err().code, "too_long");
        let mut headers = Headers::default();
        headers.set_text(&"n".repeat(256), "v");
        assert_eq!(to_properties(&Properties::default(), &headers).unwrap_err().code, "too_long");
    }

    #[test]
    fn a_body_of_many_frames_takes_no_more_memory_than_it_has_bytes() {
        let mut data = Vec::with_capacity(32 << 20);
        data.resize(17 << 20, 0);
        let body = super::body(data);
        assert_eq!(body.len(), 17 << 20);
        let back: Vec<u8> = body.into();
        assert_eq!(back.capacity(), 17 << 20);
    }

    #[test]
    fn a_body_is_moved_and_not_copied() {
        let data = b"a body".to_vec();
        let at = data.as_ptr();
        let from = lapin::message::Delivery::mock(7, "e".into(), "k".into(), true, data);
        let to = delivery(from);
        assert_eq!(to.envelope.body.as_ptr(), at);
        assert_eq!((to.tag, to.envelope.exchange.as_str(), to.envelope.routing_key.as_str()), (7, "e", "k"));
        assert!(to.envelope.redelivered);
    }
}
