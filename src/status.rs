//! What a running worker says of itself, and what it can be told: shared by consumers, which
//! write it, and the admin listener and the summary, which read it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use serde::Serialize;
use tokio::sync::watch;

use crate::config::Config;
use crate::error::{ErrorClass, Failure};

mod wedge;

mod pause;

pub use pause::{Pause, Pauses, Scope};

/// What a consumer, and by the worst of its consumers a pipeline, is doing. Later is worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Ended: told to stop, or its queue is empty under `--until-empty`.
    Done,
    /// Reading, or ready to.
    Running,
    /// Checking the database, the queue and the dead-letter route before the first subscription.
    Starting,
    /// Stopping: finishing what is in hand.
    Draining,
    /// The broker is away; its messages are with it.
    Reconnecting,
    /// The database, a lock or the dead-letter queue is away; messages stay unacked, nothing is read.
    Holding,
    /// Reading stopped until the cause is mended or somebody resumes it.
    Paused,
}

impl State {
    /// Every state, for metrics.
    pub const ALL: [State; 7] = [
        State::Done,
        State::Running,
        State::Starting,
        State::Draining,
        State::Reconnecting,
        State::Holding,
        State::Paused,
    ];

    /// The name in `/status`, logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            State::Done => "done",
            State::Running => "running",
            State::Starting => "starting",
            State::Draining => "draining",
            State::Reconnecting => "reconnecting",
            State::Holding => "holding",
            State::Paused => "paused",
        }
    }
}

/// Why a consumer is in its state: in words for people, and as labels for metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// [`ErrorClass::name`], or a word of our own.
    pub class: &'static str,
    /// The failure's code, or a word of our own. Servers' codes come from lists with an end.
    pub code: Cow<'static, str>,
    /// Safe to show: it holds no values.
    pub text: String,
}

impl Reason {
    /// A reason in our own words.
    pub fn new(class: ErrorClass, code: impl Into<Cow<'static, str>>, text: impl Into<String>) -> Self {
        Reason { class: class.name(), code: code.into(), text: text.into() }
    }

    /// The same cause, told in other words.
    #[must_use]
    pub fn told(self, text: impl Into<String>) -> Self {
        Reason { text: text.into(), ..self }
    }
}

impl From<&Failure> for Reason {
    fn from(failure: &Failure) -> Self {
        Reason::new(failure.class, failure.code.clone(), failure.to_string())
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// One consumer's state and why.
#[derive(Clone, Debug)]
pub struct ConsumerState {
    /// What it does.
    pub state: State,
    /// Why, where that isn't obvious.
    pub reason: Option<Reason>,
    /// Since when.
    pub since: Instant,
    /// When its loop last turned: it must do so at least every 60 s.
    pub turned: Instant,
    /// Unsettled deliveries.
    pub unsettled: usize,
    /// Arrival of the oldest of them.
    pub oldest_unsettled: Option<Instant>,
}

impl ConsumerState {
    fn starting() -> Self {
        let now = Instant::now();
        ConsumerState {
            state: State::Starting,
            reason: None,
            since: now,
            turned: now,
            unsettled: 0,
            oldest_unsettled: None,
        }
    }

    /// Changes the state and tells the log: changes are never throttled, new reasons neither, which
    /// come as slowly as attempts do. A state that goes on keeps its `since`, even if its reason
    /// changes.
    pub fn enter(&mut self, pipeline: &str, state: State, reason: Option<Reason>) {
        if self.state != state {
            self.since = Instant::now();
            let (from, why) = (self.state.name(), reason.as_ref().map_or("", |reason| &reason.text));
            match state {
                State::Paused => tracing::error!(pipeline, from, "paused: {why}"),
                State::Holding => tracing::warn!(pipeline, from, "holding: {why}"),
                State::Reconnecting => tracing::warn!(pipeline, from, "reconnecting: {why}"),
                State::Done | State::Running | State::Starting | State::Draining => {
                    tracing::info!(pipeline, from, "{}{}{why}", state.name(), if why.is_empty() { "" } else { ": " });
                }
            }
            self.state = state;
        } else if let Some(why) = reason.as_ref().filter(|_| reason != self.reason) {
            // What it waits for now is what has to be mended.
            tracing::warn!(pipeline, "still {}: {why}", state.name());
        }
        self.reason = reason;
    }

    /// Pauses as somebody has ordered. Nobody has to act, and the order itself stands in the log.
    pub fn pause(&mut self, pipeline: &str, pause: &Pause) {
        if self.state != State::Paused {
            self.since = Instant::now();
            tracing::info!(pipeline, from = self.state.name(), "{pause}; nothing is in hand");
        }
        (self.state, self.reason) = (State::Paused, Some(pause.into()));
    }
}

/// What somebody tells a paused pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resume {
    /// Try the messages again.
    Retry,
    /// Dead-letter those of the storm's cause, as long as it lasts.
    DeadLetter,
}

/// The latest order; each has a number, so that a consumer notices a new one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Control {
    /// Counts the orders.
    pub number: u64,
    /// The last `resume`.
    pub resume: Option<Resume>,
}

