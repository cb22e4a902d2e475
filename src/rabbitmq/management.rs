//! RabbitMQ's HTTP API: what AMQP doesn't tell of a queue.

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

/// Bytes of an answer. One queue takes a few kilobytes.
const MAX_ANSWER: usize = 1 << 20;

/// What the API says of a queue; arguments and policies together, as they are in effect.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueFacts {
    /// `classic`, `quorum`, `stream`.
    pub kind: String,
    /// It outlives a restart of the broker.
    pub durable: bool,
    /// Another connection owns it.
    pub exclusive: bool,
    /// It goes with its last consumer.
    pub auto_delete: bool,
    /// The policy that applies.
    pub policy: Option<String>,
    /// Returns after which the broker drops or dead-letters a message, where it is stated; -1: none.
    pub delivery_limit: Option<i64>,
    /// Where the broker itself sends what it drops.
    pub dead_letter_exchange: Option<String>,
    /// Milliseconds after which messages are dropped.
    pub message_ttl: Option<i64>,
    /// Milliseconds without use after which the queue is deleted.
    pub expires: Option<i64>,
    /// The most messages, or bytes, and what becomes of more.
    pub max_length: Option<String>,
    /// One consumer at a time.
    pub single_active: bool,
    /// The highest priority, where it has priorities.
    pub max_priority: Option<i64>,
    /// Milliseconds, where the queue or a policy sets its own.
    pub consumer_timeout: Option<i64>,
}

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
    /// `None` where the config names none.
    pub fn of(broker: &config::Broker) -> Option<Self> {
        let url = url::Url::parse(broker.management_url.as_ref()?.reveal()).ok()?;
        Some(Management { url, tls: broker.tls.clone(), timeout: broker.connect_timeout })
    }

    /// `host:port`, for people.
    pub fn place(&self) -> String {
        let host = self.url.host_str().unwrap_or_default();
        format!("{host}:{}", self.url.port_or_known_default().unwrap_or(15672))
    }

    /// A queue; `None`: the API knows of no such queue.
    ///
    /// # Errors
    /// Class `source_lost`: not reachable, login refused (401), or an answer that isn't the API's.
    pub async fn queue(&self, vhost: &str, queue: &str) -> Result<Option<QueueFacts>, Failure> {
        Ok(self.get(&["queues", vhost, queue]).await?.as_ref().map(facts))
    }

    /// Whether there is an exchange of this name.
    ///
    /// # Errors
    /// As [`Management::queue`].
    pub async fn exchange_exists(&self, vhost: &str, exchange: &str) -> Result<bool, Failure> {
        // The default exchange has no name there.
        Ok(exchange.is_empty() || self.get(&["exchanges", vhost, exchange]).await?.is_some())
    }

    /// The clock of the node that answers, in microseconds since 1970; `None` where it doesn't say.
    /// HTTP knows whole seconds: it is taken for the middle of one.
    ///
    /// # Errors
    /// As [`Management::queue`].
    pub async fn clock(&self) -> Result<Option<i64>, Failure> {
        let (_, date) = self.ask(&["whoami"]).await?;
        let date = date.and_then(|date| jiff::fmt::rfc2822::parse(&date).ok());
        Ok(date.map(|date| date.timestamp().as_microsecond() + 500_000))
    }

    async fn get(&self, parts: &[&str]) -> Result<Option<Value>, Failure> {
        Ok(self.ask(parts).await?.0)
    }

    /// What it answers, and the date on it.
    async fn ask(&self, parts: &[&str]) -> Result<(Option<Value>, Option<String>), Failure> {
        let parts = parts.iter().map(|part| utf8_percent_encode(part, NON_ALPHANUMERIC).to_string());
        let base = self.url.path().trim_end_matches('/');
        let base = base.strip_suffix("/api").unwrap_or(base);
        let path = format!("{base}/api/{}", parts.collect::<Vec<_>>().join("/"));
        let fail = |code: &'static str, what: String| {
            let message = format!("the management API at {}: {what}", self.place());
            Failure::new(ErrorClass::SourceLost, code, message)
        };
        let (status, date, body) = match tokio::time::timeout(self.timeout, self.exchange(&path)).await {
            Ok(answer) => answer.map_err(|error| fail("management", error))?,
            Err(_) => return Err(fail("management", format!("no answer in {:?}", self.timeout))),
        };
        match status {
            StatusCode::NOT_FOUND => Ok((None, date)),
            StatusCode::OK => serde_json::from_slice(&body)
                .map(|answer| (Some(answer), date))
                .map_err(|_| fail("management", "what it answers isn't JSON; is it RabbitMQ's?".to_owned())),
            StatusCode::UNAUTHORIZED => {
                let tag = "401: it refuses the login, or the user lacks the tag `management`".to_owned();
                Err(fail("401", tag))
            }
            other => Err(fail("management", format!("it answers {other}"))),
        }
    }

    async fn exchange(&self, path: &str) -> Result<(StatusCode, Option<String>, Bytes), String> {
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
            Ok((status, date, body.to_bytes()))
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

/// A policy may set what an argument doesn't.
fn facts(queue: &Value) -> QueueFacts {
    let setting = |name: &str| -> Option<&Value> {
        let argument = queue.get("arguments").and_then(|arguments| arguments.get(format!("x-{name}")));
        argument.or_else(|| queue.get("effective_policy_definition")?.get(name)).filter(|value| !value.is_null())
    };
    let number = |name| setting(name).and_then(Value::as_i64);
    let text = |name| setting(name).and_then(Value::as_str).map(str::to_owned);
    let flag = |name| queue.get(name).and_then(Value::as_bool).unwrap_or(false);
    let overflow = text("overflow").unwrap_or_else(|| "drop-head".to_owned());
    let limit = ["max-length", "max-length-bytes"]
        .into_iter()
        .find_map(|name| Some(format!("{name} {}, {overflow}", number(name)?)));
    QueueFacts {
        kind: queue.get("type").and_then(Value::as_str).unwrap_or("classic").to_owned(),
        durable: flag("durable"),
        exclusive: flag("exclusive"),
        auto_delete: flag("auto_delete"),
        policy: queue.get("policy").and_then(Value::as_str).filter(|name| !name.is_empty()).map(str::to_owned),
        delivery_limit: number("delivery-limit"),
        dead_letter_exchange: text("dead-letter-exchange"),
        message_ttl: number("message-ttl"),
        expires: number("expires"),
        max_length: limit,
        single_active: setting("single-active-consumer").and_then(Value::as_bool).unwrap_or(false),
        max_priority: number("max-priority"),
        consumer_timeout: number("consumer-timeout"),
    }
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_argument_goes_before_a_policy() {
        let queue = json!({"type": "quorum", "durable": true, "policy": "p",
            "arguments": {"x-delivery-limit": 3, "x-max-length": 10},
            "effective_policy_definition": {"delivery-limit": 7, "message-ttl": 5, "dead-letter-exchange": "dlx"}});
        let facts = facts(&queue);
        assert_eq!((facts.delivery_limit, facts.message_ttl), (Some(3), Some(5)));
        assert_eq!(facts.dead_letter_exchange.as_deref(), Some("dlx"));
        assert_eq!(facts.max_length.as_deref(), Some("max-length 10, drop-head"));
        assert_eq!((facts.kind.as_str(), facts.durable, facts.policy.as_deref()), ("quorum", true, Some("p")));
    }

    #[test]
    fn an_empty_policy_definition_is_a_list_there() {
        let queue = json!({"type": "classic", "policy": "", "arguments": {}, "effective_policy_definition": []});
        assert_eq!(facts(&queue), QueueFacts { kind: "classic".to_owned(), ..QueueFacts::default() });
    }
}
