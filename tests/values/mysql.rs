//! The types of MySQL and MariaDB.

use super::case::Flavour::{Mariadb, Mysql};
use super::case::{Expect, Section, Table, column, long};

const NUMBERS: &str = "Numbers";
const TEXT: &str = "Text";
const BYTES: &str = "Bytes and bits";
const TIMES: &str = "Dates and times";
const OTHERS: &str = "Labels, documents and the rest";

/// All in one table, within what InnoDB allows a row.
pub fn tables() -> Vec<Table> {
    let sections = [integers(), wide_integers(), decimals(), floats(), texts(), long_texts(), bytes(), bits()];
    let sections = sections.into_iter().chain([dates(), datetimes(), timestamps(), labels(), documents()]).flatten();
    vec![Table { name: "samples", suffix: "ROW_FORMAT=DYNAMIC", sections: sections.collect() }]
}

fn integers() -> Vec<Section> {
    vec![
        column(NUMBERS, "tinyint")
            .same(["-128", "127", "0"])
            .stored([("1.0", "1"), ("1E2", "100"), ("-0", "0"), ("\"007\"", "7")])
            .refused("out_of_range", ["300", "128", "-129"])
            .refused("lossy", ["1.5"])
            .refused("wrong_type", ["\"\"", "\"  1\"", "\"abc\"", "{\"n\":1}", "[1]"]),
        column(NUMBERS, "boolean DEFAULT true")
            .note("A `tinyint(1)`, as which the server knows it: any number of one byte goes in.")
            .default("1")
            .stored([("true", "1"), ("false", "0")])
            .same(["7"])
            .refused("wrong_type", ["\"true\""]),
        column(NUMBERS, "tinyint unsigned")
            .same(["255", "0"])
            .refused("out_of_range", ["256", "-1"])
            .refused("wrong_type", ["true"]),
        column(NUMBERS, "smallint").same(["-32768", "32767"]).refused("out_of_range", ["32768"]),
        column(NUMBERS, "smallint unsigned").same(["65535"]).refused("out_of_range", ["65536", "-1"]),
        column(NUMBERS, "mediumint").same(["-8388608", "8388607"]).refused("out_of_range", ["8388608"]),
        column(NUMBERS, "mediumint unsigned").same(["16777215"]).refused("out_of_range", ["16777216"]),
        column(NUMBERS, "int DEFAULT 7")
            .default("7")
            .same(["-2147483648", "2147483647"])
            .refused("out_of_range", ["2147483648"])
            .refused("wrong_type", ["\"NaN\"", "true"]),
        column(NUMBERS, "int").options("lossy = true").stored([("1.5", "2"), ("-2.5", "-3")]),
    ]
}

fn wide_integers() -> Vec<Section> {
    vec![
        column(NUMBERS, "int unsigned").same(["4294967295"]).refused("out_of_range", ["4294967296", "-1"]),
        column(NUMBERS, "int(5) unsigned zerofill").stored([("42", "00042")]).refused("out_of_range", ["-1"]),
        column(NUMBERS, "bigint")
            .same(["9223372036854775807", "-9223372036854775808"])
            .refused("out_of_range", ["9223372036854775808", "1e400"])
            .refused("lossy", ["0.1000000000000000055"]),
        column(NUMBERS, "bigint unsigned")
            .same(["18446744073709551615", "9223372036854775808", "\"18446744073709551615\""])
            .refused("out_of_range", ["18446744073709551616", "-1"]),
        column(NUMBERS, "int NOT NULL")
            .not_null(
                Expect::Rejected { code: "1048", column: true },
                Expect::Rejected { code: "1048", column: true },
                Some("1"),
            )
            .same(["5"]),
        column(NUMBERS, "int NOT NULL DEFAULT 3")
            .not_null(Expect::Rejected { code: "1048", column: true }, Expect::Stored(Some("3".to_owned())), None)
            .same(["0"]),
    ]
}

fn decimals() -> Vec<Section> {
    vec![
        column(NUMBERS, "decimal(10,2) DEFAULT 1.5")
            .default("1.50")
            .same(["99999999.99", "-99999999.99", "\"19.99\""])
            .stored([("1", "1.00"), ("1.2500", "1.25"), ("-0", "0.00"), ("1E2", "100.00")])
            .refused("lossy", ["1.005"])
            .refused("out_of_range", ["100000000", "1e400"])
            .refused("wrong_type", ["\"NaN\"", "\"1,5\"", "true"]),
        column(NUMBERS, "decimal(10,2)").options("lossy = true").stored([("1.005", "1.01"), ("-1.994", "-1.99")]),
        column(NUMBERS, "decimal(10,2) unsigned").stored([("1", "1.00")]).rejected_here("1264", ["-1"]),
        column(NUMBERS, "decimal(65,30)")
            .same(["12345678901234567890123456789012345.123456789012345678901234567890"])
            .stored([
                ("12345678901234567.89", "12345678901234567.890000000000000000000000000000"),
                ("0.1000000000000000055", "0.100000000000000005500000000000"),
            ])
            .refused("lossy", ["1e-31"])
            .refused("out_of_range", ["1e35"]),
    ]
}

