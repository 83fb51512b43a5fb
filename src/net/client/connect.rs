//! The way to a backend: TCP, perhaps a proxy, then TLS with the newest certificates.

use std::error::Error;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http::Uri;
use http::uri::{Authority, Scheme};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_rustls::{DefaultServerNameResolver, HttpsConnector, MaybeHttpsStream, ResolveServerName};
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tower::{Service, ServiceExt};

use super::lost::Life;
use super::proxy::{Proxies, Proxy, ProxyError};
use super::reach::{OutOfReach, Reach, Resolver};
use crate::net::tls::{self, ClientTls, TlsError};

type BoxError = Box<dyn Error + Send + Sync>;

/// What TCP leads to: the backend, or a proxy, which may speak TLS itself.
type Hop = MaybeHttpsStream<TokioIo<TcpStream>>;

/// How long the other end of TCP may leave what was sent to it, or a probe, unconfirmed.
const SILENCE: Duration = Duration::from_secs(20);

/// Makes connections.
#[derive(Clone)]
pub(super) struct Connector {
    tcp: Tcp,
    /// The same for proxies, which may stand anywhere.
    tcp_to_proxy: Tcp,
    tls: ClientTls,
    proxies: Arc<Proxies>,
    reach: Option<Arc<Reach>>,
    fault: LastFault,
}

type Tcp = HttpConnector<Resolver>;

fn tcp(reach: Option<Arc<Reach>>) -> Tcp {
    let mut tcp = HttpConnector::new_with_resolver(Resolver::new(reach));
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_keepalive(Some(SILENCE));
    // a pooled connection whose other end is gone would else swallow requests for a quarter of an hour
    #[cfg(target_os = "linux")]
    tcp.set_tcp_user_timeout(Some(SILENCE));
    tcp
}

impl Connector {
    pub(super) fn new(tls: ClientTls, proxies: Arc<Proxies>, reach: Option<Reach>, fault: LastFault) -> Self {
        let reach = reach.map(Arc::new);
        Self {
            tcp: tcp(reach.clone()),
            tcp_to_proxy: tcp(None),
            tls,
            proxies,
            reach,
            fault,
        }
    }

    async fn connect(self, to: Uri) -> Result<Stream, BoxError> {
        // an address in the place of a name is not resolved
        if let (Some(reach), Some(host)) = (&self.reach, to.host())
            && !reach.holds_host(host)
        {
            return Err(OutOfReach.into());
        }
        let (hop, is_asked) = match self.proxies.on_the_way(&to) {
            None => (Hop::Http(self.tcp.clone().oneshot(to.clone()).await?), false),
            Some(proxy) if proxy.tunnels => (self.tunnel(&proxy, &to).await?, false),
            Some(proxy) => {
                let hop = self.to_proxy().await?.oneshot(proxy.address()?.clone()).await;
                (hop.map_err(ProxyError::Connect)?, true)
            }
        };
        let end = match to.scheme() == Some(&Scheme::HTTPS) {
            true => self.secure(hop, &to).await?,
            false => MaybeHttpsStream::Http(hop),
        };
        Ok(Stream {
            end,
            is_asked,
            to: to.into_parts().authority,
            fault: self.fault,
            life: Life::begin(),
        })
    }

    /// What connects to proxies, over TLS where that is how they are spoken to.
    async fn to_proxy(&self) -> Result<HttpsConnector<Tcp>, TlsError> {
        let mut config = ClientConfig::clone(&*self.tls.current().await?);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(HttpsConnector::from((self.tcp_to_proxy.clone(), config)))
    }

    async fn tunnel(&self, proxy: &Proxy, to: &Uri) -> Result<Hop, BoxError> {
        let mut tunnel = Tunnel::new(proxy.address()?.clone(), self.to_proxy().await?);
        if let Some(credentials) = proxy.credentials() {
            tunnel = tunnel.with_auth(credentials.clone());
        }
        Ok(tunnel.oneshot(to.clone()).await.map_err(ProxyError::of_tunnel)?)
    }

    async fn secure(&self, hop: Hop, to: &Uri) -> Result<MaybeHttpsStream<Hop>, BoxError> {
        let name = match self.tls.server_name() {
            Some(name) => name.clone(),
            None => DefaultServerNameResolver::default().resolve(to)?,
        };
        let connector = TlsConnector::from(self.tls.current().await?);
        Ok(connector.connect(name, TokioIo::new(hop)).await?.into())
    }
}

impl Service<Uri> for Connector {
    type Response = Stream;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Stream, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        Box::pin(self.clone().connect(to))
    }
}

/// A connection that HTTP is spoken on.
pub(super) struct Stream {
    end: MaybeHttpsStream<Hop>,
    /// Whether it is a proxy that takes the requests.
    is_asked: bool,
    /// Whom it leads to.
    to: Option<Authority>,
    fault: LastFault,
    life: Life,
}

/// The last fault of TLS on any connection of a client. A server of TLS 1.3 refuses a client when the handshake is over for it,
/// and HTTP may have learnt by then that the connection is gone, and no more.
#[derive(Clone, Default)]
pub(super) struct LastFault(Arc<Mutex<Option<Fault>>>);

struct Fault {
    at: Instant,
    with: Option<Authority>,
    why: String,
}

impl LastFault {
    fn note(&self, with: Option<&Authority>, error: &io::Error) {
        if let Some(fault) = tls::fault(error) {
            *self.last() = Some(Fault {
                at: Instant::now(),
                with: with.cloned(),
                why: tls::explain(fault),
            });
        }
    }

    /// What it was, if it came since then and with whom `uri` leads to.
    pub(super) fn since(&self, begun: Instant, uri: &Uri) -> Option<String> {
        let last = self.last();
        let fault = last
            .as_ref()
            .filter(|fault| fault.at >= begun && fault.with.as_ref() == uri.authority())?;
        Some(fault.why.clone())
    }

    fn last(&self) -> MutexGuard<'_, Option<Fault>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        // a proxy is told the whole address of what it is asked for
        self.life.tell(self.end.connected().proxy(self.is_asked))
    }
}

impl Read for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.end).poll_read(cx, buffer);
        if let Poll::Ready(Err(error)) = &read {
            self.fault.note(self.to.as_ref(), error);
        }
        read
    }
}

impl Write for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.end).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.end).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.end.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.end).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.end).poll_shutdown(cx)
    }
}
