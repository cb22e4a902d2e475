//! Mistakes, one a line: what is written into the least config, at which key it is found, and what is said.

use crate::{bad, bad_env, with};

/// Each: keys added from line 4 on; the line and key of the only mistake; parts of its message and help.
type Case = (&'static str, usize, &'static str, &'static [&'static str]);

const P: &str = "pipelines.orders";

#[track_caller]
fn check(cases: &[Case]) {
    for (more, line, key, parts) in cases {
        let errors = bad(&with(more));
        let [problem] = errors.problems() else { panic!("for {more:?}, one mistake expected:\n{errors}") };
        let key = if let Some(rest) = key.strip_prefix('.') { format!("{P}.{rest}") } else { (*key).to_owned() };
        assert_eq!(problem.key, key, "for {more:?}\n{errors}");
        assert_eq!(problem.position.map(|(line, _)| line), Some(*line), "for {more:?}\n{errors}");
        let said = format!("{} {}", problem.message, problem.help.as_deref().unwrap_or_default());
        for part in *parts {
            assert!(said.contains(part), "for {more:?}, {part:?} expected in\n{errors}");
        }
    }
}

#[test]
fn of_names() {
    check(&[
        ("prefech = 1", 4, ".prefech", &["unknown key", "did you mean `prefetch`?"]),
        ("max_rows = 1", 4, ".max_rows", &["unknown key", "belongs in [pipelines.orders.batch]"]),
        ("hold = \"1s\"", 4, ".hold", &["belongs in [pipelines.orders.retry]"]),
        ("zzz = 1", 4, ".zzz", &["unknown key", "known here: queue, table, mode"]),
        ("[pipeline.x]", 4, "pipeline", &["unknown key", "did you mean `pipelines`?"]),
        ("[worker]\nshutdown = \"1s\"", 5, "worker.shutdown", &["unknown key", "shutdown_timeout"]),
        ("[admin]\nport = 1", 5, "admin.port", &["unknown key", "listen"]),
        ("storm.count = 3", 4, ".storm.count", &["unknown key"]),
        ("columns.a = { from = \"/a\", requird = true }", 4, ".columns.a.requird", &["did you mean `required`?"]),
        ("[pipelines.Orders]\nqueue = \"q\"\ntable = \"t\"", 4, "pipelines.Orders", &["a-z, 0-9 and _", "\"Orders\""]),
        ("[pipelines.a__b]\nqueue = \"q\"\ntable = \"t\"", 4, "pipelines.a__b", &["without __"]),
        ("[brokers.Big]\nurl = \"amqp://h\"\n[rabbitmq]\nurl = \"amqp://h\"", 4, "brokers.Big", &["a-z, 0-9 and _"]),
        ("broker = \"other\"", 4, ".broker", &["no broker \"other\"", "known: default", "[brokers.NAME]"]),
        ("database = \"defualt\"", 4, ".database", &["no database \"defualt\"", "did you mean \"default\"?"]),
        ("[rabbitmq]\nurl = \"amqp://h\"\n[brokers.default]\nurl = \"amqp://h\"", 6, "brokers.default", &["keep one"]),
    ]);
    // A default that isn't there stands nowhere but at its pipeline's name.
    let errors = bad(&with("[databases.x]\nurl = \"sqlite://x\""));
    assert_eq!(errors.problems()[0].position, Some((1, 12)), "{errors}");
    assert!(errors.to_string().contains("no database \"default\"; known: x"), "{errors}");
}

