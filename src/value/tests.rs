use super::*;

fn int(min: i128, max: i128) -> Kind {
    Kind::Int { min, max }
}

fn cell(json: &str, kind: &Kind, rules: &Rules) -> Result<String, &'static str> {
    let value = Value::from_json(json).map_err(|refusal| refusal.code)?;
    match to_cell(&value, kind, rules, json.as_bytes()) {
        Ok(Cell::Text(slice)) => Ok(slice.text(json.as_bytes()).to_owned()),
        Ok(Cell::Timestamp(micros)) => Ok(time::timestamp_text(micros)),
        Ok(Cell::Date(days)) => Ok(time::date_text(days)),
        Ok(Cell::Time(micros)) => Ok(time::time_text(micros)),
        Ok(other) => Ok(format!("{other:?}")),
        Err(refusal) => Err(refusal.code),
    }
}

#[test]
fn numbers_keep_every_digit_or_are_refused() {
    let i64s = int(i64::MIN.into(), i64::MAX.into());
    let u64s = int(0, u64::MAX.into());
    let money = Kind::Decimal { precision: Some((10, 2)) };
    let free = Kind::Decimal { precision: None };
    let (double, single) = (Kind::Float { bits: 64 }, Kind::Float { bits: 32 });
    for (json, kind, expected) in [
        ("9223372036854775807", &i64s, Ok("Int(9223372036854775807)")),
        ("9223372036854775808", &i64s, Err("out_of_range")),
        ("18446744073709551615", &u64s, Ok("18446744073709551615")),
        ("-1", &u64s, Err("out_of_range")),
        ("1.0", &i64s, Ok("Int(1)")),
        ("1e3", &i64s, Ok("Int(1000)")),
        ("1.5", &i64s, Err("lossy")),
        ("\"17\"", &i64s, Ok("Int(17)")),
        ("\"x\"", &i64s, Err("wrong_type")),
        ("true", &i64s, Err("wrong_type")),
        ("true", &int(-128, 127), Ok("Int(1)")),
        ("1e400", &i64s, Err("out_of_range")),
        ("12345678.90", &money, Ok("12345678.90")),
        ("12345678.901", &money, Err("lossy")),
        ("123456789.1", &money, Err("out_of_range")),
        ("1.2e1", &money, Ok("12")),
        ("\"19.99\"", &money, Ok("19.99")),
        ("-0.00", &money, Ok("0")),
        ("12345678901234567.89", &free, Ok("12345678901234567.89")),
        ("0.1000000000000000055", &free, Ok("0.1000000000000000055")),
        ("1e-7", &free, Ok("0.0000001")),
        ("1e999999", &free, Err("out_of_range")),
        ("0.1", &double, Ok("Float(0.1)")),
        ("0.1000000000000000055", &double, Err("lossy")),
        ("12345678901234567.89", &double, Err("lossy")),
        ("1e400", &double, Err("out_of_range")),
        ("1e-400", &double, Err("out_of_range")),
        ("16777217", &single, Err("lossy")),
        ("0.5", &single, Ok("Float(0.5)")),
    ] {
        assert_eq!(cell(json, kind, &Rules::default()), expected.map(str::to_owned), "{json} into {kind:?}");
    }
}

