//! SQL text. Everything that isn't a value comes from the config and the catalogue and is quoted
//! here; values are bound.

use crate::catalogue::{Column, Kind, TableName};
use crate::plan::Target;

use super::bind::Bind;
use super::exact;

/// An identifier, quoted.
pub(super) fn quote(identifier: &str) -> String {
    format!("\"{}\"", identifier.replace('"', "\"\""))
}

/// A table's name, quoted.
pub(super) fn table(name: &TableName) -> String {
    match &name.schema {
        Some(schema) => format!("{}.{}", quote(schema), quote(&name.name)),
        None => quote(&name.name),
    }
}

/// An INSERT of rows that fill `columns` of the target: one array a column is bound, in their
/// order; without columns the number of rows is.
pub(super) fn insert(target: &Target, columns: &[usize]) -> String {
    insert_after(0, target, columns)
}

/// The same as a part of a statement that binds `bound` values before.
pub(super) fn insert_after(bound: usize, target: &Target, columns: &[usize]) -> String {
    let table = table(&target.table);
    if columns.is_empty() {
        return format!("INSERT INTO {table} SELECT FROM generate_series(1, ${}::int8)", bound + 1);
    }
    let parts = Parts::of(bound, target, columns);
    let (names, values, arrays, aliases) = (parts.names, parts.values, parts.arrays, parts.aliases);
    format!("INSERT INTO {table} ({names}) SELECT {values} FROM UNNEST({arrays}) AS u({aliases})")
}

/// As [`insert`], but leaves out rows whose `key` (one of `columns`) is there already. Returns
/// for each row that was written its place among the rows, counted from 1; `NULL` for one that
/// can't be found again by its key, because the table changed it while writing.
///
/// Of rows with the same key the first is written. Rows are written in the order of their keys, so
/// that two writers wait for each other instead of forming a deadlock.
pub(super) fn insert_new(target: &Target, columns: &[usize], key: usize) -> String {
    let table = table(&target.table);
    let parts = Parts::of(0, target, columns);
    let key_name = quote(&target.columns[key].name);
    let key_type = &target.columns[key].sql_type;
    let key_alias = alias(key);
    let (names, values, arrays, aliases) = (parts.names, parts.named_values, parts.arrays, parts.aliases);
    let all = columns.iter().map(|&at| alias(at)).collect::<Vec<_>>().join(", ");
    format!(
        "WITH v AS MATERIALIZED (SELECT {values}, u.ord FROM UNNEST({arrays}) WITH ORDINALITY AS u({aliases}, ord)), \
         k AS MATERIALIZED (INSERT INTO {table} ({names}) SELECT {all} FROM v \
         ORDER BY {key_alias}::{key_type}, ord ON CONFLICT ({key_name}) DO NOTHING RETURNING {key_name} AS key) \
         SELECT min(v.ord) FROM k LEFT JOIN v ON k.key = v.{key_alias}::{key_type} GROUP BY k.key"
    )
}

struct Parts {
    /// `"a", "b"`
    names: String,
    /// `u.c0, u.c1::uuid`
    values: String,
    /// `u.c0 AS c0, u.c1::uuid AS c1`
    named_values: String,
    /// `$1::int8[], $2::text[]`
    arrays: String,
    /// `c0, c1`
    aliases: String,
}

impl Parts {
    fn of(bound: usize, target: &Target, columns: &[usize]) -> Parts {
        let join = |part: &dyn Fn(usize, usize) -> String| {
            columns.iter().enumerate().map(|(nth, &at)| part(nth, at)).collect::<Vec<_>>().join(", ")
        };
        let column_value = |at: usize| {
            let expression = target.expressions.get(at).and_then(Option::as_deref);
            value(&target.columns[at], at, &format!("u.{}", alias(at)), expression)
        };
        Parts {
            names: join(&|_, at| quote(&target.columns[at].name)),
            values: join(&|_, at| column_value(at)),
            named_values: join(&|_, at| format!("{} AS {}", column_value(at), alias(at))),
            arrays: join(&|nth, at| {
                format!("${}::{}", bound + nth + 1, Bind::of(&target.columns[at].kind).array_name())
            }),
            aliases: join(&|_, at| alias(at)),
        }
    }
}

