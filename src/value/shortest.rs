//! The shortest decimal that reads back as the same float, as databases and most languages show it.
//!
//! Rust agrees with them but for two rarities. A float can lie in the middle of two such decimals:
//! 1319909.25 in 32 bits is 1319909.3 to Rust and 1319909.2 (the even one) to everybody else. And
//! such a decimal can lie in the middle of two floats: 59726470 reads back as 59726472 by the rule
//! that halves go to the even one, which PostgreSQL doesn't count on: it shows 59726472.

/// Of 64 bits; `None` where databases differ.
pub(super) fn double(float: f64) -> Option<String> {
    let reads_back = |text: &str| text.parse() == Ok(float);
    let text = shortest(format!("{float:e}"), |digits| format!("{float:.digits$e}"), reads_back);
    (!is_between_two(&text, reads_back)).then_some(text)
}

/// Of 32 bits; `None` where databases differ.
pub(super) fn single(float: f32) -> Option<String> {
    let reads_back = |text: &str| text.parse() == Ok(float);
    let text = shortest(format!("{float:e}"), |digits| format!("{float:.digits$e}"), reads_back);
    (!is_between_two(&text, reads_back)).then_some(text)
}

/// In the middle of two floats the least step to one side leads to the other float.
fn is_between_two(text: &str, reads_back: impl Fn(&str) -> bool) -> bool {
    let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
    let Some(last @ '1'..='9') = mantissa.chars().next_back() else { return false };
    let front = &mantissa[..mantissa.len() - 1];
    let point = if mantissa.contains('.') { "" } else { "." };
    let above = format!("{mantissa}{point}00000000000000000001e{exponent}");
    let below = format!("{front}{}{point}99999999999999999999e{exponent}", char::from(last as u8 - 1));
    !(reads_back(&above) && reads_back(&below))
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
// What these floats are exactly is the point.
#[allow(clippy::excessive_precision)]
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
            assert_eq!(single(float).as_deref(), Some(text));
        }
        for (float, text) in [
            (1_125_899_906_842_624.25, "1.1258999068426242e15"),
            (1_125_899_906_842_624.75, "1.1258999068426248e15"),
            (0.3, "3e-1"),
            (1e22, "1e22"),
            (5e-324, "5e-324"),
        ] {
            assert_eq!(double(float).as_deref(), Some(text));
        }
    }

    #[test]
    fn a_decimal_between_two_floats_is_nobodys() {
        assert_eq!(single(59_726_470.0), None);
        assert_eq!(single(-59_726_472.0), None);
        assert_eq!(single(59_726_476.0).as_deref(), Some("5.9726476e7"));
        assert_eq!(double(18_014_398_509_482_008.0), None);
        assert_eq!(double(f64::MAX).as_deref(), Some("1.7976931348623157e308"));
        assert_eq!(double(9_007_199_254_740_994.0).as_deref(), Some("9.007199254740994e15"));
    }
}
