//! The admin listener: `/livez`, `/readyz`, `/status`, `/metrics`, and the orders that a running
//! worker takes.
//!
//! It answers out of [`WorkerStatus`] alone and never waits for a pipeline, a broker or a
//! database: a probe must get its answer when these are stuck, too.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, DefaultBodyLimit};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

use crate::status::WorkerStatus;

mod guard;
mod handlers;
mod health;
mod report;

pub use report::{ConnectionsReport, ConsumerReport, PipelineReport, Report};

/// Bytes of a request's body. No order needs one.
const MAX_BODY: usize = 4096;
/// Connections at the same time; more are closed at once.
const MAX_CONNECTIONS: usize = 64;
/// From the end of the headers to the answer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// For a request's headers; an idle kept-alive connection is closed after it, too.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// After an accept that failed: out of file descriptors, as a rule.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// What all handlers see.
#[derive(Clone, Debug)]
struct Shared {
    status: WorkerStatus,
    /// We listen on a loopback address: nobody but this machine is meant.
    loopback: bool,
}

/// Answers requests until `shutdown` is done; then drops what is still connected.
pub async fn serve(listener: TcpListener, status: WorkerStatus, shutdown: impl Future<Output = ()> + Send) {
    let loopback = listener.local_addr().is_ok_and(|address| address.ip().to_canonical().is_loopback());
    let router = router(Arc::new(Shared { status, loopback }));
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
                    connections.spawn(connection(stream, peer, router.clone(), permit));
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

async fn connection(stream: TcpStream, peer: SocketAddr, router: Router, _permit: OwnedSemaphorePermit) {
    let service = TowerToHyperService::new(router.layer(axum::Extension(ConnectInfo(peer))));
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "an admin connection ended early");
    }
}
