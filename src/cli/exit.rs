//! Exit codes, and what ends with which.

use std::process::ExitCode;

use crate::error::{ErrorClass, Failure};
use crate::rabbitmq::refuses;
use crate::shutdown::Phase;
use crate::status::State;
use crate::summary::Summary;

/// How a command ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// It failed.
    Failed = 1,
    /// The config or the command line is wrong.
    Usage = 2,
    /// The broker or a database isn't reachable.
    Unreachable = 3,
    /// The check found something wrong, or a pipeline is paused.
    Wrong = 4,
    /// Some of it is done.
    Partly = 5,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

/// Why a command ended before its end: what to print on stderr, and the exit code.
#[derive(Debug)]
pub struct CliError {
    /// The exit code.
    pub exit: Exit,
    /// What, where, and what to do.
    pub message: String,
}

impl CliError {
    /// Exit code 1.
    pub fn failed(message: impl Into<String>) -> Self {
        CliError { exit: Exit::Failed, message: message.into() }
    }

    /// Exit code 2.
    pub fn usage(message: impl Into<String>) -> Self {
        CliError { exit: Exit::Usage, message: message.into() }
    }
}

impl From<Failure> for CliError {
    fn from(failure: Failure) -> Self {
        let exit = match failure.class {
            ErrorClass::Config => Exit::Usage,
            ErrorClass::SourceLost if refuses(&failure) => Exit::Wrong,
            ErrorClass::SourceLost | ErrorClass::SinkUnavailable => Exit::Unreachable,
            ErrorClass::SinkMisconfigured => Exit::Wrong,
            ErrorClass::Decode
            | ErrorClass::Mapping
            | ErrorClass::IdConflict
            | ErrorClass::RowRejected
            | ErrorClass::SinkContention
            | ErrorClass::DeadLetterFailed
            | ErrorClass::Unknown => Exit::Failed,
        };
        CliError { exit, message: sentence(&failure) }
    }
}

/// A failure for people: what it is first, its class and code behind.
pub(super) fn sentence(failure: &Failure) -> String {
    let mut text = format!("{} ({} {}", failure.message.trim_end(), failure.class, failure.code);
    for (what, name) in [("column", &failure.column), ("constraint", &failure.constraint)] {
        if let Some(name) = name {
            text.push_str(&format!(", {what} {name}"));
        }
    }
    text.push(')');
    text
}

/// `--help` and `--version` are no errors; everything else about a command line is 2.
pub(super) fn of_usage(error: &clap::Error) -> Exit {
    if error.exit_code() == 0 { Exit::Done } else { Exit::Usage }
}

/// How `run` ends, by what became of its pipelines and by what it had been told.
///
/// Told to drain, it has done what it was asked, whatever the pipelines waited for. Told to stop at
/// once, it hasn't. Ended by itself: a pause is 4, a database or broker that stayed away is 3
/// (the pause counts more, since only somebody can end it), and with other pipelines done, 5.
pub fn of_run(summaries: &[Summary], ended: Phase) -> Exit {
    match ended {
        Phase::Abort => return Exit::Failed,
        Phase::Drain => return Exit::Done,
        Phase::Run => {}
    }
    let ends: Vec<Exit> = summaries.iter().map(|summary| of_pipeline(summary.state)).collect();
    let worst = [Exit::Wrong, Exit::Unreachable, Exit::Failed].into_iter().find(|exit| ends.contains(exit));
    match worst {
        None => Exit::Done,
        Some(_) if ends.contains(&Exit::Done) => Exit::Partly,
        Some(worst) => worst,
    }
}

fn of_pipeline(state: State) -> Exit {
    match state {
        State::Done => Exit::Done,
        State::Paused => Exit::Wrong,
        State::Holding | State::Reconnecting => Exit::Unreachable,
        State::Running | State::Starting | State::Draining => Exit::Failed,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::status::PipelineStatus;

    fn ended(states: &[State], phase: Phase) -> u8 {
        let summary = |&state: &State| {
            let status = PipelineStatus::new("orders", 1);
            status.update(0, |consumer| consumer.state = state);
            Summary::of(&status, Instant::now())
        };
        of_run(&states.iter().map(summary).collect::<Vec<_>>(), phase) as u8
    }

    #[test]
    fn a_run_that_ended_by_itself() {
        use State::{Done, Holding, Paused, Reconnecting, Running};
        let table: [(&[State], u8); 12] = [
            (&[], 0),
            (&[Done], 0),
            (&[Done, Done], 0),
            (&[Paused], 4),
            (&[Holding], 3),
            (&[Reconnecting], 3),
            (&[Paused, Holding], 4),
            (&[Done, Paused], 5),
            (&[Holding, Done], 5),
            (&[Done, Paused, Holding], 5),
            (&[Running], 1),
            (&[Running, Done], 5),
        ];
        for (states, code) in table {
            assert_eq!(ended(states, Phase::Run), code, "{states:?}");
        }
    }

    #[test]
    fn a_run_that_was_told_to_stop() {
        assert_eq!(ended(&[State::Done, State::Holding], Phase::Drain), 0);
        assert_eq!(ended(&[State::Done], Phase::Abort), 1);
    }

    #[test]
    fn failures_of_the_other_side_are_3_and_of_the_setup_2_or_4() {
        let code = |class| CliError::from(Failure::new(class, "x", "y")).exit as u8;
        assert_eq!(code(ErrorClass::SourceLost), 3);
        assert_eq!(code(ErrorClass::SinkUnavailable), 3);
        assert_eq!(code(ErrorClass::Config), 2);
        assert_eq!(code(ErrorClass::SinkMisconfigured), 4);
        assert_eq!(code(ErrorClass::Unknown), 1);
        let login = Failure::new(ErrorClass::SourceLost, "403", "the broker refuses the login");
        let refused = CliError::from(login);
        assert_eq!(refused.exit as u8, 4, "it is there");
        assert_eq!(refused.message, "the broker refuses the login (source_lost 403)");
    }

    #[test]
    fn an_error_keeps_withheld_text_to_itself() {
        let failure = Failure::new(ErrorClass::Unknown, "x", "it broke").detail("hunter2");
        assert!(!CliError::from(failure).message.contains("hunter2"));
    }
}
