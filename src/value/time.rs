//! Dates and times: texts with and without a zone, numbers with a unit.

use jiff::civil;
use jiff::fmt::temporal::Pieces;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::decimal::Decimal;
use super::{Refusal, Rules, Value, refuse};
use crate::config::TimeUnit;

const DAY: i64 = 86_400_000_000;

/// What a message says of a time.
enum Moment {
    /// With a zone: microseconds since 1970, UTC.
    Instant(i64),
    /// Without: microseconds since 1970-01-01T00:00 on some wall's clock.
    Clock(i64),
}

fn moment(value: &Value<'_>, rules: &Rules) -> Result<Moment, Refusal> {
    const WANTED: &str = "the column takes a time like 2026-01-31T23:59:59.999999Z";
    match value {
        Value::Seconds(seconds) => i64::try_from(*seconds)
            .ok()
            .and_then(|seconds| seconds.checked_mul(1_000_000))
            .map_or_else(|| refuse("out_of_range", "the time is beyond the year 9999"), |m| Ok(Moment::Instant(m))),
        Value::Number(text) => {
            let Some(unit) = rules.time else {
                return refuse(
                    "wrong_type",
                    "the column takes a time; for numbers say `time = \"epoch_ms\"` or the like",
                );
            };
            epoch(text, unit).map(Moment::Instant)
        }
        Value::Text(text) => parse(text),
        Value::Null | Value::Bool(_) | Value::Json(_) | Value::Bytes(_) => refuse("wrong_type", WANTED),
    }
}

fn epoch(text: &str, unit: TimeUnit) -> Result<i64, Refusal> {
    let digits = match unit {
        TimeUnit::Seconds => 6,
        TimeUnit::Milliseconds => 3,
        TimeUnit::Microseconds => 0,
    };
    let shifted = Decimal::parse(&format!("{}e{digits}", Decimal::parse(text)?))?.rounded(0);
    match shifted.to_i128().map(i64::try_from) {
        Some(Ok(micros)) => Ok(micros),
        _ => refuse("out_of_range", "the time is beyond the year 9999"),
    }
}

fn parse(text: &str) -> Result<Moment, Refusal> {
    match plain(text.as_bytes()) {
        Some(micros) => Ok(Moment::Instant(micros)),
        None => parse_closely(text),
    }
}

fn parse_closely(text: &str) -> Result<Moment, Refusal> {
    let invalid = || refuse("invalid", "the text is not a time like 2026-01-31T23:59:59.999999Z");
    // A date has ten characters; whatever names a zone stands behind the time.
    let (Some(_), Some(clock)) = (text.get(..10), text.get(10..)) else { return invalid() };
    // A leap second has no place in any column.
    if text.split_once(['T', 't', ' ']).is_some_and(|(_, clock)| is_leap_second(clock)) {
        return refuse("lossy", "a leap second can't be stored");
    }
    let text = &*trim_fraction(text);
    if clock.contains(['Z', 'z', '+', '-']) {
        // Not as a timestamp: jiff's end a day before the last one of the year 9999.
        let Ok(pieces) = Pieces::parse(text) else { return invalid() };
        let (Some(time), Some(offset)) = (pieces.time(), pieces.to_numeric_offset()) else { return invalid() };
        let clock = clock_micros(pieces.date().to_datetime(time));
        return Ok(Moment::Instant(clock - i64::from(offset.seconds()) * 1_000_000));
    }
    // The parser passes over a zone's name that stands without an offset.
    if clock.contains('[') {
        return invalid();
    }
    let Ok(clock) = text.parse::<civil::DateTime>() else { return invalid() };
    Ok(Moment::Clock(clock_micros(clock)))
}

