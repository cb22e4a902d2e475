//! From a config to a connection: every address in random order, each with a time limit.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use lapin::tcp::RustlsConnector;
use lapin::uri::{AMQPUri, SASLMechanism};
use lapin::{AsyncTcpStream, ConnectionProperties};

use super::address;
use super::connection::{BrokerVersion, Connection};
use super::failure::{self, reply};
use super::wire::{Handshake, Kit, Wire};
use crate::config;
use crate::error::{ErrorClass, Failure};

/// A broker that can be connected to.
#[derive(Clone, Debug)]
pub struct Rabbitmq {
    config: Arc<config::Broker>,
    addresses: Arc<Vec<Address>>,
}

/// One URL of the config. Its `Debug` leaves the login out.
#[derive(Clone)]
struct Address(AMQPUri);

impl std::fmt::Debug for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.place())
    }
}

impl Address {
    /// `host:port`, for people.
    fn place(&self) -> String {
        let (host, port) = (&self.0.authority.host, self.0.authority.port);
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }
}

impl Rabbitmq {
    /// Reads the URLs. Connects to nothing.
    ///
    /// # Errors
    /// Class `config` where a URL can't be read or there is none.
    pub fn new(config: &config::Broker) -> Result<Self, Failure> {
        Ok(Rabbitmq { config: Arc::new(config.clone()), addresses: Arc::new(addresses(config)?) })
    }

    /// Connects to any of the broker's addresses: URLs in random order, so that a cluster's nodes
    /// share the load, names resolved and logins read from their files again each time,
    /// `connect_timeout` for each address.
    ///
    /// `name` tells operators what the connection is for (a pipeline's name, say); it stands in
    /// the connection's name unless the config sets that.
    ///
    /// # Errors
    /// Class `source_lost` when no address would have us. The code is that of the failure which
    /// says most: AMQP's reply code (403: login refused, 530: no such vhost or no right to it)
    /// rather than `tls`, `no_answer`, `connect_refused` or `resolve`. The message names every
    /// address.
    pub async fn connect(&self, name: &str) -> Result<Connection, Failure> {
        let mut failures = Vec::new();
        let fresh = self.config.fresh();
        for address in shuffled(&addresses(&fresh.config)?) {
            match self.connect_to(&address, name).await {
                Ok(connection) => return Ok(connection),
                Err(failure) => failures.push(failure),
            }
        }
        let all = failures.iter().map(|failure| failure.message.as_ref()).collect::<Vec<_>>().join("; ");
        // Rust's `max_by_key` takes the last of equals; which of them doesn't matter.
        let code = failures.into_iter().max_by_key(telling).map_or("connect".into(), |failure| failure.code);
        Err(fresh.explain(Failure::new(ErrorClass::SourceLost, code, all)))
    }

    /// What it was made of.
    pub fn config(&self) -> &config::Broker {
        &self.config
    }

    /// The virtual host that the (first) URL names.
    pub fn vhost(&self) -> &str {
        self.addresses.first().map_or("/", |address| &address.0.vhost)
    }

    /// The user that the (first) URL names.
    pub fn user(&self) -> &str {
        self.addresses.first().map_or("", |address| &address.0.authority.userinfo.username)
    }

    /// Whether what we send travels encrypted, to whichever address.
    pub fn encrypted(&self) -> bool {
        self.addresses.iter().all(|address| address.0.scheme == lapin::uri::AMQPScheme::AMQPS)
    }

    /// The addresses, `host:port`, to which login and bodies travel unencrypted through a network.
    pub fn exposed(&self) -> Vec<String> {
        let plain = |address: &&Address| address.0.scheme == lapin::uri::AMQPScheme::AMQP;
        let away = |address: &&Address| !config::is_loopback(&address.0.authority.host);
        self.addresses.iter().filter(plain).filter(away).map(Address::place).collect()
    }

