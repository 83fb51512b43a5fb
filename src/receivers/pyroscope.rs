//! `pyroscope`: what Pyroscope's SDKs, its agents and `curl` send to a Pyroscope server.

mod ingest;
mod parts;
mod push;
mod routes;
#[cfg(test)]
mod sdks;
#[cfg(test)]
mod tests;
mod text;

use async_trait::async_trait;

use super::listen::{self, Service};
use super::settings::{HttpServerConfig, Server};
use crate::pipeline::spec::{About, BuildContext, BuildError, RawConfig, ReceiverSpec, Stability, parse};
use crate::pipeline::{Outlet, Receiver, ReceiverError, Stop};

const DOCS: &str = "\
Stands where a Pyroscope server stood: point an SDK's server address at it.

| route | takes |
|---|---|
| `/ingest`, `/pyroscope/ingest` | one profile: pprof, multipart pprof, text (`groups`, `folded`, `collapsed`, `lines`), `trie`, `tree`, speedscope; `perf script`, pprof's old forms; JFR, bare or as the part `jfr` with its labels in the part `labels` |
| `/push.v1.PusherService/Push` | series of pprof: Connect (protobuf, JSON) and gRPC |
| `/v1development/profiles`, OTLP's gRPC method | OTLP, as the receiver `otlp` takes it |

`content-encoding` gzip, zstd, deflate, snappy and lz4 are understood, and so is gzip around the profile inside.

The application's name, or the label `service_name`, becomes the resource attribute `service.name`; other labels become
resource attributes under their own keys. `spyName`, `__name__` and `__session_id__` become the profile attributes
`pyroscope.spy`, `pyroscope.name` and `pyroscope.session_id`; every other label that begins with `__` is dropped. The last part of
an application's name says what text counts (`my.app.cpu`), and lines of `cpu` and `wall` become nanoseconds by `sampleRate`.
`from` and `until` date profiles that say no time themselves; what is no time there means now, as it does to Pyroscope. Of recordings of the JVM `jfr: {off_cpu: true}` takes waits too.

Errors are `{\"code\":...,\"message\":...}`: 400 for what cannot be decoded, 413 for what is too large, 415 for a compression that is
not spoken, 503 with `Retry-After` when there is no room. A defective profile among good ones in a push
costs itself alone and is counted; the answer is 200, because a client that resends would double the rest.

With `auth` only those get in whom the authenticator knows, and their credential names the tenant. Else `X-Scope-OrgID` names it if the
sender is one of `trusted_peers`, which is this machine unless set; other senders belong to `default`.
";

pub(super) const SPEC: ReceiverSpec = ReceiverSpec {
    about: About {
        name: "pyroscope",
        aliases: &[],
        summary: "takes what Pyroscope SDKs send: /ingest, Push, OTLP",
        docs: DOCS,
        stability: Stability::Beta,
        signals: &["profiles"],
        example: "pyroscope:\n  endpoint: localhost:4040\n",
        schema: || schemars::schema_for!(Config),
    },
    build,
};

type Config = HttpServerConfig;

struct Pyroscope {
    server: Server,
}

fn build(raw: RawConfig, cx: &BuildContext) -> Result<Box<dyn Receiver>, BuildError> {
    let config: Config = parse(raw)?;
    Ok(Box::new(Pyroscope {
        server: config.check("", "localhost:4040", cx)?,
    }))
}

#[async_trait]
impl Receiver for Pyroscope {
    async fn run(self: Box<Self>, out: Outlet, stop: Stop) -> Result<(), ReceiverError> {
        listen::run(vec![self.service(&out)], &out, stop).await
    }
}

impl Pyroscope {
    fn service(self, out: &Outlet) -> Service {
        self.server.service(out, routes::router)
    }
}
