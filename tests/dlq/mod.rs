//! `rabbit-sink dlq`: the real binary on real queues.

mod breaks;
mod edits;
mod files;
mod foreign;
mod looks;
pub mod many;
mod recording;
mod replays;
pub mod scene;
