//! The harness itself: the servers answer, die and come back, the proxy does what it says, and the
//! accountant finds what is wrong.

use std::time::Duration;

use crate::support::broker::{Broker, Depth, Kind, Message};
use crate::support::database::{Server, TestDatabase, rows, try_rows};
use crate::support::proxy::{Flow, Proxy, Trap};
use crate::support::servers::{Mysql, Postgres, Rabbitmq, shared_mysql_url, shared_postgres_url};
use crate::support::wait::{PATIENCE, eventually, unique_name};
use crate::support::{Accountant, Worker, process};

use lapin::options::{BasicAckOptions, BasicGetOptions};
use sqlx::{Connection, PgConnection};

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn port(url: &str) -> u16 {
    url::Url::parse(url).unwrap().port().unwrap()
}

#[tokio::test]
async fn every_database_takes_a_table_and_gives_its_rows_as_text() {
    for server in Server::ALL {
        let database = TestDatabase::fresh(server).await;
        database
            .execute("CREATE TABLE t (id INT PRIMARY KEY, name VARCHAR(20)); INSERT INTO t VALUES (2, NULL), (1, 'é')")
            .await;
        let expected = vec![vec![some("1"), some("é")], vec![some("2"), None]];
        assert_eq!(database.table("t", &["id", "name"]).await, expected, "{server:?}");
        assert_eq!(database.count("t").await, 2, "{server:?}");
    }
}

#[tokio::test]
async fn a_dropped_database_is_gone() {
    for (server, url) in [(Server::Postgres, shared_postgres_url()), (Server::Mysql, shared_mysql_url())] {
        let database = TestDatabase::fresh(server).await;
        let gone = database.url.clone();
        drop(database);
        assert!(try_rows(&gone, "SELECT '1'").await.is_err(), "{server:?}");
        assert_eq!(rows(&url, "SELECT '1'").await, vec![vec![some("1")]], "{server:?}");
    }
}

#[tokio::test]
async fn slow_the_producer_publishes_20000_and_counts_them() {
    let broker = Broker::shared().await;
    let queue = unique_name("smoke");
    broker.declare(&queue, Kind::Quorum).await;
    broker.publish(&queue, (0..20_000).map(|n| Message::json(&n.to_string(), format!("{{\"n\":{n}}}")))).await;
    eventually(PATIENCE, "all are ready", async || broker.ready(&queue).await == 20_000).await;
    assert_eq!(broker.depth(&queue).await, Depth { ready: 20_000, unacked: 0 });
    broker.delete(&queue).await;
}

#[tokio::test]
async fn slow_unacked_messages_are_counted_at_once() {
    for kind in [Kind::Classic, Kind::Quorum] {
        let broker = Broker::shared().await;
        let queue = unique_name("smoke");
        broker.declare(&queue, kind).await;
        broker.publish(&queue, ["a", "b", "c"].map(|id| Message::json(id, "1"))).await;
        let got = broker.channel.basic_get(queue.as_str().into(), BasicGetOptions { no_ack: false }).await.unwrap();
        assert_eq!(broker.depth(&queue).await, Depth { ready: 2, unacked: 1 }, "{kind:?}");
        assert!(got.unwrap().acker.ack(BasicAckOptions::default()).await.unwrap());
        let two = Depth { ready: 2, unacked: 0 };
        eventually(PATIENCE, "the ack has arrived", async || broker.depth(&queue).await == two).await;
        broker.delete(&queue).await;
    }
}

#[tokio::test]
async fn a_drained_queue_tells_bodies_and_headers_in_order() {
    let broker = Broker::shared().await;
    let queue = unique_name("smoke");
    broker.declare(&queue, Kind::Classic).await;
    broker.publish(&queue, [Message::json("a", "1").header("x-why", "because"), Message::bare("2")]).await;
    let taken = broker.drain(&queue).await;
    assert_eq!(taken.iter().map(|message| message.body.as_slice()).collect::<Vec<_>>(), [b"1", b"2"]);
    assert_eq!(taken[0].message_id().as_deref(), Some("a"));
    assert_eq!(taken[0].header("x-why").as_deref(), Some("because"));
    assert_eq!(taken[1].message_id(), None);
    broker.wait_until_empty(&queue).await;
    broker.delete(&queue).await;
}

