//! One connection, from its first byte to its end.

use std::error::Error;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::header::{CONNECTION, HeaderValue};
use http::{Request, Version};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::server::TlsStream;
use tower::ServiceExt;

use super::crowd::Place;
use super::unread::ReadOut;
use super::watched::Watched;
use super::{Peer, Server};

/// How long a stopping server waits for the request of a client that could not know: one that has just connected, or that
/// keeps its connection. Else a reload would cost that request.
const LINGER: Duration = Duration::from_secs(1);
/// How long a connection told to end may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(5);
/// The same where another one is waiting for its place.
const QUICK_GOODBYE: Duration = Duration::from_millis(100);

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
        let why = match timeout(self.settings.limits.read_header_timeout, self.shake_hands(stream)).await {
            Ok(Ok(greeted)) => return greeted,
            // whoever knocks without the right certificate learns it from the alert
            Ok(Err(error)) => error.to_string(),
            Err(_) => "it took too long".to_owned(),
        };
        self.settings.metrics.cut("handshake");
        tracing::debug!(%peer, "no handshake: {why}");
        None
    }

    /// None if the client only looked whether there is somebody, as probes do.
    async fn shake_hands(&self, stream: TcpStream) -> std::io::Result<Option<Greeted>> {
        // to be readable is not yet to hold a byte
        if stream.peek(&mut [0]).await? == 0 {
            return Ok(None);
        }
        Ok(Some(match &self.settings.tls {
            None => Greeted::Plain(stream),
            Some(tls) => Greeted::Tls(Box::new(tls.accept(stream).await?)),
        }))
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
            () = activity.idle_for(patience) => {}
            () = after(grace) => {}
        }
    }
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
