//! `rabbit-sink dlq`: the real binary on real queues.

mod breaks;
mod edits;
mod files;
mod foreign;
mod looks;
mod many;
mod recording;
mod replays;
mod scene;
