//! What sample messages have in common: fields, their types, and which column each may fill.

use jiff::civil;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::config::{DatabaseKind, Place};
use crate::message::Envelope;
use crate::value::Entries;

/// Levels of nested objects that become columns of their own; deeper ones stay JSON.
const DEPTH: usize = 3;

/// Characters of a text from which on it isn't a VARCHAR(255) any more.
const LONG: usize = 191;

/// What all samples' values of one field are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Guess {
    /// Only `null` so far.
    Nothing,
    /// Truth values.
    Bool,
    /// Whole numbers of 64 bits.
    Int,
    /// Decimals: digits before and after the point at most.
    Decimal(usize, usize),
    /// Numbers with an exponent.
    Float,
    /// UUIDs.
    Uuid,
    /// Days.
    Date,
    /// Times of day.
    Time,
    /// Dates and times with a zone.
    Zoned,
    /// Dates and times without one.
    Local,
    /// Texts: the characters of the longest.
    Text(usize),
    /// Objects, lists, or a mixture.
    Json,
}

/// One field of the bodies.
#[derive(Clone, Debug)]
pub struct Field {
    /// Where it stands.
    pub path: Vec<String>,
    /// What its values are.
    pub guess: Guess,
    /// The JSON of its values, as sent.
    pub values: Vec<String>,
    /// Samples that have it with a value other than `null`.
    pub seen: usize,
}

impl Field {
    /// Its place in the config.
    pub fn place(&self) -> Place {
        Place::Pointer(self.path.clone())
    }

    /// A column's name made of it: `customerName` and `customer.name` become `customer_name`.
    pub fn column(&self) -> String {
        let mut name = String::new();
        for part in &self.path {
            if !name.is_empty() {
                name.push('_');
            }
            let mut before_lower = false;
            for character in part.chars() {
                if character.is_uppercase() && before_lower {
                    name.push('_');
                }
                before_lower = character.is_lowercase() || character.is_ascii_digit();
                match character {
                    character if character.is_ascii_alphanumeric() => name.push(character.to_ascii_lowercase()),
                    _ => name.push('_'),
                }
            }
        }
        if name.is_empty() || name.starts_with(|first: char| first.is_ascii_digit()) {
            name.insert_str(0, "f_");
        }
        name.truncate(60);
        name
    }
}

/// All fields in the order in which they first appear.
///
/// # Errors
/// A body that isn't a JSON object, by its place among the samples.
pub fn fields(samples: &[Envelope]) -> Result<Vec<Field>, String> {
    let mut fields: Vec<Field> = Vec::new();
    for (nth, sample) in samples.iter().enumerate() {
        let body: &RawValue = serde_json::from_slice(&sample.body)
            .map_err(|error| format!("sample {}: the body is not JSON: {error}", nth + 1))?;
        let Ok(body) = serde_json::from_str::<Entries<'_>>(body.get()) else {
            return Err(format!("sample {}: the body is JSON, but no object, so that it has no fields", nth + 1));
        };
        let mut path = Vec::new();
        for (name, value) in last_of_each(body) {
            collect(&mut fields, &mut path, name, value)
                .map_err(|error| format!("sample {}: the body is not JSON: {error}", nth + 1))?;
        }
    }
    // An object in one sample and something else in another is JSON as a whole.
    let whole: Vec<Vec<String>> = fields.iter().map(|field| field.path.clone()).collect();
    fields.retain(|field| !whole.iter().any(|other| other.len() < field.path.len() && field.path.starts_with(other)));
    Ok(fields)
}

/// Where the objects stand whose own fields these are, the outer ones first.
pub fn objects(fields: &[Field]) -> Vec<Vec<String>> {
    let mut objects: Vec<Vec<String>> = Vec::new();
    for field in fields {
        for depth in 1..field.path.len() {
            let object = field.path[..depth].to_vec();
            if !objects.contains(&object) {
                objects.push(object);
            }
        }
    }
    objects
}

/// A column's name for each field, none of them twice.
pub fn columns(fields: &[Field]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for field in fields {
        let name = field.column();
        let numbered = (2..).map(|nth| format!("{name}_{nth}"));
        let free = std::iter::once(name.clone()).chain(numbered).find(|name| !names.contains(name));
        names.push(free.unwrap_or(name));
    }
    names
}

/// Of a key that stands several times, the last one is meant by most.
fn last_of_each(entries: Entries<'_>) -> Vec<(String, &RawValue)> {
    let mut kept: Vec<(String, &RawValue)> = Vec::new();
    for (name, value) in entries.0 {
        match kept.iter_mut().find(|(other, _)| *other == name) {
            Some(earlier) => earlier.1 = value,
            None => kept.push((name, value)),
        }
    }
    kept
}

