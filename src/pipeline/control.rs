//! What somebody says to the loop: resume, pause, stop; and what a storm says to all consumers of a
//! pipeline.

use tokio::time::Instant;

use super::{Consumer, End, Storm};
use crate::rabbitmq::Source;
use crate::shutdown::Phase;
use crate::status::{Resume, State};

impl<S: Source> Consumer<S> {
    pub(super) fn ordered(&mut self) -> Option<End> {
        let resume = self.orders.borrow_and_update().resume?;
        if let Some(trouble) = &mut self.trouble {
            // Whoever has mended it needn't wait for the next look.
            trouble.at = Instant::now();
        }
        if !self.storm_on() {
            return None;
        }
        match resume {
            Resume::Retry => self.context.storm.clear(),
            Resume::DeadLetter => self.context.storm.accept(),
        }
        None
    }

    pub(super) fn storm_changed(&mut self) -> Option<End> {
        let begun = self.storm.borrow_and_update().as_ref().map(Storm::reason);
        if let Some(reason) = begun {
            self.next_storm_check = Some(Instant::now() + self.context.config.retry.max);
            return self.context.emptiness.is_some().then_some(End::Paused(reason));
        }
        self.next_storm_check = None;
        if self.context.storm.accepted() {
            std::mem::take(&mut self.held).into_iter().for_each(|rejection| self.dead_letter(rejection));
            return None;
        }
        // Cleared: what is held is tried again from the queue, by a plan for the table as it is now.
        Some(End::StormOver)
    }

    pub(super) async fn shutdown_asked(&mut self) -> Option<End> {
        let phase = *self.shutdown.borrow_and_update();
        match phase {
            Phase::Run => None,
            Phase::Abort => Some(End::Stopped),
            Phase::Drain => self.drain().await,
        }
    }

    /// What is ordered ends like what is stopped: nothing stays in hand for as long as a pause may last.
    pub(super) async fn pauses_changed(&mut self) -> Option<End> {
        let paused = self.pauses.borrow_and_update().strongest().is_some();
        if paused { self.drain().await } else { None }
    }

    async fn drain(&mut self) -> Option<End> {
        if std::mem::replace(&mut self.draining, true) {
            return None;
        }
        self.acks_due = true;
        match self.source.cancel().await {
            Ok(()) => None,
            Err(_) => Some(self.drained()),
        }
    }

    fn drained(&self) -> End {
        if *self.shutdown.borrow() == Phase::Run { End::PauseOrdered } else { End::Stopped }
    }

    /// Draining ends when everything in hand is settled, or at once where it can't be: what waits
    /// for a database, a parent's row or its turn under a rate limit goes back to the broker.
    pub(super) fn drained_or_stuck(&self) -> Option<End> {
        if self.writer.busy() || self.letters.busy() {
            return None;
        }
        let (state, _) = self.current_state();
        let stuck = matches!(state, State::Holding | State::Paused);
        let paced = self.pace.next_batch().is_some_and(|at| at > Instant::now());
        let done = self.trouble.is_none() && (paced || (self.cancelled && self.batcher.is_empty()));
        (stuck || done).then(|| self.drained())
    }
}
