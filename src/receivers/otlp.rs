//! `otlp`: OTLP profiles over gRPC and HTTP.

use std::time::Duration;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::door::{Door, READ_TIMEOUT};
use super::listen::{self, Service, present};
use super::otlp_routes;
use crate::formats::otlp::WireVersion;
use crate::net::endpoint::Endpoint;
use crate::net::server::ServerLimits;
use crate::pipeline::spec::{About, BuildContext, BuildError, RawConfig, ReceiverSpec, Stability, parse};
use crate::pipeline::units::{ByteSize, Span};
use crate::pipeline::{Outlet, Receiver, ReceiverError, Stop};

const DOCS: &str = "\
Takes OTLP profiles as the Collector does: over gRPC (gzip, zstd) and over HTTP POST to `/v1development/profiles` as protobuf or
JSON (gzip, zstd, deflate, snappy, lz4). A protocol is on when its key is present, also without anything below it.

Every version from OTLP 1.7 to 1.11 is read; the version is told from the bytes, and where they fit 1.9 and 1.10 alike,
`assume_wire_version` (in quotes) decides. Older versions, and other signals, get an answer that says so. The limits on size hold for the request as sent and again for what it decompresses to.

| what is wrong | gRPC | HTTP |
|---|---|---|
| some profiles are defective | OK with `partial_success` | 200 with `partial_success` |
| undecodable | INVALID_ARGUMENT | 400 |
| larger than the limit | RESOURCE_EXHAUSTED | 413 |
| an encoding that is not spoken | UNIMPLEMENTED | 415 |
| no room, or stopping | UNAVAILABLE with RetryInfo | 503 with Retry-After |

The header `X-Scope-OrgID` names the tenant if the sender is on the same machine; other senders belong to `default`.
";

pub(super) const SPEC: ReceiverSpec = ReceiverSpec {
    about: About {
        name: "otlp",
        aliases: &[],
        summary: "takes OTLP profiles over gRPC and HTTP",
        docs: DOCS,
        stability: Stability::Beta,
        signals: &["profiles"],
        example: "otlp:\n  protocols:\n    grpc:\n      endpoint: localhost:4317\n    http:\n      endpoint: localhost:4318\n",
        schema: || schemars::schema_for!(Config),
    },
    build,
};

