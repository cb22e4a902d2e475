//! Rejected deliveries on their way into the dead-letter queue. Each stays unacked until its
//! letter is confirmed and routed.

use std::future::Future;

use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::config;
use crate::error::{ErrorClass, Failure};
use crate::message::Envelope;
use crate::retry::Backoff;
use crate::status::Reason;

/// A delivery that can't be written, and why.
#[derive(Clone, Debug)]
pub(crate) struct Rejection {
    pub tag: u64,
    pub attempts: u32,
    pub envelope: Box<Envelope>,
    pub failure: Failure,
}

/// Publishes dead letters; one answer for each, in their order. `Ok` says confirmed and routed.
pub(crate) trait LetterBox: Send {
    fn publish(&mut self, rejections: &[Rejection]) -> impl Future<Output = Vec<Result<(), Failure>>> + Send;
}

type Answers = Vec<(Rejection, Result<(), Failure>)>;

/// The letter box's task as the loop sees it, and what waits for it.
pub(super) struct Letters {
    jobs: mpsc::Sender<Vec<Rejection>>,
    answers: mpsc::Receiver<Answers>,
    busy: bool,
    waiting: Vec<Rejection>,
    failure: Option<Failure>,
    next: Option<Instant>,
    backoff: Backoff,
}

/// Letters published at a time; it bounds what a lost connection repeats.
const AT_A_TIME: usize = 500;

impl Letters {
    pub(super) fn new(mut letter_box: impl LetterBox + 'static, retry: &config::Retry) -> Self {
        let (jobs, mut todo) = mpsc::channel::<Vec<Rejection>>(1);
        let (done, answers) = mpsc::channel(1);
        tokio::spawn(async move {
            while let Some(rejections) = todo.recv().await {
                let results = letter_box.publish(&rejections).await;
                if done.send(rejections.into_iter().zip(results).collect()).await.is_err() {
                    break;
                }
            }
        });
        Letters {
            jobs,
            answers,
            busy: false,
            waiting: Vec::new(),
            failure: None,
            next: None,
            backoff: Backoff::new(retry.initial, retry.max),
        }
    }

    pub(super) fn add(&mut self, rejection: Rejection) {
        self.waiting.push(rejection);
    }

    /// Hands over what waits, if it is time.
    pub(super) fn publish(&mut self, now: Instant) {
        if self.busy || self.waiting.is_empty() || self.next.is_some_and(|at| at > now) {
            return;
        }
        let rest = self.waiting.split_off(self.waiting.len().min(AT_A_TIME));
        self.busy = true;
        // There is room for one job; a task that is gone shows as a missing answer.
        self.jobs.try_send(std::mem::replace(&mut self.waiting, rest)).ok();
    }

    /// The answers to the job in hand. Dropping the future loses nothing.
    pub(super) async fn answer(&mut self) -> Option<Answers> {
        if !self.busy {
            return std::future::pending().await;
        }
        let answers = self.answers.recv().await;
        self.busy = false;
        self.failure = None;
        answers
    }

    /// One wasn't confirmed: it is tried again.
    pub(super) fn failed(&mut self, rejection: Rejection, failure: Failure, now: Instant) {
        self.waiting.push(rejection);
        if self.failure.is_none() {
            self.next = Some(now + self.backoff.next_wait());
        }
        self.failure = Some(failure);
    }

    /// All answers of a job were taken.
    pub(super) fn answered(&mut self) {
        if self.failure.is_none() {
            self.next = None;
            self.backoff.reset();
        }
    }

    /// Those that no answer has been heard of, the ones in hand left out.
    pub(super) fn unpublished(&self) -> impl Iterator<Item = &Rejection> {
        self.waiting.iter()
    }

    /// One of them, where they couldn't be published.
    pub(super) fn take_unpublished(&mut self) -> Option<Rejection> {
        self.failing().then(|| self.waiting.pop()).flatten()
    }

    pub(super) fn busy(&self) -> bool {
        self.busy
    }

    /// The last ones weren't confirmed.
    pub(super) fn failing(&self) -> bool {
        self.next.is_some()
    }

    pub(super) fn reason(&self) -> Option<Reason> {
        self.next?;
        let unknown = || Reason::new(ErrorClass::DeadLetterFailed, "not_confirmed", "not confirmed");
        let why = self.failure.as_ref().map_or_else(unknown, Reason::from);
        let told = format!("dead letters can't be published: {why}");
        Some(why.told(told))
    }

    /// When to try again.
    pub(super) fn due(&self) -> Option<Instant> {
        self.next.filter(|_| !self.busy && !self.waiting.is_empty())
    }
}
