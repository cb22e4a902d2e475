//! Batches into MySQL and MariaDB: plain INSERTs of many rows. Neither `INSERT IGNORE`, which
//! turns bad values into warnings, nor `ON DUPLICATE KEY UPDATE`, which fires on any unique key.

use sqlx::mysql::{MySqlArguments, MySqlRow};
use sqlx::{Arguments, AssertSqlSafe, Row as _};

use super::bind::{self, Binder};
use super::{MysqlSession, classify, quote, quote_name};
use crate::catalogue::{Column, Kind};
use crate::error::{ErrorClass, Failure};
use crate::message::{LedgerEntry, Row, Unit};
use crate::plan::{Deduplication, Ledger, Target, WritePlan};
use crate::sink::letters;
use crate::sink::optimistic::{Engine, Known};
use crate::sink::shape::{self, Group};
use crate::sink::values_sql::{self, Insert};

/// Values bound in one statement; the protocol counts them in 16 bits.
const BINDS: usize = 65_535;

/// Rows in one statement: a batch of `max_rows` as it is by default.
const ROWS: usize = 1_000;

/// Bytes in one statement, unless a single row has more: a larger one gains nothing.
const BYTES: usize = 4 << 20;

/// Bytes of a statement that fits into one TLS record (16 KiB) with what stands around it.
const RECORD: usize = 16_000;

/// Bytes of a row of which several fit into a TLS record.
const SMALL_ROW: usize = 2_000;

/// What a packet has beside its values, generously.
const PACKET_OVERHEAD: usize = 1_024;

/// Bytes that a ledger entry has beside its ID: its hash, both values' overheads, and more than
/// the difference to its row's text.
const ENTRY_OVERHEAD: usize = 16 + 2 * bind::VALUE_OVERHEAD;

/// Lookups by column in one statement: each opens the table anew.
const LOOKUPS: usize = 64;

impl MysqlSession {
    pub(super) async fn raw(&mut self, statement: impl Into<String>) -> Result<(), Failure> {
        sqlx::raw_sql(AssertSqlSafe(statement.into()))
            .execute(&mut self.connection)
            .await
            .map_err(|error| classify::failure(error, &[]))?;
        Ok(())
    }

    pub(super) async fn rows(&mut self, query: String) -> Result<Vec<MySqlRow>, Failure> {
        sqlx::raw_sql(AssertSqlSafe(query))
            .fetch_all(&mut self.connection)
            .await
            .map_err(|error| classify::failure(error, &[]))
    }

    /// A connection that couldn't roll back must not be written to again.
    pub(super) fn usable(&self) -> Result<(), Failure> {
        match self.broken {
            false => Ok(()),
            true => Err(Failure::new(
                ErrorClass::SinkUnavailable,
                "not_rolled_back",
                "this connection couldn't roll back; a new one is needed",
            )),
        }
    }

    pub(super) async fn probe(&mut self, plan: &WritePlan) -> Result<(), Failure> {
        self.usable()?;
        self.begin(plan).await?;
        let result = self.probe_inside(plan).await;
        self.rollback().await;
        result
    }

    async fn probe_inside(&mut self, plan: &WritePlan) -> Result<(), Failure> {
        if let Deduplication::Ledger(ledger) = &plan.deduplication {
            // Pipelines have positive numbers: no message's entry is touched, nor another probe's.
            self.raw(format!(
                "INSERT INTO {} (pipeline, message_id, body_hash, written_at) \
                 VALUES (-{}, CONNECTION_ID(), REPEAT('0', 16), UTC_TIMESTAMP(6))",
                quote(&ledger.table),
                ledger.pipeline
            ))
            .await?;
        }
        for target in plan.targets.iter().filter(|target| !target.columns.is_empty()) {
            let table = quote(&target.table);
            self.raw(values_sql::insert_nothing(target, quote_name, &table, " FROM DUAL WHERE FALSE")).await?;
        }
        letters::probe(&mut &mut *self, plan.letters.as_ref()).await
    }

    async fn run(&mut self, text: String, arguments: MySqlArguments, columns: &[Column]) -> Result<(), Failure> {
        sqlx::query_with(AssertSqlSafe(text), arguments)
            .execute(&mut self.connection)
            .await
            .map_err(|error| classify::failure(error, columns))?;
        Ok(())
    }

    async fn insert_group(&mut self, target: &Target, group: &Group<'_>) -> Result<(), Failure> {
        let insert = Insert::new(target, &group.columns, quote_name, &quote(&target.table));
        let binders: Vec<Binder<'_>> = group.columns.iter().map(|&at| Binder::new(target, at)).collect();
        let most = values_sql::most_rows(BINDS, group.columns.len()).min(ROWS);
        let sizes: Vec<usize> = group
            .rows
            .iter()
            .map(|(row, _)| bind::packet_bytes(row, &group.columns).max(insert.row_length()))
            .collect();
        let limit = self.statement_limit(&sizes).saturating_sub(insert.head_length());
        let mut start = 0;
        while start < group.rows.len() {
            let rows = values_sql::rows_within(&sizes[start..], most, limit);
            let bytes = sizes[start..start + rows].iter().sum();
            let arguments = bound(&binders, &group.columns, &group.rows[start..start + rows], bytes)?;
            self.run(insert.text(rows), arguments, &target.columns).await?;
            start += rows;
        }
        Ok(())
    }

