//! What every database must do for the worker, on real servers: one suite for all of them
//! (`sinks/exercise.rs`), and for each what is its own.
//!
//! The servers' URLs stand in RABBIT_SINK_TEST_POSTGRES_URL and the like, with a login that may
//! create databases and roles. A URL that isn't set is a failure, never a test left out.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "sinks/fixture.rs"]
mod fixture;

#[macro_use]
#[path = "sinks/exercise.rs"]
mod exercise;

#[path = "sinks/exercise_around.rs"]
mod exercise_around;

#[cfg(feature = "postgres")]
#[path = "sinks/postgres.rs"]
mod postgres;

#[cfg(feature = "postgres")]
#[path = "sinks/postgres_only.rs"]
mod postgres_only;
