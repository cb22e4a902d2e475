//! A TCP proxy between the worker and a server, which can do to the connection what networks do.
//!
//! ```ignore
//! let proxy = Proxy::start(postgres.port()).await;
//! let url = proxy.url(&postgres.url());
//! let trap = proxy.on_request(b"COMMIT", Trap::LoseAnswer);
//! // … the worker commits; the server has done it; the worker never hears of it …
//! trap.sprung().await;
//! ```

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::database::Server;
use super::wait::PATIENCE;

/// What happens to the bytes of one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Flow {
    /// They pass.
    #[default]
    Pass,
    /// They wait in the proxy, which reads no further, until they may pass again.
    Stall,
    /// They are swallowed, for good.
    Discard,
}

/// The state of the network.
#[derive(Clone, Copy, Debug, Default)]
struct Weather {
    /// Worker to server.
    up: Flow,
    /// Server to worker.
    down: Flow,
    /// Each read's bytes, up to 16 KiB, wait for this long.
    delay: Duration,
    /// Per direction and connection; `None`: no limit.
    bytes_per_second: Option<u64>,
    /// New connections are closed as soon as they are accepted.
    refuse: bool,
    /// Connections of an older number are cut.
    cuts: u64,
}

/// What the proxy does to the connection that sends a certain request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trap {
    /// Cuts it before the server gets the request.
    LoseRequest,
    /// Forwards the request, waits until the server has answered, and cuts the connection before
    /// the worker gets any of the answer: what was asked for has happened.
    LoseAnswer,
    /// The same, but the connection stays open and silent until [`Proxy::cut`].
    HoldAnswer,
}

/// A trap that was set. It works once, for the first connection that runs into it.
#[derive(Debug)]
pub struct SetTrap {
    pattern: Vec<u8>,
    /// Statements of PostgreSQL's that commit by themselves count, too.
    by_itself: bool,
    trap: Trap,
    sprung: watch::Sender<bool>,
}

impl SetTrap {
    /// Waits until a connection has run into it and it has done its work.
    pub async fn sprung(&self) {
        let mut sprung = self.sprung.subscribe();
        let waited = tokio::time::timeout(PATIENCE, sprung.wait_for(|&sprung| sprung)).await;
        assert!(
            matches!(waited, Ok(Ok(_))),
            "no request with {:?} came through the proxy",
            String::from_utf8_lossy(&self.pattern)
        );
    }

    /// Whether it has done its work by now.
    pub fn has_sprung(&self) -> bool {
        *self.sprung.borrow()
    }
}

#[derive(Debug)]
struct Shared {
    weather: watch::Sender<Weather>,
    trap: Mutex<Option<Arc<SetTrap>>>,
    accepted: watch::Sender<u64>,
}

/// A proxy in front of one server. Dropped, it closes everything.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
    acceptor: JoinHandle<()>,
}

