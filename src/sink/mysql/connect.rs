//! Connections with the settings without which MySQL changes values in silence.

use std::time::Duration;

use sqlx::mysql::{MySqlConnectOptions, MySqlSslMode};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection as _, MySqlConnection};
use url::Url;

use super::{MysqlSession, classify, text_at};
use crate::config;
use crate::error::{ErrorClass, Failure};
use crate::sink::{Transport, values_sql};

/// Strictness: what doesn't fit is an error, and a 0 in an AUTO_INCREMENT column is a 0. Set
/// whole, not added to the server's own, in which ANSI_QUOTES or ORACLE could change what our
/// statements mean.
const SQL_MODE: &str = "STRICT_ALL_TABLES,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,\
                        ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION,NO_AUTO_VALUE_ON_ZERO";

/// The config's URL and TLS files as sqlx takes them.
///
/// # Errors
/// `config`: the URL can't be read. It isn't shown, as it has a password in it.
pub(super) fn options(config: &config::Database) -> Result<MySqlConnectOptions, Failure> {
    let wrong = |_| {
        Failure::new(
            ErrorClass::Config,
            "url",
            "the URL isn't like mysql://user:password@host:3306/database (special characters percent-encoded)",
        )
    };
    let url = Url::parse(config.url.reveal()).map_err(|_| wrong(()))?;
    let mut options = MySqlConnectOptions::from_url(&url)
        .map_err(|_| wrong(()))?
        .charset("utf8mb4")
        .timezone(None)
        .pipes_as_concat(false)
        .no_engine_substitution(false)
        .statement_cache_capacity(values_sql::STATEMENTS)
        .disable_statement_logging();
    if let Some(url::Host::Ipv6(address)) = url.host() {
        // The URL's brackets are no part of the address.
        options = options.host(&address.to_string());
    }
    let says_mode = url.query_pairs().any(|(key, _)| matches!(&*key, "ssl-mode" | "sslmode"));
    if !says_mode && (config.tls.ca_file.is_some() || !is_local(&url)) {
        options = options.ssl_mode(MySqlSslMode::VerifyIdentity);
    }
    if let Some(file) = &config.tls.ca_file {
        options = options.ssl_ca(file);
    }
    if let Some(file) = &config.tls.cert_file {
        options = options.ssl_client_cert(file);
    }
    if let Some(file) = &config.tls.key_file {
        options = options.ssl_client_key(file);
    }
    Ok(options)
}

/// Where there is TLS, the certificate is looked at.
fn verifies(options: &MySqlConnectOptions) -> bool {
    matches!(options.get_ssl_mode(), MySqlSslMode::VerifyCa | MySqlSslMode::VerifyIdentity)
}

/// Nobody listens in between.
fn is_local(url: &Url) -> bool {
    url.query_pairs().any(|(key, _)| key == "socket") || config::is_loopback(url.host_str().unwrap_or("localhost"))
}

/// What a session runs first. `mariadb` and `mysql` bound idle transactions and long statements
/// in different ways.
fn settings(config: &config::Database, mariadb: bool) -> String {
    let lock = whole_seconds(config.lock_timeout);
    let statement = match mariadb {
        true => format!(
            "max_statement_time={:.3},idle_transaction_timeout={}",
            config.statement_timeout.as_secs_f64().min(31_536_000.0),
            idle_seconds(config)
        ),
        // Bounds SELECT only: an INSERT ends by its locks' timeout, or by the caller's patience.
        false => format!("max_execution_time={}", config.statement_timeout.as_millis().min(u32::MAX.into())),
    };
    format!(
        "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED; \
         SET SESSION sql_mode='{SQL_MODE}',time_zone='+00:00',autocommit=1,completion_type=0,foreign_key_checks=1,\
         unique_checks=1,innodb_lock_wait_timeout={lock},lock_wait_timeout={lock},{statement}"
    )
}

