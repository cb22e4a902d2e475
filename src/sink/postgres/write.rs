//! Writing a batch: which of its units are new, and their rows.

use std::collections::{HashMap, HashSet};

use sqlx::postgres::PgArguments;
use sqlx::{Arguments, AssertSqlSafe, Executor, PgConnection};

use crate::config::IdConflict;
use crate::error::{ErrorClass, Failure};
use crate::message::{LedgerEntry, Outcome, Row, Unit};
use crate::plan::{Deduplication, Ledger, Target, WritePlan};
use crate::sink::Entered;
use crate::sink::letters;
use crate::sink::shape::{self, Group};

use super::bind::{self, Bind};
use super::classify::failure;
use super::exact;
use super::letters::Conn;
use super::link::{BEGIN, Link};
use super::{all_new, statement, unchanged};

/// Bytes of one statement's values. The server copies them more than once.
const MAX_STATEMENT: usize = 256 << 20;

/// Bytes of one row's values: no message to the server may have more than 1 GiB less one byte,
/// and neither may one value; the rest is for what goes around the values.
const MAX_ROW: usize = (1 << 30) - (1 << 20);

/// Writes units in one transaction. `careful`: the last batch wasn't all new, so this one may well
/// not be either.
pub(super) async fn write(
    link: &mut Link,
    plan: &WritePlan,
    units: &[&Unit],
    isolating: bool,
    careful: &mut bool,
) -> Result<Vec<Outcome>, Failure> {
    let bytes = refuse_too_large(units, MAX_ROW)?;
    let one_statement = !isolating && !*careful && bytes <= MAX_STATEMENT;
    if one_statement && all_new::write(link, plan, units, bytes).await? {
        return Ok(vec![Outcome::Written; units.len()]);
    }
    link.begin(isolating).await?;
    let result = apply(link.conn(), plan, units).await;
    let result = link.end_if(&unchanged::condition(&plan.targets), result).await;
    *careful = !matches!(&result, Ok(outcomes) if outcomes.iter().all(|it| matches!(it, Outcome::Written)));
    result
}

/// The same, rolled back.
pub(super) async fn rehearse(link: &mut Link, plan: &WritePlan, units: &[&Unit]) -> Result<Vec<Outcome>, Failure> {
    refuse_too_large(units, MAX_ROW)?;
    link.begin(true).await?;
    match apply(link.conn(), plan, units).await {
        Err(cause) => Err(link.rollback(cause).await),
        Ok(outcomes) => link.undo().await.map(|()| outcomes),
    }
}

/// Shows that the plan's statements are taken: no row, but everything that is checked before one.
pub(super) async fn probe(link: &mut Link, plan: &WritePlan) -> Result<(), Failure> {
    link.begin(false).await?;
    let result = probe_statements(link.conn(), plan).await;
    match result {
        Err(cause) => Err(link.rollback(cause).await),
        Ok(()) => link.undo().await,
    }
}

async fn probe_statements(conn: &mut PgConnection, plan: &WritePlan) -> Result<(), Failure> {
    if let Deduplication::Ledger(ledger) = &plan.deduplication {
        let id = format!("rabbit-sink probe {:?}", std::time::SystemTime::now());
        insert_ids(conn, ledger, &[&id], &[&[0; 16]]).await?;
    }
    for (nth, target) in plan.targets.iter().enumerate() {
        let columns: Vec<usize> = (0..target.columns.len()).collect();
        let group = Group { target: nth, columns, rows: Vec::new(), units: Vec::new() };
        let sql = match plan.deduplication {
            Deduplication::Column(key) if nth == 0 && group.columns.contains(&key) => {
                statement::insert_new(target, &group.columns, key)
            }
            _ => statement::insert(target, &group.columns),
        };
        sqlx::query_with(AssertSqlSafe(sql), arguments(target, &group, &[])?)
            .execute(&mut *conn)
            .await
            .map_err(failure)?;
    }
    letters::probe(&mut Conn(&mut *conn), plan.letters.as_ref()).await?;
    conn.execute(AssertSqlSafe(unchanged::condition(&plan.targets))).await.map_err(unchanged::failure)?;
    Ok(())
}

/// Bytes of all rows.
fn refuse_too_large(units: &[&Unit], limit: usize) -> Result<usize, Failure> {
    let mut all = 0;
    for unit in units {
        for change in &unit.changes {
            let bytes = bind::encoded_len(&change.row, &unit.delivery.envelope.body);
            if bytes > limit {
                let message = format!("the row has {bytes} bytes, PostgreSQL takes {limit} at most");
                return Err(Failure::new(ErrorClass::RowRejected, "too_large", message));
            }
            all += bytes;
        }
    }
    Ok(all)
}

