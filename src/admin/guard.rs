//! Who may ask: keeps web pages out that a browser on this machine shows.
//!
//! A page can make its own name resolve to 127.0.0.1 (DNS rebinding) and then read from a loopback
//! listener as from its own server. The browser still sends the page's name as `Host` and, with
//! requests of other pages, as `Origin`.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{ConnectInfo, Extension, Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::Shared;
use super::handlers::Problem;
use crate::config::is_loopback;

/// Passes a request on, or refuses it with 403.
pub(super) async fn check(
    State(shared): State<Arc<Shared>>,
    Extension(ConnectInfo(peer)): Extension<ConnectInfo<SocketAddr>>,
    request: Request,
    next: Next,
) -> Response {
    let changes = !matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    if changes && !peer.ip().to_canonical().is_loopback() {
        return refused("orders are taken from this machine only; run `rabbit-sink resume` where the worker runs");
    }
    if (changes || shared.loopback) && !names_loopback(request.uri(), request.headers()) {
        return refused(
            "this listener answers to loopback names only: use 127.0.0.1, [::1] or localhost as host \
             (and no other site's page as origin)",
        );
    }
    next.run(request).await
}

fn refused(message: &str) -> Response {
    Problem::new(StatusCode::FORBIDDEN, message).into_response()
}

/// Every name that the request gives for us, and for the page that it comes from, means this machine.
fn names_loopback(uri: &Uri, headers: &HeaderMap) -> bool {
    let target = uri.authority().is_none_or(|authority| is_loopback(authority.host()));
    let mut hosts = headers.get_all(header::HOST).iter().peekable();
    let named = hosts.peek().is_some();
    let host = hosts.all(|host| {
        host.to_str().ok().and_then(|host| host.parse::<Authority>().ok()).is_some_and(|host| is_loopback(host.host()))
    });
    let origin = headers.get_all(header::ORIGIN).iter().all(|origin| {
        let uri = origin.to_str().ok().and_then(|origin| origin.parse::<Uri>().ok());
        uri.as_ref().and_then(Uri::host).is_some_and(is_loopback)
    });
    target && named && host && origin
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(host: Option<&str>, origin: Option<&str>) -> bool {
        let mut headers = HeaderMap::new();
        host.map(|host| headers.append(header::HOST, host.parse().unwrap()));
        origin.map(|origin| headers.append(header::ORIGIN, origin.parse().unwrap()));
        names_loopback(&"/status".parse().unwrap(), &headers)
    }

    #[test]
    fn names_of_this_machine_pass() {
        let hosts = ["localhost", "LocalHost:9464", "127.0.0.1:9464", "127.1.2.3", "[::1]:9464", "[::ffff:127.0.0.1]"];
        for host in hosts {
            assert!(asked(Some(host), None), "{host}");
            assert!(asked(Some(host), Some("http://localhost:3000")), "{host}");
        }
    }

    #[test]
    fn other_names_do_not() {
        for host in ["evil.example", "localhost.evil.example", "localhost@evil.example", "10.0.0.1:9464", "0.0.0.0", ""]
        {
            assert!(!asked(Some(host), None), "{host}");
        }
        for origin in ["http://evil.example", "null", "http://127.0.0.1.evil.example", "file://"] {
            assert!(!asked(Some("localhost"), Some(origin)), "{origin}");
        }
        assert!(!asked(None, None), "a request without a host");
    }

    #[test]
    fn a_second_host_does_not_hide_behind_the_first() {
        let mut headers = HeaderMap::new();
        headers.append(header::HOST, "localhost".parse().unwrap());
        headers.append(header::HOST, "evil.example".parse().unwrap());
        assert!(!names_loopback(&"/".parse().unwrap(), &headers));
        headers.clear();
        headers.append(header::HOST, "localhost".parse().unwrap());
        assert!(!names_loopback(&"http://evil.example/".parse().unwrap(), &headers));
    }
}
