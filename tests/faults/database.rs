//! What happens to the database.

use super::Fault;

pub const FAULTS: &[Fault] = &[];
