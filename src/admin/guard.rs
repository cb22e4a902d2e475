//! Who may ask, and who may order.
//!
//! Whoever reaches a listener may read; a change needs the token, or the Unix socket and its user. A browser
//! has neither, so that no page that it shows can order anything. A page can make its own name
//! resolve to 127.0.0.1 (DNS rebinding) and then read from a loopback listener as from its own
//! server; but the browser still sends the page's name as `Host` and, with requests of other pages,
//! as `Origin`: those are kept out.

use std::sync::Arc;

use axum::extract::{Extension, Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::handlers::Problem;
use super::{Peer, Shared};
use crate::config::Secret;
use crate::config::is_loopback;
use crate::digest::sha256;

/// Passes a request on, or refuses it with 401 or 403.
pub(super) async fn check(
    State(shared): State<Arc<Shared>>,
    Extension(peer): Extension<Peer>,
    request: Request,
    next: Next,
) -> Response {
    if shared.loopback && !names_loopback(request.uri(), request.headers()) {
        return refused(
            "this listener answers to loopback names only: use 127.0.0.1, [::1] or localhost as host \
             (and no other site's page as origin)",
        );
    }
    let changes = !matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    match may_order(&shared, peer, request.headers()) {
        Err(refusal) if changes => {
            if let Some(passed) = shared.throttle.pass("admin", "refused") {
                let path: String = request.uri().path().chars().take(64).collect();
                tracing::warn!(path, %peer, status = refusal.status().as_u16(), "an order was refused{passed}");
            }
            refusal
        }
        _ => next.run(request).await,
    }
}

fn may_order(shared: &Shared, peer: Peer, headers: &HeaderMap) -> Result<(), Response> {
    match peer {
        Peer::Unix(uid) if uid.is_some() && (uid == Some(0) || uid == shared.uid) => Ok(()),
        Peer::Unix(_) => Err(refused(
            "orders over the socket are taken from the worker's own user and from root: run this as one of them, or give \
             the token to the TCP listener",
        )),
        Peer::Tcp(_) => match &*shared.token.borrow() {
            Some(token) if brings(headers, token) => Ok(()),
            Some(_) => {
                let message =
                    "orders need the token: `Authorization: Bearer TOKEN` with what [admin] token or token_file says";
                let mut response = Problem::new(StatusCode::UNAUTHORIZED, message).into_response();
                response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
                Err(response)
            }
            None => Err(refused(
                "orders over TCP need a token, and none is configured: use `rabbit-sink pause` and `resume` where the \
                 worker runs, which go through its Unix socket; or set [admin] token_file",
            )),
        },
    }
}

/// Compared by their hashes, so that the time it takes tells nothing of the token.
fn brings(headers: &HeaderMap, token: &Secret) -> bool {
    let Some(brought) = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()) else { return false };
    let Some((scheme, brought)) = brought.split_once(' ') else { return false };
    scheme.eq_ignore_ascii_case("bearer")
        && sha256(&[brought.trim().as_bytes()]) == sha256(&[token.reveal().as_bytes()])
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