#[test]
fn times_keep_microseconds_and_zones() {
    let point = Kind::Timestamp { fraction: 6, zoned: true, range: None };
    let clock = Kind::Timestamp { fraction: 6, zoned: false, range: None };
    let whole = Kind::Timestamp { fraction: 0, zoned: false, range: None };
    let time = Kind::Time { fraction: 6 };
    for (json, kind, expected) in [
        ("\"2026-01-02T03:04:05.123456Z\"", &point, Ok("2026-01-02 03:04:05.123456")),
        ("\"2026-01-02 03:04:05+02:00\"", &point, Ok("2026-01-02 01:04:05.000000")),
        ("\"2026-01-02T03:04:05\"", &point, Err("no_zone")),
        ("\"2026-01-02T03:04:05+02:00\"", &clock, Ok("2026-01-02 01:04:05.000000")),
        ("\"2026-01-02T03:04:05\"", &clock, Ok("2026-01-02 03:04:05.000000")),
        ("\"2026-01-02\"", &clock, Ok("2026-01-02 00:00:00.000000")),
        ("\"2026-01-02T03:04:05.1\"", &whole, Err("lossy")),
        ("\"2026-01-02T03:04:05.1234565Z\"", &point, Ok("2026-01-02 03:04:05.123457")),
        ("\"2026-01-02T03:04:05.123456499999Z\"", &point, Ok("2026-01-02 03:04:05.123456")),
        ("\"2016-12-31T23:59:60Z\"", &point, Err("lossy")),
        ("\"20161231T235960Z\"", &point, Err("lossy")),
        ("\"20161231T235960.5\"", &clock, Err("lossy")),
        ("\"2026-01-02T03:04:05[Asia/Tokyo]\"", &clock, Err("invalid")),
        ("\"2026-01-02T03:04:05[Etc/GMT+2]\"", &clock, Err("invalid")),
        ("\"2026-01-02T03:04:05+09:00[Asia/Tokyo]\"", &clock, Ok("2026-01-01 18:04:05.000000")),
        ("\"9999-12-31T23:59:59.999999Z\"", &point, Ok("9999-12-31 23:59:59.999999")),
        ("\"9999-12-31T23:59:59.9999995Z\"", &point, Err("out_of_range")),
        ("\"9999-12-31T23:59:59-01:00\"", &point, Err("out_of_range")),
        ("\"0001-01-01T00:00:00+01:00\"", &point, Err("out_of_range")),
        ("\"0000-01-01T00:00:00Z\"", &point, Err("out_of_range")),
        ("\"today\"", &point, Err("invalid")),
        ("\"infinity\"", &point, Err("invalid")),
        ("1700000000", &point, Err("wrong_type")),
        ("\"2026-02-30\"", &Kind::Date, Err("invalid")),
        ("\"2026-02-28\"", &Kind::Date, Ok("2026-02-28")),
        ("\"2026-02-28T00:00:00Z\"", &Kind::Date, Ok("2026-02-28")),
        ("\"2026-02-28T01:00:00Z\"", &Kind::Date, Err("lossy")),
        ("\"1969-12-31\"", &Kind::Date, Ok("1969-12-31")),
        ("\"9999-12-31\"", &Kind::Date, Ok("9999-12-31")),
        ("\"9999-12-31T19:00:00-05:00\"", &Kind::Date, Err("out_of_range")),
        ("\"0000-12-31T00:00:00\"", &Kind::Date, Err("out_of_range")),
        ("\"23:59:59.5\"", &time, Ok("23:59:59.500000")),
        ("\"24:00:00\"", &time, Err("invalid")),
        ("\"235960\"", &time, Err("invalid")),
        ("\"10:20:30[Asia/Tokyo]\"", &time, Err("invalid")),
        // jiff's own timestamps end a day earlier.
        ("\"9999-12-31\"", &Kind::Date, Ok("9999-12-31")),
        ("\"9999-12-31T23:59:59.999999\"", &clock, Ok("9999-12-31 23:59:59.999999")),
        ("\"9999-12-31T23:59:59.999999Z\"", &point, Ok("9999-12-31 23:59:59.999999")),
        ("\"9999-12-31T23:59:59-02:00\"", &point, Err("out_of_range")),
        ("\"0001-01-01T00:00:00+02:00\"", &Kind::Date, Err("out_of_range")),
        ("\"2026-01-02T03:04:05Zulu\"", &point, Err("invalid")),
        ("\"2026-01-02T03:04:05+25:99\"", &point, Err("invalid")),
    ] {
        assert_eq!(cell(json, kind, &Rules::default()), expected.map(str::to_owned), "{json} into {kind:?}");
    }
}

