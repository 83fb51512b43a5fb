//! `pyroscope`: pprof over Pyroscope's Push API.

mod labels;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{StatusCode, Uri};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::settings::{self, CompressionParams};
use crate::formats::compress::compress;
use crate::formats::wire::Writer;
use crate::formats::{Compression, pprof};
use crate::net::client::{Answer, Client, Headers, Protocol, retry_after};
use crate::net::tls::ClientTlsConfig;
use crate::pipeline::batch::Batch;
use crate::pipeline::component::{Encoded, ExportError, Exporter, Sent};
use crate::pipeline::sink::{QueueConfig, RetryConfig, SinkConfig};
use crate::pipeline::spec::{
    About, BuildContext, BuildError, BuiltExporter, ExporterSpec, RawConfig, Stability, Unit, parse,
};
use crate::pipeline::units::{ByteSize, Secret, Span};
use crate::profile::{ProfileRef, Profiles};

const PATH: &str = "/push.v1.PusherService/Push";
const TENANT: HeaderName = HeaderName::from_static("x-scope-orgid");
/// Samples of one profile that a server takes by default.
const MOST_SAMPLES: usize = 16_000;
/// Labels of one sample that a server takes by default.
const MOST_SAMPLE_LABELS: usize = 100;
/// A server's default burst: one profile above it is over the rate for ever.
const BURST: usize = 2 << 20;

const DOCS: &str = "\
Sends pprof to Pyroscope's Push API, one series a request, so that a retry repeats only what failed.

| label | from |
|---|---|
| `service_name` | resource `service.name`, else `unknown_service` |
| `__name__`, `__session_id__`, `pyroscope_spy` | profile attributes `pyroscope.name` (else from the sample types), `pyroscope.session_id`, `pyroscope.spy` |
| the rest | resource attributes of text, whole numbers and truth, keys unchanged |

A server refuses more than 30 labels with its own four: `service`, `deployment`, `k8s`, `host`, `container`, `cloud` and
`process` attributes go first, what is over is left out. Trace and span ids stay labels of samples.

What a server would refuse is not sent: a `-` in the name of a type becomes `_`; a missing time becomes the time of arrival, a
missing period is filled from the sample type; profiles over `max_profile_size` or 16,000 samples are cut; profiles older
than `max_age` or further ahead than `max_future` are dropped and counted, as are those with over 100 labels on a sample.

| answer | what follows |
|---|---|
| 2xx | done |
| 413 | the profile is halved and both halves are sent |
| 429 | tried again, after `Retry-After` if given; a profile over 2 MiB, the server's default burst, is halved instead |
| 408, 5xx, no answer | tried again |
| anything else | dropped and counted |
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
    /// Level of gzip.
    compression_params: CompressionParams,
    /// Request headers.
    headers: Headers,
    /// Whom to trust.
    tls: ClientTlsConfig,
    /// Longest time for one attempt.
    timeout: Span,
    /// What happens after a failed attempt.
    retry_on_failure: RetryConfig,
    /// What waits for the backend.
    sending_queue: QueueConfig,
    /// Whether senders hear 503 when the queue is full.
    required: bool,
    /// Largest profile before compression; larger ones are cut.
    max_profile_size: ByteSize,
    /// Age above which the server refuses a profile; 0 for none.
    max_age: Span,
    /// How far ahead of now a profile may lie; 0 for any.
    max_future: Span,
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
            compression_params: CompressionParams::default(),
            headers: Headers::default(),
            tls: ClientTlsConfig::default(),
            timeout: Span::secs(10),
            retry_on_failure: RetryConfig::default(),
            sending_queue: QueueConfig::default(),
            required: false,
            max_profile_size: ByteSize::mib(4),
            max_age: Span::secs(3600),
            max_future: Span::secs(600),
        }
    }
}

