//! `scrape`: fetches profiles from whatever serves them over HTTP.

mod discovery;
mod profiles;
mod targets;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use self::discovery::{Discovery, Pattern};
use self::profiles::{Preset, ProfileConfig, captures};
use self::targets::{Maker, Roster, Scheme};
use super::jfr::JfrConfig;
use super::limits::LimitsConfig;
use super::pull::{Begin, Found, Pace, Puller};
use super::unnamed::Reading;
use crate::net::auth::AuthConfig;
use crate::net::auth::tenant::{self, Network};
use crate::net::client::{Client, ClientConfigError, ClientSettings, Headers, Protocol, Reach};
use crate::net::tls::ClientTlsConfig;
use crate::pipeline::spec::{About, BuildContext, BuildError, RawConfig, ReceiverSpec, Stability, parse};
use crate::pipeline::units::{ByteSize, Secret, Span};
use crate::pipeline::{Outlet, Receiver, ReceiverError, Stop};

const DOCS: &str = "\
Fetches profiles over HTTP from programs that serve them: Go's `/debug/pprof`, endpoints of Node that measure for a while and answer
with what V8 writes, dumps of JFR, or anything else that answers GET with a profile in a format that is read, compressed or not.

**Targets** are written under `static_configs`, or in files (`file_sd_configs`), both as Prometheus has them. Files, JSON or YAML, 256 at
most, are looked at every `refresh_interval` and read when they have changed; what is wrong in one changes nothing, and the log says the
line. A target in one that cannot be visited is left out alone, with its line and the reason in the log (after a change twenty of them one by
one, and never the text, which may hold a credential). A file has at most 4 MiB; while there are more than 256,
`flamegate_limits` counts the looks (`target_files`). A target that is new or gone disturbs no other one.

**Labels** become attributes of the resource, all profiles of a target with the same: `service_name`, `service.name` or else `job` is
`service.name`, `instance` is `service.instance.id` (host and port unless given), any other keeps its key. Those that begin with
`__` are dropped; `__scheme__` chooses between `http` and `https`, and `__tenant_id__` says whose profiles they are, as `tenant` does for a
group of `static_configs` or for all.

**Profiles** are presets, changed presets, or a `path` with `params`. A target is asked for one after the other.

| preset | asks for | and gets |
|---|---|---|
| `go_cpu` | `/debug/pprof/profile?seconds=10` | CPU, measured for `duration` |
| `go_heap`, `go_allocs` | `/debug/pprof/heap`, `/debug/pprof/allocs` | the same numbers; use one |
| `go_mutex`, `go_block` | `/debug/pprof/mutex`, `/debug/pprof/block` | nothing, unless the program turned them on |
| `go_goroutine` | `/debug/pprof/goroutine` | |
| `v8_cpu`, `v8_heap` | a `path` that must be written, with `seconds=30` | `.cpuprofile`, `.heapprofile`, Chrome traces |
| `jfr` | a `path` that must be written | a recording |

**Counters.** Allocations, contentions and delays of Go count from the start of the process on. With `delta` (on for the heap, mutex and
block presets) they become what was added since the scrape before, dated from that scrape to this one; what is in use stays as it is.
The first scrape of a target, and the first after its process was started anew (a counter shrank), passes on only what is no
counter; so does the first after the gate was started anew or this receiver configured otherwise, and what was counted since its last scrape is nowhere. The sum of all differences is exactly what was counted between the first scrape and the last. With `duration` the
target itself answers with a difference. Only hashes and numbers are remembered, in `delta_memory`; targets beyond it pass on no counters.

**A fleet is never measured all together.** Of the instances of one service at most `max_share` are visited at once (one always is), of all
targets at most `max_concurrent`. Every target has its own place in the interval, by a hash of its address and of this machine's name: a
restart moves nobody, and replicas come at different moments. Whose turn comes again before there was room has missed one. When the
gate itself has no room, nothing is measured.

**Where it connects to.** Names are judged by the addresses they resolve to, at every connection. Link-local addresses, those where clouds
keep credentials, and others that no service of one's own has are refused unless `allowed_networks` names their network.
Targets of files may not be at a loopback address either unless it does; other addresses of this machine are like any. With
`allowed_networks` nothing else is connected to, and `denied_networks` never is. An IPv4 address carried in one of IPv6 (NAT64, 6to4) is
judged as both. Credentials for targets of files (`headers`, `auth`, a certificate under `tls`) need `allowed_networks`. Redirects are
not followed. The proxies of the environment are passed by. `proxy_url` stands beside neither of these keys and no `file_sd_configs`,
because a proxy resolves names itself.

