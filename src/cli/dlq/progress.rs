//! How far a long pass has come: one line on a terminal, written over and over; nothing elsewhere.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// How often the line is written.
const EVERY: Duration = Duration::from_millis(200);
/// What is over sooner needs no line.
const SOON: Duration = Duration::from_millis(500);

/// Dropped, it clears its line.
pub(super) struct Progress {
    label: String,
    total: u64,
    done: u64,
    begun: Instant,
    shown: Option<Instant>,
    visible: bool,
}

impl Progress {
    pub(super) fn new(label: &str, total: u64) -> Self {
        let visible = std::io::stderr().is_terminal();
        Progress { label: label.to_owned(), total, done: 0, begun: Instant::now(), shown: None, visible }
    }

    /// So many more are done.
    pub(super) fn add(&mut self, count: usize) {
        self.at(self.done + count as u64);
    }

    /// So many are done.
    pub(super) fn at(&mut self, done: u64) {
        self.done = done;
        let now = Instant::now();
        let due = match self.shown {
            None => now - self.begun >= SOON,
            Some(shown) => now - shown >= EVERY,
        };
        if self.visible && due {
            self.shown = Some(now);
            write(&format!("\r\x1b[K{}", line(&self.label, self.done, self.total, now - self.begun)));
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown.is_some() {
            write("\r\x1b[K");
        }
    }
}

fn write(text: &str) {
    let mut stderr = std::io::stderr().lock();
    // Nobody is left to tell where stderr is closed.
    drop(stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush()));
}

fn line(label: &str, done: u64, total: u64, elapsed: Duration) -> String {
    if done == 0 {
        return format!("{label}: 0 of {total}");
    }
    let rate = done as f64 / elapsed.as_secs_f64().max(0.001);
    let left = total.saturating_sub(done) as f64 / rate.max(0.001);
    let left = left.round() as u64;
    format!("{label}: {done} of {total}, {rate:.0}/s, {}:{:02} left", left / 60, left % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_and_time_left_are_told() {
        let text = line("looking", 5_000, 65_000, Duration::from_secs(10));
        assert_eq!(text, "looking: 5000 of 65000, 500/s, 2:00 left");
        assert_eq!(line("looking", 0, 9, Duration::from_secs(1)), "looking: 0 of 9", "nobody knows yet");
    }
}
