//! Spans for batches and their commits, which go on with the trace context of the messages in them.
//!
//! A span is made when a batch has been written, out of what is known by then: nothing is carried
//! along meanwhile, and where no traces are wanted there is one look per batch.

use std::time::Duration;

use crate::message::Headers;

#[cfg(feature = "otlp")]
mod client;
#[cfg(feature = "otlp")]
mod decision;
#[cfg(feature = "otlp")]
mod otlp;

#[cfg(feature = "otlp")]
pub use otlp::Traces;

/// A batch that was tried to be written, just now.
#[derive(Clone, Debug)]
pub struct Batch<'a> {
    /// The pipeline's name.
    pub pipeline: &'a str,
    /// Its queue.
    pub queue: &'a str,
    /// Its table.
    pub table: &'a str,
    /// As OpenTelemetry names databases.
    pub database: &'static str,
    /// All in one transaction, one by one, or searched for the bad one.
    pub how: &'static str,
    /// Messages whose transaction committed.
    pub written: usize,
    /// From the arrival of its first message until the writer had it.
    pub waited: Duration,
    /// What the writer needed.
    pub took: Duration,
    /// Class and code of what kept messages from being written.
    pub failure: Option<(&'static str, String)>,
    /// Of each message in it.
    pub headers: Vec<&'a Headers>,
}

/// None in this build: the config refuses `[traces]`.
#[cfg(not(feature = "otlp"))]
#[derive(Debug)]
pub struct Traces(std::convert::Infallible);

#[cfg(not(feature = "otlp"))]
impl Traces {
    /// Never.
    pub fn start(_: &crate::config::Traces) -> Result<Self, String> {
        Err("this binary was built without traces".to_owned())
    }

    /// Never called.
    pub fn batch(&self, _: &Batch<'_>) {
        match self.0 {}
    }

    /// Never called.
    pub async fn stop(&self) {
        match self.0 {}
    }
}
