//! TLS on the way to the broker and the databases, with an authority of the test's own: verified
//! by default, refused where it can't be, and a certificate as the login.

mod certificates;
mod renewed;

use crate::support::broker::{Broker, Kind, Message};
use crate::support::database::{Server, TestDatabase};
use crate::support::process::free_port;
use crate::support::servers::rabbitmq::RabbitmqOptions;
use crate::support::servers::{Mysql, Postgres, PostgresOptions, Rabbitmq, shared_amqp_url};
use crate::support::wait::unique_name;
use crate::support::worker::{Exit, Worker};
pub use certificates::Authority;
use certificates::Pair;

const TABLE: &str = "CREATE TABLE orders (id varchar(40) PRIMARY KEY)";

fn config(rabbitmq: &str, database: &str, queue: &str) -> String {
    format!(
        "[rabbitmq]\n{rabbitmq}\n[database]\n{database}\n[admin]\nlisten = \"off\"\n[pipelines.orders]\n\
         queue = \"{queue}\"\ntable = \"orders\"\n[pipelines.orders.columns]\nid = \"/id\"\n\
         [pipelines.orders.retry]\ninitial = \"50ms\"\nmax = \"200ms\"\nhold = \"1s\"\nmissing_parent = \"100ms\"\n"
    )
}

/// A worker that moves what is there and ends.
async fn until_empty(rabbitmq: &str, database: &str, queue: &str) -> Exit {
    until_empty_where(None, rabbitmq, database, queue).await
}

