//! A broker's URL, read and made ready to connect to.

use std::path::Path;

use lapin::tcp::{RustlsConnector, RustlsConnectorConfig};
use lapin::uri::{AMQPAuthority, AMQPQueryString, AMQPScheme, AMQPUri, AMQPUserInfo, SASLMechanism};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::config;
use crate::error::{ErrorClass, Failure};

/// Reads one of the broker's URLs.
///
/// Not by the library's own parser: it makes `localhost` of an IPv6 address. A password that is
/// left out stays empty, which is how a login by client certificate is asked for.
///
/// # Errors
/// Class `config`; the message doesn't show the URL, which holds the password.
pub(super) fn parse(broker: &config::Broker, url: &config::Secret) -> Result<AMQPUri, Failure> {
    let wrong =
        |what: String| Failure::new(ErrorClass::Config, "url", format!("the URL of broker \"{}\" {what}", broker.name));
    let url = url::Url::parse(url.reveal()).map_err(|error| wrong(format!("can't be read: {error}")))?;
    let scheme: AMQPScheme =
        url.scheme().parse().map_err(|_| wrong("has to begin with amqp:// or amqps://".to_owned()))?;
    let decode = |text: &str, what: &str| {
        percent_encoding::percent_decode_str(text)
            .decode_utf8()
            .map(|text| text.into_owned())
            .map_err(|_| wrong(format!("has a {what} that isn't UTF-8")))
    };
    let host = match url.host() {
        Some(url::Host::Domain(name)) => decode(name, "host")?,
        Some(url::Host::Ipv4(address)) => address.to_string(),
        Some(url::Host::Ipv6(address)) => address.to_string(),
        None => return Err(wrong("names no host".to_owned())),
    };
    let certificate_login = broker.tls.cert_file.is_some() && url.password().is_none() && scheme == AMQPScheme::AMQPS;
    let guest = url.username().is_empty() && url.password().is_none() && !certificate_login;
    let userinfo = if guest {
        AMQPUserInfo { username: "guest".to_owned(), password: "guest".to_owned() }
    } else {
        AMQPUserInfo {
            username: decode(url.username(), "user name")?,
            password: decode(url.password().unwrap_or_default(), "password")?,
        }
    };
    let port = url.port().unwrap_or_else(|| scheme.default_port());
    // Without a path it is the default vhost; `/` alone is the vhost with the empty name.
    let vhost = decode(url.path().get(1..).unwrap_or("/"), "vhost")?;
    let parameter = |name: &str| url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value);
    let number = |name: &str| parameter(name).map(|value| value.parse::<u32>()).transpose();
    let query = AMQPQueryString {
        heartbeat: Some(u16::try_from(broker.heartbeat.as_secs()).unwrap_or(u16::MAX)),
        auth_mechanism: match parameter("auth_mechanism") {
            Some(name) => Some(name.parse().map_err(|_| wrong("has an auth_mechanism that isn't known".to_owned()))?),
            None => certificate_login.then_some(SASLMechanism::External),
        },
        frame_max: number("frame_max").map_err(|_| wrong("has a frame_max that is no number".to_owned()))?,
        channel_max: number("channel_max")
            .map_err(|_| wrong("has a channel_max that is no number".to_owned()))?
            .map(|channels| u16::try_from(channels).unwrap_or(u16::MAX)),
        ..AMQPQueryString::default()
    };
    Ok(AMQPUri { scheme, authority: AMQPAuthority { userinfo, host, port }, vhost, query })
}

/// Reads the TLS files anew, as certificates are renewed while we run. `None` for plain AMQP.
///
/// # Errors
/// Class `source_lost`, code `tls_files`, naming the file: it may be mended while we wait.
pub(super) fn tls(uri: &AMQPUri, files: &config::TlsFiles) -> Result<Option<RustlsConnector>, Failure> {
    if uri.scheme != AMQPScheme::AMQPS {
        return Ok(None);
    }
    connector(files).map(Some)
}

