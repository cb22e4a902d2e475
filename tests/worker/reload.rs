//! Another config while the worker runs: what has changed is drained and started again, nothing else, and one with
//! mistakes changes nothing.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::ending::stuck_in_a_write;
use super::scene::Scene;
use crate::support::Worker;
use crate::support::broker::{Kind, Message};
use crate::support::database::Server;
use crate::support::process::free_port;
use crate::support::wait::unique_name;

/// A second pipeline, with a queue and a table of its own.
struct Other {
    queue: String,
    published: u64,
}

impl Other {
    async fn new(scene: &Scene) -> Other {
        let queue = unique_name("other");
        scene.broker.declare(&queue, Kind::Classic).await;
        scene.database.execute("CREATE TABLE others (id varchar(40) PRIMARY KEY)").await;
        Other { queue, published: 0 }
    }

    fn section(&self, keys: &str) -> String {
        format!(
            "\n[pipelines.other]\nqueue = \"{}\"\ntable = \"others\"\n{keys}\n[pipelines.other.columns]\nid = \"/id\"\n\
             [pipelines.other.retry]\ninitial = \"50ms\"\nmax = \"500ms\"\n",
            self.queue
        )
    }

    /// Publishes some more and sees them written.
    async fn flows(&mut self, scene: &Scene, worker: &mut Worker) {
        let ids = self.published..self.published + 20;
        self.published = ids.end;
        let messages = ids.map(|id| Message::json(&format!("other-{id}"), format!("{{\"id\":\"{id}\"}}")));
        scene.broker.publish(&self.queue, messages).await;
        worker.eventually("its rows are there", async || scene.database.count("others").await == self.published).await;
    }

    async fn delete(&self, scene: &Scene) {
        scene.broker.delete(&self.queue).await;
        scene.broker.delete(&format!("{}.dead", self.queue)).await;
    }
}

/// Another file takes the name, as editors and careful people do it.
fn write(file: &Path, config: &str) {
    let next = file.with_extension("next");
    std::fs::write(&next, config).expect("a file in an own folder");
    std::fs::rename(next, file).expect("a file in an own folder");
}

fn reload(worker: &Worker, config: &str) {
    write(&worker.folder().join("rabbit-sink.toml"), config);
    worker.signal("HUP");
}

/// Waits until all of these lines stand in the metrics.
async fn measured(scene: &Scene, worker: &mut Worker, lines: &[&str]) {
    let what = format!("the metrics say {lines:?}");
    worker
        .eventually(&what, async || {
            let metrics = scene.get("/metrics").await.1;
            lines.iter().all(|line| metrics.lines().any(|found| found == *line))
        })
        .await;
}

async fn status(scene: &Scene) -> Value {
    serde_json::from_str(&scene.get("/status").await.1).expect("JSON")
}

#[tokio::test]
async fn only_the_pipeline_that_has_changed_is_restarted_and_its_counters_go_on() {
    let mut scene = Scene::shared(Kind::Quorum).await;
    let mut other = Other::new(&scene).await;
    let config = scene.config("");
    let mut worker = Worker::run(&format!("{config}{}", other.section("")));
    scene.flows(&mut worker).await;
    other.flows(&scene, &mut worker).await;
    reload(&worker, &format!("# a comment\n{config}{}", other.section("consumers = 2")));
    worker.logs("reload (SIGHUP): restarted: other; unchanged: 1").await;
    // Its second consumer had none before. What came earlier would be given back by the one that ends.
    let again = "rabbit_sink_reconnects_total{pipeline=\"other\",peer=\"broker\"} 1";
    measured(&scene, &mut worker, &[again]).await;
    other.flows(&scene, &mut worker).await;
    scene.flows(&mut worker).await;
    measured(
        &scene,
        &mut worker,
        &[
            "rabbit_sink_written_total{pipeline=\"other\"} 40",
            "rabbit_sink_written_total{pipeline=\"orders\"} 40",
            "rabbit_sink_consumers{pipeline=\"other\",state=\"running\"} 2",
            again,
            "rabbit_sink_reconnects_total{pipeline=\"orders\",peer=\"broker\"} 0",
            "rabbit_sink_reconnects_total{pipeline=\"orders\",peer=\"database\"} 0",
            "rabbit_sink_connections{pipeline=\"other\",peer=\"broker\"} 2",
            "rabbit_sink_unsettled_deliveries{pipeline=\"other\"} 0",
            "rabbit_sink_config_last_reload_successful 1",
        ],
    )
    .await;
    // What both use.
    let config = config.replacen("heartbeat = \"10s\"", "heartbeat = \"11s\"", 1);
    reload(&worker, &format!("{config}{}", other.section("")));
    worker.logs("reload (SIGHUP): restarted: orders, other").await;
    let again = [("orders", 1), ("other", 2)]
        .map(|(name, times)| format!("rabbit_sink_reconnects_total{{pipeline=\"{name}\",peer=\"broker\"}} {times}"));
    measured(&scene, &mut worker, &again.each_ref().map(String::as_str)).await;
    scene.flows(&mut worker).await;
    other.flows(&scene, &mut worker).await;
    measured(
        &scene,
        &mut worker,
        &[
            "rabbit_sink_consumers{pipeline=\"other\",state=\"running\"} 1",
            // What was in hand was settled. (Redelivered may be what was on its way when a prefetch was widened.)
            "rabbit_sink_duplicates_total{pipeline=\"orders\"} 0",
            "rabbit_sink_duplicates_total{pipeline=\"other\"} 0",
        ],
    )
    .await;
    worker.stop().await.expect(0);
    other.delete(&scene).await;
    scene.audit().await;
}

