//! What follows from an error: (class, how far we are) → what to do next. Pure and total, without
//! a wildcard, so that a new class can't be forgotten; a test holds every line.

use crate::error::ErrorClass;

/// How the units that failed had been written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The whole batch in one transaction.
    Together,
    /// A transaction for each unit, since the batch met contention again and again.
    OneByOne,
    /// This unit by itself, as the last step of bisection.
    Alone,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Write the same again after a wait.
    Retry,
    /// Write the same, one unit a transaction.
    OneByOne,
    /// Bisect until the units that can't be written stand alone.
    Isolate,
    /// Dead-letter the unit, provided that its neighbours or a probe write pass; else hold.
    DeadLetterIfOthersPass,
    /// Dead-letter the unit.
    DeadLetter,
    /// Keep everything unacked, read nothing, probe on fresh connections, then write again.
    Hold,
    /// Run the start's checks: if they fail, pause until they pass; else isolate.
    Check,
    /// Forget what is unsettled and subscribe anew.
    Rebuild,
    /// Stop with exit code 2.
    Exit,
}

/// A batch's contention is retried so often before its units go one by one.
pub const CONTENTION_RETRIES: u32 = 5;
/// An unknown error is retried so often before the batch is bisected.
pub const UNKNOWN_RETRIES: u32 = 3;
/// So often may the same batch lose its connection while probes answer, before it is the suspect.
pub const CONNECTION_LOSSES: u32 = 3;

/// Decides. `failures` counts how often these units have failed in this stage with this class,
/// this time included; for `sink_unavailable` only those times count that a probe had answered
/// after.
pub fn decide(class: ErrorClass, stage: Stage, failures: u32) -> Action {
    match (class, stage) {
        (ErrorClass::Config, Stage::Together | Stage::OneByOne | Stage::Alone) => Action::Exit,
        (ErrorClass::SourceLost, Stage::Together | Stage::OneByOne | Stage::Alone) => Action::Rebuild,
        (
            ErrorClass::Decode | ErrorClass::Mapping | ErrorClass::IdConflict,
            Stage::Together | Stage::OneByOne | Stage::Alone,
        ) => Action::DeadLetter,
        (ErrorClass::DeadLetterFailed, Stage::Together | Stage::OneByOne | Stage::Alone) => Action::Hold,
        (ErrorClass::RowRejected, Stage::Together | Stage::OneByOne) => Action::Isolate,
        (ErrorClass::RowRejected, Stage::Alone) => Action::DeadLetter,
        (ErrorClass::SinkContention, Stage::Together) if failures <= CONTENTION_RETRIES => Action::Retry,
        (ErrorClass::SinkContention, Stage::Together) => Action::OneByOne,
        (ErrorClass::SinkContention, Stage::OneByOne | Stage::Alone) if failures <= CONTENTION_RETRIES => Action::Retry,
        (ErrorClass::SinkContention, Stage::OneByOne | Stage::Alone) => Action::Hold,
        (ErrorClass::SinkUnavailable, Stage::Together | Stage::OneByOne) if failures < CONNECTION_LOSSES => {
            Action::Hold
        }
        (ErrorClass::SinkUnavailable, Stage::Together | Stage::OneByOne) => Action::Isolate,
        (ErrorClass::SinkUnavailable, Stage::Alone) if failures < CONNECTION_LOSSES => Action::Hold,
        (ErrorClass::SinkUnavailable, Stage::Alone) => Action::DeadLetterIfOthersPass,
        (ErrorClass::SinkMisconfigured, Stage::Together | Stage::OneByOne) => Action::Check,
        (ErrorClass::SinkMisconfigured, Stage::Alone) => Action::DeadLetterIfOthersPass,
        (ErrorClass::Unknown, Stage::Together | Stage::OneByOne) if failures <= UNKNOWN_RETRIES => Action::Retry,
        (ErrorClass::Unknown, Stage::Together | Stage::OneByOne) => Action::Isolate,
        (ErrorClass::Unknown, Stage::Alone) => Action::DeadLetterIfOthersPass,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Stage::{Alone, OneByOne, Together};

    #[test]
    fn every_line_of_the_table() {
        use ErrorClass as C;
        for (class, stage, failures, action) in [
            (C::Config, Together, 1, Action::Exit),
            (C::SourceLost, Together, 1, Action::Rebuild),
            (C::Decode, Together, 1, Action::DeadLetter),
            (C::Mapping, Together, 1, Action::DeadLetter),
            (C::IdConflict, Alone, 1, Action::DeadLetter),
            (C::DeadLetterFailed, Together, 1_000_000, Action::Hold),
            (C::RowRejected, Together, 1, Action::Isolate),
            (C::RowRejected, OneByOne, 1, Action::Isolate),
            (C::RowRejected, Alone, 1, Action::DeadLetter),
            (C::SinkContention, Together, CONTENTION_RETRIES, Action::Retry),
            (C::SinkContention, Together, CONTENTION_RETRIES + 1, Action::OneByOne),
            (C::SinkContention, OneByOne, CONTENTION_RETRIES, Action::Retry),
            (C::SinkContention, OneByOne, CONTENTION_RETRIES + 1, Action::Hold),
            (C::SinkContention, Alone, CONTENTION_RETRIES + 1, Action::Hold),
            (C::SinkUnavailable, Together, 1, Action::Hold),
            (C::SinkUnavailable, Together, CONNECTION_LOSSES, Action::Isolate),
            (C::SinkUnavailable, OneByOne, CONNECTION_LOSSES, Action::Isolate),
            (C::SinkUnavailable, Alone, 1, Action::Hold),
            (C::SinkUnavailable, Alone, CONNECTION_LOSSES, Action::DeadLetterIfOthersPass),
            (C::SinkMisconfigured, Together, 1, Action::Check),
            (C::SinkMisconfigured, OneByOne, 1, Action::Check),
            (C::SinkMisconfigured, Alone, 1, Action::DeadLetterIfOthersPass),
            (C::Unknown, Together, UNKNOWN_RETRIES, Action::Retry),
            (C::Unknown, Together, UNKNOWN_RETRIES + 1, Action::Isolate),
            (C::Unknown, Alone, 1, Action::DeadLetterIfOthersPass),
        ] {
            assert_eq!(decide(class, stage, failures), action, "{class} {stage:?} {failures}");
        }
    }

    #[test]
    fn contention_and_outages_never_cost_a_message() {
        for stage in [Together, OneByOne, Alone] {
            for failures in 1..50 {
                let action = decide(ErrorClass::SinkContention, stage, failures);
                assert!(!matches!(action, Action::DeadLetter | Action::DeadLetterIfOthersPass));
                assert_ne!(decide(ErrorClass::SinkUnavailable, stage, failures), Action::DeadLetter);
            }
        }
    }
}
