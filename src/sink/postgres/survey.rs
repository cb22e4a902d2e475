//! What the server says of itself and of this login's rights.

use sqlx::{PgConnection, Row};

use crate::catalogue::TableName;
use crate::error::Failure;
use crate::sink::{Access, Survey, Transport};

use super::classify::failure;
use super::connect::Guarded;
use super::{ledger, statement};

/// The oldest version that was tried, by docs/compatibility.md.
const OLDEST: i32 = 15;

const SERVER: &str = "SELECT current_setting('server_version'), current_setting('server_version_num')::int4, \
                      quote_ident(current_user), (SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), \
                      (extract(epoch FROM clock_timestamp()) * 1000000)::int8";

pub(super) async fn survey(conn: &mut PgConnection, guarded: Guarded) -> Result<Survey, Failure> {
    let row = sqlx::query(SERVER).fetch_one(conn).await.map_err(failure)?;
    let number: i32 = row.try_get(1).map_err(failure)?;
    let encrypted: Option<bool> = row.try_get(3).map_err(failure)?;
    let version: String = row.try_get(0).map_err(failure)?;
    // Debian adds its own package's version in brackets.
    let version = version.split(' ').next().unwrap_or_default().to_owned();
    Ok(Survey {
        outdated: (number / 10_000 < OLDEST)
            .then(|| format!("PostgreSQL {version} is older than {OLDEST}, which is the oldest tried")),
        server: format!("PostgreSQL {version}"),
        login: row.try_get(2).map_err(failure)?,
        transport: encrypted.map(|encrypted| Transport {
            encrypted,
            verified: encrypted && guarded.verified,
            local: guarded.local,
        }),
        clock: row.try_get(4).map_err(failure)?,
    })
}

/// Row-level BEFORE INSERT, or INSTEAD OF INSERT on a view: 1 row, 2 before, 4 insert, 64 instead.
const TRIGGERS: &str = "SELECT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = to_regclass($1) \
                        AND NOT tgisinternal AND tgtype & 4 <> 0 AND tgtype & 66 <> 0)";

const REFUSED: &str = "SELECT attname::text FROM pg_attribute WHERE attrelid = to_regclass($1) AND attnum > 0 \
                       AND NOT attisdropped AND NOT has_column_privilege(attrelid, attnum, $2) ORDER BY attnum";

const MAY_CREATE: &str = "SELECT has_schema_privilege(oid, 'CREATE') FROM pg_namespace \
                          WHERE nspname = coalesce($1, current_schema())";

pub(super) async fn access(
    conn: &mut PgConnection,
    table: &TableName,
    ledger_table: &TableName,
) -> Result<Access, Failure> {
    let quoted = statement::table(table);
    let triggers = sqlx::query_scalar(TRIGGERS).bind(&quoted).fetch_one(&mut *conn).await.map_err(failure)?;
    let refused = async |conn: &mut PgConnection, privilege: &str| {
        sqlx::query_scalar(REFUSED).bind(&quoted).bind(privilege).fetch_all(conn).await.map_err(failure)
    };
    let refused_columns = refused(conn, "INSERT").await?;
    let unreadable_columns = refused(conn, "SELECT").await?;
    let may_create: Option<bool> =
        sqlx::query_scalar(MAY_CREATE).bind(&ledger_table.schema).fetch_optional(&mut *conn).await.map_err(failure)?;
    let ledger_there = ledger::is_complete(conn, ledger_table).await?;
    let ledger_lacks = if ledger_there { ledger::lacking(conn, ledger_table).await? } else { Vec::new() };
    Ok(Access {
        refused_columns,
        unreadable_columns,
        triggers: Some(triggers),
        // Without the schema nothing can be created in it.
        may_create_ledger: Some(may_create.unwrap_or(false)),
        ledger_there,
        ledger_lacks,
    })
}

#[cfg(test)]
mod tests {
    use super::OLDEST;

    #[test]
    fn the_oldest_is_the_pages() {
        let page = include_str!("../../../docs/compatibility.md");
        let tried = page.lines().filter_map(|line| line.strip_prefix("| `postgres-")?.split('`').next()?.parse().ok());
        assert_eq!(tried.min(), Some(OLDEST));
    }
}
