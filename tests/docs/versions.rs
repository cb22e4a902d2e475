//! docs/compatibility.md is what `./tests/matrix.sh` makes of its page and its runs.

use crate::read;

/// Names in the order in which the script tries them.
fn names() -> Vec<String> {
    let servers = read("tests/matrix/servers");
    let lines = servers.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty());
    lines.map(|line| line.split_whitespace().next().unwrap().to_owned()).collect()
}

/// The cells of the lines about servers.
fn lines() -> Vec<Vec<String>> {
    let page = read("docs/compatibility.md");
    let lines = page.lines().filter(|line| line.starts_with("| `"));
    let cells = |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    lines.map(cells).filter(|cells| cells.len() == 6).collect()
}

#[test]
fn every_server_has_its_line_and_every_line_its_server() {
    let listed: Vec<String> = lines().iter().map(|cells| cells[0].trim_matches('`').to_owned()).collect();
    assert_eq!(listed, names(), "./tests/matrix.sh NAME writes a line");
}

#[test]
fn a_line_says_a_version_of_its_name_a_result_a_day_and_a_commit() {
    for cells in lines() {
        let name = cells[0].trim_matches('`');
        let (product, version) = name.split_once('-').unwrap();
        let (says, number) = cells[1].split_once(' ').unwrap();
        assert!(says.to_lowercase().starts_with(&product[..5]), "{cells:?}");
        assert!(number.starts_with(&format!("{version}.")), "{cells:?}");
        let tests = cells[3].replace("**", "");
        assert!(tests.contains("passed") || tests.contains("stopped"), "{cells:?}");
        let day: Vec<&str> = cells[4].split('-').collect();
        assert_eq!(day.iter().map(|part| part.len()).collect::<Vec<_>>(), [4, 2, 2], "{cells:?}");
        let commit = cells[5].split('`').nth(1).unwrap();
        assert!(commit.len() >= 7 && commit.bytes().all(|byte| byte.is_ascii_hexdigit()), "{cells:?}");
    }
}

#[test]
fn the_rest_of_the_page_is_the_scripts() {
    let names = names();
    let ours = |line: &&str| names.iter().any(|name| line.starts_with(&format!("| `{name}` |")));
    let page = read("docs/compatibility.md");
    let rest: Vec<&str> = page.lines().filter(|line| !ours(line)).collect();
    let template = read("tests/matrix/page.md");
    let wanted: Vec<&str> = template.lines().filter(|line| *line != "(lines)").collect();
    assert_eq!(rest, wanted, "edit tests/matrix/page.md, then ./tests/matrix.sh --page writes docs/compatibility.md");
}