/// Rows, then dead letters.
async fn apply(conn: &mut PgConnection, plan: &WritePlan, units: &[&Unit]) -> Result<Vec<Outcome>, Failure> {
    if units.iter().all(|unit| unit.letter.is_none()) {
        return apply_rows(conn, plan, units).await;
    }
    let (letters, rows): (Vec<&Unit>, Vec<&Unit>) = units.iter().partition(|unit| unit.letter.is_some());
    let outcomes = if rows.is_empty() { Vec::new() } else { apply_rows(conn, plan, &rows).await? };
    letters::insert_units(&mut Conn(conn), plan.letters.as_ref(), &letters).await?;
    Ok(letters::merged(units, outcomes))
}

async fn apply_rows(conn: &mut PgConnection, plan: &WritePlan, units: &[&Unit]) -> Result<Vec<Outcome>, Failure> {
    match &plan.deduplication {
        Deduplication::Ledger(ledger) => {
            let outcomes = enter_ids(conn, ledger, plan.id_conflict, units).await?;
            let fresh = units.iter().zip(&outcomes).filter(|(_, outcome)| matches!(outcome, Outcome::Written));
            for group in shape::group(fresh.map(|(unit, _)| *unit)) {
                insert(conn, plan, &group).await?;
            }
            Ok(outcomes)
        }
        Deduplication::Column(key) => insert_by_key(conn, plan, *key, units).await,
        Deduplication::None => {
            for group in shape::group(units.iter().copied()) {
                insert(conn, plan, &group).await?;
            }
            Ok(vec![Outcome::Written; units.len()])
        }
    }
}

/// Inserts the units' IDs and says what each unit is: `Written` if its ID is new.
async fn enter_ids(
    conn: &mut PgConnection,
    ledger: &Ledger,
    id_conflict: IdConflict,
    units: &[&Unit],
) -> Result<Vec<Outcome>, Failure> {
    let (ids, hashes) = entries(units);
    let fresh = insert_ids(conn, ledger, &ids, &hashes).await?;
    if fresh.is_none() && ids.len() == units.len() {
        return Ok(vec![Outcome::Written; units.len()]);
    }
    let known = read_hashes(conn, ledger, &ids).await?;
    let mut fresh: HashSet<String> = fresh.unwrap_or_else(|| ids.iter().map(|id| (*id).to_owned()).collect());
    units
        .iter()
        .map(|unit| match &unit.ledger {
            // Removed, so that an ID that comes twice in a batch is new once.
            Some(entry) if fresh.remove(entry.id.as_str()) => Ok(Outcome::Written),
            Some(entry) => repeated(entry, known.get(entry.id.as_str()), id_conflict),
            None => {
                let message = "a message without an ID can't be told from its repetition in the ledger";
                Ok(Failure::new(ErrorClass::Mapping, "message_id", message).into())
            }
        })
        .collect()
}

/// The IDs and hashes of units, each ID once, in one order for everybody: two writers with the same
/// IDs then wait and don't deadlock. Of two units with one ID the first is the one that counts.
pub(super) fn entries<'a>(units: &[&'a Unit]) -> (Vec<&'a str>, Vec<&'a [u8]>) {
    let entries = units.iter().filter_map(|unit| unit.ledger.as_ref());
    let mut entries: Vec<(&str, &[u8])> = entries.map(|entry| (entry.id.as_str(), &entry.body_hash[..])).collect();
    entries.sort_by_key(|entry| entry.0);
    entries.dedup_by_key(|entry| entry.0);
    entries.into_iter().unzip()
}

/// What a unit is whose ID the ledger had, with this hash.
fn repeated(entry: &LedgerEntry, hash: Option<&Vec<u8>>, id_conflict: IdConflict) -> Result<Outcome, Failure> {
    match hash {
        Some(hash) if hash[..] == entry.body_hash || id_conflict == IdConflict::Ignore => Ok(Outcome::Duplicate),
        Some(_) => {
            let message = "the ledger has this message ID with another body";
            Ok(Failure::new(ErrorClass::IdConflict, "other_body", message).into())
        }
        None => Err(Failure::new(
            ErrorClass::SinkContention,
            "ledger_moved",
            "a ledger entry was deleted while it was compared",
        )),
    }
}

