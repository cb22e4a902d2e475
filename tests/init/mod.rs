//! `rabbit-sink init`: what it prints is taken by `check` as it stands, and from there the whole way to the rows.

use serde_json::json;

use crate::support::broker::{Broker, Kind, Message};
use crate::support::database::{Server, TestDatabase};
use crate::support::servers::shared_amqp_url;
use crate::support::wait::unique_name;
use crate::support::worker::{Exit, Worker};

/// Variables that say where the servers are, as a deployment would set them.
fn servers<'a>(database: &'a TestDatabase, amqp: &'a str) -> [(&'static str, &'a str); 3] {
    [
        ("RABBIT_SINK__DATABASE__URL", database.url.as_str()),
        ("RABBIT_SINK__RABBITMQ__URL", amqp),
        ("RABBIT_SINK__ADMIN__LISTEN", "off"),
    ]
}

/// A command with this config and the servers in the environment. The config is empty for `init`, as the shell
/// leaves it when the output goes into it.
async fn command(config: &str, arguments: &[&str], database: &TestDatabase) -> Exit {
    let amqp = shared_amqp_url();
    Worker::command_with(config, arguments, servers(database, &amqp)).wait().await
}

/// A message with its surroundings, in a file.
fn sample(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    file
}

const SHOP: &str = "
    CREATE TYPE order_state AS ENUM ('open', 'paid', 'shipped');
    CREATE TABLE shop_orders (
        id bigserial PRIMARY KEY,
        order_id uuid NOT NULL UNIQUE,
        customer_name text NOT NULL,
        customer_email varchar(80),
        state order_state NOT NULL,
        quantity integer NOT NULL CHECK (quantity > 0),
        price numeric(12,2) NOT NULL,
        is_gift boolean NOT NULL DEFAULT false,
        placed_at timestamptz NOT NULL,
        tenant text NOT NULL,
        payload jsonb NOT NULL,
        written_at timestamptz NOT NULL DEFAULT now()
    );";

fn state(n: u64) -> &'static str {
    ["open", "paid", "shipped"][n as usize % 3]
}

fn order(n: u64) -> Message {
    let body = json!({
        "orderId": format!("123e4567-e89b-12d3-a456-{n:012}"),
        "customer": { "name": format!("Customer {n}"), "email": format!("c{n}@example.com") },
        "state": state(n),
        "quantity": n % 7 + 1,
        "price": format!("{}.{:02}", n * 3, n % 100),
        "isGift": n.is_multiple_of(2),
        "placedAt": 1_767_225_600_000 + n * 1_001,
    });
    Message::json(&format!("order-{n}"), body.to_string()).header("tenant", ["north", "south"][n as usize % 2])
}

/// A row as [`order`] must become it.
fn row(n: u64) -> Vec<Option<String>> {
    let seconds = 1_767_225_600 + (n * 1_001) / 1_000;
    let placed = jiff::Timestamp::new(seconds.cast_signed(), ((n * 1_001) % 1_000 * 1_000_000) as i32).unwrap();
    let text = |text: String| Some(text);
    vec![
        text(format!("123e4567-e89b-12d3-a456-{n:012}")),
        text(format!("Customer {n}")),
        text(format!("c{n}@example.com")),
        text(state(n).to_owned()),
        text((n % 7 + 1).to_string()),
        text(format!("{}.{:02}", n * 3, n % 100)),
        text(n.is_multiple_of(2).to_string()),
        text(placed.as_millisecond().to_string()),
        text(["north", "south"][n as usize % 2].to_owned()),
        text(format!("Customer {n}")),
        text("true".to_owned()),
    ]
}

