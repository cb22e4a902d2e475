//! Durations and sizes, as people write them.

use std::time::Duration;

/// `25s`, `100ms`, `1h 30m`, `30d` (a day is 24 hours). `None`: not a duration, or below zero.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let span: jiff::Span = text.parse().ok()?;
    let signed = span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()).ok()?;
    Duration::try_from(signed).ok()
}

const SIZES: [(&str, u64); 7] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("B", 1),
];

/// `8MiB`, `64 KiB`, `1000` (bytes). `None`: not a size, or above 64 bits.
pub(super) fn bytes(text: &str) -> Option<u64> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let factor = match unit.trim_start_matches(' ') {
        "" if unit.is_empty() => 1,
        unit => SIZES.iter().find(|(name, _)| *name == unit)?.1,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

/// As it would be written in the config.
pub(crate) fn show_duration(duration: Duration) -> String {
    let millis = duration.as_millis();
    for (unit, length) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000)] {
        if millis > 0 && millis.is_multiple_of(length) {
            return format!("{}{unit}", millis / length);
        }
    }
    format!("{millis}ms")
}

/// As it would be written in the config.
pub(crate) fn show_bytes(bytes: u64) -> String {
    for (unit, size) in [("GiB", 1u64 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)] {
        if bytes > 0 && bytes.is_multiple_of(size) {
            return format!("{}{unit}", bytes / size);
        }
    }
    bytes.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations() {
        let cases = [
            ("25s", 25_000),
            ("100ms", 100),
            ("10m", 600_000),
            ("1h30m", 5_400_000),
            ("1h 30m", 5_400_000),
            ("30d", 2_592_000_000),
            ("1.5s", 1500),
            ("0ms", 0),
        ];
        for (text, millis) in cases {
            assert_eq!(duration(text), Some(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "25", "s", "-5s", "5s ago", "5 parsecs", "1mo", "1y", "10s10", "1s 1h", "٣s", "99999999999d"]
        {
            assert_eq!(duration(text), None, "{text}");
        }
    }

    #[test]
    fn sizes() {
        let cases =
            [("0", 0), ("1000", 1000), ("7B", 7), ("8MiB", 8 << 20), ("64 KiB", 64 << 10), ("1GB", 1_000_000_000)];
        for (text, size) in cases {
            assert_eq!(bytes(text), Some(size), "{text}");
        }
        for text in ["", "MiB", "-1", "1.5MiB", "8 ", "8mib", "8MiBs", "1e3", "99999999999999999999", "99999999999GiB"]
        {
            assert_eq!(bytes(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_back(millis in 0u64..1 << 40, size in 0u64..1 << 50) {
            let time = Duration::from_millis(millis);
            prop_assert_eq!(duration(&show_duration(time)), Some(time));
            prop_assert_eq!(bytes(&show_bytes(size)), Some(size));
        }

        #[test]
        fn no_text_panics(text in ".*") {
            prop_assert!(duration(&text).is_none_or(|time| time >= Duration::ZERO));
            prop_assert!(bytes(&text).is_none_or(|_| text.starts_with(|c: char| c.is_ascii_digit())));
        }
    }
}
