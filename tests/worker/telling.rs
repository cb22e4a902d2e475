//! What an operator sees of a running worker: commands, probes, metrics, connections, dead letters.

use serde_json::Value;

use crate::support::broker::Kind;
use crate::support::database::Server;
use crate::support::wait::{PATIENCE, eventually, unique_name};
use crate::support::worker::Exit;
use crate::support::{Worker, process};

use super::scene::Scene;

/// A command with the running worker's config, to its end.
async fn command(config: &str, words: &[&str]) -> Exit {
    Worker::command(config, words.iter().copied()).wait().await
}

fn objects(exit: &Exit) -> Vec<Value> {
    exit.stdout.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
}

#[tokio::test]
async fn a_paused_pipeline_says_so_everywhere_and_resume_ends_it() {
    let mut scene = Scene::shared(Kind::Classic).await;
    scene.database.execute("ALTER TABLE orders RENAME TO later").await;
    scene.publish(0..5).await;
    // Looks so rarely by itself that only the order can have ended the pause in time.
    let config = scene.config("").replace("50ms", "10m").replace("500ms", "10m");
    let mut worker =
        Worker::run(&config.replace("[pipelines.orders.retry]", "[pipelines.orders.retry]\nhold = \"20m\""));
    scene.ready_says(&mut worker, 503, "orders").await;
    assert_eq!(scene.get("/livez").await.0, 200, "a pause is no reason for a restart");
    command(&config, &["health"]).await.expect(0);
    let status = command(&config, &["status", "--json"]).await.expect(0);
    assert_eq!(objects(&status)[0]["state"], "paused", "{}", status.stdout);
    scene.database.execute("ALTER TABLE later RENAME TO orders").await;
    command(&config, &["resume", "orders"]).await.expect(0);
    scene.all_written(&mut worker).await;
    scene.ready_says(&mut worker, 200, "").await;
    let status = command(&config, &["status"]).await.expect(0);
    assert!(status.stdout.contains("running"), "{}", status.stdout);
    worker.stop().await.expect(0);
    scene.audit().await;
}

#[tokio::test]
async fn metrics_count_what_happened() {
    let mut scene = Scene::shared(Kind::Quorum).await;
    scene.publish(0..50).await;
    scene.publish(0..10).await;
    scene.publish_bad(0..4).await;
    let mut worker = Worker::run(&scene.config(""));
    let expected = [
        "rabbit_sink_deliveries_total{pipeline=\"orders\"} 64",
        "rabbit_sink_rows_written_total{pipeline=\"orders\"} 50",
        "rabbit_sink_duplicates_total{pipeline=\"orders\"} 10",
        "rabbit_sink_dead_lettered_total{pipeline=\"orders\",class=\"decode\"} 1",
        "rabbit_sink_dead_lettered_total{pipeline=\"orders\",class=\"mapping\"} 2",
        "rabbit_sink_dead_lettered_total{pipeline=\"orders\",class=\"row_rejected\"} 1",
        "rabbit_sink_unsettled_deliveries{pipeline=\"orders\"} 0",
        "rabbit_sink_state{pipeline=\"orders\",state=\"running\"} 1",
    ];
    let mut metrics = String::new();
    worker
        .eventually("the metrics have counted everything", async || {
            metrics = scene.get("/metrics").await.1;
            expected.iter().all(|line| metrics.lines().any(|found| found == *line))
        })
        .await;
    let (_, status) = scene.get("/status").await;
    let status: Value = serde_json::from_str(&status).expect("JSON");
    assert!(status.to_string().contains("exactly-once"), "{status}");
    worker.stop().await.expect(0);
    scene.audit().await;
}

#[tokio::test]
async fn operators_recognise_the_connections() {
    let mut scene = Scene::shared(Kind::Classic).await;
    scene.rabbitmq = format!(
        "heartbeat = \"7s\"\nurls = [\"amqp://guest:guest@127.0.0.1:{}/%2f\", {:?}]",
        process::free_port(),
        scene.amqp
    );
    scene.publish(0..5).await;
    scene.publish_bad(0..4).await;
    let pipeline = unique_name("seen");
    let config = scene.config("").replace(&format!("url = \"{}\"\n[database]", scene.amqp), "[database]");
    let mut worker = Worker::run(&config.replace("pipelines.orders", &format!("pipelines.{pipeline}")));
    scene.all_written(&mut worker).await;
    scene.dead_lettered(4).await;
    let mut listed = String::new();
    eventually(PATIENCE, "two connections are listed: one consumes, one publishes dead letters", async || {
        listed = scene.ctl(&["list_connections", "client_properties", "timeout"]).await;
        listed.lines().filter(|line| line.contains(&pipeline)).count() == 2
    })
    .await;
    let own: Vec<&str> = listed.lines().filter(|line| line.contains(&pipeline)).collect();
    assert!(own.iter().all(|line| line.contains("rabbit-sink/") && line.trim().ends_with("\t7")), "{own:#?}");
    worker.stop().await.expect(0);
    scene.audit().await;
}