/// The scripted way of a new user: a table of 12 columns, a queue of real messages, and four commands, none of whose
/// outputs is edited.
#[tokio::test]
async fn an_existing_table_and_a_queue_go_from_init_to_rows_without_an_edit() {
    const COUNT: u64 = 500;
    let database = TestDatabase::fresh(Server::Postgres).await;
    database.execute(SHOP).await;
    let broker = Broker::shared().await;
    let queue = unique_name("shop-orders");
    broker.declare(&queue, Kind::Quorum).await;
    broker.publish(&queue, (1..=COUNT).map(order)).await;
    // A repeat, which must not become a second row.
    broker.publish(&queue, [order(7)]).await;
    let init = command("", &["init", "--table", "shop_orders", "--from-queue", &queue], &database).await.expect(0);
    let config = init.stdout;
    assert!(config.contains("its password stays there"), "{config}");
    assert!(!init.stderr.contains("correct this"), "{}\n{config}", init.stderr);
    for secret in ["tester:test", "geheim"] {
        assert!(!config.contains(secret), "{config}");
    }
    let check = command(&config, &["check"], &database).await.expect(0);
    assert!(check.stdout.contains("✓ columns: 10 filled"), "{}\n{config}", check.stdout);
    let explain = command(&config, &["explain", "shop_orders", "--from-queue", "--write"], &database).await.expect(0);
    assert!(explain.stdout.contains("rehearsed   ✓ written"), "{}\n{config}", explain.stdout);
    assert_eq!(database.count("shop_orders").await, 0, "nothing is written before run");
    let run = command(&config, &["run", "--until-empty", "--json"], &database).await.expect(0).summary();
    assert_eq!((run.settled, run.written, run.duplicates, run.dead_lettered), (COUNT + 1, COUNT, 1, 0), "{config}");
    let rows = database
        .rows(
            "SELECT order_id::text, customer_name, customer_email::text, state::text, quantity::text, price::text, \
             is_gift::text, (extract(epoch FROM placed_at) * 1000)::int8::text, tenant, payload #>> '{customer,name}', \
             (written_at > now() - interval '1 day')::text FROM shop_orders ORDER BY order_id",
        )
        .await;
    assert_eq!(rows, (1..=COUNT).map(row).collect::<Vec<_>>(), "{config}");
    command(&config, &["check"], &database).await.expect(0);
    broker.delete(&queue).await;
    broker.delete(&format!("{queue}.dead")).await;
}

#[tokio::test]
async fn samples_become_a_table_and_a_config_on_every_database() {
    let samples = [
        r#"{"properties": {"message_id": "m-1"}, "headers": {},
            "body": {"id": 1, "name": "a", "total": 1, "ok": true, "on": "2026-01-31", "at": "2026-01-31T01:02:03Z",
                     "ref": "123e4567-e89b-12d3-a456-426614174000", "tags": ["x"], "address": {"zip": "1"}, "gone": null}}"#,
        r#"{"properties": {"message_id": "m-2"}, "headers": {},
            "body": {"id": 2, "name": null, "total": 2.75, "ok": false, "on": "2026-02-01", "at": "2026-01-31T01:02:03.5+02:00",
                     "ref": "123e4567-e89b-12d3-a456-426614174001", "tags": [], "address": {"zip": "2"}, "gone": null}}"#,
    ];
    let files: Vec<_> = samples.iter().map(|text| sample(text)).collect();
    let paths: Vec<&str> = files.iter().map(|file| file.path().to_str().unwrap()).collect();
    for server in Server::ALL {
        let database = TestDatabase::fresh(server).await;
        let broker = Broker::shared().await;
        let queue = unique_name("init");
        broker.declare(&queue, Kind::Classic).await;
        let given = ["init", "--sample", paths[0], "--sample", paths[1], "--queue", &queue, "--table", "made"];
        let ddl = command("", &[&given[..], &["--ddl"]].concat(), &database).await.expect(0);
        database.execute(&ddl.stdout).await;
        let config = command("", &given, &database).await.expect(0).stdout;
        let check = command(&config, &["check"], &database).await.expect(0);
        assert!(check.stdout.contains("✓ columns: 10 filled"), "{server:?}: {}\n{config}", check.stdout);
        for path in &paths {
            let explain = command(&config, &["explain", "made", path, "--write"], &database).await;
            assert_eq!(explain.code, Some(0), "{server:?}: {}\n{}\n{config}", explain.stdout, ddl.stdout);
        }
        // Without asking the database for the table it made: the same columns.
        let without = command("", &given[..given.len() - 2], &database).await.expect(0).stdout;
        assert!(without.contains("address_zip = \"/address/zip\""), "{without}");
        broker.delete(&queue).await;
    }
}

