//! What a database has to say.

use super::{about, check, config, lines, mend};
use crate::support::broker::{Broker, Kind, Message};
use crate::support::database::{Server, TestDatabase, execute};
use crate::support::servers::{shared_amqp_url, shared_mysql_url};
use crate::support::wait::unique_name;
use crate::support::worker::Worker;

/// The same server, as another login.
fn as_login(url: &str, user: &str) -> String {
    let mut url = url::Url::parse(url).unwrap();
    url.set_username(user).unwrap();
    url.set_password(Some("s3cret")).unwrap();
    url.into()
}

/// A login that may do nothing yet, in a database with a table.
async fn with_login(server: Server) -> (TestDatabase, String, Broker, String) {
    let database = TestDatabase::fresh(server).await;
    database.execute(super::TABLE).await;
    let user = unique_name("u");
    match server {
        Server::Postgres => database.execute(&format!("CREATE ROLE {user} LOGIN PASSWORD 's3cret'")).await,
        Server::Mysql => {
            let name = url::Url::parse(&database.url).unwrap().path()[1..].to_owned();
            let create = format!("CREATE USER {user} IDENTIFIED BY 's3cret'; GRANT SELECT ON {name}.orders TO {user}");
            execute(&shared_mysql_url(), &create).await;
        }
        Server::Sqlite => unreachable!("it has no logins"),
    }
    let broker = Broker::shared().await;
    let queue = unique_name("check");
    broker.declare(&queue, Kind::Classic).await;
    (database, user, broker, queue)
}

#[tokio::test]
async fn a_missing_privilege_is_named_and_its_grant_helps() {
    for server in [Server::Postgres, Server::Mysql] {
        let (database, user, broker, queue) = with_login(server).await;
        let config = config(&shared_amqp_url(), &as_login(&database.url, &user), &queue, "deduplicate = \"none\"");
        check(&config).await.expect(4);
        let before = lines(&config).await;
        assert!(
            about(&before, "privileges").join("\n").contains("wrong: this login may not"),
            "{server:?} {before:#?}"
        );
        let grant = mend(&before, "privileges");
        assert!(grant.starts_with("GRANT INSERT ON "), "{grant}");
        database.execute(&grant).await;
        let after = lines(&config).await;
        assert!(
            about(&after, "privileges").join("\n").starts_with("ok: this login may insert"),
            "{server:?} {after:#?}"
        );
        // With the ledger: what this login may not create is somebody else's, and the DDL stands there.
        let ledger = config.replace("deduplicate = \"none\"", "");
        let lines = lines(&ledger).await;
        assert!(
            about(&lines, "ledger").join("\n").contains(
                "wrong: rabbit_sink_ledger isn't there, or can't be seen, and this login may not create tables"
            ),
            "{server:?} {lines:#?}"
        );
        // The tables and the grants, as they stand there.
        database.execute(&mend(&lines, "ledger")).await;
        Worker::until_empty(&ledger).await.expect(0);
        check(&ledger).await.expect(0);
        broker.delete(&queue).await;
        broker.delete(&format!("{queue}.dead")).await;
    }
}

#[tokio::test]
async fn a_refused_login_is_wrong_not_unreachable() {
    let (database, user, broker, queue) = with_login(Server::Mysql).await;
    let wrong = as_login(&database.url, &user).replace("s3cret", "geheim");
    let exit = check(&config(&shared_amqp_url(), &wrong, &queue, "")).await.expect(4);
    assert!(exit.stdout.contains("→ check user and password of database \"default\""), "{}", exit.stdout);
    assert!(!exit.stdout.contains("geheim"), "{}", exit.stdout);
    broker.delete(&queue).await;
}

#[tokio::test]
async fn a_unique_key_is_asked_for_where_repeats_are_recognised_by_it() {
    for server in Server::ALL {
        let database = TestDatabase::fresh(server).await;
        database.execute("CREATE TABLE orders (id VARCHAR(40) NOT NULL, note VARCHAR(20))").await;
        let broker = Broker::shared().await;
        let queue = unique_name("check");
        broker.declare(&queue, Kind::Classic).await;
        let more = "deduplicate = \"column:id\"\nmessage_id = [\"/id\"]";
        let config = config(&shared_amqp_url(), &database.url, &queue, more);
        check(&config).await.expect(4);
        let lines = lines(&config).await;
        assert!(
            about(&lines, "columns").join("\n").contains("needs a unique key on id alone"),
            "{server:?} {lines:#?}"
        );
        database.execute(&mend(&lines, "columns")).await;
        check(&config).await.expect(0);
        broker.delete(&queue).await;
    }
}

