//! Waiting for what takes time, and names that nothing else uses.

use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

/// For anything that a loaded machine needs time for. It ends a hang; no test runs into it.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Looks until `check` holds; past the deadline the test fails and says what it waited for.
pub async fn eventually(deadline: Duration, what: &str, check: impl AsyncFnMut() -> bool) {
    assert!(holds_within(deadline, check).await, "waited {deadline:?} in vain until {what}");
}

/// Looks until `check` holds; `false` past the deadline.
pub async fn holds_within(deadline: Duration, mut check: impl AsyncFnMut() -> bool) -> bool {
    let end = Instant::now() + deadline;
    loop {
        if check().await {
            return true;
        }
        if Instant::now() >= end {
            return false;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// A number that no other test process has either.
pub fn random() -> u64 {
    RandomState::new().hash_one(std::process::id())
}

/// `PREFIX_1a2b3c4d`: a name for a queue or a database that only this test uses.
pub fn unique_name(prefix: &str) -> String {
    format!("{prefix}_{:08x}", random() & 0xffff_ffff)
}
