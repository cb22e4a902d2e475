//! rabbit-sink moves messages from RabbitMQ queues into SQL tables: nothing lost, nothing written
//! twice, nothing acked before it is committed.
//!
//! ```text
//! rabbitmq ─ delivery ─▶ decode ─ record ─▶ map ─ unit ─▶ batch ─▶ sink ─ outcomes ─▶ settle ─ ack ─▶ rabbitmq
//!                           └────── rejected ──────────────────────────┴─▶ dead_letter ─ confirm ─┘
//! ```
//!
//! Most people run the program of the same name. To run a worker inside a program of your own, read a
//! config and [`run`] it; the config is the one of the program, and so are its guarantees:
//!
//! ```no_run
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let config = rabbit_sink::load("rabbit-sink.toml".as_ref(), &rabbit_sink::process_environment())?;
//! let summaries = rabbit_sink::run(config, async { tokio::signal::ctrl_c().await.unwrap_or_default() }).await;
//! for summary in summaries {
//!     println!("{}", summary.line());
//! }
//! # Ok(())
//! # }
//! ```
//!
//! - [`load`] and [`load_str`] make a [`Config`], or say all of its mistakes at once ([`ConfigErrors`]).
//! - [`Worker`] has the choices of `rabbit-sink run`, and [`Worker::watch`] a handle for states, counts,
//!   metrics and `resume` while it runs.
//! - [`Summary`] is what becomes of a pipeline, [`State`] what it is doing.
//!
//! `examples/embedded.rs` is a whole program. What stands at this page is the library's API and follows
//! Semantic Versioning, once 1.0 is there; modules that this page doesn't list are public for the program
//! and its tests, and may change in any version. There is no unstable feature in them that a config lacks.

mod embed;

pub use config::{Config, ConfigErrors, ConfigProblem, load, load_str, process_environment};
pub use embed::{Watch, Worker, run};
pub use status::{Resume, State};
pub use summary::Summary;

#[doc(hidden)]
pub mod admin;
#[doc(hidden)]
pub mod batch;
#[doc(hidden)]
pub mod cases;
#[doc(hidden)]
pub mod catalogue;
#[doc(hidden)]
pub mod checks;
#[doc(hidden)]
pub mod cli;
pub mod config;
#[doc(hidden)]
pub mod dead_letter;
#[doc(hidden)]
pub mod decode;
#[doc(hidden)]
pub mod digest;
#[doc(hidden)]
pub mod error;
#[doc(hidden)]
pub mod guarantee;
#[doc(hidden)]
pub mod infer;
#[doc(hidden)]
pub mod mapping;
#[doc(hidden)]
pub mod message;
mod nearest;
mod pipeline;
#[doc(hidden)]
pub mod plan;
#[doc(hidden)]
pub mod policy;
#[doc(hidden)]
pub mod rabbitmq;
#[doc(hidden)]
pub mod retry;
#[doc(hidden)]
pub mod sample;
#[doc(hidden)]
pub mod shutdown;
#[doc(hidden)]
pub mod sink;
#[doc(hidden)]
pub mod status;
#[doc(hidden)]
pub mod summary;
#[doc(hidden)]
pub mod supervisor;
#[doc(hidden)]
pub mod telemetry;
#[doc(hidden)]
pub mod value;
#[doc(hidden)]
pub mod writer;
