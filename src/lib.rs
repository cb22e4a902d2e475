//! rabbit-sink moves messages from RabbitMQ queues into SQL tables: nothing lost, nothing written
//! twice, nothing acked before it is committed.
//!
//! ```text
//! rabbitmq ─ delivery ─▶ decode ─ record ─▶ map ─ unit ─▶ batch ─▶ sink ─ outcomes ─▶ settle ─ ack ─▶ rabbitmq
//!                           └────── rejected ──────────────────────────┴─▶ dead_letter ─ confirm ─┘
//! ```

pub mod admin;
pub mod catalogue;
pub mod cli;
pub mod config;
pub mod digest;
pub mod error;
pub mod message;
mod nearest;
pub mod rabbitmq;
pub mod shutdown;
pub mod sink;
pub mod status;
pub mod summary;
pub mod supervisor;
pub mod telemetry;
