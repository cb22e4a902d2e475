//! What `/metrics` says, and in which format.

use rabbit_sink::status::{LedgerSize, LettersWaiting, Link, Peer};

use super::*;

/// As Prometheus asks.
async fn open(worker: &Worker) -> Answer {
    let answer = accepting(worker, "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5").await;
    assert!(answer.body.ends_with("# EOF\n"), "{}", answer.body);
    answer
}

async fn accepting(worker: &Worker, accept: &str) -> Answer {
    worker.ask(&format!("GET /metrics HTTP/1.1\r\nHost: {}\r\nAccept: {accept}\r\n\r\n", worker.address)).await
}

/// Every line of the exposition is a comment or `name{labels} number`.
pub fn samples(text: &str) -> Vec<(String, f64)> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| line.rsplit_once(' ').map(|(name, value)| (name.to_owned(), value.parse().unwrap())).unwrap())
        .collect()
}

#[tokio::test]
async fn metrics_have_every_promised_name_type_and_label() {
    let worker = Worker::start().await;
    let orders = worker.orders();
    orders.lag.saw(3, Instant::now());
    worker.status.pipeline("customers").unwrap().lag.saw(0, Instant::now());
    orders.commit_duration.observe(0.01);
    let answer = open(&worker).await;
    assert!(answer.head.contains("content-type: application/openmetrics-text; version=1.0.0"), "{}", answer.head);
    let samples = samples(&answer.body);
    let has = |name: &str| samples.iter().any(|(sample, _)| sample == name);
    let types = |name: &str, kind: &str| answer.body.contains(&format!("# TYPE {name} {kind}\n"));
    for name in [
        "deliveries",
        "delivered_bytes",
        "ledger_pruned",
        "written",
        "rows_written",
        "duplicates",
        "superseded",
        "skipped",
        "redelivered",
    ] {
        assert!(types(&format!("rabbit_sink_{name}"), "counter"), "{name}");
        for pipeline in ["orders", "customers"] {
            assert!(has(&format!("rabbit_sink_{name}_total{{pipeline=\"{pipeline}\"}}")), "{name} {pipeline}");
        }
    }
    for name in ["dead_lettered", "retries", "holds", "pauses"] {
        assert!(types(&format!("rabbit_sink_{name}"), "counter"), "{name}");
        for class in ErrorClass::ALL {
            assert!(
                has(&format!("rabbit_sink_{name}_total{{pipeline=\"orders\",class=\"{class}\"}}")),
                "{name} {class}"
            );
        }
    }
    for name in ["unsettled_deliveries", "oldest_unsettled_seconds", "queue_ready_messages", "wedged"] {
        assert!(types(&format!("rabbit_sink_{name}"), "gauge"), "{name}");
        assert!(has(&format!("rabbit_sink_{name}{{pipeline=\"orders\"}}")), "{name}");
    }
    for name in
        ["batch_rows", "batch_bytes", "batch_age_seconds", "commit_duration_seconds", "delivery_duration_seconds"]
    {
        assert!(types(&format!("rabbit_sink_{name}"), "histogram"), "{name}");
        assert!(has(&format!("rabbit_sink_{name}_bucket{{le=\"+Inf\",pipeline=\"orders\"}}")), "{name}");
        assert!(has(&format!("rabbit_sink_{name}_count{{pipeline=\"orders\"}}")), "{name}");
    }
    assert!(has(&format!("rabbit_sink_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"))));
    let mut names: Vec<_> = samples.iter().map(|(name, _)| name).collect();
    names.sort();
    names.windows(2).for_each(|pair| assert_ne!(pair[0], pair[1], "the same sample twice"));
}

