//! What the servers of all receivers are configured with: the Collector's keys, and limits that it has not.

use std::ops::RangeInclusive;
use std::time::Duration;

use axum::Router;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use super::door::Door;
use super::jfr::JfrConfig;
use super::limits::LimitsConfig;
use super::listen::Service;
use crate::formats::Limits;
use crate::net::auth::tenant::Network;
use crate::net::auth::{AuthConfig, ServerAuth, guard};
use crate::net::body::BodyLimits;
use crate::net::endpoint::Endpoint;
use crate::net::server::{ServerLimits, ServerSettings};
use crate::net::tls::{ServerTls, ServerTlsConfig};
use crate::pipeline::Outlet;
use crate::pipeline::spec::{BuildContext, BuildError};
use crate::pipeline::units::{ByteSize, Span};

/// Time that a body may take; the head has its own.
const READ_TIMEOUT: Duration = Duration::from_secs(60);
/// What the heads of requests may be limited to.
const HEADER_BYTES: RangeInclusive<usize> = 8 << 10..=1 << 20;

/// A server of HTTP.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct HttpServerConfig {
    /// `host:port` to listen on; `localhost`, which means 127.0.0.1 and ::1, with the usual port unless set: 4318 for otlp, 4040
    /// for pyroscope, 8080 for pprof.
    pub endpoint: Option<String>,
    /// Certificates; plaintext without.
    pub tls: Option<ServerTlsConfig>,
    /// Who may send; everybody without.
    pub auth: Option<AuthConfig>,
    /// Whose `X-Scope-OrgID` names the tenant where the credential does not: addresses such as `10.0.0.0/8`.
    pub trusted_peers: Vec<Network>,
    /// Largest body, as sent and as decompressed.
    pub max_request_body_size: ByteSize,
    /// How much one request may hold.
    pub limits: LimitsConfig,
    /// How recordings of the JVM are read; not for otlp, which brings none.
    pub jfr: Option<JfrConfig>,
    /// Longest time for the handshake, and for the head of a request to arrive.
    pub read_header_timeout: Span,
    /// Longest time for one body to arrive.
    pub read_timeout: Span,
    /// How long a connection may go without a request.
    pub idle_timeout: Span,
    /// Connections at once. For a further one the one idle for longest is closed; where all are busy it waits.
    pub max_connections: usize,
    /// Connections at once from one address (of IPv6, one /64). Where all are busy a further one is closed.
    pub max_connections_per_peer: usize,
    /// Requests at once on one HTTP/2 connection.
    pub max_concurrent_streams: u32,
    /// Requests of one HTTP/2 connection that were taken back before they were looked at; with more it is closed.
    pub max_pending_reset_streams: usize,
    /// Headers of one HTTP/1.1 request.
    pub max_headers: usize,
    /// Bytes of all headers of one request, 8 KiB to 1 MiB.
    pub max_header_size: ByteSize,
}

/// A server of gRPC.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct GrpcServerConfig {
    /// `host:port` to listen on; `localhost` means 127.0.0.1 and ::1.
    pub endpoint: String,
    /// Certificates; plaintext without.
    pub tls: Option<ServerTlsConfig>,
    /// Who may send; everybody without.
    pub auth: Option<AuthConfig>,
    /// Whose `X-Scope-OrgID` names the tenant where the credential does not: addresses such as `10.0.0.0/8`.
    pub trusted_peers: Vec<Network>,
    /// Largest message in MiB, as sent and as decompressed.
    pub max_recv_msg_size_mib: u64,
    /// How much one message may hold.
    pub limits: LimitsConfig,
    /// How long connections are kept.
    pub keepalive: KeepAlive,
    /// Longest time for the handshake.
    pub read_header_timeout: Span,
    /// Longest time for one message to arrive.
    pub read_timeout: Span,
    /// Connections at once. For a further one the one idle for longest is closed; where all are busy it waits.
    pub max_connections: usize,
    /// Connections at once from one address (of IPv6, one /64). Where all are busy a further one is closed.
    pub max_connections_per_peer: usize,
    /// Requests at once on one connection.
    pub max_concurrent_streams: u32,
    /// Requests of one connection that were taken back before they were looked at; with more it is closed.
    pub max_pending_reset_streams: usize,
    /// Bytes of all headers of one request, 8 KiB to 1 MiB.
    pub max_header_size: ByteSize,
}

/// `keepalive` of a gRPC server.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct KeepAlive {
    /// When connections end.
    pub server_parameters: ServerParameters,
    /// Accepted for the Collector's sake: pings of clients are always answered, and never held against them.
    pub enforcement_policy: EnforcementPolicy,
}

/// `keepalive.server_parameters`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ServerParameters {
    /// How long a connection may go without a request.
    pub max_connection_idle: Span,
    /// How long a connection may be used, so that clients spread anew; 0 for ever.
    pub max_connection_age: Span,
    /// How long the requests of one that is too old may go on; 0 for as long as they need.
    pub max_connection_age_grace: Span,
    /// Silence after which a client is asked for life; 0 never.
    pub time: Span,
    /// How long it may take to answer that.
    pub timeout: Span,
}

