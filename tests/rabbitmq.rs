//! The broker's side against a real RabbitMQ.
//!
//! `RABBIT_SINK_TEST_AMQP_URL` names it (a user who may configure, write and read everything in
//! the vhost), `RABBIT_SINK_TEST_RABBITMQCTL` is a command that runs `rabbitmqctl` against its
//! node. Without them these tests fail: a test that is skipped proves nothing.

// Helpers of tests are tests; the lint knows the annotated functions only.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "rabbitmq/connect.rs"]
mod connect;
#[path = "rabbitmq/consume.rs"]
mod consume;
#[path = "rabbitmq/publish.rs"]
mod publish;
#[path = "rabbitmq/rotation.rs"]
mod rotation;
#[path = "rabbitmq/server.rs"]
mod server;