impl Proxy {
    /// In front of a port of this machine.
    pub async fn start(server_port: u16) -> Proxy {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port for the proxy");
        let port = listener.local_addr().expect("bound").port();
        let shared = Arc::new(Shared {
            weather: watch::Sender::default(),
            trap: Mutex::new(None),
            accepted: watch::Sender::default(),
        });
        let server = SocketAddr::from(([127, 0, 0, 1], server_port));
        let acceptor = tokio::spawn(accept(listener, server, Arc::clone(&shared)));
        Proxy { port, shared, acceptor }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// A server's URL, led through the proxy.
    pub fn url(&self, server: &str) -> String {
        let mut url = url::Url::parse(server).expect("a URL");
        url.set_host(Some("127.0.0.1")).expect("a URL with a host");
        url.set_port(Some(self.port)).expect("a URL with a port");
        url.into()
    }

    /// Everything passes again (what was cut stays cut).
    pub fn pass(&self) {
        self.shared.weather.send_modify(|weather| *weather = Weather { cuts: weather.cuts, ..Weather::default() });
    }

    /// Resets all connections (RST to both sides). New ones pass, unless [`Proxy::refuse`] was said.
    pub fn cut(&self) {
        self.shared.weather.send_modify(|weather| weather.cuts += 1);
    }

    /// Closes new connections at once: nothing listens, so to speak.
    pub fn refuse(&self) {
        self.shared.weather.send_modify(|weather| weather.refuse = true);
    }

    /// Half-open: connections stay, nothing moves in either direction.
    pub fn stall(&self) {
        self.flow(Flow::Stall, Flow::Stall);
    }

    /// Sets worker → server and server → worker apart.
    pub fn flow(&self, up: Flow, down: Flow) {
        self.shared.weather.send_modify(|weather| {
            weather.up = up;
            weather.down = down;
        });
    }

    /// Each packet waits for this long, in both directions.
    pub fn delay(&self, delay: Duration) {
        self.shared.weather.send_modify(|weather| weather.delay = delay);
    }

    /// No connection gets more than this per second and direction.
    pub fn throttle(&self, bytes_per_second: u64) {
        self.shared.weather.send_modify(|weather| weather.bytes_per_second = Some(bytes_per_second));
    }

    /// Sets a trap for the next request that contains `pattern` (anywhere in the bytes from the
    /// worker, so it must not go through TLS). It replaces a trap that hasn't sprung.
    ///
    /// "The answer" is whatever the server sends next: true of PostgreSQL and MySQL for a request
    /// that the worker only makes once it has everything it asked for before, such as COMMIT.
    pub fn on_request(&self, pattern: &[u8], trap: Trap) -> Arc<SetTrap> {
        self.set(pattern, false, trap)
    }

    /// Sets a trap for the worker's next commit.
    pub fn on_commit(&self, server: Server, trap: Trap) -> Arc<SetTrap> {
        // Not the one in READ COMMITTED.
        let pattern: &[u8] = if server == Server::Mysql { b"\x03COMMIT" } else { b"; COMMIT" };
        self.set(pattern, server == Server::Postgres, trap)
    }

    fn set(&self, pattern: &[u8], by_itself: bool, trap: Trap) -> Arc<SetTrap> {
        assert!(!pattern.is_empty(), "a trap for every request");
        let sprung = watch::Sender::default();
        let set = Arc::new(SetTrap { pattern: pattern.to_vec(), by_itself, trap, sprung });
        *self.shared.trap.lock().expect("no panic under this lock") = Some(Arc::clone(&set));
        set
    }

    /// Connections accepted up to now.
    pub fn accepted(&self) -> u64 {
        *self.shared.accepted.borrow()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.acceptor.abort();
        self.cut();
    }
}

async fn accept(listener: TcpListener, server: SocketAddr, shared: Arc<Shared>) {
    loop {
        let Ok((worker, _)) = listener.accept().await else { continue };
        shared.accepted.send_modify(|accepted| *accepted += 1);
        let weather = *shared.weather.borrow();
        if !weather.refuse {
            tokio::spawn(connection(worker, server, Arc::clone(&shared), weather.cuts));
        }
    }
}

/// One connection until either side ends it or the proxy cuts it.
async fn connection(worker: TcpStream, server: SocketAddr, shared: Arc<Shared>, cuts: u64) {
    let Ok(server) = TcpStream::connect(server).await else { return };
    for stream in [&worker, &server] {
        stream.set_nodelay(true).expect("an open socket");
    }
    let mut weather = shared.weather.subscribe();
    let caught: watch::Sender<Option<Arc<SetTrap>>> = watch::Sender::new(None);
    let (mut worker_reads, mut worker_writes) = worker.into_split();
    let (mut server_reads, mut server_writes) = server.into_split();
    let cut = {
        let up = upwards(&mut worker_reads, &mut server_writes, &shared, &caught);
        let down = downwards(&mut server_reads, &mut worker_writes, &shared, &caught);
        tokio::select! {
            end = async { tokio::try_join!(up, down) } => end.is_err(),
            changed = weather.wait_for(|weather| weather.cuts > cuts) => changed.is_ok(),
        }
    };
    if cut {
        for half in [worker_writes, server_writes] {
            // A socket that the other side has reset already takes no option.
            drop(half.as_ref().set_zero_linger());
            half.forget();
        }
    }
    if let Some(trap) = caught.borrow().as_ref() {
        trap.sprung.send_replace(true);
    }
}

/// A trap cuts the connection, both directions at once.
struct Cut;

/// Worker to server; watches for the request that a trap is set for.
async fn upwards(
    from: &mut OwnedReadHalf,
    to: &mut OwnedWriteHalf,
    shared: &Shared,
    caught: &watch::Sender<Option<Arc<SetTrap>>>,
) -> Result<(), Cut> {
    let mut buffer = vec![0; 16 * 1024];
    let mut seen: Vec<u8> = Vec::new();
    let mut batches = WholeBatches::default();
    loop {
        let Some(length) = next(from, &mut buffer, shared, |weather| weather.up).await else {
            drop(to.shutdown().await);
            return Ok(());
        };
        let bytes = &buffer[..length];
        let commits = batches.executed_in(bytes);
        if let Some(trap) = spring(shared, &mut seen, bytes, commits) {
            // Said before the request leaves, so that no answer can be faster.
            caught.send_replace(Some(Arc::clone(&trap)));
            if trap.trap == Trap::LoseRequest {
                return Err(Cut);
            }
        }
        if shared.weather.borrow().up != Flow::Discard && to.write_all(bytes).await.is_err() {
            return Ok(());
        }
    }
}

/// Server to worker; keeps the answer back once the connection is caught.
async fn downwards(
    from: &mut OwnedReadHalf,
    to: &mut OwnedWriteHalf,
    shared: &Shared,
    caught: &watch::Sender<Option<Arc<SetTrap>>>,
) -> Result<(), Cut> {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let Some(length) = next(from, &mut buffer, shared, |weather| weather.down).await else {
            drop(to.shutdown().await);
            return Ok(());
        };
        let trap = caught.borrow().clone();
        if let Some(trap) = trap {
            if trap.trap == Trap::HoldAnswer {
                trap.sprung.send_replace(true);
                // Until the connection is cut.
                std::future::pending::<()>().await;
            }
            return Err(Cut);
        }
        if shared.weather.borrow().down != Flow::Discard && to.write_all(&buffer[..length]).await.is_err() {
            return Ok(());
        }
    }
}

