//! Decimal numbers, compared digit by digit.

/// `digits` × 10^`exponent`; the digits begin and end with another digit than 0. Zero has none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decimal {
    pub negative: bool,
    pub digits: String,
    pub exponent: i128,
}

impl Decimal {
    /// JSON's notation, and what texts have beside: `+` and zeros in front.
    pub fn parse(text: &str) -> Option<Decimal> {
        let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
        let at = unsigned.find(['e', 'E']);
        let mantissa = &unsigned[..at.unwrap_or(unsigned.len())];
        let exponent = match at {
            None => 0,
            Some(at) => {
                let exponent = &unsigned[at + 1..];
                let digits = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
                all_digits(digits).then_some(())?;
                // Longer ones differ from everything that a column can hold anyway.
                let size: i128 = digits.parse().unwrap_or(i128::from(u64::MAX));
                if exponent.starts_with('-') { -size } else { size }
            }
        };
        let (whole, fraction) = match mantissa.split_once('.') {
            Some((whole, fraction)) => (whole, Some(fraction)),
            None => (mantissa, None),
        };
        (all_digits(whole) && fraction.is_none_or(all_digits)).then_some(())?;
        let fraction = fraction.unwrap_or_default();
        let all = format!("{whole}{fraction}");
        let digits = all.trim_start_matches('0').trim_end_matches('0').to_owned();
        if digits.is_empty() {
            return Some(Decimal { negative: false, digits, exponent: 0 });
        }
        let zeros = all.len() - all.trim_end_matches('0').len();
        let exponent = exponent - fraction.len() as i128 + zeros as i128;
        Some(Decimal { negative: text.starts_with('-'), digits, exponent })
    }

    /// For the parser of floats.
    pub fn scientific(&self) -> String {
        format!("{}0{}e{}", if self.negative { "-" } else { "" }, self.digits, self.exponent)
    }
}

fn all_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Both are numbers, and the same one.
pub fn same(a: &str, b: &str) -> bool {
    Decimal::parse(a).is_some_and(|a| Decimal::parse(b) == Some(a))
}
