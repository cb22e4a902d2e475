//! The statements about a table of dead letters, which differ little between databases.

use crate::message::LetterRow;

/// All columns but `seq`, in the order of [`values`].
const COLUMNS: [&str; 18] = [
    "pipeline",
    "id",
    "failed_at",
    "class",
    "code",
    "column_name",
    "reason",
    "message_id",
    "table_name",
    "queue",
    "exchange",
    "routing_key",
    "attempts",
    "properties",
    "headers",
    "body",
    "chosen",
    // Last: MySQL assigns from left to right, and the others ask for its old value.
    "replays",
];

/// A value to bind.
#[derive(Clone, Copy, Debug)]
pub(in crate::sink) enum Value<'a> {
    Text(Option<&'a str>),
    Number(Option<i64>),
    /// Microseconds since 1970.
    Time(Option<i64>),
    Bytes(&'a [u8]),
}

impl Value<'_> {
    /// A time as the text that all databases read, in UTC.
    pub(in crate::sink) fn time(micros: Option<i64>) -> Option<String> {
        let at = jiff::Timestamp::from_microsecond(micros?).ok()?;
        Some(at.strftime("%Y-%m-%d %H:%M:%S%.6f").to_string())
    }

    fn is_time(&self) -> bool {
        matches!(self, Value::Time(_))
    }
}

/// What differs.
#[derive(Clone, Copy, Debug)]
pub(in crate::sink) struct Dialect {
    /// The `n`th value of a statement, counted from 1; with `true` one that is a time.
    pub place: fn(usize, bool) -> String,
    /// Bytes of a body, as a number of 64 bits.
    pub length: &'static str,
    /// A body as bytes.
    pub body: &'static str,
    /// The lowest `failed_at` in whole seconds since 1970, 0 where there is none.
    pub oldest: &'static str,
    /// `ON DUPLICATE KEY` instead of `ON CONFLICT`.
    pub mysql: bool,
}

/// What happens to a letter that is there under the same ID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sink) enum Known {
    /// It stays, unless the new one was replayed more often: then it is about to be removed by that
    /// replay, and the new one takes its place.
    StaysUnlessOlder,
    /// It is replaced.
    Goes,
}

/// A row's values.
pub(super) fn values<'a>(row: &'a LetterRow, set: Option<&'a str>) -> [Value<'a>; COLUMNS.len()] {
    let text = |text: &'a Option<String>| Value::Text(text.as_deref());
    [
        Value::Text(Some(&row.pipeline)),
        Value::Text(Some(&row.id)),
        Value::Time(row.failed_at),
        text(&row.class),
        text(&row.code),
        text(&row.column),
        text(&row.reason),
        text(&row.message_id),
        text(&row.table),
        text(&row.queue),
        Value::Text(Some(&row.exchange)),
        Value::Text(Some(&row.routing_key)),
        Value::Number(row.attempts),
        Value::Text(Some(&row.properties)),
        Value::Text(Some(&row.headers)),
        Value::Bytes(&row.body),
        Value::Text(set),
        Value::Number(Some(row.replays)),
    ]
}

impl Dialect {
    /// An INSERT of the rows that `source` stands for.
    fn insert_from(&self, table: &str, source: &str, known: Known) -> String {
        let names = COLUMNS.join(", ");
        let list = |part: &dyn Fn(&str) -> String| COLUMNS.map(part).join(", ");
        if self.mysql {
            let set = list(&|name| match known {
                Known::Goes => format!("{name} = VALUES({name})"),
                Known::StaysUnlessOlder => format!("{name} = IF(VALUES(replays) > replays, VALUES({name}), {name})"),
            });
            return format!("INSERT INTO {table} ({names}) {source} ON DUPLICATE KEY UPDATE {set}");
        }
        let set = list(&|name| format!("{name} = excluded.{name}"));
        let only = match known {
            Known::Goes => "",
            Known::StaysUnlessOlder => " WHERE excluded.replays > held.replays",
        };
        format!("INSERT INTO {table} AS held ({names}) {source} ON CONFLICT (pipeline, id) DO UPDATE SET {set}{only}")
    }

