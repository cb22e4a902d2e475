//! All tests that need servers, in one binary. `./tests/run.sh` starts the servers that they share.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

mod cases;
mod check;
mod compose;
mod dlq;
mod dlq_table;
mod embedding;
mod explain;
mod faults;
mod faults_broker;
mod faults_database;
mod init;
mod main_job;
mod monitoring;
mod pause_all;
mod places;
mod random_values;
mod restore;
mod rotation;
mod scaling;
mod security;
mod smoke;
mod tls;
mod values;
mod verdicts;
mod versions;
mod worker;
