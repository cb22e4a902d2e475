//! Collects units into batches by rows, bytes and linger. Pure: time is handed in.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::config;
use crate::error::Failure;
use crate::message::{Delivery, Unit};

/// A quorum queue's message that has come back so often travels alone, so that it can't take
/// others along if it is what breaks things.
pub const SUSPICIOUS_DELIVERIES: u64 = 10;

/// A delivery after decoding and mapping.
#[derive(Debug)]
// Nearly all are units: boxing them would cost each message an allocation to save the few space.
#[allow(clippy::large_enum_variant)]
pub enum Mapped {
    /// To be written.
    Unit(Unit),
    /// Refused before any database saw it.
    Refused(Box<(Delivery, Failure)>),
}

impl Mapped {
    fn delivery(&self) -> &Delivery {
        match self {
            Mapped::Unit(unit) => &unit.delivery,
            Mapped::Refused(refused) => &refused.0,
        }
    }

    fn suspicious(&self) -> bool {
        self.delivery().envelope.delivery_count() >= SUSPICIOUS_DELIVERIES
    }
}

/// One batch: its units, and the refused deliveries that stood between them, since outcomes are
/// judged in the order of the queue.
#[derive(Debug, Default)]
pub struct Batch {
    /// To be written in one transaction.
    pub units: Vec<Unit>,
    /// To be dead-lettered.
    pub refused: Vec<(Delivery, Failure)>,
    /// Of all their bodies.
    pub bytes: usize,
    /// Arrival of the first of them.
    pub oldest: Option<Instant>,
}

/// Collects. While one batch is being written the next one grows here; without load it is taken
/// as soon as something is in it.
#[derive(Debug)]
pub struct Batcher {
    max_rows: usize,
    max_bytes: usize,
    linger: Duration,
    waiting: VecDeque<Mapped>,
    bytes: usize,
}

impl Batcher {
    /// `rows`: the limit in messages, where narrower than the config's.
    pub fn new(config: &config::Batch, rows: usize) -> Self {
        Batcher {
            max_rows: config.max_rows.min(rows).max(1),
            max_bytes: config.max_bytes,
            linger: config.linger,
            waiting: VecDeque::new(),
            bytes: 0,
        }
    }

    /// Adds a delivery.
    pub fn push(&mut self, mapped: Mapped) {
        self.bytes += mapped.delivery().envelope.body.len();
        self.waiting.push_back(mapped);
    }

    /// There is nothing to take.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// There is a whole batch: taking more from the queue would only fill memory.
    pub fn is_full(&self) -> bool {
        self.waiting.len() >= self.max_rows || self.bytes >= self.max_bytes
    }

    /// There is so much that waiting for more wouldn't make the transaction much cheaper.
    pub fn is_half_full(&self) -> bool {
        self.waiting.len() >= self.max_rows.div_ceil(2) || self.bytes >= self.max_bytes.div_ceil(2)
    }

    /// When the batch is to be taken though it isn't full; `None` while empty.
    pub fn due(&self) -> Option<Instant> {
        self.waiting.front().map(|first| first.delivery().arrived + self.linger)
    }

    /// Takes the next batch if it is full or due, or if `now_or_never`.
    pub fn take(&mut self, now: Instant, now_or_never: bool) -> Option<Batch> {
        let due = self.due()? <= now;
        if !(due || now_or_never || self.is_full()) {
            return None;
        }
        let mut batch =
            Batch { oldest: self.waiting.front().map(|first| first.delivery().arrived), ..Batch::default() };
        let mut bytes = 0;
        while let Some(next) = self.waiting.front() {
            let size = next.delivery().envelope.body.len();
            let taken = batch.units.len() + batch.refused.len();
            let full = taken >= self.max_rows || bytes + size > self.max_bytes;
            if taken > 0 && (full || next.suspicious()) {
                break;
            }
            let alone = next.suspicious();
            bytes += size;
            match self.waiting.pop_front() {
                Some(Mapped::Unit(unit)) => batch.units.push(unit),
                Some(Mapped::Refused(refused)) => batch.refused.push(*refused),
                None => break,
            }
            if alone {
                break;
            }
        }
        self.bytes -= bytes;
        batch.bytes = bytes;
        Some(batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Envelope, HeaderValue};

    fn unit(tag: u64, size: usize, deliveries: i64) -> Mapped {
        let mut envelope = Envelope { body: vec![b'x'; size].into(), ..Envelope::default() };
        if deliveries > 0 {
            envelope.headers.set("x-delivery-count", HeaderValue::I64(deliveries));
        }
        let delivery = Delivery { tag, arrived: Instant::now(), envelope: Box::new(envelope) };
        Mapped::Unit(Unit { delivery, ledger: None, changes: Vec::new(), attempts: 0, letter: None })
    }

    fn batcher(max_rows: usize, max_bytes: usize, linger: Duration) -> Batcher {
        Batcher::new(&config::Batch { max_rows, max_bytes, linger }, usize::MAX)
    }

    fn take(batcher: &mut Batcher) -> Vec<u64> {
        let batch = batcher.take(Instant::now(), false).unwrap_or_default();
        batch.units.iter().map(|unit| unit.delivery.tag).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn rows_and_bytes_bound_a_batch_and_a_giant_travels_alone() {
        let mut batcher = batcher(3, 100, Duration::ZERO);
        for (tag, size) in [(1, 10), (2, 10), (3, 10), (4, 60), (5, 60), (6, 500), (7, 1)] {
            batcher.push(unit(tag, size, 0));
        }
        assert_eq!(take(&mut batcher), [1, 2, 3]);
        assert_eq!(take(&mut batcher), [4]);
        assert_eq!(take(&mut batcher), [5]);
        assert_eq!(take(&mut batcher), [6]);
        assert_eq!(take(&mut batcher), [7]);
        assert!(batcher.is_empty() && batcher.bytes == 0);
    }

    #[tokio::test(start_paused = true)]
    async fn linger_waits_unless_full() {
        let mut batcher = batcher(2, 100, Duration::from_millis(50));
        batcher.push(unit(1, 1, 0));
        assert!(take(&mut batcher).is_empty());
        batcher.push(unit(2, 1, 0));
        assert_eq!(take(&mut batcher), [1, 2]);
        batcher.push(unit(3, 1, 0));
        tokio::time::advance(Duration::from_millis(50)).await;
        assert_eq!(take(&mut batcher), [3]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_came_back_ten_times_travels_alone() {
        let mut batcher = batcher(10, 100, Duration::ZERO);
        for (tag, deliveries) in [(1, 0), (2, 9), (3, 10), (4, 0)] {
            batcher.push(unit(tag, 1, deliveries));
        }
        assert_eq!(take(&mut batcher), [1, 2]);
        assert_eq!(take(&mut batcher), [3]);
        assert_eq!(take(&mut batcher), [4]);
    }
}
