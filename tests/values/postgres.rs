//! PostgreSQL's types.

use super::case::{Expect, Section, Table, column, long};

/// Types of the user's own.
pub const SETUP: &str = "
CREATE TYPE mood AS ENUM ('fine', 'it''s bad', 'so, so');
CREATE DOMAIN short AS varchar(3);
CREATE DOMAIN price AS numeric(10,2) CHECK (VALUE >= 0);
CREATE DOMAIN code AS text DEFAULT 'none' CHECK (VALUE <> '');
CREATE TYPE part AS (n int, amount numeric(5,2), at timestamp);";

const NUMBERS: &str = "Numbers";
const TEXT: &str = "Text, bytes and truth";
const TIMES: &str = "Dates and times";
const DOCUMENTS: &str = "UUID, JSON, XML";
const OTHERS: &str = "Networks, money, bits, geometry, ranges";
const OWN: &str = "Arrays and types of your own";

/// All in one table.
pub fn tables() -> Vec<Table> {
    let sections = [integers(), decimals(), floats(), texts(), bytes(), dates(), timestamps(), intervals()];
    let sections = sections.into_iter().chain([documents(), networks(), shapes(), arrays(), own()]).flatten();
    vec![Table { name: "samples", suffix: "", sections: sections.collect() }]
}

fn integers() -> Vec<Section> {
    vec![
        column(NUMBERS, "smallint DEFAULT 7")
            .default("7")
            .same(["0", "-32768", "32767"])
            .stored([("1.0", "1"), ("1E2", "100"), ("-0", "0"), ("\"007\"", "7")])
            .refused("lossy", ["1.5"])
            .refused("out_of_range", ["32768"])
            .refused("wrong_type", ["true", "\"\"", "\"  1\"", "{\"n\":1}"]),
        column(NUMBERS, "integer")
            .same(["-2147483648", "2147483647"])
            .refused("out_of_range", ["2147483648"])
            .refused("wrong_type", ["\"NaN\""]),
        column(NUMBERS, "integer")
            .options("lossy = true")
            .stored([("1.5", "2"), ("-2.5", "-3")])
            .refused("out_of_range", ["2147483647.5"]),
        column(NUMBERS, "bigint")
            .same(["9223372036854775807", "-9223372036854775808", "\"9223372036854775807\""])
            .refused("out_of_range", ["9223372036854775808", "1e400"])
            .refused("lossy", ["0.1000000000000000055"]),
        column(NUMBERS, "integer NOT NULL")
            .not_null(
                Expect::Rejected { code: "23502", column: true },
                Expect::Rejected { code: "23502", column: true },
                Some("1"),
            )
            .same(["5"]),
        column(NUMBERS, "oid").same(["4294967295"]).refused("out_of_range", ["4294967296", "-1"]),
    ]
}

fn decimals() -> Vec<Section> {
    vec![
        column(NUMBERS, "numeric")
            .same(["12345678901234567.89", "0.1000000000000000055", "1.10", "\"19.990\""])
            .stored([("1E2", "100"), ("1e-7", "0.0000001"), ("-0", "0"), ("\"007\"", "7")])
            .refused("out_of_range", ["1e131072"])
            .refused("wrong_type", ["\"NaN\"", "\"Infinity\"", "\"1,5\"", "false", "[1]"]),
        column(NUMBERS, "numeric(10,2) DEFAULT 1.5")
            .default("1.50")
            .same(["99999999.99", "-99999999.99"])
            .stored([("1", "1.00"), ("1.2500", "1.25")])
            .refused("lossy", ["1.005"])
            .refused("out_of_range", ["100000000", "1e400"]),
        column(NUMBERS, "numeric(10,2)")
            .options("lossy = true")
            .stored([("1.005", "1.01"), ("-1.994", "-1.99")])
            .refused("out_of_range", ["99999999.999"]),
        column(NUMBERS, "numeric(3,-2)")
            .same(["12300"])
            .rejected_here("lossy", ["12345"])
            .rejected("22003", ["100000"]),
        column(NUMBERS, "numeric(3,5)")
            .same(["0.00123"])
            .rejected_here("lossy", ["0.001234"])
            .rejected("22003", ["0.01"]),
    ]
}