/// Inserts IDs in their order. `None`: all were new, which is the rule and costs one row of an
/// answer; else those that were.
async fn insert_ids(
    conn: &mut PgConnection,
    ledger: &Ledger,
    ids: &[&str],
    hashes: &[&[u8]],
) -> Result<Option<HashSet<String>>, Failure> {
    let query = sqlx::query_scalar(AssertSqlSafe(ledger_sql(ledger))).bind(ledger.pipeline).bind(ids).bind(hashes);
    let fresh: Option<Vec<String>> = query.fetch_one(conn).await.map_err(failure)?;
    Ok(fresh.map(|fresh| fresh.into_iter().collect()))
}

fn ledger_sql(ledger: &Ledger) -> String {
    format!(
        "WITH fresh AS (INSERT INTO {} (pipeline, message_id, body_hash) \
         SELECT $1::int4, u.id, u.hash FROM UNNEST($2::text[], $3::bytea[]) AS u(id, hash) \
         ON CONFLICT (pipeline, message_id) DO NOTHING RETURNING message_id) \
         SELECT CASE WHEN count(*) < cardinality($2::text[]) THEN coalesce(array_agg(message_id), '{{}}') END FROM fresh",
        statement::table(&ledger.table)
    )
}

/// The statements of a transaction whose units are all new.
pub(super) fn transaction_sql(plan: &WritePlan, rows: &[(usize, Vec<usize>)]) -> Vec<String> {
    let mut all = vec![BEGIN.to_owned()];
    if let Deduplication::Ledger(ledger) = &plan.deduplication {
        all.push(ledger_sql(ledger));
    }
    for (nth, columns) in rows {
        let Some(target) = plan.targets.get(*nth) else { continue };
        all.push(match plan.deduplication {
            Deduplication::Column(key) if *nth == 0 && columns.contains(&key) => {
                statement::insert_new(target, columns, key)
            }
            _ => statement::insert(target, columns),
        });
    }
    all.push(format!("{}; COMMIT", unchanged::condition(&plan.targets)));
    all
}

async fn read_hashes(
    conn: &mut PgConnection,
    ledger: &Ledger,
    ids: &[&str],
) -> Result<HashMap<String, Vec<u8>>, Failure> {
    let sql = format!(
        "SELECT message_id, body_hash FROM {} WHERE pipeline = $1 AND message_id = ANY($2::text[])",
        statement::table(&ledger.table)
    );
    let query = sqlx::query_as::<_, (String, Vec<u8>)>(AssertSqlSafe(sql)).bind(ledger.pipeline).bind(ids);
    Ok(query.fetch_all(conn).await.map_err(failure)?.into_iter().collect())
}

/// What the ledger has of these entries.
pub(super) async fn look_up(
    conn: &mut PgConnection,
    ledger: &Ledger,
    entries: &[&LedgerEntry],
) -> Result<Vec<Entered>, Failure> {
    let ids: Vec<&str> = entries.iter().map(|entry| entry.id.as_str()).collect();
    let hashes = read_hashes(conn, ledger, &ids).await?;
    Ok(entries.iter().map(|entry| Entered::of(entry, hashes.get(entry.id.as_str()))).collect())
}

/// Inserts rows of one shape.
async fn insert(conn: &mut PgConnection, plan: &WritePlan, group: &Group<'_>) -> Result<(), Failure> {
    let target = target(plan, group)?;
    let sql = statement::insert(target, &group.columns);
    for rows in chunks(&group.rows, MAX_STATEMENT) {
        let query = sqlx::query_with(AssertSqlSafe(sql.as_str()), arguments(target, group, rows)?);
        query.execute(&mut *conn).await.map_err(|error| exact::failure(failure(error), target))?;
    }
    Ok(())
}

/// Inserts rows whose key isn't there yet; then what else their units bring.
async fn insert_by_key(
    conn: &mut PgConnection,
    plan: &WritePlan,
    key: usize,
    units: &[&Unit],
) -> Result<Vec<Outcome>, Failure> {
    let mut written = vec![false; units.len()];
    let groups = shape::group(units.iter().copied());
    for group in groups.iter().filter(|group| group.target == 0) {
        let target = target(plan, group)?;
        if !group.columns.contains(&key) {
            let message = "a row doesn't have the column that repeats are recognised by";
            return Err(Failure::new(ErrorClass::RowRejected, "no_key", message));
        }
        let sql = statement::insert_new(target, &group.columns, key);
        let mut offset = 0;
        for rows in chunks(&group.rows, MAX_STATEMENT) {
            let arguments = arguments(target, group, rows)?;
            let query = sqlx::query_scalar_with(AssertSqlSafe(sql.as_str()), arguments);
            let places: Vec<Option<i64>> =
                query.fetch_all(&mut *conn).await.map_err(|error| exact::failure(failure(error), target))?;
            for place in places {
                let at = place.and_then(|place| usize::try_from(place - 1).ok());
                let Some(unit) = at.and_then(|at| group.units.get(offset + at)) else {
                    let message = "the table changes this column while a row is written (a trigger?): \
                                   repeats can't be recognised by it";
                    let column = target.columns[key].name.as_str();
                    return Err(Failure::new(ErrorClass::SinkMisconfigured, "key_changed", message).column(column));
                };
                written[*unit] = true;
            }
            offset += rows.len();
        }
    }
    let fresh = units.iter().zip(&written).filter(|(_, written)| **written).map(|(unit, _)| *unit);
    for group in shape::group(fresh).iter().filter(|group| group.target != 0) {
        insert(conn, plan, group).await?;
    }
    Ok(written.iter().map(|written| if *written { Outcome::Written } else { Outcome::Duplicate }).collect())
}

