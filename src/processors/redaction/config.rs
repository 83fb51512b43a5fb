//! The keys of a policy, as they stand in the configuration.

use schemars::JsonSchema;
use serde::Deserialize;

use super::arguments::Arguments;
use super::detectors::Detector;
use super::paths::PathMode;

/// What is said about it in attributes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Summary {
    /// Counts, and the names of the keys.
    Debug,
    /// Counts.
    Info,
    /// Nothing.
    #[default]
    Silent,
}

/// Configuration of `redaction`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// What is looked for. `pii` is `emails`, `ip_addresses`, `cards`, `ibans` and `ssns`.
    pub detectors: Vec<Detector>,
    /// Whether attributes stay that `allowed_keys` does not name; true until `allowed_keys` is set.
    pub allow_all_keys: Option<bool>,
    /// Attributes that stay; all others go.
    pub allowed_keys: Vec<String>,
    /// Attributes that pass as they are.
    pub ignored_keys: Vec<String>,
    /// Regular expressions of keys whose whole value is masked.
    pub blocked_key_patterns: Vec<String>,
    /// Regular expressions of values that are never masked.
    pub allowed_values: Vec<String>,
    /// Regular expressions of what is masked in every text.
    pub blocked_values: Vec<String>,
    /// What becomes of paths.
    pub paths: PathMode,
    /// What becomes of argument values in names of functions.
    pub arguments: Arguments,
    /// What the attributes `redaction.*` of resources, scopes and profiles say: `silent` nothing, `info` counts of attributes,
    /// `debug` their keys too.
    pub summary: Summary,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            detectors: Detector::DEFAULT.to_vec(),
            allow_all_keys: None,
            allowed_keys: Vec::new(),
            ignored_keys: Vec::new(),
            blocked_key_patterns: Vec::new(),
            allowed_values: Vec::new(),
            blocked_values: Vec::new(),
            paths: PathMode::Keep,
            arguments: Arguments::Keep,
            summary: Summary::Silent,
        }
    }
}
