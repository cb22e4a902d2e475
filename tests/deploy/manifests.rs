//! deploy/kubernetes.yaml, for those without Helm, is what the chart renders: `RABBIT_SINK_WRITE_DOCS=1 cargo test
//! --test deploy` writes it.

use crate::rendered::Rendered;
use crate::{CHART, helm, read, root};

const FILE: &str = "deploy/kubernetes.yaml";
const HEAD: &str = "\
# One worker: RabbitMQ into PostgreSQL, for those without Helm. Rendered from the chart deploy/helm/rabbit-sink, which
# can do more. Change what is marked CHANGE, put the two passwords into files of these names, then
#
#   kubectl create secret generic rabbit-sink --from-file=rabbitmq-password --from-file=database-password
#   kubectl apply --server-side -f deploy/kubernetes.yaml
#
# Several replicas are fine: they share the queue, and the ledger in the database keeps repeats out.
";

/// The rendering without what only Helm needs.
fn plain() -> String {
    let values = format!("{CHART}/ci/plain-values.yaml");
    let output = helm(&["template", "rabbit-sink", CHART, "--skip-tests", "--values", &values]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let rendered = String::from_utf8(output.stdout).unwrap();
    let ours = |line: &&str| {
        let line = line.trim_start();
        !["# Source: ", "helm.sh/chart: ", "app.kubernetes.io/managed-by: "].iter().any(|begin| line.starts_with(begin))
    };
    let marked = |line: &str| match line.trim_start().starts_with("image: ") {
        true => format!("{line}   # CHANGE: no registry has it; build deploy/Dockerfile and push it to yours\n"),
        false => format!("{}\n", line.trim_end()),
    };
    let body: String = rendered.lines().filter(ours).map(marked).collect();
    format!("{HEAD}{}", body.trim_start_matches("---\n"))
}

#[test]
fn the_manifest_is_what_the_chart_renders() {
    let rendered = plain();
    if std::env::var_os("RABBIT_SINK_WRITE_DOCS").is_some() {
        std::fs::write(root().join(FILE), &rendered).unwrap();
    }
    assert!(read(FILE) == rendered, "write it anew: RABBIT_SINK_WRITE_DOCS=1 cargo test --test deploy");
}

#[test]
fn it_is_whole_without_helm() {
    let text = read(FILE);
    let manifest = Rendered::parse(&text);
    assert_eq!(manifest.kinds(), ["ConfigMap", "Deployment", "PodDisruptionBudget", "Service", "ServiceAccount"]);
    assert!(!text.to_lowercase().replace("for those without helm", "").replace("deploy/helm/", "").contains("helm"));
    // The Secret that its head has one make holds what the config reads.
    let volume = &manifest.pod()["volumes"][1]["secret"];
    assert!(text.contains(&format!("create secret generic {} ", volume["secretName"].as_str().unwrap())));
    let config = manifest.config_text();
    let files: Vec<&str> =
        config.split('"').filter_map(|part| part.strip_prefix("/run/secrets/rabbit-sink/")).collect();
    assert_eq!(files.len(), 2, "{files:?}");
    for file in files {
        assert!(text.contains(&format!(" --from-file={file}")), "{file}");
    }
}

#[test]
fn its_image_is_the_dockerfiles() {
    let dockerfile = read("deploy/Dockerfile");
    let manifest = Rendered::parse(&read(FILE));
    let config = dockerfile.lines().find_map(|line| line.strip_prefix("ENV RABBIT_SINK_CONFIG=")).unwrap();
    assert!(manifest.environment().contains(&("RABBIT_SINK_CONFIG".to_owned(), config.to_owned())));
    let user = dockerfile.lines().find_map(|line| line.strip_prefix("USER ")).unwrap();
    let context = &manifest.pod()["securityContext"];
    assert_eq!(user, format!("{}:{}", context["runAsUser"], context["runAsGroup"]));
}
