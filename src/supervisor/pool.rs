//! The consumers of one pipeline, and what they share.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, watch};
use tokio::task::JoinSet;

use super::keeper::Keeper;
use super::{Open, RunOptions, prune};
use crate::config::Config;
use crate::error::{ErrorClass, Failure};
use crate::pipeline::{Context, Emptiness, Storm};
use crate::rabbitmq::Rabbitmq;
use crate::shutdown::{Phase, Shutdown, reached};
use crate::sink::Opening;
use crate::status::WorkerStatus;
use crate::telemetry::Throttle;
use crate::telemetry::traces::Traces;

/// For tasks to end that aren't waited for any longer.
const ABORT: Duration = Duration::from_secs(1);

/// One pipeline, ready to be started.
pub(super) struct Pool {
    pub context: Arc<Context>,
    pub rabbitmq: Rabbitmq,
    pub opening: Opening,
    /// Whether a consumer of this pipeline has opened the ledger. Until then they try one after the
    /// other: one that came second would take the first one's marker for that of an earlier run.
    pub opened: Mutex<bool>,
    /// Whether the broker's side has passed its checks since this process started.
    pub looked: Mutex<bool>,
}

impl Pool {
    /// Connects to nothing.
    ///
    /// # Errors
    /// Class `config`: what the config names isn't there, or its URL can't be read.
    pub fn new(
        open: Open<'_>,
        config: &Config,
        name: &str,
        options: &RunOptions,
        status: &WorkerStatus,
        traces: Option<&Arc<Traces>>,
    ) -> Result<Self, Failure> {
        let missing =
            |what: &str| Failure::new(ErrorClass::Config, "reference", format!("pipeline {name}: no such {what}"));
        let pipeline = config.pipelines.get(name).ok_or_else(|| missing("pipeline"))?.clone();
        let database_config = config.databases.get(&pipeline.database).ok_or_else(|| missing("database"))?.clone();
        let broker = config.brokers.get(&pipeline.broker).ok_or_else(|| missing("broker"))?;
        let context = Context {
            database: open(&database_config)?,
            storm: Storm::new(&pipeline.storm),
            status: status.pipeline(name).ok_or_else(|| missing("status"))?,
            throttle: Throttle::default(),
            traces: traces.cloned(),
            emptiness: options.until_empty.then(|| Emptiness::new(usize::from(pipeline.consumers))),
            database_config,
            config: pipeline,
        };
        Ok(Pool {
            context: Arc::new(context),
            rabbitmq: Rabbitmq::new(broker)?,
            opening: Opening::Create,
            opened: Mutex::new(false),
            looked: Mutex::new(false),
        })
    }

    /// Runs until told to stop or, under `--until-empty`, until it is done. Told to, it has as long as the config says by
    /// then.
    pub fn run(
        mut self,
        opening: Opening,
        mut stopping: Shutdown,
        config: watch::Receiver<Arc<Config>>,
    ) -> (Begun, impl Future<Output = ()> + Send + 'static) {
        self.opening = opening;
        let pool = Arc::new(self);
        let begun = Begun(Arc::clone(&pool));
        let running = async move {
            let name = pool.context.config.name.clone();
            let mut tasks = JoinSet::new();
            for index in 0..usize::from(pool.context.config.consumers) {
                tasks.spawn(Keeper::new(Arc::clone(&pool), index, stopping.clone()).keep());
            }
            tasks.spawn(prune::keep_pruned(Arc::clone(&pool.context), stopping.clone()));
            drop(pool);
            let patience = async {
                reached(&mut stopping, Phase::Drain).await;
                let timeout = config.borrow().worker.shutdown_timeout;
                tokio::time::timeout(timeout, reached(&mut stopping, Phase::Abort)).await.ok();
            };
            tokio::select! {
                () = async { while tasks.join_next().await.is_some() {} } => {}
                () = patience => {
                    tracing::warn!(
                        pipeline = name,
                        "not everything was settled in time; what is left goes back to the broker"
                    );
                    // A successor is not to meet it. What stands still doesn't end even so.
                    tokio::time::timeout(ABORT, tasks.shutdown()).await.ok();
                }
            }
        };
        (begun, running)
    }
}

/// A pool that was started.
pub(super) struct Begun(Arc<Pool>);

impl Begun {
    /// Its ledger and its table of dead letters were there once, and the pipeline of that name in this config has the
    /// same ones.
    pub fn has_its_tables_in(&self, config: &Config, name: &str) -> bool {
        let old = &self.0.context;
        let Some(pipeline) = config.pipelines.get(name) else { return false };
        let Some(database) = config.databases.get(&pipeline.database) else { return false };
        // One that was to find them and didn't may not make them, nor may its successor.
        let had = self.0.opening == Opening::Existing || self.0.opened.try_lock().is_ok_and(|opened| *opened);
        had && old.database_config.is_same_place(database)
            && old.config.deduplicate == pipeline.deduplicate
            && old.config.dead_letter == pipeline.dead_letter
    }
}
