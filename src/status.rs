//! What a running worker says of itself, and what it can be told: shared by consumers, which
//! write it, and the admin listener and the summary, which read it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use tokio::sync::watch;

use crate::config::Config;
use crate::error::ErrorClass;

mod connections;
mod consumer;
mod lag;
mod latency;
mod pause;
mod reload;
mod stock;
mod wedge;

pub use connections::{Busy, Connections, Link, Peer};
pub use consumer::{ConsumerState, Reason, State};
pub use lag::Lag;
pub use latency::{Latency, Since};
pub use pause::{Pause, Pauses, Scope};
pub use reload::Reload;
pub use stock::{LedgerSize, LettersWaiting, Stock};

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
    /// Bytes of their bodies.
    pub delivered_bytes: Counter,
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
    /// How often a consumer began to hold, by the class of the reason.
    pub times_held: Family<ClassLabel, Counter>,
    /// How often a consumer was paused, likewise.
    pub times_paused: Family<ClassLabel, Counter>,
    /// Entries of the ledger deleted because of their age.
    pub ledger_pruned: Counter,
    /// Messages in a written batch.
    pub batch_rows: Histogram,
    /// Bytes of the bodies in a batch.
    pub batch_bytes: Histogram,
    /// Seconds from the arrival of a batch's first delivery until it is given to the writer.
    pub batch_age: Histogram,
    /// Seconds of a successful write, BEGIN to COMMIT.
    pub commit_duration: Histogram,
    /// Seconds from a delivery's arrival to its settling.
    pub delivery_duration: Histogram,
    /// What a message has waited before it arrived.
    pub latency: Latency,
    /// The queue's ready messages.
    pub lag: Lag,
    /// Dead letters and the ledger.
    pub stock: Stock,
    /// Deliveries marked as redelivered that are unsettled: pruning waits for them.
    pub unsettled_redelivered: AtomicI64,
    /// The line of the guarantee, once known.
    pub guarantee: Mutex<Option<String>>,
    connections: [Arc<Connections>; Peer::ALL.len()],
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
            delivered_bytes: Counter::default(),
            written: Counter::default(),
            rows_written: Counter::default(),
            duplicates: Counter::default(),
            superseded: Counter::default(),
            skipped: Counter::default(),
            dead_lettered: Family::default(),
            redelivered: Counter::default(),
            retries: Family::default(),
            times_held: Family::default(),
            times_paused: Family::default(),
            ledger_pruned: Counter::default(),
            batch_rows: Histogram::new(exponential_buckets(1.0, 4.0, 8)),
            batch_bytes: Histogram::new(exponential_buckets(256.0, 4.0, 10)),
            batch_age: Histogram::new(exponential_buckets(0.0005, 2.0, 16)),
            commit_duration: Histogram::new(exponential_buckets(0.001, 2.0, 16)),
            delivery_duration: Histogram::new(exponential_buckets(0.001, 2.0, 20)),
            latency: Latency::default(),
            lag: Lag::default(),
            stock: Stock::new(Instant::now()),
            unsettled_redelivered: AtomicI64::new(0),
            guarantee: Mutex::new(None),
            connections: Default::default(),
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

    fn begin(&self, consumers: usize, hold: Duration) {
        *self.hold.lock().unwrap_or_else(PoisonError::into_inner) = hold;
        // Whatever its consumers held is the broker's, also where they were broken off.
        self.unsettled_redelivered.store(0, Ordering::Relaxed);
        let mut entries = self.consumers.lock().unwrap_or_else(PoisonError::into_inner);
        entries.resize_with(consumers, ConsumerState::starting);
        entries.iter_mut().for_each(ConsumerState::begin);
    }

    /// Changes one consumer's entry.
    pub fn update(&self, consumer: usize, change: impl FnOnce(&mut ConsumerState)) {
        // A poisoned lock means that a reader panicked; the entries are whole all the same.
        let mut consumers = self.consumers.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(entry) = consumers.get_mut(consumer) else { return };
        let before = entry.state;
        change(entry);
        let counted = match entry.state {
            State::Holding => &self.times_held,
            State::Paused => &self.times_paused,
            State::Done | State::Running | State::Starting | State::Draining | State::Reconnecting => return,
        };
        if entry.state != before {
            let class = entry.reason.as_ref().map_or(ErrorClass::Unknown.name(), |reason| reason.class);
            counted.get_or_create(&ClassLabel { class }).inc();
        }
    }

    /// Its connections to one side.
    pub fn connections(&self, peer: Peer) -> &Arc<Connections> {
        let [broker, dead_letters, database] = &self.connections;
        match peer {
            Peer::Broker => broker,
            Peer::DeadLetters => dead_letters,
            Peer::Database => database,
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
    reload: Arc<Mutex<Reload>>,
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
        WorkerStatus { pipelines: Arc::new(RwLock::new(named)), ..WorkerStatus::default() }
    }

    /// A pipeline is started, for the first time or again: its counters go on.
    pub fn begin(&self, pipeline: &crate::config::Pipeline) -> Arc<PipelineStatus> {
        let mut pipelines = self.pipelines.write().unwrap_or_else(PoisonError::into_inner);
        let consumers = usize::from(pipeline.consumers);
        let entry = pipelines.entry(pipeline.name.clone());
        let status = entry.or_insert_with(|| Arc::new(PipelineStatus::new(&pipeline.name, consumers)));
        status.begin(consumers, pipeline.retry.hold);
        Arc::clone(status)
    }

    /// A pipeline is no more. Returns what there is to say of it.
    pub fn end(&self, name: &str) -> Option<Arc<PipelineStatus>> {
        self.pipelines.write().unwrap_or_else(PoisonError::into_inner).remove(name)
    }

    /// How the last loading of the config went.
    pub fn reload(&self) -> Reload {
        // Changes are whole: a poisoned lock has nothing half-written behind it.
        self.reload.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The config was read anew: taken, or refused with these words, which hold no secrets.
    pub fn reloaded(&self, taken: Result<(), String>) {
        self.reload.lock().unwrap_or_else(PoisonError::into_inner).happened(taken);
    }

    /// Keys that the config in use has changed and that only a restart can follow.
    pub fn needs_restart(&self, keys: Vec<&'static str>) {
        self.reload.lock().unwrap_or_else(PoisonError::into_inner).needs_restart = keys;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipeline_that_starts_again_counts_on_and_holds_nothing() {
        let text = "[rabbitmq]\nurl = \"amqp://a\"\n[database]\nurl = \"sqlite://x.db\"\n[pipelines.orders]\n\
                    queue = \"q\"\ntable = \"t\"\nconsumers = 2\n[pipelines.orders.retry]\nhold = \"7m\"\n";
        let config = crate::config::load_str("a", text, &[]).unwrap();
        let status = WorkerStatus::with([PipelineStatus::new("orders", 1)]);
        let before = status.pipeline("orders").unwrap();
        before.written.inc_by(5);
        before.unsettled_redelivered.store(3, Ordering::Relaxed);
        before.update(0, |consumer| {
            consumer.state = State::Running;
            consumer.settled = 5;
            consumer.unsettled = 4;
        });
        let pipeline = status.begin(&config.pipelines["orders"]);
        assert_eq!((pipeline.written.get(), pipeline.unsettled(), pipeline.hold()), (5, 0, Duration::from_secs(420)));
        // Pruning waits for these.
        assert_eq!(pipeline.unsettled_redelivered.load(Ordering::Relaxed), 0);
        let consumers = pipeline.consumers();
        assert_eq!(consumers.iter().map(|consumer| consumer.settled).collect::<Vec<_>>(), [5, 0]);
        assert!(consumers.iter().all(|consumer| consumer.state == State::Starting));
        assert!(status.end("orders").is_some() && status.pipeline("orders").is_none());
    }
}