fn floats() -> Vec<Section> {
    vec![
        column(NUMBERS, "real")
            .same(["0.1", "3.4028235e+38", "-0.5"])
            .stored([("16777216", "1.6777216e+07"), ("-0", "-0")])
            .refused("lossy", ["16777217", "0.1000000000000000055"])
            .refused("out_of_range", ["3.5e38", "1e-50"]),
        column(NUMBERS, "double precision")
            .same(["0.1", "1.7976931348623157e+308", "5e-324", "\"2.5\""])
            .stored([("9007199254740992", "9.007199254740992e+15"), ("1E2", "100")])
            .refused("lossy", ["9007199254740993", "12345678901234567.89", "0.1000000000000000055"])
            .refused("out_of_range", ["1e400", "1e-400"])
            .refused("wrong_type", ["\"NaN\"", "\"-Infinity\"", "true"]),
        column(NUMBERS, "double precision")
            .options("lossy = true")
            .stored([("9007199254740993", "9.007199254740992e+15"), ("0.1000000000000000055", "0.1")]),
    ]
}

fn texts() -> Vec<Section> {
    vec![
        column(TEXT, "text DEFAULT 'its own'")
            .default("its own")
            .same([
                "\"\"",
                "\"007\"",
                "\" x \"",
                "\"Zoë 🦊\"",
                "\"a\\\"b\\\\c\\n\\t\"",
                "\"NULL\"",
                "12.50",
                "1e400",
                "true",
            ])
            .same(["{\"a\": [1, null]}", "[1,  2]"])
            .same([long("é", 100_000)])
            .refused("invalid", ["\"\\ud800\""])
            .rejected("22021", ["\"a\\u0000b\""]),
        column(TEXT, "varchar(3)")
            .same(["\"abc\"", "\"éüß\"", "123", "\"ab \""])
            .refused("too_long", ["\"abcdef\"", "\"abc \"", "1234", "true"]),
        column(TEXT, "varchar(3)").options("lossy = true").stored([("\"abcdef\"", "abc"), ("\"🦊🦊🦊🦊\"", "🦊🦊🦊")]),
        column(TEXT, "char(5)")
            .note("Read by a program, the column shows blanks up to its length.")
            .same(["\"ab\"", "\"abcde\"", "\"\""])
            .refused("too_long", ["\"abcdef\""])
            .refused("lossy", ["\"ab \""]),
        column(TEXT, "char(5)").options("lossy = true").stored([("\"ab \"", "ab"), ("\"abcdef\"", "abcde")]),
        column(TEXT, "name").same([long("x", 63)]).refused("too_long", [long("x", 64), long("é", 32)]),
        column(TEXT, "\"char\"").same(["\"x\""]).refused("too_long", ["\"xy\"", "\"é\""]),
    ]
}

fn bytes() -> Vec<Section> {
    vec![
        column(TEXT, "bytea")
            .note("Text goes in as its UTF-8, never as a notation of bytes.")
            .stored([
                ("\"\"", "\\x"),
                ("\"Aé\"", "\\x41c3a9"),
                ("\"\\\\x00\"", "\\x5c783030"),
                ("\"\\u0000\"", "\\x00"),
            ])
            .refused("wrong_type", ["1", "true", "[1]"]),
        column(TEXT, "boolean DEFAULT true")
            .default("true")
            .same(["true", "false"])
            .refused("wrong_type", ["1", "0", "\"true\"", "\"t\"", "\"\""]),
    ]
}

