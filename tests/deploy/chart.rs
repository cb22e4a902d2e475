//! deploy/helm/rabbit-sink: every set of values in its folder ci/ lints and renders, and what comes out fits together.

use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::rendered::{Rendered, with_files_in};
use crate::{CHART, SETS, Set, helm, read};

fn named(name: &str) -> &'static Set {
    SETS.iter().find(|set| set.name == name).unwrap_or_else(|| panic!("no values {name}"))
}

fn set(name: &str) -> &'static Rendered {
    &named(name).rendered
}

fn set_with(name: &str, more: &[&str]) -> Rendered {
    Rendered::of(&named(name).path, more)
}

#[test]
fn every_set_of_values_lints() {
    for Set { name, path, .. } in SETS.iter() {
        let output = helm(&["lint", "--strict", "--values", path.to_str().unwrap(), CHART]);
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stdout));
    }
}

/// The program itself judges it, with what the pod gives it.
#[test]
fn every_rendered_config_is_one_that_check_takes() {
    for Set { name, rendered, .. } in SETS.iter() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("rabbit-sink.toml");
        std::fs::write(&file, with_files_in(folder.path(), rendered.config_text())).unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_rabbit-sink"))
            .args(["check", "--offline"])
            .envs(rendered.environment())
            .env("RABBIT_SINK_CONFIG", &file)
            .output()
            .unwrap();
        let said = [output.stdout, output.stderr].concat();
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&said));
    }
}

#[test]
fn what_the_config_reads_is_mounted() {
    for Set { name, rendered, .. } in SETS.iter() {
        for container in rendered.pods().iter().map(|pod| &pod["containers"][0]) {
            let mounts = container["volumeMounts"].as_array().unwrap();
            let mounted =
                |file: &str| mounts.iter().any(|mount| file.starts_with(mount["mountPath"].as_str().unwrap()));
            for file in rendered.config_text().split('"').filter(|part| part.starts_with('/')) {
                assert!(mounted(file), "{name}: {file} is not mounted");
            }
            let variables = rendered.environment();
            let config = variables.iter().find(|(variable, _)| variable == "RABBIT_SINK_CONFIG").unwrap();
            assert!(mounted(&config.1) && config.1.ends_with("/rabbit-sink.toml"), "{name}");
        }
    }
}

#[test]
fn probes_and_prometheus_reach_the_listener() {
    for Set { name, rendered, .. } in SETS.iter() {
        let listen = rendered.config().admin.listen.unwrap();
        assert!(listen.ip().is_unspecified(), "{name}: the kubelet comes from outside the pod");
        let port = json!({"name": "admin", "containerPort": listen.port()});
        assert_eq!(rendered.container()["ports"], json!([port]), "{name}");
        assert_eq!(rendered.get("Service")["spec"]["ports"][0]["targetPort"], "admin", "{name}");
        let alive = &rendered.container()["livenessProbe"]["httpGet"];
        assert_eq!(*alive, json!({"path": "/livez", "port": "admin"}), "{name}");
        let ready = &rendered.container()["readinessProbe"]["httpGet"];
        match rendered.find("CronJob") {
            Some(_) => assert!(ready.is_null(), "nobody asks whether a job is ready"),
            None => assert_eq!(*ready, json!({"path": "/readyz", "port": "admin"}), "{name}"),
        }
    }
}

#[test]
fn a_pod_that_stops_has_time_to_drain() {
    for Set { name, rendered, .. } in SETS.iter() {
        let grace = rendered.pod()["terminationGracePeriodSeconds"].as_u64().unwrap();
        // The worker allows itself two seconds more before it gives up on a wedge.
        let timeout = rendered.config().worker.shutdown_timeout;
        assert!(Duration::from_secs(grace) >= timeout + Duration::from_secs(5), "{name}: {grace} s for {timeout:?}");
    }
    assert_eq!(set("digest").pod()["terminationGracePeriodSeconds"], 105);
    let set = set_with("least", &["--set", "terminationGracePeriodSeconds=30"]);
    assert_eq!(set.pod()["terminationGracePeriodSeconds"], 30);
}

#[test]
fn pods_have_no_rights() {
    for Set { name, rendered, .. } in SETS.iter() {
        for pod in rendered.pods() {
            assert_eq!(pod["automountServiceAccountToken"], false, "{name}");
            assert_eq!(pod["securityContext"]["runAsNonRoot"], true, "{name}");
            let container = &pod["containers"][0]["securityContext"];
            assert_eq!(container["readOnlyRootFilesystem"], true, "{name}");
            assert_eq!(container["allowPrivilegeEscalation"], false, "{name}");
            assert_eq!(container["capabilities"]["drop"], json!(["ALL"]), "{name}");
            assert!(pod["containers"][0]["resources"]["limits"]["memory"].is_string(), "{name}");
        }
    }
}

#[test]
fn each_set_brings_what_it_asks_for() {
    let always = ["ConfigMap", "Pod", "Service", "ServiceAccount"];
    let cases: [(&str, &[&str]); 9] = [
        ("least", &["Deployment", "PodDisruptionBudget"]),
        ("plain", &["Deployment", "PodDisruptionBudget"]),
        ("secret", &["Deployment", "PodDisruptionBudget"]),
        ("digest", &["Deployment", "PodDisruptionBudget"]),
        (
            "network",
            &["ConfigMap", "Deployment", "NetworkPolicy", "PodDisruptionBudget", "PrometheusRule", "ServiceMonitor"],
        ),
        ("hpa", &["Deployment", "HorizontalPodAutoscaler", "PodDisruptionBudget"]),
        ("keda", &["Deployment", "PodDisruptionBudget", "ScaledObject", "TriggerAuthentication"]),
        ("cronjob", &["CronJob", "NetworkPolicy"]),
        ("triggers", &["Deployment", "ScaledObject"]),
    ];
    assert_eq!(cases.len(), SETS.len());
    for (name, more) in cases {
        let mut expected = [&always[..], more].concat();
        if name == "triggers" {
            expected.retain(|kind| *kind != "ServiceAccount");
        }
        expected.sort_unstable();
        assert_eq!(set(name).kinds(), expected, "{name}");
    }
}

