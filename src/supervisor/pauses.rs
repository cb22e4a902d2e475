//! Obeys what every replica has been ordered: looks into each database now and then.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::catalogue::TableName;
use crate::config::Config;
use crate::error::Failure;
use crate::shutdown::{Phase, Shutdown, reached};
use crate::sink::{Database, StoredPause};
use crate::status::{Pause, PipelineStatus, Scope, WorkerStatus};

use super::Open;

/// An order as the pipeline's status has it.
pub(super) fn everywhere(order: StoredPause) -> Pause {
    Pause::new(Scope::All, &order.by, &order.reason, order.since)
}

/// A task for each database that a pipeline writes to. Dropping them ends them.
pub(super) fn keep_polled(open: Open<'_>, config: &Config, status: &WorkerStatus, shutdown: &Shutdown) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    for (name, database_config) in &config.databases {
        let pipelines: Vec<Arc<PipelineStatus>> = config
            .pipelines
            .values()
            .filter(|pipeline| pipeline.database == *name)
            .filter_map(|pipeline| status.pipeline(&pipeline.name))
            .collect();
        // A database that can't be opened pauses its pipelines anyway, which say so.
        if let (Ok(database), false) = (open(database_config), pipelines.is_empty()) {
            let poller = Poller {
                database,
                ledger: database_config.ledger_table.clone(),
                every: config.worker.pause_poll,
                deadline: database_config.connect_timeout + database_config.statement_timeout,
                pipelines,
            };
            tasks.spawn(poller.run(shutdown.clone()));
        }
    }
    tasks
}

struct Poller {
    database: Arc<dyn Database>,
    ledger: TableName,
    every: Duration,
    deadline: Duration,
    pipelines: Vec<Arc<PipelineStatus>>,
}

impl Poller {
    /// While the database can't be asked, what was ordered last holds: in doubt nothing changes.
    async fn run(self, mut shutdown: Shutdown) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(self.every) => {}
                () = reached(&mut shutdown, Phase::Drain) => return,
            }
            match tokio::time::timeout(self.deadline, self.look()).await {
                Ok(Ok(orders)) => self.obey(&orders),
                Ok(Err(failure)) => tracing::debug!("orders to pause can't be read: {failure}"),
                Err(_) => tracing::debug!("orders to pause can't be read: no answer in {:?}", self.deadline),
            }
        }
    }

    async fn look(&self) -> Result<Vec<StoredPause>, Failure> {
        let mut session = self.database.connect_to_look().await?;
        let read = match session.pauses(&self.ledger) {
            Some(mut pauses) => pauses.read().await.map(Option::unwrap_or_default),
            None => Ok(Vec::new()),
        };
        session.close().await;
        read
    }

    fn obey(&self, orders: &[StoredPause]) {
        for pipeline in &self.pipelines {
            let order = orders.iter().find(|order| order.pipeline == pipeline.name).cloned().map(everywhere);
            let before = pipeline.pauses().borrow().all.clone();
            match (&before, &order) {
                (None, Some(pause)) => tracing::info!(pipeline = pipeline.name, "told to pause: {pause}"),
                (Some(pause), None) => tracing::info!(pipeline = pipeline.name, "told to resume, was {pause}"),
                _ => {}
            }
            pipeline.pause_everywhere(order);
        }
    }
}
