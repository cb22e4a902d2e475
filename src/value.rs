//! One value on its way into one column: it arrives as it was sent, or is refused.
//!
//! What a column would cut, round, shift or coerce is refused here with code `lossy`, before any
//! server sees it, so that all databases judge alike and a value's way doesn't depend on its
//! neighbours. Two conventions: a time with a zone goes into a column without one as UTC (or as
//! the column's `zone`), and fractions finer than a microsecond are rounded, since no database
//! holds them. Strings that spell a number exactly are taken by number columns; numbers are taken
//! by text columns as the digits that were sent.

mod array;
mod decimal;
mod json;
mod shortest;
pub(crate) mod time;

use std::borrow::Cow;

use crate::catalogue::Kind;
use crate::config::TimeUnit;
use crate::message::{Cell, Slice};
use decimal::{Decimal, Plain};
pub(crate) use json::Entries;

/// What a place in a message holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// `null`, or a void header.
    Null,
    /// A truth value.
    Bool(bool),
    /// A number in JSON's notation.
    Number(Cow<'a, str>),
    /// Text, unescaped.
    Text(Cow<'a, str>),
    /// A JSON array or object as sent.
    Json(Cow<'a, str>),
    /// Bytes.
    Bytes(Cow<'a, [u8]>),
    /// Whole seconds since 1970 (AMQP timestamps).
    Seconds(u64),
}

/// Why a value can't go into its column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// `wrong_type`, `out_of_range`, `too_long`, `lossy`, `no_zone`, `invalid`.
    pub code: &'static str,
    /// What the column wants, without the value.
    pub message: Cow<'static, str>,
}

pub(crate) fn refuse<T>(code: &'static str, message: impl Into<Cow<'static, str>>) -> Result<T, Refusal> {
    Err(Refusal { code, message: message.into() })
}

/// How the config bends the rules for a column.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// Numbers are times in this unit.
    pub time: Option<TimeUnit>,
    /// The zone of a column without one, and of texts without one.
    pub zone: Option<jiff::tz::TimeZone>,
    /// Cut and round instead of refusing.
    pub lossy: bool,
}

impl<'a> Value<'a> {
    /// Reads a JSON value as [`crate::decode`] leaves it.
    pub fn from_json(raw: &'a str) -> Result<Self, Refusal> {
        Ok(match raw.as_bytes().first() {
            Some(b'n') => Value::Null,
            Some(b't') => Value::Bool(true),
            Some(b'f') => Value::Bool(false),
            Some(b'{' | b'[') => Value::Json(raw.into()),
            // Without an escape there is no quote but the first and the last.
            Some(b'"') if !raw.as_bytes().contains(&b'\\') => {
                let text = raw.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
                Value::Text(text.unwrap_or_default().into())
            }
            Some(b'"') => match serde_json::from_str::<String>(raw) {
                Ok(text) => Value::Text(text.into()),
                Err(_) => return refuse("invalid", "the text has an escape that is no character (a lone surrogate)"),
            },
            _ => Value::Number(raw.into()),
        })
    }
}

/// A part of the body stays there; anything else is kept by itself.
fn slice(bytes: &[u8], body: &[u8]) -> Slice {
    let range = body.as_ptr_range();
    let start = bytes.as_ptr();
    if range.contains(&start) && body.len() <= u32::MAX as usize {
        let from = start as usize - range.start as usize;
        if from + bytes.len() <= body.len() {
            return Slice::Body { start: from as u32, end: (from + bytes.len()) as u32 };
        }
    }
    Slice::Owned(bytes.into())
}

fn text_cell(text: &str, body: &[u8]) -> Cell {
    Cell::Text(slice(text.as_bytes(), body))
}

fn owned(text: impl Into<String>) -> Cell {
    Cell::Text(Slice::Owned(text.into().into_bytes().into_boxed_slice()))
}

/// Turns a value into the cell that its column's kind takes.
///
/// # Errors
/// The refusal that becomes a dead letter of class `mapping`.
pub fn to_cell(value: &Value<'_>, kind: &Kind, rules: &Rules, body: &[u8]) -> Result<Cell, Refusal> {
    if *value == Value::Null {
        return Ok(Cell::Null);
    }
    match kind {
        Kind::Int { min, max } => integer(value, *min, *max, rules),
        Kind::Decimal { precision } => decimal_cell(value, *precision, rules, body),
        Kind::Float { bits } => float(value, *bits, rules),
        Kind::ScaledFloat { bits, precision } => scaled_float(value, *bits, *precision, rules),
        Kind::Bool => match value {
            Value::Bool(truth) => Ok(Cell::Bool(*truth)),
            _ => refuse("wrong_type", "the column takes true or false"),
        },
        Kind::Text { max_chars, max_bytes } => text(value, *max_chars, *max_bytes, rules, body),
        Kind::Char { max_chars } => padded(value, *max_chars, rules, body),
        Kind::Bytes { max_bytes, fixed } => bytes(value, *max_bytes, *fixed, rules, body),
        Kind::Date => time::date(value, rules).map(Cell::Date),
        Kind::Time { fraction } => time::time_of_day(value, *fraction, rules).map(Cell::Time),
        Kind::Timestamp { fraction, zoned, range } => {
            time::timestamp(value, *fraction, *zoned, *range, rules).map(Cell::Timestamp)
        }
        Kind::Uuid => uuid(value, body),
        Kind::Json => json::text(value, body),
        Kind::JsonTree { doubles } => json::tree(value, *doubles, body),
        Kind::Enum { labels } => match value {
            Value::Text(label) if labels.iter().any(|known| known == label) => Ok(text_cell(label, body)),
            Value::Text(_) => refuse("invalid", "the value is none of the column's labels"),
            _ => refuse("wrong_type", "the column takes one of its labels as text"),
        },
        Kind::Set { labels } => set(value, labels, body),
        Kind::Array(element) => array::literal(value, element, rules),
        Kind::Other | Kind::AsPrinted => other(value, body),
        Kind::Any => any(value, rules, body),
    }
}

fn exact_number(value: &Value<'_>, wanted: &'static str) -> Result<Decimal, Refusal> {
    match value {
        Value::Number(text) => Decimal::parse(text),
        // Money is often sent as text, so that nobody's float touches it.
        Value::Text(text) => Decimal::parse(text).or_else(|_| refuse("wrong_type", wanted)),
        Value::Seconds(seconds) => Decimal::parse(&seconds.to_string()),
        Value::Null | Value::Bool(_) | Value::Json(_) | Value::Bytes(_) => refuse("wrong_type", wanted),
    }
}

fn integer(value: &Value<'_>, min: i128, max: i128, rules: &Rules) -> Result<Cell, Refusal> {
    const WANTED: &str = "the column takes whole numbers";
    if let Value::Number(text) = value
        && let Ok(plain) = text.parse::<i64>()
        && (min..=max).contains(&plain.into())
    {
        return Ok(Cell::Int(plain));
    }
    // MySQL's and SQLite's truth values are small integers.
    if let Value::Bool(truth) = value
        && (min, max) == (-128, 127)
    {
        return Ok(Cell::Int((*truth).into()));
    }
    let number = exact_number(value, WANTED)?;
    let number = if rules.lossy { number.rounded(0) } else { number };
    if !number.is_whole() {
        return refuse("lossy", "the value has a fraction, the column takes whole numbers");
    }
    match number.to_i128() {
        Some(whole) if (min..=max).contains(&whole) => {
            Ok(i64::try_from(whole).map_or_else(|_| owned(whole.to_string()), Cell::Int))
        }
        _ => refuse("out_of_range", format!("the column takes whole numbers from {min} to {max}")),
    }
}

fn decimal_cell(value: &Value<'_>, precision: Option<(u32, u32)>, rules: &Rules, body: &[u8]) -> Result<Cell, Refusal> {
    if let (Value::Number(text) | Value::Text(text), Some((digits, scale)), false) = (value, precision, rules.lossy)
        && let Some(plain) = Plain::of(text)
        && plain.fraction <= scale as usize
        && plain.integer <= digits.saturating_sub(scale) as usize
    {
        return Ok(text_cell(text, body));
    }
    let number = exact_number(value, "the column takes decimal numbers")?;
    let Some((digits, scale)) = precision else {
        if number.integer_digits() > 131_072 || number.fraction_digits() > 16_383 {
            // PostgreSQL, "Numeric Types": the bounds of an unconstrained numeric.
            return refuse("out_of_range", "the value has more digits than any numeric column keeps");
        }
        return Ok(plain(&number, value, body));
    };
    let number = if rules.lossy { number.rounded(scale) } else { number };
    if number.fraction_digits() > scale as usize {
        return refuse("lossy", format!("the column keeps {scale} digits after the point, the value has more"));
    }
    if number.integer_digits() > digits.saturating_sub(scale) as usize {
        return refuse("out_of_range", format!("the column keeps {digits} digits, {scale} of them after the point"));
    }
    // A rounded number no longer is what the body says.
    Ok(if rules.lossy { owned(number.to_string()) } else { plain(&number, value, body) })
}

/// The digits as sent where they are in plain notation already.
fn plain(number: &Decimal, value: &Value<'_>, body: &[u8]) -> Cell {
    match value {
        Value::Number(text) | Value::Text(text) if number.is_plain(text) => text_cell(text, body),
        _ => owned(number.to_string()),
    }
}

fn float(value: &Value<'_>, bits: u8, rules: &Rules) -> Result<Cell, Refusal> {
    if let Value::Number(text) | Value::Text(text) = value
        && let Some(float) = certainly_exact(text, bits)
    {
        return Ok(Cell::Float(float));
    }
    let number = exact_number(value, "the column takes numbers")?;
    let text = number.to_scientific();
    let refused = || refuse("out_of_range", format!("the column is a float of {bits} bits and can't hold the value"));
    let (float, shortest) = if bits == 32 {
        let Ok(float) = text.parse::<f32>() else { return refused() };
        (f64::from(float), shortest::single(float))
    } else {
        let Ok(float) = text.parse::<f64>() else { return refused() };
        (float, shortest::double(float))
    };
    if !float.is_finite() || (float == 0.0 && !number.is_zero()) {
        return refused();
    }
    // Binary floats hold few decimals exactly. What counts is that reading the column gives the
    // number back that was sent.
    if !rules.lossy && shortest.and_then(|text| Decimal::parse(&text).ok()).as_ref() != Some(&number) {
        return refuse("lossy", format!("a float of {bits} bits would change the value's digits"));
    }
    Ok(Cell::Float(float))
}

/// Rounded to its scale as a decimal, which a float of so many digits may still not hold. The
/// column shows all digits of its scale: 99999.2 in FLOAT(12,4) is 99999.2031.
/// The float of a decimal with so few digits that reading the column is certain to give them back:
/// IEEE 754 keeps 15 of them in 64 bits and 6 in 32. Below 2^53 (2^24) no such decimal lies in the
/// middle of two floats either: it would need more digits. `None`: look closely.
fn certainly_exact(text: &str, bits: u8) -> Option<f64> {
    let plain = Plain::of(text)?;
    // Digits before the point bound it from above, zeros behind the point from below.
    let (kept, most_integer, most_fraction) = if bits == 32 { (6, 7, 30) } else { (15, 15, 200) };
    if plain.significant > kept || plain.integer > most_integer || plain.fraction > most_fraction {
        return None;
    }
    match bits {
        32 => text.parse::<f32>().ok().map(f64::from),
        _ => text.parse().ok(),
    }
}

fn scaled_float(value: &Value<'_>, bits: u8, precision: (u32, u32), rules: &Rules) -> Result<Cell, Refusal> {
    let Cell::Text(slice) = decimal_cell(value, Some(precision), rules, &[])? else { return Ok(Cell::Null) };
    let text = slice.text(&[]);
    let cell = float(&Value::Number(text.into()), bits, rules)?;
    if let Cell::Float(float) = cell
        && !rules.lossy
        && Decimal::parse(&format!("{float:.*}", precision.1 as usize)) != Decimal::parse(text)
    {
        return refuse("lossy", format!("a float of {bits} bits would change the value's digits; make it DECIMAL"));
    }
    Ok(cell)
}

fn text(
    value: &Value<'_>,
    max_chars: Option<u64>,
    max_bytes: Option<u64>,
    rules: &Rules,
    body: &[u8],
) -> Result<Cell, Refusal> {
    let text: Cow<'_, str> = match value {
        Value::Text(text) | Value::Number(text) | Value::Json(text) => Cow::Borrowed(text),
        Value::Bool(truth) => truth.to_string().into(),
        Value::Seconds(seconds) => time::rfc3339(*seconds).into(),
        Value::Bytes(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => text.into(),
            Err(_) => return refuse("invalid", "the column takes text, the bytes are not UTF-8"),
        },
        Value::Null => return Ok(Cell::Null),
    };
    let mut end = text.len();
    if let Some(limit) = max_bytes.and_then(|limit| usize::try_from(limit).ok())
        && end > limit
    {
        end = text.floor_char_boundary(limit);
    }
    // Characters never outnumber bytes, so most texts needn't be counted.
    if let Some(limit) = max_chars.and_then(|limit| usize::try_from(limit).ok())
        && end > limit
        && let Some((at, _)) = text.char_indices().nth(limit)
    {
        end = end.min(at);
    }
    if end < text.len() && !rules.lossy {
        return refuse("too_long", too_long(max_chars, max_bytes));
    }
    Ok(match &text {
        Cow::Borrowed(borrowed) => text_cell(&borrowed[..end], body),
        Cow::Owned(made) => owned(&made[..end]),
    })
}

