//! What the server says of a table.

use sqlx::AssertSqlSafe;
use sqlx::mysql::MySqlRow;

use super::kinds::{self, Declared};
use super::{MysqlSession, classify, text_at};
use crate::catalogue::{Column, Table, TableName};
use crate::error::{ErrorClass, Failure};
use crate::nearest::there_is;

impl MysqlSession {
    /// A query with the table's database and name as its first two values.
    pub(super) async fn about(&mut self, table: &TableName, sql: impl Into<String>) -> Result<Vec<MySqlRow>, Failure> {
        sqlx::query(AssertSqlSafe(sql.into()))
            .bind(&table.schema)
            .bind(&table.name)
            .fetch_all(&mut self.connection)
            .await
            .map_err(|error| classify::failure(error, &[]))
    }

    pub(super) async fn describe_table(&mut self, table: &TableName) -> Result<Table, Failure> {
        self.check_engine(table).await?;
        let json_checks = self.json_checks(table).await?;
        let rows = self
            .about(
                table,
                "SELECT COLUMN_NAME, DATA_TYPE, COLUMN_TYPE, IS_NULLABLE, COLUMN_DEFAULT, EXTRA, \
                 CAST(CHARACTER_MAXIMUM_LENGTH AS CHAR), CAST(CHARACTER_OCTET_LENGTH AS CHAR), \
                 CAST(NUMERIC_PRECISION AS CHAR), CAST(NUMERIC_SCALE AS CHAR), CAST(DATETIME_PRECISION AS CHAR), \
                 CHARACTER_SET_NAME FROM information_schema.COLUMNS \
                 WHERE TABLE_SCHEMA = COALESCE(?, DATABASE()) AND TABLE_NAME = ? ORDER BY ORDINAL_POSITION",
            )
            .await?;
        let columns = rows.iter().map(|row| self.column(row, &json_checks)).collect::<Result<Vec<_>, _>>()?;
        let unique_keys = self.unique_keys(table).await?;
        Ok(Table { name: table.clone(), columns, unique_keys })
    }

    /// The table is there, and a transaction on it can be rolled back.
    pub(super) async fn check_engine(&mut self, table: &TableName) -> Result<(), Failure> {
        let rows = self
            .about(
                table,
                "SELECT t.ENGINE, e.TRANSACTIONS FROM information_schema.TABLES t \
                 LEFT JOIN information_schema.ENGINES e ON e.ENGINE = t.ENGINE \
                 WHERE t.TABLE_SCHEMA = COALESCE(?, DATABASE()) AND t.TABLE_NAME = ?",
            )
            .await?;
        let Some(row) = rows.first() else { return Err(self.missing(table).await?) };
        // A view has no engine; its tables' can't be looked up everywhere.
        let Some(engine) = text_at(row, 0)? else { return Ok(()) };
        if text_at(row, 1)?.as_deref() == Some("YES") {
            return Ok(());
        }
        Err(Failure::new(
            ErrorClass::SinkMisconfigured,
            "engine",
            format!(
                "`{table}` uses the engine {engine}, which can't roll back: rows would be lost or written twice. \
                 ALTER TABLE … ENGINE = InnoDB"
            ),
        ))
    }

    async fn missing(&mut self, table: &TableName) -> Result<Failure, Failure> {
        const TABLES: &str = "SELECT IF(TABLE_SCHEMA = DATABASE(), TABLE_NAME, CONCAT(TABLE_SCHEMA, '.', TABLE_NAME)) \
                              FROM information_schema.TABLES WHERE TABLE_SCHEMA NOT IN \
                              ('mysql', 'sys', 'information_schema', 'performance_schema') LIMIT 5000";
        let rows = self.rows(TABLES.to_owned()).await?;
        let tables: Vec<String> =
            rows.iter().map(|row| Ok(text_at(row, 0)?.unwrap_or_default())).collect::<Result<_, Failure>>()?;
        let message = format!(
            "there is no table `{table}`{}, or this login has no privilege on it; create it, correct `table` \
             (with its database in front where the URL names another), or GRANT INSERT",
            there_is(&table.name, &tables)
        );
        Ok(Failure::new(ErrorClass::SinkMisconfigured, "1146", message))
    }

