//! Which batches are traced.

use std::sync::{Mutex, PoisonError};

/// Takes every so manieth batch of those that nobody else has decided about.
#[derive(Debug)]
pub(super) struct Decision {
    share: f64,
    due: Mutex<f64>,
}

impl Decision {
    /// `share` above 0 and at most 1.
    pub(super) fn new(share: f64) -> Self {
        Decision { share, due: Mutex::new(1.0) }
    }

    /// `sampled`: what the publishers have decided, of those messages that carry a trace context.
    pub(super) fn traced(&self, mut sampled: impl Iterator<Item = bool>) -> bool {
        match sampled.next() {
            Some(first) => first || sampled.any(|one| one),
            None => self.own(),
        }
    }

    fn own(&self) -> bool {
        // One number: a poisoned lock has nothing half-written behind it.
        let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        let now = *due >= 1.0;
        *due += self.share - f64::from(u8::from(now));
        now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_hundred(share: f64) -> usize {
        let decision = Decision::new(share);
        (0..100).filter(|_| decision.traced(std::iter::empty())).count()
    }

    #[test]
    fn without_a_context_the_share_decides() {
        assert_eq!((of_hundred(1.0), of_hundred(0.1), of_hundred(0.25), of_hundred(0.001)), (100, 10, 25, 1));
    }

    #[test]
    fn with_a_context_the_publisher_has_decided() {
        let decision = Decision::new(1.0);
        assert!(!decision.traced([false, false].into_iter()));
        assert!(decision.traced([false, true].into_iter()));
        let decision = Decision::new(0.001);
        assert!((0..100).all(|_| decision.traced([true].into_iter())));
    }
}
