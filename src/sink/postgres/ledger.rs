//! The ledger: its tables, its marker row, its pruning.

use std::time::Duration;

use sqlx::{AssertSqlSafe, Executor, PgConnection, Row};

use crate::catalogue::TableName;
use crate::error::{ErrorClass, Failure};
use crate::plan::Ledger;
use crate::sink::marker::{self, Marker};
use crate::sink::pauses::{self, Rows};
use crate::sink::{COUNTED, LEDGER_NEEDS, Lacking, LedgerIdentity, MARKER_NEEDS, Opening, lacks, ledger_size};
use crate::status::LedgerSize;

use super::classify::failure;
use super::letters::Conn;
use super::link::Link;
use super::statement::{quote, table as quoted};

/// The layout that this program writes.
const LAYOUT: i32 = 1;

/// `MIGRATIONS[n]` makes layout n + 2 out of layout n + 1; in it `{ledger}` and `{pipelines}`
/// stand for the tables.
const MIGRATIONS: [&str; LAYOUT as usize - 1] = [];

/// Of PostgreSQL's names.
const MAX_NAME: usize = 63;

/// One lock for all ledgers of a database: taken at starts only.
const LOCK: &str = "SELECT pg_advisory_xact_lock(7881665129830187625)";

/// The DDL of all tables.
pub(super) fn ddl(table: &TableName) -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS {ledger} (\n\
         \x20   pipeline   int         NOT NULL,\n\
         \x20   message_id text        COLLATE \"C\" NOT NULL,\n\
         \x20   body_hash  bytea       NOT NULL,\n\
         \x20   written_at timestamptz NOT NULL DEFAULT now(),\n\
         \x20   PRIMARY KEY (pipeline, message_id)\n\
         );\n\
         CREATE INDEX IF NOT EXISTS {index} ON {ledger} (pipeline, written_at);\n\
         CREATE TABLE IF NOT EXISTS {pipelines} (\n\
         \x20   id     int  GENERATED ALWAYS AS IDENTITY PRIMARY KEY,\n\
         \x20   name   text NOT NULL UNIQUE,\n\
         \x20   queue  text NOT NULL,\n\
         \x20   target text NOT NULL,\n\
         \x20   layout int  NOT NULL\n\
         );\n\
         {pauses}",
        ledger = quoted(table),
        index = quote(&format!("{}_written", table.name)),
        pipelines = quoted(&marker::table(table)),
        pauses = Conn::pauses_ddl(&pauses::table(table)),
    )
}

/// Opens the ledger for a pipeline.
pub(super) async fn open(
    link: &mut Link,
    table: &TableName,
    identity: &LedgerIdentity,
    opening: Opening,
) -> Result<Ledger, Failure> {
    if marker::table(table).name.len() > MAX_NAME {
        let message = format!("ledger_table {table} is too long: its tables' names must fit into {MAX_NAME} bytes");
        return Err(misconfigured("ledger_name", message));
    }
    if !is_complete(link.conn(), table).await? {
        if opening == Opening::Existing {
            return Err(marker::missing(table));
        }
        create(link, table).await.map_err(|failure| match failure.class {
            ErrorClass::SinkMisconfigured => marker::not_created(table, &failure, &ddl(table)),
            _ => failure,
        })?;
    }
    check(link.conn(), table).await?;
    migrate(link, table, opening).await?;
    let (pipeline, was_there) = mark(link, table, identity, opening).await?;
    let emptied = was_there && is_empty(link.conn(), table, pipeline).await?;
    Ok(Ledger { table: table.clone(), pipeline, emptied })
}

pub(super) async fn is_complete(conn: &mut PgConnection, table: &TableName) -> Result<bool, Failure> {
    sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL AND to_regclass($2) IS NOT NULL")
        .bind(quoted(table))
        .bind(quoted(&marker::table(table)))
        .fetch_one(conn)
        .await
        .map_err(failure)
}

/// IF NOT EXISTS alone fails when two sessions create at once; the lock makes one wait.
async fn create(link: &mut Link, table: &TableName) -> Result<(), Failure> {
    link.begin(false).await?;
    let conn = link.conn();
    let result = match conn.execute(LOCK).await {
        Ok(_) => conn.execute(AssertSqlSafe(ddl(table))).await.map(|_| ()).map_err(failure),
        Err(error) => Err(failure(error)),
    };
    link.end(result).await
}

