//! The worker's life: how it starts, what it tells, how it ends.

mod end;
mod hold;
pub mod scene;
mod until_empty;
