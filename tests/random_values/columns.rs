//! The columns of the tables that random values go into, and how each is read back.

use crate::support::database::Server;

/// What a column takes, in the test's own terms.
#[derive(Clone, Debug, PartialEq)]
pub enum Type {
    /// `truths`: a one-byte integer, by convention also a truth value.
    Int {
        min: i128,
        max: i128,
        truths: bool,
    },
    /// `significant`: digits that are kept for certain, where that is fewer than it looks.
    Decimal {
        whole: usize,
        scale: usize,
        significant: usize,
        signed: bool,
    },
    Float {
        bits: u8,
    },
    Bool,
    Text {
        chars: usize,
        letters: Letters,
    },
    Bytes {
        max: usize,
        fixed: bool,
    },
    Date,
    Time {
        fraction: usize,
    },
    /// Years, both included.
    Timestamp {
        fraction: usize,
        zoned: bool,
        years: (i128, i128),
    },
    Uuid,
    Json {
        documents: Documents,
    },
    Enum {
        labels: &'static [&'static str],
    },
    Set {
        labels: &'static [&'static str],
    },
    Address,
    /// A PostgreSQL array.
    Array(Box<Type>),
    /// SQLite's column without a type of its own. `numeric`: with numeric affinity.
    Any {
        numeric: bool,
    },
}

/// What texts a column takes for certain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Letters {
    All,
    /// PostgreSQL's texts have no U+0000.
    NoNul,
    /// As `NoNul`, and blanks at the end are lost.
    Trimmed,
    Latin1,
}

/// What documents a column takes for certain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Documents {
    /// Kept as they were spelled.
    Spelled,
    /// Read and written anew, with all digits (jsonb).
    Parsed,
    /// As `Parsed`, with numbers as floats of 64 bits (MySQL's own JSON).
    Floats,
    /// Kept as spelled, not deeper than 32 levels (MariaDB).
    Shallow,
    /// Kept as spelled in a column with numeric affinity.
    Numeric,
}

pub struct Column {
    pub name: String,
    /// As in CREATE TABLE.
    pub sql: &'static str,
    pub kind: Type,
}

/// A table for random values.
pub struct Layout {
    pub server: Server,
    pub columns: Vec<Column>,
    options: &'static str,
    /// Before the table.
    before: &'static str,
}

/// A text column that is never sent and has a default.
pub const UNSENT: (&str, &str) = ("unsent", "its own");

fn int(min: i128, max: i128) -> Type {
    Type::Int { min, max, truths: false }
}

fn signed(bits: u32) -> Type {
    int(-(1 << (bits - 1)), (1 << (bits - 1)) - 1)
}

fn unsigned(bits: u32) -> Type {
    int(0, (1 << bits) - 1)
}

fn decimal(whole: usize, scale: usize) -> Type {
    Type::Decimal { whole, scale, significant: whole + scale, signed: true }
}

fn text(chars: usize, letters: Letters) -> Type {
    Type::Text { chars, letters }
}

fn stamp(fraction: usize, zoned: bool) -> Type {
    Type::Timestamp { fraction, zoned, years: (1, 9999) }
}

fn array(element: Type) -> Type {
    Type::Array(Box::new(element))
}

const LABELS: &[&str] = &["small", "it's", "x,y", "Größe 🦊", "back\\slash", "NULL", "{}"];
/// MariaDB's catalogue shows characters above U+FFFF as question marks.
const BMP_LABELS: &[&str] = &["small", "it's", "x,y", "Größe €", "back\\slash", "NULL", "{}"];
const PLAIN_LABELS: &[&str] = &["a", "b", "c d", "Zoë"];

/// More than any test sends.
const LONG: usize = 5000;

