//! `compact`: fewer rows that tell the same totals, by threshold sampling.
//!
//! Not to be taken for [`Profiles::compact`], which leaves out what nothing refers to and changes no number.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::formats::otlp;
use crate::pipeline::spec::{About, BuildContext, BuildError, ProcessorSpec, RawConfig, Stability, parse};
use crate::pipeline::units::ByteSize;
use crate::pipeline::{Batch, Context, Processor, Verdict};
use crate::profile::{FEWEST_ROWS, Fit, Fitting, Forecast, Leaving, Profiles, Reduced};
use crate::telemetry::{ReductionMetrics, SeldomEach};

/// The row of the table.
pub const SPEC: ProcessorSpec = ProcessorSpec {
    about: About {
        name: "compact",
        aliases: &[],
        summary: "leaves at most so many samples or bytes of a profile, and its totals as they are",
        docs: DOCS,
        stability: Stability::Beta,
        signals: &["profiles"],
        example: "compact: { max_rows: 10000, max_bytes: 1MiB }",
        schema: || schemars::schema_for!(Config),
    },
    adds_text: false,
    removes_text: None,
    holds: None,
    build,
};

const DOCS: &str = "\
Leaves of each profile at most `max_rows` samples, and at most `max_bytes` of it as OTLP without compression and without the other profiles of its
request. Samples that are a large share of some type stay as they are; of the others some are kept by chance and scaled up to stand
for the rest, as evenly as the call tree allows. The sum of every type stays exact, estimates are unbiased, and what a function is told to
have has a standard deviation of at most `sqrt(t s)`, where `s` is what is told and `t` the threshold of the type, which the attribute
`flamegate.sampling.threshold` names in the order of the types. `docs/budgets.md` has the errors.

Samples with a trace link are left out last: with a threshold of their own, as low as leaves the others half of the places that they would have
(`keep_linked`). The attribute names the threshold of the others, which is the larger.

With `method: largest_and_other` the largest samples stay and all others become one of the function `other`. That is biased: use it only where
somebody expects it, and see the warning in the log.

Any profile can be made smaller so, heap and allocations too; one with values below zero, a difference of two, passes as it is. Samples that
stand for others lose their timestamps, and counts of them are no raw counts any more: put `downsample` before it.
`flamegate_reduction_profiles_total` counts by `result`: `compacted`, `small_enough`, `negative`, `too_large` (not even few samples are as small as
`max_bytes`: texts of the profile are larger, and it passes with a few samples), `would_compact` (`dry_run`). A dry run also logs once a minute
how far off a profile would be; `flamegate inspect --leave ROWS` says that of a file, with names.
";

/// A dry run says how far off a profile would be at most so often, of so many functions.
const FORETELL_EVERY: Duration = Duration::from_secs(60);
const FORETOLD: usize = 10;

/// What becomes of samples beyond the limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Some are kept by chance and stand for the others: unbiased.
    #[default]
    Threshold,
    /// The largest are kept, and all others become one sample of the function `other`: biased, every function that is rare or in many
    /// small samples is told to have less than it has.
    LargestAndOther,
}

/// Configuration of `compact`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Most samples of a profile; at least 16.
    pub max_rows: usize,
    /// Most bytes of a profile as OTLP without compression; no limit if left out.
    pub max_bytes: Option<ByteSize>,
    /// What becomes of samples beyond the limit.
    pub method: Method,
    /// Samples with a trace link are left out last, as long as that leaves the others half of the places that they would have. With `method: threshold`.
    pub keep_linked: bool,
    /// Only counts what would be made smaller.
    pub dry_run: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_rows: 10_000,
            max_bytes: None,
            method: Method::default(),
            keep_linked: true,
            dry_run: false,
        }
    }
}

struct Compact {
    id: Arc<str>,
    method: Method,
    keep_linked: bool,
    max_rows: usize,
    max_bytes: Option<usize>,
    dry_run: bool,
    metrics: ReductionMetrics,
    /// Forecasts of dry runs.
    forecasts: SeldomEach,
}

