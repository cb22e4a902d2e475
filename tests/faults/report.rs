//! `tests/FAULTS.md`: a line for each run, written by the run itself.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use super::books::Audit;
use super::{Fault, Run, all, server_name};
use crate::support::broker::Kind;
use crate::support::database::{Server, TestDatabase, try_rows};

/// What one run has shown.
#[derive(Clone, Debug)]
pub struct Line {
    pub fault: &'static str,
    pub run: Run,
    /// Confirmed by the broker; what was published twice counts twice.
    pub messages: u64,
    /// Neither written nor dead-lettered.
    pub lost: u64,
    /// Rows too many.
    pub duplicates: u64,
    /// Other values than sent, written though bad, never published, or dead-lettered for another
    /// cause than its own.
    pub wrong: u64,
    /// Good ones in the dead-letter queue.
    pub wrongly_dead: u64,
    /// Acked when neither row nor letter was there; the most at any moment.
    pub acked_early: u64,
    pub dead_lettered: u64,
    /// From the end of the fault to the next committed row.
    pub recovered: Option<Duration>,
    /// From the end of the fault until no backlog was left.
    pub caught_up: Option<Duration>,
    /// What the fault has measured beside.
    pub remark: String,
    broker: String,
    database: String,
}

impl Line {
    pub fn new(fault: &'static str, run: Run) -> Line {
        Line {
            fault,
            run,
            messages: 0,
            lost: 0,
            duplicates: 0,
            wrong: 0,
            wrongly_dead: 0,
            acked_early: 0,
            dead_lettered: 0,
            recovered: None,
            caught_up: None,
            remark: String::new(),
            broker: String::new(),
            database: String::new(),
        }
    }

    pub fn audited(&mut self, audit: &Audit, letters: u64) {
        let report = &audit.report;
        self.lost = (report.lost.len() + report.dead_missing.len()) as u64;
        self.duplicates = report.duplicates.len() as u64;
        let wrong = report.wrong.len() + report.wrongly_written.len() + report.unknown.len() + audit.causes.len();
        self.wrong = wrong as u64;
        self.wrongly_dead = report.wrongly_dead.len() as u64;
        self.dead_lettered = letters;
    }

    pub async fn versions(&mut self, broker: &str, database: &TestDatabase) {
        let sql = match database.server {
            Server::Postgres => "SHOW server_version",
            Server::Mysql => "SELECT VERSION()",
            Server::Sqlite => "SELECT sqlite_version()",
        };
        let version = try_rows(&database.url, sql).await.expect("a version")[0][0].clone().expect("a version");
        // Without what the distribution adds: `15.14 (Debian …)`, `10.11.14-MariaDB-…`.
        let version = version.split([' ', '-']).next().unwrap_or_default();
        self.broker = broker.to_owned();
        self.database = version.to_owned();
    }

    /// Damage of any kind, by its names; empty where all is well.
    pub fn damage(&self) -> Vec<&'static str> {
        let counts = [
            ("lost", self.lost),
            ("duplicates", self.duplicates),
            ("wrong", self.wrong),
            ("wrongly dead-lettered", self.wrongly_dead),
            ("acked early", self.acked_early),
        ];
        counts.into_iter().filter(|(_, count)| *count > 0).map(|(name, _)| name).collect()
    }
}

/// Heads of the columns of `FAULTS.md`; the first four name the run.
const HEADS: [&str; 17] = [
    "fault",
    "database",
    "queue",
    "consumers",
    "messages",
    "lost",
    "duplicates",
    "wrong",
    "wrongly dead-lettered",
    "acked early",
    "dead-lettered",
    "flows again after",
    "backlog gone after",
    "RabbitMQ",
    "version",
    "date",
    "commit",
];

/// A line of the file: its cells, and perhaps a remark.
type Cells = Vec<String>;

/// What names a run: fault, database, queue, consumers.
pub fn key(fault: &Fault, run: Run) -> String {
    key_cells(fault.name, run).join(" ")
}

fn key_cells(fault: &str, run: Run) -> Cells {
    let kind = if run.kind == Kind::Quorum { "quorum" } else { "classic" };
    [fault, server_name(run.server), kind, &run.consumers.to_string()].map(str::to_owned).to_vec()
}

fn file() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/FAULTS.md")
}

fn readme() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("README.md")
}

