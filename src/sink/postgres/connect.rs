//! From the config to a session with its settings made.

use std::str::FromStr;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, PgConnection, Row};
use tokio::time::timeout;

use crate::config;
use crate::error::{ErrorClass, Failure};
use crate::sink::Pooler;

use super::classify;

/// How to connect, as the URL and the rest of the config say.
///
/// # Errors
/// Class `config` where the URL can't be read.
pub(super) fn options(config: &config::Database) -> Result<PgConnectOptions, Failure> {
    let unreadable = |detail: String| {
        let message = format!(
            "the URL of database {:?} can't be read; expected postgres://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=…",
            config.name
        );
        Failure::new(ErrorClass::Config, "url", message).detail(detail)
    };
    let url = url::Url::parse(config.url.reveal()).map_err(|error| unreadable(error.to_string()))?;
    let mut options = PgConnectOptions::from_str(config.url.reveal()).map_err(|error| unreadable(error.to_string()))?;
    // The driver would look up "[::1]" as a name.
    let host = options.get_host().trim_matches(['[', ']']).to_owned();
    options = options
        .host(&host)
        .application_name(&config.application_name)
        .extra_float_digits(None)
        .disable_statement_logging();
    if let Some(file) = &config.tls.ca_file {
        options = options.ssl_root_cert(file);
    }
    if let Some(file) = &config.tls.cert_file {
        options = options.ssl_client_cert(file);
    }
    if let Some(file) = &config.tls.key_file {
        options = options.ssl_client_key(file);
    }
    let says = url.query_pairs().any(|(key, _)| key == "sslmode" || key == "ssl-mode")
        || std::env::var_os("PGSSLMODE").is_some();
    let mode = ssl_mode(&options, says, config.tls.ca_file.is_some());
    Ok(options.ssl_mode(mode))
}

/// Where nobody says otherwise, a password goes only to a server that has proved its name, unless
/// it never leaves this machine. `require` with a CA verifies it, as libpq does.
fn ssl_mode(options: &PgConnectOptions, says: bool, ca: bool) -> PgSslMode {
    match options.get_ssl_mode() {
        PgSslMode::Require if says && ca => PgSslMode::VerifyCa,
        mode if says => mode,
        _ if ca => PgSslMode::VerifyFull,
        _ if is_local(options) => PgSslMode::Prefer,
        _ => PgSslMode::VerifyFull,
    }
}

fn is_local(options: &PgConnectOptions) -> bool {
    let host = options.get_host();
    options.get_socket().is_some() || host.starts_with('/') || config::is_loopback(host)
}

/// What stands between us and whoever listens in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Guarded {
    /// Where there is TLS, the certificate is looked at.
    pub verified: bool,
    /// The server is on this machine.
    pub local: bool,
}

/// As [`connect`] connects.
pub(super) fn guarded(config: &config::Database) -> Result<Guarded, Failure> {
    let options = options(config)?;
    let verified = matches!(options.get_ssl_mode(), PgSslMode::VerifyCa | PgSslMode::VerifyFull);
    Ok(Guarded { verified, local: is_local(&options) })
}

/// Connects, with the login as its files have it now, and makes the settings.
pub(super) async fn connect(config: &config::Database) -> Result<PgConnection, Failure> {
    let fresh = config.fresh();
    let options = options(&fresh.config)?;
    match tokio::time::timeout(config.connect_timeout, establish(config, &options)).await {
        Ok(result) => result.map_err(|failure| fresh.explain(failure)),
        Err(_) => {
            let message =
                format!("{} didn't let us in within {:?} (connect_timeout)", place(&options), config.connect_timeout);
            Err(Failure::new(ErrorClass::SinkUnavailable, "connect_timeout", message))
        }
    }
}

async fn establish(config: &config::Database, options: &PgConnectOptions) -> Result<PgConnection, Failure> {
    let mut conn = options.connect().await.map_err(|error| {
        let mut failure = classify::connecting(error);
        failure.message = format!("{}: {}", place(options), failure.message).into();
        failure
    })?;
    conn.execute(AssertSqlSafe(settings(config))).await.map_err(classify::failure)?;
    for (nth, statement) in config.on_connect.iter().enumerate() {
        conn.execute(AssertSqlSafe(statement.as_str())).await.map_err(|error| {
            let mut failure = classify::failure(error);
            failure.message = format!("on_connect, statement {}: {}", nth + 1, failure.message).into();
            failure
        })?;
    }
    conn.execute(ISOLATION).await.map_err(classify::failure)?;
    refuse_read_only(&mut conn, options).await?;
    Ok(conn)
}

/// Whatever the server's default: a statement that is its own transaction (see [`super::all_new`])
/// has to see what the catalogue says once it has its locks, and not before.
const ISOLATION: &str = "SET default_transaction_isolation = 'read committed'";

/// A setting of nobody's, by which sessions are told apart.
const MARK: &str = "rabbit_sink.mark";

