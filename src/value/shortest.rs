//! The shortest decimal that reads back as the same float, as databases and most languages show it.
//!
//! Rust agrees with them but for floats that lie in the middle of two such decimals: 1319909.25 as
//! a float of 32 bits is 1319909.3 to Rust and 1319909.2 (the even one) to everybody else.

/// Of 64 bits.
pub(super) fn double(float: f64) -> String {
    shortest(format!("{float:e}"), |digits| format!("{float:.digits$e}"), |text| text.parse() == Ok(float))
}

/// Of 32 bits.
pub(super) fn single(float: f32) -> String {
    shortest(format!("{float:e}"), |digits| format!("{float:.digits$e}"), |text| text.parse() == Ok(float))
}

/// More digits than any float has: with as many, its text is exact.
const ALL_DIGITS: usize = 800;

fn shortest(rust: String, with_digits: impl Fn(usize) -> String, reads_back: impl Fn(&str) -> bool) -> String {
    let (mantissa, exponent) = rust.split_once('e').unwrap_or((&rust, "0"));
    let digits = mantissa.bytes().filter(u8::is_ascii_digit).count();
    // One digit more, and behind it nothing.
    let longer = with_digits(digits);
    let Some((below, same_exponent)) = longer.split_once("5e") else { return rust };
    let is_even = |text: &str| text.bytes().last().is_some_and(|digit| digit.is_ascii_digit() && digit % 2 == 0);
    if same_exponent != exponent || is_even(mantissa) || !is_even(below) {
        return rust;
    }
    let exact = with_digits(ALL_DIGITS);
    let in_the_middle = exact
        .strip_prefix(&longer[..=below.len()])
        .and_then(|rest| rest.split('e').next())
        .is_some_and(|rest| rest.bytes().all(|digit| digit == b'0'));
    let even = format!("{below}e{exponent}");
    if in_the_middle && reads_back(&even) { even } else { rust }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_that_are_equally_near_the_even_one() {
        for (float, text) in [
            (1_319_909.25, "1.3199092e6"),
            (-1_319_909.25, "-1.3199092e6"),
            (1_319_909.75, "1.3199098e6"),
            (0.1, "1e-1"),
            (0.5, "5e-1"),
            (16_777_216.0, "1.6777216e7"),
            (0.0, "0e0"),
        ] {
            assert_eq!(single(float), text);
        }
        for (float, text) in [
            (1_125_899_906_842_624.25, "1.1258999068426242e15"),
            (1_125_899_906_842_624.75, "1.1258999068426248e15"),
            (0.3, "3e-1"),
            (1e22, "1e22"),
            (5e-324, "5e-324"),
        ] {
            assert_eq!(double(float), text);
        }
    }
}
