//! From configured ids to built components, wired; no socket is opened. What pipelines name is configured, and each once: that is
//! checked where the configuration is read, which knows the places. What a pipeline may be made of is checked here.
//!
//! A graph is built whole before any of it runs, so that a reload can build the next one, then swap.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::boundary::Boundary;
use super::chain::Stage;
use super::component::Receiver;
use super::feeder::Feeder;
use super::matcher::{MatchConfig, Matcher};
use super::plan::Plan;
use super::recent::Ring;
use super::routing::{self, Mode, Route};
use super::shared::Common;
use super::spec::{
    About, BuildContext, BuildError, BuiltExporter, ExporterSpec, Place, ProcessorSpec, RawConfig, ReceiverSpec, Unit,
};
use crate::telemetry::{Metrics, Signal};

/// Components by id, and the pipelines between them, as the configuration resolved them.
#[derive(Clone, Debug, Default)]
pub struct ServiceSpec {
    /// Receivers by id.
    pub receivers: BTreeMap<String, RawConfig>,
    /// Processors by id.
    pub processors: BTreeMap<String, RawConfig>,
    /// Exporters by id.
    pub exporters: BTreeMap<String, RawConfig>,
    /// Pipelines with their ids, in the order in which they are written.
    pub pipelines: Vec<(String, PipelineSpec)>,
    /// How many pipelines of a receiver one profile takes.
    pub routing: Mode,
}

/// One pipeline.
#[derive(Clone, Debug, Default)]
pub struct PipelineSpec {
    /// Ids of its receivers.
    pub receivers: Vec<String>,
    /// Ids of its processors, in order.
    pub processors: Vec<String>,
    /// Ids of its exporters.
    pub exporters: Vec<String>,
    /// When a sender hears OK; unset means `enqueued`.
    pub ack: Option<String>,
    /// What it takes: "and" within an item, "or" between items; unset means everything.
    pub when: Option<Vec<MatchConfig>>,
    /// Takes what no other pipeline of the receiver takes.
    pub default: bool,
}

/// The components that exist.
#[derive(Clone, Copy)]
pub struct Tables<'a> {
    /// Receivers.
    pub receivers: &'a [ReceiverSpec],
    /// Processors.
    pub processors: &'a [ProcessorSpec],
    /// Exporters.
    pub exporters: &'a [ExporterSpec],
    /// Components are to change nothing outside of the process.
    pub dry_run: bool,
}

/// A configuration that cannot be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {message}", path.join("."))]
pub struct GraphError {
    /// Where, key by key; an id is one key, whatever characters it has.
    pub path: Vec<String>,
    /// What is wrong and what is allowed, lower case.
    pub message: String,
}

/// A receiver with its id and the configuration that it was built of.
pub(super) struct NamedReceiver {
    pub(super) id: Arc<str>,
    pub(super) raw: RawConfig,
    pub(super) receiver: Box<dyn Receiver>,
    pub(super) feeders: Vec<Feeder>,
}

/// An exporter with its id, the kind of data that it takes, the configuration that it was built of, and what one request of it
/// holds. One that takes both kinds is there twice.
pub(super) struct NamedExporter {
    pub(super) id: Arc<str>,
    pub(super) signal: Signal,
    pub(super) raw: RawConfig,
    pub(super) unit: Unit,
    pub(super) built: BuiltExporter,
    pub(super) feeders: Vec<Feeder>,
    pub(super) rings: Vec<Arc<Ring>>,
}

/// Components built and wired, not yet running.
pub struct Graph {
    pub(super) receivers: Vec<NamedReceiver>,
    pub(super) exporters: Vec<NamedExporter>,
    pub(super) pipelines: Vec<Wiring>,
    pub(super) routing: Mode,
    pub(super) metrics: Arc<Metrics>,
}

