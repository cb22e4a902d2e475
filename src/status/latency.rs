//! The two parts of a message's way that lie before us; the third, from its arrival to its
//! settling, is [`super::PipelineStatus::delivery_duration`].
//!
//! RabbitMQ doesn't say when it took a message, unless it is told to stamp each with the header
//! `timestamp_in_ms` (`message_interceptors.incoming.set_header_timestamp`). AMQP's own property
//! `timestamp` is the publisher's, in whole seconds.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;

use crate::message::Envelope;

/// The header of RabbitMQ's stamp, milliseconds since 1970.
const STAMP: &str = "timestamp_in_ms";

/// Whose time a message's wait is counted from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Since {
    /// `broker` or `publisher`.
    pub since: &'static str,
}

impl Since {
    /// The broker's stamp: the queue alone.
    pub const BROKER: Since = Since { since: "broker" };
    /// The publisher's timestamp: the way into the queue is in it.
    pub const PUBLISHER: Since = Since { since: "publisher" };
    /// Both.
    pub const ALL: [Since; 2] = [Since::BROKER, Since::PUBLISHER];
}

/// The distributions of both parts.
#[derive(Debug)]
pub struct Latency {
    /// Seconds from the publisher's timestamp to the broker's stamp, where a message has both.
    pub before_queue: Histogram,
    /// Seconds from then to the arrival here.
    pub in_queue: Family<Since, Histogram>,
}

/// From a millisecond to a week.
const WAITS: [f64; 18] = [
    0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0, 60.0, 300.0, 1800.0, 7200.0, 86_400.0,
    604_800.0,
];

impl Default for Latency {
    fn default() -> Self {
        Latency {
            before_queue: Histogram::new([0.0, 1.0, 2.0, 5.0, 15.0, 60.0, 300.0, 1800.0, 7200.0, 86_400.0]),
            in_queue: Family::new_with_constructor(|| Histogram::new(WAITS)),
        }
    }
}

/// What is known of one message.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Parts {
    before_queue: Option<f64>,
    in_queue: Option<(Since, f64)>,
}

impl Latency {
    /// Takes a message that arrived at `now`, milliseconds since 1970. Those that come again are left
    /// out: they have been in hands, or in a dead-letter queue, in between.
    pub fn observe(&self, envelope: &Envelope, now: i64) {
        if envelope.redelivered || (envelope.properties.timestamp.is_none() && envelope.headers.0.is_empty()) {
            return;
        }
        let stamp = envelope.headers.integer(STAMP);
        if (stamp.is_none() && envelope.properties.timestamp.is_none()) || envelope.replays() > 0 {
            return;
        }
        let parts = parts(envelope.properties.timestamp, stamp, now);
        if let Some(seconds) = parts.before_queue {
            self.before_queue.observe(seconds);
        }
        if let Some((since, seconds)) = parts.in_queue {
            self.in_queue.get_or_create(&since).observe(seconds);
        }
    }
}

/// Clocks that differ make no time negative.
fn parts(published: Option<u64>, stamp: Option<i64>, now: i64) -> Parts {
    // Some publishers write milliseconds, against the standard; a time in the year 5000 isn't one.
    let published = published.and_then(|seconds| i64::try_from(seconds).ok()).filter(|seconds| *seconds < 1 << 36);
    let since = |start: i64| (now.saturating_sub(start).max(0)) as f64 / 1000.0;
    match (stamp, published) {
        (Some(stamp), published) => Parts {
            // Seconds against seconds: finer than that, the difference would be off by up to one.
            before_queue: published.map(|seconds| (stamp.div_euclid(1000) - seconds).max(0) as f64),
            in_queue: Some((Since::BROKER, since(stamp))),
        },
        (None, Some(seconds)) => {
            Parts { before_queue: None, in_queue: Some((Since::PUBLISHER, since(seconds.saturating_mul(1000)))) }
        }
        (None, None) => Parts::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_760_000_010_500;

    #[test]
    fn with_both_stamps_both_parts_are_known() {
        let parts = parts(Some(1_760_000_000), Some(1_760_000_003_250), NOW);
        assert_eq!(parts, Parts { before_queue: Some(3.0), in_queue: Some((Since::BROKER, 7.25)) });
    }

    #[test]
    fn the_publishers_time_alone_has_the_way_to_the_queue_in_it() {
        let parts = parts(Some(1_760_000_000), None, NOW);
        assert_eq!(parts, Parts { before_queue: None, in_queue: Some((Since::PUBLISHER, 10.5)) });
    }

    #[test]
    fn clocks_that_differ_make_no_time_negative_and_milliseconds_are_not_seconds() {
        let ahead = parts(Some(1_760_000_099), Some(1_760_000_011_000), NOW);
        assert_eq!(ahead, Parts { before_queue: Some(0.0), in_queue: Some((Since::BROKER, 0.0)) });
        assert_eq!(parts(Some(1_760_000_000_000), None, NOW), Parts::default());
        assert_eq!(parts(None, None, NOW), Parts::default());
        parts(Some(u64::MAX), Some(i64::MIN), i64::MAX);
        parts(Some(1), Some(i64::MAX), i64::MIN);
    }

    #[test]
    fn what_comes_again_is_left_out() {
        let latency = Latency::default();
        let mut envelope = Envelope::default();
        envelope.properties.timestamp = Some(1_760_000_000);
        envelope.redelivered = true;
        latency.observe(&envelope, NOW);
        envelope.redelivered = false;
        envelope.headers.set("x-sink-replays", crate::message::HeaderValue::I32(1));
        latency.observe(&envelope, NOW);
        assert!(latency.in_queue.get(&Since::PUBLISHER).is_none());
        envelope.headers.remove("x-sink-replays");
        latency.observe(&envelope, NOW);
        assert!(latency.in_queue.get(&Since::PUBLISHER).is_some());
    }
}