fn dates() -> Vec<Section> {
    vec![
        column(TIMES, "date DEFAULT '2000-01-01'")
            .default("2000-01-01")
            .same(["\"2026-01-31\"", "\"0001-01-01\"", "\"9999-12-31\"", "\"2024-02-29\""])
            .stored([("\"2026-01-31T00:00:00Z\"", "2026-01-31")])
            .refused("lossy", ["\"2026-01-31T10:00:00Z\""])
            .refused(
                "invalid",
                ["\"today\"", "\"0000-00-00\"", "\"2026-02-30\"", "\"10000-01-01\"", "\"0044-03-15 BC\""],
            )
            .refused("invalid", ["\"infinity\"", "\"31.01.2026\"", "\"2026-1-31\"", "\"\""])
            .refused("wrong_type", ["20260131", "true"]),
        column(TIMES, "date")
            .options("lossy = true, zone = \"Europe/Berlin\"")
            .stored([("\"2026-01-31T23:30:00Z\"", "2026-02-01")]),
        column(TIMES, "time")
            .stored([("\"23:59:59.999999\"", "23:59:59.999999"), ("\"00:00\"", "00:00:00"), ("\"10:20\"", "10:20:00")])
            .refused("out_of_range", ["\"23:59:59.9999999\""])
            .refused("invalid", ["\"24:00\"", "\"23:59:60\"", "\"10:20+02\"", "\"now\"", "\"10:20 PM\"", "36000"]),
        column(TIMES, "time(0)").same(["\"10:20:30\""]).refused("lossy", ["\"10:20:30.5\""]),
        column(TIMES, "time(0)").options("lossy = true").stored([("\"10:20:30.5\"", "10:20:30")]),
    ]
}

fn timestamps() -> Vec<Section> {
    vec![
        column(TIMES, "timestamp")
            .stored([
                ("\"2026-03-04T05:06:07.123456\"", "2026-03-04 05:06:07.123456"),
                ("\"2026-03-04T05:06:07+02:00\"", "2026-03-04 03:06:07"),
                ("\"2026-03-04 05:06:07Z\"", "2026-03-04 05:06:07"),
                ("\"2026-03-04\"", "2026-03-04 00:00:00"),
                ("\"0001-01-01T00:00:00\"", "0001-01-01 00:00:00"),
                ("\"9999-12-31T23:59:59.999999\"", "9999-12-31 23:59:59.999999"),
                ("\"2026-03-04T05:06:07.1234565\"", "2026-03-04 05:06:07.123457"),
            ])
            .refused("lossy", ["\"2016-12-31T23:59:60Z\""])
            .refused("invalid", ["\"now\"", "\"2026-02-30T00:00:00\"", "\"2026-03-04T24:00:00\"", "\"-infinity\""])
            .refused("invalid", ["\"10000-01-01T00:00:00\"", "\"0000-00-00 00:00:00\"", "\"\""])
            .refused("wrong_type", ["1767225600", "true", "{}"]),
        column(TIMES, "timestamp").options("zone = \"Europe/Berlin\"").stored([
            ("\"2026-07-01T10:00:00Z\"", "2026-07-01 12:00:00"),
            ("\"2026-01-01T10:00:00\"", "2026-01-01 10:00:00"),
        ]),
        column(TIMES, "timestamp(3)")
            .stored([("\"2026-03-04T05:06:07.123\"", "2026-03-04 05:06:07.123")])
            .refused("lossy", ["\"2026-03-04T05:06:07.1234\""]),
        column(TIMES, "timestamptz DEFAULT '2000-01-01 00:00+00'")
            .default("2000-01-01 00:00:00+00")
            .stored([
                ("\"2026-03-04T05:06:07.123456+02:00\"", "2026-03-04 03:06:07.123456+00"),
                ("\"2026-03-04T05:06:07Z\"", "2026-03-04 05:06:07+00"),
                ("\"1969-12-31T23:59:59.999999Z\"", "1969-12-31 23:59:59.999999+00"),
            ])
            .refused("no_zone", ["\"2026-03-04T05:06:07\"", "\"2026-03-04\""])
            .refused("invalid", ["\"today\"", "\"2026-03-04T05:06:07 Europe/Berlin\""])
            .refused("wrong_type", ["1767225600000"]),
        column(TIMES, "timestamptz(0)")
            .stored([("\"2026-03-04T05:06:07Z\"", "2026-03-04 05:06:07+00")])
            .refused("lossy", ["\"2026-03-04T05:06:07.5Z\""]),
        column(TIMES, "timestamptz")
            .options("zone = \"Europe/Berlin\"")
            .stored([("\"2026-07-01T12:00:00\"", "2026-07-01 10:00:00+00")])
            .refused("lossy", ["\"2026-10-25T02:30:00\"", "\"2026-03-29T02:30:00\""]),
        column(TIMES, "timestamptz")
            .options("time = \"epoch_ms\"")
            .stored([("1767225600123", "2026-01-01 00:00:00.123+00"), ("-1", "1969-12-31 23:59:59.999+00")])
            .refused("out_of_range", ["1e18"]),
    ]
}