/// One pipeline of a graph.
pub(super) struct Wiring {
    pub(super) id: Arc<str>,
    pub(super) signal: Signal,
    pub(super) route: Route,
    /// Ids and configurations of the stages.
    pub(super) processors: Vec<(Arc<str>, RawConfig)>,
    pub(super) receivers: Vec<Arc<str>>,
    pub(super) stages: Vec<Stage>,
    /// Those of each stage.
    pub(super) feeders: Vec<(Arc<str>, Vec<Feeder>)>,
    pub(super) plans: Vec<Arc<Plan>>,
    pub(super) exporters: Vec<Arc<str>>,
}

impl ServiceSpec {
    /// What may be meant otherwise: pipelines that nothing reaches, and those that redact nothing.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        for (at, (id, pipeline)) in self.pipelines.iter().enumerate() {
            if Signal::of_pipeline(id) == Some(Signal::Traces) && !pipeline.exporters.is_empty() {
                warnings.push(format!(
                    "service.pipelines.{id}: traces leave as they came: nothing here redacts them; who sends them has to"
                ));
            }
            if let Some(why) = routing::unreachable(&self.pipelines, self.routing, at) {
                warnings.push(format!("service.pipelines.{id}: nothing reaches this pipeline: {why}"));
            }
        }
        warnings
    }
}

impl Graph {
    /// Builds what some pipeline uses.
    pub fn build(spec: &ServiceSpec, tables: Tables<'_>, common: &Common) -> Result<Self, GraphError> {
        for (id, pipeline) in &spec.pipelines {
            check_pipeline(id, pipeline, spec, tables)?;
        }
        let receivers = build_receivers(spec, tables, common)?;
        let exporters = build_exporters(spec, tables, common)?;
        let mut pipelines = Vec::with_capacity(spec.pipelines.len());
        let all: Arc<[(String, PipelineSpec)]> = spec.pipelines.as_slice().into();
        for (id, pipeline) in &spec.pipelines {
            check_boundary(id, pipeline, spec, tables, &exporters)?;
            let place = Place {
                pipeline: id.as_str().into(),
                pipelines: all.clone(),
            };
            pipelines.push(wire(place, pipeline, spec, tables, common)?);
        }
        Ok(Self {
            receivers,
            exporters,
            pipelines,
            routing: spec.routing,
            metrics: common.metrics.clone(),
        })
    }

    /// What this machine lacks and the components need.
    pub fn lacks(&self) -> Vec<GraphError> {
        let receivers = self.receivers.iter();
        let receivers = receivers.map(|one| ("receivers", &one.id, one.receiver.check_machine()));
        let stages = self.pipelines.iter().flat_map(|pipeline| &pipeline.stages);
        let processors = stages.map(|one| ("processors", &one.id, one.processor.check_machine()));
        let exporters = self.exporters.iter();
        let exporters = exporters.map(|one| ("exporters", &one.id, one.built.exporter.check_machine()));
        let mut lacks = Vec::new();
        for (kind, id, checked) in receivers.chain(processors).chain(exporters) {
            let lack = checked.err().map(|wrong| located(kind, id, wrong));
            // a processor stands in several pipelines
            lacks.extend(lack.filter(|lack| !lacks.contains(lack)));
        }
        lacks
    }

    /// What the components look for and is not there yet, or doubt.
    pub fn awaits(&self) -> Vec<GraphError> {
        let receivers = self.receivers.iter();
        let receivers = receivers.map(|one| ("receivers", &one.id, one.receiver.awaits()));
        let stages = self.pipelines.iter().flat_map(|pipeline| &pipeline.stages);
        let processors = stages.map(|one| ("processors", &one.id, one.processor.awaits()));
        let mut awaits = Vec::new();
        for (kind, id, awaited) in receivers.chain(processors) {
            for one in awaited {
                let one = located(kind, id, one);
                // a processor stands in several pipelines
                if !awaits.contains(&one) {
                    awaits.push(one);
                }
            }
        }
        awaits
    }

    /// What months may cost, by all processors.
    pub fn plans(&self) -> Vec<Arc<Plan>> {
        self.pipelines.iter().flat_map(|line| line.plans.clone()).collect()
    }
}

