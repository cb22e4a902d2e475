//! RabbitMQ's HTTP API: what AMQP doesn't tell.

mod facts;

pub use facts::{NodeTimeout, QueueFacts};

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_io::{AsyncRead, AsyncWrite};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::{Request, StatusCode, header};
use lapin::AsyncTcpStream;
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::Value;

use super::address;
use crate::config;
use crate::error::{ErrorClass, Failure};

/// Bytes of an answer. One queue takes a few kilobytes, a node's settings ten.
const MAX_ANSWER: usize = 1 << 20;

/// How long the API may take to learn a new queue's policies; by default it does so every 5 s.
const STATISTICS_PATIENCE: Duration = Duration::from_secs(12);

/// The HTTP API of one broker.
pub struct Management {
    url: url::Url,
    tls: config::TlsFiles,
    timeout: Duration,
}

impl fmt::Debug for Management {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Management").field("place", &self.place()).finish_non_exhaustive()
    }
}

impl Management {
    /// With the login as its files have it now. `None` where the config names none.
    pub fn of(broker: &config::Broker) -> Option<Self> {
        let broker = broker.fresh().config;
        let url = url::Url::parse(broker.management_url.as_ref()?.reveal()).ok()?;
        Some(Management { url, tls: broker.tls, timeout: broker.connect_timeout })
    }

    /// `host:port`, for people.
    pub fn place(&self) -> String {
        let host = self.url.host_str().unwrap_or_default();
        format!("{host}:{}", self.url.port_or_known_default().unwrap_or(15672))
    }

