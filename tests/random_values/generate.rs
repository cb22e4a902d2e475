//! Random JSON for a column: mostly what it takes, often at the very edge of that, and sometimes
//! what it can't take.

mod documents;
mod numbers;
mod texts;
mod times;

use super::columns::{Letters, Type};
use super::rng::Rng;

/// A value as JSON spells it.
#[derive(Clone, Debug)]
pub struct Sent {
    pub raw: String,
    /// The column takes it: a rejection would be a fault.
    pub must: bool,
}

impl Sent {
    fn must(raw: impl Into<String>) -> Sent {
        Sent { raw: raw.into(), must: true }
    }

    /// Whether the column takes it isn't said here; if it does, then without changing it.
    fn may(raw: impl Into<String>) -> Sent {
        Sent { raw: raw.into(), must: false }
    }
}

/// A value for a column of this type.
pub fn value(rng: &mut Rng, kind: &Type) -> Sent {
    match rng.below(100) {
        0..3 => Sent::must("null"),
        3..75 => good(rng, kind),
        75..94 => edge(rng, kind),
        _ => foreign(rng),
    }
}

/// What the column takes.
fn good(rng: &mut Rng, kind: &Type) -> Sent {
    match kind {
        Type::Int { truths: true, .. } if rng.percent(10) => Sent::must(rng.pick(&["true", "false"])),
        Type::Int { min, max, .. } => Sent::must(numbers::whole(rng, *min, *max)),
        Type::Decimal { whole, scale, significant, signed } => {
            Sent { raw: numbers::decimal(rng, (*whole, *scale), *significant, *signed), must: *significant > 0 }
        }
        Type::Float { bits, .. } => Sent::must(numbers::float(rng, *bits)),
        Type::Bool => Sent::must(rng.pick(&["true", "false"])),
        Type::Text { chars, letters } => Sent::must(texts::good(rng, *chars, *letters)),
        Type::Bytes { max, fixed } => Sent::must(texts::bytes(rng, *max, *fixed)),
        Type::Date => Sent::must(times::date(rng)),
        Type::Time { fraction } => Sent::must(times::time(rng, *fraction)),
        Type::Timestamp { fraction, zoned, years } => Sent::must(times::timestamp(rng, *fraction, *zoned, *years)),
        Type::Uuid => Sent::must(texts::uuid(rng)),
        Type::Json { documents } => Sent::must(documents::good(rng, *documents)),
        Type::Enum { labels } => {
            let label = rng.pick(labels);
            Sent::must(texts::quoted(rng, label))
        }
        Type::Set { labels } => Sent::must(texts::set(rng, labels)),
        Type::Address => Sent::must(texts::address(rng)),
        Type::Array(element) => good_array(rng, element),
        Type::Any { numeric: true } => Sent::must(texts::wordy(rng)),
        Type::Any { numeric: false } => any(rng),
    }
}

/// At or beyond the limits, or in a spelling that somebody might read otherwise.
fn edge(rng: &mut Rng, kind: &Type) -> Sent {
    match kind {
        Type::Int { min, max, .. } => Sent::may(numbers::odd_whole(rng, *min, *max)),
        Type::Decimal { whole, scale, .. } => Sent::may(numbers::odd_decimal(rng, *whole, *scale)),
        Type::Float { .. } => Sent::may(numbers::odd_float(rng)),
        Type::Text { chars, letters } => Sent::may(texts::odd(rng, *chars, *letters)),
        Type::Bytes { max, .. } => Sent::may(texts::odd(rng, *max, Letters::All)),
        Type::Date | Type::Time { .. } | Type::Timestamp { .. } => Sent::may(times::odd(rng)),
        Type::Uuid => Sent::may(texts::odd_uuid(rng)),
        Type::Json { .. } => Sent::may(documents::odd(rng)),
        Type::Enum { labels } | Type::Set { labels } => Sent::may(texts::odd_label(rng, labels)),
        Type::Address => Sent::may(texts::odd_address(rng)),
        Type::Array(element) => odd_array(rng, element),
        Type::Bool | Type::Any { .. } => foreign(rng),
    }
}

/// Whatever comes, of any type.
fn foreign(rng: &mut Rng) -> Sent {
    Sent::may(match rng.below(9) {
        0 => rng.pick(&["true", "false"]).to_owned(),
        1 => numbers::odd_whole(rng, i64::MIN.into(), i64::MAX.into()),
        2 => numbers::odd_float(rng),
        3 => texts::odd(rng, 10, Letters::NoNul),
        4 => times::odd(rng),
        5 => documents::odd(rng),
        6 => rng.pick(&["[]", "{}", "\"\"", "0", "[null]", "[[]]", "\"null\"", "\"true\""]).to_owned(),
        7 => numbers::float(rng, 64),
        _ => texts::odd_label(rng, &["x"]),
    })
}

fn any(rng: &mut Rng) -> Sent {
    Sent::must(match rng.below(6) {
        0 => rng.pick(&["true", "false"]).to_owned(),
        1 => numbers::whole(rng, i64::MIN.into(), i64::MAX.into()).trim_matches('"').to_owned(),
        2 => numbers::float(rng, 64).trim_matches('"').to_owned(),
        3 => documents::list(rng),
        _ => texts::good(rng, 50, Letters::All),
    })
}

/// One or two dimensions, with NULLs.
fn good_array(rng: &mut Rng, element: &Type) -> Sent {
    let columns = rng.below(5);
    let rows = if rng.percent(20) && columns > 0 { 1 + rng.below(3) } else { 0 };
    let mut must = true;
    let mut list = |rng: &mut Rng| {
        let items: Vec<String> = (0..columns)
            .map(|_| if rng.percent(15) { Sent::must("null") } else { good(rng, element) })
            .map(|sent| {
                // A list among texts is a dimension.
                let list = sent.raw.starts_with('[') && !matches!(element, Type::Json { .. });
                must &= sent.must && !list;
                sent.raw
            })
            .collect();
        format!("[{}]", items.join(rng.pick(&[",", ", ", " ,\n"])))
    };
    let raw = match rows {
        0 => list(rng),
        rows => format!("[{}]", (0..rows).map(|_| list(rng)).collect::<Vec<_>>().join(",")),
    };
    Sent { raw, must }
}

/// Ragged, empty inside, deep, with elements that don't fit, or no array at all.
fn odd_array(rng: &mut Rng, element: &Type) -> Sent {
    let item = |rng: &mut Rng| good(rng, element).raw;
    Sent::may(match rng.below(12) {
        0 => format!("[{},[{}]]", item(rng), item(rng)),
        1 => format!("[[{}],{}]", item(rng), item(rng)),
        2 => format!("[[{}],[{},{}]]", item(rng), item(rng), item(rng)),
        3 => format!("[[{}],[]]", item(rng)),
        4 => format!("[[{}],null]", item(rng)),
        5 => rng.pick(&["[[]]", "[[],[]]", "[[[]]]", "[null]", "[[null]]", "[null,[null]]"]).to_owned(),
        6 => {
            let depth = 3 + rng.below(6);
            format!("{}{}{}", "[".repeat(depth), item(rng), "]".repeat(depth))
        }
        7 => item(rng),
        8 => format!("\"{{{}}}\"", rng.digits(2)),
        9 => format!("[{},{}]", item(rng), foreign(rng).raw),
        _ => format!("[{},{}]", edge(rng, element).raw, item(rng)),
    })
}