/// The ids that pipelines name, each once.
fn used(spec: &ServiceSpec, named: fn(&PipelineSpec) -> &[String]) -> BTreeSet<&str> {
    let all = spec.pipelines.iter().flat_map(|(_, pipeline)| named(pipeline));
    all.map(String::as_str).collect()
}

fn configured<'a>(kind: &str, id: &str, all: &'a BTreeMap<String, RawConfig>) -> Result<&'a RawConfig, GraphError> {
    all.get(id)
        .ok_or_else(|| error(&[kind, id], "a pipeline names it, and it is not configured"))
}

fn build_receivers(spec: &ServiceSpec, tables: Tables<'_>, common: &Common) -> Result<Vec<NamedReceiver>, GraphError> {
    let mut built = Vec::with_capacity(spec.receivers.len());
    for id in used(spec, |pipeline| &pipeline.receivers) {
        let raw = configured("receivers", id, &spec.receivers)?;
        let row = find("receivers", id, tables.receivers, |row| &row.about)?;
        let cx = context(id, tables, common);
        let receiver = (row.build)(raw.clone(), &cx).map_err(|e| located("receivers", id, e))?;
        built.push(NamedReceiver {
            id: cx.id,
            raw: raw.clone(),
            receiver,
            feeders: cx.feeders.take(),
        });
    }
    Ok(built)
}

fn build_exporters(spec: &ServiceSpec, tables: Tables<'_>, common: &Common) -> Result<Vec<NamedExporter>, GraphError> {
    let mut built = Vec::with_capacity(spec.exporters.len());
    for id in used(spec, |pipeline| &pipeline.exporters) {
        let raw = configured("exporters", id, &spec.exporters)?;
        let row = find("exporters", id, tables.exporters, |row| &row.about)?;
        for signal in Signal::ALL.into_iter().filter(|signal| sends(spec, id, *signal)) {
            let cx = context(id, tables, common);
            let wrong = |error| located("exporters", id, error);
            let exporter = (row.build)(raw.clone(), &cx).map_err(wrong)?;
            exporter.sink.check().map_err(wrong)?;
            exporter.exporter.check_signal(signal).map_err(wrong)?;
            built.push(NamedExporter {
                id: cx.id,
                signal,
                raw: raw.clone(),
                unit: row.unit,
                built: exporter,
                feeders: cx.feeders.take(),
                rings: cx.rings.take(),
            });
        }
    }
    Ok(built)
}

/// Whether an exporter stands in a pipeline of this kind.
fn sends(spec: &ServiceSpec, exporter: &str, signal: Signal) -> bool {
    let mut own = spec.pipelines.iter().filter(|(id, _)| signal_of(id) == signal);
    own.any(|(_, pipeline)| pipeline.exporters.iter().any(|id| id == exporter))
}

/// The kind of data of a pipeline; that there is one was checked with its components.
fn signal_of(pipeline: &str) -> Signal {
    Signal::of_pipeline(pipeline).unwrap_or_default()
}

fn wire(
    place: Place,
    pipeline: &PipelineSpec,
    spec: &ServiceSpec,
    tables: Tables<'_>,
    common: &Common,
) -> Result<Wiring, GraphError> {
    let mut stages = Vec::with_capacity(pipeline.processors.len());
    let (mut processors, mut feeders, mut plans) = (Vec::new(), Vec::new(), Vec::new());
    for id in &pipeline.processors {
        let raw = configured("processors", id, &spec.processors)?;
        let row = find("processors", id, tables.processors, |row| &row.about)?;
        let cx = BuildContext {
            place: Some(place.clone()),
            ..context(id, tables, common)
        };
        let processor = (row.build)(raw.clone(), &cx).map_err(|e| located("processors", id, e))?;
        plans.extend(cx.plans.take());
        feeders.push((cx.id.clone(), cx.feeders.take()));
        processors.push((cx.id.clone(), raw.clone()));
        stages.push(Stage {
            id: cx.id,
            processor,
            holds: row.holds_as(raw, signal_of(&place.pipeline)),
        });
    }
    let ids = |ids: &[String]| ids.iter().map(|id| id.as_str().into()).collect();
    Ok(Wiring {
        route: route(&place.pipeline, pipeline)?,
        signal: signal_of(&place.pipeline),
        id: place.pipeline,
        processors,
        receivers: ids(&pipeline.receivers),
        stages,
        feeders,
        plans,
        exporters: ids(&pipeline.exporters),
    })
}

