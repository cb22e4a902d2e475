//! Letters may stand in their queue twice, after a crash between confirm and ack: each counts once.

use std::collections::HashSet;

use crate::digest;

/// IDs that are remembered: 16 bytes each, and as much again around them. Beyond, repeats count.
const MAX: usize = 2_000_000;

/// IDs that were seen.
#[derive(Debug, Default)]
pub(super) struct Distinct {
    seen: HashSet<[u8; 16]>,
    /// Letters whose ID had been seen before.
    pub copies: u64,
}

impl Distinct {
    /// The ID wasn't seen before.
    pub(super) fn is_new(&mut self, id: &str) -> bool {
        let id = digest::body_hash(id.as_bytes());
        if self.seen.len() >= MAX {
            return !self.seen.contains(&id);
        }
        let new = self.seen.insert(id);
        self.copies += u64::from(!new);
        new
    }

    /// The ID was seen.
    pub(super) fn has(&self, id: &str) -> bool {
        self.seen.contains(&digest::body_hash(id.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_new_once() {
        let mut seen = Distinct::default();
        assert!(seen.is_new("a") && seen.is_new("b") && !seen.is_new("a"));
        assert_eq!((seen.copies, seen.has("b"), seen.has("c")), (1, true, false));
    }
}
