//! What is in deploy/: it renders, its parts agree with each other and with the program, and its own tools take it.
//! What only an API server can tell stands in tests/deploy.sh.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "deploy/chart.rs"]
mod chart;
#[path = "deploy/compose.rs"]
mod compose;
#[path = "deploy/image.rs"]
mod image;
#[path = "deploy/manifests.rs"]
mod manifests;
#[path = "deploy/refusals.rs"]
mod refusals;
#[path = "deploy/rendered.rs"]
mod rendered;
#[path = "deploy/unit.rs"]
mod unit;
#[path = "deploy/workflows.rs"]
mod workflows;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{LazyLock, Mutex};

use rendered::Rendered;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(name: &str) -> String {
    std::fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The path of a tool that is pinned in tests/tools.sh, which builds it where it is missing.
fn tool(name: &str) -> PathBuf {
    static FOUND: Mutex<BTreeMap<String, PathBuf>> = Mutex::new(BTreeMap::new());
    FOUND.lock().unwrap().entry(name.to_owned()).or_insert_with(|| find_tool(name)).clone()
}

fn find_tool(name: &str) -> PathBuf {
    let output = Command::new(root().join("tests/tools.sh")).arg(name).output().unwrap();
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    PathBuf::from(String::from_utf8(output.stdout).unwrap().trim())
}

/// Helm, without what the user has set up for it.
fn helm(arguments: &[&str]) -> Output {
    let mut command = Command::new(tool("helm"));
    for variable in ["KUBECONFIG", "HELM_NAMESPACE", "HELM_KUBECONTEXT"] {
        command.env_remove(variable);
    }
    command.args(arguments).current_dir(root()).output().unwrap()
}

const CHART: &str = "deploy/helm/rabbit-sink";

/// A set of values that is tried.
struct Set {
    name: String,
    path: PathBuf,
    /// What comes of it.
    rendered: Rendered,
}

/// All of them, in the order of their names. Rendered once for all tests.
static SETS: LazyLock<Vec<Set>> = LazyLock::new(|| {
    let folder = root().join(CHART).join("ci");
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut sets: Vec<Set> = paths
        .filter_map(|path| {
            let name = path.file_name()?.to_str()?.strip_suffix("-values.yaml")?.to_owned();
            Some(Set { name, rendered: Rendered::of(&path, &[]), path })
        })
        .collect();
    sets.sort_by(|one, other| one.name.cmp(&other.name));
    assert!(sets.len() >= 8, "only {} sets of values", sets.len());
    sets
});
