//! The client library's errors as ours.

use std::future::Future;
use std::time::Duration;

use lapin::ErrorKind;

use crate::error::{ErrorClass, Failure};

/// The longest that any answer of the broker is waited for. A broker under load answers within
/// seconds; past this, the connection is as good as gone.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// AMQP's reply codes that we say something about.
pub(super) mod reply {
    pub(crate) const ACCESS_REFUSED: u16 = 403;
    pub(crate) const NOT_FOUND: u16 = 404;
    pub(crate) const RESOURCE_LOCKED: u16 = 405;
    pub(crate) const PRECONDITION_FAILED: u16 = 406;
    pub(crate) const NO_ROUTE: u16 = 312;
    pub(crate) const CONNECTION_FORCED: u16 = 320;
    pub(crate) const NOT_ALLOWED: u16 = 530;
}

/// The broker's reply code, where the error is one.
pub(super) fn reply_code(error: &lapin::Error) -> Option<u16> {
    match error.kind() {
        ErrorKind::ProtocolError(error) => Some(error.get_id()),
        _ => None,
    }
}

/// There is no such queue. The broker says 404 as well of a queue whose node is away: that one is
/// there, with its messages, and only its text tells.
pub(super) fn no_such_queue(error: &lapin::Error) -> bool {
    match error.kind() {
        ErrorKind::ProtocolError(error) => {
            error.get_id() == reply::NOT_FOUND && error.get_message().as_str().contains("no queue")
        }
        _ => false,
    }
}

/// Says in `class` what went wrong while `doing` something.
pub(super) fn failed(class: ErrorClass, doing: &str, error: &lapin::Error) -> Failure {
    let (code, what) = match error.kind() {
        ErrorKind::ProtocolError(error) => {
            let code = error.get_id();
            let text = error.get_message();
            let what = match hint(code) {
                // These texts name queues, exchanges, users and vhosts; others may quote a frame,
                // and with it a message.
                Some(hint) => return Failure::new(class, code.to_string(), format!("{doing}: {text}{hint}")),
                None => format!("the broker answered {code}"),
            };
            return Failure::new(class, code.to_string(), format!("{doing}: {what}")).detail(text.as_str());
        }
        ErrorKind::IOError(error) | ErrorKind::RuntimeShutdownError(error) => ("io", error.to_string()),
        ErrorKind::MissingHeartbeatError => ("heartbeat", "no heartbeat from the broker for too long".to_owned()),
        ErrorKind::InvalidChannel(_) | ErrorKind::InvalidChannelState(..) | ErrorKind::InvalidConnectionState(_) => {
            ("closed", "the channel or connection is closed".to_owned())
        }
        ErrorKind::ParsingError(_) => (
            "unreadable_frame",
            "the broker sent a frame that the AMQP client can't read; a message whose properties aren't UTF-8 does that: \
             find and remove it with another client"
                .to_owned(),
        ),
        ErrorKind::ChannelsLimitReached => ("channel_max", "the connection's limit of channels is reached".to_owned()),
        ErrorKind::AuthProviderError(_) => ("auth", "the login can't be made".to_owned()),
        _ => ("amqp", "the AMQP client gave up".to_owned()),
    };
    Failure::new(class, code, format!("{doing}: {what}"))
}

/// What to do about a reply code whose text is safe to show.
fn hint(code: u16) -> Option<&'static str> {
    match code {
        reply::ACCESS_REFUSED => Some("; grant the right with `rabbitmqctl set_permissions`"),
        reply::NOT_FOUND | reply::CONNECTION_FORCED | reply::PRECONDITION_FAILED => Some(""),
        reply::RESOURCE_LOCKED => Some("; another connection has it exclusively"),
        reply::NOT_ALLOWED => Some("; check the vhost in the URL and the user's rights on it"),
        _ => None,
    }
}

/// Waits for an answer of the broker, but not for ever.
pub(super) async fn answer<T>(
    class: ErrorClass,
    doing: &str,
    asked: impl Future<Output = lapin::Result<T>>,
) -> Result<T, Failure> {
    match tokio::time::timeout(ANSWER_TIMEOUT, asked).await {
        Ok(answer) => answer.map_err(|error| failed(class, doing, &error)),
        Err(_) => Err(silent(class, doing)),
    }
}

/// The broker didn't answer.
pub(super) fn silent(class: ErrorClass, doing: &str) -> Failure {
    Failure::new(class, "no_answer", format!("{doing}: no answer from the broker for {} s", ANSWER_TIMEOUT.as_secs()))
}
