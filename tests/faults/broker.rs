//! What happens to the broker and its queues.

use super::Fault;

pub const FAULTS: &[Fault] = &[];
