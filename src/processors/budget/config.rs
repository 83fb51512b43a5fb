//! What the configuration of `budget` says.

use std::hash::BuildHasher;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer};

use super::accounts::TenantLimits;
use super::matching::Matching;
use super::month::MonthlyConfig;
use crate::pipeline::matcher::{MatchConfig, Matcher, Pattern};
use crate::pipeline::spec::BuildError;
use crate::pipeline::units::{ByteSize, Span};

/// Most keys that may be known, each of a few hundred bytes.
const MOST_KEYS: usize = 200_000;
/// Parts of a key.
const MOST_PARTS: usize = 8;
/// Items of `services`, and of `tenants`.
const MOST_RULES: usize = 1_024;
/// Looks per second that a profiler may have.
const RATES: RangeInclusive<f64> = 0.001..=100_000.0;
/// Profiles in a second, and weights.
const NUMBERS: RangeInclusive<f64> = 1e-6..=1e9;

/// Configuration of `budget`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// What has a budget of its own: `tenant`, `receiver`, `profile.type`, `service.name`, `resource.<key>`.
    pub keys: Vec<String>,
    /// Keys that are known at once; all others share one budget.
    pub max_keys: usize,
    /// The budget of each key.
    pub default: Numbers,
    /// Other budgets: the first that matches counts, and what it leaves out is as in `default`.
    pub services: Vec<ServiceRule>,
    /// What each tenant may have of all its keys, and how much it counts against others: the first that matches.
    pub tenants: Vec<TenantRule>,
    /// What all keys may have together.
    pub global: Capacity,
    /// What keys have together that are not known yet, for each tenant.
    pub newcomers: Newcomers,
    /// What is done to a profile that is over its budget, the mildest that is enough: any of `thin`, `compact`, `totals_only`, `drop`. The last is
    /// done even where it is not enough.
    pub over_budget: Vec<Rung>,
    /// What passes whatever the budget.
    pub floor: Floor,
    /// What a month may cost.
    pub monthly: Option<MonthlyConfig>,
    /// A directory of files `<name>.yaml` or `<team>/<name>.yaml`, each a rule like those of `services`, which count first. They are read again when they change.
    pub services_dir: Option<PathBuf>,
    /// Between what the numbers of those files have to be.
    pub bounds: Bounds,
    /// Only counts and tells what would be kept.
    pub dry_run: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            keys: vec!["tenant".to_owned(), "service.name".to_owned()],
            max_keys: 10_000,
            default: Numbers::default(),
            services: Vec::new(),
            tenants: Vec::new(),
            global: Capacity::default(),
            newcomers: Newcomers::default(),
            over_budget: vec![Rung::Thin, Rung::Compact, Rung::TotalsOnly, Rung::Drop],
            floor: Floor::default(),
            monthly: None,
            services_dir: None,
            bounds: Bounds::default(),
            dry_run: false,
        }
    }
}

/// The budget of a key.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Numbers {
    /// Looks per second that CPU and wall profiles are thinned to, whatever the budget; those with fewer stay as they are.
    pub target_hz: f64,
    /// Bytes in a second, as OTLP without compression.
    pub bytes_per_s: ByteSize,
    /// Profiles in a second, as they were received.
    pub profiles_per_s: f64,
    /// As much may come at once as would be earned in so long a time.
    pub burst: Span,
}

impl Default for Numbers {
    fn default() -> Self {
        Self {
            target_hz: 99.0,
            bytes_per_s: ByteSize(64 << 10),
            profiles_per_s: 2.0,
            burst: Span::secs(30),
        }
    }
}

/// The budget of some services, in the configuration or in a file of `services_dir`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServiceRule {
    /// Which profiles: keys are `service.name`, `resource.<key>`, `tenant`, `receiver`, `profile.type`; values a glob, `{eq: …}`, `{regex: …}`, or a list of
    /// them. All conditions must hold.
    #[serde(rename = "match")]
    pub matching: Matching,
    /// Looks per second.
    pub target_hz: Option<f64>,
    /// Bytes in a second.
    pub bytes_per_s: Option<ByteSize>,
    /// Profiles in a second.
    pub profiles_per_s: Option<f64>,
    /// How much it counts against others where there is not enough for all; 1 if left out.
    pub weight: Option<f64>,
    /// Whether samples with a trace link are thinned last, in a profile of their own: `always` (also if left out) or `never`.
    #[serde(default)]
    pub keep_linked: KeepLinked,
}

/// Whether samples with a trace link are thinned last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum KeepLinked {
    /// They are.
    #[default]
    Always,
    /// They are thinned as all others.
    Never,
}

