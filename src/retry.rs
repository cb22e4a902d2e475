//! How long to wait: exponential backoff with jitter. The one place that names the backoff crate.

use std::time::Duration;

use backoff::ExponentialBackoff;
use backoff::backoff::Backoff as _;

/// Waits that double from `initial` to `max`, each within ±50 %, without end.
#[derive(Debug)]
pub struct Backoff(ExponentialBackoff);

impl Backoff {
    /// Starts with about `initial`; never waits longer than `max` plus its jitter.
    pub fn new(initial: Duration, max: Duration) -> Self {
        Backoff(ExponentialBackoff {
            current_interval: initial,
            initial_interval: initial,
            multiplier: 2.0,
            randomization_factor: 0.5,
            max_interval: max,
            // The crate's default gives up after 15 minutes. An outage has no such limit.
            max_elapsed_time: None,
            ..ExponentialBackoff::default()
        })
    }

    /// The next wait.
    pub fn next_wait(&mut self) -> Duration {
        // Without a limit on the elapsed time the crate never answers None; its longest wait is
        // the right answer all the same.
        self.0.next_backoff().unwrap_or(self.0.max_interval)
    }

    /// Starts over: what was tried has worked.
    pub fn reset(&mut self) {
        self.0.reset();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_limit_and_never_end() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));
        let waits: Vec<Duration> = (0..10_000).map(|_| backoff.next_wait()).collect();
        assert!(waits[0] >= Duration::from_millis(50) && waits[0] <= Duration::from_millis(150));
        assert!(waits.iter().skip(20).all(|w| *w >= Duration::from_secs(1) && *w <= Duration::from_secs(3)));
        assert!(waits.windows(2).any(|w| w[0] != w[1]), "without jitter all consumers would come back at once");
    }
}