A target that fails is told in the log (once a minute for each reason), counted (`flamegate_scrapes` by result,
`flamegate_scrape_targets` by health), and listed with the reason at `/debug/targetz` (extension `zpages`); the gate stays ready. A
visit under way when the gate stops is cut.
";

pub(super) const SPEC: ReceiverSpec = ReceiverSpec {
    about: About {
        name: "scrape",
        aliases: &[],
        summary: "fetches profiles from programs that serve them over HTTP",
        docs: DOCS,
        stability: Stability::Beta,
        signals: &["profiles"],
        example: EXAMPLE,
        schema: || schemars::schema_for!(Config),
    },
    build,
};

const EXAMPLE: &str = "\
scrape:
  collection_interval: 1m
  profiles: [go_cpu, go_heap, go_goroutine]
  static_configs:
    - targets: [\"localhost:6060\"]
      labels: { service_name: shop, env: dev }
  file_sd_configs:
    - files: [/etc/flamegate/targets/*.yaml]
  allowed_networks: [10.0.0.0/8, 127.0.0.0/8, \"::1\"]
";

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Config {
    /// From one visit to a target to the next.
    collection_interval: Span,
    /// What every target is asked for.
    profiles: Vec<ProfileConfig>,
    /// Targets.
    static_configs: Vec<StaticConfig>,
    /// Files of targets.
    file_sd_configs: Vec<FileConfig>,
    /// Whose profiles they are where neither the group nor the label `__tenant_id__` says it.
    tenant: String,
    /// How targets are spoken to that do not say.
    scheme: Scheme,
    /// How long a whole answer may take beyond the time for which the target measures.
    timeout: Span,
    /// Which part of the instances of one service may be visited at once: 0.34 is a third of them.
    max_share: f64,
    /// How many targets may be visited at once.
    max_concurrent: usize,
    /// How many targets there may be; further ones are left out.
    max_targets: usize,
    /// Largest answer, as sent and as decompressed.
    max_response_size: ByteSize,
    /// Memory in which counters are kept from one scrape to the next: 16 bytes for each that is not 0.
    delta_memory: ByteSize,
    /// How much one profile may hold.
    limits: LimitsConfig,
    /// How recordings of the JVM are read.
    jfr: JfrConfig,
    /// Where targets may be, as `10.0.0.0/8`; anywhere that is safe if empty.
    allowed_networks: Vec<Network>,
    /// Where they may not.
    denied_networks: Vec<Network>,
    /// Request headers for all targets.
    headers: Headers,
    /// Credentials that an extension keeps, for all targets.
    auth: Option<AuthConfig>,
    /// Whom to trust, and the certificate to show.
    tls: ClientTlsConfig,
    /// Proxy on the way, as `http://user:password@host:port`.
    proxy_url: Option<Secret>,
}

impl Default for Config {
    fn default() -> Self {
        let presets = [
            Preset::GoCpu,
            Preset::GoHeap,
            Preset::GoMutex,
            Preset::GoBlock,
            Preset::GoGoroutine,
        ];
        Self {
            collection_interval: Span::secs(60),
            profiles: presets.map(ProfileConfig::Preset).into(),
            static_configs: Vec::new(),
            file_sd_configs: Vec::new(),
            tenant: tenant::DEFAULT.to_owned(),
            scheme: Scheme::default(),
            timeout: Span::secs(15),
            max_share: 0.34,
            max_concurrent: 16,
            max_targets: 1_000,
            max_response_size: ByteSize::mib(64),
            delta_memory: ByteSize::mib(32),
            limits: LimitsConfig::default(),
            jfr: JfrConfig::default(),
            allowed_networks: Vec::new(),
            denied_networks: Vec::new(),
            headers: Headers::default(),
            auth: None,
            tls: ClientTlsConfig::default(),
            proxy_url: None,
        }
    }
}

/// Targets with the same labels.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct StaticConfig {
    /// `host:port` of each; without a port that of the scheme.
    targets: Vec<String>,
    /// What is said of their profiles.
    labels: BTreeMap<String, String>,
    /// Whose they are, if another one's than those of the others.
    tenant: Option<String>,
    /// Request headers for these targets alone, beside and before those for all.
    headers: Headers,
}

/// Files of targets.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct FileConfig {
    /// Paths ending in `.json`, `.yml` or `.yaml`, whose last part may be a glob, as in the receiver `file`.
    files: Vec<String>,
    /// How often to look whether they have changed; the shortest of all counts.
    refresh_interval: Span,
}

impl Default for FileConfig {
    fn default() -> Self {
        Self {
            files: Vec::new(),
            refresh_interval: Span::secs(5),
        }
    }
}

struct Scrape {
    cx: BuildContext,
    pace: Pace,
    max_bytes: usize,
    delta_bytes: usize,
    reading: Reading,
    fixed: Found,
    discovery: Option<Discovery>,
}

fn build(raw: RawConfig, cx: &BuildContext) -> Result<Box<dyn Receiver>, BuildError> {
    let config: Config = parse(raw)?;
    config.check()?;
    let limits = config.limits.check("limits", config.max_response_size.as_usize())?;
    let maker = Maker {
        scheme: config.scheme,
        captures: captures(&config.profiles, config.collection_interval.0, config.timeout.0)?.into(),
        limits,
    };
    let fixed = config.fixed(&maker)?;
    Ok(Box::new(Scrape {
        cx: cx.clone(),
        pace: Pace {
            interval: config.collection_interval.0,
            share: config.max_share,
            most: config.max_concurrent,
        },
        max_bytes: config.max_response_size.as_usize(),
        delta_bytes: config.delta_memory.as_usize(),
        reading: Reading {
            limits,
            jfr: config.jfr,
        },
        discovery: config.discovery(cx, maker, &fixed)?,
        fixed,
    }))
}

#[async_trait]
impl Receiver for Scrape {
    async fn run(self: Box<Self>, out: Outlet, stop: Stop) -> Result<(), ReceiverError> {
        let puller = Puller {
            pace: self.pace,
            begin: Begin::Spread { visitor: machine() },
            max_bytes: self.max_bytes,
            reading: self.reading,
            delta_bytes: self.delta_bytes,
            metrics: self.cx.metrics.scrape(&self.cx.id),
            targets: self.cx.metrics.targets(&self.cx.id),
        };
        let (tell, found) = watch::channel(self.fixed);
        out.ready();
        let pulling = puller.run(found, &out, &stop);
        match self.discovery {
            None => pulling.await,
            Some(discovery) => tokio::select! {
                () = pulling => {}
                never = discovery.run(tell) => match never {},
            },
        }
        Ok(())
    }

    fn awaits(&self) -> Vec<BuildError> {
        self.discovery.as_ref().map(Discovery::awaits).unwrap_or_default()
    }
}

/// The name of this machine, which replicas do not share.
fn machine() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

impl Config {
    fn check(&self) -> Result<(), BuildError> {
        let wrong = |key: &str, message: &str| Err(BuildError::at(key, message));
        if self.collection_interval < Span::secs(1) {
            return wrong("collection_interval", "too short; write 1s or more");
        }
        if self.timeout.0.is_zero() {
            return wrong(
                "timeout",
                "0 would let nothing in; write how long an answer may take, such as 15s",
            );
        }
        if !(self.max_share > 0.0 && self.max_share <= 1.0) {
            return wrong("max_share", "not a share; write more than 0, and 1 at most");
        }
        for (key, number) in [
            ("max_concurrent", self.max_concurrent),
            ("max_targets", self.max_targets),
        ] {
            if !(1..=100_000).contains(&number) {
                return wrong(key, "not a usable limit; write 1 to 100000");
            }
        }
        if !tenant::is_tenant(&self.tenant) {
            return wrong("tenant", tenant::RULE);
        }
        if self.max_response_size.0 == 0 {
            return wrong(
                "max_response_size",
                "0 would let nothing in; write a size such as 64MiB",
            );
        }
        if self.static_configs.is_empty() && self.file_sd_configs.is_empty() {
            return wrong("", "no targets; write `static_configs`, `file_sd_configs` or both");
        }
        let is_judged = [
            ("file_sd_configs", !self.file_sd_configs.is_empty()),
            ("allowed_networks", !self.allowed_networks.is_empty()),
            ("denied_networks", !self.denied_networks.is_empty()),
        ];
        if let Some((key, _)) = is_judged.iter().find(|(_, is_judged)| *is_judged)
            && self.proxy_url.is_some()
        {
            let why = format!(
                "a proxy resolves names, so that nobody here could judge where they lead; drop one, this or `{key}`"
            );
            return wrong("proxy_url", &why);
        }
        let credentials = [
            ("auth", self.auth.is_some()),
            ("headers", !self.headers.is_empty()),
            ("tls.cert_file", self.tls.cert_file.is_some()),
            ("tls.cert_pem", self.tls.cert_pem.is_some()),
        ];
        if let Some((key, _)) = credentials.iter().find(|(_, is_sent)| *is_sent)
            && !self.file_sd_configs.is_empty()
            && self.allowed_networks.is_empty()
        {
            let why = "would be shown to whatever stands in a file of targets; say under `allowed_networks` where they may be";
            return wrong(key, why);
        }
        Ok(())
    }

    fn reach(&self, loopback: bool) -> Reach {
        Reach {
            allowed: self.allowed_networks.clone(),
            denied: self.denied_networks.clone(),
            loopback,
        }
    }

    /// Who asks targets, with these headers before those for all.
    fn client(&self, reach: Reach, own: &Headers) -> Result<Client, BuildError> {
        let settings = ClientSettings {
            tls: self.tls.clone(),
            headers: self.headers.with(own),
            credentials: self.auth.as_ref().map(|auth| auth.client("auth")).transpose()?,
            proxy_url: self.proxy_url.clone(),
            // the profiles of one visit share a connection, visits do not
            idle_timeout: self.timeout.0,
            pings: None,
        };
        let wrong = |error: ClientConfigError| BuildError::at(error.path, error.message);
        Client::within(reach, Protocol::Http, &settings).map_err(wrong)
    }

    fn fixed(&self, maker: &Maker) -> Result<Found, BuildError> {
        let reach = self.reach(true);
        let common = self.client(reach.clone(), &Headers::default())?;
        let mut roster = Roster::new(self.max_targets);
        for (group, config) in self.static_configs.iter().enumerate() {
            let below =
                |error: BuildError| BuildError::at(format!("static_configs[{group}].{}", error.path), error.message);
            let client = match config.headers.is_empty() {
                true => common.clone(),
                false => self.client(reach.clone(), &config.headers).map_err(below)?,
            };
            let tenant = config.tenant.as_ref().unwrap_or(&self.tenant);
            if !tenant::is_tenant(tenant) {
                return Err(below(BuildError::at("tenant", tenant::RULE)));
            }
            let tenant = tenant.as_str().into();
            for (place, address) in config.targets.iter().enumerate() {
                let wrong = |why: &str| BuildError::at(format!("static_configs[{group}].targets[{place}]"), why);
                let target = maker.target(address, &config.labels, &tenant, &client).map_err(wrong)?;
                if !reach.holds_url(&target.base) {
                    return Err(wrong(
                        "an address that is refused; if it is meant, name its network under `allowed_networks`",
                    ));
                }
                roster.add(Arc::new(target)).map_err(wrong)?;
            }
        }
        Ok(roster.found)
    }

    fn discovery(&self, cx: &BuildContext, maker: Maker, fixed: &Found) -> Result<Option<Discovery>, BuildError> {
        let Some(every) = self.file_sd_configs.iter().map(|config| config.refresh_interval).min() else {
            return Ok(None);
        };
        let mut patterns = Vec::new();
        for (position, config) in self.file_sd_configs.iter().enumerate() {
            let at = format!("file_sd_configs[{position}]");
            if config.refresh_interval < Span::secs(1) {
                return Err(BuildError::at(
                    format!("{at}.refresh_interval"),
                    "too short; write 1s or more",
                ));
            }
            if config.files.is_empty() {
                return Err(BuildError::at(
                    format!("{at}.files"),
                    "no files; name some, such as targets/*.yaml",
                ));
            }
            for (place, file) in config.files.iter().enumerate() {
                patterns.push(Pattern::parse(format!("{at}.files[{place}]"), file)?);
            }
        }
        Ok(Some(Discovery {
            receiver: cx.id.clone(),
            patterns,
            every: every.0,
            fixed: fixed.targets.clone(),
            maker,
            tenant: self.tenant.as_str().into(),
            client: self.client(self.reach(false), &Headers::default())?,
            most: self.max_targets,
            metrics: cx.metrics.clone(),
        }))
    }
}
