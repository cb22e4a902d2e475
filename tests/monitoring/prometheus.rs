//! A Prometheus of one's own.

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{RULES, path};
use crate::support::process::{Process, free_port, new_folder, tail};
use crate::support::wait::{PATIENCE, holds_within};

pub struct Prometheus {
    port: u16,
    folder: PathBuf,
    process: Process,
}

impl Prometheus {
    /// Scrapes this address every second, with the rules of `deploy/`.
    pub fn start(target: &str) -> Self {
        let (port, folder) = (free_port(), new_folder("prometheus"));
        let config = format!(
            "global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}}\nrule_files: [{:?}]\n\
             scrape_configs: [{{job_name: rabbit-sink, static_configs: [{{targets: [{target:?}]}}]}}]\n",
            path(RULES)
        );
        std::fs::write(folder.join("prometheus.yml"), config).expect("a file in an own folder");
        let mut command = Command::new("prometheus");
        command.arg(format!("--config.file={}", folder.join("prometheus.yml").display()));
        command.arg(format!("--storage.tsdb.path={}", folder.join("data").display()));
        command.arg(format!("--web.listen-address=127.0.0.1:{port}")).current_dir(&folder);
        let process = Process::spawn(command, &folder.join("log"), &folder);
        Prometheus { port, folder, process }
    }

    /// An answer of its API; `None` while it gives none.
    async fn ask(&self, path: &str) -> Option<Value> {
        let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", self.port)).await.ok()?;
        let request = format!("GET /api/v1/{path} HTTP/1.0\r\nHost: localhost\r\n\r\n");
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()
    }

    /// What an expression gives now: labels and value. An expression that it can't answer fails the test.
    pub async fn query(&self, expr: &str) -> Vec<(Value, f64)> {
        let encoded = percent_encoding::utf8_percent_encode(expr, percent_encoding::NON_ALPHANUMERIC);
        let answer = self.ask(&format!("query?query={encoded}")).await.unwrap_or_else(|| panic!("no answer to {expr}"));
        assert_eq!(answer["status"], "success", "{expr}: {answer}");
        let result = answer["data"]["result"].as_array().expect("a vector").clone();
        let number = |sample: &Value| sample["value"][1].as_str().and_then(|text| text.parse().ok()).expect("a number");
        result.iter().map(|sample| (sample["metric"].clone(), number(sample))).collect()
    }

    /// The rules as it has them.
    pub async fn rules(&self) -> Vec<Value> {
        let answer = self.ask("rules").await.expect("an answer");
        answer["data"]["groups"]
            .as_array()
            .expect("groups")
            .iter()
            .flat_map(|group| group["rules"].as_array().expect("rules").clone())
            .collect()
    }

    /// Waits until it has scraped its target.
    pub async fn has_scraped(&self) {
        let up = holds_within(PATIENCE, async || {
            let Some(answer) = self.ask("query?query=up").await else { return false };
            answer["data"]["result"][0]["value"][1] == "1"
        });
        let target = async { self.ask("targets").await.map(|targets| targets.to_string()).unwrap_or_default() };
        assert!(up.await, "not scraped: {}\n{}", target.await, tail(&self.folder.join("log")));
    }

    /// Waits until an expression gives something that holds.
    pub async fn gives(&self, expr: &str, holds: impl Fn(&[(Value, f64)]) -> bool) {
        let mut last = Vec::new();
        let held = holds_within(PATIENCE, async || {
            last = self.query(expr).await;
            holds(&last)
        })
        .await;
        assert!(held, "{expr}: {last:?}");
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        self.process.kill();
        drop(std::fs::remove_dir_all(&self.folder));
    }
}
