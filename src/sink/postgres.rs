//! STUB

use futures_util::future::BoxFuture;

use super::{Database, Session};
use crate::catalogue::TableName;
use crate::config;
use crate::error::{ErrorClass, Failure};

/// Postgres.
pub(super) struct Postgres;

impl Postgres {
    pub(super) fn new(_config: &config::Database) -> Result<Self, Failure> {
        Err(Failure::new(ErrorClass::Config, "feature", "not there yet"))
    }
}

impl Database for Postgres {
    fn connect(&self) -> BoxFuture<'_, Result<Box<dyn Session>, Failure>> {
        Box::pin(async { Err(Failure::new(ErrorClass::Config, "feature", "not there yet")) })
    }

    fn ledger_ddl(&self, _table: &TableName) -> String {
        String::new()
    }
}
