//! What a line of the tables says: how an error is provoked, what it is taken for, and what
//! follows.

use std::path::Path;

/// One error on one real server. Texts may have names in them that the run puts in: `{t}` the
/// table, `{n}` a message's number, `{r}` the worker's login, `{l}` its ledger, `{d}` its database.
#[derive(Clone, Copy)]
pub struct Verdict {
    /// The pipeline's name.
    pub name: &'static str,
    /// For the documentation: when somebody meets this.
    pub means: &'static str,
    /// Where it is met.
    pub on: On,
    /// Before the worker starts.
    pub setup: &'static str,
    /// The pipeline's `table`.
    pub table: &'static str,
    /// What the audit reads.
    pub audited: &'static str,
    /// Lines of `[pipelines.NAME.columns]`, beside the ID.
    pub columns: &'static str,
    /// Fields of the good messages.
    pub good: &'static str,
    /// Fields of the one bad message among them.
    pub bad: Option<&'static str>,
    /// Keys of `[databases.NAME]`, which replace [`TIMEOUTS`].
    pub database: &'static str,
    /// Keys of `[pipelines.NAME]`.
    pub pipeline: &'static str,
    /// So many rejections for one cause are a storm.
    pub storm: u32,
    /// The worker has a login of its own, `{r}`, which may do no more than it must.
    pub login: bool,
    /// It has a database of its own, and cause and mend come from beside it.
    pub own: bool,
    /// Once the worker runs, before the messages. What it locks stays locked until the mend.
    pub cause: Act,
    /// The cause is there before the worker starts.
    pub at_start: bool,
    pub class: &'static str,
    pub code: &'static str,
    pub column: Option<&'static str>,
    pub constraint: Option<&'static str>,
    /// Further words of the reason.
    pub names: &'static [&'static str],
    pub next: Next,
    pub mend: Act,
    /// For the documentation: what ends it, where [`Next::ends`] doesn't say enough.
    pub ends: &'static str,
}

/// What the test does.
#[derive(Clone, Copy)]
pub enum Act {
    Nothing,
    Sql(&'static str),
    /// To SQLite's file.
    File(fn(&Path)),
}

/// Where a verdict holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    All,
    Mariadb,
    Mysql,
}

/// What happened next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Next {
    /// That row alone; its neighbours are written.
    DeadLettered,
    /// Retried alone while others pass; written when its parent is there.
    Waits,
    /// Nothing is dead-lettered; written once the cause is gone.
    Retried,
    /// The pipeline holds and says why; nothing is dead-lettered; it goes on after the mend.
    Held,
    /// The pipeline pauses and says what is missing; it goes on by itself after the mend.
    Paused,
}

/// Long enough for any machine: what fails for lack of time would be tried once more.
pub const TIMEOUTS: &str = "connect_timeout = \"1m\"\nstatement_timeout = \"20s\"\nlock_timeout = \"20s\"";

/// So that a lock is met often.
pub const IMPATIENT: &str = "connect_timeout = \"1m\"\nstatement_timeout = \"20s\"\nlock_timeout = \"500ms\"";

/// Good messages of each verdict.
pub const GOOD: usize = 6;
/// The bad one's place among them.
pub const BAD_AT: usize = 3;

/// A row that the database refuses.
pub const ROW: Verdict = Verdict {
    name: "",
    means: "",
    on: On::All,
    setup: "CREATE TABLE {t} (id varchar(100), v varchar(100))",
    table: "{t}",
    audited: "{t}",
    columns: "v = \"/v\"",
    good: "\"v\":\"{n}\"",
    bad: Some("\"v\":\"bad\""),
    database: "",
    pipeline: "",
    storm: 100,
    login: false,
    own: false,
    cause: Act::Nothing,
    at_start: false,
    class: "row_rejected",
    code: "",
    column: None,
    constraint: None,
    names: &[],
    next: Next::DeadLettered,
    mend: Act::Nothing,
    ends: "",
};

/// A child before its parent.
pub const CHILD: Verdict = Verdict { next: Next::Waits, ..ROW };

/// Somebody else is in the way.
pub const CONTENTION: Verdict =
    Verdict { bad: None, database: IMPATIENT, class: "sink_contention", next: Next::Retried, ..ROW };

/// The database can't.
pub const AWAY: Verdict = Verdict { bad: None, class: "sink_unavailable", next: Next::Held, ..ROW };

/// The database isn't as the pipeline needs it.
pub const SETUP: Verdict = Verdict { bad: None, class: "sink_misconfigured", next: Next::Paused, ..ROW };

impl Next {
    /// In how many transactions the bad message was before it stood alone and convicted. All are
    /// in one batch, and bisection goes 7, 4, 2, 1. `None`: that class dead-letters nothing.
    pub fn attempts(class: &str, code: &str) -> Option<u32> {
        const BISECTION: u32 = 4;
        Some(match (class, code) {
            // Three losses before it, three alone; once more after a probe write.
            ("row_rejected", "connection_lost") => 3 + BISECTION - 1 + 3 + 1,
            ("row_rejected", _) => 1 + BISECTION,
            // The checks say that the setup is right; once more after a probe write.
            ("sink_misconfigured", _) => 1 + BISECTION + 1,
            // Three retries before it; once more after a probe write.
            ("unknown", _) => 4 + BISECTION + 1,
            _ => return None,
        })
    }

    /// For the documentation.
    pub fn words(self) -> &'static str {
        match self {
            Next::DeadLettered => "that message is dead-lettered, its neighbours are written",
            Next::Waits => "that message waits and is retried alone, its neighbours are written",
            Next::Retried => "all of the batch is retried, nothing is dead-lettered",
            Next::Held => "the pipeline holds, nothing is dead-lettered",
            Next::Paused => "the pipeline pauses, nothing is dead-lettered",
        }
    }

    /// For the documentation.
    pub fn ends(self) -> &'static str {
        match self {
            Next::DeadLettered => "correct the message or the table, then publish the dead letter again",
            Next::Waits => "the parent's row; after `retry.missing_parent` the message is dead-lettered",
            Next::Retried => "ends by itself with its cause; it holds if that lasts",
            Next::Held => "ends by itself with its cause",
            Next::Paused => "ends by itself when the setup is mended",
        }
    }
}
