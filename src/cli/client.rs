//! Asks the running worker, over its admin listener, and gives it orders.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::http::request;
use hyper::{Method, Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::exit::CliError;
use crate::admin;
use crate::config::{Admin, AdminSocket, Config, Secret};

/// From the first packet to the last.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of an answer. A pipeline takes less than a kilobyte, a consumer a fifth of that.
const MAX_ANSWER: usize = 16 << 20;

/// The worker that runs with a config.
#[derive(Debug)]
pub(super) struct Running {
    /// How it is reached.
    pub admin: Admin,
    /// What the file says; `None`: it has mistakes by now, and the worker goes on with what it said before.
    pub config: Option<Config>,
}

/// What the worker answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub status: StatusCode,
    pub json: Value,
}

impl Answer {
    /// The JSON of a 2xx; the worker's own words otherwise.
    pub(super) fn ok(self) -> Result<Value, CliError> {
        if self.status.is_success() {
            return Ok(self.json);
        }
        let said = self.json.get("error").and_then(Value::as_str).map_or_else(|| self.json.to_string(), str::to_owned);
        Err(CliError::failed(said))
    }
}

/// A way to the worker.
#[derive(Clone, Copy, Debug)]
enum Way<'a> {
    Tcp(SocketAddr),
    Socket(&'a AdminSocket),
}

impl fmt::Display for Way<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Way::Tcp(address) => write!(f, "{address} ([admin] listen)"),
            Way::Socket(socket) => write!(f, "{socket} ([admin] socket)"),
        }
    }
}

/// Asks, and changes nothing.
pub(super) async fn ask(admin: &Admin, path: &str) -> Result<Answer, CliError> {
    let listen = admin.listen.map(|listen| Way::Tcp(reachable(listen)));
    let way = listen.or(admin.socket.as_ref().map(Way::Socket)).ok_or_else(|| {
        CliError::usage(
            "[admin] listen is \"off\": a running worker can't be asked; give it an address, such as \"127.0.0.1:9464\"",
        )
    })?;
    send(way, Method::GET, path, None, String::new()).await.map_err(|what| no_answer(&[what]))
}

/// Tells the worker to do something: over the socket, where nobody needs a token, else over TCP with it.
pub(super) async fn order(admin: &Admin, path: &str, body: String) -> Result<Answer, CliError> {
    let socket = admin.socket.as_ref().map(|socket| (Way::Socket(socket), None));
    let listen = admin.listen.zip(admin.token.as_ref());
    let listen = listen.map(|(listen, token)| (Way::Tcp(reachable(listen)), Some(token)));
    let (mut refused, mut failed) = (None, Vec::new());
    for (way, token) in socket.into_iter().chain(listen) {
        match send(way, Method::POST, path, token, body.clone()).await {
            Ok(answer) if matches!(answer.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
                refused = Some(answer);
            }
            Ok(answer) => return Ok(answer),
            Err(what) => failed.push(what),
        }
    }
    match refused {
        Some(answer) => Ok(answer),
        None if failed.is_empty() => Err(CliError::usage(
            "no way to give a worker orders: [admin] needs a `socket`, or `token_file` beside `listen`",
        )),
        None => Err(no_answer(&failed)),
    }
}

fn no_answer(what: &[String]) -> CliError {
    CliError::failed(format!("no answer from a worker at {}; does it run, with this config?", what.join(", nor at ")))
}

/// One request and its answer. An error begins with the way.
async fn send(
    way: Way<'_>,
    method: Method,
    path: &str,
    token: Option<&Secret>,
    body: String,
) -> Result<Answer, String> {
    let mut request = Request::builder().method(method).uri(path).header(header::CONNECTION, "close");
    if let Some(token) = token {
        request = request.header(header::AUTHORIZATION, format!("Bearer {}", token.reveal()));
    }
    let exchanged = async {
        match way {
            Way::Tcp(address) => {
                let stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
                exchange(stream, request.header(header::HOST, address.to_string()), body).await
            }
            Way::Socket(socket) => {
                let stream = admin::socket::connect(socket).await.map_err(|error| error.to_string())?;
                exchange(stream, request.header(header::HOST, "localhost"), body).await
            }
        }
    };
    let answered = match tokio::time::timeout(TIMEOUT, exchanged).await {
        Ok(answer) => answer,
        Err(_) => Err(format!("nothing for {} s", TIMEOUT.as_secs())),
    };
    answered.map_err(|what| format!("{way}: {what}"))
}

/// A listener on all addresses is asked on loopback.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

async fn exchange<S>(stream: S, request: request::Builder, body: String) -> Result<Answer, String>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    let request = request.body(Full::new(Bytes::from(body))).map_err(|error| error.to_string())?;
    let answered = async {
        let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await.map_err(|error| error.to_string())?;
        let json = serde_json::from_slice(&body.to_bytes())
            .map_err(|_| format!("HTTP {status} without JSON: something else listens there"))?;
        Ok(Answer { status, json })
    };
    tokio::pin!(answered);
    tokio::select! {
        answer = &mut answered => answer,
        // The connection may end as soon as the answer is in, before it is read to its end here.
        _ = connection => answered.await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_on_all_addresses_is_asked_on_loopback() {
        let reached = |listen: &str| reachable(listen.parse().unwrap()).to_string();
        assert_eq!(reached("0.0.0.0:9464"), "127.0.0.1:9464");
        assert_eq!(reached("[::]:9464"), "[::1]:9464");
        assert_eq!(reached("10.1.2.3:80"), "10.1.2.3:80");
    }
}
