//! The messages that are measured with: their bodies, their tables, and what a pipeline says of them.

use crate::support::broker::Message;
use crate::support::database::Server;

/// A kind of message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// 207 bytes, ten columns of mixed types.
    Order,
    /// 60 bytes, three columns.
    Small,
    /// 10 KB in nested objects, forty columns.
    Large,
}

/// The first key; all keys have as many digits, and so all bodies of a shape about as many bytes.
pub const FIRST: u64 = 1_000_000;

const LETTERS: std::ops::RangeInclusive<char> = 'a'..='m';

impl Shape {
    pub fn name(self) -> &'static str {
        match self {
            Shape::Order => "order",
            Shape::Small => "small",
            Shape::Large => "large",
        }
    }

    pub fn table(self) -> &'static str {
        match self {
            Shape::Order => "orders",
            Shape::Small => "small",
            Shape::Large => "large",
        }
    }

    /// The column that the table's primary key is on.
    pub fn key(self) -> &'static str {
        if self == Shape::Order { "order_id" } else { "id" }
    }

    /// One message; its ID is a random UUID, as most producers make them: the ledger's index has no
    /// order to profit from.
    pub fn message(self, nth: u64) -> Message {
        let id = uuid(nth);
        let key = FIRST + nth;
        let body = match self {
            Shape::Order => format!(
                r#"{{"order_id":{key},"event_id":"{id}","customer":"Customer {:05}","country":"{}","quantity":{},"price":{}.{:02},"weight":{}.5,"paid":{},"placed_at":"2026-11-{:02}T{:02}:{:02}:07.{:03}Z","note":"ring"}}"#,
                nth % 50_000,
                ["DE", "FR", "PL", "IT"][nth as usize % 4],
                nth % 9 + 1,
                nth % 900 + 100,
                nth % 100,
                nth % 90 + 10,
                nth.is_multiple_of(2),
                nth % 28 + 1,
                nth % 24,
                nth % 60,
                nth % 1000,
            ),
            Shape::Small => {
                format!(r#"{{"id":{key},"name":"sensor-{:06}","amount":{}}}"#, nth % 1_000_000, nth % 90_000 + 10_000)
            }
            Shape::Large => large(key, nth),
        };
        Message::json(&id, body)
    }

    /// CREATE TABLE, with a primary key as tables have it.
    pub fn ddl(self, server: Server) -> String {
        let columns = match (self, server) {
            (Shape::Order, Server::Postgres) => {
                "order_id bigint PRIMARY KEY, event_id uuid, customer text, country text, quantity int, \
                 price numeric(12,2), weight double precision, paid boolean, placed_at timestamptz, note text"
                    .to_owned()
            }
            (Shape::Order, Server::Mysql) => {
                "order_id bigint PRIMARY KEY, event_id char(36) CHARACTER SET ascii, customer varchar(80), \
                 country varchar(2), quantity int, price decimal(12,2), weight double, paid boolean, \
                 placed_at datetime(6), note varchar(200)"
                    .to_owned()
            }
            (Shape::Order, Server::Sqlite) => {
                "order_id INTEGER PRIMARY KEY, event_id TEXT, customer TEXT, country TEXT, quantity INTEGER, \
                 price NUMERIC, weight REAL, paid BOOLEAN, placed_at DATETIME, note TEXT"
                    .to_owned()
            }
            (Shape::Small, Server::Mysql) => "id bigint PRIMARY KEY, name varchar(80), amount int".to_owned(),
            (Shape::Small, _) => "id INTEGER PRIMARY KEY, name TEXT, amount INTEGER".replace("id INTEGER", id(server)),
            (Shape::Large, _) => {
                let text = if server == Server::Mysql { "varchar(1000)" } else { "text" };
                let real = if server == Server::Sqlite { "REAL" } else { "double precision" };
                let group = |name: &str, kind: &str| -> String {
                    LETTERS.map(|letter| format!(", {name}_{letter} {kind}")).collect()
                };
                let whole = if server == Server::Sqlite { "INTEGER" } else { "bigint" };
                let (texts, counts, measures) = (group("text", text), group("count", whole), group("measure", real));
                format!("{} PRIMARY KEY{texts}{counts}{measures}", id(server))
            }
        };
        format!("CREATE TABLE {} ({columns})", self.table())
    }

    /// The pipeline's columns; none where each field has a column of its name.
    pub fn columns(self) -> String {
        if self != Shape::Large {
            return String::new();
        }
        let group = |name: &str, place: &str| -> String {
            LETTERS.map(|letter| format!("{name}_{letter} = \"{place}/{letter}\"\n")).collect()
        };
        format!(
            "[pipelines.bench.columns]\nid = \"/id\"\n{}{}{}",
            group("text", "/parties/texts"),
            group("count", "/figures/counts"),
            group("measure", "/figures/measures")
        )
    }

    /// A query whose answer depends on every row, and the answer for these messages.
    pub fn check(self, messages: &[u64]) -> (String, u64) {
        let (column, of): (&str, fn(u64) -> u64) = match self {
            Shape::Order => ("quantity", |nth| nth % 9 + 1),
            Shape::Small => ("amount", |nth| nth % 90_000 + 10_000),
            Shape::Large => ("count_m", |nth| nth),
        };
        let sum = messages.iter().map(|&nth| FIRST + nth + of(nth)).sum();
        (format!("sum({} + {column})", self.key()), sum)
    }
}

fn id(server: Server) -> &'static str {
    if server == Server::Sqlite { "id INTEGER" } else { "id bigint" }
}

fn large(key: u64, nth: u64) -> String {
    let group = |value: &dyn Fn(u64) -> String| -> String {
        let fields = LETTERS.zip(0..).map(|(letter, at)| format!("\"{letter}\":{}", value(at)));
        fields.collect::<Vec<_>>().join(",")
    };
    let texts = group(&|at| format!("\"{:08} {}\"", nth + at, "a word and another one, ".repeat(30).trim_end()));
    let counts = group(&|_| nth.to_string());
    let measures = group(&|at| format!("{}.25", nth + at));
    format!(
        r#"{{"id":{key},"parties":{{"texts":{{{texts}}}}},"figures":{{"counts":{{{counts}}},"measures":{{{measures}}}}}}}"#
    )
}

/// As random as a version 4 UUID is, and the same in each run.
pub fn uuid(nth: u64) -> String {
    let (high, low) = (mixed(nth), mixed(nth ^ 0x5bd1_e995_9d1b_58d3));
    format!(
        "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
        high >> 32,
        (high >> 16) & 0xffff,
        high & 0xfff,
        (low >> 48) & 0x3fff | 0x8000,
        low & 0xffff_ffff_ffff
    )
}

/// splitmix64.
fn mixed(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
