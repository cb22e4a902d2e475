//! docs/config.md and config/rabbit-sink.schema.json are written from the table of keys. After a change to it, or to
//! tests/config/page.md: `RABBIT_SINK_WRITE_DOCS=1 cargo test --test config reference`.

use std::fmt::Write as _;
use std::path::Path;

use rabbit_sink::config::keys::{Key, Keys, Kind, ROOT};

const WRITE: &str = "RABBIT_SINK_WRITE_DOCS";
const WIDTH: usize = 120;

fn section(path: &str) -> &'static Keys {
    ROOT.sections().into_iter().find(|keys| keys.path == path).unwrap_or_else(|| panic!("no section {path}"))
}

/// The page: its text stands in page.md, its tables come from the keys.
fn page() -> String {
    let mut page = String::new();
    let mut written = Vec::new();
    for line in include_str!("page.md").lines() {
        let mark = line.strip_prefix('{').and_then(|rest| rest.split_once('}'));
        let Some((mark, rest)) = mark else {
            writeln!(page, "{line}").unwrap();
            continue;
        };
        match mark.split_once(' ') {
            Some(("about", path)) => page.push_str(&filled(&format!("{}{rest}", section(path).about))),
            Some(("keys", path)) => {
                table(&mut page, section(path));
                written.push(path);
            }
            Some(("later", path)) => page.push_str(&filled(&format!("{}{rest}", later(section(path))))),
            _ => panic!("page.md: {line}"),
        }
    }
    for keys in ROOT.sections().iter().filter(|keys| !keys.path.is_empty()) {
        assert!(written.contains(&keys.path), "page.md has no {{keys {}}}", keys.path);
    }
    page
}

fn table(page: &mut String, keys: &Keys) {
    page.push_str("| key | type | default | meaning | example |\n|---|---|---|---|---|\n");
    for key in keys.keys.iter().filter(|key| !matches!(key.kind, Kind::Later)) {
        let example = if key.example.is_empty() { String::new() } else { format!("`{}`", key.example) };
        let cells = [format!("`{}`", key.name), kind(key), key.absent.shown(), key.about.to_owned(), example];
        assert!(cells.iter().all(|cell| !cell.contains('|')), "a cell of {} has a |", key.name);
        writeln!(page, "| {} |", cells.join(" | ")).unwrap();
    }
}

/// With a link where the section below has a heading of its own.
fn kind(key: &Key) -> String {
    match key.kind {
        Kind::Section(below) | Kind::Columns(below) => {
            let heading = below.path.rsplit('.').next().filter(|name| *name == "declare");
            let anchor = heading.map_or_else(|| below.path.replace('.', "").to_lowercase(), str::to_owned);
            format!("[section](#{anchor})")
        }
        _ => key.kind.shown(),
    }
}

fn later(keys: &Keys) -> String {
    let names = keys.keys.iter().filter(|key| matches!(key.kind, Kind::Later));
    let names: Vec<String> = names.map(|key| format!("`{}`", key.name)).collect();
    let (last, before) = names.split_last().unwrap();
    format!("{} and {last} are reserved and refused.", before.join(", "))
}

/// A paragraph in lines of the usual width.
fn filled(text: &str) -> String {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().unwrap();
        if line.is_empty() {
            line.push_str(word);
        } else if line.chars().count() + 1 + word.chars().count() <= WIDTH {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines.join("\n") + "\n"
}

#[track_caller]
fn is_written(name: &str, expected: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(&file, expected).unwrap();
    }
    let found = std::fs::read_to_string(&file).unwrap_or_default();
    let same = found.lines().zip(expected.lines()).take_while(|(found, expected)| found == expected).count();
    assert!(
        found == expected,
        "{name} isn't what the table of keys gives (from line {} on); write it anew with\n    \
         {WRITE}=1 cargo test --test config reference",
        same + 1
    );
}

#[test]
fn the_page_says_what_the_keys_say() {
    is_written("docs/config.md", &page());
}

#[test]
fn the_schema_beside_the_samples_is_the_programs() {
    let schema = serde_json::to_string_pretty(&rabbit_sink::config::schema()).unwrap() + "\n";
    is_written("config/rabbit-sink.schema.json", &schema);
}
