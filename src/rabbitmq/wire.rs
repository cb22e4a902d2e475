//! The byte stream under the client library, and what the broker says of itself on it.
//!
//! The library reads the broker's greeting (`connection.start`, with the version in its server
//! properties) and keeps it to itself. How messages are given back and how a dead-letter queue is
//! declared depend on that version, so the stream remembers the first bytes that it read. It also
//! ends when nobody waits for the connection any more.

use std::future::Future;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use async_rs::traits::{Executor, Reactor, RuntimeKit};
use async_rs::util::Task;
use async_rs::{Runtime, Tokio};
use futures_io::{AsyncRead, AsyncWrite};
use futures_util::Stream;
use lapin::AsyncTcpStream;

/// A greeting is some 500 bytes; what is longer than this isn't one.
const GREETING_MAX: usize = 16 * 1024;

/// What tokio's kit makes of a socket, with or without TLS.
pub(super) type Transport = AsyncTcpStream<<Tokio as Reactor>::TcpStream>;

/// What whoever connects and the stream tell each other: the first bytes from the broker one
/// way, that nobody waits any more the other way.
#[derive(Clone, Default)]
pub(super) struct Handshake(Arc<Shared>);

#[derive(Default)]
struct Shared {
    /// Of [`Phase`].
    phase: AtomicU8,
    greeting: Mutex<Vec<u8>>,
    reader: Mutex<Option<Waker>>,
}

/// How far connecting has come.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Phase {
    Pending = 0,
    Done = 1,
    Abandoned = 2,
}

impl Handshake {
    fn is(&self, phase: Phase) -> bool {
        self.0.phase.load(Ordering::Acquire) == phase as u8
    }

    /// The connection stands; nothing is remembered from now on.
    pub(super) fn done(&self) {
        self.0.phase.store(Phase::Done as u8, Ordering::Release);
    }

    /// Ends the stream unless the handshake is done. The library has no time limit of its own: a
    /// broker that accepts and never answers would keep a thread and a socket of it for ever.
    fn abandon(&self) {
        let (pending, abandoned) = (Phase::Pending as u8, Phase::Abandoned as u8);
        let was = self.0.phase.compare_exchange(pending, abandoned, Ordering::AcqRel, Ordering::Acquire);
        let reader = self.0.reader.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let (Ok(_), Some(reader)) = (was, reader) {
            reader.wake();
        }
    }

    /// Abandons the handshake when the guard is dropped.
    pub(super) fn guard(&self) -> Guard {
        Guard(self.clone())
    }

    fn remember(&self, bytes: &[u8]) {
        let mut seen = self.0.greeting.lock().unwrap_or_else(PoisonError::into_inner);
        let room = GREETING_MAX.saturating_sub(seen.len());
        seen.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// A text among the server's properties.
    pub(super) fn property(&self, name: &str) -> Option<String> {
        server_property(&self.0.greeting.lock().unwrap_or_else(PoisonError::into_inner), name)
    }
}

/// See [`Handshake::guard`].
pub(super) struct Guard(Handshake);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

/// Finds a text in the top level of `connection.start`'s server properties: frame header (7),
/// class and method (4), protocol version (2), table.
fn server_property(frame: &[u8], name: &str) -> Option<String> {
    let number = |bytes: &[u8]| Some(u32::from_be_bytes(bytes.get(..4)?.try_into().ok()?) as usize);
    if frame.get(7..11)? != [0, 10, 0, 10] {
        return None;
    }
    let mut rest = frame.get(17..17 + number(frame.get(13..)?)?)?;
    while let Some((&length, after)) = rest.split_first() {
        let length = usize::from(length);
        let key = after.get(..length)?;
        let value = after.get(length + 1..)?;
        rest = match *after.get(length)? {
            b'S' | b'F' => {
                let text = value.get(4..4 + number(value)?)?;
                if key == name.as_bytes() {
                    return String::from_utf8(text.to_vec()).ok();
                }
                value.get(4 + text.len()..)?
            }
            b't' => value.get(1..)?,
            // RabbitMQ sends nothing else at this level.
            _ => return None,
        };
    }
    None
}

/// The stream that the library gets.
pub(super) struct Wire {
    transport: Transport,
    handshake: Handshake,
}

impl Wire {
    /// A stream that ends when its handshake is abandoned.
    pub(super) fn new(transport: Transport, handshake: Handshake) -> Self {
        Wire { transport, handshake }
    }
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.handshake.is(Phase::Done) {
            return Pin::new(&mut this.transport).poll_read(cx, buffer);
        }
        // Registered before looking, or an end between the two would be missed.
        *this.handshake.0.reader.lock().unwrap_or_else(PoisonError::into_inner) = Some(cx.waker().clone());
        if this.handshake.is(Phase::Abandoned) {
            return Poll::Ready(Err(io::Error::from(io::ErrorKind::TimedOut)));
        }
        let read = Pin::new(&mut this.transport).poll_read(cx, buffer);
        if let Poll::Ready(Ok(length)) = &read {
            this.handshake.remember(&buffer[..*length]);
        }
        read
    }

