//! PostgreSQL's errors, by class: the one table from SQLSTATE to [`ErrorClass`], and how an error
//! of the driver becomes a [`Failure`].

use std::borrow::Cow;

use sqlx::Error;
use sqlx::postgres::PgDatabaseError;

use crate::error::{ErrorClass, Failure};

/// The class of a SQLSTATE (appendix A of PostgreSQL's manual).
pub(super) fn class(sqlstate: &str) -> ErrorClass {
    match sqlstate {
        // Exceptions to what their first two characters say.
        "57014" | "55P03" => return ErrorClass::SinkContention,
        "25006" | "25P03" | "25P04" | "40003" => return ErrorClass::SinkUnavailable,
        "3D000" | "3F000" => return ErrorClass::SinkMisconfigured,
        // WITH CHECK OPTION of a view: the row is what is wrong.
        "44000" => return ErrorClass::RowRejected,
        "40000" | "40001" | "40P01" => return ErrorClass::SinkContention,
        _ => {}
    }
    match sqlstate.get(..2) {
        Some("22" | "23") => ErrorClass::RowRejected,
        // 58 and XX: the server's disk or its insides; no row may be lost to them.
        Some("08" | "53" | "57" | "58" | "XX") => ErrorClass::SinkUnavailable,
        Some("28" | "42") => ErrorClass::SinkMisconfigured,
        _ => ErrorClass::Unknown,
    }
}

/// A failure in our own words; the server's stay withheld.
pub(super) fn failure(error: Error) -> Failure {
    match error {
        Error::Database(error) => match error.try_downcast_ref::<PgDatabaseError>() {
            Some(error) => from_server(error),
            None => Failure::new(ErrorClass::Unknown, "driver", "the driver reports an error without a SQLSTATE"),
        },
        Error::Io(error) => {
            let message = format!("the connection to the database failed ({})", error.kind());
            Failure::new(ErrorClass::SinkUnavailable, "io", message).detail(error.to_string())
        }
        Error::Tls(error) => tls(&error.to_string()),
        Error::Protocol(text) => Failure::new(
            ErrorClass::SinkUnavailable,
            "protocol",
            "the database's answer isn't PostgreSQL's protocol, or asks for a login that isn't supported",
        )
        .detail(text),
        Error::BeginFailed => Failure::new(ErrorClass::SinkUnavailable, "begin", "no transaction could be begun"),
        Error::Configuration(error) => {
            Failure::new(ErrorClass::Config, "url", "the database's URL can't be read").detail(error.to_string())
        }
        Error::Encode(error) => Failure::new(
            ErrorClass::Unknown,
            "encode",
            "a value doesn't have the form that its column's type asks for; nothing was sent",
        )
        .detail(error.to_string()),
        other => Failure::new(ErrorClass::Unknown, "driver", "the driver reports an error").detail(other.to_string()),
    }
}

/// While a connection is made rustls hands on what it thinks of a certificate as an I/O error.
pub(super) fn connecting(error: Error) -> Failure {
    match error {
        Error::Io(error) if error.kind() == std::io::ErrorKind::InvalidData => tls(&error.to_string()),
        // The system's own words, among them that a name isn't known.
        Error::Io(error) => Failure::new(ErrorClass::SinkUnavailable, "io", format!("can't be connected to: {error}")),
        other => failure(other),
    }
}

fn tls(text: &str) -> Failure {
    Failure::new(
        ErrorClass::SinkMisconfigured,
        "tls",
        format!(
            "no TLS connection that can be trusted: {text}. Set `ca_file`, or say in the URL what is enough \
             (`?sslmode=require` encrypts without looking at the certificate, `disable` doesn't encrypt)"
        ),
    )
}

fn from_server(error: &PgDatabaseError) -> Failure {
    let code = error.code().to_owned();
    let class = class(&code);
    let mut detail = error.message().to_owned();
    if let Some(more) = error.detail() {
        detail = format!("{detail}: {more}");
    }
    let mut failure = Failure::new(class, Cow::Owned(code), words(error.code(), class)).detail(detail);
    failure.column = error.column().map(str::to_owned);
    failure.constraint = error.constraint().map(str::to_owned);
    failure
}