/// The label of counters by class.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ClassLabel {
    /// [`ErrorClass::name`]
    pub class: &'static str,
}

impl From<ErrorClass> for ClassLabel {
    fn from(class: ErrorClass) -> Self {
        ClassLabel { class: class.name() }
    }
}

/// One pipeline: counters, states, orders.
#[derive(Debug)]
pub struct PipelineStatus {
    /// Its name.
    pub name: String,
    /// When the worker started it.
    pub started: Instant,
    /// Deliveries received, repeats included.
    pub deliveries: Counter,
    /// Messages written.
    pub written: Counter,
    /// Table rows written.
    pub rows_written: Counter,
    /// Messages that had been written before.
    pub duplicates: Counter,
    /// Messages for which a newer version was there.
    pub superseded: Counter,
    /// Messages that asked for nothing.
    pub skipped: Counter,
    /// Dead letters by class, counted after their confirm.
    pub dead_lettered: Family<ClassLabel, Counter>,
    /// Deliveries that the broker had delivered before.
    pub redelivered: Counter,
    /// Batches and dead letters tried again, by the class of what had failed.
    pub retries: Family<ClassLabel, Counter>,
    /// Messages in a written batch.
    pub batch_rows: Histogram,
    /// Seconds of a successful write, BEGIN to COMMIT.
    pub commit_duration: Histogram,
    /// Seconds from a delivery's arrival to its settling.
    pub delivery_duration: Histogram,
    /// The queue's ready messages when last asked; below 0: not known.
    pub queue_ready: AtomicI64,
    /// Deliveries marked as redelivered that are unsettled: pruning waits for them.
    pub unsettled_redelivered: AtomicI64,
    /// The line of the guarantee, once known.
    pub guarantee: Mutex<Option<String>>,
    hold: Mutex<Duration>,
    consumers: Mutex<Vec<ConsumerState>>,
    control: watch::Sender<Control>,
    pauses: watch::Sender<Pauses>,
}

impl PipelineStatus {
    /// A pipeline with so many consumers, all starting.
    pub fn new(name: &str, consumers: usize) -> Self {
        PipelineStatus {
            name: name.to_owned(),
            started: Instant::now(),
            deliveries: Counter::default(),
            written: Counter::default(),
            rows_written: Counter::default(),
            duplicates: Counter::default(),
            superseded: Counter::default(),
            skipped: Counter::default(),
            dead_lettered: Family::default(),
            redelivered: Counter::default(),
            retries: Family::default(),
            batch_rows: Histogram::new(exponential_buckets(1.0, 4.0, 8)),
            commit_duration: Histogram::new(exponential_buckets(0.001, 2.0, 16)),
            delivery_duration: Histogram::new(exponential_buckets(0.001, 2.0, 20)),
            queue_ready: AtomicI64::new(-1),
            unsettled_redelivered: AtomicI64::new(0),
            guarantee: Mutex::new(None),
            hold: Mutex::new(Duration::from_secs(600)),
            consumers: Mutex::new(vec![ConsumerState::starting(); consumers]),
            control: watch::Sender::new(Control::default()),
            pauses: watch::Sender::new(Pauses::default()),
        }
    }

    /// With another `hold` than the config's default of ten minutes.
    #[must_use]
    pub fn with_hold(self, hold: Duration) -> Self {
        PipelineStatus { hold: Mutex::new(hold), ..self }
    }