fn collect(fields: &mut Vec<Field>, path: &mut Vec<String>, name: String, raw: &RawValue) -> serde_json::Result<()> {
    path.push(name);
    let inner = serde_json::from_str::<Entries<'_>>(raw.get()).ok().filter(|inner| !inner.0.is_empty());
    match inner.filter(|_| path.len() < DEPTH) {
        Some(inner) => {
            for (name, value) in last_of_each(inner) {
                collect(fields, path, name, value)?;
            }
        }
        None => {
            let value: Value = serde_json::from_str(raw.get())?;
            let at = fields.iter().position(|field| field.path == *path).unwrap_or_else(|| {
                let field = Field { path: path.clone(), guess: Guess::Nothing, values: Vec::new(), seen: 0 };
                fields.push(field);
                fields.len() - 1
            });
            let field = &mut fields[at];
            field.guess = together(&field.guess, &guess(&value));
            field.values.push(raw.get().to_owned());
            field.seen += usize::from(!value.is_null());
        }
    }
    path.pop();
    Ok(())
}

fn guess(value: &Value) -> Guess {
    match value {
        Value::Null => Guess::Nothing,
        Value::Bool(_) => Guess::Bool,
        Value::Number(number) => number_guess(&number.to_string()),
        Value::String(text) => text_guess(text),
        Value::Array(_) | Value::Object(_) => Guess::Json,
    }
}

fn number_guess(text: &str) -> Guess {
    if text.contains(['e', 'E']) {
        return Guess::Float;
    }
    if text.parse::<i64>().is_ok() {
        return Guess::Int;
    }
    let digits = text.trim_start_matches('-');
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    Guess::Decimal(whole.len(), fraction.len())
}

fn text_guess(text: &str) -> Guess {
    let uuid = text.len() == 36
        && text.char_indices().all(|(at, character)| match at {
            8 | 13 | 18 | 23 => character == '-',
            _ => character.is_ascii_hexdigit(),
        });
    if uuid {
        Guess::Uuid
    } else if text.len() == 10 && text.parse::<civil::Date>().is_ok() {
        Guess::Date
    } else if text.len() >= 8 && text.as_bytes()[2] == b':' && text.parse::<civil::Time>().is_ok() {
        Guess::Time
    } else if text.len() >= 16 && text.parse::<jiff::Timestamp>().is_ok() {
        Guess::Zoned
    } else if text.len() >= 16 && text.parse::<civil::DateTime>().is_ok() {
        Guess::Local
    } else {
        Guess::Text(text.chars().count())
    }
}

/// What holds both.
fn together(one: &Guess, other: &Guess) -> Guess {
    use Guess::{Date, Decimal, Float, Int, Json, Local, Nothing, Text, Time, Uuid, Zoned};
    /// Digits of the largest whole number of 64 bits.
    const INT: usize = 19;
    let length = |guess: &Guess| match guess {
        Text(length) => Some(*length),
        Uuid => Some(36),
        Date => Some(10),
        Time => Some(15),
        Zoned | Local => Some(35),
        _ => None,
    };
    match (one, other) {
        (Nothing, guess) | (guess, Nothing) => guess.clone(),
        (one, other) if one == other => one.clone(),
        (Int, Decimal(whole, fraction)) | (Decimal(whole, fraction), Int) => Decimal((*whole).max(INT), *fraction),
        (Decimal(a, b), Decimal(c, d)) => Decimal(*a.max(c), *b.max(d)),
        (Float, Int | Decimal(..)) | (Int | Decimal(..), Float) => Float,
        (Json, _) | (_, Json) => Json,
        // A text column takes numbers and truth values as they were sent.
        _ => Text(length(one).unwrap_or(20).max(length(other).unwrap_or(20))),
    }
}

/// The type of a column that holds it; `key` if it is to be one of a primary key.
pub fn sql_type(guess: &Guess, database: DatabaseKind, key: bool) -> String {
    use DatabaseKind::{Mysql, Postgres, Sqlite};
    let fixed = match (guess, database) {
        (Guess::Bool, _) => "boolean",
        (Guess::Int, Sqlite) => "INTEGER",
        (Guess::Int, _) => "bigint",
        (Guess::Decimal(..), Postgres) => "numeric",
        (Guess::Decimal(..), Sqlite) => "NUMERIC",
        (Guess::Decimal(whole, fraction), Mysql) => {
            // Room for larger ones; MySQL keeps 65 digits, 30 of them after the point.
            let scale = (fraction + 2).min(30);
            return format!("decimal({},{scale})", (whole.max(&16) + scale).min(65));
        }
        (Guess::Float, Postgres) => "double precision",
        (Guess::Float, Mysql) => "double",
        (Guess::Float, Sqlite) => "REAL",
        (Guess::Uuid, Postgres) => "uuid",
        (Guess::Uuid, Mysql) => "char(36)",
        (Guess::Uuid, Sqlite) => "UUID",
        (Guess::Date, _) => "date",
        (Guess::Time, Mysql) => "time(6)",
        // SQLite has no such type; a text it takes as it is.
        (Guess::Time, Sqlite) => "TEXT",
        (Guess::Time, Postgres) => "time",
        (Guess::Zoned, Postgres) => "timestamptz",
        // MySQL's TIMESTAMP ends in 2038; a DATETIME keeps such times in UTC.
        (Guess::Zoned | Guess::Local, Mysql) => "datetime(6)",
        (Guess::Zoned, Sqlite) => "TIMESTAMP WITH TIME ZONE",
        (Guess::Local, _) => "timestamp",
        (Guess::Json, Postgres) => "jsonb",
        (Guess::Json, _) => "json",
        (Guess::Text(_) | Guess::Nothing, Mysql) if key => "varchar(255)",
        (Guess::Text(length), Mysql) if *length > LONG => "longtext",
        (Guess::Text(_) | Guess::Nothing, Mysql) => "varchar(255)",
        (Guess::Text(_) | Guess::Nothing, Postgres) => "text",
        (Guess::Text(_) | Guess::Nothing, Sqlite) => "TEXT",
    };
    fixed.to_owned()
}

