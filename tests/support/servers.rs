//! Servers that a test has for itself: it may stop, kill and freeze them, and start them again on
//! the same port with the same data.
//!
//! ```ignore
//! let mut postgres = Postgres::start().await;
//! postgres.kill();              // kill -9
//! postgres.restart().await;     // same port, same data
//! postgres.pause();             // SIGSTOP to all of its processes
//! ```

pub mod mysql;
pub mod pgbouncer;
pub mod postgres;
mod programs;
pub mod rabbitmq;

use std::path::{Path, PathBuf};
use std::process::Command;

pub use mysql::{Flavour, Mysql};
pub use pgbouncer::Pgbouncer;
pub use postgres::{Postgres, PostgresOptions};
pub use rabbitmq::{Epmd, Rabbitmq, RabbitmqOptions, Schedulers, ctl as rabbitmqctl};

use super::process::run;
use programs::Programs;

/// Where fresh data folders lie that a test copies instead of making its own each time.
pub const TEMPLATES: &str = "RABBIT_SINK_TEST_TEMPLATES";

/// Copies a template's folder, if there are templates.
fn copy_template(name: &str, to: &Path) -> bool {
    let Some(template) = std::env::var_os(TEMPLATES).map(|folder| PathBuf::from(folder).join(name)) else {
        return false;
    };
    run(Command::new("cp").arg("-a").arg(template).arg(to));
    true
}

/// Folders with another release in them, whose server is to be started instead of this machine's.
pub const RABBITMQ_ROOT: &str = "RABBIT_SINK_TEST_RABBITMQ_ROOT";
pub const POSTGRES_ROOT: &str = "RABBIT_SINK_TEST_POSTGRES_ROOT";
pub const MYSQL_ROOT: &str = "RABBIT_SINK_TEST_MYSQL_ROOT";

fn not_installed(name: &str) -> ! {
    panic!("{name} is not installed; ./tests/install.sh installs what is missing")
}

/// Where most tests find their broker.
pub fn shared_amqp_url() -> String {
    shared("RABBIT_SINK_TEST_AMQP_URL")
}

/// `rabbitmqctl` for the shared broker: words divided by spaces, to be followed by a command.
pub fn shared_rabbitmqctl() -> String {
    shared("RABBIT_SINK_TEST_RABBITMQCTL")
}

/// A login of the shared PostgreSQL that may create databases.
pub fn shared_postgres_url() -> String {
    shared("RABBIT_SINK_TEST_POSTGRES_URL")
}

/// A login of the shared MySQL or MariaDB that may create databases.
pub fn shared_mysql_url() -> String {
    shared("RABBIT_SINK_TEST_MYSQL_URL")
}

/// Without its server a test fails; it is never skipped.
fn shared(variable: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| panic!("{variable} is not set; ./tests/run.sh starts the servers"))
}
