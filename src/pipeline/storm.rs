//! Notices when rejections are no longer single bad messages but a changed schema: then going on
//! would move the whole queue into the dead-letter queue.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use tokio::sync::watch;

use crate::config::{self, StormAction};
use crate::error::Cause;
use crate::status::Reason;

/// Shared by the consumers of one pipeline.
#[derive(Debug)]
pub(crate) struct Storm {
    window: Mutex<Window>,
    active: watch::Sender<Option<Cause>>,
}

#[derive(Debug)]
struct Window {
    min: usize,
    share: f64,
    action: StormAction,
    size: usize,
    last: VecDeque<Option<Cause>>,
    counts: HashMap<Cause, usize>,
    /// Somebody has said that messages of this cause are to be dead-lettered.
    accepted: Option<Cause>,
}

impl Storm {
    pub(crate) fn new(config: &config::Storm) -> Self {
        // The smallest number of outcomes in which `min` rejections can still be `share` of them.
        let size = (config.min as f64 / config.share).floor().max(config.min as f64) as usize;
        let window = Window {
            min: config.min,
            share: config.share,
            action: config.action,
            size,
            last: VecDeque::with_capacity(size + 1),
            counts: HashMap::new(),
            accepted: None,
        };
        Storm { window: Mutex::new(window), active: watch::Sender::new(None) }
    }

    fn window(&self) -> std::sync::MutexGuard<'_, Window> {
        // The window is whole after each of its own methods, even if a holder panicked.
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes outcomes in the order of the queue (`None`: not rejected) and says whether a storm is
    /// on. Replayed messages are left out by the caller.
    pub(crate) fn record(&self, outcomes: impl Iterator<Item = Option<Cause>>) -> Option<Cause> {
        let mut window = self.window();
        for outcome in outcomes {
            window.push(outcome);
            if self.active.borrow().is_none()
                && let Some(cause) = window.storm()
            {
                self.active.send_replace(Some(cause));
            }
        }
        self.active.borrow().clone()
    }

    /// What its pause is told as.
    pub(crate) fn reason(cause: &Cause) -> Reason {
        let text = format!("storm: nearly all messages are rejected with {cause}");
        Reason::new(cause.class, "storm", text)
    }

    pub(crate) fn active(&self) -> Option<Cause> {
        self.active.borrow().clone()
    }

    /// Changes whenever a storm begins or ends.
    pub(crate) fn watch(&self) -> watch::Receiver<Option<Cause>> {
        self.active.subscribe()
    }

    /// The pause is over and the messages are tried again.
    pub(crate) fn clear(&self) {
        let mut window = self.window();
        window.last.clear();
        window.counts.clear();
        window.accepted = None;
        self.active.send_if_modified(|active| active.take().is_some());
    }

    /// The pause is over and messages of its cause are dead-lettered, as long as they come so thick.
    pub(crate) fn accept(&self) {
        let mut window = self.window();
        // Every consumer hears the order; the first one ends the storm, and the others change nothing.
        if let Some(cause) = self.active.borrow().clone() {
            window.accepted = Some(cause);
        }
        self.active.send_if_modified(|active| active.take().is_some());
    }

    /// Somebody has accepted the last storm, and it still lasts.
    pub(crate) fn accepted(&self) -> bool {
        self.window().accepted.is_some()
    }

    /// Rejections that were counted and go back to the queue without a dead letter: they will be
    /// counted when they come again. Without this, a few bad messages that a dead-letter queue
    /// doesn't take would add up to a storm.
    pub(crate) fn forget(&self, causes: impl Iterator<Item = Cause>) {
        let mut window = self.window();
        if self.active.borrow().is_none() && window.accepted.is_none() {
            causes.for_each(|cause| window.forget(cause));
        }
    }
}

impl Window {
    fn push(&mut self, outcome: Option<Cause>) {
        if let Some(cause) = &outcome {
            *self.counts.entry(cause.clone()).or_default() += 1;
        }
        self.last.push_back(outcome);
        if self.last.len() > self.size
            && let Some(Some(gone)) = self.last.pop_front()
            && let Some(count) = self.counts.get_mut(&gone)
        {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&gone);
            }
        }
        if let Some(accepted) = &self.accepted
            && !self.is_storm(accepted)
        {
            self.accepted = None;
        }
    }

    fn forget(&mut self, cause: Cause) {
        let cause = Some(cause);
        let Some(at) = self.last.iter().rposition(|outcome| *outcome == cause) else { return };
        self.last.remove(at);
        if let Some(count) = cause.as_ref().and_then(|cause| self.counts.get_mut(cause)) {
            *count -= 1;
        }
        self.counts.retain(|_, count| *count > 0);
    }

    fn is_storm(&self, cause: &Cause) -> bool {
        let count = self.counts.get(cause).copied().unwrap_or(0);
        count >= self.min && count as f64 >= self.share * self.last.len() as f64
    }

    fn storm(&self) -> Option<Cause> {
        if self.action == StormAction::DeadLetter {
            return None;
        }
        self.counts.keys().find(|cause| self.accepted.as_ref() != Some(*cause) && self.is_storm(cause)).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorClass;

    fn storm(action: StormAction) -> Storm {
        Storm::new(&config::Storm { min: 100, share: 0.95, action })
    }

    fn bad(column: &str) -> Option<Cause> {
        Some(Cause { class: ErrorClass::Mapping, code: "lossy".into(), column: Some(column.into()) })
    }

    #[test]
    fn a_hundred_of_one_cause_are_a_storm_and_half_is_not() {
        let storm = storm(StormAction::Pause);
        assert_eq!(storm.record((0..99).map(|_| bad("a"))), None);
        assert_eq!(storm.record([bad("a")].into_iter()), bad("a"));
        let storm = self::storm(StormAction::Pause);
        assert_eq!(storm.record((0..10_000).map(|n| if n % 2 == 0 { bad("a") } else { None })), None);
        assert_eq!(storm.record((0..10_000).map(|n| if n % 2 == 0 { bad("a") } else { bad("b") })), None);
    }

    #[test]
    fn good_messages_before_it_do_not_hide_it() {
        let storm = storm(StormAction::Pause);
        storm.record((0..100_000).map(|_| None));
        assert_eq!(storm.record((0..99).map(|_| bad("a"))), None);
        assert_eq!(storm.record((0..1).map(|_| bad("a"))), bad("a"));
    }

    #[test]
    fn clearing_starts_over_and_accepting_lets_this_cause_pass_while_it_lasts() {
        let storm = storm(StormAction::Pause);
        storm.record((0..100).map(|_| bad("a")));
        storm.clear();
        assert_eq!(storm.record((0..99).map(|_| bad("a"))), None);
        assert_eq!(storm.record((0..1).map(|_| bad("a"))), bad("a"));
        storm.accept();
        assert_eq!(storm.record((0..1000).map(|_| bad("a"))), None);
        assert_eq!(storm.record((0..120).map(|_| bad("b"))), bad("b"), "another cause is another storm");
        storm.clear();
        assert_eq!(storm.record((0..100).map(|_| bad("a"))), bad("a"), "after it, the next one pauses again");
    }

    #[test]
    fn the_config_can_let_storms_pass() {
        assert_eq!(storm(StormAction::DeadLetter).record((0..1000).map(|_| bad("a"))), None);
    }
}
