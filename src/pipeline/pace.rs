//! How much is taken from the queue: prefetch by measured sizes, rows by the second.

use std::time::Duration;

use tokio::time::Instant;

use crate::config;

/// Where sizes aren't known yet.
const FIRST_PREFETCH: u16 = 50;

/// AMQP has no prefetch in bytes, so the number of messages follows their measured size.
#[derive(Debug)]
pub(super) struct Pace {
    current: u16,
    most: u16,
    max_unacked_bytes: usize,
    /// Moving average of body sizes in bytes.
    mean: f64,
    /// Subscribing anew would give up the turn on the queue.
    fixed: bool,
    /// Deliveries since the last change.
    seen: u32,
    interval_per_row: Duration,
    next_batch: Option<Instant>,
}

/// Bytes of as many batches as the prefetch holds of small messages: of large ones more would wait for nothing.
fn in_batches(config: &config::Pipeline) -> usize {
    let rows = config.batch.max_rows.max(1);
    (config.batch.max_bytes / rows).saturating_mul(usize::from(config.prefetch)).max(config.batch.max_bytes)
}

impl Pace {
    pub(super) fn new(config: &config::Pipeline) -> Self {
        // Even if all of the first ones are as large as allowed, they fit.
        let certain = config.limits.max_unacked_bytes / config.limits.max_body.max(1);
        let certain = u16::try_from(certain).unwrap_or(u16::MAX).max(1);
        // Where it can't be changed, it has to be right at once.
        let fixed = config.single_active_consumer;
        let first = if fixed { certain } else { certain.min(FIRST_PREFETCH) };
        let rate = f64::from(config.limits.max_rows_per_second) / f64::from(config.consumers);
        // What is taken must have its turn well before it would have to be given back.
        let in_time = if rate > 0.0 { rate * config.retry.hold.as_secs_f64() / 2.0 } else { f64::INFINITY };
        let most = config.prefetch.min(in_time.min(f64::from(u16::MAX)) as u16).max(1);
        Pace {
            current: first.min(most),
            most,
            fixed,
            max_unacked_bytes: config.limits.max_unacked_bytes.min(in_batches(config)),
            mean: 0.0,
            seen: 0,
            interval_per_row: if rate > 0.0 { Duration::from_secs_f64(1.0 / rate) } else { Duration::ZERO },
            next_batch: None,
        }
    }

    pub(super) fn prefetch(&self) -> u16 {
        self.current
    }

    pub(super) fn observe(&mut self, bytes: usize) {
        let bytes = bytes as f64;
        // A sudden giant counts at once, small ones bring the mean down slowly.
        let weight = if bytes > self.mean { 0.5 } else { 0.02 };
        self.mean = if self.seen == 0 && self.mean == 0.0 { bytes } else { self.mean + weight * (bytes - self.mean) };
        self.seen = self.seen.saturating_add(1);
    }

    /// The prefetch to change to, if it is worth subscribing anew. Widens eightfold at most after
    /// as many messages as the current prefetch, narrows at once.
    pub(super) fn change(&mut self) -> Option<u16> {
        if self.fixed || self.seen == 0 {
            return None;
        }
        let fits = (self.max_unacked_bytes as f64 / self.mean.max(1.0)).min(f64::from(u16::MAX)) as u16;
        let wanted = fits.clamp(1, self.most);
        let wider = wanted >= self.current.saturating_mul(2) || (wanted == self.most && wanted > self.current);
        let widen = wider && self.seen >= u32::from(self.current);
        // A little too much is worth no new subscription.
        let narrow = wanted < self.current - self.current / 4;
        if !(widen || narrow) {
            return None;
        }
        self.current = wanted.min(self.current.saturating_mul(8));
        self.seen = 0;
        Some(self.current)
    }

    /// The most rows that one batch may have, so that a second's worth isn't exceeded.
    pub(super) fn max_rows(&self) -> usize {
        if self.interval_per_row.is_zero() {
            return usize::MAX;
        }
        (1.0 / self.interval_per_row.as_secs_f64()).max(1.0) as usize
    }

    /// When the next batch may be written; `None`: now.
    pub(super) fn next_batch(&self) -> Option<Instant> {
        self.next_batch
    }

    /// A batch of so many rows is on its way.
    pub(super) fn spend(&mut self, now: Instant, rows: usize) {
        if !self.interval_per_row.is_zero() {
            let from = self.next_batch.map_or(now, |at| at.max(now));
            self.next_batch =
                Some(from + self.interval_per_row.saturating_mul(u32::try_from(rows).unwrap_or(u32::MAX)));
        }
    }
}
