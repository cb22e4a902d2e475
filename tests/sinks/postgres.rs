//! The suite on PostgreSQL.

use std::any::Any;
use std::str::FromStr;
use std::sync::atomic::{AtomicU32, Ordering};

use futures_util::future::BoxFuture;
use rabbit_sink::config::DatabaseKind;
use rabbit_sink::message::Cell;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, PgConnection};

use super::fixture::{Codes, Dialect, Specimen, bytes, text};

exercise!(PostgresDialect::fresh());

/// A fresh database on the server of RABBIT_SINK_TEST_POSTGRES_URL.
pub struct PostgresDialect {
    server: String,
    name: String,
}

impl PostgresDialect {
    pub async fn fresh() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let server = std::env::var("RABBIT_SINK_TEST_POSTGRES_URL")
            .expect("RABBIT_SINK_TEST_POSTGRES_URL: the URL of a PostgreSQL server, with a superuser's login");
        let name = format!("rs_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let dialect = PostgresDialect { server, name };
        dialect.on_server(&format!("CREATE DATABASE {}", dialect.name)).await;
        dialect
    }

    /// The URL with this database, and another login if one is given.
    pub fn url_of(&self, login: Option<(&str, &str)>) -> String {
        let mut url = url::Url::parse(&self.server).expect("a URL");
        url.set_path(&self.name);
        if let Some((user, password)) = login {
            url.set_username(user).expect("a user");
            url.set_password(Some(password)).expect("a password");
        }
        url.to_string()
    }

    async fn connect(&self) -> PgConnection {
        PgConnectOptions::from_str(&self.url()).expect("a URL").connect().await.expect("a connection")
    }

    async fn on_server(&self, sql: &str) {
        let mut conn = PgConnectOptions::from_str(&self.server)
            .expect("a URL")
            .connect()
            .await
            .expect("RABBIT_SINK_TEST_POSTGRES_URL can't be connected to");
        conn.execute(AssertSqlSafe(sql)).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        conn.close().await.expect("closed");
    }
}

impl Dialect for PostgresDialect {
    fn kind(&self) -> DatabaseKind {
        DatabaseKind::Postgres
    }

    fn url(&self) -> String {
        self.url_of(None)
    }

    fn execute<'a>(&'a self, sql: &'a str) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let mut conn = self.connect().await;
            conn.execute(AssertSqlSafe(sql)).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
            conn.close().await.expect("closed");
        })
    }

    fn texts<'a>(&'a self, sql: &'a str) -> BoxFuture<'a, Vec<Option<String>>> {
        Box::pin(async move {
            let mut conn = self.connect().await;
            let rows = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(&mut conn).await;
            conn.close().await.expect("closed");
            rows.unwrap_or_else(|error| panic!("{sql}: {error}"))
        })
    }

    fn hold<'a>(&'a self, sql: &'a str) -> BoxFuture<'a, Box<dyn Any + Send>> {
        Box::pin(async move {
            let mut conn = self.connect().await;
            conn.execute("BEGIN").await.expect("begun");
            conn.execute(AssertSqlSafe(sql)).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
            Box::new(conn) as Box<dyn Any + Send>
        })
    }

    fn as_text(&self, expression: &str) -> String {
        format!("({expression})::text")
    }

    fn key_text(&self) -> &'static str {
        "text"
    }

    fn specimens(&self) -> Vec<Specimen> {
        numbers().into_iter().chain(times()).chain(texts()).collect()
    }

    fn codes(&self) -> Codes {
        Codes { unique: "23505", not_null: "23502", lock: "55P03", no_table: "42P01" }
    }

    fn remove(&self) -> BoxFuture<'_, ()> {
        Box::pin(async { self.on_server(&format!("DROP DATABASE {} WITH (FORCE)", self.name)).await })
    }
}

fn specimen(ddl: &'static str, values: Vec<(Cell, &str)>) -> Specimen {
    Specimen { ddl, values: values.into_iter().map(|(cell, printed)| (cell, printed.to_owned())).collect() }
}

