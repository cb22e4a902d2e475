//! SQLite's declarations, and what SQLite makes of them: every value reads with the type that it
//! is stored as.

use super::case::{Expect, Section, Table, column, long, text_of};

/// `integer 5`, `text abc`, `blob 00FF`.
pub const READS: &str = "CASE typeof({}) WHEN 'null' THEN NULL WHEN 'blob' THEN 'blob ' || hex({}) \
                         WHEN 'real' THEN 'real ' || quote({}) ELSE typeof({}) || ' ' || CAST({} AS TEXT) END";

const NUMBERS: &str = "Numbers";
const TEXT: &str = "Text, bytes, documents and whatever else";
const TIMES: &str = "Dates and times";
const STRICT: &str = "STRICT tables";

/// An ordinary table and a STRICT one.
pub fn tables() -> Vec<Table> {
    let ordinary = [integers(), decimals(), texts(), documents(), times()].into_iter().flatten().collect();
    vec![
        Table { name: "samples", suffix: "", sections: ordinary },
        Table { name: "strict_samples", suffix: "STRICT", sections: strict() },
    ]
}

impl Section {
    /// Stored as this type, with the text or digits that were sent.
    fn kept<S: AsRef<str>>(self, kind: &str, sent: impl IntoIterator<Item = S>) -> Section {
        let cases =
            sent.into_iter().map(|sent| (sent.as_ref().to_owned(), format!("{kind} {}", text_of(sent.as_ref()))));
        self.stored(cases.collect::<Vec<_>>())
    }
}

fn integers() -> Vec<Section> {
    vec![
        column(NUMBERS, "INTEGER DEFAULT 7")
            .default("integer 7")
            .kept("integer", ["0", "9223372036854775807", "-9223372036854775808"])
            .stored([("1.0", "integer 1"), ("1E2", "integer 100"), ("-0", "integer 0"), ("\"007\"", "integer 7")])
            .refused("out_of_range", ["9223372036854775808", "1e400"])
            .refused("lossy", ["1.5", "0.1000000000000000055"])
            .refused("wrong_type", ["\"abc\"", "\"\"", "\"  1\"", "true", "{\"n\":1}", "\"0x10\""]),
        column(NUMBERS, "TINYINT")
            .note("SQLite has one integer type; names of others say nothing of a range.")
            .kept("integer", ["300"]),
        column(NUMBERS, "INTEGER").options("lossy = true").stored([("1.5", "integer 2")]),
        column(NUMBERS, "INTEGER PRIMARY KEY")
            .note("SQLite numbers rows that leave it out.")
            .not_null(Expect::Rejected { code: "SQLITE_CONSTRAINT_NOTNULL", column: true }, Expect::Anything, None)
            .kept("integer", ["1000000", "-5", "9223372036854775806"])
            .refused("wrong_type", ["\"x\""])
            .refused("lossy", ["1.5"]),
        column(NUMBERS, "INTEGER NOT NULL CHECK (typeof(c4) = 'integer' AND c4 < 10)")
            .not_null(
                Expect::Rejected { code: "SQLITE_CONSTRAINT_NOTNULL", column: true },
                Expect::Rejected { code: "SQLITE_CONSTRAINT_NOTNULL", column: true },
                Some("1"),
            )
            .kept("integer", ["5"])
            .rejected("SQLITE_CONSTRAINT_CHECK", ["11"]),
        column(NUMBERS, "BOOLEAN DEFAULT 1")
            .default("integer 1")
            .stored([("true", "integer 1"), ("false", "integer 0")])
            .refused("wrong_type", ["1", "\"true\"", "\"\""]),
    ]
}

