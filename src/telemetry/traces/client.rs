//! How spans travel: HTTP with what the worker has for it anyway.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as Hyper;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use tokio::runtime::Handle;

/// Bytes of an answer: a collector says little.
const MAX_ANSWER: usize = 64 * 1024;
/// Between two complaints about one collector.
const COMPLAIN: Duration = Duration::from_secs(60);

/// Sends requests on the worker's runtime: the exporter's own thread has none.
#[derive(Debug)]
pub(super) struct Client {
    hyper: Hyper<HttpsConnector<HttpConnector>, Full<Bytes>>,
    runtime: Handle,
    timeout: Duration,
    complained: Mutex<Option<Instant>>,
}

impl Client {
    /// Must be called within a runtime.
    ///
    /// # Errors
    /// The system's certificates can't be read.
    pub(super) fn new(timeout: Duration) -> std::io::Result<Self> {
        let connector = HttpsConnectorBuilder::new().with_native_roots()?.https_or_http().enable_http1().build();
        let hyper = Hyper::builder(TokioExecutor::new()).build(connector);
        Ok(Client { hyper, runtime: Handle::current(), timeout, complained: Mutex::new(None) })
    }

    /// Spans are lost and messages aren't: that is worth a line a minute.
    fn complain(&self, what: &str) {
        // One value: a poisoned lock has nothing half-written behind it.
        let mut complained = self.complained.lock().unwrap_or_else(PoisonError::into_inner);
        if complained.is_none_or(|last| last.elapsed() >= COMPLAIN) {
            *complained = Some(Instant::now());
            tracing::warn!("traces are lost, the collector doesn't take them: {what}");
        }
    }
}

async fn ask(
    hyper: Hyper<HttpsConnector<HttpConnector>, Full<Bytes>>,
    request: Request<Bytes>,
) -> Result<Response<Bytes>, HttpError> {
    let (parts, body) = hyper.request(request.map(Full::new)).await?.into_parts();
    let body = Limited::new(body, MAX_ANSWER).collect().await?.to_bytes();
    Ok(Response::from_parts(parts, body))
}

/// What lies behind an error says more than itself: "client error (Connect)", say.
fn told(error: &HttpError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

impl HttpClient for Client {
    fn send_bytes<'life, 'future>(
        &'life self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'future>>
    where
        'life: 'future,
        Self: 'future,
    {
        let (hyper, timeout) = (self.hyper.clone(), self.timeout);
        let answer = self.runtime.spawn(async move { tokio::time::timeout(timeout, ask(hyper, request)).await });
        Box::pin(async move {
            let answer = match answer.await {
                Ok(Ok(answer)) => answer,
                Ok(Err(_)) => Err(format!("no answer in {timeout:?}").into()),
                Err(_) => Err("the worker has ended".into()),
            };
            match &answer {
                Ok(response) if !response.status().is_success() => {
                    self.complain(&format!("it answers {}", response.status()))
                }
                Ok(_) => {}
                Err(error) => self.complain(&told(error)),
            }
            answer
        })
    }
}
