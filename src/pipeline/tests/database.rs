//! A table and a ledger in memory, with faults on demand. What a row does to its transaction
//! stands in the message: `"kind"` in its body.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::catalogue::{Column, Kind, Table, TableName};
use crate::error::{ErrorClass, Failure};
use crate::message::{LedgerEntry, Outcome, Unit};
use crate::plan::{Ledger, WritePlan};
use crate::sink::{Database, Entered, LedgerIdentity, Opening, Session};

#[derive(Clone)]
pub(super) struct FakeDatabase {
    state: Arc<Mutex<State>>,
    /// Answers are held back while it says so.
    pub held: Arc<watch::Sender<bool>>,
}

#[derive(Default)]
pub(super) struct State {
    /// Committed rows: ID and body.
    pub rows: Vec<(String, Bytes)>,
    pub ledger: HashMap<String, [u8; 16]>,
    /// Each transaction's units by ID, and whether it committed.
    pub transactions: Vec<(Vec<String>, bool)>,
    pub violations: Vec<String>,
    pub connects: u32,
    pub probes: u32,
    pub checks: u32,
    /// Sessions of an earlier life of the server are dead.
    life: u32,
    /// Nothing answers.
    pub away: bool,
    /// A crashed server is back then.
    pub recovers: Option<Instant>,
    /// Every write, probe and check says that a table is missing.
    pub misconfigured: bool,
    /// So many writes meet contention.
    pub contention: u32,
    /// Rows that somebody else has locked.
    pub locked: BTreeSet<String>,
    /// So many commits happen without an answer.
    pub lost_commits: u32,
    /// Every write and probe fails in a way that nobody knows.
    pub unknown: bool,
    /// So many writes fail in a way that nobody knows; probes pass.
    pub unknown_writes: u32,
    /// The disk is full: the server says so to every write, and a probe fits.
    pub full: bool,
    /// How long a transaction takes, before its commit.
    pub slow: Duration,
    /// How long its answer takes after that.
    pub late: Duration,
    /// Somebody has altered the table; rows that were refused pass.
    pub altered: bool,
    /// The ledger's marker is there and the ledger empty.
    pub emptied: bool,
}

impl FakeDatabase {
    pub(super) fn new() -> Self {
        FakeDatabase { state: Arc::default(), held: Arc::new(watch::Sender::new(false)) }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// The server goes away, and with it every session.
    pub(super) fn go_away(&self) {
        let mut state = self.state();
        state.away = true;
        state.life += 1;
    }

    pub(super) fn come_back(&self) {
        self.state().away = false;
    }

    pub(super) fn ids(&self) -> Vec<String> {
        self.state().rows.iter().map(|(id, _)| id.clone()).collect()
    }
}

impl State {
    fn reachable(&self) -> Result<(), Failure> {
        if self.away || self.recovers.is_some_and(|at| at > Instant::now()) {
            return Err(Failure::new(ErrorClass::SinkUnavailable, "io", "connection refused"));
        }
        Ok(())
    }

    fn set_up(&self) -> Result<(), Failure> {
        match self.misconfigured {
            true => Err(Failure::new(ErrorClass::SinkMisconfigured, "42P01", "table orders is missing")),
            false => Ok(()),
        }
    }

    fn known_errors(&self) -> Result<(), Failure> {
        match self.unknown {
            true => Err(Failure::new(ErrorClass::Unknown, "F0000", "whatever")),
            false => Ok(()),
        }
    }

