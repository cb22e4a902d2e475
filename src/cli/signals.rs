//! SIGTERM and SIGINT: the first drains, a second stops at once. SIGHUP: the config is read again.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use crate::shutdown::{Phase, Shutdown};

/// Listens from now on; needs a runtime.
///
/// # Errors
/// The handlers can't be installed.
pub fn listen() -> io::Result<Shutdown> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let (sender, receiver) = watch::channel(Phase::Run);
    tokio::spawn(async move {
        let name = next(&mut terminate, &mut interrupt).await;
        tracing::info!("{name}: finishing what is in hand; a second signal stops at once");
        sender.send_replace(Phase::Drain);
        let name = next(&mut terminate, &mut interrupt).await;
        tracing::warn!("a second signal ({name}): stopping at once; what isn't settled goes back to the broker");
        sender.send_replace(Phase::Abort);
    });
    Ok(receiver)
}

/// SIGHUP, from now on; needs a runtime.
///
/// # Errors
/// The handler can't be installed.
pub(super) fn hangups() -> io::Result<Signal> {
    signal(SignalKind::hangup())
}

async fn next(terminate: &mut Signal, interrupt: &mut Signal) -> &'static str {
    tokio::select! {
        Some(()) = terminate.recv() => "SIGTERM",
        Some(()) = interrupt.recv() => "SIGINT",
        // Neither can come any more.
        else => std::future::pending().await,
    }
}
