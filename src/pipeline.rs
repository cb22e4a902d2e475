//! One consumer's loop: `select` (what happened?) then `apply` (what follows?).
//!
//! One task owns a channel, its unsettled deliveries, its batcher and all settling. Its writer and
//! its letter box are tasks that turn jobs into answers and decide nothing. Sources, databases and
//! clocks are handed in, so that tests drive the loop with made-up events in paused time.

mod control;
mod emptiness;
mod letters;
mod outcomes;
mod pace;
mod seat;
mod select;
mod settlement;
mod spans;
mod storm;
mod table_letters;
mod trouble;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::batch::{Batch, Batcher, Mapped};
use crate::catalogue::Table;
use crate::checks::Prepared;
use crate::config;
use crate::error::{ErrorClass, Failure};
use crate::mapping::Plan;
use crate::message::{Delivery, Unit};
use crate::rabbitmq::{Source, SourceEvent};
use crate::shutdown::{Phase, Shutdown};
use crate::sink::Database;
use crate::status::{Control, Pauses, PipelineStatus, Reason, State};
use crate::telemetry::Throttle;
use crate::telemetry::traces::Traces;
use crate::writer::{How, Writer};
pub(crate) use emptiness::Emptiness;
use letters::Letters;
pub(crate) use letters::{LetterBox, Rejection};
use outcomes::Decided;
use pace::Pace;
use seat::{Answer, Job, Seat};
use settlement::Settlement;
pub(crate) use storm::Storm;
pub(crate) use table_letters::letter_unit;
use trouble::{Parked, Trouble};

/// What the consumers of one pipeline share.
pub(crate) struct Context {
    pub config: config::Pipeline,
    pub database_config: config::Database,
    pub database: Arc<dyn Database>,
    pub status: Arc<PipelineStatus>,
    pub storm: Storm,
    pub throttle: Throttle,
    /// Where the config asks for them.
    pub traces: Option<Arc<Traces>>,
    /// Set under `--until-empty`.
    pub emptiness: Option<Emptiness>,
}

/// Why a loop ended. Its channel is closed and its unsettled deliveries are the broker's again.
#[derive(Debug)]
pub(crate) enum End {
    /// The channel, or a task of ours, is gone: subscribe anew.
    SourceLost(Failure),
    /// Deliveries were given back, since the oldest had been unsettled for `hold`.
    HoldExpired { reason: Reason, hindrance: Box<Hindrance> },
    /// Deliveries were given back, since messages must not be tried again until somebody acts.
    Paused(Reason),
    /// The table has changed: make a new plan.
    PlanChanged,
    /// The storm is over: subscribe anew.
    StormOver,
    /// The queue is empty.
    Drained,
    /// Somebody has ordered a pause: what was in hand is settled or given back.
    PauseOrdered,
    /// Told to stop.
    Stopped,
}

/// What kept deliveries unsettled until they were given back. Whoever subscribes before it has
/// passed only wears messages out: quorum queues count deliveries and drop what came too often.
#[derive(Debug, Default)]
pub(crate) struct Hindrance {
    /// Some of those that couldn't be written, first those that were tried last.
    pub deliveries: Vec<Delivery>,
    /// One that couldn't be dead-lettered.
    pub letter: Option<Rejection>,
}

/// Deliveries that are remembered as a hindrance, at most.
const HINDRANCES: usize = 10;

/// While a batch is being written the next one is read so often, not whenever a message arrives: waking up
/// for each costs more than the message.
const READ_EVERY: Duration = Duration::from_millis(2);

/// What happened.
enum Event {
    Source(SourceEvent),
    Writer(Option<Answer>),
    Letters(Option<Vec<(Rejection, Result<(), Failure>)>>),
    Order,
    Pauses,
    Storm,
    Shutdown,
    Timer,
}

