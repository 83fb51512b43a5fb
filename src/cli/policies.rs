//! The policies that a command tries: those of a configuration, or one on its own in a file.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Failure;
use crate::app;
use crate::config::{Component, Config as Checked, Loaded, Sources, Tree};
use crate::pipeline::spec::{BuildError, RawConfig, parse};
use crate::processors::redaction::{Config, Policy, Report, escrow};
use crate::profile::Profiles;

/// Policies, in the order in which they stand.
pub struct Policies(Vec<Tried>);

struct Tried {
    policy: Policy,
    escrow: Option<escrow::Config>,
}

impl Tried {
    fn new(raw: RawConfig) -> Result<Self, BuildError> {
        let config: Config = parse(raw)?;
        let escrow = config.escrow.clone();
        let policy = Policy::new(config)?;
        Ok(Self { policy, escrow })
    }
}

impl Policies {
    /// The redaction processors of a configuration, or of one pipeline of it; of the quickstart's where no file is named.
    pub fn of_config(files: &[PathBuf], pipeline: Option<&str>) -> Result<Self, Failure> {
        let sources = match files {
            [] => Sources {
                texts: vec![("quickstart".to_owned(), app::QUICKSTART.to_owned())],
                sets: Vec::new(),
            },
            files => Sources::read(files, &[]).map_err(|error| Failure::Trouble(error.to_string()))?,
        };
        let loaded = app::load(&sources).map_err(|error| Failure::No(error.to_string()))?;
        let config = app::check(&loaded).map_err(|error| Failure::No(error.to_string()))?;
        match pipeline {
            Some(id) => Self::of_pipeline(&config, id),
            None => Self::of_checked(&config),
        }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// A file with a whole configuration, or with what stands under `redaction:` alone.
    pub fn of_file(path: &Path) -> Result<Self, Failure> {
        let sources = Sources::read(&[path], &[]).map_err(|error| Failure::Trouble(error.to_string()))?;
        let loaded = app::load(&sources).map_err(|error| Failure::No(error.to_string()))?;
        if loaded.tree.get("processors").is_some() {
            return Self::of_checked(&app::check(&loaded).map_err(|error| Failure::No(error.to_string()))?);
        }
        Self::alone(&loaded, path)
    }

    fn alone(loaded: &Loaded, path: &Path) -> Result<Self, Failure> {
        let node = loaded.tree.get("redaction").unwrap_or(&loaded.tree);
        if !matches!(node.tree, Tree::Map(_)) {
            return Err(Failure::No(format!(
                "{}: expected the keys of `redaction`",
                path.display()
            )));
        }
        let policy = Tried::new(node.to_json());
        let policy = policy.map_err(|error| {
            let at = if error.path.is_empty() {
                String::new()
            } else {
                format!("{}: ", error.path)
            };
            Failure::No(format!("{}: {at}{}", path.display(), error.message))
        })?;
        Ok(Self(vec![policy]))
    }

    fn of_checked(config: &Checked) -> Result<Self, Failure> {
        Self::of(config.processors.iter(), "the configuration")
    }

    /// Those of one pipeline, in the order in which it names them.
    fn of_pipeline(config: &Checked, id: &str) -> Result<Self, Failure> {
        let Some((_, pipeline)) = config.pipelines.iter().find(|(known, _)| known == id) else {
            let known: Vec<&str> = config.pipelines.iter().map(|(known, _)| known.as_str()).collect();
            return Err(Failure::No(format!(
                "there is no pipeline {id}; there are {}",
                known.join(", ")
            )));
        };
        let configured = |id: &String| config.processors.iter().find(|component| component.id == *id);
        Self::of(pipeline.processors.iter().filter_map(configured), "the pipeline")
    }

    fn of<'a>(processors: impl Iterator<Item = &'a Component>, whose: &str) -> Result<Self, Failure> {
        let mut policies = Vec::new();
        for component in processors.filter(|component| component.type_name == "redaction") {
            let policy = Tried::new(component.raw.clone());
            policies.push(policy.map_err(|error| Failure::No(error.to_string()))?);
        }
        match policies.is_empty() {
            true => Err(Failure::No(format!("{whose} has no redaction processor"))),
            false => Ok(Self(policies)),
        }
    }

    /// Has their escrows keep what they hide from now on: trying a policy keeps nothing.
    pub fn keep_names(&mut self) -> Result<(), Failure> {
        for tried in &mut self.0 {
            if let Some(escrow) = &tried.escrow {
                let kept = tried.policy.keep_in(escrow, &Arc::default());
                kept.map_err(|error| Failure::No(error.to_string()))?;
            }
        }
        Ok(())
    }

    /// All of them, one after the other. What went is told; what nothing refers to any more is gone.
    pub fn redact(&self, profiles: &mut Profiles) -> Report {
        let mut report = Report::default();
        for tried in &self.0 {
            report.merge(tried.policy.redact(profiles));
        }
        profiles.compact();
        report
    }
}
