//! What the catalogue says of a table.

use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};

use crate::catalogue::{Column, Kind, Table, TableName};
use crate::error::{ErrorClass, Failure};
use crate::nearest::there_is;

use super::classify::failure;
use super::statement;

const RELATION: &str = "SELECT c.oid::int8, c.relkind::text FROM pg_class c WHERE c.oid = to_regclass($1)";

/// Columns with their domains followed down to the type underneath: the type to cast to is that
/// one, because a cast to a domain over `varchar(3)` would cut in silence.
const COLUMNS: &str = "
WITH RECURSIVE base (num, name, type, modifier, nullable, has_default, generated) AS (
    SELECT attnum, attname, atttypid, atttypmod, NOT attnotnull,
           atthasdef OR attidentity <> '', attgenerated <> '' OR attidentity = 'a'
    FROM pg_attribute WHERE attrelid = $1::int8::oid AND attnum > 0 AND NOT attisdropped
  UNION ALL
    SELECT b.num, b.name, t.typbasetype, t.typtypmod, b.nullable AND NOT t.typnotnull,
           b.has_default OR t.typdefault IS NOT NULL, b.generated
    FROM base b JOIN pg_type t ON t.oid = b.type WHERE t.typtype = 'd')
SELECT b.name::text, format_type(b.type, b.modifier), b.nullable, b.has_default, b.generated, b.modifier,
       t.typcategory = 'A' AND t.typelem <> 0 AS is_array,
       e.typname::text, e.typtype::text, e.typnamespace = 'pg_catalog'::regnamespace,
       ARRAY(SELECT enumlabel::text FROM pg_enum WHERE enumtypid = e.oid ORDER BY enumsortorder)
FROM base b
JOIN pg_type t ON t.oid = b.type
JOIN pg_type e ON e.oid = CASE WHEN t.typcategory = 'A' AND t.typelem <> 0 THEN t.typelem ELSE t.oid END
WHERE t.typtype <> 'd'
ORDER BY b.num";

/// Unique for every row and at every statement: no predicate, no expression, not deferrable.
const UNIQUE_KEYS: &str = "
SELECT ARRAY(SELECT a.attname::text
             FROM unnest(i.indkey[0:i.indnkeyatts - 1]) WITH ORDINALITY AS k(num, place)
             JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.num ORDER BY k.place)
FROM pg_index i
WHERE i.indrelid = $1::int8::oid AND i.indisunique AND i.indisvalid AND i.indimmediate
  AND i.indpred IS NULL AND i.indexprs IS NULL
ORDER BY i.indisprimary DESC, i.indexrelid";

/// Where rows could go, for a name that isn't there.
const TABLES: &str = "
SELECT format('%s.%s', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'f') AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
ORDER BY 1 LIMIT 5000";

/// The table's OID.
pub(super) async fn find(conn: &mut PgConnection, table: &TableName) -> Result<i64, Failure> {
    let found =
        sqlx::query(RELATION).bind(statement::table(table)).fetch_optional(&mut *conn).await.map_err(failure).map_err(
            |mut failure| {
                if failure.code == "42501" {
                    let schema = table.schema.as_deref().unwrap_or_default();
                    failure.message =
                        format!("this login may not use the schema of {table}: GRANT USAGE ON SCHEMA {schema}").into();
                }
                failure
            },
        )?;
    let Some(row) = found else { return Err(missing(conn, table).await?) };
    let kind: String = row.try_get(1).map_err(failure)?;
    if !matches!(kind.as_str(), "r" | "p" | "v" | "f") {
        let message = format!("{table} is no table that rows can be inserted into (pg_class.relkind is {kind})");
        return Err(Failure::new(ErrorClass::SinkMisconfigured, "42809", message));
    }
    row.try_get(0).map_err(failure)
}

async fn missing(conn: &mut PgConnection, table: &TableName) -> Result<Failure, Failure> {
    let tables: Vec<String> = sqlx::query_scalar(TABLES).fetch_all(conn).await.map_err(failure)?;
    let hint = there_is(&table.name, &tables);
    let message = format!("table {table} is not there{hint}: create it, or correct the pipeline's `table`");
    Ok(Failure::new(ErrorClass::SinkMisconfigured, "42P01", message))
}

/// Reads a table's description.
pub(super) async fn describe(conn: &mut PgConnection, name: &TableName) -> Result<Table, Failure> {
    let oid = find(conn, name).await?;
    let rows = sqlx::query(COLUMNS).bind(oid).fetch_all(&mut *conn).await.map_err(failure)?;
    let columns = rows.iter().map(column).collect::<Result<_, _>>().map_err(failure)?;
    let unique_keys = sqlx::query_scalar(UNIQUE_KEYS).bind(oid).fetch_all(conn).await.map_err(failure)?;
    Ok(Table { name: name.clone(), columns, unique_keys })
}

