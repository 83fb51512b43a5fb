//! A configuration made ready: what one text becomes in one role.

use regex::Regex;

use super::arguments::Arguments;
use super::config::{Config, Summary};
use super::detectors::{Detectors, Place, user_pattern};
use super::keys::Keys;
use super::pass::Pass;
use super::paths::Paths;
use super::report::Report;
use crate::pipeline::spec::BuildError;
use crate::profile::{Profiles, Role};

/// A text after the policy.
pub(super) struct Masking {
    pub(super) text: String,
    pub(super) rules: Vec<&'static str>,
}

/// A configuration made ready.
pub struct Policy {
    pub(super) keys: Keys,
    allowed_values: Vec<Regex>,
    blocked_values: Vec<Regex>,
    pub(super) detectors: Detectors,
    paths: Paths,
    arguments: Arguments,
    pub(super) summary: Summary,
}

impl Policy {
    /// Checks the configuration and compiles its patterns.
    pub fn new(config: Config) -> Result<Self, BuildError> {
        let internal = |message: String| BuildError::at("detectors", message);
        Ok(Self {
            keys: Keys {
                allow_all: config.allow_all_keys.unwrap_or(config.allowed_keys.is_empty()),
                blocked: patterns("blocked_key_patterns", &config.blocked_key_patterns)?,
                allowed: config.allowed_keys,
                ignored: config.ignored_keys,
            },
            allowed_values: patterns("allowed_values", &config.allowed_values)?,
            blocked_values: patterns("blocked_values", &config.blocked_values)?,
            detectors: Detectors::new(&config.detectors).map_err(internal)?,
            paths: Paths::new(config.paths).map_err(internal)?,
            arguments: config.arguments,
            summary: config.summary,
        })
    }

    /// Redacts in place and says what went. What has nothing to hide is not touched.
    pub fn redact(&self, profiles: &mut Profiles) -> Report {
        let mut pass = Pass::new(self);
        if !pass.would_change(profiles) {
            return Report::default();
        }
        pass.apply(profiles)
    }

    pub(super) fn is_allowed(&self, text: &str) -> bool {
        self.allowed_values.iter().any(|pattern| pattern.is_match(text))
    }

    /// One text in one role: blocked values, then arguments, then detectors, then paths.
    pub(super) fn mask(&self, text: &str, role: Role) -> Option<Masking> {
        let mut rules = Vec::new();
        let mut masked: Option<String> = None;
        for pattern in &self.blocked_values {
            let now = masked.as_deref().unwrap_or(text);
            let next = pattern.replace_all(now, "****");
            if next != now {
                rules.push("blocked_values");
                masked = Some(next.into_owned());
            }
        }
        if matches!(role, Role::FunctionName | Role::SystemName)
            && let Some(next) = self.arguments.rewrite(masked.as_deref().unwrap_or(text))
        {
            rules.push("arguments");
            masked = Some(next);
        }
        let now = masked.as_deref().unwrap_or(text);
        if let Some(next) = self.detectors.mask(now, Place::of(role), |rule| rules.push(rule)) {
            masked = Some(next);
        }
        let file = Place::of(role) == Place::File;
        if let Some(next) = self.paths.rewrite(masked.as_deref().unwrap_or(text), file) {
            rules.push("paths");
            masked = Some(next);
        }
        masked.map(|text| Masking { text, rules })
    }
}

fn patterns(key: &str, patterns: &[String]) -> Result<Vec<Regex>, BuildError> {
    let compile = |(i, pattern): (usize, &String)| {
        user_pattern(pattern).map_err(|message| BuildError::at(format!("{key}[{i}]"), message))
    };
    patterns.iter().enumerate().map(compile).collect()
}