/// `2026-01-31T23:59:59.999999Z`, the form of most messages, at a glance: six digits of a second at
/// most, no leap second. `None`: look closely.
fn plain(text: &[u8]) -> Option<i64> {
    let (&[y1, y2, y3, y4, b'-', mo1, mo2, b'-', d1, d2, b'T', h1, h2, b':', mi1, mi2, b':', s1, s2], rest) =
        text.split_first_chunk::<19>()?
    else {
        return None;
    };
    let number = |digits: &[u8]| {
        digits
            .iter()
            .try_fold(0_i64, |number, digit| digit.is_ascii_digit().then(|| number * 10 + i64::from(digit - b'0')))
    };
    let fraction = match rest {
        [b'Z'] => 0,
        [b'.', digits @ .., b'Z'] if (1..=6).contains(&digits.len()) => {
            number(digits)? * 10_i64.pow(6 - digits.len() as u32)
        }
        _ => return None,
    };
    let (hour, minute, second) = (number(&[h1, h2])?, number(&[mi1, mi2])?, number(&[s1, s2])?);
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let (year, month, day) = (number(&[y1, y2, y3, y4])?, number(&[mo1, mo2])?, number(&[d1, d2])?);
    let date = civil::Date::new(i16::try_from(year).ok()?, i8::try_from(month).ok()?, i8::try_from(day).ok()?).ok()?;
    let midnight = clock_micros(date.at(0, 0, 0, 0));
    Some(midnight + ((hour * 60 + minute) * 60 + second) * 1_000_000 + fraction)
}

/// `23:59:60` or `235960`, which the parser would make :59 in silence.
fn is_leap_second(clock: &str) -> bool {
    let digits = clock.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b':').filter(u8::is_ascii_digit);
    digits.skip(4).take(2).eq(*b"60")
}

/// Digits beyond the nanosecond can't change how a microsecond is rounded, but for an exact half
/// of one, which rounds up either way; the parser takes nine digits.
fn trim_fraction(text: &str) -> std::borrow::Cow<'_, str> {
    let Some(point) = text.find('.') else { return text.into() };
    let digits = text[point + 1..].bytes().take_while(u8::is_ascii_digit).count();
    if digits <= 9 { text.into() } else { format!("{}{}", &text[..point + 10], &text[point + 1 + digits..]).into() }
}

fn to_micros(nanoseconds: i128) -> i64 {
    // jiff's years -9999..9999 in microseconds fit i64 by far.
    (nanoseconds + 500).div_euclid(1000) as i64
}

fn clock_micros(clock: civil::DateTime) -> i64 {
    to_micros(clock.duration_since(civil::date(1970, 1, 1).at(0, 0, 0, 0)).as_nanos())
}

/// A timestamp column's cell: microseconds since 1970.
pub(super) fn timestamp(
    value: &Value<'_>,
    fraction: u8,
    zoned: bool,
    range: Option<(i64, i64)>,
    rules: &Rules,
) -> Result<i64, Refusal> {
    let micros = match (moment(value, rules)?, zoned) {
        (Moment::Instant(instant), true) => instant,
        (Moment::Clock(clock), false) => clock,
        (Moment::Instant(instant), false) => on_the_wall(instant, rules)?,
        (Moment::Clock(clock), true) => from_the_wall(clock, rules)?,
    };
    let (earliest, latest) = range.unwrap_or((YEAR_1, YEAR_9999));
    if !(earliest..=latest).contains(&micros) {
        return refuse("out_of_range", "the time is beyond what the column takes");
    }
    to_fraction(micros, fraction, rules)
}

/// 0001-01-01T00:00:00 and 9999-12-31T23:59:59.999999 in microseconds since 1970.
const YEAR_1: i64 = -62_135_596_800_000_000;
const YEAR_9999: i64 = 253_402_300_799_999_999;

fn to_fraction(micros: i64, fraction: u8, rules: &Rules) -> Result<i64, Refusal> {
    let unit = 10_i64.pow(6 - u32::from(fraction.min(6)));
    let rest = micros.rem_euclid(unit);
    if rest != 0 && !rules.lossy {
        return refuse("lossy", format!("the column keeps {fraction} digits of a second, the value has more"));
    }
    Ok(micros - rest)
}

fn on_the_wall(instant: i64, rules: &Rules) -> Result<i64, Refusal> {
    let Some(zone) = &rules.zone else { return Ok(instant) };
    match Timestamp::from_microsecond(instant) {
        Ok(timestamp) => Ok(clock_micros(zone.to_datetime(timestamp))),
        Err(_) => refuse("out_of_range", "the time is beyond the years that columns take"),
    }
}

