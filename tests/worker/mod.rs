//! The worker's life: how it starts, what it tells, how it ends.

mod ending;
pub mod scene;
mod telling;
