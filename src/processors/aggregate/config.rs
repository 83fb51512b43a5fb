//! What the configuration of `aggregate` says.

use std::time::Duration;

use regex::Regex;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::pipeline::matcher::{Pattern, compile};
use crate::pipeline::spec::BuildError;
use crate::pipeline::units::{ByteSize, Span};
use crate::profile::{COUNTERS, Column, Detail, Dictionary, Profile};

const SHORTEST_WINDOW: Duration = Duration::from_secs(1);
const LONGEST_WINDOW: Duration = Duration::from_secs(60 * 60);
const MOST_PROFILES: usize = 1_000_000;
const FEWEST_BYTES: u64 = 1 << 20;
/// Patterns that each sample type is held against.
const MOST_GAUGES: usize = 64;

/// Sample types that tell how things are: memory in use, goroutines, threads.
const GAUGES: [&str; 11] = [
    "inuse_*",
    "old_*",
    "malloc_inuse_*",
    "live",
    "heap-live-*",
    "heap-space",
    "objects",
    "space",
    "goroutine*",
    "threads",
    "threadcreate",
];

/// Configuration of `aggregate`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Profiles that begin in the same window of this length become one: windows of a minute begin at each full minute.
    pub window: Span,
    /// What becomes of sample types that tell how things are.
    pub gauges: Gauges,
    /// Which sample types those are: globs, or `{eq: …}`, or `{regex: …}`.
    pub gauge_types: Vec<Pattern>,
    /// What Go's counters count: `alloc_objects`, `alloc_space`, `contentions`, `delay`.
    pub counters: Counters,
    /// What becomes of the moments at which samples were taken, where profilers wrote them down.
    pub timestamps: Fate,
    /// What becomes of trace links.
    pub links: Fate,
    /// Profiles, made of others, that are held at once.
    pub max_profiles: usize,
    /// Memory that is held at once; never more than a quarter of what the process may use.
    pub max_bytes: ByteSize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            window: Span::secs(60),
            gauges: Gauges::Last,
            gauge_types: GAUGES.iter().map(|glob| Pattern::Glob((*glob).to_owned())).collect(),
            counters: Counters::ByDuration,
            timestamps: Fate::Keep,
            links: Fate::Keep,
            max_profiles: 10_000,
            max_bytes: ByteSize::mib(64),
        }
    }
}

/// What becomes of sample types that tell how things are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Gauges {
    /// The profile that ends last tells.
    Last,
    /// The mean over the profiles.
    Mean,
}

/// What counters count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Counters {
    /// In profiles with a duration, what was added in it; else from the start of the process on.
    ByDuration,
    /// What was added since the profile before: it is summed.
    Added,
    /// From the start of the process on: the last one tells.
    SinceStart,
}

/// Whether something stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// It stays, and what differs in it stays apart.
    Keep,
    /// It goes.
    Drop,
}

/// The configuration made ready.
pub(super) struct Settings {
    pub(super) window: Duration,
    pub(super) detail: Detail,
    pub(super) max_profiles: usize,
    pub(super) max_bytes: usize,
    gauge: Column,
    gauges: Vec<Regex>,
    counters: Counters,
}

impl Config {
    pub(super) fn check(&self) -> Result<Settings, BuildError> {
        if !(SHORTEST_WINDOW..=LONGEST_WINDOW).contains(&self.window.0) {
            return Err(BuildError::at("window", "not a usable length; write 1s to 1h"));
        }
        if !(1..=MOST_PROFILES).contains(&self.max_profiles) {
            let why = format!("not a usable number; write 1 to {MOST_PROFILES}");
            return Err(BuildError::at("max_profiles", why));
        }
        if self.max_bytes.0 < FEWEST_BYTES {
            return Err(BuildError::at(
                "max_bytes",
                "too little to hold profiles; write 1MiB or more",
            ));
        }
        if self.gauge_types.len() > MOST_GAUGES {
            return Err(BuildError::at("gauge_types", format!("more than {MOST_GAUGES}")));
        }
        let mut gauges = Vec::with_capacity(self.gauge_types.len());
        for (at, pattern) in self.gauge_types.iter().enumerate() {
            let wrong = |message| BuildError::at(format!("gauge_types[{at}]"), message);
            gauges.push(compile(pattern).map_err(wrong)?);
        }
        Ok(Settings {
            window: self.window.0,
            detail: Detail {
                links: self.links == Fate::Keep,
                timestamps: self.timestamps == Fate::Keep,
            },
            max_profiles: self.max_profiles,
            max_bytes: self.max_bytes.as_usize(),
            gauge: match self.gauges {
                Gauges::Last => Column::Last,
                Gauges::Mean => Column::Mean,
            },
            gauges,
            counters: self.counters,
        })
    }
}

impl Settings {
    /// What becomes of the sample types of a profile.
    pub(super) fn columns(&self, d: &Dictionary, profile: &Profile) -> Vec<Column> {
        let counts_from_start = match self.counters {
            Counters::ByDuration => profile.duration_nano == 0,
            Counters::Added => false,
            Counters::SinceStart => true,
        };
        let column = |kind: &str| match kind {
            kind if self.gauges.iter().any(|gauge| gauge.is_match(kind)) => self.gauge,
            kind if counts_from_start && COUNTERS.contains(&kind) => Column::Last,
            _ => Column::Sum,
        };
        profile.sample_types.iter().map(|of| column(d.str(of.kind))).collect()
    }
}
