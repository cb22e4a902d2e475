//! The admin listener over real TCP, in front of a worker's status made by hand.

// The lints' exemption for tests leaves out the functions that tests call.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "admin/metrics.rs"]
mod metrics;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rabbit_sink::admin::{self, Listener};
use rabbit_sink::config::Secret;
use rabbit_sink::error::ErrorClass;
use rabbit_sink::status::{PipelineStatus, Reason, State, WorkerStatus};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};

#[path = "admin/orders.rs"]
mod orders;

const TOKEN: &str = "a-token-of-the-tests";

struct Worker {
    address: SocketAddr,
    token: watch::Sender<Option<Secret>>,
    status: WorkerStatus,
    stop: oneshot::Sender<()>,
    served: tokio::task::JoinHandle<()>,
}

impl Worker {
    /// Pipelines "orders", with two consumers, and "customers", with one; all running.
    async fn start() -> Self {
        Self::start_on("127.0.0.1:0").await
    }

    async fn start_on(listen: &str) -> Self {
        let pipelines = [("orders", 2), ("customers", 1)].map(|(name, consumers)| {
            let pipeline = PipelineStatus::new(name, consumers).with_hold(Duration::from_secs(120));
            (0..consumers).for_each(|consumer| pipeline.update(consumer, |entry| entry.state = State::Running));
            pipeline
        });
        let status = WorkerStatus::with(pipelines);
        let listener = TcpListener::bind(listen).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let (token, current) = watch::channel(Some(Secret::new(TOKEN)));
        let served = tokio::spawn(admin::serve(Listener::Tcp(listener), status.clone(), current, async move {
            stopped.await.ok();
        }));
        Worker { address: SocketAddr::from(([127, 0, 0, 1], address.port())), token, status, stop, served }
    }

    fn orders(&self) -> Arc<PipelineStatus> {
        self.status.pipeline("orders").unwrap()
    }

    async fn get(&self, path: &str) -> Answer {
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", self.address)).await
    }

    async fn post(&self, path: &str) -> Answer {
        self.post_body(path, "").await
    }

    async fn post_body(&self, path: &str, body: &str) -> Answer {
        let head = format!("POST {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {TOKEN}", self.address);
        self.ask(&format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len())).await
    }

    async fn ask(&self, request: &str) -> Answer {
        ask(self.address, request).await
    }
}

