//! Workers that are broken on purpose: the library's worker with a faulty sink.
//!
//! ```text
//! RABBIT_SINK_CONFIG=FILE broken-worker acks-before-commit|drops-ledger|dead-letters-on-outage|wedged
//! ```

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use rabbit_sink::catalogue::{Table, TableName};
use rabbit_sink::cli::notify::Notifier;
use rabbit_sink::cli::signals;
use rabbit_sink::config::{self, load};
use rabbit_sink::error::{ErrorClass, Failure};
use rabbit_sink::message::{Delivery, LedgerEntry, Outcome, Unit};
use rabbit_sink::plan::{Deduplication, Ledger, WritePlan};
use rabbit_sink::sink::{self, Database, Entered, LedgerIdentity, Opening, Session};
use rabbit_sink::status::WorkerStatus;
use rabbit_sink::supervisor::{self, RunOptions};
use rabbit_sink::{admin, telemetry};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// What is wrong; see `broken.rs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Broken {
    AcksBeforeCommit,
    DropsLedger,
    DeadLettersOnOutage,
    Wedged,
}

#[tokio::main]
async fn main() {
    let broken = match std::env::args().nth(1).as_deref() {
        Some("acks-before-commit") => Broken::AcksBeforeCommit,
        Some("drops-ledger") => Broken::DropsLedger,
        Some("dead-letters-on-outage") => Broken::DeadLettersOnOutage,
        Some("wedged") => Broken::Wedged,
        other => panic!("no such breakage: {other:?}"),
    };
    let file = PathBuf::from(std::env::var_os("RABBIT_SINK_CONFIG").expect("RABBIT_SINK_CONFIG"));
    let config = Arc::new(load(&file, &[]).unwrap_or_else(|errors| panic!("{errors}")));
    telemetry::init(None, None).expect("a log");
    let shutdown = signals::listen().expect("signal handlers");
    let status = WorkerStatus::of(&config);
    if let Some(address) = config.admin.listen {
        let listener = tokio::net::TcpListener::bind(address).await.expect("a free port");
        let (listener, (_, token)) = (admin::Listener::Tcp(listener), tokio::sync::watch::channel(None));
        tokio::spawn(admin::serve(listener, status.clone(), token, std::future::pending()));
    }
    tokio::spawn(Notifier::of_process().keep_told(status.clone(), shutdown.clone()));
    let open = move |config: &config::Database| -> Result<Arc<dyn Database>, Failure> {
        Ok(Arc::new(BrokenDatabase { inner: sink::open(config)?, broken }))
    };
    supervisor::run_on(&open, config, RunOptions::default(), status, shutdown).await;
    std::process::exit(0);
}

struct BrokenDatabase {
    inner: Arc<dyn Database>,
    broken: Broken,
}

impl Database for BrokenDatabase {
    fn connect(&self) -> BoxFuture<'_, Result<Box<dyn Session>, Failure>> {
        async {
            let (inner, database) = (self.inner.connect().await?, Arc::clone(&self.inner));
            Ok(Box::new(BrokenSession { inner, database, broken: self.broken, lost: false, later: None })
                as Box<dyn Session>)
        }
        .boxed()
    }

    fn ledger_ddl(&self, table: &TableName) -> String {
        self.inner.ledger_ddl(table)
    }
}

struct BrokenSession {
    inner: Box<dyn Session>,
    database: Arc<dyn Database>,
    broken: Broken,
    /// Its connection broke, and it said that the messages were at fault.
    lost: bool,
    /// What it said it had written.
    later: Option<UnboundedSender<Unit>>,
}

impl BrokenSession {
    /// The fault of [`Broken::AcksBeforeCommit`].
    fn write_later(&mut self, plan: &WritePlan, units: &[&Unit]) -> Vec<Outcome> {
        let later = self.later.get_or_insert_with(|| {
            let (sender, receiver) = unbounded_channel();
            tokio::spawn(write_now_and_then(Arc::clone(&self.database), plan.clone(), receiver));
            sender
        });
        for unit in units {
            later.send(copy(unit)).expect("the task runs as long as we do");
        }
        units.iter().map(|_| Outcome::Written).collect()
    }