/// By hand: `true` is as good a word for it.
impl<'de> Deserialize<'de> for KeepLinked {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Word;
        impl Visitor<'_> for Word {
            type Value = KeepLinked;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("`always` or `never`")
            }
            fn visit_bool<E: de::Error>(self, always: bool) -> Result<KeepLinked, E> {
                Ok(match always {
                    true => KeepLinked::Always,
                    false => KeepLinked::Never,
                })
            }
            fn visit_str<E: de::Error>(self, word: &str) -> Result<KeepLinked, E> {
                match word {
                    "always" => Ok(KeepLinked::Always),
                    "never" => Ok(KeepLinked::Never),
                    other => Err(E::invalid_value(de::Unexpected::Str(other), &self)),
                }
            }
        }
        deserializer.deserialize_any(Word)
    }
}

/// What a tenant may have.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TenantRule {
    /// Which tenants.
    pub tenant: Pattern,
    /// Bytes in a second of all its keys together; no limit if left out.
    pub bytes_per_s: Option<ByteSize>,
    /// How much it counts against others where there is not enough for all; 1 if left out.
    pub weight: Option<f64>,
}

/// What all may have together.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Capacity {
    /// Bytes in a second; no limit if left out.
    pub bytes_per_s: Option<ByteSize>,
}

/// What keys have together that are not known yet: the first profiles of each, and all of those beyond `max_keys`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Newcomers {
    /// Bytes in a second.
    pub bytes_per_s: ByteSize,
    /// Profiles in a second.
    pub profiles_per_s: f64,
}

impl Default for Newcomers {
    fn default() -> Self {
        Self {
            bytes_per_s: ByteSize::mib(1),
            profiles_per_s: 50.0,
        }
    }
}

/// What passes whatever the budget: a key that is known is never silent.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Floor {
    /// In so long a time.
    pub every: Span,
    /// So many profiles; 0 for none.
    pub profiles: u32,
}

impl Default for Floor {
    fn default() -> Self {
        Self {
            every: Span::secs(5 * 60),
            profiles: 1,
        }
    }
}

/// What can be done to a profile that is over its budget, from mild to hard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Rung {
    /// Fewer counts, as if the profiler had looked less often: of CPU and wall profiles, to a fifth of `target_hz` at the least.
    Thin,
    /// Fewer samples that stand for the others.
    Compact,
    /// One sample that has the totals, and no stack.
    TotalsOnly,
    /// Nothing: the sender hears OK, and how many were dropped.
    Drop,
}

/// Between what teams may set their numbers in `services_dir`: what is beyond is brought to the nearest that is allowed.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Bounds {
    /// Of `target_hz`.
    pub target_hz: Range<f64>,
    /// Of `bytes_per_s`.
    pub bytes_per_s: Range<ByteSize>,
    /// Of `profiles_per_s`.
    pub profiles_per_s: Range<f64>,
    /// Of `weight`.
    pub weight: Range<f64>,
}

/// The least and the most of a number.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Range<Number> {
    /// No less than this.
    pub min: Option<Number>,
    /// No more than this.
    pub max: Option<Number>,
}

/// Not derived: no number need have a default for a range to be open.
impl<Number> Default for Range<Number> {
    fn default() -> Self {
        Self { min: None, max: None }
    }
}

impl<Number: PartialOrd + Copy> Range<Number> {
    /// Brings a number into the range. Says whether it was beyond.
    fn hold(&self, number: &mut Option<Number>) -> bool {
        let Some(value) = number else { return false };
        let raised = self.min.filter(|min| *value < *min);
        let lowered = self.max.filter(|max| *value > *max);
        let Some(held) = raised.or(lowered) else { return false };
        *value = held;
        true
    }

    /// Whether both can be what `usable` says, and the least is below the most.
    fn check(
        &self,
        path: &str,
        usable: impl Fn(&str, Option<Number>) -> Result<(), BuildError>,
    ) -> Result<(), BuildError> {
        usable(&format!("{path}.min"), self.min)?;
        usable(&format!("{path}.max"), self.max)?;
        match (self.min, self.max) {
            (Some(min), Some(max)) if min > max => Err(BuildError::at(path, "`min` is above `max`")),
            _ => Ok(()),
        }
    }
}

