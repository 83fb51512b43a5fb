//! Configuration to running daemon: graph, signals, drain.

mod audit;
mod cores;
mod daemon;
mod dry_run;
mod farewell;
mod greeting;
mod kill;
mod ledger;
mod memory;
mod order;
mod pages;
mod quickstart;
mod recent;
mod setup;

use std::sync::Arc;

use serde::Deserialize;

use crate::config::{Catalog, Component, Config, ConfigError, ConfigErrors, Kind, Loaded, Routing, Sources};
use crate::pipeline::graph::{Graph, GraphError, PipelineSpec, ServiceSpec, Tables};
use crate::pipeline::routing::Mode;
use crate::pipeline::shared::Common;
use crate::pipeline::sink::RetryConfig;
use crate::pipeline::spec::BuildContext;
use crate::receivers::watch::Globs;
use crate::{exporters, extensions, processors, receivers};

pub use daemon::{RunError, run};
pub use kill::components;
pub use memory::keep_freed_blocks;
pub use quickstart::CONFIG as QUICKSTART;
pub use setup::RunOptions;

/// Everything that is built in.
pub static CATALOG: Catalog = Catalog {
    receivers: receivers::ALL,
    processors: processors::ALL,
    exporters: exporters::ALL,
    extensions: extensions::ALL,
};

/// The tables, for the engine.
pub const TABLES: Tables<'static> = Tables {
    receivers: receivers::ALL,
    processors: processors::ALL,
    exporters: exporters::ALL,
    dry_run: false,
};

/// Reads, merges and fills in a configuration with the environment of the process.
pub fn load(sources: &Sources) -> Result<Loaded, ConfigErrors> {
    crate::config::load(sources, &|name| std::env::var(name).ok())
}

/// Checks a configuration as a whole; nothing is bound or connected.
pub fn check(loaded: &Loaded) -> Result<Config, ConfigErrors> {
    let mut config = resolve(loaded)?;
    let graph = build(loaded, &config, TABLES, &Common::default())?;
    crate::ledger::check(&graph.plans()).map_err(|wrong| ledger::placed(loaded, &wrong))?;
    pages::of(loaded, &config)?;
    let lacking = graph.lacks().into_iter().map(|lack| placed(loaded, lack));
    let lacking = lacking.chain(audit::lacking(loaded, &config)?);
    // this may be another machine than the one it is meant for, and another user
    let lacking = lacking.map(|lack| ConfigError {
        message: format!("`run` would not start here: {}", lack.message),
        ..lack
    });
    let awaited = graph.awaits().into_iter().map(|one| placed(loaded, one));
    let places = lacking.chain(awaited).chain(kill::lacking(loaded, &config));
    config.warnings.extend(places.map(|place| place.to_string()));
    Ok(config)
}

/// Every component and every key, and what of them must hold together.
fn resolve(loaded: &Loaded) -> Result<Config, ConfigErrors> {
    let config = loaded.resolve(&CATALOG, &checking())?;
    memory::check(loaded, &config)?;
    audit::settings(loaded, &config)?;
    kill::settings(loaded, &config, false)?;
    Ok(config)
}

/// What is allowed and may be meant otherwise.
pub fn warnings(loaded: &Loaded, config: &Config) -> Vec<String> {
    let batches = config.processors.iter();
    let batches = batches.filter(|one| one.type_name == processors::batch::SPEC.about.name);
    let batches = batches.map(|one| {
        let note = loaded.error_at(&["processors", &one.id], processors::batch::NOTE);
        note.to_string()
    });
    let mut warnings = loaded.warnings.clone();
    warnings.extend(config.warnings.iter().cloned());
    warnings.extend(batches);
    warnings.extend(idle_authenticators(loaded, config));
    warnings.extend(unverified(loaded, config));
    warnings.extend(unrepeated(loaded, config));
    warnings.extend(taken_twice(loaded, config));
    warnings.extend(order::warnings(loaded, config));
    if config.service.telemetry.metrics.readers.len() > 1 {
        let path = ["service", "telemetry", "metrics", "readers"];
        warnings.push(loaded.error_at(&path, "only the first is served").to_string());
    }
    warnings.extend(service_spec(config).warnings());
    warnings
}

