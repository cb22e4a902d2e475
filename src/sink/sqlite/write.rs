//! Batches into SQLite: few statements of many rows each, as every statement costs a hop to the
//! connection's thread and back.

use std::sync::Arc;

use sqlx::sqlite::SqliteArguments;
use sqlx::{Arguments, AssertSqlSafe, Row as _};

use super::bind::Binder;
use super::{SqliteSession, classify, ledger, quote, quote_name};
use crate::catalogue::Column;
use crate::error::{ErrorClass, Failure};
use crate::message::{LedgerEntry, Row, Unit};
use crate::plan::{Deduplication, Ledger, Target, WritePlan};
use crate::sink::datetime_text;
use crate::sink::letters;
use crate::sink::optimistic::{Engine, Known};
use crate::sink::shape::{self, Group};
use crate::sink::values_sql::{self, Insert};

/// Values bound in one statement (SQLITE_MAX_VARIABLE_NUMBER).
const BINDS: usize = 32_766;

/// Rows in one statement: a batch of `max_rows` as it is by default. Beyond it the statement's own
/// size costs more than a further hop.
const ROWS: usize = 1_000;

impl SqliteSession {
    pub(super) async fn transact(&mut self, statements: String) -> Result<(), Failure> {
        self.usable()?;
        let done = sqlx::raw_sql(AssertSqlSafe(statements)).execute(&mut self.connection).await;
        if let Err(error) = done {
            self.rollback().await;
            return Err(classify::failure(error, &[]));
        }
        Ok(())
    }

    pub(super) async fn probe(&mut self, plan: &WritePlan) -> Result<(), Failure> {
        let mut statements = String::from("BEGIN IMMEDIATE;\n");
        if let Deduplication::Ledger(ledger) = &plan.deduplication {
            // Pipelines have positive numbers: no message's entry is touched.
            statements.push_str(&format!(
                "INSERT INTO {} (pipeline, message_id, body_hash, written_at) VALUES (-{}, 'probe', x'00', '');\n",
                quote(&ledger.table),
                ledger.pipeline
            ));
        }
        for target in plan.targets.iter().filter(|target| !target.columns.is_empty()) {
            let table = quote(&target.table);
            statements.push_str(&values_sql::insert_nothing(target, quote_name, &table, " WHERE 0;\n"));
        }
        statements.push_str("ROLLBACK");
        self.transact(statements).await?;
        self.begin(plan).await?;
        let probed = letters::probe(&mut &mut *self, plan.letters.as_ref()).await;
        self.rollback().await;
        probed
    }

    /// A file that can't be rolled back must not be written to again.
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

    async fn run(&mut self, text: String, arguments: SqliteArguments, columns: &[Column]) -> Result<(), Failure> {
        sqlx::query_with(AssertSqlSafe(text), arguments)
            .execute(&mut self.connection)
            .await
            .map_err(|error| classify::failure(error, columns))?;
        Ok(())
    }

    async fn insert_group(&mut self, target: &Target, group: &Group<'_>) -> Result<(), Failure> {
        let table = quote(&target.table);
        let width = group.columns.len();
        let most = values_sql::most_rows(BINDS, width).min(ROWS);
        let insert = Insert::new(target, &group.columns, quote_name, &table);
        let binders: Vec<Binder<'_>> = group.columns.iter().map(|&at| Binder::new(target, at)).collect();
        let mut rest = group.rows.as_slice();
        while !rest.is_empty() {
            let (now, later) = rest.split_at(values_sql::statement_rows(rest.len(), most));
            rest = later;
            // SQLite has no row of nothing but defaults among others.
            let text = match width {
                0 => format!("INSERT INTO {table} DEFAULT VALUES;").repeat(now.len()),
                _ => insert.text(now.len()),
            };
            let arguments = bound(&binders, &group.columns, now)?;
            self.run(text, arguments, &target.columns).await?;
        }
        Ok(())
    }
}

/// What is bound for these rows.
fn bound(binders: &[Binder<'_>], columns: &[usize], rows: &[(&Row, &[u8])]) -> Result<SqliteArguments, Failure> {
    let mut arguments = SqliteArguments::default();
    arguments.reserve(rows.len() * columns.len(), 0);
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
        let values = bound(&binders, &group.columns, &group.rows)?.len();
        statements.push((insert.text(group.rows.len()), values));
    }
    Ok(statements)
}

/// The INSERT of entries into the ledger.
pub(super) fn entries_insert(ledger: &Ledger) -> Insert {
    let head = format!("INSERT INTO {} (pipeline, message_id, body_hash, written_at) VALUES ", quote(&ledger.table));
    Insert::raw(head, format!("({},?,?,?)", ledger.pipeline))
}

impl Engine for SqliteSession {
    fn careful(&mut self) -> &mut bool {
        &mut self.careful
    }