fn build(raw: RawConfig, cx: &BuildContext) -> Result<Box<dyn Processor>, BuildError> {
    let config: Config = parse(raw)?;
    if config.max_rows < FEWEST_ROWS {
        return Err(BuildError::at(
            "max_rows",
            format!("at least {FEWEST_ROWS}: fewer tell nothing of a program"),
        ));
    }
    if config.method == Method::LargestAndOther {
        tracing::warn!(processor = %cx.id, "`method: largest_and_other` bends the numbers: functions that are not in the largest samples are told to have less than they have");
    }
    Ok(Box::new(Compact {
        id: cx.id.clone(),
        method: config.method,
        keep_linked: config.keep_linked,
        max_rows: config.max_rows,
        max_bytes: config.max_bytes.map(ByteSize::as_usize),
        dry_run: config.dry_run,
        metrics: cx.metrics.reduction(&cx.id),
        forecasts: SeldomEach::every(FORETELL_EVERY),
    }))
}

impl Processor for Compact {
    fn process(&self, mut batch: Batch, _cx: &Context) -> Verdict {
        let Some(profiles) = batch.as_profiles() else {
            return Verdict::pass(batch);
        };
        // what is made on the way is counted before it is there: up to four times as much where stacks are short, and another two to try sizes
        let copies = if self.max_bytes.is_some() { 6 } else { 4 };
        let (working, on_the_way) = (batch.permit().sibling(), copies * profiles.heap_bytes());
        let is_at_once = self.max_bytes.is_some() || self.dry_run;
        if is_at_once {
            working.hold(on_the_way);
        }
        // equal samples are joined before their bytes are counted, or they would be other samples then
        let joined = self.max_bytes.map(|_| {
            let mut joined = profiles.clone();
            joined.compact();
            joined
        });
        let joined_or_not = joined.as_ref().unwrap_or(profiles);
        let rows = self.rows(joined_or_not);
        if self.dry_run || rows.iter().all(Option::is_none) {
            self.foretell(joined_or_not, &rows);
            return Verdict::pass(batch);
        }
        if !is_at_once {
            working.hold(on_the_way);
        }
        if let Some(profiles) = batch.edit() {
            if let Some(joined) = joined {
                *profiles = joined;
            }
            let Reduced { from, to } = self.leaving().apply(profiles, &rows);
            self.metrics.reduced(from, to);
        }
        Verdict::pass(batch)
    }
}

impl Compact {
    /// Says now and then how far off a profile would be; without names, as those are text of profiles.
    fn foretell(&self, profiles: &Profiles, rows: &[Option<usize>]) {
        let mut planned = profiles.iter().zip(rows).filter_map(|(at, rows)| Some((at, (*rows)?)));
        let is_known = self.method == Method::Threshold;
        if let Some((at, rows)) = planned.next()
            && is_known
            && self.forecasts.happened("made smaller", 1).is_some()
        {
            let (d, keep_linked) = (profiles.dictionary(), self.keep_linked);
            if let Some(forecast) = Forecast::of_leaving(d, at.profile, rows, keep_linked, FORETOLD) {
                tracing::info!(processor = %self.id, %forecast, "dry run: a profile would be made smaller");
            }
        }
    }

    /// How many samples each profile is to have; none where it stays as it is.
    fn rows(&self, profiles: &Profiles) -> Vec<Option<usize>> {
        let mut too_large = match self.max_bytes {
            Some(most) => self.too_large(profiles, most),
            None => Vec::new(),
        };
        too_large.resize_with(profiles.profile_count(), || None);
        let rows = profiles.iter().zip(too_large).map(|(at, too_large)| {
            let samples = &at.profile.samples;
            let (rows, result) = match too_large {
                _ if samples.has_negative() => (None, "negative"),
                Some(found) if !found.fits => (Some(found.rows), "too_large"),
                Some(found) => (Some(found.rows), "compacted"),
                None if samples.len() > self.max_rows => (Some(self.max_rows), "compacted"),
                None => (None, "small_enough"),
            };
            let would = self.dry_run && rows.is_some();
            self.metrics.looked_at(if would { "would_compact" } else { result });
            rows
        });
        rows.collect()
    }

    fn too_large(&self, profiles: &Profiles, most: usize) -> Vec<Option<Fit>> {
        let fitting = Fitting {
            most,
            max_rows: self.max_rows,
            leaving: self.leaving(),
            bytes: |profiles: &Profiles| otlp::encode(profiles).len(),
        };
        fitting.too_large(profiles)
    }

    fn leaving(&self) -> Leaving<'_> {
        match self.method {
            Method::Threshold => Leaving::ByChance {
                key: &self.id,
                keep_linked: self.keep_linked,
            },
            Method::LargestAndOther => Leaving::AllButLargest,
        }
    }
}
