//! rabbit-sink moves messages from RabbitMQ queues into SQL tables: nothing lost, nothing written
//! twice, nothing acked before it is committed.
//!
//! ```text
//! rabbitmq ─ delivery ─▶ decode ─ record ─▶ map ─ unit ─▶ batch ─▶ sink ─ outcomes ─▶ settle ─ ack ─▶ rabbitmq
//!                           └────── rejected ──────────────────────────┴─▶ dead_letter ─ confirm ─┘
//! ```

pub mod admin;
pub mod batch;
pub mod cases;
pub mod catalogue;
pub mod checks;
pub mod cli;
pub mod config;
pub mod dead_letter;
pub mod decode;
pub mod digest;
pub mod error;
pub mod guarantee;
pub mod infer;
pub mod mapping;
pub mod message;
mod nearest;
mod pipeline;
pub mod plan;
pub mod policy;
pub mod rabbitmq;
pub mod retry;
pub mod sample;
pub mod shutdown;
pub mod sink;
pub mod status;
pub mod summary;
pub mod supervisor;
pub mod telemetry;
pub mod value;
pub mod writer;