/// The lines of the file by their keys.
fn lines(text: &str) -> BTreeMap<String, Cells> {
    let rows = text
        .lines()
        .filter(|line| line.starts_with("| "))
        .map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect::<Cells>());
    // Beside a line with a remark, the others' are empty.
    let rows = rows.map(|mut cells| {
        cells.pop_if(|last| last.is_empty());
        cells
    });
    let length = HEADS.len()..=HEADS.len() + 1;
    let rows = rows.filter(|cells| length.contains(&cells.len()) && cells[0] != HEADS[0]);
    rows.map(|cells| (cells[..4].join(" "), cells)).collect()
}

/// Puts a run's line into the file, in the place of an older one; lines of other faults stay, those
/// of faults that are gone don't.
pub fn write(line: &Line) {
    let mut lines = lines(&std::fs::read_to_string(file()).unwrap_or_default());
    let cells = cells(line);
    lines.insert(cells[..4].join(" "), cells);
    save(&lines);
}

/// The file, and its summary in a line of the README's.
fn save(lines: &BTreeMap<String, Cells>) {
    std::fs::write(file(), render(lines)).expect("tests/FAULTS.md can be written");
    let text = std::fs::read_to_string(readme()).expect("a README");
    let summary = summary(lines);
    let new = |line: &str| if is_summary(line) { summary.clone() } else { line.to_owned() };
    let text: String = text.lines().map(|line| new(line) + "\n").collect();
    std::fs::write(readme(), text).expect("README.md can be written");
}

fn is_summary(line: &str) -> bool {
    line.starts_with("**") && line.contains(" faults, ")
}

/// A run that didn't come to its end has no line any more.
pub fn remove(key: &str) {
    let mut lines = lines(&std::fs::read_to_string(file()).unwrap_or_default());
    lines.remove(key);
    save(&lines);
}

fn cells(line: &Line) -> Cells {
    let seconds = |time: Option<Duration>| time.map_or("–".to_owned(), |time| format!("{:.1} s", time.as_secs_f64()));
    let mut cells = key_cells(line.fault, line.run);
    let counts = [
        line.messages,
        line.lost,
        line.duplicates,
        line.wrong,
        line.wrongly_dead,
        line.acked_early,
        line.dead_lettered,
    ];
    cells.extend(counts.map(|count| count.to_string()));
    cells.extend([seconds(line.recovered), seconds(line.caught_up), line.broker.clone(), line.database.clone()]);
    cells.extend([jiff::Timestamp::now().strftime("%Y-%m-%d").to_string(), commit()]);
    cells.extend((!line.remark.is_empty()).then(|| line.remark.clone()));
    cells
}

/// The commit, with a `+` where files of the product differ from it.
fn commit() -> String {
    let git = |arguments: &[&str]| {
        let said = Command::new("git").args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output().ok()?;
        said.status.success().then(|| String::from_utf8_lossy(&said.stdout).trim().to_owned())
    };
    let Some(commit) = git(&["rev-parse", "--short=8", "HEAD"]) else { return "–".to_owned() };
    let changed =
        git(&["status", "--porcelain", "--", "src", "Cargo.toml", "Cargo.lock"]).is_none_or(|s| !s.is_empty());
    if changed { commit + "+" } else { commit }
}

const INTRODUCTION: &str = "\
# What happens when things break

Written by `./tests/faults.sh`, a line for each run of a fault; `./tests/faults.sh NAME` repeats one. In each run the
real worker writes orders from a queue into a table without a key, while a producer publishes about 250 a second with
confirms, some of them twice, some bad. The waits between attempts are 50 ms to 500 ms (`retry.initial`, `retry.max`).

- **lost**: confirmed by the broker, and neither in the table nor dead-lettered
- **duplicates**: rows too many; **wrong**: other values than sent, or dead-lettered for another cause than its own
- **wrongly dead-lettered**: good messages in the dead-letter queue
- **acked early**: acked while neither row nor dead letter was there, looked for several times a second
- **dead-lettered**: letters in the dead-letter queue, where the bad ones belong
- **flows again after**: from the end of the fault to the next committed row; **backlog gone after**: until no more
  than a second's messages were waiting
";

fn keys() -> impl Iterator<Item = (&'static Fault, String)> {
    all().flat_map(|fault| fault.runs().into_iter().map(move |run| (fault, key(fault, run))))
}