/// One consumer from its subscription to its end.
pub(crate) struct Consumer<S> {
    context: Arc<Context>,
    index: usize,
    plan: Arc<Plan>,
    table: Table,
    source: S,
    settlement: Settlement,
    batcher: Batcher,
    pace: Pace,
    writer: Seat,
    letters: Letters,
    /// Letters for a table, which go with the next batch.
    letters_due: Vec<Unit>,
    trouble: Option<Trouble>,
    parked: Vec<Parked>,
    /// Rejections that a storm keeps from being dead-lettered.
    held: Vec<Rejection>,
    orders: watch::Receiver<Control>,
    pauses: watch::Receiver<Pauses>,
    storm: watch::Receiver<Option<crate::error::Cause>>,
    shutdown: Shutdown,
    draining: bool,
    /// After [`Source::cancel`]: everything that had arrived is here.
    cancelled: bool,
    /// Settled since the status was last told.
    settled: u64,
    /// Something was settled since the last ack.
    acks_due: bool,
    next_storm_check: Option<Instant>,
    /// See [`READ_EVERY`].
    next_read: Instant,
    idle_since: Option<Instant>,
    /// The broker has said that the queue is empty, and nothing has come since.
    found_empty: bool,
    next_look: Instant,
}

impl<S: Source> Consumer<S> {
    pub(crate) fn new(
        context: Arc<Context>,
        index: usize,
        prepared: &Prepared,
        source: S,
        letter_box: impl LetterBox + 'static,
        shutdown: Shutdown,
    ) -> Self {
        let pace = Pace::new(&context.config);
        let writer = Writer::new(Arc::clone(&context.database), &context.database_config);
        let (mut shutdown, mut storm, mut pauses) = (shutdown, context.storm.watch(), context.status.pauses());
        if *shutdown.borrow() != Phase::Run {
            shutdown.mark_changed();
        }
        if storm.borrow().is_some() {
            // It began between the checks and now: it is news all the same.
            storm.mark_changed();
        }
        if pauses.borrow().strongest().is_some() {
            pauses.mark_changed();
        }
        Consumer {
            index,
            plan: Arc::clone(&prepared.plan),
            table: prepared.table.clone(),
            source,
            settlement: Settlement::default(),
            batcher: Batcher::new(&context.config.batch, pace.max_rows()),
            pace,
            writer: Seat::new(writer, Arc::clone(&context), index),
            letters: Letters::new(letter_box, &context.config.retry),
            letters_due: Vec::new(),
            trouble: None,
            parked: Vec::new(),
            held: Vec::new(),
            orders: context.status.orders(),
            pauses,
            storm,
            shutdown,
            draining: false,
            cancelled: false,
            settled: 0,
            acks_due: false,
            next_storm_check: None,
            next_read: Instant::now(),
            idle_since: None,
            found_empty: false,
            next_look: Instant::now(),
            context,
        }
    }

    /// Works until the channel is lost, somebody says stop, or messages have to be given back.
    pub(crate) async fn run(mut self) -> End {
        self.show();
        let end = loop {
            let event = self.select().await;
            let end = match self.apply(event).await {
                Some(end) => Some(end),
                None => self.advance().await,
            };
            self.show();
            if let Some(end) = end {
                break end;
            }
        };
        self.leave(end).await
    }

    /// Whatever the end was: the channel closes before anything is rebuilt.
    async fn leave(mut self, mut end: End) -> End {
        self.context
            .status
            .unsettled_redelivered
            .fetch_sub(self.settlement.unsettled_redelivered() as i64, Ordering::Relaxed);
        self.context.status.update(self.index, |entry| {
            entry.unsettled = 0;
            entry.oldest_unsettled = None;
        });
        if let (Some(emptiness), false) = (&self.context.emptiness, matches!(end, End::Drained)) {
            emptiness.vote(self.index, false);
        }
        let unwritten = self.trouble.iter().flat_map(Trouble::letters);
        let unwritten = unwritten.chain(self.letters_due.iter().filter_map(|unit| unit.letter.as_deref()));
        let unwritten = unwritten.map(|letter| letter.failure.cause());
        let unpublished = self.letters.unpublished().map(|rejection| rejection.failure.cause());
        self.context.storm.forget(unpublished.chain(unwritten));
        if let End::HoldExpired { hindrance, .. } = &mut end {
            hindrance.letter = self.letters.take_unpublished();
            if let Some(trouble) = self.trouble {
                trouble.hinders(hindrance, HINDRANCES);
            }
        }
        let tags = self.settlement.outstanding_tags();
        self.source.give_back(tags).await;
        end
    }

