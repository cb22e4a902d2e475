//! What a broker has to say.

use lapin::types::{AMQPValue, FieldTable};

use super::{about, check, config, lines, mend};
use crate::support::broker::{Broker, Depth, Kind, Message};
use crate::support::database::{Server, TestDatabase};
use crate::support::servers::rabbitmq::{Rabbitmq, RabbitmqOptions};
use crate::support::servers::{rabbitmqctl, shared_amqp_url, shared_rabbitmqctl};
use crate::support::wait::unique_name;
use crate::support::worker::Worker;

async fn table() -> TestDatabase {
    let database = TestDatabase::fresh(Server::Sqlite).await;
    database.execute(super::TABLE).await;
    database
}

#[tokio::test]
async fn slow_a_missing_right_is_named_and_the_command_helps() {
    let (database, broker) = (table().await, Broker::shared().await);
    let ((user, amqp), queue) = (login(), unique_name("check"));
    broker.declare(&queue, Kind::Quorum).await;
    broker.publish(&queue, [Message::json("a", "{\"id\":\"a\",\"price\":1}")]).await;
    let ctl = |arguments: &[&str]| rabbitmqctl(&shared_rabbitmqctl(), arguments);
    let config = config(&amqp, &database.url, &queue, "");
    // No right on the virtual host at all.
    let exit = check(&config).await.expect(4);
    assert!(exit.stdout.contains("rabbitmqctl add_vhost '/'; rabbitmqctl set_permissions -p '/'"), "{}", exit.stdout);
    ctl(&["set_permissions", "-p", "/", &user, "^$", "^$", "^$"]);
    check(&config).await.expect(4);
    let found = lines(&config).await;
    let rights = about(&found, "permissions");
    for what in ["read queue", "configure queue", "publish through the default exchange"] {
        assert!(rights.iter().any(|line| line.starts_with("wrong: ") && line.contains(what)), "{what}: {rights:?}");
    }
    // As many connections as it may have: nothing to mend in the config.
    let limit = |most: i32| ctl(&["set_user_limits", &user, &format!("{{\"max-connections\":{most}}}")]);
    limit(0);
    let exit = check(&config).await.expect(3);
    assert!(exit.stdout.contains("→ the worker waits until there is room"), "{}", exit.stdout);
    limit(-1);
    // The command, word for word.
    let command = mend(&found, "permissions");
    let words: Vec<String> = command.split(' ').map(|word| word.trim_matches('\'').to_owned()).collect();
    assert_eq!(words[0], "rabbitmqctl");
    ctl(&words[1..].iter().map(String::as_str).collect::<Vec<_>>());
    check(&config).await.expect(0);
    assert_eq!(broker.depth(&queue).await, Depth { ready: 1, unacked: 0 });
    let summary = Worker::until_empty(&config).await.expect(0).summary();
    assert_eq!(summary.written, 1, "with these rights the worker works: {summary:?}");
    ctl(&["delete_user", &user]);
    broker.delete(&queue).await;
    broker.delete(&format!("{queue}.dead")).await;
}

/// A login of its own on the shared broker, with no right yet.
fn login() -> (String, String) {
    let user = unique_name("u");
    rabbitmqctl(&shared_rabbitmqctl(), &["add_user", &user, "s3cret"]);
    let mut amqp = url::Url::parse(&shared_amqp_url()).unwrap();
    amqp.set_username(&user).unwrap();
    amqp.set_password(Some("s3cret")).unwrap();
    (user, amqp.into())
}