    /// Of so many rows, the values in the order of [`values`].
    pub(super) fn insert(&self, table: &str, rows: usize, known: Known) -> String {
        let times = COLUMNS.map(|name| name == "failed_at");
        let row = |nth: usize| {
            let place = |at: usize| (self.place)(nth * COLUMNS.len() + at + 1, times[at]);
            format!("({})", (0..COLUMNS.len()).map(place).collect::<Vec<_>>().join(","))
        };
        let rows: Vec<String> = (0..rows).map(row).collect();
        self.insert_from(table, &format!("VALUES {}", rows.join(",")), known)
    }

    /// Statements of every kind that change nothing: they fail where the table isn't what it must be, or
    /// this login may not use it.
    pub(super) fn rehearsal(&self, table: &str) -> Vec<String> {
        let none = match self.mysql {
            true => format!("SELECT {} FROM DUAL WHERE FALSE", ["NULL"; COLUMNS.len()].join(", ")),
            false => format!("SELECT {} FROM {table} WHERE 1 = 0", COLUMNS.join(", ")),
        };
        vec![
            self.insert_from(table, &none, Known::StaysUnlessOlder),
            format!("UPDATE {table} SET chosen = NULL WHERE 1 = 0"),
            format!("DELETE FROM {table} WHERE seq < 0 AND 1 = 0"),
        ]
    }

    /// How many letters there are, and since when, of a pipeline.
    pub(super) fn waiting(&self, table: &str) -> String {
        format!("SELECT COUNT(*), {} FROM {table} WHERE pipeline = {}", self.oldest, (self.place)(1, false))
    }

    /// The highest number and how many letters there are, of a pipeline.
    pub(super) fn range(&self, table: &str) -> String {
        format!("SELECT COALESCE(MAX(seq), 0), COUNT(*) FROM {table} WHERE pipeline = {}", (self.place)(1, false))
    }

    /// How many of so many IDs are there, outside of a set: pipeline, set, IDs.
    pub(super) fn known(&self, table: &str, ids: usize) -> String {
        let ids: Vec<String> = (3..ids + 3).map(|at| (self.place)(at, false)).collect();
        format!(
            "SELECT COUNT(*), COUNT(*) FROM {table} WHERE pipeline = {} AND (chosen IS NULL OR chosen <> {}) \
             AND id IN ({})",
            (self.place)(1, false),
            (self.place)(2, false),
            ids.join(",")
        )
    }

    /// Numbers and sizes of the next letters.
    pub(super) fn sizes(&self, table: &str, after: i64, until: i64, most: usize) -> String {
        let within = self.within(after, until);
        format!("SELECT seq, {} FROM {table} WHERE {within} ORDER BY seq LIMIT {most}", self.length)
    }

    /// These letters.
    pub(super) fn letters(&self, table: &str, after: i64, until: i64) -> String {
        let within = self.within(after, until);
        format!(
            "SELECT seq, replays, chosen, exchange, routing_key, properties, headers, {} FROM {table} \
             WHERE {within} ORDER BY seq",
            self.body
        )
    }

    fn within(&self, after: i64, until: i64) -> String {
        format!("pipeline = {} AND seq > {after} AND seq <= {until}", (self.place)(1, false))
    }

    /// Marks letters as chosen.
    pub(super) fn choose(&self, table: &str, seqs: &[i64]) -> String {
        format!("UPDATE {table} SET chosen = {} WHERE seq IN ({})", (self.place)(1, false), numbers(seqs))
    }

    /// Another letter in the place of one.
    pub(super) fn replace(&self, table: &str, seq: i64, replays: i64, values: &[Value<'_>]) -> String {
        let set = COLUMNS.iter().zip(values).enumerate();
        let set = set.map(|(at, (name, value))| format!("{name} = {}", (self.place)(at + 1, value.is_time())));
        let set = set.collect::<Vec<_>>().join(", ");
        format!("UPDATE {table} SET {set} WHERE seq = {seq} AND replays = {replays}")
    }
}

/// Removes letters that were replayed so often when they were read: one that died again since is
/// another one.
pub(super) fn remove(table: &str, replays: i64, seqs: &[i64]) -> String {
    format!("DELETE FROM {table} WHERE replays = {replays} AND seq IN ({})", numbers(seqs))
}

fn numbers(numbers: &[i64]) -> String {
    numbers.iter().map(i64::to_string).collect::<Vec<_>>().join(",")
}