fn intervals() -> Vec<Section> {
    vec![
        column(TIMES, "timetz")
            .stored([("\"10:20:30.5+02:00\"", "10:20:30.5+02"), ("\"10:20Z\"", "10:20:00+00")])
            .rejected_here("lossy", ["\"now\"", "\"10:20\"", "\"24:00Z\"", "\"23:59:60Z\"", "\"2026-01-01 10:20Z\""]),
        column(TIMES, "timetz(0)")
            .stored([("\"10:20:30Z\"", "10:20:30+00")])
            .rejected_here("lossy", ["\"10:20:30.5Z\""]),
        column(TIMES, "interval")
            .stored([
                ("\"1 day 2 hours\"", "1 day 02:00:00"),
                ("\"P1Y2M3DT4H5M6.5S\"", "1 year 2 mons 3 days 04:05:06.5"),
            ])
            .note("A number without a unit is one of seconds, for PostgreSQL.")
            .stored([("5", "00:00:05"), ("\"-00:00:01\"", "-00:00:01"), ("\"90 minutes\"", "01:30:00")])
            .rejected("22007", ["\"soon\"", "\"\"", "true"]),
        column(TIMES, "interval(0)").same(["\"00:00:01\""]).rejected_here("lossy", ["\"1.5 s\""]),
        column(TIMES, "interval day").same(["\"3 days\""]).rejected_here("lossy", ["\"3 days 5 hours\""]),
    ]
}

fn documents() -> Vec<Section> {
    vec![
        column(DOCUMENTS, "uuid")
            .same(["\"123e4567-e89b-12d3-a456-426614174000\""])
            .stored([("\"123E4567-E89B-12D3-A456-426614174000\"", "123e4567-e89b-12d3-a456-426614174000")])
            .refused(
                "invalid",
                ["\"{123e4567-e89b-12d3-a456-426614174000}\"", "\"123e4567e89b12d3a456426614174000\"", "\"\""],
            )
            .refused("wrong_type", ["1"]),
        column(DOCUMENTS, "json")
            .same([
                "{\"b\": 1.10,  \"a\": [0.1000000000000000055]}",
                "1.10",
                "true",
                "[]",
                "{\"a\":1,\"a\":2}",
                "{\"a\":\"\\u0000\"}",
            ])
            .stored([("\"text\"", "\"text\""), ("\"a\\\"b\"", "\"a\\\"b\"")])
            .same(["{\"a\":\"\\ud800\"}"])
            .note("Kept as the text that was sent."),
        column(DOCUMENTS, "jsonb DEFAULT '{}'")
            .default("{}")
            .note("Kept as a tree: blanks and the order of keys are not part of it.")
            .stored([
                ("{\"b\": 1.10,  \"a\": [0.1000000000000000055]}", "{\"a\": [0.1000000000000000055], \"b\": 1.10}"),
                ("12345678901234567.89", "12345678901234567.89"),
                ("\"text\"", "\"text\""),
                ("{}", "{}"),
                ("1E2", "100"),
            ])
            .refused("lossy", ["{\"a\":1,\"a\":2}", "[{\"x\":{\"a\":1,\"\\u0061\":2}}]"])
            .rejected("22P05", ["{\"a\":\"\\u0000\"}"])
            .rejected("22P02", ["{\"a\":\"\\ud800\"}"]),
        column(DOCUMENTS, "xml").same(["\"<a b=\\\"c\\\">text</a>\""]).rejected("2200N", ["\"<a>\""]),
    ]
}