#[tokio::test]
async fn metrics_carry_the_numbers() {
    let worker = Worker::start().await;
    let orders = worker.orders();
    orders.deliveries.inc_by(12);
    orders.dead_lettered.get_or_create(&ErrorClass::RowRejected.into()).inc_by(4);
    orders.update(0, |consumer| {
        consumer.unsettled = 3;
        consumer.oldest_unsettled = Some(ago(5));
    });
    orders.update(1, |consumer| {
        consumer.unsettled = 4;
        consumer.oldest_unsettled = Some(ago(50));
        consumer.state = State::Paused;
    });
    let samples = samples(&open(&worker).await.body);
    let value = |name: &str| samples.iter().find(|(sample, _)| sample == name).map(|&(_, value)| value);
    assert_eq!(value(r#"rabbit_sink_deliveries_total{pipeline="orders"}"#), Some(12.0));
    assert_eq!(value(r#"rabbit_sink_dead_lettered_total{pipeline="orders",class="row_rejected"}"#), Some(4.0));
    assert_eq!(value(r#"rabbit_sink_unsettled_deliveries{pipeline="orders"}"#), Some(7.0));
    let oldest = value(r#"rabbit_sink_oldest_unsettled_seconds{pipeline="orders"}"#).unwrap();
    assert!((50.0..70.0).contains(&oldest), "{oldest}");
    assert_eq!(value(r#"rabbit_sink_queue_ready_messages{pipeline="orders"}"#), None, "not known is not 0");
    for state in State::ALL {
        let name = format!("rabbit_sink_state{{pipeline=\"orders\",state=\"{}\"}}", state.name());
        assert_eq!(value(&name), Some(f64::from(state == State::Paused)), "{name}");
    }
}

#[tokio::test]
async fn the_older_format_has_the_same_samples() {
    let worker = Worker::start().await;
    worker.orders().deliveries.inc_by(12);
    worker.orders().update(0, |entry| entry.state = State::Holding);
    let own = |text: &str| -> Vec<String> {
        // What the process takes changes from one look to the next.
        let lines = text.lines().filter(|line| !line.starts_with('#') && !line.starts_with("process_"));
        lines.filter(|line| !line.contains("_oldest_")).map(str::to_owned).collect()
    };
    let openmetrics = open(&worker).await;
    for answer in [worker.get("/metrics").await, accepting(&worker, "text/plain;version=0.0.4").await] {
        assert!(answer.head.contains("content-type: text/plain; version=0.0.4; charset=utf-8"), "{}", answer.head);
        assert_eq!(own(&answer.body), own(&openmetrics.body));
        assert!(answer.body.contains("# TYPE rabbit_sink_deliveries_total counter\n"), "{}", answer.body);
        assert!(answer.body.contains("# TYPE rabbit_sink_build_info gauge\n"), "{}", answer.body);
        assert!(!answer.body.contains("# EOF") && !answer.body.contains("# UNIT"), "{}", answer.body);
    }
}

#[tokio::test]
async fn units_are_told_and_names_end_with_them() {
    let worker = Worker::start().await;
    let text = open(&worker).await.body;
    for (name, unit) in [("rabbit_sink_delivered_bytes", "bytes"), ("rabbit_sink_commit_duration_seconds", "seconds")] {
        assert!(text.contains(&format!("# UNIT {name} {unit}\n")), "{name}");
    }
    for line in text.lines().filter(|line| line.contains("_seconds") || line.contains("_bytes")) {
        assert!(!line.contains("_seconds_seconds") && !line.contains("_bytes_bytes"), "{line}");
    }
}

#[tokio::test]
async fn what_piled_up_and_who_is_connected_is_told_by_both() {
    let worker = Worker::start().await;
    let orders = worker.orders();
    let now = Instant::now();
    orders.lag.saw(400, now.checked_sub(Duration::from_secs(30)).unwrap());
    orders.lag.saw(100, now);
    orders.stock.saw_letters(LettersWaiting { count: 3, oldest: Some(Duration::from_secs(7200)) }, now);
    orders.stock.saw_ledger(LedgerSize { rows: Some(5), bytes: Some(8192) }, now);
    let mut link = Link::new(orders.connections(Peer::Database), 0);
    link.saw(2, true);
    let _busy = link.work();
    let why = Reason::new(ErrorClass::SinkUnavailable, "57P03", "the database starts");
    orders.update(1, |entry| entry.enter("orders", State::Holding, Some(why)));
    orders.update(0, |entry| entry.settled = 70);
    let samples = samples(&open(&worker).await.body);
    let value = |name: &str| samples.iter().find(|(sample, _)| sample == name).map(|&(_, value)| value);
    for (sample, expected) in [
        (r#"rabbit_sink_queue_time_to_empty_seconds{pipeline="orders"}"#, 10.0),
        (r#"rabbit_sink_dead_letters_waiting{pipeline="orders"}"#, 3.0),
        (r#"rabbit_sink_dead_letters_oldest_seconds{pipeline="orders"}"#, 7200.0),
        (r#"rabbit_sink_ledger_rows{pipeline="orders"}"#, 5.0),
        (r#"rabbit_sink_ledger_bytes{pipeline="orders"}"#, 8192.0),
        (r#"rabbit_sink_connections{pipeline="orders",peer="database"}"#, 1.0),
        (r#"rabbit_sink_connections{pipeline="orders",peer="broker"}"#, 0.0),
        (r#"rabbit_sink_database_connections_busy{pipeline="orders"}"#, 1.0),
        (r#"rabbit_sink_reconnects_total{pipeline="orders",peer="database"}"#, 1.0),
        (r#"rabbit_sink_consumers{pipeline="orders",state="holding"}"#, 1.0),
        (r#"rabbit_sink_consumers{pipeline="orders",state="running"}"#, 1.0),
        (r#"rabbit_sink_consumer_settled_total{pipeline="orders",consumer="0"}"#, 70.0),
        (r#"rabbit_sink_hindrance{pipeline="orders",state="holding",class="sink_unavailable",code="57P03"}"#, 1.0),
        (r#"rabbit_sink_holds_total{pipeline="orders",class="sink_unavailable"}"#, 1.0),
        (r#"rabbit_sink_wedged{pipeline="orders"}"#, 0.0),
    ] {
        assert_eq!(value(sample), Some(expected), "{sample}");
    }
    assert_eq!(value(r#"rabbit_sink_dead_letters_waiting{pipeline="customers"}"#), None, "not known is not 0");
    let status = worker.get("/status").await.json();
    let told = &status["pipelines"][1];
    for (key, expected) in [
        ("queue_seconds_to_empty", json!(10.0)),
        ("dead_letters_waiting", json!(3)),
        ("dead_letters_oldest_seconds", json!(7200.0)),
        ("ledger_rows", json!(5)),
        ("ledger_bytes", json!(8192)),
        ("wedge", Value::Null),
    ] {
        assert_eq!(told[key], expected, "{key}");
    }
    assert_eq!(told["connections"]["database"], json!({"open": 1, "busy": 1, "reconnects": 1}));
    assert_eq!(
        (&told["consumers"][1]["class"], &told["consumers"][1]["code"]),
        (&json!("sink_unavailable"), &json!("57P03"))
    );
    assert_eq!(told["consumers"][0]["settled"], 70);
}

#[tokio::test]
async fn a_config_that_was_refused_is_told_until_one_is_taken() {
    let worker = Worker::start().await;
    let value = async |name: &str| {
        let samples = samples(&open(&worker).await.body);
        samples.iter().find(|(sample, _)| sample == name).map(|&(_, value)| value)
    };
    let (successful, at) =
        ("rabbit_sink_config_last_reload_successful", "rabbit_sink_config_last_reload_success_timestamp_seconds");
    assert_eq!(value(successful).await, Some(1.0));
    let read = value(at).await.unwrap();
    worker.status.reloaded(Err("orders.toml:9:1: unknown key".to_owned()));
    assert_eq!((value(successful).await, value(at).await), (Some(0.0), Some(read)));
    assert_eq!(worker.get("/status").await.json()["config_refused"], "orders.toml:9:1: unknown key");
    worker.status.reloaded(Ok(()));
    assert_eq!(value(successful).await, Some(1.0));
    assert!(value(at).await.unwrap() >= read);
    assert_eq!(worker.get("/status").await.json()["config_refused"], Value::Null);
}

#[tokio::test]
async fn a_wedge_is_a_metric_and_memory_stands_beside_its_limit() {
    let worker = Worker::start().await;
    worker.orders().update(1, |consumer| consumer.turned = ago(61));
    let samples = samples(&open(&worker).await.body);
    let value = |name: &str| samples.iter().find(|(sample, _)| sample == name).map(|&(_, value)| value);
    assert_eq!(value(r#"rabbit_sink_wedged{pipeline="orders"}"#), Some(1.0));
    assert_eq!(value(r#"rabbit_sink_wedged{pipeline="customers"}"#), Some(0.0));
    assert!(value("process_resident_memory_bytes").is_some_and(|bytes| bytes > 1e6));
    assert!(value("process_start_time_seconds").is_some_and(|seconds| seconds > 1.6e9));
    let status = worker.get("/status").await.json();
    assert!(status["memory_bytes"].as_u64().is_some_and(|bytes| bytes > 1_000_000), "{status}");
    // Where this process has a limit, both tell the same one.
    let limit = value("rabbit_sink_memory_limit_bytes");
    assert_eq!(status["memory_limit_bytes"].as_f64(), limit);
}