impl Bounds {
    /// Brings the numbers of a rule within the bounds; says which were beyond.
    pub fn hold(&self, rule: &mut ServiceRule) -> Vec<&'static str> {
        let beyond = [
            ("target_hz", self.target_hz.hold(&mut rule.target_hz)),
            ("bytes_per_s", self.bytes_per_s.hold(&mut rule.bytes_per_s)),
            ("profiles_per_s", self.profiles_per_s.hold(&mut rule.profiles_per_s)),
            ("weight", self.weight.hold(&mut rule.weight)),
        ];
        let beyond = beyond.into_iter().filter(|(_, beyond)| *beyond);
        beyond.map(|(key, _)| key).collect()
    }

    /// Whether what is held within them can be a budget.
    pub fn check(&self) -> Result<(), BuildError> {
        self.target_hz.check("bounds.target_hz", check_rate)?;
        self.bytes_per_s.check("bounds.bytes_per_s", check_bytes)?;
        self.profiles_per_s.check("bounds.profiles_per_s", check_number)?;
        self.weight.check("bounds.weight", check_number)
    }
}

/// The budget of a key, checked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Looks per second.
    pub target_hz: f64,
    /// Bytes in a second.
    pub bytes_per_s: f64,
    /// Profiles in a second.
    pub profiles_per_s: f64,
    /// Seconds that may be earned in advance.
    pub burst: f64,
    /// How much it counts against others.
    pub weight: f64,
    /// Whether samples with a trace link are thinned last.
    pub keep_linked: bool,
}

/// A [`ServiceRule`] made ready.
#[derive(Debug)]
pub struct Rule {
    /// Which profiles.
    pub matcher: Matcher,
    /// What tells it from others, wherever it stands: accounts outlive a change of other rules.
    pub id: u64,
    numbers: ServiceRule,
}

impl Rule {
    /// Checks the rule that stands at `path`; none for a file of its own.
    pub fn new(path: &str, numbers: ServiceRule) -> Result<Self, BuildError> {
        let at = |key: &str| match path {
            "" => key.to_owned(),
            path => format!("{path}.{key}"),
        };
        let matcher = numbers.matching.matcher(&at("match"))?;
        check_rate(&at("target_hz"), numbers.target_hz)?;
        check_bytes(&at("bytes_per_s"), numbers.bytes_per_s)?;
        check_number(&at("profiles_per_s"), numbers.profiles_per_s)?;
        check_number(&at("weight"), numbers.weight)?;
        let id = foldhash::fast::FixedState::default().hash_one(format!("{:?}", numbers.matching));
        Ok(Self { matcher, id, numbers })
    }

    /// Its budget; what it leaves out is as given.
    pub fn limits(&self, default: &Limits) -> Limits {
        let numbers = &self.numbers;
        let bytes_per_s = numbers.bytes_per_s.map(|bytes| bytes.0 as f64);
        Limits {
            target_hz: numbers.target_hz.unwrap_or(default.target_hz),
            bytes_per_s: bytes_per_s.unwrap_or(default.bytes_per_s),
            profiles_per_s: numbers.profiles_per_s.unwrap_or(default.profiles_per_s),
            burst: default.burst,
            weight: numbers.weight.unwrap_or(default.weight),
            keep_linked: numbers.keep_linked == KeepLinked::Always,
        }
    }
}

/// A part of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyPart {
    /// Whose data it is.
    Tenant,
    /// Which receiver brought it.
    Receiver,
    /// Its first sample type.
    Type,
    /// What its resource says.
    Resource(String),
}

impl Config {
    /// Checks what is not checked by whoever reads it.
    pub fn check(&self) -> Result<(), BuildError> {
        if !(1..=MOST_KEYS).contains(&self.max_keys) {
            let why = format!("not a usable number; write 1 to {MOST_KEYS}");
            return Err(BuildError::at("max_keys", why));
        }
        check_bytes("global.bytes_per_s", self.global.bytes_per_s)?;
        check_bytes("newcomers.bytes_per_s", Some(self.newcomers.bytes_per_s))?;
        check_number("newcomers.profiles_per_s", Some(self.newcomers.profiles_per_s))?;
        if self.over_budget.is_empty() {
            let why = "name at least one of `thin`, `compact`, `totals_only` and `drop`";
            return Err(BuildError::at("over_budget", why));
        }
        let every = Duration::from_secs(1)..=Duration::from_secs(24 * 60 * 60);
        if !every.contains(&self.floor.every.0) {
            let why = "write a duration from 1s to 24h, such as 5m";
            return Err(BuildError::at("floor.every", why));
        }
        self.bounds.check()?;
        self.check_tenants()
    }