/// `keepalive.enforcement_policy`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct EnforcementPolicy {
    /// Has no effect.
    pub min_time: Span,
    /// Has no effect.
    pub permit_without_stream: bool,
}

impl Default for ServerParameters {
    fn default() -> Self {
        Self {
            max_connection_idle: Span(ServerLimits::default().idle_timeout),
            max_connection_age: Span::secs(0),
            max_connection_age_grace: Span::secs(0),
            time: Span::secs(7_200),
            timeout: Span::secs(20),
        }
    }
}

impl Default for EnforcementPolicy {
    fn default() -> Self {
        Self {
            min_time: Span::secs(300),
            permit_without_stream: true,
        }
    }
}

impl Default for HttpServerConfig {
    fn default() -> Self {
        let limits = ServerLimits::default();
        Self {
            endpoint: None,
            tls: None,
            auth: None,
            trusted_peers: Network::loopback(),
            max_request_body_size: ByteSize::mib(64),
            limits: LimitsConfig::default(),
            jfr: None,
            read_header_timeout: Span(limits.read_header_timeout),
            read_timeout: Span(READ_TIMEOUT),
            idle_timeout: Span(limits.idle_timeout),
            max_connections: limits.max_connections,
            max_connections_per_peer: limits.max_connections_per_peer,
            max_concurrent_streams: limits.max_concurrent_streams,
            max_pending_reset_streams: limits.max_pending_reset_streams,
            max_headers: limits.max_headers,
            max_header_size: ByteSize(limits.max_header_bytes as u64),
        }
    }
}

impl Default for GrpcServerConfig {
    fn default() -> Self {
        let limits = ServerLimits::default();
        Self {
            endpoint: "localhost:4317".to_owned(),
            tls: None,
            auth: None,
            trusted_peers: Network::loopback(),
            max_recv_msg_size_mib: 64,
            limits: LimitsConfig::default(),
            keepalive: KeepAlive::default(),
            read_header_timeout: Span(limits.read_header_timeout),
            read_timeout: Span(READ_TIMEOUT),
            max_connections: limits.max_connections,
            max_connections_per_peer: limits.max_connections_per_peer,
            max_concurrent_streams: limits.max_concurrent_streams,
            max_pending_reset_streams: limits.max_pending_reset_streams,
            max_header_size: ByteSize(limits.max_header_bytes as u64),
        }
    }
}

/// A server, checked.
pub(super) struct Server {
    /// Key of its endpoint.
    key: String,
    endpoint: Endpoint,
    settings: ServerSettings,
    auth: Option<ServerAuth>,
    trusted: Vec<Network>,
    body: BodyLimits,
    limits: Limits,
    jfr: JfrConfig,
}

impl HttpServerConfig {
    /// Checks what stands at `path`, dotted; empty for the whole receiver.
    pub fn check(self, path: &str, usual: &str, cx: &BuildContext) -> Result<Server, BuildError> {
        let limited = [
            ("max_request_body_size", self.max_request_body_size.0 > 0),
            ("idle_timeout", is_positive(self.idle_timeout)),
            ("max_headers", self.max_headers > 0),
        ];
        all_limited(path, &limited)?;
        let common = Common {
            endpoint: self.endpoint.unwrap_or_else(|| usual.to_owned()),
            tls: self.tls,
            auth: self.auth,
            trusted: self.trusted_peers,
            limits: self.limits,
            jfr: self.jfr.unwrap_or_default(),
            body: BodyLimits {
                max_bytes: self.max_request_body_size.as_usize(),
                read_timeout: self.read_timeout.0,
            },
            server: ServerLimits {
                max_connections: self.max_connections,
                max_connections_per_peer: self.max_connections_per_peer,
                max_concurrent_streams: self.max_concurrent_streams,
                max_pending_reset_streams: self.max_pending_reset_streams,
                max_header_bytes: self.max_header_size.as_usize(),
                max_headers: self.max_headers,
                read_header_timeout: self.read_header_timeout.0,
                idle_timeout: self.idle_timeout.0,
                ..ServerLimits::default()
            },
        };
        common.check(path, cx)
    }
}