/// Else each upgrade would set the number of pods back.
#[test]
fn what_scales_decides_how_many_there_are() {
    for (name, replicas) in [("least", json!(1)), ("network", json!(3)), ("hpa", Value::Null), ("keda", Value::Null)] {
        assert_eq!(set(name).get("Deployment")["spec"]["replicas"], replicas, "{name}");
    }
}

#[test]
fn keda_counts_unacked_messages_and_waits_longer_than_a_hold() {
    let rendered = set("keda");
    let spec = &rendered.get("ScaledObject")["spec"];
    let config = rendered.config();
    let hold = config.pipelines.values().map(|pipeline| pipeline.retry.hold).max().unwrap();
    assert_eq!(hold, Duration::from_secs(20 * 60), "the longest of the set");
    assert!(spec["cooldownPeriod"].as_u64().unwrap() > hold.as_secs());
    assert_eq!(spec["minReplicaCount"], 0);
    let triggers = spec["triggers"].as_array().unwrap();
    let of = |key: &str| -> Vec<&str> {
        triggers.iter().map(|trigger| trigger["metadata"][key].as_str().unwrap()).collect()
    };
    assert_eq!(of("queueName"), ["orders", "payments"]);
    assert_eq!(of("protocol"), ["http", "http"]);
    assert_eq!(of("excludeUnacknowledged"), ["false", "false"]);
    let authentication = rendered.get("TriggerAuthentication");
    assert_eq!(triggers[0]["authenticationRef"]["name"], authentication["metadata"]["name"]);
    assert_eq!(spec["scaleTargetRef"]["name"], rendered.get("Deployment")["metadata"]["name"]);
}

#[test]
fn another_config_is_another_pod_unless_the_worker_reloads() {
    let annotations = |rendered: &Rendered| {
        rendered.get("Deployment")["spec"]["template"]["metadata"]["annotations"]["checksum/config"].clone()
    };
    let other = "config=[pipelines.other]\nqueue=\"q\"\ntable=\"t\"\n";
    let (before, after) = (set("least"), set_with("least", &["--set", other]));
    assert!(annotations(before).is_string());
    assert_ne!(annotations(before), annotations(&after));
    assert!(annotations(set("digest")).is_null());
}

#[test]
fn a_job_ends_by_itself_and_tries_again_only_what_may_pass() {
    let rendered = set("cronjob");
    assert_eq!(rendered.container()["args"], json!(["run", "--until-empty", "--json"]));
    assert_eq!(rendered.pod()["restartPolicy"], "Never");
    let job = &rendered.get("CronJob")["spec"]["jobTemplate"]["spec"];
    assert_eq!(job["podFailurePolicy"]["rules"][0]["onExitCodes"]["values"], json!([2, 4]));
    assert_eq!(job["podFailurePolicy"]["rules"][0]["action"], "FailJob");
}

#[test]
fn containers_run_commands_of_the_program() {
    for Set { name, rendered, .. } in SETS.iter() {
        for pod in rendered.pods() {
            let words = pod["containers"][0]["args"].as_array().unwrap();
            let output = Command::new(env!("CARGO_BIN_EXE_rabbit-sink"))
                .args(words.iter().map(|word| word.as_str().unwrap()))
                .env("RABBIT_SINK_CONFIG", "/nonexistent/rabbit-sink.toml")
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(said.contains("can't read the config file"), "{name}: {said}");
        }
    }
}

#[test]
fn the_image_is_the_one_that_was_named() {
    let version = env!("CARGO_PKG_VERSION");
    let plain = format!("registry.example.com/rabbit-sink:{version}");
    assert_eq!(set("least").container()["image"], plain.as_str());
    let image = set("digest").container()["image"].as_str().unwrap().to_owned();
    assert!(image.starts_with("registry.example.com/rabbit-sink@sha256:"), "{image}");
    let chart = read("deploy/helm/rabbit-sink/Chart.yaml");
    assert!(chart.contains(&format!("\nappVersion: {version}\n")), "the chart's appVersion isn't the program's");
}

/// The chart's files are those of deploy/prometheus and deploy/grafana.
#[test]
fn alerts_and_dashboard_are_those_of_the_project() {
    let rendered = set("network");
    let rules = read("deploy/prometheus/rules.yml")
        .replace("runbook_url: docs/", "runbook_url: https://docs.example.com/rabbit-sink/docs/");
    assert_eq!(rendered.get("PrometheusRule")["spec"], Rendered::parse(&rules).0[0]);
    let dashboard = rendered.0.iter().find_map(|object| object["data"]["rabbit-sink.json"].as_str()).unwrap();
    assert_eq!(dashboard.trim_end(), read("deploy/grafana/rabbit-sink.json").trim_end());
    for rule in rendered.get("PrometheusRule")["spec"]["groups"][0]["rules"].as_array().unwrap() {
        let runbook = rule["annotations"]["runbook_url"].as_str().unwrap();
        assert!(runbook.starts_with("https://docs.example.com/rabbit-sink/docs/runbooks.md#"), "{runbook}");
    }
}
