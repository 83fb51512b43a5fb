//! The keys of a policy, as they stand in the configuration.

use schemars::JsonSchema;
use serde::Deserialize;

use super::arguments::Arguments;
use super::detectors::Detector;
use super::paths::PathMode;
use crate::pipeline::matcher::{MatchConfig, Pattern};
use crate::pipeline::units::{ByteSize, Secret};

/// Configuration of `redaction`: one policy.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// What is looked for.
    pub detectors: Vec<Detector>,
    /// What becomes of argument values in names of functions.
    pub arguments: Arguments,
    /// What becomes of paths.
    pub paths: PathMode,
    /// Whether attributes stay that `allowed_keys` does not name; true until `allowed_keys` is set.
    pub allow_all_keys: Option<bool>,
    /// Attributes that stay; all others go, except those that identify and join.
    pub allowed_keys: Vec<String>,
    /// Attributes that pass as they are, past every rule and detector.
    pub ignored_keys: Vec<String>,
    /// Regular expressions of keys that pass as those of `ignored_keys`.
    pub ignored_key_patterns: Vec<String>,
    /// Regular expressions of keys whose whole value is masked.
    pub blocked_key_patterns: Vec<String>,
    /// Regular expressions of values that are never masked.
    pub allowed_values: Vec<String>,
    /// Regular expressions of what is masked in every text.
    pub blocked_values: Vec<String>,
    /// Whether `allowed_values` and `blocked_values` are held against numbers, truth and bytes too. Detectors always are.
    pub redact_all_types: bool,
    /// What a blocked value becomes: a keyed hash, so that equal values stay equal; `****` if unset.
    pub hash_function: Option<HashFunction>,
    /// The key of `hash_function`: at least 32 bytes for `hmac-sha256`, 64 for `hmac-sha512`.
    pub hmac_key: Option<Secret>,
    /// What the attributes `redaction.*` of resources, scopes and profiles say: `silent` nothing, `info` counts of attributes,
    /// `debug` their keys too.
    pub summary: Summary,
    /// What becomes of names of threads and processes, in labels and where a text format has them as frames.
    pub threads: NameAction,
    /// What becomes of links to spans; `remove` takes labels with trace and span ids too.
    pub links: LinkAction,
    /// What becomes of texts that are no labels, by the carrier that reports name.
    pub carriers: Carriers,
    /// Which frames are hidden, and how.
    pub frames: Frames,
    /// The keys that pseudonyms are made with: needed where something is hashed.
    pub pseudonyms: Pseudonyms,
    /// Keeps which pseudonym stands for which name, sealed to a public key; `flamegate reveal` opens it with the private one.
    pub escrow: Option<super::escrow::Config>,
    /// Policies for some services or tenants. The first whose `when` holds takes the place of this one, whole.
    pub rules: Vec<Rule>,
    /// A policy on trial: what it would do is counted (`flamegate_redaction_trials_total`), and nothing of it is done.
    #[schemars(with = "Option<serde_json::Map<String, serde_json::Value>>")]
    pub shadow: Option<Box<Config>>,
    /// Counts what this policy would do, and does nothing: for pipelines that end in the house.
    pub dry_run: bool,
    /// What is remembered of texts from batch to batch.
    pub cache: CacheLimits,
    /// The Collector's; here `arguments` and `detectors` do it.
    #[schemars(skip)]
    pub url_sanitizer: Option<serde_json::Value>,
    /// The Collector's; here `arguments` does it.
    #[schemars(skip)]
    pub db_sanitizer: Option<serde_json::Value>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            detectors: Detector::DEFAULT.to_vec(),
            arguments: Arguments::default(),
            paths: PathMode::default(),
            allow_all_keys: None,
            allowed_keys: Vec::new(),
            ignored_keys: Vec::new(),
            ignored_key_patterns: Vec::new(),
            blocked_key_patterns: Vec::new(),
            allowed_values: Vec::new(),
            blocked_values: Vec::new(),
            redact_all_types: true,
            hash_function: None,
            hmac_key: None,
            summary: Summary::default(),
            threads: NameAction::default(),
            links: LinkAction::default(),
            carriers: Carriers::default(),
            frames: Frames::default(),
            pseudonyms: Pseudonyms::default(),
            escrow: None,
            rules: Vec::new(),
            shadow: None,
            dry_run: false,
            cache: CacheLimits::default(),
            url_sanitizer: None,
            db_sanitizer: None,
        }
    }
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