fn padded(value: &Value<'_>, max_chars: u64, rules: &Rules, body: &[u8]) -> Result<Cell, Refusal> {
    let cell = text(value, Some(max_chars), None, rules, body)?;
    let Cell::Text(slice) = &cell else { return Ok(cell) };
    let kept = slice.text(body).trim_end_matches(' ');
    if kept.len() == slice.text(body).len() {
        return Ok(cell);
    }
    match rules.lossy {
        true => Ok(text_cell(kept, body)),
        false => refuse("lossy", "the column loses blanks at the end; declare it VARCHAR to keep them"),
    }
}

fn set(value: &Value<'_>, labels: &[String], body: &[u8]) -> Result<Cell, Refusal> {
    let Value::Text(text) = value else { return refuse("wrong_type", "the column takes labels, divided by commas") };
    // The server also reads a number as the labels' bits, and drops one of two that are the same.
    let known = |label: &str| labels.iter().any(|known| known == label);
    let parts: Vec<&str> = if text.is_empty() { Vec::new() } else { text.split(',').collect() };
    if !parts.iter().all(|part| known(part)) {
        return refuse("invalid", "the value is none of the column's labels, or not several divided by commas");
    }
    if (1..parts.len()).any(|at| parts[..at].contains(&parts[at])) {
        return refuse("lossy", "the value has a label twice, the column keeps one");
    }
    Ok(text_cell(text, body))
}

