//! A batch that is all new, as nearly all are, in one statement: ledger, rows and the look at the
//! table's columns. The statement is its own transaction, so a batch costs one round trip, and
//! neither an `ON CONFLICT` nor a list of what was new.
//!
//! Whatever the server refuses in it leaves nothing behind, and the batch takes the careful way,
//! which tells what is what.

use sqlx::postgres::PgArguments;
use sqlx::{Arguments, AssertSqlSafe};

use crate::error::{ErrorClass, Failure};
use crate::message::Unit;
use crate::plan::{Deduplication, Ledger, Target, WritePlan};
use crate::sink::shape::{self, Group};

use super::classify::failure;
use super::link::Link;
use super::{statement, unchanged, write};

/// Bytes of a ledger entry and its array elements, about.
const ENTRY: usize = 64;

/// `false`: nothing was written, and only the careful way can tell why. `bytes`: about what the rows have.
///
/// # Errors
/// Where the connection or somebody else's lock is at fault; then that way would fare no better.
pub(super) async fn write(link: &mut Link, plan: &WritePlan, units: &[&Unit], bytes: usize) -> Result<bool, Failure> {
    let groups = shape::group(units.iter().copied());
    let [group] = groups.as_slice() else { return Ok(false) };
    if units.iter().any(|unit| unit.letter.is_some()) {
        return Ok(false);
    }
    let target = write::target(plan, group)?;
    let mut arguments = PgArguments::default();
    arguments.reserve(3 + group.columns.len(), bytes + units.len() * ENTRY);
    let ledger = match &plan.deduplication {
        Deduplication::Ledger(ledger) => {
            let (ids, hashes) = write::entries(units);
            if ids.len() < units.len() {
                return Ok(false);
            }
            let bound =
                arguments.add(ledger.pipeline).and_then(|()| arguments.add(ids)).and_then(|()| arguments.add(hashes));
            bound.map_err(|error| failure(sqlx::Error::Encode(error)))?;
            Some(ledger)
        }
        _ => None,
    };
    write::add_rows(&mut arguments, target, &group.columns, &group.rows)?;
    let sql = sql(plan, ledger, target, group);
    // To the end of the answer: what is refused at the commit is refused behind the statement's own success.
    match sqlx::query_with(AssertSqlSafe(sql), arguments).execute(link.conn()).await {
        Ok(_) => Ok(true),
        Err(error) => match failure(error) {
            lost if matches!(lost.class, ErrorClass::SinkUnavailable | ErrorClass::SinkContention) => Err(lost),
            _ => Ok(false),
        },
    }
}

/// See [`crate::sink::build`].
pub(in crate::sink) fn build(plan: &WritePlan, units: &[&Unit]) -> Result<Vec<(String, usize)>, Failure> {
    let mut statements = Vec::new();
    for group in shape::group(units.iter().copied()) {
        let target = write::target(plan, &group)?;
        let mut arguments = PgArguments::default();
        write::add_rows(&mut arguments, target, &group.columns, &group.rows)?;
        statements.push((sql(plan, None, target, &group), arguments.len()));
    }
    Ok(statements)
}

/// The rows are inserted while the look at the columns is to come: it sees what the catalogue says
/// once they have locked their table, see [`unchanged`].
fn sql(plan: &WritePlan, ledger: Option<&Ledger>, target: &Target, group: &Group<'_>) -> String {
    let look = unchanged::condition(&plan.targets);
    let Some(ledger) = ledger else {
        let rows = statement::insert(target, &group.columns);
        return format!("WITH r AS ({rows}) {look}");
    };
    let rows = statement::insert_after(3, target, &group.columns);
    format!(
        "WITH l AS (INSERT INTO {} (pipeline, message_id, body_hash) \
         SELECT $1::int4, u.id, u.hash FROM UNNEST($2::text[], $3::bytea[]) AS u(id, hash)), r AS ({rows}) {look}",
        statement::table(&ledger.table)
    )
}
