//! deploy/kubernetes.yaml: its parts agree with each other and with the program.

use std::time::Duration;

use crate::{load, read};

/// The config in the ConfigMap.
fn config() -> String {
    let text = read("deploy/kubernetes.yaml");
    let (_, rest) = text.split_once("  rabbit-sink.toml: |\n").unwrap();
    let inside = |line: &&str| line.is_empty() || line.starts_with("    ");
    rest.lines().take_while(inside).map(|line| line.trim_start_matches("    ")).collect::<Vec<_>>().join("\n")
}

/// What stands behind a key of the manifest.
fn value(key: &str) -> String {
    let text = read("deploy/kubernetes.yaml");
    let found = text.lines().find_map(|line| line.trim().trim_start_matches("- ").strip_prefix(&format!("{key}: ")));
    found.unwrap_or_else(|| panic!("no {key}")).to_owned()
}

#[test]
fn its_config_loads_and_is_reachable_by_the_probes() {
    let config = load("deploy/kubernetes.yaml", &config());
    let listen = config.admin.listen.unwrap();
    assert!(listen.ip().is_unspecified(), "probes come from outside");
    assert_eq!(listen.port().to_string(), value("containerPort"));
    assert_eq!(format!("\"{}\"", listen.port()), value("prometheus.io/port"));
    let grace = Duration::from_secs(value("terminationGracePeriodSeconds").parse().unwrap());
    // The worker allows itself two seconds more before it gives up on a wedge.
    assert!(grace >= config.worker.shutdown_timeout + Duration::from_secs(5));
    for path in ["/livez", "/readyz"] {
        assert!(read("deploy/kubernetes.yaml").contains(&format!("path: {path}\n")));
    }
}

#[test]
fn its_secrets_lie_where_the_config_looks() {
    let text = read("deploy/kubernetes.yaml");
    let mount = "/run/secrets/rabbit-sink";
    assert!(text.contains(&format!("mountPath: {mount}\n")));
    let config = config();
    let files: Vec<&str> = config.split('"').filter_map(|part| part.strip_prefix(mount)).collect();
    assert_eq!(files.len(), 2, "{files:?}");
    for file in files {
        assert!(text.contains(&format!("\n  {}: ", file.trim_start_matches('/'))), "{file} isn't in the Secret");
    }
}

#[test]
fn its_image_finds_the_config() {
    let dockerfile = read("deploy/Dockerfile");
    let config = dockerfile.lines().find_map(|line| line.strip_prefix("ENV RABBIT_SINK_CONFIG=")).unwrap();
    let (folder, file) = config.rsplit_once('/').unwrap();
    let manifest = read("deploy/kubernetes.yaml");
    assert!(manifest.contains(&format!("mountPath: {folder}\n")) && manifest.contains(&format!("\n  {file}: |\n")));
    assert_eq!(value("image"), format!("rabbit-sink:{}", env!("CARGO_PKG_VERSION")));
    let user = dockerfile.lines().find_map(|line| line.strip_prefix("USER ")).unwrap();
    assert_eq!(user.split(':').next().unwrap(), value("runAsUser"));
}
