//! The byte stream under the client library, and what the broker says of itself on it.
//!
//! The library reads the broker's greeting (`connection.start`, with the version in its server
//! properties) and keeps it to itself. How messages are given back and how a dead-letter queue is
//! declared depend on that version, so the stream remembers the first bytes that it read.

use std::future::Future;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
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

/// The first bytes from the broker, until its greeting is complete.
#[derive(Clone, Default)]
pub(super) struct Greeting(Arc<Mutex<Vec<u8>>>);

impl Greeting {
    fn remember(&self, bytes: &[u8]) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let room = GREETING_MAX.saturating_sub(seen.len());
        seen.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// The complete greeting is there, or it never will be.
    fn complete(&self) -> bool {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.len() >= GREETING_MAX
            || seen
                .get(3..7)
                .and_then(|size| size.try_into().ok())
                .is_some_and(|size| seen.len() >= 8 + u32::from_be_bytes(size) as usize)
    }

    /// A text among the server's properties.
    pub(super) fn property(&self, name: &str) -> Option<String> {
        server_property(&self.0.lock().unwrap_or_else(PoisonError::into_inner), name)
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
    greeting: Option<Greeting>,
}

impl Wire {
    /// Reads into `greeting` until it is complete.
    pub(super) fn new(transport: Transport, greeting: Greeting) -> Self {
        Wire { transport, greeting: Some(greeting) }
    }
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let read = Pin::new(&mut this.transport).poll_read(cx, buffer);
        if let (Poll::Ready(Ok(length)), Some(greeting)) = (&read, &this.greeting) {
            greeting.remember(&buffer[..*length]);
            if greeting.complete() {
                this.greeting = None;
            }
        }
        read
    }

    fn poll_read_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &mut [io::IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.greeting.is_none() {
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
        async move { Ok(Wire { transport: AsyncTcpStream::Plain(connecting.await?), greeting: None }) }
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
    fn the_greeting_ends_with_its_frame() {
        let greeting = Greeting::default();
        let frame = start(b"");
        greeting.remember(&frame[..frame.len() - 1]);
        assert!(!greeting.complete());
        greeting.remember(&frame[frame.len() - 1..]);
        assert!(greeting.complete());
    }
}
