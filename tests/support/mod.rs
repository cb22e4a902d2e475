//! What tests stand on: private servers, a proxy, a producer, the worker itself, and an accountant
//! who says afterwards whether every message is where it belongs.
//!
//! Nothing here depends on speed: whatever takes time is waited for with [`wait::eventually`],
//! whose deadlines are there to end a hang, not to measure. A server that can't be reached fails
//! the test; nothing is skipped.

// Every test binary that includes this module uses a part of it.
#![allow(dead_code, unused_imports)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod accountant;
pub mod broker;
pub mod database;
pub mod process;
pub mod proxy;
pub mod servers;
pub mod wait;
pub mod worker;

pub use accountant::{Accountant, Report};
pub use broker::{Broker, Message};
pub use database::{TestDatabase, rows};
pub use proxy::Proxy;
pub use servers::{Mysql, Postgres, Rabbitmq};
pub use wait::{eventually, unique_name};
pub use worker::Worker;
