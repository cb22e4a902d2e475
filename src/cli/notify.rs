//! Tells the service manager (systemd) how it goes, as `sd_notify` does: a datagram to `$NOTIFY_SOCKET`.

use std::io;
use std::os::unix::net as std_net;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use tokio::net::UnixDatagram;

use super::escape::escape;
use crate::admin::socket::abstract_address;
use crate::shutdown::{Phase, Shutdown, reached};
use crate::status::{PipelineStatus, State, WorkerStatus};

/// Between two looks whether there is something new to tell.
const LOOK: Duration = Duration::from_secs(5);
/// However impatient the manager is.
const SHORTEST: Duration = Duration::from_millis(10);
/// A manager that doesn't read for so long misses a message.
const PATIENCE: Duration = Duration::from_secs(5);
/// Characters of a status: `systemctl status` shows one line.
const MAX_STATUS: usize = 400;

/// Who asked to be told, if anybody did. Clones tell the same one.
#[derive(Clone, Debug, Default)]
pub struct Notifier(Option<Arc<Manager>>);

#[derive(Debug)]
struct Manager {
    address: std_net::SocketAddr,
    /// Silence for so long means that we hang; `None`: it doesn't matter.
    watchdog: Option<Duration>,
}

impl Notifier {
    /// By the process's environment.
    pub fn of_process() -> Self {
        Notifier::of(|name| std::env::var(name).ok())
    }

    fn of(variable: impl Fn(&str) -> Option<String>) -> Self {
        let Some(socket) = variable("NOTIFY_SOCKET").filter(|socket| !socket.is_empty()) else {
            return Notifier::default();
        };
        let address = match socket.strip_prefix('@') {
            Some(name) => abstract_address(name),
            None if socket.starts_with('/') => std_net::SocketAddr::from_pathname(&socket),
            None => Err(io::Error::new(io::ErrorKind::Unsupported, "neither a path nor an abstract name")),
        };
        let address = match address {
            Ok(address) => address,
            Err(error) => {
                tracing::warn!("the service manager isn't told anything: NOTIFY_SOCKET={}: {error}", escape(&socket));
                return Notifier::default();
            }
        };
        // Set for another process: it isn't our silence that is listened for.
        let ours = variable("WATCHDOG_PID").is_none_or(|pid| pid == std::process::id().to_string());
        let usec = variable("WATCHDOG_USEC").and_then(|usec| usec.parse().ok()).filter(|usec| ours && *usec > 0);
        Notifier(Some(Arc::new(Manager { address, watchdog: usec.map(Duration::from_micros) })))
    }

    /// The config is being read again.
    pub async fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        // By this clock's microseconds the manager knows that it is the reload that it has asked for.
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={}{:06}", now.tv_sec, now.tv_nsec / 1000)).await;
    }

    /// It works, with what the config says now.
    pub async fn ready(&self) {
        self.tell("READY=1").await;
    }

    /// It takes nothing new, or has ended.
    pub async fn stopping(&self) {
        self.tell("STOPPING=1").await;
    }

    /// Says that it is ready, then how it goes and that it is alive, and that it stops. Never ends.
    pub async fn keep_told(self, status: WorkerStatus, shutdown: Shutdown) {
        let Some(manager) = &self.0 else { return std::future::pending().await };
        self.ready().await;
        let stopping = async {
            reached(&mut shutdown.clone(), Phase::Drain).await;
            self.stopping().await;
            std::future::pending::<()>().await;
        };
        tokio::join!(stopping, self.keep_alive(manager, &status));
    }

    async fn keep_alive(&self, manager: &Manager, status: &WorkerStatus) {
        // Three chances: a late one is no silence.
        let every = manager.watchdog.map_or(LOOK, |watchdog| (watchdog / 3).clamp(SHORTEST, LOOK));
        let (mut said, mut live) = (String::new(), true);
        loop {
            let wedged = status.wedged(Instant::now());
            if live && let Some((pipeline, wedge)) = wedged.first_key_value() {
                tracing::error!(pipeline, "{wedge}; the service manager is not told any more that this process lives");
            }
            live = wedged.is_empty();
            let now = format!("STATUS={}", line(status));
            match manager.watchdog {
                Some(_) => self.tell(&format!("{now}{}", if live { "\nWATCHDOG=1" } else { "" })).await,
                None if now != said => self.tell(&now).await,
                None => {}
            }
            said = now;
            tokio::time::sleep(every).await;
        }
    }

    async fn tell(&self, message: &str) {
        let Some(manager) = &self.0 else { return };
        let sent = async {
            // A new one each time: the manager's may be another one by now.
            let socket = std_net::UnixDatagram::unbound()?;
            socket.connect_addr(&manager.address)?;
            socket.set_nonblocking(true)?;
            UnixDatagram::from_std(socket)?.send(message.as_bytes()).await
        };
        match tokio::time::timeout(PATIENCE, sent).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::debug!("the service manager can't be told: {error}"),
            Err(_) => tracing::debug!("the service manager can't be told: it doesn't read"),
        }
    }
}

