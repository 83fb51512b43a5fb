//! `pyroscope`: pprof over Pyroscope's Push API.

mod answer;
mod fit;
mod frames;
mod labels;
mod name;
mod sample_labels;
mod tenant;
mod trace_ids;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::Uri;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::labels::LabelNames;
use self::tenant::{TENANT, Tenant};
use super::settings::{self, CompressionParams};
use crate::formats::compress::compress;
use crate::formats::wire::Writer;
use crate::formats::{Compression, pprof};
use crate::net::auth::AuthConfig;
use crate::net::client::{Client, ClientSettings, Headers, Protocol};
use crate::net::tls::ClientTlsConfig;
use crate::pipeline::batch::Batch;
use crate::pipeline::component::{Encoded, ExportError, Exporter, Sent};
use crate::pipeline::sink::{QueueConfig, RetryConfig, SinkConfig};
use crate::pipeline::spec::{
    About, BuildContext, BuildError, BuiltExporter, ExporterSpec, RawConfig, Stability, Unit, parse,
};
use crate::pipeline::units::{ByteSize, Secret, Span};
use crate::pipeline::{Boundary, Signal};
use crate::profile::ProfileRef;

const PATH: &str = "/push.v1.PusherService/Push";
/// Samples of one profile that a server takes by default.
const MOST_SAMPLES: usize = 16_000;

const DOCS: &str = "\
Sends pprof to Pyroscope's Push API, one series a request, so that a retry repeats only what failed.

| label | from |
|---|---|
| `service_name` | resource `service.name`, else `unknown_service` |
| `__name__` | profile attribute `pyroscope.name`, else from the sample types (docs/formats.md) |
| `__session_id__`, `pyroscope_spy` | profile attributes `pyroscope.session_id`, `pyroscope.spy` |
| the rest | resource attributes of text, whole numbers and truth, keys unchanged |

A server refuses more than 30 labels, and counts text labels of samples among them. What these leave goes to `service`,
`deployment`, `k8s`, `host`, `container`, `cloud` and `process` attributes first; what is over is left out. Trace and span ids
stay labels of samples, whatever the dialect: `trace_id` and `span_id`, in 32 and 16 hexadecimal digits.

What a server would refuse, or take and lose, is put right:

| in the profile | sent |
|---|---|
| a `-` or `:` in the name of a type, a `:` in `pyroscope.name` | `_` |
| no time | the time of arrival |
| a sample without frames, a frame without name and address | the frame `[unknown]` |
| trace and span ids of links, or in labels of other dialects (docs/trace-join.md) | labels `trace_id`, `span_id`; which span it is, what is told of it (`span.name`, `span.duration`, beside either or a link `http.route`), and what is left of those labels, stays here |
| labels of samples that begin with `__`, or have no name | left out |
| labels over 2,048 bytes; over 28 text labels on a sample, or 98 in all | cut; left out |
| names of labels that servers before 2.0 refuse, or have twice once sanitized | with `label_names: legacy`, `_` for all but letters and digits |
| over `max_profile_size` or 16,000 samples | in parts, a millisecond apart, because servers before 2.0 keep one profile of a series and time |
| older than `max_age`, further ahead than `max_future` | dropped and counted |

A sample with a negative value, such as the base of a difference, is left out by the server, and says so to nobody.

The tenant is `tenant_id`, or the header `X-Scope-OrgID`, or that of the sender, unless it is `default`. Profiles of a sender
whose tenant no server takes are dropped and counted.

| answer | what follows |
|---|---|
| 2xx | done |
| 413, or 400 for a profile over the server's size or number of samples | the profile is halved and both halves are sent |
| 429 | tried again, after `Retry-After` if given; a profile over 2 MiB, the server's default burst, is halved instead |
| 408, 5xx, no answer | tried again |
| anything else | dropped and counted |

The log tells status, Connect's code and the kind of refusal; the server's own text quotes labels and stays unread.
";

