//! The deliveries of one channel between arrival and ack.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// So long the oldest delivery may keep settled ones behind it from being acked, before they are
/// acked singly. Below it, waiting for one `multiple` ack is cheaper.
const STUCK: Duration = Duration::from_millis(500);

/// An ack to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ack {
    pub tag: u64,
    /// Everything outstanding up to the tag.
    pub multiple: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    Open,
    Settled,
    Acked,
}

#[derive(Debug)]
struct Entry {
    tag: u64,
    arrived: Instant,
    bytes: usize,
    redelivered: bool,
    state: State,
}

/// What a settled delivery was.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settled {
    pub arrived: Instant,
    pub redelivered: bool,
}

/// Outstanding deliveries in the order of their tags. The broker must never be told of a tag
/// twice, nor of one that another channel gave out: entries live and die with their channel.
#[derive(Debug, Default)]
pub(super) struct Settlement {
    entries: VecDeque<Entry>,
    bytes: usize,
    unsettled: usize,
    redelivered: usize,
    /// Since when settled entries wait behind an open one.
    stuck_since: Option<Instant>,
}

impl Settlement {
    pub(super) fn add(&mut self, tag: u64, arrived: Instant, bytes: usize, redelivered: bool) {
        debug_assert!(self.entries.back().is_none_or(|last| last.tag < tag), "tags grow on a channel");
        self.entries.push_back(Entry { tag, arrived, bytes, redelivered, state: State::Open });
        self.bytes += bytes;
        self.unsettled += 1;
        self.redelivered += usize::from(redelivered);
    }

    /// Marks a delivery as settled. `None`: it isn't open, which would be a bug of ours; it is
    /// reported by the caller instead of acking something twice.
    pub(super) fn settle(&mut self, tag: u64) -> Option<Settled> {
        let at = self.entries.binary_search_by_key(&tag, |entry| entry.tag).ok()?;
        let entry = &mut self.entries[at];
        if entry.state != State::Open {
            return None;
        }
        entry.state = State::Settled;
        self.bytes -= entry.bytes;
        self.unsettled -= 1;
        self.redelivered -= usize::from(entry.redelivered);
        Some(Settled { arrived: entry.arrived, redelivered: entry.redelivered })
    }

    /// The acks that are due: one `multiple` for the settled prefix, and single ones for what has
    /// been stuck behind an open delivery (or at once, with `all`).
    pub(super) fn acks(&mut self, now: Instant, all: bool) -> Vec<Ack> {
        let mut acks = Vec::new();
        let mut last = None;
        while self.entries.front().is_some_and(|entry| entry.state != State::Open) {
            if let Some(entry) = self.entries.pop_front()
                && entry.state == State::Settled
            {
                last = Some(entry.tag);
            }
        }
        if let Some(tag) = last {
            acks.push(Ack { tag, multiple: true });
        }
        if !self.entries.iter().any(|entry| entry.state == State::Settled) {
            self.stuck_since = None;
            return acks;
        }
        if all || now >= *self.stuck_since.get_or_insert(now) + STUCK {
            for entry in self.entries.iter_mut().filter(|entry| entry.state == State::Settled) {
                entry.state = State::Acked;
                acks.push(Ack { tag: entry.tag, multiple: false });
            }
            self.stuck_since = None;
        }
        acks
    }

    /// When acks become due by time alone.
    pub(super) fn due(&self) -> Option<Instant> {
        self.stuck_since.map(|since| since + STUCK)
    }

    pub(super) fn unsettled(&self) -> usize {
        self.unsettled
    }

    pub(super) fn unsettled_bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn unsettled_redelivered(&self) -> usize {
        self.redelivered
    }

    /// Nothing is outstanding at the broker.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Arrival of the oldest unsettled delivery.
    pub(super) fn oldest(&self) -> Option<Instant> {
        // Tags grow with time, so the first open entry is the oldest.
        self.entries.iter().find(|entry| entry.state == State::Open).map(|entry| entry.arrived)
    }

    /// What the broker still counts as ours.
    pub(super) fn outstanding_tags(&self) -> Vec<u64> {
        self.entries.iter().filter(|entry| entry.state != State::Acked).map(|entry| entry.tag).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn settlement(tags: u64) -> Settlement {
        let mut settlement = Settlement::default();
        (1..=tags).for_each(|tag| settlement.add(tag, Instant::now(), 10, false));
        settlement
    }

    #[tokio::test(start_paused = true)]
    async fn a_settled_prefix_is_one_ack() {
        let mut settlement = settlement(5);
        for tag in [2, 1, 3] {
            settlement.settle(tag);
        }
        assert_eq!(settlement.acks(Instant::now(), false), [Ack { tag: 3, multiple: true }]);
        assert_eq!(settlement.acks(Instant::now(), false), []);
        assert_eq!((settlement.unsettled(), settlement.unsettled_bytes()), (2, 20));
    }

    #[tokio::test(start_paused = true)]
    async fn behind_a_stuck_one_acks_are_single_and_never_repeated() {
        let mut settlement = settlement(4);
        settlement.settle(2);
        settlement.settle(3);
        assert_eq!(settlement.acks(Instant::now(), false), []);
        tokio::time::advance(STUCK).await;
        let single = |tag| Ack { tag, multiple: false };
        assert_eq!(settlement.acks(Instant::now(), false), [single(2), single(3)]);
        settlement.settle(1);
        assert_eq!(settlement.acks(Instant::now(), false), [Ack { tag: 1, multiple: true }]);
        settlement.settle(4);
        assert_eq!(settlement.acks(Instant::now(), false), [Ack { tag: 4, multiple: true }]);
        assert!(settlement.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_settles_twice() {
        let mut settlement = settlement(1);
        assert!(settlement.settle(1).is_some());
        assert!(settlement.settle(1).is_none());
        assert!(settlement.settle(2).is_none());
    }

    proptest! {
        /// Whatever the order of settling and asking: each tag is acked once, an unsettled one never.
        #[test]
        fn every_tag_is_acked_once(order in Just((1..=40_u64).collect::<Vec<_>>()).prop_shuffle(), asks in proptest::collection::vec(any::<(bool, bool)>(), 40)) {
            let mut settlement = settlement(40);
            let mut settled = std::collections::BTreeSet::new();
            let mut acked = std::collections::BTreeSet::new();
            for (tag, (ask, all)) in order.into_iter().zip(asks) {
                settlement.settle(tag);
                settled.insert(tag);
                if !ask {
                    continue;
                }
                for ack in settlement.acks(Instant::now(), all) {
                    let from = if ack.multiple { 1 } else { ack.tag };
                    prop_assert!(!acked.contains(&ack.tag), "the end tag was acked before");
                    for covered in from..=ack.tag {
                        prop_assert!(settled.contains(&covered), "acked before it was settled");
                        acked.insert(covered);
                    }
                }
            }
            for ack in settlement.acks(Instant::now(), true) {
                acked.extend(if ack.multiple { 1 } else { ack.tag }..=ack.tag);
            }
            prop_assert_eq!(acked.len(), 40);
            prop_assert!(settlement.is_empty());
        }
    }
}
