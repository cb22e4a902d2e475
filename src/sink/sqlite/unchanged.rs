//! That a table still has the columns that a plan was made for. Types are words to SQLite, but values
//! are judged by them before they are written.

use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Row as _};

use super::{SqliteSession, classify, schema_of};
use crate::catalogue::Column;
use crate::error::Failure;
use crate::plan::{Target, WritePlan};

impl SqliteSession {
    /// Begins a transaction, takes the one write lock at once (one that begins by reading could not
    /// wait for it later), and looks at the tables, which nobody can change until it ends: all in
    /// one hop to the connection's thread.
    pub(super) async fn begin_on_unchanged(&mut self, plan: &WritePlan) -> Result<(), Failure> {
        let text = begin_texts(plan).join("; ");
        let failed = |error| classify::failure(error, &[]);
        let rows = sqlx::raw_sql(AssertSqlSafe(text)).fetch_all(&mut self.connection).await.map_err(failed)?;
        for (nth, target) in plan.targets.iter().enumerate() {
            if let Some(column) = changed(nth, target, &rows).map_err(failed)? {
                return Err(crate::sink::table_changed(&format!("column {} of {}", column.name, target.table)));
            }
        }
        Ok(())
    }
}

/// How a transaction begins.
pub(super) fn begin_texts(plan: &WritePlan) -> Vec<String> {
    let mut texts = vec!["BEGIN IMMEDIATE".to_owned()];
    texts.extend(plan.targets.iter().enumerate().map(|(nth, target)| {
        format!(
            "SELECT {nth}, name, type, \"notnull\", pk FROM pragma_table_xinfo({}, {})",
            literal(&target.table.name),
            literal(schema_of(&target.table))
        )
    }));
    texts
}

/// A column that is gone or isn't what the plan knows.
fn changed<'a>(nth: usize, target: &'a Target, rows: &[SqliteRow]) -> Result<Option<&'a Column>, sqlx::Error> {
    let mut missing: Vec<&Column> = target.columns.iter().collect();
    for row in rows {
        let (table, name, sql_type): (i64, String, String) =
            (row.try_get_unchecked(0)?, row.try_get_unchecked(1)?, row.try_get_unchecked(2)?);
        let (not_null, key): (i64, i64) = (row.try_get_unchecked(3)?, row.try_get_unchecked(4)?);
        if usize::try_from(table) == Ok(nth) {
            missing.retain(|column| {
                // A key that is the row's own number is never NULL, whatever is declared.
                let same = column.sql_type == sql_type && (key > 0 || column.nullable == (not_null == 0));
                column.name != name || !same
            });
        }
    }
    Ok(missing.first().copied())
}

/// A text as SQL.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