fn decimals() -> Vec<Section> {
    vec![
        column(NUMBERS, "REAL")
            .kept("real", ["0.1", "-2.5"])
            .stored([("1e308", "real 1.0e+308"), ("1", "real 1.0"), ("\"2.5\"", "real 2.5"), ("1E2", "real 100.0")])
            .refused("lossy", ["9007199254740993", "12345678901234567.89", "0.1000000000000000055"])
            .refused("out_of_range", ["1e400", "1e-400"])
            .refused("wrong_type", ["\"NaN\"", "true", "\"Infinity\""]),
        column(NUMBERS, "REAL").options("lossy = true").stored([("0.1000000000000000055", "real 0.1")]),
        column(NUMBERS, "DECIMAL(10,2) DEFAULT 1.5")
            .note("SQLite has no decimals: numbers of up to 15 digits and 64-bit integers are kept exactly. Declare TEXT for more.")
            .default("real 1.5")
            .kept("real", ["99999999.99", "-0.01", "\"19.99\""])
            .stored([("1", "integer 1"), ("1.50", "real 1.5"), ("-0", "integer 0")])
            .refused("lossy", ["1.005"])
            .refused("out_of_range", ["100000000", "1e400"])
            .refused("wrong_type", ["\"abc\"", "true", "\"1,5\""]),
        column(NUMBERS, "NUMERIC")
            .kept("integer", ["9223372036854775807"])
            .kept("real", ["123456789.123456", "0.5"])
            .stored([("1E2", "integer 100"), ("\"007\"", "integer 7"), ("1e20", "real 1.0e+20")])
            .rejected_here("lossy", ["12345678901234567.89", "0.1000000000000000055", "9223372036854775808"])
            .refused("wrong_type", ["\"NaN\"", "[1]"]),
        column(NUMBERS, "MONEY").kept("real", ["12.5"]).rejected_here("lossy", ["12345678901234567.89"]),
    ]
}

fn texts() -> Vec<Section> {
    vec![
        column(TEXT, "TEXT DEFAULT 'own'")
            .default("text own")
            .kept(
                "text",
                ["\"\"", "\"007\"", "\" x \"", "\"Zoë 🦊\"", "\"a\\\"b'c\\\\d\\n\"", "12345678901234567.89", "1e400"],
            )
            .kept("text", ["1.0", "true", "{\"a\": [1, null]}", "0.1000000000000000055", "\"NULL\""])
            .kept("text", [long("é", 100_000)])
            .refused("invalid", ["\"\\ud800\""]),
        column(TEXT, "TEXT")
            .reads("CASE WHEN {} IS NOT NULL THEN typeof({}) || ' ' || hex({}) END")
            .stored([("\"a\\u0000b\"", "text 610062")]),
        column(TEXT, "VARCHAR(3)")
            .note("SQLite holds nobody to a length.")
            .kept("text", ["\"abcdef\"", "\"abc \"", "1234"]),
        column(TEXT, "BLOB")
            .stored([("\"\"", "blob "), ("\"Aé\"", "blob 41C3A9"), ("\"\\u0000\"", "blob 00")])
            .refused("wrong_type", ["1", "true", "{}"]),
        column(TEXT, "VARBINARY(2)")
            .note("Declared with NUMERIC affinity, which leaves bytes alone.")
            .stored([("\"abc\"", "blob 616263")]),
        column(TEXT, "")
            .note("Without a declaration a value keeps its own type.")
            .kept("integer", ["5", "9223372036854775807"])
            .kept("real", ["0.5"])
            .kept("text", ["\"007\"", "\"\"", "{\"a\":1}", "[1]"])
            .stored([("1.0", "integer 1"), ("true", "integer 1"), ("-0", "integer 0")])
            .refused("lossy", ["12345678901234567.89", "9223372036854775808"])
            .refused("out_of_range", ["1e400"]),
    ]
}

fn documents() -> Vec<Section> {
    vec![
        column(TEXT, "STRING")
            .note("SQLite takes it for NUMERIC: text that looks like a number would become one.")
            .kept("text", ["\"abc\"", "\"\"", "\"1 2\"", "true"])
            .stored([("\"7\"", "integer 7"), ("12", "integer 12")])
            .rejected_here("lossy", ["\"007\"", "\"1.50\"", "\"1e5\"", "1.5", "\" 7\""]),
        column(TEXT, "UUID")
            .kept("text", ["\"123e4567-e89b-12d3-a456-426614174000\""])
            .stored([("\"123E4567-E89B-12D3-A456-426614174000\"", "text 123e4567-e89b-12d3-a456-426614174000")])
            .refused("invalid", ["\"{123e4567-e89b-12d3-a456-426614174000}\"", "\"\""])
            .refused("wrong_type", ["1"]),
        column(TEXT, "JSON")
            .note("Kept as the text that was sent; a document that is nothing but a number, as that number.")
            .kept(
                "text",
                [
                    "{\"b\": 1.10,  \"a\": [0.1000000000000000055]}",
                    "[]",
                    "true",
                    "{\"a\":1,\"a\":2}",
                    "{\"a\":\"\\u0000\"}",
                ],
            )
            .stored([
                ("\"text\"", "text \"text\""),
                ("\"1\"", "text \"1\""),
                ("12", "integer 12"),
                ("1.10", "real 1.1"),
            ])
            .rejected_here("lossy", ["12345678901234567.89"]),
    ]
}

