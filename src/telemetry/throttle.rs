//! Lets through the first few of a line that repeats, then one every ten seconds.
//!
//! Only for lines about single messages and attempts. A change of state is logged always.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// So many pass at once.
const BURST: u32 = 3;
/// After that, one passes every so often; each such time of silence also gives one of the burst back.
const EVERY: Duration = Duration::from_secs(10);

/// A line that may be logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passed {
    /// How many of its kind were not logged since the last that was.
    pub suppressed: u64,
}

/// Says what was left out, and that nothing else was: empty where nothing was left out.
impl fmt::Display for Passed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.suppressed {
            0 => Ok(()),
            1 => f.write_str(" (1 log line suppressed, no messages dropped)"),
            n => write!(f, " ({n} log lines suppressed, no messages dropped)"),
        }
    }
}

#[derive(Debug)]
struct Entry {
    left: u32,
    refilled: Instant,
    suppressed: u64,
}

/// Counts log lines by pipeline and class. Its size is bounded by the config's pipelines times
/// the classes.
#[derive(Debug, Default)]
pub struct Throttle(Mutex<HashMap<&'static str, HashMap<String, Entry>>>);

impl Throttle {
    /// `Some` if a line of this pipeline and class may be logged now.
    pub fn pass(&self, pipeline: &str, class: &'static str) -> Option<Passed> {
        self.pass_at(Instant::now(), pipeline, class)
    }

    /// [`Throttle::pass`] at a given time.
    pub fn pass_at(&self, now: Instant, pipeline: &str, class: &'static str) -> Option<Passed> {
        // A poisoned lock means that another line's caller panicked; the counts are whole all the same.
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let entries = entries.entry(class).or_default();
        let Some(entry) = entries.get_mut(pipeline) else {
            entries.insert(pipeline.to_owned(), Entry { left: BURST - 1, refilled: now, suppressed: 0 });
            return Some(Passed { suppressed: 0 });
        };
        entry.refill(now);
        if entry.left == 0 {
            entry.suppressed += 1;
            return None;
        }
        entry.left -= 1;
        Some(Passed { suppressed: std::mem::take(&mut entry.suppressed) })
    }
}

impl Entry {
    fn refill(&mut self, now: Instant) {
        let periods = now.saturating_duration_since(self.refilled).as_secs() / EVERY.as_secs();
        let gained = u32::try_from(periods).unwrap_or(u32::MAX);
        if self.left.saturating_add(gained) >= BURST {
            self.left = BURST;
            self.refilled = now.max(self.refilled);
        } else {
            self.left += gained;
            self.refilled += EVERY * gained;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(suppressed: u64) -> Option<Passed> {
        Some(Passed { suppressed })
    }

    #[test]
    fn the_first_few_pass_then_one_in_ten_seconds() {
        let (throttle, start) = (Throttle::default(), Instant::now());
        let logged = (0..1000)
            .filter(|&i| throttle.pass_at(start + Duration::from_millis(100 * i), "orders", "decode").is_some());
        // 100 s: three at once, then one at each of the full tens, of which the first few filled the burst up.
        assert_eq!(logged.count(), 3 + 9);
    }

    #[test]
    fn the_next_that_passes_says_how_many_did_not() {
        let (throttle, start) = (Throttle::default(), Instant::now());
        let at = |seconds| throttle.pass_at(start + Duration::from_secs(seconds), "orders", "decode");
        assert_eq!([at(0), at(0), at(0)], [passed(0); 3]);
        assert_eq!([at(0), at(9)], [None; 2]);
        assert_eq!(at(10), passed(2));
        assert_eq!(at(10), None);
        assert_eq!(at(20).unwrap().to_string(), " (1 log line suppressed, no messages dropped)");
        assert_eq!(passed(5).unwrap().to_string(), " (5 log lines suppressed, no messages dropped)");
        assert_eq!(passed(0).unwrap().to_string(), "");
    }

    #[test]
    fn pipelines_and_classes_do_not_share() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        for _ in 0..10 {
            throttle.pass_at(now, "orders", "decode");
        }
        assert_eq!(throttle.pass_at(now, "orders", "decode"), None);
        assert_eq!(throttle.pass_at(now, "orders", "mapping"), passed(0));
        assert_eq!(throttle.pass_at(now, "customers", "decode"), passed(0));
    }

    #[test]
    fn silence_gives_the_burst_back_but_no_more() {
        let (throttle, start) = (Throttle::default(), Instant::now());
        let at = |seconds| throttle.pass_at(start + Duration::from_secs(seconds), "orders", "decode").is_some();
        assert_eq!((0..10).filter(|_| at(0)).count(), 3);
        assert_eq!([at(3600), at(3600), at(3600), at(3600)], [true, true, true, false]);
    }

    #[test]
    fn a_clock_that_seems_to_go_back_harms_nothing() {
        let (throttle, start) = (Throttle::default(), Instant::now() + Duration::from_secs(60));
        assert!(throttle.pass_at(start, "orders", "decode").is_some());
        assert!(throttle.pass_at(start - Duration::from_secs(30), "orders", "decode").is_some());
    }
}
