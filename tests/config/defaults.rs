//! Every default, once.

use std::time::Duration;

use rabbit_sink::config::{
    AdminSocket, DatabaseKind, DeadLetter, Deduplicate, IdConflict, IdPlace, Place, Property, StormAction,
    UnknownFields,
};

use crate::{LEAST, good};

#[test]
fn of_the_worker_and_its_servers() {
    let config = good(LEAST);
    assert_eq!(config.worker.shutdown_timeout, Duration::from_secs(25));
    assert_eq!(config.admin.listen, Some("127.0.0.1:9464".parse().unwrap()));
    let socket = cfg!(target_os = "linux").then(|| AdminSocket::Abstract("rabbit-sink/127.0.0.1:9464".to_owned()));
    assert_eq!((config.admin.socket, config.admin.socket_is_given), (socket, false));
    assert_eq!(config.admin.token, None);

    let broker = &config.brokers["default"];
    assert_eq!(config.brokers.len(), 1);
    assert_eq!(broker.name, "default");
    assert_eq!(
        broker.urls.iter().map(|url| url.reveal()).collect::<Vec<_>>(),
        ["amqp://guest:guest@127.0.0.1:5672/%2f"]
    );
    assert_eq!(broker.heartbeat, Duration::from_secs(30));
    assert_eq!(broker.connect_timeout, Duration::from_secs(10));
    assert_eq!(broker.consumer_timeout, Duration::from_secs(30 * 60));
    assert!(broker.tls.ca_file.is_none() && broker.tls.cert_file.is_none() && broker.tls.key_file.is_none());
    assert_eq!(broker.connection_name, None);
    assert_eq!(broker.management_url, None);

    let database = &config.databases["default"];
    assert_eq!(config.databases.len(), 1);
    assert_eq!(database.name, "default");
    assert_eq!(database.kind, DatabaseKind::Sqlite);
    assert_eq!(database.url.reveal(), "sqlite://rabbit-sink.db");
    assert_eq!(database.max_connections, None);
    assert_eq!(database.connect_timeout, Duration::from_secs(10));
    assert_eq!(database.statement_timeout, Duration::from_secs(30));
    assert_eq!(database.lock_timeout, Duration::from_secs(10));
    assert_eq!(database.application_name, "rabbit-sink");
    assert!(database.on_connect.is_empty());
    assert!(database.tls.ca_file.is_none() && database.tls.cert_file.is_none() && database.tls.key_file.is_none());
    assert_eq!(database.ledger_table.to_string(), "rabbit_sink_ledger");
    assert_eq!(database.ledger_keep, Duration::from_secs(30 * 86_400));
}

#[test]
fn of_a_pipeline() {
    let config = good(LEAST);
    let pipeline = &config.pipelines["orders"];
    assert_eq!(pipeline.name, "orders");
    assert_eq!(pipeline.consumers, 1);
    assert_eq!(pipeline.prefetch, 2000);
    let ids = [
        IdPlace::One(Place::Property(Property::MessageId)),
        IdPlace::One(Place::Header(vec!["message-id".to_owned()])),
    ];
    assert_eq!(pipeline.message_id, ids);
    assert_eq!(pipeline.deduplicate, Deduplicate::Ledger);
    assert_eq!(pipeline.id_conflict, IdConflict::DeadLetter);
    assert_eq!(pipeline.unknown_fields, UnknownFields::Ignore);
    assert_eq!(pipeline.broker, "default");
    assert_eq!(pipeline.database, "default");
    assert_eq!(pipeline.declare, None);
    assert_eq!(pipeline.columns, None);

    assert_eq!(pipeline.batch.max_rows, 1000);
    assert_eq!(pipeline.batch.max_bytes, 8 << 20);
    assert_eq!(pipeline.batch.linger, Duration::ZERO);
    assert_eq!(pipeline.limits.max_body, 16 << 20);
    assert_eq!(pipeline.limits.max_depth, 128);
    assert_eq!(pipeline.limits.max_unacked_bytes, 64 << 20);
    assert_eq!(pipeline.limits.max_rows_per_second, 0);
    assert_eq!(pipeline.limits.max_replays, 5);
    assert_eq!(pipeline.retry.initial, Duration::from_millis(100));
    assert_eq!(pipeline.retry.max, Duration::from_secs(30));
    assert_eq!(pipeline.retry.hold, Duration::from_secs(600));
    assert_eq!(pipeline.retry.missing_parent, Duration::from_secs(30));
    assert_eq!(pipeline.storm.min, 100);
    assert!((pipeline.storm.share - 0.95).abs() < f64::EPSILON);
    assert_eq!(pipeline.storm.action, StormAction::Pause);
    let DeadLetter::Queue { name, declare: true } = &pipeline.dead_letter else { panic!("{:?}", pipeline.dead_letter) };
    assert_eq!(name, "orders.dead");
}

#[test]
fn the_prefetch_follows_larger_batches() {
    let prefetch = |rows: u32| good(&crate::with(&format!("batch.max_rows = {rows}"))).pipelines["orders"].prefetch;
    assert_eq!((prefetch(10), prefetch(1001), prefetch(32_767)), (2000, 2002, 65_534));
}