/// As [`until_empty`], on a machine whose own trust is in these certificates alone.
async fn until_empty_where(system: Option<&str>, rabbitmq: &str, database: &str, queue: &str) -> Exit {
    let config = config(rabbitmq, database, queue);
    let environment = system.map(|file| ("SSL_CERT_FILE", file));
    Worker::command_with(&config, ["run", "--until-empty", "--json"], environment).wait().await
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
    let with = |host: &str, login: &str, ca: &str, pair: &Pair| {
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
    producer.publish("orders", [Message::json("renewed", "{\"id\":\"renewed\"}")]).await;
    let files = renewed::Files::of(&other, "worker");
    let fresh = TestDatabase::fresh(Server::Sqlite).await;
    fresh.execute(TABLE).await;
    let renewing = format!("url = \"amqps://localhost:{port}/%2f\"\n{}", files.keys());
    let config = config(&renewing, &format!("url = \"{}\"", fresh.url), "orders");
    renewed::are_taken(&config, &files, &authority, "worker", &fresh).await;
    assert_eq!(database.count("orders").await, 2);
}

/// What a broker's client needs to log in by its certificate alone.
#[tokio::test]
async fn slow_the_brokers_certificate_may_come_from_the_systems_authorities() {
    let (authority, other) = (Authority::new(), Authority::new());
    let port = free_port();
    let node = broker(&authority, port).await;
    let client = authority.client("guest");
    let producer = Broker::of(&node).await;
    producer.declare("orders", Kind::Classic).await;
    producer.publish("orders", [Message::json("1", "{\"id\":\"1\"}")]).await;
    let database = TestDatabase::fresh(Server::Sqlite).await;
    database.execute(TABLE).await;
    let database_keys = format!("url = \"{}\"", database.url);
    let keys = |url: &str, pair: &Pair| {
        format!("url = \"{url}\"\ncert_file = \"{}\"\nkey_file = \"{}\"", pair.certificate, pair.key)
    };
    let plain = keys(&format!("amqps://localhost:{port}"), &client);
    let (trusted, strange) = (authority.file(), other.file());
    // Another system's authorities; the right ones behind a `ca_file` that goes before them.
    for (system, rabbitmq) in [(&strange, plain.clone()), (&trusted, format!("{plain}\nca_file = \"{strange}\""))] {
        let exit = until_empty_where(Some(system), &rabbitmq, &database_keys, "orders").await.expect(3);
        assert!(exit.stderr.contains("UnknownIssuer"), "{}", exit.stderr);
    }
    // A certificate that is trusted, of somebody whom the broker doesn't know; and a login that isn't there.
    let nobody = keys(&format!("amqps://localhost:{port}"), &authority.client("nobody"));
    let exit = until_empty_where(Some(&trusted), &nobody, &database_keys, "orders").await.expect(3);
    assert!(exit.stderr.contains("the broker refuses the login by our certificate"), "{}", exit.stderr);
    // The URL may ask for a password although there is a certificate, and the other way round.
    for (url, code) in [("localhost:{}?auth_mechanism=plain", 3), ("x:y@localhost:{}?auth_mechanism=external", 0)] {
        let rabbitmq = keys(&format!("amqps://{}", url.replace("{}", &port.to_string())), &client);
        until_empty_where(Some(&trusted), &rabbitmq, &database_keys, "orders").await.expect(code);
    }
    producer.publish("orders", [Message::json("2", "{\"id\":\"2\"}")]).await;
    let exit = until_empty_where(Some(&trusted), &plain, &database_keys, "orders").await.expect(0);
    assert_eq!((exit.summary().written, database.count("orders").await), (1, 2));
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
    // The system's authorities, with and without others beside them.
    let full = if url.starts_with("postgres") { "sslmode=verify-full" } else { "ssl-mode=VERIFY_IDENTITY" };
    let (own, strange) = (authority.file(), other.file());
    let database = format!("url = \"{named}?{full}\"");
    let exit = until_empty_where(Some(&strange), &rabbitmq, &database, &queue).await.expect(4);
    assert!(exit.stderr.contains("UnknownIssuer"), "{}", exit.stderr);
    for (system, database) in [(&own, database.clone()), (&own, format!("{database}\nca_file = \"{strange}\""))] {
        producer
            .publish(&queue, [Message::json(&unique_name("m"), format!("{{\"id\":\"{}\"}}", unique_name("")))])
            .await;
        let exit = until_empty_where(Some(system), &rabbitmq, &database, &queue).await.expect(0);
        assert_eq!(exit.summary().written, 1);
    }
    producer.delete(&queue).await;
}

/// A user whom the database lets in by a certificate of that name: with it, and not without it, nor
/// with somebody else's.
async fn logs_in_by_certificate(url: &str, authority: &Authority, refused: &str) {
    let (producer, queue) = queue_of_one().await;
    let rabbitmq = format!("url = \"{}\"", shared_amqp_url());
    let keys = |client: &str| {
        let pair = authority.client(client);
        format!("cert_file = \"{}\"\nkey_file = \"{}\"", pair.certificate, pair.key)
    };
    let trust = format!("url = \"{url}\"\nca_file = \"{}\"\n", authority.file());
    for login in [String::new(), keys("somebody")] {
        let exit = until_empty(&rabbitmq, &format!("{trust}{login}"), &queue).await.expect(4);
        assert!(exit.stderr.contains(refused), "{}", exit.stderr);
    }
    let exit = until_empty(&rabbitmq, &format!("{trust}{}", keys("certified")), &queue).await.expect(0);
    assert_eq!(exit.summary().written, 1);
    producer.delete(&queue).await;
}

/// A server at an address that isn't this machine's own by its look (connecting to it leads here all
/// the same), without TLS: it gets no password.
#[tokio::test]
async fn a_database_without_tls_on_another_machine_gets_no_password() {
    let (producer, queue) = queue_of_one().await;
    let rabbitmq = format!("url = \"{}\"", shared_amqp_url());
    for server in [Server::Postgres, Server::Mysql] {
        let database = TestDatabase::fresh(server).await;
        database.execute(TABLE).await;
        let url = database.url.replace("127.0.0.1", "0.0.0.0");
        assert!(url.contains("0.0.0.0:"), "{url}");
        let exit = until_empty(&rabbitmq, &format!("url = \"{url}\""), &queue).await.expect(4);
        assert!(exit.stderr.contains("no TLS connection that can be trusted"), "{}", exit.stderr);
    }
    producer.delete(&queue).await;
}

/// Whoever asks for less is told so, by `check` and at the start; nobody is told on the machine itself.
#[tokio::test]
async fn what_travels_open_is_said() {
    let (producer, queue) = queue_of_one().await;
    let database = TestDatabase::fresh(Server::Postgres).await;
    database.execute(TABLE).await;
    let away = |url: &str| url.replace("127.0.0.1", "0.0.0.0");
    let said = async |broker: &str, database: &str| {
        let exit =
            until_empty(&format!("url = \"{broker}\""), &format!("url = \"{database}\""), &queue).await.expect(0);
        let open = ["login and rows travel unencrypted", "login and messages travel unencrypted to 0.0.0.0:"];
        open.map(|text| exit.stderr.contains(text))
    };
    let (broker, open) = (shared_amqp_url(), format!("{}?sslmode=disable", database.url));
    assert_eq!(said(&broker, &open).await, [false, false]);
    assert_eq!(said(&broker, &away(&open)).await, [true, false]);
    assert_eq!(said(&away(&broker), &open).await, [false, true]);
    producer.delete(&queue).await;
}

#[tokio::test]
async fn slow_postgres_is_verified() {
    let authority = Authority::new();
    let server = authority.server("localhost");
    let who = "hostssl all certified 127.0.0.1/32 cert\nhost all all 127.0.0.1/32 scram-sha-256\n";
    let (ca, who) = (authority.file(), authority.write("pg_hba.conf", who));
    let settings = [
        ("ssl", "on"),
        ("ssl_cert_file", &server.certificate),
        ("ssl_key_file", &server.key),
        ("ssl_ca_file", &ca),
        ("hba_file", &who),
    ];
    let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let postgres = Postgres::start_with(PostgresOptions { settings }).await;
    let database = TestDatabase::on(&postgres.url()).await;
    database.execute(TABLE).await;
    verifies(&database.url, &authority).await;
    let database = TestDatabase::on(&postgres.url()).await;
    database.execute(&format!("{TABLE}; CREATE ROLE certified SUPERUSER LOGIN")).await;
    let certified = database.url.replace("tester:test@127.0.0.1", "certified@localhost");
    logs_in_by_certificate(&certified, &authority, "28000").await;
    let database = TestDatabase::on(&postgres.url()).await;
    database.execute(TABLE).await;
    let (producer, queue) = queue_of_one().await;
    let files = renewed::Files::of(&Authority::new(), "certified");
    let certified = database.url.replace("tester:test@127.0.0.1", "certified@localhost");
    let keys = format!("url = \"{certified}\"\n{}", files.keys());
    let config = config(&format!("url = \"{}\"", shared_amqp_url()), &keys, &queue);
    renewed::are_taken(&config, &files, &authority, "certified", &database).await;
    producer.delete(&queue).await;
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
    let certified = "CREATE USER certified IDENTIFIED BY 'known' REQUIRE SUBJECT '/CN=certified'";
    let database = TestDatabase::on(&mysql.url()).await;
    database.execute(&format!("{TABLE}; {certified}; GRANT ALL ON *.* TO certified")).await;
    let certified = database.url.replace("tester:test@127.0.0.1", "certified:known@localhost");
    logs_in_by_certificate(&certified, &authority, "1045").await;
}
