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
    let (user, queue) = (unique_name("u"), unique_name("check"));
    broker.declare(&queue, Kind::Quorum).await;
    broker.publish(&queue, [Message::json("a", "{\"id\":\"a\",\"price\":1}")]).await;
    let ctl = |arguments: &[&str]| rabbitmqctl(&shared_rabbitmqctl(), arguments);
    ctl(&["add_user", &user, "s3cret"]);
    let mut amqp = url::Url::parse(&shared_amqp_url()).unwrap();
    amqp.set_username(&user).unwrap();
    amqp.set_password(Some("s3cret")).unwrap();
    let config = config(amqp.as_str(), &database.url, &queue, "");
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

#[tokio::test]
async fn slow_the_management_api_tells_what_amqp_does_not() {
    let options = RabbitmqOptions { plugins: vec!["rabbitmq_management".to_owned()], ..RabbitmqOptions::default() };
    let node = Rabbitmq::start_with(options).await;
    let (broker, database) = (Broker::of(&node).await, table().await);
    let management = format!("management_url = \"http://127.0.0.1:{}\"\n[database]", node.http_port());
    let with =
        |queue: &str, more: &str| config(&node.url(), &database.url, queue, more).replace("[database]", &management);
    broker.declare("plain", Kind::Quorum).await;
    let found = lines(&with("plain", "")).await;
    assert_eq!(about(&found, "queue type"), ["ok: quorum, durable"], "{found:#?}");
    assert_eq!(about(&found, "policies"), ["ok: none applies"]);
    assert!(about(&found, "consumer timeout")[0].starts_with("unknown: not known"), "{found:#?}");
    // A limit without anywhere to go loses messages: a warning, and wrong where exactly once is demanded.
    let mut arguments = FieldTable::default();
    arguments.insert("x-delivery-limit".into(), AMQPValue::LongInt(3));
    broker.declare_with("limited", Kind::Quorum, arguments).await;
    let limited = with("limited", "");
    check(&limited).await.expect(0);
    let found = lines(&limited).await;
    let limit = &about(&found, "delivery limit")[0];
    assert!(limit.starts_with("warning: 3, and no dead-letter exchange"), "{limit}");
    let demanding = with("limited", "guarantee = \"exactly_once_effect\"");
    let exit = check(&demanding).await.expect(4);
    assert!(exit.stdout.contains("→ raise the delivery limit, or set a dead-letter exchange"), "{}", exit.stdout);
    // The worker's start refuses it, too, with a ledger of its own.
    let other = table().await;
    let demanding = demanding.replace(&database.url, &other.url);
    let summary = Worker::until_empty(&demanding).await.expect(4).summary();
    assert!(summary.reason.as_ref().unwrap().contains("delivery limit"), "{summary:?}");
    // A policy counts like an argument.
    let policy = "{\"dead-letter-exchange\":\"nowhere\",\"message-ttl\":60000}";
    node.ctl(&["set_policy", "p", "^(plain|limited)$", policy, "--apply-to", "queues"]);
    crate::support::wait::eventually(crate::support::wait::PATIENCE, "the policy is seen", async || {
        about(&lines(&with("plain", "")).await, "policies") == ["ok: p applies"]
    })
    .await;
    let found = lines(&with("limited", "")).await;
    assert!(about(&found, "delivery limit")[0].starts_with("ok: 3;"), "{found:#?}");
    let dlx = &about(&found, "broker's dead-lettering")[0];
    assert!(dlx.starts_with("warning: the exchange \"nowhere\" doesn't exist"), "{dlx}");
    // What can't be read at all.
    broker.declare("stream", Kind::Stream).await;
    let exit = check(&with("stream", "")).await.expect(4);
    assert!(exit.stdout.contains("✗ queue type: stream is a stream"), "{}", exit.stdout);
    // A login that the API refuses makes nothing known.
    let refused = with("plain", "").replace("http://127", "http://guest:geheim@127");
    let exit = check(&refused).await.expect(0);
    assert!(
        exit.stdout.contains("! management: ") && exit.stdout.contains("? queue type: not known"),
        "{}",
        exit.stdout
    );
    assert!(!exit.stdout.contains("geheim"), "{}", exit.stdout);
}