    async fn apply(&mut self, event: Event) -> Option<End> {
        match event {
            Event::Source(event) => {
                let end = self.received(Some(event));
                self.next_read = Instant::now() + READ_EVERY;
                end
            }
            // The next batch begins with all that has arrived while this one was being written.
            Event::Writer(Some(answer)) => self.answered(answer).or_else(|| self.received(None)),
            Event::Writer(None) => Some(End::SourceLost(Failure::new(
                ErrorClass::Unknown,
                "writer",
                "the writer's task ended unexpectedly; its messages go back to the broker",
            ))),
            Event::Letters(Some(answers)) => {
                self.letters_answered(answers);
                None
            }
            Event::Letters(None) => Some(End::SourceLost(Failure::new(
                ErrorClass::Unknown,
                "dead_letters",
                "the task that publishes dead letters ended unexpectedly; its messages go back to the broker",
            ))),
            Event::Order => self.ordered(),
            Event::Pauses => self.pauses_changed().await,
            Event::Storm => self.storm_changed(),
            Event::Shutdown => self.shutdown_asked().await,
            Event::Timer => None,
        }
    }

    /// Takes what has arrived, as far as there is room, `first` before all else.
    fn received(&mut self, first: Option<SourceEvent>) -> Option<End> {
        let now = jiff::Timestamp::now().as_millisecond();
        let mut event = first;
        loop {
            match event {
                Some(SourceEvent::Delivery(delivery)) => self.take(delivery, now),
                Some(SourceEvent::Ended(failure)) => return Some(End::SourceLost(failure)),
                Some(SourceEvent::Cancelled) => self.cancelled = true,
                None => {}
            }
            if !self.can_read() {
                return None;
            }
            event = Some(self.source.next().now_or_never()?);
        }
    }

    /// `now`: milliseconds since 1970.
    fn take(&mut self, delivery: Delivery, now: i64) {
        let envelope = &delivery.envelope;
        let status = &self.context.status;
        status.deliveries.inc();
        status.delivered_bytes.inc_by(envelope.body.len() as u64);
        status.latency.observe(envelope, now);
        if envelope.redelivered {
            status.redelivered.inc();
            status.unsettled_redelivered.fetch_add(1, Ordering::Relaxed);
        }
        if envelope.delivery_count() >= crate::batch::SUSPICIOUS_DELIVERIES {
            tracing::warn!(
                pipeline = self.context.config.name,
                deliveries = envelope.delivery_count(),
                "a message has come back many times; it is written by itself"
            );
        }
        self.pace.observe(envelope.body.len());
        self.settlement.add(delivery.tag, delivery.arrived, envelope.body.len(), envelope.redelivered);
        self.batcher.push(match self.plan.map(delivery) {
            Ok(unit) => Mapped::Unit(unit),
            Err(refused) => Mapped::Refused(refused),
        });
    }

    /// Everything that is due now, in one fixed order.
    async fn advance(&mut self) -> Option<End> {
        let now = Instant::now();
        if let Err(failure) = self.send_acks(now).await {
            return Some(End::SourceLost(failure));
        }
        if let Some(end) = self.hold_expired(now) {
            return Some(end);
        }
        self.look_during_storm(now);
        self.start_writing(now);
        self.letters.publish(now);
        if self.draining {
            return self.drained_or_stuck();
        }
        if let Some(prefetch) = self.pace.change()
            && let Err(failure) = self.source.set_prefetch(prefetch).await
        {
            return Some(End::SourceLost(failure));
        }
        self.ask_whether_empty(now).await
    }

    async fn send_acks(&mut self, now: Instant) -> Result<(), Failure> {
        let by_time = self.settlement.due().is_some_and(|due| due <= now);
        if !self.acks_due && !by_time {
            return Ok(());
        }
        self.acks_due = false;
        for ack in self.settlement.acks(now, self.draining) {
            self.source.ack(ack.tag, ack.multiple).await?;
        }
        Ok(())
    }

