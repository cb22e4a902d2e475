//! The worker's life: how it starts, what it tells, how it ends.

mod ending;
mod hold;
mod metrics;
mod notify;
mod pace;
mod pause;
mod reload;
pub mod scene;
mod telling;
mod traces;