    /// What statement by statement happens before COMMIT.
    fn apply(&mut self, units: &[&Unit]) -> Result<Vec<Outcome>, Failure> {
        self.set_up()?;
        self.known_errors()?;
        if self.full {
            return Err(Failure::new(ErrorClass::SinkUnavailable, "53100", "disk full"));
        }
        if self.contention > 0 {
            self.contention -= 1;
            return Err(Failure::new(ErrorClass::SinkContention, "40P01", "deadlock"));
        }
        if self.unknown_writes > 0 {
            self.unknown_writes -= 1;
            return Err(Failure::new(ErrorClass::Unknown, "F0000", "whatever"));
        }
        let mut fresh: BTreeSet<String> = BTreeSet::new();
        let mut outcomes = Vec::new();
        for unit in units {
            let entry = unit.ledger.as_ref().unwrap();
            let id = entry.id.as_str().to_owned();
            if !fresh.insert(id.clone()) {
                self.violations.push(format!("ID {id} stands twice in one transaction"));
            }
            let outcome = match self.ledger.get(&id) {
                Some(hash) if *hash == entry.body_hash => Outcome::Duplicate,
                Some(_) => Failure::new(ErrorClass::IdConflict, "other_body", "written with another body").into(),
                None => {
                    self.accept(&id, &kind(&unit.delivery.envelope.body), &fresh)?;
                    Outcome::Written
                }
            };
            outcomes.push(outcome);
        }
        Ok(outcomes)
    }

    /// Takes a row, or says what it does.
    fn accept(&mut self, id: &str, kind: &str, fresh: &BTreeSet<String>) -> Result<(), Failure> {
        if self.locked.contains(id) {
            return Err(Failure::new(ErrorClass::SinkContention, "55P03", "locked"));
        }
        let failure = |class, code: &'static str| Err(Failure::new(class, code, "refused").column("kind"));
        match kind {
            "bad" if !self.altered => failure(ErrorClass::RowRejected, "22001"),
            "policy" => failure(ErrorClass::SinkMisconfigured, "42501"),
            "strange" => failure(ErrorClass::Unknown, "F0001"),
            "killer" => failure(ErrorClass::SinkUnavailable, "io"),
            "crasher" => {
                self.recovers = Some(Instant::now() + Duration::from_secs(3));
                self.life += 1;
                failure(ErrorClass::SinkUnavailable, "io")
            }
            _ => match kind.strip_prefix("child of ") {
                Some(parent) if !self.ledger.contains_key(parent) && !fresh.contains(parent) => {
                    failure(ErrorClass::RowRejected, "23503")
                }
                _ => Ok(()),
            },
        }
    }

    fn commit(&mut self, units: &[&Unit], outcomes: &[Outcome]) {
        for (unit, outcome) in units.iter().zip(outcomes) {
            if let Outcome::Written = outcome {
                let entry = unit.ledger.as_ref().unwrap();
                self.ledger.insert(entry.id.as_str().to_owned(), entry.body_hash);
                self.rows.push((entry.id.as_str().to_owned(), unit.delivery.envelope.body.clone()));
            }
        }
    }
}

/// Bodies are written by these tests; a parser would take a tenth of their time.
fn kind(body: &[u8]) -> String {
    let text = std::str::from_utf8(body).unwrap();
    text.split_once("\"kind\":\"").and_then(|(_, rest)| rest.split_once('"')).unwrap().0.to_owned()
}

impl Database for FakeDatabase {
    fn connect(&self) -> BoxFuture<'_, Result<Box<dyn Session>, Failure>> {
        Box::pin(async move {
            let mut state = self.state();
            state.connects += 1;
            state.reachable()?;
            let session = FakeSession { database: self.clone(), life: state.life, broken: false };
            Ok(Box::new(session) as Box<dyn Session>)
        })
    }

    fn ledger_ddl(&self, _: &TableName) -> String {
        String::new()
    }
}

struct FakeSession {
    database: FakeDatabase,
    life: u32,
    /// An error has left its state unknown, or a future was dropped: nobody may use it again.
    broken: bool,
}

