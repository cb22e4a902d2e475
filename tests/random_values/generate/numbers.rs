//! Numbers, in all the ways that JSON can spell them.

use crate::random_values::rng::Rng;

/// Up to so many digits; zeros at either end come often.
fn some_digits(rng: &mut Rng, most: usize) -> String {
    let count = match rng.below(4) {
        0 => most,
        1 => most.min(2),
        _ => rng.below(most + 1),
    };
    let digits = rng.digits(count);
    match rng.below(5) {
        0 => "9".repeat(count),
        1 if count > 2 => format!("{}{}", &digits[..2], "0".repeat(count - 2)),
        _ => digits,
    }
}

/// A plain decimal in another spelling of the same value.
fn spelled(rng: &mut Rng, sign: &str, whole: &str, fraction: &str) -> String {
    let whole = whole.trim_start_matches('0');
    let shown = if whole.is_empty() { "0" } else { whole };
    let point = if fraction.is_empty() { "" } else { "." };
    let plain = format!("{sign}{shown}{point}{fraction}");
    match rng.below(10) {
        0 => format!("\"{plain}\""),
        1 => format!("{plain}e0"),
        2 => format!("{plain}{}E+00", if point.is_empty() { ".0" } else { "000" }),
        3 => {
            // The point moved to the front of the last digits, and back by the exponent.
            let digits = format!("{shown}{fraction}");
            let digits = digits.trim_start_matches('0');
            let digits = if digits.is_empty() { "0" } else { digits };
            format!("{sign}{digits}e-{}", fraction.len())
        }
        4 => {
            let digits = format!("{shown}{fraction}");
            format!("{sign}0.{digits}{}{}", ["e", "E+"][rng.below(2)], shown.len())
        }
        5 => {
            let zeros = format!("{shown}{fraction}").len() - format!("{shown}{fraction}").trim_end_matches('0').len();
            match fraction.is_empty() && zeros > 0 && shown != "0" {
                true => format!("{sign}{}e{zeros}", &shown[..shown.len() - zeros]),
                false => plain,
            }
        }
        _ => plain,
    }
}

/// A whole number within bounds.
pub fn whole(rng: &mut Rng, min: i128, max: i128) -> String {
    let near = rng.between(0, 3);
    let number = match rng.below(6) {
        0 => min + near,
        1 => max - near,
        2 => near.clamp(min, max),
        3 => (-near).clamp(min, max),
        4 => (rng.between(0, 9) * 10_i128.pow(rng.below(19) as u32)).clamp(min, max),
        _ => rng.between(min, max),
    };
    let sign = if number < 0 { "-" } else { "" };
    spelled(rng, sign, &number.unsigned_abs().to_string(), "")
}

pub fn odd_whole(rng: &mut Rng, min: i128, max: i128) -> String {
    match rng.below(14) {
        0 => (min - 1).to_string(),
        1 => (max + 1).to_string(),
        2 => format!("{max}.5"),
        3 => format!("{}.000", max + 1),
        4 => format!("{}e{}", rng.digits(1), rng.below(400)),
        5 => format!("{}e-{}", rng.digits(1), rng.below(30)),
        6 => "-0".to_owned(),
        7 => "-0.0e5".to_owned(),
        8 => format!("1{}", rng.digits(60)),
        9 => format!("\"{}{}\"", rng.pick(&["+", "00", " ", "0x", "-0", "--"]), rng.below(200)),
        10 => format!("\"{}{}\"", rng.below(200), rng.pick(&[" ", ".0", ".", "e1", "L", "_0", "\\u0000", "\\n"])),
        11 => format!("0e{}", rng.digits(25).replace('0', "9")),
        12 => format!("{}e{}", 1 + rng.below(9), rng.digits(25).replace('0', "9")),
        _ => format!("0.{}1e{}", "0".repeat(rng.below(20)), rng.below(40)),
    }
}

/// Within so many digits before and after the point.
pub fn decimal(rng: &mut Rng, (whole, scale): (usize, usize), significant: usize, signed: bool) -> String {
    let sign = if signed && rng.percent(40) { "-" } else { "" };
    let before = some_digits(rng, whole);
    let left = if significant >= whole + scale {
        scale
    } else {
        // Where the digits that are kept are few, the number's own begin at its first.
        significant.saturating_sub(before.trim_start_matches('0').len()).min(scale)
    };
    let before = if significant < before.len() { before[..significant].to_owned() } else { before };
    let mut after = some_digits(rng, left);
    if rng.percent(15) {
        // Zeros say nothing more.
        after.push_str(&"0".repeat(rng.below(12)));
    }
    spelled(rng, sign, &before, &after)
}

