//! The messages, as structs, and how their columns are bound.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde::Deserialize;
use sqlx::Arguments;
use sqlx::mysql::MySqlArguments;
use sqlx::postgres::PgArguments;
use sqlx::sqlite::SqliteArguments;
use uuid::Uuid;

use crate::Outcome;

/// A kind of message.
pub trait Shape {
    type Row<'a>: Row<'a>;
}

/// A message of one table.
pub trait Row<'a>: Deserialize<'a> + Send + Sync {
    const TABLE: &'static str;
    const KEY: &'static str;
    /// In the order in which they are bound.
    fn columns() -> Vec<String>;
    /// PostgreSQL's types, in their order.
    fn arrays() -> Vec<&'static str>;
    fn postgres(rows: &[Self]) -> Outcome<PgArguments>;
    fn mysql(&self, arguments: &mut MySqlArguments) -> Outcome<()>;
    fn sqlite(&self, arguments: &mut SqliteArguments) -> Outcome<()>;
}

/// About 207 bytes, ten columns of as many types as JSON allows.
#[derive(Deserialize)]
pub struct Order<'a> {
    order_id: i64,
    event_id: Uuid,
    customer: &'a str,
    country: &'a str,
    quantity: i32,
    price: Decimal,
    weight: f64,
    paid: bool,
    placed_at: DateTime<Utc>,
    note: &'a str,
}

impl Shape for Order<'static> {
    type Row<'a> = Order<'a>;
}

impl<'a> Row<'a> for Order<'a> {
    const TABLE: &'static str = "orders";
    const KEY: &'static str = "order_id";

    fn columns() -> Vec<String> {
        let names = "order_id event_id customer country quantity price weight paid placed_at note";
        names.split(' ').map(str::to_owned).collect()
    }

    fn arrays() -> Vec<&'static str> {
        let types = ["int8", "uuid", "text", "text", "int4", "numeric", "float8", "bool", "timestamptz", "text"];
        types.to_vec()
    }

    fn postgres(rows: &[Self]) -> Outcome<PgArguments> {
        let mut arguments = PgArguments::default();
        arguments.add(rows.iter().map(|row| row.order_id).collect::<Vec<_>>())?;
        arguments.add(rows.iter().map(|row| row.event_id).collect::<Vec<_>>())?;
        arguments.add(rows.iter().map(|row| row.customer).collect::<Vec<_>>())?;
        arguments.add(rows.iter().map(|row| row.country).collect::<Vec<_>>())?;
        arguments.add(rows.iter().map(|row| row.quantity).collect::<Vec<_>>())?;
        arguments.add(rows.iter().map(|row| row.price).collect::<Vec<_>>())?;
        arguments.add(rows.iter().map(|row| row.weight).collect::<Vec<_>>())?;
        arguments.add(rows.iter().map(|row| row.paid).collect::<Vec<_>>())?;
        arguments.add(rows.iter().map(|row| row.placed_at).collect::<Vec<_>>())?;
        arguments.add(rows.iter().map(|row| row.note).collect::<Vec<_>>())?;
        Ok(arguments)
    }

    fn mysql(&self, arguments: &mut MySqlArguments) -> Outcome<()> {
        arguments.add(self.order_id)?;
        arguments.add(&*self.event_id.hyphenated().encode_lower(&mut Uuid::encode_buffer()))?;
        arguments.add(self.customer)?;
        arguments.add(self.country)?;
        arguments.add(self.quantity)?;
        arguments.add(self.price)?;
        arguments.add(self.weight)?;
        arguments.add(self.paid)?;
        arguments.add(self.placed_at.naive_utc())?;
        arguments.add(self.note)?;
        Ok(())
    }

    fn sqlite(&self, arguments: &mut SqliteArguments) -> Outcome<()> {
        arguments.add(self.order_id)?;
        arguments.add(self.event_id.hyphenated().to_string())?;
        arguments.add(self.customer.to_owned())?;
        arguments.add(self.country.to_owned())?;
        arguments.add(self.quantity)?;
        arguments.add(f64::try_from(self.price)?)?;
        arguments.add(self.weight)?;
        arguments.add(self.paid)?;
        arguments.add(self.placed_at.format("%Y-%m-%d %H:%M:%S%.6f").to_string())?;
        arguments.add(self.note.to_owned())?;
        Ok(())
    }
}

/// 60 bytes, three columns.
#[derive(Deserialize)]
pub struct Small<'a> {
    id: i64,
    name: &'a str,
    amount: i32,
}

impl Shape for Small<'static> {
    type Row<'a> = Small<'a>;
}

