//! The marker row of a pipeline's ledger: what it must say, and what follows where it doesn't.

use super::{LedgerIdentity, Opening};
use crate::catalogue::TableName;
use crate::error::{ErrorClass, Failure};

/// A marker row as found.
pub(super) struct Marker {
    /// The pipeline's number.
    pub id: i32,
    /// The queue that the ledger belongs to.
    pub queue: String,
    /// The table that the ledger belongs to, as [`TableName`] prints it.
    pub target: String,
}

/// The name of the marker's table.
pub(super) fn table(ledger: &TableName) -> TableName {
    TableName { schema: ledger.schema.clone(), name: format!("{}_pipelines", ledger.name) }
}

/// Whether the row has to be replaced.
///
/// # Errors
/// `ledger_identity` where it names another queue or table and isn't to be adopted.
pub(super) fn check(found: &Marker, identity: &LedgerIdentity, opening: Opening) -> Result<bool, Failure> {
    let target = identity.table.to_string();
    if found.queue == identity.queue && found.target == target {
        return Ok(false);
    }
    if opening == Opening::Adopt {
        return Ok(true);
    }
    Err(Failure::new(
        ErrorClass::SinkMisconfigured,
        "ledger_identity",
        format!(
            "the ledger of pipeline `{}` belongs to queue `{}` and table `{}`, but the config says queue `{}` and \
             table `{target}`. With another pipeline's ledger its messages would count as written: give this pipeline \
             another name, or say that it takes the ledger over (--adopt)",
            identity.pipeline, found.queue, found.target, identity.queue
        ),
    ))
}

/// The ledger, or the pipeline's marker in it, is gone since the worker started.
pub(super) fn missing(ledger: &TableName) -> Failure {
    Failure::new(
        ErrorClass::SinkMisconfigured,
        "ledger_missing",
        format!(
            "the ledger `{ledger}` of this pipeline is gone: restore it with what stood in it; or, knowing that whatever \
             is delivered again will be written again, restart the worker, which begins a new one"
        ),
    )
}

/// The ledger's layout is newer than this program knows.
pub(super) fn newer_layout(ledger: &TableName, found: i64, known: i64) -> Failure {
    Failure::new(
        ErrorClass::SinkMisconfigured,
        "ledger_layout",
        format!(
            "the ledger `{ledger}` has layout {found}, and this program knows layouts up to {known}: \
             a newer version has been here; run that one"
        ),
    )
}

/// Without the right to create the ledger, somebody else has to.
pub(super) fn not_created(ledger: &TableName, cause: &Failure, ddl: &str) -> Failure {
    let mut failure = Failure::new(
        ErrorClass::SinkMisconfigured,
        cause.code.clone(),
        format!(
            "the ledger `{ledger}` isn't there, or not to be seen, and this login may not create it. Let somebody run \
             the following and grant SELECT, INSERT, UPDATE and DELETE on these tables:\n{ddl}"
        ),
    );
    failure.detail = cause.detail.clone();
    failure
}
