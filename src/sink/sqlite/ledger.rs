//! SQLite's ledger: DDL, marker row, pruning.

use std::time::Duration;

use sqlx::{AssertSqlSafe, Row as _};

use super::{SqliteSession, classify, quote, schema_of};
use crate::catalogue::TableName;
use crate::error::{ErrorClass, Failure};
use crate::plan::Ledger;
use crate::sink::marker::{self, Marker};
use crate::sink::pauses::{self, Rows};
use crate::sink::{LedgerIdentity, Opening, datetime_text};

/// Each turns the layout with its place + 1 into the next one; `{ledger}` is the ledger's quoted
/// name. What [`ddl`] creates is always the newest.
const MIGRATIONS: [&str; 0] = [];

/// The layout that this program writes.
const LAYOUT: i64 = MIGRATIONS.len() as i64 + 1;

/// All tables. IDs are compared byte by byte (BINARY is SQLite's own collation); times are text
/// in UTC that sorts in the order of time.
pub(super) fn ddl(table: &TableName) -> String {
    let index = TableName { schema: table.schema.clone(), name: format!("{}_written_at", table.name) };
    // The index's name carries the schema; its table's must not.
    let bare = quote(&TableName { schema: None, name: table.name.clone() });
    format!(
        "CREATE TABLE IF NOT EXISTS {markers} (\n  id INTEGER PRIMARY KEY,\n  name TEXT NOT NULL UNIQUE,\n  \
         queue TEXT NOT NULL,\n  target TEXT NOT NULL,\n  layout INTEGER NOT NULL\n);\n\
         CREATE TABLE IF NOT EXISTS {ledger} (\n  pipeline INTEGER NOT NULL,\n  message_id TEXT NOT NULL,\n  \
         body_hash BLOB NOT NULL,\n  written_at TEXT NOT NULL,\n  PRIMARY KEY (pipeline, message_id)\n) \
         WITHOUT ROWID;\n\
         CREATE INDEX IF NOT EXISTS {index} ON {bare} (pipeline, written_at);\n{pauses}",
        markers = quote(&marker::table(table)),
        ledger = quote(table),
        pauses = <&mut SqliteSession as Rows>::pauses_ddl(&pauses::table(table)),
        index = quote(&index),
    )
}

/// Now as the ledger writes it. SQLite's clock is this process's.
pub(super) fn now() -> i64 {
    jiff::Timestamp::now().as_microsecond()
}

impl SqliteSession {
    pub(super) async fn open(
        &mut self,
        table: &TableName,
        identity: &LedgerIdentity,
        opening: Opening,
    ) -> Result<Ledger, Failure> {
        if !self.ledger_exists(table).await? {
            if opening == Opening::Existing {
                return Err(marker::missing(table));
            }
            let create = format!("BEGIN IMMEDIATE;\n{}COMMIT", ddl(table));
            self.transact(create).await.map_err(|failure| match failure.class {
                ErrorClass::SinkMisconfigured => marker::not_created(table, &failure, &ddl(table)),
                _ => failure,
            })?;
        }
        self.migrate(table, opening).await?;
        let (found, created) = self.marker(table, identity, opening).await?;
        if marker::check(&found, identity, opening)? {
            let adopt = format!("UPDATE {} SET queue = ?, target = ? WHERE id = ?", quote(&marker::table(table)));
            sqlx::query(AssertSqlSafe(adopt))
                .bind(&identity.queue)
                .bind(identity.table.to_string())
                .bind(found.id)
                .execute(&mut self.connection)
                .await
                .map_err(|error| classify::failure(error, &[]))?;
        }
        let any = format!("SELECT 1 FROM {} WHERE pipeline = ? LIMIT 1", quote(table));
        let any = sqlx::query(AssertSqlSafe(any))
            .bind(found.id)
            .fetch_optional(&mut self.connection)
            .await
            .map_err(|error| classify::failure(error, &[]))?;
        Ok(Ledger { table: table.clone(), pipeline: found.id, emptied: !created && any.is_none() })
    }

