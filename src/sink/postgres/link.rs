//! A connection and its transactions: begun, and ended in one of two ways.

use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use tokio::time::timeout;

use crate::error::{ErrorClass, Failure};

use super::{classify, unchanged};

/// How long a ROLLBACK or a goodbye may take before the connection is thrown away instead.
const PATIENCE: Duration = Duration::from_secs(5);

/// READ COMMITTED whatever the server's default, see [`Link::begin`].
pub(super) const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED";

/// A connection, and whether it may still be used.
pub(super) struct Link {
    conn: PgConnection,
    usable: bool,
}

impl Link {
    pub fn new(conn: PgConnection) -> Self {
        Link { conn, usable: true }
    }

    /// The connection, for a piece of work that [`Link::leave`] ends. Whoever is dropped in
    /// between has left an answer unread or a transaction open, so nothing may follow.
    ///
    /// # Errors
    /// `sink_unavailable`, code `session_broken`, after a lost connection or a dropped future.
    pub fn enter(&mut self) -> Result<&mut Self, Failure> {
        if !self.usable {
            let message = "the database session was lost in the middle of its work; a new one is needed";
            return Err(Failure::new(ErrorClass::SinkUnavailable, "session_broken", message));
        }
        self.usable = false;
        Ok(self)
    }

    /// Ends what [`Link::enter`] began.
    pub fn leave<T>(&mut self, result: Result<T, Failure>) -> Result<T, Failure> {
        self.usable = !matches!(&result, Err(failure) if failure.class == ErrorClass::SinkUnavailable);
        result
    }

    /// The driver's connection.
    pub fn conn(&mut self) -> &mut PgConnection {
        &mut self.conn
    }

    /// Begins a transaction. READ COMMITTED whatever the server's default: after an insert has
    /// met another session's ledger entry, that entry has to be visible. Read-write or not is
    /// left to the server's default, with which administrators stop writers.
    pub async fn begin(&mut self, isolating: bool) -> Result<(), Failure> {
        let begin =
            if isolating { "BEGIN ISOLATION LEVEL READ COMMITTED; SET CONSTRAINTS ALL IMMEDIATE" } else { BEGIN };
        match self.conn.execute(begin).await {
            Ok(_) => Ok(()),
            Err(error) => Err(self.rollback(classify::failure(error)).await),
        }
    }

    /// Commits what succeeded and rolls back what failed.
    pub async fn end<T>(&mut self, result: Result<T, Failure>) -> Result<T, Failure> {
        self.end_if("SELECT", result).await
    }

    /// The same; `condition` is a SELECT that fails where it must not be committed.
    pub async fn end_if<T>(&mut self, condition: &str, result: Result<T, Failure>) -> Result<T, Failure> {
        match result {
            Ok(value) => match self.commit(condition).await {
                Ok(()) => Ok(value),
                Err(failure) => Err(self.rollback(failure).await),
            },
            Err(failure) => Err(self.rollback(failure).await),
        }
    }

    /// The server answers COMMIT of a failed transaction with ROLLBACK, which the driver takes
    /// for success. The SELECT before it, in the same message, is refused in such a transaction
    /// (25P02), and the server then doesn't look at the COMMIT behind it.
    async fn commit(&mut self, condition: &str) -> Result<(), Failure> {
        let commit = AssertSqlSafe(format!("{condition}; COMMIT"));
        self.conn.execute(commit).await.map(|_| ()).map_err(unchanged::failure)
    }

    /// Rolls back and hands the cause on; or says that the connection is lost, where even that
    /// fails.
    pub async fn rollback(&mut self, cause: Failure) -> Failure {
        if cause.class == ErrorClass::SinkUnavailable {
            return cause;
        }
        self.undo().await.err().unwrap_or(cause)
    }

    /// Rolls back. An error of this is always `sink_unavailable`: only the connection is known to
    /// be at fault, and the batch, written again on another one, tells what else is wrong.
    pub async fn undo(&mut self) -> Result<(), Failure> {
        let failure = match timeout(PATIENCE, self.conn.execute("ROLLBACK")).await {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(error)) => classify::failure(error),
            Err(_) => Failure::new(ErrorClass::SinkUnavailable, "io", "ROLLBACK got no answer"),
        };
        Err(Failure { class: ErrorClass::SinkUnavailable, ..failure })
    }

    /// Says goodbye; a session that was lost gets none.
    pub async fn close(self) {
        if self.usable {
            // The server may be gone already: that it doesn't answer changes nothing.
            timeout(PATIENCE, self.conn.close()).await.ok();
        }
    }
}
