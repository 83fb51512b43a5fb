//! A row of a component table: everything that the engine, the reference pages, the schema and the conformance test know of a component.

use std::sync::Arc;

use super::component::{Exporter, Processor, Receiver};
use super::feeder::Feeders;
use super::graph::PipelineSpec;
use super::plan::Plans;
use super::recent::Rings;
use super::shared::SharedStates;
use super::strict;
use crate::telemetry::{Metrics, Signal};

/// Configuration of one component as merged from the YAML, before it is read into the component's `Config`.
pub type RawConfig = serde_json::Value;

/// How far users may lean on a component.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stability {
    /// May change.
    Alpha,
    /// Keys stay.
    Beta,
    /// Everything stays.
    Stable,
}

/// What every kind of row has in common.
#[derive(Clone, Copy, Debug)]
pub struct About {
    /// Type name in the configuration.
    pub name: &'static str,
    /// Other names that mean the same.
    pub aliases: &'static [&'static str],
    /// One line.
    pub summary: &'static str,
    /// The text of the reference page, Markdown: what it is, its answers, its limits.
    pub docs: &'static str,
    /// How far users may lean on it.
    pub stability: Stability,
    /// `profiles`, `traces`.
    pub signals: &'static [&'static str],
    /// An example, YAML, as it stands under `receivers:`, `processors:` or `exporters:`.
    pub example: &'static str,
    /// JSON Schema of its configuration.
    pub schema: fn() -> schemars::Schema,
}

/// What a component is built with.
#[derive(Clone)]
pub struct BuildContext {
    /// Full id, `type` or `type/name`.
    pub id: Arc<str>,
    /// The metrics of the process.
    pub metrics: Arc<Metrics>,
    /// Nothing outside of the process may change: what is read stays as it is, and is not remembered.
    pub dry_run: bool,
    /// Where it registers what keeps its snapshots of the outside fresh.
    pub feeders: Feeders,
    /// Where it registers what a month may cost.
    pub plans: Plans,
    /// Where it registers what it keeps to be looked at.
    pub rings: Rings,
    /// What it shares with those of its id in other pipelines.
    pub shared: SharedStates,
    /// Where it stands; none where a processor is built alone, and for receivers and exporters.
    pub place: Option<Place>,
}

/// The place of a processor.
#[derive(Clone, Debug)]
pub struct Place {
    /// Id of the pipeline.
    pub pipeline: Arc<str>,
    /// All pipelines with their ids.
    pub pipelines: Arc<[(String, PipelineSpec)]>,
}

impl BuildContext {
    /// That of a component which stands nowhere yet.
    pub fn new(id: impl Into<Arc<str>>, metrics: Arc<Metrics>) -> Self {
        Self {
            id: id.into(),
            metrics,
            dry_run: false,
            feeders: Feeders::default(),
            plans: Plans::default(),
            rings: Rings::default(),
            shared: SharedStates::default(),
            place: None,
        }
    }
}

impl ProcessorSpec {
    /// Whether it keeps batches of this kind of data for later, configured so.
    pub fn holds_as(&self, raw: &RawConfig, signal: Signal) -> bool {
        self.holds.is_some_and(|holds| holds(raw, signal))
    }
}

impl Place {
    /// The exporters that its pipeline feeds.
    pub fn exporters(&self) -> &[String] {
        let named = self.pipelines.iter().find(|(id, _)| **id == *self.pipeline);
        named.map_or(&[], |(_, pipeline)| &pipeline.exporters)
    }
}

/// A configuration that a component refuses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct BuildError {
    /// Where below the component, dotted (`protocols.grpc.endpoint`); empty for the whole.
    pub path: String,
    /// What is wrong and what is allowed, lower case. Never a configured value of a secret.
    pub message: String,
}

impl BuildError {
    /// A key with a value that is not allowed.
    pub fn at(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            message: message.into(),
        }
    }
}

/// Makes a component of its configuration.
pub type Build<Component> = fn(RawConfig, &BuildContext) -> Result<Component, BuildError>;

/// A row of `receivers::ALL`.
#[derive(Clone, Copy)]
pub struct ReceiverSpec {
    /// What all rows have.
    pub about: About,
    /// Checks the configuration and builds; binds nothing.
    pub build: Build<Box<dyn Receiver>>,
}

/// A row of `processors::ALL`.
#[derive(Clone, Copy)]
pub struct ProcessorSpec {
    /// What all rows have.
    pub about: About,
    /// Whether it writes strings that came from elsewhere than the profile: such a processor may not stand behind `redaction`.
    pub adds_text: bool,
    /// Whether it takes out what must not leave, as it is configured: only behind such a processor may an exporter be external.
    pub removes_text: Option<fn(&RawConfig) -> bool>,
    /// Whether it keeps batches of a kind of data for later, as it is configured. Such a processor gets them only when their request is
    /// taken, else a sender that is refused, and comes again, would be in it twice.
    pub holds: Option<fn(&RawConfig, Signal) -> bool>,
    /// Checks the configuration and builds.
    pub build: Build<Box<dyn Processor>>,
}

/// A row of `exporters::ALL`.
#[derive(Clone, Copy)]
pub struct ExporterSpec {
    /// What all rows have.
    pub about: About,
    /// What one request holds.
    pub unit: Unit,
    /// Checks the configuration and builds; connects to nothing.
    pub build: Build<BuiltExporter>,
}

/// A row of `extensions::ALL`: what stands beside the pipelines.
#[derive(Clone, Copy)]
pub struct ExtensionSpec {
    /// What all rows have.
    pub about: About,
    /// Checks the configuration; whoever needs the extension reads it.
    pub check: Build<()>,
}

/// What one request of an exporter holds: the sink cuts to it, so that a retry resends only what failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Everything.
    Batch,
    /// One resource.
    Resource,
    /// One profile.
    Profile,
}

/// An exporter with the settings of the sink in front of it.
pub struct BuiltExporter {
    /// The exporter.
    pub exporter: Arc<dyn Exporter>,
    /// Its queue, retry and timeout.
    pub sink: super::sink::SinkConfig,
    /// Whether what it sends stays in the house.
    pub boundary: super::Boundary,
}

/// Reads a component's `Config`, naming the path of what is wrong.
pub fn parse<T: serde::de::DeserializeOwned>(raw: RawConfig) -> Result<T, BuildError> {
    // `redaction:` without anything below it is an empty configuration.
    let raw = match raw {
        serde_json::Value::Null => serde_json::Value::Object(serde_json::Map::new()),
        other => other,
    };
    strict::read(raw).map_err(|fault| BuildError::at(fault.path(), fault.to_string()))
}
