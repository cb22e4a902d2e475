//! Overrides from the environment.

use rabbit_sink::config::{ColumnSource, DeadLetter, IdPlace, Place};

use crate::{LEAST, bad_env, good, good_env, with};

#[test]
fn every_level_can_be_set() {
    let config = good_env(
        LEAST,
        &[
            ("RABBIT_SINK__PIPELINES__ORDERS__PREFETCH", "5000"),
            ("RABBIT_SINK__PIPELINES__ORDERS__BATCH__MAX_ROWS", "2500"),
            ("RABBIT_SINK__PIPELINES__ORDERS__BATCH__MAX_BYTES", "1048576"),
            ("RABBIT_SINK__PIPELINES__ORDERS__STORM__SHARE", "0.5"),
            ("RABBIT_SINK__PIPELINES__ORDERS__DEAD_LETTER__DECLARE", "false"),
            ("RABBIT_SINK__PIPELINES__ORDERS__MESSAGE_ID", "[\"/id\"]"),
            ("RABBIT_SINK__PIPELINES__MORE__QUEUE", "more"),
            ("RABBIT_SINK__PIPELINES__MORE__TABLE", "more"),
            ("RABBIT_SINK__DATABASE__URL", "postgres://h/d"),
            ("rabbit_sink__worker__shutdown_timeout", "5s"),
            ("RABBIT_SINK__ADMIN__LISTEN", "off"),
        ],
    );
    let pipeline = &config.pipelines["orders"];
    assert_eq!((pipeline.prefetch, pipeline.batch.max_rows, pipeline.batch.max_bytes), (5000, 2500, 1 << 20));
    assert!(
        (pipeline.storm.share - 0.5).abs() < f64::EPSILON
            && matches!(pipeline.dead_letter, DeadLetter::Queue { declare: false, .. })
    );
    assert_eq!(pipeline.message_id, [IdPlace::One(Place::Pointer(vec!["id".into()]))]);
    assert_eq!(config.pipelines["more"].queue, "more");
    assert_eq!(config.databases["default"].url.reveal(), "postgres://h/d");
    assert_eq!(config.worker.shutdown_timeout.as_secs(), 5);
    assert_eq!(config.admin.listen, None);
}

#[test]
fn digits_and_dollars_stay_text() {
    let config = good_env(
        &with("[database]\nurl = \"postgres://h/d\""),
        &[
            ("RABBIT_SINK__DATABASE__USERNAME", "0042"),
            ("RABBIT_SINK__DATABASE__PASSWORD", "1e5"),
            ("RABBIT_SINK__PIPELINES__ORDERS__QUEUE", "true"),
            ("RABBIT_SINK__PIPELINES__ORDERS__DEAD_LETTER__QUEUE", "a$$b${C}"),
        ],
    );
    assert_eq!(config.databases["default"].url.reveal(), "postgres://0042:1e5@h/d");
    assert_eq!(config.pipelines["orders"].queue, "true");
    assert_eq!(config.pipelines["orders"].dead_letter.queue(), Some("a$$b${C}"));
}

#[test]
fn others_are_none_of_ours() {
    let others = [
        ("RABBIT_SINK_CONFIG", "x"),
        ("RABBIT_SINK_SERVICE_HOST", "10.0.0.1"),
        ("RABBIT_SINK_PORT_9464_TCP", "x"),
        ("RABBIT_SINKING__X", "x"),
        ("PATH", "/bin"),
    ];
    good_env(LEAST, &others);
}

#[test]
fn columns_in_upper_case_are_found() {
    let text = with("[pipelines.orders.columns]\nTotal = \"/a\"");
    let config = good_env(&text, &[("RABBIT_SINK__PIPELINES__ORDERS__COLUMNS__TOTAL", "/b")]);
    let columns = config.pipelines["orders"].columns.clone().unwrap();
    assert_eq!(columns.len(), 1);
    assert_eq!(columns[0].column, "Total");
    assert_eq!(columns[0].source, ColumnSource::From(Place::Pointer(vec!["b".into()])));
}