fn column(row: &PgRow) -> Result<Column, sqlx::Error> {
    let element = Type {
        modifier: row.try_get(5)?,
        name: row.try_get(7)?,
        sort: row.try_get(8)?,
        built_in: row.try_get(9)?,
        labels: row.try_get(10)?,
    };
    let kind = if row.try_get(6)? { Kind::Array(Box::new(element.kind())) } else { element.kind() };
    Ok(Column {
        name: row.try_get(0)?,
        sql_type: row.try_get(1)?,
        kind,
        nullable: row.try_get(2)?,
        has_default: row.try_get(3)?,
        generated: row.try_get(4)?,
    })
}

/// A row of `pg_type` with a column's modifier.
pub(super) struct Type {
    name: String,
    /// `pg_type.typtype`
    sort: String,
    built_in: bool,
    /// Length, precision, scale; -1: none.
    modifier: i32,
    labels: Vec<String>,
}

impl Type {
    /// One of the server's own.
    pub(super) fn built_in(name: &str, modifier: i32) -> Type {
        Type { name: name.to_owned(), sort: "b".to_owned(), built_in: true, modifier, labels: Vec::new() }
    }

    pub(super) fn kind(self) -> Kind {
        let integer = |min: i64, max: i64| Kind::Int { min: min.into(), max: max.into() };
        let text = |max_chars, max_bytes| Kind::Text { max_chars, max_bytes };
        match (self.name.as_str(), self.built_in) {
            _ if self.sort == "e" => Kind::Enum { labels: self.labels },
            ("citext", _) => text(None, None),
            // Composite types, ranges, and domains as elements of an array, which the query doesn't
            // follow. Types of extensions have their own ways to be read and printed.
            (_, false) if self.sort != "b" => Kind::AsPrinted,
            (_, false) => Kind::Other,
            ("int2", _) => integer(i16::MIN.into(), i16::MAX.into()),
            ("int4", _) => integer(i32::MIN.into(), i32::MAX.into()),
            ("int8", _) => integer(i64::MIN, i64::MAX),
            ("oid", _) => integer(0, u32::MAX.into()),
            ("float4", _) => Kind::Float { bits: 32 },
            ("float8", _) => Kind::Float { bits: 64 },
            ("bool", _) => Kind::Bool,
            ("numeric", _) => numeric(self.modifier),
            // Rounded by the server's locale: the statement compares.
            ("money", _) => Kind::Decimal { precision: None },
            ("bpchar", _) if self.modifier >= 4 => Kind::Char { max_chars: (self.modifier - 4).unsigned_abs().into() },
            ("varchar" | "bpchar", _) => text(u64::try_from(self.modifier - 4).ok(), None),
            ("text", _) => text(None, None),
            // These two cut in silence, whatever the cast.
            ("name", _) => text(None, Some(63)),
            ("char", _) => text(None, Some(1)),
            ("bytea", _) => Kind::Bytes { max_bytes: None, fixed: false },
            ("date", _) => Kind::Date,
            ("time", _) => Kind::Time { fraction: fraction(self.modifier) },
            ("timestamp", _) => Kind::Timestamp { fraction: fraction(self.modifier), zoned: false, range: None },
            ("timestamptz", _) => Kind::Timestamp { fraction: fraction(self.modifier), zoned: true, range: None },
            ("uuid", _) => Kind::Uuid,
            ("json", _) => Kind::Json,
            ("jsonb", _) => Kind::JsonTree { doubles: false },
            // Floats in them are rounded, corners and words put in another order, bytes filled up.
            ("point" | "line" | "lseg" | "box" | "path" | "polygon" | "circle", _) => Kind::AsPrinted,
            ("tsvector" | "macaddr8" | "xid" | "cid", _) => Kind::AsPrinted,
            ("int4range" | "int8range" | "numrange" | "int4multirange" | "int8multirange" | "nummultirange", _) => {
                Kind::Other
            }
            _ if matches!(self.sort.as_str(), "c" | "r" | "m") => Kind::AsPrinted,
            _ => Kind::Other,
        }
    }
}

/// The modifier holds precision and scale as two halves, the scale in 11 bits with a sign. Scales
/// that are negative or above the precision go beyond what [`Kind::Decimal`] says; the statement
/// guards those columns itself.
fn numeric(modifier: i32) -> Kind {
    if modifier < 4 {
        return Kind::Decimal { precision: None };
    }
    let packed = modifier - 4;
    let precision = (packed >> 16) & 0xffff;
    let scale = ((packed & 0x7ff) ^ 0x400) - 0x400;
    match (u32::try_from(precision), u32::try_from(scale)) {
        (Ok(precision), Ok(scale)) if scale <= precision => Kind::Decimal { precision: Some((precision, scale)) },
        _ => Kind::Other,
    }
}

fn fraction(modifier: i32) -> u8 {
    u8::try_from(modifier).unwrap_or(6).min(6)
}
