//! How far the stopping of a worker has got: written by whoever hears signals, read by everyone
//! who works.

use tokio::sync::watch;

/// What a worker has been told. Later wins; it never goes back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Work.
    #[default]
    Run,
    /// The first signal: take nothing new, finish what is in hand, end within `shutdown_timeout`.
    Drain,
    /// A second signal: end at once. The broker gets back what isn't settled.
    Abort,
}

/// The phase, as it changes.
pub type Shutdown = watch::Receiver<Phase>;

/// Returns once the phase is `phase` or a later one. Should nobody be left who could tell, it
/// never returns: a worker doesn't stop because its listener for signals has ended.
pub async fn reached(shutdown: &mut Shutdown, phase: Phase) {
    if shutdown.wait_for(|&now| now >= phase).await.is_err() {
        std::future::pending::<()>().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_lost_sender_is_no_order_to_stop() {
        let (sender, mut shutdown) = watch::channel(Phase::Run);
        drop(sender);
        let wait = tokio::time::timeout(std::time::Duration::from_secs(3600), reached(&mut shutdown, Phase::Drain));
        assert!(wait.await.is_err(), "the worker would have stopped by itself");
    }

    #[tokio::test]
    async fn a_later_phase_counts_too() {
        let (sender, mut shutdown) = watch::channel(Phase::Run);
        sender.send_replace(Phase::Abort);
        reached(&mut shutdown, Phase::Drain).await;
        assert_eq!(*shutdown.borrow(), Phase::Abort);
    }
}
