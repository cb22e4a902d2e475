//! The worker's counters for Prometheus. All metric names stand here and in `families`.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use super::process::Process;
use crate::status::{ClassLabel, PipelineStatus, Reload, WorkerStatus};

mod families;
mod format;

pub use families::Number;
use families::{BY_CLASS, COUNTERS, GAUGES, HISTOGRAMS, LABELLED};
pub use format::Format;

/// Everything that the worker counts, at `now`.
///
/// # Errors
/// None that are known: writing to a string doesn't fail.
pub fn render(status: &WorkerStatus, now: Instant, format: Format) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Metrics {
        pipelines: status.pipelines(),
        process: Process::now(),
        reload: status.reload(),
        now,
    }));
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry)?;
    Ok(format.of(text))
}

#[derive(Debug)]
struct Metrics {
    pipelines: Vec<Arc<PipelineStatus>>,
    process: Process,
    reload: Reload,
    now: Instant,
}

impl Metrics {
    fn counters(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        for (name, help, read) in COUNTERS {
            let mut metric = describe(encoder, name, help, MetricType::Counter)?;
            for status in &self.pipelines {
                read(status).encode(metric.encode_family(&labels(status))?)?;
            }
        }
        for (name, help, read) in BY_CLASS {
            let mut metric = describe(encoder, name, help, MetricType::Counter)?;
            for status in &self.pipelines {
                // All classes from the first scrape on: a counter that appears with its first event
                // has no rate at that event, and no alert would see it.
                for class in families::classes(read(status)) {
                    let labels = [("pipeline", status.name.as_str()), ("class", class)];
                    let counter = read(status).get_or_create(&ClassLabel { class }).clone();
                    counter.encode(metric.encode_family(&labels)?)?;
                }
            }
        }
        Ok(())
    }

    fn histograms(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        for (name, help, read) in HISTOGRAMS {
            let mut metric = describe(encoder, name, help, MetricType::Histogram)?;
            for status in &self.pipelines {
                read(status).encode(metric.encode_family(&labels(status))?)?;
            }
        }
        let (name, help) = families::IN_QUEUE;
        let mut metric = describe(encoder, name, help, MetricType::Histogram)?;
        for status in &self.pipelines {
            for since in crate::status::Since::ALL {
                let labels = [("pipeline", status.name.as_str()), ("since", since.since)];
                let histogram = status.latency.in_queue.get_or_create(&since).clone();
                histogram.encode(metric.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }

    fn gauges(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        for (name, help, read) in GAUGES {
            let mut metric = describe(encoder, name, help, MetricType::Gauge)?;
            for status in &self.pipelines {
                if let Some(number) = read(status, self.now) {
                    write(metric.encode_family(&labels(status))?, number)?;
                }
            }
        }
        for (name, help, kind, read) in LABELLED {
            let counts = matches!(kind, MetricType::Counter);
            let mut metric = describe(encoder, name, help, kind)?;
            for status in &self.pipelines {
                for (more, number) in read(status) {
                    let own = ("pipeline", status.name.as_str());
                    let all: Vec<(&str, &str)> =
                        std::iter::once(own).chain(more.iter().map(|(name, value)| (*name, value.as_ref()))).collect();
                    let mut one = metric.encode_family(&all)?;
                    match (counts, number) {
                        (true, number) => one.encode_counter::<NoLabelSet, _, u64>(&number, None)?,
                        (false, number) => one.encode_gauge(&count(number))?,
                    }
                }
            }
        }
        Ok(())
    }

    /// Who has ordered a pause, and why: people's words, of which there are two at most.
    fn pauses(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
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
        Ok(())
    }

    /// What isn't any pipeline's.
    fn process(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        for (name, help, number) in self.process.gauges() {
            let metric = describe(encoder, name, help, MetricType::Gauge)?;
            if let Some(number) = number {
                write(metric, number)?;
            }
        }
        let help =
            "1 where the config was taken when it was last read, 0 where it was refused and the one before goes on";
        let mut metric = describe(encoder, "rabbit_sink_config_last_reload_successful", help, MetricType::Gauge)?;
        metric.encode_gauge(&i64::from(self.reload.refused.is_none()))?;
        let help = "When the config in use was read, in seconds since 1970";
        let name = "rabbit_sink_config_last_reload_success_timestamp_seconds";
        let mut metric = describe(encoder, name, help, MetricType::Gauge)?;
        metric.encode_gauge(&(self.reload.succeeded.as_millisecond() as f64 / 1000.0))?;
        if let Some(seconds) = self.process.cpu_seconds {
            let help = "CPU time of this process, user and system";
            let mut metric = describe(encoder, "process_cpu_seconds", help, MetricType::Counter)?;
            metric.encode_counter::<NoLabelSet, _, f64>(&seconds, None)?;
        }
        Ok(())
    }
}

impl Collector for Metrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        encoder
            .encode_descriptor("rabbit_sink_build", "The running version", None, MetricType::Info)?
            .encode_info(&[("version", env!("CARGO_PKG_VERSION"))])?;
        self.process(&mut encoder)?;
        self.counters(&mut encoder)?;
        self.gauges(&mut encoder)?;
        self.pauses(&mut encoder)?;
        self.histograms(&mut encoder)
    }
}

static UNITS: [(&str, Unit); 2] = [("_seconds", Unit::Seconds), ("_bytes", Unit::Bytes)];

fn labels(status: &PipelineStatus) -> [(&'static str, &str); 1] {
    [("pipeline", status.name.as_str())]
}

/// Names end with their unit, which is told apart, too. `_total` comes with the format.
fn describe<'a>(
    encoder: &'a mut DescriptorEncoder<'_>,
    name: &'a str,
    help: &str,
    kind: MetricType,
) -> Result<MetricEncoder<'a>, fmt::Error> {
    for (suffix, unit) in &UNITS {
        if let Some(stem) = name.strip_suffix(suffix) {
            return encoder.encode_descriptor(stem, help, Some(unit), kind);
        }
    }
    encoder.encode_descriptor(name, help, None, kind)
}

fn write(mut metric: MetricEncoder<'_>, number: Number) -> fmt::Result {
    match number {
        Number::Count(number) => metric.encode_gauge(&count(number)),
        Number::Seconds(number) => metric.encode_gauge(&number),
    }
}

fn count(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
