//! Dates and times, as producers write them.

use crate::random_values::equal::clock::days_in;
use crate::random_values::rng::Rng;

fn date_in(rng: &mut Rng, (first, last): (i128, i128)) -> String {
    let year = match rng.below(8) {
        0 => first,
        1 => last,
        2 => [1600, 1900, 1970, 2000, 2024, 2100][rng.below(6)].clamp(first, last),
        3 | 4 => rng.between(1960, 2040).clamp(first, last),
        _ => rng.between(first, last),
    };
    let month = if rng.percent(20) { 2 } else { rng.between(1, 12) };
    let last_day = days_in(year, month);
    let day = if rng.percent(20) { last_day } else { rng.between(1, last_day) };
    format!("{year:04}-{month:02}-{day:02}")
}

/// With at most so many digits that mean something; with six, further ones are rounded away.
fn clock(rng: &mut Rng, fraction: usize) -> String {
    let clock = match rng.below(6) {
        0 => "00:00:00".to_owned(),
        1 => "23:59:59".to_owned(),
        _ => format!("{:02}:{:02}:{:02}", rng.below(24), rng.below(60), rng.below(60)),
    };
    let digits = match rng.below(4) {
        0 => String::new(),
        1 => rng.digits(fraction),
        2 => {
            let meaning = rng.digits(fraction);
            format!("{meaning}{}", "0".repeat(rng.below(13 - fraction)))
        }
        _ => {
            let count = rng.below(fraction + 1);
            rng.digits(count)
        }
    };
    if digits.is_empty() { clock } else { format!("{clock}.{digits}") }
}

fn offset(rng: &mut Rng) -> String {
    match rng.below(4) {
        0 => rng.pick(&["Z", "z", "+00:00", "-00:00"]).to_owned(),
        1 => "Z".to_owned(),
        _ => format!("{}{:02}:{:02}", rng.pick(&["+", "-"]), rng.below(14), [0, 30, 45, 59][rng.below(4)]),
    }
}

pub fn date(rng: &mut Rng) -> String {
    let date = date_in(rng, (1, 9999));
    match rng.below(12) {
        0 => format!("\"{date}T00:00:00\""),
        1 => format!("\"{date} 00:00:00.000Z\""),
        _ => format!("\"{date}\""),
    }
}

pub fn time(rng: &mut Rng, fraction: usize) -> String {
    format!("\"{}\"", clock(rng, fraction))
}

pub fn timestamp(rng: &mut Rng, fraction: usize, zoned: bool, (first, last): (i128, i128)) -> String {
    let with_offset = zoned || rng.percent(40);
    // An offset may lead over the first or last year's end.
    let years = if with_offset { (first + 1, last - 1) } else { (first, last) };
    let date = date_in(rng, years);
    let mut clock = clock(rng, fraction);
    let top = date.starts_with("9999-12-31") && clock.starts_with("23:59:59");
    if fraction == 6 && !top && rng.percent(20) {
        // Finer than any column: the nearest microsecond counts.
        let whole = clock.split('.').next().unwrap_or_default().to_owned();
        let count = 7 + rng.below(6);
        clock = format!("{whole}.{}", rng.digits(count));
    }
    let offset = if with_offset { offset(rng) } else { String::new() };
    format!("\"{date}{}{clock}{offset}\"", rng.pick(&["T", "T", " ", "t"]))
}

/// What is no time, or none that everybody reads alike.
pub fn odd(rng: &mut Rng) -> String {
    let date = date_in(rng, (1, 9999));
    let clock = clock(rng, 6);
    let offset = offset(rng);
    let text = match rng.below(26) {
        0 => format!("{date}T23:59:60{offset}"),
        1 => format!("{date}T24:00:00{offset}"),
        2 => format!("{}T235960{offset}", date.replace('-', "")),
        3 => format!("{}T{}{offset}", date.replace('-', ""), clock.replace(':', "")),
        4 => format!("{date}T{clock}[Europe/Berlin]"),
        5 => format!("{date}T{clock}{offset}[Asia/Tokyo]"),
        6 => format!("{date}T{}{offset}", clock.replace('.', ",")),
        7 => format!("{}-02-30", &date[..4]),
        8 => format!("{}-02-29T{clock}{offset}", &date[..4]),
        9 => format!("{}-13-01", &date[..4]),
        10 => format!("0000-01-01T{clock}Z"),
        11 => format!("-000001-01-01T{clock}Z"),
        12 => format!("+010000-01-01T{clock}Z"),
        13 => format!("9999-12-31T23:59:59.9999{}{offset}", rng.digits(5)),
        14 => format!("0001-01-01T00:00:00{offset}"),
        15 => rng
            .pick(&["now", "today", "infinity", "-infinity", "epoch", "allballs", "tomorrow", "", "J2451545"])
            .to_owned(),
        16 => format!("{date}{clock}{offset}"),
        17 => format!(" {date}T{clock}{offset}"),
        18 => format!("{date}T{clock}+{:02}:{:02}", 14 + rng.below(13), rng.below(60)),
        19 => format!("{date}T{clock}{offset}:30"),
        20 => rng
            .pick(&["23:59:60", "24:00:00", "235960", "12", "1200", "12:00", "12:00Z", "12:00+02:00", "T12:00"])
            .to_owned(),
        21 => format!("{}[Europe/Berlin]", &clock[..8]),
        22 => format!("{date}[u-ca=hebrew]"),
        23 => format!("{date} {clock} UTC"),
        24 => [1970, 2038, 1000, 2106][rng.below(4)].to_string() + "-01-19T03:14:08Z",
        _ => return rng.between(-2_000_000_000, 4_000_000_000_000).to_string(),
    };
    format!("\"{text}\"")
}
