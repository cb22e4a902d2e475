//! `--until-empty`: the end is when the broker says that nothing is ready and nobody of ours holds
//! anything. It is asked; silence proves nothing.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::Instant;

use super::{Consumer, End};
use crate::rabbitmq::Source;

/// How often an idle consumer asks.
pub(super) const ASK_EVERY: Duration = Duration::from_millis(50);

/// The consumers of one pipeline vote: empty, as far as I can see. A delivery takes the vote back.
#[derive(Debug)]
pub(crate) struct Emptiness {
    votes: Mutex<Vec<bool>>,
}

impl Emptiness {
    pub(crate) fn new(consumers: usize) -> Self {
        Emptiness { votes: Mutex::new(vec![false; consumers]) }
    }

    /// Votes; returns whether all agree.
    pub(crate) fn vote(&self, consumer: usize, empty: bool) -> bool {
        // A vote is one bool: a poisoned lock has nothing half-written behind it.
        let mut votes = self.votes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(vote) = votes.get_mut(consumer) {
            *vote = empty;
        }
        votes.iter().all(|&vote| vote)
    }

    /// All agree.
    pub(crate) fn agreed(&self) -> bool {
        self.votes.lock().unwrap_or_else(PoisonError::into_inner).iter().all(|&vote| vote)
    }
}

impl<S: Source> Consumer<S> {
    /// Asks the broker when nothing is in hand, over the consumer's own channel, and believes it
    /// when it says so twice with nothing in between.
    pub(super) async fn ask_whether_empty(&mut self, now: Instant) -> Option<End> {
        let context = std::sync::Arc::clone(&self.context);
        let Some(emptiness) = context.emptiness.as_ref() else { return self.look_at_queue(now).await };
        let idle = self.settlement.is_empty() && self.batcher.is_empty() && !self.writer.busy();
        if !idle {
            self.idle_since = None;
            self.found_empty = false;
            emptiness.vote(self.index, false);
            return self.look_at_queue(now).await;
        }
        if self.idle_since.is_some_and(|since| now < since + ASK_EVERY) {
            // Others may have voted since, but what they gave back may be on its way to us.
            return None;
        }
        self.idle_since = Some(now);
        let ready = match self.source.ready().await {
            Ok(ready) => ready,
            Err(failure) => return Some(End::SourceLost(failure)),
        };
        self.show_ready(ready);
        if let Some(event) = self.source.next().now_or_never() {
            emptiness.vote(self.index, false);
            self.idle_since = None;
            self.found_empty = false;
            return self.received(Some(event));
        }
        // The first 0 may have overtaken messages that were on their way to us already: the
        // broker's channel answers before it looks at what the queue has sent it meanwhile. They
        // come before the second one.
        let empty = ready == Some(0);
        let before = std::mem::replace(&mut self.found_empty, empty);
        emptiness.vote(self.index, before && empty).then_some(End::Drained)
    }

    /// Keeps the metric of ready messages fresh; one consumer of a pipeline is enough for that.
    async fn look_at_queue(&mut self, now: Instant) -> Option<End> {
        if self.index > 0 || now < self.next_look {
            return None;
        }
        self.next_look = now + super::select::TURN;
        match self.source.ready().await {
            Ok(ready) => self.show_ready(ready),
            Err(failure) => return Some(End::SourceLost(failure)),
        }
        None
    }

    fn show_ready(&self, ready: Option<u64>) {
        let Some(ready) = ready else { return };
        self.context.status.lag.saw(ready, std::time::Instant::now());
    }
}