/// The servers' timeouts count whole seconds from 1 on.
fn whole_seconds(time: Duration) -> u64 {
    (time.as_secs() + u64::from(time.subsec_nanos() > 0)).clamp(1, 31_536_000)
}

/// How long the server lets a transaction stand whose client has fallen silent, before it rolls
/// back and frees the keys for whoever has the messages now.
fn idle_seconds(config: &config::Database) -> u64 {
    whole_seconds(config.statement_timeout).max(10)
}

/// A session with all settings made, with the login as its files have it now.
pub(super) async fn establish(config: &config::Database) -> Result<MysqlSession, Failure> {
    let failed = |error| classify::failure(error, &[]);
    let fresh = config.fresh();
    let options = options(&fresh.config)?;
    let connected = options.connect().await.map_err(|error| fresh.explain(not_connected(error, &options)));
    let mut connection: MySqlConnection = connected?;
    let version = sqlx::raw_sql("SELECT VERSION()").fetch_one(&mut connection).await.map_err(failed)?;
    let version = text_at(&version, 0)?.unwrap_or_default();
    let mariadb = version.contains("MariaDB");
    sqlx::raw_sql(AssertSqlSafe(settings(config, mariadb))).execute(&mut connection).await.map_err(failed)?;
    for statement in &config.on_connect {
        let done = sqlx::raw_sql(AssertSqlSafe(statement.clone())).execute(&mut connection).await;
        done.map_err(|error| on_connect_failed(classify::failure(error, &[])))?;
    }
    let row = sqlx::raw_sql("SELECT @@max_allowed_packet, @@sql_mode, @@autocommit")
        .fetch_one(&mut connection)
        .await
        .map_err(failed)?;
    let cipher =
        sqlx::raw_sql("SHOW SESSION STATUS LIKE 'Ssl_cipher'").fetch_optional(&mut connection).await.map_err(failed)?;
    let cipher = cipher.map(|row| text_at(&row, 1)).transpose()?.flatten().unwrap_or_default();
    let modes = text_at(&row, 1)?.unwrap_or_default();
    if !modes.contains("STRICT_ALL_TABLES") || text_at(&row, 2)?.as_deref() != Some("1") {
        connection.close().await.ok();
        return Err(Failure::new(
            ErrorClass::SinkMisconfigured,
            "sql_mode",
            "`on_connect` takes STRICT_ALL_TABLES out of sql_mode, or sets autocommit = 0; \
             without strictness the server would change values that don't fit: leave both as they are",
        ));
    }
    let idle = idle_seconds(config);
    Ok(MysqlSession {
        connection,
        mariadb,
        transport: Transport {
            encrypted: !cipher.is_empty(),
            verified: !cipher.is_empty() && verifies(&options),
            local: options.get_socket().is_some() || config::is_loopback(options.get_host()),
        },
        long_timestamp: mariadb && at_least(&version, (11, 5)),
        version,
        max_packet: text_at(&row, 0)?.and_then(|bytes| bytes.parse().ok()).unwrap_or(1 << 20),
        // MySQL has no timeout for idle transactions: for their time the idle connection's is lowered.
        begin: match mariadb {
            true => "START TRANSACTION".into(),
            false => format!("SET SESSION wait_timeout={idle}; START TRANSACTION"),
        },
        after: if mariadb { "" } else { "; SET SESSION wait_timeout=DEFAULT" },
        careful: false,
        broken: false,
    })
}

/// With the place, and the system's own words, among them that a name isn't known.
fn not_connected(error: sqlx::Error, options: &MySqlConnectOptions) -> Failure {
    let words = match &error {
        sqlx::Error::Io(error) => Some(format!("can't be connected to: {error}")),
        _ => None,
    };
    let mut failure = classify::failure(error, &[]);
    let words = words.filter(|_| failure.code == "io").unwrap_or_else(|| failure.message.to_string());
    let host = options.get_socket().map_or_else(|| options.get_host().to_owned(), |path| path.display().to_string());
    let database = options.get_database().unwrap_or("none");
    failure.message = format!("MySQL at {host}:{}, database {database}: {words}", options.get_port()).into();
    failure
}

