//! Everything that a consumer needs, in memory, and what tests ask of it.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::broker::Broker;
use super::database::FakeDatabase;
use super::letter_box::Dead;
use crate::checks::{self, Prepared};
use crate::config;
use crate::message::{Envelope, HeaderValue};
use crate::pipeline::{Consumer, Context, Emptiness, End, Storm, first_prefetch};
use crate::shutdown::Phase;
use crate::sink::Opening;
use crate::status::{PipelineStatus, State};
use crate::telemetry::Throttle;

static CONFIG: LazyLock<config::Config> = LazyLock::new(|| {
    let text = "[rabbitmq]\nurl = \"amqp://localhost\"\n[database]\nurl = \"sqlite://x.db\"\n\
                [pipelines.orders]\nqueue = \"orders\"\ntable = \"orders\"\n";
    config::load_str("test.toml", text, &[]).unwrap()
});

#[derive(Clone)]
pub(super) struct Rig {
    pub broker: Broker,
    pub database: FakeDatabase,
    pub dead: Dead,
    pub context: Arc<Context>,
    pub shutdown: watch::Sender<Phase>,
}

impl Rig {
    pub(super) fn new() -> Self {
        Rig::with(|_| {})
    }

    /// With a changed config of the pipeline.
    pub(super) fn with(change: impl FnOnce(&mut config::Pipeline)) -> Self {
        Rig::build(change, false)
    }

    /// Under `--until-empty`.
    pub(super) fn until_empty(change: impl FnOnce(&mut config::Pipeline)) -> Self {
        Rig::build(change, true)
    }

    fn build(change: impl FnOnce(&mut config::Pipeline), until_empty: bool) -> Self {
        let mut pipeline = CONFIG.pipelines["orders"].clone();
        // Small enough that the first prefetch is as large as first ones are.
        pipeline.limits.max_body = 1 << 20;
        change(&mut pipeline);
        let (database, dead) = (FakeDatabase::new(), Dead::default());
        let proof = {
            let (database, dead) = (database.clone(), dead.clone());
            move |envelope: &Envelope| {
                let id = envelope.properties.message_id.clone().unwrap_or_default();
                let hash = crate::digest::body_hash(&envelope.body);
                database.state().ledger.get(&id) == Some(&hash) || dead.confirmed(&id, &envelope.body)
            }
        };
        let consumers = usize::from(pipeline.consumers);
        let context = Context {
            traces: None,
            database_config: CONFIG.databases["default"].clone(),
            database: Arc::new(database.clone()),
            status: Arc::new(PipelineStatus::new("orders", consumers)),
            storm: Storm::new(&pipeline.storm),
            throttle: Throttle::default(),
            emptiness: until_empty.then(|| Emptiness::new(consumers)),
            config: pipeline,
        };
        Rig {
            broker: Broker::new(Arc::new(proof)),
            database,
            dead,
            context: Arc::new(context),
            shutdown: watch::Sender::new(Phase::Run),
        }
    }

    pub(super) fn publish(&self, id: &str, kind: &str) {
        self.broker.publish(message(id, body(id, kind)));
    }

    /// Good messages with these numbers as IDs.
    pub(super) fn publish_good(&self, numbers: impl Iterator<Item = u32>) {
        numbers.for_each(|number| self.publish(&number.to_string(), "good"));
    }

    pub(super) async fn prepare(&self) -> Result<Prepared, crate::error::Failure> {
        let context = &self.context;
        checks::prepare(&*context.database, &context.database_config, &context.config, Opening::Create).await
    }

    /// Subscribes and runs one consumer to its end.
    pub(super) async fn run(&self, index: usize) -> End {
        let prepared = self.prepare().await.unwrap();
        self.run_prepared(index, &prepared).await
    }

    async fn run_prepared(&self, index: usize, prepared: &Prepared) -> End {
        let source = self.broker.subscribe(first_prefetch(&self.context.config));
        let context = Arc::clone(&self.context);
        Consumer::new(context, index, prepared, source, self.dead.clone(), self.shutdown.subscribe()).run().await
    }

    pub(super) fn start(&self) -> JoinHandle<End> {
        self.start_consumer(0)
    }

    pub(super) fn start_consumer(&self, index: usize) -> JoinHandle<End> {
        let rig = self.clone();
        tokio::spawn(async move { rig.run(index).await })
    }

    /// Brings a consumer to life again and again, as the supervisor does.
    pub(super) fn keep(&self, index: usize) -> JoinHandle<()> {
        let rig = self.clone();
        tokio::spawn(async move {
            let mut wait = Duration::from_millis(100);
            loop {
                if let Ok(prepared) = rig.prepare().await {
                    match rig.run_prepared(index, &prepared).await {
                        End::Stopped | End::Drained => return,
                        _ => wait = Duration::from_millis(100),
                    }
                }
                tokio::time::sleep(wait).await;
                wait = (2 * wait).min(Duration::from_secs(10));
            }
        })
    }

    /// Waits in paused time.
    pub(super) async fn until(&self, what: &str, condition: impl Fn(&Rig) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(3 * 3600);
        while !condition(self) {
            assert!(Instant::now() < deadline, "three hours have passed without: {what}; state {:?}", self.state());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub(super) async fn until_queue_empty(&self) {
        let limit = Duration::from_secs(3 * 3600);
        let emptied = tokio::time::timeout(limit, self.broker.emptied()).await;
        assert!(emptied.is_ok(), "three hours have passed and the queue isn't empty; state {:?}", self.state());
    }

    pub(super) async fn until_state(&self, state: State) {
        self.until(state.name(), |rig| rig.state().0 == state).await;
    }

    pub(super) fn state(&self) -> (State, Option<String>) {
        let (state, reason) = self.context.status.state();
        (state, reason.map(|reason| reason.text))
    }

    pub(super) fn resume(&self, resume: crate::status::Resume) {
        self.context.status.resume(resume);
    }

    /// Nobody has a complaint, and no row stands in the table twice.
    pub(super) fn assert_clean(&self) {
        assert_eq!(self.broker.queue().violations, Vec::<String>::new());
        assert_eq!(self.database.state().violations, Vec::<String>::new());
        let (mut ids, all) = (self.database.ids(), self.database.ids().len());
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), all, "an ID is in the table twice");
    }
}

pub(super) fn body(id: &str, kind: &str) -> Bytes {
    match kind {
        "broken" => Bytes::from_static(b"{\"n\":"),
        _ => format!("{{\"n\":{},\"kind\":\"{kind}\"}}", id.parse::<u32>().unwrap_or(0)).into(),
    }
}

pub(super) fn message(id: &str, body: Bytes) -> Envelope {
    let mut envelope = Envelope { body, routing_key: "orders".to_owned(), ..Envelope::default() };
    envelope.properties.message_id = Some(id.to_owned());
    envelope
}

/// As it comes back from a dead-letter queue.
pub(super) fn replayed(id: &str, kind: &str) -> Envelope {
    let mut envelope = message(id, body(id, kind));
    envelope.headers.set("x-sink-replays", HeaderValue::I32(1));
    envelope
}
