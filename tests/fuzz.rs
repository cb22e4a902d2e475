//! The fuzz targets of fuzz/, on stable Rust and for a moment only: seeds that reach far in, changed at
//! random. A failure prints the input, and the number that repeats the run.
//!
//! | variable | what it does |
//! |---|---|
//! | `RABBIT_SINK_SEED` | repeats a run |
//! | `RABBIT_SINK_FUZZ_INPUTS` | inputs of a run, 20000 if not set |

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../fuzz/entries.rs"]
mod entries;
#[path = "fuzz/mutate.rs"]
mod mutate;

use std::panic::catch_unwind;
use std::path::Path;

use mutate::{Random, mutated};

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{variable} is no number")))
}

/// Every seed as it is, then seeds that were changed.
fn feed(entry: fn(&[u8]), seeds: &[Vec<u8>], words: &[&str]) {
    let seed = number("RABBIT_SINK_SEED").unwrap_or_else(|| std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64);
    println!("RABBIT_SINK_SEED={seed}");
    let mut random = Random::new(seed);
    let inputs = number("RABBIT_SINK_FUZZ_INPUTS").unwrap_or(20_000);
    let changed = (0..inputs).map(|_| mutated(&mut random, seeds, words)).collect::<Vec<_>>();
    for input in seeds.iter().chain(&changed) {
        if catch_unwind(|| entry(input)).is_err() {
            let text = String::from_utf8_lossy(input);
            panic!("RABBIT_SINK_SEED={seed}: this input broke it: {input:?}\n{text}");
        }
    }
}

/// Each text behind each of these first bytes.
fn behind(first: &[u8], texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().flat_map(|text| first.iter().map(|&byte| [&[byte], text.as_bytes()].concat())).collect()
}

const JSON: [&str; 22] = [
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "\"",
    "\\u0061",
    "\\ud834\\udd1e",
    "\\ud800",
    "null",
    "true",
    "1e999",
    "-0.0",
    "12345678901234567890",
    "\"a\":",
    "\"b\":{\"c\":",
    "\"l\":[",
    "\u{feff}",
    "é",
    " \n\t",
    "\"~0~1\"",
];

#[test]
fn arbitrary_bodies_become_records_or_failures() {
    let bodies = [
        r#"{"a":1,"b":{"c":[true,null]},"l":[1,{"a":"x"}],"~/":2,"":3}"#,
        r#"{"\u0061":"\ud834\udd1e","b":"scalar","l":{"0":1,"1":{"a":2}}}"#,
        r#"{"a":{"a":{"a":1.50}},"a ":2,"x":{"a":1,"a":2}}"#,
        r#"[{"a":1},2,"3"]"#,
        "\u{feff}{\"a\":\"\u{feff}\"}",
        r#""text""#,
        "  ",
    ];
    feed(entries::decode, &behind(&[0, 1, 0x55, 0xff], &bodies), &JSON);
}

#[test]
fn arbitrary_messages_become_units_or_failures() {
    let fields: String =
        (0..20).map(|n| format!("\"c{n}\":{},", ["1", "\"x\"", "null", "true", "1.5", "[1]"][n % 6])).collect();
    let messages = [
        format!(r#"{{"properties":{{"message_id":"m-1","timestamp":1}},"headers":{{"h":"x","id":1}},"routing_key":"k","body":{{{fields}"id":"a"}}}}"#),
        r#"{"headers":{"id":[1,{"a":null}]},"body":{"id":12345678901234567890,"c0":"32768","c2":"99999.995","c6":"\u0000"}}"#.to_owned(),
        r#"{"body":{"id":"1","c9":"0x00","c10":"2026-02-29","c11":"24:00:00","c12":"2026-01-31T23:59:60Z","c13":1e18,"c14":"{}","c17":[[1],[2,3]]}}"#.to_owned(),
        r#"{"body_base64":"eyJpZCI6MX0="}"#.to_owned(),
        r#"{"id":true,"c15":{"a":1,"a":2},"c16":"a,b"}"#.to_owned(),
    ];
    let messages: Vec<&str> = messages.iter().map(String::as_str).collect();
    let words =
        [&JSON[..], &["\"c3\":", "\"c12\":", "2026-10-25T02:30:00", "+99:99", "infinity", "1e-400", "\u{0}"]].concat();
    feed(entries::mapping, &behind(&[0, 1, 2, 3, 4, 5, 0x80], &messages), &words);
}

/// All samples, and all mistakes that are told as agreed.
#[test]
fn arbitrary_configs_are_read_or_told() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut seeds = Vec::new();
    let mut folders = vec![root.join("config"), root.join("tests/config_errors")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false if path.extension().is_some_and(|extension| extension == "toml") => {
                    seeds.push(std::fs::read(path).unwrap());
                }
                false => {}
            }
        }
    }
    assert!(seeds.len() > 200, "only {} configs were found", seeds.len());
    // Files come in an order of the system's; a seed must mean the same everywhere.
    seeds.sort();
    let words = [
        "[pipelines.orders]\n",
        "[database]\nurl = ",
        "\"amqps://u:p@h:1/%2f?frame_max=9\"",
        "\"postgres://h/d?sslmode=x\"",
        "\"1h\"",
        "\"9999999999999d\"",
        "\"8EiB\"",
        "-1",
        "9223372036854775808",
        "nan",
        "1979-05-27",
        "${HOME}",
        "$$",
        "\0RABBIT_SINK__PIPELINES__ORDERS__PREFETCH=0\n",
        "\0RABBIT_SINK__DATABASE__URL=sqlite://x\n",
        "[[",
        "]]",
        "{ from = ",
        ".",
        "\"",
        "'''",
        "\u{feff}",
        "é",
    ];
    feed(entries::config, &seeds, &words);
}