/// Texts that come back as they were sent.
fn same(ddl: &'static str, values: &[&str]) -> Specimen {
    specimen(ddl, values.iter().map(|value| (text(value), *value)).collect())
}

fn numbers() -> Vec<Specimen> {
    let int = Cell::Int;
    vec![
        specimen("smallint", vec![(int(-32768), "-32768"), (int(32767), "32767")]),
        specimen("integer", vec![(int(-2147483648), "-2147483648"), (int(2147483647), "2147483647")]),
        specimen(
            "bigint",
            vec![
                (int(i64::MIN), "-9223372036854775808"),
                (int(i64::MAX), "9223372036854775807"),
                (int(9007199254740993), "9007199254740993"),
            ],
        ),
        specimen("oid", vec![(int(4294967295), "4294967295")]),
        same("numeric", &["0", "-1.50", "123456789012345678901234567890.123456789012345678901234567890"]),
        same("numeric(20,4)", &["1234567890123456.7891", "-0.0001"]),
        same("numeric(3,-2)", &["12300", "-100"]),
        same("numeric(2,4)", &["0.0099"]),
        specimen("double precision", vec![(Cell::Float(0.1), "0.1"), (Cell::Float(-1.5e300), "-1.5e+300")]),
        specimen("real", vec![(Cell::Float(1.5), "1.5"), (Cell::Float(f64::from(0.1_f32)), "0.1")]),
        specimen("boolean", vec![(Cell::Bool(true), "true"), (Cell::Bool(false), "false")]),
    ]
}

fn times() -> Vec<Specimen> {
    let (zoned, plain) = ("2026-01-02 03:04:05.123456+00", "2026-01-02 03:04:05.123456");
    let micros = 1_767_323_045_123_456;
    vec![
        specimen(
            "date",
            vec![
                (Cell::Date(0), "1970-01-01"),
                (Cell::Date(-719162), "0001-01-01"),
                (Cell::Date(2932896), "9999-12-31"),
            ],
        ),
        specimen("time", vec![(Cell::Time(0), "00:00:00"), (Cell::Time(86_399_999_999), "23:59:59.999999")]),
        specimen("timestamptz", vec![(Cell::Timestamp(micros), zoned), (Cell::Timestamp(0), "1970-01-01 00:00:00+00")]),
        specimen(
            "timestamp",
            vec![(Cell::Timestamp(micros), plain), (Cell::Timestamp(-1), "1969-12-31 23:59:59.999999")],
        ),
        specimen("timestamptz(3)", vec![(Cell::Timestamp(123_000), "1970-01-01 00:00:00.123+00")]),
        same("interval", &["1 day 02:03:04"]),
        same("timetz", &["12:00:00+02"]),
    ]
}

fn texts() -> Vec<Specimen> {
    vec![
        same("text", &["", "plain", "日本語 'quoted' \\ \"", "1"]),
        same("varchar(3)", &["abc", "日本語"]),
        same("char(3)", &["abc"]),
        same("name", &["pg"]),
        same("\"char\"", &["x"]),
        specimen("bytea", vec![(bytes(b""), "\\x"), (bytes(&[0, 255, 16]), "\\x00ff10")]),
        same("uuid", &["00112233-4455-6677-8899-aabbccddeeff"]),
        same("json", &["{\"a\" : 1.10, \"a\": 12345678901234567890}"]),
        specimen("jsonb", vec![(text("{\"b\":1.10,\"a\":null}"), "{\"a\": null, \"b\": 1.10}")]),
        same("integer[]", &["{1,NULL,3}"]),
        same("varchar(3)[]", &["{abc,\"d,e\"}"]),
        same("bit(3)", &["101"]),
        same("inet", &["10.0.0.1/8"]),
        same("int4range", &["[1,5)"]),
        same("xml", &["<a/>"]),
        same("point", &["(1,2)"]),
    ]
}