#[test]
fn of_kinds_and_ranges() {
    check(&[
        ("consumers = 0", 4, ".consumers", &["a whole number from 1 to 64", "found 0"]),
        ("consumers = 65", 4, ".consumers", &["found 65"]),
        ("consumers = \"2\"", 4, ".consumers", &["found \"2\"", "without quotes"]),
        ("consumers = 1.5", 4, ".consumers", &["found 1.5"]),
        ("prefetch = 99999999999999999999999", 4, ".prefetch", &["beyond 64 bits"]),
        ("prefetch = 65536", 4, ".prefetch", &["from 1 to 65535"]),
        ("batch.max_rows = 32768", 4, ".batch.max_rows", &["from 1 to 32767"]),
        ("batch.max_bytes = \"8mb\"", 4, ".batch.max_bytes", &["a size from 1 to 1GiB", "found \"8mb\""]),
        ("batch.max_bytes = -1", 4, ".batch.max_bytes", &["found -1"]),
        ("batch.linger = 5", 4, ".batch.linger", &["a duration", "found 5", "\"5s\""]),
        ("batch.linger = \"5\"", 4, ".batch.linger", &["needs its unit"]),
        ("retry.hold = \"soon\"", 4, ".retry.hold", &["from 100ms to 365d", "found \"soon\""]),
        ("retry.hold = \"-1s\"", 4, ".retry.hold", &["found \"-1s\""]),
        ("retry = 3", 4, ".retry", &["expected a section [pipelines.orders.retry]"]),
        ("storm.min = 0", 4, ".storm.min", &["from 1"]),
        ("storm.share = 0", 4, ".storm.share", &["above 0 and at most 1", "found 0"]),
        ("storm.share = 1.01", 4, ".storm.share", &["found 1.01"]),
        ("storm.share = nan", 4, ".storm.share", &["found nan"]),
        ("storm.action = \"puase\"", 4, ".storm.action", &["\"pause\" or \"dead_letter\"", "did you mean \"pause\"?"]),
        ("dead_letter.declare = \"yes\"", 4, ".dead_letter.declare", &["true or false", "found \"yes\""]),
        ("id_conflict = true", 4, ".id_conflict", &["found true"]),
        ("unknown_fields = \"rejct\"", 4, ".unknown_fields", &["did you mean \"reject\"?"]),
        ("unknown_fields = \"column:\"", 4, ".unknown_fields", &["column:NAME"]),
        ("deduplicate = \"colum\"", 4, ".deduplicate", &["did you mean \"column\"?"]),
        ("declare = { type = \"stream\" }", 4, ".declare.type", &["not available in this version"]),
        ("declare = { bind = [{ routing_key = \"a\" }] }", 4, ".declare.bind[0].exchange", &["missing"]),
        ("declare = { bind = [\"shop\"] }", 4, ".declare.bind[0]", &["found \"shop\"", "exchange ="]),
        ("declare = true", 4, ".declare", &["expected a section"]),
        ("[admin]\nlisten = \":9464\"", 5, "admin.listen", &["found \":9464\"", "0.0.0.0:9464"]),
        ("[worker]\nshutdown_timeout = \"2h\"", 5, "worker.shutdown_timeout", &["from 100ms to 1h"]),
        ("[database]\nurl = \"sqlite://x\"\nledger_keep = \"59m\"", 6, "database.ledger_keep", &["from 1h"]),
        ("[database]\nurl = \"sqlite://x\"\nledger_table = \"a.\"", 6, "database.ledger_table", &["found \"a.\""]),
        ("[database]\nurl = \"sqlite://x\"\non_connect = \"SET\"", 6, "database.on_connect", &["a list"]),
        ("[rabbitmq]\nurl = \"amqp://h\"\nheartbeat = \"0s\"", 6, "rabbitmq.heartbeat", &["from 1s"]),
        ("[rabbitmq]\nurl = \"amqp://h\"\nconnection_name = \"\"", 6, "rabbitmq.connection_name", &["found \"\""]),
    ]);
}

