//! deploy/Dockerfile: what can be said of it without Docker. That its binary works where nothing else is stands in
//! tests/static.sh.

use std::process::Command;

use crate::{read, root, tool};

const FILE: &str = "deploy/Dockerfile";

/// The lines of the last stage.
fn last_stage() -> Vec<String> {
    let text = read(FILE).replace("\\\n", " ");
    let at = text.rfind("\nFROM ").unwrap();
    text[at + 1..].lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
}

#[test]
fn hadolint_takes_it() {
    let output = Command::new(tool("hadolint")).arg(FILE).current_dir(root()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn nothing_runs_in_it_but_the_binary() {
    let lines = last_stage();
    assert!(lines[0].starts_with("FROM gcr.io/distroless/static-"), "{}", lines[0]);
    assert!(!lines.iter().any(|line| line.starts_with("RUN ")), "it has no shell");
    // A list, not a text: that would be given to a shell.
    for word in ["ENTRYPOINT ", "CMD "] {
        let line = lines.iter().find(|line| line.starts_with(word)).unwrap();
        assert!(line[word.len()..].starts_with("[\""), "{line}");
    }
    let health = lines.iter().find(|line| line.starts_with("HEALTHCHECK ")).unwrap();
    assert!(health.ends_with("CMD [\"rabbit-sink\", \"health\"]"), "{health}");
    let user = lines.iter().find_map(|line| line.strip_prefix("USER ")).unwrap();
    assert!(user.split(':').all(|id| id.parse::<u32>().is_ok_and(|id| id > 0)), "{user}: by number, and not root");
}

#[test]
fn its_build_is_given_what_it_copies() {
    let ignored = read("deploy/Dockerfile.dockerignore");
    let mut given: Vec<&str> = ignored.lines().filter_map(|line| line.strip_prefix('!')).collect();
    let text = read(FILE);
    let copied = text.lines().filter_map(|line| line.strip_prefix("COPY ")).filter(|line| !line.starts_with("--from"));
    let mut copied: Vec<&str> = copied.flat_map(|line| line.split(' ').rev().skip(1)).collect();
    copied.sort_unstable();
    given.sort_unstable();
    assert_eq!(copied, given);
    for name in given {
        assert!(root().join(name).exists(), "{name}");
    }
}
