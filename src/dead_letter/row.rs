//! A dead letter as a row of a table, and back.

use bytes::Bytes;

use super::json::{Json, JsonProperties};
use super::{REASON_MAX, Rejected, build, cut, read};
use crate::message::{Envelope, Headers, LetterRow, MessageId};

/// The longest name, code or ID in a row, in bytes.
const TEXT_MAX: usize = 255;

/// The row of a rejected message.
pub fn rejected_row(letter: &Rejected<'_>) -> LetterRow {
    // Nothing is sent in frames: no headers are too large.
    row(&build(letter, 0), letter.pipeline)
}

/// The row of a letter that is [`super::restored`], for this pipeline.
pub fn row(letter: &Envelope, pipeline: &str) -> LetterRow {
    let info = read(letter);
    // PostgreSQL's texts have no NUL; in the JSON it is escaped.
    let short = |text: &str, max: usize| cut(text, max).replace('\0', "\u{fffd}");
    let text = |text: &Option<String>| text.as_deref().map(|text| short(text, TEXT_MAX));
    let headers: Vec<(&str, Json)> =
        letter.headers.0.iter().map(|(name, value)| (name.as_str(), Json::from(value))).collect();
    // Strings and numbers only: these can't fail.
    let json = |written: Result<String, serde_json::Error>| written.unwrap_or_default();
    LetterRow {
        id: MessageId::new(&info.id).as_str().to_owned(),
        pipeline: pipeline.to_owned(),
        failed_at: info.failed_at.as_ref().and_then(|at| Some(at.parse::<jiff::Timestamp>().ok()?.as_microsecond())),
        class: text(&info.class),
        code: text(&info.code),
        column: text(&info.column),
        reason: info.reason.as_deref().map(|reason| short(reason, REASON_MAX)),
        message_id: text(&info.message_id),
        table: text(&info.table),
        queue: text(&info.queue),
        exchange: short(&info.exchange, TEXT_MAX),
        routing_key: short(&info.routing_key, TEXT_MAX),
        attempts: info.attempts.and_then(|attempts| i64::try_from(attempts).ok()),
        replays: info.replays.into(),
        properties: json(serde_json::to_string(&JsonProperties::from(&letter.properties))),
        headers: json(serde_json::to_string(&headers)),
        body: letter.body.clone(),
    }
}

/// The letter that a row was made of. `None` where its properties or headers aren't what was written.
pub fn of_row(exchange: String, routing_key: String, properties: &str, headers: &str, body: Bytes) -> Option<Envelope> {
    let properties: JsonProperties = serde_json::from_str(properties).ok()?;
    let headers: Vec<(String, Json)> = serde_json::from_str(headers).ok()?;
    let headers = headers.into_iter().map(|(name, value)| Some((name, value.header()?)));
    Some(Envelope {
        body,
        exchange,
        routing_key,
        redelivered: false,
        properties: properties.into(),
        headers: Headers(headers.collect::<Option<_>>()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{ErrorClass, Failure};
    use crate::message::HeaderValue;

    #[test]
    fn a_row_tells_why_and_gives_the_letter_back() {
        let mut envelope = Envelope { body: "\u{0}\u{ff}".into(), exchange: "shop".into(), ..Envelope::default() };
        envelope.properties.message_id = Some("m\0".to_owned());
        envelope.properties.user_id = Some("app".to_owned());
        envelope.headers.set("f", HeaderValue::F32(0.1));
        envelope.headers.set("b", HeaderValue::Bytes(vec![0, 255].into()));
        let failure = Failure::new(ErrorClass::Mapping, "lossy", "r".repeat(5000)).column("c".repeat(300));
        let rejected = Rejected {
            envelope: &envelope,
            failure: &failure,
            pipeline: "orders",
            queue: "q",
            table: "t",
            attempts: 3,
            failed_at: jiff::Timestamp::from_microsecond(1_500_000).unwrap(),
            dead_letter_queue: "",
        };
        let row = rejected_row(&rejected);
        assert_eq!((row.class.as_deref(), row.code.as_deref()), (Some("mapping"), Some("lossy")));
        assert_eq!((row.failed_at, row.attempts, row.replays), (Some(1_500_000), Some(3), 0));
        assert_eq!((row.column.unwrap().len(), row.reason.unwrap().len()), (TEXT_MAX, REASON_MAX));
        assert_eq!((row.message_id.as_deref(), row.exchange.as_str()), (Some("m\u{fffd}"), "shop"));
        let again = of_row(row.exchange, row.routing_key, &row.properties, &row.headers, row.body).unwrap();
        assert_eq!(read(&again).message_id.as_deref(), Some("m\0"), "nothing is lost");
        assert_eq!(again.body, envelope.body);
        for name in ["f", "b"] {
            assert_eq!(again.headers.get(name), envelope.headers.get(name));
        }
        assert_eq!(again.headers.text(super::super::ORIGINAL_USER_ID), Some("app"));
    }

    #[test]
    fn what_somebody_has_spoilt_is_no_letter() {
        let of = |properties: &str, headers: &str| of_row(String::new(), String::new(), properties, headers, "".into());
        assert!(of("{}", "[]").is_some());
        assert!(of("", "[]").is_none() && of("{}", "{}").is_none());
    }
}