pub fn odd_decimal(rng: &mut Rng, whole: usize, scale: usize) -> String {
    match rng.below(10) {
        0 => format!("1{}", "0".repeat(whole)),
        1 => format!("{}.{}5", rng.below(10), "0".repeat(scale)),
        2 => format!("{}9.{}9", "9".repeat(whole), "9".repeat(scale)),
        3 => format!("-{}.{}49", "9".repeat(whole.max(1)), "9".repeat(scale)),
        4 => format!("{}e-{}", 1 + rng.below(9), scale + 1),
        5 => format!("{}.{}", digits_from(rng, whole.clamp(1, 30)), rng.digits(scale.clamp(1, 30))),
        6 => rng
            .pick(&["\"NaN\"", "\"Infinity\"", "\"1,5\"", "\"1_000\"", "\"0x1F\"", "\"\"", "\" 1\"", "\"+1.50\""])
            .to_owned(),
        7 => rng.pick(&["1e131071", "1e131072", "1e-16383", "1e-16384", "0e-99999", "0.0e400"]).to_owned(),
        8 => "-0.000".to_owned(),
        _ => odd_whole(rng, 0, 10_i128.pow(whole.min(30) as u32) - 1),
    }
}

fn digits_from(rng: &mut Rng, most: usize) -> String {
    format!("{}{}", 1 + rng.below(9), rng.digits(most - 1))
}

const SINGLES: &[f32] = &[f32::MAX, f32::MIN, f32::MIN_POSITIVE, 16_777_216.0, 0.1, -0.3, 1.0];
const DOUBLES: &[f64] = &[f64::MAX, f64::MIN, f64::MIN_POSITIVE, 9_007_199_254_740_992.0, 0.1, -0.3, 1e22];

/// The shortest text of a random float.
pub fn float(rng: &mut Rng, bits: u8) -> String {
    loop {
        let (scientific, longer, normal) = if bits == 32 {
            let value = match rng.below(4) {
                0 => (rng.between(-99_999, 99_999) as f32) / 100.0,
                1 => SINGLES[rng.below(SINGLES.len())],
                _ => f32::from_bits(rng.next() as u32),
            };
            let scientific = format!("{value:e}");
            let digits = mantissa_digits(&scientific);
            (scientific, format!("{value:.digits$e}"), value.is_normal())
        } else {
            let value = match rng.below(4) {
                0 => (rng.between(-99_999_999, 99_999_999) as f64) / 1000.0,
                1 => DOUBLES[rng.below(DOUBLES.len())],
                _ => f64::from_bits(rng.next()),
            };
            let scientific = format!("{value:e}");
            let digits = mantissa_digits(&scientific);
            (scientific, format!("{value:.digits$e}"), value.is_normal())
        };
        // In the middle of two shortest texts it is open which one is the float's. So it is where
        // the shortest text lies in the middle of two floats, which needs a whole number.
        let size = scientific.parse::<f64>().expect("a float").abs();
        let doubtful = if bits == 32 { 16_777_217.0..1e20 } else { 9_007_199_254_740_994.0..1e42 };
        if !normal || longer.contains("5e") || doubtful.contains(&size) {
            continue;
        }
        return match rng.below(5) {
            0 => plain(&scientific),
            1 => scientific.replace('e', "E"),
            2 => format!("\"{scientific}\""),
            _ => scientific,
        };
    }
}

fn mantissa_digits(scientific: &str) -> usize {
    scientific.split('e').next().unwrap_or_default().bytes().filter(u8::is_ascii_digit).count()
}

/// Without the exponent.
fn plain(scientific: &str) -> String {
    let value: f64 = scientific.parse().expect("a float");
    value.to_string()
}

pub fn odd_float(rng: &mut Rng) -> String {
    match rng.below(8) {
        0 => "0.1000000000000000055".to_owned(),
        1 => {
            rng.pick(&["16777217", "9007199254740993", "1e400", "-1e400", "1e-400", "1e39", "3.4028236e38"]).to_owned()
        }
        2 => format!("{}.{}", rng.digits(3).replace('0', "1"), rng.digits(20)),
        3 => rng
            .pick(&["4.9e-324", "5e-324", "2e-324", "1e-45", "1.4e-45", "1e-40", "2.2250738585072011e-308"])
            .to_owned(),
        4 => rng
            .pick(&["\"NaN\"", "\"Infinity\"", "\"inf\"", "\"-Infinity\"", "\"1e5 \"", "\".5\"", "\"5.\""])
            .to_owned(),
        5 => rng.pick(&["-0.0", "-0", "0.0", "0e400", "-0e-400"]).to_owned(),
        6 => format!("{}e{}", digits_from(rng, 17), rng.between(-340, 320)),
        _ => format!("{}e{}", digits_from(rng, 8), rng.between(-50, 45)),
    }
}