#[tokio::test]
async fn a_table_alone_is_enough_and_what_is_missing_is_told() {
    let database = TestDatabase::fresh(Server::Sqlite).await;
    database.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, \"two words\" TEXT NOT NULL, n INT)").await;
    let broker = Broker::shared().await;
    broker.declare("t", Kind::Classic).await;
    let config = command("", &["init", "--table", "t"], &database).await.expect(0).stdout;
    assert!(config.contains("\"two words\" = { from = \"/two words\", required = true }"), "{config}");
    command(&config, &["check"], &database).await.expect(0);
    broker.delete("t").await;
    // A sample that lacks what the table wants: said, and the config still passes.
    let file = sample("{\"n\": \"many\"}");
    let path = file.path().to_str().unwrap();
    let init = command("", &["init", "--table", "t", "--sample", path], &database).await.expect(0);
    assert!(init.stderr.contains("column two words: NOT NULL, without a default"), "{}", init.stderr);
    assert!(init.stderr.contains("column n: the sample's value is refused (wrong_type)"), "{}", init.stderr);
    assert!(init.stderr.contains("the sample has no ID"), "{}", init.stderr);
    for (arguments, said) in [
        (&["init", "--table", "missing"][..], "there is no table `missing`"),
        (&["init", "--sample", "/nowhere"], "/nowhere"),
        (&["init", "--table", "t", "--ddl"], "--ddl needs samples"),
        (&["init"], "--table <TABLE>|--sample <FILE>|--from-queue <QUEUE>"),
    ] {
        let failed = command("", arguments, &database).await;
        assert!(failed.code != Some(0) && failed.stderr.contains(said), "{arguments:?}: {}", failed.stderr);
    }
}

/// Several of the queue's messages are samples together; all are given back, each delivered once for it.
#[tokio::test]
async fn several_messages_of_the_queue_are_samples() {
    let database = TestDatabase::fresh(Server::Postgres).await;
    let broker = Broker::shared().await;
    let queue = unique_name("init");
    broker.declare(&queue, Kind::Quorum).await;
    let bodies = ["{\"id\": 1, \"total\": 1}", "{\"id\": 2, \"total\": 2.50}", "{\"id\": 3, \"note\": \"x\"}"];
    broker.publish(&queue, bodies.map(|body| Message::json(body, body))).await;
    let given = ["init", "--from-queue", &queue, "--table", "made", "--ddl"];
    let one = command("", &given, &database).await.expect(0);
    assert!(
        one.stdout.contains("inferred from 1 sample;") && one.stdout.contains("\"total\" bigint"),
        "{}",
        one.stdout
    );
    let all = command("", &[&given[..], &["--samples", "10"]].concat(), &database).await.expect(0);
    assert!(all.stderr.contains("counts as one delivery of each"), "{}", all.stderr);
    for said in ["inferred from 3 samples;", "\"total\" numeric", "\"note\" text"] {
        assert!(all.stdout.contains(said), "{said}: {}", all.stdout);
    }
    let mut counts: Vec<u32> = Vec::new();
    for taken in broker.drain(&queue).await {
        counts.push(taken.header("x-delivery-count").map_or(0, |count| count.parse().unwrap()));
    }
    counts.sort_unstable();
    assert_eq!(counts, [1, 1, 2], "given back, and what it costs");
    let lines = sample(&bodies.join("\n"));
    let from_lines = command("", &["init", "--sample", lines.path().to_str().unwrap(), "--ddl"], &database).await;
    assert!(from_lines.expect(0).stdout.contains("inferred from 3 samples;"));
    let no_queue = command("", &["init", "--table", "t", "--samples", "3"], &database).await.expect(2);
    assert!(no_queue.stderr.contains("--from-queue"), "{}", no_queue.stderr);
    broker.delete(&queue).await;
}

