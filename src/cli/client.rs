//! Asks the running worker, over its admin listener.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::{Method, Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

use super::exit::CliError;
use crate::config::Config;

/// From the first packet to the last.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of an answer. A pipeline takes less than a kilobyte, a consumer a fifth of that.
const MAX_ANSWER: usize = 16 << 20;

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

/// Sends one request.
pub(super) async fn ask(config: &Config, method: Method, path: &str) -> Result<Answer, CliError> {
    let Some(listen) = config.admin.listen else {
        return Err(CliError::usage(
            "[admin] listen is \"off\": a running worker can't be asked; give it an address, such as \"127.0.0.1:9464\"",
        ));
    };
    let address = reachable(listen);
    let failed = |what: String| {
        CliError::failed(format!(
            "no answer from a worker at {address} ([admin] listen): {what}; does it run, with this config?"
        ))
    };
    match tokio::time::timeout(TIMEOUT, exchange(address, method, path)).await {
        Ok(answer) => answer.map_err(failed),
        Err(_) => Err(failed(format!("nothing for {} s", TIMEOUT.as_secs()))),
    }
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

async fn exchange(address: SocketAddr, method: Method, path: &str) -> Result<Answer, String> {
    let stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, address.to_string())
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| error.to_string())?;
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