/// What the server fills by itself keeps no pipeline from its start: a NOT NULL enum has its first
/// label, which somebody should know; numbers that count up are said nothing of.
#[tokio::test]
async fn what_the_server_fills_by_itself_stops_nobody() {
    for (server, columns) in [
        (Server::Mysql, "n int NOT NULL UNIQUE AUTO_INCREMENT, e enum('a', 'b') NOT NULL"),
        (Server::Postgres, "n bigserial NOT NULL, m int GENERATED BY DEFAULT AS IDENTITY"),
        (Server::Sqlite, "n integer PRIMARY KEY NOT NULL"),
    ] {
        let database = TestDatabase::fresh(server).await;
        database.execute(&format!("CREATE TABLE orders (id varchar(100), {columns})")).await;
        let broker = Broker::shared().await;
        let queue = unique_name("check");
        broker.declare(&queue, Kind::Classic).await;
        let config = config(&shared_amqp_url(), &database.url, &queue, "[pipelines.orders.columns]\nid = \"/id\"");
        check(&config).await.expect(0);
        let said = about(&lines(&config).await, "columns").join("\n");
        assert_eq!(said.contains("column e is NOT NULL"), server == Server::Mysql, "{server:?} {said}");
        assert!(!said.contains("column n") && !said.contains("wrong"), "{server:?} {said}");
        broker.publish(&queue, [Message::json("a", "{\"id\":\"a\"}")]).await;
        assert_eq!(Worker::until_empty(&config).await.expect(0).summary().written, 1, "{server:?}");
        broker.delete(&queue).await;
    }
}

#[tokio::test]
async fn generated_columns_other_ledgers_and_read_only_servers_are_told() {
    let database = TestDatabase::fresh(Server::Postgres).await;
    let generated = "CREATE TABLE orders (id text PRIMARY KEY, twice text GENERATED ALWAYS AS (id || id) STORED)";
    database.execute(generated).await;
    let broker = Broker::shared().await;
    let queue = unique_name("check");
    broker.declare(&queue, Kind::Classic).await;
    let columns = "[pipelines.orders.columns]\nid = \"/id\"\ntwice = \"/twice\"";
    let both = config(&shared_amqp_url(), &database.url, &queue, columns);
    let found = lines(&both).await;
    assert_eq!(about(&found, "columns"), ["wrong: column twice of table orders is computed by the database"]);
    let good = config(&shared_amqp_url(), &database.url, &queue, "");
    Worker::until_empty(&good).await.expect(0);
    let found = lines(&good).await;
    assert!(about(&found, "ledger").join("\n").contains("has no entry of this pipeline"), "{found:#?}");
    // The same pipeline's name for another queue.
    let second = unique_name("check");
    broker.declare(&second, Kind::Classic).await;
    let other = config(&shared_amqp_url(), &database.url, &second, "");
    let exit = check(&other).await.expect(4);
    assert!(exit.stdout.contains("--adopt"), "{}", exit.stdout);
    let read_only = good.replace("[admin]", "on_connect = [\"SET default_transaction_read_only = on\"]\n[admin]");
    let exit = check(&read_only).await.expect(4);
    assert!(
        exit.stdout.contains("nothing can be written") && exit.stdout.contains("→ name the primary"),
        "{}",
        exit.stdout
    );
    for queue in [&queue, &second] {
        broker.delete(queue).await;
    }
}

#[tokio::test]
async fn a_missing_sqlite_file_is_not_made() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("none.db");
    let url = format!("sqlite://{}", file.display());
    let exit = check(&config(&shared_amqp_url(), &url, "nowhere", "")).await.expect(4);
    assert!(exit.stdout.contains("there is no file"), "{}", exit.stdout);
    assert!(!file.exists());
}

