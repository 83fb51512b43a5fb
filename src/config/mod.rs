//! YAML to component configuration, with the place of everything.
//!
//! 1. Every file and every `--set` is read into a tree whose nodes know their place ([`Node`]).
//! 2. figment lays them over each other.
//! 3. References to the environment and to files are replaced.
//! 4. Every component is built once and thrown away, so that everything that is wrong is told at once, with its place.
//!
//! No error and no printed configuration holds a secret: see [`secret`].

mod catalog;
mod error;
mod foreign;
mod hints;
mod interpolate;
mod layers;
mod print;
mod references;
mod resolve;
mod schema;
pub mod secret;
mod service;
mod source;
#[cfg(test)]
mod tests;
mod tree;

use std::path::Path;

pub use crate::pipeline::units::io_reason;
pub use catalog::{Catalog, Kind};
pub use error::{ConfigError, ConfigErrors, plain_message};
pub use interpolate::{Environment, filled_in};
pub use print::{to_json, to_yaml};
pub use resolve::{Component, Config};
pub use schema::schema;
pub use service::{Audit, Encoding, KillSwitch, Level, Logs, MetricsConfig, Pipeline, Routing, Service, Telemetry};
pub use tree::{Entry, Node, Place, Tree};

use crate::pipeline::spec::BuildContext;

/// Where a configuration comes from, in the order in which it is laid over each other.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// YAML texts with their names: files, or what is built in.
    pub texts: Vec<(String, String)>,
    /// `--set` values.
    pub sets: Vec<String>,
}

impl Sources {
    /// Reads what `--config` names: files, and what [`source`] knows besides.
    pub fn read(names: &[impl AsRef<Path>], sets: &[String]) -> Result<Self, ConfigError> {
        let env = |name: &str| std::env::var(name).ok();
        let mut texts = Vec::with_capacity(names.len());
        for name in names {
            texts.push(source::read(&name.as_ref().display().to_string(), &env)?);
        }
        Ok(Self {
            texts,
            sets: sets.to_vec(),
        })
    }
}

/// A configuration merged and filled in, not yet checked.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The tree.
    pub tree: Node,
    /// What the reader of the log should know, such as variables that are not set.
    pub warnings: Vec<String>,
}

/// Reads, merges and fills in.
pub fn load(sources: &Sources, env: Environment<'_>) -> Result<Loaded, ConfigErrors> {
    let mut layers = Vec::new();
    for (name, text) in &sources.texts {
        let layer = Node::parse(text, name)?;
        if !matches!(layer.tree, Tree::Map(_) | Tree::Null) {
            let message = format!("expected a map of sections, found {}", layer.kind());
            return Err(ConfigError::new(layer.place, "", message).into());
        }
        layers.extend(layers::expanded(layer)?);
    }
    for set in &sources.sets {
        layers.push(layers::from_set(set)?);
    }
    let mut tree = layers::merge(&layers)?;
    let warnings = interpolate::interpolate(&mut tree, env).map_err(ConfigErrors)?;
    Ok(Loaded { tree, warnings })
}

impl Loaded {
    /// Checks everything. `cx` is what components are built with, for checking only.
    pub fn resolve(&self, catalog: &Catalog, cx: &BuildContext) -> Result<Config, ConfigErrors> {
        resolve::resolve(&self.tree, catalog, cx).map_err(|errors| self.without_secrets(catalog, errors))
    }

    /// Where the value at a path was written, or the nearest one above it.
    pub fn place_of(&self, path: &[String]) -> Place {
        resolve::place_of(&self.tree, path)
    }

    /// An error at a path. An id is one key of it, whatever characters it has.
    pub fn error_at(&self, path: &[&str], message: impl Into<String>) -> ConfigError {
        let keys: Vec<String> = path.iter().map(ToString::to_string).collect();
        ConfigError::new(self.place_of(&keys), path.join("."), message)
    }

    /// The text at a path; none if something else is there.
    pub fn text_at(&self, path: &[&str]) -> Option<&str> {
        let mut node = &self.tree;
        for key in path {
            node = node.get(key)?;
        }
        match &node.tree {
            Tree::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The tree as it may be shown.
    pub fn redacted(&self, catalog: &Catalog) -> Node {
        secret::redact(&self.tree, &schema(catalog))
    }

    /// Errors of components say what is wrong, and may quote more of it than they should.
    fn without_secrets(&self, catalog: &Catalog, mut errors: ConfigErrors) -> ConfigErrors {
        let mut secrets = Vec::new();
        secret::secrets(&self.tree, &self.redacted(catalog), &mut secrets);
        for error in &mut errors.0 {
            error.message = secret::scrub(&error.message, &secrets);
        }
        errors
    }
}
