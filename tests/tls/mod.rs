//! TLS on the way to the broker and the databases, with an authority of the test's own: verified
//! by default, refused where it can't be, and a certificate as the login.

mod certificates;

use crate::support::broker::{Broker, Kind, Message};
use crate::support::database::{Server, TestDatabase};
use crate::support::process::free_port;
use crate::support::servers::rabbitmq::RabbitmqOptions;
use crate::support::servers::{Mysql, Postgres, PostgresOptions, Rabbitmq, shared_amqp_url};
use crate::support::wait::unique_name;
use crate::support::worker::{Exit, Worker};
pub use certificates::Authority;

const TABLE: &str = "CREATE TABLE orders (id varchar(40) PRIMARY KEY)";

/// A worker that moves what is there and ends.
async fn until_empty(rabbitmq: &str, database: &str, queue: &str) -> Exit {
    let config = format!(
        "[rabbitmq]\n{rabbitmq}\n[database]\n{database}\n[admin]\nlisten = \"off\"\n[pipelines.orders]\n\
         queue = \"{queue}\"\ntable = \"orders\"\n[pipelines.orders.columns]\nid = \"/id\"\n\
         [pipelines.orders.retry]\ninitial = \"50ms\"\nmax = \"200ms\"\nhold = \"1s\"\nmissing_parent = \"100ms\"\n"
    );
    Worker::until_empty(&config).await
}

/// A broker that speaks TLS only to those who have a certificate of the authority's, too.
async fn broker(authority: &Authority, port: u16) -> Rabbitmq {
    let server = authority.server("localhost");
    let conf = [
        format!("listeners.ssl.1 = 127.0.0.1:{port}"),
        format!("ssl_options.cacertfile = {}", authority.file()),
        format!("ssl_options.certfile = {}", server.certificate),
        format!("ssl_options.keyfile = {}", server.key),
        "ssl_options.verify = verify_peer".to_owned(),
        "ssl_options.fail_if_no_peer_cert = true".to_owned(),
        "auth_mechanisms.1 = PLAIN".to_owned(),
        "auth_mechanisms.2 = EXTERNAL".to_owned(),
        "ssl_cert_login_from = common_name".to_owned(),
    ];
    let plugins = vec!["rabbitmq_auth_mechanism_ssl".to_owned()];
    Rabbitmq::start_with(RabbitmqOptions { conf: conf.to_vec(), plugins, ..RabbitmqOptions::default() }).await
}

#[tokio::test]
async fn slow_the_broker_is_verified_and_a_certificate_logs_in() {
    let (authority, other) = (Authority::new(), Authority::new());
    let port = free_port();
    let node = broker(&authority, port).await;
    for arguments in [&["add_user", "worker", "x"][..], &["set_permissions", "worker", ".*", ".*", ".*"]] {
        node.ctl(arguments);
    }
    let (client, stranger) = (authority.client("worker"), other.client("worker"));
    let producer = Broker::of(&node).await;
    producer.declare("orders", Kind::Classic).await;
    let database = TestDatabase::fresh(Server::Sqlite).await;
    database.execute(TABLE).await;
    let database_keys = format!("url = \"{}\"", database.url);
    let with = |host: &str, login: &str, ca: &str, pair: &certificates::Pair| {
        format!(
            "url = \"amqps://{login}{host}:{port}/%2f\"\nca_file = \"{ca}\"\ncert_file = \"{}\"\nkey_file = \"{}\"",
            pair.certificate, pair.key
        )
    };
    let ca = authority.file();
    // By password, and by the certificate alone.
    for (number, login) in ["guest:guest@", ""].into_iter().enumerate() {
        let id = number.to_string();
        producer.publish("orders", [Message::json(&id, format!("{{\"id\":\"{id}\"}}"))]).await;
        let exit = until_empty(&with("localhost", login, &ca, &client), &database_keys, "orders").await.expect(0);
        assert_eq!(exit.summary().written, 1);
    }
    // Another name than the certificate's, another authority, a client whom nobody vouches for, none.
    for (broker, says) in [
        (with("127.0.0.1", "guest:guest@", &ca, &client), "not valid for name"),
        (with("localhost", "guest:guest@", &other.file(), &client), "UnknownIssuer"),
        (with("localhost", "guest:guest@", &ca, &stranger), "source_lost"),
        (format!("url = \"amqps://guest:guest@localhost:{port}/%2f\""), "UnknownIssuer"),
    ] {
        let exit = until_empty(&broker, &database_keys, "orders").await.expect(3);
        assert!(exit.stderr.contains(says), "{says}: {}", exit.stderr);
        assert!(!exit.stderr.contains("guest:guest"), "{}", exit.stderr);
    }
    assert_eq!(database.count("orders").await, 2);
}

/// A queue with one message on the broker that all share.
async fn queue_of_one() -> (Broker, String) {
    let producer = Broker::shared().await;
    let queue = unique_name("tls");
    producer.declare(&queue, Kind::Classic).await;
    producer.publish(&queue, [Message::json("1", "{\"id\":\"1\"}")]).await;
    (producer, queue)
}

/// The database's server has a certificate for `localhost`: by that name it is let in to, by its
/// address or with another authority it is not.
async fn verifies(url: &str, authority: &Authority) {
    let (producer, queue) = queue_of_one().await;
    let rabbitmq = format!("url = \"{}\"", shared_amqp_url());
    let other = Authority::new();
    let named = url.replace("127.0.0.1", "localhost");
    for (url, ca) in [(url, authority.file()), (named.as_str(), other.file())] {
        let database = format!("url = \"{url}\"\nca_file = \"{ca}\"");
        let exit = until_empty(&rabbitmq, &database, &queue).await.expect(4);
        assert!(
            exit.stderr.contains("no TLS connection that can be trusted: invalid peer certificate"),
            "{}",
            exit.stderr
        );
    }
    let database = format!("url = \"{named}\"\nca_file = \"{}\"", authority.file());
    assert_eq!(until_empty(&rabbitmq, &database, &queue).await.expect(0).summary().written, 1);
    producer.delete(&queue).await;
}

#[tokio::test]
async fn slow_postgres_is_verified() {
    let authority = Authority::new();
    let server = authority.server("localhost");
    let settings = [("ssl", "on"), ("ssl_cert_file", &server.certificate), ("ssl_key_file", &server.key)];
    let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let postgres = Postgres::start_with(PostgresOptions { settings }).await;
    let database = TestDatabase::on(&postgres.url()).await;
    database.execute(TABLE).await;
    verifies(&database.url, &authority).await;
}

#[tokio::test]
async fn slow_mysql_is_verified() {
    let authority = Authority::new();
    let server = authority.server("localhost");
    let options = [
        format!("--ssl-ca={}", authority.file()),
        format!("--ssl-cert={}", server.certificate),
        format!("--ssl-key={}", server.key),
    ];
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let mysql = Mysql::start_with(&options).await;
    let database = TestDatabase::on(&mysql.url()).await;
    database.execute(TABLE).await;
    verifies(&database.url, &authority).await;
}