/// What to say of an error, and what to do where that is known.
fn words(sqlstate: &str, class: ErrorClass) -> &'static str {
    match sqlstate {
        "23502" => "the column doesn't take NULL",
        "23503" => "the row refers to a row that isn't there",
        "23505" => "another row has the same unique key",
        "23514" => "a check constraint refuses the row",
        "22001" => "a value is too long for its column",
        "22003" => "a number is out of its column's range",
        "25006" => "the database is read-only: a standby, or set so",
        "28P01" | "28000" => "the database refuses the login: check user name, password and pg_hba.conf",
        "3D000" => "the database named in the URL is not there",
        "42P01" => "a table that was there is gone: create it again, or correct the pipeline's table",
        "42703" => "a column that was there is gone: the table was changed",
        "42501" => "a privilege is missing, or a row-level policy refuses the row",
        "42P10" => "the column that recognises repeats has no unique index of its own",
        "53300" => "the database has no connection left for this login",
        "57014" => "the statement took longer than `statement_timeout`, or was cancelled",
        "55P03" => "a lock wasn't to be had within `lock_timeout`",
        "40P01" => "a deadlock with another transaction",
        _ => match class {
            ErrorClass::RowRejected => "the database refuses the row",
            ErrorClass::SinkContention => "another transaction was in the way",
            ErrorClass::SinkUnavailable => "the database is not available",
            ErrorClass::SinkMisconfigured => "the database doesn't have, or doesn't allow, what the pipeline needs",
            _ => "the database reports an error that isn't known here",
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_table() {
        use ErrorClass::*;
        let table = [
            ("22001", RowRejected),
            ("22003", RowRejected),
            ("22021", RowRejected),
            ("22P02", RowRejected),
            ("22P05", RowRejected),
            ("23502", RowRejected),
            ("23503", RowRejected),
            ("23505", RowRejected),
            ("23514", RowRejected),
            ("23P01", RowRejected),
            ("44000", RowRejected),
            ("40000", SinkContention),
            ("40001", SinkContention),
            ("40P01", SinkContention),
            ("55P03", SinkContention),
            ("57014", SinkContention),
            ("08000", SinkUnavailable),
            ("08006", SinkUnavailable),
            ("08P01", SinkUnavailable),
            ("53100", SinkUnavailable),
            ("53200", SinkUnavailable),
            ("53300", SinkUnavailable),
            ("57P01", SinkUnavailable),
            ("57P02", SinkUnavailable),
            ("57P03", SinkUnavailable),
            ("57P05", SinkUnavailable),
            ("25006", SinkUnavailable),
            ("25P03", SinkUnavailable),
            ("25P04", SinkUnavailable),
            ("40003", SinkUnavailable),
            ("58030", SinkUnavailable),
            ("58P01", SinkUnavailable),
            ("XX000", SinkUnavailable),
            ("XX001", SinkUnavailable),
            ("28000", SinkMisconfigured),
            ("28P01", SinkMisconfigured),
            ("3D000", SinkMisconfigured),
            ("3F000", SinkMisconfigured),
            ("42501", SinkMisconfigured),
            ("42601", SinkMisconfigured),
            ("42703", SinkMisconfigured),
            ("42804", SinkMisconfigured),
            ("42P01", SinkMisconfigured),
            ("42P10", SinkMisconfigured),
            ("428C9", SinkMisconfigured),
            ("0A000", Unknown),
            ("21000", Unknown),
            ("25P02", Unknown),
            ("26000", Unknown),
            ("40002", Unknown),
            ("54000", Unknown),
            ("55000", Unknown),
            ("P0001", Unknown),
            ("", Unknown),
            ("é", Unknown),
        ];
        for (sqlstate, expected) in table {
            assert_eq!(class(sqlstate), expected, "{sqlstate}");
        }
    }

    #[test]
    fn a_lost_connection_holds() {
        let lost = failure(Error::Io(std::io::ErrorKind::ConnectionReset.into()));
        assert_eq!((lost.class, lost.code.as_ref()), (ErrorClass::SinkUnavailable, "io"));
        assert_eq!(failure(Error::Tls("x".into())).class, ErrorClass::SinkMisconfigured);
        assert_eq!(failure(Error::Protocol("x".into())).class, ErrorClass::SinkUnavailable);
        assert_eq!(failure(Error::Encode("x".into())).class, ErrorClass::Unknown);
    }
}
