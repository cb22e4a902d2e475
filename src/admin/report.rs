//! What `/status` tells: the worker and its pipelines in one JSON document.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::status::{ConsumerState, Pause, PipelineStatus, State, WorkerStatus};
use crate::summary::Summary;

/// The worker.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The running version.
    pub version: &'static str,
    /// By name.
    pub pipelines: Vec<PipelineReport>,
}

/// One pipeline: its summary so far, and what a summary at the end doesn't have.
#[derive(Clone, Debug, Serialize)]
pub struct PipelineReport {
    /// State, reason and counts.
    #[serde(flatten)]
    pub summary: Summary,
    /// Deliveries received, repeats included.
    pub deliveries: u64,
    /// What somebody has ordered.
    pub pauses: Vec<PauseReport>,
    /// What the worker promises for this pipeline, once it knows the database.
    pub guarantee: Option<String>,
    /// Ready messages in the queue when last asked.
    pub queue_ready: Option<u64>,
    /// Deliveries received and not yet acked.
    pub unsettled: usize,
    /// Age of the oldest of them.
    pub oldest_unsettled_seconds: Option<f64>,
    /// In the order of their numbers.
    pub consumers: Vec<ConsumerReport>,
}

/// An order to pause.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PauseReport {
    /// `worker`: this process; `all`: every replica.
    pub scope: &'static str,
    /// Whoever gave it, as they call themselves.
    pub by: String,
    /// Why; empty where none was given.
    pub reason: String,
    /// When, RFC 3339.
    pub since: String,
}

impl PauseReport {
    pub(super) fn of(pause: &Pause) -> Self {
        PauseReport {
            scope: pause.scope.name(),
            by: pause.by.clone(),
            reason: pause.reason.clone(),
            since: format!("{:.0}", pause.since),
        }
    }
}

/// One consumer.
#[derive(Clone, Debug, Serialize)]
pub struct ConsumerReport {
    /// What it does.
    pub state: State,
    /// Why, where that isn't obvious.
    pub reason: Option<String>,
    /// For how long.
    pub state_seconds: f64,
    /// Since its loop last turned.
    pub turned_seconds: f64,
    /// Deliveries received and not yet acked.
    pub unsettled: usize,
    /// Age of the oldest of them.
    pub oldest_unsettled_seconds: Option<f64>,
}

impl Report {
    /// The worker at `now`.
    pub fn of(status: &WorkerStatus, now: Instant) -> Self {
        Report {
            version: env!("CARGO_PKG_VERSION"),
            pipelines: status.pipelines().iter().map(|pipeline| PipelineReport::of(pipeline, now)).collect(),
        }
    }
}

impl PipelineReport {
    fn of(status: &PipelineStatus, now: Instant) -> Self {
        PipelineReport {
            summary: Summary::of(status, now),
            deliveries: status.deliveries.get(),
            pauses: status.pauses().borrow().iter().map(PauseReport::of).collect(),
            guarantee: status.guarantee.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            queue_ready: status.ready(),
            unsettled: status.unsettled(),
            oldest_unsettled_seconds: status.oldest_unsettled().map(|arrived| seconds(arrived, now)),
            consumers: status.consumers().iter().map(|consumer| ConsumerReport::of(consumer, now)).collect(),
        }
    }
}

impl ConsumerReport {
    fn of(consumer: &ConsumerState, now: Instant) -> Self {
        ConsumerReport {
            state: consumer.state,
            reason: consumer.reason.as_ref().map(|reason| reason.text.clone()),
            state_seconds: seconds(consumer.since, now),
            turned_seconds: seconds(consumer.turned, now),
            unsettled: consumer.unsettled,
            oldest_unsettled_seconds: consumer.oldest_unsettled.map(|arrived| seconds(arrived, now)),
        }
    }
}

/// To the millisecond.
fn seconds(since: Instant, now: Instant) -> f64 {
    let elapsed: Duration = now.saturating_duration_since(since);
    (elapsed.as_secs_f64() * 1000.0).round() / 1000.0
}