fn route(id: &str, pipeline: &PipelineSpec) -> Result<Route, GraphError> {
    let at = |key: &str, message: String| Err(error(&["service", "pipelines", id, key], message));
    match (&pipeline.when, pipeline.default) {
        (None, false) => Ok(Route::Everything),
        (None, true) => Ok(Route::Rest),
        (Some(_), true) => at(
            "default",
            "a default pipeline takes the rest; leave out `when`".to_owned(),
        ),
        (Some(items), false) if items.is_empty() => at(
            "when",
            "an empty list matches nothing; leave it out to take everything".to_owned(),
        ),
        (Some(items), false) => {
            let mut matchers = Vec::with_capacity(items.len());
            for (index, item) in items.iter().enumerate() {
                match Matcher::new("", item) {
                    Ok(matcher) if signal_of(id) == Signal::Traces && !matcher.is_about_origin() => {
                        let message = "traces are told apart by `tenant` and `receiver` alone, because they pass \
                                       unread; send them to receivers of their own";
                        return at("when", format!("item {}: {message}", index + 1));
                    }
                    Ok(matcher) => matchers.push(matcher),
                    Err(wrong) => {
                        let key = wrong.path.trim_start_matches('.');
                        return at("when", format!("item {}, `{key}`: {}", index + 1, wrong.message));
                    }
                }
            }
            Ok(Route::When(matchers))
        }
    }
}

fn check_pipeline(id: &str, pipeline: &PipelineSpec, spec: &ServiceSpec, tables: Tables<'_>) -> Result<(), GraphError> {
    let at = |key: &str, message: String| Err(error(&["service", "pipelines", id, key], message));
    if let Some(ack) = pipeline.ack.as_deref().filter(|ack| *ack != "enqueued") {
        let known = ["durable", "delivered"].contains(&ack);
        for processor in pipeline.processors.iter().filter(|_| known) {
            let raw = configured("processors", processor, &spec.processors)?;
            let (row, signal) = (
                find("processors", processor, tables.processors, |row| &row.about)?,
                signal_of(id),
            );
            if row.holds_as(raw, signal) {
                let why = "back in memory, so nothing but `enqueued` can be promised; leave it out, or `ack`";
                return at("ack", format!("`{processor}` holds {} {why}", signal.label()));
            }
        }
        let why = if known {
            "this needs the durable log, which does not exist yet; "
        } else {
            ""
        };
        return at("ack", format!("{why}only `enqueued` is accepted"));
    }
    let Some(signal) = Signal::of_pipeline(id) else {
        let message = "no kind of data that is known here; pipelines are of profiles or traces";
        return Err(error(&["service", "pipelines", id], message));
    };
    if signal == Signal::Profiles && pipeline.exporters.is_empty() {
        return at(
            "exporters",
            "profiles have to go somewhere; name an exporter".to_owned(),
        );
    }
    let kinds = [
        ("receivers", &pipeline.receivers),
        ("processors", &pipeline.processors),
        ("exporters", &pipeline.exporters),
    ];
    for (kind, ids) in kinds {
        for id in ids {
            if !about(kind, id, tables)?.signals.contains(&signal.label()) {
                return at(kind, format!("`{id}` does not handle {}", signal.label()));
            }
        }
    }
    check_order(id, pipeline, tables)
}

/// Text that enters behind redaction would leave unredacted.
fn check_order(id: &str, pipeline: &PipelineSpec, tables: Tables<'_>) -> Result<(), GraphError> {
    let mut redacted = false;
    for processor in &pipeline.processors {
        let row = find("processors", processor, tables.processors, |row| &row.about)?;
        if redacted && row.adds_text {
            let message = format!("`{processor}` adds text, which would leave unredacted; move it before `redaction`");
            return Err(error(&["service", "pipelines", id, "processors"], message));
        }
        redacted |= row.about.name == "redaction";
    }
    Ok(())
}