#[test]
fn of_places_and_columns() {
    check(&[
        ("message_id = [\"order_id\"]", 4, ".message_id[0]", &["found \"order_id\"", "\"/order_id\""]),
        ("message_id = [\"message_id\"]", 4, ".message_id[0]", &["in itself", "property:message_id"]),
        ("message_id = \"/id\"", 4, ".message_id", &["a list"]),
        ("message_id = [{ al = [\"/a\"] }]", 4, ".message_id[0].al", &["did you mean `all`?"]),
        ("message_id = [{ all = [] }]", 4, ".message_id[0]", &["at least one place in `all`"]),
        ("message_id = [7]", 4, ".message_id[0]", &["found 7"]),
        ("message_id = [\"property:id\"]", 4, ".message_id[0]", &["no property \"id\"", "header:id"]),
        ("columns = {}", 4, ".columns", &["names no column"]),
        ("columns.a = \"hdr:x\"", 4, ".columns.a", &["expected a place", "found \"hdr:x\""]),
        ("columns.a = \"/b~2\"", 4, ".columns.a", &["neither `~0` nor `~1`"]),
        ("columns.a = \"sha256:body\"", 4, ".columns.a", &["message_id only"]),
        ("columns.a = 5", 4, ".columns.a", &["found 5", "{ value = … }"]),
        ("columns.a = { required = true }", 4, ".columns.a", &["`from`", "`value`"]),
        ("columns.a = { from = \"/a\", value = 1 }", 4, ".columns.a.value", &["excludes `from`"]),
        ("columns.a = { value = [1] }", 4, ".columns.a.value", &["a constant", "found a list"]),
        ("columns.a = { value = inf }", 4, ".columns.a.value", &["found inf"]),
        ("columns.a = { value = 1, default = 2 }", 4, ".columns.a.default", &["means nothing beside `value`"]),
        ("columns.a = { from = \"/a\", required = true, default = 1 }", 4, ".columns.a.default", &["never written"]),
        ("columns.a = { from = \"/a\", time = \"epoch_ns\" }", 4, ".columns.a.time", &["epoch_s", "did you mean"]),
        ("columns.a = { from = \"/a\", zone = \"Europe/Berln\" }", 4, ".columns.a.zone", &["\"Europe/Berlin\"?"]),
        ("columns.a = { from = \"/a\", zone = \"Z\" }", 4, ".columns.a.zone", &["write \"UTC\""]),
        ("columns.\"\" = \"/a\"", 4, ".columns.\"\"", &["1 to 63 bytes", "0 bytes"]),
        ("columns.\"a\\u0000\" = \"/a\"", 4, ".columns.\"a\\0\"", &["1 to 63 bytes"]),
        ("columns.a = { from = \"/a\", sql = \"x\" }", 4, ".columns.a.sql", &["not available in this version"]),
        ("columns.a = { sql = \"x\" }", 4, ".columns.a.sql", &["not available in this version"]),
        ("columns.a = { from = \"/a\", type = \"int\" }", 4, ".columns.a.type", &["not available in this version"]),
    ]);
}

#[test]
fn of_what_comes_later() {
    check(&[
        ("mode = \"upsert\"", 4, ".mode", &["\"upsert\" is not available in this version"]),
        ("mode = \"isnert\"", 4, ".mode", &["did you mean \"insert\"?"]),
        ("format = \"debezium\"", 4, ".format", &["not available in this version"]),
        ("dead_letter.to = \"table\"", 4, ".dead_letter.to", &["not available in this version"]),
        ("key = [\"id\"]", 4, ".key", &["not available in this version"]),
        ("version = \"v\"", 4, ".version", &["not available in this version"]),
        ("on_reject = \"pause\"", 4, ".on_reject", &["not available in this version"]),
        ("operation = { from = \"/op\" }", 4, ".operation", &["not available in this version"]),
        ("absent = \"keep\"", 4, ".absent", &["not available in this version"]),
        ("rows = \"/items\"", 4, ".rows", &["not available in this version"]),
        ("lanes = 4", 4, ".lanes", &["not available in this version"]),
        ("order = \"key\"", 4, ".order", &["not available in this version"]),
        ("guarantee = \"exactly_once_effect\"", 4, ".guarantee", &["not available in this version"]),
        ("[pipelines.orders.schema]\ncreate = true", 4, ".schema", &["not available in this version"]),
    ]);
}