    async fn connect_to(&self, address: &Address, name: &str) -> Result<Connection, Failure> {
        let limit = self.config.connect_timeout;
        let place = address.place();
        let tls = address::tls(&address.0, &self.config.tls)?;
        let (host, port) = (address.0.authority.host.clone(), address.0.authority.port);
        let resolved = match tokio::time::timeout(limit, tokio::net::lookup_host((host, port))).await {
            Ok(Ok(resolved)) => resolved.collect::<Vec<_>>(),
            Ok(Err(error)) => return Err(lost("resolve", format!("{place}: the name can't be resolved: {error}"))),
            Err(_) => return Err(lost("resolve", format!("{place}: the name wasn't resolved in {limit:?}"))),
        };
        let mut last = lost("resolve", format!("{place}: the name has no address"));
        for socket in shuffled(&resolved) {
            let shared = Handshake::default();
            let guard = shared.guard();
            let attempt = handshake(&address.0, socket, tls.clone(), self.properties(name), shared.clone(), limit);
            last = match tokio::time::timeout(limit, attempt).await {
                Ok(Ok(connection)) => {
                    shared.done();
                    let version = shared.property("version");
                    let version = version.as_deref().and_then(BrokerVersion::parse);
                    return Ok(Connection::new(connection, place, version));
                }
                Ok(Err(error)) => refused(&place, &address.0, &error),
                Err(_) => lost("no_answer", format!("{place}: no connection in {limit:?}")),
            };
            drop(guard);
        }
        Err(last)
    }

    fn properties(&self, name: &str) -> ConnectionProperties {
        let connection_name = match &self.config.connection_name {
            Some(configured) => configured.clone(),
            None => format!("rabbit-sink/{}/{name}", hostname()),
        };
        // Automatic recovery stays off: it would resume a stream without a mark, and mix the
        // deliveries of two connections.
        ConnectionProperties::default()
            .with_client_property("product".into(), env!("CARGO_PKG_NAME").into())
            .with_client_property("version".into(), env!("CARGO_PKG_VERSION").into())
            .with_connection_name(connection_name.into())
    }
}

fn addresses(config: &config::Broker) -> Result<Vec<Address>, Failure> {
    let addresses =
        config.urls.iter().map(|url| address::parse(config, url).map(Address)).collect::<Result<Vec<_>, _>>()?;
    if addresses.is_empty() {
        let message = format!("broker \"{}\" has no URL", config.name);
        return Err(Failure::new(ErrorClass::Config, "url", message));
    }
    Ok(addresses)
}

/// TCP, TLS and AMQP's handshake with one address.
async fn handshake(
    uri: &AMQPUri,
    socket: SocketAddr,
    tls: Option<RustlsConnector>,
    properties: ConnectionProperties,
    shared: Handshake,
    limit: Duration,
) -> lapin::Result<lapin::Connection> {
    let host = uri.authority.host.clone();
    let tokio = async_rs::Runtime::tokio_current();
    lapin::Connection::connector(
        uri.clone(),
        Kit::runtime(),
        async move |_, _| {
            // The library runs this on a thread of its own, which only a limit in here ends.
            let connecting = async {
                let stream = AsyncTcpStream::connect(&tokio, socket).await?;
                match &tls {
                    Some(tls) => stream.into_rustls(tls, &host).await,
                    None => Ok(stream),
                }
            };
            let stream = tokio::time::timeout(limit, connecting)
                .await
                .unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut)))?;
            Ok(AsyncTcpStream::Plain(Wire::new(stream, shared.clone())))
        },
        properties,
    )
    .await
}