struct Answer {
    code: u16,
    head: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// Sends a request as it stands, with `Connection: close` added.
async fn ask(address: SocketAddr, request: &str) -> Answer {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = request.replacen("\r\n", "\r\nConnection: close\r\n", 1);
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let read = stream.read_to_string(&mut answer);
    tokio::time::timeout(Duration::from_secs(20), read).await.expect("no answer within 20 s").unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let code = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { code, head: head.to_ascii_lowercase(), body: body.to_owned() }
}

fn ago(seconds: u64) -> Instant {
    Instant::now().checked_sub(Duration::from_secs(seconds)).expect("this machine has just been started")
}

#[tokio::test]
async fn a_worker_that_waits_for_its_database_is_alive_and_not_ready() {
    let worker = Worker::start().await;
    assert_eq!(worker.get("/readyz").await.code, 200);
    worker.orders().update(1, |consumer| {
        consumer.state = State::Holding;
        consumer.reason = Some(Reason::new(ErrorClass::SinkUnavailable, "io", "the database is away"));
        consumer.turned = ago(61);
        consumer.oldest_unsettled = Some(ago(121));
    });
    assert_eq!(worker.get("/livez").await.code, 200);
    let ready = worker.get("/readyz").await;
    assert_eq!(ready.code, 503);
    let expected = json!({
        "ready": false, "pipelines": {"orders": {"state": "holding", "reason": "the database is away"}}
    });
    assert_eq!(ready.json(), expected);
}

#[tokio::test]
async fn a_wedge_is_not_alive() {
    let worker = Worker::start().await;
    assert_eq!(worker.get("/livez").await.code, 200);
    worker.orders().update(1, |consumer| consumer.turned = ago(61));
    let answer = worker.get("/livez").await;
    assert_eq!((answer.code, &answer.json()["live"]), (503, &json!(false)));
    assert!(answer.json()["wedged"]["orders"].as_str().unwrap().contains("has not turned for 61 s"), "{}", answer.body);
    worker.orders().update(1, |consumer| {
        consumer.turned = Instant::now();
        consumer.oldest_unsettled = Some(ago(121));
    });
    assert_eq!(worker.get("/livez").await.code, 503);
    worker.orders().update(1, |consumer| consumer.oldest_unsettled = Some(ago(100)));
    assert_eq!(worker.get("/livez").await.code, 200);
}

#[tokio::test]
async fn done_is_ready_and_every_other_state_is_not() {
    let worker = Worker::start().await;
    for state in State::ALL {
        worker.orders().update(0, |consumer| consumer.state = state);
        let code = if matches!(state, State::Running | State::Done) { 200 } else { 503 };
        assert_eq!(worker.get("/readyz").await.code, code, "{state:?}");
    }
}

#[tokio::test]
async fn status_tells_what_the_summary_tells_and_more() {
    let worker = Worker::start().await;
    let orders = worker.orders();
    orders.deliveries.inc_by(9);
    orders.written.inc_by(5);
    orders.duplicates.inc_by(2);
    orders.dead_lettered.get_or_create(&ErrorClass::Mapping.into()).inc();
    orders.lag.saw(77, Instant::now());
    *orders.guarantee.lock().unwrap() = Some("exactly once in effect, for 30 days".to_owned());
    orders.update(0, |consumer| {
        consumer.unsettled = 1;
        consumer.oldest_unsettled = Some(ago(5));
    });
    let answer = worker.get("/status").await;
    assert_eq!(answer.code, 200);
    let report = answer.json();
    assert_eq!(report["version"], env!("CARGO_PKG_VERSION"));
    let (customers, orders) = (&report["pipelines"][0], &report["pipelines"][1]);
    assert_eq!(customers["pipeline"], "customers");
    assert_eq!((&customers["queue_ready"], &customers["guarantee"]), (&Value::Null, &Value::Null));
    for (key, value) in [
        ("pipeline", json!("orders")),
        ("state", json!("running")),
        ("reason", Value::Null),
        ("settled", json!(8)),
        ("written", json!(5)),
        ("duplicates", json!(2)),
        ("superseded", json!(0)),
        ("skipped", json!(0)),
        ("dead_lettered", json!(1)),
        ("rows", json!(0)),
        ("redelivered", json!(0)),
        ("deliveries", json!(9)),
        ("queue_ready", json!(77)),
        ("unsettled", json!(1)),
        ("pauses", json!([])),
        ("guarantee", json!("exactly once in effect, for 30 days")),
    ] {
        assert_eq!(orders[key], value, "{key}");
    }
    let oldest = orders["oldest_unsettled_seconds"].as_f64().unwrap();
    assert!((5.0..20.0).contains(&oldest), "{oldest}");
    assert_eq!(orders["consumers"].as_array().unwrap().len(), 2);
    assert_eq!(orders["consumers"][1]["state"], "running");
}

#[tokio::test]
async fn an_unknown_pipeline_is_404_with_the_nearest_name() {
    let worker = Worker::start().await;
    let answer = worker.post("/pipelines/ordres/resume").await;
    assert_eq!(answer.code, 404);
    assert_eq!(answer.json()["error"], "there is no pipeline \"ordres\"; did you mean \"orders\"?");
    assert_eq!(worker.get("/nowhere").await.code, 404);
}

#[tokio::test]
async fn bodies_are_bounded() {
    let worker = Worker::start().await;
    worker.orders().update(0, |consumer| consumer.state = State::Paused);
    let body = "x".repeat(5000);
    let head = format!(
        "POST /pipelines/orders/resume HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: {}",
        body.len()
    );
    assert_eq!(worker.ask(&format!("{head}\r\n\r\n{body}")).await.code, 413);
    assert_eq!(worker.orders().orders().borrow().number, 0);
}

#[tokio::test]
async fn a_request_that_never_ends_is_answered() {
    let worker = Worker::start().await;
    let head = "POST /pipelines/orders/resume HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10";
    let head = format!("{head}\r\nAuthorization: Bearer {TOKEN}");
    assert_eq!(worker.ask(&format!("{head}\r\n\r\n")).await.code, 408);
}

#[tokio::test]
async fn many_connections_leave_the_rest_working_once_they_end() {
    let worker = Worker::start().await;
    let mut idle = Vec::new();
    for _ in 0..100 {
        idle.push(TcpStream::connect(worker.address).await.unwrap());
    }
    drop(idle);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(worker.get("/livez").await.code, 200);
}

#[tokio::test]
async fn it_ends_when_told_though_somebody_is_connected() {
    let worker = Worker::start().await;
    let mut idle = TcpStream::connect(worker.address).await.unwrap();
    assert_eq!(worker.get("/livez").await.code, 200);
    worker.stop.send(()).unwrap();
    tokio::time::timeout(Duration::from_secs(5), worker.served).await.expect("still serving").unwrap();
    assert_eq!(idle.read(&mut [0; 1]).await.unwrap_or(0), 0, "the connection is closed");
    assert!(TcpStream::connect(worker.address).await.is_err(), "the port is free");
}