#[test]
fn of_contradictions() {
    check(&[
        ("prefetch = 1999", 4, ".prefetch", &["2 × batch.max_rows = 2000", "found 1999", "max_rows to 999"]),
        ("prefetch = 3000\nbatch.max_rows = 1501", 4, ".prefetch", &["3002"]),
        ("retry.hold = \"30m\"", 4, ".retry.hold", &["consumer_timeout (30m)", "found 30m"]),
        (
            "[rabbitmq]\nurl = \"amqp://h\"\nconsumer_timeout = \"5m\"\n[pipelines.orders.retry]\nhold = \"6m\"",
            8,
            ".retry.hold",
            &["consumer_timeout (5m)", "found 6m"],
        ),
        ("retry.initial = \"31s\"", 4, ".retry.initial", &["31s", "30s"]),
        (
            "limits.max_rows_per_second = 1\nretry.hold = \"1s\"",
            4,
            ".limits.max_rows_per_second",
            &["not one message", "(1s)"],
        ),
        ("batch.linger = \"10s\"\nretry.hold = \"10s\"", 4, ".batch.linger", &["given back"]),
        (
            "retry.missing_parent = \"10m\"",
            4,
            ".retry.missing_parent",
            &["wait for its parent (10m)", "`retry.hold` (10m)"],
        ),
        ("dead_letter.queue = \"orders\"", 4, ".dead_letter.queue", &["come back for ever"]),
        ("message_id = []", 4, ".message_id", &["at least one place", "deduplicate = \"none\""]),
        ("deduplicate = \"column\"", 4, ".deduplicate", &["no column holds the message ID", "column:NAME"]),
        (
            "deduplicate = \"column\"\ncolumns.id = \"property:message_id\"",
            4,
            ".deduplicate",
            &["no column holds the message ID"],
        ),
        ("deduplicate = \"column:id\"\ncolumns.a = \"/a\"", 4, ".deduplicate", &["\"id\"", "id = \"message_id\""]),
        ("unknown_fields = \"column:a\"\ncolumns.a = \"/a\"", 4, ".unknown_fields", &["filled by columns already"]),
        (
            "consumers = 4\n[database]\nurl = \"postgres://h/d\"\nmax_connections = 5",
            7,
            "database.max_connections",
            &["at least 6", "found 5"],
        ),
    ]);
}

#[test]
fn of_addresses() {
    check(&[
        ("[rabbitmq]\nheartbeat = \"9s\"", 4, "rabbitmq.url", &["missing", "`urls`", "`url_file`"]),
        ("[rabbitmq]\nurl = \"http://h\"", 5, "rabbitmq.url", &["amqp://USER", "found http://"]),
        ("[rabbitmq]\nurl = \"ampq://h\"", 5, "rabbitmq.url", &["did you mean amqp://?"]),
        ("[rabbitmq]\nurl = \"amqp://h:99999\"", 5, "rabbitmq.url", &["invalid port"]),
        ("[rabbitmq]\nurl = \"amqp:///x\"", 5, "rabbitmq.url", &["no host"]),
        ("[rabbitmq]\nurl = \"amqp://[::1]/\"", 5, "rabbitmq.url", &["IPv6"]),
        ("[rabbitmq]\nurl = \"amqp://h/?heartbeat=3\"", 5, "rabbitmq.url", &["\"heartbeat\"", "write heartbeat ="]),
        ("[rabbitmq]\nurls = []", 5, "rabbitmq.urls", &["at least one"]),
        ("[rabbitmq]\nurls = [\"amqp://h\", \"h\"]", 5, "rabbitmq.urls[1]", &["found something else"]),
        ("[rabbitmq]\nurl = \"amqp://h\"\nurls = [\"amqp://h\"]", 6, "rabbitmq.urls", &["excludes `url`"]),
        ("[rabbitmq]\nurl = 5", 5, "rabbitmq.url", &["a text in quotes"]),
        ("[rabbitmq]\nurl = \"amqp://h\"\nmanagement_url = \"h:15672\"", 6, "rabbitmq.management_url", &["http://"]),
        ("[database]\nmax_connections = 9", 4, "database.url", &["missing", "postgres://"]),
        ("[database]\nurl = \"postgress://h\"", 5, "database.url", &["found postgress://", "did you mean postgres"]),
        ("[database]\nurl = \"orders.db\"", 5, "database.url", &["sqlite://"]),
        ("[database]\nurl = \"sqlite:x.db\"", 5, "database.url", &["write sqlite://FILE"]),
        ("[database]\nurl = \"sqlite://:memory:\"", 5, "database.url", &["in memory"]),
        ("[database]\nurl = \"sqlite://\"", 5, "database.url", &["no file"]),
        (
            "[database]\nurl = \"postgres://h/d?sslmod=x\"",
            5,
            "database.url",
            &["\"sslmod\"", "did you mean \"sslmode\"?"],
        ),
        ("[database]\nurl = \"sqlite://x\"\nusername = \"u\"", 5, "database.url", &["no users"]),
        (
            "[database]\nurl = \"mysql://h/d\"\nca_file = \"/nope/ca\"",
            6,
            "database.ca_file",
            &["/nope/ca", "No such file"],
        ),
        ("[database]\nurl = \"sqlite://x\"\nca_file = \"Cargo.toml\"", 6, "database.ca_file", &["SQLite is a file"]),
        ("[rabbitmq]\nurl = \"amqp://h\"\nca_file = \"Cargo.toml\"", 6, "rabbitmq.ca_file", &["amqps://"]),
        ("[rabbitmq]\nurl = \"amqps://h\"\ncert_file = \"Cargo.toml\"", 6, "rabbitmq.cert_file", &["key_file"]),
        ("[rabbitmq]\nurl = \"amqps://h\"\nkey_file = \"Cargo.toml\"", 6, "rabbitmq.key_file", &["cert_file"]),
    ]);
}