/// That the tables keep what is written to them, and that this login may use them.
async fn check(conn: &mut PgConnection, table: &TableName) -> Result<(), Failure> {
    let marker = marker::table(table);
    for name in [table, &marker] {
        let sql = "SELECT relkind::text, relpersistence::text FROM pg_class WHERE oid = to_regclass($1)";
        let row = sqlx::query(sql).bind(quoted(name)).fetch_one(&mut *conn).await.map_err(failure)?;
        let (kind, persistence): (String, String) =
            (row.try_get(0).map_err(failure)?, row.try_get(1).map_err(failure)?);
        if !matches!(kind.as_str(), "r" | "p") {
            return Err(misconfigured("42809", format!("{name} is to be the ledger, but isn't a table")));
        }
        if persistence != "p" {
            let message = format!(
                "the ledger {name} is unlogged or temporary: a crash empties it, and everything is written twice. \
                 ALTER TABLE {} SET LOGGED",
                quoted(name)
            );
            return Err(misconfigured("ledger_unlogged", message));
        }
    }
    lacks(&lacking(conn, table).await?, "42501", quoted)
}

/// What this login lacks on the ledger's tables.
pub(super) async fn lacking(conn: &mut PgConnection, table: &TableName) -> Result<Vec<Lacking>, Failure> {
    let mut lacking = Vec::new();
    for (name, needs) in [(table, LEDGER_NEEDS), (&marker::table(table), MARKER_NEEDS)] {
        let mut privileges = Vec::new();
        for &need in needs {
            let has: Option<bool> = sqlx::query_scalar("SELECT has_table_privilege(to_regclass($1), $2)")
                .bind(quoted(name))
                .bind(need)
                .fetch_one(&mut *conn)
                .await
                .map_err(failure)?;
            if has == Some(false) {
                privileges.push(need);
            }
        }
        if !privileges.is_empty() {
            lacking.push(Lacking { table: name.clone(), privileges });
        }
    }
    Ok(lacking)
}

async fn layout(conn: &mut PgConnection, table: &TableName) -> Result<(i32, i32), Failure> {
    let sql = format!("SELECT min(layout), max(layout) FROM {}", quoted(&marker::table(table)));
    let (oldest, newest): (Option<i32>, Option<i32>) =
        sqlx::query_as(AssertSqlSafe(sql)).fetch_one(conn).await.map_err(failure)?;
    Ok((oldest.unwrap_or(LAYOUT), newest.unwrap_or(LAYOUT)))
}

async fn migrate(link: &mut Link, table: &TableName, opening: Opening) -> Result<(), Failure> {
    let (oldest, newest) = layout(link.conn(), table).await?;
    if newest > LAYOUT {
        return Err(marker::newer_layout(table, newest.into(), LAYOUT.into()));
    }
    if oldest == LAYOUT || opening == Opening::Existing {
        return Ok(());
    }
    link.begin(false).await?;
    let result = migrate_locked(link.conn(), table).await;
    link.end(result).await
}

async fn migrate_locked(conn: &mut PgConnection, table: &TableName) -> Result<(), Failure> {
    conn.execute(LOCK).await.map_err(failure)?;
    // Another process may have done it while we waited.
    let (oldest, _) = layout(conn, table).await?;
    let (ledger, marker) = (quoted(table), quoted(&marker::table(table)));
    let done = usize::try_from(oldest - 1).unwrap_or_default();
    for migration in MIGRATIONS.iter().skip(done) {
        let sql = migration.replace("{ledger}", &ledger).replace("{pipelines}", &marker);
        conn.execute(AssertSqlSafe(sql)).await.map_err(failure)?;
    }
    let sql = format!("UPDATE {marker} SET layout = $1 WHERE layout < $1");
    sqlx::query(AssertSqlSafe(sql)).bind(LAYOUT).execute(conn).await.map_err(failure)?;
    Ok(())
}

