//! Keys that are given, each as what it means.

use std::time::Duration;

use rabbit_sink::config::{
    Binding, ColumnSource, Constant, DatabaseKind, DeadLetter, Declare, Deduplicate, IdConflict, IdPlace, Place,
    Property, QueueType, StormAction, TimeUnit, UnknownFields,
};

use crate::{good, with};

fn pointer(parts: &[&str]) -> Place {
    Place::Pointer(parts.iter().map(|part| (*part).to_owned()).collect())
}

#[test]
fn a_pipeline_in_full() {
    let config = good(
        r#"
        [brokers.shop]
        url = "amqp://h/v"
        consumer_timeout = "2h"
        [databases.lake]
        url = "mariadb://h/lake"
        max_connections = 5
        [pipelines.orders]
        queue = "in"
        table = "shop.orders.2024"
        mode = "insert"
        format = "json"
        consumers = 3
        prefetch = 4000
        message_id = ["/event_id", { all = ["/source/lsn", "header:tx"] }, "sha256:body"]
        deduplicate = "none"
        id_conflict = "ignore"
        unknown_fields = "column:extra"
        broker = "shop"
        database = "lake"
        declare = { type = "classic", bind = [{ exchange = "shop", routing_key = "order.*" }, { exchange = "x" }] }
        batch = { max_rows = 2000, max_bytes = 4096, linger = "20ms" }
        limits = { max_body = "1MiB", max_depth = 8, max_unacked_bytes = "2MiB", max_rows_per_second = 0, max_replays = 0 }
        retry = { initial = "1s", max = "1s", hold = "1h", missing_parent = "0s" }
        storm = { min = 1, share = 1, action = "dead_letter" }
        dead_letter = { to = "queue", queue = "graves", declare = false }
        "#,
    );
    assert_eq!(config.databases["lake"].kind, DatabaseKind::Mysql);
    let pipeline = &config.pipelines["orders"];
    assert_eq!(pipeline.queue, "in");
    assert_eq!(pipeline.table.schema.as_deref(), Some("shop"));
    assert_eq!(pipeline.table.name, "orders.2024", "split at the first dot");
    assert_eq!((pipeline.consumers, pipeline.prefetch), (3, 4000));
    let ids = [
        IdPlace::One(pointer(&["event_id"])),
        IdPlace::All(vec![pointer(&["source", "lsn"]), Place::Header(vec!["tx".into()])]),
        IdPlace::One(Place::BodyHash),
    ];
    assert_eq!(pipeline.message_id, ids);
    assert_eq!(pipeline.deduplicate, Deduplicate::None);
    assert_eq!(pipeline.id_conflict, IdConflict::Ignore);
    assert_eq!(pipeline.unknown_fields, UnknownFields::Column("extra".into()));
    assert_eq!((pipeline.broker.as_str(), pipeline.database.as_str()), ("shop", "lake"));
    let bind = vec![
        Binding { exchange: "shop".into(), routing_key: "order.*".into() },
        Binding { exchange: "x".into(), routing_key: String::new() },
    ];
    assert_eq!(pipeline.declare, Some(Declare { queue_type: QueueType::Classic, bind }));
    assert_eq!((pipeline.batch.max_rows, pipeline.batch.max_bytes), (2000, 4096));
    assert_eq!(pipeline.batch.linger, Duration::from_millis(20));
    assert_eq!((pipeline.limits.max_body, pipeline.limits.max_unacked_bytes), (1 << 20, 2 << 20));
    assert_eq!((pipeline.limits.max_depth, pipeline.limits.max_replays), (8, 0));
    assert_eq!(pipeline.retry.hold, Duration::from_secs(3600));
    assert_eq!((pipeline.storm.min, pipeline.storm.share), (1, 1.0));
    assert_eq!(pipeline.storm.action, StormAction::DeadLetter);
    let DeadLetter::Queue { name, declare: false } = &pipeline.dead_letter else {
        panic!("{:?}", pipeline.dead_letter)
    };
    assert_eq!(name, "graves");
}

#[test]
fn dead_letters_go_into_a_table() {
    for (keys, table) in [("", "shop.orders_dead_letters"), (", table = \"letters\"", "letters")] {
        let keys = format!("dead_letter = {{ to = \"table\"{keys} }}");
        let text = format!("[pipelines.orders]\nqueue = \"orders\"\ntable = \"shop.orders\"\n{keys}\n");
        let dead_letter = good(&text).pipelines["orders"].dead_letter.clone();
        assert_eq!(dead_letter.table().map(ToString::to_string).as_deref(), Some(table));
    }
}

