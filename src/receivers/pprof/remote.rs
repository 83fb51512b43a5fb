//! `remote`: one profile at one address, fetched again and again, as the Collector's receiver does it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::formats::Limits;
use crate::net::auth::AuthConfig;
use crate::net::auth::tenant::{self, Network};
use crate::net::client::{Client, ClientSettings, Headers, Pings, Protocol, Reach};
use crate::net::tls::ClientTlsConfig;
use crate::pipeline::spec::{BuildContext, BuildError};
use crate::pipeline::units::{ByteSize, Secret, Span};
use crate::pipeline::{Outlet, Stop};
use crate::receivers::jfr::JfrConfig;
use crate::receivers::limits::LimitsConfig;
use crate::receivers::pull::{Begin, Capture, Found, Pace, Puller, Target};
use crate::receivers::series::Series;
use crate::receivers::unnamed::Reading;

/// Nothing is measured for longer.
const LONGEST: Duration = Duration::from_secs(300);

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RemoteConfig {
    /// Address of the profile, with its query: `http://localhost:6060/debug/pprof/profile?seconds=10`.
    endpoint: String,
    /// From one profile to the next.
    collection_interval: Span,
    /// How long to wait before the first one.
    initial_delay: Span,
    /// How long the whole answer may take; 0 for 5 minutes.
    timeout: Span,
    /// Request headers.
    headers: Headers,
    /// Credentials that an extension keeps.
    auth: Option<AuthConfig>,
    /// Whom to trust, and the certificate to show.
    tls: ClientTlsConfig,
    /// Proxy on the way, as `http://user:password@host:port`; those of the environment are passed by.
    proxy_url: Option<Secret>,
    /// How long a connection without requests is kept; 0 for as long as the other end keeps it.
    idle_conn_timeout: Span,
    /// Silence on HTTP/2 after which the other end is asked for life; 0 never.
    http2_read_idle_timeout: Span,
    /// How long it may take to answer that.
    http2_ping_timeout: Span,
    /// Attributes of the resource of all profiles, such as `service.name`.
    resource: BTreeMap<String, String>,
    /// Whose profiles they are.
    tenant: String,
    /// Where the address may lead, as `10.0.0.0/8`; anywhere that is safe if empty: see `scrape`.
    allowed_networks: Vec<Network>,
    /// Largest answer, as sent and as decompressed.
    max_response_size: ByteSize,
    /// How much one profile may hold.
    limits: LimitsConfig,
    /// How recordings of the JVM are read.
    jfr: JfrConfig,
}

impl Default for RemoteConfig {
    fn default() -> Self {
        Self {
            endpoint: String::new(),
            collection_interval: Span::secs(60),
            initial_delay: Span::secs(1),
            timeout: Span::secs(0),
            headers: Headers::default(),
            auth: None,
            tls: ClientTlsConfig::default(),
            proxy_url: None,
            idle_conn_timeout: Span::secs(90),
            http2_read_idle_timeout: Span::secs(0),
            http2_ping_timeout: Span::secs(15),
            resource: BTreeMap::new(),
            tenant: tenant::DEFAULT.to_owned(),
            allowed_networks: Vec::new(),
            max_response_size: ByteSize::mib(64),
            limits: LimitsConfig::default(),
            jfr: JfrConfig::default(),
        }
    }
}

/// Fetches one profile.
pub(super) struct Remote {
    cx: BuildContext,
    target: Target,
    interval: Duration,
    delay: Duration,
    max_bytes: usize,
    reading: Reading,
}