    /// The fault of [`Broken::DeadLettersOnOutage`].
    async fn write_once(
        &mut self,
        plan: &WritePlan,
        units: &[&Unit],
        isolating: bool,
    ) -> Result<Vec<Outcome>, Failure> {
        if self.lost {
            return Err(Failure::new(ErrorClass::SinkUnavailable, "io", "the connection is gone"));
        }
        match self.inner.write(plan, units, isolating).await {
            Err(failure) if failure.class == ErrorClass::SinkUnavailable => {
                self.lost = true;
                let verdict = Failure::new(ErrorClass::RowRejected, "io", "the database is away");
                Ok(units.iter().map(|_| verdict.clone().into()).collect())
            }
            written => written,
        }
    }
}

/// Writes every two seconds what has come together.
async fn write_now_and_then(database: Arc<dyn Database>, plan: WritePlan, mut units: UnboundedReceiver<Unit>) {
    loop {
        tokio::time::sleep(Duration::from_secs(2)).await;
        // A session takes each ID once.
        let mut batch = BTreeMap::new();
        while let Ok(unit) = units.try_recv() {
            batch.insert(unit.ledger.as_ref().map(|entry| entry.id.clone()), unit);
        }
        let batch: Vec<&Unit> = batch.values().collect();
        if let (false, Ok(mut session)) = (batch.is_empty(), database.connect().await) {
            drop(session.write(&plan, &batch, false).await);
            session.close().await;
        }
    }
}

fn copy(unit: &Unit) -> Unit {
    let Delivery { tag, arrived, envelope } = &unit.delivery;
    let delivery = Delivery { tag: *tag, arrived: *arrived, envelope: envelope.clone() };
    Unit {
        delivery,
        ledger: unit.ledger.clone(),
        changes: unit.changes.clone(),
        attempts: unit.attempts,
        letter: unit.letter.clone(),
    }
}

impl Session for BrokenSession {
    fn write<'a>(
        &'a mut self,
        plan: &'a WritePlan,
        units: &'a [&'a Unit],
        isolating: bool,
    ) -> BoxFuture<'a, Result<Vec<Outcome>, Failure>> {
        async move {
            match self.broken {
                Broken::AcksBeforeCommit => Ok(self.write_later(plan, units)),
                Broken::DropsLedger => {
                    let plan = WritePlan { deduplication: Deduplication::None, ..plan.clone() };
                    self.inner.write(&plan, units, isolating).await
                }
                Broken::DeadLettersOnOutage => self.write_once(plan, units, isolating).await,
                Broken::Wedged => loop {
                    tokio::task::block_in_place(std::thread::park);
                },
            }
        }
        .boxed()
    }

    fn rehearse<'a>(
        &'a mut self,
        plan: &'a WritePlan,
        units: &'a [&'a Unit],
    ) -> BoxFuture<'a, Result<Vec<Outcome>, Failure>> {
        self.inner.rehearse(plan, units)
    }

    fn look_up<'a>(
        &'a mut self,
        ledger: &'a Ledger,
        entries: &'a [&'a LedgerEntry],
    ) -> BoxFuture<'a, Result<Vec<Entered>, Failure>> {
        self.inner.look_up(ledger, entries)
    }

    fn describe<'a>(&'a mut self, table: &'a TableName) -> BoxFuture<'a, Result<Table, Failure>> {
        self.inner.describe(table)
    }

    fn check_privileges<'a>(&'a mut self, table: &'a TableName) -> BoxFuture<'a, Result<(), Failure>> {
        self.inner.check_privileges(table)
    }

    fn open_ledger<'a>(
        &'a mut self,
        table: &'a TableName,
        identity: &'a LedgerIdentity,
        opening: Opening,
    ) -> BoxFuture<'a, Result<Ledger, Failure>> {
        self.inner.open_ledger(table, identity, opening)
    }

    fn probe_write<'a>(&'a mut self, plan: &'a WritePlan) -> BoxFuture<'a, Result<(), Failure>> {
        self.inner.probe_write(plan)
    }

    fn prune<'a>(&'a mut self, ledger: &'a Ledger, keep: Duration, limit: u32) -> BoxFuture<'a, Result<u64, Failure>> {
        self.inner.prune(ledger, keep, limit)
    }

    fn weaknesses(&mut self) -> BoxFuture<'_, Result<Vec<String>, Failure>> {
        self.inner.weaknesses()
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, ()> {
        self.inner.close()
    }
}