/// The next bytes of one direction, once the weather lets them through; `None` at the end.
async fn next(
    from: &mut OwnedReadHalf,
    buffer: &mut [u8],
    shared: &Shared,
    flow: impl Fn(&Weather) -> Flow,
) -> Option<usize> {
    let mut weather = shared.weather.subscribe();
    weather.wait_for(|weather| flow(weather) != Flow::Stall).await.ok()?;
    let length = from.read(buffer).await.ok().filter(|&length| length > 0)?;
    let now = *weather.borrow();
    let transfer =
        now.bytes_per_second.map_or(Duration::ZERO, |rate| Duration::from_secs_f64(length as f64 / rate as f64));
    let wait = now.delay + transfer;
    if !wait.is_zero() {
        tokio::time::sleep(wait).await;
    }
    weather.wait_for(|weather| flow(weather) != Flow::Stall).await.ok()?;
    Some(length)
}

/// Takes the trap if the bytes, together with those that came before, hold its pattern.
fn spring(shared: &Shared, seen: &mut Vec<u8>, bytes: &[u8], commits: bool) -> Option<Arc<SetTrap>> {
    let mut trap = shared.trap.lock().expect("no panic under this lock");
    let length = trap.as_ref()?.pattern.len();
    seen.extend_from_slice(bytes);
    let found = seen.windows(length).any(|window| trap.as_ref().is_some_and(|trap| trap.pattern == window))
        || commits && trap.as_ref().is_some_and(|trap| trap.by_itself);
    if found {
        seen.clear();
        return trap.take();
    }
    // A pattern may begin in these bytes and end in the next.
    seen.drain(..seen.len().saturating_sub(length - 1));
    None
}

/// One connection's prepared statements that write a whole batch and are their own transaction
/// (`src/sink/postgres/all_new.rs`). Their text travels once; after that they are called by name.
#[derive(Default)]
struct WholeBatches {
    /// The end of what was seen before: what is looked for may begin in it.
    tail: Vec<u8>,
    /// What calls one of them: its name between zeros, and one format, binary, for all that is bound
    /// (PostgreSQL, "Message Formats", Bind).
    calls: Vec<Vec<u8>>,
}

impl WholeBatches {
    const BEGINNINGS: [&[u8]; 2] = [b"\0WITH l AS (INSERT", b"\0WITH r AS (INSERT"];
    const NAME: &[u8] = b"sqlx_s_";
    /// Longer than a name and a beginning.
    const TAIL: usize = 64;

    /// Whether one of them is called in these bytes; learns of new ones.
    fn executed_in(&mut self, bytes: &[u8]) -> bool {
        let known = self.tail.len();
        self.tail.extend_from_slice(bytes);
        let called = self.calls.iter().any(|call| {
            // Those that lie in the tail alone were reported before.
            let from = known.saturating_sub(call.len() - 1);
            self.tail[from..].windows(call.len()).any(|window| window == call.as_slice())
        });
        for beginning in Self::BEGINNINGS {
            let starts = self.tail.windows(beginning.len()).enumerate().filter(|(_, window)| *window == beginning);
            let names = starts.filter_map(|(end, _)| {
                let before = &self.tail[end.saturating_sub(Self::TAIL)..end];
                let start = before.windows(Self::NAME.len()).rposition(|window| window == Self::NAME)?;
                Some([b"\0", &before[start..], b"\0\0\x01\0\x01"].concat())
            });
            let names: Vec<Vec<u8>> = names.filter(|call| !self.calls.contains(call)).collect();
            self.calls.extend(names);
        }
        self.tail.drain(..self.tail.len().saturating_sub(Self::TAIL));
        called
    }
}