impl FakeSession {
    fn alive(&self) -> Result<MutexGuard<'_, State>, Failure> {
        let state = self.database.state();
        if state.reachable().is_err() || state.life != self.life {
            return Err(Failure::new(ErrorClass::SinkUnavailable, "io", "connection reset"));
        }
        Ok(state)
    }

    async fn transaction(&self, units: &[&Unit]) -> Result<Vec<Outcome>, Failure> {
        let slow = self.alive()?.slow;
        let mut held = self.database.held.subscribe();
        held.wait_for(|held| !held).await.ok();
        if !slow.is_zero() {
            tokio::time::sleep(slow).await;
        }
        let (outcomes, late) = self.commit(units)?;
        if !late.is_zero() {
            tokio::time::sleep(late).await;
        }
        Ok(outcomes)
    }

    /// In one moment; also tells how long the answer takes.
    fn commit(&self, units: &[&Unit]) -> Result<(Vec<Outcome>, Duration), Failure> {
        let mut state = self.alive()?;
        let ids = units.iter().map(|unit| unit.ledger.as_ref().unwrap().id.as_str().to_owned()).collect();
        let applied = state.apply(units);
        state.transactions.push((ids, applied.is_ok()));
        let outcomes = applied?;
        state.commit(units, &outcomes);
        if state.lost_commits > 0 {
            state.lost_commits -= 1;
            return Err(Failure::new(ErrorClass::SinkUnavailable, "io", "COMMIT got no answer"));
        }
        Ok((outcomes, state.late))
    }
}

impl Session for FakeSession {
    fn describe<'a>(&'a mut self, table: &'a TableName) -> BoxFuture<'a, Result<Table, Failure>> {
        Box::pin(async move {
            let mut state = self.alive()?;
            state.checks += 1;
            state.set_up()?;
            let column = |name: &str, kind| Column {
                name: name.to_owned(),
                sql_type: String::new(),
                kind,
                nullable: true,
                has_default: false,
                generated: false,
            };
            let mut columns = vec![
                column("n", Kind::Int { min: -1000, max: i128::from(i64::MAX) }),
                column("kind", Kind::Text { max_chars: None, max_bytes: None }),
            ];
            if state.altered {
                columns.push(column("more", Kind::Bool));
            }
            Ok(Table { name: table.clone(), columns, unique_keys: Vec::new() })
        })
    }

    fn check_privileges<'a>(&'a mut self, _: &'a TableName) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async move { self.alive()?.set_up() })
    }

    fn open_ledger<'a>(
        &'a mut self,
        table: &'a TableName,
        _: &'a LedgerIdentity,
        _: Opening,
    ) -> BoxFuture<'a, Result<Ledger, Failure>> {
        Box::pin(async move {
            let emptied = self.alive()?.emptied;
            Ok(Ledger { table: table.clone(), pipeline: 1, emptied })
        })
    }

    fn write<'a>(
        &'a mut self,
        _: &'a WritePlan,
        units: &'a [&'a Unit],
        _: bool,
    ) -> BoxFuture<'a, Result<Vec<Outcome>, Failure>> {
        Box::pin(async move {
            if self.broken {
                self.database.state().violations.push("a broken session was written to".to_owned());
            }
            self.broken = true;
            let written = self.transaction(units).await;
            // A future that is dropped before this line leaves it set.
            self.broken = written
                .as_ref()
                .is_err_and(|failure| matches!(failure.class, ErrorClass::SinkUnavailable | ErrorClass::Unknown));
            written
        })
    }

    fn rehearse<'a>(
        &'a mut self,
        _: &'a WritePlan,
        units: &'a [&'a Unit],
    ) -> BoxFuture<'a, Result<Vec<Outcome>, Failure>> {
        Box::pin(async move { self.alive()?.apply(units) })
    }

    fn look_up<'a>(
        &'a mut self,
        _: &'a Ledger,
        _: &'a [&'a LedgerEntry],
    ) -> BoxFuture<'a, Result<Vec<Entered>, Failure>> {
        unreachable!("only `dlq` looks into the ledger")
    }

    fn probe_write<'a>(&'a mut self, _: &'a WritePlan) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async move {
            let mut state = self.alive()?;
            state.probes += 1;
            state.set_up()?;
            state.known_errors()
        })
    }

    fn prune<'a>(&'a mut self, _: &'a Ledger, _: Duration, _: u32) -> BoxFuture<'a, Result<u64, Failure>> {
        Box::pin(async { Ok(0) })
    }

    fn weaknesses(&mut self) -> BoxFuture<'_, Result<Vec<String>, Failure>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async {})
    }
}