    /// How long a delivery may stay unsettled: `retry.hold`.
    pub fn hold(&self) -> Duration {
        // One value: a poisoned lock has nothing half-written behind it.
        *self.hold.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes one consumer's entry.
    pub fn update(&self, consumer: usize, change: impl FnOnce(&mut ConsumerState)) {
        // A poisoned lock means that a reader panicked; the entries are whole all the same.
        let mut consumers = self.consumers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = consumers.get_mut(consumer) {
            change(entry);
        }
    }

    /// All consumers as they are now.
    pub fn consumers(&self) -> Vec<ConsumerState> {
        self.consumers.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The worst state and its reason.
    pub fn state(&self) -> (State, Option<Reason>) {
        self.consumers()
            .into_iter()
            .max_by_key(|consumer| consumer.state)
            .map_or((State::Done, None), |consumer| (consumer.state, consumer.reason))
    }

    /// Arrival of the oldest unsettled delivery of all consumers.
    pub fn oldest_unsettled(&self) -> Option<Instant> {
        self.consumers().iter().filter_map(|consumer| consumer.oldest_unsettled).min()
    }

    /// Unsettled deliveries of all consumers.
    pub fn unsettled(&self) -> usize {
        self.consumers().iter().map(|consumer| consumer.unsettled).sum()
    }

    /// Dead letters of all classes.
    pub fn dead_lettered_total(&self) -> u64 {
        ErrorClass::ALL.iter().map(|&class| self.dead_lettered.get_or_create(&class.into()).get()).sum()
    }

    /// Messages settled, as the summary counts them.
    pub fn settled(&self) -> u64 {
        self.written.get()
            + self.duplicates.get()
            + self.superseded.get()
            + self.skipped.get()
            + self.dead_lettered_total()
    }

    /// The queue's ready messages, where known.
    pub fn ready(&self) -> Option<u64> {
        u64::try_from(self.queue_ready.load(Ordering::Relaxed)).ok()
    }

    /// Gives an order to all consumers of this pipeline.
    pub fn resume(&self, resume: Resume) {
        self.control.send_modify(|control| {
            control.number += 1;
            control.resume = Some(resume);
        });
    }

    /// Orders, as they come.
    pub fn orders(&self) -> watch::Receiver<Control> {
        self.control.subscribe()
    }

    /// Pauses this worker's part of the pipeline, in place of an earlier order.
    pub fn pause(&self, pause: Pause) {
        self.pauses.send_modify(|pauses| pauses.worker = Some(pause));
    }

    /// Ends that pause. Returns whose it was.
    pub fn lift(&self) -> Option<Pause> {
        let mut lifted = None;
        self.pauses.send_if_modified(|pauses| {
            lifted = pauses.worker.take();
            lifted.is_some()
        });
        lifted
    }

    /// What every replica has been ordered: `None`, nothing.
    pub fn pause_everywhere(&self, pause: Option<Pause>) {
        self.pauses.send_if_modified(|pauses| std::mem::replace(&mut pauses.all, pause.clone()) != pause);
    }

    /// What is ordered now, as it changes.
    pub fn pauses(&self) -> watch::Receiver<Pauses> {
        self.pauses.subscribe()
    }
}

/// All pipelines of a worker. Clones share them: pipelines come and go while it runs.
#[derive(Clone, Debug, Default)]
pub struct WorkerStatus {
    pipelines: Arc<RwLock<BTreeMap<String, Arc<PipelineStatus>>>>,
}

impl WorkerStatus {
    /// All pipelines of a config, every consumer starting.
    pub fn of(config: &Config) -> Self {
        let status = |pipeline: &crate::config::Pipeline| {
            PipelineStatus::new(&pipeline.name, usize::from(pipeline.consumers)).with_hold(pipeline.retry.hold)
        };
        WorkerStatus::with(config.pipelines.values().map(status))
    }

    /// These pipelines.
    pub fn with(pipelines: impl IntoIterator<Item = PipelineStatus>) -> Self {
        let named = pipelines.into_iter().map(|pipeline| (pipeline.name.clone(), Arc::new(pipeline))).collect();
        WorkerStatus { pipelines: Arc::new(RwLock::new(named)) }
    }

    /// All of them as of now, by name.
    pub fn pipelines(&self) -> Vec<Arc<PipelineStatus>> {
        // The map is whole after each change, even if somebody panicked.
        self.pipelines.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// The one of this name.
    pub fn pipeline(&self, name: &str) -> Option<Arc<PipelineStatus>> {
        self.pipelines.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }
}
