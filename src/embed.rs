//! A worker inside another program: from a config to its end, and a handle to look at it meanwhile.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::watch;

use crate::config::Config;
use crate::shutdown::Phase;
use crate::status::{Resume, WorkerStatus};
use crate::summary::Summary;
use crate::supervisor::{self, RunOptions};
use crate::telemetry;

/// Runs all pipelines of a config until `shutdown` is done: short for [`Worker::new`] and
/// [`Worker::run`], which say more.
pub async fn run(config: Config, shutdown: impl Future<Output = ()> + Send + 'static) -> Vec<Summary> {
    Worker::new(config).run(shutdown).await
}

/// All pipelines of a config, not running yet.
#[derive(Clone, Debug)]
pub struct Worker {
    config: Arc<Config>,
    options: RunOptions,
    status: WorkerStatus,
}

impl Worker {
    /// Connects to nothing yet.
    ///
    /// `[admin]` is not heeded: a library opens no port. What would stand there is in [`Watch`].
    pub fn new(config: Config) -> Self {
        let status = WorkerStatus::of(&config);
        Worker { config: Arc::new(config), options: RunOptions::default(), status }
    }

    /// Ends by itself, too: when each queue is empty and everything received is settled. A pause ends
    /// it as well, and an outage longer than `retry.hold`.
    #[must_use]
    pub fn until_empty(mut self) -> Self {
        self.options.until_empty = true;
        self
    }

    /// Lets this pipeline take over the ledger of its name although it was begun with another queue or
    /// table; as `rabbit-sink run --adopt` does. An unknown name changes nothing.
    #[must_use]
    pub fn adopt(mut self, pipeline: impl Into<String>) -> Self {
        self.options.adopt.push(pipeline.into());
        self
    }

    /// Goes on with these configs, as they come: pipelines of which something has changed, their broker and database
    /// included, are drained and started again; new ones are started, those that are gone are drained. It then ends
    /// only when told to. Not heeded with [`Worker::until_empty`].
    #[must_use]
    pub fn reloads(mut self, configs: watch::Receiver<Arc<Config>>) -> Self {
        self.options.reloads = Some(configs);
        self
    }

    /// A handle to look at it while it runs.
    pub fn watch(&self) -> Watch {
        Watch { status: self.status.clone() }
    }

    /// Moves messages until `shutdown` is done. Then nothing new is taken, what is in hand is finished
    /// and acked, and this returns within `worker.shutdown_timeout`, with a summary for each pipeline.
    ///
    /// A broker, database, table or privilege that is missing doesn't end it: it waits, says so in
    /// [`Watch::summaries`] and in the log, and goes on when that is mended. What a summary's `state`
    /// says at the end is `done`, unless something was in the way.
    ///
    /// Needs a tokio runtime with I/O and time. Logs through `tracing`; whoever embeds it subscribes.
    /// Dropping the future stops at once, as `kill -9` would: the broker gives the unacked messages to
    /// somebody else, and the ledger recognises those that had committed.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send + 'static) -> Vec<Summary> {
        let (sender, receiver) = watch::channel(Phase::Run);
        let told = async {
            shutdown.await;
            sender.send_replace(Phase::Drain);
            // Whoever waits for a phase must not take us for gone.
            std::future::pending::<()>().await;
        };
        tokio::select! {
            summaries = supervisor::run(self.config, self.options, self.status, receiver) => summaries,
            () = told => Vec::new(),
        }
    }
}

/// What a worker does. Clones look at the same one; it may outlive it.
#[derive(Clone)]
pub struct Watch {
    status: WorkerStatus,
}

impl Watch {
    /// States and counts up to now, a pipeline each, sorted by name.
    pub fn summaries(&self) -> Vec<Summary> {
        Summary::all(&self.status, Instant::now())
    }

    /// The metrics as OpenMetrics text, as `/metrics` serves them.
    ///
    /// # Errors
    /// None that is known: writing into a text doesn't fail.
    pub fn metrics(&self) -> Result<String, fmt::Error> {
        telemetry::metrics::render(&self.status, Instant::now(), telemetry::metrics::Format::OpenMetrics)
    }

    /// Tells a paused pipeline to go on. `false`: there is none of that name.
    pub fn resume(&self, pipeline: &str, how: Resume) -> bool {
        self.status.pipeline(pipeline).map(|pipeline| pipeline.resume(how)).is_some()
    }
}

/// The pipelines and their states alone.
impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.summaries().iter().map(Summary::line)).finish()
    }
}