async fn dead_letters_can_be_looked_at(kind: Kind) {
    let mut scene = Scene::shared(kind).await;
    let dead = scene.dead();
    scene.broker.declare(&dead, kind).await;
    scene.publish_bad(0..12).await;
    let config = scene.config("");
    Worker::until_empty(&config).await.expect(0);
    let mut listed = Vec::new();
    for _ in 0..3 {
        let list = command(&config, &["dlq", "list", "orders", "--json"]).await.expect(0);
        listed = objects(&list);
        assert_eq!(listed.len(), 12, "looking loses nothing:\n{}", list.stdout);
    }
    let mut ids: Vec<&str> = listed.iter().map(|letter| letter["message_id"].as_str().expect("an ID")).collect();
    ids.sort_unstable_by_key(|id| id.trim_start_matches("bad-").parse::<u32>().expect("a number"));
    assert_eq!(ids, (0..12).map(|n| format!("bad-{n}")).collect::<Vec<_>>());
    let one = listed.iter().find(|letter| letter["message_id"] == "bad-1").expect("a letter");
    let keys = ["class", "code", "column", "pipeline", "attempts", "replays"].map(|key| one[key].clone());
    assert_eq!(keys[..4], ["mapping", "required", "customer", "orders"].map(Value::from));
    assert_eq!(keys[5], 0);
    let table = command(&config, &["dlq", "list", "orders", "--limit", "5"]).await.expect(0);
    assert!(table.stdout.contains("not_json") || table.stdout.contains("required"), "{}", table.stdout);
    let id = &one["id"].as_str().expect("an ID")[..10];
    let shown = command(&config, &["dlq", "show", "orders", id]).await.expect(0);
    for part in ["bad-1", "required", "customer", "\"nom\""] {
        assert!(shown.stdout.contains(part), "{part} in\n{}", shown.stdout);
    }
    scene.audit().await;
}

#[tokio::test]
async fn dead_letters_of_a_classic_queue_can_be_looked_at() {
    dead_letters_can_be_looked_at(Kind::Classic).await;
}

#[tokio::test]
async fn dead_letters_of_a_quorum_queue_can_be_looked_at() {
    dead_letters_can_be_looked_at(Kind::Quorum).await;
}

#[tokio::test]
async fn slow_logins_with_any_character_come_from_files() {
    let mut scene = Scene::with(Kind::Classic, Server::Postgres).await;
    let password = "p@ss/w%rd:#?&= ü\"'\\";
    let user = unique_name("user");
    scene.ctl(&["add_user", &user, password]).await;
    scene.ctl(&["set_permissions", &user, ".*", ".*", ".*"]).await;
    let quoted = password.replace('\'', "''");
    let role = format!(
        "CREATE ROLE {user} LOGIN PASSWORD '{quoted}'; GRANT ALL ON SCHEMA public TO {user}; GRANT ALL ON orders TO {user}"
    );
    scene.database.execute(&role).await;
    scene.publish(0..20).await;
    let folder = process::new_folder("secrets");
    let file = folder.join("password");
    std::fs::write(&file, format!("{password}\n")).expect("a file in an own folder");
    let login = format!("username = {user:?}\npassword_file = {file:?}\n");
    let plain = |url: &str| {
        let mut url = url::Url::parse(url).expect("a URL");
        url.set_username("").expect("a host");
        url.set_password(None).expect("a host");
        url.to_string()
    };
    let config = scene.config("").replace(&scene.database.url, &plain(&scene.database.url));
    let config = config.replace(&scene.amqp, &plain(&scene.amqp));
    let config = config.replacen("[rabbitmq]\n", &format!("[rabbitmq]\n{login}"), 1);
    let config = config.replacen("[database]\n", &format!("[database]\n{login}"), 1);
    let exit = Worker::until_empty(&config).await.expect(0);
    assert!(!exit.stderr.contains("w%rd") && !exit.stdout.contains("w%rd"));
    scene.audit().await;
    scene.ctl(&["delete_user", &user]).await;
    scene.database.execute(&format!("DROP OWNED BY {user}; DROP ROLE {user}")).await;
    std::fs::remove_dir_all(folder).expect("an own folder");
}

#[tokio::test]
async fn servers_of_other_names_serve_the_pipelines_that_say_so() {
    let mut scene = Scene::shared(Kind::Classic).await;
    scene.publish(0..20).await;
    let config = scene.config("broker = \"east\"\ndatabase = \"archive\"");
    let config = config.replacen("[rabbitmq]", "[brokers.east]", 1).replacen("[database]", "[databases.archive]", 1);
    let nobody = format!("[rabbitmq]\nurl = \"amqp://127.0.0.1:{}\"\n{config}", process::free_port());
    Worker::until_empty(&nobody).await.expect(0);
    scene.audit().await;
}

#[tokio::test]
async fn a_shared_dead_letter_queue_shows_each_pipeline_its_own() {
    let mut scene = Scene::shared(Kind::Classic).await;
    scene.publish_bad(0..4).await;
    let queue = unique_name("second");
    let other = crate::support::TestDatabase::fresh(Server::Sqlite).await;
    other.execute(crate::main_job::orders::table(Server::Sqlite)).await;
    scene.broker.declare(&queue, Kind::Classic).await;
    let stranger = crate::support::Message::json("stranger", "no JSON");
    scene.broker.publish(&queue, [stranger]).await;
    let config = format!(
        "{}\n[databases.other]\nurl = {:?}\n[pipelines.second]\nqueue = {queue:?}\ntable = \"orders\"\n\
         database = \"other\"\n[pipelines.second.dead_letter]\nqueue = {:?}\n",
        scene.config(""),
        other.url,
        scene.dead()
    );
    Worker::until_empty(&config).await.expect(0);
    for (pipeline, count) in [("orders", 4), ("second", 1), ("orders", 4)] {
        let list = command(&config, &["dlq", "list", pipeline, "--json"]).await.expect(0);
        let listed = objects(&list);
        assert_eq!(listed.len(), count, "{pipeline}:\n{}", list.stdout);
        assert!(listed.iter().all(|letter| letter["pipeline"] == pipeline));
    }
    scene.broker.delete(&queue).await;
    scene.broker.delete(&scene.queue).await;
    scene.broker.delete(&scene.dead()).await;
}
