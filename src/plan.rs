//! What a session needs to know to write a pipeline's batches: made once by [`crate::mapping`],
//! read by every [`crate::sink`].

use crate::catalogue::{Column, TableName};
use crate::config::IdConflict;

/// The open ledger of one pipeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ledger {
    /// The ledger's table; its marker table is `NAME_pipelines`.
    pub table: TableName,
    /// The pipeline's number in the marker table.
    pub pipeline: i32,
    /// The marker was there and the pipeline's ledger is empty: it was emptied or re-created.
    pub emptied: bool,
}

/// How repeats are recognised in one pipeline, as far as the database goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deduplication {
    /// By message ID and body hash, in the ledger.
    Ledger(Ledger),
    /// By a unique column of the first target, the column's place in the target's columns. Cells
    /// of it are never `Absent` or `Null`.
    Column(usize),
    /// Not at all.
    None,
}

/// A table that a pipeline writes to, and the columns that its rows fill, in the rows' order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The table.
    pub table: TableName,
    /// The columns.
    pub columns: Vec<Column>,
    /// For each column an SQL expression with one `?` in it that stands around the value.
    pub expressions: Vec<Option<String>>,
}

/// All that a session needs to know to write a batch of one pipeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WritePlan {
    /// [`crate::message::Change::target`] is a place in it.
    pub targets: Vec<Target>,
    /// How repeats are recognised.
    pub deduplication: Deduplication,
    /// What a known ID with another body hash is: rejected, or a duplicate.
    pub id_conflict: IdConflict,
    /// The table of dead letters, where they go into one.
    pub letters: Option<TableName>,
}
