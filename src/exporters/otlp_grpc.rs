//! `otlp_grpc`: OTLP profiles and traces over gRPC.

use std::sync::Arc;

use async_trait::async_trait;
use http::Uri;
use http::uri::PathAndQuery;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::otlp::Partial;
use super::settings::{self, CompressionParams, KeepAlive};
use crate::formats::{Form, Format};
use crate::net::auth::AuthConfig;
use crate::net::client::{Client, ClientSettings, Code, GrpcAnswer, Headers, Protocol, grpc_body};
use crate::net::tls::ClientTlsConfig;
use crate::pipeline::batch::Batch;
use crate::pipeline::component::{Encoded, ExportError, Exporter, Sent};
use crate::pipeline::sink::{QueueConfig, RetryConfig, SinkConfig};
use crate::pipeline::spec::{
    About, BuildContext, BuildError, BuiltExporter, ExporterSpec, RawConfig, Stability, Unit, parse,
};
use crate::pipeline::units::{ByteSize, Secret, Span};
use crate::pipeline::{Boundary, Signal};

const METHOD: &str = "/opentelemetry.proto.collector.profiles.v1development.ProfilesService/Export";
const TRACES_METHOD: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
/// gRPC's own snappy is a stream of frames, which few servers know; zstd does better on both counts.
const COMPRESSIONS: &[&str] = &["none", "gzip", "zstd"];

const DOCS: &str = "\
Sends OTLP profiles and traces by gRPC, each with a queue of its own where it stands in pipelines of both. `endpoint` is `host:port`, which means TLS unless `tls.insecure: true`, or an address with
`http://` or `https://`, whose scheme then decides.

| answer | what follows |
|---|---|
| OK | done; profiles or spans named in `partial_success` count as rejected, and are never sent again |
| CANCELLED, DEADLINE_EXCEEDED, ABORTED, OUT_OF_RANGE, UNAVAILABLE, DATA_LOSS, no answer | tried again, after `RetryInfo` if given |
| RESOURCE_EXHAUSTED with `RetryInfo` | tried again after it |
| RESOURCE_EXHAUSTED without | too large: the request is halved and both halves are sent |
| anything else | dropped and counted |

gRPC servers take 4 MiB unless told otherwise, so requests larger than `max_request_size` (4 MiB before compression) are cut
before they are sent, traces between resources or spans; raise it where the backend takes more. The text of a refusal is never logged, because servers quote
what they refuse.
";

pub(super) const SPEC: ExporterSpec = ExporterSpec {
    about: About {
        name: "otlp_grpc",
        aliases: &["otlp"],
        summary: "sends OTLP profiles and traces over gRPC",
        docs: DOCS,
        stability: Stability::Beta,
        signals: &["profiles", "traces"],
        example: "otlp_grpc:\n  endpoint: localhost:4317\n  tls:\n    insecure: true\n",
        schema: || schemars::schema_for!(Config),
    },
    unit: Unit::Batch,
    build,
};

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Config {
    /// `host:port`, or with `http://` or `https://` in front.
    endpoint: String,
    /// `gzip`, `zstd` or `none`.
    compression: String,
    /// How hard to compress.
    compression_params: CompressionParams,
    /// Request headers.
    headers: Headers,
    /// Credentials that an extension keeps.
    auth: Option<AuthConfig>,
    /// Whom to trust, and the certificate to show.
    tls: ClientTlsConfig,
    /// Proxy on the way, as `http://user:password@host:port`; without it that of `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`.
    proxy_url: Option<Secret>,
    /// Pings that find out whether the backend is still there; none unless set.
    keepalive: Option<KeepAlive>,
    /// Longest time for one attempt; 0 for no such bound.
    timeout: Span,
    /// What happens after a failed attempt.
    retry_on_failure: RetryConfig,
    /// What waits for the backend.
    sending_queue: QueueConfig,
    /// Whether senders hear 503 when the queue is full.
    required: bool,
    /// Whether the backend is in the house, `internal`, or `external`: what goes there must pass `redaction`. Unset, the host of
    /// the address tells: private and loopback addresses, and names that public DNS cannot hold, are internal.
    boundary: Option<Boundary>,
    /// Largest request before compression; larger ones are cut.
    max_request_size: ByteSize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            endpoint: String::new(),
            compression: "gzip".to_owned(),
            compression_params: CompressionParams::default(),
            headers: Headers::default(),
            auth: None,
            tls: ClientTlsConfig::default(),
            proxy_url: None,
            keepalive: None,
            timeout: Span::secs(5),
            retry_on_failure: RetryConfig::default(),
            sending_queue: QueueConfig::default(),
            required: false,
            boundary: None,
            max_request_size: ByteSize::mib(4),
        }
    }
}

