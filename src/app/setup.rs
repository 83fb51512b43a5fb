//! A configuration read, checked, and turned into what runs.

use std::path::PathBuf;

use super::pages::{self, Page};
use super::{RunError, TABLES, build, dry_run, load, placed, quickstart, resolve, warnings};
use crate::config::{Component, Config, ConfigError, ConfigErrors, Kind, Loaded, Node, Sources};
use crate::pipeline::Common;
use crate::pipeline::graph::{Graph, GraphError, Tables};

/// What `run` was asked for.
#[derive(Clone, Debug, Default)]
pub struct RunOptions {
    /// Configuration files, merged in order; without any the built-in quickstart.
    pub files: Vec<PathBuf>,
    /// `--set` values.
    pub sets: Vec<String>,
    /// Count what would be sent, and send nothing.
    pub dry_run: bool,
}

impl RunOptions {
    /// Whether the built-in quickstart runs.
    pub(super) fn is_quickstart(&self) -> bool {
        self.files.is_empty()
    }

    fn sources(&self) -> Result<Sources, RunError> {
        match self.is_quickstart() {
            true => quickstart::sources(&self.sets),
            false => Sources::read(&self.files, &self.sets).map_err(RunError::Unreadable),
        }
    }

    /// The configuration as it stands now, merged and filled in.
    pub(super) fn look(&self) -> Result<Node, RunError> {
        Ok(load(&self.sources()?)?.tree)
    }
}

/// A checked configuration.
pub(super) struct Setup {
    pub(super) loaded: Loaded,
    pub(super) config: Config,
    pub(super) pages: Vec<Page>,
    pub(super) warnings: Vec<String>,
}

impl Setup {
    /// Reads and checks; nothing is bound.
    pub(super) fn read(options: &RunOptions) -> Result<Self, RunError> {
        let loaded = load(&options.sources()?)?;
        let config = resolve(&loaded)?;
        Ok(Self {
            pages: pages::of(&loaded, &config)?,
            warnings: warnings(&loaded, &config),
            loaded,
            config,
        })
    }

    /// Builds what runs.
    pub(super) fn graph(&self, common: &Common, dry_run: bool) -> Result<Graph, ConfigErrors> {
        let quiet;
        let tables = match dry_run {
            true => {
                quiet = dry_run::exporters();
                Tables {
                    exporters: &quiet,
                    dry_run,
                    ..TABLES
                }
            }
            false => TABLES,
        };
        build(&self.loaded, &self.config, tables, common)
    }

    /// What this machine lacks and the graph needs. Components of what is `running` that are configured as before have what they need, or
    /// tell the log what they have lost: no reload fails for them.
    pub(super) fn check_machine(&self, graph: &Graph, running: Option<&Config>) -> Result<(), RunError> {
        let goes_on = |lack: &GraphError| {
            let of = |config| component(config, &lack.path).map(|one| &one.raw);
            running.is_some_and(|running| of(running) == of(&self.config))
        };
        match graph.lacks().into_iter().find(|lack| !goes_on(lack)) {
            Some(lack) => Err(RunError::Failed(placed(&self.loaded, lack))),
            None => Ok(()),
        }
    }

    /// An error at a key, with the place where that was written.
    pub(super) fn error_at(&self, path: &[&str], why: impl Into<String>) -> ConfigError {
        self.loaded.error_at(path, why)
    }
}

/// The component that stands at a path.
fn component<'a>(config: &'a Config, path: &[String]) -> Option<&'a Component> {
    let (section, id) = (path.first()?, path.get(1)?);
    let kind = Kind::ALL.into_iter().find(|kind| kind.section() == section)?;
    config.components(kind).iter().find(|one| one.id == *id)
}
