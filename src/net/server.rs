//! The one accept loop behind every endpoint: HTTP/1.1 and HTTP/2 on the same port, plaintext or TLS, bounded, drained on stop.
//!
//! A connection ends when it has been idle too long, when its client goes away, or when the server stops and the requests
//! that it had taken on are answered. Timeouts on bodies belong to [`body`](super::body).

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::header::{CONNECTION, HeaderValue};
use http::{Request, Version};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;
use tower::ServiceExt;

use super::activity::Activity;
use super::endpoint::{BindError, Endpoint};
use super::sockets::{self, Held};
use super::tls::ServerTls;
use crate::pipeline::Stop;

/// How long a client may take from connecting to its first byte, and to shake hands.
const GREETING: Duration = Duration::from_secs(10);
/// How long a stopping server waits for the request of a client that could not know: one that has just connected, or that
/// keeps its connection. Else a reload would cost that request.
const LINGER: Duration = Duration::from_secs(1);
/// How long a connection told to end may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(5);
/// Bytes of a request's head, and of the read buffer of an HTTP/1.1 connection.
const HEAD_BYTES: usize = 64 << 10;
/// Bytes that one HTTP/2 stream may send before it waits for us.
const STREAM_WINDOW: u32 = 4 << 20;
/// The same for all streams of a connection together.
const CONNECTION_WINDOW: u32 = 16 << 20;
/// Rest after a failed accept: the usual reason is too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// The address of the sender, as an extension of every request.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

/// What one server takes on.
#[derive(Clone, Copy, Debug)]
pub struct ServerLimits {
    /// Connections at once; further ones wait in the backlog.
    pub max_connections: usize,
    /// Requests at once on one HTTP/2 connection.
    pub max_concurrent_streams: u32,
    /// How long a connection may go without a request, and how long the head of one may take.
    pub idle_timeout: Duration,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            max_connections: 1_024,
            max_concurrent_streams: 100,
            idle_timeout: Duration::from_secs(120),
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
        tls: settings.tls,
        stop: stop.clone(),
        idle_timeout: limits.idle_timeout,
        room: Arc::new(Semaphore::new(limits.max_connections.max(1))),
    });
    // dropped with its tasks if the caller gives up on the drain
    let mut sockets = JoinSet::new();
    for socket in listener.sockets {
        sockets.spawn(accept(server.clone(), socket));
    }
    // from here on a port that no successor took over is closed: whoever comes is refused and not left waiting
    stop.asked().await;
    drop(listener.held);
    while sockets.join_next().await.is_some() {}
}

fn http(limits: &ServerLimits) -> Builder<TokioExecutor> {
    let mut http = Builder::new(TokioExecutor::new());
    http.http1()
        .timer(TokioTimer::new())
        // it runs between requests too, so it cannot be shorter than the pause of a client that keeps its connection
        .header_read_timeout(limits.idle_timeout)
        .max_buf_size(HEAD_BYTES);
    http.http2()
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(limits.max_concurrent_streams)
        .max_header_list_size(HEAD_BYTES as u32);
    http
}

struct Server {
    router: Router,
    http: Builder<TokioExecutor>,
    tls: Option<ServerTls>,
    stop: Stop,
    idle_timeout: Duration,
    room: Arc<Semaphore>,
}

async fn accept(server: Arc<Server>, socket: TcpListener) {
    let mut connections = JoinSet::new();
    loop {
        let next = async {
            // the semaphore is never closed
            let room = server.room.clone().acquire_owned().await.ok();
            (room, socket.accept().await)
        };
        tokio::select! {
            () = server.stop.asked() => break,
            Some(_) = connections.join_next() => {}
            (room, accepted) = next => match accepted {
                Ok((stream, peer)) => {
                    connections.spawn(server.clone().greet(stream, peer, room));
                }
                Err(error) => {
                    tracing::warn!(kind = %error.kind(), "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(socket);
    while connections.join_next().await.is_some() {}
}

/// A connection on which HTTP can begin.
enum Greeted {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Server {
    /// From a bare connection to one that speaks HTTP.
    async fn greet(self: Arc<Self>, stream: TcpStream, peer: SocketAddr, _room: Option<OwnedSemaphorePermit>) {
        // small answers go out at once; without it they only go out later
        let _ = stream.set_nodelay(true);
        let greeting = timeout(GREETING.min(self.idle_timeout), self.shake_hands(stream));
        let over = async {
            self.stop.asked().await;
            tokio::time::sleep(LINGER).await;
        };
        let greeted = tokio::select! {
            () = over => return,
            greeted = greeting => greeted,
        };
        match greeted {
            Ok(Ok(Greeted::Plain(stream))) => self.converse(TokioIo::new(stream), peer).await,
            Ok(Ok(Greeted::Tls(stream))) => self.converse(TokioIo::new(*stream), peer).await,
            // whoever knocks without the right certificate learns it from the alert
            Ok(Err(error)) => tracing::debug!(%peer, kind = %error.kind(), "no handshake: {error}"),
            Err(_) => tracing::debug!(%peer, "no handshake: it took too long"),
        }
    }

    async fn shake_hands(&self, stream: TcpStream) -> std::io::Result<Greeted> {
        stream.readable().await?;
        match &self.tls {
            None => Ok(Greeted::Plain(stream)),
            Some(tls) => Ok(Greeted::Tls(Box::new(tls.accept(stream).await?))),
        }
    }

    async fn converse<Io>(&self, io: Io, peer: SocketAddr)
    where
        Io: hyper::rt::Read + hyper::rt::Write + Unpin + 'static,
    {
        let activity = Arc::new(Activity::default());
        let service = service_fn(|request: Request<Incoming>| {
            let (router, busy, stop) = (self.router.clone(), activity.begin(), self.stop.clone());
            async move {
                let mut request = request.map(Body::new);
                request.extensions_mut().insert(Peer(peer));
                let is_http1 = request.version() < Version::HTTP_2;
                let mut response = router.oneshot(request).await;
                if is_http1
                    && stop.is_asked()
                    && let Ok(response) = &mut response
                {
                    response
                        .headers_mut()
                        .insert(CONNECTION, HeaderValue::from_static("close"));
                }
                drop(busy);
                response
            }
        });
        let mut connection = pin!(self.http.serve_connection(io, service));
        let ended = tokio::select! {
            // errors are the client's doing: it went away or does not speak HTTP
            ended = connection.as_mut() => Some(ended),
            () = async {
                self.stop.asked().await;
                activity.begun_within(LINGER).await;
            } => None,
            () = activity.idle_for(self.idle_timeout) => None,
        };
        if ended.is_some() {
            return;
        }
        connection.as_mut().graceful_shutdown();
        tokio::select! {
            _ = connection.as_mut() => {}
            () = activity.idle_for(GOODBYE) => {}
        }
    }
}

#[cfg(test)]
mod tests;
