//! Dates and times as the text that MySQL and SQLite read, made without allocating.

/// Microseconds of one day.
const DAY: i64 = 86_400_000_000;

/// A short text on the stack.
pub(super) struct Text {
    bytes: [u8; 48],
    length: usize,
}

impl Text {
    fn new() -> Self {
        Text { bytes: [0; 48], length: 0 }
    }

    /// The text.
    pub(super) fn as_str(&self) -> &str {
        // Only ASCII is ever pushed.
        std::str::from_utf8(&self.bytes[..self.length]).unwrap_or_default()
    }

    /// Adds what follows a date and time: an offset, say. What doesn't fit is left out; all
    /// callers stay far below.
    pub(super) fn push(&mut self, text: &str) {
        for byte in text.bytes() {
            if let Some(free) = self.bytes.get_mut(self.length) {
                *free = byte;
                self.length += 1;
            }
        }
    }

    /// Adds a number with at least `width` digits.
    fn push_number(&mut self, number: u64, width: usize) {
        let mut digits = [b'0'; 20];
        let (mut rest, mut at) = (number, digits.len());
        while rest > 0 {
            at -= 1;
            digits[at] = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        let from = at.min(digits.len() - width);
        self.push(std::str::from_utf8(&digits[from..]).unwrap_or_default());
    }

    fn push_date(&mut self, days: i64) {
        // Days to year, month and day in the proleptic Gregorian calendar, counted in eras of 400
        // years that begin on 1 March, so that the leap day is a year's last.
        let shifted = days + 719_468;
        let era = shifted.div_euclid(146_097);
        let day_of_era = shifted.rem_euclid(146_097);
        let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let march_month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * march_month + 2) / 5 + 1;
        let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        if year < 0 {
            self.push("-");
        }
        self.push_number(year.unsigned_abs(), 4);
        self.push("-");
        self.push_number(month.unsigned_abs(), 2);
        self.push("-");
        self.push_number(day.unsigned_abs(), 2);
    }

    /// The fraction is left out where it is zero: that is how `CURRENT_TIMESTAMP` writes, and
    /// texts with and without a fraction still sort in the order of time.
    fn push_time(&mut self, micros: i64) {
        let micros = micros.unsigned_abs();
        let seconds = micros / 1_000_000;
        self.push_number(seconds / 3600, 2);
        self.push(":");
        self.push_number(seconds / 60 % 60, 2);
        self.push(":");
        self.push_number(seconds % 60, 2);
        if !micros.is_multiple_of(1_000_000) {
            self.push(".");
            self.push_number(micros % 1_000_000, 6);
        }
    }
}

/// `YYYY-MM-DD`, from days since 1970-01-01.
pub(super) fn date(days: i32) -> Text {
    let mut text = Text::new();
    text.push_date(days.into());
    text
}

/// `HH:MM:SS[.ffffff]`, from microseconds since midnight.
pub(super) fn time(micros: i64) -> Text {
    let mut text = Text::new();
    text.push_time(micros);
    text
}

/// `YYYY-MM-DD HH:MM:SS[.ffffff]`, from microseconds since 1970.
pub(super) fn timestamp(micros: i64) -> Text {
    let mut text = Text::new();
    text.push_date(micros.div_euclid(DAY));
    text.push(" ");
    text.push_time(micros.rem_euclid(DAY));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_at_the_edges() {
        for (days, text) in [
            (0, "1970-01-01"),
            (-1, "1969-12-31"),
            (11_016, "2000-02-29"),
            (11_017, "2000-03-01"),
            (-719_162, "0001-01-01"),
            (2_932_896, "9999-12-31"),
        ] {
            assert_eq!(date(days).as_str(), text);
        }
    }

    #[test]
    fn dates_agree_with_the_calendar_of_jiff() {
        let epoch = jiff::civil::date(1970, 1, 1);
        for days in (-719_162..=2_932_896).step_by(97) {
            let expected = epoch.checked_add(jiff::Span::new().days(days)).unwrap();
            assert_eq!(date(days).as_str(), expected.to_string());
        }
    }

    #[test]
    fn times_and_fractions() {
        assert_eq!(time(0).as_str(), "00:00:00");
        assert_eq!(time(86_399_999_999).as_str(), "23:59:59.999999");
        assert_eq!(time(1).as_str(), "00:00:00.000001");
        assert_eq!(timestamp(0).as_str(), "1970-01-01 00:00:00");
        assert_eq!(timestamp(-1).as_str(), "1969-12-31 23:59:59.999999");
        assert_eq!(timestamp(1_700_000_000_500_000).as_str(), "2023-11-14 22:13:20.500000");
    }

    #[test]
    fn the_widest_values_stay_inside_the_buffer() {
        assert!(timestamp(i64::MIN).as_str().len() < 48 && timestamp(i64::MAX).as_str().len() < 48);
        assert!(date(i32::MIN).as_str().len() < 48 && time(i64::MIN).as_str().len() < 48);
    }
}
