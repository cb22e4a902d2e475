//! Pools of consumers: start, rebuild, drain.
//!
//! Each consumer has a task that brings it to life again and again: the database first, then the
//! broker and the queues, and only then a subscription, so that a worker beside a dead database
//! never spends a delivery.

mod attach;
mod hindrance;
mod letter_box;
mod letters;
mod prune;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;
use tokio::task::JoinSet;

use crate::catalogue::Table;
use crate::checks::{self, Prepared};
use crate::config::{self, Config};
use crate::error::{ErrorClass, Failure};
use crate::guarantee;
use crate::pipeline::{Consumer, Context, Emptiness, End, Hindrance, Storm};
use crate::rabbitmq::Rabbitmq;
use crate::retry::Backoff;
use crate::shutdown::{Phase, Shutdown, reached};
use crate::sink::{self, Database, Opening};
use crate::status::{Control, Link, Peer, PipelineStatus, Reason, State, WorkerStatus};
use crate::summary::Summary;
use crate::telemetry::Throttle;
use letter_box::QueueLetters;

/// What `run` was told.
#[derive(Clone, Debug, Default)]
pub struct RunOptions {
    /// End when the queues are empty.
    pub until_empty: bool,
    /// Pipelines whose marker row may be replaced.
    pub adopt: Vec<String>,
}

/// Makes the database that a config names: [`sink::open`], or what an embedding program puts in its
/// place.
pub type Open<'a> = &'a (dyn Fn(&config::Database) -> Result<Arc<dyn Database>, Failure> + Sync);

/// Runs all pipelines until they are told to stop, or, with `until_empty`, until they are done.
/// From the first signal on, `shutdown_timeout` bounds it.
pub async fn run(config: Arc<Config>, options: RunOptions, status: WorkerStatus, shutdown: Shutdown) -> Vec<Summary> {
    run_on(&sink::open, config, options, status, shutdown).await
}

/// As [`run`], on databases of the caller's making. `open` is called once for each pipeline, at the
/// start; a failure of it pauses that pipeline.
pub async fn run_on(
    open: Open<'_>,
    config: Arc<Config>,
    options: RunOptions,
    status: WorkerStatus,
    shutdown: Shutdown,
) -> Vec<Summary> {
    let mut tasks = JoinSet::new();
    for name in config.pipelines.keys() {
        match context(open, &config, name, &options, &status) {
            Ok((context, rabbitmq)) => start(&mut tasks, Arc::new(context), rabbitmq, &options, &shutdown),
            Err(failure) => {
                if let Some(pipeline) = status.pipeline(name) {
                    for index in 0..pipeline.consumers().len() {
                        pipeline.update(index, |entry| entry.enter(name, State::Paused, Some(Reason::from(&failure))));
                    }
                }
            }
        }
    }
    let mut stopping = shutdown.clone();
    let patience = async {
        reached(&mut stopping, Phase::Drain).await;
        tokio::time::timeout(config.worker.shutdown_timeout, reached(&mut stopping, Phase::Abort)).await.ok();
    };
    tokio::select! {
        () = async { while tasks.join_next().await.is_some() {} } => {}
        () = patience => tracing::warn!("not everything was settled in time; what is left goes back to the broker"),
    }
    Summary::all(&status, Instant::now())
}

fn context(
    open: Open<'_>,
    config: &Config,
    name: &str,
    options: &RunOptions,
    status: &WorkerStatus,
) -> Result<(Context, Rabbitmq), Failure> {
    let missing =
        |what: &str| Failure::new(ErrorClass::Config, "reference", format!("pipeline {name}: no such {what}"));
    let pipeline = config.pipelines.get(name).ok_or_else(|| missing("pipeline"))?.clone();
    let database_config = config.databases.get(&pipeline.database).ok_or_else(|| missing("database"))?.clone();
    let broker = config.brokers.get(&pipeline.broker).ok_or_else(|| missing("broker"))?;
    let status = status.pipeline(name).ok_or_else(|| missing("status"))?;
    let context = Context {
        database: open(&database_config)?,
        storm: Storm::new(&pipeline.storm),
        status,
        throttle: Throttle::default(),
        emptiness: options.until_empty.then(|| Emptiness::new(usize::from(pipeline.consumers))),
        database_config,
        config: pipeline,
    };
    Ok((context, Rabbitmq::new(broker)?))
}