    fn is_repeat(failure: &Failure) -> bool {
        classify::is_repeat(&failure.code)
    }

    fn check(&self, _plan: &WritePlan, _units: &[&Unit]) -> Result<(), Failure> {
        self.usable()
    }

    async fn begin(&mut self, plan: &WritePlan) -> Result<(), Failure> {
        let begun = self.begin_on_unchanged(plan).await;
        if begun.is_err() {
            self.rollback().await;
        }
        begun
    }

    async fn commit(&mut self) -> Result<(), Failure> {
        sqlx::raw_sql("COMMIT").execute(&mut self.connection).await.map_err(|error| classify::failure(error, &[]))?;
        Ok(())
    }

    async fn rollback(&mut self) {
        if let Err(error) = sqlx::raw_sql("ROLLBACK").execute(&mut self.connection).await {
            // A full disk and the like have SQLite roll back by itself.
            let done = matches!(&error, sqlx::Error::Database(error) if error.message().contains("no transaction"));
            self.broken |= !done;
        }
    }

    async fn known(&mut self, ledger: &Ledger, entries: &[&LedgerEntry]) -> Result<Known, Failure> {
        let mut known = Known::new();
        let mut rest = entries;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(values_sql::statement_rows(rest.len(), ROWS));
            rest = later;
            let mut text = format!(
                "SELECT message_id, body_hash FROM {} WHERE pipeline = {} AND message_id IN (",
                quote(&ledger.table),
                ledger.pipeline
            );
            values_sql::push_repeated(&mut text, "?", now.len());
            text.push(')');
            let mut arguments = SqliteArguments::default();
            for entry in now {
                arguments.add(Arc::<str>::from(entry.id.as_str())).map_err(unbound)?;
            }
            let rows = sqlx::query_with(AssertSqlSafe(text), arguments)
                .fetch_all(&mut self.connection)
                .await
                .map_err(|error| classify::failure(error, &[]))?;
            for row in rows {
                let id: String = row.try_get(0).map_err(|error| classify::failure(error, &[]))?;
                let hash: Vec<u8> = row.try_get(1).map_err(|error| classify::failure(error, &[]))?;
                known.insert(id.into_bytes().into(), hash);
            }
        }
        Ok(known)
    }

    async fn enter(&mut self, ledger: &Ledger, entries: &[&LedgerEntry]) -> Result<(), Failure> {
        let insert = entries_insert(ledger);
        let written_at: Arc<str> = datetime_text::timestamp(ledger::now()).as_str().into();
        let mut rest = entries;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(values_sql::statement_rows(rest.len(), ROWS));
            rest = later;
            let mut arguments = SqliteArguments::default();
            arguments.reserve(now.len() * 3, 0);
            for entry in now {
                arguments.add(Arc::<str>::from(entry.id.as_str())).map_err(unbound)?;
                arguments.add(entry.body_hash.to_vec()).map_err(unbound)?;
                arguments.add(Arc::clone(&written_at)).map_err(unbound)?;
            }
            self.run(insert.text(now.len()), arguments, &[]).await?;
        }
        Ok(())
    }

    async fn existing(
        &mut self,
        target: &Target,
        column: usize,
        rows: &[(&Row, &[u8])],
    ) -> Result<Vec<usize>, Failure> {
        let binder = Binder::new(target, column);
        let value = values_sql::placeholder(target, column);
        let mut found = Vec::new();
        let mut start = 0;
        while start < rows.len() {
            let now = &rows[start..start + values_sql::statement_rows(rows.len() - start, ROWS)];
            // The values have no affinity and no collation of their own: the column's apply, as
            // they do in its unique index.
            let mut text = String::from("WITH sent(place, value) AS (VALUES ");
            for place in 0..now.len() {
                text.push_str(&format!("{}({place},{value})", if place > 0 { "," } else { "" }));
            }
            text.push_str(&format!(
                ") SELECT sent.place FROM sent CROSS JOIN {} AS held ON held.{} = sent.value",
                quote(&target.table),
                quote_name(&target.columns[column].name)
            ));
            let mut arguments = SqliteArguments::default();
            for (row, body) in now {
                binder.add(&mut arguments, &row.0[column], body)?;
            }
            let places: Vec<i64> = sqlx::query_scalar_with(AssertSqlSafe(text), arguments)
                .fetch_all(&mut self.connection)
                .await
                .map_err(|error| classify::failure(error, &target.columns))?;
            found.extend(places.into_iter().filter_map(|place| Some(start + usize::try_from(place).ok()?)));
            start += now.len();
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

fn unbound(error: sqlx::error::BoxDynError) -> Failure {
    Failure::new(ErrorClass::Unknown, "bind", "the ledger's entry couldn't be bound").detail(error.to_string())
}
