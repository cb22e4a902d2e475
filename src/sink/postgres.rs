//! PostgreSQL, 13 and later.
//!
//! A batch is one INSERT … SELECT FROM UNNEST per shape of rows: the text depends on the columns
//! alone, however many rows there are, and each column is bound as one array.

pub(super) mod all_new;
mod bind;
mod classify;
mod connect;
mod describe;
mod exact;
mod ledger;
mod letters;
mod link;
mod statement;
mod survey;
pub(super) mod typename;
mod unchanged;
mod write;

use std::time::Duration;

use futures_util::future::BoxFuture;
use sqlx::Row;

use super::letters::Letters;
use super::pauses::{self, Pauses};
use super::{Access, Database, Entered, LedgerIdentity, LetterTable, Opening, PauseTable, Pooler, Session, Survey};
use crate::catalogue::{Table, TableName};
use crate::config;
use crate::error::{ErrorClass, Failure};
use crate::message::{LedgerEntry, Outcome, Unit};
use crate::plan::{Ledger, WritePlan};
use crate::status::LedgerSize;

use classify::failure;
use connect::Guarded;
use link::Link;

/// A PostgreSQL database that a config names.
pub(super) struct Postgres {
    config: config::Database,
}

impl Postgres {
    /// # Errors
    /// Class `config` where the URL can't be read.
    pub(super) fn new(config: &config::Database) -> Result<Self, Failure> {
        connect::options(config)?;
        Ok(Postgres { config: config.clone() })
    }
}

impl Database for Postgres {
    fn connect(&self) -> BoxFuture<'_, Result<Box<dyn Session>, Failure>> {
        Box::pin(async {
            let conn = connect::connect(&self.config).await?;
            let guarded = connect::guarded(&self.config)?;
            Ok(Box::new(PostgresSession { link: Link::new(conn), guarded, careful: true }) as Box<dyn Session>)
        })
    }

    fn ledger_ddl(&self, table: &TableName) -> String {
        ledger::ddl(table)
    }

    fn pauses_ddl(&self, ledger: &TableName) -> String {
        <letters::Conn as pauses::Rows>::pauses_ddl(&pauses::table(ledger))
    }

    fn between(&self) -> BoxFuture<'_, Result<Option<Pooler>, Failure>> {
        Box::pin(connect::between(&self.config))
    }

    fn transaction_sql(&self, plan: &WritePlan, rows: &[(usize, Vec<usize>)]) -> Vec<String> {
        write::transaction_sql(plan, rows)
    }

    fn quote(&self, table: &TableName) -> String {
        statement::table(table)
    }
}

struct PostgresSession {
    link: Link,
    /// How it was asked to be connected.
    guarded: Guarded,
    /// The last batch wasn't all new. True at first: what only the careful way notices (a trigger
    /// that changes the key) is noticed with a session's first batch.
    careful: bool,
}

impl Session for PostgresSession {
    fn describe<'a>(&'a mut self, table: &'a TableName) -> BoxFuture<'a, Result<Table, Failure>> {
        Box::pin(async {
            let result = describe::describe(self.link.enter()?.conn(), table).await;
            self.link.leave(result)
        })
    }