fn times() -> Vec<Section> {
    vec![
        column(TIMES, "DATE DEFAULT '2000-01-01'")
            .default("text 2000-01-01")
            .kept("text", ["\"2026-01-31\"", "\"0001-01-01\"", "\"9999-12-31\""])
            .refused("lossy", ["\"2026-01-31T10:00:00Z\""])
            .refused(
                "invalid",
                ["\"today\"", "\"0000-00-00\"", "\"2026-02-30\"", "\"10000-01-01\"", "\"\"", "\"infinity\""],
            )
            .refused("wrong_type", ["20260131"]),
        column(TIMES, "TIME")
            .stored([("\"23:59:59.999999\"", "text 23:59:59.999999"), ("\"10:20\"", "text 10:20:00")])
            .refused("invalid", ["\"24:00\"", "\"now\"", "\"10:20+02\"", "\"23:59:60\""]),
        column(TIMES, "DATETIME")
            .stored([
                ("\"2026-03-04T05:06:07.123456\"", "text 2026-03-04 05:06:07.123456"),
                ("\"2026-03-04T05:06:07+02:00\"", "text 2026-03-04 03:06:07"),
                ("\"2026-03-04\"", "text 2026-03-04 00:00:00"),
                ("\"9999-12-31T23:59:59.999999Z\"", "text 9999-12-31 23:59:59.999999"),
                ("\"2026-03-04T05:06:07.1234565\"", "text 2026-03-04 05:06:07.123457"),
            ])
            .refused("lossy", ["\"2016-12-31T23:59:60Z\""])
            .refused("invalid", ["\"now\"", "\"2026-03-04T24:00:00\"", "\"0000-00-00 00:00:00\"", "\"0044-03-15 BC\""])
            .refused("wrong_type", ["1767225600", "true"]),
        column(TIMES, "DATETIME")
            .options("zone = \"Europe/Berlin\"")
            .stored([("\"2026-07-01T10:00:00Z\"", "text 2026-07-01 12:00:00")]),
        column(TIMES, "TIMESTAMP WITH TIME ZONE")
            .stored([("\"2026-03-04T05:06:07.5+02:00\"", "text 2026-03-04 03:06:07.500000+00:00")])
            .refused("no_zone", ["\"2026-03-04T05:06:07\""])
            .refused("invalid", ["\"2026-02-30T00:00:00Z\""]),
        column(TIMES, "TIMESTAMP")
            .options("time = \"epoch_s\"")
            .stored([("1767225600", "text 2026-01-01 00:00:00"), ("-0.5", "text 1969-12-31 23:59:59.500000")])
            .refused("out_of_range", ["1e18"]),
    ]
}

fn strict() -> Vec<Section> {
    vec![
        column(STRICT, "INT")
            .kept("integer", ["5"])
            .refused("wrong_type", ["\"abc\"", "true"])
            .refused("lossy", ["1.5"]),
        column(STRICT, "INTEGER DEFAULT 7")
            .default("integer 7")
            .kept("integer", ["9223372036854775807"])
            .refused("out_of_range", ["9223372036854775808"]),
        column(STRICT, "REAL")
            .kept("real", ["0.1"])
            .stored([("1", "real 1.0")])
            .refused("lossy", ["9007199254740993"])
            .refused("wrong_type", ["\"x\""]),
        column(STRICT, "TEXT").kept("text", ["\"007\"", "12.50", "true", "\"\""]),
        column(STRICT, "BLOB").stored([("\"A\"", "blob 41")]).refused("wrong_type", ["1"]),
        column(STRICT, "ANY")
            .note("Values keep their own types.")
            .kept("text", ["\"007\"", "\"1.0\"", "[1]"])
            .kept("integer", ["7"])
            .kept("real", ["0.5"])
            .stored([("true", "integer 1"), ("1.0", "integer 1")])
            .refused("lossy", ["12345678901234567.89"])
            .refused("out_of_range", ["1e400"]),
    ]
}
