//! One consumer's life: database, broker, subscription, and again after whatever ended it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::letter_box::QueueLetters;
use super::pool::Pool;
use super::{Obstacle, attach, hindrance, letters, pauses};
use crate::catalogue::Table;
use crate::checks::{self, Prepared};
use crate::pipeline::{Consumer, Context, End, Hindrance, Storm};
use crate::retry::Backoff;
use crate::shutdown::{Phase, Shutdown, reached};
use crate::sink::Opening;
use crate::status::{Control, Link, Pause, Pauses, Peer, PipelineStatus, Reason, Resume, State};

/// Brings one consumer to life again and again.
pub(super) struct Keeper {
    pool: Arc<Pool>,
    context: Arc<Context>,
    index: usize,
    opening: Opening,
    shutdown: Shutdown,
    orders: watch::Receiver<Control>,
    pauses: watch::Receiver<Pauses>,
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
    /// The pool's consumer of this number.
    pub(super) fn new(pool: Arc<Pool>, index: usize, shutdown: Shutdown) -> Self {
        let context = Arc::clone(&pool.context);
        Keeper {
            backoff: Backoff::new(context.config.retry.initial, context.config.retry.max),
            orders: context.status.orders(),
            pauses: context.status.pauses(),
            opening: pool.opening,
            table: None,
            obstacle_since: None,
            hindrance: Hindrance::default(),
            link: Link::new(context.status.connections(Peer::Broker), index),
            shutdown,
            context,
            index,
            pool,
        }
    }

    /// Until told to stop or, under `--until-empty`, until it is done.
    pub(super) async fn keep(mut self) {
        while *self.shutdown.borrow() == Phase::Run {
            let ordered = self.pauses.borrow_and_update().strongest().cloned();
            if let Some(pause) = ordered {
                if self.context.emptiness.is_some() {
                    return self.finish(State::Paused, Some((&pause).into()));
                }
                self.stay_paused(&pause).await;
                continue;
            }
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
                End::StormOver | End::PauseOrdered => {}
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
        // The pollers see it a little later: nothing is to be taken until then.
        self.context.status.pause_everywhere(prepared.pause.clone().map(pauses::everywhere));
        if self.pauses.borrow().strongest().is_some() {
            return Ok(End::PauseOrdered);
        }
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
            passed = hindrance::passed(&mut self.hindrance, &self.context, &prepared, &self.pool.rabbitmq, self.index) => passed?,
            () = reached(&mut stopping, Phase::Drain) => return Ok(End::Stopped),
        }
        if self.pauses.borrow().strongest().is_some() {
            return Ok(End::PauseOrdered);
        }
        // The broker's API may take its time to tell of a queue.
        let pool = &self.pool;
        let (connection, source) = tokio::select! {
            attached = attach::attach(&pool.rabbitmq, &self.context, &pool.looked, &prepared.weaknesses) => attached?,
            () = reached(&mut stopping, Phase::Drain) => return Ok(End::Stopped),
        };
        self.obstacle_since = None;
        self.link.saw(1, true);
        let letters = QueueLetters::new(&self.pool.rabbitmq, &self.context, self.index);
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
        let mut first = Some(self.pool.opened.lock().await).filter(|opened| !**opened);
        let checks = checks::prepare(&*context.database, &context.database_config, &context.config, self.opening);
        let prepared = checks.await.map_err(|failure| Obstacle::sink(&failure))?;
        if let Some(opened) = &mut first {
            **opened = true;
            for warning in &prepared.warnings {
                tracing::warn!(pipeline = context.config.name, "{warning}");
            }
            if prepared.ledger_emptied {
                tracing::error!(
                    pipeline = context.config.name,
                    "the ledger has no entry of this pipeline although it has run before: \
                     whatever is delivered again now is written again"
                );
            }
            // Until the broker has been asked.
            attach::state_guarantee(context, &prepared.weaknesses, &[], false);
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
            Ok(()) = self.pauses.changed() => {}
            () = reached(&mut stopping, Phase::Drain) => {}
        }
    }

    /// No message is in hand and no connection is open until the pause is lifted, or somebody says stop.
    async fn stay_paused(&mut self, pause: &Pause) {
        let pipeline = &self.context.config.name;
        self.context.status.update(self.index, |entry| entry.pause(pipeline, pause));
        let mut stopping = self.shutdown.clone();
        tokio::select! {
            Ok(()) = self.pauses.changed() => {}
            () = reached(&mut stopping, Phase::Drain) => return,
        }
        if self.pauses.borrow().strongest().is_none() {
            self.context.status.update(self.index, |entry| entry.enter(pipeline, State::Starting, None));
            self.backoff.reset();
            // Whoever lifts the pause wants the messages tried again: a storm's, too.
            if self.orders.has_changed().unwrap_or(false) {
                self.ordered();
            }
        }
    }

    /// Nobody holds a message now, so a storm simply ends, or is accepted.
    fn ordered(&mut self) {
        match self.orders.borrow_and_update().resume {
            Some(Resume::DeadLetter) => self.context.storm.accept(),
            Some(Resume::Retry) => self.context.storm.clear(),
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