/// A field without a column is offered one of the type that the samples ask for, and the offer works as it stands.
#[tokio::test]
async fn a_missing_column_is_offered_with_the_samples_type() {
    for server in Server::ALL {
        let database = TestDatabase::fresh(server).await;
        database.execute("CREATE TABLE t (id INTEGER PRIMARY KEY)").await;
        let file = sample("{\"id\": 1, \"total\": 2.50, \"placedAt\": \"2026-01-31\"}\n{\"id\": 2, \"total\": 3}");
        let path = file.path().to_str().unwrap();
        let given = ["init", "--table", "t", "--sample", path, "--queue", "nowhere"];
        let init = command("", &given, &database).await.expect(0);
        assert!(
            init.stdout.contains("# total = \"/total\"   # in the sample, and no column for it yet"),
            "{}",
            init.stdout
        );
        let offers: Vec<&str> = init.stderr.lines().filter(|line| line.trim().starts_with("ALTER TABLE")).collect();
        assert_eq!(offers.len(), 2, "{server:?} {}", init.stderr);
        database.execute(&offers.concat()).await;
        let again = command("", &given, &database).await.expect(0);
        assert!(again.stdout.contains("\ntotal = \"/total\"\n"), "{server:?} {}", again.stdout);
        assert!(!again.stderr.contains("no column takes"), "{server:?} {}", again.stderr);
    }
}

/// A table's name that is misspelt costs no message a delivery, and the nearest one is named; where samples are at hand,
/// the config is for the table that can be made of them.
#[tokio::test]
async fn a_table_that_is_not_there_is_told_before_a_message_is_taken() {
    let broker = Broker::shared().await;
    let queue = unique_name("init");
    broker.declare(&queue, Kind::Quorum).await;
    broker.publish(&queue, [Message::json("a", "{\"id\": 1, \"total\": 2.50}")]).await;
    for server in Server::ALL {
        let database = TestDatabase::fresh(server).await;
        database.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY)").await;
        let alone = command("", &["init", "--table", "ordres"], &database).await.expect(4);
        assert!(alone.stderr.contains("(there is: ") && alone.stderr.contains("orders)"), "{}", alone.stderr);
        // No login to the database: nothing is asked of the queue.
        let wrong = database.url.replace("test@", "geheim@");
        if wrong != database.url {
            let given = ["init", "--table", "orders", "--from-queue", &queue, "--database", &wrong];
            let failed = Worker::command_with("", given, [("RABBIT_SINK__RABBITMQ__URL", shared_amqp_url().as_str())]);
            let failed = failed.wait().await.expect(4);
            assert!(!failed.stderr.contains("taking the next message"), "{server:?} {}", failed.stderr);
            assert!(!failed.stderr.contains("geheim"), "{server:?} {}", failed.stderr);
        }
        let file = sample("{\"id\": 1, \"total\": 2.50}");
        let given = ["init", "--table", "made", "--sample", file.path().to_str().unwrap(), "--queue", &queue];
        let config = command("", &given, &database).await.expect(0);
        assert!(config.stderr.contains("a table made of the samples, which `--ddl` prints"), "{}", config.stderr);
        let ddl = command("", &[&given[..], &["--ddl"]].concat(), &database).await.expect(0);
        database.execute(&ddl.stdout).await;
        command(&config.stdout, &["check"], &database).await.expect(0);
    }
    let first = &broker.drain(&queue).await[0];
    assert!(!first.redelivered, "nobody has taken it");
    broker.delete(&queue).await;
}

