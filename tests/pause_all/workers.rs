//! Workers and the commands.

use serde_json::Value;

use crate::support::Worker;
use crate::support::broker::Kind;
use crate::support::database::Server;
use crate::support::process::free_port;
use crate::support::worker::Exit;
use crate::worker::scene::Scene;

async fn told(config: &str, arguments: &[&str]) -> Exit {
    Worker::command(config, arguments).wait().await
}

/// Looks often, and an admin listener of its own for each replica.
fn replica(scene: &Scene, options: &str) -> String {
    let config = scene.config(options).replacen(&scene.admin, &format!("127.0.0.1:{}", free_port()), 1);
    format!("[worker]\npause_poll = \"200ms\"\n{config}")
}

async fn every_replica_obeys(server: Server, options: &str) {
    let mut scene = Scene::with(Kind::Quorum, server).await;
    let config = format!("[worker]\npause_poll = \"200ms\"\n{}", scene.config(options));
    let (mut one, mut two) = (Worker::run(&config), Worker::run(&replica(&scene, options)));
    scene.flows(&mut one).await;
    one.eventually("both consume", async || scene.consumers().await.len() == 2).await;
    let paused = told(&config, &["pause", "--all", "--by", "ann", "--reason", "audit"]).await.expect(0);
    assert!(paused.stdout.contains("orders is paused on every replica by ann: audit"), "{}", paused.stdout);
    one.logs("nothing is in hand").await;
    two.logs("nothing is in hand").await;
    assert!(scene.consumers().await.is_empty());
    let known = scene.expected_rows();
    scene.publish(known..known + 20).await;
    scene.ready_says(&mut one, 503, "paused on every replica by ann: audit").await;
    let refused = told(&config, &["resume", "orders"]).await.expect(1);
    assert!(refused.stderr.contains("--all"), "{}", refused.stderr);
    // A restart doesn't forget it; a job ends as paused.
    two.stop().await.expect(0);
    let mut two = Worker::run(&replica(&scene, options));
    two.logs("paused on every replica by ann: audit").await;
    let job = Worker::until_empty(&replica(&scene, options)).await.expect(4);
    assert_eq!((job.summary().state.as_str(), job.summary().settled), ("paused", 0));
    assert!(scene.consumers().await.is_empty(), "nobody has subscribed");
    assert_eq!(scene.broker.depth(&scene.queue).await.ready, 20);
    assert_eq!(scene.rows().await, Some(known));
    let check = told(&config, &["check"]).await;
    assert!(check.stdout.contains("paused on every replica by ann"), "{}", check.stdout);
    let resumed = told(&config, &["--json", "resume", "--all"]).await.expect(0);
    let resumed: Value = serde_json::from_str(&resumed.stdout).expect("JSON");
    assert_eq!((&resumed["pipeline"], &resumed["resumed"]["by"]), (&"orders".into(), &"ann".into()));
    scene.all_written(&mut one).await;
    one.eventually("both consume again", async || scene.consumers().await.len() == 2).await;
    one.stop().await.expect(0);
    two.stop().await.expect(0);
    let again = told(&config, &["resume", "orders", "--all"]).await.expect(0);
    assert_eq!(again.stdout, "orders was not paused by --all\n");
    let summary = Worker::until_empty(&scene.config(options)).await.expect(0).summary();
    assert_eq!(summary.redelivered, 0, "nothing was given back: {summary:?}");
    scene.audit().await;
}

#[tokio::test]
async fn every_replica_obeys_on_postgres() {
    every_replica_obeys(Server::Postgres, "").await;
}

#[tokio::test]
async fn every_replica_obeys_on_mysql() {
    every_replica_obeys(Server::Mysql, "").await;
}

/// Without a ledger, too.
#[tokio::test]
async fn every_replica_obeys_on_sqlite() {
    every_replica_obeys(Server::Sqlite, "deduplicate = \"none\"").await;
}

#[tokio::test]
async fn one_pipeline_is_paused_everywhere_and_the_others_go_on() {
    let mut scene = Scene::with(Kind::Classic, Server::Postgres).await;
    let second = "\n[pipelines.second]\nqueue = \"QUEUE.second\"\ntable = \"orders\"\n\
                  declare = { type = \"classic\" }\n";
    let config = format!("{}{}", replica(&scene, ""), second.replace("QUEUE", &scene.queue));
    let mut worker = Worker::run(&config);
    scene.flows(&mut worker).await;
    told(&config, &["pause", "second", "--all"]).await.expect(0);
    worker.logs("\"pipeline\":\"second\"").await;
    worker.logs("paused on every replica").await;
    scene.flows(&mut worker).await;
    // Away at the time: the others' databases get their orders all the same.
    let away = format!(
        "{config}[databases.away]\nurl = \"postgres://nobody@127.0.0.1:{}/x\"\n[pipelines.third]\nqueue = \"q\"\n\
         table = \"t\"\ndatabase = \"away\"\n",
        free_port()
    );
    let partly = told(&away, &["pause", "--all"]).await.expect(5);
    assert!(partly.stderr.contains("database \"away\": third: "), "{}", partly.stderr);
    told(&away, &["pause", "third", "--all"]).await.expect(3);
    told(&config, &["pause", "nobody", "--all"]).await.expect(2);
    worker.eventually("orders is paused, too", async || scene.consumers().await.is_empty()).await;
    told(&config, &["resume", "--all"]).await.expect(0);
    scene.flows(&mut worker).await;
    worker.stop().await.expect(0);
    scene.audit().await;
    scene.broker.delete(&format!("{}.second", scene.queue)).await;
}
