//! The configs that come with the project work.

use std::path::Path;

use rabbit_sink::config::{Config, DatabaseKind, Deduplicate, UnknownFields, load};

use crate::env;

fn sample(name: &str) -> Config {
    let secret = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(secret.path(), "s3cret/\n").unwrap();
    let secret = secret.path().display().to_string();
    let mut environment = env(&[("RABBITMQ_PASSWORD", "r/1"), ("MYSQL_PASSWORD", "m@1"), ("POSTGRES_PASSWORD", "p")]);
    if name == "postgres.toml" {
        environment.push(("RABBIT_SINK__RABBITMQ__PASSWORD_FILE".into(), secret.clone()));
        environment.push(("RABBIT_SINK__DATABASE__PASSWORD_FILE".into(), secret));
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(name);
    load(&path, &environment).unwrap_or_else(|errors| panic!("{errors}"))
}

#[test]
fn the_default() {
    let config = sample("rabbit-sink.toml");
    assert_eq!(config.databases["default"].kind, DatabaseKind::Sqlite);
    assert_eq!(config.pipelines["orders"].columns.as_ref().unwrap().len(), 6);
}

#[test]
fn quickstart() {
    let config = sample("quickstart.toml");
    assert!(config.admin.listen.is_none(), "it runs beside whatever listens there");
    assert_eq!(config.pipelines["orders"].dead_letter.queue(), Some("rabbit-sink-quickstart.orders.dead"));
}

#[test]
fn sqlite() {
    let config = sample("sqlite.toml");
    assert_eq!(config.databases["default"].url.reveal(), "sqlite:///var/lib/rabbit-sink/events.db");
    assert_eq!(config.pipelines["events"].unknown_fields, UnknownFields::Column("extra".into()));
}

#[test]
fn postgres() {
    let config = sample("postgres.toml");
    let database = &config.databases["default"];
    assert_eq!(database.kind, DatabaseKind::Postgres);
    assert_eq!(database.url.reveal(), "postgres://rabbit%5Fsink:s3cret%2F@db.example.com/shop?sslmode=verify-full");
    assert_eq!(config.brokers["default"].urls.len(), 3);
    assert_eq!(config.brokers["default"].urls[0].reveal(), "amqps://rabbit%2Dsink:s3cret%2F@rabbit-1.example.com/shop");
    assert_eq!(config.pipelines["payments"].deduplicate, Deduplicate::Column("payment_id".into()));
}

#[test]
fn mysql() {
    let config = sample("mysql.toml");
    assert_eq!(config.databases["default"].kind, DatabaseKind::Mysql);
    assert_eq!(config.databases["default"].url.reveal(), "mysql://rabbit%5Fsink:m%401@127.0.0.1:3306/shop");
}

#[test]
fn all_of_them_are_tested() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".toml"))
        .collect();
    names.sort();
    assert_eq!(
        names,
        ["mysql.toml", "partitions.toml", "postgres.toml", "quickstart.toml", "rabbit-sink.toml", "sqlite.toml"]
    );
}

#[test]
fn partitions() {
    let config = sample("partitions.toml");
    assert_eq!(config.pipelines.len(), 4);
    for (n, pipeline) in config.pipelines.values().enumerate() {
        assert_eq!((pipeline.name.clone(), pipeline.queue.clone()), (format!("orders_{n}"), format!("orders.{n}")));
        assert!(pipeline.single_active_consumer && pipeline.consumers == 1 && pipeline.declare.is_some());
    }
}
