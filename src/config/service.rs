//! The `service` section and the extensions.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::pipeline::matcher::MatchConfig;
use crate::pipeline::units::{ByteSize, Secret, Span};

/// What runs, and how the process behaves.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Service {
    /// Extensions that run.
    pub extensions: Vec<String>,
    /// What is joined to what; `profiles` or `traces`, either with `/name` behind it.
    pub pipelines: std::collections::BTreeMap<String, Pipeline>,
    /// How many pipelines of a receiver a profile takes; of one that brings traces too, those of traces are another matter.
    pub routing: Routing,
    /// Logs and metrics of the gate itself.
    pub telemetry: Telemetry,
    /// What is to be stopped at once, without a reload.
    pub kill_switch: KillSwitch,
    /// Longest time between the signal to stop and the end, for everything together.
    pub drain_timeout: Span,
    /// How often the configuration is looked at for changes, in files and in what they refer to; 0 reloads on SIGHUP only.
    pub reload_interval: Span,
    /// Bytes that everything in flight may hold; unset for half of the memory limit of the container, or 256 MiB without one.
    pub memory_budget: Option<ByteSize>,
    /// From here on no new request is let in, until use has fallen to nine tenths of it; four fifths of the budget unless set.
    pub memory_soft_limit: Option<ByteSize>,
    /// Threads that wait on the network; none for as many as there are cores.
    pub worker_threads: Option<usize>,
}

impl Default for Service {
    fn default() -> Self {
        Self {
            extensions: Vec::new(),
            pipelines: std::collections::BTreeMap::new(),
            routing: Routing::All,
            telemetry: Telemetry::default(),
            kill_switch: KillSwitch::default(),
            drain_timeout: Span::secs(20),
            reload_interval: Span::secs(5),
            memory_budget: None,
            memory_soft_limit: None,
            worker_threads: None,
        }
    }
}

/// `service.kill_switch`. SIGUSR1 kills everything and SIGUSR2 lifts that, whatever stands here.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct KillSwitch {
    /// A file of kills, watched; it need not be there. Unset, none is watched.
    pub file: Option<String>,
    /// Directory in which the kills of signals and of the route are kept, so that a restart does not lift them.
    pub storage: String,
    /// How long a kill lasts that does not say.
    pub default_ttl: Span,
    /// Tenants whose credentials may kill everything by the route of `zpages`. Other credentials with a tenant may kill what is that
    /// tenant's, and credentials without one everything.
    pub operators: Vec<String>,
}

impl Default for KillSwitch {
    fn default() -> Self {
        Self {
            file: None,
            storage: "flamegate-state".to_owned(),
            default_ttl: Span::secs(4 * 60 * 60),
            operators: Vec::new(),
        }
    }
}

/// One pipeline.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Pipeline {
    /// Where profiles, or traces, come from.
    pub receivers: Vec<String>,
    /// What happens to them, in this order.
    pub processors: Vec<String>,
    /// Where they go. Traces may go nowhere.
    pub exporters: Vec<String>,
    /// What a sender's OK means; unset means `enqueued`: the profile waits in the queues of its exporters.
    pub ack: Option<String>,
    /// What it takes: "and" within an item, "or" between items. Keys are `resource.<key>`, `tenant`, `receiver`, `profile.type`
    /// and `sample.<key>`; values are a glob, `{eq: …}` or `{regex: …}`. A profile of which only some samples match is split.
    /// Traces are told apart by `tenant` and `receiver` alone.
    pub when: Option<Vec<MatchConfig>>,
    /// Takes what no other pipeline of the receiver takes.
    pub default: bool,
}

/// How many pipelines of a receiver a profile takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Routing {
    /// All of them.
    #[default]
    All,
    /// The first one whose `when` matches, in the order in which they are written.
    First,
}

/// `service.telemetry`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Telemetry {
    /// Logs, to the standard error stream.
    pub logs: Logs,
    /// Metrics in Prometheus' text format.
    pub metrics: MetricsConfig,
    /// What was removed from whom, by which policy, in a file of its own; none is kept unless this is set.
    pub audit: Option<Audit>,
}