fn too_long(max_chars: Option<u64>, max_bytes: Option<u64>) -> String {
    match (max_chars, max_bytes) {
        (Some(chars), _) => format!("the column takes {chars} characters, the value has more"),
        (None, Some(bytes)) => format!("the column takes {bytes} bytes, the value has more"),
        (None, None) => "the value is too long".to_owned(),
    }
}

fn bytes(value: &Value<'_>, max_bytes: Option<u64>, fixed: bool, rules: &Rules, body: &[u8]) -> Result<Cell, Refusal> {
    let bytes: &[u8] = match value {
        Value::Bytes(bytes) => bytes,
        Value::Text(text) => text.as_bytes(),
        Value::Null => return Ok(Cell::Null),
        Value::Bool(_) | Value::Number(_) | Value::Json(_) | Value::Seconds(_) => {
            return refuse("wrong_type", "the column takes bytes: text (as its UTF-8), a binary header or the body");
        }
    };
    let limit = max_bytes.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
    if bytes.len() > limit && !rules.lossy {
        return refuse("too_long", too_long(None, max_bytes));
    }
    if fixed && bytes.len() < limit && !rules.lossy {
        return refuse("lossy", format!("the column pads to {limit} bytes, the value has fewer"));
    }
    Ok(Cell::Bytes(slice(&bytes[..bytes.len().min(limit)], body)))
}