pub(super) const SPEC: ExporterSpec = ExporterSpec {
    about: About {
        name: "pyroscope",
        aliases: &[],
        summary: "sends pprof to Pyroscope's Push API",
        docs: DOCS,
        stability: Stability::Beta,
        signals: &["profiles"],
        example: "pyroscope:\n  endpoint: http://localhost:4041\n  tenant_id: shop\n",
        schema: || schemars::schema_for!(Config),
    },
    unit: Unit::Profile,
    build,
};

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Config {
    /// Base address; `/push.v1.PusherService/Push` is put behind it.
    endpoint: String,
    /// Tenant of everything sent, as `X-Scope-OrgID`; without it the tenant that sent it, unless that is `default`.
    tenant_id: String,
    /// Credentials for HTTP Basic.
    basic_auth: Option<BasicAuth>,
    /// Credentials that an extension keeps, in place of `basic_auth`.
    auth: Option<AuthConfig>,
    /// Level of gzip.
    compression_params: CompressionParams,
    /// Request headers.
    headers: Headers,
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
    /// Largest profile before compression; larger ones are cut.
    max_profile_size: ByteSize,
    /// Age above which the server refuses a profile; 0 for none.
    max_age: Span,
    /// How far ahead of now a profile may lie; 0 for any.
    max_future: Span,
    /// `unchanged`, or `legacy` for servers before 2.0 and those that sanitize names: `_` for all but letters and digits.
    label_names: LabelNames,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct BasicAuth {
    /// User, such as the number of the stack.
    username: String,
    /// Password or access token.
    password: Secret,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            endpoint: String::new(),
            tenant_id: String::new(),
            basic_auth: None,
            auth: None,
            compression_params: CompressionParams::default(),
            headers: Headers::default(),
            tls: ClientTlsConfig::default(),
            proxy_url: None,
            idle_conn_timeout: Span::secs(90),
            http2_read_idle_timeout: Span::secs(0),
            http2_ping_timeout: Span::secs(15),
            timeout: Span::secs(10),
            retry_on_failure: RetryConfig::default(),
            sending_queue: QueueConfig::default(),
            required: false,
            boundary: None,
            max_profile_size: ByteSize::mib(4),
            max_age: Span::secs(3600),
            max_future: Span::secs(600),
            label_names: LabelNames::default(),
        }
    }
}

fn build(raw: RawConfig, _: &BuildContext) -> Result<BuiltExporter, BuildError> {
    let config: Config = parse(raw)?;
    if config.basic_auth.is_some() && config.headers.contains(AUTHORIZATION.as_str()) {
        return Err(twice("basic_auth", "authorization"));
    }
    if config.basic_auth.is_some() && config.auth.is_some() {
        return Err(BuildError::at("basic_auth", "`auth` stands here too; drop one"));
    }
    let base = settings::http_url("endpoint", &config.endpoint)?;
    let tenant = Tenant::of(&config)?;
    let boundary = settings::boundary(config.boundary, &base);
    let settings = ClientSettings {
        tls: config.tls,
        headers: config.headers,
        credentials: settings::credentials(config.auth.as_ref())?,
        proxy_url: config.proxy_url,
        idle_timeout: config.idle_conn_timeout.0,
        pings: settings::pings(config.http2_read_idle_timeout, config.http2_ping_timeout),
    };
    let exporter = Pyroscope {
        client: Client::new(Protocol::Http, &settings)?,
        url: settings::join("endpoint", &base, PATH)?,
        tenant,
        authorization: config.basic_auth.as_ref().map(basic).transpose()?,
        compression: settings::compression("gzip", &config.compression_params, &["gzip"])?,
        max_age: config.max_age.0,
        max_future: config.max_future.0,
        label_names: config.label_names,
    };
    Ok(BuiltExporter {
        boundary,
        exporter: Arc::new(exporter),
        sink: SinkConfig {
            timeout: config.timeout,
            retry: config.retry_on_failure,
            queue: config.sending_queue,
            required: config.required,
            max_request_bytes: config.max_profile_size,
        },
    })
}