    fn poll_read_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &mut [io::IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.handshake.is(Phase::Done) {
            return Pin::new(&mut this.transport).poll_read_vectored(cx, buffers);
        }
        // One buffer at a time as long as the greeting is being read.
        match buffers.iter_mut().find(|buffer| !buffer.is_empty()) {
            Some(buffer) => Pin::new(this).poll_read(cx, buffer),
            None => Poll::Ready(Ok(0)),
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().transport).poll_write(cx, buffer)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().transport).poll_write_vectored(cx, buffers)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().transport).poll_flush(cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().transport).poll_close(cx)
    }
}

/// Tokio, with [`Wire`] as its stream.
#[derive(Clone, Debug)]
pub(super) struct Kit(Tokio);

impl Kit {
    /// Bound to the tokio runtime that we are in.
    pub(super) fn runtime() -> Runtime<Kit> {
        Runtime::new(Kit(Tokio::current()))
    }
}

impl RuntimeKit for Kit {}

impl Executor for Kit {
    type Task<T: Send + 'static> = <Tokio as Executor>::Task<T>;

    fn block_on<T, F: Future<Output = T>>(&self, future: F) -> T {
        self.0.block_on(future)
    }

    fn spawn<T: Send + 'static, F: Future<Output = T> + Send + 'static>(&self, future: F) -> Task<Self::Task<T>> {
        self.0.spawn(future)
    }

    fn spawn_blocking<T: Send + 'static, F: FnOnce() -> T + Send + 'static>(&self, work: F) -> Task<Self::Task<T>> {
        self.0.spawn_blocking(work)
    }
}

impl Reactor for Kit {
    type TcpStream = Wire;
    type Sleep = <Tokio as Reactor>::Sleep;

    // Never asked for: connections are made by `tcp_connect_addr`, or by us.
    fn register<H: Read + Write + Send + 'static>(
        &self,
        _socket: H,
    ) -> io::Result<impl AsyncRead + AsyncWrite + Send + Unpin + 'static> {
        Err::<Wire, _>(io::Error::from(io::ErrorKind::Unsupported))
    }

    fn sleep(&self, duration: Duration) -> Self::Sleep {
        self.0.sleep(duration)
    }

    fn interval(&self, duration: Duration) -> impl Stream<Item = Instant> + Send + 'static {
        self.0.interval(duration)
    }

    fn tcp_connect_addr(
        &self,
        address: SocketAddr,
    ) -> impl Future<Output = io::Result<Self::TcpStream>> + Send + 'static {
        let connecting = self.0.tcp_connect_addr(address);
        async move { Ok(Wire::new(AsyncTcpStream::Plain(connecting.await?), Handshake::default())) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A `connection.start` frame with these server properties.
    fn start(table: &[u8]) -> Vec<u8> {
        let mut payload = vec![0, 10, 0, 10, 0, 9];
        payload.extend(u32::try_from(table.len()).unwrap().to_be_bytes());
        payload.extend(table);
        let mut frame = vec![1, 0, 0];
        frame.extend(u32::try_from(payload.len()).unwrap().to_be_bytes());
        frame.extend(payload);
        frame.push(0xce);
        frame
    }

    #[test]
    fn the_version_is_found_behind_a_nested_table() {
        // The nested table has a "version" of its own.
        let nested = b"\x07versionS\x00\x00\x00\x01x";
        let mut table = b"\x0ccapabilitiesF\x00\x00\x00\x0e".to_vec();
        assert_eq!(nested.len(), 14);
        table.extend(nested);
        table.extend(b"\x01at\x01\x07versionS\x00\x00\x00\x064.3.11");
        let frame = start(&table);
        assert_eq!(server_property(&frame, "version").as_deref(), Some("4.3.11"));
        assert_eq!(server_property(&frame, "product"), None);
        for cut in 0..frame.len() - 2 {
            assert_eq!(server_property(&frame[..cut], "version"), None, "cut at {cut}");
        }
    }

    #[test]
    fn a_greeting_of_any_length_takes_bounded_memory() {
        let handshake = Handshake::default();
        for _ in 0..10 {
            handshake.remember(&[0; 10_000]);
        }
        assert_eq!(handshake.0.greeting.lock().unwrap().len(), GREETING_MAX);
        assert_eq!(handshake.property("version"), None);
    }

    #[test]
    fn what_is_done_is_not_abandoned() {
        let handshake = Handshake::default();
        let guard = handshake.guard();
        handshake.done();
        drop(guard);
        assert!(handshake.is(Phase::Done));
        let handshake = Handshake::default();
        drop(handshake.guard());
        assert!(handshake.is(Phase::Abandoned));
    }
}