/// The exchanges that the worker binds its queue to: there, and with the right to.
#[tokio::test]
async fn slow_what_a_queue_is_to_be_bound_to_is_looked_at() {
    let (database, broker, (user, amqp)) = (table().await, Broker::shared().await, login());
    let (queue, exchange) = (unique_name("check"), unique_name("shop+"));
    let ctl = |arguments: &[&str]| rabbitmqctl(&shared_rabbitmqctl(), arguments);
    let own = format!("^(amq.default|{queue}|{queue}.dead)$");
    ctl(&["set_permissions", "-p", "/", &user, &own, &own, ".*"]);
    let declare = format!("declare = {{ bind = [{{ exchange = \"{exchange}\" }}] }}");
    let config = config(&amqp, &database.url, &queue, &declare);
    check(&config).await.expect(4);
    let missing = about(&lines(&config).await, "exchange").join("\n");
    assert!(missing.starts_with(&format!("wrong: {exchange} is missing in vhost /")), "{missing}");
    let options = lapin::options::ExchangeDeclareOptions { durable: true, ..Default::default() };
    let fanout = lapin::ExchangeKind::Fanout;
    let made = broker.channel.exchange_declare(exchange.as_str().into(), fanout, options, FieldTable::default());
    made.await.unwrap();
    // All but reading the exchange.
    ctl(&["set_permissions", "-p", "/", &user, &own, &own, &own]);
    check(&config).await.expect(4);
    let found = lines(&config).await;
    let said = about(&found, "permissions").join("\n");
    assert!(said.contains(&format!("may not bind queue {queue} to exchange {exchange}")), "{said}");
    let words: Vec<String> =
        mend(&found, "permissions").split(' ').map(|word| word.trim_matches('\'').into()).collect();
    ctl(&words[1..].iter().map(String::as_str).collect::<Vec<_>>());
    check(&config).await.expect(0);
    Worker::until_empty(&config).await.expect(0);
    let key = lapin::options::BasicPublishOptions::default();
    let sent = broker.channel.basic_publish(exchange.as_str().into(), "".into(), key, b"{}", Default::default());
    sent.await.unwrap();
    crate::support::wait::eventually(crate::support::wait::PATIENCE, "it is bound", async || {
        broker.depth(&queue).await.ready == 1
    })
    .await;
    ctl(&["delete_user", &user]);
    for queue in [queue.clone(), format!("{queue}.dead")] {
        broker.delete(&queue).await;
    }
    let gone = lapin::options::ExchangeDeleteOptions::default();
    broker.channel.exchange_delete(exchange.as_str().into(), gone).await.unwrap();
}

/// A node with the management API, and a config for one of its queues.
struct Managed {
    node: Rabbitmq,
    broker: Broker,
    database: TestDatabase,
}

impl Managed {
    async fn start() -> Self {
        let options = RabbitmqOptions { plugins: vec!["rabbitmq_management".to_owned()], ..RabbitmqOptions::default() };
        let node = Rabbitmq::start_with(options).await;
        Managed { broker: Broker::of(&node).await, database: table().await, node }
    }

    fn config(&self, queue: &str, more: &str) -> String {
        let management = format!("management_url = \"http://127.0.0.1:{}\"\n[database]", self.node.http_port());
        config(&self.node.url(), &self.database.url, queue, more).replace("[database]", &management)
    }

    /// The same with another database, for a worker whose ledger isn't to stay.
    fn elsewhere(&self, config: String, database: &TestDatabase) -> String {
        config.replace(&self.database.url, &database.url)
    }

    /// What is said about one thing of a queue.
    async fn about(&self, queue: &str, check: &str) -> String {
        about(&lines(&self.config(queue, "")).await, check).join("\n")
    }

    fn at_least(&self, major: u32, minor: u32) -> bool {
        let version = self.node.version();
        let mut numbers = version.trim_start_matches("RabbitMQ ").split('.').map(|part| part.parse::<u32>().unwrap());
        (numbers.next().unwrap(), numbers.next().unwrap()) >= (major, minor)
    }

    async fn declare(&self, queue: &str, arguments: &[(&str, AMQPValue)]) {
        let mut table = FieldTable::default();
        for (name, value) in arguments {
            table.insert((*name).into(), value.clone());
        }
        self.broker.declare_with(queue, Kind::Quorum, table).await;
    }

    fn policy(&self, name: &str, queue: &str, definition: &str) {
        self.node.ctl(&["set_policy", name, &format!("^{queue}$"), definition, "--apply-to", "queues"]);
    }
}

