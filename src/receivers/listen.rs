//! Binds the endpoints of a receiver and serves them until it is told to stop.

use axum::Router;

use crate::net::endpoint::Endpoint;
use crate::net::server::{Listener, ServerSettings, serve};
use crate::net::tell_refusals;
use crate::pipeline::{Outlet, ReceiverError, Stop};

/// One endpoint with what it serves.
pub(super) struct Service {
    /// The key of the endpoint, for errors.
    pub key: String,
    /// Where.
    pub endpoint: Endpoint,
    /// What.
    pub router: Router,
    /// To whom, and how much.
    pub server: ServerSettings,
}

/// Serves until `stop` is asked for and all requests taken on are answered. Binds everything before it serves anything.
pub(super) async fn run(services: Vec<Service>, out: &Outlet, stop: Stop) -> Result<(), ReceiverError> {
    let mut bound = Vec::with_capacity(services.len());
    for service in services {
        let key = service.key;
        let listener = Listener::bind(&format!("{} {key}", out.receiver()), &service.endpoint).await;
        let listener = listener.map_err(|error| ReceiverError(format!("{key}: {error}")))?;
        for address in listener.addresses() {
            let tls = service.server.tls.is_some();
            tracing::info!(receiver = %out.receiver(), key, %address, tls, "listening");
            if !tls && !address.ip().to_canonical().is_loopback() {
                tracing::warn!(receiver = %out.receiver(), key, %address, "other machines reach it in plaintext; set `tls`, or listen on localhost");
            }
        }
        let router = tell_refusals(service.router, out.receiver().clone());
        bound.push(serve(listener, router, stop.clone(), service.server));
    }
    out.ready();
    futures_util::future::join_all(bound).await;
    Ok(())
}
