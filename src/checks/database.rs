//! The database's side of a pipeline.

mod own_tables;

use super::{Finding, Level, clock, columns};
use crate::catalogue::{Column, Table, TableName};
use crate::config::{self, Deduplicate};
use crate::error::{ErrorClass, Failure};
use crate::guarantee::Gap;
use crate::mapping::{Plan, Problem};
use crate::plan::{Deduplication, Ledger};
use crate::sink::{Access, Database, Opening, Session, StoredPause, Survey, Transport};

const POOL_SESSIONS: &str = "let it pool sessions (PgBouncer: pool_mode = session), since timeouts, SET ROLE and \
                             prepared statements belong to a session";

/// What a look is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To tell: nothing may change.
    Look,
    /// To start a pipeline: the ledger may be made.
    Start(Opening),
}

/// What was found.
#[derive(Debug, Default)]
pub struct Side {
    /// A line each.
    pub findings: Vec<Finding>,
    /// The table, where it is there.
    pub table: Option<Table>,
    /// How to map, where that can be told.
    pub plan: Option<Plan>,
    /// The ledger is there, and the plan's writes can be rehearsed with it.
    pub ledger_open: bool,
    /// The ledger has been emptied behind a marker that says it was used.
    pub ledger_emptied: bool,
    /// Every replica has been ordered to pause this pipeline.
    pub pause: Option<StoredPause>,
    /// What weakens durability.
    pub weaknesses: Vec<String>,
}

impl Side {
    pub(super) fn of(finding: Finding) -> Self {
        Side { findings: vec![finding], ..Side::default() }
    }
}

/// Everything that one connection can find out. A connection that is lost on the way ends it.
pub(super) async fn look(
    database: &dyn Database,
    config: &config::Database,
    pipeline: &config::Pipeline,
    purpose: Purpose,
) -> Side {
    let connected = match purpose {
        Purpose::Look => database.connect_to_look().await,
        Purpose::Start(_) => database.connect().await,
    };
    let mut session = match connected {
        Ok(session) => session,
        Err(failure) => return Side::of(not_connected(&failure, config)),
    };
    let mut look = Look { database, config, pipeline, purpose, side: Side::default(), login: String::new() };
    if let Err(mut failure) = look.through(&mut *session).await {
        // A prepared statement of somebody else's, or none of ours.
        if matches!(failure.code.as_ref(), "42P05" | "26000") {
            failure.message = format!("its sessions are shared by a pooler: {POOL_SESSIONS}").into();
        }
        look.side.findings.push(read_only(Finding::of("database", &failure), &failure));
    }
    session.close().await;
    look.side
}

fn not_connected(failure: &Failure, config: &config::Database) -> Finding {
    let finding = Finding::of("database", failure);
    match (failure.class, failure.code.as_ref()) {
        (ErrorClass::SinkMisconfigured, "28P01" | "28000" | "1045") => {
            finding.todo(format!("check user and password of database \"{}\"", config.name))
        }
        (ErrorClass::SinkMisconfigured, "3D000" | "1049") => finding.todo("create the database, or correct the URL"),
        (ErrorClass::SinkMisconfigured, "no_such_file") => {
            finding.todo("make the file with its table: sqlite3 FILE < table.sql (`rabbit-sink init --ddl` writes one)")
        }
        (_, "io" | "connect_timeout") => {
            finding.todo("is it running, and is that its address? The worker waits for it")
        }
        _ => read_only(finding, failure),
    }
}

/// It answers, so that it isn't out of reach: the config names the wrong server, or somebody has
/// stopped all writers. The worker holds, as a failover may end it.
fn read_only(finding: Finding, failure: &Failure) -> Finding {
    match failure.code.as_ref() {
        "25006" | "1290" | "1836" | "1792" => finding
            .at(Level::Wrong)
            .todo("name the primary in the URL, or let the server take writes; the worker holds until it can write"),
        _ => finding,
    }
}

