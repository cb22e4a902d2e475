//! `rabbit-sink check` against real servers: what it finds, what it says to do, that doing it helps, and that it
//! changes nothing itself. The worker's start runs the same list.

mod broker;
mod database;
mod servers;

use serde_json::Value;

use crate::support::broker::{Broker, Depth, Kind, Message};
use crate::support::database::{Server, TestDatabase};
use crate::support::servers::shared_amqp_url;
use crate::support::wait::unique_name;
use crate::support::worker::{Exit, Worker};

/// A pipeline `orders` from a queue of this name into the table `orders`; `more` are further keys of it.
pub fn config(amqp: &str, database: &str, queue: &str, more: &str) -> String {
    format!(
        "[rabbitmq]\nurl = \"{amqp}\"\n[database]\nurl = \"{database}\"\n[admin]\nlisten = \"off\"\n\
         [pipelines.orders]\nqueue = \"{queue}\"\ntable = \"orders\"\n{more}\n"
    )
}

pub async fn check(config: &str) -> Exit {
    Worker::command(config, ["check"]).wait().await
}

/// The lines of `check --json`.
pub async fn lines(config: &str) -> Vec<Value> {
    let exit = Worker::command(config, ["check", "--json"]).wait().await;
    exit.stdout.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
}

/// The lines about one thing, as `level: text`.
pub fn about(lines: &[Value], check: &str) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let those = lines.iter().filter(|line| line["check"] == check && line.get("level").is_some());
    those.map(|line| format!("{}: {}", text(&line["level"]), text(&line["text"]))).collect()
}

/// What would mend one thing.
pub fn mend(lines: &[Value], check: &str) -> String {
    let found = lines.iter().find(|line| line["check"] == check && line["mend"].is_string());
    found.unwrap_or_else(|| panic!("nothing mends {check}: {lines:#?}"))["mend"].as_str().unwrap().to_owned()
}

const TABLE: &str = "CREATE TABLE orders (id VARCHAR(40) PRIMARY KEY, price DECIMAL(10,2) NOT NULL, note VARCHAR(20))";

/// Everything that a look could have made or taken.
async fn catalogue(database: &TestDatabase) -> Vec<Vec<Option<String>>> {
    let sql = match database.server {
        Server::Postgres => {
            "SELECT relname::text, relkind::text FROM pg_class WHERE relnamespace = 'public'::regnamespace ORDER BY 1"
        }
        Server::Mysql => "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() ORDER BY 1",
        Server::Sqlite => "SELECT name, (SELECT journal_mode FROM pragma_journal_mode) FROM sqlite_master ORDER BY 1",
    };
    let mut found = database.rows(sql).await;
    found.push(vec![Some(database.count("orders").await.to_string())]);
    found
}

#[tokio::test]
async fn a_good_setup_passes_and_nothing_is_changed() {
    for server in Server::ALL {
        let broker = Broker::shared().await;
        let database = TestDatabase::fresh(server).await;
        database.execute(TABLE).await;
        let queue = unique_name("check");
        broker.declare(&queue, Kind::Quorum).await;
        broker.publish(&queue, [Message::json("a", "{}"), Message::json("b", "{}")]).await;
        let before = catalogue(&database).await;
        let exit = check(&config(&shared_amqp_url(), &database.url, &queue, "")).await.expect(0);
        for said in [
            "✓ database: ",
            "✓ table: orders, 3 columns, unique: (id)",
            "✓ columns: 3 filled",
            "✓ privileges: this login may insert into the table (tried, rolled back)",
            "✓ ledger: rabbit_sink_ledger has nothing of this pipeline yet; the worker makes what is missing",
            &format!("✓ queue: {queue}: 2 ready, 0 consumers"),
            "may read queue",
            &format!("✓ dead letters: {queue}.dead is missing; the worker declares it"),
            "✓ dead letters: the default exchange takes messages",
            "? queue type: not known (set management_url)",
            "? delivery limit: not known (set management_url)",
            "taken for 30m, as consumer_timeout says",
            "✓ memory: at worst",
            "exactly-once effect: message IDs stand in rabbit_sink_ledger",
            "? assumed: the queue is durable",
            "→ stronger: set management_url",
            if server == Server::Sqlite { "✓ " } else { "✓ clock: the database's is ours, give or take 0 s" },
        ] {
            assert!(exit.stdout.contains(said), "{server:?}: {said:?} is missing:\n{}", exit.stdout);
        }
        assert_eq!(catalogue(&database).await, before, "{server:?}");
        assert_eq!(broker.depth(&queue).await, Depth { ready: 2, unacked: 0 }, "{server:?}");
        let dead = format!("{queue}.dead");
        let options = lapin::options::QueueDeclareOptions { passive: true, ..Default::default() };
        let looked = broker.channel.queue_declare(dead.as_str().into(), options, Default::default()).await;
        assert!(looked.is_err(), "the dead-letter queue was declared");
        // What comes back is counted: the two have never been delivered.
        let broker = Broker::shared().await;
        for taken in broker.drain(&queue).await {
            assert!(!taken.redelivered && taken.header("x-delivery-count").is_none_or(|count| count == "0"));
        }
        broker.delete(&queue).await;
    }
}