fn build(raw: RawConfig, cx: &BuildContext) -> Result<BuiltExporter, BuildError> {
    let config: Config = parse(raw)?;
    let method = method(&config.endpoint, config.tls.insecure)?;
    let traces_method = calling(&method, TRACES_METHOD)?;
    let boundary = settings::boundary(config.boundary, &method);
    let settings = ClientSettings {
        tls: config.tls,
        headers: config.headers,
        credentials: settings::credentials(config.auth.as_ref())?,
        proxy_url: config.proxy_url,
        pings: config.keepalive.as_ref().and_then(KeepAlive::pings),
        ..ClientSettings::default()
    };
    let exporter = OtlpGrpc {
        id: cx.id.clone(),
        client: Client::new(Protocol::Http2, &settings)?,
        method,
        traces_method,
        form: Form {
            format: Format::Otlp,
            compression: settings::compression(&config.compression, &config.compression_params, COMPRESSIONS)?,
        },
    };
    Ok(BuiltExporter {
        boundary,
        exporter: Arc::new(exporter),
        sink: SinkConfig {
            timeout: config.timeout,
            retry: config.retry_on_failure,
            queue: config.sending_queue,
            required: config.required,
            max_request_bytes: config.max_request_size,
        },
    })
}

/// Where the method is called.
fn method(endpoint: &str, insecure: bool) -> Result<Uri, BuildError> {
    let wrong = |why: &str| BuildError::at("endpoint", why);
    let endpoint = ["dns:///", "passthrough:///"]
        .iter()
        .find_map(|scheme| endpoint.strip_prefix(scheme))
        .unwrap_or(endpoint);
    let address = match (endpoint.contains("://"), insecure) {
        _ if endpoint.is_empty() => return Err(wrong("missing; name the backend as host:port")),
        (true, _) => endpoint.to_owned(),
        (false, true) => format!("http://{endpoint}"),
        (false, false) => format!("https://{endpoint}"),
    };
    let base = settings::http_url("endpoint", &address)?;
    if !matches!(base.path(), "" | "/") || base.query().is_some() {
        return Err(wrong("gRPC has no path; write host:port"));
    }
    if base.port().is_none() {
        return Err(wrong("without a port; write host:port, such as localhost:4317"));
    }
    calling(&base, METHOD)
}

/// The same server with another method.
fn calling(base: &Uri, method: &'static str) -> Result<Uri, BuildError> {
    let mut parts = base.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::from_static(method));
    Uri::from_parts(parts).map_err(|_| BuildError::at("endpoint", "not an address; write host:port"))
}

struct OtlpGrpc {
    id: Arc<str>,
    client: Client,
    method: Uri,
    traces_method: Uri,
    form: Form,
}

#[async_trait]
impl Exporter for OtlpGrpc {
    fn destination(&self, _: Signal) -> String {
        settings::destination(&self.method)
    }

    fn encode(&self, part: &Batch) -> Result<Encoded, ExportError> {
        settings::encode(part, self.form)
    }

    async fn export(&self, part: &Batch, encoded: Encoded) -> Result<Sent, ExportError> {
        let encoding = self.form.compression.content_encoding();
        let frame = grpc_body(&encoded.body, encoding.is_some());
        let method = match part.signal() {
            Signal::Profiles => &self.method,
            Signal::Traces => &self.traces_method,
        };
        let answer = self.client.call(method, encoding, frame).await?;
        Ok(judge(&answer)?.sent(&self.id, part))
    }
}

