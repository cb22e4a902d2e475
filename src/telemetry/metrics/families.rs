//! Every metric of a pipeline: name, help, and where the number is.

use std::borrow::Cow;
use std::time::Instant;

use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;

use crate::error::ErrorClass;
use crate::status::{ClassLabel, Peer, PipelineStatus, State};

pub(super) type ByClass = Family<ClassLabel, Counter>;
type Read<T> = fn(&PipelineStatus) -> &T;

/// A number as it is written.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// A whole number.
    Count(u64),
    /// May be infinite.
    Seconds(f64),
}

/// Counters: `_total` comes with the format.
pub(super) const COUNTERS: [(&str, &str, Read<Counter>); 9] = [
    ("rabbit_sink_deliveries", "Deliveries received, repeats included", |status| &status.deliveries),
    ("rabbit_sink_delivered_bytes", "Bytes of the bodies of deliveries", |status| &status.delivered_bytes),
    ("rabbit_sink_written", "Messages whose transaction committed", |status| &status.written),
    ("rabbit_sink_rows_written", "Table rows written", |status| &status.rows_written),
    ("rabbit_sink_duplicates", "Messages that had been written before", |status| &status.duplicates),
    ("rabbit_sink_superseded", "Messages for which a newer version was there", |status| &status.superseded),
    ("rabbit_sink_skipped", "Messages that asked for nothing", |status| &status.skipped),
    ("rabbit_sink_redelivered", "Deliveries that the broker had delivered before", |status| &status.redelivered),
    ("rabbit_sink_ledger_pruned", "Entries of the ledger deleted because of their age", |status| &status.ledger_pruned),
];

/// Counters with a second label, `class`.
pub(super) const BY_CLASS: [(&str, &str, Read<ByClass>); 4] = [
    ("rabbit_sink_dead_lettered", "Dead letters confirmed by the broker, or committed", |status| &status.dead_lettered),
    ("rabbit_sink_retries", "Batches and dead letters tried again, by what had failed", |status| &status.retries),
    ("rabbit_sink_holds", "How often a consumer began to hold, by the reason", |status| &status.times_held),
    ("rabbit_sink_pauses", "How often a consumer was paused, by the reason", |status| &status.times_paused),
];

/// The classes that a family has, those of errors first.
pub(super) fn classes(family: &ByClass) -> Vec<&'static str> {
    // Somebody's order to pause is a reason without an error; it is known by its first event.
    let known = ErrorClass::ALL.iter().map(|class| class.name());
    known.chain(["ordered"].into_iter().filter(|class| family.get(&ClassLabel { class }).is_some())).collect()
}

pub(super) const HISTOGRAMS: [(&str, &str, Read<Histogram>); 6] = [
    ("rabbit_sink_batch_rows", "Messages in a written batch", |status| &status.batch_rows),
    ("rabbit_sink_batch_bytes", "Bytes of the bodies in a batch", |status| &status.batch_bytes),
    (
        "rabbit_sink_batch_age_seconds",
        "From the arrival of a batch's first delivery until it is given to the writer",
        |status| &status.batch_age,
    ),
    ("rabbit_sink_commit_duration_seconds", "A successful write from BEGIN to COMMIT", |status| {
        &status.commit_duration
    }),
    ("rabbit_sink_delivery_duration_seconds", "From a delivery's arrival to its settling", |status| {
        &status.delivery_duration
    }),
    (
        "rabbit_sink_before_queue_duration_seconds",
        "From the publisher's timestamp to the broker's stamp, in whole seconds, where a message has both",
        |status| &status.latency.before_queue,
    ),
];

/// With the label `since`.
pub(super) const IN_QUEUE: (&str, &str) = (
    "rabbit_sink_queue_duration_seconds",
    "From the broker's stamp, or else the publisher's timestamp, to a message's first arrival",
);

type ReadGauge = fn(&PipelineStatus, Instant) -> Option<Number>;

/// Gauges with no other label. What isn't known is absent.
pub(super) const GAUGES: [(&str, &str, ReadGauge); 10] = [
    ("rabbit_sink_unsettled_deliveries", "Deliveries received and not yet acked", |status, _| {
        Some(Number::Count(status.unsettled() as u64))
    }),
    (
        "rabbit_sink_oldest_unsettled_seconds",
        "Age of the oldest unsettled delivery; 0 where there is none",
        |status, now| {
            let age = |arrived: Instant| now.saturating_duration_since(arrived).as_secs_f64();
            Some(Number::Seconds(status.oldest_unsettled().map_or(0.0, age)))
        },
    ),
    (
        "rabbit_sink_queue_ready_messages",
        "Ready messages in the queue when last asked; absent where not known",
        |status, now| status.lag.ready(now).map(Number::Count),
    ),
    (
        "rabbit_sink_queue_time_to_empty_seconds",
        "When the queue will be empty at the pace of the last two minutes; infinite while it doesn't shrink",
        |status, now| status.lag.seconds_to_empty(now).map(Number::Seconds),
    ),
    ("rabbit_sink_dead_letters_waiting", "Dead letters where this pipeline's go", |status, now| {
        status.stock.letters(now).map(Number::Count)
    }),
    (
        "rabbit_sink_dead_letters_oldest_seconds",
        "For how long the oldest dead letter has waited; of a queue: since it was last seen empty",
        |status, now| status.stock.oldest_letter(now).map(|age| Number::Seconds(age.as_secs_f64())),
    ),
    (
        "rabbit_sink_ledger_rows",
        "Entries in the ledger, of all pipelines that share it; estimated above 100000",
        |status, now| status.stock.ledger(now)?.rows.map(Number::Count),
    ),
    ("rabbit_sink_ledger_bytes", "Bytes of the ledger with its indexes, where the server tells", |status, now| {
        status.stock.ledger(now)?.bytes.map(Number::Count)
    }),
    ("rabbit_sink_database_connections_busy", "Database connections with a transaction in hand", |status, _| {
        Some(Number::Count(u64::try_from(status.connections(Peer::Database).busy()).unwrap_or_default()))
    }),
    ("rabbit_sink_wedged", "1 while something stands still that says it runs, as /livez tells", |status, now| {
        Some(Number::Count(u64::from(status.wedge(now).is_some())))
    }),
];