/// Each privilege that the worker needs, taken away alone: it is named, and the GRANT that stands there gives it back.
#[tokio::test]
async fn each_missing_privilege_is_named_with_its_grant() {
    for server in [Server::Postgres, Server::Mysql] {
        let (database, user, broker, queue) = with_login(server).await;
        let by_ledger = config(&shared_amqp_url(), &as_login(&database.url, &user), &queue, "");
        let by_column = config(
            &shared_amqp_url(),
            &as_login(&database.url, &user),
            &queue,
            "deduplicate = \"column:id\"\nmessage_id = [\"/id\"]",
        );
        let (ledger, marker) = ("rabbit_sink_ledger", "rabbit_sink_ledger_pipelines");
        // The worker's own start makes the ledger and the marker, by the server's own login.
        Worker::until_empty(&config(&shared_amqp_url(), &database.url, &queue, "")).await.expect(0);
        let mut cases = vec![
            (&by_ledger, "orders", "INSERT", "this login may not insert into"),
            (&by_ledger, ledger, "SELECT", "this login may not SELECT rabbit_sink_ledger"),
            (&by_ledger, ledger, "INSERT", "this login may not INSERT rabbit_sink_ledger"),
            (&by_ledger, ledger, "DELETE", "this login may not DELETE rabbit_sink_ledger"),
            (&by_ledger, ledger, "INSERT, DELETE", "this login may not INSERT, DELETE rabbit_sink_ledger"),
            (&by_ledger, marker, "SELECT", "this login may not SELECT rabbit_sink_ledger_pipelines"),
            (&by_ledger, marker, "INSERT", "this login may not INSERT rabbit_sink_ledger_pipelines"),
            (&by_column, "orders", "SELECT", "this login may not read id, by which repeats are recognised"),
        ];
        let orders = "rabbit_sink_ledger_pauses";
        if server == Server::Postgres {
            // MySQL doesn't tell a table that isn't there from one that a login was given nothing of.
            cases.push((&by_ledger, orders, "SELECT", "this login may not SELECT rabbit_sink_ledger_pauses"));
        }
        let all = [
            ("orders", "SELECT, INSERT"),
            (ledger, "SELECT, INSERT, DELETE"),
            (marker, "SELECT, INSERT"),
            (orders, "SELECT"),
        ];
        for (table, privileges) in all {
            database.execute(&format!("GRANT {privileges} ON {table} TO {user}")).await;
        }
        for (config, table, lacking, said) in cases {
            check(config).await.expect(0);
            database.execute(&format!("REVOKE {lacking} ON {table} FROM {user}")).await;
            check(config).await.expect(4);
            let found = lines(config).await;
            let told = about(&found, "privileges").join("\n");
            assert!(told.contains(&format!("wrong: {said}")), "{server:?} {table} {lacking}: {found:#?}");
            let summary = Worker::until_empty(config).await.expect(4).summary();
            assert_eq!(summary.state, "paused", "{server:?} {table} {lacking}: {summary:?}");
            let grant = mend(&found, "privileges");
            assert!(grant.starts_with(&format!("GRANT {}", lacking.split(',').next().unwrap())), "{grant}");
            database.execute(&grant).await;
        }
        // Columns of their own: only some of what is filled. MySQL doesn't even show the others.
        database.execute(&format!("REVOKE INSERT ON orders FROM {user}")).await;
        database.execute(&format!("GRANT INSERT (id, note) ON orders TO {user}")).await;
        if server == Server::Mysql {
            let found = lines(&by_ledger).await;
            assert!(about(&found, "columns").join("\n").contains("wrong: a column that takes no NULL"), "{found:#?}");
            assert!(mend(&found, "columns").starts_with("GRANT SELECT, INSERT ON "), "{found:#?}");
            let summary = Worker::until_empty(&by_ledger).await.expect(4).summary();
            assert_eq!(summary.state, "paused", "{summary:?}");
            database.execute(&format!("GRANT SELECT ON orders TO {user}")).await;
        }
        let found = lines(&by_ledger).await;
        assert_eq!(about(&found, "privileges"), ["wrong: this login may not fill price"], "{server:?} {found:#?}");
        database.execute(&mend(&found, "privileges")).await;
        check(&by_ledger).await.expect(0);
        broker.publish(&queue, [Message::json("a", "{\"id\":\"a\",\"price\":1}")]).await;
        let summary = Worker::until_empty(&by_ledger).await.expect(0).summary();
        assert_eq!(summary.written, 1, "{server:?}: with these privileges the worker works: {summary:?}");
        broker.delete(&queue).await;
        broker.delete(&format!("{queue}.dead")).await;
    }
}

