//! What every receiver does with a request before anything is decoded: read its body, take down where it came from.

use std::sync::Arc;
use std::time::SystemTime;

use axum::body::Body;
use http::HeaderMap;
use http::header::CONTENT_ENCODING;
use http::request::Parts;

use crate::formats::Limits;
use crate::formats::compress::ContentEncoding;
use crate::net::auth::Identity;
use crate::net::auth::tenant::{self, Network};
pub(super) use crate::net::body::media_type;
use crate::net::body::{self, BodyLimits, Unread, Whole};
use crate::net::server::Peer;
use crate::pipeline::{Origin, Outlet, Refusal};
use crate::receivers::jfr::JfrConfig;
use crate::telemetry::ServerMetrics;

/// The header that names a tenant, in Pyroscope, Mimir, Loki and Tempo alike.
const TENANT_HEADER: &str = "x-scope-orgid";

/// The way from a socket to the outlet.
#[derive(Clone)]
pub(super) struct Door {
    outlet: Outlet,
    metrics: ServerMetrics,
    body: BodyLimits,
    limits: Limits,
    jfr: JfrConfig,
    /// Who may say whose data it brings.
    trusted: Arc<[Network]>,
}

impl Door {
    /// A door for requests whose bodies and contents are so large at most.
    pub(super) fn new(outlet: Outlet, metrics: ServerMetrics, body: BodyLimits, limits: Limits) -> Self {
        Self {
            outlet,
            metrics,
            body,
            limits,
            jfr: JfrConfig::default(),
            trusted: Network::loopback().into(),
        }
    }

    /// The same with these peers, and no others, whose `X-Scope-OrgID` counts.
    pub(super) fn trusting(self, peers: Vec<Network>) -> Self {
        Self {
            trusted: peers.into(),
            ..self
        }
    }

    /// The same with recordings of the JVM read in this way.
    pub(super) fn reading(self, jfr: JfrConfig) -> Self {
        Self { jfr, ..self }
    }

    /// Where decoded requests go.
    pub(super) fn outlet(&self) -> &Outlet {
        &self.outlet
    }

    /// What decoders may take.
    pub(super) fn limits(&self) -> Limits {
        self.limits
    }

    /// How recordings of the JVM are read.
    pub(super) fn jfr(&self) -> JfrConfig {
        self.jfr
    }

    /// Counts a refusal made before there is anything to decode.
    pub(super) fn refused(&self, refusal: Refusal) -> Refusal {
        self.outlet.refused(&refusal);
        refusal
    }

    /// The same for what may be one.
    pub(super) fn checked<T>(&self, result: Result<T, Refusal>) -> Result<T, Refusal> {
        result.map_err(|refusal| self.refused(refusal))
    }

    /// Reads the body, unless the gate has enough to do. `around` are bytes of it that hold no payload.
    pub(super) async fn read(&self, headers: &HeaderMap, body: Body, around: usize) -> Result<Whole, Refusal> {
        self.outlet.admit()?;
        let limits = BodyLimits {
            max_bytes: self.body.max_bytes.saturating_add(around),
            ..self.body
        };
        let read = body::read(headers, body, self.outlet.budget(), &limits).await;
        if matches!(read, Err(Unread::TooSlow)) {
            self.metrics.cut("body_timeout");
        }
        self.checked(read.map_err(Refusal::from))
    }

    /// Where a request came from.
    pub(super) fn origin(&self, parts: &Parts) -> Result<Arc<Origin>, Refusal> {
        let peer = parts.extensions.get::<Peer>().map(|peer| peer.0);
        let credential = parts.extensions.get::<Identity>();
        let is_trusted = peer.is_some_and(|peer| self.trusted.iter().any(|network| network.contains(peer.ip())));
        let tenant = match credential.and_then(|identity| identity.tenant.clone()) {
            Some(tenant) => tenant,
            None if is_trusted => self.checked(said_tenant(&parts.headers))?.into(),
            None => tenant::DEFAULT.into(),
        };
        Ok(Arc::new(Origin {
            receiver: self.outlet.receiver().clone(),
            peer,
            tenant,
            arrived: SystemTime::now(),
        }))
    }
}

fn said_tenant(headers: &HeaderMap) -> Result<&str, Refusal> {
    let value = headers.get(TENANT_HEADER).map(|value| value.to_str());
    match value {
        None | Some(Ok("")) => Ok(tenant::DEFAULT),
        Some(Ok(name)) if tenant::is_tenant(name) => Ok(name),
        Some(_) => Err(Refusal::Invalid(format!(
            "x-scope-orgid: not a tenant; {}",
            tenant::RULE
        ))),
    }
}

/// The compressions around the body of a request, in the order in which they were applied.
pub(super) fn encodings(headers: &HeaderMap) -> Result<Vec<ContentEncoding>, Refusal> {
    let mut all = Vec::new();
    for value in headers.get_all(CONTENT_ENCODING) {
        // what is no text is no encoding either, and gets the same answer
        let text = value.to_str().unwrap_or("?");
        all.extend(ContentEncoding::parse_list(text)?);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().unwrap());
        headers
    }

    #[test]
    fn a_tenant_that_no_backend_takes_is_refused() {
        assert_eq!(said_tenant(&HeaderMap::new()), Ok("default"));
        assert_eq!(said_tenant(&headers(TENANT_HEADER, "")), Ok("default"));
        assert_eq!(said_tenant(&headers(TENANT_HEADER, "team-a.(1)")), Ok("team-a.(1)"));
        assert!(said_tenant(&headers(TENANT_HEADER, "a/b")).is_err());
    }

    #[test]
    fn media_types_have_parameters_and_encodings_come_in_lists() {
        let json = headers("content-type", "Application/JSON; charset=utf-8");
        assert_eq!(media_type(&json), "application/json");
        let two = headers("content-encoding", "gzip, zstd");
        assert_eq!(encodings(&two), Ok(vec![ContentEncoding::Gzip, ContentEncoding::Zstd]));
        let unknown = encodings(&headers("content-encoding", "br"));
        assert!(matches!(unknown, Err(Refusal::Unsupported(_))), "{unknown:?}");
    }
}
