//! The ledger on MySQL and MariaDB: DDL, marker row, pruning.

use std::time::Duration;

use sqlx::AssertSqlSafe;
use sqlx::mysql::MySqlRow;

use super::{MysqlSession, classify, quote, text_at};
use crate::catalogue::TableName;
use crate::error::{ErrorClass, Failure};
use crate::plan::Ledger;
use crate::sink::marker::{self, Marker};
use crate::sink::pauses::{self, Rows};
use crate::sink::{COUNTED, LEDGER_NEEDS, Lacking, LedgerIdentity, MARKER_NEEDS, Opening, lacks, ledger_size};
use crate::status::LedgerSize;

/// Each turns the layout with its place + 1 into the next one; `{ledger}` is the ledger's quoted
/// name. What [`ddl`] creates is always the newest.
const MIGRATIONS: [&str; 0] = [];

/// The layout that this program writes.
const LAYOUT: i64 = MIGRATIONS.len() as i64 + 1;

/// All tables. IDs are bytes, so that neither case nor blanks at the end make two of them equal;
/// times are in UTC, in a type that doesn't end in 2038.
pub(super) fn ddl(table: &TableName) -> String {
    let text = |length| format!("VARCHAR({length}) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL");
    format!(
        "CREATE TABLE IF NOT EXISTS {markers} (\n  id INT NOT NULL AUTO_INCREMENT PRIMARY KEY,\n  name {name} UNIQUE,\n  \
         queue {long},\n  target {long},\n  layout INT NOT NULL\n) ENGINE=InnoDB;\n\
         CREATE TABLE IF NOT EXISTS {ledger} (\n  pipeline INT NOT NULL,\n  message_id VARBINARY(255) NOT NULL,\n  \
         body_hash BINARY(16) NOT NULL,\n  written_at DATETIME(6) NOT NULL,\n  PRIMARY KEY (pipeline, message_id),\n  \
         KEY written_at (pipeline, written_at)\n) ENGINE=InnoDB;\n{pauses}",
        markers = quote(&marker::table(table)),
        ledger = quote(table),
        pauses = <&mut MysqlSession as Rows>::pauses_ddl(&pauses::table(table)),
        name = text(64),
        long = text(255),
    )
}

impl MysqlSession {
    pub(super) async fn open(
        &mut self,
        table: &TableName,
        identity: &LedgerIdentity,
        opening: Opening,
    ) -> Result<Ledger, Failure> {
        self.usable()?;
        let markers = marker::table(table);
        if !self.ledger_exists(table).await? {
            if opening == Opening::Existing {
                return Err(marker::missing(table));
            }
            // The server's own lock on the names lets two processes do so at once.
            self.raw(ddl(table)).await.map_err(|failure| match failure.class {
                ErrorClass::SinkMisconfigured => marker::not_created(table, &failure, &ddl(table)),
                _ => failure,
            })?;
        }
        self.check_engine(table).await?;
        self.check_engine(&markers).await?;
        lacks(&self.ledger_lacks(table).await?, "1142", quote)?;
        self.migrate(table, opening).await?;
        let (found, created) = self.marker(table, identity, opening).await?;
        if marker::check(&found, identity, opening)? {
            let adopt = format!("UPDATE {} SET queue = ?, target = ? WHERE id = ?", quote(&markers));
            sqlx::query(AssertSqlSafe(adopt))
                .bind(&identity.queue)
                .bind(identity.table.to_string())
                .bind(found.id)
                .execute(&mut self.connection)
                .await
                .map_err(|error| classify::failure(error, &[]))?;
        }
        let any = format!("SELECT 1 FROM {} WHERE pipeline = {} LIMIT 1", quote(table), found.id);
        let any = self.rows(any).await?;
        Ok(Ledger { table: table.clone(), pipeline: found.id, emptied: !created && any.is_empty() })
    }

    pub(super) async fn ledger_exists(&mut self, table: &TableName) -> Result<bool, Failure> {
        Ok(self.table_exists(table).await? && self.table_exists(&marker::table(table)).await?)
    }

    /// What this login lacks on the ledger's tables. Asked by statements that touch no row: a role,
    /// or a pattern of databases, may give what no list of this login's privileges has.
    pub(super) async fn ledger_lacks(&mut self, table: &TableName) -> Result<Vec<Lacking>, Failure> {
        let markers = marker::table(table);
        let entry = "(pipeline, message_id, body_hash, written_at) SELECT 0, '', '', UTC_TIMESTAMP(6)";
        let marker = "(name, queue, target, layout) SELECT '', '', '', 0";
        let mut lacking = Vec::new();
        for (name, needs, row) in [(table, LEDGER_NEEDS, entry), (&markers, MARKER_NEEDS, marker)] {
            let quoted = quote(name);
            let mut privileges = Vec::new();
            for &need in needs {
                let nothing = match need {
                    "INSERT" => format!("INSERT INTO {quoted} {row} FROM DUAL WHERE FALSE"),
                    "DELETE" => format!("DELETE FROM {quoted} WHERE FALSE"),
                    _ => format!("SELECT 1 FROM {quoted} WHERE FALSE"),
                };
                match self.raw(nothing).await {
                    Ok(()) => {}
                    Err(failure) if matches!(failure.code.as_ref(), "1142" | "1143") => privileges.push(need),
                    Err(failure) => return Err(failure),
                }
            }
            if !privileges.is_empty() {
                lacking.push(Lacking { table: name.clone(), privileges });
            }
        }
        Ok(lacking)
    }

    pub(super) async fn table_exists(&mut self, table: &TableName) -> Result<bool, Failure> {
        let found = self
            .about(
                table,
                "SELECT 1 FROM information_schema.TABLES WHERE TABLE_SCHEMA = COALESCE(?, DATABASE()) AND TABLE_NAME = ?",
            )
            .await?;
        Ok(!found.is_empty())
    }

