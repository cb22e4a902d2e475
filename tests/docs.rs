//! What the documentation says is so: its configs load, its command lines parse, its links lead somewhere, its tables
//! are complete.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "docs/commands.rs"]
mod commands;
#[path = "docs/configs.rs"]
mod configs;
#[path = "docs/links.rs"]
mod links;
#[path = "docs/security.rs"]
mod security;
#[path = "docs/tables.rs"]
mod tables;
#[path = "docs/versions.rs"]
mod versions;

use std::path::{Path, PathBuf};

use rabbit_sink::config::{Config, load_str};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(name: &str) -> String {
    std::fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// A page and its text.
struct Page {
    /// Relative to the project's folder.
    name: String,
    text: String,
}

/// Every page of the documentation.
fn pages() -> Vec<Page> {
    let markdown = |folder: &str| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(root().join(folder)).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        paths.filter(|path| path.extension().is_some_and(|extension| extension == "md")).collect()
    };
    let pages: Vec<Page> = [markdown("."), markdown("docs")]
        .concat()
        .into_iter()
        .map(|path| {
            let name = path.strip_prefix(root()).unwrap_or(&path).to_str().unwrap().trim_start_matches("./").to_owned();
            Page { text: std::fs::read_to_string(&path).unwrap(), name }
        })
        .collect();
    assert!(pages.len() >= 8, "only {} pages were found", pages.len());
    pages
}

/// A fenced block.
struct Block {
    /// What stands behind the fence: `toml`, `sh`, …
    language: String,
    text: String,
    /// `README.md:17`, for messages.
    place: String,
}

fn blocks(page: &Page) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for (line, number) in page.text.lines().zip(1..) {
        match (line.strip_prefix("```"), &mut open) {
            (Some(language), None) => {
                let place = format!("{}:{number}", page.name);
                open = Some(Block { language: language.to_owned(), text: String::new(), place });
            }
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (None, Some(block)) => {
                block.text.push_str(line);
                block.text.push('\n');
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "{}: a block isn't closed", page.name);
    blocks
}

/// A page without its fenced blocks.
fn prose(page: &Page) -> String {
    let mut inside = false;
    let outside = |line: &&str| {
        let fence = line.starts_with("```");
        inside ^= fence;
        !inside && !fence
    };
    page.text.lines().filter(outside).collect::<Vec<_>>().join("\n")
}

/// Loads a config whose secrets lie in files below `/run/secrets` and in variables.
fn load(name: &str, text: &str) -> Config {
    let secret = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(secret.path(), "s3cret\n").unwrap();
    let mut environment = Vec::new();
    for rest in text.split("${").skip(1) {
        environment.push((rest.split('}').next().unwrap().to_owned(), "x".to_owned()));
    }
    let text: Vec<String> = text
        .split('"')
        .map(|part| match part.starts_with("/run/secrets/") {
            true => secret.path().display().to_string(),
            false => part.to_owned(),
        })
        .collect();
    load_str(name, &text.join("\""), &environment).unwrap_or_else(|errors| panic!("{errors}"))
}
