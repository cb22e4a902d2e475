//! rabbit-sink moves messages from RabbitMQ queues into SQL tables: nothing lost, nothing written
//! twice, nothing acked before it is committed.
//!
//! ```text
//! rabbitmq ─ delivery ─▶ decode ─ record ─▶ map ─ unit ─▶ batch ─▶ sink ─ outcomes ─▶ settle ─ ack ─▶ rabbitmq
//!                           └────── rejected ──────────────────────────┴─▶ dead_letter ─ confirm ─┘
//! ```

pub mod catalogue;
pub mod config;
pub mod dead_letter;
pub mod digest;
pub mod error;
pub mod message;
pub mod rabbitmq;
pub mod sink;
pub mod status;