    /// `hold` counts from the arrival of the oldest unsettled delivery, in every state: beyond it
    /// the broker's consumer timeout would take the channel, and with it one delivery attempt of
    /// each message, again and again.
    fn hold_expired(&self, now: Instant) -> Option<End> {
        let hold = self.context.config.retry.hold;
        let expired = self.settlement.oldest().is_some_and(|oldest| now >= oldest + hold);
        if !expired || self.writer.busy() || self.letters.busy() {
            return None;
        }
        let (_, reason) = self.current_state();
        let unsettled = "messages couldn't be settled within `hold`";
        let reason = reason.unwrap_or_else(|| Reason::new(ErrorClass::Unknown, "hold", unsettled));
        Some(End::HoldExpired { reason, hindrance: Box::default() })
    }

    /// Gives the writer its next job, if it has none.
    fn start_writing(&mut self, now: Instant) {
        if self.writer.busy() {
            return;
        }
        if let Some(trouble) = &mut self.trouble {
            if trouble.at <= now {
                let job = trouble.job(&self.plan);
                self.writer.give(job);
            }
            return;
        }
        if self.parked.iter().any(|parked| parked.next <= now) {
            let (due, waiting) = std::mem::take(&mut self.parked).into_iter().partition(|parked| parked.next <= now);
            self.parked = waiting;
            self.writer.give_parked(due, Arc::clone(&self.plan));
            return;
        }
        let mut units = self.take_letters();
        let waits = self.storm_on() || self.pace.next_batch().is_some_and(|at| at > now);
        let batch = if waits { None } else { self.batcher.take(now, self.draining) };
        if batch.is_none() && units.is_empty() {
            return;
        }
        let Batch { units: rows, refused, bytes, oldest } = batch.unwrap_or_default();
        if let Some(oldest) = oldest {
            self.context.status.batch_bytes.observe(bytes as f64);
            self.context.status.batch_age.observe(now.duration_since(oldest).as_secs_f64());
        }
        self.pace.spend(now, rows.len() + refused.len());
        self.writer.refused = refused;
        units.extend(rows);
        if units.is_empty() {
            // What mapping knows of the table may be out of date. With units, their transaction tells.
            let by_table = |(_, failure): &(Delivery, Failure)| failure.class == ErrorClass::Mapping;
            match self.writer.refused.iter().any(by_table) {
                true => self.writer.give(Job::Confirm { plan: Arc::clone(&self.plan) }),
                false => self.conclude_refused(),
            }
            return;
        }
        self.writer.give(Job::Write { units, how: How::Together, plan: Arc::clone(&self.plan) });
    }

    /// The state and its reason, worst first.
    fn current_state(&self) -> (State, Option<Reason>) {
        if let Some(cause) = &*self.storm.borrow() {
            return (State::Paused, Some(Storm::reason(cause)));
        }
        if let Some((state, reason)) = self.trouble.as_ref().and_then(Trouble::state) {
            return (state, Some(reason));
        }
        if let Some(reason) = self.letters.reason() {
            return (State::Holding, Some(reason));
        }
        if self.draining {
            return (State::Draining, self.pauses.borrow().strongest().map(Reason::from));
        }
        (State::Running, None)
    }

    /// Tells the status where the loop stands, and the log when that has changed.
    fn show(&mut self) {
        let (state, reason) = self.current_state();
        let unsettled = self.settlement.unsettled();
        let oldest = self.settlement.oldest().map(Instant::into_std);
        let settled = std::mem::take(&mut self.settled);
        let pipeline = &self.context.config.name;
        self.context.status.update(self.index, |entry| {
            entry.turned = std::time::Instant::now();
            entry.settled += settled;
            entry.unsettled = unsettled;
            entry.oldest_unsettled = oldest;
            entry.enter(pipeline, state, reason);
        });
    }
}

/// The prefetch to subscribe with first.
pub(crate) fn first_prefetch(config: &config::Pipeline) -> u16 {
    Pace::new(config).prefetch()
}

#[cfg(test)]
mod tests;
