//! Configuration to running daemon: graph, signals, drain.

mod daemon;
mod dry_run;
mod greeting;
mod quickstart;

use std::sync::Arc;

use crate::config::{Catalog, Config, ConfigError, ConfigErrors, Kind, Loaded, Routing, Sources};
use crate::net::endpoint::{Endpoint, NotAnEndpoint};
use crate::pipeline::graph::{Graph, PipelineSpec, ServiceSpec, Tables};
use crate::pipeline::routing::Mode;
use crate::pipeline::spec::BuildContext;
use crate::telemetry::Metrics;
use crate::{exporters, processors, receivers};

pub use daemon::{RunError, run};
pub use quickstart::CONFIG as QUICKSTART;

/// Everything that is built in.
pub static CATALOG: Catalog = Catalog {
    receivers: receivers::ALL,
    processors: processors::ALL,
    exporters: exporters::ALL,
};

/// The tables, for the engine.
pub const TABLES: Tables<'static> = Tables {
    receivers: receivers::ALL,
    processors: processors::ALL,
    exporters: exporters::ALL,
};

/// What `run` was asked for.
#[derive(Clone, Debug, Default)]
pub struct RunOptions {
    /// The configuration; without texts the built-in quickstart.
    pub sources: Sources,
    /// Count what would be sent, and send nothing.
    pub dry_run: bool,
}

/// Reads, merges and fills in a configuration with the environment of the process.
pub fn load(sources: &Sources) -> Result<Loaded, ConfigErrors> {
    crate::config::load(sources, &|name| std::env::var(name).ok())
}

/// Checks a configuration as a whole; nothing is bound or connected.
pub fn check(loaded: &Loaded) -> Result<Config, ConfigErrors> {
    let config = loaded.resolve(&CATALOG, &checking())?;
    build(loaded, &config, TABLES, Arc::default())?;
    pages(loaded, &config)?;
    Ok(config)
}

/// What is allowed and may be meant otherwise.
pub fn warnings(loaded: &Loaded, config: &Config) -> Vec<String> {
    [loaded.warnings.clone(), service_spec(config).warnings()].concat()
}

/// Where the gate tells about itself.
struct Pages {
    metrics: Option<Page>,
    health: Option<Page>,
}

struct Page {
    /// Key that names the endpoint.
    key: &'static str,
    endpoint: Endpoint,
}

fn pages(loaded: &Loaded, config: &Config) -> Result<Pages, ConfigErrors> {
    let page = |address: &str, key: &'static str| match address.parse() {
        Ok(endpoint) => Ok(Page { key, endpoint }),
        Err(NotAnEndpoint) => {
            let path: Vec<String> = key.split('.').map(str::to_owned).collect();
            Err(ConfigError::new(loaded.place_of(&path), key, NotAnEndpoint.to_string()))
        }
    };
    let metrics = config.service.telemetry.metrics.endpoint();
    let health = config.health_check.as_ref();
    Ok(Pages {
        metrics: metrics.map(|(address, key)| page(&address, key)).transpose()?,
        health: health
            .map(|health| page(&health.endpoint, "extensions.health_check.endpoint"))
            .transpose()?,
    })
}

/// Builds the graph of a checked configuration.
fn build(loaded: &Loaded, config: &Config, tables: Tables<'_>, metrics: Arc<Metrics>) -> Result<Graph, ConfigErrors> {
    Graph::build(&service_spec(config), tables, metrics).map_err(|error| {
        let place = loaded.place_of(&error.path);
        ConfigError::new(place, error.path.join("."), error.message).into()
    })
}

/// What components are built with when they are built for checking only: nothing is counted.
fn checking() -> BuildContext {
    BuildContext {
        id: "check".into(),
        metrics: Arc::default(),
    }
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