fn floats() -> Vec<Section> {
    vec![
        column(NUMBERS, "float")
            .reads("CAST(CAST({} AS DOUBLE) AS CHAR)")
            .note("Shown here as a double; the server itself shows six digits.")
            .stored([("0.5", "0.5"), ("0.1", "0.10000000149011612"), ("16777216", "16777216")])
            .refused("lossy", ["16777217", "0.1000000000000000055"])
            .refused("out_of_range", ["3.5e38", "1e-50"]),
        column(NUMBERS, "double")
            .same(["0.1", "1.7976931348623157e308", "\"2.5\""])
            .stored([("9007199254740992", "9.007199254740992e15"), ("1E2", "100")])
            .refused("lossy", ["9007199254740993", "12345678901234567.89", "0.1000000000000000055"])
            .refused("out_of_range", ["1e400", "1e-400"])
            .refused("wrong_type", ["\"NaN\"", "\"Infinity\"", "true"]),
        column(NUMBERS, "double").options("lossy = true").stored([("0.1000000000000000055", "0.1")]),
        column(NUMBERS, "float(7,4)")
            .same(["999.9999", "0.0001"])
            .refused("lossy", ["0.00001"])
            .refused("out_of_range", ["1000"]),
        column(NUMBERS, "float(10,2)")
            .note("More digits are declared than a float has.")
            .same(["1234.50"])
            .refused("lossy", ["12345678.91"]),
    ]
}

fn texts() -> Vec<Section> {
    vec![
        column(TEXT, "char(5)")
            .same(["\"ab\"", "\"abcde\"", "\"\"", "\"🦊🦊🦊🦊🦊\""])
            .refused("too_long", ["\"abcdef\""])
            .refused("lossy", ["\"ab \""]),
        column(TEXT, "varchar(3) DEFAULT 'own'")
            .default("own")
            .same(["\"abc\"", "\"éüß\"", "123", "\"ab \"", "\"007\"", "\"\"", "1.0"])
            .refused("too_long", ["\"abcdef\"", "\"abc \"", "1234", "true"])
            .refused("invalid", ["\"\\ud800\""]),
        column(TEXT, "varchar(3)").options("lossy = true").stored([("\"abcdef\"", "abc")]),
        column(TEXT, "varchar(20)").same([
            "\"a\\\"b'c\\\\d\\n\\t\"",
            "\"NULL\"",
            "1e400",
            "true",
            "{\"a\": [1, null]}",
            "\"a\\u0000b\"",
            "\" x \"",
        ]),
        column(TEXT, "varchar(20) CHARACTER SET latin1")
            .note("Characters that the column's character set doesn't have are refused by the server.")
            .same(["\"Zoë\""])
            .only(Mariadb)
            .rejected_here("1366", ["\"🦊\"", "\"Łódź\""])
            .only(Mysql)
            .rejected("3988", ["\"🦊\"", "\"Łódź\""]),
    ]
}

fn long_texts() -> Vec<Section> {
    let text = |bytes: usize| long("x", bytes);
    vec![
        column(TEXT, "tinytext").same([text(255)]).refused("too_long", [text(256), long("é", 128)]),
        column(TEXT, "text").same([text(65_535)]).refused("too_long", [text(65_536)]),
        column(TEXT, "tinytext CHARACTER SET latin1").same([long("é", 255)]).rejected_here("1406", [long("é", 256)]),
        column(TEXT, "mediumtext").same([text(100_000)]),
        column(TEXT, "longtext").same([long("🦊", 40_000), "[1,  2]".to_owned()]),
    ]
}

fn bytes() -> Vec<Section> {
    let hex = "CAST(HEX({}) AS CHAR)";
    vec![
        column(BYTES, "binary(3)")
            .reads(hex)
            .note("Text goes in as its UTF-8. Shorter values would be padded.")
            .stored([("\"abc\"", "616263"), ("\"é \"", "C3A920")])
            .refused("too_long", ["\"abcd\""])
            .refused("lossy", ["\"ab\"", "\"\""]),
        column(BYTES, "varbinary(3)")
            .reads(hex)
            .stored([("\"\"", ""), ("\"a\\u0000\"", "6100"), ("\"0xf\"", "307866")])
            .refused("too_long", ["\"éé\""])
            .refused("wrong_type", ["1", "true", "{}"]),
        column(BYTES, "tinyblob").reads(hex).stored([("\"A\"", "41")]).refused("too_long", [long("x", 256)]),
        column(BYTES, "blob").reads(hex).stored([("\"A\"", "41")]).refused("too_long", [long("x", 65_536)]),
        column(BYTES, "mediumblob").reads(hex).stored([("\"A\"", "41")]),
        column(BYTES, "longblob").reads("CAST(LENGTH({}) AS CHAR)").stored([(long("x", 70_000), "70000".to_owned())]),
    ]
}

