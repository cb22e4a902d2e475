//! What producers send.

use super::Fault;

pub const FAULTS: &[Fault] = &[];