/// Why an address didn't take us.
fn refused(place: &str, uri: &AMQPUri, error: &lapin::Error) -> Failure {
    let user = &uri.authority.userinfo.username;
    match (failure::reply_code(error), error.kind()) {
        (Some(reply::ACCESS_REFUSED), _) if uri.query.auth_mechanism == Some(SASLMechanism::External) => lost(
            "403",
            format!(
                "{place}: the broker refuses the login by our certificate (403 ACCESS_REFUSED); it needs the plugin \
                 rabbitmq_auth_mechanism_ssl, EXTERNAL among its auth_mechanisms, and a user of the certificate's name \
                 (ssl_cert_login_from)"
            ),
        ),
        (Some(reply::ACCESS_REFUSED), _) => lost(
            "403",
            format!(
                "{place}: the broker refuses the login of user \"{user}\" (403 ACCESS_REFUSED); check user and password"
            ),
        ),
        // The same code for a user, a vhost or a node that has all the connections it may have.
        (Some(reply::NOT_ALLOWED), lapin::ErrorKind::ProtocolError(error))
            if at_limit(error.get_message().as_str()) =>
        {
            lost("530", format!("{place}: {}; raise the limit, or close other connections", error.get_message()))
        }
        (Some(reply::NOT_ALLOWED), _) => lost(
            "530",
            format!(
                "{place}: the broker doesn't let user \"{user}\" into vhost \"{}\" (530 NOT_ALLOWED); it doesn't exist or \
                 `rabbitmqctl set_permissions` is missing (the default vhost is written %2f in a URL)",
                uri.vhost
            ),
        ),
        (None, lapin::ErrorKind::IOError(io)) => {
            let code = match io.kind() {
                io::ErrorKind::ConnectionRefused => "connect_refused",
                io::ErrorKind::TimedOut => "no_answer",
                // What TLS has to say comes as this.
                io::ErrorKind::InvalidData => "tls",
                _ => "io",
            };
            lost(code, format!("{place}: {io}"))
        }
        (None, lapin::ErrorKind::ParsingError(_)) => lost(
            "not_amqp",
            format!("{place}: what answers there isn't AMQP 0-9-1; a TLS port needs amqps:// in the URL"),
        ),
        _ => failure::failed(ErrorClass::SourceLost, place, error),
    }
}

/// A broker is there and won't have us as we come: somebody has to change the config or its setup. Otherwise it is away,
/// or has no room.
pub fn refuses(failure: &Failure) -> bool {
    match failure.code.as_ref() {
        "530" => !at_limit(&failure.message),
        "403" | "tls" | "tls_files" | "not_amqp" => true,
        _ => false,
    }
}

/// What RabbitMQ says when the reason is a limit; it names users, vhosts and nodes only.
fn at_limit(text: &str) -> bool {
    text.contains("limit (")
}

fn lost(code: &'static str, message: String) -> Failure {
    Failure::new(ErrorClass::SourceLost, code, message)
}

/// How much a failure tells: an answer of the broker more than none.
fn telling(failure: &Failure) -> u8 {
    match failure.code.as_ref() {
        "resolve" => 0,
        "connect_refused" | "no_answer" => 1,
        "io" | "closed" => 2,
        "tls" | "tls_files" => 3,
        _ => 4,
    }
}

/// A copy in random order.
fn shuffled<T: Clone>(from: &[T]) -> Vec<T> {
    // Each RandomState has keys of its own: random enough to share out connections.
    let random = RandomState::new();
    let mut numbered: Vec<(u64, T)> =
        from.iter().enumerate().map(|(n, item)| (random.hash_one(n), item.clone())).collect();
    numbered.sort_by_key(|(number, _)| *number);
    numbered.into_iter().map(|(_, item)| item).collect()
}

/// This machine's name, as far as it can be found without asking a name server.
fn hostname() -> String {
    let from_file =
        || std::fs::read_to_string("/proc/sys/kernel/hostname").or_else(|_| std::fs::read_to_string("/etc/hostname"));
    std::env::var("HOSTNAME")
        .ok()
        .filter(|name| !name.is_empty())
        .or_else(|| from_file().ok())
        .map_or_else(|| "unknown".to_owned(), |name| name.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_told_from_a_missing_right() {
        for text in [
            "NOT_ALLOWED - connection refused for user 'u': user connection limit (0) is reached",
            "NOT_ALLOWED - access to vhost '/' refused for user 'u': connection limit (1) is reached",
        ] {
            assert!(at_limit(text), "{text}");
        }
        assert!(!at_limit("NOT_ALLOWED - vhost unlimited not found"));
    }

    #[test]
    fn every_order_comes_up() {
        let firsts: std::collections::BTreeSet<u8> = (0..200).map(|_| shuffled(&[1, 2, 3])[0]).collect();
        assert_eq!(firsts.len(), 3);
        let mut all = shuffled(&[3, 1, 2]);
        all.sort_unstable();
        assert_eq!(all, [1, 2, 3]);
    }
}