/// How it goes, in one line: how many pipelines are in which state, and why those that don't run don't.
fn line(status: &WorkerStatus) -> String {
    let pipelines = status.pipelines();
    let counts = State::ALL.iter().filter_map(|&state| {
        let count = pipelines.iter().filter(|pipeline| pipeline.state().0 == state).count();
        (count > 0).then(|| format!("{count} {}", state.name()))
    });
    let mut parts = vec![counts.collect::<Vec<_>>().join(", ")];
    if status.reload().refused.is_some() {
        parts.push("the newest config can't be used, the one from before goes on".to_owned());
    }
    parts.extend(pipelines.iter().filter_map(|pipeline| hindrance(pipeline)));
    let line = escape(&parts.join("; "));
    line.chars().take(MAX_STATUS).collect()
}

fn hindrance(pipeline: &PipelineStatus) -> Option<String> {
    if let Some(wedge) = pipeline.wedge(Instant::now()) {
        return Some(format!("{}: {wedge}", pipeline.name));
    }
    match pipeline.state() {
        (State::Holding | State::Paused | State::Reconnecting, Some(reason)) => {
            Some(format!("{}: {reason}", pipeline.name))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorClass;
    use crate::status::Reason;

    fn notifier(variables: &[(&str, &str)]) -> Option<Option<Duration>> {
        let variable =
            |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        Notifier::of(variable).0.map(|manager| manager.watchdog)
    }

    #[test]
    fn nobody_asks_unless_the_environment_says_so() {
        let socket = ("NOTIFY_SOCKET", "/run/systemd/notify");
        assert_eq!(notifier(&[]), None);
        assert_eq!(notifier(&[("NOTIFY_SOCKET", "")]), None);
        assert_eq!(notifier(&[("NOTIFY_SOCKET", "vsock:2:1234")]), None);
        assert_eq!(notifier(&[socket]), Some(None));
        assert_eq!(notifier(&[socket, ("WATCHDOG_USEC", "0")]), Some(None));
        assert_eq!(notifier(&[socket, ("WATCHDOG_USEC", "30000000")]), Some(Some(Duration::from_secs(30))));
        let own = std::process::id().to_string();
        assert!(notifier(&[socket, ("WATCHDOG_USEC", "1"), ("WATCHDOG_PID", &own)]).unwrap().is_some());
        assert_eq!(notifier(&[socket, ("WATCHDOG_USEC", "1"), ("WATCHDOG_PID", "1")]), Some(None));
    }

    #[test]
    fn the_line_counts_states_and_says_why_without_a_line_break() {
        let (fine, paused) = (PipelineStatus::new("fine", 2), PipelineStatus::new("orders", 1));
        (0..2).for_each(|index| fine.update(index, |consumer| consumer.state = State::Running));
        let reason = Reason::new(ErrorClass::SinkMisconfigured, "42P01", "table orders is missing\nWATCHDOG=1");
        paused.update(0, |consumer| consumer.enter("orders", State::Paused, Some(reason)));
        let status = WorkerStatus::with([fine, paused]);
        assert_eq!(line(&status), "1 running, 1 paused; orders: table orders is missing\\nWATCHDOG=1");
        status.reloaded(Err("a mistake".into()));
        assert!(line(&status).contains("paused; the newest config can't be used, the one from before goes on; orders"));
    }
}