/// Columns keep their number whatever else is in the statement.
fn alias(at: usize) -> String {
    format!("c{at}")
}

/// The SQL of one value. Explicit casts are made to types without length or scale only: an
/// explicit cast to `varchar(3)` cuts in silence, the implicit one of the INSERT is an error.
fn value(column: &Column, at: usize, bound: &str, expression: Option<&str>) -> String {
    let typed = match &column.kind {
        // Whoever writes an expression around a type that isn't known here wants the text.
        Kind::Other | Kind::AsPrinted if expression.is_some() => bound.to_owned(),
        kind => match exact::condition(kind, &column.sql_type, bound) {
            Some(condition) => exact::guarded(&condition, bound, &target_type(column), at),
            None if has_cast(column) => format!("{bound}::{}", target_type(column)),
            None => bound.to_owned(),
        },
    };
    match expression {
        Some(expression) => expression.replacen('?', &typed, 1),
        None => typed,
    }
}

/// Values that aren't bound as what the column takes.
fn has_cast(column: &Column) -> bool {
    let text = Bind::of(&column.kind) == Bind::Text;
    text && !matches!(column.kind, Kind::Text { .. } | Kind::Char { .. })
}

/// What a text is cast to.
fn target_type(column: &Column) -> String {
    match &column.kind {
        Kind::Decimal { .. } | Kind::Int { .. } => "numeric".to_owned(),
        _ => unlimited(&column.sql_type),
    }
}

/// A type's text without its length, precision or scale. Names that then would mean a length of 1
/// are replaced by those that mean none.
pub(super) fn unlimited(sql_type: &str) -> String {
    let (mut text, mut depth, mut quoted) = (String::with_capacity(sql_type.len()), 0_u32, false);
    for character in sql_type.chars() {
        match character {
            '"' => quoted = !quoted,
            '(' if !quoted => depth += 1,
            ')' if !quoted => {
                depth = depth.saturating_sub(1);
                continue;
            }
            _ => {}
        }
        if depth == 0 {
            text.push(character);
        }
    }
    let brackets = text.find("[]").unwrap_or(text.len());
    let (name, array) = text.split_at(brackets);
    match name {
        "bit" => format!("\"bit\"{array}"),
        "character" => format!("bpchar{array}"),
        _ if name.starts_with("interval") => format!("interval{array}"),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_can_not_leave_their_quotes() {
        assert_eq!(quote(r#"a"; DROP TABLE x; --"#), r#""a""; DROP TABLE x; --""#);
        let name = TableName { schema: Some("s".into()), name: "Or ders".into() };
        assert_eq!(table(&name), r#""s"."Or ders""#);
    }

    #[test]
    fn casts_have_no_limits() {
        for (sql_type, expected) in [
            ("bit(3)", "\"bit\""),
            ("bit(3)[]", "\"bit\"[]"),
            ("bit varying(5)", "bit varying"),
            ("character(3)[]", "bpchar[]"),
            ("character varying(3)[]", "character varying[]"),
            ("time(3) with time zone", "time with time zone"),
            ("numeric(10,2)[]", "numeric[]"),
            ("geometry(Point,4326)", "geometry"),
            ("\"we(i)rd\"", "\"we(i)rd\""),
            ("s.\"a\"\"(b)\"(4)", "s.\"a\"\"(b)\""),
            ("jsonb", "jsonb"),
            ("interval day to second(3)", "interval"),
            ("interval(0)[]", "interval[]"),
        ] {
            assert_eq!(unlimited(sql_type), expected);
        }
    }
}
