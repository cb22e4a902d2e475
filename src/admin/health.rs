//! Alive means moving, ready means reading: decided from what the consumers say of themselves.

use std::collections::BTreeMap;
use std::time::Instant;

use serde::Serialize;

use crate::status::{PipelineStatus, State, WorkerStatus};

/// The answer of `/livez`.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Liveness {
    pub live: bool,
    /// By pipeline: what stands still.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub wedged: BTreeMap<String, String>,
}

/// The answer of `/readyz`.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Readiness {
    pub ready: bool,
    /// Those that aren't ready, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub pipelines: BTreeMap<String, NotReady>,
}

/// Why a pipeline isn't ready.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct NotReady {
    pub state: State,
    pub reason: Option<String>,
}

/// Whether a restart would help. It wouldn't where the database, the broker or somebody's decision
/// is waited for, however long that takes; a restart would only spend deliveries.
pub(super) fn liveness(status: &WorkerStatus, now: Instant) -> Liveness {
    let wedged = status.wedged(now);
    Liveness { live: wedged.is_empty(), wedged }
}

/// Whether every pipeline reads, or has ended.
pub(super) fn readiness(status: &WorkerStatus) -> Readiness {
    let not_ready = |pipeline: &PipelineStatus| match pipeline.state() {
        (State::Running | State::Done, _) => None,
        (state, reason) => Some(NotReady { state, reason: reason.map(|reason| reason.text) }),
    };
    let pipelines: BTreeMap<String, NotReady> =
        status.pipelines().iter().filter_map(|p| Some((p.name.clone(), not_ready(p)?))).collect();
    Readiness { ready: pipelines.is_empty(), pipelines }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn worker(state: State, turned: u64, oldest: Option<u64>) -> (WorkerStatus, Instant) {
        let pipeline = PipelineStatus::new("orders", 2).with_hold(Duration::from_secs(120));
        // Times are counted from an hour before `now`, since an Instant can't always go back.
        let now = pipeline.started + Duration::from_secs(3600);
        let ago = |seconds: u64| now - Duration::from_secs(seconds);
        pipeline.update(0, |consumer| {
            consumer.state = State::Running;
            consumer.turned = now;
        });
        pipeline.update(1, |consumer| {
            consumer.state = state;
            consumer.turned = ago(turned);
            consumer.oldest_unsettled = oldest.map(ago);
        });
        (WorkerStatus::with([pipeline]), now)
    }

    fn live(state: State, turned: u64, oldest: Option<u64>) -> bool {
        let (status, now) = worker(state, turned, oldest);
        liveness(&status, now).live
    }

    #[test]
    fn a_running_loop_must_turn() {
        assert!(live(State::Running, 60, None));
        assert!(!live(State::Running, 61, None));
    }

    #[test]
    fn a_running_consumer_must_settle_within_hold() {
        assert!(live(State::Running, 0, Some(120)));
        assert!(!live(State::Running, 0, Some(121)));
    }

    #[test]
    fn waiting_is_no_reason_for_a_restart() {
        for state in [State::Starting, State::Reconnecting, State::Holding, State::Paused, State::Draining, State::Done]
        {
            assert!(live(state, 3000, Some(3000)), "{state:?}");
        }
    }

    #[test]
    fn a_wedge_says_who_and_for_how_long() {
        let (status, now) = worker(State::Running, 75, None);
        assert_eq!(
            liveness(&status, now).wedged["orders"],
            "consumer 1 says running, but its loop has not turned for 75 s"
        );
        let (status, now) = worker(State::Running, 0, Some(500));
        let said = &liveness(&status, now).wedged["orders"];
        assert!(said.ends_with("unsettled for 500 s (hold is 120 s)"), "{said}");
    }

    #[test]
    fn ready_is_running_or_done() {
        for state in State::ALL {
            let (status, _) = worker(state, 0, None);
            assert_eq!(readiness(&status).ready, matches!(state, State::Running | State::Done), "{state:?}");
        }
    }
}
