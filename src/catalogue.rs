//! What a database says of a table, in terms that mapping understands for all databases.

use std::fmt;

/// A table's name as the config gives it: `table` or `schema.table`. Quoted where it becomes SQL.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TableName {
    /// PostgreSQL's schema, MySQL's database; `None`: the connection's own.
    pub schema: Option<String>,
    /// The table.
    pub name: String,
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(schema) = &self.schema {
            write!(f, "{schema}.")?;
        }
        f.write_str(&self.name)
    }
}

/// What a column takes, as far as mapping must know it to keep every value exact. Each kind says
/// which [`crate::message::Cell`] it gets, beside `Null` and `Absent`, which every kind may get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Whole numbers within bounds. `Cell::Int`, or `Cell::Text` with decimal digits where the
    /// value is above `i64::MAX` (MySQL's `BIGINT UNSIGNED`).
    Int {
        /// Smallest.
        min: i128,
        /// Largest.
        max: i128,
    },
    /// Exact decimals. `Cell::Text` in plain notation: an optional `-`, digits, an optional point
    /// and digits; never an exponent. Unbounded where `precision` is `None`.
    Decimal {
        /// Digits in all, and those after the point.
        precision: Option<(u32, u32)>,
    },
    /// Binary floating point of 32 or 64 bits. `Cell::Float`.
    Float {
        /// 32 or 64.
        bits: u8,
    },
    /// Binary floating point that is rounded to a scale (MySQL's `FLOAT(7,4)`). `Cell::Float`.
    ScaledFloat {
        /// 32 or 64.
        bits: u8,
        /// Digits in all, and those after the point.
        precision: (u32, u32),
    },
    /// Truth values. `Cell::Bool`.
    Bool,
    /// Text. `Cell::Text`.
    Text {
        /// The limit in characters, if there is one.
        max_chars: Option<u64>,
        /// The limit in bytes, if there is one (MySQL's TEXT types).
        max_bytes: Option<u64>,
    },
    /// Text that is padded with blanks, so that none at its end are kept (`CHAR(n)`). `Cell::Text`.
    Char {
        /// The limit in characters.
        max_chars: u64,
    },
    /// Bytes. `Cell::Bytes`.
    Bytes {
        /// The limit in bytes, if there is one.
        max_bytes: Option<u64>,
        /// Shorter values are padded (MySQL's BINARY(n)): only exactly this length is exact.
        fixed: bool,
    },
    /// Days. `Cell::Date`.
    Date,
    /// Time of day. `Cell::Time`.
    Time {
        /// Digits of a second's fraction that the column keeps, 0 to 6.
        fraction: u8,
    },
    /// A point in time (`zoned`: PostgreSQL's timestamptz, MySQL's TIMESTAMP) or a date and time
    /// without a zone. `Cell::Timestamp`.
    Timestamp {
        /// Digits of a second's fraction that the column keeps, 0 to 6.
        fraction: u8,
        /// The column means a point in time.
        zoned: bool,
        /// Earliest and latest in microseconds since 1970, where narrower than the years 1 to 9999.
        range: Option<(i64, i64)>,
    },
    /// UUIDs. `Cell::Text` in the usual lower-case form with hyphens.
    Uuid,
    /// JSON documents, kept as the text that they are. `Cell::Text` with JSON.
    Json,
    /// JSON documents, kept as a tree: of a key that stands twice in an object one is lost.
    /// `Cell::Text` with JSON.
    JsonTree {
        /// Numbers that are no 64-bit integers are kept as doubles (MySQL).
        doubles: bool,
    },
    /// One of these. `Cell::Text`.
    Enum {
        /// The labels.
        labels: Vec<String>,
    },
    /// Any number of these, divided by commas, in any order (MySQL's SET). `Cell::Text`.
    Set {
        /// The labels.
        labels: Vec<String>,
    },
    /// A PostgreSQL array of another kind. `Cell::Text` with an array literal.
    Array(Box<Kind>),
    /// Whatever else: `Cell::Text`, which the server reads as the column's type, or refuses.
    Other,
    /// What PostgreSQL would round or read its own way without a word (composite and geometric
    /// types, ranges of times): `Cell::Text`, which it must print again exactly as it was sent.
    AsPrinted,
    /// SQLite without an exact type (no affinity given): `Cell::Int`, `Cell::Float` where exact,
    /// `Cell::Text`, `Cell::Bool`, `Cell::Bytes`, by the value's own type.
    Any,
}

/// One column of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Exactly as the catalogue spells it.
    pub name: String,
    /// The type as the catalogue prints it, fit for a cast (`numeric(10,2)`).
    pub sql_type: String,
    /// What it takes.
    pub kind: Kind,
    /// NULL is allowed.
    pub nullable: bool,
    /// It has a DEFAULT, is an identity or counts up by itself: a row may leave it out.
    pub has_default: bool,
    /// The database computes it: no row may set it.
    pub generated: bool,
}

/// A table as the database describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Its name as configured.
    pub name: TableName,
    /// In the table's order.
    pub columns: Vec<Column>,
    /// Sets of columns that are unique together (primary key included, partial and expression
    /// indexes left out).
    pub unique_keys: Vec<Vec<String>>,
}

impl Table {
    /// The column of this name.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }
}