struct Look<'a> {
    database: &'a dyn Database,
    config: &'a config::Database,
    pipeline: &'a config::Pipeline,
    purpose: Purpose,
    side: Side,
    login: String,
}

impl Look<'_> {
    async fn through(&mut self, session: &mut dyn Session) -> Result<(), Failure> {
        // First: with its statements mixed up by a pooler, a session can't say anything else.
        if let Some(pooler) = self.database.between().await.unwrap_or_default() {
            // What others set for themselves (synchronous_commit = off) would hold for us, and ours for them.
            self.add(
                match pooler.shared {
                    true => Finding::wrong(
                        "pooler",
                        "a pooler such as PgBouncer hands one connection of the server to several sessions \
                     (pool_mode = transaction)",
                    ),
                    false => Finding::warning("pooler", "a pooler such as PgBouncer stands in between"),
                }
                .todo(POOL_SESSIONS),
            );
            if pooler.shared {
                return Ok(());
            }
        }
        let survey = session.survey().await?;
        self.server(&survey);
        self.login = survey.login;
        self.orders(session).await?;
        let described = self.side(session.describe(&self.pipeline.table).await, "table")?;
        let fits = match &described {
            Some(table) => self.table(session, table).await?,
            None => false,
        };
        // A start that fails must not leave a ledger that says which table it was for.
        if fits || self.purpose == Purpose::Look {
            let ledger = self.ledger(session).await?;
            self.side.ledger_open = ledger.is_some();
            self.side.ledger_emptied = ledger.as_ref().is_some_and(|ledger| ledger.emptied);
            let letters_open = self.dead_letters(session).await?;
            if let (true, Some(table)) = (fits, &described) {
                self.writing(session, table, ledger, letters_open).await?;
            }
        }
        self.side.table = described;
        let weaknesses = session.weaknesses().await?;
        for weakness in &weaknesses {
            let (remedy, sql) = crate::guarantee::strengthened(weakness);
            let finding =
                Finding::warning("durability", weakness).todo(format!("what is acked may be lost then: {remedy}"));
            self.add(match sql {
                Some(sql) => finding.mend(sql.replace("LOGIN", &self.login)),
                None => finding,
            });
        }
        if weaknesses.is_empty() {
            self.add(Finding::ok("durability", "the server keeps what it has committed"));
        }
        let gaps: Vec<Gap> = crate::guarantee::assess(self.pipeline, self.config, &weaknesses, Vec::new(), false).gaps;
        if let (Purpose::Start(_), Some(refused)) = (self.purpose, super::demanded(self.pipeline, &gaps)) {
            self.add(refused);
        }
        self.side.weaknesses = weaknesses;
        Ok(())
    }

    fn add(&mut self, finding: Finding) {
        self.side.findings.push(finding);
    }

    /// A wrong setup becomes a line, anything else ends the look.
    fn side<T>(&mut self, result: Result<T, Failure>, check: &'static str) -> Result<Option<T>, Failure> {
        match result {
            Ok(found) => Ok(Some(found)),
            Err(failure) if failure.class == ErrorClass::SinkMisconfigured => {
                let finding = Finding::of(check, &failure);
                let finding = match self.mend(&failure) {
                    Some(mend) => finding.mend(mend),
                    None => finding,
                };
                self.add(finding);
                Ok(None)
            }
            Err(failure) => Err(failure),
        }
    }

    /// The SQL that mends it.
    fn mend(&self, failure: &Failure) -> Option<String> {
        let table = self.database.quote(&self.pipeline.table);
        let login = if self.login.is_empty() { "…" } else { &self.login };
        match failure.code.as_ref() {
            "42P01" | "1146" | "no_such_table" => Some(
                "rabbit-sink init --sample FILE --ddl     # prints a CREATE TABLE out of sample messages".to_owned(),
            ),
            "42501" if failure.message.contains("USAGE") => {
                let schema = self.pipeline.table.schema.as_deref().unwrap_or_default();
                Some(format!("GRANT USAGE ON SCHEMA \"{schema}\" TO {login};"))
            }
            "42501" | "1142" | "1143" => Some(self.grant(&["INSERT"], "", &self.pipeline.table)),
            "engine" => Some(format!("ALTER TABLE {table} ENGINE = InnoDB;")),
            _ => None,
        }
    }

    /// `columns`: nothing, or a list of columns in brackets.
    fn grant(&self, privileges: &[&str], columns: &str, table: &TableName) -> String {
        let login = if self.login.is_empty() { "…" } else { &self.login };
        let named: Vec<String> = privileges.iter().map(|privilege| format!("{privilege}{columns}")).collect();
        format!("GRANT {} ON {} TO {login};", named.join(", "), self.database.quote(table))
    }

    fn server(&mut self, survey: &Survey) {
        if survey.server.is_empty() {
            return;
        }
        let login = if survey.login.is_empty() { String::new() } else { format!(" as {}", survey.login) };
        let tls = match survey.transport {
            Some(Transport { encrypted: true, .. }) => ", encrypted",
            Some(Transport { encrypted: false, .. }) => ", not encrypted",
            None => "",
        };
        self.add(Finding::ok("database", format!("{}{login}{tls}", survey.server)));
        survey.transport.and_then(exposed).into_iter().for_each(|finding| self.add(finding));
        if let Some(outdated) = &survey.outdated {
            self.add(Finding::warning("version", outdated).todo("docs/compatibility.md lists what was tried"));
        }
        if let Some(theirs) = survey.clock {
            self.add(clock("the database's", theirs, "the ledger is pruned by the database's clock"));
        }
    }

    /// Whether rows can be mapped into the table and this login may insert them, as far as the
    /// catalogue says.
    async fn table(&mut self, session: &mut dyn Session, table: &Table) -> Result<bool, Failure> {
        let key = |key: &Vec<String>| format!("({})", key.join(", "));
        let keys = match table.unique_keys.as_slice() {
            [] => "no unique key".to_owned(),
            keys => format!("unique: {}", keys.iter().map(key).collect::<Vec<_>>().join(", ")),
        };
        self.add(Finding::ok("table", format!("{}, {} columns, {keys}", table.name, table.columns.len())));
        let access = session.access(&self.pipeline.table, &self.config.ledger_table).await?;
        let may_insert = self.side(session.check_privileges(&self.pipeline.table).await, "privileges")?.is_some();
        match self.plan(table, None) {
            Err(problems) => {
                let texts: Vec<&str> = problems.iter().map(|problem| problem.text.as_str()).collect();
                let failure = Failure::new(ErrorClass::SinkMisconfigured, "columns", texts.join("; "));
                // The worker's reason names them all at once.
                let found = match self.purpose {
                    Purpose::Look => columns::problems(&problems, table, self.database, self.config.kind),
                    Purpose::Start(_) => vec![Finding::of("columns", &failure)],
                };
                self.side.findings.extend(found);
                let mapped = columns::mapped(self.pipeline, table);
                let others = columns::fit(self.pipeline, table, &mapped, &access, self.config.kind);
                self.side.findings.extend(others);
                Ok(false)
            }
            Ok(plan) => {
                let filled: Vec<&Column> = plan.write.targets.iter().flat_map(|target| &target.columns).collect();
                let mut found = columns::fit(self.pipeline, table, &filled, &access, self.config.kind);
                if !found.iter().any(Finding::stops) {
                    found.push(Finding::ok("columns", columns::told(table, &filled)));
                }
                let names: Vec<&str> = filled.iter().map(|column| column.name.as_str()).collect();
                found.extend(self.refused(&access, &names));
                let fits = !found.iter().any(Finding::stops);
                self.side.findings.extend(found);
                self.side.plan = Some(plan);
                Ok(may_insert && fits)
            }
        }
    }

    /// What of the table this login may not touch, with the GRANT for it.
    fn refused(&self, access: &Access, filled: &[&str]) -> Vec<Finding> {
        let mut found = Vec::new();
        let refused: Vec<&str> =
            filled.iter().copied().filter(|name| access.refused_columns.iter().any(|other| other == name)).collect();
        let one = |name: &str| self.database.quote(&TableName { schema: None, name: name.to_owned() });
        if refused.len() == filled.len() && !refused.is_empty() {
            // `check_privileges` has said so.
        } else if !refused.is_empty() {
            let text = format!("this login may not fill {}", refused.join(", "));
            let columns = refused.iter().map(|name| one(name)).collect::<Vec<_>>().join(", ");
            let grant = self.grant(&["INSERT"], &format!(" ({columns})"), &self.pipeline.table);
            found.push(Finding::wrong("privileges", text).todo("grant it").mend(grant));
        }
        if let Deduplicate::Column(key) = &self.pipeline.deduplicate
            && access.unreadable_columns.contains(key)
        {
            let text = format!("this login may not read {key}, by which repeats are recognised");
            let grant = self.grant(&["SELECT"], &format!(" ({})", one(key)), &self.pipeline.table);
            found.push(Finding::wrong("privileges", text).todo("grant it").mend(grant));
        }
        found
    }

    /// The columns don't depend on the ledger: where it isn't open, another stands in for it.
    fn plan(&self, table: &Table, ledger: Option<Ledger>) -> Result<Plan, Vec<Problem>> {
        let ledger = match self.pipeline.deduplicate {
            Deduplicate::Ledger => Some(ledger.unwrap_or_else(|| Ledger {
                table: self.config.ledger_table.clone(),
                pipeline: 0,
                emptied: false,
            })),
            Deduplicate::Column(_) | Deduplicate::None => None,
        };
        Plan::compile_all(self.pipeline, table, ledger)
    }

    /// The statements themselves, without a row, rolled back.
    async fn writing(
        &mut self,
        session: &mut dyn Session,
        table: &Table,
        ledger: Option<Ledger>,
        letters_open: bool,
    ) -> Result<(), Failure> {
        let ledger_open = ledger.is_some();
        let Ok(plan) = self.plan(table, ledger) else { return Ok(()) };
        let mut write = (*plan.write).clone();
        if !ledger_open && matches!(write.deduplication, Deduplication::Ledger(_)) {
            write.deduplication = Deduplication::None;
        }
        if !letters_open {
            write.letters = None;
        }
        self.side.plan = Some(plan);
        let probed = match session.probe_write(&write).await {
            // A column that must be filled and that the catalogue doesn't show.
            Err(failure) if failure.code == "1364" => {
                let failure = Failure { class: ErrorClass::SinkMisconfigured, ..failure };
                let todo =
                    "MySQL hides the columns that a login has no privilege on: is there one that must be filled?";
                let grant = self.grant(&["SELECT", "INSERT"], "", &self.pipeline.table);
                self.add(Finding::of("columns", &failure).todo(todo).mend(grant));
                return Ok(());
            }
            probed => probed,
        };
        if self.side(probed, "privileges")?.is_some() {
            let on = if ledger_open { "the table and the ledger" } else { "the table" };
            self.add(Finding::ok("privileges", format!("this login may insert into {on} (tried, rolled back)")));
        }
        Ok(())
    }
}

/// Who stands in between could read it, or answer in the server's place: somebody has asked for that.
fn exposed(transport: Transport) -> Option<Finding> {
    let text = match transport {
        Transport { local: true, .. } | Transport { encrypted: true, verified: true, .. } => return None,
        Transport { encrypted: true, .. } => "nobody looks whose certificate the server shows",
        Transport { encrypted: false, .. } => "login and rows travel unencrypted",
    };
    let todo =
        "take sslmode (MySQL: ssl-mode) out of the URL, and set ca_file, unless you trust the network in between";
    Some(Finding::warning("encryption", text).todo(todo))
}