    fn column(&self, row: &MySqlRow, json_checks: &[String]) -> Result<Column, Failure> {
        let text = |at| Ok::<String, Failure>(text_at(row, at)?.unwrap_or_default());
        let name = text(0)?;
        let default = text_at(row, 4)?;
        let extra = text(5)?.to_ascii_lowercase();
        let nullable = text(3)? == "YES";
        let declared = Declared {
            data_type: text(1)?.to_ascii_lowercase(),
            column_type: text(2)?,
            max_chars: number_at(row, 6)?,
            max_bytes: number_at(row, 7)?,
            precision: number_at(row, 8)?,
            scale: number_at(row, 9)?,
            fraction: number_at(row, 10)?.unwrap_or(0),
            charset: text(11)?,
            json_check: json_checks.contains(&name),
            long_timestamp: self.long_timestamp,
        };
        // MariaDB writes the missing default of a column that may be NULL as the word.
        let no_default = self.mariadb && nullable && default.as_deref() == Some("NULL");
        let expression = extra.contains("default_generated");
        Ok(Column {
            kind: kinds::kind(&declared),
            sql_type: declared.column_type,
            nullable,
            has_default: (default.is_some() && !no_default) || expression || extra.contains("auto_increment"),
            generated: extra.contains("generated") && !expression,
            name,
        })
    }

    /// MariaDB's JSON type is a LONGTEXT with a check of this form.
    async fn json_checks(&mut self, table: &TableName) -> Result<Vec<String>, Failure> {
        if !self.mariadb {
            return Ok(Vec::new());
        }
        let rows = self
            .about(
                table,
                "SELECT CHECK_CLAUSE FROM information_schema.CHECK_CONSTRAINTS \
                 WHERE CONSTRAINT_SCHEMA = COALESCE(?, DATABASE()) AND TABLE_NAME = ?",
            )
            .await?;
        let mut columns = Vec::new();
        for row in &rows {
            let clause = text_at(row, 0)?.unwrap_or_default();
            let name = clause.strip_prefix("json_valid(`").and_then(|rest| rest.strip_suffix("`)"));
            columns.extend(name.map(|name| name.replace("``", "`")));
        }
        Ok(columns)
    }

    /// Without those over a column's first characters or an expression.
    async fn unique_keys(&mut self, table: &TableName) -> Result<Vec<Vec<String>>, Failure> {
        let rows = self
            .about(
                table,
                "SELECT INDEX_NAME, COLUMN_NAME, CAST(SUB_PART AS CHAR) FROM information_schema.STATISTICS \
                 WHERE TABLE_SCHEMA = COALESCE(?, DATABASE()) AND TABLE_NAME = ? AND NON_UNIQUE = 0 \
                 ORDER BY INDEX_NAME, SEQ_IN_INDEX",
            )
            .await?;
        let mut keys: Vec<(String, Option<Vec<String>>)> = Vec::new();
        for row in &rows {
            let index = text_at(row, 0)?.unwrap_or_default();
            let column = text_at(row, 1)?.filter(|_| matches!(text_at(row, 2), Ok(None)));
            match keys.last_mut() {
                Some((last, columns)) if *last == index => match (columns.as_mut(), column) {
                    (Some(columns), Some(column)) => columns.push(column),
                    _ => *columns = None,
                },
                _ => keys.push((index, column.map(|column| vec![column]))),
            }
        }
        Ok(keys.into_iter().filter_map(|(_, columns)| columns).collect())
    }

    /// The catalogue tells for each column what this login may do, roles included.
    pub(super) async fn check_insert(&mut self, table: &TableName) -> Result<(), Failure> {
        self.check_engine(table).await?;
        let rows = self
            .about(
                table,
                "SELECT COLUMN_NAME FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = COALESCE(?, DATABASE()) \
                 AND TABLE_NAME = ? AND FIND_IN_SET('insert', PRIVILEGES) > 0 LIMIT 1",
            )
            .await?;
        if rows.is_empty() {
            return Err(Failure::new(
                ErrorClass::SinkMisconfigured,
                "1142",
                format!("this login may not insert into `{table}`: GRANT INSERT ON {} TO …", super::quote(table)),
            ));
        }
        Ok(())
    }
}

fn number_at<T: std::str::FromStr>(row: &MySqlRow, at: usize) -> Result<Option<T>, Failure> {
    Ok(text_at(row, at)?.and_then(|text| text.parse().ok()))
}