/// Creates or compares the marker row. Returns the pipeline's number, and whether it was there.
async fn mark(
    link: &mut Link,
    table: &TableName,
    identity: &LedgerIdentity,
    opening: Opening,
) -> Result<(i32, bool), Failure> {
    let marker = quoted(&marker::table(table));
    let conn = link.conn();
    let target = identity.table.to_string();
    let insert = format!(
        "INSERT INTO {marker} (name, queue, target, layout) SELECT $1, $2, $3, $4 \
         WHERE NOT EXISTS (SELECT FROM {marker} WHERE name = $1) ON CONFLICT (name) DO NOTHING RETURNING id"
    );
    if opening == Opening::Existing && !is_marked(conn, &marker, &identity.pipeline).await? {
        return Err(marker::missing(table));
    }
    let created: Option<i32> = sqlx::query_scalar(AssertSqlSafe(insert))
        .bind(&identity.pipeline)
        .bind(&identity.queue)
        .bind(&target)
        .bind(LAYOUT)
        .fetch_optional(&mut *conn)
        .await
        .map_err(failure)?;
    if let Some(id) = created {
        return Ok((id, false));
    }
    let select = format!("SELECT id, queue, target FROM {marker} WHERE name = $1");
    let (id, queue, target): (i32, String, String) =
        sqlx::query_as(AssertSqlSafe(select)).bind(&identity.pipeline).fetch_one(&mut *conn).await.map_err(failure)?;
    let found = Marker { id, queue, target };
    if !marker::check(&found, identity, opening)? {
        return Ok((found.id, true));
    }
    let update = format!("UPDATE {marker} SET queue = $2, target = $3 WHERE id = $1");
    let query = sqlx::query(AssertSqlSafe(update)).bind(id).bind(&identity.queue).bind(identity.table.to_string());
    query.execute(conn).await.map_err(failure)?;
    Ok((id, true))
}

async fn is_marked(conn: &mut PgConnection, marker: &str, pipeline: &str) -> Result<bool, Failure> {
    let sql = format!("SELECT EXISTS (SELECT FROM {marker} WHERE name = $1)");
    sqlx::query_scalar(AssertSqlSafe(sql)).bind(pipeline).fetch_one(conn).await.map_err(failure)
}

async fn is_empty(conn: &mut PgConnection, table: &TableName, pipeline: i32) -> Result<bool, Failure> {
    let sql = format!("SELECT NOT EXISTS (SELECT FROM {} WHERE pipeline = $1)", quoted(table));
    sqlx::query_scalar(AssertSqlSafe(sql)).bind(pipeline).fetch_one(conn).await.map_err(failure)
}

/// Deletes old entries by the database's clock. What is deleted is checked again by the outer
/// condition: a place (ctid) alone may belong to another row by then, or to another partition.
pub(super) async fn prune(
    conn: &mut PgConnection,
    ledger: &Ledger,
    keep: Duration,
    limit: u32,
) -> Result<u64, Failure> {
    let sql = format!(
        "DELETE FROM {table} WHERE ctid = ANY(ARRAY(SELECT ctid FROM {table} \
         WHERE pipeline = $1 AND written_at < now() - make_interval(secs => $2) LIMIT $3)) \
         AND pipeline = $1 AND written_at < now() - make_interval(secs => $2)",
        table = quoted(&ledger.table)
    );
    let query = sqlx::query(AssertSqlSafe(sql)).bind(ledger.pipeline).bind(keep.as_secs_f64()).bind(i64::from(limit));
    query.execute(conn).await.map(|done| done.rows_affected()).map_err(failure)
}

/// Its first entries are counted, the rest is what the last ANALYZE or VACUUM has estimated.
pub(super) async fn size(conn: &mut PgConnection, ledger: &Ledger) -> Result<LedgerSize, Failure> {
    let table = quoted(&ledger.table);
    let sql = format!(
        "SELECT (SELECT count(*) FROM (SELECT FROM {table} LIMIT $2) AS few), reltuples::int8, pg_total_relation_size(oid) \
         FROM pg_class WHERE oid = to_regclass($1)"
    );
    let query = sqlx::query_as(AssertSqlSafe(sql)).bind(&table).bind(COUNTED + 1);
    let found: Option<(i64, i64, i64)> = query.fetch_optional(conn).await.map_err(failure)?;
    Ok(found.map_or_else(LedgerSize::default, |(counted, estimated, bytes)| ledger_size(counted, estimated, bytes)))
}

fn misconfigured(code: &'static str, message: String) -> Failure {
    Failure::new(ErrorClass::SinkMisconfigured, code, message)
}
