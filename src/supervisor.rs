//! Pools of consumers: start, rebuild, drain.
//!
//! Each consumer has a task that brings it to life again and again: the database first, then the
//! broker and the queues, and only then a subscription, so that a worker beside a dead database
//! never spends a delivery.

mod attach;
mod hindrance;
mod keeper;
mod letter_box;
mod letters;
mod pauses;
mod pool;
mod prune;

use std::sync::Arc;
use std::time::Instant;

use tokio::task::JoinSet;

use crate::config::{self, Config};
use crate::error::{ErrorClass, Failure};
use crate::shutdown::{Phase, Shutdown, reached};
use crate::sink::{self, Database};
use crate::status::{Reason, State, WorkerStatus};
use crate::summary::Summary;
use crate::telemetry::traces::Traces;
use pool::Pool;

/// What `run` was told.
#[derive(Clone, Debug, Default)]
pub struct RunOptions {
    /// End when the queues are empty.
    pub until_empty: bool,
    /// Pipelines whose marker row may be replaced.
    pub adopt: Vec<String>,
}

/// Makes the database that a config names: [`sink::open`], or what an embedding program puts in its
/// place.
pub type Open<'a> = &'a (dyn Fn(&config::Database) -> Result<Arc<dyn Database>, Failure> + Sync);

/// Runs all pipelines until they are told to stop, or, with `until_empty`, until they are done.
/// From the first signal on, `shutdown_timeout` bounds it.
pub async fn run(config: Arc<Config>, options: RunOptions, status: WorkerStatus, shutdown: Shutdown) -> Vec<Summary> {
    run_on(&sink::open, config, options, status, shutdown).await
}

/// As [`run`], on databases of the caller's making. `open` is called once for each pipeline and once more for each
/// database, at the start; a failure of it pauses that pipeline.
pub async fn run_on(
    open: Open<'_>,
    config: Arc<Config>,
    options: RunOptions,
    status: WorkerStatus,
    shutdown: Shutdown,
) -> Vec<Summary> {
    let traces = traces(&config);
    let mut tasks = JoinSet::new();
    for name in config.pipelines.keys() {
        match Pool::new(open, &config, name, &options, &status, traces.as_ref()) {
            Ok(pool) => pool.start(&mut tasks, &shutdown),
            Err(failure) => {
                if let Some(pipeline) = status.pipeline(name) {
                    for index in 0..pipeline.consumers().len() {
                        pipeline.update(index, |entry| entry.enter(name, State::Paused, Some(Reason::from(&failure))));
                    }
                }
            }
        }
    }
    let _polled = pauses::keep_polled(open, &config, &status, &shutdown);
    let mut stopping = shutdown.clone();
    let patience = async {
        reached(&mut stopping, Phase::Drain).await;
        tokio::time::timeout(config.worker.shutdown_timeout, reached(&mut stopping, Phase::Abort)).await.ok();
    };
    tokio::select! {
        () = async { while tasks.join_next().await.is_some() {} } => {}
        () = patience => tracing::warn!("not everything was settled in time; what is left goes back to the broker"),
    }
    if let Some(traces) = traces {
        traces.stop().await;
    }
    Summary::all(&status, Instant::now())
}

/// A worker without its traces still does its work.
fn traces(config: &Config) -> Option<Arc<Traces>> {
    match Traces::start(config.traces.as_ref()?) {
        Ok(traces) => Some(Arc::new(traces)),
        Err(why) => {
            tracing::warn!("no traces: {why}");
            None
        }
    }
}

/// Why a consumer can't be subscribed now, and what that makes of its state.
#[derive(Debug)]
pub(crate) struct Obstacle {
    state: State,
    reason: Reason,
}

impl Obstacle {
    /// The database's side.
    fn sink(failure: &Failure) -> Self {
        let state = match failure.class {
            ErrorClass::SinkUnavailable | ErrorClass::SinkContention => State::Holding,
            ErrorClass::Config
            | ErrorClass::SourceLost
            | ErrorClass::Decode
            | ErrorClass::Mapping
            | ErrorClass::IdConflict
            | ErrorClass::RowRejected
            | ErrorClass::SinkMisconfigured
            | ErrorClass::DeadLetterFailed
            | ErrorClass::Unknown => State::Paused,
        };
        Obstacle { state, reason: failure.into() }
    }

    pub(crate) fn holding(reason: Reason) -> Self {
        Obstacle { state: State::Holding, reason }
    }

    pub(crate) fn paused(reason: Reason) -> Self {
        Obstacle { state: State::Paused, reason }
    }

    pub(crate) fn source(failure: &Failure) -> Self {
        Obstacle { state: State::Reconnecting, reason: failure.into() }
    }
}
