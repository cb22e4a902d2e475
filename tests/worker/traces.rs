//! Traces of a real worker, taken by a collector that reads what arrives.

use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::main_job::orders::Orders;
use crate::support::Worker;
use crate::support::broker::{Kind, Message};

use super::scene::Scene;

/// Takes OTLP over HTTP.
#[derive(Clone, Default)]
struct Collector {
    spans: Arc<Mutex<Vec<Span>>>,
    /// Heads of requests, and attributes of the resource.
    heads: Arc<Mutex<Vec<String>>>,
    resource: Arc<Mutex<Vec<(String, String)>>>,
}

impl Collector {
    /// Where it listens.
    async fn start(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let collector = self.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let collector = collector.clone();
                tokio::spawn(async move { collector.serve(stream).await });
            }
        });
        format!("http://{address}")
    }

    /// One connection, a request after the other.
    async fn serve(&self, mut stream: TcpStream) -> Option<()> {
        let mut bytes = Vec::new();
        loop {
            let end = loop {
                if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                    break end + 4;
                }
                (stream.read_buf(&mut bytes).await.ok()? > 0).then_some(())?;
            };
            let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
            let length: usize =
                head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok())?;
            while bytes.len() < end + length {
                (stream.read_buf(&mut bytes).await.ok()? > 0).then_some(())?;
            }
            self.take(&bytes[end..end + length]);
            self.heads.lock().expect("not poisoned").push(head);
            bytes.drain(..end + length);
            let body = ExportTraceServiceResponse::default().encode_to_vec();
            let answer = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: {}\r\n\r\n",
                body.len()
            );
            stream.write_all(&[answer.as_bytes(), &body].concat()).await.ok()?;
        }
    }

    fn take(&self, body: &[u8]) {
        let request = ExportTraceServiceRequest::decode(body).expect("OTLP");
        for resource in request.resource_spans {
            let attributes = resource.resource.expect("a resource").attributes;
            *self.resource.lock().expect("not poisoned") =
                attributes.iter().map(|one| (one.key.clone(), said(one))).collect();
            let spans = resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
            self.spans.lock().expect("not poisoned").extend(spans);
        }
    }

    /// Spans whose name begins so.
    fn named(&self, beginning: &str) -> Vec<Span> {
        let spans = self.spans.lock().expect("not poisoned");
        spans.iter().filter(|span| span.name.starts_with(beginning)).cloned().collect()
    }
}

fn said(attribute: &opentelemetry_proto::tonic::common::v1::KeyValue) -> String {
    use opentelemetry_proto::tonic::common::v1::any_value::Value;
    match attribute.value.as_ref().and_then(|value| value.value.clone()) {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    }
}

