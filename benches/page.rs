//! `benches/RESULTS.md`, made of what every section has measured last.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::plot;
use crate::sections::SECTIONS;

/// What a section has measured.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Section {
    /// What was measured how.
    pub about: String,
    pub header: Vec<String>,
    pub rows: Vec<Vec<String>>,
    /// For a plot; may be empty.
    pub curves: Vec<Curve>,
}

/// A line of a plot.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Curve {
    pub name: String,
    pub points: Vec<(f64, f64)>,
}

/// A section with what it was measured on.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Kept {
    date: String,
    commit: String,
    versions: String,
    machine: String,
    section: Section,
}

const HEAD: &str = "\
# How fast it is

Written by `./benches/run.sh`; nobody edits it. The yardstick is the floor: a [program written by hand](floor/src) for one
table, which parses into a struct, inserts, commits and acks, and does nothing else. Each ratio is one of a round in
which both had their turn on the same machine; what stands here are medians, in brackets the least and the most. Servers
sync to disk, share the machine's processors with the programs, and rows are counted in the table.
";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/benches")
}

/// Keeps what a section has measured.
pub fn keep(name: &str, versions: &str, section: Section) {
    let kept = Kept {
        date: jiff::Timestamp::now().strftime("%Y-%m-%d").to_string(),
        commit: commit(),
        versions: versions.to_owned(),
        machine: machine(),
        section,
    };
    std::fs::create_dir_all(folder()).expect("a folder below target");
    let text = serde_json::to_string_pretty(&kept).expect("plain data");
    std::fs::write(folder().join(format!("{name}.json")), text).expect("a file below target");
}

/// Writes the page and its plots.
pub fn write() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches");
    let mut page = HEAD.to_owned();
    for section in SECTIONS.iter().filter(|section| section.always) {
        let Ok(text) = std::fs::read_to_string(folder().join(format!("{}.json", section.name))) else { continue };
        let kept: Kept = serde_json::from_str(&text).expect("what was kept");
        let Section { about, header, rows, curves } = &kept.section;
        writeln!(page, "\n## {}\n\n{about}\n", section.title).expect("a String");
        writeln!(page, "| {} |\n|{}", header.join(" | "), "---|".repeat(header.len())).expect("a String");
        for row in rows {
            writeln!(page, "| {} |", row.join(" | ")).expect("a String");
        }
        if !curves.is_empty() {
            let file = format!("plots/{}.svg", section.name);
            std::fs::create_dir_all(here.join("plots")).expect("a folder of the project");
            std::fs::write(here.join(&file), plot::svg(header, curves)).expect("a file of the project");
            writeln!(page, "\n![{}]({file})", section.title).expect("a String");
        }
        writeln!(page, "\n{}, commit {}, {}, {}.", kept.date, kept.commit, kept.versions, kept.machine)
            .expect("a String");
    }
    std::fs::write(here.join("RESULTS.md"), page).expect("a file of the project");
}

/// With a `+` where the tree differs from it.
fn commit() -> String {
    let git = |arguments: &[&str]| {
        let said = Command::new("git").args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output();
        said.map(|said| String::from_utf8_lossy(&said.stdout).trim().to_owned()).unwrap_or_default()
    };
    let changed = !git(&["status", "--porcelain", "--", "src", "benches/floor", "Cargo.toml", "Cargo.lock"]).is_empty();
    format!("{}{}", git(&["rev-parse", "--short=8", "HEAD"]), if changed { "+" } else { "" })
}

fn machine() -> String {
    let cpus = std::thread::available_parallelism().map_or(0, usize::from);
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ").map(|(_, name)| name));
    format!("{cpus} cores of {}", model.unwrap_or("an unknown kind"))
}
