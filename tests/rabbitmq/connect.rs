//! Connecting, and looking at and declaring queues.

use std::time::{Duration, Instant};

use lapin::options::{ExchangeDeclareOptions, ExchangeDeleteOptions, QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::{AMQPValue, FieldTable};
use rabbit_sink::config::{Binding, Declare, QueueType};
use rabbit_sink::error::ErrorClass;
use rabbit_sink::rabbitmq::{BrokerVersion, QueueState, Rabbitmq};

use super::server::{Client, config_for, connected, ctl, shared, url};

fn with(url: &str, change: impl FnOnce(&mut url::Url)) -> String {
    let mut url = url::Url::parse(url).unwrap();
    change(&mut url);
    url.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_version_and_what_was_negotiated_are_known() {
    let _node = shared().await;
    let connection = connected("version").await;
    let told = ctl(&["-q", "version"]).await;
    assert_eq!(connection.version(), BrokerVersion::parse(told.trim()));
    assert!(connection.version().is_some());
    assert_eq!(connection.heartbeat(), 10);
    assert!(connection.frame_max() >= 4096);
    assert!(connection.connected() && !connection.blocked());
    connection.close().await;
    assert!(!connection.connected());
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_see_the_connections_name() {
    let _node = shared().await;
    let connection = connected("pipeline_seven").await;
    let mut named = config_for(&[url()]);
    named.connection_name = Some("the-name".to_owned());
    let other = Rabbitmq::new(&named).unwrap().connect("ignored").await.unwrap();
    let list = ctl(&["-q", "list_connections", "client_properties"]).await;
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let host = std::env::var("HOSTNAME").unwrap_or_else(|_| host.trim().to_owned());
    assert!(list.contains(&format!("rabbit-sink/{host}/pipeline_seven")), "{list}");
    assert!(list.contains("\"the-name\""), "{list}");
    assert!(list.contains("{\"product\",\"rabbit-sink\"}"), "{list}");
    assert!(list.contains(&format!("{{\"version\",\"{}\"}}", env!("CARGO_PKG_VERSION"))), "{list}");
    connection.close().await;
    other.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_addresses_are_passed_over() {
    let _node = shared().await;
    // Bound and never accepting further than the backlog: the handshake is what hangs.
    let mute = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mute = format!("amqp://127.0.0.1:{}", mute.local_addr().unwrap().port());
    let mut config = config_for(&["amqp://127.0.0.1:1".to_owned(), mute, url()]);
    config.connect_timeout = Duration::from_secs(1);
    let broker = Rabbitmq::new(&config).unwrap();
    // Random order: sooner or later a dead one is first.
    for _ in 0..8 {
        let connection = broker.connect("several").await.unwrap();
        connection.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn when_no_address_answers_all_are_named() {
    let mute = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = mute.local_addr().unwrap().port();
    let mut config = config_for(&[
        "amqp://u:geheim@127.0.0.1:1".to_owned(),
        format!("amqp://u:geheim@[::1]:{port}"),
        format!("amqp://u:geheim@127.0.0.1:{port}"),
        "amqp://u:geheim@no-such-host.invalid".to_owned(),
    ]);
    config.connect_timeout = Duration::from_secs(1);
    let started = Instant::now();
    let failure = Rabbitmq::new(&config).unwrap().connect("none").await.unwrap_err();
    assert!(started.elapsed() < Duration::from_secs(8));
    assert_eq!(failure.class, ErrorClass::SourceLost);
    for place in ["127.0.0.1:1:", &format!("[::1]:{port}"), &format!("127.0.0.1:{port}"), "no-such-host.invalid:5672"] {
        assert!(failure.message.contains(place), "{failure}");
    }
    assert!(!format!("{failure:?}").contains("geheim"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_login_and_a_missing_vhost_say_so() {
    let _node = shared().await;
    let login = with(&url(), |url| url.set_password(Some("falsch")).unwrap());
    // An address that doesn't answer tells less.
    let config = config_for(&["amqp://127.0.0.1:1".to_owned(), login]);
    let failure = Rabbitmq::new(&config).unwrap().connect("login").await.unwrap_err();
    assert_eq!(failure.code, "403", "{failure}");
    assert!(failure.message.contains("ACCESS_REFUSED"), "{failure}");
    assert!(!format!("{failure:?}").contains("falsch"));

    let vhost = with(&url(), |url| url.set_path("/nowhere"));
    let failure = Rabbitmq::new(&config_for(&[vhost])).unwrap().connect("vhost").await.unwrap_err();
    assert_eq!(failure.code, "530", "{failure}");
    assert!(failure.message.contains("\"nowhere\""), "{failure}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_broker_is_told_as_such() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    // TLS's alert on a plaintext greeting, and what a web server says.
    let other = tokio::spawn(async move {
        for answer in [&b"\x15\x03\x03\x00\x02\x02\x0a"[..], b"HTTP/1.1 400 Bad Request\r\n\r\n"] {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut greeting = [0; 8];
            tokio::io::AsyncReadExt::read_exact(&mut socket, &mut greeting).await.unwrap();
            tokio::io::AsyncWriteExt::write_all(&mut socket, answer).await.unwrap();
            drop(socket);
        }
    });
    let broker = Rabbitmq::new(&config_for(&[format!("amqp://127.0.0.1:{port}")])).unwrap();
    for _ in 0..2 {
        let failure = broker.connect("other").await.unwrap_err();
        assert_eq!(failure.code, "not_amqp", "{failure}");
        assert!(failure.message.contains("amqps://"), "{failure}");
    }
    other.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_passive_look_tells_missing_present_and_exclusive_apart() {
    let _node = shared().await;
    let mut client = Client::new().await;
    let connection = connected("look").await;
    let missing = format!("test.{}.missing", std::process::id());
    assert_eq!(connection.queue_exists(&missing).await.unwrap(), QueueState::Missing);
    let queue = client.queue("look").await;
    client.fill(&queue, 3).await;
    let consumer = connection.subscribe(&queue, 1, "look").await.unwrap();
    client.until_ready(&queue, 2).await;
    assert_eq!(connection.queue_exists(&queue).await.unwrap(), QueueState::Present { ready: 2, consumers: 1 });
    drop(consumer);

    let exclusive = format!("test.{}.exclusive", std::process::id());
    let options = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
    client.channel.queue_declare(exclusive.as_str().into(), options, FieldTable::default()).await.unwrap();
    let failure = connection.queue_exists(&exclusive).await.unwrap_err();
    assert_eq!(failure.code, "405", "{failure}");
    // None of these looks has cost the connection.
    assert!(connection.connected());
    connection.close().await;
    client.delete().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_is_declared_only_where_it_is_missing() {
    let _node = shared().await;
    let mut client = Client::new().await;
    let connection = connected("declare").await;
    let exchange = format!("test.{}.exchange", std::process::id());
    let kind = lapin::ExchangeKind::Topic;
    client
        .channel
        .exchange_declare(exchange.as_str().into(), kind, ExchangeDeclareOptions::default(), FieldTable::default())
        .await
        .unwrap();
    let bind = vec![Binding { exchange: exchange.clone(), routing_key: "order.*".to_owned() }];
    let declare = Declare { queue_type: QueueType::Quorum, bind };

    let queue = client.name("declared");
    connection.declare_source(&queue, &declare, false).await.unwrap();
    let list = ctl(&["-q", "list_queues", "name", "type", "durable"]).await;
    assert!(
        list.lines().any(|line| line.contains(&queue) && line.contains("quorum") && line.contains("true")),
        "{list}"
    );
    let published = client
        .channel
        .basic_publish(exchange.as_str().into(), "order.new".into(), Default::default(), b"x", Default::default())
        .await
        .unwrap();
    assert!(published.await.unwrap().is_ack());
    client.until_ready(&queue, 1).await;

    // Another type is no reason to stop: the queue stays, and is bound.
    let classic = client.declare("classic", &[("x-max-length", AMQPValue::LongInt(7))]).await;
    connection.declare_source(&classic, &declare, false).await.unwrap();

    let missing = vec![Binding { exchange: "no.such.exchange".to_owned(), routing_key: String::new() }];
    let declare = Declare { queue_type: QueueType::Classic, bind: missing };
    let failure = connection.declare_source(&queue, &declare, false).await.unwrap_err();
    assert_eq!(failure.code, "404");
    assert!(failure.message.contains("no.such.exchange"), "{failure}");
    client.channel.exchange_delete(exchange.into(), ExchangeDeleteOptions::default()).await.unwrap();
    connection.close().await;
    client.delete().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_queue_never_wears_messages_out() {
    let _node = shared().await;
    let mut client = Client::new().await;
    let connection = connected("declare-dead").await;
    let queue = client.name("dead");
    connection.declare_dead_letter_queue(&queue).await.unwrap();
    connection.declare_dead_letter_queue(&queue).await.unwrap();
    client.fill(&queue, 1).await;
    for round in 0..25 {
        let mut source = connection.subscribe(&queue, 1, "wear").await.unwrap();
        let delivery = super::server::delivered(&mut source).await;
        assert_eq!(delivery.envelope.body, "0", "round {round}");
        // Closing counts in every version; giving back doesn't in all.
        drop(source);
    }
    client.until_ready(&queue, 1).await;
    connection.close().await;
    client.delete().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_rights_the_failure_names_them() {
    let _node = shared().await;
    let user = format!("test-{}", std::process::id());
    ctl(&["-q", "add_user", &user, "pass"]).await;
    ctl(&["-q", "set_permissions", &user, "^$", "^$", "^$"]).await;
    let mut client = Client::new().await;
    let queue = client.queue("forbidden").await;
    let theirs = with(&url(), |url| {
        url.set_username(&user).unwrap();
        url.set_password(Some("pass")).unwrap();
    });
    let connection = Rabbitmq::new(&config_for(&[theirs])).unwrap().connect("rights").await.unwrap();
    let failure = connection.subscribe(&queue, 1, "t").await.unwrap_err();
    assert_eq!(failure.code, "403");
    assert!(failure.message.contains("set_permissions"), "{failure}");
    let mut lacking = Vec::new();
    lacking.extend(connection.declare_dead_letter_queue(&format!("{queue}.other")).await.err());
    assert_eq!(lacking.len(), 1);
    assert_eq!(lacking[0].code, "403");
    connection.close().await;
    ctl(&["-q", "delete_user", &user]).await;
    client.delete().await;
}

/// A broker that goes silent is noticed by its heartbeat: ours are sent, theirs are missed.
#[tokio::test(flavor = "multi_thread")]
async fn heartbeats_keep_an_idle_connection_and_end_a_silent_one() {
    let _node = shared().await;
    let mut config = config_for(&[url()]);
    config.heartbeat = Duration::from_secs(1);
    let connection = Rabbitmq::new(&config).unwrap().connect("heartbeat").await.unwrap();
    assert_eq!(connection.heartbeat(), 1);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(connection.connected());
    connection.queue_exists("whatever").await.unwrap();

    // The same through a proxy that stops forwarding and keeps the sockets open.
    let upstream = url::Url::parse(&url()).unwrap();
    let upstream = format!("{}:{}", upstream.host_str().unwrap(), upstream.port().unwrap_or(5672));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (freeze, frozen) = tokio::sync::watch::channel(false);
    let proxy = tokio::spawn(async move {
        let (mut near, _) = listener.accept().await.unwrap();
        let mut far = tokio::net::TcpStream::connect(upstream).await.unwrap();
        let mut frozen = frozen;
        tokio::select! {
            _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
            _ = frozen.wait_for(|frozen| *frozen) => {}
        }
        std::future::pending::<()>().await;
        drop((near, far));
    });
    config.urls = vec![rabbit_sink::config::Secret::new(with(&url(), |url| url.set_port(Some(port)).unwrap()))];
    let mut client = Client::new().await;
    let queue = client.queue("heartbeat").await;
    let through = Rabbitmq::new(&config).unwrap().connect("silent").await.unwrap();
    let mut source = through.subscribe(&queue, 1, "t").await.unwrap();
    freeze.send(true).unwrap();
    let event = super::server::soon(rabbit_sink::rabbitmq::Source::next(&mut source)).await;
    assert!(
        matches!(&event, rabbit_sink::rabbitmq::SourceEvent::Ended(failure) if failure.code == "heartbeat"),
        "{event:?}"
    );
    proxy.abort();
    connection.close().await;
    client.delete().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_attempt_leaves_no_thread_behind() {
    let mute = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut config = config_for(&[format!("amqp://127.0.0.1:{}", mute.local_addr().unwrap().port())]);
    config.connect_timeout = Duration::from_millis(200);
    let broker_there = Rabbitmq::new(&config).unwrap();
    let threads = || {
        let ids = std::fs::read_dir("/proc/self/task").unwrap().flatten();
        ids.filter(|id| std::fs::read_to_string(id.path().join("comm")).unwrap_or_default().starts_with("lapin"))
            .count()
    };
    let before = threads();
    for _ in 0..10 {
        assert!(broker_there.connect("mute").await.is_err());
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    // Other tests open and close connections meanwhile.
    assert!(threads() < before + 10, "{} threads, {before} before", threads());
    drop(mute);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_queue_is_missing_again() {
    let _node = shared().await;
    let mut client = Client::new().await;
    let connection = connected("gone").await;
    let queue = client.queue("gone").await;
    client.channel.queue_delete(queue.as_str().into(), QueueDeleteOptions::default()).await.unwrap();
    assert_eq!(connection.queue_exists(&queue).await.unwrap(), QueueState::Missing);
    let failure = connection.subscribe(&queue, 1, "t").await.unwrap_err();
    assert_eq!((failure.class, failure.code.as_ref()), (ErrorClass::SourceLost, "404"));
    connection.close().await;
    client.delete().await;
}