/// The group's target; its columns are then known to be there.
pub(super) fn target<'a>(plan: &'a WritePlan, group: &Group<'_>) -> Result<&'a Target, Failure> {
    let fits = |target: &&Target| group.columns.last().is_none_or(|last| *last < target.columns.len());
    plan.targets.get(group.target).filter(fits).ok_or_else(|| {
        Failure::new(ErrorClass::Unknown, "target", "a change names a table or a column that the plan doesn't have")
    })
}

fn arguments(target: &Target, group: &Group<'_>, rows: &[(&Row, &[u8])]) -> Result<PgArguments, Failure> {
    let mut arguments = PgArguments::default();
    add_rows(&mut arguments, target, &group.columns, rows)?;
    Ok(arguments)
}

/// Binds rows: an array for each of these columns, or their number where there are none.
pub(super) fn add_rows(
    arguments: &mut PgArguments,
    target: &Target,
    columns: &[usize],
    rows: &[(&Row, &[u8])],
) -> Result<(), Failure> {
    let encode = |error| failure(sqlx::Error::Encode(error));
    if columns.is_empty() {
        arguments.add(i64::try_from(rows.len()).unwrap_or(i64::MAX)).map_err(encode)?;
    }
    for &at in columns {
        let bind = Bind::of(&target.columns[at].kind);
        let column = bind::Column { bind, at, rows };
        arguments.add(column).map_err(encode).map_err(|failure| failure.column(&target.columns[at].name))?;
    }
    Ok(())
}

/// Cuts rows into statements of at most `limit` bytes, one row at least in each.
fn chunks<'r, 'a>(rows: &'r [(&'a Row, &'a [u8])], limit: usize) -> Vec<&'r [(&'a Row, &'a [u8])]> {
    let (mut chunks, mut start, mut bytes) = (Vec::with_capacity(1), 0, 0);
    for (at, (row, body)) in rows.iter().enumerate() {
        let len = bind::encoded_len(row, body);
        if at > start && bytes + len > limit {
            chunks.push(&rows[start..at]);
            (start, bytes) = (at, 0);
        }
        bytes += len;
    }
    if start < rows.len() {
        chunks.push(&rows[start..]);
    }
    chunks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Cell, Change, Delivery, Envelope, Operation, Slice};

    fn row(bytes: usize) -> Row {
        Row(vec![Cell::Text(Slice::Owned(vec![b'x'; bytes].into()))])
    }

    #[test]
    fn statements_stay_below_their_limit_and_lose_no_row() {
        let rows: Vec<Row> = [10, 10, 90, 200, 1, 1].into_iter().map(row).collect();
        let rows: Vec<(&Row, &[u8])> = rows.iter().map(|row| (row, &[][..])).collect();
        let lengths: Vec<usize> = chunks(&rows, 100).iter().map(|chunk| chunk.len()).collect();
        assert_eq!(lengths, [2, 1, 1, 2]);
        assert!(chunks(&[], 100).is_empty());
    }

    #[test]
    fn a_row_that_no_message_can_hold_is_refused_before_anything_is_sent() {
        let envelope = Envelope::default();
        let delivery = Delivery { tag: 1, arrived: tokio::time::Instant::now(), envelope: Box::new(envelope) };
        let changes = vec![Change { target: 0, operation: Operation::Insert, row: row(100) }];
        let unit = Unit { delivery, ledger: None, changes, attempts: 0, letter: None };
        assert!(refuse_too_large(&[&unit], 104).is_ok());
        let refused = refuse_too_large(&[&unit], 103).unwrap_err();
        assert_eq!((refused.class, refused.code.as_ref()), (ErrorClass::RowRejected, "too_large"));
    }
}
