//! deploy/compose.yaml, as the library understands it that Docker Compose is made of. That its parts bring orders into
//! rows is tried on real servers in tests/compose/.

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::{Value, json};

use crate::rendered::with_files_in;
use crate::{read, root, tool};

const FILE: &str = "deploy/compose.yaml";

fn judge(file: &Path) -> Output {
    Command::new(tool("compose")).arg(file).env_clear().output().unwrap()
}

fn project() -> Value {
    let output = judge(&root().join(FILE));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn services(project: &Value) -> impl Iterator<Item = (&String, &Value)> {
    project["services"].as_object().unwrap().iter()
}

#[test]
fn it_is_valid_and_a_mistake_would_be_noticed() {
    let names: Vec<String> = services(&project()).map(|(name, _)| name.clone()).collect();
    assert_eq!(names, ["grafana", "postgres", "prometheus", "rabbitmq", "shop", "worker"]);
    let folder = tempfile::tempdir().unwrap();
    let spoilt = folder.path().join("compose.yaml");
    for (right, wrong) in [
        ("read_only:", "readonly:"),
        ("secrets:\n  r", "secrets:\n  q"),
        ("stop_grace_period: 40s", "stop_grace_period: soon"),
    ] {
        std::fs::write(&spoilt, read(FILE).replace(right, wrong)).unwrap();
        let said = judge(&spoilt);
        assert!(!said.status.success(), "{wrong} is taken");
    }
}

#[test]
fn images_are_pinned_and_files_are_there() {
    let project = project();
    for (name, service) in services(&project) {
        let (_, tag) = service["image"].as_str().unwrap().rsplit_once(':').unwrap();
        assert!(tag.starts_with(|c: char| c.is_ascii_digit() || c == 'v'), "{name}: {tag}");
        for volume in service["volumes"].as_array().unwrap().iter().filter(|volume| volume["type"] == "bind") {
            // Docker would make a folder of it.
            let source = volume["source"].as_str().unwrap();
            assert!(Path::new(source).exists(), "{name}: {source}");
            assert_eq!(volume["read_only"], true, "{name}: {source}");
        }
        for port in service["ports"].as_array().into_iter().flatten() {
            assert_eq!(port["host_ip"], "127.0.0.1", "{name} is open to others");
        }
    }
}

#[test]
fn the_worker_has_no_rights_and_time_to_drain() {
    let project = project();
    let worker = &project["services"]["worker"];
    assert_eq!(worker["read_only"], true);
    assert_eq!(worker["cap_drop"], json!(["ALL"]));
    assert_eq!(worker["image"], format!("rabbit-sink:{}", env!("CARGO_PKG_VERSION")));
    let build = &worker["build"];
    let dockerfile = Path::new(build["context"].as_str().unwrap()).join(build["dockerfile"].as_str().unwrap());
    assert_eq!(dockerfile.canonicalize().unwrap(), root().join("deploy/Dockerfile").canonicalize().unwrap());

    let text = read("deploy/compose/rabbit-sink.toml");
    let folder = tempfile::tempdir().unwrap();
    let config = rabbit_sink::config::load_str("x", &with_files_in(folder.path(), &text), &[]).unwrap();
    assert_eq!(worker["stop_grace_period"], "40s");
    assert!(Duration::from_secs(40) >= config.worker.shutdown_timeout + Duration::from_secs(5));
    for file in text.split('"').filter_map(|part| part.strip_prefix("/run/secrets/")) {
        let secrets = worker["secrets"].as_array().unwrap();
        assert!(secrets.iter().any(|secret| secret["source"] == file), "{file} is not handed in");
    }
    let listen = config.admin.listen.unwrap();
    assert!(listen.ip().is_unspecified(), "Prometheus comes from another container");
    assert!(read("deploy/compose/prometheus.yml").contains(&format!("[worker:{}]", listen.port())));
}

/// With the rules that it names.
#[test]
fn promtool_takes_prometheus_config() {
    let folder = tempfile::tempdir().unwrap();
    for (from, to) in
        [("deploy/compose/prometheus.yml", "prometheus.yml"), ("deploy/prometheus/rules.yml", "rules.yml")]
    {
        std::fs::write(folder.path().join(to), read(from).replace("/etc/prometheus/", "")).unwrap();
    }
    let output =
        Command::new("promtool").args(["check", "config", "prometheus.yml"]).current_dir(folder.path()).output();
    let output = output.expect("promtool, which ./tests/install.sh installs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("1 rule files found"), "{said}");
    let mounts = read(FILE);
    for mount in ["prometheus.yml:/etc/prometheus/prometheus.yml:ro", "rules.yml:/etc/prometheus/rules.yml:ro"] {
        assert!(mounts.contains(mount), "{mount}");
    }
    assert!(mounts.contains("./grafana:/var/lib/grafana/dashboards:ro"));
    assert!(read("deploy/compose/grafana/dashboards.yml").contains("path: /var/lib/grafana/dashboards\n"));
}