    fn check_privileges<'a>(&'a mut self, table: &'a TableName) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async {
            let result = check_privileges(self.link.enter()?, table).await;
            self.link.leave(result)
        })
    }

    fn open_ledger<'a>(
        &'a mut self,
        table: &'a TableName,
        identity: &'a LedgerIdentity,
        opening: Opening,
    ) -> BoxFuture<'a, Result<Ledger, Failure>> {
        Box::pin(async move {
            let result = ledger::open(self.link.enter()?, table, identity, opening).await;
            self.link.leave(result)
        })
    }

    fn write<'a>(
        &'a mut self,
        plan: &'a WritePlan,
        units: &'a [&'a Unit],
        isolating: bool,
    ) -> BoxFuture<'a, Result<Vec<Outcome>, Failure>> {
        Box::pin(async move {
            let result = write::write(self.link.enter()?, plan, units, isolating, &mut self.careful).await;
            self.link.leave(result)
        })
    }

    fn rehearse<'a>(
        &'a mut self,
        plan: &'a WritePlan,
        units: &'a [&'a Unit],
    ) -> BoxFuture<'a, Result<Vec<Outcome>, Failure>> {
        Box::pin(async move {
            let result = write::rehearse(self.link.enter()?, plan, units).await;
            self.link.leave(result)
        })
    }

    fn look_up<'a>(
        &'a mut self,
        ledger: &'a Ledger,
        entries: &'a [&'a LedgerEntry],
    ) -> BoxFuture<'a, Result<Vec<Entered>, Failure>> {
        Box::pin(async move {
            let result = write::look_up(self.link.enter()?.conn(), ledger, entries).await;
            self.link.leave(result)
        })
    }

    fn probe_write<'a>(&'a mut self, plan: &'a WritePlan) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async {
            let result = write::probe(self.link.enter()?, plan).await;
            self.link.leave(result)
        })
    }

    fn prune<'a>(&'a mut self, ledger: &'a Ledger, keep: Duration, limit: u32) -> BoxFuture<'a, Result<u64, Failure>> {
        Box::pin(async move {
            let result = ledger::prune(self.link.enter()?.conn(), ledger, keep, limit).await;
            self.link.leave(result)
        })
    }

    fn ledger_size<'a>(&'a mut self, ledger: &'a Ledger) -> BoxFuture<'a, Result<LedgerSize, Failure>> {
        Box::pin(async move {
            let result = ledger::size(self.link.enter()?.conn(), ledger).await;
            self.link.leave(result)
        })
    }

    fn letters<'a>(&'a mut self, table: &'a TableName) -> Option<Box<dyn LetterTable + 'a>> {
        Some(Box::new(Letters { engine: letters::Conn(self.link.conn()), table }))
    }

    fn pauses<'a>(&'a mut self, ledger: &'a TableName) -> Option<Box<dyn PauseTable + 'a>> {
        Some(Box::new(Pauses { engine: letters::Conn(self.link.conn()), table: pauses::table(ledger) }))
    }

    fn weaknesses(&mut self) -> BoxFuture<'_, Result<Vec<String>, Failure>> {
        Box::pin(async {
            let result = weaknesses(self.link.enter()?).await;
            self.link.leave(result)
        })
    }

    fn survey(&mut self) -> BoxFuture<'_, Result<Survey, Failure>> {
        Box::pin(async {
            let result = survey::survey(self.link.enter()?.conn(), self.guarded).await;
            self.link.leave(result)
        })
    }

    fn access<'a>(&'a mut self, table: &'a TableName, ledger: &'a TableName) -> BoxFuture<'a, Result<Access, Failure>> {
        Box::pin(async {
            let result = survey::access(self.link.enter()?.conn(), table, ledger).await;
            self.link.leave(result)
        })
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(self.link.close())
    }
}

/// Which columns a pipeline fills isn't known here: a privilege on any column will do, the rest
/// is shown by a probe write.
async fn check_privileges(link: &mut Link, table: &TableName) -> Result<(), Failure> {
    let oid = describe::find(link.conn(), table).await?;
    let may: bool = sqlx::query_scalar("SELECT has_any_column_privilege($1::int8::oid, 'INSERT')")
        .bind(oid)
        .fetch_one(link.conn())
        .await
        .map_err(failure)?;
    if may {
        return Ok(());
    }
    let message = format!("this login may not insert into {table}: GRANT INSERT ON {}", statement::table(table));
    Err(Failure::new(ErrorClass::SinkMisconfigured, "42501", message))
}

async fn weaknesses(link: &mut Link) -> Result<Vec<String>, Failure> {
    let off = sqlx::query(
        "SELECT name, setting FROM pg_settings \
         WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit') AND setting = 'off' ORDER BY name",
    )
    .fetch_all(link.conn())
    .await
    .map_err(failure)?;
    off.iter()
        .map(|row| {
            let name: String = row.try_get(0).map_err(failure)?;
            Ok(match name.as_str() {
                "synchronous_commit" => "synchronous_commit = off: a crash loses what was committed last".to_owned(),
                _ => format!("{name} = off: a crash may damage the whole database"),
            })
        })
        .collect()
}
