//! What SQLite columns take: not what their declarations say, but what SQLite does with them.
//! <https://www.sqlite.org/datatype3.html>

use crate::catalogue::Kind;

/// What SQLite turns values into on their way into a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Affinity {
    Integer,
    Text,
    /// None: values stay as they are.
    Blob,
    Real,
    /// Text that looks like a number becomes one, in floating point if need be.
    Numeric,
}

/// By SQLite's own rules, in their order.
pub(super) fn affinity(declared: &str) -> Affinity {
    let upper = declared.to_ascii_uppercase();
    let has = |part: &str| upper.contains(part);
    if has("INT") {
        Affinity::Integer
    } else if has("CHAR") || has("CLOB") || has("TEXT") {
        Affinity::Text
    } else if has("BLOB") || upper.trim().is_empty() {
        Affinity::Blob
    } else if has("REAL") || has("FLOA") || has("DOUB") {
        Affinity::Real
    } else {
        Affinity::Numeric
    }
}

/// What mapping has to know of a column declared so. Lengths of texts are left out, as SQLite
/// holds nobody to them.
///
/// Times are stored as text, since SQLite has no type for them: `YYYY-MM-DD`, `HH:MM:SS[.ffffff]`,
/// `YYYY-MM-DD HH:MM:SS[.ffffff]` (as `CURRENT_TIMESTAMP` writes it; the fraction only where there
/// is one), and with `+00:00` behind it, in UTC, where the declaration says that there is a zone.
pub(in crate::sink) fn kind(declared: &str, strict: bool) -> Kind {
    let upper = declared.trim().to_ascii_uppercase();
    let name = upper.split('(').next().unwrap_or_default().trim();
    let zoned = name.contains("TIMESTAMPTZ") || upper.contains("WITH TIME ZONE") || name == "DATETIMEOFFSET";
    match name {
        "BOOLEAN" | "BOOL" => return Kind::Bool,
        "DATE" => return Kind::Date,
        "TIME" => return Kind::Time { fraction: 6 },
        "UUID" | "GUID" | "UNIQUEIDENTIFIER" => return Kind::Uuid,
        "JSON" | "JSONB" => return Kind::Json,
        "BINARY" | "VARBINARY" | "BYTEA" => return Kind::Bytes { max_bytes: None, fixed: false },
        "DECIMAL" | "NUMERIC" | "NUMBER" | "DEC" | "FIXED" | "MONEY" | "SMALLMONEY" => {
            return Kind::Decimal { precision: precision(&upper) };
        }
        "ANY" if strict => return Kind::Any,
        "DATETIME" | "DATETIME2" | "SMALLDATETIME" => return Kind::Timestamp { fraction: 6, zoned, range: None },
        _ if name.starts_with("TIMESTAMP") || zoned => return Kind::Timestamp { fraction: 6, zoned, range: None },
        _ => {}
    }
    match affinity(&upper) {
        Affinity::Integer => Kind::Int { min: i64::MIN.into(), max: i64::MAX.into() },
        Affinity::Text => Kind::Text { max_chars: None, max_bytes: None },
        Affinity::Blob if upper.is_empty() => Kind::Any,
        Affinity::Blob => Kind::Bytes { max_bytes: None, fixed: false },
        Affinity::Real => Kind::Float { bits: 64 },
        Affinity::Numeric => Kind::Other,
    }
}

/// `(10)` or `(10, 2)` in a declaration.
fn precision(declared: &str) -> Option<(u32, u32)> {
    let inside = declared.split_once('(')?.1.split_once(')')?.0;
    let mut numbers = inside.split(',').map(|number| number.trim().parse::<u32>());
    let digits = numbers.next()?.ok()?;
    match numbers.next() {
        None => Some((digits, 0)),
        Some(scale) => Some((digits, scale.ok()?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn declarations() {
        let int = Kind::Int { min: i64::MIN.into(), max: i64::MAX.into() };
        let text = Kind::Text { max_chars: None, max_bytes: None };
        let bytes = Kind::Bytes { max_bytes: None, fixed: false };
        let time = |zoned| Kind::Timestamp { fraction: 6, zoned, range: None };
        for (declared, expected) in [
            ("INTEGER", int.clone()),
            ("unsigned big int", int.clone()),
            ("TINYINT(1)", int),
            ("VARCHAR(3)", text.clone()),
            ("nchar", text.clone()),
            ("TEXT", text.clone()),
            ("CLOB", text),
            ("BLOB", bytes.clone()),
            ("VARBINARY(16)", bytes),
            ("", Kind::Any),
            ("REAL", Kind::Float { bits: 64 }),
            ("double precision", Kind::Float { bits: 64 }),
            ("NUMERIC", Kind::Decimal { precision: None }),
            ("DECIMAL(10, 2)", Kind::Decimal { precision: Some((10, 2)) }),
            ("decimal(7)", Kind::Decimal { precision: Some((7, 0)) }),
            ("BOOLEAN", Kind::Bool),
            ("DATE", Kind::Date),
            ("TIME(3)", Kind::Time { fraction: 6 }),
            ("DATETIME", time(false)),
            ("timestamp", time(false)),
            ("TIMESTAMP(6) WITH TIME ZONE", time(true)),
            ("timestamptz", time(true)),
            ("UUID", Kind::Uuid),
            ("JSON", Kind::Json),
            ("STRING", Kind::Other),
            ("ANY", Kind::Other),
        ] {
            assert_eq!(kind(declared, false), expected, "{declared}");
        }
        assert_eq!(kind("ANY", true), Kind::Any);
    }
}
