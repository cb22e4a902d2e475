//! Pools of consumers: start, rebuild, drain.

use std::sync::Arc;
use std::time::Instant;

use crate::config::Config;
use crate::shutdown::{Phase, Shutdown, reached};
use crate::status::WorkerStatus;
use crate::summary::Summary;

/// What `run` was told.
#[derive(Clone, Debug, Default)]
pub struct RunOptions {
    /// End when the queues are empty.
    pub until_empty: bool,
    /// Pipelines whose marker row may be replaced.
    pub adopt: Vec<String>,
}

/// Placeholder in this branch.
pub async fn run(
    _config: Arc<Config>,
    options: RunOptions,
    status: WorkerStatus,
    mut shutdown: Shutdown,
) -> Vec<Summary> {
    if !options.until_empty {
        reached(&mut shutdown, Phase::Drain).await;
    }
    for pipeline in status.pipelines.values() {
        for consumer in 0..pipeline.consumers().len() {
            pipeline.update(consumer, |entry| entry.state = crate::status::State::Done);
        }
    }
    Summary::all(&status, Instant::now())
}
