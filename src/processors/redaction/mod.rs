//! `redaction`: takes secrets, addresses and names of users out of every text that a profile carries.

mod apply;
mod detectors;
mod keys;
mod names;
mod paths;
mod summary;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use regex::Regex;
use schemars::JsonSchema;
use serde::Deserialize;

pub use apply::Report;
use detectors::{Detectors, user_pattern};
use keys::Keys;
pub use paths::PathMode;
use paths::Paths;

use crate::pipeline::spec::{About, BuildContext, BuildError, ProcessorSpec, RawConfig, Stability, parse};
use crate::pipeline::{Batch, Context, Processor, Verdict};
use crate::profile::{Profiles, Role};
use crate::telemetry::Metrics;

/// How every mask begins; what follows is the rule and a closing bracket.
pub(crate) const MARKER: &str = "[REDACTED:";

/// The row of the table.
pub const SPEC: ProcessorSpec = ProcessorSpec {
    about: About {
        name: "redaction",
        aliases: &[],
        summary: "removes secrets, e-mail addresses and user names from every text of a profile",
        docs: DOCS,
        stability: Stability::Beta,
        signals: &["profiles"],
        example: "redaction: { detectors: [secrets, emails], paths: home }",
        schema: || schemars::schema_for!(Config),
    },
    adds_text: false,
    build,
};

const DOCS: &str = "\
Looks at every text of a profile: names and files of functions and binaries, labels and their keys and units, attributes of
resources and scopes (nested values and bytes too), comments, links, frame patterns, names of types. A hit of a detector is
replaced by `[REDACTED:<rule>]`; the rest of the text stays. `original_payload` is always removed.

Attributes are judged by key in the order of the Collector's redaction processor: ignored (passes as it is, the detectors
too), not allowed (deleted), allowed value, blocked key (value becomes `****`), blocked values (matches become `****`), and then
by the detectors. Identity and join keys (`service.name`, trace and span ids, frame types, build ids, `pprof.*`) survive an
allow-list unless a pattern blocks them, and `blocked_values` spares those of them that are hexadecimal or whole numbers.

Keys that masking makes equal stay apart: `[REDACTED:email]`, `[REDACTED:email]#2` and so on, in the order in which they stand.

`summary` is the Collector's: attributes `redaction.{redacted,masked,allowed}.{keys,count}` and `redaction.ignored.count`, on a
resource for its own attributes, on a profile for those of its samples. Keys are named as they leave.

Not detected yet: card numbers, IBANs, social security numbers, telephone numbers, IP addresses, host names, names of
persons and customers, and secrets that neither shape nor key reveals, such as a random word in a unit or a bare AWS secret key.
";

/// A detector that comes with the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Detector {
    /// Keys, tokens and passwords, by shape or by the key in front of them.
    Secrets,
    /// E-mail addresses.
    Emails,
}

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
    /// What is looked for.
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
    /// What the attributes `redaction.*` of resources, scopes and profiles say: `silent` nothing, `info` counts of attributes,
    /// `debug` their keys too.
    pub summary: Summary,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            detectors: vec![Detector::Secrets, Detector::Emails],
            allow_all_keys: None,
            allowed_keys: Vec::new(),
            ignored_keys: Vec::new(),
            blocked_key_patterns: Vec::new(),
            allowed_values: Vec::new(),
            blocked_values: Vec::new(),
            paths: PathMode::Keep,
            summary: Summary::Silent,
        }
    }
}

/// A text after the policy.
pub(super) struct Masking {
    text: String,
    rules: Vec<&'static str>,
}

/// A configuration made ready.
pub struct Policy {
    keys: Keys,
    allowed_values: Vec<Regex>,
    blocked_values: Vec<Regex>,
    detectors: Detectors,
    paths: Paths,
    summary: Summary,
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
            detectors: Detectors::new(
                config.detectors.contains(&Detector::Secrets),
                config.detectors.contains(&Detector::Emails),
            )
            .map_err(internal)?,
            paths: Paths::new(config.paths).map_err(internal)?,
            summary: config.summary,
        })
    }

    /// Redacts in place and says what went. What has nothing to hide is not touched.
    pub fn redact(&self, profiles: &mut Profiles) -> Report {
        let mut pass = apply::Pass::new(self);
        if !pass.would_change(profiles) {
            return Report::default();
        }
        pass.apply(profiles)
    }

    fn is_allowed(&self, text: &str) -> bool {
        self.allowed_values.iter().any(|pattern| pattern.is_match(text))
    }

    /// One text in one role: blocked values, then detectors, then paths.
    fn mask(&self, text: &str, role: Role) -> Option<Masking> {
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
        let now = masked.as_deref().unwrap_or(text);
        if let Some(next) = self.detectors.mask(now, has_context(role), |rule| rules.push(rule)) {
            masked = Some(next);
        }
        let file = matches!(role, Role::SourceFile | Role::MappingFile);
        if let Some(next) = self.paths.rewrite(masked.as_deref().unwrap_or(text), file) {
            rules.push("paths");
            masked = Some(next);
        }
        masked.map(|text| Masking { text, rules })
    }
}

/// Whether people write keys and values into texts of this role.
fn has_context(role: Role) -> bool {
    !matches!(
        role,
        Role::FunctionName | Role::SystemName | Role::SourceFile | Role::MappingFile | Role::TypeName
    )
}

fn patterns(key: &str, patterns: &[String]) -> Result<Vec<Regex>, BuildError> {
    let compile = |(i, pattern): (usize, &String)| {
        user_pattern(pattern).map_err(|message| BuildError::at(format!("{key}[{i}]"), message))
    };
    patterns.iter().enumerate().map(compile).collect()
}

struct Redaction {
    policy: Policy,
    metrics: Arc<Metrics>,
}

fn build(raw: RawConfig, cx: &BuildContext) -> Result<Box<dyn Processor>, BuildError> {
    let policy = Policy::new(parse(raw)?)?;
    Ok(Box::new(Redaction {
        policy,
        metrics: cx.metrics.clone(),
    }))
}

impl Processor for Redaction {
    fn process(&self, mut batch: Batch, _cx: &Context) -> Verdict {
        let mut pass = apply::Pass::new(&self.policy);
        let Some(profiles) = batch.as_profiles() else {
            return Verdict::pass(batch);
        };
        if pass.would_change(profiles)
            && let Some(profiles) = batch.edit()
        {
            for ((rule, carrier), hits) in pass.apply(profiles).hits {
                self.metrics.redacted(&rule.into(), carrier, hits);
            }
        }
        Verdict::pass(batch)
    }
}
