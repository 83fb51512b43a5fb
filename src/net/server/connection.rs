//! One connection, from its first byte to its end.

use std::error::Error;
use std::fmt::Display;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::header::{CONNECTION, HeaderValue};
use http::{Request, Version};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_rustls::server::TlsStream;
use tower::ServiceExt;

use super::crowd::Place;
use super::unread::ReadOut;
use super::watched::Watched;
use super::{Peer, Server};
use crate::net::tls;
use crate::pipeline::units::io_reason;

/// How long a stopping server waits for the request of a client that could not know: one that has just connected, or that
/// keeps its connection. Else a reload would cost that request.
const LINGER: Duration = Duration::from_secs(1);
/// How long a connection told to end may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(5);
/// The same where another one is waiting for its place.
const QUICK_GOODBYE: Duration = Duration::from_millis(100);

/// How long, and for how many bytes, a client whose handshake failed may go on sending.
const UNREAD: Duration = Duration::from_secs(1);
const UNREAD_BYTES: u64 = 64 << 10;
const TOO_LATE: &str = "it took too long";
/// Longer than any connection lasts, and short enough for clocks.
const FOREVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// A connection on which HTTP can begin.
enum Greeted {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Why a connection is told to end.
enum End {
    Stop,
    Idle,
    Crowded,
    Age,
}

impl Server {
    /// From a bare connection to one that speaks HTTP, to its end.
    pub(super) async fn connected(self: Arc<Self>, stream: TcpStream, peer: SocketAddr, place: Place) {
        let metrics = &self.settings.metrics;
        let _open = metrics.opened();
        // small answers go out at once; without it they only go out later
        let _ = stream.set_nodelay(true);
        let over = async {
            self.stop.asked().await;
            sleep(LINGER).await;
        };
        let greeted = tokio::select! {
            () = over => None,
            () = place.asked_to_leave() => {
                metrics.cut("crowded");
                None
            }
            greeted = self.greet(stream, peer) => greeted,
        };
        match greeted {
            Some(Greeted::Plain(stream)) => self.converse(stream, peer, &place).await,
            Some(Greeted::Tls(stream)) => self.converse(*stream, peer, &place).await,
            None => {}
        }
    }

    async fn greet(&self, stream: TcpStream, peer: SocketAddr) -> Option<Greeted> {
        let deadline = Instant::now() + self.settings.limits.read_header_timeout.min(FOREVER);
        let refused = |why: &dyn Display| {
            self.settings.metrics.cut("handshake");
            tracing::debug!(%peer, "no handshake: {why}");
        };
        // to be readable is not yet to hold a byte
        match timeout_at(deadline, stream.peek(&mut [0])).await {
            // who only looks whether there is somebody, as probes do
            Ok(Ok(0)) => return None,
            Ok(Ok(_)) => {}
            Ok(Err(error)) => {
                refused(&io_reason(&error));
                return None;
            }
            Err(_) => {
                refused(&TOO_LATE);
                return None;
            }
        }
        let Some(tls) = &self.settings.tls else {
            return Some(Greeted::Plain(stream));
        };
        match timeout_at(deadline, tls.accept(stream)).await {
            Ok(Ok(stream)) => return Some(Greeted::Tls(Box::new(stream))),
            Ok(Err((error, stream))) => match tls::fault(&error) {
                Some(fault) => {
                    self.tell_refused(peer, tls::explain_client(fault));
                    leave(stream).await;
                }
                None => refused(&io_reason(&error)),
            },
            Err(_) => self.tell_refused(peer, TOO_LATE),
        }
        None
    }

    /// Counts and tells a handshake that came to nothing. Who it was and why only the log knows: the client may have nobody who looks.
    fn tell_refused(&self, peer: SocketAddr, why: &'static str) {
        let metrics = &self.settings.metrics;
        metrics.cut("handshake");
        let peer = peer.ip().to_canonical();
        match self.handshakes.happened(why, 1) {
            Some(connections) => {
                tracing::warn!(server = metrics.name(), %peer, connections, "no handshake: {why}");
            }
            None => tracing::debug!(server = metrics.name(), %peer, "no handshake: {why}"),
        }
    }

    async fn converse<Io>(&self, io: Io, peer: SocketAddr, place: &Place)
    where
        Io: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        let (limits, metrics, activity) = (&self.settings.limits, &self.settings.metrics, place.activity());
        let service = service_fn(|request: Request<Incoming>| {
            let (router, busy, stop) = (self.router.clone(), activity.begin(), self.stop.clone());
            async move {
                let mut request = ReadOut::of(request);
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
        let io = TokioIo::new(Watched {
            io,
            activity: activity.clone(),
        });
        let mut connection = pin!(self.http.serve_connection(io, service));
        let end = tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended && is_misbehaviour(error.as_ref()) {
                    metrics.cut("protocol");
                    tracing::debug!(%peer, "closed: {error}");
                }
                return;
            }
            () = activity.head_later_than(limits.read_header_timeout) => {
                metrics.cut("header_timeout");
                return;
            }
            () = async {
                self.stop.asked().await;
                activity.begun_within(LINGER).await;
            } => End::Stop,
            () = activity.idle_for(limits.idle_timeout) => End::Idle,
            () = place.asked_to_leave() => End::Crowded,
            () = after(limits.max_age) => End::Age,
        };
        connection.as_mut().graceful_shutdown();
        let (reason, patience) = match end {
            End::Stop => (None, GOODBYE),
            End::Idle => (Some("idle"), GOODBYE),
            End::Crowded => (Some("crowded"), QUICK_GOODBYE),
            End::Age => (Some("age"), GOODBYE),
        };
        if let Some(reason) = reason {
            metrics.cut(reason);
        }
        let grace = match end {
            End::Age => limits.max_age_grace,
            _ => None,
        };
        tokio::select! {
            _ = connection.as_mut() => {}
            () = activity.idle_from_now_for(patience) => {}
            () = after(grace) => {}
        }
    }
}

/// Parts from a client that was told why. To close over bytes that it has sent since would be a reset, which may overtake the alert.
async fn leave(mut stream: TcpStream) {
    let read_out = async {
        stream.shutdown().await?;
        tokio::io::copy(&mut stream.take(UNREAD_BYTES), &mut tokio::io::sink()).await
    };
    let _ = timeout(UNREAD, read_out).await;
}

/// Waits so long; without a time for ever.
async fn after(time: Option<Duration>) {
    match time {
        Some(time) => sleep(time).await,
        None => std::future::pending().await,
    }
}

/// Whether a connection broke because its client does not keep to HTTP, or floods us with it, and not because it went away.
fn is_misbehaviour(error: &(dyn Error + Send + Sync + 'static)) -> bool {
    let Some(http) = error.downcast_ref::<hyper::Error>() else {
        return false;
    };
    let by_us = |error: &h2::Error| error.is_library();
    http.is_parse()
        || http
            .source()
            .and_then(|source| source.downcast_ref())
            .is_some_and(by_us)
}
