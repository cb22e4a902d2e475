//! `benches/RESULTS.md`, made of what every section has measured last.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::plot;
use crate::sections::{Bench, SECTIONS, Section as Measurable};

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

impl Section {
    pub fn table(about: &str, header: &[&str], rows: Vec<Vec<String>>) -> Section {
        let header = header.iter().map(|&name| name.to_owned()).collect();
        Section { about: about.to_owned(), header, rows, curves: Vec::new() }
    }
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
    /// What was called for it.
    command: String,
    /// That measuring took.
    seconds: u64,
    section: Section,
}

/// Where what is measured goes.
#[derive(Clone, Debug)]
pub struct Page {
    /// What each section has measured last.
    kept: PathBuf,
    /// The page, and its plots in a folder beside it.
    page: PathBuf,
}

const HEAD: &str = "\
# How fast it is

Written by `./benches/run.sh`; nobody edits it. The yardstick is the floor: a [program written by hand](floor/src) for one
table, which parses into a struct, inserts, commits and acks, and does nothing else. Each ratio is one of a round in
which both had their turn on the same machine; what stands here are medians, in brackets the least and the most. Servers
sync to disk, share the machine's processors with the programs, and rows are counted in the table.
";

impl Page {
    /// The project's own.
    pub fn of_the_project() -> Page {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        Page { kept: root.join("target/benches"), page: root.join("benches") }
    }

    /// All in a folder of its own.
    pub fn in_folder(folder: &Path) -> Page {
        Page { kept: folder.join("kept"), page: folder.to_owned() }
    }

    /// Keeps what a section has measured.
    pub fn keep(&self, name: &str, bench: &Bench, versions: &str, took: Duration, section: Section) {
        let kept = Kept {
            date: jiff::Timestamp::now().strftime("%Y-%m-%d").to_string(),
            commit: commit(),
            versions: versions.to_owned(),
            machine: machine(),
            command: format!("./benches/run.sh --runs {} --messages {} {name}", bench.runs, bench.messages),
            seconds: took.as_secs(),
            section,
        };
        std::fs::create_dir_all(&self.kept).expect("a folder");
        let text = serde_json::to_string_pretty(&kept).expect("plain data");
        std::fs::write(self.kept.join(format!("{name}.json")), text).expect("a file");
    }

    /// Writes the page and its plots. What wasn't measured on this machine stays as it stands there.
    pub fn write(&self) {
        let before = std::fs::read_to_string(self.page.join("RESULTS.md")).unwrap_or_default();
        let mut page = HEAD.to_owned();
        for section in SECTIONS.iter().filter(|section| section.always) {
            let file = self.kept.join(format!("{}.json", section.name));
            let Ok(text) = std::fs::read_to_string(&file) else {
                page.push_str(standing(&before, section.title));
                continue;
            };
            let kept: Kept = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
            self.write_section(&mut page, section, &kept);
        }
        std::fs::write(self.page.join("RESULTS.md"), page).expect("a file");
    }

    fn write_section(&self, page: &mut String, section: &Measurable, kept: &Kept) {
        let Section { about, header, rows, curves } = &kept.section;
        writeln!(page, "\n## {}\n\n{about}\n", section.title).expect("a String");
        writeln!(page, "| {} |\n|{}", header.join(" | "), "---|".repeat(header.len())).expect("a String");
        for row in rows {
            writeln!(page, "| {} |", row.join(" | ")).expect("a String");
        }
        if !curves.is_empty() {
            let file = format!("plots/{}.svg", section.name);
            std::fs::create_dir_all(self.page.join("plots")).expect("a folder");
            std::fs::write(self.page.join(&file), plot::svg(header, curves)).expect("a file");
            writeln!(page, "\n![{}]({file})", section.title).expect("a String");
        }
        let Kept { date, commit, versions, machine, command, seconds, .. } = kept;
        writeln!(page, "\n{date}, commit {commit}, {versions}, {machine}; `{command}`, {seconds} s.")
            .expect("a String");
    }
}

/// A section of a page that was written before; empty where it has none of that title.
fn standing<'a>(page: &'a str, title: &str) -> &'a str {
    let heading = format!("\n## {title}\n");
    let Some((_, from)) = page.find(&heading).map(|at| page.split_at(at)) else { return "" };
    let end = from[1..].find("\n## ").map_or(from.len(), |next| next + 1);
    &from[..end]
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
