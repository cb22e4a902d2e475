//! The consumers of one pipeline, and what they share.

use std::sync::Arc;

use tokio::sync::Mutex;
use tokio::task::JoinSet;

use super::keeper::Keeper;
use super::{Open, RunOptions, prune};
use crate::config::Config;
use crate::error::{ErrorClass, Failure};
use crate::pipeline::{Context, Emptiness, Storm};
use crate::rabbitmq::Rabbitmq;
use crate::shutdown::Shutdown;
use crate::sink::Opening;
use crate::status::WorkerStatus;
use crate::telemetry::Throttle;
use crate::telemetry::traces::Traces;

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
            opening: if options.adopt.iter().any(|adopted| adopted == name) { Opening::Adopt } else { Opening::Create },
            opened: Mutex::new(false),
            looked: Mutex::new(false),
        })
    }

    /// A task for each consumer, and one that prunes.
    pub fn start(self, tasks: &mut JoinSet<()>, shutdown: &Shutdown) {
        let pool = Arc::new(self);
        for index in 0..usize::from(pool.context.config.consumers) {
            tasks.spawn(Keeper::new(Arc::clone(&pool), index, shutdown.clone()).keep());
        }
        tasks.spawn(prune::keep_pruned(Arc::clone(&pool.context), shutdown.clone()));
    }
}
