//! That a table still has the columns that a plan was made for. Where a column's type changes under a
//! running worker, values are checked against the old one, and the server would round them to the
//! new one with no more than a note.

use sqlx::mysql::MySqlRow;

use super::{MysqlSession, quote, quote_name, text_at};
use crate::catalogue::Column;
use crate::error::Failure;
use crate::plan::{Target, WritePlan};
use crate::sink::values_sql;

impl MysqlSession {
    /// Begins a transaction. It inserts nothing first, which locks the tables' definitions until it
    /// ends, and then looks at them: all in one round trip.
    pub(super) async fn begin_on_unchanged(&mut self, plan: &WritePlan) -> Result<(), Failure> {
        let rows = self.rows(begin_texts(&self.begin, plan).join("; ")).await?;
        for (nth, target) in targets(plan).enumerate() {
            if let Some(column) = changed(nth, target, &rows)? {
                return Err(crate::sink::table_changed(&format!("column {} of {}", column.name, target.table)));
            }
        }
        Ok(())
    }
}

fn targets(plan: &WritePlan) -> impl Iterator<Item = &Target> {
    plan.targets.iter().filter(|target| !target.columns.is_empty())
}

/// How a transaction begins.
pub(super) fn begin_texts(begin: &str, plan: &WritePlan) -> Vec<String> {
    let mut texts = vec![begin.to_owned()];
    for (nth, target) in targets(plan).enumerate() {
        let table = quote(&target.table);
        let lock = values_sql::insert_nothing(target, quote_name, &table, " FROM DUAL WHERE FALSE");
        texts.extend([lock, columns(nth, target)]);
    }
    texts
}

/// The query for the columns of the `nth` table.
fn columns(nth: usize, target: &Target) -> String {
    let schema = target.table.schema.as_deref().map_or_else(|| "DATABASE()".to_owned(), literal);
    format!(
        "SELECT '{nth}', COLUMN_NAME, COLUMN_TYPE, IS_NULLABLE FROM information_schema.COLUMNS \
         WHERE TABLE_SCHEMA = {schema} AND TABLE_NAME = {}",
        literal(&target.table.name)
    )
}

/// A column that is gone or isn't what the plan knows.
fn changed<'a>(nth: usize, target: &'a Target, rows: &[MySqlRow]) -> Result<Option<&'a Column>, Failure> {
    let nth = nth.to_string();
    let mut missing: Vec<&Column> = target.columns.iter().collect();
    for row in rows {
        let (table, name, sql_type) = (text_at(row, 0)?, text_at(row, 1)?, text_at(row, 2)?);
        let nullable = text_at(row, 3)?.as_deref() == Some("YES");
        if table.as_deref() == Some(&nth) {
            missing.retain(|column| {
                let same = Some(&column.sql_type) == sql_type.as_ref() && column.nullable == nullable;
                Some(&column.name) != name.as_ref() || !same
            });
        }
    }
    Ok(missing.first().copied())
}

/// A text as SQL: our sessions' sql_mode leaves the backslash its meaning.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}