#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Config {
    /// What to listen for.
    protocols: Protocols,
    /// The version of OTLP that bytes are taken for which fit both and mean different things in each.
    assume_wire_version: AssumedVersion,
}

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, JsonSchema)]
enum AssumedVersion {
    #[serde(rename = "1.9")]
    V1_9,
    #[default]
    #[serde(rename = "1.10")]
    V1_10,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Protocols {
    /// gRPC, on if the key is present.
    #[serde(deserialize_with = "present")]
    grpc: Option<GrpcConfig>,
    /// HTTP, on if the key is present.
    #[serde(deserialize_with = "present")]
    http: Option<HttpConfig>,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct GrpcConfig {
    /// `host:port` to listen on; `localhost` means 127.0.0.1 and ::1.
    endpoint: String,
    /// Largest message in MiB, as sent and as decompressed.
    max_recv_msg_size_mib: u64,
    /// Requests at once on one connection.
    max_concurrent_streams: u32,
    /// Connections at once; further ones wait.
    max_connections: usize,
    /// Longest time for one message to arrive.
    read_timeout: Span,
    /// How long a connection may go without a request.
    idle_timeout: Span,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct HttpConfig {
    /// `host:port` to listen on; `localhost` means 127.0.0.1 and ::1.
    endpoint: String,
    /// Largest body, as sent and as decompressed.
    max_request_body_size: ByteSize,
    /// Connections at once; further ones wait.
    max_connections: usize,
    /// Longest time for one body to arrive.
    read_timeout: Span,
    /// How long a connection may go without a request, and the head of one may take.
    idle_timeout: Span,
}

impl Default for GrpcConfig {
    fn default() -> Self {
        let limits = ServerLimits::default();
        Self {
            endpoint: "localhost:4317".to_owned(),
            max_recv_msg_size_mib: 64,
            max_concurrent_streams: limits.max_concurrent_streams,
            max_connections: limits.max_connections,
            read_timeout: Span(READ_TIMEOUT),
            idle_timeout: Span(limits.idle_timeout),
        }
    }
}

impl Default for HttpConfig {
    fn default() -> Self {
        let limits = ServerLimits::default();
        Self {
            endpoint: "localhost:4318".to_owned(),
            max_request_body_size: ByteSize::mib(64),
            max_connections: limits.max_connections,
            read_timeout: Span(READ_TIMEOUT),
            idle_timeout: Span(limits.idle_timeout),
        }
    }
}

/// One endpoint, checked.
struct Protocol {
    endpoint: Endpoint,
    limits: ServerLimits,
    max_bytes: usize,
    read_timeout: Duration,
}

struct Otlp {
    grpc: Option<Protocol>,
    http: Option<Protocol>,
    assumed: WireVersion,
}

fn build(raw: RawConfig, _: &BuildContext) -> Result<Box<dyn Receiver>, BuildError> {
    let config: Config = parse(raw)?;
    let Protocols { grpc, http } = config.protocols;
    if grpc.is_none() && http.is_none() {
        return Err(BuildError::at(
            "protocols",
            "no protocol is on; write `grpc:`, `http:` or both",
        ));
    }
    Ok(Box::new(Otlp {
        grpc: grpc.map(GrpcConfig::check).transpose()?,
        http: http.map(HttpConfig::check).transpose()?,
        assumed: match config.assume_wire_version {
            AssumedVersion::V1_9 => WireVersion::V1_9,
            AssumedVersion::V1_10 => WireVersion::V1_10,
        },
    }))
}

impl GrpcConfig {
    fn check(self) -> Result<Protocol, BuildError> {
        if !(1..=1_024).contains(&self.max_recv_msg_size_mib) {
            let key = "protocols.grpc.max_recv_msg_size_mib";
            return Err(BuildError::at(key, "not a usable size; write 1 to 1024"));
        }
        Ok(Protocol {
            endpoint: listen::endpoint("protocols.grpc.endpoint", &self.endpoint)?,
            limits: ServerLimits {
                max_connections: self.max_connections,
                max_concurrent_streams: self.max_concurrent_streams,
                idle_timeout: self.idle_timeout.0,
            },
            max_bytes: ByteSize::mib(self.max_recv_msg_size_mib).as_usize(),
            read_timeout: self.read_timeout.0,
        })
    }
}

impl HttpConfig {
    fn check(self) -> Result<Protocol, BuildError> {
        Ok(Protocol {
            endpoint: listen::endpoint("protocols.http.endpoint", &self.endpoint)?,
            limits: ServerLimits {
                max_connections: self.max_connections,
                idle_timeout: self.idle_timeout.0,
                ..ServerLimits::default()
            },
            max_bytes: self.max_request_body_size.as_usize(),
            read_timeout: self.read_timeout.0,
        })
    }
}

#[async_trait]
impl Receiver for Otlp {
    async fn run(self: Box<Self>, out: Outlet, stop: Stop) -> Result<(), ReceiverError> {
        listen::run(self.services(&out), &out, stop).await
    }
}

impl Otlp {
    fn services(self, out: &Outlet) -> Vec<Service> {
        let service = |key, protocol: Protocol, routes: fn(Door, WireVersion) -> axum::Router| {
            let door = Door::new(out.clone(), protocol.max_bytes, protocol.read_timeout);
            Service {
                key,
                endpoint: protocol.endpoint,
                router: routes(door, self.assumed).fallback(otlp_routes::elsewhere),
                limits: protocol.limits,
            }
        };
        let grpc = self
            .grpc
            .map(|p| service("protocols.grpc.endpoint", p, otlp_routes::grpc));
        let http = self
            .http
            .map(|p| service("protocols.http.endpoint", p, otlp_routes::http));
        grpc.into_iter().chain(http).collect()
    }
}

#[cfg(test)]
mod tests;
