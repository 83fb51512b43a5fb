//! The one HTTP client that exporters send and scrapes ask with: pooled, bounded, HTTP/1.1 and HTTP/2, plaintext and TLS.
//!
//! Nothing here waits without end by design of its callers: the sink puts its timeout around every request. An error says
//! what kind of thing went wrong and never quotes a header, a token, a URL or the text of a server.

mod connect;
mod grpc;
mod headers;
mod lost;
mod proxy;
mod reach;
#[cfg(test)]
mod tests;

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{HeaderMap, HeaderValue, PROXY_AUTHORIZATION, USER_AGENT};
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client as Pool;
use hyper_util::rt::{TokioExecutor, TokioTimer};

pub use grpc::{Code, GrpcAnswer, grpc_body};
pub use headers::Headers;
pub use reach::Reach;

use self::connect::{Connector, LastFault};
use self::lost::Way;
use self::proxy::{Proxies, ProxyError};
use self::reach::OutOfReach;
use super::auth::Credentials;
use super::tls::{self, ClientTls, ClientTlsConfig};
use crate::pipeline::sink::LONGEST_HINT;
use crate::pipeline::units::{Secret, io_reason};

/// Most bytes of an answer that are read; what OTLP recommends.
const ANSWER_BYTES: usize = 4 << 20;
/// Connections kept open to one backend while nothing is sent.
const IDLE_CONNECTIONS: usize = 16;
/// Bytes of an answer's headers, and again of its trailers.
const HEAD_BYTES: u32 = 64 << 10;
/// Least time between two pings.
const PING_PAUSE: Duration = Duration::from_secs(1);

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

/// How a client reaches its backend.
#[derive(Clone, Debug)]
pub struct ClientSettings {
    /// Whom it trusts, and who it is.
    pub tls: ClientTlsConfig,
    /// What it sends with every request.
    pub headers: Headers,
    /// What it says about who it is.
    pub credentials: Option<Credentials>,
    /// The proxy on the way; none for that of the environment.
    pub proxy_url: Option<Secret>,
    /// How long a connection without requests is kept; 0 for as long as the backend keeps it.
    pub idle_timeout: Duration,
    /// Whether the other end of HTTP/2 is asked for life.
    pub pings: Option<Pings>,
}

/// Pings of HTTP/2: a connection that answers none is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pings {
    /// Silence after which one is sent.
    pub after: Duration,
    /// How long the answer may take.
    pub timeout: Duration,
    /// Whether they are sent while no request is on its way.
    pub while_idle: bool,
}

impl Default for ClientSettings {
    fn default() -> Self {
        Self {
            tls: ClientTlsConfig::default(),
            headers: Headers::default(),
            credentials: None,
            proxy_url: None,
            idle_timeout: Duration::from_secs(90),
            pings: None,
        }
    }
}

/// A client for one backend.
#[derive(Clone)]
pub struct Client {
    pool: Pool<Connector, Full<Bytes>>,
    headers: HeaderMap,
    credentials: Option<Credentials>,
    proxies: Arc<Proxies>,
    tls: ClientTls,
    fault: LastFault,
    /// Some request has had an answer.
    was_answered: Arc<AtomicBool>,
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
    /// The address, or every address of the name, is out of the client's [`Reach`].
    #[error("the address may not be connected to")]
    OutOfReach,
    /// The connection broke before the answer was complete.
    #[error("the connection broke before the answer was complete: {0}")]
    Broken(String),
    /// An answer longer than any backend has reason to send.
    #[error("the answer is longer than {0} bytes")]
    AnswerTooLarge(usize),
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
    /// Checks the settings. Connects to nothing yet.
    pub fn new(protocol: Protocol, settings: &ClientSettings) -> Result<Self, ClientConfigError> {
        let variable = |name: &str| std::env::var(name).ok();
        let proxies = Proxies::new(settings.proxy_url.as_ref(), protocol, variable)?;
        Self::through(proxies, protocol, settings, None)
    }

    /// The same, but it connects only within `reach`. The proxies of the environment, which would resolve names for it, are passed
    /// by; behind a configured one only addresses are judged, not names.
    pub fn within(reach: Reach, protocol: Protocol, settings: &ClientSettings) -> Result<Self, ClientConfigError> {
        let proxies = Proxies::new(settings.proxy_url.as_ref(), protocol, |_| None)?;
        Self::through(proxies, protocol, settings, Some(reach))
    }

