//! Cells to bound values. A statement's types depend on its columns alone, never on a value: the
//! server keeps what it prepared.

use sqlx::mysql::MySqlArguments;
use sqlx::{Arguments, Encode, MySql, Type};

use crate::catalogue::{Column, Kind};
use crate::error::{ErrorClass, Failure};
use crate::message::{Cell, Row};
use crate::plan::Target;
use crate::sink::datetime_text;

/// The protocol's type of a column.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wire {
    Signed,
    Unsigned,
    Double,
    /// Everything that the server reads from text, times among it.
    Text,
    Bytes,
}

/// How one column's cells are bound.
pub(super) struct Binder<'a> {
    column: &'a Column,
    wire: Wire,
    null_is_replaced: bool,
    trims: bool,
}

impl<'a> Binder<'a> {
    /// For a column of a target.
    pub(super) fn new(target: &'a Target, at: usize) -> Self {
        let column = &target.columns[at];
        // What an expression returns is the expression's own affair.
        let plain = target.expressions.get(at).is_none_or(Option::is_none);
        let wire = match column.kind {
            Kind::Int { max, .. } if max > i64::MAX.into() => Wire::Unsigned,
            Kind::Int { .. } | Kind::Bool => Wire::Signed,
            Kind::Float { .. } | Kind::ScaledFloat { .. } => Wire::Double,
            Kind::Bytes { .. } => Wire::Bytes,
            _ => Wire::Text,
        };
        Binder {
            column,
            wire,
            // AUTO_INCREMENT counts up for a NULL, and TIMESTAMP may take the present.
            null_is_replaced: plain && !column.nullable && column.has_default,
            // CHAR gives blanks at the end back to nobody.
            trims: plain && column.sql_type.starts_with("char"),
        }
    }

    /// Adds a cell.
    ///
    /// # Errors
    /// `row_rejected`: the server would store another value without a word.
    pub(super) fn add(&self, arguments: &mut MySqlArguments, cell: &Cell, body: &[u8]) -> Result<(), Failure> {
        match (cell, self.wire) {
            (Cell::Null | Cell::Absent, _) if self.null_is_replaced => {
                Err(self.rejected("1048", "the message says null, which the column doesn't take"))
            }
            (Cell::Null | Cell::Absent, Wire::Signed) => self.push(arguments, None::<i64>),
            (Cell::Null | Cell::Absent, Wire::Unsigned) => self.push(arguments, None::<u64>),
            (Cell::Null | Cell::Absent, Wire::Double) => self.push(arguments, None::<f64>),
            (Cell::Null | Cell::Absent, Wire::Text) => self.push(arguments, None::<&str>),
            (Cell::Null | Cell::Absent, Wire::Bytes) => self.push(arguments, None::<&[u8]>),
            (Cell::Bool(value), Wire::Signed) => self.push(arguments, i64::from(*value)),
            (Cell::Int(value), Wire::Signed) => self.push(arguments, *value),
            (Cell::Int(value), Wire::Unsigned) => match u64::try_from(*value) {
                Ok(value) => self.push(arguments, value),
                Err(_) => Err(self.rejected("1264", "the value is below zero, and the column is unsigned")),
            },
            (Cell::Text(slice), Wire::Unsigned) => match slice.text(body).parse::<u64>() {
                Ok(value) => self.push(arguments, value),
                Err(_) => Err(self.rejected("1264", "the value isn't a whole number within the column's range")),
            },
            (Cell::Float(value), Wire::Double) => self.push(arguments, *value),
            (Cell::Text(slice), Wire::Text) => {
                let text = slice.text(body);
                if self.trims && text.ends_with(' ') {
                    let words = "a CHAR column loses blanks at the end; make it VARCHAR";
                    return Err(self.rejected("lossy", words));
                }
                self.push(arguments, text)
            }
            (Cell::Date(days), Wire::Text) => self.push(arguments, datetime_text::date(*days).as_str()),
            (Cell::Time(micros), Wire::Text) => self.push(arguments, datetime_text::time(*micros).as_str()),
            (Cell::Timestamp(micros), Wire::Text) => self.push(arguments, datetime_text::timestamp(*micros).as_str()),
            (Cell::Bytes(slice), Wire::Bytes) => self.push(arguments, slice.bytes(body)),
            _ => Err(Failure::new(
                ErrorClass::Unknown,
                "bind",
                format!("the cell doesn't fit a column of type {}; this is a bug", self.column.sql_type),
            )
            .column(&self.column.name)),
        }
    }

    fn push<'t, T: Encode<'t, MySql> + Type<MySql>>(
        &self,
        arguments: &mut MySqlArguments,
        value: T,
    ) -> Result<(), Failure> {
        arguments.add(value).map_err(|error| {
            Failure::new(ErrorClass::Unknown, "bind", "the value couldn't be bound")
                .column(&self.column.name)
                .detail(error.to_string())
        })
    }

    fn rejected(&self, code: &'static str, message: &'static str) -> Failure {
        Failure::new(ErrorClass::RowRejected, code, message).column(&self.column.name)
    }
}

/// Bytes that one value costs beside its own: its type, its length, its bit among the NULLs.
pub(super) const VALUE_OVERHEAD: usize = 12;

/// At least the bytes that these columns of a row take in a statement's packet.
pub(super) fn packet_bytes(row: &Row, columns: &[usize]) -> usize {
    columns.iter().filter_map(|&at| row.0.get(at)).map(cell_bytes).sum()
}

/// At least the bytes that a cell takes in a statement's packet.
pub(super) fn cell_bytes(cell: &Cell) -> usize {
    VALUE_OVERHEAD
        + match cell {
            Cell::Text(slice) | Cell::Bytes(slice) => slice_bytes(slice),
            // The longest time's text; numbers have 8 bytes.
            _ => 27,
        }
}

fn slice_bytes(slice: &crate::message::Slice) -> usize {
    match slice {
        crate::message::Slice::Body { start, end } => end.saturating_sub(*start) as usize,
        crate::message::Slice::Owned(bytes) => bytes.len(),
        crate::message::Slice::Shared(bytes) => bytes.len(),
    }
}