fn judge(answer: &GrpcAnswer) -> Result<Partial, ExportError> {
    match answer.code {
        Code::OK => Ok(Partial::of_protobuf(&answer.message)),
        Code::RESOURCE_EXHAUSTED if answer.retry_after.is_none() => Err(ExportError::TooLarge),
        Code::CANCELLED
        | Code::DEADLINE_EXCEEDED
        | Code::RESOURCE_EXHAUSTED
        | Code::ABORTED
        | Code::OUT_OF_RANGE
        | Code::UNAVAILABLE
        | Code::DATA_LOSS => Err(settings::retry(answer.code.name(), answer.retry_after)),
        code => Err(settings::refused(code.name())),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::exporters::testing::{self, Reply};

    async fn export(reply: Reply, compression: &str) -> (Result<Sent, ExportError>, testing::Seen) {
        let server = testing::serve(reply).await;
        let config = serde_json::json!({
            "endpoint": server.url,
            "compression": compression,
            "headers": { "authorization": "Bearer planted-token" },
        });
        let built = build(config, &testing::context("otlp_grpc/test")).unwrap();
        let part = testing::batch(b"a request of OTLP profiles");
        let encoded = built.exporter.encode(&part).unwrap();
        let result = built.exporter.export(&part, encoded).await;
        (result, server.seen())
    }

    fn status(code: u16) -> Reply {
        Reply::status(200).header("grpc-status", &code.to_string())
    }

    #[tokio::test]
    async fn the_request_is_a_grpc_call() {
        let (result, seen) = export(status(0), "gzip").await;
        assert_eq!(result, Ok(Sent { rejected: 0 }));
        assert_eq!(seen.path, METHOD);
        assert_eq!(seen.headers["content-type"], "application/grpc");
        assert_eq!(seen.headers["grpc-encoding"], "gzip");
        assert_eq!(seen.headers["te"], "trailers");
        assert_eq!(seen.headers["authorization"], "Bearer planted-token");
        assert_eq!(seen.body[0], 1);
        assert_eq!(testing::gunzip(&seen.body[5..]), b"a request of OTLP profiles");
    }

    #[tokio::test]
    async fn spans_go_to_their_own_method_as_the_bytes_that_came() {
        let server = testing::serve(status(0).body("\0\0\0\0\x04\x0a\x02\x08\x02")).await;
        let config = serde_json::json!({ "endpoint": server.url, "compression": "none" });
        let built = build(config, &testing::context("otlp_grpc/test")).unwrap();
        let part = testing::traces_batch();
        let encoded = built.exporter.encode(&part).unwrap();
        assert_eq!(built.exporter.export(&part, encoded).await, Ok(Sent { rejected: 2 }));
        let seen = server.seen();
        assert_eq!(seen.path, TRACES_METHOD);
        assert_eq!(seen.body[5..], part.as_traces().unwrap().bytes()[..]);
    }

    #[tokio::test]
    async fn without_compression_the_frame_is_plain() {
        let (_, seen) = export(status(0), "none").await;
        assert!(!seen.headers.contains_key("grpc-encoding"));
        assert_eq!(&seen.body[..], b"\0\0\0\0\x1aa request of OTLP profiles");
    }

    #[tokio::test]
    async fn a_status_may_come_behind_the_message() {
        let reply = Reply::status(200)
            .body("\0\0\0\0\x04\x0a\x02\x08\x02")
            .trailer("grpc-status", "0");
        assert_eq!(export(reply, "gzip").await.0, Ok(Sent { rejected: 2 }));
    }

    #[tokio::test]
    async fn every_status_has_its_consequence() {
        for code in 1..=16 {
            let (result, _) = export(status(code).header("grpc-message", "Bearer planted-token"), "gzip").await;
            match (code, result.unwrap_err()) {
                (8, error) => assert_eq!(error, ExportError::TooLarge),
                (1 | 4 | 10 | 11 | 14 | 15, ExportError::Retry { why, .. })
                | (2 | 3 | 5 | 6 | 7 | 9 | 12 | 13 | 16, ExportError::Permanent { why }) => {
                    assert!(
                        why.contains(Code(code).name()) && !why.contains("planted-token"),
                        "{why}"
                    );
                }
                (code, error) => panic!("{code}: {error}"),
            }
        }
    }

    #[tokio::test]
    async fn retry_info_makes_exhaustion_a_matter_of_time() {
        // Status{details: [Any{".../google.rpc.RetryInfo", RetryInfo{Duration{7 s}}}]}
        let details = "GjAKKHR5cGUuZ29vZ2xlYXBpcy5jb20vZ29vZ2xlLnJwYy5SZXRyeUluZm8SBAoCCAc";
        let (result, _) = export(status(8).header("grpc-status-details-bin", details), "gzip").await;
        let Err(ExportError::Retry { after, .. }) = result else {
            panic!("{result:?}");
        };
        assert_eq!(after, Some(Duration::from_secs(7)));
    }

    #[tokio::test]
    async fn a_proxy_in_between_speaks_http() {
        assert!(matches!(
            export(Reply::status(503), "gzip").await.0,
            Err(ExportError::Retry { .. })
        ));
        assert!(matches!(
            export(Reply::status(404), "gzip").await.0,
            Err(ExportError::Permanent { .. })
        ));
    }

    #[test]
    fn endpoints_are_those_of_the_collector() {
        let url = |endpoint, insecure| method(endpoint, insecure).map(|uri| uri.to_string().replace(METHOD, ""));
        assert_eq!(url("host:4317", false).unwrap(), "https://host:4317");
        assert_eq!(url("host:4317", true).unwrap(), "http://host:4317");
        assert_eq!(url("http://host:4317", false).unwrap(), "http://host:4317");
        assert_eq!(url("https://host:4317", true).unwrap(), "https://host:4317");
        assert_eq!(url("dns:///host:4317", true).unwrap(), "http://host:4317");
        assert_eq!(url("[::1]:4317", true).unwrap(), "http://[::1]:4317");
        for wrong in [
            "",
            "host",
            "unix:///run/x",
            "http://host:1/path",
            "u:planted-token@host:1",
        ] {
            let error = url(wrong, false).unwrap_err();
            assert_eq!(error.path, "endpoint");
            assert!(!error.message.contains("planted-token"));
        }
    }
}
