//! Column types of MySQL and MariaDB in mapping's terms.

use crate::catalogue::Kind;

/// Microseconds of 1000-01-01 00:00:00 and 9999-12-31 23:59:59.999999, between which DATETIME is
/// promised to work.
const DATETIME: (i64, i64) = (-30_610_224_000_000_000, 253_402_300_799_999_999);

/// One row of `information_schema.columns`, as far as a type goes.
#[derive(Clone, Debug, Default)]
pub(super) struct Declared {
    /// `decimal`
    pub data_type: String,
    /// `decimal(10,2) unsigned`
    pub column_type: String,
    pub max_chars: Option<u64>,
    pub max_bytes: Option<u64>,
    pub precision: Option<u32>,
    pub scale: Option<u32>,
    pub fraction: u8,
    pub charset: String,
    /// MariaDB's JSON: a text with a check on it.
    pub json_check: bool,
    /// TIMESTAMP reaches to 2106 (MariaDB from 11.5 on).
    pub long_timestamp: bool,
}

/// What mapping has to know of such a column.
pub(super) fn kind(declared: &Declared) -> Kind {
    let int = |bits: u32| {
        let unsigned = declared.column_type.contains("unsigned") || declared.column_type.contains("zerofill");
        match unsigned {
            true => Kind::Int { min: 0, max: (1_i128 << bits) - 1 },
            false => Kind::Int { min: -(1_i128 << (bits - 1)), max: (1_i128 << (bits - 1)) - 1 },
        }
    };
    let float = |bits: u8| match (declared.precision, declared.scale) {
        // FLOAT(7,4) rounds to the digits it was given.
        (Some(precision), Some(scale)) => Kind::ScaledFloat { bits, precision: (precision, scale) },
        _ => Kind::Float { bits },
    };
    let timestamp = |zoned, range| Kind::Timestamp { fraction: declared.fraction, zoned, range: Some(range) };
    match declared.data_type.as_str() {
        "tinyint" => int(8),
        "smallint" => int(16),
        "mediumint" => int(24),
        "int" | "integer" => int(32),
        "bigint" => int(64),
        "bit" => match declared.precision {
            Some(1) | None => Kind::Bool,
            Some(bits) => Kind::Int { min: 0, max: (1_i128 << bits.min(64)) - 1 },
        },
        // 0 is a year as well, but the numbers 1 to 99 would become others.
        "year" => Kind::Int { min: 1901, max: 2155 },
        "decimal" | "numeric" => {
            Kind::Decimal { precision: declared.precision.map(|precision| (precision, declared.scale.unwrap_or(0))) }
        }
        "float" => float(32),
        "double" | "real" => float(64),
        "char" if declared.max_chars.is_some() => Kind::Char { max_chars: declared.max_chars.unwrap_or_default() },
        "char" | "varchar" => Kind::Text { max_chars: declared.max_chars, max_bytes: None },
        "longtext" if declared.json_check => Kind::Json,
        "tinytext" | "text" | "mediumtext" | "longtext" => {
            // The limit counts bytes in the column's own character set; where that isn't ours, the
            // server is left to count.
            let ours = declared.charset.starts_with("utf8") || declared.charset == "ascii";
            Kind::Text { max_chars: None, max_bytes: declared.max_bytes.filter(|_| ours) }
        }
        "binary" => Kind::Bytes { max_bytes: declared.max_bytes, fixed: true },
        "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" => {
            Kind::Bytes { max_bytes: declared.max_bytes, fixed: false }
        }
        "date" => Kind::Date,
        "time" => Kind::Time { fraction: declared.fraction },
        "datetime" => timestamp(false, DATETIME),
        "timestamp" => {
            let last = if declared.long_timestamp { u32::MAX.into() } else { i64::from(i32::MAX) };
            timestamp(true, (1_000_000, last * 1_000_000 + 999_999))
        }
        "json" => Kind::JsonTree { doubles: true },
        "uuid" => Kind::Uuid,
        "enum" => Kind::Enum { labels: labels(&declared.column_type) },
        "set" => Kind::Set { labels: labels(&declared.column_type) },
        _ => Kind::Other,
    }
}

/// The labels in `enum('a','it''s')`.
fn labels(column_type: &str) -> Vec<String> {
    let (mut labels, mut label) = (Vec::new(), None::<String>);
    let mut rest = column_type.chars().peekable();
    while let Some(c) = rest.next() {
        match (&mut label, c) {
            (Some(text), '\'') if rest.peek() == Some(&'\'') => {
                rest.next();
                text.push('\'');
            }
            (Some(_), '\'') => labels.extend(label.take()),
            (Some(text), '\\') => text.extend(rest.next().map(|escaped| match escaped {
                'n' => '\n',
                'r' => '\r',
                '0' => '\0',
                other => other,
            })),
            (Some(text), c) => text.push(c),
            (None, '\'') => label = Some(String::new()),
            (None, _) => {}
        }
    }
    labels
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_by_width_and_sign() {
        let of = |data_type: &str, column_type: &str, precision| {
            kind(&Declared {
                data_type: data_type.into(),
                column_type: column_type.into(),
                precision,
                ..Default::default()
            })
        };
        assert_eq!(of("tinyint", "tinyint(1)", Some(3)), Kind::Int { min: -128, max: 127 });
        assert_eq!(of("mediumint", "mediumint unsigned", None), Kind::Int { min: 0, max: 16_777_215 });
        assert_eq!(of("bigint", "bigint(20) unsigned", None), Kind::Int { min: 0, max: u64::MAX.into() });
        assert_eq!(of("bigint", "bigint", None), Kind::Int { min: i64::MIN.into(), max: i64::MAX.into() });
        assert_eq!(of("bit", "bit(1)", Some(1)), Kind::Bool);
        assert_eq!(of("bit", "bit(64)", Some(64)), Kind::Int { min: 0, max: u64::MAX.into() });
        assert_eq!(of("set", "set('a','b')", None), Kind::Set { labels: vec!["a".into(), "b".into()] });
    }

    #[test]
    fn labels_unescaped() {
        assert_eq!(labels("enum('a','it''s','x,y','back\\\\slash','')"), ["a", "it's", "x,y", "back\\slash", ""]);
    }

    #[test]
    fn timestamps_end_where_the_server_ends_them() {
        let of =
            |long_timestamp| kind(&Declared { data_type: "timestamp".into(), long_timestamp, ..Default::default() });
        let range = |last| Kind::Timestamp { fraction: 0, zoned: true, range: Some((1_000_000, last)) };
        assert_eq!(of(false), range(2_147_483_647_999_999));
        assert_eq!(of(true), range(4_294_967_295_999_999));
    }
}
