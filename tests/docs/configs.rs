//! Configs that stand in pages.

use crate::{blocks, load, pages, read};

#[test]
fn every_toml_block_loads() {
    let mut count = 0;
    for page in pages() {
        for block in blocks(&page).iter().filter(|block| block.language == "toml") {
            let config = load(&block.place, &block.text);
            assert!(!config.pipelines.is_empty(), "{}", block.place);
            count += 1;
        }
    }
    assert!(count >= 3, "only {count} blocks of TOML were found");
}

#[test]
fn the_readme_stays_short() {
    let lines = read("README.md").lines().count();
    assert!(lines <= 250, "{lines} lines; what is more belongs into docs/");
}