fn bits() -> Vec<Section> {
    let number = "CAST({} + 0 AS CHAR)";
    vec![
        column(BYTES, "bit(1) DEFAULT b'1'")
            .reads(number)
            .default("1")
            .stored([("true", "1"), ("false", "0")])
            .refused("wrong_type", ["1", "\"1\""]),
        column(BYTES, "bit(8)")
            .reads(number)
            .same(["255", "0"])
            .refused("out_of_range", ["256", "-1"])
            .refused("wrong_type", ["true", "\"x\""]),
        column(BYTES, "bit(64)")
            .reads(number)
            .same(["18446744073709551615"])
            .refused("out_of_range", ["18446744073709551616"]),
    ]
}

fn dates() -> Vec<Section> {
    vec![
        column(TIMES, "date DEFAULT '2000-01-01'")
            .default("2000-01-01")
            .same(["\"2026-01-31\"", "\"9999-12-31\"", "\"2024-02-29\"", "\"1000-01-01\""])
            .stored([("\"2026-01-31T00:00:00Z\"", "2026-01-31")])
            .refused("lossy", ["\"2026-01-31T10:00:00Z\""])
            .refused("invalid", ["\"0000-00-00\"", "\"2026-02-30\"", "\"2026-00-00\"", "\"10000-01-01\"", "\"today\""])
            .refused("invalid", ["\"20260131\"", "\"\"", "\"-infinity\"", "\"0044-03-15 BC\""])
            .refused("wrong_type", ["20260131", "0"]),
        column(TIMES, "time")
            .stored([("\"23:59:59\"", "23:59:59"), ("\"10:20\"", "10:20:00")])
            .refused("lossy", ["\"10:20:30.5\""])
            .refused(
                "invalid",
                ["\"24:00\"", "\"-01:00:00\"", "\"838:59:59\"", "\"10:20+02\"", "\"23:59:60\"", "102030"],
            ),
        column(TIMES, "time(6)")
            .stored([("\"23:59:59.999999\"", "23:59:59.999999"), ("\"10:20\"", "10:20:00.000000")])
            .refused("out_of_range", ["\"23:59:59.9999999\""]),
        column(TIMES, "year")
            .same(["1901", "2155", "\"2026\""])
            .refused("out_of_range", ["0", "26", "1900", "2156", "\"70\""])
            .refused("wrong_type", ["\"now\""]),
    ]
}

fn datetimes() -> Vec<Section> {
    vec![
        column(TIMES, "datetime")
            .stored([
                ("\"2026-03-04T05:06:07\"", "2026-03-04 05:06:07"),
                ("\"2026-03-04T05:06:07+02:00\"", "2026-03-04 03:06:07"),
                ("\"2026-03-04\"", "2026-03-04 00:00:00"),
                ("\"9999-12-31T23:59:59Z\"", "9999-12-31 23:59:59"),
            ])
            .refused("lossy", ["\"2026-03-04T05:06:07.123456\"", "\"2016-12-31T23:59:60Z\""])
            .refused("out_of_range", ["\"0999-12-31T23:59:59\""])
            .refused(
                "invalid",
                ["\"0000-00-00 00:00:00\"", "\"2026-02-30T00:00:00\"", "\"2026-03-04T24:00:00\"", "\"now\""],
            )
            .refused("invalid", ["\"10000-01-01T00:00:00\"", "\"infinity\""])
            .refused("wrong_type", ["20260304050607", "true"]),
        column(TIMES, "datetime")
            .options("lossy = true")
            .stored([("\"2026-03-04T05:06:07.9\"", "2026-03-04 05:06:07")]),
        column(TIMES, "datetime(6) DEFAULT '2000-01-01 00:00:00'").default("2000-01-01 00:00:00.000000").stored([
            ("\"2026-03-04T05:06:07.123456\"", "2026-03-04 05:06:07.123456"),
            ("\"2026-03-04T05:06:07.1234565Z\"", "2026-03-04 05:06:07.123457"),
            ("\"9999-12-31T23:59:59.999999\"", "9999-12-31 23:59:59.999999"),
        ]),
        column(TIMES, "datetime(3)").refused("lossy", ["\"2026-03-04T05:06:07.1234\""]),
        column(TIMES, "datetime(6)")
            .options("zone = \"Europe/Berlin\"")
            .stored([("\"2026-07-01T10:00:00Z\"", "2026-07-01 12:00:00.000000")]),
    ]
}

