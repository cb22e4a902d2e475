//! All pools of a worker: started together, each drained and started anew when a new config changes it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::watch;
use tokio::task::{Id, JoinSet};

use super::pool::{Begun, Pool};
use super::{Open, RunOptions, pauses};
use crate::config::{Changes, Config};
use crate::shutdown::{Phase, Shutdown};
use crate::sink::Opening;
use crate::status::{Reason, State, WorkerStatus};
use crate::summary::Summary;
use crate::telemetry::traces::Traces;

pub(super) struct Fleet<'a> {
    open: Open<'a>,
    options: RunOptions,
    status: WorkerStatus,
    traces: Option<Arc<Traces>>,
    /// The config as it is now: pools that drain ask it how long they may.
    config: watch::Sender<Arc<Config>>,
    shutdown: Shutdown,
    pools: BTreeMap<String, Member>,
    tasks: JoinSet<()>,
    /// Whose task it is.
    names: HashMap<Id, String>,
    polled: JoinSet<()>,
}

/// A pool that runs.
struct Member {
    stop: watch::Sender<Phase>,
    begun: Begun,
    /// A new config ended it.
    replaced: bool,
}

/// What happened.
enum Event {
    Ended(Option<Id>),
    Shutdown,
    Reload(Arc<Config>),
}

impl<'a> Fleet<'a> {
    pub fn new(
        open: Open<'a>,
        config: Arc<Config>,
        options: RunOptions,
        status: WorkerStatus,
        traces: Option<Arc<Traces>>,
        shutdown: Shutdown,
    ) -> Self {
        Fleet {
            open,
            options,
            status,
            traces,
            config: watch::Sender::new(config),
            shutdown,
            pools: BTreeMap::new(),
            tasks: JoinSet::new(),
            names: HashMap::new(),
            polled: JoinSet::new(),
        }
    }

    /// Until everything has ended, by itself or told to.
    pub async fn run(mut self) {
        // Who ends when the queues are empty ends with the config that it was started with.
        let mut reloads = self.options.reloads.take().filter(|_| !self.options.until_empty);
        let config = Arc::clone(&self.config.borrow());
        for name in config.pipelines.keys() {
            let adopted = self.options.adopt.contains(name);
            self.start(name, if adopted { Opening::Adopt } else { Opening::Create });
        }
        self.poll_orders();
        while !self.tasks.is_empty() || (reloads.is_some() && *self.shutdown.borrow() == Phase::Run) {
            match self.next(&mut reloads).await {
                Event::Ended(Some(id)) => self.ended(id),
                Event::Ended(None) => {}
                Event::Shutdown => {
                    let phase = *self.shutdown.borrow();
                    self.pools.values().for_each(|member| tell(&member.stop, phase));
                }
                Event::Reload(config) => self.reload(config),
            }
        }
    }

    async fn next(&mut self, reloads: &mut Option<watch::Receiver<Arc<Config>>>) -> Event {
        tokio::select! {
            Some(ended) = self.tasks.join_next_with_id() => {
                Event::Ended(Some(ended.map_or_else(|error| error.id(), |(id, ())| id)))
            }
            Ok(()) = self.shutdown.changed() => Event::Shutdown,
            Some(config) = changed(reloads) => match *self.shutdown.borrow() {
                Phase::Run => Event::Reload(config),
                // Who is told to stop starts nothing.
                Phase::Drain | Phase::Abort => Event::Ended(None),
            },
        }
    }

    fn start(&mut self, name: &str, opening: Opening) {
        let config = Arc::clone(&self.config.borrow());
        let Some(pipeline) = config.pipelines.get(name) else { return };
        self.status.begin(pipeline);
        match Pool::new(self.open, &config, name, &self.options, &self.status, self.traces.as_ref()) {
            Ok(pool) => {
                let (stop, stopping) = watch::channel(*self.shutdown.borrow());
                let (begun, running) = pool.run(opening, stopping, self.config.subscribe());
                let task = self.tasks.spawn(running);
                self.names.insert(task.id(), name.to_owned());
                self.pools.insert(name.to_owned(), Member { stop, begun, replaced: false });
            }
            Err(failure) => {
                let Some(pipeline) = self.status.pipeline(name) else { return };
                for index in 0..pipeline.consumers().len() {
                    pipeline.update(index, |entry| entry.enter(name, State::Paused, Some(Reason::from(&failure))));
                }
            }
        }
    }

    /// Pipelines go on as they are unless something of them has changed: then what is in hand is finished first.
    fn reload(&mut self, config: Arc<Config>) {
        let changes = Changes::between(&self.config.borrow(), &config);
        self.config.send_replace(config);
        for name in changes.removed.iter().chain(&changes.changed) {
            match self.pools.get_mut(name) {
                Some(member) => {
                    member.replaced = true;
                    tell(&member.stop, Phase::Drain);
                }
                None => self.follow(name, Opening::Create),
            }
        }
        for name in &changes.added {
            // One that still drains, as it had been taken out a moment ago, is started when it has ended.
            if !self.pools.contains_key(name) {
                self.start(name, Opening::Create);
            }
        }
        self.poll_orders();
    }

    fn ended(&mut self, id: Id) {
        let Some(name) = self.names.remove(&id) else { return };
        let Some(member) = self.pools.remove(&name) else { return };
        if !member.replaced || *self.shutdown.borrow() != Phase::Run {
            return;
        }
        // What a restart of the worker would make anew, a ledger that is gone, isn't made by a reload: nobody has
        // looked at it.
        let config = Arc::clone(&self.config.borrow());
        let opening = if member.begun.has_its_tables_in(&config, &name) { Opening::Existing } else { Opening::Create };
        self.follow(&name, opening);
    }

    /// After a reload, what the config as it is now says of a pipeline that doesn't run.
    fn follow(&mut self, name: &str, opening: Opening) {
        if self.config.borrow().pipelines.contains_key(name) {
            return self.start(name, opening);
        }
        if let Some(status) = self.status.end(name) {
            tracing::info!(
                pipeline = name,
                "it isn't in the config any more: {}",
                Summary::of(&status, Instant::now()).line()
            );
        }
    }

    fn poll_orders(&mut self) {
        self.polled = pauses::keep_polled(self.open, &self.config.borrow(), &self.status, &self.shutdown);
    }
}

fn tell(stop: &watch::Sender<Phase>, phase: Phase) {
    // It never goes back: a pool that is told to end at once doesn't begin to drain again.
    stop.send_if_modified(|now| phase > std::mem::replace(now, phase.max(*now)));
}

/// `None`, for good, where no config can come.
async fn changed(reloads: &mut Option<watch::Receiver<Arc<Config>>>) -> Option<Arc<Config>> {
    let Some(receiver) = reloads else { return std::future::pending().await };
    if receiver.changed().await.is_ok() {
        return Some(Arc::clone(&receiver.borrow_and_update()));
    }
    std::future::pending().await
}
