//! What the server says of itself and of this login's rights.

use super::connect::at_least;
use super::{MysqlSession, text_at};
use crate::catalogue::TableName;
use crate::error::Failure;
use crate::sink::{Access, Survey};

/// The oldest versions that were tried, by docs/compatibility.md.
const OLDEST_MARIADB: (u32, u32) = (10, 11);
const OLDEST_MYSQL: (u32, u32) = (9, 0);

impl MysqlSession {
    pub(super) async fn look_around(&mut self) -> Result<Survey, Failure> {
        let rows = self
            .rows("SELECT CURRENT_USER(), CAST(ROUND(UNIX_TIMESTAMP(NOW(6)) * 1000000) AS CHAR)".to_owned())
            .await?;
        let (mut login, mut clock) = (None, None);
        if let Some(row) = rows.first() {
            login = text_at(row, 0)?.map(|login| as_grantee(&login));
            clock = text_at(row, 1)?.and_then(|text| text.split('.').next()?.parse().ok());
        }
        let own = self.version.strip_prefix("5.5.5-").unwrap_or(&self.version);
        let number = own.split('-').next().unwrap_or_default();
        let (name, oldest) = if self.mariadb { ("MariaDB", OLDEST_MARIADB) } else { ("MySQL", OLDEST_MYSQL) };
        let outdated = (!at_least(&self.version, oldest))
            .then(|| format!("{name} {number} is older than {}.{}, which is the oldest tried", oldest.0, oldest.1));
        Ok(Survey {
            server: format!("{name} {number}"),
            outdated,
            login: login.unwrap_or_default(),
            transport: Some(self.transport),
            clock,
        })
    }

    pub(super) async fn look_at_rights(&mut self, table: &TableName, ledger: &TableName) -> Result<Access, Failure> {
        let columns = self
            .about(
                table,
                "SELECT COLUMN_NAME, PRIVILEGES FROM information_schema.COLUMNS \
                 WHERE TABLE_SCHEMA = COALESCE(?, DATABASE()) AND TABLE_NAME = ? ORDER BY ORDINAL_POSITION",
            )
            .await?;
        let (mut refused_columns, mut unreadable_columns) = (Vec::new(), Vec::new());
        for row in &columns {
            let name = text_at(row, 0)?.unwrap_or_default();
            let privileges = text_at(row, 1)?.unwrap_or_default();
            for (privilege, without) in [("insert", &mut refused_columns), ("select", &mut unreadable_columns)] {
                if !privileges.split(',').any(|one| one == privilege) {
                    without.push(name.clone());
                }
            }
        }
        let triggers = self
            .about(
                table,
                "SELECT 1 FROM information_schema.TRIGGERS WHERE EVENT_OBJECT_SCHEMA = COALESCE(?, DATABASE()) \
                 AND EVENT_OBJECT_TABLE = ? AND EVENT_MANIPULATION = 'INSERT' AND ACTION_TIMING = 'BEFORE'",
            )
            .await?;
        let triggers = match triggers.is_empty() {
            false => Some(true),
            // Without the right to see them there seem to be none.
            true => self.has_right(table, "TRIGGER").await?.filter(|seen| *seen).map(|_| false),
        };
        let ledger_there = self.ledger_exists(ledger).await?;
        Ok(Access {
            refused_columns,
            unreadable_columns,
            triggers,
            may_create_ledger: self.has_right(ledger, "CREATE").await?,
            ledger_there,
            ledger_lacks: if ledger_there { self.ledger_lacks(ledger).await? } else { Vec::new() },
        })
    }

    /// A right on a table's database, or on all of them. `None`: a role may give it.
    async fn has_right(&mut self, table: &TableName, right: &'static str) -> Result<Option<bool>, Failure> {
        let own = "GRANTEE = CONCAT('\\'', SUBSTRING_INDEX(CURRENT_USER(), '@', 1), '\\'@\\'', \
                   SUBSTRING_INDEX(CURRENT_USER(), '@', -1), '\\'')";
        let schema = match &table.schema {
            Some(schema) => format!("'{}'", schema.replace('\\', "\\\\").replace('\'', "''")),
            None => "DATABASE()".to_owned(),
        };
        let found = self
            .rows(format!(
                "SELECT 1 FROM information_schema.USER_PRIVILEGES WHERE PRIVILEGE_TYPE = '{right}' AND {own} UNION ALL \
                 SELECT 1 FROM information_schema.SCHEMA_PRIVILEGES WHERE PRIVILEGE_TYPE = '{right}' AND {own} \
                 AND {schema} LIKE TABLE_SCHEMA"
            ))
            .await?;
        if !found.is_empty() {
            return Ok(Some(true));
        }
        let role = self.rows("SELECT CURRENT_ROLE()".to_owned()).await?;
        let role = role.first().map(|row| text_at(row, 0)).transpose()?.flatten();
        Ok(role.is_none_or(|role| role == "NONE").then_some(false))
    }
}

/// `user@host` as GRANT takes it.
fn as_grantee(login: &str) -> String {
    let (user, host) = login.rsplit_once('@').unwrap_or((login, "%"));
    format!("'{}'@'{}'", user.replace('\'', "''"), host.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::{OLDEST_MARIADB, OLDEST_MYSQL};

    #[test]
    fn the_oldest_are_the_pages() {
        let page = include_str!("../../../docs/compatibility.md");
        for (name, oldest) in [("mariadb", OLDEST_MARIADB), ("mysql", OLDEST_MYSQL)] {
            let version = |line: &str| {
                let text = line.strip_prefix(&format!("| `{name}-"))?.split('`').next()?.to_owned();
                let (major, minor) = text.split_once('.').unwrap_or((&text, "0"));
                Some((major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?))
            };
            assert_eq!(page.lines().filter_map(version).min(), Some(oldest), "{name}");
        }
    }
}
