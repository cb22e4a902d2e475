//! How far behind: the queue's ready messages as they were seen, and how long they will last.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What was seen longer ago says nothing of now.
const FRESH: Duration = Duration::from_secs(60);
/// How far back the pace is taken from.
const WINDOW: Duration = Duration::from_secs(120);
/// Looks that are closer to each other count as one: this bounds what is kept.
const APART: Duration = Duration::from_secs(5);

/// The ready messages of one queue.
#[derive(Debug, Default)]
pub struct Lag {
    looks: Mutex<VecDeque<(Instant, u64)>>,
}

impl Lag {
    /// So many were ready.
    pub fn saw(&self, ready: u64, now: Instant) {
        let mut looks = self.looks();
        while looks.front().is_some_and(|(at, _)| now.saturating_duration_since(*at) > WINDOW) {
            looks.pop_front();
        }
        let before_last = looks.len().checked_sub(2).and_then(|at| looks.get(at)).map(|(at, _)| *at);
        let close = |at: Instant| looks.back().is_some_and(|(last, _)| last.saturating_duration_since(at) < APART);
        if before_last.is_some_and(close) {
            looks.pop_back();
        }
        looks.push_back((now, ready));
    }

    /// Ready messages when last asked; `None`: not asked lately.
    pub fn ready(&self, now: Instant) -> Option<u64> {
        let (at, ready) = *self.looks().back()?;
        (now.saturating_duration_since(at) <= FRESH).then_some(ready)
    }

    /// When the queue will be empty if its ready messages go on to become fewer as they did over the
    /// last two minutes, whoever takes or adds them. Infinite while they don't; `None`: not known.
    pub fn seconds_to_empty(&self, now: Instant) -> Option<f64> {
        let ready = self.ready(now)?;
        if ready == 0 {
            return Some(0.0);
        }
        let looks = self.looks();
        let ((first, before), (last, _)) = (*looks.front()?, *looks.back()?);
        let over = last.saturating_duration_since(first);
        if over < APART {
            return None;
        }
        let fallen = before.saturating_sub(ready);
        Some(if fallen == 0 { f64::INFINITY } else { ready as f64 * over.as_secs_f64() / fallen as f64 })
    }

    fn looks(&self) -> std::sync::MutexGuard<'_, VecDeque<(Instant, u64)>> {
        // Each change leaves a whole list, even if a holder panicked.
        self.looks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks at so many seconds, each with what was ready.
    fn lag(looks: &[(u64, u64)]) -> (Lag, Instant) {
        let (lag, start) = (Lag::default(), Instant::now());
        looks.iter().for_each(|(second, ready)| lag.saw(*ready, start + Duration::from_secs(*second)));
        (lag, start)
    }

    fn seconds(looks: &[(u64, u64)], now: u64) -> Option<f64> {
        let (lag, start) = lag(looks);
        lag.seconds_to_empty(start + Duration::from_secs(now))
    }

    #[test]
    fn the_pace_of_the_last_minutes_goes_on() {
        assert_eq!(seconds(&[(0, 1000), (15, 700)], 15), Some(35.0));
        assert_eq!(seconds(&[(0, 1000), (15, 700), (30, 400)], 30), Some(20.0));
        assert_eq!(seconds(&[(0, 5), (600, 1000), (615, 400)], 615), Some(10.0), "what is long past doesn't count");
    }

    #[test]
    fn what_does_not_fall_never_ends_and_what_is_empty_has() {
        assert_eq!(seconds(&[(0, 1000), (15, 1000)], 15), Some(f64::INFINITY));
        assert_eq!(seconds(&[(0, 1000), (15, 2000)], 15), Some(f64::INFINITY));
        assert_eq!(seconds(&[(0, 1000), (15, 0)], 15), Some(0.0));
    }

    #[test]
    fn one_look_has_no_pace_and_an_old_one_says_nothing() {
        assert_eq!(seconds(&[], 0), None);
        assert_eq!(seconds(&[(0, 10)], 0), None);
        assert_eq!(seconds(&[(0, 10), (15, 5)], 76), None);
        let (lag, start) = lag(&[(0, 7)]);
        assert_eq!(lag.ready(start + Duration::from_secs(60)), Some(7));
        assert_eq!(lag.ready(start + Duration::from_secs(61)), None);
    }

    #[test]
    fn looks_without_end_are_kept_within_bounds() {
        let (lag, start) = (Lag::default(), Instant::now());
        for look in 0..20_000 {
            lag.saw(20_000 - look, start + Duration::from_millis(50 * look));
        }
        assert!(lag.looks().len() <= 27, "{}", lag.looks().len());
        let now = start + Duration::from_millis(50 * 19_999);
        assert_eq!((lag.ready(now), lag.seconds_to_empty(now).map(f64::round)), (Some(1), Some(0.0)));
    }
}