/// A column for JSON takes the object of its name as a whole; columns made of samples stand in the message's order.
#[tokio::test]
async fn objects_and_the_messages_order_are_kept() {
    for server in Server::ALL {
        let database = TestDatabase::fresh(server).await;
        let json = if server == Server::Postgres { "jsonb" } else { "json" };
        database.execute(&format!("CREATE TABLE t (id INTEGER PRIMARY KEY, ship_to {json}, city varchar(20))")).await;
        let text =
            "{\"zone\": 1, \"id\": 7, \"shipTo\": {\"city\": \"Ulm\", \"at\": {\"x\": 1}}, \"at\": \"08:30:00\"}";
        let file = sample(text);
        let path = file.path().to_str().unwrap();
        let init = command("", &["init", "--table", "t", "--sample", path], &database).await.expect(0);
        for line in
            ["\nship_to = \"/shipTo\"\n", "\ncity = \"/shipTo/city\"\n", "\n# zone = \"/zone\"   # in the sample"]
        {
            assert!(init.stdout.contains(line), "{server:?} {line:?}: {}", init.stdout);
        }
        assert!(!init.stderr.contains("/shipTo/"), "{server:?} {}", init.stderr);
        // The primary key's field is the ID: no two rows may have the same.
        assert!(init.stdout.contains("message_id = [\"property:message_id\", \"/id\"]"), "{server:?} {}", init.stdout);
        let told = command(&init.stdout, &["explain", "t", path, "--write"], &database).await.expect(0);
        assert!(told.stdout.contains("{\"city\": \"Ulm\""), "{server:?} {}", told.stdout);
        let ddl = command("", &["init", "--table", "u", "--sample", path, "--ddl"], &database).await.expect(0).stdout;
        let places = ["zone", "id", "ship_to_city", "ship_to_at_x"].map(|name| ddl.find(name).unwrap());
        assert!(places.is_sorted(), "{ddl}");
        assert_eq!(ddl.contains("at` time(6)") || ddl.contains("\"at\" time"), server != Server::Sqlite, "{ddl}");
        database.execute(&ddl).await;
    }
}

/// Without a word about where the database is, `init` asks for it, and a password that the config will want is said.
#[tokio::test]
async fn what_a_new_user_has_to_say_is_asked_for() {
    let exit = Worker::command("", ["init", "--table", "t"]).wait().await.expect(2);
    assert!(exit.stderr.contains("which database? Give --database postgres://"), "{}", exit.stderr);
    let database = TestDatabase::fresh(Server::Postgres).await;
    database.execute("CREATE TABLE t (id int)").await;
    let exit = Worker::command("", ["init", "--table", "t", "--database", &database.url]).wait().await.expect(0);
    assert!(exit.stderr.contains("before the next command, export DATABASE_PASSWORD='…'"), "{}", exit.stderr);
    let check = Worker::command(&exit.stdout, ["check"]).wait().await.expect(2);
    for said in ["`DATABASE_PASSWORD` is not set", "export DATABASE_PASSWORD='…'"] {
        assert!(check.stderr.contains(said), "{}", check.stderr);
    }
    // What was given by option is named so, and an address that nobody gave is asked for.
    let given = ["init", "--table", "t", "--database", "localhost/shop"];
    let exit = Worker::command("", given).wait().await.expect(2);
    assert!(exit.stderr.contains("--database: expected an address that begins with postgres://"), "{}", exit.stderr);
    let exit = Worker::command("", ["init", "--from-queue", "t"]).wait().await;
    let local = exit.code == Some(3);
    assert!(!local || exit.stderr.contains("which broker? Give --rabbitmq amqp://"), "{}", exit.stderr);
    let refused = shared_amqp_url().replace("guest:guest", "guest:geheim");
    let exit = Worker::command("", ["init", "--from-queue", "t", "--rabbitmq", &refused]).wait().await.expect(4);
    assert!(exit.stderr.contains("the broker refuses the login") && !exit.stderr.contains("geheim"), "{}", exit.stderr);
}

/// Where no field is called an ID, one that fills a unique column is.
#[tokio::test]
async fn the_field_of_a_unique_column_is_the_id() {
    let database = TestDatabase::fresh(Server::Sqlite).await;
    database.execute("CREATE TABLE t (nr INTEGER PRIMARY KEY, ref TEXT UNIQUE, total NUMERIC)").await;
    for (text, id) in [
        ("{\"Ref\": \"R1\", \"total\": 1}\n{\"Ref\": \"R2\", \"total\": 1}", "[\"property:message_id\", \"/Ref\"]"),
        ("{\"Ref\": \"R1\", \"total\": 1}\n{\"Ref\": \"R1\", \"total\": 2}", "\"sha256:body\"]"),
    ] {
        let file = sample(text);
        let given = ["init", "--table", "t", "--sample", file.path().to_str().unwrap()];
        let config = command("", &given, &database).await.expect(0).stdout;
        assert!(config.contains("message_id = [") && config.contains(id), "{config}");
    }
}