#[test]
fn the_config_bends_the_rules() {
    let lossy = Rules { lossy: true, ..Rules::default() };
    let short = Kind::Text { max_chars: Some(3), max_bytes: None };
    assert_eq!(cell("\"äöüß\"", &short, &lossy), Ok("äöü".to_owned()));
    assert_eq!(cell("\"äöüß\"", &short, &Rules::default()), Err("too_long"));
    assert_eq!(cell("9.995", &Kind::Decimal { precision: Some((4, 2)) }, &lossy), Ok("10".to_owned()));
    let millis = Rules { time: Some(TimeUnit::Milliseconds), ..Rules::default() };
    let point = Kind::Timestamp { fraction: 6, zoned: true, range: None };
    assert_eq!(cell("1700000000123.456", &point, &millis), Ok("2023-11-14 22:13:20.123456".to_owned()));
    assert_eq!(cell("-1", &point, &millis), Ok("1969-12-31 23:59:59.999000".to_owned()));
    let berlin = Rules { zone: jiff::tz::TimeZone::get("Europe/Berlin").ok(), ..Rules::default() };
    let clock = Kind::Timestamp { fraction: 6, zoned: false, range: None };
    assert_eq!(cell("\"2026-07-01T00:00:00Z\"", &clock, &berlin), Ok("2026-07-01 02:00:00.000000".to_owned()));
    assert_eq!(cell("\"2026-07-01T02:00:00\"", &point, &berlin), Ok("2026-07-01 00:00:00.000000".to_owned()));
    assert_eq!(cell("\"2026-10-25T02:30:00\"", &point, &berlin), Err("lossy"));
}

#[test]
fn a_float_with_a_scale_shows_all_of_its_digits() {
    let scaled = |bits, precision| Kind::ScaledFloat { bits, precision };
    for (json, kind, expected) in [
        ("99999.5", scaled(32, (12, 4)), Ok("Float(99999.5)")),
        ("99999.2", scaled(32, (12, 4)), Err("lossy")),
        ("98209634.6548", scaled(32, (12, 4)), Err("lossy")),
        ("-0.5", scaled(32, (7, 4)), Ok("Float(-0.5)")),
        ("99999.2", scaled(64, (20, 4)), Ok("Float(99999.2)")),
        ("1234567890123456.7891", scaled(64, (20, 4)), Err("lossy")),
    ] {
        assert_eq!(cell(json, &kind, &Rules::default()), expected.map(str::to_owned), "{json} into {kind:?}");
    }
}