    /// A queue; `None`: the API knows of no such queue. A queue that was made a moment ago is waited
    /// for: until the API has its statistics, it doesn't tell its policies either.
    ///
    /// # Errors
    /// Class `source_lost`: not reachable, login refused (401), or an answer that isn't the API's.
    pub async fn queue(&self, vhost: &str, queue: &str) -> Result<Option<QueueFacts>, Failure> {
        let until = tokio::time::Instant::now() + STATISTICS_PATIENCE;
        loop {
            let facts = self.get(&["queues", vhost, queue]).await?.as_ref().map(QueueFacts::read);
            let complete = facts.as_ref().is_none_or(|facts| facts.policies_known);
            if complete || tokio::time::Instant::now() >= until {
                return Ok(facts);
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    /// Whether there is an exchange of this name, and anything bound to it; `None`: no such exchange.
    ///
    /// # Errors
    /// As [`Management::queue`].
    pub async fn bound(&self, vhost: &str, exchange: &str) -> Result<Option<bool>, Failure> {
        if self.get(&["exchanges", vhost, exchange]).await?.is_none() {
            return Ok(None);
        }
        let bindings = self.get(&["exchanges", vhost, exchange, "bindings", "source"]).await?;
        Ok(Some(bindings.as_ref().and_then(Value::as_array).is_none_or(|bindings| !bindings.is_empty())))
    }

    /// Whether there is a queue of this name.
    ///
    /// # Errors
    /// As [`Management::queue`].
    pub async fn queue_exists(&self, vhost: &str, queue: &str) -> Result<bool, Failure> {
        Ok(self.get(&["queues", vhost, queue]).await?.is_some())
    }

    /// The consumer timeout of the node that answers. RabbitMQ tells it from 4.0 on, and only to a
    /// user with the tag `administrator`.
    ///
    /// # Errors
    /// As [`Management::queue`].
    pub async fn node_timeout(&self) -> Result<NodeTimeout, Failure> {
        let answer = self.ask(&["config", "effective"]).await?;
        Ok(match answer.status {
            StatusCode::OK => NodeTimeout::read(&String::from_utf8_lossy(&answer.body)),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                NodeTimeout::Untold("the API tells the node's to a user with the tag `administrator` only")
            }
            _ => NodeTimeout::Untold("the API tells the node's from RabbitMQ 4.0 on"),
        })
    }

    /// The clock of the node that answers, in microseconds since 1970; `None` where it doesn't say.
    /// HTTP knows whole seconds: it is taken for the middle of one.
    ///
    /// # Errors
    /// As [`Management::queue`].
    pub async fn clock(&self) -> Result<Option<i64>, Failure> {
        let date = self.ask(&["whoami"]).await?.date;
        let date = date.and_then(|date| jiff::fmt::rfc2822::parse(&date).ok());
        Ok(date.map(|date| date.timestamp().as_microsecond() + 500_000))
    }

    /// A JSON document; `None`: there is no such thing.
    async fn get(&self, parts: &[&str]) -> Result<Option<Value>, Failure> {
        let answer = self.ask(parts).await?;
        match answer.status {
            StatusCode::NOT_FOUND => Ok(None),
            StatusCode::OK => serde_json::from_slice(&answer.body)
                .map(Some)
                .map_err(|_| self.fail("management", "what it answers isn't JSON; is it RabbitMQ's?")),
            StatusCode::UNAUTHORIZED => {
                Err(self.fail("401", "401: it refuses the login, or the user lacks the tag `management`"))
            }
            other => Err(self.fail("management", &format!("it answers {other}"))),
        }
    }

    fn fail(&self, code: &'static str, what: &str) -> Failure {
        let message = format!("the management API at {}: {what}", self.place());
        Failure::new(ErrorClass::SourceLost, code, message)
    }

    async fn ask(&self, parts: &[&str]) -> Result<Answer, Failure> {
        let parts = parts.iter().map(|part| utf8_percent_encode(part, NON_ALPHANUMERIC).to_string());
        let base = self.url.path().trim_end_matches('/');
        let base = base.strip_suffix("/api").unwrap_or(base);
        let path = format!("{base}/api/{}", parts.collect::<Vec<_>>().join("/"));
        match tokio::time::timeout(self.timeout, self.exchange(&path)).await {
            Ok(answer) => answer.map_err(|error| self.fail("management", &error)),
            Err(_) => Err(self.fail("management", &format!("no answer in {:?}", self.timeout))),
        }
    }

    async fn exchange(&self, path: &str) -> Result<Answer, String> {
        let text = |error: &dyn fmt::Display| error.to_string();
        let host = self.url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let port = self.url.port_or_known_default().unwrap_or(15672);
        let addresses = tokio::net::lookup_host((host.as_str(), port)).await.map_err(|error| text(&error))?;
        let mut stream = Err("its name has no address".to_owned());
        for address in addresses {
            stream = AsyncTcpStream::connect(&async_rs::Runtime::tokio_current(), address)
                .await
                .map_err(|error| text(&error));
            if stream.is_ok() {
                break;
            }
        }
        let mut stream = stream?;
        if self.url.scheme() == "https" {
            let connector = address::connector(&self.tls).map_err(|failure| failure.message.into_owned())?;
            stream = stream.into_rustls(&connector, &host).await.map_err(|error| text(&error))?;
        }
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(Io(stream)).await.map_err(|error| text(&error))?;
        let request = Request::get(path)
            .header(header::HOST, self.place())
            .header(header::AUTHORIZATION, self.authorization())
            .header(header::CONNECTION, "close")
            .body(Empty::<Bytes>::new())
            .map_err(|error| text(&error))?;
        let answered = async {
            let response = sender.send_request(request).await.map_err(|error| text(&error))?;
            let status = response.status();
            let date = response.headers().get(header::DATE).and_then(|date| date.to_str().ok()).map(str::to_owned);
            let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await.map_err(|error| text(&error))?;
            Ok(Answer { status, date, body: body.to_bytes() })
        };
        tokio::pin!(answered);
        tokio::select! {
            answer = &mut answered => answer,
            // The connection may end as soon as the answer is in, before it is read to its end here.
            _ = connection => answered.await,
        }
    }

    fn authorization(&self) -> String {
        let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let login = format!("{}:{}", decoded(self.url.username()), decoded(self.url.password().unwrap_or_default()));
        format!("Basic {}", STANDARD.encode(login))
    }
}

/// What the API has answered.
struct Answer {
    status: StatusCode,
    date: Option<String>,
    body: Bytes,
}

/// The AMQP client's stream as the HTTP client takes it.
struct Io<S>(S);

impl<S: AsyncRead + Unpin> Read for Io<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, mut into: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let mut chunk = [0; 8192];
        let room = into.remaining().min(chunk.len());
        let read = ready!(Pin::new(&mut self.0).poll_read(cx, &mut chunk[..room]))?;
        into.put_slice(&chunk[..read]);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> Write for Io<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_close(cx)
    }
}
