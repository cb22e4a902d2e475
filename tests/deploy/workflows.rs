//! .github/workflows: what runs on a forge can't run here. It is well formed, and names what is there.

use std::process::Command;

use crate::{read, root, tool};

const WORKFLOWS: [&str; 2] = [".github/workflows/ci.yml", ".github/workflows/release.yml"];

#[test]
fn actionlint_takes_them() {
    let output = Command::new(tool("actionlint")).args(WORKFLOWS).current_dir(root()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn actions_are_pinned_by_commit() {
    let mut count = 0;
    for name in WORKFLOWS {
        for line in read(name).lines().filter_map(|line| line.trim().trim_start_matches("- ").strip_prefix("uses: ")) {
            let (action, version) = line.split_once(" # v").unwrap_or_else(|| panic!("{line}: no version beside it"));
            let commit = action.split_once('@').unwrap().1;
            assert!(commit.len() == 40 && commit.chars().all(|c| c.is_ascii_hexdigit()), "{line}");
            assert!(version.starts_with(|c: char| c.is_ascii_digit()), "{line}");
            count += 1;
        }
    }
    assert!(count >= 10, "only {count}");
}

#[test]
fn what_they_run_is_there() {
    let mut count = 0;
    for name in WORKFLOWS {
        for word in read(name).split(|c: char| c.is_whitespace() || "\"'()$".contains(c)) {
            let ours = word.starts_with("./tests/") || word.starts_with("./.ci/") || word.starts_with("deploy/");
            if ours {
                assert!(root().join(word).exists(), "{name}: {word}");
                count += 1;
            }
        }
    }
    assert!(count >= 8, "only {count}");
}

#[test]
fn they_build_with_the_rust_that_the_image_is_built_with() {
    let dockerfile = read("deploy/Dockerfile");
    let (_, rest) = dockerfile.split_once("FROM rust:").unwrap();
    let version = rest.split('-').next().unwrap();
    for name in WORKFLOWS {
        let text = read(name);
        let containers: Vec<&str> = text.lines().filter_map(|line| line.trim().strip_prefix("container: ")).collect();
        assert!(!containers.is_empty());
        for container in containers {
            assert_eq!(container, format!("rust:{version}-bookworm"), "{name}");
        }
    }
}
