//! Types that PostgreSQL would round, cut or read its own way without a word, and that mapping
//! can't check: the server compares what it would store with what was sent, and the statement
//! fails for a row where they differ.

use crate::catalogue::Kind;
use crate::error::{ErrorClass, Failure};
use crate::plan::Target;

use super::statement::unlimited;

/// What a row's failure is recognised by; the column's place follows.
const MARK: &str = "rabbit-sink lossy ";

/// A time of day with an offset, and nothing else: `now`, a date beside it or no zone would be
/// taken, too.
const TIME_WITH_ZONE: &str = r"^([01]\d|2[0-3]):[0-5]\d(:[0-5]\d(\.\d+)?)?(Z|[+-]\d\d(:?[0-5]\d)?)$";

/// The SQL that is true for a text that the column keeps as it is; `None`: there is nothing to ask.
pub(super) fn condition(kind: &Kind, sql_type: &str, bound: &str) -> Option<String> {
    let base = unlimited(sql_type);
    let limited = base != sql_type;
    let limits = || {
        // Numbers by their value (1.5 and 1.50 are one), all else by its text, which every type has.
        let by_value = base.starts_with("numeric") || base.starts_with("interval");
        let text = if by_value { "" } else { "::text" };
        format!("({bound}::{base}){text} = ({bound}::{base}::{sql_type}){text}")
    };
    let money =
        |array: &str| format!("{bound}::numeric{array} = {bound}::numeric{array}::money{array}::numeric{array}");
    match kind {
        Kind::Decimal { .. } if base == "money" => Some(money("")),
        Kind::Array(element) => match **element {
            Kind::Decimal { .. } if base == "money[]" => Some(money("[]")),
            Kind::AsPrinted => Some(format!("{bound}::text[] = {bound}::{base}::text[]")),
            Kind::Other if base.starts_with("time ") => Some(format!("{bound}::text[] = {bound}::{sql_type}::text[]")),
            Kind::Other if limited => Some(limits()),
            _ => None,
        },
        Kind::AsPrinted => Some(format!("{bound} = ({bound}::{base})::text")),
        Kind::Other if base.starts_with("time ") && limited => {
            Some(format!("{bound} ~ '{TIME_WITH_ZONE}' AND {}", limits()))
        }
        Kind::Other if base.starts_with("time ") => Some(format!("{bound} ~ '{TIME_WITH_ZONE}'")),
        Kind::Other if limited => Some(limits()),
        _ => None,
    }
}

/// The value where the condition holds, else an error that [`failure`] recognises. NULL stays NULL.
pub(super) fn guarded(condition: &str, bound: &str, sql_type: &str, column: usize) -> String {
    format!(
        "(CASE WHEN {condition} THEN {bound} ELSE (('{MARK}{column}: ' || {bound})::numeric)::text END)::{sql_type}"
    )
}

/// A failure that such a condition caused, under its own name and with its column.
pub(super) fn failure(failure: Failure, target: &Target) -> Failure {
    let column = (failure.code == "22P02").then(|| column_in(failure.detail.reveal(), target)).flatten();
    let Some(column) = column else { return failure };
    let message = "PostgreSQL would round, cut or rewrite the value in a column of this type without a word";
    let detail = failure.detail.reveal().to_owned();
    Failure::new(ErrorClass::RowRejected, "lossy", message).column(column).detail(detail)
}

fn column_in<'t>(text: &str, target: &'t Target) -> Option<&'t str> {
    let (_, rest) = text.split_once(MARK)?;
    let at = rest.split_once(':')?.0.parse::<usize>().ok()?;
    target.columns.get(at).map(|column| column.name.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::{Column, TableName};

    #[test]
    fn only_what_nothing_else_checks_is_compared() {
        let array = |kind| Kind::Array(Box::new(kind));
        let decimal = Kind::Decimal { precision: None };
        for (kind, sql_type, expected) in [
            (Kind::Other, "inet", None),
            (Kind::Uuid, "uuid", None),
            (decimal.clone(), "numeric(10,2)", None),
            (array(decimal.clone()), "numeric(10,2)[]", None),
            (Kind::Other, "numeric(3,-2)", Some("(v::numeric) = (v::numeric::numeric(3,-2))")),
            (Kind::Other, "interval day", Some("(v::interval) = (v::interval::interval day)")),
            (Kind::Other, "bit(3)", Some("(v::\"bit\")::text = (v::\"bit\"::bit(3))::text")),
            (Kind::AsPrinted, "point", Some("v = (v::point)::text")),
            (array(Kind::AsPrinted), "price[]", Some("v::text[] = v::price[]::text[]")),
            (decimal, "money", Some("v::numeric = v::numeric::money::numeric")),
        ] {
            assert_eq!(condition(&kind, sql_type, "v").as_deref(), expected, "{sql_type}");
        }
    }

    #[test]
    fn a_failure_names_a_column_that_the_table_has() {
        let column = |name: &str| Column {
            name: name.into(),
            sql_type: "point".into(),
            kind: Kind::AsPrinted,
            nullable: true,
            has_default: false,
            generated: false,
        };
        let target = Target {
            table: TableName { schema: None, name: "t".into() },
            columns: vec![column("a"), column("b")],
            expressions: vec![None, None],
        };
        let found = |code: &'static str, text: &str| {
            let failure = failure(Failure::new(ErrorClass::RowRejected, code, "x").detail(text), &target);
            (failure.code.into_owned(), failure.column)
        };
        let text = "invalid input syntax for type numeric: \"rabbit-sink lossy 1: (0,0)\"";
        assert_eq!(found("22P02", text), ("lossy".into(), Some("b".into())));
        assert_eq!(found("22P02", "rabbit-sink lossy 2: x"), ("22P02".into(), None));
        assert_eq!(found("22P02", "rabbit-sink lossy secret: x"), ("22P02".into(), None));
        assert_eq!(found("23505", text), ("23505".into(), None));
    }
}
