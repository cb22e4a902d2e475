//! Reads the config again while the worker runs: at SIGHUP and, where `[worker] watch_config` says so, when what
//! stands in it has changed.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::Signal;
use tokio::sync::watch;

use super::notify::Notifier;
use crate::config::{self, Changes, Config, Secret};
use crate::status::WorkerStatus;
use crate::supervisor;

/// A change is taken when it is still the same after so long: a file that is being written reads as one with a part
/// of its pipelines.
const SETTLE: Duration = Duration::from_secs(1);

/// A config, or what is wrong with it.
type Read = Result<Config, String>;

pub(super) struct Reloader {
    path: PathBuf,
    /// What the process was started with: some of it can't be changed since.
    started: Arc<Config>,
    current: watch::Sender<Arc<Config>>,
    token: watch::Sender<Option<Secret>>,
    status: WorkerStatus,
    notifier: Notifier,
}

impl Reloader {
    pub(super) fn new(path: PathBuf, config: Arc<Config>, status: WorkerStatus, notifier: Notifier) -> Self {
        Reloader {
            path,
            token: watch::Sender::new(config.admin.token.clone()),
            current: watch::Sender::new(Arc::clone(&config)),
            started: config,
            status,
            notifier,
        }
    }

    /// The config as it is now.
    pub(super) fn config(&self) -> watch::Receiver<Arc<Config>> {
        self.current.subscribe()
    }

    /// What orders over TCP must bring.
    pub(super) fn token(&self) -> watch::Receiver<Option<Secret>> {
        self.token.subscribe()
    }

    /// Never ends.
    pub(super) async fn run(self, mut hangups: Signal) {
        let mut last: Read = Ok((*self.started).clone());
        loop {
            let every = self.current.borrow().worker.watch_config;
            tokio::select! {
                Some(()) = hangups.recv() => {
                    self.notifier.reloading().await;
                    last = self.read();
                    self.take(&last, "SIGHUP");
                    self.notifier.ready().await;
                }
                () = tokio::time::sleep(every), if !every.is_zero() => {
                    if let Some(read) = self.changed(&last).await {
                        self.notifier.reloading().await;
                        self.take(&read, "its content has changed");
                        self.notifier.ready().await;
                        last = read;
                    }
                }
            }
        }
    }

    /// What stands in it now, where that is something else and stays so for a moment.
    async fn changed(&self, last: &Read) -> Option<Read> {
        let read = self.read();
        if read == *last {
            return None;
        }
        tokio::time::sleep(SETTLE).await;
        Some(read).filter(|read| self.read() == *read)
    }

    fn read(&self) -> Read {
        let environment = super::environment().map_err(|error| error.message)?;
        let config = config::load(&self.path, &environment).map_err(|errors| errors.to_string())?;
        supervisor::check(&config).map_err(|failure| failure.to_string())?;
        Ok(config)
    }

    fn take(&self, read: &Read, why: &str) {
        let config = match read {
            Ok(config) => config,
            Err(errors) => {
                tracing::error!("reload ({why}): the config can't be used; the one from before goes on\n\n{errors}");
                self.status.reloaded(Err(errors.clone()));
                return;
            }
        };
        let changes = Changes::between(&self.current.borrow(), config);
        tracing::info!("reload ({why}): {changes}");
        let needs_restart = config::needs_restart(&self.started, config);
        for key in &needs_restart {
            tracing::warn!("{key} has changed in the config: it stays as it was until the worker is restarted");
        }
        super::run::warn_of_memory(config);
        self.status.needs_restart(needs_restart);
        self.status.reloaded(Ok(()));
        self.token.send_replace(config.admin.token.clone());
        self.current.send_replace(Arc::new(config.clone()));
    }
}