/// Nothing leaves the house unredacted. Traces pass as they are: nothing here looks into them.
fn check_boundary(
    id: &str,
    pipeline: &PipelineSpec,
    spec: &ServiceSpec,
    tables: Tables<'_>,
    built: &[NamedExporter],
) -> Result<(), GraphError> {
    let is_external = |id: &String| {
        let named = built.iter().find(|one| *one.id == *id);
        named.is_some_and(|one| one.built.boundary == Boundary::External)
    };
    let mut exporters = pipeline.exporters.iter().enumerate();
    let Some((item, outside)) = exporters.find(|(_, id)| is_external(id)) else {
        return Ok(());
    };
    if signal_of(id) == Signal::Traces {
        return Ok(());
    }
    let mut idle = None;
    for processor in &pipeline.processors {
        let row = find("processors", processor, tables.processors, |row| &row.about)?;
        let raw = configured("processors", processor, &spec.processors)?;
        match row.removes_text {
            Some(removes) if removes(raw) => return Ok(()),
            Some(_) => idle = Some(processor),
            None => {}
        }
    }
    let message = match idle {
        None => format!(
            "`{outside}` sends out of the house, and no `redaction` stands in this pipeline; add `redaction` to its \
             `processors`, or say `boundary: internal` at exporters.{outside} if that backend is yours"
        ),
        Some(idle) => format!(
            "`{outside}` sends out of the house, and `{idle}` removes nothing as it is configured (`dry_run`); let it \
             remove, or say `boundary: internal` at exporters.{outside} if that backend is yours"
        ),
    };
    let item = format!("[{item}]");
    Err(error(&["service", "pipelines", id, "exporters", &item], message))
}

fn about(kind: &str, id: &str, tables: Tables<'_>) -> Result<About, GraphError> {
    match kind {
        "receivers" => find(kind, id, tables.receivers, |row| &row.about).map(|row| row.about),
        "processors" => find(kind, id, tables.processors, |row| &row.about).map(|row| row.about),
        _ => find(kind, id, tables.exporters, |row| &row.about).map(|row| row.about),
    }
}

/// The row of an id, `type` or `type/name`, by type name or alias.
fn find<'a, Row>(kind: &str, id: &str, rows: &'a [Row], about: fn(&Row) -> &About) -> Result<&'a Row, GraphError> {
    let (name, rest) = id.split_once('/').unwrap_or((id, "-"));
    if rest.is_empty() {
        return Err(error(&[kind, id], "there is no name behind the slash"));
    }
    let named = |row: &&Row| about(row).name == name || about(row).aliases.contains(&name);
    rows.iter()
        .find(named)
        .ok_or_else(|| error(&[kind, id], format!("there is no `{name}` among the {kind}")))
}

fn context(id: &str, tables: Tables<'_>, common: &Common) -> BuildContext {
    BuildContext {
        dry_run: tables.dry_run,
        shared: common.shared.clone(),
        ..BuildContext::new(id, common.metrics.clone())
    }
}

fn located(kind: &str, id: &str, wrong: BuildError) -> GraphError {
    let mut path = vec![kind.to_owned(), id.to_owned()];
    for key in wrong.path.split('.').filter(|key| !key.is_empty()) {
        // an item of a list is a key of its own: `[2]`
        let (list, item) = key.split_at(key.find('[').unwrap_or(key.len()));
        path.extend(
            [list, item]
                .into_iter()
                .filter(|key| !key.is_empty())
                .map(str::to_owned),
        );
    }
    GraphError {
        path,
        message: wrong.message,
    }
}

fn error(path: &[&str], message: impl Into<String>) -> GraphError {
    GraphError {
        path: path.iter().map(|key| (*key).to_owned()).collect(),
        message: message.into(),
    }
}