#[test]
fn an_alternative_from_outside_replaces_the_one_in_the_file() {
    let text = with("[database]\nurl_file = \"/nope\"\n[rabbitmq]\nurl = \"amqp://inside\"");
    let outside =
        [("RABBIT_SINK__DATABASE__URL", "sqlite://x"), ("RABBIT_SINK__RABBITMQ__URLS", "[\"amqp://a\", \"amqp://b\"]")];
    let config = good_env(&text, &outside);
    assert_eq!(config.databases["default"].url.reveal(), "sqlite://x");
    assert_eq!(config.brokers["default"].urls.len(), 2);
}

#[test]
fn texts_of_the_file_take_variables() {
    let text = with("consumers = \"${N}\"\ndead_letter.queue = \"$$${Q}-$x\"");
    let config = good_env(&text, &[("N", "3"), ("Q", "q$$")]);
    assert_eq!(config.pipelines["orders"].consumers, 3);
    assert_eq!(config.pipelines["orders"].dead_letter.queue(), Some("$q$$-$x"));
}

#[test]
fn mistakes_name_the_variable() {
    let said = |name: &str, value: &str| {
        let errors = bad_env(LEAST, &[(name, value)]);
        assert_eq!(errors.problems().len(), 1, "{errors}");
        assert_eq!(errors.problems()[0].variable.as_deref(), Some(name));
        errors.to_string()
    };
    let text = said("RABBIT_SINK__PIPELINES__ORDERS__PREFETCH", "many");
    let expected = "environment variable RABBIT_SINK__PIPELINES__ORDERS__PREFETCH: pipelines.orders.prefetch: \
                    expected a whole number from 1 to 65535, found \"many\"\n";
    assert!(text.starts_with(expected), "{text}");
    assert!(said("RABBIT_SINK__PIPELINES__ORDERS__PREFETHC", "1").contains("did you mean `prefetch`?"));
    assert!(said("RABBIT_SINK__PIPELINES__ORDERS__QUEUE__X", "1").contains("plain value"));
    assert!(said("RABBIT_SINK__PIPELINES____QUEUE", "1").contains("empty part"));
    assert!(said("RABBIT_SINK__PIPELINES__ORDERS__MESSAGE_ID", "[\"/id\"").contains("expected a list"));
    assert!(said("RABBIT_SINK__PIPELINES__ORDERS__RETRY__HOLD", "10").contains("needs its unit"));

    let twice = [("RABBIT_SINK__ADMIN__LISTEN", "off"), ("rabbit_sink__admin__listen", "off")];
    assert!(bad_env(LEAST, &twice).to_string().contains("set the same key"));
}

/// Our way of reading files rests on this; if it changes, the environment module can become simpler.
#[test]
fn the_config_crate_lower_cases_names_of_variables() {
    use config::Source as _;
    let source = config::Environment::with_prefix("P")
        .separator("__")
        .source(Some([("P__A__B".to_owned(), "007".to_owned())].into_iter().collect()));
    let read = source.collect().unwrap();
    assert_eq!(read["a.b"].clone().into_string().unwrap(), "007");
    good(LEAST);
}

/// By it a worker is reached while its file is being mended.
#[test]
fn how_a_worker_is_reached_is_read_whatever_is_wrong_elsewhere() {
    use rabbit_sink::config::load_admin;
    let file = tempfile::NamedTempFile::new().unwrap();
    let read = |text: &str, variables: &[(&str, &str)]| {
        std::fs::write(file.path(), text).unwrap();
        let variables: Vec<_> = variables.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        load_admin(file.path(), &variables).map(|admin| admin.listen.map(|address| address.to_string()))
    };
    let wrong = "[admin]\nlisten = \"127.0.0.1:7000\"\n[pipelines.Or]\nprefetsch = \"${NOT_SET}\"\n";
    assert_eq!(read(wrong, &[("RABBIT_SINK__DATABASE__URLL", "x")]).unwrap().as_deref(), Some("127.0.0.1:7000"));
    let variable = [("RABBIT_SINK__ADMIN__LISTEN", "127.0.0.1:7001")];
    assert_eq!(read(wrong, &variable).unwrap().as_deref(), Some("127.0.0.1:7001"));
    let said = read("[admin]\nlisten = \"nowhere\"\n[pipelines.orders]\nprefetsch = 1\n", &[]).unwrap_err().to_string();
    assert!(said.contains("admin.listen") && !said.contains("prefetsch"), "{said}");
    // What can't be read may have been the address.
    assert!(read("[admin]\nlisten = 127.0.0.1:7000\n", &[]).is_err());
}