/// What `check` says of the config that this worker finds.
fn checked(worker: &Worker) -> String {
    let mut command = Command::new(Worker::program());
    command.args(["check", "--offline", "--config"]).arg(worker.folder().join("rabbit-sink.toml"));
    let output = command.output().expect("the binary");
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).expect("text");
    said.split_once("\n\n").expect("a headline").1.trim().to_owned()
}

/// The mistakes are in the file, not in the worker: it is asked and ordered as before.
async fn it_is_reached_with(wrong: &str) {
    for words in [&["status"][..], &["health"], &["pause", "orders"], &["resume", "orders"]] {
        let exit = Worker::command(wrong, words).wait().await.expect(0);
        assert!(exit.stderr.contains("the config has mistakes by now"), "{words:?}: {}", exit.stderr);
    }
    let unknown = Worker::command(wrong, ["resume", "others"]).wait().await.expect(2).stderr;
    assert!(unknown.contains("prefetsch") && unknown.contains("others"), "{unknown}");
}

#[tokio::test]
async fn a_config_with_mistakes_changes_nothing_and_is_told_everywhere() {
    let mut scene = Scene::shared(Kind::Classic).await;
    let config = scene.config("");
    let mut worker = Worker::run(&config);
    scene.flows(&mut worker).await;
    let loaded = status(&scene).await["config_loaded"].clone();
    // The first one alone would have changed the pipeline.
    let wrong = config.replacen("[pipelines.orders]\n", "[pipelines.orders]\nprefetch = 500\nprefetsch = 5\n", 1);
    reload(&worker, &format!("{wrong}\n[databases.other]\nurl = \"postgres://me:s3cret-w0rd\"\n"));
    measured(&scene, &mut worker, &["rabbit_sink_config_last_reload_successful 0"]).await;
    let text = checked(&worker);
    assert!(text.contains("prefetsch"), "{text}");
    let told = status(&scene).await;
    assert_eq!(told["config_refused"].as_str().map(str::trim), Some(text.as_str()));
    assert_eq!(told["config_loaded"], loaded);
    let said = Worker::command(&config, ["status"]).wait().await.expect(0).stdout;
    assert!(said.contains(&text) && said.contains("goes on"), "{said}");
    let in_json = serde_json::to_string(&text).expect("text");
    let log = worker.stderr();
    let line = log.lines().find(|line| line.contains(in_json.trim_matches('"')));
    assert!(line.is_some_and(|line| line.contains("\"ERROR\"")), "{log}");
    assert!(!format!("{log}{told}{said}").contains("s3cret"), "{told}");
    scene.flows(&mut worker).await;
    reload(&worker, &config);
    measured(
        &scene,
        &mut worker,
        &[
            "rabbit_sink_config_last_reload_successful 1",
            "rabbit_sink_reconnects_total{pipeline=\"orders\",peer=\"broker\"} 0",
        ],
    )
    .await;
    assert_eq!(status(&scene).await["config_refused"], Value::Null);
    worker.logs("reload (SIGHUP): no pipeline has changed").await;
    it_is_reached_with(&wrong).await;
    worker.stop().await.expect(0);
    scene.audit().await;
}

