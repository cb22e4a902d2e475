//! The worker's counters in OpenMetrics' text format. All metric names stand here.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::error::ErrorClass;
use crate::status::{ClassLabel, PipelineStatus, State, WorkerStatus};

/// What `/metrics` answers with.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Everything that the worker counts, at `now`.
///
/// # Errors
/// None that are known: writing to a string doesn't fail.
pub fn render(status: &WorkerStatus, now: Instant) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Metrics { pipelines: status.pipelines(), now }));
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry)?;
    Ok(text)
}

#[derive(Debug)]
struct Metrics {
    pipelines: Vec<Arc<PipelineStatus>>,
    now: Instant,
}

type ByClass = Family<ClassLabel, Counter>;
type Read<T> = fn(&PipelineStatus) -> &T;

/// Counters: `_total` comes with the format. Name, help, and where the number is.
const COUNTERS: [(&str, &str, Read<Counter>); 7] = [
    ("rabbit_sink_deliveries", "Deliveries received, repeats included", |status| &status.deliveries),
    ("rabbit_sink_written", "Messages whose transaction committed", |status| &status.written),
    ("rabbit_sink_rows_written", "Table rows written", |status| &status.rows_written),
    ("rabbit_sink_duplicates", "Messages that had been written before", |status| &status.duplicates),
    ("rabbit_sink_superseded", "Messages for which a newer version was there", |status| &status.superseded),
    ("rabbit_sink_skipped", "Messages that asked for nothing", |status| &status.skipped),
    ("rabbit_sink_redelivered", "Deliveries that the broker had delivered before", |status| &status.redelivered),
];

/// Counters with a second label, `class`.
const BY_CLASS: [(&str, &str, Read<ByClass>); 2] = [
    ("rabbit_sink_dead_lettered", "Dead letters confirmed by the broker", |status| &status.dead_lettered),
    ("rabbit_sink_retries", "Batches and dead letters tried again, by what had failed", |status| &status.retries),
];

const HISTOGRAMS: [(&str, &str, Read<Histogram>); 3] = [
    ("rabbit_sink_batch_rows", "Messages in a written batch", |status| &status.batch_rows),
    ("rabbit_sink_commit_duration_seconds", "A successful write from BEGIN to COMMIT", |status| {
        &status.commit_duration
    }),
    ("rabbit_sink_delivery_duration_seconds", "From a delivery's arrival to its settling", |status| {
        &status.delivery_duration
    }),
];

impl Metrics {
    fn counters(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        for (name, help, read) in COUNTERS {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for status in &self.pipelines {
                read(status).encode(metric.encode_family(&labels(status))?)?;
            }
        }
        for (name, help, read) in BY_CLASS {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for status in &self.pipelines {
                // All classes from the first scrape on: a counter that appears with its first event
                // has no rate at that event, and no alert would see it.
                for class in ErrorClass::ALL {
                    let labels = [("pipeline", status.name.as_str()), ("class", class.name())];
                    let counter = read(status).get_or_create(&class.into()).clone();
                    counter.encode(metric.encode_family(&labels)?)?;
                }
            }
        }
        Ok(())
    }

    fn histograms(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        for (name, help, read) in HISTOGRAMS {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
            for status in &self.pipelines {
                read(status).encode(metric.encode_family(&labels(status))?)?;
            }
        }
        Ok(())
    }

    fn gauges(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut metric = gauge(encoder, "rabbit_sink_unsettled_deliveries", "Deliveries received and not yet acked")?;
        for status in &self.pipelines {
            metric.encode_family(&labels(status))?.encode_gauge(&count(status.unsettled() as u64))?;
        }
        let help = "Age of the oldest unsettled delivery; 0 where there is none";
        let mut metric = gauge(encoder, "rabbit_sink_oldest_unsettled_seconds", help)?;
        for status in &self.pipelines {
            let oldest = status.oldest_unsettled();
            let age = oldest.map_or(0.0, |arrived| self.now.saturating_duration_since(arrived).as_secs_f64());
            metric.encode_family(&labels(status))?.encode_gauge(&age)?;
        }
        let help = "Ready messages in the queue when last asked; absent where not known";
        let mut metric = gauge(encoder, "rabbit_sink_queue_ready_messages", help)?;
        for status in &self.pipelines {
            if let Some(ready) = status.ready() {
                metric.encode_family(&labels(status))?.encode_gauge(&count(ready))?;
            }
        }
        let help = "An order to pause that holds now: who gave it, why, and how far it reaches";
        let mut metric = encoder.encode_descriptor("rabbit_sink_pause", help, None, MetricType::Info)?;
        for status in &self.pipelines {
            for pause in status.pauses().borrow().iter() {
                let labels = [
                    ("pipeline", status.name.as_str()),
                    ("scope", pause.scope.name()),
                    ("by", pause.by.as_str()),
                    ("reason", pause.reason.as_str()),
                ];
                metric.encode_info(&labels)?;
            }
        }
        let mut metric = gauge(encoder, "rabbit_sink_state", "1 for the state that the pipeline is in")?;
        for status in &self.pipelines {
            let now = status.state().0;
            for state in State::ALL {
                let labels = [("pipeline", status.name.as_str()), ("state", state.name())];
                metric.encode_family(&labels)?.encode_gauge(&i64::from(state == now))?;
            }
        }
        Ok(())
    }
}

impl Collector for Metrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        encoder
            .encode_descriptor("rabbit_sink_build", "The running version", None, MetricType::Info)?
            .encode_info(&[("version", env!("CARGO_PKG_VERSION"))])?;
        self.counters(&mut encoder)?;
        self.gauges(&mut encoder)?;
        self.histograms(&mut encoder)
    }
}

fn labels(status: &PipelineStatus) -> [(&'static str, &str); 1] {
    [("pipeline", status.name.as_str())]
}

fn gauge<'a>(
    encoder: &'a mut DescriptorEncoder<'_>,
    name: &'a str,
    help: &str,
) -> Result<MetricEncoder<'a>, fmt::Error> {
    encoder.encode_descriptor(name, help, None, MetricType::Gauge)
}

fn count(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
