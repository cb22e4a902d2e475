//! Spans by OpenTelemetry's conventions for messaging and databases, exported by OTLP.

use std::time::{Duration, SystemTime};

use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::{Link, Span, SpanBuilder, SpanContext, SpanKind, Status, TraceContextExt, TracerProvider};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};

use super::Batch;
use super::client::Client;
use super::decision::Decision;
use crate::config;
use crate::message::Headers;

/// Links of one span; further messages are counted, not linked.
const LINKS: u32 = 1024;
/// What is left is sent when the worker ends, for so long.
const LAST: Duration = Duration::from_secs(1);

/// Makes spans and exports them.
#[derive(Debug)]
pub struct Traces {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
    propagator: TraceContextPropagator,
    decision: Decision,
}

impl Traces {
    /// Connects to nothing yet. Must be called within a runtime.
    ///
    /// # Errors
    /// In words.
    pub fn start(config: &config::Traces) -> Result<Self, String> {
        let client = Client::new(config.timeout).map_err(|error| format!("no certificates to trust: {error}"))?;
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(client)
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(format!("{}/v1/traces", config.endpoint.reveal()))
            .with_timeout(config.timeout)
            .with_headers(
                config.headers.iter().map(|(name, value)| (name.clone(), value.reveal().to_owned())).collect(),
            )
            .build()
            .map_err(|error| error.to_string())?;
        let resource = Resource::builder()
            .with_service_name(config.service_name.clone())
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .build();
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_max_links_per_span(LINKS)
            .with_resource(resource)
            .build();
        let tracer = provider.tracer(env!("CARGO_PKG_NAME"));
        let decision = Decision::new(config.share);
        Ok(Traces { provider, tracer, propagator: TraceContextPropagator::new(), decision })
    }

    /// The span of a batch that has just been written, or tried, and within it that of the write.
    pub fn batch(&self, batch: &Batch<'_>) {
        let contexts: Vec<SpanContext> = batch.headers.iter().filter_map(|headers| self.context(headers)).collect();
        if !self.decision.traced(contexts.iter().map(SpanContext::is_sampled)) {
            return;
        }
        let ended = SystemTime::now();
        let began = ended.checked_sub(batch.took).unwrap_or(ended);
        let arrived = began.checked_sub(batch.waited).unwrap_or(began);
        let (parent, links) = relations(contexts, batch.headers.len());
        let builder = SpanBuilder::from_name(format!("process {}", batch.queue))
            .with_kind(SpanKind::Consumer)
            .with_start_time(arrived)
            .with_links(links)
            .with_attributes(messaging(batch));
        let mut process = builder.start_with_context(&self.tracer, &parent);
        let within = Context::new().with_remote_span_context(process.span_context().clone());
        let builder = SpanBuilder::from_name(format!("commit {}", batch.table))
            .with_kind(SpanKind::Client)
            .with_start_time(began)
            .with_attributes(database(batch));
        let mut commit = builder.start_with_context(&self.tracer, &within);
        for span in [&mut commit, &mut process] {
            if let Some((class, code)) = &batch.failure {
                span.set_attribute(KeyValue::new("error.type", *class));
                span.set_status(Status::error(format!("{class} {code}")));
            }
            span.end_with_timestamp(ended);
        }
    }

    /// Sends what is left, for a second at most.
    pub async fn stop(&self) {
        let provider = self.provider.clone();
        // It waits for the exporter's thread, which waits for this runtime.
        let stopped = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(LAST)).await;
        if !matches!(stopped, Ok(Ok(()))) {
            tracing::debug!("the last spans were not sent");
        }
    }

    /// What a message's `traceparent` and `tracestate` say, if they can be read.
    fn context(&self, headers: &Headers) -> Option<SpanContext> {
        if headers.0.is_empty() {
            return None;
        }
        let found = self.propagator.extract_with_context(&Context::new(), &Carrier(headers));
        let context = found.span().span_context().clone();
        context.is_valid().then_some(context)
    }
}

