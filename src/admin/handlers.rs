//! One function for each path.

use std::sync::Arc;
use std::time::Instant;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Extension, Path, Query, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use super::report::{PauseReport, Report};
use super::{Peer, Shared, health};
use crate::nearest::no_such_pipeline;
use crate::status::{self, Pause, PipelineStatus, Resume, Scope};
use crate::telemetry::metrics::{self, Format};

/// Why a request wasn't served: a status and `{"error": …}`.
#[derive(Debug, Serialize)]
pub(super) struct Problem {
    #[serde(skip)]
    status: StatusCode,
    error: String,
}

impl Problem {
    pub(super) fn new(status: StatusCode, error: impl Into<String>) -> Self {
        Problem { status, error: error.into() }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        (self.status, Json(self)).into_response()
    }
}

/// 200, or 503 where it isn't well.
fn well(well: bool) -> StatusCode {
    if well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}

pub(super) async fn livez(State(shared): State<Arc<Shared>>) -> Response {
    let liveness = health::liveness(&shared.status, Instant::now());
    (well(liveness.live), Json(liveness)).into_response()
}

pub(super) async fn readyz(State(shared): State<Arc<Shared>>) -> Response {
    let readiness = health::readiness(&shared.status);
    (well(readiness.ready), Json(readiness)).into_response()
}

pub(super) async fn status(State(shared): State<Arc<Shared>>) -> Json<Report> {
    Json(Report::of(&shared.status, Instant::now()))
}

pub(super) async fn metrics(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Result<Response, Problem> {
    let accept = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let format = Format::accepted(&accept.collect::<Vec<_>>().join(","));
    let text = metrics::render(&shared.status, Instant::now(), format).map_err(|error| {
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, format!("metrics can't be written: {error}"))
    })?;
    Ok(([(header::CONTENT_TYPE, format.content_type())], text).into_response())
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ResumeQuery {
    #[serde(default)]
    dead_letter: bool,
}

#[derive(Debug, Serialize)]
pub(super) struct Resumed {
    pipeline: String,
    resumed: &'static str,
}

fn pipeline(shared: &Shared, name: &str) -> Result<Arc<PipelineStatus>, Problem> {
    shared.status.pipeline(name).ok_or_else(|| {
        let known = shared.status.pipelines();
        let known = known.iter().map(|pipeline| pipeline.name.as_str());
        Problem::new(StatusCode::NOT_FOUND, no_such_pipeline(name, known))
    })
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct PauseOrder {
    by: Option<String>,
    #[serde(default)]
    reason: String,
}

#[derive(Debug, Serialize)]
pub(super) struct Paused {
    pipeline: String,
    paused: PauseReport,
}

/// The worker takes nothing more from the queue and settles what is in hand; `/status` says when that is done.
pub(super) async fn pause(
    State(shared): State<Arc<Shared>>,
    Extension(peer): Extension<Peer>,
    Path(name): Path<String>,
    body: Bytes,
) -> Result<Json<Paused>, Problem> {
    let order = if body.is_empty() { Ok(PauseOrder::default()) } else { serde_json::from_slice(&body) };
    let order: PauseOrder = order.map_err(|_| {
        Problem::new(StatusCode::BAD_REQUEST, r#"expected no body, or {"by": "…", "reason": "…"} as JSON"#)
    })?;
    let pipeline = pipeline(&shared, &name)?;
    let by = order.by.filter(|by| !by.trim().is_empty()).unwrap_or_else(|| peer.to_string());
    let pause = Pause::new(Scope::Worker, &by, &order.reason, jiff::Timestamp::now());
    tracing::info!(pipeline = name, %peer, "told to pause: {pause}");
    pipeline.pause(pause.clone());
    Ok(Json(Paused { pipeline: name, paused: PauseReport::of(&pause) }))
}

/// Takes the body, too, so that its limit holds.
pub(super) async fn resume(
    State(shared): State<Arc<Shared>>,
    Extension(peer): Extension<Peer>,
    Path(name): Path<String>,
    query: Result<Query<ResumeQuery>, axum::extract::rejection::QueryRejection>,
    _body: Bytes,
) -> Result<Json<Resumed>, Problem> {
    let Query(query) = query.map_err(|_| {
        Problem::new(StatusCode::BAD_REQUEST, "the only parameter is dead_letter, and it is true or false")
    })?;
    let pipeline = pipeline(&shared, &name)?;
    let (state, pauses) = (pipeline.state().0, pipeline.pauses().borrow().clone());
    if let Some(everywhere) = pauses.all {
        let message = format!("{name} is {everywhere}; `rabbit-sink resume {name} --all` lifts that");
        return Err(Problem::new(StatusCode::CONFLICT, message));
    }
    if state != status::State::Paused && pauses.worker.is_none() {
        let message = format!("{name} is not paused, it is {}: there is nothing to resume", state.name());
        return Err(Problem::new(StatusCode::CONFLICT, message));
    }
    let (order, resumed) = match query.dead_letter {
        true => (Resume::DeadLetter, "dead_letter"),
        false => (Resume::Retry, "retry"),
    };
    pipeline.resume(order);
    let lifted = pipeline.lift();
    let was = lifted.map_or_else(|| state.name().to_owned(), |pause| pause.to_string());
    tracing::info!(pipeline = name, how = resumed, %peer, was, "told to resume");
    Ok(Json(Resumed { pipeline: name, resumed }))
}

pub(super) async fn not_found(uri: Uri) -> Problem {
    let known = "/livez, /readyz, /status, /metrics, POST /pipelines/NAME/pause and POST /pipelines/NAME/resume";
    let path: String = uri.path().chars().take(64).collect();
    Problem::new(StatusCode::NOT_FOUND, format!("there is no {path}; there are {known}"))
}

pub(super) async fn wrong_method(method: Method, uri: Uri) -> Problem {
    let path: String = uri.path().chars().take(64).collect();
    let other = if method == Method::GET { "POST" } else { "GET" };
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, format!("{path} takes {other}"))
}
