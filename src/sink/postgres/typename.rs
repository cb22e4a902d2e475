//! Types by their names, without a server: as people write them in a CREATE TABLE.

use crate::catalogue::Kind;

use super::describe::Type;

/// What `pg_type` calls it, by the names that the manual gives.
const NAMES: [(&str, &str); 38] = [
    ("smallint", "int2"),
    ("smallserial", "int2"),
    ("integer", "int4"),
    ("int", "int4"),
    ("serial", "int4"),
    ("bigint", "int8"),
    ("bigserial", "int8"),
    ("real", "float4"),
    ("double precision", "float8"),
    ("float", "float8"),
    ("boolean", "bool"),
    ("numeric", "numeric"),
    ("decimal", "numeric"),
    ("character varying", "varchar"),
    ("character", "bpchar"),
    ("char", "bpchar"),
    ("timestamp with time zone", "timestamptz"),
    ("timestamp without time zone", "timestamp"),
    ("time without time zone", "time"),
    ("time with time zone", "timetz"),
    ("bit varying", "varbit"),
    ("int2", "int2"),
    ("int4", "int4"),
    ("int8", "int8"),
    ("float4", "float4"),
    ("float8", "float8"),
    ("bool", "bool"),
    ("varchar", "varchar"),
    ("bpchar", "bpchar"),
    ("timestamptz", "timestamptz"),
    ("timestamp", "timestamp"),
    ("time", "time"),
    ("text", "text"),
    ("bytea", "bytea"),
    ("date", "date"),
    ("uuid", "uuid"),
    ("json", "json"),
    ("jsonb", "jsonb"),
];

/// Types that only the server reads.
const OTHERS: [&str; 9] = ["inet", "cidr", "macaddr", "interval", "xml", "bit", "money", "oid", "point"];

/// What a column declared so takes; `None`: the name isn't known here.
pub(in crate::sink) fn kind(name: &str, arguments: &[i32]) -> Option<Kind> {
    if let Some(element) = name.strip_suffix("[]") {
        return kind(element.trim_end(), arguments).map(|kind| Kind::Array(Box::new(kind)));
    }
    if name == "citext" {
        return Some(Kind::Text { max_chars: None, max_bytes: None });
    }
    let known = NAMES.iter().find(|(written, _)| *written == name).map(|(_, known)| *known);
    let known = known.or_else(|| OTHERS.into_iter().find(|other| *other == name))?;
    let modifier = match (known, arguments) {
        ("varchar", [length]) => length + 4,
        // Without a length it is of one character.
        ("bpchar", []) if name != "bpchar" => 5,
        ("bpchar", [length]) => length + 4,
        ("numeric", [precision]) => (precision << 16) + 4,
        ("numeric", [precision, scale]) => (precision << 16) + scale + 4,
        ("time" | "timestamp" | "timestamptz", [fraction]) => *fraction,
        _ => -1,
    };
    Some(Type::built_in(known, modifier).kind())
}
