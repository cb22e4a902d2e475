//! Decimal numbers as digits: compared, bounded and rounded without ever being a float.

use std::fmt;

use super::{Refusal, refuse};

/// ± 0.d₁d₂d₃… × 10^`point`, without zeros at either end; zero has no digits.
#[derive(Clone, Debug)]
pub(super) struct Decimal {
    negative: bool,
    digits: Vec<u8>,
    /// Where the point stands, counted from before the first digit.
    point: i64,
}

impl PartialEq for Decimal {
    fn eq(&self, other: &Self) -> bool {
        self.digits == other.digits
            && (self.digits.is_empty() || (self.point == other.point && self.negative == other.negative))
    }
}

/// More digits than this in an exponent make no number that any column holds.
const MAX_EXPONENT: i64 = 1_000_000;

/// What a decimal that is written without frills says at a glance: no exponent, no plus, no zero
/// too many in front, not `-0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Plain {
    /// Digits before the point; none where a single 0 stands there.
    pub integer: usize,
    /// Digits after the point up to the last that isn't 0.
    pub fraction: usize,
    /// Digits from the first to the last that isn't 0; 0: the number is zero.
    pub significant: usize,
}

impl Plain {
    /// `None`: it takes [`Decimal::parse`] to know.
    pub(super) fn of(text: &str) -> Option<Self> {
        let unsigned = text.strip_prefix('-').unwrap_or(text).as_bytes();
        let integer = unsigned.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (whole, rest) = unsigned.split_at(integer);
        let fraction = match rest {
            [] => rest,
            [b'.', digits @ ..] if !digits.is_empty() && digits.iter().all(u8::is_ascii_digit) => digits,
            _ => return None,
        };
        let zero_before = match whole {
            [b'0'] => true,
            [] | [b'0', ..] => return None,
            _ => false,
        };
        let kept = fraction.iter().rposition(|&digit| digit != b'0').map_or(0, |last| last + 1);
        let significant = match (zero_before, kept) {
            (false, 0) => integer - whole.iter().rev().take_while(|&&digit| digit == b'0').count(),
            (false, kept) => integer + kept,
            (true, kept) => kept - fraction[..kept].iter().take_while(|&&digit| digit == b'0').count(),
        };
        if significant == 0 && unsigned.len() < text.len() {
            return None;
        }
        Some(Plain { integer: if zero_before { 0 } else { integer }, fraction: kept, significant })
    }
}

