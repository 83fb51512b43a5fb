//! `otlp`: OTLP profiles and traces over gRPC and HTTP.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::door::Door;
use super::health;
use super::listen::{self, Service};
use super::otlp_routes;
use super::settings::{GrpcServerConfig, HttpServerConfig, Server, present};
use crate::formats::otlp::WireVersion;
use crate::pipeline::spec::{About, BuildContext, BuildError, RawConfig, ReceiverSpec, Stability, parse};
use crate::pipeline::{Outlet, Receiver, ReceiverError, Stop};

const DOCS: &str = "\
Takes OTLP profiles as the Collector does: over gRPC (gzip, zstd) and over HTTP POST to `/v1development/profiles` as protobuf or
JSON (gzip, zstd, deflate, snappy, lz4). A protocol is on when its key is present, also without anything below it.

Traces are taken too, by gRPC and by POST to `/v1/traces`, once a pipeline `traces` names the receiver; until then these answer
UNIMPLEMENTED and 404. They pass as they came: of a request only the structure is checked, down to the fields of each span.
Protobuf leaves as the same bytes; JSON does so to an exporter of JSON, and is carried over to protobuf for the others, where names
that are not known here are left out.

Every version from OTLP 1.7 to 1.11 is read; the version is told from the bytes, and where they fit 1.9 and 1.10 alike,
`assume_wire_version` (in quotes) decides. Older versions of profiles, and other signals, get an answer that says so. The limits on size hold for the request as sent and again for what it decompresses to.

| what is wrong | gRPC | HTTP |
|---|---|---|
| some profiles are defective; some of it is not wanted | OK with `partial_success` | 200 with `partial_success` |
| undecodable | INVALID_ARGUMENT | 400 |
| larger than the limit | RESOURCE_EXHAUSTED | 413 |
| an encoding that is not spoken | UNIMPLEMENTED | 415 |
| no room, or stopping | UNAVAILABLE with RetryInfo | 503 with Retry-After |

With `auth` only those get in whom the authenticator knows, and their credential names the tenant. Else the header `X-Scope-OrgID` names
it if the sender is one of `trusted_peers`, which is this machine unless set; other senders belong to `default`. The gRPC port
answers `grpc.health.v1.Health/Check` too.
";

pub(super) const SPEC: ReceiverSpec = ReceiverSpec {
    about: About {
        name: "otlp",
        aliases: &[],
        summary: "takes OTLP profiles and traces over gRPC and HTTP",
        docs: DOCS,
        stability: Stability::Beta,
        signals: &["profiles", "traces"],
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
    grpc: Option<GrpcServerConfig>,
    /// HTTP, on if the key is present.
    #[serde(deserialize_with = "present")]
    http: Option<HttpServerConfig>,
}

struct Otlp {
    grpc: Option<Server>,
    http: Option<Server>,
    assumed: WireVersion,
}

fn build(raw: RawConfig, cx: &BuildContext) -> Result<Box<dyn Receiver>, BuildError> {
    let config: Config = parse(raw)?;
    let Protocols { grpc, http } = config.protocols;
    if grpc.is_none() && http.is_none() {
        return Err(BuildError::at(
            "protocols",
            "no protocol is on; write `grpc:`, `http:` or both",
        ));
    }
    if http.as_ref().is_some_and(|http| http.jfr.is_some()) {
        let message = "OTLP brings no recordings of the JVM; write it below the receiver `pyroscope` or `pprof`";
        return Err(BuildError::at("protocols.http.jfr", message));
    }
    Ok(Box::new(Otlp {
        grpc: grpc.map(|grpc| grpc.check("protocols.grpc", cx)).transpose()?,
        http: http
            .map(|http| http.check("protocols.http", "localhost:4318", cx))
            .transpose()?,
        assumed: match config.assume_wire_version {
            AssumedVersion::V1_9 => WireVersion::V1_9,
            AssumedVersion::V1_10 => WireVersion::V1_10,
        },
    }))
}

#[async_trait]
impl Receiver for Otlp {
    async fn run(self: Box<Self>, out: Outlet, stop: Stop) -> Result<(), ReceiverError> {
        listen::run(self.services(&out), &out, stop).await
    }
}

impl Otlp {
    fn services(self, out: &Outlet) -> Vec<Service> {
        let assumed = self.assumed;
        let service = |server: Server, routes: fn(Door, WireVersion) -> axum::Router| {
            server.service(out, |door| routes(door, assumed).fallback(otlp_routes::elsewhere))
        };
        let grpc = self.grpc.map(|server| {
            let routes =
                |door: Door, assumed| otlp_routes::grpc(door.clone(), assumed).merge(otlp_routes::traces_grpc(door));
            let service = service(server, routes);
            // merged last: whoever asks for health needs no credentials
            let router = service.router.merge(health::router(out.clone()));
            Service { router, ..service }
        });
        let http = self.http.map(|server| {
            let routes =
                |door: Door, assumed| otlp_routes::http(door.clone(), assumed).merge(otlp_routes::traces_http(door));
            service(server, routes)
        });
        grpc.into_iter().chain(http).collect()
    }
}

#[cfg(test)]
mod tests;