/// What makes the server forget is named with the SQL that ends it.
#[tokio::test]
async fn what_weakens_durability_comes_with_its_remedy() {
    let database = TestDatabase::fresh(Server::Postgres).await;
    database.execute(super::TABLE).await;
    let user = unique_name("u");
    database
        .execute(&format!("CREATE ROLE {user} LOGIN PASSWORD 's3cret'; GRANT ALL ON SCHEMA public TO {user}"))
        .await;
    database.execute(&format!("GRANT SELECT, INSERT ON orders TO {user}")).await;
    database.execute(&format!("ALTER ROLE {user} SET synchronous_commit = off")).await;
    let broker = Broker::shared().await;
    let queue = unique_name("check");
    broker.declare(&queue, Kind::Classic).await;
    let config = config(&shared_amqp_url(), &as_login(&database.url, &user), &queue, "");
    let found = lines(&config).await;
    let off = |found: &[serde_json::Value]| about(found, "durability").join("\n").contains("synchronous_commit = off");
    assert!(off(&found), "{found:#?}");
    let mends = found.iter().filter(|line| line["check"] == "durability").filter_map(|line| line["mend"].as_str());
    let mend = mends.into_iter().find(|mend| mend.contains("synchronous_commit")).unwrap();
    assert_eq!(mend, format!("ALTER ROLE {user} SET synchronous_commit = on;"));
    database.execute(mend).await;
    assert!(!off(&lines(&config).await));
    broker.delete(&queue).await;
}

/// A table of dead letters that this login may not make, or not use.
#[tokio::test]
async fn the_table_of_dead_letters_comes_with_its_ddl_and_grants() {
    for server in [Server::Postgres, Server::Mysql] {
        let (database, user, broker, queue) = with_login(server).await;
        database.execute(&format!("GRANT SELECT, INSERT ON orders TO {user}")).await;
        let more = "deduplicate = \"none\"\n[pipelines.orders.dead_letter]\nto = \"table\"";
        let config = config(&shared_amqp_url(), &as_login(&database.url, &user), &queue, more);
        check(&config).await.expect(4);
        let found = lines(&config).await;
        let missing = "wrong: table orders_dead_letters is missing, and this login may not create tables";
        assert_eq!(about(&found, "dead letters"), [missing], "{server:?} {found:#?}");
        assert_eq!(Worker::until_empty(&config).await.expect(4).summary().state, "paused", "{server:?}");
        database.execute(&mend(&found, "dead letters")).await;
        check(&config).await.expect(0);
        database.execute(&format!("REVOKE INSERT ON orders_dead_letters FROM {user}")).await;
        check(&config).await.expect(4);
        database.execute(&mend(&lines(&config).await, "dead letters")).await;
        check(&config).await.expect(0);
        broker.publish(&queue, [Message::json("a", "not JSON")]).await;
        assert_eq!(Worker::until_empty(&config).await.expect(0).summary().dead_lettered, 1, "{server:?}");
        broker.delete(&queue).await;
    }
}

/// A key that does nothing makes believe that it does.
#[tokio::test]
async fn times_and_zones_of_what_is_no_time_are_told() {
    for server in Server::ALL {
        let database = TestDatabase::fresh(server).await;
        database.execute("CREATE TABLE orders (id varchar(100), n bigint, on_day date)").await;
        let broker = Broker::shared().await;
        let queue = unique_name("check");
        broker.declare(&queue, Kind::Classic).await;
        let columns = "[pipelines.orders.columns]\nid = { from = \"/id\", zone = \"UTC\" }\n\
                       n = { from = \"/n\", time = \"epoch_ms\" }\non_day = { from = \"/d\", time = \"epoch_s\" }";
        let config = config(&shared_amqp_url(), &database.url, &queue, columns);
        check(&config).await.expect(0);
        let said = about(&lines(&config).await, "columns").join("\n");
        for (column, key) in [("n (bigint", "time does nothing"), ("id (", "zone does nothing")] {
            assert!(said.contains(&format!("warning: column {column}")) && said.contains(key), "{server:?} {said}");
        }
        assert!(!said.contains("column on_day"), "{server:?} {said}");
        broker.delete(&queue).await;
    }
}

/// A clock that is apart is told by how much, before the ledger is pruned by it.
#[tokio::test]
async fn a_databases_clock_that_is_apart_is_told() {
    let database = TestDatabase::fresh(Server::Mysql).await;
    database.execute(super::TABLE).await;
    let broker = Broker::shared().await;
    let queue = unique_name("check");
    broker.declare(&queue, Kind::Classic).await;
    // The session's own clock, which the server's functions go by.
    let apart = "on_connect = [\"SET timestamp = UNIX_TIMESTAMP() - 3600\"]\n[admin]";
    let config = config(&shared_amqp_url(), &database.url, &queue, "").replace("[admin]", apart);
    check(&config).await.expect(0);
    let said = about(&lines(&config).await, "clock").join("\n");
    assert!(said.starts_with("warning: the database's is 36") && said.ends_with(" s behind ours"), "{said}");
    broker.delete(&queue).await;
}
