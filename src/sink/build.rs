//! What a batch becomes before it is sent.

use crate::config::DatabaseKind;
use crate::error::Failure;
use crate::message::Unit;
use crate::plan::WritePlan;

/// Builds what [`super::Session::write`] sends for the rows of these units, and sends it nowhere: for benchmarks, which
/// need no server then. Returns each statement's text with the number of its bound values.
///
/// # Errors
/// A row that can't be bound, or a database that this binary was built without.
pub fn build(database: DatabaseKind, plan: &WritePlan, units: &[&Unit]) -> Result<Vec<(String, usize)>, Failure> {
    match database {
        #[cfg(feature = "postgres")]
        DatabaseKind::Postgres => super::postgres::all_new::build(plan, units),
        #[cfg(feature = "mysql")]
        DatabaseKind::Mysql => super::mysql::write::build(plan, units),
        #[cfg(feature = "sqlite")]
        DatabaseKind::Sqlite => super::sqlite::write::build(plan, units),
        #[allow(unreachable_patterns)]
        kind => Err(super::missing_feature(kind)),
    }
}