    fn check_tenants(&self) -> Result<(), BuildError> {
        if self.tenants.len() > MOST_RULES {
            return Err(BuildError::at("tenants", format!("more than {MOST_RULES}")));
        }
        for (i, tenant) in self.tenants.iter().enumerate() {
            check_bytes(&format!("tenants[{i}].bytes_per_s"), tenant.bytes_per_s)?;
            check_number(&format!("tenants[{i}].weight"), tenant.weight)?;
        }
        if self.keys.iter().any(|key| key == "tenant") {
            return Ok(());
        }
        let has_ceilings = |monthly: &MonthlyConfig| !monthly.tenants.is_empty();
        let named = [
            ("tenants", !self.tenants.is_empty()),
            ("monthly.tenants", self.monthly.as_ref().is_some_and(has_ceilings)),
        ];
        match named.into_iter().find(|(_, is_named)| *is_named) {
            None => Ok(()),
            Some((path, _)) => Err(BuildError::at(path, "write `tenant` among `keys` as well")),
        }
    }

    /// What tenants may have.
    pub(super) fn tenant_limits(&self) -> Result<Vec<(Matcher, TenantLimits)>, BuildError> {
        let tenants = self.tenants.iter().enumerate();
        let limits = tenants.map(|(i, tenant)| {
            let conditions = MatchConfig::from([("tenant".to_owned(), tenant.tenant.clone())]);
            let matcher = Matcher::new(&format!("tenants[{i}]"), &conditions)?;
            let default = TenantLimits::default();
            let limits = TenantLimits {
                bytes_per_s: tenant.bytes_per_s.map_or(default.bytes_per_s, |bytes| bytes.0 as f64),
                weight: tenant.weight.unwrap_or(default.weight),
            };
            Ok((matcher, limits))
        });
        limits.collect()
    }

    /// The budget of each key for which nothing else is said.
    pub fn limits(&self) -> Result<Limits, BuildError> {
        let Numbers {
            target_hz,
            bytes_per_s,
            profiles_per_s,
            burst,
        } = self.default;
        check_rate("default.target_hz", Some(target_hz))?;
        check_bytes("default.bytes_per_s", Some(bytes_per_s))?;
        check_number("default.profiles_per_s", Some(profiles_per_s))?;
        if !(Duration::from_secs(1)..=Duration::from_secs(24 * 60 * 60)).contains(&burst.0) {
            let why = "write a duration from 1s to 24h, such as 30s";
            return Err(BuildError::at("default.burst", why));
        }
        Ok(Limits {
            target_hz,
            bytes_per_s: bytes_per_s.0 as f64,
            profiles_per_s,
            burst: burst.0.as_secs_f64(),
            weight: 1.0,
            keep_linked: true,
        })
    }

    /// The rules of `services`.
    pub fn rules(&self) -> Result<Vec<Rule>, BuildError> {
        if self.services.len() > MOST_RULES {
            return Err(BuildError::at("services", format!("more than {MOST_RULES}")));
        }
        let rules = self.services.iter().enumerate();
        let rule = |(i, rule): (usize, &ServiceRule)| Rule::new(&format!("services[{i}]"), rule.clone());
        rules.map(rule).collect()
    }

    /// The parts of a key.
    pub fn parts(&self) -> Result<Vec<KeyPart>, BuildError> {
        if self.keys.len() > MOST_PARTS {
            return Err(BuildError::at("keys", format!("more than {MOST_PARTS}")));
        }
        let part = |(at, key): (usize, &String)| match key.as_str() {
            "tenant" => Ok(KeyPart::Tenant),
            "receiver" => Ok(KeyPart::Receiver),
            "profile.type" => Ok(KeyPart::Type),
            "service.name" => Ok(KeyPart::Resource(key.clone())),
            key => match key.strip_prefix("resource.").filter(|name| !name.is_empty()) {
                Some(name) => Ok(KeyPart::Resource(name.to_owned())),
                None => {
                    let allowed = "allowed are tenant, receiver, profile.type, service.name and resource.<key>";
                    Err(BuildError::at(format!("keys[{at}]"), allowed))
                }
            },
        };
        self.keys.iter().enumerate().map(part).collect()
    }
}

fn check_rate(path: &str, hz: Option<f64>) -> Result<(), BuildError> {
    let why = "a rate is a number of 0.001 to 100000 looks per second";
    check(path, hz.is_none_or(|hz| RATES.contains(&hz)), why)
}

fn check_bytes(path: &str, bytes: Option<ByteSize>) -> Result<(), BuildError> {
    let why = "not a usable number of bytes; write 1 to 1000TiB";
    check(path, bytes.is_none_or(|bytes| (1..=1000 << 40).contains(&bytes.0)), why)
}

fn check_number(path: &str, number: Option<f64>) -> Result<(), BuildError> {
    let why = "not a usable number; write more than 0, up to 1000000000";
    check(path, number.is_none_or(|number| NUMBERS.contains(&number)), why)
}

fn check(path: &str, holds: bool, why: &str) -> Result<(), BuildError> {
    match holds {
        true => Ok(()),
        false => Err(BuildError::at(path, why)),
    }
}
