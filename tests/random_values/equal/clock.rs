//! Dates and times as integers, by arithmetic of the test's own.

/// Picoseconds of a second and of a day.
pub const SECOND: i128 = 1_000_000_000_000;
pub const DAY: i128 = 86_400 * SECOND;
const MICRO: i128 = 1_000_000;

/// What a text says of a time, in picoseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// With an offset: in UTC.
    Instant(i128),
    /// Without.
    Clock(i128),
}

fn leap(year: i128) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

pub fn days_in(year: i128, month: i128) -> i128 {
    match month {
        2 => 28 + i128::from(leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01.
pub fn days(year: i128, month: i128, day: i128) -> Option<i128> {
    if !(1..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=days_in(year, month)).contains(&day) {
        return None;
    }
    let before = year - 1;
    let january = 365 * before + before / 4 - before / 100 + before / 400 - 719_162;
    Some(january + (1..month).map(|month| days_in(year, month)).sum::<i128>() + day - 1)
}

/// Exactly so many digits at the text's beginning.
fn number(text: &mut &str, width: usize) -> Option<i128> {
    let digits = text.get(..width)?;
    digits.bytes().all(|byte| byte.is_ascii_digit()).then_some(())?;
    *text = &text[width..];
    digits.parse().ok()
}

fn takes(text: &mut &str, token: char) -> bool {
    let rest = text.strip_prefix(token);
    *text = rest.unwrap_or(text);
    rest.is_some()
}

fn date_part(text: &mut &str) -> Option<i128> {
    let year = number(text, 4)?;
    let hyphens = takes(text, '-');
    let month = number(text, 2)?;
    (takes(text, '-') == hyphens).then_some(())?;
    days(year, month, number(text, 2)?)
}

/// `HH`, `HH:MM` or `HH:MM:SS`, with a fraction, and all of it without colons. Hours below `end`.
fn time_part(text: &mut &str, end: i128) -> Option<i128> {
    let hours = number(text, 2)?;
    let colons = text.starts_with(':');
    let more = |text: &mut &str| match colons {
        true if !takes(text, ':') => Some(0),
        false if !text.starts_with(|c: char| c.is_ascii_digit()) => Some(0),
        _ => number(text, 2),
    };
    let (minutes, seconds) = (more(text)?, more(text)?);
    let mut picos = 0;
    if takes(text, '.') || takes(text, ',') {
        let length = text.bytes().take_while(u8::is_ascii_digit).count();
        (1..=12).contains(&length).then_some(())?;
        picos = number(text, length)? * 10_i128.pow(12 - length as u32);
    }
    // Leap seconds and 24:00 are no time that a column holds.
    (hours < end && minutes < 60 && seconds < 60).then_some((hours * 3600 + minutes * 60 + seconds) * SECOND + picos)
}

fn offset_part(text: &mut &str) -> Option<Option<i128>> {
    if takes(text, 'Z') || takes(text, 'z') {
        return Some(Some(0));
    }
    let sign = match text.chars().next() {
        Some('+') => 1,
        Some('-') => -1,
        _ => return Some(None),
    };
    *text = &text[1..];
    Some(Some(sign * time_part(text, 100)?))
}

/// `2026-01-31`
pub fn date(text: &str) -> Option<i128> {
    let mut rest = text;
    let days = date_part(&mut rest)?;
    rest.is_empty().then_some(days)
}

/// `23:59:59.999999`: picoseconds since midnight.
pub fn time(text: &str) -> Option<i128> {
    let mut rest = text;
    let time = time_part(&mut rest, 24)?;
    rest.is_empty().then_some(time)
}

/// `2026-01-31T23:59:59.999999+02:00`, and the same without offset, or without a time.
pub fn moment(text: &str) -> Option<Moment> {
    let mut rest = text;
    let midnight = date_part(&mut rest)? * DAY;
    if rest.is_empty() {
        return Some(Moment::Clock(midnight));
    }
    (takes(&mut rest, 'T') || takes(&mut rest, 't') || takes(&mut rest, ' ')).then_some(())?;
    let clock = midnight + time_part(&mut rest, 24)?;
    let offset = offset_part(&mut rest)?;
    // A zone's name behind an offset adds nothing; alone it would need a table of zones.
    let rest = if offset.is_some() && rest.starts_with('[') { "" } else { rest };
    rest.is_empty().then_some(())?;
    Some(offset.map_or(Moment::Clock(clock), |offset| Moment::Instant(clock - offset)))
}

/// The nearest microsecond, and either of two that are equally near.
pub fn near(sent: i128, stored: i128) -> bool {
    stored % MICRO == 0 && 2 * (sent - stored).abs() <= MICRO
}
