//! The benchmark's harness at work, on servers of its own, for a moment only; and what its page has.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::{Path, PathBuf};
use std::process::Command;

/// The harness, unoptimised: figures don't matter here. `cargo test` builds no benchmarks, and Cargo called by a test
/// would build some packages anew: so ./tests/run.sh builds it, beside this test's own program.
fn program() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let built = std::fs::read_dir(own.parent().unwrap()).unwrap().map(|entry| entry.unwrap());
    let harnesses = built.filter(|file| {
        let name = file.file_name().into_string().unwrap();
        name.starts_with("against_the_floor-") && !name.contains('.')
    });
    let newest = harnesses.max_by_key(|file| file.metadata().unwrap().modified().unwrap());
    newest.expect("it is built by `cargo build --bench against-the-floor`, which ./tests/run.sh calls").path()
}

fn harness(arguments: &[&str]) -> String {
    let mut command = Command::new(program());
    command.args(arguments).env("RABBIT_SINK_BENCH_WORKER", env!("CARGO_BIN_EXE_rabbit-sink"));
    let said = command.output().expect("the harness");
    let errors = String::from_utf8_lossy(&said.stderr);
    assert!(said.status.success(), "{command:?} failed: {}\n{errors}", said.status);
    String::from_utf8(said.stdout).expect("text")
}

/// Names and titles of the sections that belong on the page.
fn sections() -> Vec<(String, String)> {
    let listed = harness(&["--sections"]);
    let sections: Vec<_> = listed.lines().filter_map(|line| line.split_once('\t')).collect();
    assert!(sections.len() > 10, "only {sections:?}");
    sections.into_iter().map(|(name, title)| (name.to_owned(), title.to_owned())).collect()
}

fn read(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// Rows below each heading of the page.
fn tables(page: &str) -> Vec<(String, usize)> {
    page.split("\n## ")
        .skip(1)
        .map(|section| {
            let rows = section.lines().filter(|line| line.starts_with("| ")).count();
            (section.lines().next().unwrap().to_owned(), rows.saturating_sub(1))
        })
        .collect()
}

#[test]
fn slow_a_moment_of_the_benchmark_makes_a_page_and_a_plot() {
    let folder = tempfile::tempdir().unwrap();
    let into = folder.path().to_str().unwrap();
    let measured_elsewhere = "# Page\n\n## From the start to the first row\n\n| a |\n|---|\n| 1 |\n";
    std::fs::write(folder.path().join("RESULTS.md"), measured_elsewhere).unwrap();
    harness(&["--into", into, "--runs", "1", "--messages", "2000", "bad", "batches"]);
    let page = std::fs::read_to_string(folder.path().join("RESULTS.md")).unwrap();
    let found = tables(&page);
    let expected =
        [("Bad messages among good ones", 3), ("Rows in a batch", 15), ("From the start to the first row", 1)];
    assert_eq!(found, expected.map(|(title, rows)| (title.to_owned(), rows)), "{page}");
    for what in [
        "PostgreSQL 1",
        "SQLite 3",
        "RabbitMQ ",
        "](plots/batches.svg)",
        "`./benches/run.sh --runs 1 --messages 2000 batches`",
    ] {
        assert!(page.contains(what), "no {what} in:\n{page}");
    }
    let plot = std::fs::read_to_string(folder.path().join("plots/batches.svg")).unwrap();
    assert_eq!(plot.matches("<polyline").count(), 3, "{plot}");
}

#[test]
fn slow_the_page_has_all_sections_and_no_others() {
    let page = read("benches/RESULTS.md");
    let found = tables(&page);
    let titles: Vec<String> = sections().into_iter().map(|(_, title)| title).collect();
    assert_eq!(found.iter().map(|(title, _)| title.clone()).collect::<Vec<_>>(), titles);
    for (title, rows) in found {
        assert!(rows > 0, "{title} has no line");
    }
}

/// Plots, and tables by their titles.
#[test]
fn the_documentation_shows_every_plot_and_names_no_table_that_is_not_there() {
    let (page, documentation) = (read("benches/RESULTS.md"), read("docs/performance.md"));
    let plots: Vec<&str> = page.split("](").skip(1).filter_map(|rest| rest.split(')').next()).collect();
    let plots: Vec<&str> = plots.into_iter().filter(|file| file.ends_with(".svg")).collect();
    assert!(plots.len() >= 3, "only {plots:?}");
    for plot in plots {
        assert!(documentation.contains(&format!("../benches/{plot})")), "{plot} isn't shown");
    }
    let titles: Vec<String> = tables(&page).into_iter().map(|(title, _)| title).collect();
    // *Titles* stand between single stars.
    let plain: String = documentation.replace('\n', " ").split("**").step_by(2).collect();
    let named: Vec<&str> = plain.split('*').skip(1).step_by(2).filter(|name| *name != "floor").collect();
    assert!(named.len() >= 10, "only {named:?}");
    for name in named {
        assert!(titles.iter().any(|title| title == name), "no table {name}");
    }
}
