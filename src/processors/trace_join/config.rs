//! What the configuration of `trace_join` says.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::pipeline::spec::BuildError;
use crate::pipeline::units::{ByteSize, Span};
use crate::processors::dialects::{self, DialectConfig};
use crate::profile::trace_ids::{SPAN_DURATION, SPAN_NAME, SPAN_ROUTE, TraceKeys};

const LONGEST_HOLD: Duration = Duration::from_secs(30);
const SHORTEST_WINDOW: Duration = Duration::from_secs(1);
const LONGEST_WINDOW: Duration = Duration::from_secs(60 * 60);
const LONGEST_SLACK: Duration = Duration::from_secs(60);
const MOST_SPANS: usize = 50_000_000;
const FEWEST_BYTES: u64 = 1 << 20;
const MOST_NAMES: usize = 10_000;
const MOST_BUCKETS: usize = 50;

/// Configuration of `trace_join`. Where it is named in several pipelines, they share what they know of spans.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// What becomes of labels whose ids a link has.
    pub labels: Labels,
    /// Dialects besides the built-in ones, before them; one with the name of a built-in one takes its place.
    pub dialects: Vec<DialectConfig>,
    /// What is written of the span at samples with a link. An empty list writes nothing.
    pub attributes: Vec<Written>,
    /// Where the buckets of `span.duration` begin, in order.
    pub buckets: Vec<Span>,
    /// How long profiles wait for spans that are not known yet, `30s` at most. `0` waits for none.
    pub hold: Span,
    /// Memory of profiles that wait; never more than a quarter of what the process may use. Beyond it the oldest goes on.
    pub max_held_bytes: ByteSize,
    /// Which links stay.
    pub links: Links,
    /// Which spans are known. Local roots are enough where agents name nothing else.
    pub spans: Known,
    /// Spans that are known at once.
    pub max_spans: usize,
    /// Memory for what is known of spans; never more than a quarter of what the process may use.
    pub max_bytes: ByteSize,
    /// How long a span is known once it came. Twice the length of a profile and half a minute is enough.
    pub window: Span,
    /// Names, and routes, of each service at once; what is beyond is called `other`.
    pub max_names: usize,
    /// How far clocks of tracers and profilers may be apart.
    pub clock_slack: Span,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            labels: Labels::default(),
            dialects: Vec::new(),
            attributes: vec![Written::Name, Written::Route, Written::Duration],
            buckets: [1, 3, 10, 30, 100, 300, 1_000, 3_000, 10_000, 30_000]
                .map(Span::millis)
                .to_vec(),
            hold: Span::secs(0),
            max_held_bytes: ByteSize::mib(64),
            links: Links::default(),
            spans: Known::default(),
            max_spans: 500_000,
            max_bytes: ByteSize::mib(64),
            window: Span::secs(150),
            max_names: 200,
            clock_slack: Span::secs(5),
        }
    }
}

/// What becomes of labels whose ids a link has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Labels {
    /// They stay.
    Keep,
    /// They go.
    #[default]
    Remove,
}

/// What is written of a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Written {
    /// Its name.
    #[serde(rename = "span.name")]
    Name,
    /// Its route, or that of the next span above it that has one, up to its local root.
    #[serde(rename = "http.route")]
    Route,
    /// The bucket of how long it took, such as `10ms..30ms`.
    #[serde(rename = "span.duration")]
    Duration,
}

impl Written {
    /// The key at the sample.
    pub(super) const fn key(self) -> &'static str {
        match self {
            Self::Name => SPAN_NAME,
            Self::Route => SPAN_ROUTE,
            Self::Duration => SPAN_DURATION,
        }
    }
}

/// Which links stay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Links {
    /// All.
    #[default]
    Keep,
    /// Those to traces of which spans came, and to those that sampling will keep.
    OnlyExported,
}

/// Which spans are known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Known {
    /// All that come.
    #[default]
    All,
    /// Those with which a request came into its process.
    LocalRoots,
}

impl Config {
    pub(super) fn keys(&self) -> Result<TraceKeys, BuildError> {
        Ok(TraceKeys::new(dialects::with_built_in(&self.dialects)?))
    }

    pub(super) fn writes(&self, written: Written) -> bool {
        self.attributes.contains(&written)
    }

    /// What can be used, and may be meant otherwise.
    pub(super) fn doubts(&self) -> Vec<BuildError> {
        let mut doubts = Vec::new();
        if self.links == Links::OnlyExported && self.hold.0.is_zero() {
            let why = "a link goes where no span of its trace came before the profile, and most come after it: write as long as spans take, such as `10s`";
            doubts.push(BuildError::at("hold", why));
        }
        if self.window.0 <= self.hold.0 {
            let why = "spans are forgotten before the profiles that wait for `hold` are looked up again: write more than that";
            doubts.push(BuildError::at("window", why));
        }
        doubts
    }

    /// Whether all of it can be used.
    pub(super) fn check(&self) -> Result<(), BuildError> {
        let wrong = |key: &str, why: String| Err(BuildError::at(key, why));
        if self.hold.0 > LONGEST_HOLD {
            return wrong("hold", "longer than profiles may be late; write 30s or less".to_owned());
        }
        if !(SHORTEST_WINDOW..=LONGEST_WINDOW).contains(&self.window.0) {
            return wrong("window", "not a usable length; write 1s to 1h".to_owned());
        }
        if self.clock_slack.0 > LONGEST_SLACK {
            return wrong(
                "clock_slack",
                "clocks so far apart tell nothing; write 1m or less".to_owned(),
            );
        }
        if !(1..=MOST_SPANS).contains(&self.max_spans) {
            return wrong("max_spans", format!("not a usable number; write 1 to {MOST_SPANS}"));
        }
        if !(1..=MOST_NAMES).contains(&self.max_names) {
            return wrong("max_names", format!("not a usable number; write 1 to {MOST_NAMES}"));
        }
        for (key, bytes) in [("max_bytes", self.max_bytes), ("max_held_bytes", self.max_held_bytes)] {
            if bytes.0 < FEWEST_BYTES {
                return wrong(key, "too little to hold anything; write 1MiB or more".to_owned());
            }
        }
        if self.buckets.is_empty() || self.buckets.len() > MOST_BUCKETS {
            return wrong("buckets", format!("write 1 to {MOST_BUCKETS} of them"));
        }
        if !self.buckets.is_sorted_by(|a, b| a < b) || self.buckets.first().is_some_and(|first| first.0.is_zero()) {
            return wrong(
                "buckets",
                "each begins after the one before it, the first above 0".to_owned(),
            );
        }
        Ok(())
    }
}
