//! What SQLite says of a table.

use sqlx::{AssertSqlSafe, Row as _, SqliteConnection};

use super::{classify, kinds, quote, schema_of};
use crate::catalogue::{Column, Table, TableName};
use crate::error::{ErrorClass, Failure};
use crate::nearest::there_is;

/// A table's columns and unique keys.
pub(super) async fn describe(connection: &mut SqliteConnection, table: &TableName) -> Result<Table, Failure> {
    let failed = |error| classify::failure(error, &[]);
    let found = sqlx::query(
        "SELECT type, wr, strict FROM pragma_table_list WHERE schema = ? COLLATE NOCASE AND name = ? COLLATE NOCASE",
    )
    .bind(schema_of(table))
    .bind(&table.name)
    .fetch_optional(&mut *connection)
    .await
    .map_err(failed)?;
    let Some(found) = found else { return Err(missing(connection, table).await?) };
    let (kind, without_rowid, strict): (String, bool, bool) =
        (get(&found, 0)?, get::<i64>(&found, 1)? != 0, get::<i64>(&found, 2)? != 0);
    if kind == "view" {
        return Err(Failure::new(
            ErrorClass::SinkMisconfigured,
            "view",
            format!("`{table}` is a view; name the table behind it"),
        ));
    }
    let rows = sqlx::query(
        "SELECT name, type, \"notnull\", dflt_value IS NOT NULL, pk, hidden FROM pragma_table_xinfo(?, ?) \
         WHERE hidden <> 1 ORDER BY cid",
    )
    .bind(&table.name)
    .bind(schema_of(table))
    .fetch_all(&mut *connection)
    .await
    .map_err(failed)?;
    let (mut unique_keys, has_key_index) = unique_keys(connection, table).await.map_err(failed)?;
    let mut columns = Vec::with_capacity(rows.len());
    let mut key = Vec::new();
    for row in &rows {
        let declared: String = get(row, 1)?;
        let name: String = get(row, 0)?;
        if get::<i64>(row, 4)? > 0 {
            key.push(name.clone());
        }
        columns.push(Column {
            kind: kinds::kind(&declared, strict),
            name,
            sql_type: declared,
            nullable: get::<i64>(row, 2)? == 0,
            has_default: get::<i64>(row, 3)? != 0,
            generated: get::<i64>(row, 5)? > 1,
        });
    }
    // A single INTEGER PRIMARY KEY without an index of its own is the row's own number: unique,
    // never NULL, and counted up where a row leaves it out.
    if let [name] = key.as_slice()
        && !has_key_index
        && !without_rowid
    {
        for column in columns.iter_mut().filter(|column| column.name == *name) {
            column.nullable = false;
            column.has_default = true;
        }
        unique_keys.push(key);
    }
    Ok(Table { name: table.clone(), columns, unique_keys })
}

/// The unique keys that have an index, and whether the primary key is among them.
async fn unique_keys(
    connection: &mut SqliteConnection,
    table: &TableName,
) -> Result<(Vec<Vec<String>>, bool), sqlx::Error> {
    let indexes = sqlx::query(
        "SELECT name, origin FROM pragma_index_list(?, ?) WHERE \"unique\" = 1 AND partial = 0 ORDER BY seq",
    )
    .bind(&table.name)
    .bind(schema_of(table))
    .fetch_all(&mut *connection)
    .await?;
    let (mut keys, mut has_key_index) = (Vec::new(), false);
    for index in indexes {
        has_key_index |= index.try_get::<String, _>(1)? == "pk";
        let columns: Vec<Option<String>> =
            sqlx::query_scalar("SELECT name FROM pragma_index_info(?, ?) ORDER BY seqno")
                .bind(index.try_get::<String, _>(0)?)
                .bind(schema_of(table))
                .fetch_all(&mut *connection)
                .await?;
        // An expression has no name: such an index says nothing about columns.
        if let Some(columns) = columns.into_iter().collect::<Option<Vec<_>>>() {
            keys.push(columns);
        }
    }
    Ok((keys, has_key_index))
}

fn get<'r, T>(row: &'r sqlx::sqlite::SqliteRow, at: usize) -> Result<T, Failure>
where
    T: sqlx::Decode<'r, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>,
{
    row.try_get(at).map_err(|error| classify::failure(error, &[]))
}

async fn missing(connection: &mut SqliteConnection, table: &TableName) -> Result<Failure, Failure> {
    let tables: Vec<String> = sqlx::query_scalar("SELECT name FROM sqlite_master WHERE type = 'table' LIMIT 5000")
        .fetch_all(connection)
        .await
        .map_err(|error| classify::failure(error, &[]))?;
    let hint = there_is(&table.name, &tables);
    let message = format!("there is no table `{table}` in the database file{hint}; create it, or correct `table`");
    Ok(Failure::new(ErrorClass::SinkMisconfigured, "no_such_table", message))
}

/// The table is there and the file can be written to.
pub(super) async fn check_privileges(connection: &mut SqliteConnection, table: &TableName) -> Result<(), Failure> {
    let failed = |error| classify::failure(error, &[]);
    // Fails on a missing table and on a file, or connection, that only reads.
    let nothing = format!("BEGIN IMMEDIATE; DELETE FROM {} WHERE 0; ROLLBACK", quote(table));
    let done = sqlx::raw_sql(AssertSqlSafe(nothing)).execute(&mut *connection).await;
    if let Err(error) = done {
        // Without a transaction, where BEGIN was what failed, this has nothing to do.
        sqlx::raw_sql("ROLLBACK").execute(&mut *connection).await.ok();
        return Err(failed(error));
    }
    Ok(())
}