    fn through(
        proxies: Proxies,
        protocol: Protocol,
        settings: &ClientSettings,
        reach: Option<Reach>,
    ) -> Result<Self, ClientConfigError> {
        let proxies = Arc::new(proxies);
        let tls = settings
            .tls
            .check(protocol.names())
            .map_err(|error| ClientConfigError::at(error.path("tls"), error.message))?;
        let mut headers = settings.headers.resolve()?;
        if let Some(name) = settings.credentials.as_ref().map(Credentials::name)
            && headers.contains_key(name)
        {
            let why = "set here and by `auth` too; drop one";
            return Err(ClientConfigError::at(format!("headers.{name}"), why));
        }
        headers.entry(USER_AGENT).or_insert(HeaderValue::from_static(concat!(
            "flamegate/",
            env!("CARGO_PKG_VERSION")
        )));
        let mut pool = Pool::builder(TokioExecutor::new());
        pool.timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout((!settings.idle_timeout.is_zero()).then_some(settings.idle_timeout))
            .pool_max_idle_per_host(IDLE_CONNECTIONS)
            .http1_max_buf_size(HEAD_BYTES as usize)
            .http2_max_header_list_size(HEAD_BYTES)
            .http2_only(protocol == Protocol::Http2);
        if let Some(pings) = settings.pings {
            pool.http2_keep_alive_interval(pings.after.max(PING_PAUSE))
                .http2_keep_alive_timeout(pings.timeout.max(PING_PAUSE))
                .http2_keep_alive_while_idle(pings.while_idle);
        }
        let fault = LastFault::default();
        let pool = pool.build(Connector::new(tls.clone(), proxies.clone(), reach, fault.clone()));
        Ok(Self {
            pool,
            headers,
            credentials: settings.credentials.clone(),
            proxies,
            tls,
            fault,
            was_answered: Arc::default(),
        })
    }

    /// Sends `body` and reads the answer. A configured header wins over one of the same name in `headers`.
    pub async fn post(&self, uri: &Uri, headers: HeaderMap, body: Bytes) -> Result<Answer, ClientError> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        self.exchange(uri, headers, request, ANSWER_BYTES).await
    }

    /// Asks for what is there, at most so many bytes of it.
    pub async fn get(&self, uri: &Uri, headers: HeaderMap, most: usize) -> Result<Answer, ClientError> {
        self.exchange(uri, headers, Request::new(Full::default()), most).await
    }

    /// DELETEs and reads the whole answer.
    pub async fn delete(&self, uri: &Uri, headers: HeaderMap) -> Result<Answer, ClientError> {
        let mut request = Request::new(Full::default());
        *request.method_mut() = Method::DELETE;
        self.exchange(uri, headers, request, ANSWER_BYTES).await
    }

    /// The same, but the body is still to be read. Redirects are not followed, here and everywhere.
    pub async fn open(&self, uri: &Uri, headers: HeaderMap) -> Result<Response<Incoming>, ClientError> {
        let (_, answer) = self.send(uri, headers, Request::new(Full::default())).await?;
        Ok(answer)
    }

    /// The answer, and when it was asked for.
    async fn send(
        &self,
        uri: &Uri,
        headers: HeaderMap,
        mut request: Request<Full<Bytes>>,
    ) -> Result<(Instant, Response<Incoming>), ClientError> {
        *request.uri_mut() = uri.clone();
        *request.headers_mut() = headers;
        for (name, value) in &self.headers {
            request.headers_mut().insert(name, value.clone());
        }
        if let Some(credentials) = &self.credentials {
            let (name, value) = credentials.header().await;
            request.headers_mut().insert(name, value);
        }
        if let Some(proxy) = self.proxies.on_the_way(uri)
            && let (false, Some(credentials)) = (proxy.tunnels, proxy.credentials())
        {
            request.headers_mut().insert(PROXY_AUTHORIZATION, credentials.clone());
        }
        let begun = Instant::now();
        let way = Way::of(&mut request);
        let answer = tokio::select! {
            biased;
            answer = self.pool.request(request) => answer.map_err(|error| self.no_answer(uri, begun, &error))?,
            () = way.lost() => return Err(self.lost(uri, begun)),
        };
        self.was_answered.store(true, Ordering::Relaxed);
        Ok((begun, answer))
    }

    fn no_answer(&self, uri: &Uri, begun: Instant, error: &hyper_util::client::legacy::Error) -> ClientError {
        if is_out_of_reach(error) {
            return ClientError::OutOfReach;
        }
        let why = self.why(uri, begun, error);
        match error.is_connect() {
            true => ClientError::Connect(why),
            false => ClientError::Broken(self.with_suspicion(why)),
        }
    }

    fn lost(&self, uri: &Uri, begun: Instant) -> ClientError {
        let why = self.fault.since(begun, uri);
        ClientError::Broken(self.with_suspicion(why.unwrap_or_else(|| "it ended".to_owned())))
    }

    /// Why a request that was begun then came to nothing.
    fn why(&self, uri: &Uri, begun: Instant, error: &(dyn Error + 'static)) -> String {
        self.fault.since(begun, uri).unwrap_or_else(|| cause(error))
    }

    async fn exchange(
        &self,
        uri: &Uri,
        headers: HeaderMap,
        request: Request<Full<Bytes>>,
        most: usize,
    ) -> Result<Answer, ClientError> {
        let (begun, answer) = self.send(uri, headers, request).await?;
        let (parts, body) = answer.into_parts();
        let whole = Limited::new(body, most).collect().await.map_err(|error| {
            match error.downcast_ref::<LengthLimitError>() {
                Some(_) => ClientError::AnswerTooLarge(most),
                None => ClientError::Broken(self.why(uri, begun, error.as_ref())),
            }
        })?;
        Ok(Answer {
            status: parts.status,
            headers: parts.headers,
            trailers: whole.trailers().cloned().unwrap_or_default(),
            body: whole.to_bytes(),
        })
    }

    /// A server that closes at once over a missing certificate may reset the connection before its alert is read.
    fn with_suspicion(&self, why: String) -> String {
        let is_likely = self.tls.was_asked_in_vain() && !self.was_answered.load(Ordering::Relaxed);
        match is_likely && !why.contains(tls::SET_CERTIFICATE) {
            true => format!(
                "{why}; a server asked for a client certificate, and there is none: {}",
                tls::SET_CERTIFICATE
            ),
            false => why,
        }
    }
}