/// What makes a plain connection one with TLS.
pub(super) fn connector(files: &config::TlsFiles) -> Result<RustlsConnector, Failure> {
    let config = match &files.ca_file {
        Some(path) => {
            let mut config = RustlsConnectorConfig::default();
            config.add_parsable_certificates(certificates(path)?);
            config
        }
        None => RustlsConnectorConfig::new_with_native_certs()
            .map_err(|error| tls_failure(&format!("the system's certificates can't be read: {error}")))?,
    };
    let connector = match (&files.cert_file, &files.key_file) {
        (Some(certificate), Some(key)) => config.connector_with_single_cert(certificates(certificate)?, key_of(key)?),
        _ => config.connector_with_no_client_auth(),
    };
    connector.map_err(|error| tls_failure(&format!("TLS can't be set up: {error}")))
}

fn tls_failure(message: &str) -> Failure {
    Failure::new(ErrorClass::SourceLost, "tls_files", message.to_owned())
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Failure> {
    CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| tls_failure(&format!("{}: no certificates in PEM: {error}", path.display())))
}

fn key_of(path: &Path) -> Result<PrivateKeyDer<'static>, Failure> {
    PrivateKeyDer::from_pem_file(path)
        .map_err(|error| tls_failure(&format!("{}: no private key in PEM: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::Duration;

    use super::*;

    fn broker(cert_file: Option<&str>) -> config::Broker {
        config::Broker {
            name: "default".to_owned(),
            urls: Vec::new(),
            heartbeat: Duration::from_secs(7),
            connect_timeout: Duration::from_secs(5),
            consumer_timeout: Duration::from_secs(1800),
            tls: config::TlsFiles { cert_file: cert_file.map(PathBuf::from), ..config::TlsFiles::default() },
            connection_name: None,
            management_url: None,
            credentials: config::Credentials::default(),
        }
    }

    fn parsed(url: &str) -> AMQPUri {
        parse(&broker(None), &config::Secret::new(url)).unwrap()
    }

    #[test]
    fn hosts_ports_and_vhosts() {
        let v6 = parsed("amqp://u:p%40ss@[::1]:5673/a%2fb");
        assert_eq!((v6.authority.host.as_str(), v6.authority.port, v6.vhost.as_str()), ("::1", 5673, "a/b"));
        assert_eq!(v6.authority.userinfo.password, "p@ss");
        assert_eq!(v6.query.heartbeat, Some(7));
        assert_eq!(parsed("amqp://10.0.0.7").authority.host, "10.0.0.7");
        assert_eq!(parsed("amqp://h").vhost, "/");
        assert_eq!(parsed("amqp://h/").vhost, "");
        assert_eq!(parsed("amqps://h").authority.port, 5671);
        assert_eq!(parsed("amqp://h").authority.userinfo.username, "guest");
        assert_eq!(parsed("amqp://u@h").authority.userinfo.password, "");
    }

    #[test]
    fn a_certificate_without_a_password_logs_in_by_itself() {
        let with = |url: &str| parse(&broker(Some("c.pem")), &config::Secret::new(url)).unwrap();
        assert_eq!(with("amqps://h").query.auth_mechanism, Some(SASLMechanism::External));
        assert_eq!(with("amqps://u:p@h").query.auth_mechanism, None);
        assert_eq!(with("amqp://h").query.auth_mechanism, None);
    }

    #[test]
    fn what_the_url_says_beyond_the_address_is_heard() {
        let query = parsed("amqps://u:p@h?auth_mechanism=external&frame_max=8192&channel_max=7").query;
        assert_eq!(query.auth_mechanism, Some(SASLMechanism::External));
        assert_eq!((query.frame_max, query.channel_max), (Some(8192), Some(7)));
        let with_certificate = |url: &str| parse(&broker(Some("c.pem")), &config::Secret::new(url)).unwrap();
        assert_eq!(with_certificate("amqps://h?auth_mechanism=plain").query.auth_mechanism, Some(SASLMechanism::Plain));
    }

    #[test]
    fn a_wrong_url_is_told_without_its_password() {
        for url in ["http://u:geheim@h", "amqp://u:geheim@h:port", "amqp:u:geheim"] {
            let failure = parse(&broker(None), &config::Secret::new(url)).unwrap_err();
            assert_eq!(failure.class, ErrorClass::Config);
            assert!(!failure.to_string().contains("geheim"), "{failure}");
        }
    }
}
