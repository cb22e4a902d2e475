//! Types by their names, without a server: as people write them in a CREATE TABLE.

use super::kinds::{self, Declared};
use crate::catalogue::Kind;

/// What a column declared so takes; `None`: the name isn't known here.
pub(in crate::sink) fn kind(name: &str, arguments: &[i32], declared: &str) -> Option<Kind> {
    let first = name.split(' ').next().unwrap_or_default();
    let data_type = match first {
        "bool" | "boolean" => "tinyint",
        "integer" => "int",
        "dec" | "numeric" | "fixed" => "decimal",
        "character" => "char",
        "real" => "double",
        known => known,
    };
    let number = |at: usize| arguments.get(at).and_then(|number| u32::try_from(*number).ok());
    let length = number(0).map(u64::from);
    let (max_chars, max_bytes) = match data_type {
        "char" => (length.or(Some(1)), None),
        "varchar" => (length, None),
        "binary" => (None, length.or(Some(1))),
        "varbinary" => (None, length),
        "tinytext" | "tinyblob" => (None, Some(0xff)),
        "text" | "blob" => (None, Some(0xffff)),
        "mediumtext" | "mediumblob" => (None, Some(0xff_ffff)),
        "longtext" | "longblob" => (None, Some(0xffff_ffff)),
        _ => (None, None),
    };
    let (precision, scale) = match data_type {
        "decimal" => (Some(number(0).unwrap_or(10)), Some(number(1).unwrap_or(0))),
        "float" | "double" | "bit" => (number(0), number(1)),
        _ => (None, None),
    };
    let kind = kinds::kind(&Declared {
        data_type: data_type.to_owned(),
        column_type: declared.to_ascii_lowercase(),
        max_chars,
        max_bytes,
        precision,
        scale,
        fraction: number(0).and_then(|fraction| u8::try_from(fraction).ok()).unwrap_or(0),
        charset: "utf8mb4".to_owned(),
        json_check: false,
        long_timestamp: false,
    });
    (kind != Kind::Other).then_some(kind)
}
