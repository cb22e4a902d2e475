//! Error numbers of MySQL and MariaDB, by class.

use sqlx::mysql::MySqlDatabaseError;

use crate::catalogue::Column;
use crate::error::{ErrorClass, Failure};

/// A unique key's violation.
pub(super) fn is_repeat(code: &str) -> bool {
    matches!(code, "1062" | "1022" | "1169" | "1586")
}

/// Whatever sqlx says. `columns` are those that a text may name.
pub(super) fn failure(error: sqlx::Error, columns: &[Column]) -> Failure {
    let lost = |code: &'static str, message: &'static str, error: String| {
        Failure::new(ErrorClass::SinkUnavailable, code, message).detail(error)
    };
    match error {
        sqlx::Error::Database(error) => match error.try_downcast_ref::<MySqlDatabaseError>() {
            Some(error) => classify(error.number(), error.code(), error.message(), columns),
            None => lost("protocol", "the server's error wasn't understood", error.to_string()),
        },
        // rustls hands on what it thinks of a certificate in this disguise.
        sqlx::Error::Io(error) if error.kind() == std::io::ErrorKind::InvalidData => tls(&error.to_string()),
        sqlx::Error::Tls(error) => tls(&error.to_string()),
        sqlx::Error::Io(error) => lost("io", "the server can't be reached, or the connection broke", error.to_string()),
        sqlx::Error::Protocol(text) => lost("protocol", "the server's answer wasn't understood", text),
        sqlx::Error::Configuration(error) => {
            Failure::new(ErrorClass::SinkMisconfigured, "connect_options", "the connection's settings can't be used")
                .detail(error.to_string())
        }
        error => {
            Failure::new(ErrorClass::Unknown, "sqlx", "the server's answer wasn't understood").detail(error.to_string())
        }
    }
}

fn tls(text: &str) -> Failure {
    Failure::new(
        ErrorClass::SinkMisconfigured,
        "tls",
        format!(
            "no TLS connection that can be trusted: {text}. Set `ca_file`, or say in the URL what is enough \
             (`?ssl-mode=REQUIRED` encrypts without looking at the certificate, `DISABLED` doesn't encrypt)"
        ),
    )
}

/// By error number. MySQL's and MariaDB's numbers agree below 1900 and are told apart by SQLSTATE
/// where they don't.
pub(super) fn classify(number: u16, state: Option<&str>, text: &str, columns: &[Column]) -> Failure {
    let (class, message) = meaning(number, state);
    let code = number.to_string();
    if class == ErrorClass::SinkMisconfigured {
        // Names and our own statement's text, which has no values in it.
        return Failure::new(class, code, format!("{message}: {text}"));
    }
    let mut failure = Failure::new(class, code, message).detail(text);
    if class == ErrorClass::RowRejected {
        failure.column = column_in(text, columns);
        failure.constraint = constraint_in(number, text);
    }
    failure
}

