//! The admin listeners, TCP and a Unix socket: `/livez`, `/readyz`, `/status`, `/metrics`, and the
//! orders that a running worker takes.
//!
//! It answers out of [`WorkerStatus`] alone and never waits for a pipeline, a broker or a
//! database: a probe must get its answer when these are stuck, too.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;

use crate::config::Secret;
use crate::status::WorkerStatus;
use crate::telemetry::Throttle;

mod guard;
mod handlers;
mod health;
mod report;
pub(crate) mod socket;

pub use report::{ConnectionsReport, ConsumerReport, PauseReport, PipelineReport, Report};
pub use socket::Socket;

/// Bytes of a request's body: a name and a reason.
const MAX_BODY: usize = 4096;
/// Connections at the same time; more are closed at once.
const MAX_CONNECTIONS: usize = 64;
/// From the end of the headers to the answer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// For a request's headers; an idle kept-alive connection is closed after it, too.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// After an accept that failed: out of file descriptors, as a rule.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Where requests come in.
#[derive(Debug)]
pub enum Listener {
    /// Read by whoever gets there; orders need the token.
    Tcp(TcpListener),
    /// Orders are taken from this process's user and root.
    Unix(Socket),
}

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// Who asks.
#[derive(Clone, Copy, Debug)]
enum Peer {
    Tcp(SocketAddr),
    /// The user, as the system says; `None`: it doesn't.
    Unix(Option<u32>),
}

/// What is shown where they don't say who they are.
impl std::fmt::Display for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Peer::Tcp(address) => write!(f, "{}", address.ip().to_canonical()),
            Peer::Unix(Some(uid)) => write!(f, "uid {uid}"),
            Peer::Unix(None) => f.write_str("somebody on this machine"),
        }
    }
}

impl Listener {
    async fn accept(&self) -> io::Result<(Stream, Peer)> {
        match self {
            Listener::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                Ok((Stream::Tcp(stream), Peer::Tcp(peer)))
            }
            Listener::Unix(socket) => {
                let (stream, _) = socket.listener.accept().await?;
                let uid = stream.peer_cred().ok().map(|peer| peer.uid());
                Ok((Stream::Unix(stream), Peer::Unix(uid)))
            }
        }
    }
}

/// What all handlers see.
#[derive(Clone, Debug)]
struct Shared {
    status: WorkerStatus,
    /// We listen on a loopback address: nobody but this machine is meant.
    loopback: bool,
    /// On a Unix socket: who may order, besides root.
    uid: Option<u32>,
    /// What orders over TCP must bring, as it is now.
    token: watch::Receiver<Option<Secret>>,
    /// So that whoever knocks again and again doesn't fill the log.
    throttle: Arc<Throttle>,
}

/// Answers requests until `shutdown` is done; then drops what is still connected. `token` is what orders over
/// TCP must bring; without one, none are taken there.
pub async fn serve(
    listener: Listener,
    status: WorkerStatus,
    token: watch::Receiver<Option<Secret>>,
    shutdown: impl Future<Output = ()> + Send,
) {
    let (loopback, uid) = match &listener {
        Listener::Tcp(tcp) => (tcp.local_addr().is_ok_and(|address| address.ip().to_canonical().is_loopback()), None),
        Listener::Unix(socket) => (false, Some(socket.uid)),
    };
    let router = router(Arc::new(Shared { status, loopback, uid, token, throttle: Arc::default() }));
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    tokio::pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            () = &mut shutdown => return,
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
        };
        match accepted {
            Ok((stream, peer)) => {
                if let Ok(permit) = Arc::clone(&permits).try_acquire_owned() {
                    let router = router.clone().layer(axum::Extension(peer));
                    match stream {
                        Stream::Tcp(stream) => connections.spawn(connection(stream, router, permit)),
                        Stream::Unix(stream) => connections.spawn(connection(stream, router, permit)),
                    };
                }
            }
            Err(error) => {
                tracing::warn!(%error, "the admin listener can't accept a connection; it goes on trying");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/livez", get(handlers::livez))
        .route("/readyz", get(handlers::readyz))
        .route("/status", get(handlers::status))
        .route("/metrics", get(handlers::metrics))
        .route("/pipelines/{name}/pause", post(handlers::pause))
        .route("/pipelines/{name}/resume", post(handlers::resume))
        .fallback(handlers::not_found)
        .method_not_allowed_fallback(handlers::wrong_method)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(middleware::from_fn(deadline))
        .layer(middleware::from_fn_with_state(Arc::clone(&shared), guard::check))
        .with_state(shared)
}

async fn deadline(request: axum::extract::Request, next: Next) -> Response {
    match tokio::time::timeout(REQUEST_TIMEOUT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => handlers::Problem::new(
            axum::http::StatusCode::REQUEST_TIMEOUT,
            format!("the request took longer than {} s", REQUEST_TIMEOUT.as_secs()),
        )
        .into_response(),
    }
}

async fn connection<S>(stream: S, router: Router, _permit: OwnedSemaphorePermit)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let service = TowerToHyperService::new(router);
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "an admin connection ended early");
    }
}
