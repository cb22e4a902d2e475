//! Links and names of files.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use crate::{Page, blocks, pages, prose, root};

/// The targets of a page's links.
fn links(page: &Page) -> Vec<String> {
    let prose = prose(page);
    prose.split("](").skip(1).map(|rest| rest.split(')').next().unwrap().to_owned()).collect()
}

/// A heading as links name it.
fn anchor(heading: &str) -> String {
    let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
    heading.trim_start_matches('#').trim().to_lowercase().chars().filter(kept).collect::<String>().replace(' ', "-")
}

fn resolved(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut whole, part| {
        match part {
            Component::ParentDir => drop(whole.pop()),
            Component::CurDir => {}
            part => whole.push(part),
        }
        whole
    })
}

#[test]
fn links_lead_somewhere() {
    let pages = pages();
    let mut count = 0;
    for page in &pages {
        for link in links(page).iter().filter(|link| !link.starts_with("https://")) {
            count += 1;
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let folder = Path::new(&page.name).parent().unwrap();
            let target = if file.is_empty() { PathBuf::from(&page.name) } else { resolved(&folder.join(file)) };
            assert!(root().join(&target).is_file(), "{}: {link} leads nowhere", page.name);
            if !heading.is_empty() {
                let there = pages.iter().find(|page| Path::new(&page.name) == target).unwrap();
                let prose = prose(there);
                let mut headings = prose.lines().filter(|line| line.starts_with('#')).map(anchor);
                assert!(headings.any(|known| known == heading), "{}: no heading for {link}", page.name);
            }
        }
    }
    assert!(count >= 30, "only {count} links were found");
}

/// Whatever looks like a file of this project is one.
#[test]
fn named_files_exist() {
    const FOLDERS: [&str; 6] = ["config/", "deploy/", "docs/", "src/", "tests/", ".ci/"];
    let mut named = BTreeSet::new();
    for page in pages() {
        let prose = prose(&page);
        let spans = prose.split('`').skip(1).step_by(2).map(str::to_owned);
        let shell = blocks(&page).into_iter().filter(|block| block.language == "sh").map(|block| block.text);
        for text in spans.chain(shell) {
            for word in text.split_whitespace() {
                let word = word.strip_prefix("./").unwrap_or(word);
                // Elsewhere it is a Deployment: deploy/rabbit-sink.
                if FOLDERS.iter().any(|folder| word.starts_with(folder)) && word != "deploy/rabbit-sink" {
                    named.insert((word.to_owned(), page.name.clone()));
                }
            }
        }
    }
    for (word, page) in &named {
        assert!(root().join(word).exists(), "{page} names {word}, which isn't there");
    }
    assert!(named.iter().any(|(word, _)| word == "deploy/quickstart.sh"), "{named:?}");
}

#[test]
fn every_page_is_in_the_index() {
    let pages = pages();
    let index = pages.iter().find(|page| page.name == "docs/README.md").unwrap();
    let linked: Vec<PathBuf> = links(index).iter().map(|link| resolved(&Path::new("docs").join(link))).collect();
    for page in pages.iter().filter(|page| page.name != "docs/README.md") {
        assert!(linked.iter().any(|link| link == Path::new(&page.name)), "{} isn't in docs/README.md", page.name);
    }
}
