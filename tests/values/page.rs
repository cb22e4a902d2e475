//! docs/values.md, made from the tables.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::case::{Case, Expect, Flavour, Section, Table, shortened, text_of};
use super::{mysql, postgres, sqlite};

/// Set to anything, it has the test write the page.
const WRITE: &str = "RABBIT_SINK_WRITE_DOCS";

const INTRODUCTION: &str = r#"# What each column takes

Made from the tables of the tests in `tests/values/`, which send every value below through the worker into a real
table and read it back: all in one batch, and each alone. [guarantees.md](guarantees.md#values) has the rules in short.

**A value arrives as it was sent, or its message is a dead letter.** These count as the same:

- **Numbers** by their value: `1E2`, `100` and `1.00e2` are one, `-0` is 0 where there is no negative zero. Text that
  spells a number goes into a column of numbers. A number goes into a column of text with the digits that were sent.
- **Times with a zone** go into a column without one as UTC, or as the clock of the column's `zone` shows them.
  Texts without a zone need `zone` where the column means a point in time.
- **Fractions of a second** beyond microseconds are rounded, since no database holds them.
- **UUIDs, addresses and the like** by their value: the server has its own spelling.

`null` is NULL and a field that isn't there is the column's DEFAULT, else NULL; both are tried with every column and
stand here only where it is otherwise. `lossy = true` allows numbers to be rounded, texts and times to be cut. It has
no effect on what the database itself compares or refuses. A column that the database computes can't be filled: the
pipeline pauses at start.

## Codes

| code | class | why |
|---|---|---|
| `wrong_type` | `mapping` | the column takes another kind of value |
| `out_of_range` | `mapping` | beyond what the column holds |
| `too_long` | `mapping` | more characters or bytes than the column has |
| `lossy` | `mapping`, `row_rejected` | it would be cut, rounded, padded, or read in a way of the database's own |
| `no_zone` | `mapping` | the column means a point in time, and nothing says in which zone the text is |
| `invalid` | `mapping` | not a date, UUID, label … as the column takes them |
| others | `row_rejected` | SQLSTATE, error number or result code: the database refuses the row |

All of `mapping`, and `lossy`, name the column in the dead letter; of what the database refuses, those marked * do.
"#;

fn page() -> String {
    let mut page = INTRODUCTION.to_owned();
    for (name, tables, remark) in [
        (
            "PostgreSQL",
            postgres::tables(),
            "Where the server would round or rewrite a value without a word, the statement compares and rejects (`lossy`). \
             Types of extensions (PostGIS, hstore) are read as they read them; so are `xml` and `tsquery`.",
        ),
        (
            "MySQL and MariaDB",
            mysql::tables(),
            "Sessions set `STRICT_ALL_TABLES`, whatever the server's own `sql_mode` is.",
        ),
        (
            "SQLite",
            sqlite::tables(),
            "What a value is stored as stands before it: `integer`, `real`, `text` or `blob`, whatever is declared.",
        ),
    ] {
        write!(page, "\n## {name}\n").unwrap();
        if !remark.is_empty() {
            write!(page, "\n{remark}\n").unwrap();
        }
        let sections: Vec<&Section> = tables.iter().flat_map(|table: &Table| &table.sections).collect();
        for group in sections.chunk_by(|one, other| one.about == other.about) {
            write_group(&mut page, name, group);
        }
    }
    page
}

fn write_group(page: &mut String, database: &str, group: &[&Section]) {
    // Headings are anchors: each only once.
    write!(page, "\n### {database}: {}\n\n", group[0].about).unwrap();
    page.push_str("| column | arrives as sent | arrives as | dead letter |\n|---|---|---|---|\n");
    for section in group {
        let same = as_sent(section);
        let other = section.cases.iter().filter_map(|case| match &case.expect {
            Expect::Stored(Some(text)) if storage_class(case, text).is_none() => {
                Some(format!("{} → {}{}", code(&case.shown()), code(&shortened(text)), only(case.on)))
            }
            _ => None,
        });
        let column = if section.column.is_empty() { "no declaration".to_owned() } else { code(&section.column) };
        let options =
            if section.options.is_empty() { String::new() } else { format!(" with {}", code(section.options)) };
        writeln!(
            page,
            "| {column}{options}{} | {same} | {} | {} |",
            only(section.on),
            other.collect::<Vec<_>>().join("<br>"),
            letters(section)
        )
        .unwrap();
    }
    let notes = group.iter().filter(|section| !section.note.is_empty());
    for (at, section) in notes.enumerate() {
        let column = if section.column.is_empty() { "No declaration".to_owned() } else { code(&section.column) };
        writeln!(page, "{}- {column}: {}", if at == 0 { "\n" } else { "" }, section.note).unwrap();
    }
}

/// Of a value that reads as it was sent: what stands before it (SQLite's class of storage).
fn storage_class<'t>(case: &Case, text: &'t str) -> Option<&'t str> {
    let is_sent = |text: &str| text == text_of(&case.sent) || text == case.sent;
    match text.split_once(' ') {
        _ if is_sent(text) => Some(""),
        Some((class @ ("integer" | "real" | "text"), rest)) if is_sent(rest) => Some(class),
        _ => None,
    }
}