#[tokio::test]
async fn a_new_pipeline_starts_and_one_that_is_gone_drains() {
    let mut scene = Scene::shared(Kind::Quorum).await;
    let mut other = Other::new(&scene).await;
    // Few enough a second that it goes in the middle of a backlog, whatever the machine.
    let slow = "\n[pipelines.orders.limits]\nmax_rows_per_second = 400\n[pipelines.orders.batch]\nmax_rows = 50\n";
    let config = scene.config(slow);
    let servers = config.split_once("[pipelines.orders]").expect("its section").0.to_owned();
    scene.publish(0..3_000).await;
    let mut worker = Worker::run(&config);
    worker.eventually("some rows are there", async || scene.rows().await.is_some_and(|rows| rows >= 100)).await;
    reload(&worker, &format!("{config}{}", other.section("")));
    worker.logs("started: other; unchanged: 1").await;
    other.flows(&scene, &mut worker).await;
    reload(&worker, &format!("{servers}{}", other.section("")));
    worker.logs("ended: orders; unchanged: 1").await;
    worker
        .eventually("nothing tells of it", async || !scene.get("/metrics").await.1.contains("pipeline=\"orders\""))
        .await;
    other.flows(&scene, &mut worker).await;
    scene.ready_says(&mut worker, 200, "").await;
    worker.logs("it isn't in the config any more: orders: done, ").await;
    let (written, depth) = (scene.rows().await.expect("a table"), scene.broker.depth(&scene.queue).await);
    assert!(written < 3_000, "it went too late to prove anything");
    assert_eq!((written as u64 + depth.ready, depth.unacked), (3_000, 0), "acked is what is written");
    reload(&worker, &scene.config(""));
    worker.logs("started: orders; ended: other").await;
    scene.all_written(&mut worker).await;
    measured(&scene, &mut worker, &["rabbit_sink_duplicates_total{pipeline=\"orders\"} 0"]).await;
    worker.stop().await.expect(0);
    other.delete(&scene).await;
    scene.audit().await;
}

/// As Kubernetes puts a ConfigMap into a pod: the folder behind a link is swapped.
struct Mounted<'a>(&'a Path);

impl Mounted<'_> {
    fn put(&self, version: &str, config: &str) {
        let (folder, link, next) = (self.0.join(version), self.0.join("..data"), self.0.join("..data_tmp"));
        std::fs::create_dir(&folder).expect("a folder in an own folder");
        std::fs::write(folder.join("rabbit-sink.toml"), config).expect("a file in an own folder");
        std::os::unix::fs::symlink(version, &next).expect("a link");
        std::fs::rename(next, link).expect("a link takes the name of the other");
    }

    fn file(&self) -> String {
        let file = self.0.join("rabbit-sink.toml");
        if !file.exists() {
            std::os::unix::fs::symlink("..data/rabbit-sink.toml", &file).expect("a link");
        }
        file.display().to_string()
    }
}

#[tokio::test]
async fn where_asked_for_another_content_behind_a_link_is_taken_and_another_file_with_the_same_is_not() {
    let mut scene = Scene::shared(Kind::Classic).await;
    let mut other = Other::new(&scene).await;
    let folder = scene.folder.clone();
    let mounted = Mounted(&folder);
    let config = format!("[worker]\nwatch_config = \"20ms\"\n{}", scene.config(""));
    mounted.put("..1", &config);
    let mut worker = Worker::command("", ["run", "--config", &mounted.file()]);
    scene.flows(&mut worker).await;
    mounted.put("..2", &format!("{config}\n# the same\n"));
    scene.flows(&mut worker).await;
    mounted.put("..3", &format!("{config}{}", other.section("")));
    worker.logs("started: other; unchanged: 1").await;
    other.flows(&scene, &mut worker).await;
    mounted.put("..4", &format!("{config}\nwrong = true\n{}", other.section("")));
    measured(&scene, &mut worker, &["rabbit_sink_config_last_reload_successful 0"]).await;
    mounted.put("..5", &config);
    worker.logs("ended: other; unchanged: 1").await;
    scene.flows(&mut worker).await;
    let log = worker.stderr();
    assert_eq!(log.matches("reload (").count(), 3, "{log}");
    assert_eq!(log.matches("reload (its content has changed)").count(), 3, "{log}");
    worker.stop().await.expect(0);
    other.delete(&scene).await;
    scene.audit().await;
}

#[tokio::test]
async fn a_changed_file_of_a_secret_is_a_changed_config() {
    let mut scene = Scene::shared(Kind::Quorum).await;
    let user = scene.user("reloaded").await;
    let file = scene.folder.join("password");
    let password = std::fs::read_to_string(&file).expect("the password");
    std::fs::write(&file, "another").expect("a file in an own folder");
    // Looks so rarely by itself that only the reload can have mended it.
    let config = scene.config_retrying("", "hold = \"20m\"").replace("50ms", "10m").replace("500ms", "10m");
    let mut worker = Worker::run(&format!("[worker]\nwatch_config = \"20ms\"\n{config}"));
    scene.ready_says(&mut worker, 503, "refuses the login of user").await;
    write(&file, &password);
    worker.logs("restarted: orders").await;
    scene.flows(&mut worker).await;
    worker.stop().await.expect(0);
    scene.audit().await;
    scene.drop_user(&user).await;
}

