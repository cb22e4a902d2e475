//! `pause` and `resume` of a running worker.

use std::os::unix::process::CommandExt;
use std::process::Command;

use serde_json::Value;

use super::scene::Scene;
use crate::support::Worker;
use crate::support::broker::Kind;
use crate::support::database::Server;
use crate::support::process::is_root;
use crate::support::worker::Exit;

/// A command with this config, to its end.
async fn told(config: &str, arguments: &[&str]) -> Exit {
    Worker::command(config, arguments).wait().await
}

#[tokio::test]
async fn a_paused_pipeline_takes_nothing_and_keeps_no_connection_until_it_is_resumed() {
    let mut scene = Scene::with(Kind::Quorum, Server::Postgres).await;
    let config = scene.config("consumers = 2");
    let mut worker = Worker::run(&config);
    scene.flows(&mut worker).await;
    let paused = told(&config, &["pause", "orders", "--reason", "new index", "--by", "ann"]).await.expect(0);
    assert_eq!(paused.stdout, "orders is paused, and nothing of it is in hand\n");
    assert!(scene.consumers().await.is_empty());
    let sessions = "SELECT count(*)::text FROM pg_stat_activity WHERE application_name = 'rabbit-sink' \
                    AND datname = current_database()";
    worker
        .eventually("no session is open", async || scene.database.rows(sessions).await[0][0].as_deref() == Some("0"))
        .await;
    scene.ready_says(&mut worker, 503, "paused by ann: new index").await;
    assert_eq!(scene.get("/livez").await.0, 200);
    let known = scene.expected_rows();
    scene.publish(known..known + 20).await;
    let status = told(&config, &["status"]).await.expect(0);
    assert!(status.stdout.contains("paused by ann: new index"), "{}", status.stdout);
    let (_, metrics) = scene.get("/metrics").await;
    assert!(
        metrics.contains(r#"rabbit_sink_pause_info{pipeline="orders",scope="worker",by="ann",reason="new index"} 1"#)
    );
    assert_eq!(scene.rows().await, Some(known), "nothing came through the pause");
    let again = told(&config, &["--json", "pause", "orders"]).await.expect(0);
    let again: Value = serde_json::from_str(&again.stdout).expect("JSON");
    assert_eq!(
        (&again["done"], &again["unsettled"], &again["paused"]["reason"]),
        (&true.into(), &0.into(), &"".into())
    );
    told(&config, &["resume", "orders"]).await.expect(0);
    scene.all_written(&mut worker).await;
    told(&config, &["resume", "orders"]).await.expect(1);
    let exit = worker.stop().await.expect(0);
    assert!(!exit.stderr.contains("ERROR") && !exit.stderr.contains("\"level\":\"ERROR\""), "{}", exit.stderr);
    let summary = Worker::until_empty(&config).await.expect(0).summary();
    assert_eq!((summary.settled, summary.redelivered), (0, 0), "nothing was given back, and a restart has forgotten");
    scene.audit().await;
}

#[tokio::test]
async fn a_pause_while_the_database_is_locked_gives_back_once_and_tells_what_is_in_hand_till_then() {
    use sqlx::Connection as _;
    let mut scene = Scene::with(Kind::Quorum, Server::Postgres).await;
    let config =
        scene.config("").replacen("[admin]", "lock_timeout = \"60s\"\nstatement_timeout = \"90s\"\n[admin]", 1);
    let mut worker = Worker::run(&format!("[worker]\nshutdown_timeout = \"1s\"\n{config}"));
    scene.flows(&mut worker).await;
    let mut lock = sqlx::PgConnection::connect(&scene.database.url).await.expect("a connection");
    sqlx::raw_sql("BEGIN; LOCK TABLE orders IN ACCESS EXCLUSIVE MODE").execute(&mut lock).await.expect("a lock");
    scene.publish(20..40).await;
    worker.eventually("some are in hand", async || scene.broker.depth(&scene.queue).await.unacked > 0).await;
    let paused =
        told(&format!("[worker]\nshutdown_timeout = \"100ms\"\n{config}"), &["pause", "orders"]).await.expect(5);
    assert!(paused.stdout.contains("messages still in hand"), "{}", paused.stdout);
    // The transaction that waits is finished, not broken off.
    sqlx::raw_sql("ROLLBACK").execute(&mut lock).await.expect("an end");
    scene.ready_says(&mut worker, 503, "paused by").await;
    worker.eventually("it has no consumer", async || scene.consumers().await.is_empty()).await;
    told(&config, &["resume", "orders"]).await.expect(0);
    scene.all_written(&mut worker).await;
    worker.stop().await.expect(0);
    scene.audit().await;
}

#[tokio::test]
async fn orders_come_by_a_file_by_the_token_or_not_at_all() {
    let scene = Scene::shared(Kind::Classic).await;
    let file = scene.folder.join("admin.sock");
    let token = scene.folder.join("token");
    std::fs::write(&token, "a-token-for-this-test\n").expect("a file in an own folder");
    let with = |keys: &str| {
        let listen = format!("listen = \"{}\"", scene.admin);
        scene.config("").replacen(&listen, &format!("{listen}\n{keys}"), 1)
    };
    let by_file = with(&format!("socket = \"{}\"", file.display()));
    let by_token = with(&format!("socket = \"off\"\ntoken_file = \"{}\"", token.display()));
    let by_nothing = with("socket = \"off\"");
    for (config, code) in [(&by_file, 0), (&by_token, 0), (&by_nothing, 2)] {
        let mut worker = Worker::run(config);
        scene.ready_says(&mut worker, 200, "").await;
        let exit = told(config, &["pause", "orders"]).await.expect(code);
        if code == 2 {
            assert!(exit.stderr.contains("token_file"), "{}", exit.stderr);
        }
        if config == &by_file && is_root() {
            // Whoever may read the config, but isn't the worker's user.
            let mut command = Command::new(Worker::program());
            command.args(["resume", "orders"]).uid(65_534).gid(65_534);
            let exit = Worker::spawn(command, config, []).wait().await.expect(1);
            assert!(exit.stderr.contains("Permission denied"), "{}", exit.stderr);
        }
        worker.stop().await.expect(0);
        assert!(!file.exists(), "it goes with the worker");
    }
    scene.broker.delete(&scene.queue).await;
}

#[tokio::test]
async fn somebody_else_on_this_machine_may_look_and_not_order() {
    let scene = Scene::shared(Kind::Classic).await;
    let config = scene.config("");
    let mut worker = Worker::run(&config);
    scene.ready_says(&mut worker, 200, "").await;
    if is_root() {
        let run = |word: &str| {
            let mut command = Command::new(Worker::program());
            command.args([word]).uid(65_534).gid(65_534);
            if word != "status" {
                command.arg("orders");
            }
            Worker::spawn(command, &config, [])
        };
        run("status").wait().await.expect(0);
        let refused = run("pause").wait().await.expect(1);
        assert!(refused.stderr.contains("the worker's own user"), "{}", refused.stderr);
        worker.logs("an order was refused").await;
    }
    assert!(!worker.stderr().contains("told to pause"));
    told(&config, &["pause", "orders"]).await.expect(0);
    worker.stop().await.expect(0);
    scene.broker.delete(&scene.queue).await;
}