#[tokio::test]
async fn a_lost_commit_answer_leaves_a_committed_row() {
    let database = TestDatabase::fresh(Server::Postgres).await;
    database.execute("CREATE TABLE t (id INT PRIMARY KEY)").await;
    let proxy = Proxy::start(port(&database.url)).await;
    for (id, trap, committed) in [(1, Trap::LoseRequest, "0"), (2, Trap::LoseAnswer, "1")] {
        let mut connection = PgConnection::connect(&proxy.url(&database.url)).await.unwrap();
        let set = proxy.on_request(b"COMMIT", trap);
        let mut transaction = connection.begin().await.unwrap();
        sqlx::query("INSERT INTO t VALUES ($1)").bind(id).execute(&mut *transaction).await.unwrap();
        assert!(transaction.commit().await.is_err(), "{trap:?}: the answer was lost");
        set.sprung().await;
        let count = format!("SELECT count(*)::text FROM t WHERE id = {id}");
        assert_eq!(database.rows(&count).await, vec![vec![some(committed)]], "{trap:?}");
    }
}

#[tokio::test]
async fn the_proxy_cuts_stalls_and_refuses() {
    let proxy = Proxy::start(port(&shared_postgres_url())).await;
    let url = proxy.url(&shared_postgres_url());
    let mut connection = PgConnection::connect(&url).await.unwrap();
    proxy.stall();
    {
        let mut ping = std::pin::pin!(connection.ping());
        // Nothing may come however long one waits; a short look is enough to see a leak.
        assert!(tokio::time::timeout(Duration::from_millis(300), &mut ping).await.is_err(), "nothing passes");
        proxy.pass();
        ping.await.expect("the answer passes after all");
    }
    proxy.flow(Flow::Pass, Flow::Discard);
    assert!(tokio::time::timeout(Duration::from_millis(300), connection.ping()).await.is_err(), "no answer");
    proxy.cut();
    assert!(connection.ping().await.is_err(), "the connection is cut");
    proxy.refuse();
    assert!(PgConnection::connect(&url).await.is_err(), "no new connection");
    proxy.pass();
    assert!(PgConnection::connect(&url).await.is_ok(), "all is well again");
    assert_eq!(proxy.accepted(), 3);
}

#[tokio::test]
async fn a_killed_postgres_comes_back_with_its_rows() {
    let mut server = Postgres::start().await;
    let database = TestDatabase::on(&server.url()).await;
    database.execute("CREATE TABLE t AS SELECT 1 AS id").await;
    let processes = process::tree(server.id().unwrap());
    assert!(processes.len() > 3, "with its children: {processes:?}");
    server.kill();
    assert!(processes.iter().all(|&pid| process::started(pid).is_none()), "all of them are gone");
    assert!(try_rows(&database.url, "SELECT '1'").await.is_err());
    server.restart().await;
    assert_eq!(database.count("t").await, 1);
}

#[tokio::test]
async fn a_frozen_mariadb_answers_later() {
    let mut server = Mysql::start().await;
    let url = server.url();
    server.pause();
    let mut query = std::pin::pin!(rows(&url, "SELECT '1'"));
    assert!(tokio::time::timeout(Duration::from_millis(300), &mut query).await.is_err(), "frozen");
    server.resume();
    assert_eq!(query.await, vec![vec![some("1")]]);
    server.stop().await;
    server.restart().await;
    assert_eq!(rows(&url, "SELECT '1'").await, vec![vec![some("1")]]);
}

#[tokio::test]
async fn slow_a_killed_rabbitmq_comes_back_with_its_messages() {
    let mut node = Rabbitmq::start().await;
    let broker = Broker::of(&node).await;
    broker.declare("q", Kind::Classic).await;
    broker.publish("q", [Message::json("a", "1")]).await;
    node.kill();
    node.restart().await;
    assert_eq!(Broker::of(&node).await.depth("q").await, Depth { ready: 1, unacked: 0 });
    node.stop().await;
}