impl Decimal {
    /// Reads JSON's notation of numbers (RFC 8259, section 6); a leading `+` and leading zeros are
    /// taken, too, since texts have them.
    pub(super) fn parse(text: &str) -> Result<Self, Refusal> {
        let wrong = || refuse("wrong_type", "the value is not a number");
        let (negative, unsigned) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            _ => (false, text),
        };
        let (mantissa, exponent) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        let bad_fraction = mantissa.contains('.') && fraction.is_empty();
        if whole.is_empty() || bad_fraction || !all_digits(whole) || !all_digits(fraction) {
            return wrong();
        }
        let unsigned_exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        if unsigned_exponent.is_empty() || !all_digits(unsigned_exponent) {
            return wrong();
        }
        // An exponent beyond i64 is beyond every column: saturate instead of refusing its form.
        let magnitude = unsigned_exponent.parse::<i64>().unwrap_or(MAX_EXPONENT).min(MAX_EXPONENT);
        let exponent = if exponent.starts_with('-') { -magnitude } else { magnitude };
        let digits: Vec<u8> = whole.bytes().chain(fraction.bytes()).collect();
        let leading = digits.iter().take_while(|&&digit| digit == b'0').count();
        let trailing = digits[leading..].iter().rev().take_while(|&&digit| digit == b'0').count();
        Ok(Decimal {
            negative,
            point: whole.len() as i64 - leading as i64 + exponent,
            digits: digits[leading..digits.len() - trailing].to_vec(),
        })
    }

    pub(super) fn is_zero(&self) -> bool {
        self.digits.is_empty()
    }

    /// Digits before the point.
    pub(super) fn integer_digits(&self) -> usize {
        if self.is_zero() { 0 } else { usize::try_from(self.point).unwrap_or(0) }
    }

    /// Digits after the point.
    pub(super) fn fraction_digits(&self) -> usize {
        if self.is_zero() { 0 } else { usize::try_from(self.digits.len() as i64 - self.point).unwrap_or(0) }
    }

    pub(super) fn is_whole(&self) -> bool {
        self.fraction_digits() == 0
    }

    /// The value of a whole number, where it fits.
    pub(super) fn to_i128(&self) -> Option<i128> {
        if !self.is_whole() || self.integer_digits() > 38 {
            return None;
        }
        self.to_string().parse().ok()
    }

    /// The nearest number with so many digits after the point, halves away from zero.
    pub(super) fn rounded(mut self, scale: u32) -> Self {
        let keep = self.point + i64::from(scale);
        if keep >= self.digits.len() as i64 {
            return self;
        }
        let Ok(keep) = usize::try_from(keep) else {
            self.digits.clear();
            return self;
        };
        let up = self.digits[keep] >= b'5';
        self.digits.truncate(keep);
        if up {
            self.increment();
        }
        while self.digits.last() == Some(&b'0') {
            self.digits.pop();
        }
        self
    }

    fn increment(&mut self) {
        for digit in self.digits.iter_mut().rev() {
            if *digit == b'9' {
                *digit = b'0';
            } else {
                *digit += 1;
                return;
            }
        }
        self.digits.insert(0, b'1');
        self.point += 1;
    }

    /// The text is this number in plain notation: no exponent, no `+`, no superfluous zeros in front.
    pub(super) fn is_plain(&self, text: &str) -> bool {
        let unsigned = text.strip_prefix('-').unwrap_or(text);
        let leading_zero = unsigned.len() > 1 && unsigned.starts_with('0') && !unsigned.starts_with("0.");
        let negative_zero = self.is_zero() && self.negative;
        !(leading_zero || negative_zero || text.contains(['e', 'E', '+']))
    }

    /// For parsers of floats, which take exponents.
    pub(super) fn to_scientific(&self) -> String {
        let sign = if self.negative { "-" } else { "" };
        if self.is_zero() {
            return format!("{sign}0");
        }
        let digits = String::from_utf8_lossy(&self.digits);
        format!("{sign}0.{digits}e{}", self.point)
    }
}

impl fmt::Display for Decimal {
    /// Plain notation.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_zero() {
            return f.write_str("0");
        }
        if self.negative {
            f.write_str("-")?;
        }
        let digits = String::from_utf8_lossy(&self.digits);
        let length = self.digits.len() as i64;
        match self.point {
            point if point <= 0 => write!(f, "0.{}{digits}", "0".repeat(point.unsigned_abs() as usize)),
            point if point >= length => write!(f, "{digits}{}", "0".repeat((point - length) as usize)),
            point => {
                let (whole, fraction) = digits.split_at(point as usize);
                write!(f, "{whole}.{fraction}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_has_frills_is_not_plain() {
        for text in
            ["", "-", "+1", "01", "00", "1e5", "1.", ".5", "-0", "-0.0", "1.2.3", "0x1", " 1", "1 ", "inf", "--1"]
        {
            assert_eq!(Plain::of(text), None, "{text}");
        }
        let plain = |text| Plain::of(text).map(|plain| (plain.integer, plain.fraction, plain.significant));
        for (text, expected) in [
            ("0", (0, 0, 0)),
            ("0.00", (0, 0, 0)),
            ("-12.50", (2, 1, 3)),
            ("1000", (4, 0, 1)),
            ("0.0012", (0, 4, 2)),
            ("100.001", (3, 3, 6)),
        ] {
            assert_eq!(plain(text), Some(expected), "{text}");
        }
    }

    proptest! {
        /// The glance and the whole way agree.
        #[test]
        fn a_glance_sees_what_is_there(text in "-?[0-9]{1,18}(\\.[0-9]{1,18})?") {
            let decimal = Decimal::parse(&text).unwrap();
            if let Some(plain) = Plain::of(&text) {
                prop_assert_eq!(plain.integer, decimal.integer_digits());
                prop_assert_eq!(plain.fraction, decimal.fraction_digits());
                prop_assert_eq!(plain.significant, decimal.digits.len());
                prop_assert!(decimal.is_plain(&text));
            } else {
                prop_assert!(!decimal.is_plain(&text));
            }
        }
    }
}