    /// Bytes that a statement's values may have.
    pub(super) fn packet_limit(&self) -> usize {
        self.max_packet.saturating_sub(PACKET_OVERHEAD)
    }

    /// Bytes that a statement's values should have. sqlx leaves Nagle's algorithm on and sends each
    /// TLS record on its own: a statement of several waits some 40 ms for the server's delayed
    /// acknowledgement. So small rows go into statements of one record; with large ones that would
    /// make too many statements.
    fn statement_limit(&self, sizes: &[usize]) -> usize {
        let small = sizes.iter().sum::<usize>() <= sizes.len() * SMALL_ROW;
        let most = if self.transport.encrypted && small { RECORD } else { BYTES };
        self.packet_limit().min(most)
    }
}

impl Engine for MysqlSession {
    fn careful(&mut self) -> &mut bool {
        &mut self.careful
    }

    fn is_repeat(failure: &Failure) -> bool {
        classify::is_repeat(&failure.code)
    }

    /// A row that no packet can carry is found before anything is sent: the server would close
    /// the connection over it.
    fn check(&self, _plan: &WritePlan, units: &[&Unit]) -> Result<(), Failure> {
        self.usable()?;
        let limit = self.packet_limit();
        for row in units.iter().flat_map(|unit| &unit.changes).map(|change| &change.row) {
            let bytes: usize = row.0.iter().map(bind::cell_bytes).sum();
            if bytes > limit {
                return Err(Failure::new(
                    ErrorClass::RowRejected,
                    "too_large",
                    format!(
                        "the row needs a packet of about {bytes} bytes, and the server's max_allowed_packet is {}; \
                         raise it there, or leave large fields out",
                        self.max_packet
                    ),
                ));
            }
        }
        Ok(())
    }

    async fn begin(&mut self, plan: &WritePlan) -> Result<(), Failure> {
        let begun = self.begin_on_unchanged(plan).await;
        if begun.is_err() {
            self.rollback().await;
        }
        begun
    }

    async fn commit(&mut self) -> Result<(), Failure> {
        let commit = format!("COMMIT{}", self.after);
        self.raw(commit).await
    }

    async fn rollback(&mut self) {
        let rollback = format!("ROLLBACK{}", self.after);
        self.broken |= self.raw(rollback).await.is_err();
    }

    async fn known(&mut self, ledger: &Ledger, entries: &[&LedgerEntry]) -> Result<Known, Failure> {
        let failed = |error| classify::failure(error, &[]);
        let mut known = Known::new();
        let sizes: Vec<usize> = entries.iter().map(|entry| entry.id.as_str().len() + bind::VALUE_OVERHEAD).collect();
        let limit = self.statement_limit(&sizes);
        let mut start = 0;
        while start < entries.len() {
            let count = values_sql::rows_within(&sizes[start..], ROWS, limit);
            let now = &entries[start..start + count];
            start += count;
            let mut text = format!(
                "SELECT message_id, body_hash FROM {} WHERE pipeline = {} AND message_id IN (",
                quote(&ledger.table),
                ledger.pipeline
            );
            values_sql::push_repeated(&mut text, "?", now.len());
            text.push(')');
            let mut arguments = MySqlArguments::default();
            for entry in now {
                arguments.add(entry.id.as_str().as_bytes()).map_err(unbound)?;
            }
            let rows = sqlx::query_with(AssertSqlSafe(text), arguments)
                .fetch_all(&mut self.connection)
                .await
                .map_err(failed)?;
            for row in rows {
                let id: Vec<u8> = row.try_get(0).map_err(failed)?;
                known.insert(id.into(), row.try_get(1).map_err(failed)?);
            }
        }
        Ok(known)
    }

    async fn enter(&mut self, ledger: &Ledger, entries: &[&LedgerEntry]) -> Result<(), Failure> {
        let insert = entries_insert(ledger);
        let sizes: Vec<usize> = entries.iter().map(|entry| entry.id.as_str().len() + ENTRY_OVERHEAD).collect();
        let limit = self.statement_limit(&sizes);
        let mut start = 0;
        while start < entries.len() {
            let count = values_sql::rows_within(&sizes[start..], ROWS, limit);
            let now = &entries[start..start + count];
            start += count;
            let mut arguments = MySqlArguments::default();
            arguments.reserve(now.len() * 2, now.len() * 64);
            for entry in now {
                arguments.add(entry.id.as_str().as_bytes()).map_err(unbound)?;
                arguments.add(entry.body_hash.as_slice()).map_err(unbound)?;
            }
            self.run(insert.text(now.len()), arguments, &[]).await?;
        }
        Ok(())
    }

