//! The one accept loop behind every endpoint: HTTP/1.1 and HTTP/2 on the same port, plaintext or TLS, bounded, drained on stop.
//!
//! A connection ends when it has been idle too long, when another one needs its place, when its client goes away, or when the
//! server stops and the requests that it had taken on are answered. Timeouts on bodies belong to [`body`](super::body).

mod activity;
mod connection;
mod crowd;
mod unread;
mod watched;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use self::crowd::{Crowd, Full, Place};
use super::endpoint::{BindError, Endpoint};
use super::sockets::{self, Held};
use super::tls::ServerTls;
use crate::pipeline::Stop;
use crate::pipeline::units::io_reason;
use crate::telemetry::{SeldomEach, ServerMetrics};

/// Least room for a head that the parser of HTTP/1 can work with.
const LEAST_HEAD: usize = 8 << 10;
/// Headers of a request, where nothing else is said; the parser keeps these on the stack.
const HEADERS: usize = 100;
/// Bytes that one HTTP/2 stream may send before it waits for us. They are held before anybody has asked who sends, and outside
/// the memory budget: no more than a step of reading under a permit.
const STREAM_WINDOW: u32 = 256 << 10;
/// The same for all streams of a connection together.
const CONNECTION_WINDOW: u32 = 1 << 20;

/// At most one line of handshakes that failed for a reason in so long a time.
const HANDSHAKES_EVERY: Duration = Duration::from_secs(60);

/// The address of the sender, as an extension of every request.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

/// What one server takes on.
#[derive(Clone, Copy, Debug)]
pub struct ServerLimits {
    /// Connections at once. For a further one the one idle for longest goes; where all are busy it waits.
    pub max_connections: usize,
    /// The same for those of one address, or /64 of IPv6; where all are busy a further one is closed.
    pub max_connections_per_peer: usize,
    /// Requests at once on one HTTP/2 connection.
    pub max_concurrent_streams: u32,
    /// Requests of one HTTP/2 connection that its client has taken back before they were looked at.
    pub max_pending_reset_streams: usize,
    /// Bytes of a request's head.
    pub max_header_bytes: usize,
    /// Headers of an HTTP/1.1 request.
    pub max_headers: usize,
    /// How long a client may take from connecting to its first byte, for the handshake, and from the first byte of a request's
    /// head to the last.
    pub read_header_timeout: Duration,
    /// How long a connection may go without a request.
    pub idle_timeout: Duration,
    /// How long a connection may be used.
    pub max_age: Option<Duration>,
    /// How long the requests of one that is too old may go on; none for as long as they need.
    pub max_age_grace: Option<Duration>,
    /// Silence after which an HTTP/2 client is asked for life, and how long it may take to answer.
    pub pings: Option<(Duration, Duration)>,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            max_connections: 1_024,
            max_connections_per_peer: 256,
            max_concurrent_streams: 100,
            max_pending_reset_streams: 20,
            max_header_bytes: 64 << 10,
            max_headers: HEADERS,
            read_header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(120),
            max_age: None,
            max_age_grace: None,
            pings: None,
        }
    }
}

/// How one server treats its connections.
#[derive(Clone, Debug, Default)]
pub struct ServerSettings {
    /// What it takes on.
    pub limits: ServerLimits,
    /// Certificates; none for plaintext.
    pub tls: Option<ServerTls>,
    /// Where it counts.
    pub metrics: ServerMetrics,
}

/// An endpoint that is bound: from here on connections queue up, and [`serve`] answers them.
#[derive(Debug)]
pub struct Listener {
    sockets: Vec<TcpListener>,
    /// Keeps the port while a successor may want it.
    held: Held,
}

impl Listener {
    /// Takes the endpoint. If `owner` has it already, as the receiver has that a reload replaces, both accept on it until the
    /// old one stops.
    pub async fn bind(owner: &str, endpoint: &Endpoint) -> Result<Self, BindError> {
        let held = sockets::take(owner, endpoint).await?;
        let mut sockets = Vec::with_capacity(held.len());
        for socket in held.iter() {
            let shared = socket.try_clone().and_then(TcpListener::from_std);
            sockets.push(shared.map_err(|source| endpoint.refused(source))?);
        }
        Ok(Self { sockets, held })
    }

    /// The addresses bound, with the port that the system chose for port 0.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.sockets
            .iter()
            .filter_map(|socket| socket.local_addr().ok())
            .collect()
    }
}

/// Serves until `stop` is asked for and every request taken on is answered.
pub async fn serve(listener: Listener, router: Router, stop: Stop, settings: ServerSettings) {
    let limits = settings.limits;
    let server = Arc::new(Server {
        router,
        http: http(&limits),
        stop: stop.clone(),
        crowd: Crowd::new(limits.max_connections, limits.max_connections_per_peer),
        handshakes: SeldomEach::every(HANDSHAKES_EVERY),
        settings,
    });
    // dropped with its tasks if the caller gives up on the drain
    let mut sockets = JoinSet::new();
    for socket in listener.sockets {
        sockets.spawn(server.clone().accept(socket));
    }
    // from here on a port that no successor took over is closed: whoever comes is refused and not left waiting
    stop.asked().await;
    drop(listener.held);
    while sockets.join_next().await.is_some() {}
}

fn http(limits: &ServerLimits) -> Builder<TokioExecutor> {
    let head = limits.max_header_bytes.max(LEAST_HEAD);
    let mut http = Builder::new(TokioExecutor::new());
    http.http1()
        .timer(TokioTimer::new())
        // it would run between requests too: the activity of the connection tells the two apart
        .header_read_timeout(None)
        .max_buf_size(head);
    if limits.max_headers != HEADERS {
        http.http1().max_headers(limits.max_headers);
    }
    http.http2()
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(limits.max_concurrent_streams)
        .max_pending_accept_reset_streams(limits.max_pending_reset_streams)
        .max_header_list_size(u32::try_from(head).unwrap_or(u32::MAX));
    if let Some((silence, patience)) = limits.pings {
        http.http2().keep_alive_interval(silence).keep_alive_timeout(patience);
    }
    http
}

struct Server {
    router: Router,
    http: Builder<TokioExecutor>,
    stop: Stop,
    crowd: Arc<Crowd>,
    /// What the log says of handshakes that failed, by reason.
    handshakes: SeldomEach,
    settings: ServerSettings,
}

impl Server {
    async fn accept(self: Arc<Self>, socket: TcpListener) {
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                // who comes after that belongs to the successor
                biased;
                () = self.stop.asked() => break,
                Some(_) = connections.join_next() => continue,
                accepted = socket.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    if let Some(place) = self.place(peer).await {
                        connections.spawn(self.clone().connected(stream, peer, place));
                    }
                }
                Err(error) => {
                    tracing::warn!(why = io_reason(&error), "cannot accept a connection");
                    // the usual reason is too many open files: whoever leaves gives one back
                    self.crowd.shrink();
                    self.crowd.changed().await;
                }
            }
        }
        drop(socket);
        while connections.join_next().await.is_some() {}
    }

    /// A place for a connection; none if its peer has too many, or the server stops.
    async fn place(&self, peer: SocketAddr) -> Option<Place> {
        loop {
            match self.crowd.admit(peer) {
                Ok(place) => return Some(place),
                Err(Full::OfPeer) => {
                    self.settings.metrics.cut("peer_limit");
                    return None;
                }
                Err(Full::OfAll) => {}
            }
            tokio::select! {
                () = self.stop.asked() => return None,
                () = self.crowd.changed() => {}
            }
        }
    }
}

#[cfg(test)]
mod tests;