fn attribute(span: &Span, key: &str) -> Option<String> {
    span.attributes.iter().find(|one| one.key == key).map(said)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn traced(message: Message, trace: u128, sampled: bool) -> Message {
    let parent = format!("00-{trace:032x}-{:016x}-0{}", trace + 0x100, u8::from(sampled));
    message.header("traceparent", &parent).header("tracestate", "shop=blue")
}

fn config(scene: &Scene, endpoint: &str, more: &str, options: &str) -> String {
    format!("{}\n[traces]\nendpoint = \"{endpoint}\"\n{more}\n", scene.config(options))
}

#[tokio::test]
async fn a_messages_trace_goes_on_in_its_batch_and_commit() {
    let (mut scene, collector) = (Scene::shared(Kind::Quorum).await, Collector::default());
    let endpoint = collector.start().await;
    let orders = Orders::good(0..3);
    scene.expect(&orders);
    // One a batch.
    let messages = orders.messages.into_iter().enumerate().map(|(n, message)| traced(message, n as u128 + 1, n < 2));
    scene.broker.publish(&scene.queue, messages).await;
    let more = "headers = [\"x-key: ${KEY}\"]\nservice_name = \"shop\"";
    let config = config(&scene, &endpoint, more, "\n[pipelines.orders.batch]\nmax_rows = 1\n");
    let worker = Worker::command_with(&config, ["run", "--until-empty"], [("KEY", "topsecret")]);
    let exit = worker.wait().await.expect(0);
    assert!(!exit.stderr.contains("topsecret"), "{}", exit.stderr);
    let (batches, commits) = (collector.named("process "), collector.named("commit "));
    assert_eq!((batches.len(), commits.len()), (2, 2), "the third publisher doesn't want it traced");
    for n in 1..=2_u128 {
        let trace = format!("{n:032x}");
        let batch = batches.iter().find(|span| hex(&span.trace_id) == trace).expect("its own trace goes on");
        assert_eq!(hex(&batch.parent_span_id), format!("{:016x}", n + 0x100));
        assert_eq!(batch.trace_state, "shop=blue");
        let commit = commits.iter().find(|span| hex(&span.trace_id) == trace).expect("the commit, too");
        assert_eq!(commit.parent_span_id, batch.span_id);
        assert!(batch.start_time_unix_nano <= commit.start_time_unix_nano);
        assert!(commit.end_time_unix_nano <= batch.end_time_unix_nano && commit.start_time_unix_nano > 1 << 60);
        for (span, key, value) in [
            (batch, "messaging.system", "rabbitmq"),
            (batch, "messaging.destination.name", scene.queue.as_str()),
            (batch, "messaging.batch.message_count", "1"),
            (batch, "rabbit_sink.pipeline", "orders"),
            (commit, "db.system.name", "sqlite"),
            (commit, "db.collection.name", "orders"),
        ] {
            assert_eq!(attribute(span, key).as_deref(), Some(value), "{key}");
        }
    }
    let heads = collector.heads.lock().expect("not poisoned").clone();
    assert!(
        heads.iter().all(|head| head.starts_with("post /v1/traces ") && head.contains("x-key: topsecret")),
        "{heads:?}"
    );
    let resource = collector.resource.lock().expect("not poisoned").clone();
    assert!(resource.contains(&("service.name".to_owned(), "shop".to_owned())), "{resource:?}");
    scene.audit().await;
}

#[tokio::test]
async fn a_batch_of_many_traces_is_linked_with_each() {
    let (mut scene, collector) = (Scene::shared(Kind::Quorum).await, Collector::default());
    let endpoint = collector.start().await;
    let orders = Orders::good(0..20);
    scene.expect(&orders);
    let messages = orders.messages.into_iter().enumerate().map(|(n, message)| traced(message, n as u128 + 1, true));
    scene.broker.publish(&scene.queue, messages).await;
    Worker::until_empty(&config(&scene, &endpoint, "", "\n[pipelines.orders.batch]\nlinger = \"300ms\"\n"))
        .await
        .expect(0);
    let batches = collector.named("process ");
    let mut reached: Vec<String> = Vec::new();
    for batch in &batches {
        let count: usize =
            attribute(batch, "messaging.batch.message_count").expect("a count").parse().expect("a number");
        if count > 1 {
            assert_eq!((batch.links.len(), batch.parent_span_id.len()), (count, 0), "a trace of its own");
        }
        reached.extend(batch.links.iter().map(|link| hex(&link.trace_id)));
        reached.extend((count == 1).then(|| hex(&batch.trace_id)));
    }
    reached.sort();
    assert_eq!(reached, (1..=20_u128).map(|n| format!("{n:032x}")).collect::<Vec<_>>());
    assert!(batches.len() < 20, "some were together");
    scene.audit().await;
}

#[tokio::test]
async fn a_write_that_fails_is_a_span_that_says_so() {
    let (mut scene, collector) = (Scene::shared(Kind::Classic).await, Collector::default());
    let endpoint = collector.start().await;
    scene.publish_bad(3..4).await;
    scene.publish(0..3).await;
    Worker::until_empty(&config(&scene, &endpoint, "", "\n[pipelines.orders.batch]\nlinger = \"300ms\"\n"))
        .await
        .expect(0);
    let failed = collector.named("commit ").into_iter().find(|span| attribute(span, "error.type").is_some());
    let failed = failed.expect("the first try");
    assert_eq!(attribute(&failed, "error.type").as_deref(), Some("row_rejected"));
    let status = failed.status.expect("a status");
    assert_eq!(status.code, 2, "an error");
    assert!(status.message.starts_with("row_rejected "), "class and code: {}", status.message);
    scene.audit().await;
}

/// A collector that is away costs spans, and no message.
#[tokio::test]
async fn without_its_collector_the_worker_works() {
    let mut scene = Scene::shared(Kind::Classic).await;
    scene.publish(0..10).await;
    let nobody = format!("http://127.0.0.1:{}", crate::support::process::free_port());
    let exit = Worker::until_empty(&config(&scene, &nobody, "", "")).await.expect(0);
    assert_eq!(exit.summary().written, 10);
    assert!(exit.stderr.contains("traces are lost"), "{}", exit.stderr);
    scene.audit().await;
}