fn summary(lines: &BTreeMap<String, Cells>) -> String {
    let there: Vec<&Cells> = keys().filter_map(|(_, key)| lines.get(&key)).collect();
    let sum = |at: usize| there.iter().filter_map(|cells| cells[at].parse::<u64>().ok()).sum::<u64>();
    let faults = all().filter(|fault| there.iter().any(|cells| cells[0] == fault.name)).count();
    format!(
        "**{faults} faults, {} runs, {} messages: {} lost, {} duplicates, {} wrong, \
         {} wrongly dead-lettered, {} acked early.**",
        there.len(),
        thousands(sum(4)),
        sum(5),
        sum(6),
        sum(7),
        sum(8),
        sum(9)
    )
}

fn render(lines: &BTreeMap<String, Cells>) -> String {
    let mut text = format!("{INTRODUCTION}\n{}\n", summary(lines));
    let missing: Vec<String> = keys().map(|(_, key)| key).filter(|key| !lines.contains_key(key)).collect();
    if !missing.is_empty() {
        text.push_str(&format!("\nNot run since they were added or changed: {}.\n", missing.join(", ")));
    }
    let mut group = None;
    for fault in all() {
        if group != Some(fault.group) {
            group = Some(fault.group);
            text.push_str(&format!("\n## {}\n\n| fault | what breaks |\n|---|---|\n", title(fault.group.name())));
            for fault in all().filter(|fault| Some(fault.group) == group) {
                text.push_str(&format!("| {} | {} |\n", fault.name, fault.about));
            }
            let of_group = keys().filter(|(fault, _)| Some(fault.group) == group);
            let of_group: Vec<&Cells> = of_group.filter_map(|(_, key)| lines.get(&key)).collect();
            let remarks = of_group.iter().any(|cells| cells.len() > HEADS.len());
            let heads: Vec<&str> = HEADS.into_iter().chain(remarks.then_some("remark")).collect();
            text.push_str(&format!("\n| {} |\n|{}\n", heads.join(" | "), "---|".repeat(heads.len())));
            for cells in of_group {
                let blank = if cells.len() < heads.len() { " |" } else { "" };
                text.push_str(&format!("| {} |{blank}\n", cells.join(" | ")));
            }
        }
    }
    text
}

fn title(name: &str) -> String {
    name[..1].to_uppercase() + &name[1..]
}

fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Each run of each fault has a line, and each line has a fault.
#[test]
fn every_fault_has_its_lines_and_every_line_its_fault() {
    let text = std::fs::read_to_string(file()).unwrap_or_default();
    let lines = lines(&text);
    let expected: Vec<String> = keys().map(|(_, key)| key).collect();
    for key in lines.keys() {
        assert!(expected.contains(key), "tests/FAULTS.md has a line for {key}, which no fault has");
    }
    for key in &expected {
        assert!(lines.contains_key(key), "tests/FAULTS.md has no line for {key}: run ./tests/faults.sh");
    }
    assert!(text == render(&lines), "tests/FAULTS.md isn't what its lines and the faults give: run ./tests/faults.sh");
}

#[test]
fn no_line_shows_damage() {
    for (key, cells) in lines(&std::fs::read_to_string(file()).unwrap_or_default()) {
        for at in 5..=9 {
            assert_eq!(cells[at], "0", "tests/FAULTS.md, {key}: {}", HEADS[at]);
        }
    }
}

#[test]
fn the_readme_shows_the_summary() {
    let lines = lines(&std::fs::read_to_string(file()).unwrap_or_default());
    let text = std::fs::read_to_string(readme()).expect("a README");
    let shown: Vec<&str> = text.lines().filter(|line| is_summary(line)).collect();
    assert_eq!(shown, [summary(&lines)], "README.md; ./tests/faults.sh writes that line");
}

#[test]
fn what_is_written_is_read_again() {
    let fault = all().next().expect("a fault");
    let mut line = Line::new(fault.name, fault.runs()[0]);
    (line.messages, line.lost, line.recovered) = (1_234_567, 3, Some(Duration::from_millis(1_540)));
    let cells = cells(&line);
    assert_eq!(cells.len(), HEADS.len());
    let first = BTreeMap::from([(cells[..4].join(" "), cells)]);
    let text = render(&first);
    assert_eq!(lines(&text), first);
    assert!(text.contains("1 faults, 1 runs, 1,234,567 messages: 3 lost, 0 duplicates"), "{text}");
}
