//! Alive means moving: when a pipeline stands still although it says that it runs.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::{PipelineStatus, State, WorkerStatus};

/// A running consumer's loop turns at least this often.
const TURN: Duration = Duration::from_secs(60);

impl PipelineStatus {
    /// What stands still in it. Waiting for a database, a broker or somebody's decision is no wedge,
    /// however long it takes: a restart wouldn't help, and would only spend deliveries.
    pub fn wedge(&self, now: Instant) -> Option<String> {
        let consumers = self.consumers();
        let running = consumers.iter().enumerate().filter(|(_, consumer)| consumer.state == State::Running);
        running.into_iter().find_map(|(number, consumer)| {
            let still = now.saturating_duration_since(consumer.turned);
            if still > TURN {
                let still = still.as_secs();
                return Some(format!("consumer {number} says running, but its loop has not turned for {still} s"));
            }
            let (age, hold) = (now.saturating_duration_since(consumer.oldest_unsettled?), self.hold());
            let (age_s, hold_s) = (age.as_secs(), hold.as_secs());
            (age > hold).then(|| {
                format!(
                    "consumer {number} says running, but its oldest delivery has been unsettled for {age_s} s (hold is {hold_s} s)"
                )
            })
        })
    }
}

impl WorkerStatus {
    /// What stands still, by pipeline: empty as long as a restart would not help.
    pub fn wedged(&self, now: Instant) -> BTreeMap<String, String> {
        self.pipelines().iter().filter_map(|pipeline| Some((pipeline.name.clone(), pipeline.wedge(now)?))).collect()
    }
}