impl Layout {
    pub fn postgres() -> Layout {
        let json = |documents| Type::Json { documents };
        let free = decimal(60, 40);
        let single = Type::Float { bits: 32 };
        let double = Type::Float { bits: 64 };
        let columns = vec![
            ("smallint", signed(16)),
            ("integer", signed(32)),
            ("bigint", signed(64)),
            ("oid", unsigned(32)),
            ("numeric", free.clone()),
            ("numeric(10,2)", decimal(8, 2)),
            ("numeric(38,0)", decimal(38, 0)),
            ("numeric(5,5)", decimal(0, 5)),
            ("numeric(3,5)", Type::Decimal { whole: 0, scale: 5, significant: 0, signed: true }),
            ("real", single.clone()),
            ("double precision", double.clone()),
            ("boolean", Type::Bool),
            ("char(4)", text(4, Letters::Trimmed)),
            ("varchar(5)", text(5, Letters::NoNul)),
            ("text", text(LONG, Letters::NoNul)),
            ("short", text(3, Letters::NoNul)),
            ("bytea", Type::Bytes { max: LONG, fixed: false }),
            ("date", Type::Date),
            ("time", Type::Time { fraction: 6 }),
            ("time(0)", Type::Time { fraction: 0 }),
            ("time(3)", Type::Time { fraction: 3 }),
            ("timestamp", stamp(6, false)),
            ("timestamp(0)", stamp(0, false)),
            ("timestamp(3)", stamp(3, false)),
            ("timestamptz", stamp(6, true)),
            ("timestamptz(0)", stamp(0, true)),
            ("timestamptz(3)", stamp(3, true)),
            ("uuid", Type::Uuid),
            ("json", json(Documents::Spelled)),
            ("jsonb", json(Documents::Parsed)),
            ("mood", Type::Enum { labels: LABELS }),
            ("inet", Type::Address),
            ("integer[]", array(signed(32))),
            ("text[]", array(text(LONG, Letters::NoNul))),
            ("varchar(3)[]", array(text(3, Letters::NoNul))),
            ("numeric[]", array(free)),
            ("numeric(6,2)[]", array(decimal(4, 2))),
            ("real[]", array(single)),
            ("double precision[]", array(double)),
            ("boolean[]", array(Type::Bool)),
            ("bytea[]", array(Type::Bytes { max: LONG, fixed: false })),
            ("date[]", array(Type::Date)),
            ("time(3)[]", array(Type::Time { fraction: 3 })),
            ("timestamp(0)[]", array(stamp(0, false))),
            ("timestamptz[]", array(stamp(6, true))),
            ("uuid[]", array(Type::Uuid)),
            ("jsonb[]", array(json(Documents::Parsed))),
            ("mood[]", array(Type::Enum { labels: LABELS })),
        ];
        let before = "CREATE DOMAIN short AS varchar(3); \
                      CREATE TYPE mood AS ENUM ('small', 'it''s', 'x,y', 'Größe 🦊', 'back\\slash', 'NULL', '{}')";
        Layout::new(Server::Postgres, columns, "", before)
    }

    /// `mariadb`: it has types that MySQL doesn't have.
    pub fn mysql(mariadb: bool) -> Layout {
        let single = Type::Float { bits: 32 };
        let double = Type::Float { bits: 64 };
        let few = |whole, scale, significant| Type::Decimal { whole, scale, significant, signed: true };
        let documents = if mariadb { Documents::Shallow } else { Documents::Floats };
        let date_time = |fraction| Type::Timestamp { fraction, zoned: false, years: (1000, 9999) };
        let point = |fraction| Type::Timestamp { fraction, zoned: true, years: (1971, 2037) };
        let mut columns = vec![
            ("tinyint", Type::Int { min: -128, max: 127, truths: true }),
            ("tinyint unsigned", unsigned(8)),
            ("smallint", signed(16)),
            ("smallint unsigned", unsigned(16)),
            ("mediumint", signed(24)),
            ("mediumint unsigned", unsigned(24)),
            ("int", signed(32)),
            ("int unsigned", unsigned(32)),
            ("bigint", signed(64)),
            ("bigint unsigned", unsigned(64)),
            ("boolean", Type::Int { min: -128, max: 127, truths: true }),
            ("decimal(10,2)", decimal(8, 2)),
            ("decimal(65,30)", decimal(35, 30)),
            ("decimal(6,3) unsigned", Type::Decimal { whole: 3, scale: 3, significant: 6, signed: false }),
            ("float", single),
            ("double", double),
            // All digits after the point are shown, so that few are left before it.
            ("float(7,4)", few(2, 4, 6)),
            ("float(12,4)", few(2, 4, 6)),
            ("double(20,4)", few(11, 4, 15)),
            ("bit(1)", Type::Bool),
            ("bit(8)", unsigned(8)),
            ("bit(64)", unsigned(64)),
            ("char(4)", text(4, Letters::Trimmed)),
            ("varchar(5)", text(5, Letters::All)),
            ("varchar(20) CHARACTER SET latin1", text(20, Letters::Latin1)),
            ("tinytext", text(63, Letters::All)),
            ("text", text(LONG, Letters::All)),
            ("longtext", text(LONG, Letters::All)),
            ("binary(4)", Type::Bytes { max: 4, fixed: true }),
            ("varbinary(8)", Type::Bytes { max: 8, fixed: false }),
            ("tinyblob", Type::Bytes { max: 255, fixed: false }),
            ("blob", Type::Bytes { max: LONG, fixed: false }),
            ("date", Type::Date),
            ("time", Type::Time { fraction: 0 }),
            ("time(6)", Type::Time { fraction: 6 }),
            ("datetime", date_time(0)),
            ("datetime(3)", date_time(3)),
            ("datetime(6)", date_time(6)),
            ("timestamp NULL", point(0)),
            ("timestamp(6) NULL", point(6)),
            ("year", int(1901, 2155)),
            ("enum('small','it''s','x,y','Größe €','back\\\\slash','NULL','{}')", Type::Enum { labels: BMP_LABELS }),
            ("set('a','b','c d','Zoë')", Type::Set { labels: PLAIN_LABELS }),
            ("json", Type::Json { documents }),
        ];
        if mariadb {
            columns.extend([("uuid", Type::Uuid)]);
        }
        Layout::new(Server::Mysql, columns, " CHARACTER SET utf8mb4", "")
    }

