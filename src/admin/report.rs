//! What `/status` tells: the worker and its pipelines in one JSON document.

use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::status::{ConsumerState, Pause, Peer, PipelineStatus, State, WorkerStatus};
use crate::summary::Summary;
use crate::telemetry;

/// The worker.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The running version.
    pub version: &'static str,
    /// When the config in use was read, RFC 3339.
    pub config_loaded: String,
    /// Why a newer one was refused, while none has been taken since.
    pub config_refused: Option<String>,
    /// Keys that this config has changed and that only a restart can follow.
    pub config_needs_restart: Vec<&'static str>,
    /// Bytes of this process in RAM, where known.
    pub memory_bytes: Option<u64>,
    /// What its control group may have; `null`: no limit, or not known.
    pub memory_limit_bytes: Option<u64>,
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
    /// When it will be empty at the pace of the last two minutes; `null`: not known, or it doesn't shrink.
    pub queue_seconds_to_empty: Option<f64>,
    /// Deliveries received and not yet acked.
    pub unsettled: usize,
    /// Age of the oldest of them.
    pub oldest_unsettled_seconds: Option<f64>,
    /// What stands still although it says that it runs, as `/livez` tells.
    pub wedge: Option<String>,
    /// Dead letters where this pipeline's go.
    pub dead_letters_waiting: Option<u64>,
    /// For how long the oldest has waited; of a queue: since it was last seen empty.
    pub dead_letters_oldest_seconds: Option<f64>,
    /// Entries in the ledger, of all pipelines that share it.
    pub ledger_rows: Option<u64>,
    /// Its bytes, where the server tells.
    pub ledger_bytes: Option<u64>,
    /// By who is on the other side: open connections, and those made after the first one of a consumer.
    pub connections: BTreeMap<&'static str, ConnectionsReport>,
    /// In the order of their numbers.
    pub consumers: Vec<ConsumerReport>,
}

/// Connections to one side.
#[derive(Clone, Debug, Serialize)]
pub struct ConnectionsReport {
    /// Open now.
    pub open: i64,
    /// With work in hand; of the database's only.
    pub busy: i64,
    /// Made after the first one of a consumer.
    pub reconnects: u64,
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
    /// As it is shown.
    pub fn of(pause: &Pause) -> Self {
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
    /// The reason's class, as metrics have it.
    pub class: Option<&'static str>,
    /// The reason's code.
    pub code: Option<String>,
    /// For how long.
    pub state_seconds: f64,
    /// Since its loop last turned.
    pub turned_seconds: f64,
    /// Deliveries received and not yet acked.
    pub unsettled: usize,
    /// Age of the oldest of them.
    pub oldest_unsettled_seconds: Option<f64>,
    /// Deliveries that it has settled.
    pub settled: u64,
}

impl Report {
    /// The worker at `now`.
    pub fn of(status: &WorkerStatus, now: Instant) -> Self {
        let reload = status.reload();
        Report {
            version: env!("CARGO_PKG_VERSION"),
            config_loaded: format!("{:.0}", reload.succeeded),
            config_refused: reload.refused,
            config_needs_restart: reload.needs_restart,
            memory_bytes: telemetry::memory(),
            memory_limit_bytes: telemetry::memory_limit(),
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
            queue_ready: status.lag.ready(now),
            queue_seconds_to_empty: status.lag.seconds_to_empty(now).filter(|seconds| seconds.is_finite()),
            wedge: status.wedge(now),
            dead_letters_waiting: status.stock.letters(now),
            dead_letters_oldest_seconds: status.stock.oldest_letter(now).map(|age| age.as_secs_f64()),
            ledger_rows: status.stock.ledger(now).and_then(|size| size.rows),
            ledger_bytes: status.stock.ledger(now).and_then(|size| size.bytes),
            connections: Peer::ALL.iter().map(|&peer| (peer.name(), ConnectionsReport::of(status, peer))).collect(),
            unsettled: status.unsettled(),
            oldest_unsettled_seconds: status.oldest_unsettled().map(|arrived| seconds(arrived, now)),
            consumers: status.consumers().iter().map(|consumer| ConsumerReport::of(consumer, now)).collect(),
        }
    }
}

impl ConnectionsReport {
    fn of(status: &PipelineStatus, peer: Peer) -> Self {
        let connections = status.connections(peer);
        ConnectionsReport {
            open: connections.open(),
            busy: connections.busy(),
            reconnects: connections.reconnects.get(),
        }
    }
}

impl ConsumerReport {
    fn of(consumer: &ConsumerState, now: Instant) -> Self {
        ConsumerReport {
            state: consumer.state,
            class: consumer.reason.as_ref().map(|reason| reason.class),
            code: consumer.reason.as_ref().map(|reason| reason.code.to_string()),
            reason: consumer.reason.as_ref().map(|reason| reason.text.clone()),
            state_seconds: seconds(consumer.since, now),
            turned_seconds: seconds(consumer.turned, now),
            unsettled: consumer.unsettled,
            oldest_unsettled_seconds: consumer.oldest_unsettled.map(|arrived| seconds(arrived, now)),
            settled: consumer.settled,
        }
    }
}

/// To the millisecond.
fn seconds(since: Instant, now: Instant) -> f64 {
    let elapsed: Duration = now.saturating_duration_since(since);
    (elapsed.as_secs_f64() * 1000.0).round() / 1000.0
}