/// Authenticators that nobody asks: whoever wrote one may think that it guards something.
fn idle_authenticators(loaded: &Loaded, config: &Config) -> Vec<String> {
    let mut idle = Vec::new();
    for extension in &config.extensions {
        let all = Kind::ALL.into_iter().flat_map(|kind| config.components(kind));
        let is_authenticator = extensions::authenticators::is(extension.type_name);
        if is_authenticator && !all.into_iter().any(|one| one.names_authenticator(&extension.id)) {
            let id = &extension.id;
            let why =
                format!("guards nothing: name it as `auth: {{ authenticator: {id} }}` at a server or an exporter");
            idle.push(loaded.error_at(&["extensions", id], why).to_string());
        }
    }
    idle
}

/// Receivers that take the same files: each of them sends them on.
fn taken_twice(loaded: &Loaded, config: &Config) -> Vec<String> {
    let files = config.receivers.iter().filter_map(|one| {
        let place: &[&str] = match one.type_name {
            "file" => &["include"],
            "pprof" => &["file", "include"],
            _ => return None,
        };
        let include = one.raw.pointer(&format!("/{}", place.join("/")))?;
        Some((one, place, Globs::deserialize(include).ok()?))
    });
    let files: Vec<_> = files.collect();
    let mut warnings = Vec::new();
    for (at, (one, place, globs)) in files.iter().enumerate() {
        let earlier = files.iter().take(at);
        for (other, _, _) in earlier.filter(|(_, _, others)| globs.overlap(others)) {
            let path = [&["receivers", one.id.as_ref()], *place].concat();
            let why = format!("{} takes some of these files too, and both send them on", other.id);
            warnings.push(loaded.error_at(&path, why).to_string());
        }
    }
    warnings
}

/// Exporters that take anybody for their backend.
fn unverified(loaded: &Loaded, config: &Config) -> Vec<String> {
    let anyone = |one: &&Component| one.raw.pointer("/tls/insecure_skip_verify") == Some(&true.into());
    let warning = |one: &Component| {
        let path = ["exporters", &one.id, "tls", "insecure_skip_verify"];
        let why = "any certificate is taken for the server's; name its authority in `ca_file` instead";
        loaded.error_at(&path, why).to_string()
    };
    config.exporters.iter().filter(anyone).map(warning).collect()
}

/// Exporters whose retries end before the first one.
fn unrepeated(loaded: &Loaded, config: &Config) -> Vec<String> {
    let mut warnings = Vec::new();
    for exporter in &config.exporters {
        let written = exporter.raw.get("retry_on_failure").cloned();
        let retry = written.and_then(|retry| serde_json::from_value::<RetryConfig>(retry).ok());
        if let Some(retry) = retry.filter(RetryConfig::gives_up_at_once) {
            let path = ["exporters", &exporter.id, "retry_on_failure", "max_elapsed_time"];
            let why = format!(
                "is over before the first repetition, which comes after about {} (`initial_interval`): hardly any failed \
                 attempt is repeated; make this longer or that shorter, or say `enabled: false`",
                retry.initial_interval
            );
            warnings.push(loaded.error_at(&path, why).to_string());
        }
    }
    warnings
}

/// Builds the graph of a checked configuration.
fn build(loaded: &Loaded, config: &Config, tables: Tables<'_>, common: &Common) -> Result<Graph, ConfigErrors> {
    let graph = Graph::build(&service_spec(config), tables, common);
    graph.map_err(|error| placed(loaded, error).into())
}

/// What is wrong with a graph, with the place where that was written.
fn placed(loaded: &Loaded, error: GraphError) -> ConfigError {
    let place = loaded.place_of(&error.path);
    // an item of a list stands without a dot
    let path = error.path.join(".").replace(".[", "[");
    ConfigError::new(place, path, error.message)
}

/// What components are built with when they are built for checking only: nothing is counted.
fn checking() -> BuildContext {
    BuildContext::new("check", Arc::default())
}

fn service_spec(config: &Config) -> ServiceSpec {
    let of = |kind: Kind| {
        let components = config.components(kind).iter();
        components
            .map(|component| (component.id.clone(), component.raw.clone()))
            .collect()
    };
    let pipelines = config.pipelines.iter().map(|(id, pipeline)| {
        let spec = PipelineSpec {
            receivers: pipeline.receivers.clone(),
            processors: pipeline.processors.clone(),
            exporters: pipeline.exporters.clone(),
            ack: pipeline.ack.clone(),
            when: pipeline.when.clone(),
            default: pipeline.default,
        };
        (id.clone(), spec)
    });
    ServiceSpec {
        receivers: of(Kind::Receiver),
        processors: of(Kind::Processor),
        exporters: of(Kind::Exporter),
        pipelines: pipelines.collect(),
        routing: match config.service.routing {
            Routing::All => Mode::All,
            Routing::First => Mode::First,
        },
    }
}