/// A header is configured under a key of its own too. One would win in silence.
fn twice(key: &str, header: &str) -> BuildError {
    let why = format!("`headers` sets `{header}` too, and only one can be sent; keep `{key}` or that header");
    BuildError::at(key, why)
}

fn basic(auth: &BasicAuth) -> Result<HeaderValue, BuildError> {
    let pair = STANDARD.encode(format!("{}:{}", auth.username, auth.password.expose()));
    let mut value = HeaderValue::try_from(format!("Basic {pair}"))
        .map_err(|_| BuildError::at("basic_auth", "not usable as a header"))?;
    value.set_sensitive(true);
    Ok(value)
}

struct Pyroscope {
    client: Client,
    url: Uri,
    tenant: Tenant,
    authorization: Option<HeaderValue>,
    compression: Compression,
    max_age: Duration,
    max_future: Duration,
    label_names: LabelNames,
}

#[async_trait]
impl Exporter for Pyroscope {
    fn destination(&self, _: Signal) -> String {
        settings::destination(&self.url)
    }

    fn encode(&self, part: &Batch) -> Result<Encoded, ExportError> {
        let profiles = part.as_profiles().ok_or_else(|| cannot("holds profiles, not spans"))?;
        let profiles = fit::fitted(part, profiles, self.label_names);
        let options = pprof::EncodeOptions {
            resource: pprof::ResourceText::None,
            most: part.most_encoded(),
        };
        let (mut request, mut plain_bytes) = (Writer::default(), 0);
        for at in profiles.iter() {
            self.check(at)?;
            let plain =
                pprof::encode(profiles.dictionary(), at.resource, at.profile, &options).map_err(settings::unencoded)?;
            plain_bytes += plain.len();
            let labels = labels::labels(profiles.dictionary(), at, self.label_names);
            write_series(&mut request, &labels, &compress(&plain, self.compression));
        }
        match plain_bytes {
            0 => Err(cannot("no profile to send")),
            _ => Ok(Encoded {
                plain_bytes,
                body: request.finish().into(),
            }),
        }
    }

    async fn export(&self, part: &Batch, encoded: Encoded) -> Result<Sent, ExportError> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/proto"));
        if let Some(authorization) = &self.authorization {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        if let Some(tenant) = self.tenant.header(&part.origin().tenant)? {
            headers.insert(TENANT, tenant);
        }
        let answer = self.client.post(&self.url, headers, encoded.body).await?;
        answer::judge(&answer, encoded.plain_bytes)
    }
}

impl Pyroscope {
    /// What the server would refuse for good is not sent.
    fn check(&self, at: ProfileRef<'_>) -> Result<(), ExportError> {
        if at.profile.samples.len() > MOST_SAMPLES {
            return Err(ExportError::TooLarge);
        }
        let now = SystemTime::now();
        let time = UNIX_EPOCH + Duration::from_nanos(at.profile.time_unix_nano);
        let over =
            |distance: Result<Duration, _>, limit: Duration| !limit.is_zero() && distance.is_ok_and(|d| d > limit);
        if over(now.duration_since(time), self.max_age) {
            return Err(cannot("older than `max_age`, beyond which the server refuses profiles"));
        }
        if over(time.duration_since(now), self.max_future) {
            return Err(cannot(
                "further ahead than `max_future`, beyond which the server refuses profiles",
            ));
        }
        Ok(())
    }
}

fn cannot(why: impl Into<String>) -> ExportError {
    ExportError::Unrepresentable { why: why.into() }
}

/// One `RawProfileSeries { labels, samples: [{ raw_profile }] }` of a `PushRequest`.
fn write_series(request: &mut Writer, labels: &BTreeMap<String, String>, packed: &[u8]) {
    request.message(1, |series| {
        for (name, value) in labels {
            series.message(1, |label| {
                label.bytes(1, name.as_bytes());
                label.bytes(2, value.as_bytes());
            });
        }
        series.message(2, |sample| sample.bytes(1, packed));
    });
}

#[cfg(test)]
mod tests;