#[tokio::test]
async fn slow_the_management_api_tells_what_amqp_does_not() {
    let managed = Managed::start().await;
    // All at once: the API takes 5 s to know a queue.
    let to = |exchange: &str| ("x-dead-letter-exchange", AMQPValue::LongString(exchange.into()));
    for (queue, arguments) in [
        ("plain", vec![]),
        ("short", vec![("x-consumer-timeout", AMQPValue::LongInt(60_000))]),
        ("long", vec![("x-consumer-timeout", AMQPValue::LongInt(7_200_000))]),
        ("limited", vec![("x-delivery-limit", AMQPValue::LongInt(3))]),
        ("endless", vec![("x-delivery-limit", AMQPValue::LongInt(-1))]),
        ("to-nowhere", vec![to("nowhere")]),
        ("limited.dead", vec![("x-max-length", AMQPValue::LongInt(5))]),
        ("to-dlx", vec![to("dlx")]),
        ("by-default", vec![to(""), ("x-dead-letter-routing-key", AMQPValue::LongString("buried".into()))]),
    ] {
        managed.declare(queue, &arguments).await;
    }
    managed.broker.declare("stream", Kind::Stream).await;
    let found = lines(&managed.config("plain", "")).await;
    assert_eq!(about(&found, "queue type"), ["ok: quorum, durable"], "{found:#?}");
    assert_eq!(about(&found, "policies"), ["ok: none applies"]);
    nodes_timeout(&managed).await;
    queues_own_timeouts(&managed).await;
    limits_and_guarantees(&managed).await;
    policies(&managed).await;
    dead_letters_of_the_brokers_own(&managed).await;
    // What can't be read at all.
    let exit = check(&managed.config("stream", "")).await.expect(4);
    assert!(exit.stdout.contains("✗ queue type: stream is a stream"), "{}", exit.stdout);
    // A login that the API refuses makes nothing known, and the guarantee says what it takes for granted.
    let refused = managed.config("plain", "").replace("http://127", "http://guest:geheim@127");
    let exit = check(&refused).await.expect(0);
    for said in ["! management: ", "? queue type: not known", "? assumed: the queue is durable"] {
        assert!(exit.stdout.contains(said), "{said}: {}", exit.stdout);
    }
    assert!(!exit.stdout.contains("geheim"), "{}", exit.stdout);
    let known = check(&managed.config("plain", "")).await.expect(0);
    assert!(!known.stdout.contains("? assumed"), "{}", known.stdout);
}

/// From 4.0 on the API tells it, to an administrator.
async fn nodes_timeout(managed: &Managed) {
    let place = format!("on the node at 127.0.0.1:{}", managed.node.http_port());
    let set = |value: &str| {
        managed.node.ctl(&["eval", &format!("application:set_env(rabbit,consumer_timeout,{value}).")]);
    };
    for (value, said) in [
        ("1800000", format!("ok: 30m {place}, above retry.hold (10m)")),
        ("600000", format!("wrong: 10m {place}, and retry.hold is 10m")),
        ("undefined", format!("ok: none {place}")),
    ] {
        set(value);
        let untold = "unknown: not known (the API tells the node's from RabbitMQ 4.0 on); taken for 30m";
        let expected = if managed.at_least(4, 0) { said.as_str() } else { untold };
        let found = managed.about("plain", "consumer timeout").await;
        assert!(found.starts_with(expected), "{value}: {found}");
    }
    if managed.at_least(4, 0) {
        set("600000");
        check(&managed.config("plain", "")).await.expect(4);
        let other = table().await;
        let config = managed.elsewhere(managed.config("plain", ""), &other);
        let summary = Worker::until_empty(&config).await.expect(4).summary();
        assert!(summary.reason.as_ref().unwrap().contains("retry.hold is 10m"), "the start, too: {summary:?}");
    }
    set("1800000");
    managed.node.ctl(&["add_user", "watcher", "s3cret"]);
    managed.node.ctl(&["set_user_tags", "watcher", "monitoring"]);
    managed.node.ctl(&["set_permissions", "watcher", ".*", ".*", ".*"]);
    let watcher = managed.config("plain", "").replace("http://127", "http://watcher:s3cret@127");
    let found = lines(&watcher).await;
    let why = if managed.at_least(4, 0) { "a user with the tag `administrator` only" } else { "from RabbitMQ 4.0 on" };
    let told = &about(&found, "consumer timeout")[0];
    assert!(told.starts_with("unknown: not known (the API tells the node's ") && told.contains(why), "{told}");
    assert!(mend(&found, "consumer timeout").starts_with("rabbitmqctl eval "), "{found:#?}");
}