/// `service.telemetry.audit`: JSON lines with counts of what was removed, never the text.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Audit {
    /// The file; earlier ones are beside it, with `.1`, `.2` and so on behind the name.
    pub path: String,
    /// Bytes at which the next file is begun.
    pub max_bytes: ByteSize,
    /// Earlier files that are kept.
    pub max_files: usize,
    /// How often counts are written; they are at the end in any case.
    pub interval: Span,
    /// Adds keyed fingerprints of what was removed, never of what a person could be known by. At least 32 bytes, and a key that
    /// serves nothing else.
    pub fingerprint_key: Option<Secret>,
}

impl Default for Audit {
    fn default() -> Self {
        Self {
            path: String::new(),
            max_bytes: ByteSize::mib(16),
            max_files: 8,
            interval: Span::secs(10),
            fingerprint_key: None,
        }
    }
}

/// `service.telemetry.logs`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Logs {
    /// Least severe level that is written.
    pub level: Level,
    /// How lines look.
    pub encoding: Encoding,
}

/// Level of logs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Everything.
    #[serde(alias = "TRACE")]
    Trace,
    /// For people who look for a fault.
    #[serde(alias = "DEBUG")]
    Debug,
    /// What happens once.
    #[default]
    #[serde(alias = "INFO")]
    Info,
    /// What should not happen.
    #[serde(alias = "WARN")]
    Warn,
    /// What must not happen.
    #[serde(alias = "ERROR")]
    Error,
}

impl Level {
    /// The name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

/// Encoding of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Encoding {
    /// For people.
    #[default]
    Console,
    /// One JSON object a line.
    Json,
}

/// `service.telemetry.metrics`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MetricsConfig {
    /// `none` serves no metrics; the others are one.
    pub level: MetricsLevel,
    /// Where they are served; port 0 takes any free one.
    pub address: String,
    /// The Collector's way to say the same.
    pub readers: Vec<Reader>,
}

impl Default for MetricsConfig {
    fn default() -> Self {
        Self {
            level: MetricsLevel::Normal,
            address: "localhost:8888".to_owned(),
            readers: Vec::new(),
        }
    }
}

impl MetricsConfig {
    /// Where to serve, and the key that says so; none if metrics are off.
    pub fn endpoint(&self) -> Option<(String, &'static str)> {
        if self.level == MetricsLevel::None {
            return None;
        }
        match self.readers.first() {
            Some(reader) => {
                let prometheus = &reader.pull.exporter.prometheus;
                let address = format!("{}:{}", prometheus.host, prometheus.port);
                Some((address, "service.telemetry.metrics.readers[0].pull.exporter.prometheus"))
            }
            None => Some((self.address.clone(), "service.telemetry.metrics.address")),
        }
    }
}

/// How much is measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MetricsLevel {
    /// No metrics are served.
    None,
    /// As normal.
    Basic,
    /// Everything.
    #[default]
    Normal,
    /// As normal.
    Detailed,
}

/// A reader of the Collector's kind.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Reader {
    /// Metrics are fetched.
    pub pull: Pull,
}

/// `pull` of a reader.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pull {
    /// By whom.
    pub exporter: PullExporter,
}

/// `pull.exporter` of a reader.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PullExporter {
    /// By Prometheus.
    pub prometheus: Prometheus,
}

/// `pull.exporter.prometheus` of a reader.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Prometheus {
    /// Host or address to listen on.
    pub host: String,
    /// Port; 0 takes any free one.
    pub port: u16,
    /// Taken and not used: names never carry a unit.
    pub without_units: bool,
    /// Taken and not used: names are as the Collector's.
    pub without_type_suffix: bool,
    /// Taken and not used: there are no scopes.
    pub without_scope_info: bool,
}

impl Default for Prometheus {
    fn default() -> Self {
        Self {
            host: "localhost".to_owned(),
            port: 8888,
            without_units: true,
            without_type_suffix: true,
            without_scope_info: true,
        }
    }
}