fn uuid(value: &Value<'_>, body: &[u8]) -> Result<Cell, Refusal> {
    let Value::Text(text) = value else { return refuse("wrong_type", "the column takes a UUID as text") };
    let bytes = text.as_bytes();
    let hyphens = [8, 13, 18, 23];
    let well_formed = bytes.len() == 36
        && hyphens.iter().all(|&at| bytes[at] == b'-')
        && [0..8, 9..13, 14..18, 19..23, 24..36].into_iter().all(|part| bytes[part].iter().all(u8::is_ascii_hexdigit));
    if !well_formed {
        return refuse("invalid", "the column takes a UUID like 123e4567-e89b-12d3-a456-426614174000");
    }
    if bytes.iter().any(u8::is_ascii_uppercase) {
        return Ok(owned(text.to_ascii_lowercase()));
    }
    Ok(text_cell(text, body))
}

fn other(value: &Value<'_>, body: &[u8]) -> Result<Cell, Refusal> {
    text(value, None, None, &Rules::default(), body)
}

fn any(value: &Value<'_>, rules: &Rules, body: &[u8]) -> Result<Cell, Refusal> {
    match value {
        Value::Number(_) | Value::Seconds(_) => {
            let number = exact_number(value, "")?;
            match number.to_i128().map(i64::try_from) {
                Some(Ok(whole)) if number.is_whole() => Ok(Cell::Int(whole)),
                _ => float(value, 64, rules),
            }
        }
        Value::Bool(truth) => Ok(Cell::Bool(*truth)),
        Value::Bytes(_) => bytes(value, None, false, rules, body),
        Value::Null | Value::Text(_) | Value::Json(_) => other(value, body),
    }
}

#[cfg(test)]
mod tests;