    async fn ledger_exists(&mut self, table: &TableName) -> Result<bool, Failure> {
        let tables: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM pragma_table_list WHERE schema = ?1 COLLATE NOCASE \
             AND (name = ?2 COLLATE NOCASE OR name = ?3 COLLATE NOCASE)",
        )
        .bind(schema_of(table))
        .bind(&table.name)
        .bind(marker::table(table).name)
        .fetch_one(&mut self.connection)
        .await
        .map_err(|error| classify::failure(error, &[]))?;
        Ok(tables == 2)
    }

    /// Brings an older layout up to ours, under the write lock; refuses a newer one.
    async fn migrate(&mut self, table: &TableName, opening: Opening) -> Result<(), Failure> {
        let markers = quote(&marker::table(table));
        let range = format!("SELECT min(layout), max(layout) FROM {markers}");
        let row = sqlx::query(AssertSqlSafe(range))
            .fetch_one(&mut self.connection)
            .await
            .map_err(|error| classify::failure(error, &[]))?;
        let (oldest, newest): (Option<i64>, Option<i64>) = (row.get(0), row.get(1));
        if let Some(newest) = newest.filter(|newest| *newest > LAYOUT) {
            return Err(marker::newer_layout(table, newest, LAYOUT));
        }
        let Some(oldest) = oldest.filter(|oldest| *oldest < LAYOUT && opening != Opening::Existing) else {
            return Ok(());
        };
        let mut steps = String::from("BEGIN IMMEDIATE;\n");
        for step in MIGRATIONS.iter().skip(usize::try_from(oldest - 1).unwrap_or(0)) {
            steps.push_str(&step.replace("{ledger}", &quote(table)));
        }
        steps.push_str(&format!("UPDATE {markers} SET layout = {LAYOUT};\nCOMMIT"));
        self.transact(steps).await
    }

    /// The pipeline's marker row, made where it is missing, and whether it was made.
    async fn marker(
        &mut self,
        table: &TableName,
        identity: &LedgerIdentity,
        opening: Opening,
    ) -> Result<(Marker, bool), Failure> {
        let markers = quote(&marker::table(table));
        let read = format!("SELECT id, queue, target FROM {markers} WHERE name = ?");
        let make = format!(
            "INSERT INTO {markers} (name, queue, target, layout) VALUES (?, ?, ?, {LAYOUT}) ON CONFLICT (name) DO NOTHING"
        );
        let mut created = false;
        loop {
            let row = sqlx::query(AssertSqlSafe(read.clone()))
                .bind(&identity.pipeline)
                .fetch_optional(&mut self.connection)
                .await
                .map_err(|error| classify::failure(error, &[]))?;
            if let Some(row) = row {
                return Ok((Marker { id: row.get(0), queue: row.get(1), target: row.get(2) }, created));
            }
            if opening == Opening::Existing {
                return Err(marker::missing(table));
            }
            let made = sqlx::query(AssertSqlSafe(make.clone()))
                .bind(&identity.pipeline)
                .bind(&identity.queue)
                .bind(identity.table.to_string())
                .execute(&mut self.connection)
                .await
                .map_err(|error| classify::failure(error, &[]))?;
            created = made.rows_affected() == 1;
        }
    }

    pub(super) async fn delete_old(&mut self, ledger: &Ledger, keep: Duration, limit: u32) -> Result<u64, Failure> {
        let keep = i64::try_from(keep.as_micros()).unwrap_or(i64::MAX);
        let Some(before) = now().checked_sub(keep).filter(|micros| *micros > 0) else { return Ok(0) };
        let (table, pipeline) = (quote(&ledger.table), ledger.pipeline);
        let delete = format!(
            "DELETE FROM {table} WHERE pipeline = {pipeline} AND message_id IN (SELECT message_id FROM {table} \
             WHERE pipeline = {pipeline} AND written_at < ? ORDER BY written_at LIMIT ?)"
        );
        let done = sqlx::query(AssertSqlSafe(delete))
            .bind(datetime_text::timestamp(before).as_str())
            .bind(limit)
            .execute(&mut self.connection)
            .await
            .map_err(|error| classify::failure(error, &[]))?;
        Ok(done.rows_affected())
    }
}