/// Labels beside `pipeline`, and a number.
type Sample = (Vec<(&'static str, Cow<'static, str>)>, u64);
type ReadLabelled = fn(&PipelineStatus) -> Vec<Sample>;

/// Gauges and counters with further labels.
pub(super) const LABELLED: [(&str, &str, MetricType, ReadLabelled); 6] = [
    ("rabbit_sink_state", "1 for the state that the pipeline is in", MetricType::Gauge, |status| {
        let now = status.state().0;
        State::ALL.iter().map(|state| (vec![("state", state.name().into())], u64::from(*state == now))).collect()
    }),
    (
        "rabbit_sink_hindrance",
        "Consumers that hold, are paused, start or reconnect, by class and code of the reason; only while they do",
        MetricType::Gauge,
        hindrances,
    ),
    ("rabbit_sink_consumers", "Consumers in each state", MetricType::Gauge, |status| {
        let consumers = status.consumers();
        let within = |state| consumers.iter().filter(|consumer| consumer.state == state).count() as u64;
        State::ALL.iter().map(|&state| (vec![("state", state.name().into())], within(state))).collect()
    }),
    ("rabbit_sink_consumer_settled", "Deliveries settled by each consumer", MetricType::Counter, |status| {
        let number = |number: usize| vec![("consumer", number.to_string().into())];
        status.consumers().iter().enumerate().map(|(at, consumer)| (number(at), consumer.settled)).collect()
    }),
    ("rabbit_sink_connections", "Open connections, by who is on the other side", MetricType::Gauge, |status| {
        let open = |peer| u64::try_from(status.connections(peer).open()).unwrap_or_default();
        Peer::ALL.iter().map(|&peer| (vec![("peer", peer.name().into())], open(peer))).collect()
    }),
    ("rabbit_sink_reconnects", "Connections made after the first one of a consumer", MetricType::Counter, |status| {
        let made = |peer| status.connections(peer).reconnects.get();
        Peer::ALL.iter().map(|&peer| (vec![("peer", peer.name().into())], made(peer))).collect()
    }),
];

fn hindrances(status: &PipelineStatus) -> Vec<Sample> {
    let mut found: Vec<Sample> = Vec::new();
    for consumer in status.consumers() {
        let Some(reason) = &consumer.reason else { continue };
        let labels =
            vec![("state", consumer.state.name().into()), ("class", reason.class.into()), ("code", code(&reason.code))];
        match found.iter_mut().find(|(known, _)| *known == labels) {
            Some((_, count)) => *count += 1,
            None => found.push((labels, 1)),
        }
    }
    found
}

/// A code is a word, a SQLSTATE or a number. A server that says something else doesn't make a label of it.
fn code(code: &str) -> Cow<'static, str> {
    let word = code.len() <= 64 && code.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if word { code.to_owned().into() } else { "other".into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::Reason;

    #[test]
    fn hindrances_are_counted_by_their_cause() {
        let status = PipelineStatus::new("orders", 4);
        for (consumer, class, code) in
            [(0, ErrorClass::SinkUnavailable, "57P03"), (1, ErrorClass::SinkUnavailable, "57P03")]
        {
            status.update(consumer, |entry| {
                entry.enter("orders", State::Holding, Some(Reason::new(class, code, "away")))
            });
        }
        let odd = Reason::new(ErrorClass::Unknown, "what a \"server\" says", "odd");
        status.update(2, |entry| entry.enter("orders", State::Paused, Some(odd)));
        let told: Vec<String> = hindrances(&status)
            .iter()
            .map(|(labels, count)| {
                format!("{} {count}", labels.iter().map(|(_, value)| value.as_ref()).collect::<Vec<_>>().join("/"))
            })
            .collect();
        assert_eq!(told, ["holding/sink_unavailable/57P03 2", "paused/unknown/other 1"]);
        assert_eq!(status.times_held.get_or_create(&ErrorClass::SinkUnavailable.into()).get(), 2);
        assert_eq!(status.times_paused.get_or_create(&ErrorClass::Unknown.into()).get(), 1);
    }
}
