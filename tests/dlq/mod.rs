//! `rabbit-sink dlq`: the real binary on real queues.

mod breaks;
mod edits;
mod files;
pub mod filters;
mod foreign;
mod looks;
pub mod many;
mod recording;
mod rehearsals;
mod replays;
pub mod scene;
mod terminal;