/// How a blocked value is hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum HashFunction {
    /// HMAC with SHA-256.
    HmacSha256,
    /// HMAC with SHA-512.
    HmacSha512,
    /// Refused: without a key whoever guesses the value finds it again.
    Md5,
    /// Refused, as `md5`.
    Sha1,
    /// Refused, as `md5`.
    Sha3,
}

/// What becomes of a name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NameAction {
    /// It stays, as far as detectors let it.
    #[default]
    Keep,
    /// A pseudonym stands for it.
    Hash,
    /// `[REDACTED:<carrier>]` stands for it.
    Mask,
}

/// What becomes of links to spans.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LinkAction {
    /// They stay.
    #[default]
    Keep,
    /// They go.
    Remove,
}

/// What becomes of a text that is no label.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TextAction {
    /// It stays, as far as detectors let it.
    #[default]
    Keep,
    /// A pseudonym stands for it.
    Hash,
    /// `[REDACTED:<carrier>]` stands for it.
    Mask,
    /// It becomes empty.
    Remove,
}

/// What becomes of texts that are no labels. Standard words stay in any case: `cpu`, `nanoseconds` and their like, names of
/// public profilers and of libc, the schemas of OpenTelemetry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Carriers {
    /// Files of functions that stay.
    pub source_file: TextAction,
    /// Paths of mapped binaries that stay.
    pub mapping_file: TextAction,
    /// Units of labels.
    pub label_unit: TextAction,
    /// Names and versions of scopes.
    pub scope: TextAction,
    /// Comments.
    pub comment: TextAction,
    /// Documentation links.
    pub doc_url: TextAction,
    /// Regular expressions of frames to drop or keep for display.
    pub frame_pattern: TextAction,
    /// Names and units of sample types and periods.
    pub type_name: TextAction,
    /// Schema urls.
    pub schema_url: TextAction,
}

/// Which frames are hidden, and how. Rules first, the first that matches; then `allow`; then `default`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Frames {
    /// What becomes of a frame that neither a rule nor `allow` names.
    pub default: NameAction,
    /// Rules, in order.
    pub rules: Vec<FrameRule>,
    /// Packages that stay with everything below them, and `public`: the built-in list of runtimes, standard libraries and
    /// widespread open-source packages.
    pub allow: Vec<String>,
}

/// One rule on frames. All patterns it has must match; a pattern is a glob, or `{eq: text}`, or `{regex: text}`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FrameRule {
    /// The name of the function, or its name as the linker knows it.
    pub function: Option<Pattern>,
    /// The source file.
    pub file: Option<Pattern>,
    /// The path of the mapped binary, or its last segment.
    pub mapping: Option<Pattern>,
    /// The package, module or namespace of the function; matches what lies below it too.
    pub package: Option<Pattern>,
    /// What becomes of the frame.
    pub action: FrameAction,
    /// `collapse`: the name of the frame that a run of matching frames becomes.
    pub name: Option<String>,
}

/// What becomes of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FrameAction {
    /// It stays.
    Keep,
    /// `[REDACTED:frame]` stands for it.
    Mask,
    /// A pseudonym stands for it.
    Hash,
    /// It goes; its samples stay.
    Drop,
    /// A run of frames that the rule matches becomes one frame.
    Collapse,
}

/// How names become pseudonyms.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Pseudonyms {
    /// The first makes pseudonyms; those of the others are recognised as such and stay, so that keys can change without a gap.
    pub keys: Vec<PseudonymKey>,
}

/// A key with a name.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PseudonymKey {
    /// Its name, which stands in every pseudonym: 1 to 16 lower-case letters and digits.
    pub id: String,
    /// The key, at least 32 bytes; or `ephemeral` for one that the process makes for itself: its pseudonyms are of no use after
    /// a restart or beside another replica.
    pub key: Secret,
}

/// A policy for some services or tenants.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Conditions on `resource.<key>`, `tenant`, `receiver` or `profile.type`; all must hold.
    pub when: MatchConfig,
    /// The policy: its keys are those of `redaction`, and what it leaves out has the default of `redaction`.
    pub policy: Config,
}

/// What is remembered of texts from batch to batch, so that one seen before costs a look-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CacheLimits {
    /// Texts at most; 0 remembers nothing.
    pub entries: u32,
    /// Bytes at most.
    pub bytes: ByteSize,
}

impl Default for CacheLimits {
    fn default() -> Self {
        Self {
            entries: 200_000,
            bytes: ByteSize(16 << 20),
        }
    }
}
