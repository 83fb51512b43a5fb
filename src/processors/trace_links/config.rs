//! The keys of the configuration.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::pipeline::spec::BuildError;
use crate::pipeline::units::Secret;
use crate::processors::dialects::{self, DialectConfig};
use crate::profile::trace_ids::Dialect;

/// Configuration of `trace_links`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// What becomes of labels whose ids a link has.
    pub labels: Labels,
    /// The key of `labels: hash`, at least 32 bytes; `flamegate keygen` makes one.
    pub hmac_key: Option<Secret>,
    /// Dialects besides the built-in ones, before them; one with the name of a built-in one takes its place.
    pub dialects: Vec<DialectConfig>,
}

/// What becomes of labels whose ids a link has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Labels {
    /// They stay.
    Keep,
    /// They go.
    #[default]
    Remove,
    /// They go, and a keyed hash stands for every id, in links and in the labels that stay.
    Hash,
}

impl Config {
    /// Its dialects and those of the built-in ones that it does not replace.
    pub fn dialects(&self) -> Result<Vec<Dialect>, BuildError> {
        dialects::with_built_in(&self.dialects)
    }
}
