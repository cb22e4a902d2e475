//! What can go wrong, by class. *What follows* from a class is decided in [`crate::policy`] alone.

use std::borrow::Cow;
use std::fmt;

/// The class of an error: the only thing that decides what happens next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ErrorClass {
    /// The config is wrong; found before anything connects.
    Config,
    /// The connection, channel or consumer is gone; the broker has its messages again.
    SourceLost,
    /// The body isn't what the pipeline's format says.
    Decode,
    /// The record doesn't fit the columns, or has no message ID.
    Mapping,
    /// The ledger has this message ID with another body.
    IdConflict,
    /// The database refuses this row.
    RowRejected,
    /// Somebody else holds what the transaction needs.
    SinkContention,
    /// The database is away.
    SinkUnavailable,
    /// The database is there, but not as the pipeline needs it.
    SinkMisconfigured,
    /// The dead letter wasn't confirmed, or was returned as unroutable.
    DeadLetterFailed,
    /// Anything else.
    Unknown,
}

impl ErrorClass {
    /// Every class, for tables and metrics.
    pub const ALL: [ErrorClass; 11] = [
        ErrorClass::Config,
        ErrorClass::SourceLost,
        ErrorClass::Decode,
        ErrorClass::Mapping,
        ErrorClass::IdConflict,
        ErrorClass::RowRejected,
        ErrorClass::SinkContention,
        ErrorClass::SinkUnavailable,
        ErrorClass::SinkMisconfigured,
        ErrorClass::DeadLetterFailed,
        ErrorClass::Unknown,
    ];

    /// The name in headers, logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            ErrorClass::Config => "config",
            ErrorClass::SourceLost => "source_lost",
            ErrorClass::Decode => "decode",
            ErrorClass::Mapping => "mapping",
            ErrorClass::IdConflict => "id_conflict",
            ErrorClass::RowRejected => "row_rejected",
            ErrorClass::SinkContention => "sink_contention",
            ErrorClass::SinkUnavailable => "sink_unavailable",
            ErrorClass::SinkMisconfigured => "sink_misconfigured",
            ErrorClass::DeadLetterFailed => "dead_letter_failed",
            ErrorClass::Unknown => "unknown",
        }
    }
}

impl fmt::Display for ErrorClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Text that may hold row values or secrets, because a server or a message wrote it. It goes into
/// a dead letter's reason and nowhere else; printing it shows nothing.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Withheld(String);

impl Withheld {
    /// Keeps a text from logs.
    pub fn new(text: impl Into<String>) -> Self {
        Withheld(text.into())
    }

    /// The text, for a dead letter or for the terminal of somebody who asked for this message.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Withheld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(withheld)")
    }
}

/// One thing that went wrong. Its `Display` is safe for logs: class, code, column, constraint and
/// our own words, never a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Decides what follows.
    pub class: ErrorClass,
    /// SQLSTATE, errno, SQLite's result code, AMQP's reply code, or a word of our own.
    pub code: Cow<'static, str>,
    /// The column, where known. From the config or the catalogue, never from a message.
    pub column: Option<String>,
    /// The constraint, where known.
    pub constraint: Option<String>,
    /// Our own words, without values: what and, where it helps, what to do.
    pub message: Cow<'static, str>,
    /// The server's words, or ours with values.
    pub detail: Withheld,
}

impl Failure {
    /// A failure in our own words.
    pub fn new(class: ErrorClass, code: impl Into<Cow<'static, str>>, message: impl Into<Cow<'static, str>>) -> Self {
        Failure {
            class,
            code: code.into(),
            column: None,
            constraint: None,
            message: message.into(),
            detail: Withheld::default(),
        }
    }

    /// Names the column.
    #[must_use]
    pub fn column(mut self, column: impl Into<String>) -> Self {
        self.column = Some(column.into());
        self
    }

    /// Adds the server's text, or ours with values in it.
    #[must_use]
    pub fn detail(mut self, text: impl Into<String>) -> Self {
        self.detail = Withheld::new(text);
        self
    }

    /// What a dead letter says: our words and the withheld text.
    pub fn reason(&self) -> String {
        match self.detail.reveal() {
            "" => self.message.clone().into_owned(),
            detail => format!("{}: {detail}", self.message),
        }
    }

    /// The same cause for counting: class, code and column.
    pub fn cause(&self) -> Cause {
        Cause { class: self.class, code: self.code.clone(), column: self.column.clone() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.class, self.code)?;
        if let Some(column) = &self.column {
            write!(f, " column {column}")?;
        }
        if let Some(constraint) = &self.constraint {
            write!(f, " constraint {constraint}")?;
        }
        write!(f, ": {}", self.message)
    }
}

impl std::error::Error for Failure {}

/// What makes two rejections the same to a storm: class, code and column.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Cause {
    /// The class.
    pub class: ErrorClass,
    /// The code.
    pub code: Cow<'static, str>,
    /// The column, where known.
    pub column: Option<String>,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.class, self.code)?;
        self.column.iter().try_for_each(|column| write!(f, " column {column}"))
    }
}