/// The error that caused this one. An [`io::Error`](std::io::Error) shows what it wraps as itself: its source is that of the
/// wrapped one.
fn cause_of<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
        Some(wrapped) => Some(wrapped),
        None => error.source(),
    }
}

fn is_out_of_reach(error: &(dyn Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| cause_of(*error)).any(|error| error.is::<OutOfReach>())
}

/// The innermost reason that is known to quote nothing: an I/O kind or a TLS fault.
fn cause(error: &(dyn Error + 'static)) -> String {
    let mut innermost = None;
    let mut by_proxy = false;
    let mut next = Some(error);
    while let Some(error) = next {
        let io = error.downcast_ref::<std::io::Error>();
        if let Some(fault) = error.downcast_ref::<rustls::Error>() {
            innermost = Some(tls::explain(fault));
        } else if let Some(setting) = error.downcast_ref::<tls::TlsError>() {
            innermost = Some(setting.to_string());
        } else if let Some(proxy) = error.downcast_ref::<ProxyError>() {
            by_proxy = matches!(proxy, ProxyError::Connect(_));
            innermost = Some(proxy.to_string());
        } else if let Some(refused) = tls::recognise(&error.to_string()) {
            innermost = Some(refused.to_owned());
        } else if let Some(io) = io {
            innermost = Some(io_reason(io));
        }
        next = cause_of(error);
    }
    match innermost {
        Some(why) if by_proxy => format!("the proxy: {why}"),
        Some(why) => why,
        None => "the peer does not speak the expected protocol".to_owned(),
    }
}

/// When the backend wants to be asked again: `retry-after`, in seconds or as a date, but an hour at most.
pub fn retry_after(headers: &HeaderMap, now: std::time::SystemTime) -> Option<Duration> {
    let text = headers.get(http::header::RETRY_AFTER)?.to_str().ok()?.trim();
    let hint = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let date = httpdate::parse_http_date(text).ok()?;
            date.duration_since(now).unwrap_or_default()
        }
    };
    Some(hint.min(LONGEST_HINT))
}