fn meaning(number: u16, state: Option<&str>) -> (ErrorClass, &'static str) {
    use ErrorClass::{RowRejected, SinkContention, SinkMisconfigured, SinkUnavailable, Unknown};
    match number {
        1062 | 1022 | 1169 | 1586 => (RowRejected, "a unique key has such a row already"),
        1048 | 1364 => (RowRejected, "a column that takes no NULL, or has no default, isn't filled"),
        1216 | 1452 => (RowRejected, "the row that a foreign key names isn't there"),
        3819 | 1369 => (RowRejected, "the row violates a check"),
        4025 if state == Some("23000") => (RowRejected, "the row violates a check"),
        1264 | 1690 | 1441 => (RowRejected, "a value is out of its column's range"),
        1406 | 1162 => (RowRejected, "a value is longer than its column"),
        1265 | 1292 | 1366 | 1367 | 1411 | 1300 | 1365 | 1416 | 3854 | 3988 => {
            (RowRejected, "the server can't read a value as its column's type")
        }
        3140 | 3141 | 3143 | 3144 | 3156 | 3157 | 3903 => {
            (RowRejected, "a value isn't a JSON document that the server takes")
        }
        1118 | 1153 | 1301 => (RowRejected, "the row is larger than the server takes"),
        1526 | 1748 => (RowRejected, "no partition takes the row"),
        1644 | 1643 => (RowRejected, "a trigger refuses the row"),
        1205 | 1213 | 3572 | 1614 | 1613 | 3058 => {
            (SinkContention, "another transaction holds a lock that this one needs")
        }
        1969 => (SinkContention, "the statement took longer than `statement_timeout`"),
        1020 | 1412 | 1615 => (SinkContention, "the table changed under the transaction"),
        3024 | 1317 => (SinkUnavailable, "the statement was interrupted"),
        1040 | 1203 | 1226 | 1129 | 1461 => (SinkUnavailable, "the server, or this login, is at its limit"),
        1290 | 1836 | 1792 => (SinkUnavailable, "the server takes no writes (read only)"),
        1053 | 1077 | 1079 | 1927 | 3168 | 3169 | 3032 | 4031 | 1080 | 1152 | 1184 | 2006 | 2013 => {
            (SinkUnavailable, "the server ended the connection")
        }
        1042 | 1043 | 1158..=1161 => (SinkUnavailable, "the connection to the server is bad"),
        1047 | 3100 => (SinkUnavailable, "the cluster's node isn't ready"),
        1021 | 1114 => (SinkUnavailable, "the server's disk, or its tablespace, is full"),
        1037 | 1038 | 1041 | 1135 | 1206 => (SinkUnavailable, "the server is out of memory"),
        1023..=1026 | 1034 | 1194 | 1195 | 1932 => (SinkUnavailable, "the server can't read or write its files"),
        1045 | 1698 | 1251 | 1524 | 1130 | 1820 | 1862 | 3118 | 3159 | 4151 => {
            (SinkMisconfigured, "the server refuses the login")
        }
        1044 | 1142 | 1143 | 1227 | 1370 | 1959 | 3530 => (SinkMisconfigured, "this login lacks a privilege"),
        1046 | 1049 => (SinkMisconfigured, "there is no such database"),
        1146 | 1109 => (SinkMisconfigured, "there is no such table"),
        1054 | 1110 | 1136 | 1288 | 1348 | 1356 | 1471 | 1906 | 3105 => {
            (SinkMisconfigured, "the table doesn't have, or doesn't let write, these columns")
        }
        1064 | 1103 | 1115 | 1149 | 1193 | 1231 | 1267 | 1273 | 1305 | 1665 => {
            (SinkMisconfigured, "the server can't run the statement")
        }
        _ => (Unknown, "the server refuses the statement"),
    }
}

/// The column that the text names, if the table has it. The texts: `Column 'c' cannot be null`,
/// `Field 'c' doesn't have a default value`, `… for column 'c' at row 1`, and MariaDB's
/// `` … for column `db`.`t`.`c` at row 1 ``; of JSON, MySQL says `… in value for column 't.c'.`.
fn column_in(text: &str, columns: &[Column]) -> Option<String> {
    let start = match text.rfind("for column ") {
        Some(at) => &text[at + "for column ".len()..],
        None => text.strip_prefix("Column ").or_else(|| text.strip_prefix("Field "))?,
    };
    let quoted = match start.find(" at row ") {
        Some(end) => &start[..end],
        None => start.split(' ').next().unwrap_or_default(),
    };
    let name = quoted.rsplit("`.`").next().unwrap_or_default().trim_matches(['\'', '`', '.']);
    let of_table = || name.split_once('.').and_then(|(_, bare)| columns.iter().find(|column| column.name == bare));
    columns.iter().find(|column| column.name == name).or_else(of_table).map(|column| column.name.clone())
}