    async fn layouts(&mut self, markers: &str) -> Result<Option<(i64, i64)>, Failure> {
        let rows =
            self.rows(format!("SELECT CAST(MIN(layout) AS CHAR), CAST(MAX(layout) AS CHAR) FROM {markers}")).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let number = |at| Ok::<_, Failure>(text_at(row, at)?.and_then(|text| text.parse().ok()));
        Ok(number(0)?.zip(number(1)?))
    }

    /// Brings an older layout up to ours, one process at a time; refuses a newer one.
    async fn migrate(&mut self, table: &TableName, opening: Opening) -> Result<(), Failure> {
        let markers = quote(&marker::table(table));
        let Some((oldest, newest)) = self.layouts(&markers).await? else { return Ok(()) };
        if newest > LAYOUT {
            return Err(marker::newer_layout(table, newest, LAYOUT));
        }
        if oldest == LAYOUT || opening == Opening::Existing {
            return Ok(());
        }
        // DDL commits by itself here: only a named lock keeps two migrations apart.
        let locked = self.rows("SELECT CAST(GET_LOCK('rabbit_sink_migration', 30) AS CHAR)".to_owned()).await?;
        if locked.first().map(|row| text_at(row, 0)).transpose()?.flatten().as_deref() != Some("1") {
            return Err(Failure::new(ErrorClass::SinkContention, "migration", "another process migrates the ledger"));
        }
        let migrated = self.migrate_alone(table, &markers).await;
        self.rows("SELECT RELEASE_LOCK('rabbit_sink_migration')".to_owned()).await?;
        migrated
    }

    async fn migrate_alone(&mut self, table: &TableName, markers: &str) -> Result<(), Failure> {
        let oldest = self.layouts(markers).await?.map_or(LAYOUT, |(oldest, _)| oldest);
        for step in MIGRATIONS.iter().skip(usize::try_from(oldest - 1).unwrap_or(0)) {
            self.raw(step.replace("{ledger}", &quote(table))).await?;
        }
        self.raw(format!("UPDATE {markers} SET layout = {LAYOUT}")).await
    }

    /// The pipeline's marker row, made where it is missing, and whether it was made.
    async fn marker(
        &mut self,
        table: &TableName,
        identity: &LedgerIdentity,
        opening: Opening,
    ) -> Result<(Marker, bool), Failure> {
        let markers = quote(&marker::table(table));
        let read = format!("SELECT CAST(id AS CHAR), queue, target FROM {markers} WHERE name = ?");
        let make = format!("INSERT INTO {markers} (name, queue, target, layout) VALUES (?, ?, ?, {LAYOUT})");
        let mut created = false;
        loop {
            let row = sqlx::query(AssertSqlSafe(read.clone()))
                .bind(&identity.pipeline)
                .fetch_optional(&mut self.connection)
                .await
                .map_err(|error| classify::failure(error, &[]))?;
            if let Some(row) = row {
                let text = |at| Ok::<String, Failure>(text_at(&row, at)?.unwrap_or_default());
                let id = text(0)?.parse().map_err(|_| {
                    Failure::new(ErrorClass::SinkMisconfigured, "ledger_layout", "the pipeline's number isn't an INT")
                })?;
                return Ok((Marker { id, queue: text(1)?, target: text(2)? }, created));
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
                .map_err(|error| classify::failure(error, &[]));
            created = match made {
                Ok(_) => true,
                // Another process was faster: its row is there now.
                Err(failure) if classify::is_repeat(&failure.code) => false,
                Err(failure) => return Err(failure),
            };
        }
    }

    /// Its first entries are counted, the rest is InnoDB's own estimate.
    pub(super) async fn measure(&mut self, ledger: &Ledger) -> Result<LedgerSize, Failure> {
        self.usable()?;
        let few = format!("SELECT 1 FROM {} LIMIT {}", quote(&ledger.table), COUNTED + 1);
        let counted = self.rows(format!("SELECT CAST(COUNT(*) AS CHAR) FROM ({few}) AS few")).await?;
        let told = self
            .about(
                &ledger.table,
                "SELECT CAST(TABLE_ROWS AS CHAR), CAST(DATA_LENGTH + INDEX_LENGTH AS CHAR) FROM information_schema.TABLES \
                 WHERE TABLE_SCHEMA = COALESCE(?, DATABASE()) AND TABLE_NAME = ?",
            )
            .await?;
        let number = |rows: &[MySqlRow], at| {
            let text = rows.first().map(|row| text_at(row, at)).transpose()?.flatten();
            Ok::<i64, Failure>(text.and_then(|text| text.parse().ok()).unwrap_or_default())
        };
        Ok(ledger_size(number(&counted, 0)?, number(&told, 0)?, number(&told, 1)?))
    }

    pub(super) async fn delete_old(&mut self, ledger: &Ledger, keep: Duration, limit: u32) -> Result<u64, Failure> {
        self.usable()?;
        // Longer than the calendar reaches back: nothing is that old.
        let Some(keep) = i64::try_from(keep.as_micros()).ok().filter(|micros| *micros < 60_000_000_000_000_000) else {
            return Ok(0);
        };
        let delete = format!(
            "DELETE FROM {} WHERE pipeline = {} AND written_at < UTC_TIMESTAMP(6) - INTERVAL ? MICROSECOND \
             ORDER BY written_at LIMIT ?",
            quote(&ledger.table),
            ledger.pipeline
        );
        let done = sqlx::query(AssertSqlSafe(delete))
            .bind(keep)
            .bind(limit)
            .execute(&mut self.connection)
            .await
            .map_err(|error| classify::failure(error, &[]))?;
        Ok(done.rows_affected())
    }
}
