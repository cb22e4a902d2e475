//! Cells to SQLite's bound values, so that SQLite changes none of them.

use std::sync::Arc;

use sqlx::Arguments;
use sqlx::sqlite::SqliteArguments;

use super::kinds::{Affinity, affinity};
use crate::catalogue::{Column, Kind};
use crate::error::{ErrorClass, Failure};
use crate::message::Cell;
use crate::plan::Target;
use crate::sink::datetime_text;

/// How the texts of one column are bound.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Guard {
    /// As text, which nothing converts.
    Text,
    /// As the number that it is.
    Number,
    /// As text, unless SQLite would take it for a number and change it.
    NotANumber,
    /// JSON: as text, and a document that is nothing but a number as that number.
    Json,
}

/// How one column's cells are bound.
pub(super) struct Binder<'a> {
    column: &'a Column,
    guard: Guard,
    suffix: &'static str,
    null_is_replaced: bool,
}

impl<'a> Binder<'a> {
    /// For a column of a target.
    pub(super) fn new(target: &'a Target, at: usize) -> Self {
        let column = &target.columns[at];
        // What an expression returns is the expression's own affair.
        let plain = target.expressions.get(at).is_none_or(Option::is_none);
        let numeric = affinity(&column.sql_type) == Affinity::Numeric;
        let guard = match column.kind {
            Kind::Decimal { .. } | Kind::Int { .. } => Guard::Number,
            Kind::Json if numeric && plain => Guard::Json,
            Kind::Other if numeric && plain => Guard::NotANumber,
            _ => Guard::Text,
        };
        let suffix = if matches!(column.kind, Kind::Timestamp { zoned: true, .. }) { "+00:00" } else { "" };
        // `INTEGER PRIMARY KEY` numbers a NULL by itself.
        let null_is_replaced = plain && !column.nullable && column.has_default;
        Binder { column, guard, suffix, null_is_replaced }
    }

    /// Adds a cell.
    ///
    /// # Errors
    /// `row_rejected`, code `lossy`: SQLite would store another value.
    pub(super) fn add(&self, arguments: &mut SqliteArguments, cell: &Cell, body: &[u8]) -> Result<(), Failure> {
        match cell {
            Cell::Null | Cell::Absent if self.null_is_replaced => Err(self.no_null()),
            Cell::Null | Cell::Absent => self.push(arguments, None::<i64>),
            Cell::Bool(value) => self.push(arguments, i64::from(*value)),
            Cell::Int(value) => self.push(arguments, *value),
            Cell::Float(value) => self.push(arguments, *value),
            Cell::Date(days) => self.push_text(arguments, datetime_text::date(*days).as_str()),
            Cell::Time(micros) => self.push_text(arguments, datetime_text::time(*micros).as_str()),
            Cell::Timestamp(micros) => {
                let mut text = datetime_text::timestamp(*micros);
                text.push(self.suffix);
                self.push_text(arguments, text.as_str())
            }
            Cell::Bytes(slice) => self.push(arguments, slice.bytes(body).to_vec()),
            Cell::Text(slice) => self.add_text(arguments, slice.text(body)),
        }
    }

    fn add_text(&self, arguments: &mut SqliteArguments, text: &str) -> Result<(), Failure> {
        match self.guard {
            Guard::Text => return self.push_text(arguments, text),
            Guard::NotANumber if !changes(text) => return self.push_text(arguments, text),
            Guard::Json if !changes(text) => return self.push_text(arguments, text),
            Guard::NotANumber => return Err(self.lossy(text)),
            Guard::Number | Guard::Json => {}
        }
        match number(text.trim()) {
            Some(Number::Integer(value)) => self.push(arguments, value),
            Some(Number::Real(value)) => self.push(arguments, value),
            None => Err(self.lossy(text)),
        }
    }

    /// One allocation, which sqlx takes over; `&str` would cost it two.
    fn push_text(&self, arguments: &mut SqliteArguments, text: &str) -> Result<(), Failure> {
        self.push(arguments, Arc::<str>::from(text))
    }