/// Whether a pooler stands in between. The server itself takes any setting with a dot in its name
/// at the start of a connection; PgBouncer refuses the connection for it, or leaves it out.
pub(super) async fn between(config: &config::Database) -> Result<Option<Pooler>, Failure> {
    let plain = options(&config.fresh().config)?;
    let options = plain.clone().options([(MARK, "1")]);
    let asked = async {
        let mut conn = options.connect().await?;
        let mark = mark(&mut conn).await?;
        conn.close().await?;
        Ok::<_, sqlx::Error>(mark.as_deref() == Some("1"))
    };
    let direct = match timeout(config.connect_timeout, asked).await {
        Ok(Ok(direct)) => direct,
        Ok(Err(sqlx::Error::Database(error))) if error.message().contains("startup parameter") => false,
        Ok(Err(error)) => return Err(classify::failure(error)),
        Err(_) => return Ok(None),
    };
    if direct {
        return Ok(None);
    }
    let shared = matches!(timeout(config.connect_timeout, shared(&plain)).await, Ok(Ok(true)));
    Ok(Some(Pooler { shared }))
}

/// Whether one session sees what another one has set for itself.
async fn shared(options: &PgConnectOptions) -> Result<bool, sqlx::Error> {
    let own = format!("{:032x}", std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_nanos());
    let mut one = options.connect().await?;
    one.execute(AssertSqlSafe(format!("SET {MARK} = '{own}'"))).await?;
    let mut other = options.connect().await?;
    let seen = mark(&mut other).await?;
    other.close().await?;
    one.close().await?;
    Ok(seen.as_deref() == Some(own.as_str()))
}

async fn mark(conn: &mut PgConnection) -> Result<Option<String>, sqlx::Error> {
    let row = sqlx::query("SELECT current_setting($1, true)").bind(MARK).persistent(false).fetch_one(conn);
    row.await?.try_get(0)
}

/// A standby answers reads, but isn't the database that we write to: while a failover lasts, that
/// is the same as being away.
async fn refuse_read_only(conn: &mut PgConnection, options: &PgConnectOptions) -> Result<(), Failure> {
    let row = sqlx::query("SELECT pg_is_in_recovery(), current_setting('transaction_read_only')::bool")
        .persistent(false)
        .fetch_one(conn)
        .await
        .map_err(classify::failure)?;
    let standby: bool = row.try_get(0).map_err(classify::failure)?;
    let read_only: bool = row.try_get(1).map_err(classify::failure)?;
    if !standby && !read_only {
        return Ok(());
    }
    let cause = if standby { "is a standby" } else { "is set to read-only (default_transaction_read_only)" };
    let message = format!("{} {cause}: nothing can be written", place(options));
    Err(Failure::new(ErrorClass::SinkUnavailable, "25006", message))
}

/// Host and database, for messages.
fn place(options: &PgConnectOptions) -> String {
    let host = match options.get_socket() {
        Some(socket) => socket.display().to_string(),
        None => options.get_host().to_owned(),
    };
    let database = options.get_database().unwrap_or(options.get_username());
    format!("PostgreSQL at {host}:{}, database {database}", options.get_port())
}

/// Messages below errors are off because the driver logs them, and triggers put values into them.
fn settings(config: &config::Database) -> String {
    let statement = milliseconds(config.statement_timeout);
    // So that an orphan whose client is gone doesn't keep ledger keys locked.
    let idle = if statement == 0 { 60_000 } else { statement.saturating_mul(2) };
    format!(
        "SET client_min_messages = error; SET statement_timeout = {statement}; SET lock_timeout = {}; \
         SET idle_in_transaction_session_timeout = {idle}",
        milliseconds(config.lock_timeout)
    )
}

/// Whole milliseconds; never 0, which would mean no limit, for a limit below one.
fn milliseconds(duration: Duration) -> i32 {
    if duration.is_zero() {
        return 0;
    }
    // Twice this is still an `integer` of the server's.
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX).clamp(1, i32::MAX / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(url: &str, ca: bool) -> String {
        let options = PgConnectOptions::from_str(url).unwrap();
        format!("{:?}", ssl_mode(&options, url.contains("sslmode"), ca))
    }

    #[test]
    fn tls_is_verified_unless_somebody_says_otherwise_or_it_stays_here() {
        assert_eq!(mode("postgres://u:p@db.example.com/x", false), "VerifyFull");
        assert_eq!(mode("postgres://u:p@10.0.0.5/x", false), "VerifyFull");
        assert_eq!(mode("postgres://u:p@localhost/x", false), "Prefer");
        assert_eq!(mode("postgres://u:p@127.0.0.1/x", false), "Prefer");
        assert_eq!(mode("postgres://u:p@%2Ftmp/x", false), "Prefer");
        assert_eq!(mode("postgres://u:p@localhost/x", true), "VerifyFull");
        assert_eq!(mode("postgres://u:p@db/x?sslmode=disable", false), "Disable");
        assert_eq!(mode("postgres://u:p@db/x?sslmode=require", false), "Require");
        assert_eq!(mode("postgres://u:p@db/x?sslmode=require", true), "VerifyCa");
    }

    #[test]
    fn a_limit_never_becomes_no_limit() {
        assert_eq!(milliseconds(Duration::from_micros(5)), 1);
        assert_eq!(milliseconds(Duration::ZERO), 0);
        assert_eq!(milliseconds(Duration::MAX), i32::MAX / 2);
    }
}
