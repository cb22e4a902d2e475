//! JSON documents.

use super::{numbers, texts};
use crate::random_values::columns::{Documents, Letters};
use crate::random_values::rng::Rng;

/// What a document of this kind may have in it.
struct Shape {
    floats: bool,
    letters: Letters,
}

fn document(rng: &mut Rng, depth: usize, shape: &Shape) -> String {
    let blank = rng.pick(&["", "", " ", "\n\t"]);
    match rng.below(if depth == 0 { 5 } else { 8 }) {
        0 => rng.pick(&["null", "true", "false"]).to_owned(),
        1 | 2 => number(rng, shape),
        3 | 4 => texts::good(rng, 20, shape.letters),
        5 | 6 => {
            let items: Vec<String> = (0..rng.below(4)).map(|_| document(rng, depth - 1, shape)).collect();
            format!("[{blank}{}]", items.join(&format!(",{blank}")))
        }
        _ => {
            let fields: Vec<String> = (0..rng.below(4))
                // The number in front keeps names apart.
                .map(|at| {
                    let name = texts::good(rng, 8, shape.letters);
                    let name = if name.starts_with('"') { name } else { "\"\"".to_owned() };
                    format!("\"{at}{}{blank}:{blank}{}", &name[1..], document(rng, depth - 1, shape))
                })
                .collect();
            format!("{{{}{blank}}}", fields.join(","))
        }
    }
}

fn number(rng: &mut Rng, shape: &Shape) -> String {
    let number = match rng.below(3) {
        // Spelled with an exponent it would be a float.
        0 if shape.floats => rng.between(i64::MIN.into(), u64::MAX.into()).to_string(),
        0 => numbers::whole(rng, i64::MIN.into(), i64::MAX.into()),
        1 => numbers::float(rng, 64),
        _ if shape.floats => numbers::whole(rng, -1_000_000, 1_000_000),
        _ => numbers::decimal(rng, (25, 25), 50, true),
    };
    number.trim_matches('"').to_owned()
}

pub fn good(rng: &mut Rng, documents: Documents) -> String {
    let letters = if documents == Documents::Parsed { Letters::NoNul } else { Letters::All };
    let shape = Shape { floats: documents == Documents::Floats, letters };
    let depth = rng.below(5);
    loop {
        let document = document(rng, depth, &shape);
        // A bare null is SQL's; a number in a column with numeric affinity is that number.
        if document != "null" && (documents != Documents::Numeric || document.starts_with(['"', '[', '{', 't', 'f'])) {
            return document;
        }
    }
}

/// A list, which no column takes for anything else.
pub fn list(rng: &mut Rng) -> String {
    format!("[{}]", good(rng, Documents::Spelled))
}

pub fn odd(rng: &mut Rng) -> String {
    let inner = good(rng, Documents::Spelled);
    match rng.below(12) {
        0 => "{\"a\":1,\"a\":2}".to_owned(),
        1 => "{\"a\":1, \"b\":{\"x\":[], \"\\u0078\":null}, \"a\":1}".to_owned(),
        2 => format!("[{}]", numbers::odd_decimal(rng, 20, 20).trim_matches('"')),
        3 if rng.percent(20) => "{\"nul\":\"a\\u0000b\"}".to_owned(),
        4 if rng.percent(20) => "[\"\\ud800\"]".to_owned(),
        5 => {
            let depth = 20 + rng.below(90);
            format!("{}{inner}{}", "[".repeat(depth), "]".repeat(depth))
        }
        6 => "{\"\":\"\"}".to_owned(),
        7 => rng
            .pick(&["[-0]", "[-0.0]", "[1.0]", "[1e2]", "[100]", "[1E400]", "[1e-400]", "[18446744073709551616]"])
            .to_owned(),
        8 => format!("[{}]", numbers::odd_float(rng).trim_matches('"')),
        9 => texts::odd(rng, 30, Letters::NoNul),
        _ => inner,
    }
}
