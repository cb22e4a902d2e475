//! What the chart renders, as data.

use std::path::Path;

use rabbit_sink::config::{Config, load_str};
use serde_json::Value;

use crate::{CHART, helm};

/// The objects of one rendering.
pub struct Rendered(pub Vec<Value>);

impl Rendered {
    /// `more`: further arguments for Helm.
    pub fn of(values: &Path, more: &[&str]) -> Self {
        let arguments = [&["template", "shop", CHART, "--values", values.to_str().unwrap()], more].concat();
        let output = helm(&arguments);
        assert!(output.status.success(), "{values:?}: {}", String::from_utf8_lossy(&output.stderr));
        Self::parse(&String::from_utf8(output.stdout).unwrap())
    }

    pub fn parse(text: &str) -> Self {
        Self(serde_saphyr::from_multiple(text).unwrap())
    }

    pub fn find(&self, kind: &str) -> Option<&Value> {
        self.0.iter().find(|object| object["kind"] == kind)
    }

    pub fn get(&self, kind: &str) -> &Value {
        self.find(kind).unwrap_or_else(|| panic!("no {kind}"))
    }

    pub fn kinds(&self) -> Vec<&str> {
        let mut kinds: Vec<&str> = self.0.iter().map(|object| object["kind"].as_str().unwrap()).collect();
        kinds.sort_unstable();
        kinds
    }

    /// The text of the config file.
    pub fn config_text(&self) -> &str {
        self.0.iter().find_map(|object| object["data"]["rabbit-sink.toml"].as_str()).unwrap()
    }

    /// The specs of all pods: the worker's, and the test's.
    pub fn pods(&self) -> Vec<&Value> {
        let places = ["/spec/template/spec", "/spec/jobTemplate/spec/template/spec"];
        let templates = self.0.iter().filter_map(|object| places.iter().find_map(|place| object.pointer(place)));
        let bare = self.0.iter().filter(|object| object["kind"] == "Pod").map(|object| &object["spec"]);
        templates.chain(bare).collect()
    }

    /// The worker's own.
    pub fn pod(&self) -> &Value {
        self.pods()[0]
    }

    pub fn container(&self) -> &Value {
        &self.pod()["containers"][0]
    }

    /// The variables of the container that have a plain value.
    pub fn environment(&self) -> Vec<(String, String)> {
        let variables = self.container()["env"].as_array().unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        variables.iter().map(|variable| (text(&variable["name"]), text(&variable["value"]))).collect()
    }

    /// As the worker in the container would read it, with all secrets "s3cret".
    pub fn config(&self) -> Config {
        let folder = tempfile::tempdir().unwrap();
        let text = with_files_in(folder.path(), self.config_text());
        load_str("the ConfigMap", &text, &self.environment()).unwrap_or_else(|errors| panic!("{errors}"))
    }
}

/// The config with its files in a folder of ours.
pub fn with_files_in(folder: &Path, text: &str) -> String {
    let authority = rcgen::generate_simple_self_signed(["shop".to_owned()]).unwrap().cert.pem();
    let parts = text.split('"').map(|part| match part.strip_prefix('/') {
        Some(path) => {
            let file = folder.join(path.replace('/', "_"));
            std::fs::write(&file, if path.ends_with(".pem") { &authority } else { "s3cret\n" }).unwrap();
            file.display().to_string()
        }
        None => part.to_owned(),
    });
    parts.collect::<Vec<_>>().join("\"")
}