fn start(
    tasks: &mut JoinSet<()>,
    context: Arc<Context>,
    rabbitmq: Rabbitmq,
    options: &RunOptions,
    shutdown: &Shutdown,
) {
    let opening = if options.adopt.contains(&context.config.name) { Opening::Adopt } else { Opening::Create };
    let opened = Arc::new(Mutex::new(false));
    let looked = Arc::new(Mutex::new(false));
    for index in 0..usize::from(context.config.consumers) {
        let keeper = Keeper {
            backoff: Backoff::new(context.config.retry.initial, context.config.retry.max),
            orders: context.status.orders(),
            rabbitmq: rabbitmq.clone(),
            index,
            opening,
            opened: Arc::clone(&opened),
            looked: Arc::clone(&looked),
            shutdown: shutdown.clone(),
            table: None,
            obstacle_since: None,
            hindrance: Hindrance::default(),
            link: Link::new(context.status.connections(Peer::Broker), index),
            context: Arc::clone(&context),
        };
        tasks.spawn(keeper.keep());
    }
    tasks.spawn(prune::keep_pruned(context, shutdown.clone()));
}

/// Why a consumer can't be subscribed now, and what that makes of its state.
#[derive(Debug)]
pub(crate) struct Obstacle {
    state: State,
    reason: Reason,
}

impl Obstacle {
    /// The database's side.
    fn sink(failure: &Failure) -> Self {
        let state = match failure.class {
            ErrorClass::SinkUnavailable | ErrorClass::SinkContention => State::Holding,
            ErrorClass::Config
            | ErrorClass::SourceLost
            | ErrorClass::Decode
            | ErrorClass::Mapping
            | ErrorClass::IdConflict
            | ErrorClass::RowRejected
            | ErrorClass::SinkMisconfigured
            | ErrorClass::DeadLetterFailed
            | ErrorClass::Unknown => State::Paused,
        };
        Obstacle { state, reason: failure.into() }
    }

    pub(crate) fn holding(reason: Reason) -> Self {
        Obstacle { state: State::Holding, reason }
    }

    pub(crate) fn paused(reason: Reason) -> Self {
        Obstacle { state: State::Paused, reason }
    }

    pub(crate) fn source(failure: &Failure) -> Self {
        Obstacle { state: State::Reconnecting, reason: failure.into() }
    }
}

/// Brings one consumer to life again and again.
struct Keeper {
    context: Arc<Context>,
    rabbitmq: Rabbitmq,
    index: usize,
    opening: Opening,
    /// Whether a consumer of this pipeline has opened the ledger. Until then they try one after the
    /// other: one that came second would take the first one's marker for that of an earlier run.
    opened: Arc<Mutex<bool>>,
    /// Whether the broker's side has passed its checks since this process started.
    looked: Arc<Mutex<bool>>,
    shutdown: Shutdown,
    orders: tokio::sync::watch::Receiver<Control>,
    backoff: Backoff,
    /// The table as the last plan knew it.
    table: Option<Table>,
    obstacle_since: Option<Instant>,
    /// Why messages were given back: nothing is taken before it has passed.
    hindrance: Hindrance,
    /// The connection that it reads on.
    link: Link,
}

impl Keeper {
    async fn keep(mut self) {
        while *self.shutdown.borrow() == Phase::Run {
            let end = match self.live().await {
                Ok(end) => end,
                Err(obstacle) => {
                    if self.gives_up(&obstacle) {
                        return self.finish(obstacle.state, Some(obstacle.reason));
                    }
                    self.wait(obstacle).await;
                    continue;
                }
            };
            match end {
                End::Drained | End::Stopped => break,
                End::Paused(reason) => return self.finish(State::Paused, Some(reason)),
                End::HoldExpired { reason, .. } if self.context.emptiness.is_some() => {
                    return self.finish(State::Holding, Some(reason));
                }
                End::HoldExpired { reason, hindrance } => {
                    self.hindrance = *hindrance;
                    let told = format!("given back after {:?}: {reason}", self.context.config.retry.hold);
                    let reason = reason.told(told);
                    tracing::warn!(pipeline = self.context.config.name, "{reason}");
                    self.wait(Obstacle { state: self.waiting_state(), reason }).await;
                }
                End::SourceLost(failure) => self.wait(Obstacle::source(&failure)).await,
                End::PlanChanged => tracing::info!(pipeline = self.context.config.name, "the table has changed"),
                End::StormOver => {}
            }
        }
        self.finish(State::Done, None);
    }

    /// What giving back makes of the state. A pause stays one: it can still be resumed, and alerts
    /// don't take it for over.
    fn waiting_state(&self) -> State {
        let consumers = self.context.status.consumers();
        match consumers.get(self.index).map(|consumer| consumer.state) {
            Some(State::Paused) => State::Paused,
            _ => State::Holding,
        }
    }

