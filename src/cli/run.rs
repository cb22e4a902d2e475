//! `run`: the worker.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::exit::{self, CliError, Exit};
use super::notify::Notifier;
use super::output::Out;
use super::reload::Reloader;
use super::signals;
use crate::admin::{self, Listener, Socket};
use crate::checks::{self, Level};
use crate::config::{Config, Secret};
use crate::nearest::no_such_pipeline;
use crate::shutdown::{Phase, Shutdown, reached};
use crate::status::WorkerStatus;
use crate::summary::Summary;
use crate::supervisor::{self, RunOptions};
use crate::telemetry;

/// Beyond `shutdown_timeout`, which the supervisor keeps itself: only a wedge gets here.
const OVERTIME: Duration = Duration::from_secs(2);

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// End when every queue is empty and everything received is settled
    #[arg(long)]
    pub(super) until_empty: bool,
    /// Take over the ledger of these pipelines although it was begun with another queue or table
    #[arg(long, value_name = "PIPELINE", num_args = 1..)]
    pub(super) adopt: Vec<String>,
}

/// Runs the worker to its end and prints its summary.
pub(super) fn execute(path: &Path, config: Config, args: Args, out: &mut Out) -> Result<Exit, CliError> {
    if let Some(unknown) = args.adopt.iter().find(|name| !config.pipelines.contains_key(*name)) {
        let message = no_such_pipeline(unknown, config.pipelines.keys().map(String::as_str));
        return Err(CliError::usage(format!("--adopt: {message}")));
    }
    let options = RunOptions { until_empty: args.until_empty, adopt: args.adopt, reloads: None };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::failed(format!("the runtime can't be started: {error}")))?;
    let ended = runtime.block_on(work(path.to_owned(), Arc::new(config), options));
    // Whatever still waits for a server must not keep the process.
    runtime.shutdown_background();
    let (summaries, exit) = ended?;
    for summary in &summaries {
        if out.json { out.object(summary) } else { out.line(&super::escape::escape(&summary.line())) }
    }
    Ok(exit)
}

async fn work(path: PathBuf, config: Arc<Config>, mut options: RunOptions) -> Result<(Vec<Summary>, Exit), CliError> {
    warn_of_memory(&config);
    let deaf = |error| CliError::failed(format!("signals can't be listened for: {error}"));
    let shutdown = signals::listen().map_err(deaf)?;
    // A job runs with the config that it was started with.
    let hangups = if options.until_empty { None } else { Some(signals::hangups().map_err(deaf)?) };
    let status = WorkerStatus::of(&config);
    let notifier = Notifier::of_process();
    let reloader = Reloader::new(path, Arc::clone(&config), status.clone(), notifier.clone());
    let current = reloader.config();
    let mut serving = serve_admin(&config, &status, &reloader.token()).await?;
    if let Some(hangups) = hangups {
        options.reloads = Some(reloader.config());
        serving.spawn(reloader.run(hangups));
    }
    serving.spawn(notifier.clone().keep_told(status.clone(), shutdown.clone()));
    let overdue = overdue(shutdown.clone(), current);
    let ended = tokio::select! {
        summaries = supervisor::run(Arc::clone(&config), options, status.clone(), shutdown.clone()) => {
            let phase = *shutdown.borrow();
            (exit::of_run(&summaries, phase), summaries)
        }
        () = overdue => (Exit::Failed, Summary::all(&status, Instant::now())),
    };
    serving.shutdown().await;
    // Once more where a signal came; a job ends without any.
    notifier.stopping().await;
    Ok((ended.1, ended.0))
}

/// Where this config may take more than there is.
pub(super) fn warn_of_memory(config: &Config) {
    let memory = checks::memory(config, telemetry::memory_limit(), telemetry::machine_memory());
    if memory.level == Level::Warning {
        tracing::warn!("{}", memory.sentence());
    }
}

/// Returns when the worker must end even if it doesn't by itself.
async fn overdue(mut shutdown: Shutdown, config: watch::Receiver<Arc<Config>>) {
    reached(&mut shutdown, Phase::Drain).await;
    let patience = config.borrow().worker.shutdown_timeout + OVERTIME;
    if tokio::time::timeout(patience, reached(&mut shutdown, Phase::Abort)).await.is_err() {
        tracing::error!(
            "the worker did not stop within {} s; what isn't settled goes back to the broker",
            patience.as_secs()
        );
    }
}

/// Starts what answers `status` and takes orders. Aborted, it stops, and its socket's file is gone.
async fn serve_admin(
    config: &Config,
    status: &WorkerStatus,
    token: &watch::Receiver<Option<Secret>>,
) -> Result<JoinSet<()>, CliError> {
    let mut serving = JoinSet::new();
    let mut serve = |listener| {
        serving.spawn(admin::serve(listener, status.clone(), token.clone(), std::future::pending()));
    };
    if let Some(address) = config.admin.listen {
        serve(Listener::Tcp(bind(address).await?));
    }
    if let Some(at) = &config.admin.socket {
        match Socket::bind(at) {
            Ok(socket) => serve(Listener::Unix(socket)),
            Err(error) if config.admin.socket_is_given => {
                return Err(CliError::usage(format!(
                    "[admin] socket = \"{at}\": can't listen there: {error}; name another one, or \"off\" \
                     (RABBIT_SINK__ADMIN__SOCKET overrides it)"
                )));
            }
            Err(error) => tracing::warn!(
                "no orders without a token: the socket {at} can't be listened at: {error}; [admin] socket names another one"
            ),
        }
    }
    Ok(serving)
}

async fn bind(address: SocketAddr) -> Result<TcpListener, CliError> {
    let listener = TcpListener::bind(address).await.map_err(|error| {
        CliError::usage(format!(
            "[admin] listen = \"{address}\": can't listen there: {error}; name another address or port, or \"off\" \
             (RABBIT_SINK__ADMIN__LISTEN overrides it)"
        ))
    })?;
    tracing::info!("the admin listener answers on http://{}", listener.local_addr().unwrap_or(address));
    Ok(listener)
}