fn from_the_wall(clock: i64, rules: &Rules) -> Result<i64, Refusal> {
    let Some(zone) = &rules.zone else {
        return refuse(
            "no_zone",
            "the column means a point in time and the value has no zone: send one, or set `zone`",
        );
    };
    let ambiguous = Timestamp::from_microsecond(clock)
        .map(|timestamp| zone.to_ambiguous_timestamp(TimeZone::UTC.to_datetime(timestamp)));
    match ambiguous.and_then(|ambiguous| ambiguous.unambiguous()) {
        Ok(instant) => Ok(to_micros(instant.as_nanosecond())),
        Err(_) => refuse("lossy", "the clock of `zone` shows that time twice or never"),
    }
}

/// A date column's cell: days since 1970.
pub(super) fn date(value: &Value<'_>, rules: &Rules) -> Result<i32, Refusal> {
    let micros = match value {
        Value::Text(text) if text.len() <= 10 => match text.parse::<civil::Date>() {
            Ok(date) if date.year() >= 1 && text.len() == 10 => clock_micros(date.at(0, 0, 0, 0)),
            _ => return refuse("invalid", "the column takes a date like 2026-01-31"),
        },
        _ => match moment(value, rules)? {
            Moment::Clock(clock) => clock,
            Moment::Instant(instant) => on_the_wall(instant, rules)?,
        },
    };
    if !(YEAR_1..=YEAR_9999).contains(&micros) {
        return refuse("out_of_range", "the date is beyond the years 1 to 9999");
    }
    if micros.rem_euclid(DAY) != 0 && !rules.lossy {
        return refuse("lossy", "the column takes a date, the value has a time of day");
    }
    i32::try_from(micros.div_euclid(DAY)).or_else(|_| refuse("out_of_range", "the date is beyond the year 9999"))
}

/// A time column's cell: microseconds since midnight.
pub(super) fn time_of_day(value: &Value<'_>, fraction: u8, rules: &Rules) -> Result<i64, Refusal> {
    let invalid = || refuse("invalid", "the column takes a time of day like 23:59:59.999999");
    let Value::Text(text) = value else { return invalid() };
    if text.contains(['Z', 'z', '+', '-', 'T', 't', ' ', '[']) || is_leap_second(text) {
        return invalid();
    }
    let Ok(time) = trim_fraction(text).parse::<civil::Time>() else { return invalid() };
    let micros = to_micros(time.duration_since(civil::Time::midnight()).as_nanos());
    if micros >= DAY {
        return refuse("out_of_range", "the time of day rounds to the next day");
    }
    to_fraction(micros, fraction, rules)
}

/// `2026-01-31`
pub fn date_text(days: i32) -> String {
    let date = civil::date(1970, 1, 1).checked_add(SignedDuration::from_hours(24 * i64::from(days)));
    date.map(|date| date.to_string()).unwrap_or_default()
}

/// `23:59:59.999999`
pub fn time_text(micros: i64) -> String {
    let (seconds, fraction) = (micros.div_euclid(1_000_000), micros.rem_euclid(1_000_000));
    format!("{:02}:{:02}:{:02}.{fraction:06}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// `2026-01-31 23:59:59.999999`
pub fn timestamp_text(micros: i64) -> String {
    let days = i32::try_from(micros.div_euclid(DAY)).unwrap_or(i32::MAX);
    format!("{} {}", date_text(days), time_text(micros.rem_euclid(DAY)))
}

/// `2026-01-31T23:59:59Z`
pub(super) fn rfc3339(seconds: u64) -> String {
    let timestamp = i64::try_from(seconds).ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
    timestamp.map_or_else(|| seconds.to_string(), |timestamp| timestamp.to_string())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_usual_form_is_read_at_a_glance() {
        assert_eq!(plain(b"1970-01-02T00:00:01.5Z"), Some(86_401_500_000));
        assert_eq!(plain(b"1969-12-31T23:59:59.999999Z"), Some(-1));
        for other in
            ["2026-02-30T00:00:00Z", "2026-01-31T24:00:00Z", "2026-01-31T23:59:60Z", "2026-01-31T23:59:59.1234567Z"]
        {
            assert_eq!(plain(other.as_bytes()), None, "{other}");
        }
    }

    proptest! {
        /// What a glance tells is what the parser would have told.
        #[test]
        fn a_glance_tells_what_a_close_look_tells(text in "[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-6][0-9]:[0-6][0-9](\\.[0-9]{1,7})?Z") {
            if let Some(micros) = plain(text.as_bytes()) {
                prop_assert!(matches!(parse_closely(&text), Ok(Moment::Instant(same)) if same == micros), "{}", text);
            }
        }
    }
}
