//! `otlp_http`: OTLP profiles and traces over HTTP.

use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{StatusCode, Uri};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::otlp::Partial;
use super::settings::{self, CompressionParams};
use crate::formats::{Form, Format};
use crate::net::auth::AuthConfig;
use crate::net::client::{Answer, Client, ClientSettings, Headers, Protocol, retry_after};
use crate::net::tls::ClientTlsConfig;
use crate::pipeline::batch::Batch;
use crate::pipeline::component::{Encoded, ExportError, Exporter, Sent};
use crate::pipeline::sink::{QueueConfig, RetryConfig, SinkConfig};
use crate::pipeline::spec::{
    About, BuildContext, BuildError, BuiltExporter, ExporterSpec, RawConfig, Stability, Unit, parse,
};
use crate::pipeline::units::{ByteSize, Secret, Span};
use crate::pipeline::{Boundary, Signal};

const PATH: &str = "/v1development/profiles";
const TRACES_PATH: &str = "/v1/traces";
const COMPRESSIONS: &[&str] = &["none", "gzip", "zstd", "zlib", "deflate", "snappy", "lz4"];

const DOCS: &str = "\
Sends OTLP profiles and traces by HTTP POST, as protobuf or JSON, to `endpoint` + `/v1development/profiles` and `endpoint` +
`/v1/traces`, or to `profiles_endpoint` and `traces_endpoint` as they stand, for backends that use other paths. Where it stands in
pipelines of both, each has a queue of its own.

| answer | what follows |
|---|---|
| 2xx | done; profiles or spans named in `partial_success` count as rejected, and are never sent again |
| 413 | the request is halved and both halves are sent |
| 429, 502, 503, 504, no answer | tried again, after `Retry-After` if given |
| anything else, redirects too | dropped and counted |

Requests larger than `max_request_size` (64 MiB before compression) are cut before they are sent, traces between
resources or spans. The text of a refusal is
never logged, because servers quote what they refuse.
";

pub(super) const SPEC: ExporterSpec = ExporterSpec {
    about: About {
        name: "otlp_http",
        aliases: &["otlphttp"],
        summary: "sends OTLP profiles and traces over HTTP",
        docs: DOCS,
        stability: Stability::Beta,
        signals: &["profiles", "traces"],
        example: "otlp_http:\n  endpoint: https://otlp.example.com\n  headers:\n    authorization: Bearer example-token\n",
        schema: || schemars::schema_for!(Config),
    },
    unit: Unit::Batch,
    build,
};

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Config {
    /// Base address; `/v1development/profiles` or `/v1/traces` is put behind it.
    endpoint: String,
    /// Whole address for profiles, used as it stands instead of `endpoint`.
    profiles_endpoint: String,
    /// Whole address for traces, used as it stands instead of `endpoint`.
    traces_endpoint: String,
    /// Encoding of the body.
    encoding: Encoding,
    /// `gzip`, `zstd`, `zlib`, `deflate`, `snappy`, `lz4` or `none`.
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
    /// How long a connection without requests is kept; 0 for as long as the backend keeps it.
    idle_conn_timeout: Span,
    /// Silence on HTTP/2 after which the backend is asked for life; 0 never.
    http2_read_idle_timeout: Span,
    /// How long it may take to answer that.
    http2_ping_timeout: Span,
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

#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Encoding {
    Proto,
    Json,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            endpoint: String::new(),
            profiles_endpoint: String::new(),
            traces_endpoint: String::new(),
            encoding: Encoding::Proto,
            compression: "gzip".to_owned(),
            compression_params: CompressionParams::default(),
            headers: Headers::default(),
            auth: None,
            tls: ClientTlsConfig::default(),
            proxy_url: None,
            idle_conn_timeout: Span::secs(90),
            http2_read_idle_timeout: Span::secs(0),
            http2_ping_timeout: Span::secs(15),
            timeout: Span::secs(30),
            retry_on_failure: RetryConfig::default(),
            sending_queue: QueueConfig::default(),
            required: false,
            boundary: None,
            max_request_size: ByteSize::mib(64),
        }
    }
}

