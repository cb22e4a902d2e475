//! A dead letter on its way back: as the message that it was, with a count of its replays.

use bytes::Bytes;

use super::{
    ATTEMPTS, CLASS, CODE, COLUMN, DELIVERY_COUNT, EDITED, FAILED_AT, ID, ORIGINAL_EXCHANGE, ORIGINAL_ROUTING_KEY,
    PIPELINE, QUEUE, REASON, REPLAY, REPLAYS, SWEEP, TABLE, VERSION, WRAPPED, addressed, put_aside, read,
};
use crate::message::{Envelope, HeaderValue, Headers};

/// What tells of a rejection that the replay is to undo. The broker drops a message whose own
/// `x-death` says that it has gone in a circle.
const STALE: [&str; 18] = [
    ID,
    PIPELINE,
    QUEUE,
    TABLE,
    CLASS,
    CODE,
    COLUMN,
    REASON,
    ATTEMPTS,
    FAILED_AT,
    VERSION,
    WRAPPED,
    SWEEP,
    DELIVERY_COUNT,
    "x-exception-stacktrace",
    "x-death",
    "MT-Reason",
    "x-opt-deaths",
];
const STALE_PREFIXES: [&str; 3] = ["x-first-death-", "x-last-death-", "MT-Fault-"];

/// A letter, [`super::restored`], as the message to publish to `queue` through the default
/// exchange: message ID, body and properties as they were, its replays counted. `run` and `place`
/// are what [`replayed_as`] finds should it die again.
pub fn replayed(letter: &Envelope, queue: &str, run: &str, place: usize) -> Envelope {
    let info = read(letter);
    let mut message = addressed(letter.clone(), queue);
    put_aside(&mut message);
    let known = letter.headers.get(ORIGINAL_ROUTING_KEY).is_some();
    // A letter that was put into its queue by hand has come from nowhere.
    if !known && (info.exchange.as_str(), info.routing_key.as_str()) != ("", letter.routing_key.as_str()) {
        message.headers.set_text(ORIGINAL_EXCHANGE, &info.exchange);
        message.headers.set_text(ORIGINAL_ROUTING_KEY, &info.routing_key);
    }
    let stale = |name: &str| STALE.contains(&name) || STALE_PREFIXES.iter().any(|prefix| name.starts_with(prefix));
    message.headers = Headers(message.headers.0.into_iter().filter(|(name, _)| !stale(name)).collect());
    message.headers.set(REPLAYS, HeaderValue::I64(i64::from(info.replays) + 1));
    message.headers.set_text(REPLAY, &format!("{run}/{place}"));
    message
}

/// The place of a message in the replay `run`, if that has sent it.
pub fn replayed_as(letter: &Envelope, run: &str) -> Option<usize> {
    let (by, place) = letter.headers.text(REPLAY)?.split_once('/')?;
    if by == run { place.parse().ok() } else { None }
}

/// A letter, [`super::restored`], with another body. It keeps its ID until it dies again.
pub fn edited(letter: &Envelope, body: Bytes, at: jiff::Timestamp) -> Envelope {
    let id = read(letter).id;
    let mut letter = Envelope { body, ..letter.clone() };
    letter.headers.set_text(ID, &id);
    letter.headers.set_text(EDITED, &format!("{at:.3}"));
    letter
}
