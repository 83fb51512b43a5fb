//! Binds the endpoints of a receiver and serves them until it is told to stop.

use axum::Router;
use serde::{Deserialize, Deserializer};

use crate::net::endpoint::Endpoint;
use crate::net::server::{Listener, ServerLimits, serve};
use crate::pipeline::spec::BuildError;
use crate::pipeline::{Outlet, ReceiverError, Stop};

/// One endpoint with what it serves.
pub(super) struct Service {
    /// The key of the endpoint, for errors.
    pub key: &'static str,
    /// Where.
    pub endpoint: Endpoint,
    /// What.
    pub router: Router,
    /// How much.
    pub limits: ServerLimits,
}

/// A key without anything below it is a key that is present.
pub(super) fn present<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    from: D,
) -> Result<Option<T>, D::Error> {
    Option::<T>::deserialize(from).map(|value| Some(value.unwrap_or_default()))
}

/// Reads an endpoint of the configuration.
pub(super) fn endpoint(key: &'static str, text: &str) -> Result<Endpoint, BuildError> {
    text.parse().map_err(|error| BuildError::at(key, format!("{error}")))
}

/// Serves until `stop` is asked for and all requests taken on are answered. Binds everything before it serves anything.
pub(super) async fn run(services: Vec<Service>, out: &Outlet, stop: Stop) -> Result<(), ReceiverError> {
    let mut bound = Vec::with_capacity(services.len());
    for service in services {
        let key = service.key;
        let listener = Listener::bind(&service.endpoint).await;
        let listener = listener.map_err(|error| ReceiverError(format!("{key}: {error}")))?;
        for address in listener.addresses() {
            tracing::info!(receiver = %out.receiver(), key, %address, "listening");
        }
        bound.push(serve(listener, service.router, stop.clone(), service.limits));
    }
    out.ready();
    futures_util::future::join_all(bound).await;
    Ok(())
}