/// The key or constraint that the text names: what only a name can look like, at the place where
/// the server puts it, behind any value.
fn constraint_in(number: u16, text: &str) -> Option<String> {
    let name = match number {
        1062 | 1586 | 1169 => text.rsplit_once("for key '")?.1.strip_suffix('\'')?,
        1216 | 1452 => text.rsplit_once("CONSTRAINT `")?.1.split('`').next()?,
        3819 => text.strip_prefix("Check constraint '")?.split('\'').next()?,
        4025 => text.strip_prefix("CONSTRAINT `")?.split('`').next()?,
        _ => return None,
    };
    let plausible = |c: char| c.is_alphanumeric() || "_$.-".contains(c);
    (!name.is_empty() && name.chars().count() <= 130 && name.chars().all(plausible)).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::Kind;
    use ErrorClass::{RowRejected, SinkContention, SinkMisconfigured, SinkUnavailable, Unknown};

    fn columns() -> Vec<Column> {
        let column = |name: &str| Column {
            name: name.into(),
            sql_type: "int".into(),
            kind: Kind::Other,
            nullable: true,
            has_default: false,
            generated: false,
        };
        vec![column("price"), column("odd `.` name")]
    }

    #[test]
    fn every_line_of_the_table() {
        let lines: [(ErrorClass, &[u16]); 5] = [
            (
                RowRejected,
                &[
                    1022, 1048, 1062, 1118, 1153, 1162, 1169, 1216, 1264, 1265, 1292, 1300, 1301, 1364, 1365, 1366,
                    1367, 1369, 1406, 1411, 1416, 1441, 1452, 1526, 1586, 1643, 1644, 1690, 1748, 3140, 3141, 3143,
                    3144, 3156, 3157, 3819, 3854, 3903, 3988, 4025,
                ],
            ),
            (SinkContention, &[1020, 1205, 1213, 1412, 1613, 1614, 1615, 1969, 3058, 3572]),
            (
                SinkUnavailable,
                &[
                    1021, 1023, 1024, 1025, 1026, 1034, 1037, 1038, 1040, 1041, 1042, 1043, 1047, 1053, 1077, 1079,
                    1080, 1114, 1129, 1135, 1152, 1158, 1159, 1160, 1161, 1184, 1194, 1195, 1203, 1206, 1226, 1290,
                    1317, 1461, 1792, 1836, 1927, 1932, 2006, 2013, 3024, 3032, 3100, 3168, 3169, 4031,
                ],
            ),
            (
                SinkMisconfigured,
                &[
                    1044, 1045, 1046, 1049, 1054, 1064, 1103, 1109, 1110, 1115, 1130, 1136, 1142, 1143, 1146, 1149,
                    1193, 1227, 1231, 1251, 1267, 1273, 1288, 1305, 1348, 1356, 1370, 1471, 1524, 1665, 1698, 1820,
                    1862, 1906, 1959, 3105, 3118, 3159, 3530, 4151,
                ],
            ),
            (Unknown, &[1, 1030, 1105, 1180, 9999]),
        ];
        for (class, numbers) in lines {
            for &number in numbers {
                let failure = classify(number, Some("23000"), "text", &[]);
                assert_eq!((failure.class, &*failure.code), (class, &*number.to_string()));
            }
        }
        // MySQL means something else by MariaDB's number.
        assert_eq!(classify(4025, Some("HY000"), "", &[]).class, Unknown);
    }

    #[test]
    fn columns_by_what_the_servers_say() {
        for (number, text) in [
            (1048, "Column 'price' cannot be null"),
            (1364, "Field 'price' doesn't have a default value"),
            (1264, "Out of range value for column 'price' at row 3"),
            (1406, "Data too long for column 'price' at row 1"),
            (1366, "Incorrect integer value: 'for column 'x' at row 9' for column 'price' at row 1"),
            (1292, "Incorrect datetime value: 'x' for column `db`.`t`.`price` at row 1"),
            (3140, "Invalid JSON text: \"Invalid value.\" at position 6 in value for column 't.price'."),
        ] {
            let failure = classify(number, None, text, &columns());
            assert_eq!(failure.column.as_deref(), Some("price"), "{text}");
        }
        for text in ["Out of range value for column 'secret' at row 1", "Column ", "for column ", "Field 'pri"] {
            assert_eq!(classify(1264, None, text, &columns()).column, None, "{text}");
        }
    }

    #[test]
    fn constraints_but_never_values() {
        for (number, text, expected) in [
            (1062, "Duplicate entry 'x' for key 'orders.event_id'", Some("orders.event_id")),
            (1062, "Duplicate entry 'for key 'fake'' for key 'PRIMARY'", Some("PRIMARY")),
            (1062, "Duplicate entry 'a' for key 'not a name: x'", None),
            (1062, "Duplicate entry 'secret' for key 'cut off", None),
            (
                1452,
                "Cannot add or update a child row: a foreign key constraint fails (`d`.`t`, CONSTRAINT `fk_1` \
                 FOREIGN KEY (`p`) REFERENCES `parent` (`id`))",
                Some("fk_1"),
            ),
            (3819, "Check constraint 'positive' is violated.", Some("positive")),
            (4025, "CONSTRAINT `t.b` failed for `d`.`t`", Some("t.b")),
            (1264, "for key 'x'", None),
        ] {
            let failure = classify(number, Some("23000"), text, &columns());
            assert_eq!(failure.constraint.as_deref(), expected, "{text}");
            assert!(!failure.to_string().contains("secret") && failure.detail.reveal() == text);
        }
    }

    #[test]
    fn which_numbers_are_repeats() {
        assert!(is_repeat("1062") && !is_repeat("1452") && !is_repeat("10620"));
    }
}