/// A name without what people write differently.
pub fn normal(name: &str) -> String {
    name.chars().filter(|character| character.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// The field that a column of this name is most likely meant for.
pub fn field_for<'f>(column: &str, fields: &'f [Field]) -> Option<&'f Field> {
    let wanted = normal(column);
    let whole = |field: &&Field| normal(&field.path.concat()) == wanted;
    let last = |field: &&Field| field.path.last().is_some_and(|last| normal(last) == wanted);
    let exact = |field: &&Field| field.path.len() == 1 && field.path[0] == column;
    let by = |test: &dyn Fn(&&Field) -> bool| fields.iter().find(|field| test(field));
    by(&exact).or_else(|| by(&whole)).or_else(|| {
        // A name that stands at several places means none of them for sure.
        let mut those = fields.iter().filter(|field| last(field));
        let first = those.next()?;
        those.next().is_none().then_some(first)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(bodies: &[&str]) -> Vec<Field> {
        let sample = |body: &&str| Envelope { body: body.to_string().into(), ..Envelope::default() };
        fields(&bodies.iter().map(sample).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn each_type_is_guessed_from_all_samples() {
        for (values, guess) in [
            (&["1", "2"][..], Guess::Int),
            (&["1", "null"], Guess::Int),
            (&["1", "2.50"], Guess::Decimal(19, 2)),
            (&["99999999999999999999"], Guess::Decimal(20, 0)),
            (&["1", "1e300"], Guess::Float),
            (&["true", "false"], Guess::Bool),
            (&["true", "1"], Guess::Text(20)),
            (&["\"123e4567-e89b-12d3-a456-426614174000\""], Guess::Uuid),
            (&["\"2026-01-31\""], Guess::Date),
            (&["\"2026-01-31\"", "\"soon\""], Guess::Text(10)),
            (&["\"08:30:00\"", "\"23:59:59.5\""], Guess::Time),
            (&["\"08:30\""], Guess::Text(5)),
            (&["\"08:30:00\"", "\"2026-01-31\""], Guess::Text(15)),
            (&["\"2026-01-31T01:02:03Z\"", "\"2026-01-31T01:02:03.5+02:00\""], Guess::Zoned),
            (&["\"2026-01-31 01:02:03\""], Guess::Local),
            (&["\"a\"", "\"abc\""], Guess::Text(3)),
            (&["[1]", "1"], Guess::Json),
            (&["{}"], Guess::Json),
            (&["null"], Guess::Nothing),
        ] {
            let bodies: Vec<String> = values.iter().map(|value| format!("{{\"f\": {value}}}")).collect();
            let found = of(&bodies.iter().map(String::as_str).collect::<Vec<_>>());
            assert_eq!(found[0].guess, guess, "{values:?}");
        }
    }

    #[test]
    fn objects_become_columns_unless_they_are_something_else_elsewhere() {
        let paths = |bodies: &[&str]| of(bodies).iter().map(Field::column).collect::<Vec<_>>();
        assert_eq!(paths(&["{\"customerId\": 1, \"address\": {\"zipCode\": 1}}"]), ["customer_id", "address_zip_code"]);
        assert_eq!(paths(&["{\"a\": {\"b\": 1}}", "{\"a\": 1}"]), ["a"]);
        assert_eq!(paths(&["{\"2x\": 1}"]), ["f_2x"]);
        assert!(fields(&[Envelope::default()]).is_err());
        let nested = of(&["{\"a\": {\"b\": {\"c\": {\"d\": 1}}}, \"a_b\": 2, \"a\": {\"b\": 3}}"]);
        assert_eq!(nested.iter().map(|field| field.values[0].as_str()).collect::<Vec<_>>(), ["3", "2"], "the last one");
        assert_eq!(objects(&nested), [["a"]]);
        assert_eq!(columns(&nested), ["a_b", "a_b_2"]);
    }

    #[test]
    fn columns_find_their_fields() {
        let fields = of(&["{\"orderId\": 1, \"customer\": {\"name\": \"x\", \"id\": 1}, \"shop\": {\"id\": 2}}"]);
        let found = |column| field_for(column, &fields).map(|field| field.place().to_string());
        assert_eq!(found("order_id").as_deref(), Some("/orderId"));
        assert_eq!(found("customer_name").as_deref(), Some("/customer/name"));
        assert_eq!(found("name").as_deref(), Some("/customer/name"));
        assert_eq!(found("id"), None, "two of them");
        assert_eq!(found("elsewhere"), None);
    }
}