    fn push<'t, T>(&self, arguments: &mut SqliteArguments, value: T) -> Result<(), Failure>
    where
        T: sqlx::Encode<'t, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>,
    {
        arguments.add(value).map_err(|error| {
            Failure::new(ErrorClass::Unknown, "bind", "the value couldn't be bound")
                .column(&self.column.name)
                .detail(error.to_string())
        })
    }

    fn lossy(&self, text: &str) -> Failure {
        Failure::new(
            ErrorClass::RowRejected,
            "lossy",
            format!(
                "SQLite would store another number in a column declared {} than was sent; \
                 declare it TEXT to keep every digit",
                self.column.sql_type
            ),
        )
        .column(&self.column.name)
        .detail(text)
    }

    fn no_null(&self) -> Failure {
        Failure::new(
            ErrorClass::RowRejected,
            "SQLITE_CONSTRAINT_NOTNULL",
            "the message says null, which the column doesn't take",
        )
        .column(&self.column.name)
    }
}

/// An exact number.
#[derive(Debug, PartialEq)]
enum Number {
    Integer(i64),
    Real(f64),
}

/// A decimal in plain notation as what SQLite can keep of it exactly: a 64-bit integer, or a
/// binary number of at most 15 significant digits, which come back as they were.
fn number(text: &str) -> Option<Number> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !all_digits(whole) || !all_digits(fraction) {
        return None;
    }
    let fraction = fraction.trim_end_matches('0');
    if fraction.is_empty()
        && let Ok(integer) = text.split('.').next().unwrap_or_default().parse()
    {
        return Some(Number::Integer(integer));
    }
    let significant = match (whole.trim_start_matches('0'), fraction) {
        ("", fraction) => fraction.trim_start_matches('0').len(),
        (whole, "") => whole.trim_end_matches('0').len(),
        (whole, fraction) => whole.len() + fraction.len(),
    };
    let real: f64 = text.parse().ok()?;
    (significant <= 15 && real.is_normal()).then_some(Number::Real(real))
}

/// SQLite would take this text for a number, and show it otherwise than it was.
fn changes(text: &str) -> bool {
    let trimmed = text.trim_matches([' ', '\t', '\n', '\r', '\x0b', '\x0c']);
    let looks_numeric = trimmed.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c))
        && trimmed.contains(|c: char| c.is_ascii_digit())
        && trimmed.parse::<f64>().is_ok();
    looks_numeric && text.parse::<i64>().ok().is_none_or(|integer| integer.to_string() != text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_sqlite_keeps() {
        for (text, expected) in [
            ("0", Some(Number::Integer(0))),
            ("-0", Some(Number::Integer(0))),
            ("12.00", Some(Number::Integer(12))),
            ("9223372036854775807", Some(Number::Integer(i64::MAX))),
            ("-9223372036854775808.0", Some(Number::Integer(i64::MIN))),
            ("9223372036854775808", None),
            ("100000000000000000000", Some(Number::Real(1e20))),
            ("0.1", Some(Number::Real(0.1))),
            ("-12.34", Some(Number::Real(-12.34))),
            ("0.000000000000000000000123456789012345", Some(Number::Real(1.23456789012345e-22))),
            ("123456789.123456", Some(Number::Real(123456789.123456))),
            ("123456789.1234567", None),
            ("1e5", None),
            ("", None),
            ("-", None),
            ("1.2.3", None),
        ] {
            assert_eq!(number(text), expected, "{text}");
        }
        assert_eq!(number(&format!("1{}", "0".repeat(400))), None);
    }

    #[test]
    fn texts_that_sqlite_would_change() {
        for text in ["007", "1.0", "1.50", "1e5", " 7", "7 ", "+7", ".5", "5.", "9223372036854775808", "-0"] {
            assert!(changes(text), "{text}");
        }
        for text in ["7", "-12", "", "-", "abc", "inf", "-inf", "nan", "0x10", "1e", "1 2", "2024-01-01", "{\"a\":1}"] {
            assert!(!changes(text), "{text}");
        }
    }
}
