//! What happened? The next event of a consumer's loop, and when time alone is one.

use std::time::Duration;

use tokio::time::Instant;

use super::emptiness;
use super::trouble::Trouble;
use super::{Consumer, Event};
use crate::rabbitmq::{Source, SourceEvent};

/// The loop turns at least this often, so that a wedge can be told from a quiet queue.
pub(super) const TURN: Duration = Duration::from_secs(15);

impl<S: Source> Consumer<S> {
    pub(super) async fn select(&mut self) -> Event {
        let wake = self.wake_at();
        let reading = self.can_read();
        let next_read = self.writer.busy().then_some(self.next_read);
        tokio::select! {
            biased;
            Ok(()) = self.shutdown.changed() => Event::Shutdown,
            Ok(()) = self.orders.changed() => Event::Order,
            Ok(()) = self.pauses.changed() => Event::Pauses,
            Ok(()) = self.storm.changed() => Event::Storm,
            answer = self.writer.answer() => Event::Writer(answer),
            answer = self.letters.answer() => Event::Letters(answer),
            event = listen(&mut self.source, reading, next_read) => Event::Source(event),
            // Last: what is due is looked at after every event, and time must not keep anything else from happening.
            () = tokio::time::sleep_until(wake) => Event::Timer,
        }
    }

    /// Reading stops while something is held or paused, and while a whole batch waits already.
    pub(super) fn can_read(&self) -> bool {
        let stopped =
            self.storm_on() || self.letters.failing() || self.trouble.as_ref().is_some_and(Trouble::stops_reading);
        let room = self.settlement.unsettled_bytes() < self.context.config.limits.max_unacked_bytes;
        room && !stopped && !self.cancelled && !self.batcher.is_full()
    }

    pub(super) fn storm_on(&self) -> bool {
        self.storm.borrow().is_some()
    }

    /// When something becomes due by time alone. Only what [`Consumer::advance`] would do then may
    /// stand here: a time that has passed and changes nothing would turn the loop without end.
    fn wake_at(&self) -> Instant {
        let now = Instant::now();
        let writing = if self.writer.busy() { None } else { self.next_job() };
        let busy = self.writer.busy() || self.letters.busy();
        let hold = self.settlement.oldest().filter(|_| !busy).map(|oldest| oldest + self.context.config.retry.hold);
        let asking = self.context.emptiness.is_some() && self.settlement.is_empty() && !self.draining;
        let idle = asking.then(|| self.idle_since.map_or(now, |since| since + emptiness::ASK_EVERY));
        [writing, hold, idle, self.settlement.due(), self.letters.due()]
            .into_iter()
            .flatten()
            .fold(now + TURN, Instant::min)
    }

    /// When the idle writer gets a job, as [`Consumer::start_writing`] gives them.
    fn next_job(&self) -> Option<Instant> {
        if let Some(trouble) = &self.trouble {
            return Some(trouble.at);
        }
        let parked = self.parked.iter().map(|parked| parked.next).min();
        let other = if self.storm_on() {
            self.next_storm_check
        } else {
            self.batcher.due().map(|due| self.pace.next_batch().map_or(due, |at| at.max(due)))
        };
        parked.into_iter().chain(other).min()
    }
}

/// The next delivery, where it is wanted, and not before `from`; or the source's end: what is held or
/// paused is no longer ours then, and somebody else may have it already.
async fn listen(source: &mut impl Source, reading: bool, from: Option<Instant>) -> SourceEvent {
    if !reading {
        return SourceEvent::Ended(source.gone().await);
    }
    if let Some(from) = from {
        tokio::time::sleep_until(from).await;
    }
    source.next().await
}