fn build(raw: RawConfig, _: &BuildContext) -> Result<BuiltExporter, BuildError> {
    let config: Config = parse(raw)?;
    let base = settings::http_url("endpoint", &config.endpoint)?;
    let exporter = Pyroscope {
        client: Client::new(Protocol::Http, &config.tls, &config.headers)?,
        url: settings::join("endpoint", &base, PATH)?,
        tenant: tenant(&config.tenant_id)?,
        authorization: config.basic_auth.as_ref().map(basic).transpose()?,
        compression: settings::compression("gzip", &config.compression_params, &["gzip"])?,
        max_age: config.max_age.0,
        max_future: config.max_future.0,
    };
    Ok(BuiltExporter {
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

fn tenant(id: &str) -> Result<Option<HeaderValue>, BuildError> {
    if id.is_empty() {
        return Ok(None);
    }
    let wrong = |_| BuildError::at("tenant_id", "not a tenant; use letters, digits and !-_.*'()");
    HeaderValue::from_str(id).map(Some).map_err(wrong)
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
    tenant: Option<HeaderValue>,
    authorization: Option<HeaderValue>,
    compression: Compression,
    max_age: Duration,
    max_future: Duration,
}

#[async_trait]
impl Exporter for Pyroscope {
    fn encode(&self, part: &Batch) -> Result<Encoded, ExportError> {
        let profiles = part.as_profiles().ok_or_else(|| cannot("holds profiles, not spans"))?;
        let profiles = fitted(profiles, part.origin().arrived);
        let at = profiles.iter().next().ok_or_else(|| cannot("no profile to send"))?;
        self.check(&profiles, at)?;
        let options = pprof::EncodeOptions {
            resource: pprof::ResourceText::None,
            fill_period: true,
        };
        let plain = pprof::encode(profiles.dictionary(), at.resource, at.scope, at.profile, &options)
            .map_err(|error| cannot(error.to_string()))?;
        let packed = compress(&plain, self.compression);
        Ok(Encoded {
            plain_bytes: plain.len(),
            body: push_request(&profiles, at, &packed).into(),
        })
    }

    async fn export(&self, part: &Batch, encoded: Encoded) -> Result<Sent, ExportError> {
        let mut headers = settings::forwarded(part);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/proto"));
        if let Some(authorization) = &self.authorization {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        let senders = Some(part.origin().tenant.as_ref()).filter(|tenant| *tenant != "default");
        let senders = senders.and_then(|tenant| HeaderValue::from_str(tenant).ok());
        if let Some(tenant) = self.tenant.clone().or(senders) {
            headers.insert(TENANT, tenant);
        }
        let answer = self.client.post(&self.url, headers, encoded.body).await?;
        judge(&answer, encoded.plain_bytes)
    }
}

impl Pyroscope {
    /// What the server would refuse for good is not sent.
    fn check(&self, profiles: &Profiles, at: ProfileRef<'_>) -> Result<(), ExportError> {
        let samples = &at.profile.samples;
        if samples.len() > MOST_SAMPLES {
            return Err(ExportError::TooLarge);
        }
        let sets = &profiles.dictionary().attribute_sets;
        if samples
            .attributes
            .iter()
            .any(|set| sets[*set].len() > MOST_SAMPLE_LABELS)
        {
            return Err(cannot("a sample has more than 100 labels, which the server refuses"));
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

/// The profiles with names of types that the server takes, and a time. Copies only what it changes.
fn fitted(profiles: &Profiles, arrived: SystemTime) -> Profiles {
    let dictionary = profiles.dictionary();
    let refused = |id| labels::is_refused(dictionary, id);
    let unfit = profiles.iter().any(|at| {
        at.profile.time_unix_nano == 0
            || at
                .profile
                .sample_types
                .iter()
                .any(|of| refused(of.kind) || refused(of.unit))
    });
    let mut fitted = profiles.clone();
    if !unfit {
        return fitted;
    }
    let arrived = arrived
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_nanos() as u64);
    let (dictionary, resources) = fitted.edit();
    let profiles = resources
        .iter_mut()
        .flat_map(|r| &mut r.scopes)
        .flat_map(|s| &mut s.profiles);
    for profile in profiles {
        if profile.time_unix_nano == 0 {
            profile.time_unix_nano = arrived;
        }
        let default = &mut profile.default_sample_type;
        let types = profile
            .sample_types
            .iter_mut()
            .flat_map(|of| [&mut of.kind, &mut of.unit]);
        for name in types.chain([default]) {
            if labels::is_refused(dictionary, *name) {
                let taken = dictionary.str(*name).replace('-', "_");
                *name = dictionary.strings.push(&taken);
            }
        }
    }
    fitted
}

/// `PushRequest { series: [{ labels, samples: [{ raw_profile }] }] }`
fn push_request(profiles: &Profiles, at: ProfileRef<'_>, packed: &[u8]) -> Vec<u8> {
    let mut request = Writer::with_capacity(packed.len() + 1024);
    request.message(1, |series| {
        for (name, value) in labels::labels(profiles.dictionary(), at) {
            series.message(1, |label| {
                label.bytes(1, name.as_bytes());
                label.bytes(2, value.as_bytes());
            });
        }
        series.message(2, |sample| sample.bytes(1, packed));
    });
    request.finish()
}

fn judge(answer: &Answer, plain_bytes: usize) -> Result<Sent, ExportError> {
    let status = answer.status;
    let hint = retry_after(&answer.headers, SystemTime::now());
    match status {
        _ if status.is_success() => Ok(Sent::default()),
        StatusCode::PAYLOAD_TOO_LARGE => Err(ExportError::TooLarge),
        StatusCode::TOO_MANY_REQUESTS if plain_bytes > BURST => Err(ExportError::TooLarge),
        StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => Err(settings::retry(status, hint)),
        _ if status.is_server_error() => Err(settings::retry(status, hint)),
        _ => Err(settings::refused(status)),
    }
}

#[cfg(test)]
mod tests;