#[tokio::test]
async fn all_findings_of_all_pipelines_come_in_one_run() {
    let broker = Broker::shared().await;
    let database = TestDatabase::fresh(Server::Postgres).await;
    database.execute(TABLE).await;
    let queue = unique_name("check");
    broker.declare(&queue, Kind::Classic).await;
    let more = format!(
        "[pipelines.orders.columns]\nid = \"/id\"\nnowhere = \"/x\"\nnote = \"/note\"\n\
         [pipelines.second]\nqueue = \"{queue}.missing\"\ntable = \"missing\"\n\
         [pipelines.third]\nqueue = \"{queue}.3\"\ntable = \"orders\"\n[pipelines.third.columns]\nid = \"/id\"\n\
         [pipelines.fourth]\nqueue = \"{queue}.4\"\ntable = \"orders\"\n[pipelines.fourth.columns]\nid = \"/id\"\n\
         price = \"body\"\n\
         [pipelines.typo]\nqueue = \"{queue}.5\"\ntable = \"orders\"\n[pipelines.typo.columns]\nid = \"/id\"\n\
         prise = \"/price\"\n"
    );
    let config = config(&shared_amqp_url(), &database.url, &queue, &more);
    check(&config).await.expect(4);
    let lines = lines(&config).await;
    let of = |pipeline: &str, check: &str| {
        let those: Vec<Value> = lines.iter().filter(|line| line["pipeline"] == pipeline).cloned().collect();
        about(&those, check).join("\n")
    };
    assert!(of("orders", "columns").starts_with("wrong: column nowhere is not in table orders"), "{lines:#?}");
    // What is wrong with other columns is told in the same run.
    assert!(of("orders", "columns").contains("\nwrong: column price is NOT NULL, has no default"), "{lines:#?}");
    assert!(of("typo", "columns").contains("did you mean \"price\"?"), "{lines:#?}");
    assert!(of("second", "table").starts_with("wrong: table missing is not there"), "{lines:#?}");
    assert!(of("second", "queue").starts_with(&format!("wrong: {queue}.missing is missing")), "{lines:#?}");
    assert!(of("third", "columns").starts_with("wrong: column price is NOT NULL, has no default"), "{lines:#?}");
    assert!(of("fourth", "columns").contains("column price (numeric(10,2)) can never take body"), "{lines:#?}");
    assert_eq!(lines.iter().filter(|line| line["check"] == "guarantee").count(), 5, "{lines:#?}");
    // The SQL that it names, run as it stands, takes its finding away.
    database.execute(&mend(&lines, "columns")).await;
    let lines = self::lines(&config).await;
    assert!(!about(&lines, "columns").join("\n").contains("nowhere is not"), "{lines:#?}");
    // The worker's start goes by the same list: what nothing fills is told before the first message is taken.
    broker.publish(&queue, [Message::json("a", "{\"id\":\"a\"}")]).await;
    let third = self::config(&shared_amqp_url(), &database.url, &queue, "[pipelines.orders.columns]\nid = \"/id\"");
    let summary = Worker::until_empty(&third).await.expect(4).summary();
    assert_eq!((summary.state.as_str(), summary.settled), ("paused", 0), "{summary:?}");
    assert!(summary.reason.as_ref().unwrap().contains("column price is NOT NULL"), "{summary:?}");
    broker.delete(&queue).await;
}