#[tokio::test]
async fn what_a_reload_can_t_finish_in_time_goes_back_and_is_written_once() {
    let mut scene = Scene::with(Kind::Quorum, Server::Postgres).await;
    let (mut worker, lock) = stuck_in_a_write(&mut scene, "[worker]\nshutdown_timeout = \"1s\"\n").await;
    let config = std::fs::read_to_string(worker.folder().join("rabbit-sink.toml")).expect("its config");
    reload(&worker, &config.replacen("[pipelines.orders]\n", "[pipelines.orders]\nconsumers = 2\n", 1));
    worker.logs("not everything was settled in time").await;
    scene.broker.wait_until_given_back(&scene.queue).await;
    assert_eq!(scene.broker.depth(&scene.queue).await.ready, 20);
    drop(lock);
    scene.all_written(&mut worker).await;
    scene.ready_says(&mut worker, 200, "").await;
    assert_eq!(scene.consumers().await.len(), 2, "those of before are gone");
    measured(&scene, &mut worker, &["rabbit_sink_connections{pipeline=\"orders\",peer=\"broker\"} 2"]).await;
    worker.stop().await.expect(0);
    scene.audit().await;
}

#[tokio::test]
async fn what_only_a_restart_can_follow_is_named_and_stays_as_it_was() {
    let mut scene = Scene::shared(Kind::Classic).await;
    let config = scene.config("");
    let mut worker = Worker::run(&config);
    scene.flows(&mut worker).await;
    let elsewhere = config.replacen(&scene.admin, &format!("127.0.0.1:{}", free_port()), 1);
    reload(&worker, &elsewhere.replacen("[pipelines.orders]\n", "[pipelines.orders]\nconsumers = 2\n", 1));
    worker.logs("[admin] listen has changed in the config: it stays as it was until the worker is restarted").await;
    measured(&scene, &mut worker, &["rabbit_sink_consumers{pipeline=\"orders\",state=\"running\"} 2"]).await;
    let needs = status(&scene).await["config_needs_restart"].clone();
    assert_eq!(needs, serde_json::json!(["[admin] listen", "[admin] socket"]));
    let said = Worker::command(&config, ["status"]).wait().await.expect(0).stdout;
    assert!(said.contains("config: [admin] listen has changed"), "{said}");
    reload(&worker, &config);
    worker
        .eventually("nothing needs a restart", async || {
            status(&scene).await["config_needs_restart"] == serde_json::json!([])
        })
        .await;
    worker.stop().await.expect(0);
    scene.audit().await;
}

#[tokio::test]
async fn an_ordered_pause_outlives_a_reload() {
    let mut scene = Scene::shared(Kind::Classic).await;
    let config = scene.config("");
    let mut worker = Worker::run(&config);
    scene.flows(&mut worker).await;
    Worker::command(&config, ["pause", "orders", "--by", "ann"]).wait().await.expect(0);
    reload(&worker, &scene.config("consumers = 2"));
    worker.logs("restarted: orders").await;
    scene.publish(20..40).await;
    measured(&scene, &mut worker, &["rabbit_sink_consumers{pipeline=\"orders\",state=\"paused\"} 2"]).await;
    assert_eq!(scene.rows().await, Some(20));
    Worker::command(&config, ["resume", "orders"]).wait().await.expect(0);
    scene.all_written(&mut worker).await;
    worker.stop().await.expect(0);
    scene.audit().await;
}

/// Whatever is delivered again would be written again: somebody must have looked at it.
#[tokio::test]
async fn no_reload_begins_a_ledger_anew() {
    let mut scene = Scene::shared(Kind::Classic).await;
    let mut worker = Worker::run(&scene.config(""));
    scene.flows(&mut worker).await;
    scene.database.execute("DROP TABLE rabbit_sink_ledger").await;
    for (number, consumers) in ["consumers = 2", "consumers = 3"].into_iter().enumerate() {
        reload(&worker, &scene.config(consumers));
        let paused = async || worker_paused(&scene).await == number + 2;
        worker.eventually("it is paused", paused).await;
    }
    assert!(worker.stop().await.expect(0).stderr.contains("of this pipeline is gone"));
    let there = "SELECT name FROM sqlite_master WHERE name = 'rabbit_sink_ledger'";
    assert!(scene.database.rows(there).await.is_empty());
    scene.broker.delete(&scene.queue).await;
    scene.broker.delete(&scene.dead()).await;
}

/// Consumers that are paused.
async fn worker_paused(scene: &Scene) -> usize {
    let (_, metrics) = scene.get("/metrics").await;
    let line = metrics.lines().find(|line| line.starts_with("rabbit_sink_consumers{") && line.contains("\"paused\""));
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or_default()
}