fn on_connect_failed(failure: Failure) -> Failure {
    let class = match failure.class {
        class @ (ErrorClass::SinkUnavailable | ErrorClass::SinkContention) => class,
        _ => ErrorClass::SinkMisconfigured,
    };
    // The statement is the user's and may have a secret in it, and so may the server's text.
    let text = format!("{} {}", failure.message, failure.detail.reveal());
    Failure::new(class, failure.code, "a statement of `on_connect` failed").detail(text)
}

/// `11.8.2-MariaDB-…` is at least 11.5; a `5.5.5-` before it is for old clients.
pub(super) fn at_least(version: &str, wanted: (u32, u32)) -> bool {
    let version = version.strip_prefix("5.5.5-").unwrap_or(version);
    let mut numbers = version.split('.').map(|number| number.parse::<u32>().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= wanted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(url: &str) -> config::Database {
        config::Database {
            name: "default".into(),
            kind: config::DatabaseKind::Mysql,
            url: config::Secret::new(url),
            max_connections: None,
            connect_timeout: Duration::from_secs(5),
            statement_timeout: Duration::from_millis(1_500),
            lock_timeout: Duration::from_millis(1),
            application_name: String::new(),
            on_connect: Vec::new(),
            tls: config::TlsFiles::default(),
            ledger_table: crate::catalogue::TableName { schema: None, name: "l".into() },
            ledger_keep: Duration::from_secs(1),
            credentials: config::Credentials::default(),
        }
    }

    #[test]
    fn tls_is_verified_on_the_way_to_other_machines() {
        for (url, verified) in [
            ("mysql://u:p@db.example.org/x", true),
            ("mariadb://u:p@10.0.0.1:3307/x", true),
            ("mysql://u:p@db.example.org/x?ssl-mode=REQUIRED", false),
            ("mysql://u:p@db.example.org/x?sslmode=disabled", false),
            ("mysql://u:p@localhost/x", false),
            ("mysql://u:p@127.0.0.2/x", false),
            ("mysql://u:p@[::1]/x", false),
            ("mysql://u:p@db/x?socket=/run/mysqld.sock", false),
        ] {
            let mode = options(&config(url)).unwrap().get_ssl_mode();
            assert_eq!(matches!(mode, MySqlSslMode::VerifyIdentity), verified, "{url}");
        }
        assert_eq!(options(&config("mysql://u:p@[::1]:3307/x")).unwrap().get_host(), "::1");
        let mut with_ca = config("mysql://u:p@localhost/x");
        with_ca.tls.ca_file = Some("ca.pem".into());
        assert!(matches!(options(&with_ca).unwrap().get_ssl_mode(), MySqlSslMode::VerifyIdentity));
    }

    #[test]
    fn a_url_that_cannot_be_read_is_not_shown() {
        let failure = options(&config("mysql//user:secret@host")).unwrap_err();
        assert!(failure.class == ErrorClass::Config && !failure.to_string().contains("secret"));
    }

    #[test]
    fn versions() {
        assert!(at_least("11.8.2-MariaDB-deb13", (11, 5)) && at_least("5.5.5-12.0.1-MariaDB", (11, 5)));
        assert!(!at_least("10.11.19-MariaDB", (11, 5)) && !at_least("", (11, 5)));
    }

    #[test]
    fn timeouts_are_whole_seconds_from_one_on() {
        let text = settings(&config("mysql://localhost/"), true);
        assert!(text.contains("innodb_lock_wait_timeout=1,") && text.contains("max_statement_time=1.500"), "{text}");
        assert_eq!(whole_seconds(Duration::from_millis(2_001)), 3);
    }
}