#[tokio::test]
async fn slow_one_of_two_rabbitmq_nodes_is_killed_and_comes_back() {
    let mut cluster = Rabbitmq::start_cluster(2).await;
    let names: Vec<String> = cluster.iter().map(|node| node.name().to_owned()).collect();
    let status = cluster[0].ctl(&["cluster_status"]);
    assert!(names.iter().all(|name| status.contains(name)), "{status}");
    let broker = Broker::of(&cluster[1]).await;
    broker.declare("q", Kind::Classic).await;
    broker.publish("q", [Message::json("a", "1")]).await;
    cluster[0].kill();
    assert_eq!(broker.ready("q").await, 1, "the other one goes on");
    cluster[0].restart().await;
    assert_eq!(Broker::of(&cluster[0]).await.ready("q").await, 1, "seen from the first one too");
}

#[test]
fn the_accountant_finds_everything_that_is_wrong() {
    let mut books = Accountant::default();
    for id in ["fine", "lost", "twice", "wrong", "dead"] {
        books.expect_row(id, vec![some("1"), None]);
    }
    books.expect_dead("bad");
    books.expect_dead("bad and written");
    books.expect_dead("bad and gone");
    let row = |id: &str, value: &str| vec![some(id), some(value), None];
    let table = [
        row("fine", "1"),
        row("twice", "1"),
        row("twice", "1"),
        row("wrong", "2"),
        row("bad and written", "1"),
        row("alien", "1"),
    ];
    let report = books.audit(&table, ["bad", "bad", "dead", "ghost"].map(str::to_owned));
    assert_eq!(report.lost, ["lost"]);
    assert_eq!(report.duplicates, ["twice"]);
    assert_eq!(report.wrong, [("wrong".to_owned(), vec![some("1"), None], vec![some("2"), None])]);
    assert_eq!(report.wrongly_dead, ["dead"]);
    assert_eq!(report.wrongly_written, ["bad and written"]);
    assert_eq!(report.dead_missing, ["bad and gone", "bad and written"]);
    assert_eq!(report.unknown, ["alien", "ghost"]);
    assert!(!report.is_clean());
    let mut books = Accountant::default();
    books.expect_row("fine", vec![some("1"), None]);
    books.expect_dead("bad");
    books.audit(&[row("fine", "1")], ["bad".to_owned()]).assert_clean();
}

#[test]
fn what_is_in_doubt_may_be_missing_but_not_wrong() {
    let mut books = Accountant::default();
    for id in ["there", "missing", "wrong", "confirmed"] {
        books.expect_row(id, vec![some("1")]);
        books.doubt(id);
    }
    books.expect_dead("bad");
    books.doubt("bad");
    books.confirm("confirmed");
    let table = [vec![some("there"), some("1")], vec![some("wrong"), some("2")]];
    let report = books.audit(&table, []);
    assert_eq!(report.lost, ["confirmed"]);
    assert_eq!(report.wrong.len(), 1);
    assert!(report.dead_missing.is_empty() && report.duplicates.is_empty(), "{report}");
}

#[test]
fn an_id_with_two_bodies_is_a_row_and_a_letter() {
    let mut books = Accountant::default();
    books.expect_row("both", vec![some("1")]);
    books.expect_dead("both");
    let row = vec![some("both"), some("1")];
    books.audit(std::slice::from_ref(&row), ["both".to_owned()]).assert_clean();
    assert_eq!(books.audit(&[row], []).dead_missing, ["both"]);
    assert_eq!(books.audit(&[], ["both".to_owned()]).lost, ["both"]);
}

#[tokio::test]
async fn a_running_worker_takes_signals_and_shows_its_log() {
    let config = format!(
        "[rabbitmq]\nurl = 'amqp://127.0.0.1:{}'\n[database]\nurl = 'sqlite://test.db?mode=rwc'\n[admin]\nlisten = 'off'\n\
         [pipelines.orders]\nqueue = 'q'\ntable = 'orders'\n",
        process::free_port()
    );
    let mut worker = Worker::run(&config);
    worker.logs("orders").await;
    assert!(worker.alive());
    let exit = worker.kill().await;
    assert_eq!(exit.code, None);
    assert!(exit.stderr.contains("orders"), "{}", exit.stderr);
}