impl<'a> Row<'a> for Small<'a> {
    const TABLE: &'static str = "small";
    const KEY: &'static str = "id";

    fn columns() -> Vec<String> {
        "id name amount".split(' ').map(str::to_owned).collect()
    }

    fn arrays() -> Vec<&'static str> {
        vec!["int8", "text", "int4"]
    }

    fn postgres(rows: &[Self]) -> Outcome<PgArguments> {
        let mut arguments = PgArguments::default();
        arguments.add(rows.iter().map(|row| row.id).collect::<Vec<_>>())?;
        arguments.add(rows.iter().map(|row| row.name).collect::<Vec<_>>())?;
        arguments.add(rows.iter().map(|row| row.amount).collect::<Vec<_>>())?;
        Ok(arguments)
    }

    fn mysql(&self, arguments: &mut MySqlArguments) -> Outcome<()> {
        arguments.add(self.id)?;
        arguments.add(self.name)?;
        arguments.add(self.amount)?;
        Ok(())
    }

    fn sqlite(&self, arguments: &mut SqliteArguments) -> Outcome<()> {
        arguments.add(self.id)?;
        arguments.add(self.name.to_owned())?;
        arguments.add(self.amount)?;
        Ok(())
    }
}

/// 10 KB in nested objects, forty columns: a key, thirteen texts, thirteen whole numbers, thirteen
/// fractions.
#[derive(Deserialize)]
pub struct Large<'a> {
    id: i64,
    #[serde(borrow)]
    parties: Parties<'a>,
    figures: Figures,
}

#[derive(Deserialize)]
struct Parties<'a> {
    #[serde(borrow)]
    texts: Thirteen<&'a str>,
}

#[derive(Deserialize)]
struct Figures {
    counts: Thirteen<i64>,
    measures: Thirteen<f64>,
}

#[derive(Deserialize)]
struct Thirteen<T> {
    a: T,
    b: T,
    c: T,
    d: T,
    e: T,
    f: T,
    g: T,
    h: T,
    i: T,
    j: T,
    k: T,
    l: T,
    m: T,
}

impl<T: Copy> Thirteen<T> {
    fn all(&self) -> [T; 13] {
        [self.a, self.b, self.c, self.d, self.e, self.f, self.g, self.h, self.i, self.j, self.k, self.l, self.m]
    }
}

impl Shape for Large<'static> {
    type Row<'a> = Large<'a>;
}

impl<'a> Row<'a> for Large<'a> {
    const TABLE: &'static str = "large";
    const KEY: &'static str = "id";

    fn columns() -> Vec<String> {
        let of = |group: &'static str| ('a'..='m').map(move |letter| format!("{group}_{letter}"));
        std::iter::once("id".to_owned()).chain(of("text")).chain(of("count")).chain(of("measure")).collect()
    }

    fn arrays() -> Vec<&'static str> {
        let of = |kind: &'static str| std::iter::repeat_n(kind, 13);
        std::iter::once("int8").chain(of("text")).chain(of("int8")).chain(of("float8")).collect()
    }

    fn postgres(rows: &[Self]) -> Outcome<PgArguments> {
        let mut arguments = PgArguments::default();
        arguments.add(rows.iter().map(|row| row.id).collect::<Vec<_>>())?;
        for at in 0..13 {
            arguments.add(rows.iter().map(|row| row.parties.texts.all()[at]).collect::<Vec<_>>())?;
        }
        for at in 0..13 {
            arguments.add(rows.iter().map(|row| row.figures.counts.all()[at]).collect::<Vec<_>>())?;
        }
        for at in 0..13 {
            arguments.add(rows.iter().map(|row| row.figures.measures.all()[at]).collect::<Vec<_>>())?;
        }
        Ok(arguments)
    }

    fn mysql(&self, arguments: &mut MySqlArguments) -> Outcome<()> {
        arguments.add(self.id)?;
        for text in self.parties.texts.all() {
            arguments.add(text)?;
        }
        for count in self.figures.counts.all() {
            arguments.add(count)?;
        }
        for measure in self.figures.measures.all() {
            arguments.add(measure)?;
        }
        Ok(())
    }

    fn sqlite(&self, arguments: &mut SqliteArguments) -> Outcome<()> {
        arguments.add(self.id)?;
        for text in self.parties.texts.all() {
            arguments.add(text.to_owned())?;
        }
        for count in self.figures.counts.all() {
            arguments.add(count)?;
        }
        for measure in self.figures.measures.all() {
            arguments.add(measure)?;
        }
        Ok(())
    }
}
