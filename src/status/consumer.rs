//! One consumer's state, and why it is in it.

use std::borrow::Cow;
use std::fmt;
use std::time::Instant;

use serde::Serialize;

use super::Pause;
use crate::error::{ErrorClass, Failure};

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
    /// Deliveries that it has settled.
    pub settled: u64,
}

impl ConsumerState {
    pub(super) fn starting() -> Self {
        let now = Instant::now();
        ConsumerState {
            state: State::Starting,
            reason: None,
            since: now,
            turned: now,
            unsettled: 0,
            oldest_unsettled: None,
            settled: 0,
        }
    }

    /// Starts over; what it has counted goes on.
    pub(super) fn begin(&mut self) {
        *self = ConsumerState { settled: self.settled, ..ConsumerState::starting() };
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

    /// Pauses as somebody has ordered: nobody else has to act.
    pub fn pause(&mut self, pipeline: &str, pause: &Pause) {
        if self.state != State::Paused {
            self.since = Instant::now();
            tracing::warn!(pipeline, from = self.state.name(), "{pause}; nothing is in hand");
        }
        (self.state, self.reason) = (State::Paused, Some(pause.into()));
    }
}