/// A queue's own timeout is compared with `hold` where the broker heeds it, and isn't believed where it doesn't.
async fn queues_own_timeouts(managed: &Managed) {
    for (queue, heeded) in [
        ("short", "wrong: 1m on this queue, and retry.hold is 10m"),
        ("long", "ok: 2h on this queue, above retry.hold (10m)"),
    ] {
        let said = managed.about(queue, "consumer timeout").await;
        let expected = if managed.at_least(3, 12) { heeded } else { "RabbitMQ heeds the queue's from 3.12 on" };
        assert!(said.contains(expected), "{said}");
    }
}

/// A limit without anywhere to go loses messages: a warning, and wrong where exactly once is demanded.
async fn limits_and_guarantees(managed: &Managed) {
    const LOST: &str = "and no dead-letter exchange: a message that comes back more often is lost";
    check(&managed.config("limited", "")).await.expect(0);
    assert_eq!(managed.about("limited", "delivery limit").await, format!("warning: 3, {LOST}"));
    // What the queue of dead letters drops is gone for good.
    let letters = managed.about("limited", "dead letters").await;
    assert!(
        letters.contains("warning: limited.dead: messages are dropped beyond max-length 5, drop-head"),
        "{letters}"
    );
    // With ledgers of their own.
    let (one, other) = (table().await, table().await);
    let exit = Worker::until_empty(&managed.elsewhere(managed.config("limited", ""), &one)).await.expect(0);
    let stated = exit.stderr.lines().find(|line| line.contains("guarantee: ")).unwrap();
    assert!(stated.contains(&format!("; weakened: 3, {LOST}")) && !stated.contains("assumed"), "{stated}");
    let demanding = managed.config("limited", "guarantee = \"exactly_once_effect\"");
    let exit = check(&demanding).await.expect(4);
    assert!(exit.stdout.contains("→ raise the delivery limit, or set a dead-letter exchange"), "{}", exit.stdout);
    // The worker's start refuses it, too.
    let summary = Worker::until_empty(&managed.elsewhere(demanding, &other)).await.expect(4).summary();
    assert!(summary.reason.as_ref().unwrap().contains("delivery limit"), "{summary:?}");
    // Before 4.0 it is taken, and the first return is one too many.
    let expected = if managed.at_least(4, 0) { "ok: none".to_owned() } else { format!("warning: 0, {LOST}") };
    assert_eq!(managed.about("endless", "delivery limit").await, expected);
}

/// A policy counts like an argument, from the queue's first moment on; of two numbers the lower one counts.
async fn policies(managed: &Managed) {
    managed.policy("few", "new", "{\"delivery-limit\":3,\"max-length\":7}");
    managed.declare("new", &[("x-delivery-limit", AMQPValue::LongInt(30))]).await;
    let found = lines(&managed.config("new", "")).await;
    assert_eq!(about(&found, "policies"), ["ok: few applies"], "{found:#?}");
    assert!(about(&found, "delivery limit")[0].starts_with("warning: 3, and no"), "{found:#?}");
    assert_eq!(about(&found, "lifetime"), ["warning: messages are dropped beyond max-length 7, drop-head"]);
}

async fn dead_letters_of_the_brokers_own(managed: &Managed) {
    const DROPS: &str = "the broker drops in silence";
    let options = lapin::options::ExchangeDeclareOptions::default();
    let fanout = lapin::ExchangeKind::Fanout;
    managed.broker.channel.exchange_declare("dlx".into(), fanout, options, FieldTable::default()).await.unwrap();
    let said = async |queue: &str| managed.about(queue, "broker's dead-lettering").await;
    assert_eq!(said("to-nowhere").await, format!("warning: the exchange \"nowhere\" doesn't exist: {DROPS}"));
    assert_eq!(said("to-dlx").await, format!("warning: nothing is bound to the exchange \"dlx\": {DROPS}"));
    assert_eq!(said("by-default").await, format!("warning: the queue \"buried\" doesn't exist: {DROPS}"));
    managed.declare("buried", &[]).await;
    let bind = lapin::options::QueueBindOptions::default();
    managed
        .broker
        .channel
        .queue_bind("buried".into(), "dlx".into(), "".into(), bind, FieldTable::default())
        .await
        .unwrap();
    assert_eq!(said("to-dlx").await, "ok: to exchange \"dlx\"");
    assert_eq!(said("by-default").await, "ok: to the default exchange");
}
