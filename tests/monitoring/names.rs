//! Every metric that a rule or a panel names is one that a worker has.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Command, Stdio};

use super::{metrics_in, panels, rules};
use crate::support::Worker;
use crate::support::broker::Kind;
use crate::worker::scene::Scene;

/// The names under which a family's samples are stored.
fn stored(text: &str) -> BTreeSet<String> {
    let families = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    families
        .flat_map(|(name, kind)| match kind {
            "histogram" => ["_bucket", "_sum", "_count"].map(|suffix| format!("{name}{suffix}")).to_vec(),
            _ => vec![name.to_owned()],
        })
        .collect()
}

#[tokio::test]
async fn every_metric_of_a_rule_or_a_panel_is_one_that_a_worker_has() {
    let mut scene = Scene::shared(Kind::Classic).await;
    scene.publish(0..5).await;
    let mut worker = Worker::run(&scene.config(""));
    scene.all_written(&mut worker).await;
    let text = scene.get("/metrics").await.1;
    lint(&text);
    let known = stored(&text);
    let rules = rules();
    let named = rules.iter().map(|rule| (rule["alert"].as_str().unwrap(), rule["expr"].as_str().unwrap()));
    let panels = panels();
    let shown = panels.iter().map(|(title, expr)| (title.as_str(), expr.as_str()));
    let mut seen = 0;
    for (place, expr) in named.chain(shown) {
        for metric in metrics_in(expr) {
            seen += 1;
            assert!(known.contains(&metric), "{place} names {metric}, which no worker has");
        }
    }
    assert!(seen > 80, "only {seen} names were found");
    worker.stop().await.expect(0);
    scene.audit().await;
}

/// What Prometheus' own tool has to say of names, types and units.
fn lint(text: &str) {
    let mut command = Command::new("promtool");
    command.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("promtool; ./tests/install.sh installs it");
    child.stdin.take().expect("a pipe").write_all(text.as_bytes()).expect("written");
    let said = child.wait_with_output().expect("its end");
    let words = format!("{}{}", String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr));
    assert!(said.status.success() && words.trim().is_empty(), "{words}");
}