impl RemoteConfig {
    /// Checks what stands at `remote`.
    pub(super) fn check(self, cx: &BuildContext) -> Result<Remote, BuildError> {
        if self.collection_interval < Span::secs(1) {
            return Err(BuildError::at(
                "remote.collection_interval",
                "too short; write 1s or more",
            ));
        }
        if self.max_response_size.0 == 0 {
            let message = "0 would let nothing in; write a size such as 64MiB";
            return Err(BuildError::at("remote.max_response_size", message));
        }
        if self.proxy_url.is_some() && !self.allowed_networks.is_empty() {
            let message = "a proxy resolves names, so that nobody here could judge where they lead; drop this or `allowed_networks`";
            return Err(BuildError::at("remote.proxy_url", message));
        }
        if !tenant::is_tenant(&self.tenant) {
            return Err(BuildError::at("remote.tenant", tenant::RULE));
        }
        let limits = self.limits.check("remote.limits", self.max_response_size.as_usize())?;
        let (labels, service) = said("remote.resource", &self.resource, &limits)?;
        let reach = Reach {
            allowed: self.allowed_networks,
            denied: Vec::new(),
            loopback: true,
        };
        let (base, path) = address(&self.endpoint, &reach)?;
        let credentials = self.auth.as_ref().map(|auth| auth.client("remote.auth"));
        let silence = self.http2_read_idle_timeout.0;
        let settings = ClientSettings {
            tls: self.tls,
            headers: self.headers,
            credentials: credentials.transpose()?,
            proxy_url: self.proxy_url,
            idle_timeout: self.idle_conn_timeout.0,
            pings: (!silence.is_zero()).then_some(Pings {
                after: silence,
                timeout: self.http2_ping_timeout.0,
                while_idle: true,
            }),
        };
        let client = Client::within(reach, Protocol::Http, &settings);
        let client = client.map_err(|error| BuildError::at(format!("remote.{}", error.path), error.message))?;
        let max_bytes = self.max_response_size.as_usize();
        let capture = Capture {
            name: "remote".into(),
            path,
            takes: Duration::ZERO,
            timeout: if self.timeout.0.is_zero() {
                LONGEST
            } else {
                self.timeout.0
            },
            delta: false,
            pyroscope_name: None,
        };
        Ok(Remote {
            cx: cx.clone(),
            target: Target {
                base,
                labels,
                tenant: self.tenant.into(),
                service,
                captures: Arc::new([capture]),
                client,
            },
            interval: self.collection_interval.0,
            delay: self.initial_delay.0,
            max_bytes,
            reading: Reading { limits, jfr: self.jfr },
        })
    }
}

impl Remote {
    /// Fetches until `stop` is asked.
    pub(super) async fn run(self, out: &Outlet, stop: &Stop) {
        let puller = Puller {
            pace: Pace {
                interval: self.interval,
                share: 1.0,
                most: 1,
            },
            begin: Begin::After(self.delay),
            max_bytes: self.max_bytes,
            reading: self.reading,
            delta_bytes: 0,
            metrics: self.cx.metrics.scrape(&self.cx.id),
            targets: self.cx.metrics.targets(&self.cx.id),
        };
        let found = Found {
            targets: vec![Arc::new(self.target)],
            left_out: 0,
        };
        let (_tell, found) = watch::channel(found);
        puller.run(found, out, stop).await;
    }
}

/// What the configuration says of the profiles, and the service among it.
fn said(path: &str, resource: &BTreeMap<String, String>, limits: &Limits) -> Result<(Series, Arc<str>), BuildError> {
    let mut series = Series::default();
    for (key, value) in resource {
        let is_long = key.len() > limits.label_key_bytes || value.len() > limits.label_value_bytes;
        if is_long || resource.len() > limits.attributes || series.label(key, value).is_err() {
            let message = "a key is empty, or there are more or longer attributes than `limits` allows";
            return Err(BuildError::at(path, message));
        }
    }
    let service = series.service().into();
    Ok((series, service))
}

/// Base and path of an address. The error never quotes it: it may hold a token.
fn address(text: &str, reach: &Reach) -> Result<(Arc<str>, String), BuildError> {
    let wrong = |why: &str| Err(BuildError::at("remote.endpoint", why));
    if text.is_empty() {
        return wrong("missing; name the profile, such as http://localhost:6060/debug/pprof/profile?seconds=10");
    }
    let Ok(uri) = text.parse::<Uri>() else {
        return wrong("not a URL; write it as http://host:port/path");
    };
    let (Some(scheme @ ("http" | "https")), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return wrong("a URL begins with http:// or https:// and a host");
    };
    if authority.as_str().contains('@') {
        return wrong("credentials do not belong into a URL; set them under `headers` (or `auth`)");
    }
    if !reach.holds_url(text) {
        return wrong("an address that is refused; if it is meant, name its network under `allowed_networks`");
    }
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    Ok((format!("{scheme}://{authority}").into(), path.to_owned()))
}