#[tokio::test]
async fn what_does_not_answer_is_3_and_a_bad_config_2() {
    let database = TestDatabase::fresh(Server::Sqlite).await;
    database.execute(TABLE).await;
    let nobody = format!("127.0.0.1:{}", crate::support::process::free_port());
    let amqp = format!("amqp://guest:guest@{nobody}/%2f");
    let exit = check(&config(&amqp, &database.url, "q", "")).await.expect(3);
    assert!(exit.stdout.contains("✗ broker: ") && exit.stdout.contains("→ is it running"), "{}", exit.stdout);
    assert!(exit.stdout.contains("✓ table: orders"), "the database was looked at all the same: {}", exit.stdout);
    for scheme in ["postgres", "mysql"] {
        for (place, said) in [
            (nobody.as_str(), "can't be connected to: Connection refused"),
            ("nowhere.invalid", "can't be connected to: failed to lookup address information"),
        ] {
            let url = format!("{scheme}://u:geheim@{place}/d");
            let exit = check(&config(&amqp, &url, "q", "")).await.expect(3);
            let host = place.split(':').next().unwrap();
            assert!(exit.stdout.contains(&format!(" at {host}:")) && exit.stdout.contains(said), "{}", exit.stdout);
            assert!(!exit.stdout.contains("geheim"), "{}", exit.stdout);
        }
    }
    let away = format!("postgres://u:geheim@{nobody}/d");
    let exit = check(&config(&shared_amqp_url(), &away, "nowhere", "")).await.expect(4);
    assert!(exit.stdout.contains("✗ database: ") && exit.stdout.contains("✗ queue: nowhere is missing"));
    assert!(!exit.stdout.contains("geheim") && !exit.stderr.contains("geheim"));
    check(&config(&amqp, &database.url, "q", "prefetsch = 7")).await.expect(2);
    // Without a server, the config alone.
    let offline = Worker::command(&config(&amqp, &away, "q", ""), ["check", "--offline"]).wait().await.expect(0);
    assert!(offline.stdout.contains("? broker: not looked at (--offline)"), "{}", offline.stdout);
    assert!(offline.stdout.contains("exactly-once effect"), "{}", offline.stdout);
}

#[tokio::test]
async fn a_demanded_guarantee_is_refused_where_it_can_not_be_kept() {
    let broker = Broker::shared().await;
    let database = TestDatabase::fresh(Server::Sqlite).await;
    database.execute(TABLE).await;
    let queue = unique_name("check");
    broker.declare(&queue, Kind::Classic).await;
    let demand = "guarantee = \"exactly_once_effect\"";
    let good = config(&shared_amqp_url(), &database.url, &queue, demand);
    check(&good).await.expect(0);
    let weak = good.replace("[admin]", "on_connect = [\"PRAGMA synchronous = NORMAL\"]\n[admin]");
    let exit = check(&weak).await.expect(4);
    assert!(exit.stdout.contains("✗ guarantee: guarantee = \"exactly_once_effect\" can't be kept"), "{}", exit.stdout);
    assert!(exit.stdout.contains("→ take PRAGMA synchronous out of on_connect"), "{}", exit.stdout);
    check(&weak.replace(demand, "")).await.expect(0);
    let summary = Worker::until_empty(&weak).await.expect(4).summary();
    assert!(summary.reason.as_ref().unwrap().contains("synchronous = NORMAL"), "{summary:?}");
    let none = format!("{demand}\ndeduplicate = \"none\"");
    let exit = check(&config(&shared_amqp_url(), &database.url, &queue, &none)).await.expect(2);
    assert!(exit.stderr.contains("set deduplicate = \"ledger\""), "{}", exit.stderr);
    broker.delete(&queue).await;
}

/// More than any machine has that runs this: told by `check` and by the worker's start.
#[tokio::test]
async fn what_would_not_fit_into_memory_is_told() {
    let (broker, database) = (Broker::shared().await, TestDatabase::fresh(Server::Sqlite).await);
    database.execute(TABLE).await;
    let queue = unique_name("check");
    broker.declare(&queue, Kind::Classic).await;
    let huge = "consumers = 16\nprefetch = 65535\nlimits = { max_unacked_bytes = \"64GiB\", max_body = \"1GiB\" }";
    let config = config(&shared_amqp_url(), &database.url, &queue, huge);
    let said = "memory: at worst 1081392 MiB: orders 16 × (65536 MiB unacked + 2048 MiB in a batch";
    let exit = check(&config).await.expect(0);
    assert!(exit.stdout.contains(&format!("! {said}")), "{}", exit.stdout);
    let exit = Worker::until_empty(&config).await.expect(0);
    assert!(exit.stderr.contains(said), "{}", exit.stderr);
    broker.delete(&queue).await;
    broker.delete(&format!("{queue}.dead")).await;
}

#[tokio::test]
async fn the_resolved_config_shows_the_environment_and_no_secret() {
    let text = config("amqp://u:geheim@h/%2f", "postgres://u@h/d", "q", "").replace(
        "[database]",
        "management_url = \"http://m:15672\"\n[database]\npassword = \"${SECRET}\"\non_connect = [\"SET a = 'geheim'\"]",
    );
    let environment = [("SECRET", "geheim"), ("RABBIT_SINK__PIPELINES__ORDERS__PREFETCH", "3000")];
    let exit = Worker::command_with(&text, ["check", "--print-config"], environment).wait().await.expect(0);
    assert!(exit.stdout.contains("prefetch = 3000\n"), "{}", exit.stdout);
    assert!(exit.stdout.contains("url = \"postgres://u:***@h/d\""), "{}", exit.stdout);
    assert!(exit.stdout.contains("management_url = \"http://u:***@m:15672/\""), "{}", exit.stdout);
    assert!(!exit.stdout.contains("geheim") && !exit.stderr.contains("geheim"), "{}", exit.stdout);
}
