//! What the servers of all receivers are configured with: the Collector's keys, and limits that it has not.

use std::time::Duration;

use axum::Router;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use super::door::Door;
use super::listen::Service;
use crate::net::endpoint::Endpoint;
use crate::net::server::{ServerLimits, ServerSettings};
use crate::net::tls::{ServerTls, ServerTlsConfig};
use crate::pipeline::Outlet;
use crate::pipeline::spec::BuildError;
use crate::pipeline::units::{ByteSize, Span};

/// Time that a body may take; the head has its own.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// A server of HTTP.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct HttpServerConfig {
    /// `host:port` to listen on; `localhost`, which means 127.0.0.1 and ::1, with the usual port unless set: 4318 for otlp, 4040
    /// for pyroscope, 8080 for pprof.
    pub endpoint: Option<String>,
    /// Certificates; plaintext without.
    pub tls: Option<ServerTlsConfig>,
    /// Largest body, as sent and as decompressed.
    pub max_request_body_size: ByteSize,
    /// Requests at once on one HTTP/2 connection.
    pub max_concurrent_streams: u32,
    /// Connections at once; further ones wait.
    pub max_connections: usize,
    /// Longest time for one body to arrive.
    pub read_timeout: Span,
    /// How long a connection may go without a request, and the head of one may take.
    pub idle_timeout: Span,
}

/// A server of gRPC.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct GrpcServerConfig {
    /// `host:port` to listen on; `localhost` means 127.0.0.1 and ::1.
    pub endpoint: String,
    /// Certificates; plaintext without.
    pub tls: Option<ServerTlsConfig>,
    /// Largest message in MiB, as sent and as decompressed.
    pub max_recv_msg_size_mib: u64,
    /// Requests at once on one connection.
    pub max_concurrent_streams: u32,
    /// Connections at once; further ones wait.
    pub max_connections: usize,
    /// Longest time for one message to arrive.
    pub read_timeout: Span,
    /// How long a connection may go without a request.
    pub idle_timeout: Span,
}

impl Default for HttpServerConfig {
    fn default() -> Self {
        let limits = ServerLimits::default();
        Self {
            endpoint: None,
            tls: None,
            max_request_body_size: ByteSize::mib(64),
            max_concurrent_streams: limits.max_concurrent_streams,
            max_connections: limits.max_connections,
            read_timeout: Span(READ_TIMEOUT),
            idle_timeout: Span(limits.idle_timeout),
        }
    }
}

impl Default for GrpcServerConfig {
    fn default() -> Self {
        let limits = ServerLimits::default();
        Self {
            endpoint: "localhost:4317".to_owned(),
            tls: None,
            max_recv_msg_size_mib: 64,
            max_concurrent_streams: limits.max_concurrent_streams,
            max_connections: limits.max_connections,
            read_timeout: Span(READ_TIMEOUT),
            idle_timeout: Span(limits.idle_timeout),
        }
    }
}

/// A server, checked.
pub(super) struct Server {
    /// Key of its endpoint.
    key: String,
    endpoint: Endpoint,
    settings: ServerSettings,
    max_bytes: usize,
    read_timeout: Duration,
}

impl HttpServerConfig {
    /// Checks what stands at `path`, dotted; empty for the whole receiver.
    pub fn check(self, path: &str, usual: &str) -> Result<Server, BuildError> {
        let key = below(path, "endpoint");
        Ok(Server {
            endpoint: endpoint(&key, self.endpoint.as_deref().unwrap_or(usual))?,
            key,
            settings: ServerSettings {
                limits: ServerLimits {
                    max_connections: self.max_connections,
                    max_concurrent_streams: self.max_concurrent_streams,
                    idle_timeout: self.idle_timeout.0,
                },
                tls: tls(path, self.tls.as_ref())?,
            },
            max_bytes: self.max_request_body_size.as_usize(),
            read_timeout: self.read_timeout.0,
        })
    }
}

impl GrpcServerConfig {
    /// Checks what stands at `path`, dotted.
    pub fn check(self, path: &str) -> Result<Server, BuildError> {
        if !(1..=1_024).contains(&self.max_recv_msg_size_mib) {
            let key = below(path, "max_recv_msg_size_mib");
            return Err(BuildError::at(key, "not a usable size; write 1 to 1024"));
        }
        let key = below(path, "endpoint");
        Ok(Server {
            endpoint: endpoint(&key, &self.endpoint)?,
            key,
            settings: ServerSettings {
                limits: ServerLimits {
                    max_connections: self.max_connections,
                    max_concurrent_streams: self.max_concurrent_streams,
                    idle_timeout: self.idle_timeout.0,
                },
                tls: tls(path, self.tls.as_ref())?,
            },
            max_bytes: ByteSize::mib(self.max_recv_msg_size_mib).as_usize(),
            read_timeout: self.read_timeout.0,
        })
    }
}

impl Server {
    /// The service that serves `routes` behind a door to `out`.
    pub fn service(self, out: &Outlet, routes: impl FnOnce(Door) -> Router) -> Service {
        let door = Door::new(out.clone(), self.max_bytes, self.read_timeout);
        Service {
            key: self.key,
            endpoint: self.endpoint,
            router: routes(door),
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

fn endpoint(key: &str, text: &str) -> Result<Endpoint, BuildError> {
    text.parse().map_err(|error| BuildError::at(key, format!("{error}")))
}

fn tls(path: &str, config: Option<&ServerTlsConfig>) -> Result<Option<ServerTls>, BuildError> {
    let checked = config.map(ServerTlsConfig::check).transpose();
    checked.map_err(|error| BuildError::at(error.path(&below(path, "tls")), error.message))
}

/// A key without anything below it is a key that is present.
pub(super) fn present<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    from: D,
) -> Result<Option<T>, D::Error> {
    Option::<T>::deserialize(from).map(|value| Some(value.unwrap_or_default()))
}