fn networks() -> Vec<Section> {
    vec![
        column(OTHERS, "inet")
            .stored([
                ("\"10.0.0.1\"", "10.0.0.1/32"),
                ("\"10.0.0.1/8\"", "10.0.0.1/8"),
                ("\"2001:DB8::1\"", "2001:db8::1/128"),
            ])
            .rejected("22P02", ["\"10.0.0.256\"", "\"\"", "167772161"]),
        column(OTHERS, "cidr").same(["\"10.0.0.0/8\""]).rejected("22P02", ["\"10.0.0.1/8\""]),
        column(OTHERS, "macaddr")
            .stored([("\"08-00-2B-01-02-03\"", "08:00:2b:01:02:03")])
            .rejected("22P02", ["\"08:00:2b:01:02\""]),
        column(OTHERS, "money")
            .reads("{}::numeric::text")
            .note("Only numbers: what `$1,000.00` means depends on the server's locale.")
            .same(["1.50", "-92233720368547758.08", "\"19.99\""])
            .rejected_here("lossy", ["1.005"])
            .rejected("22003", ["92233720368547758.08"])
            .refused("wrong_type", ["\"$1.00\"", "\"1,5\""]),
        column(OTHERS, "bit(3)")
            .same(["\"101\"", "101"])
            .rejected_here("lossy", ["\"1\"", "\"1010\""])
            .rejected("22P02", ["\"2\""]),
        column(OTHERS, "varbit(5)").same(["\"10\"", "\"\""]).rejected_here("lossy", ["\"101010\""]),
    ]
}

fn shapes() -> Vec<Section> {
    vec![
        column(OTHERS, "point")
            .note("As PostgreSQL prints it: other notations would be rounded or rewritten in silence.")
            .same(["\"(1.5,-2)\""])
            .rejected_here("lossy", ["\"(0.1000000000000000055,1)\"", "\"1,2\""])
            .rejected("22P02", ["[1,2]", "\"x\""]),
        column(OTHERS, "macaddr8")
            .note("As PostgreSQL prints it: it would fill six bytes up to eight.")
            .same(["\"08:00:2b:01:02:03:04:05\""])
            .rejected_here("lossy", ["\"08:00:2b:01:02:03\""]),
        column(OTHERS, "tsvector").same(["\"'cat' 'fat'\""]).rejected_here("lossy", ["\"fat cat fat\""]),
        column(OTHERS, "box").same(["\"(2,2),(0,0)\""]).rejected_here("lossy", ["\"(0,0),(2,2)\""]),
        column(OTHERS, "int4range")
            .same(["\"[1,5)\"", "\"empty\""])
            .stored([("\"[1,4]\"", "[1,5)")])
            .rejected("22000", ["\"[5,1)\""]),
        column(OTHERS, "numrange").same(["\"[0.1000000000000000055,1.50]\""]).rejected("22P02", ["\"1..2\""]),
        column(OTHERS, "tsrange")
            .note("As PostgreSQL prints it: else a zone would be dropped, and `today` taken.")
            .same(["\"[\\\"2026-01-01 00:00:00\\\",\\\"2026-01-02 00:00:00\\\")\""])
            .rejected_here("lossy", ["\"[2026-01-01 00:00:00+02,)\"", "\"[today,)\""]),
    ]
}