/// Where all messages belong to one trace, the batch goes on with it. Else it begins one of its own,
/// linked with theirs, as the conventions have it for batches.
fn relations(mut contexts: Vec<SpanContext>, messages: usize) -> (Context, Vec<Link>) {
    let one_trace = contexts.len() == messages
        && contexts.first().is_some_and(|first| contexts.iter().all(|context| context.trace_id() == first.trace_id()));
    if !one_trace {
        return (Context::new(), contexts.into_iter().map(Link::with_context).collect());
    }
    let parent = Context::new().with_remote_span_context(contexts.swap_remove(0));
    (parent, contexts.into_iter().map(Link::with_context).collect())
}

fn messaging(batch: &Batch<'_>) -> Vec<KeyValue> {
    vec![
        KeyValue::new("messaging.system", "rabbitmq"),
        KeyValue::new("messaging.operation.type", "process"),
        KeyValue::new("messaging.operation.name", "process"),
        KeyValue::new("messaging.destination.name", batch.queue.to_owned()),
        KeyValue::new("messaging.batch.message_count", count(batch.headers.len())),
        KeyValue::new("rabbit_sink.pipeline", batch.pipeline.to_owned()),
        KeyValue::new("rabbit_sink.written", count(batch.written)),
    ]
}

fn database(batch: &Batch<'_>) -> Vec<KeyValue> {
    vec![
        KeyValue::new("db.system.name", batch.database),
        KeyValue::new("db.operation.name", "commit"),
        KeyValue::new("db.collection.name", batch.table.to_owned()),
        KeyValue::new("db.operation.batch.size", count(batch.headers.len())),
        KeyValue::new("rabbit_sink.how", batch.how),
    ]
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

struct Carrier<'a>(&'a Headers);

impl Extractor for Carrier<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.text(key)
    }

    fn keys(&self) -> Vec<&str> {
        self.0.0.iter().map(|(name, _)| name.as_str()).collect()
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::{SpanId, TraceFlags, TraceId, TraceState};

    use super::*;

    fn context(trace: u128, span: u64) -> SpanContext {
        let (trace, span) = (TraceId::from(trace), SpanId::from(span));
        SpanContext::new(trace, span, TraceFlags::SAMPLED, true, TraceState::default())
    }

    fn related(contexts: &[(u128, u64)], messages: usize) -> (Option<u64>, Vec<u64>) {
        let contexts = contexts.iter().map(|&(trace, span)| context(trace, span)).collect();
        let number = |id: SpanId| u64::from_be_bytes(id.to_bytes());
        let (parent, links) = relations(contexts, messages);
        let parent = parent.span().span_context().clone();
        let links = links.iter().map(|link| number(link.span_context.span_id())).collect();
        (parent.is_valid().then(|| number(parent.span_id())), links)
    }

    #[test]
    fn one_trace_goes_on_and_several_are_linked() {
        assert_eq!(related(&[(1, 10)], 1), (Some(10), vec![]));
        assert_eq!(related(&[(1, 10), (1, 11)], 2), (Some(10), vec![11]));
        assert_eq!(related(&[(1, 10), (2, 20)], 2), (None, vec![10, 20]));
        assert_eq!(related(&[(1, 10)], 2), (None, vec![10]), "the other message belongs to no trace");
        assert_eq!(related(&[], 3), (None, vec![]));
    }

    #[tokio::test]
    async fn contexts_are_read_as_the_w3c_has_them() {
        let config = config::Traces {
            endpoint: config::Secret::new("http://127.0.0.1:1"),
            headers: Vec::new(),
            service_name: "x".to_owned(),
            share: 1.0,
            timeout: Duration::from_secs(1),
        };
        let traces = Traces::start(&config).unwrap();
        let read = |parent: &str| {
            let mut headers = Headers::default();
            headers.set_text("traceparent", parent);
            headers.set_text("tracestate", "vendor=1");
            traces.context(&headers)
        };
        let found = read("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").unwrap();
        assert_eq!(found.trace_id().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert!(found.is_sampled() && found.trace_state().get("vendor") == Some("1"));
        assert!(!read("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00").unwrap().is_sampled());
        for bad in ["", "00-0-0-01", "nonsense", "00-00000000000000000000000000000000-00f067aa0ba902b7-01", "\u{1F98A}"]
        {
            assert!(read(bad).is_none(), "{bad}");
        }
    }
}