    /// From checks to the end of one subscription.
    async fn live(&mut self) -> Result<End, Obstacle> {
        let mut stopping = self.shutdown.clone();
        // Nothing is held yet: a signal needn't wait until a database has answered.
        let prepared = tokio::select! {
            prepared = self.prepare() => prepared?,
            () = reached(&mut stopping, Phase::Drain) => return Ok(End::Stopped),
        };
        if let Some(cause) = self.context.storm.active() {
            if self.table.as_ref().is_none_or(|table| *table == prepared.table) {
                self.table = Some(prepared.table);
                return Err(Obstacle::paused(Storm::reason(&cause)));
            }
            tracing::info!(pipeline = self.context.config.name, "the table has changed: messages are tried again");
            self.context.storm.clear();
        }
        self.table = Some(prepared.table.clone());
        tokio::select! {
            passed = hindrance::passed(&mut self.hindrance, &self.context, &prepared, &self.rabbitmq, self.index) => passed?,
            () = reached(&mut stopping, Phase::Drain) => return Ok(End::Stopped),
        }
        let (connection, source) = attach::attach(&self.rabbitmq, &self.context, &self.looked).await?;
        self.obstacle_since = None;
        self.link.saw(1, true);
        let letters = QueueLetters::new(&self.rabbitmq, &self.context, self.index);
        let started = Instant::now();
        let consumer =
            Consumer::new(Arc::clone(&self.context), self.index, &prepared, source, letters, self.shutdown.clone());
        let end = tokio::select! {
            end = consumer.run() => end,
            never = letters::watch(&connection, &self.context, self.index) => match never {},
        };
        self.link.saw(0, false);
        // The consumer has followed all orders so far. An old one must not end the next storm.
        self.orders.mark_unchanged();
        // A subscription that has held for a while starts the waits over.
        if started.elapsed() > self.context.config.retry.max {
            self.backoff.reset();
        }
        connection.close().await;
        Ok(end)
    }

    async fn prepare(&mut self) -> Result<Prepared, Obstacle> {
        let context = &self.context;
        let mut first = Some(self.opened.lock().await).filter(|opened| !**opened);
        let checks = checks::prepare(&*context.database, &context.database_config, &context.config, self.opening);
        let prepared = checks.await.map_err(|failure| Obstacle::sink(&failure))?;
        if let Some(opened) = &mut first {
            **opened = true;
            for warning in &prepared.warnings {
                tracing::warn!(pipeline = context.config.name, "{warning}");
            }
            let assumed = self.rabbitmq.config().management_url.is_none();
            let guarantee = guarantee::of(&context.config, &context.database_config, &prepared.weaknesses, assumed);
            tracing::info!(pipeline = context.config.name, "guarantee: {guarantee}");
            if prepared.ledger_emptied {
                tracing::error!(
                    pipeline = context.config.name,
                    "the ledger has no entry of this pipeline although it has run before: \
                     whatever is delivered again now is written again"
                );
            }
            *context.status.guarantee.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(guarantee);
        }
        // What was created once must not come back empty in silence.
        self.opening = Opening::Existing;
        Ok(prepared)
    }

    /// Under `--until-empty` a pause is an end, and so is an outage longer than `hold`.
    fn gives_up(&mut self, obstacle: &Obstacle) -> bool {
        let since = *self.obstacle_since.get_or_insert_with(Instant::now);
        let over = obstacle.state == State::Paused || since.elapsed() >= self.context.config.retry.hold;
        self.context.emptiness.is_some() && over
    }

    /// Waits before the next try; an order, a signal or the end of a storm ends the wait.
    async fn wait(&mut self, obstacle: Obstacle) {
        let pipeline = &self.context.config.name;
        self.context.status.update(self.index, |entry| entry.enter(pipeline, obstacle.state, Some(obstacle.reason)));
        let wait = self.backoff.next_wait();
        let mut stopping = self.shutdown.clone();
        let mut storm = self.context.storm.watch();
        tokio::select! {
            () = turning(&self.context.status, self.index, wait) => {}
            Ok(()) = self.orders.changed() => self.ordered(),
            Ok(()) = storm.changed() => {}
            () = reached(&mut stopping, Phase::Drain) => {}
        }
    }

    /// Nobody holds a message now, so a storm simply ends, or is accepted.
    fn ordered(&mut self) {
        match self.orders.borrow_and_update().resume {
            Some(crate::status::Resume::DeadLetter) => self.context.storm.accept(),
            Some(crate::status::Resume::Retry) => self.context.storm.clear(),
            None => {}
        }
        self.backoff.reset();
    }

    fn finish(self, state: State, reason: Option<Reason>) {
        let pipeline = &self.context.config.name;
        self.context.status.update(self.index, |entry| entry.enter(pipeline, state, reason));
        if let Some(emptiness) = &self.context.emptiness {
            // It holds nothing any more.
            emptiness.vote(self.index, true);
        }
    }
}

/// A wait that shows that it is alive.
async fn turning(status: &PipelineStatus, consumer: usize, wait: Duration) {
    let until = tokio::time::Instant::now() + wait;
    while tokio::time::Instant::now() < until {
        status.update(consumer, |entry| entry.turned = Instant::now());
        tokio::time::sleep_until(until.min(tokio::time::Instant::now() + Duration::from_secs(10))).await;
    }
}
