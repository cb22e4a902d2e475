//! One line of a check: what was looked at, what was found, what to do about it.

use serde::Serialize;

use crate::error::{ErrorClass, Failure};

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// As it should be.
    Ok,
    /// It works, and somebody should know.
    Warning,
    /// The pipeline can't run so.
    Wrong,
    /// Nobody could be asked.
    Unknown,
    /// The server that would know doesn't answer.
    Unreachable,
}

impl Level {
    /// The mark in front of a line.
    pub fn mark(self) -> &'static str {
        match self {
            Level::Ok => "✓",
            Level::Warning => "!",
            Level::Wrong | Level::Unreachable => "✗",
            Level::Unknown => "?",
        }
    }
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at, in one word.
    pub check: &'static str,
    /// How it came out.
    pub level: Level,
    /// What was found.
    pub text: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub todo: Option<String>,
    /// SQL, a command or a line of the config that does it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mend: Option<String>,
    /// The failure that it was, for whoever decides by its class.
    #[serde(skip)]
    pub failure: Option<Failure>,
}

impl Finding {
    fn new(check: &'static str, level: Level, text: impl Into<String>) -> Self {
        Finding { check, level, text: text.into(), todo: None, mend: None, failure: None }
    }

    /// As it should be.
    pub fn ok(check: &'static str, text: impl Into<String>) -> Self {
        Finding::new(check, Level::Ok, text)
    }

    /// It works, and somebody should know.
    pub fn warning(check: &'static str, text: impl Into<String>) -> Self {
        Finding::new(check, Level::Warning, text)
    }

    /// The pipeline can't run so.
    pub fn wrong(check: &'static str, text: impl Into<String>) -> Self {
        Finding::new(check, Level::Wrong, text)
    }

    /// Nobody could be asked.
    pub fn unknown(check: &'static str, text: impl Into<String>) -> Self {
        Finding::new(check, Level::Unknown, text)
    }

    /// A failure of a server: out of reach, or a wrong setup.
    pub fn of(check: &'static str, failure: &Failure) -> Self {
        let level = match failure.class {
            ErrorClass::SinkUnavailable | ErrorClass::SinkContention | ErrorClass::SourceLost => Level::Unreachable,
            ErrorClass::Config
            | ErrorClass::Decode
            | ErrorClass::Mapping
            | ErrorClass::IdConflict
            | ErrorClass::RowRejected
            | ErrorClass::SinkMisconfigured
            | ErrorClass::DeadLetterFailed
            | ErrorClass::Unknown => Level::Wrong,
        };
        let text = format!("{} ({})", failure.message.trim_end(), failure.code);
        Finding { failure: Some(failure.clone()), ..Finding::new(check, level, text) }
    }

    /// Another level.
    #[must_use]
    pub fn at(mut self, level: Level) -> Self {
        self.level = level;
        self
    }

    /// With what to do.
    #[must_use]
    pub fn todo(mut self, todo: impl Into<String>) -> Self {
        self.todo = Some(todo.into());
        self
    }

    /// With what mends it.
    #[must_use]
    pub fn mend(mut self, mend: impl Into<String>) -> Self {
        self.mend = Some(mend.into());
        self
    }

    /// It keeps the pipeline from running.
    pub fn stops(&self) -> bool {
        matches!(self.level, Level::Wrong | Level::Unreachable)
    }

    /// In one sentence, for logs and states.
    pub fn sentence(&self) -> String {
        match &self.todo {
            Some(todo) => format!("{}: {}; {todo}", self.check, self.text),
            None => format!("{}: {}", self.check, self.text),
        }
    }
}
