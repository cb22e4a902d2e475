//! One column of a batch as a PostgreSQL array in binary.
//!
//! What is bound depends on the column's kind and never on a value: the server's plan and the
//! driver's statement cache are both chosen by text and types alone.

use sqlx::encode::{Encode, IsNull};
use sqlx::error::BoxDynError;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgArgumentBuffer, PgTypeInfo};
use sqlx::{Postgres, Type};

use crate::catalogue::Kind;
use crate::message::{Cell, Row};

/// PostgreSQL counts days and microseconds from 2000-01-01.
const EPOCH_DAYS: i32 = 10_957;
const EPOCH_MICROS: i64 = EPOCH_DAYS as i64 * 86_400_000_000;

/// The type of an array's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bind {
    Bool,
    Int,
    Float,
    Text,
    Bytes,
    Date,
    Time,
    Timestamp,
    Timestamptz,
    Uuid,
}

impl Bind {
    /// What values of a kind are bound as. Whatever isn't exact in a binary form of ours travels
    /// as text and is read by the server.
    pub fn of(kind: &Kind) -> Bind {
        match kind {
            Kind::Bool => Bind::Bool,
            Kind::Int { max, .. } if *max <= i128::from(i64::MAX) => Bind::Int,
            Kind::Float { .. } | Kind::ScaledFloat { .. } => Bind::Float,
            Kind::Bytes { .. } => Bind::Bytes,
            Kind::Date => Bind::Date,
            Kind::Time { .. } => Bind::Time,
            Kind::Timestamp { zoned: false, .. } => Bind::Timestamp,
            Kind::Timestamp { zoned: true, .. } => Bind::Timestamptz,
            Kind::Uuid => Bind::Uuid,
            Kind::Int { .. }
            | Kind::Decimal { .. }
            | Kind::Text { .. }
            | Kind::Char { .. }
            | Kind::Json
            | Kind::JsonTree { .. }
            | Kind::Enum { .. }
            | Kind::Set { .. }
            | Kind::Array(_)
            | Kind::Other
            | Kind::AsPrinted
            | Kind::Any => Bind::Text,
        }
    }

    /// The array type in SQL.
    pub fn array_name(self) -> &'static str {
        match self {
            Bind::Bool => "bool[]",
            Bind::Int => "int8[]",
            Bind::Float => "float8[]",
            Bind::Text => "text[]",
            Bind::Bytes => "bytea[]",
            Bind::Date => "date[]",
            Bind::Time => "time[]",
            Bind::Timestamp => "timestamp[]",
            Bind::Timestamptz => "timestamptz[]",
            Bind::Uuid => "uuid[]",
        }
    }

    /// OIDs of element and array; built-in types have the same ones everywhere.
    fn oids(self) -> (u32, u32) {
        match self {
            Bind::Bool => (16, 1000),
            Bind::Int => (20, 1016),
            Bind::Float => (701, 1022),
            Bind::Text => (25, 1009),
            Bind::Bytes => (17, 1001),
            Bind::Date => (1082, 1182),
            Bind::Time => (1083, 1183),
            Bind::Timestamp => (1114, 1115),
            Bind::Timestamptz => (1184, 1185),
            Bind::Uuid => (2950, 2951),
        }
    }
}

/// The cells of one column of some rows.
pub(super) struct Column<'a> {
    pub bind: Bind,
    /// The column's place in the rows.
    pub at: usize,
    pub rows: &'a [(&'a Row, &'a [u8])],
}

impl Type<Postgres> for Column<'_> {
    fn type_info() -> PgTypeInfo {
        // Always overridden by `produces`.
        PgTypeInfo::with_oid(Oid(Bind::Text.oids().1))
    }
}

impl Encode<'_, Postgres> for Column<'_> {
    fn encode_by_ref(&self, buf: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        let count = i32::try_from(self.rows.len())?;
        for header in [1, 0, self.bind.oids().0.cast_signed(), count, 1] {
            buf.extend_from_slice(&i32::to_be_bytes(header)); // dimensions, flags, type, length, lower bound
        }
        for (row, body) in self.rows {
            let cell = row.0.get(self.at).unwrap_or(&Cell::Absent);
            element(buf, self.bind, cell, body)?;
        }
        Ok(IsNull::No)
    }

    fn produces(&self) -> Option<PgTypeInfo> {
        Some(PgTypeInfo::with_oid(Oid(self.bind.oids().1)))
    }

    fn size_hint(&self) -> usize {
        20 + self.rows.len() * 12
    }
}