fn arrays() -> Vec<Section> {
    vec![
        column(OWN, "int[]")
            .stored([
                ("[1,2,3]", "{1,2,3}"),
                ("[]", "{}"),
                ("[1,null]", "{1,NULL}"),
                ("[[1,2],[3,4]]", "{{1,2},{3,4}}"),
            ])
            .refused("out_of_range", ["[2147483648]"])
            .refused("lossy", ["[1.5]", "[[],[]]"])
            .refused("wrong_type", ["1", "\"{1,2}\"", "{\"a\":1}", "[true]"])
            .refused("invalid", ["[[1,2],[3]]"]),
        column(OWN, "text[]").stored([
            (
                "[\"a\\\"b\\\\\", \"\", \"NULL\", null, \"x,y\", \" \"]",
                "{\"a\\\"b\\\\\",\"\",\"NULL\",NULL,\"x,y\",\" \"}",
            ),
            ("[1.50, true, {\"a\":1}]", "{1.50,true,\"{\\\"a\\\":1}\"}"),
        ]),
        column(OWN, "varchar(3)[]").stored([("[\"abc\"]", "{abc}")]).refused("too_long", ["[\"abcd\"]"]),
        column(OWN, "numeric[]").stored([("[1.10, 12345678901234567.89]", "{1.10,12345678901234567.89}")]),
        column(OWN, "numeric(10,2)[]").stored([("[1.1]", "{1.10}")]).refused("lossy", ["[1.005]"]),
        column(OWN, "numeric(3,-2)[]").stored([("[12300]", "{12300}")]).rejected_here("lossy", ["[12345]"]),
        column(OWN, "timestamptz[]")
            .stored([("[\"2026-03-04T05:06:07+02:00\"]", "{\"2026-03-04 03:06:07+00\"}")])
            .refused("no_zone", ["[\"2026-03-04T05:06:07\"]"]),
        column(OWN, "timestamp(0)[]").refused("lossy", ["[\"2026-03-04T05:06:07.5\"]"]),
        column(OWN, "bytea[]").stored([("[\"A\"]", "{\"\\\\x41\"}")]),
        column(OWN, "jsonb[]")
            .stored([("[{\"a\":[1]}, 2]", "{\"{\\\"a\\\": [1]}\",2}")])
            .refused("lossy", ["[{\"a\":1,\"a\":2}]"]),
        column(OWN, "interval(0)[]").stored([("[\"00:00:01\"]", "{00:00:01}")]).rejected_here("lossy", ["[\"1.5 s\"]"]),
        column(OWN, "money[]")
            .reads("{}::numeric[]::text")
            .stored([("[1.5]", "{1.50}")])
            .rejected_here("lossy", ["[1.005]"]),
    ]
}

fn own() -> Vec<Section> {
    vec![
        column(OWN, "mood")
            .note("An enum.")
            .same(["\"fine\"", "\"it's bad\"", "\"so, so\""])
            .refused("invalid", ["\"FINE\"", "\"\""])
            .refused("wrong_type", ["1"]),
        column(OWN, "mood[]")
            .stored([("[\"fine\",\"so, so\"]", "{fine,\"so, so\"}")])
            .refused("invalid", ["[\"bad\"]"]),
        column(OWN, "short").note("A domain over varchar(3).").same(["\"abc\""]).refused("too_long", ["\"abcd\""]),
        column(OWN, "price")
            .note("A domain over numeric(10,2) with CHECK (VALUE >= 0).")
            .stored([("1.5", "1.50")])
            .refused("lossy", ["1.005"])
            .rejected("23514", ["-1"]),
        column(OWN, "code")
            .note("A domain over text with a DEFAULT and CHECK (VALUE <> '').")
            .default("none")
            .same(["\"x\""])
            .rejected("23514", ["\"\""]),
        column(OWN, "price[]")
            .note("Domains as elements: as PostgreSQL prints them.")
            .stored([("[1.50]", "{1.50}")])
            .rejected_here("lossy", ["[1.005]", "[1.5]"]),
        column(OWN, "part")
            .note("A composite type (n int, amount numeric(5,2), at timestamp): as PostgreSQL prints it.")
            .same(["\"(1,1.50,\\\"2026-01-01 00:00:00\\\")\"", "\"(,,)\""])
            .rejected_here("lossy", ["\"(1,1.005,)\"", "\"(1,,2026-01-01 00:00+02)\""])
            .rejected("22P02", ["{\"n\":1}"]),
    ]
}