#[test]
fn other_kinds() {
    let text = Kind::Text { max_chars: None, max_bytes: None };
    let rules = Rules::default();
    assert_eq!(cell("12345678901234567.890", &text, &rules), Ok("12345678901234567.890".to_owned()));
    assert_eq!(cell("\"\\u0041\\n\"", &text, &rules), Ok("A\n".to_owned()));
    assert_eq!(cell("\"\\ud800\"", &text, &rules), Err("invalid"));
    assert_eq!(cell("\"\"", &text, &rules), Ok(String::new()));
    assert_eq!(cell("null", &text, &rules), Ok("Null".to_owned()));
    assert_eq!(cell("\"x\"", &Kind::Bool, &rules), Err("wrong_type"));
    assert_eq!(cell("\"a\\\"b\"", &Kind::Json, &rules), Ok("\"a\\\"b\"".to_owned()));
    assert_eq!(
        cell("\"123E4567-e89b-12d3-a456-426614174000\"", &Kind::Uuid, &rules),
        Ok("123e4567-e89b-12d3-a456-426614174000".to_owned())
    );
    assert_eq!(cell("\"123e4567\"", &Kind::Uuid, &rules), Err("invalid"));
    let numbers = Kind::Array(Box::new(int(0, 9)));
    assert_eq!(cell("[[1, 2], [null, 3]]", &numbers, &rules), Ok("{{1,2},{NULL,3}}".to_owned()));
    assert_eq!(cell("[10]", &numbers, &rules), Err("out_of_range"));
    assert_eq!(cell("[[[[[[1]]]]]]", &numbers, &rules), Ok("{{{{{{1}}}}}}".to_owned()));
    assert_eq!(cell("[[[[[[[1]]]]]]]", &numbers, &rules), Err("invalid"));
    for ragged in ["[[1],[2,3]]", "[1,[2]]", "[[1],null]", "[[[1,2]],[3,4]]", "[[[1],[2]],[[3]]]"] {
        assert_eq!(cell(ragged, &numbers, &rules), Err("invalid"), "{ragged}");
    }
    assert_eq!(cell("[[1],[]]", &numbers, &rules), Err("lossy"));
    assert_eq!(cell("[[],[]]", &numbers, &rules), Err("lossy"));
    assert_eq!(cell("[]", &numbers, &rules), Ok("{}".to_owned()));
    let texts = Kind::Array(Box::new(text));
    assert_eq!(cell(r#"["a\"b\\", ""]"#, &texts, &rules), Ok(r#"{"a\"b\\",""}"#.to_owned()));
}

#[test]
fn what_a_tree_of_json_would_lose() {
    let (exact, doubles) = (Kind::JsonTree { doubles: false }, Kind::JsonTree { doubles: true });
    for (json, kind, kept) in [
        (r#"{"a":1,"b":{"a":2},"c":[{"a":1},{"a":1}]}"#, &exact, true),
        (r#"{"a":1,"a":1}"#, &exact, false),
        (r#"[[{"x":{"a":1,"\u0061":2}}]]"#, &exact, false),
        (r#"["{\"a\":1,\"a\":2}"]"#, &exact, true),
        ("0.1000000000000000055", &exact, true),
        ("[0.1000000000000000055]", &doubles, false),
        (r#"{"n":[1, 0.1, -2.50, 1e3, 18446744073709551615, -9223372036854775808]}"#, &doubles, true),
        ("18446744073709551617", &doubles, false),
        ("1e400", &doubles, false),
        (r#"{"a":1,"a":2}"#, &Kind::Json, true),
    ] {
        let expected = if kept { Ok(json.to_owned()) } else { Err("lossy") };
        assert_eq!(cell(json, kind, &Rules::default()), expected, "{json} into {kind:?}");
    }
}

#[test]
fn blanks_labels_and_scaled_floats() {
    let (rules, lossy) = (Rules::default(), Rules { lossy: true, ..Rules::default() });
    let char = Kind::Char { max_chars: 3 };
    assert_eq!(cell("\" ab\"", &char, &rules), Ok(" ab".to_owned()));
    assert_eq!(cell("\"ab \"", &char, &rules), Err("lossy"));
    assert_eq!(cell("\"ab \"", &char, &lossy), Ok("ab".to_owned()));
    assert_eq!(cell("\"abcd\"", &char, &rules), Err("too_long"));
    let set = Kind::Set { labels: vec!["a".into(), "b".into()] };
    for (json, expected) in [
        ("\"b,a\"", Ok("b,a")),
        ("\"\"", Ok("")),
        ("\"a,a\"", Err("lossy")),
        ("\"3\"", Err("invalid")),
        ("3", Err("wrong_type")),
    ] {
        assert_eq!(cell(json, &set, &rules), expected.map(str::to_owned), "{json}");
    }
    let float = Kind::ScaledFloat { bits: 32, precision: (10, 2) };
    assert_eq!(cell("1234.5", &float, &rules), Ok("Float(1234.5)".to_owned()));
    assert_eq!(cell("12345678.91", &float, &rules), Err("lossy"));
    assert_eq!(cell("0.125", &float, &rules), Err("lossy"));
    assert_eq!(cell("0.125", &float, &lossy), Ok("Float(0.12999999523162842)".to_owned()));
    assert_eq!(cell("123456789", &float, &rules), Err("out_of_range"));
}

#[test]
fn a_value_in_the_body_is_not_copied() {
    let body = br#"{"a":"text"}"#;
    let raw = std::str::from_utf8(&body[5..11]).unwrap();
    let value = Value::from_json(raw).unwrap();
    let kind = Kind::Text { max_chars: Some(10), max_bytes: None };
    assert_eq!(to_cell(&value, &kind, &Rules::default(), body), Ok(Cell::Text(Slice::Body { start: 6, end: 10 })));
}

proptest::proptest! {
    /// What is certain at a glance is what a close look finds.
    #[test]
    fn few_digits_come_back_from_a_float(text in "-?(0|[1-9][0-9]{0,15})(\\.[0-9]{1,17})?") {
        let number = Decimal::parse(&text).unwrap();
        if let Some(double) = certainly_exact(&text, 64) {
            let shown = shortest::double(double).and_then(|text| Decimal::parse(&text).ok());
            proptest::prop_assert_eq!(shown, Some(number.clone()));
        }
        if let Some(single) = certainly_exact(&text, 32) {
            let shown = shortest::single(single as f32).and_then(|text| Decimal::parse(&text).ok());
            proptest::prop_assert_eq!(shown, Some(number));
        }
    }
}