fn element(buf: &mut Vec<u8>, bind: Bind, cell: &Cell, body: &[u8]) -> Result<(), BoxDynError> {
    let out_of_range = "a date or time is outside of what PostgreSQL can hold";
    match (bind, cell) {
        (_, Cell::Null) => buf.extend_from_slice(&(-1_i32).to_be_bytes()),
        (Bind::Bool, Cell::Bool(value)) => value_bytes(buf, &[u8::from(*value)])?,
        (Bind::Int, Cell::Int(value)) => value_bytes(buf, &value.to_be_bytes())?,
        (Bind::Float, Cell::Float(value)) => value_bytes(buf, &value.to_be_bytes())?,
        (Bind::Text, Cell::Text(slice)) | (Bind::Bytes, Cell::Bytes(slice)) => value_bytes(buf, slice.bytes(body))?,
        // `Kind::Int` beyond 64 bits.
        (Bind::Text, Cell::Int(value)) => value_bytes(buf, value.to_string().as_bytes())?,
        (Bind::Date, Cell::Date(days)) => {
            value_bytes(buf, &days.checked_sub(EPOCH_DAYS).ok_or(out_of_range)?.to_be_bytes())?;
        }
        (Bind::Uuid, Cell::Text(slice)) => {
            value_bytes(buf, &uuid(slice.bytes(body)).ok_or("a text that is no UUID")?)?;
        }
        (Bind::Time, Cell::Time(micros)) => value_bytes(buf, &micros.to_be_bytes())?,
        (Bind::Timestamp | Bind::Timestamptz, Cell::Timestamp(micros)) => {
            value_bytes(buf, &micros.checked_sub(EPOCH_MICROS).ok_or(out_of_range)?.to_be_bytes())?;
        }
        _ => return Err(format!("a cell's form doesn't go with {}", bind.array_name()).into()),
    }
    Ok(())
}

/// Of a text in the form that mapping lets through.
fn uuid(text: &[u8]) -> Option<[u8; 16]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    };
    let mut digits = text.iter().copied().filter(|&byte| byte != b'-');
    let mut bytes = [0; 16];
    for byte in &mut bytes {
        *byte = digit(digits.next()?)? << 4 | digit(digits.next()?)?;
    }
    digits.next().is_none().then_some(bytes)
}

fn value_bytes(buf: &mut Vec<u8>, bytes: &[u8]) -> Result<(), BoxDynError> {
    buf.extend_from_slice(&i32::try_from(bytes.len())?.to_be_bytes());
    buf.extend_from_slice(bytes);
    Ok(())
}

/// Bytes of a row on the wire, arrays' headers left out.
pub(super) fn encoded_len(row: &Row, body: &[u8]) -> usize {
    let payload = |cell: &Cell| match cell {
        Cell::Text(slice) | Cell::Bytes(slice) => slice.bytes(body).len(),
        Cell::Absent | Cell::Null => 0,
        Cell::Bool(_) | Cell::Int(_) | Cell::Float(_) | Cell::Date(_) | Cell::Time(_) | Cell::Timestamp(_) => 20,
    };
    row.0.iter().map(|cell| 4 + payload(cell)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Slice;

    fn bytes(bind: Bind, cell: &Cell) -> Result<Vec<u8>, BoxDynError> {
        let mut buf = Vec::new();
        element(&mut buf, bind, cell, b"").map(|()| buf)
    }

    #[test]
    fn times_count_from_2000() {
        assert_eq!(bytes(Bind::Date, &Cell::Date(10_957)).unwrap(), [0, 0, 0, 4, 0, 0, 0, 0]);
        assert_eq!(
            bytes(Bind::Timestamptz, &Cell::Timestamp(946_684_800_000_000)).unwrap(),
            [0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0]
        );
        assert!(bytes(Bind::Timestamp, &Cell::Timestamp(i64::MIN)).is_err());
    }

    #[test]
    fn a_uuid_is_sixteen_bytes() {
        let text = |text: &str| Cell::Text(Slice::Owned(text.as_bytes().into()));
        let bound = bytes(Bind::Uuid, &text("123e4567-e89b-12d3-a456-4266141740ff")).unwrap();
        assert_eq!(bound[..8], [0, 0, 0, 16, 0x12, 0x3e, 0x45, 0x67]);
        assert_eq!((bound.len(), bound[19]), (20, 0xff));
        for wrong in ["", "123e4567", "123e4567-e89b-12d3-a456-4266141740ffaa", "123e4567-e89b-12d3-a456-42661417éff"]
        {
            assert!(bytes(Bind::Uuid, &text(wrong)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_cell_of_another_form_is_refused_and_not_coerced() {
        assert!(bytes(Bind::Int, &Cell::Float(1.0)).is_err());
        assert!(bytes(Bind::Text, &Cell::Absent).is_err());
        assert_eq!(bytes(Bind::Int, &Cell::Null).unwrap(), [255, 255, 255, 255]);
    }
}