#[test]
fn of_what_is_missing() {
    let errors = bad("[pipelines.orders]\ntabel = \"orders\"\nqueue = \"\"\n");
    let keys: Vec<&str> = errors.problems().iter().map(|problem| problem.key.as_str()).collect();
    assert_eq!(keys, ["pipelines.orders.table", "pipelines.orders.tabel", "pipelines.orders.queue"], "{errors}");
    assert!(errors.to_string().contains("`tabel` looks like it"), "{errors}");

    let errors = bad("");
    assert!(errors.to_string().starts_with("test.toml: pipelines: missing; expected at least one"), "{errors}");
}

#[test]
fn all_at_once_and_nothing_twice() {
    let errors = bad(&with(
        "consumers = 0\nprefetch = \"x\"\nbatch.max_rows = 5000\nretry.hold = \"1y\"\nnope = 1\n[admin]\nlisten = 1",
    ));
    let keys: Vec<&str> = errors.problems().iter().map(|problem| problem.key.as_str()).collect();
    let expected = [
        "pipelines.orders.consumers",
        "pipelines.orders.prefetch",
        "pipelines.orders.retry.hold",
        "pipelines.orders.nope",
        "admin.listen",
    ];
    assert_eq!(keys, expected, "a bad prefetch isn't compared with max_rows as well\n{errors}");
}

#[test]
fn of_syntax() {
    let errors = bad("[pipelines.orders]\nqueue = \"orders\"\nqueue = \"again\"\n");
    assert!(errors.to_string().starts_with("test.toml:3:1: not TOML: duplicate key"), "{errors}");
    let errors = bad("[pipelines.orders\nqueue = 5");
    assert_eq!(errors.problems()[0].position.map(|(line, _)| line), Some(1), "{errors}");
    let errors = bad("a = \n");
    assert!(errors.to_string().contains("test.toml:1:"), "{errors}");
}

#[test]
fn of_substitution() {
    let text = with("dead_letter.queue = \"${NOPE}.dead\"");
    let errors = bad(&text);
    assert_eq!(errors.problems()[0].key, "pipelines.orders.dead_letter.queue");
    assert!(errors.to_string().contains("`NOPE` is not set"), "{errors}");
    for (value, message) in [("${A", "no closing"), ("${}", "the name of"), ("${A:-x}", "the name of")] {
        let errors = bad_env(&with(&format!("dead_letter.queue = \"{value}\"")), &[("A", "a")]);
        assert!(errors.to_string().contains(message), "{value}: {errors}");
    }
}

#[test]
fn of_the_file() {
    let missing = rabbit_sink::config::load(std::path::Path::new("/nope/x.toml"), &[]).unwrap_err();
    let said = missing.to_string();
    assert!(said.starts_with("/nope/x.toml: can't read the config file: No such file"), "{said}");
    assert!(said.contains("--config"), "{said}");

    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), b"[worker]\n\xff").unwrap();
    let said = rabbit_sink::config::load(file.path(), &[]).unwrap_err().to_string();
    assert!(said.contains("line 2: not UTF-8"), "{said}");
}
