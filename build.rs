//! Tells `--version` the commit. Without git, or outside of a clone, it simply has none.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=RABBIT_SINK_COMMIT");
    let root = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
    // Developers' builds don't watch the commit: each one would compile everything anew.
    let build = if std::env::var("PROFILE").is_ok_and(|profile| profile == "release") {
        for path in watched(Path::new(&root)) {
            println!("cargo::rerun-if-changed={path}");
        }
        let given = std::env::var("RABBIT_SINK_COMMIT").ok().filter(|commit| !commit.is_empty());
        given.or_else(|| commit(Path::new(&root))).map(|commit| format!(" ({commit})")).unwrap_or_default()
    } else {
        " (debug build)".to_owned()
    };
    println!("cargo::rustc-env=RABBIT_SINK_BUILD={build}");
}

/// The commit of a source folder, with `-dirty` if files have changed since: as a crate's package names it, or
/// else git. A folder that only lies inside of somebody else's clone has none.
pub fn commit(root: &Path) -> Option<String> {
    if let Ok(packed) = std::fs::read_to_string(root.join(".cargo_vcs_info.json")) {
        let (_, rest) = packed.split_once("\"sha1\"")?;
        let hash = rest.split('"').nth(1)?;
        return hash.chars().all(|c| c.is_ascii_hexdigit()).then(|| hash.chars().take(12).collect());
    }
    let top = git(root, &["rev-parse", "--show-toplevel"])?;
    if Path::new(&top).canonicalize().ok()? != root.canonicalize().ok()? {
        return None;
    }
    git(root, &["describe", "--always", "--abbrev=12", "--dirty", "--exclude=*"])
}

/// What a new commit, another branch or an edit changes.
fn watched(root: &Path) -> Vec<String> {
    let git_path = |name: &str| git(root, &["rev-parse", "--git-path", name]);
    let branch = git(root, &["symbolic-ref", "--quiet", "HEAD"]);
    let of_git = [git_path("HEAD"), git_path("packed-refs"), branch.and_then(|branch| git_path(&branch))];
    // A file that isn't there would make every build run this anew.
    let of_git = of_git.into_iter().flatten().filter(|path| root.join(path).exists());
    of_git.chain(["src", "Cargo.toml", "Cargo.lock"].map(str::to_owned)).collect()
}

fn git(root: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").arg("-C").arg(root).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}