fn build(raw: RawConfig, cx: &BuildContext) -> Result<BuiltExporter, BuildError> {
    let config: Config = parse(raw)?;
    let profiles_url = url(&config.endpoint, PATH, "profiles_endpoint", &config.profiles_endpoint)?;
    let traces_url = url(
        &config.endpoint,
        TRACES_PATH,
        "traces_endpoint",
        &config.traces_endpoint,
    )?;
    // that of profiles first: it is they that are redacted
    let boundary = match profiles_url.as_ref().or(traces_url.as_ref()) {
        Some(url) => settings::boundary(config.boundary, url),
        None => settings::boundary(config.boundary, &settings::http_url("endpoint", &config.endpoint)?),
    };
    let settings = ClientSettings {
        tls: config.tls,
        headers: config.headers,
        credentials: settings::credentials(config.auth.as_ref())?,
        proxy_url: config.proxy_url,
        idle_timeout: config.idle_conn_timeout.0,
        pings: settings::pings(config.http2_read_idle_timeout, config.http2_ping_timeout),
    };
    let exporter = OtlpHttp {
        id: cx.id.clone(),
        client: Client::new(Protocol::Http, &settings)?,
        profiles_url,
        traces_url,
        form: Form {
            format: match config.encoding {
                Encoding::Proto => Format::Otlp,
                Encoding::Json => Format::OtlpJson,
            },
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

/// Where one kind of data goes: below the base address, or where its own key says; none if neither is written.
fn url(endpoint: &str, path: &str, key: &str, whole: &str) -> Result<Option<Uri>, BuildError> {
    match (endpoint, whole) {
        ("", "") => Ok(None),
        (_, "") => settings::join("endpoint", &settings::http_url("endpoint", endpoint)?, path).map(Some),
        (_, whole) => settings::http_url(key, whole).map(Some),
    }
}

struct OtlpHttp {
    id: Arc<str>,
    client: Client,
    profiles_url: Option<Uri>,
    traces_url: Option<Uri>,
    form: Form,
}

impl OtlpHttp {
    fn url(&self, signal: Signal) -> Option<&Uri> {
        match signal {
            Signal::Profiles => self.profiles_url.as_ref(),
            Signal::Traces => self.traces_url.as_ref(),
        }
    }
}

#[async_trait]
impl Exporter for OtlpHttp {
    fn destination(&self, signal: Signal) -> String {
        self.url(signal).map(settings::destination).unwrap_or_default()
    }

    fn check_signal(&self, signal: Signal) -> Result<(), BuildError> {
        let (other, own) = match signal {
            Signal::Profiles => ("traces_endpoint", "profiles_endpoint"),
            Signal::Traces => ("profiles_endpoint", "traces_endpoint"),
        };
        self.url(signal).map(|_| ()).ok_or_else(|| {
            let unit = signal.label();
            let message = format!(
                "it stands in a pipeline of {unit}, and `{other}` is not for them; write `{own}` or `endpoint`"
            );
            BuildError::at("endpoint", message)
        })
    }

    fn encode(&self, part: &Batch) -> Result<Encoded, ExportError> {
        settings::encode(part, self.form)
    }

    async fn export(&self, part: &Batch, encoded: Encoded) -> Result<Sent, ExportError> {
        let mut headers = HeaderMap::new();
        let media_type = match self.form.format {
            Format::OtlpJson => "application/json",
            _ => "application/x-protobuf",
        };
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
        if let Some(encoding) = self.form.compression.content_encoding() {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static(encoding));
        }
        let Some(url) = self.url(part.signal()) else {
            // the graph has asked `check_signal` before
            return Err(ExportError::Unrepresentable {
                why: format!("there is no address for {}", part.signal().label()),
            });
        };
        let answer = self.client.post(url, headers, encoded.body).await?;
        Ok(judge(&answer)?.sent(&self.id, part))
    }
}

fn judge(answer: &Answer) -> Result<Partial, ExportError> {
    let status = answer.status;
    let hint = || retry_after(&answer.headers, SystemTime::now());
    match status {
        _ if status.is_success() => {
            let media_type = answer.headers.get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
            Ok(match media_type.starts_with(b"application/json") {
                true => Partial::of_json(&answer.body),
                false => Partial::of_protobuf(&answer.body),
            })
        }
        StatusCode::PAYLOAD_TOO_LARGE => Err(ExportError::TooLarge),
        StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => Err(settings::retry(status, hint())),
        _ => Err(settings::refused(status)),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::exporters::testing::{self, Reply};

    async fn export(reply: Reply, extra: serde_json::Value) -> (Result<Sent, ExportError>, testing::Seen) {
        let server = testing::serve(reply).await;
        let mut config = serde_json::json!({ "endpoint": format!("{}/base", server.url) });
        config
            .as_object_mut()
            .unwrap()
            .extend(extra.as_object().unwrap().clone());
        let built = build(config, &testing::context("otlp_http/test")).unwrap();
        let part = testing::batch(b"a request of OTLP profiles");
        let encoded = built.exporter.encode(&part).unwrap();
        let result = built.exporter.export(&part, encoded).await;
        (result, server.seen())
    }

    fn planted() -> serde_json::Value {
        serde_json::json!({ "headers": { "authorization": "Bearer planted-token" } })
    }

    #[tokio::test]
    async fn the_request_is_what_otlp_asks_for() {
        let (result, seen) = export(Reply::status(200), planted()).await;
        assert_eq!(result, Ok(Sent { rejected: 0 }));
        assert_eq!(seen.path, "/base/v1development/profiles");
        assert_eq!(seen.headers["content-type"], "application/x-protobuf");
        assert_eq!(seen.headers["content-encoding"], "gzip");
        assert_eq!(seen.headers["authorization"], "Bearer planted-token");
        assert_eq!(testing::gunzip(&seen.body), b"a request of OTLP profiles");
    }

    #[tokio::test]
    async fn spans_go_to_their_own_path_as_the_bytes_that_came() {
        let json = r#"{"partialSuccess":{"rejectedSpans":"4"}}"#;
        for (key, path, expected) in [
            ("endpoint", "/base", "/base/v1/traces"),
            ("traces_endpoint", "/spans?a=b", "/spans"),
        ] {
            let reply = Reply::status(200).header("content-type", "application/json").body(json);
            let server = testing::serve(reply).await;
            let config = serde_json::json!({ key: format!("{}{path}", server.url), "compression": "zstd" });
            let built = build(config, &testing::context("otlp_http/test")).unwrap();
            assert_eq!(built.exporter.check_signal(Signal::Traces), Ok(()));
            let part = testing::traces_batch();
            let encoded = built.exporter.encode(&part).unwrap();
            assert_eq!(built.exporter.export(&part, encoded).await, Ok(Sent { rejected: 4 }));
            let seen = server.seen();
            assert_eq!(
                (seen.path.as_str(), &seen.headers["content-type"]),
                (expected, &"application/x-protobuf".parse().unwrap())
            );
            let plain = crate::formats::compress::Inflation::new(&crate::formats::Limits::default());
            let plain = { plain }.unwrap_layers(seen.body.clone()).unwrap();
            assert_eq!(&plain, part.as_traces().unwrap().bytes());
        }
    }

    #[test]
    fn each_kind_needs_an_address() {
        for (key, takes) in [
            ("endpoint", [true, true]),
            ("profiles_endpoint", [true, false]),
            ("traces_endpoint", [false, true]),
        ] {
            let built = build(serde_json::json!({ key: "http://h/p" }), &testing::context("otlp_http")).unwrap();
            let checked = Signal::ALL.map(|signal| built.exporter.check_signal(signal).is_ok());
            assert_eq!(checked, takes, "{key}");
        }
    }

    #[tokio::test]
    async fn without_compression_the_body_is_plain() {
        let (_, seen) = export(Reply::status(200), serde_json::json!({ "compression": "none" })).await;
        assert!(!seen.headers.contains_key("content-encoding"));
        assert_eq!(seen.body, &b"a request of OTLP profiles"[..]);
    }

    #[tokio::test]
    async fn every_status_has_its_consequence() {
        for status in [429, 502, 503, 504] {
            let (result, _) = export(Reply::status(status).header("retry-after", "7"), planted()).await;
            let Err(ExportError::Retry { after, why }) = result else {
                panic!("{status}: {result:?}");
            };
            assert_eq!(after, Some(Duration::from_secs(7)));
            assert!(why.contains(&status.to_string()), "{why}");
        }
        let (result, _) = export(Reply::status(413), planted()).await;
        assert_eq!(result, Err(ExportError::TooLarge));
        for status in [301, 400, 401, 403, 404, 408, 415, 422, 500, 501] {
            let body = "you sent Bearer planted-token";
            let (result, _) = export(Reply::status(status).body(body), planted()).await;
            let Err(ExportError::Permanent { why }) = result else {
                panic!("{status}: {result:?}");
            };
            assert!(
                why.contains(&status.to_string()) && !why.contains("planted-token"),
                "{why}"
            );
        }
    }

    #[tokio::test]
    async fn a_partial_success_is_told_but_never_more_than_was_sent() {
        let one = Reply::status(200).body("\x0a\x02\x08\x01");
        assert_eq!(export(one, planted()).await.0, Ok(Sent { rejected: 1 }));
        let json = r#"{"partialSuccess":{"rejectedProfiles":"99"}}"#;
        let many = Reply::status(200).header("content-type", "application/json").body(json);
        assert_eq!(export(many, planted()).await.0, Ok(Sent { rejected: 3 }));
    }

    #[test]
    fn addresses_are_checked_when_built_and_never_quoted() {
        for (config, path) in [
            (serde_json::json!({}), "endpoint"),
            (serde_json::json!({ "endpoint": "localhost:4318" }), "endpoint"),
            (serde_json::json!({ "endpoint": "ftp://planted-token" }), "endpoint"),
            (
                serde_json::json!({ "profiles_endpoint": "http://u:planted-token@host" }),
                "profiles_endpoint",
            ),
            (
                serde_json::json!({ "endpoint": "http://h", "compression": "br" }),
                "compression",
            ),
            (
                serde_json::json!({ "endpoint": "http://h", "compression_params": { "level": 77 } }),
                "compression_params.level",
            ),
        ] {
            let error = build(config, &testing::context("otlp_http")).err().unwrap();
            assert_eq!(error.path, path);
            assert!(!error.message.contains("planted-token"));
        }
        assert!(build(serde_json::json!({ "endpont": "x" }), &testing::context("otlp_http")).is_err());
    }
}