    /// A table as most are, where declarations are hints.
    pub fn sqlite() -> Layout {
        let double = || Type::Float { bits: 64 };
        let few = |whole, scale, significant| Type::Decimal { whole, scale, significant, signed: true };
        let columns = vec![
            ("INTEGER", signed(64)),
            ("BIGINT", signed(64)),
            ("TINYINT(1)", signed(64)),
            ("REAL", double()),
            ("DOUBLE PRECISION", double()),
            ("FLOAT", double()),
            ("DECIMAL(10,2)", few(8, 2, 10)),
            ("DECIMAL(30,6)", few(24, 6, 15)),
            ("NUMERIC", few(30, 30, 15)),
            ("BOOLEAN", Type::Bool),
            ("VARCHAR(5)", text(LONG, Letters::All)),
            ("TEXT", text(LONG, Letters::All)),
            ("CLOB", text(LONG, Letters::All)),
            ("BLOB", Type::Bytes { max: LONG, fixed: false }),
            ("VARBINARY(4)", Type::Bytes { max: LONG, fixed: false }),
            ("DATE", Type::Date),
            ("TIME", Type::Time { fraction: 6 }),
            ("DATETIME", stamp(6, false)),
            ("TIMESTAMP", stamp(6, false)),
            ("TIMESTAMP WITH TIME ZONE", stamp(6, true)),
            ("UUID", Type::Uuid),
            ("JSON", Type::Json { documents: Documents::Numeric }),
            ("JSONB", Type::Json { documents: Documents::Numeric }),
            ("STRING", Type::Any { numeric: true }),
            ("ANY", Type::Any { numeric: true }),
            ("", Type::Any { numeric: false }),
        ];
        Layout::new(Server::Sqlite, columns, "", "")
    }

    /// A STRICT table.
    pub fn sqlite_strict() -> Layout {
        let columns = vec![
            ("INT", signed(64)),
            ("INTEGER", signed(64)),
            ("REAL", Type::Float { bits: 64 }),
            ("TEXT", text(LONG, Letters::All)),
            ("BLOB", Type::Bytes { max: LONG, fixed: false }),
            ("ANY", Type::Any { numeric: false }),
        ];
        Layout::new(Server::Sqlite, columns, " STRICT", "")
    }

    fn new(server: Server, columns: Vec<(&'static str, Type)>, options: &'static str, before: &'static str) -> Layout {
        let columns = columns.into_iter().enumerate();
        let columns = columns.map(|(at, (sql, kind))| Column { name: format!("c{at}"), sql, kind }).collect();
        Layout { server, columns, options, before }
    }

    /// The statements that make the table `random_values`.
    pub fn statements(&self) -> String {
        let text = if self.server == Server::Mysql { "varchar(64)" } else { "text" };
        let columns: Vec<String> =
            self.columns.iter().map(|column| format!("{} {}", column.name, column.sql)).collect();
        format!(
            "{};CREATE TABLE random_values (id {text}, {} {text} DEFAULT '{}', {}){}",
            self.before,
            UNSENT.0,
            UNSENT.1,
            columns.join(", "),
            self.options
        )
        .trim_start_matches(';')
        .to_owned()
    }

    /// The pipeline's columns.
    pub fn mapping(&self) -> String {
        let columns = self.columns.iter().map(|column| format!("{0} = \"/{0}\"\n", column.name));
        format!("id = \"message_id\"\n{0} = \"/{0}\"\n{1}", UNSENT.0, columns.collect::<String>())
    }

    /// Everything, each column in a form that tells values apart.
    pub fn select(&self) -> String {
        let columns: Vec<String> = self.columns.iter().map(|column| self.read(column)).collect();
        format!("SELECT id, {}, {} FROM random_values", UNSENT.0, columns.join(", "))
    }

    fn read(&self, column: &Column) -> String {
        let name = &column.name;
        match (self.server, &column.kind) {
            (Server::Sqlite, _) => name.clone(),
            (Server::Postgres, Type::Array(_)) => format!("array_to_json({name})::text"),
            (Server::Postgres, Type::Timestamp { zoned: true, .. }) => {
                format!("({name} AT TIME ZONE 'UTC')::text || '+00'")
            }
            (Server::Postgres, _) => format!("{name}::text"),
            (Server::Mysql, Type::Bytes { .. }) => format!("HEX({name})"),
            // As text FLOAT has six digits, and MySQL's DOUBLE at most 22 characters.
            (Server::Mysql, Type::Float { .. }) => format!("{name} + 0e0"),
            (Server::Mysql, Type::Bool | Type::Int { .. }) => format!("CAST({name} + 0 AS CHAR)"),
            (Server::Mysql, _) => format!("CAST({name} AS CHAR CHARACTER SET utf8mb4)"),
        }
    }
}
