//! The worker's life: how it starts, what it tells, how it ends.

pub mod scene;
