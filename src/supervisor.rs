//! Pools of consumers: start, rebuild, drain.
//!
//! Each consumer has a task that brings it to life again and again: the database first, then the
//! broker and the queues, and only then a subscription, so that a worker beside a dead database
//! never spends a delivery.

mod attach;
mod fleet;
mod hindrance;
mod keeper;
mod letter_box;
mod letters;
mod pauses;
mod pool;
mod prune;

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::watch;

use crate::config::{self, Config};
use crate::error::{ErrorClass, Failure};
use crate::rabbitmq::Rabbitmq;
use crate::shutdown::Shutdown;
use crate::sink::{self, Database};
use crate::status::{Reason, State, WorkerStatus};
use crate::summary::Summary;
use crate::telemetry::traces::Traces;
use fleet::Fleet;

/// What `run` was told.
#[derive(Clone, Debug, Default)]
pub struct RunOptions {
    /// End when the queues are empty.
    pub until_empty: bool,
    /// Pipelines whose marker row may be replaced.
    pub adopt: Vec<String>,
    /// Configs to go on with, as they come; none under `until_empty`. [`check`] them first.
    pub reloads: Option<watch::Receiver<Arc<Config>>>,
}

/// Makes the database that a config names: [`sink::open`], or what an embedding program puts in its
/// place.
pub type Open<'a> = &'a (dyn Fn(&config::Database) -> Result<Arc<dyn Database>, Failure> + Sync);

/// Runs all pipelines until they are told to stop, or, with `until_empty`, until they are done.
/// From the first signal on, `shutdown_timeout` bounds it.
pub async fn run(config: Arc<Config>, options: RunOptions, status: WorkerStatus, shutdown: Shutdown) -> Vec<Summary> {
    run_on(&sink::open, config, options, status, shutdown).await
}

/// Whether the databases and brokers of a config could be used at all: nothing is connected to.
///
/// # Errors
/// The first failure, class `config`.
pub fn check(config: &Config) -> Result<(), Failure> {
    config.databases.values().try_for_each(|database| sink::open(database).map(|_| ()))?;
    config.brokers.values().try_for_each(|broker| Rabbitmq::new(broker).map(|_| ()))
}

/// As [`run`], on databases of the caller's making. `open` is called once for each pipeline and once more for each
/// database, at the start and at each reload; a failure of it pauses that pipeline.
pub async fn run_on(
    open: Open<'_>,
    config: Arc<Config>,
    options: RunOptions,
    status: WorkerStatus,
    shutdown: Shutdown,
) -> Vec<Summary> {
    let traces = traces(&config);
    Fleet::new(open, config, options, status.clone(), traces.clone(), shutdown).run().await;
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