fn as_sent(section: &Section) -> String {
    let mut by_class: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for case in &section.cases {
        if let Expect::Stored(Some(text)) = &case.expect
            && let Some(class) = storage_class(case, text)
        {
            by_class.entry(class).or_default().push(format!("{}{}", code(&case.shown()), only(case.on)));
        }
    }
    let lines = by_class.iter().map(|(class, cases)| {
        let colon = if class.is_empty() { "" } else { ": " };
        format!("{class}{colon}{}", cases.join(" · "))
    });
    lines.collect::<Vec<_>>().join("<br>")
}

/// What is refused, by code; `null` and nothing at all where they are no NULL or DEFAULT.
fn letters(section: &Section) -> String {
    let mut by_code: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut add = |expect: &Expect, what: String| match expect {
        Expect::Refused(code) => by_code.entry(format!("`{code}`")).or_default().push(what),
        Expect::Rejected { code: "lossy", .. } => by_code.entry("`lossy`".to_owned()).or_default().push(what),
        Expect::Rejected { code, column } => {
            let mark = if *column { "\\*" } else { "" };
            by_code.entry(format!("`{code}`{mark}")).or_default().push(what);
        }
        Expect::Stored(_) | Expect::Anything => {}
    };
    for case in &section.cases {
        add(&case.expect, format!("{}{}", code(&case.shown()), only(case.on)));
    }
    add(&section.null, "`null`".to_owned());
    add(&section.absent, "no field".to_owned());
    let lines = by_code.iter().map(|(code, what)| format!("{code}: {}", what.join(" · ")));
    lines.collect::<Vec<_>>().join("<br>")
}

fn only(flavour: Option<Flavour>) -> &'static str {
    match flavour {
        None => "",
        Some(Flavour::Mariadb) => " (MariaDB)",
        Some(Flavour::Mysql) => " (MySQL)",
    }
}

/// A span of code in a cell of a table.
fn code(text: &str) -> String {
    let text = text.replace('|', "\\|").replace('\n', "⏎").replace('\t', "⇥");
    if text.is_empty() { "nothing".to_owned() } else { format!("`{text}`") }
}

#[test]
fn the_page_says_what_the_tables_say() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/values.md");
    let page = page();
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(file, &page).expect("the page can be written");
    }
    let found = std::fs::read_to_string(file).unwrap_or_default();
    let differs = found.lines().zip(page.lines()).position(|(found, made)| found != made);
    assert!(
        found == page,
        "docs/values.md isn't what the tables in tests/values/ give (from line {} on); write it anew with\n    \
         {WRITE}=1 cargo test --test main values::page",
        differs.unwrap_or_else(|| found.lines().count().min(page.lines().count())) + 1
    );
}
