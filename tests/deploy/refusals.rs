//! What the chart refuses, and that it says what to do instead.

use crate::{CHART, helm};

const CONFIG: &str = "config=[pipelines.orders]\nqueue=\"q\"\ntable=\"t\"\n";
const IMAGE: &str = "image.repository=registry.example.com/x";

/// What Helm says of values that are refused.
fn refused(values: &[&str]) -> String {
    let mut arguments = vec!["template", "shop", CHART];
    for value in values {
        arguments.extend(["--set", value]);
    }
    let output = helm(&arguments);
    assert!(!output.status.success(), "taken: {values:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn no_image_and_no_config_stand_in_for_those_that_are_missing() {
    let said = refused(&[]);
    assert!(said.contains("image.repository is not set") && said.contains("deploy/Dockerfile"), "{said}");
    assert!(said.contains("config is not set") && said.contains("--set-file config="), "{said}");
    assert!(!refused(&[IMAGE]).contains("image.repository is not set"));
    assert!(!refused(&[CONFIG]).contains("config is not set"));
}

#[test]
fn values_that_contradict_the_config_or_each_other() {
    let keda = "keda.enabled=true,keda.hostSecret.name=rabbitmq";
    let other_broker = "config=[pipelines.orders]\nqueue=\"q\"\ntable=\"t\"\nbroker=\"lake\"\n";
    let odd_timeout = "config=[worker]\nshutdown_timeout=\"25 secs\"\n[pipelines.orders]\nqueue=\"q\"\ntable=\"t\"\n";
    let cases = [
        (vec!["config=[worker"], "config is not TOML"),
        (vec![odd_timeout], "the chart can't read worker.shutdown_timeout = \"25 secs\""),
        (vec![CONFIG, "terminationGracePeriodSeconds=29"], "at least 30"),
        (vec![CONFIG, keda, "keda.cooldownPeriod=600"], "a pipeline holds messages for 600 s"),
        (vec![CONFIG, "keda.enabled=true"], "keda.hostSecret.name is not set"),
        (vec![CONFIG, keda, "keda.minReplicas=5"], "keda.minReplicas is above maxReplicas"),
        (vec![other_broker, keda], "pipeline orders reads from the broker lake"),
        (vec![CONFIG, keda, "autoscaling.enabled=true"], "enable one"),
        (vec![CONFIG, "autoscaling.enabled=true,autoscaling.minReplicas=9"], "autoscaling.minReplicas is above"),
        (vec![CONFIG, keda, "mode=cronjob"], "are for mode: deployment"),
    ];
    for (values, expected) in cases {
        let said = refused(&[&[IMAGE], &values[..]].concat());
        assert!(said.contains(expected), "{values:?}: {said}");
    }
}

#[test]
fn values_that_are_none() {
    for (value, key) in [
        ("mode=daemonset", "mode"),
        ("replica=2", "replica"),
        ("replicas=many", "replicas"),
        ("keda.minReplica=1", "minReplica"),
        ("admin.port=80", "port"),
        ("image.repository=registry.example.com/x@sha256:0", "repository"),
        ("image.digest=latest", "digest"),
        ("serviceMonitor.interval=often", "interval"),
        ("podDisruptionBudget.maxUnavailable=half", "maxUnavailable"),
        ("networkPolicy.egressPorts={amqp}", "egressPorts"),
    ] {
        let said = refused(&[IMAGE, CONFIG, value]);
        assert!(said.contains("don't meet the specifications of the schema"), "{value}: {said}");
        assert!(said.contains(key), "{value}: {said}");
    }
}