#[test]
fn columns_keep_their_order_and_case() {
    let config = good(&with(
        r#"
        [pipelines.orders.columns]
        Zeta = "/z"
        "order total" = "header:a/b/0"
        alpha = "property:timestamp"
        whole = ""
        c_text = { value = "web" }
        c_int = { value = 0x10 }
        c_num = { value = 1_0.50 }
        c_bool = { value = true }
        c_date = { value = 2024-02-29 }
        price = { from = "/price", required = true, lossy = true }
        note = { from = "/note", default = "" }
        seen = { from = "/ts", time = "epoch_ms", zone = "Europe/Berlin" }
        mixed = { from = "/m", zone = "+02:00" }
        "#,
    ));
    let columns = config.pipelines["orders"].columns.as_deref().unwrap();
    let names: Vec<&str> = columns.iter().map(|mapping| mapping.column.as_str()).collect();
    let expected = [
        "Zeta",
        "order total",
        "alpha",
        "whole",
        "c_text",
        "c_int",
        "c_num",
        "c_bool",
        "c_date",
        "price",
        "note",
        "seen",
        "mixed",
    ];
    assert_eq!(names, expected);
    let of = |name: &str| columns.iter().find(|mapping| mapping.column == name).unwrap();
    let from = |place| ColumnSource::From(place);
    assert_eq!(of("Zeta").source, from(pointer(&["z"])));
    assert_eq!(of("order total").source, from(Place::Header(vec!["a".into(), "b".into(), "0".into()])));
    assert_eq!(of("alpha").source, from(Place::Property(Property::Timestamp)));
    assert_eq!(of("whole").source, from(pointer(&[])));
    assert_eq!(of("c_text").source, ColumnSource::Value(Constant::Text("web".into())));
    assert_eq!(of("c_int").source, ColumnSource::Value(Constant::Int(16)));
    assert_eq!(of("c_num").source, ColumnSource::Value(Constant::Number("10.50".into())));
    assert_eq!(of("c_bool").source, ColumnSource::Value(Constant::Bool(true)));
    assert_eq!(of("c_date").source, ColumnSource::Value(Constant::Text("2024-02-29".into())));
    assert!(of("price").required && of("price").lossy && !of("note").required && !of("note").lossy);
    assert_eq!(of("note").default, Some(Constant::Text(String::new())));
    assert_eq!((of("seen").time, of("seen").zone.as_deref()), (Some(TimeUnit::Milliseconds), Some("Europe/Berlin")));
    assert_eq!(of("mixed").zone.as_deref(), Some("+02:00"));
}

#[test]
fn the_column_of_the_message_id() {
    let of = |more: &str| good(&with(more)).pipelines["orders"].deduplicate.clone();
    let column = |name: &str| Deduplicate::Column(name.to_owned());
    assert_eq!(of("deduplicate = \"column:Id\""), column("Id"));
    let mapped = "deduplicate = \"column\"\ncolumns = { a = \"/a\", event = \"message_id\" }";
    assert_eq!(of(mapped), column("event"));
    let only = "deduplicate = \"column\"\nmessage_id = [\"/a\"]\ncolumns = { first = \"/a\" }";
    assert_eq!(of(only), column("first"));
    assert_eq!(of("deduplicate = \"column\"\nmessage_id = [\"/event_id\"]"), column("event_id"));
    assert_eq!(of("deduplicate = \"none\"\nmessage_id = []"), Deduplicate::None);
}

#[test]
fn a_rate_limit_lowers_the_prefetch() {
    let prefetch = |rate: u32, hold: &str| {
        let more = format!("limits.max_rows_per_second = {rate}\nretry.hold = \"{hold}\"");
        good(&with(&more)).pipelines["orders"].prefetch
    };
    assert_eq!(prefetch(10, "1m"), 300, "rate × hold / 2");
    assert_eq!(prefetch(1, "3s"), 1);
    assert_eq!(prefetch(1000, "10m"), 2000, "never raised");
}

#[test]
fn the_admin_listener() {
    let socket = |more: &str| good(&with(&format!("[admin]\n{more}"))).admin.socket.map(|socket| socket.to_string());
    assert_eq!(socket("socket = \"off\""), None);
    assert_eq!(socket("socket = \"/run/a.sock\"").as_deref(), Some("/run/a.sock"));
    assert_eq!(socket("socket = \"@a\"").as_deref(), Some("@a"));
    assert_eq!(socket("listen = \"[::1]:9\"").as_deref(), Some("@rabbit-sink/[::1]:9"));
    assert_eq!(socket("listen = \"off\""), None, "nothing is served where nothing is asked for");
    let listen = |value: &str| good(&with(&format!("[admin]\nlisten = \"{value}\""))).admin.listen;
    assert_eq!(listen("off"), None);
    assert_eq!(listen("[::]:80"), Some("[::]:80".parse().unwrap()));
}

#[test]
fn traces_are_asked_for_by_their_endpoint() {
    assert!(good(&with("")).traces.is_none());
    assert!(good(&with("[traces]\nshare = 0.5")).traces.is_none(), "without an endpoint there are none");
    let config = good(&with(
        "[traces]\nendpoint = \"https://otlp.example.com/otlp/\"\nheaders = [\"Api-Key: a:b\"]\n\
         service_name = \"shop\"\nshare = 0.5\ntimeout = \"3s\"",
    ));
    let traces = config.traces.unwrap();
    assert_eq!(traces.endpoint.reveal(), "https://otlp.example.com/otlp");
    assert_eq!((traces.headers[0].0.as_str(), traces.headers[0].1.reveal()), ("api-key", "a:b"));
    assert_eq!((traces.service_name.as_str(), traces.share, traces.timeout), ("shop", 0.5, Duration::from_secs(3)));
    assert!(!format!("{traces:?}").contains("a:b"));
    let traces = good(&with("[traces]\nendpoint = \"http://127.0.0.1:4318\"")).traces.unwrap();
    assert_eq!(
        (traces.service_name.as_str(), traces.share, traces.timeout),
        ("rabbit-sink", 1.0, Duration::from_secs(10))
    );
}
