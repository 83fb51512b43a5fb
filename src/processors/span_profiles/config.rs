//! What the configuration of `span_profiles` says.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::pipeline::spec::BuildError;
use crate::pipeline::units::{ByteSize, Span};
use crate::processors::dialects::DialectConfig;

const LONGEST_HOLD: Duration = Duration::from_secs(30);
const SHORTEST_WINDOW: Duration = Duration::from_secs(1);
const LONGEST_WINDOW: Duration = Duration::from_secs(60 * 60);
const FEWEST_BYTES: u64 = 1 << 20;
const MOST_SPANS: usize = 10_000_000;

/// Configuration of `span_profiles`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How long spans wait for their profiles; at most 30s. With 0s they go on at once.
    pub hold: Span,
    /// Memory of the spans that wait; never more than a quarter of what the process may use.
    pub max_bytes: ByteSize,
    /// Spans that wait at once.
    pub max_spans_held: usize,
    /// Spans with samples that are known at once.
    pub max_spans: usize,
    /// How long it is known of a span that it has samples.
    pub window: Span,
    /// Dialects of labels besides the built-in ones, before them; as of `trace_links`.
    pub dialects: Vec<DialectConfig>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            hold: Span::secs(1),
            max_bytes: ByteSize::mib(64),
            max_spans_held: 200_000,
            max_spans: 200_000,
            window: Span::secs(150),
            dialects: Vec::new(),
        }
    }
}

impl Config {
    pub(super) fn check(&self) -> Result<(), BuildError> {
        if self.hold.0 > LONGEST_HOLD {
            return Err(BuildError::at("hold", "too long for spans to wait; write 0s to 30s"));
        }
        if !(SHORTEST_WINDOW..=LONGEST_WINDOW).contains(&self.window.0) {
            return Err(BuildError::at("window", "not a usable length; write 1s to 1h"));
        }
        if self.max_bytes.0 < FEWEST_BYTES {
            let why = "too little to hold requests; write 1MiB or more";
            return Err(BuildError::at("max_bytes", why));
        }
        for (key, number) in [("max_spans_held", self.max_spans_held), ("max_spans", self.max_spans)] {
            if !(1..=MOST_SPANS).contains(&number) {
                let why = format!("not a usable number; write 1 to {MOST_SPANS}");
                return Err(BuildError::at(key, why));
            }
        }
        Ok(())
    }
}