fn timestamps() -> Vec<Section> {
    vec![
        column(TIMES, "timestamp NULL")
            .note("Read in UTC. MariaDB's reach to the year 2106 from 11.5 on, else both end in 2038.")
            .stored([
                ("\"2026-03-04T05:06:07+02:00\"", "2026-03-04 03:06:07"),
                ("\"1970-01-01T00:00:01Z\"", "1970-01-01 00:00:01"),
                ("\"2038-01-19T03:14:07Z\"", "2038-01-19 03:14:07"),
            ])
            .refused("no_zone", ["\"2026-03-04T05:06:07\"", "\"2026-03-04\""])
            .refused("lossy", ["\"2026-03-04T05:06:07.5Z\""])
            .refused(
                "out_of_range",
                ["\"1970-01-01T00:00:00Z\"", "\"2106-02-07T06:28:16Z\"", "\"9999-12-31T00:00:00Z\""],
            )
            .refused("wrong_type", ["1767225600"]),
        column(TIMES, "timestamp(6) NULL DEFAULT '2000-01-01 00:00:00'")
            .default("2000-01-01 00:00:00.000000")
            .stored([("\"2026-03-04T05:06:07.123456Z\"", "2026-03-04 05:06:07.123456")]),
        column(TIMES, "timestamp(3) NULL")
            .options("time = \"epoch_ms\"")
            .stored([("1767225600123", "2026-01-01 00:00:00.123")])
            .refused("out_of_range", ["1e18", "-1"]),
        column(TIMES, "timestamp NULL")
            .options("zone = \"Europe/Berlin\"")
            .stored([("\"2026-07-01T12:00:00\"", "2026-07-01 10:00:00")])
            .refused("lossy", ["\"2026-10-25T02:30:00\"", "\"2026-03-29T02:30:00\""]),
    ]
}

fn labels() -> Vec<Section> {
    vec![
        column(OTHERS, "enum('fine','it''s bad','so, so','2')")
            .same(["\"fine\"", "\"it's bad\"", "\"so, so\"", "\"2\""])
            .refused("invalid", ["\"FINE\"", "\"\"", "\"1\"", "\"none\""])
            .refused("wrong_type", ["1"]),
        column(OTHERS, "set('a','b','c')")
            .note("In any order; the server gives them back in the column's own.")
            .same(["\"a\"", "\"a,c\"", "\"\""])
            .stored([("\"c,a\"", "a,c")])
            .refused("lossy", ["\"a,a\""])
            .refused("invalid", ["\"d\"", "\"a,\"", "\"3\"", "\"a, b\""])
            .refused("wrong_type", ["3", "[\"a\"]"]),
        column(OTHERS, "uuid")
            .on(Mariadb)
            .same(["\"123e4567-e89b-12d3-a456-426614174000\""])
            .stored([("\"123E4567-E89B-12D3-A456-426614174000\"", "123e4567-e89b-12d3-a456-426614174000")])
            .refused("invalid", ["\"{123e4567-e89b-12d3-a456-426614174000}\"", "\"\""]),
        column(OTHERS, "inet6")
            .on(Mariadb)
            .same(["\"2001:db8::1\""])
            .stored([("\"2001:DB8::1\"", "2001:db8::1")])
            .rejected_here("1292", ["\"2001:db8::g\"", "\"\""]),
    ]
}

fn documents() -> Vec<Section> {
    vec![
        column(OTHERS, "json")
            .note(
                "MariaDB keeps the text that was sent; MySQL a tree, in which keys are sorted and numbers are doubles.",
            )
            .same(["true", "[]", "12", "{}"])
            .stored([("\"text\"", "\"text\""), ("\"a\\\"b\"", "\"a\\\"b\"")])
            .only(Mariadb)
            .same(["{\"b\": 1.10,  \"a\": [0.1000000000000000055]}", "12345678901234567.89", "{\"a\":1,\"a\":2}"])
            .same(["{\"a\":\"\\u0000\"}"])
            .rejected("4025", ["{\"a\":\"\\ud800\"}"])
            .only(Mysql)
            .stored([
                ("{\"b\": 1.10,  \"a\": [0.5]}", "{\"a\": [0.5], \"b\": 1.1}"),
                ("18446744073709551615", "18446744073709551615"),
            ])
            .stored([("{\"a\":\"\\u0000\"}", "{\"a\": \"\\u0000\"}")])
            .refused(
                "lossy",
                ["[0.1000000000000000055]", "12345678901234567.89", "{\"a\":1,\"a\":2}", "18446744073709551616"],
            )
            .rejected_here("3140", ["{\"a\":\"\\ud800\"}"]),
        column(OTHERS, "point")
            .reads("ST_AsText({})")
            .note("Text isn't read as a geometry by the server.")
            .rejected("1416", ["\"POINT(1 2)\"", "[1,2]"]),
    ]
}