    /// The comparison is the server's, with the column's own type and collation.
    async fn existing(
        &mut self,
        target: &Target,
        column: usize,
        rows: &[(&Row, &[u8])],
    ) -> Result<Vec<usize>, Failure> {
        let binder = Binder::new(target, column);
        let value = comparable(target, column);
        let (table, name) = (quote(&target.table), quote_name(&target.columns[column].name));
        let mut found = Vec::new();
        let mut start = 0;
        // What a lookup takes, as text or as value, whichever is more.
        let select = table.len() + name.len() + value.len() + 40;
        let sizes: Vec<usize> = rows.iter().map(|(row, _)| bind::packet_bytes(row, &[column]).max(select)).collect();
        let limit = self.statement_limit(&sizes);
        while start < rows.len() {
            let count = values_sql::rows_within(&sizes[start..], LOOKUPS, limit);
            let mut text = String::new();
            let mut arguments = MySqlArguments::default();
            for (place, (row, body)) in rows[start..start + count].iter().enumerate() {
                let union = if place > 0 { " UNION ALL " } else { "" };
                text.push_str(&format!("{union}SELECT {place} FROM {table} WHERE {name} = {value}"));
                binder.add(&mut arguments, &row.0[column], body)?;
            }
            let places: Vec<i64> = sqlx::query_scalar_with(AssertSqlSafe(text), arguments)
                .fetch_all(&mut self.connection)
                .await
                .map_err(|error| classify::failure(error, &target.columns))?;
            found.extend(places.into_iter().filter_map(|place| Some(start + usize::try_from(place).ok()?)));
            start += count;
        }
        Ok(found)
    }

    async fn insert(&mut self, plan: &WritePlan, units: &[&Unit]) -> Result<(), Failure> {
        for group in shape::group(units.iter().copied()) {
            let target = plan.targets.get(group.target).ok_or_else(crate::sink::optimistic::no_target)?;
            self.insert_group(target, &group).await?;
        }
        Ok(())
    }

    async fn insert_letters(&mut self, plan: &WritePlan, letters: &[&Unit]) -> Result<(), Failure> {
        letters::insert_units(&mut &mut *self, plan.letters.as_ref(), letters).await
    }
}

/// What is bound for these rows, of about so many bytes.
fn bound(
    binders: &[Binder<'_>],
    columns: &[usize],
    rows: &[(&Row, &[u8])],
    bytes: usize,
) -> Result<MySqlArguments, Failure> {
    let mut arguments = MySqlArguments::default();
    arguments.reserve(rows.len() * binders.len(), bytes);
    for (row, body) in rows {
        for (binder, &at) in binders.iter().zip(columns) {
            binder.add(&mut arguments, &row.0[at], body)?;
        }
    }
    Ok(arguments)
}

/// See [`crate::sink::build`].
pub(in crate::sink) fn build(plan: &WritePlan, units: &[&Unit]) -> Result<Vec<(String, usize)>, Failure> {
    let mut statements = Vec::new();
    for group in shape::group(units.iter().copied()) {
        let target = &plan.targets[group.target];
        let insert = Insert::new(target, &group.columns, quote_name, &quote(&target.table));
        let binders: Vec<Binder<'_>> = group.columns.iter().map(|&at| Binder::new(target, at)).collect();
        let bytes = group.rows.iter().map(|(row, _)| bind::packet_bytes(row, &group.columns)).sum();
        let values = bound(&binders, &group.columns, &group.rows, bytes)?.len();
        statements.push((insert.text(group.rows.len()), values));
    }
    Ok(statements)
}

/// The INSERT of entries into the ledger.
pub(super) fn entries_insert(ledger: &Ledger) -> Insert {
    let head = format!("INSERT INTO {} (pipeline, message_id, body_hash, written_at) VALUES ", quote(&ledger.table));
    Insert::raw(head, format!("({},?,?,UTC_TIMESTAMP(6))", ledger.pipeline))
}

/// The value as it is compared: a decimal with a text would be compared in floating point, where
/// different decimals can be equal.
fn comparable(target: &Target, column: usize) -> String {
    let value = values_sql::placeholder(target, column);
    match target.columns[column].kind {
        Kind::Decimal { precision: Some((digits, scale)) } => format!("CAST({value} AS DECIMAL({digits},{scale}))"),
        _ => value.to_owned(),
    }
}

fn unbound(error: sqlx::error::BoxDynError) -> Failure {
    Failure::new(ErrorClass::Unknown, "bind", "the ledger's entry couldn't be bound").detail(error.to_string())
}
