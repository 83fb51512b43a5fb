//! The one HTTP client that all exporters send with: pooled, bounded, HTTP/1.1 and HTTP/2, plaintext and TLS.
//!
//! Nothing here waits without end by design of its callers: the sink puts its timeout around every request. An error says
//! what kind of thing went wrong and never quotes a header, a token, a URL or the text of a server.

mod connect;
mod grpc;
mod headers;
#[cfg(test)]
mod tests;

use std::error::Error;
use std::time::Duration;

use bytes::Bytes;
use http::header::{HeaderMap, HeaderValue, USER_AGENT};
use http::{Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::rt::{TokioExecutor, TokioTimer};

pub use grpc::{Code, GrpcAnswer, grpc_body};
pub use headers::Headers;

use self::connect::Connector;
use super::tls::{self, ClientTlsConfig};

/// Most bytes of an answer that are read; what OTLP recommends.
const ANSWER_BYTES: usize = 4 << 20;
/// Connections kept open to one backend while nothing is sent.
const IDLE_CONNECTIONS: usize = 16;
/// How long they are kept: the Collector's `idle_conn_timeout`.
const IDLE_FOR: Duration = Duration::from_secs(90);

/// Which version of HTTP a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1 over plaintext; over TLS whichever the server prefers.
    Http,
    /// HTTP/2 alone, over plaintext by prior knowledge: gRPC.
    Http2,
}

impl Protocol {
    /// What is offered over TLS.
    const fn names(self) -> &'static [&'static [u8]] {
        match self {
            Self::Http => &[b"h2", b"http/1.1"],
            Self::Http2 => &[b"h2"],
        }
    }
}

/// A client for one backend.
#[derive(Clone)]
pub struct Client {
    pool: Pool<Connector, Full<Bytes>>,
    headers: HeaderMap,
}

/// What a server answered.
#[derive(Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: StatusCode,
    /// Headers.
    pub headers: HeaderMap,
    /// Body, as sent.
    pub body: Bytes,
    /// Headers behind the body.
    pub trailers: HeaderMap,
}

/// A request without an answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// No connection: refused, unreachable, no such name, a certificate that is not trusted.
    #[error("cannot connect: {0}")]
    Connect(String),
    /// The connection broke before the answer was complete.
    #[error("the connection broke before the answer was complete: {0}")]
    Broken(String),
    /// An answer longer than any backend has reason to send.
    #[error("the answer is longer than {ANSWER_BYTES} bytes")]
    AnswerTooLarge,
}

/// A client that cannot be built of its configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ClientConfigError {
    /// The key below the component, dotted.
    pub path: String,
    /// What is wrong and what is allowed; never a configured header.
    pub message: String,
}

impl ClientConfigError {
    fn at(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            message: message.into(),
        }
    }
}

impl Client {
    /// A client that sends `headers` with every request. Connects to nothing yet.
    pub fn new(protocol: Protocol, tls: &ClientTlsConfig, headers: &Headers) -> Result<Self, ClientConfigError> {
        let tls = tls
            .check(protocol.names())
            .map_err(|error| ClientConfigError::at(error.path("tls"), error.message))?;
        let mut headers = headers.resolve()?;
        headers.entry(USER_AGENT).or_insert(HeaderValue::from_static(concat!(
            "flamegate/",
            env!("CARGO_PKG_VERSION")
        )));
        let pool = Pool::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_FOR)
            .pool_max_idle_per_host(IDLE_CONNECTIONS)
            .http2_only(protocol == Protocol::Http2)
            .build(Connector::new(tls));
        Ok(Self { pool, headers })
    }

    /// Sends `body` and reads the answer. A configured header wins over one of the same name in `headers`.
    pub async fn post(&self, uri: &Uri, headers: HeaderMap, body: Bytes) -> Result<Answer, ClientError> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = uri.clone();
        *request.headers_mut() = headers;
        for (name, value) in &self.headers {
            request.headers_mut().insert(name, value.clone());
        }
        let answer = self.pool.request(request).await.map_err(|error| {
            let why = cause(&error);
            match error.is_connect() {
                true => ClientError::Connect(why),
                false => ClientError::Broken(why),
            }
        })?;
        let (parts, body) = answer.into_parts();
        let whole = Limited::new(body, ANSWER_BYTES).collect().await.map_err(|error| {
            match error.downcast_ref::<LengthLimitError>() {
                Some(_) => ClientError::AnswerTooLarge,
                None => ClientError::Broken(cause(error.as_ref())),
            }
        })?;
        Ok(Answer {
            status: parts.status,
            headers: parts.headers,
            trailers: whole.trailers().cloned().unwrap_or_default(),
            body: whole.to_bytes(),
        })
    }
}

/// The innermost reason that is known to quote nothing: an I/O kind or a TLS fault.
fn cause(error: &(dyn Error + 'static)) -> String {
    let mut innermost = None;
    let mut next = Some(error);
    while let Some(error) = next {
        let io = error.downcast_ref::<std::io::Error>();
        if let Some(fault) = error.downcast_ref::<rustls::Error>() {
            innermost = Some(tls::explain(fault));
        } else if let Some(setting) = error.downcast_ref::<tls::TlsError>() {
            innermost = Some(setting.to_string());
        } else if let Some(refused) = tls::recognise(&error.to_string()) {
            innermost = Some(refused.to_owned());
        } else if let Some(io) = io {
            innermost = Some(io.kind().to_string());
        }
        // an io::Error shows what it wraps as itself: its source is that of the wrapped one
        next = match io.and_then(std::io::Error::get_ref) {
            Some(wrapped) => Some(wrapped),
            None => error.source(),
        };
    }
    innermost.unwrap_or_else(|| "the peer does not speak the expected protocol".to_owned())
}

/// When the backend wants to be asked again: `retry-after`, in seconds or as a date.
pub fn retry_after(headers: &HeaderMap, now: std::time::SystemTime) -> Option<Duration> {
    let text = headers.get(http::header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}