impl GrpcServerConfig {
    /// Checks what stands at `path`, dotted.
    pub fn check(self, path: &str, cx: &BuildContext) -> Result<Server, BuildError> {
        let keepalive = self.keepalive.server_parameters;
        let limited = [
            (
                "keepalive.server_parameters.max_connection_idle",
                is_positive(keepalive.max_connection_idle),
            ),
            ("keepalive.server_parameters.timeout", is_positive(keepalive.timeout)),
        ];
        all_limited(path, &limited)?;
        if !(1..=1_024).contains(&self.max_recv_msg_size_mib) {
            let key = below(path, "max_recv_msg_size_mib");
            return Err(BuildError::at(key, "not a usable size; write 1 to 1024"));
        }
        let common = Common {
            endpoint: self.endpoint,
            tls: self.tls,
            auth: self.auth,
            trusted: self.trusted_peers,
            limits: self.limits,
            jfr: JfrConfig::default(),
            body: BodyLimits {
                max_bytes: ByteSize::mib(self.max_recv_msg_size_mib).as_usize(),
                read_timeout: self.read_timeout.0,
            },
            server: ServerLimits {
                max_connections: self.max_connections,
                max_connections_per_peer: self.max_connections_per_peer,
                max_concurrent_streams: self.max_concurrent_streams,
                max_pending_reset_streams: self.max_pending_reset_streams,
                max_header_bytes: self.max_header_size.as_usize(),
                read_header_timeout: self.read_header_timeout.0,
                idle_timeout: keepalive.max_connection_idle.0,
                max_age: unless_zero(keepalive.max_connection_age),
                max_age_grace: unless_zero(keepalive.max_connection_age_grace),
                pings: unless_zero(keepalive.time).map(|silence| (silence, keepalive.timeout.0)),
                ..ServerLimits::default()
            },
        };
        common.check(path, cx)
    }
}

/// What a server of either protocol is configured with, under the same keys.
struct Common {
    endpoint: String,
    tls: Option<ServerTlsConfig>,
    auth: Option<AuthConfig>,
    trusted: Vec<Network>,
    limits: LimitsConfig,
    jfr: JfrConfig,
    body: BodyLimits,
    server: ServerLimits,
}

impl Common {
    fn check(self, path: &str, cx: &BuildContext) -> Result<Server, BuildError> {
        let (server, body) = (self.server, self.body);
        let limited = [
            ("read_header_timeout", !server.read_header_timeout.is_zero()),
            ("read_timeout", !body.read_timeout.is_zero()),
            ("max_connections", server.max_connections > 0),
            ("max_connections_per_peer", server.max_connections_per_peer > 0),
            ("max_concurrent_streams", server.max_concurrent_streams > 0),
        ];
        all_limited(path, &limited)?;
        if !HEADER_BYTES.contains(&server.max_header_bytes) {
            let key = below(path, "max_header_size");
            return Err(BuildError::at(key, "not a usable size; write 8KiB to 1MiB"));
        }
        let key = below(path, "endpoint");
        Ok(Server {
            endpoint: endpoint(&key, &self.endpoint)?,
            key,
            settings: ServerSettings {
                limits: server,
                tls: tls(path, self.tls.as_ref())?,
                metrics: cx.metrics.server(&cx.id),
            },
            auth: auth(path, self.auth.as_ref())?,
            trusted: self.trusted,
            body,
            limits: self.limits.check(&below(path, "limits"), body.max_bytes)?,
            jfr: self.jfr,
        })
    }
}

impl Server {
    /// The service that serves `routes` behind a door to `out`.
    pub fn service(self, out: &Outlet, routes: impl FnOnce(Door) -> Router) -> Service {
        let door = Door::new(out.clone(), self.settings.metrics.clone(), self.body, self.limits);
        let door = door.trusting(self.trusted).reading(self.jfr);
        let router = match self.auth {
            Some(auth) => {
                let out = out.clone();
                guard(routes(door), auth, move |refusal| out.refused(refusal))
            }
            None => routes(door),
        };
        Service {
            key: self.key,
            endpoint: self.endpoint,
            router,
            server: self.settings,
        }
    }
}

fn below(path: &str, key: &str) -> String {
    match path {
        "" => key.to_owned(),
        path => format!("{path}.{key}"),
    }
}

/// Zero, which is no limit in the Collector, would let nothing in.
fn all_limited(path: &str, limited: &[(&str, bool)]) -> Result<(), BuildError> {
    match limited.iter().find(|(_, is_limited)| !is_limited) {
        None => Ok(()),
        Some((key, _)) => {
            let message = "0 is no limit in the Collector; here everything has one: write it, or leave the key out";
            Err(BuildError::at(below(path, key), message))
        }
    }
}

const fn is_positive(span: Span) -> bool {
    !span.0.is_zero()
}

fn unless_zero(span: Span) -> Option<Duration> {
    (!span.0.is_zero()).then_some(span.0)
}

fn endpoint(key: &str, text: &str) -> Result<Endpoint, BuildError> {
    text.parse().map_err(|error| BuildError::at(key, format!("{error}")))
}

fn tls(path: &str, config: Option<&ServerTlsConfig>) -> Result<Option<ServerTls>, BuildError> {
    let checked = config.map(ServerTlsConfig::check).transpose();
    checked.map_err(|error| BuildError::at(error.path(&below(path, "tls")), error.message))
}

fn auth(path: &str, config: Option<&AuthConfig>) -> Result<Option<ServerAuth>, BuildError> {
    config.map(|auth| auth.server(&below(path, "auth"))).transpose()
}

/// A key without anything below it is a key that is present.
pub(super) fn present<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    from: D,
) -> Result<Option<T>, D::Error> {
    Option::<T>::deserialize(from).map(|value| Some(value.unwrap_or_default()))
}
