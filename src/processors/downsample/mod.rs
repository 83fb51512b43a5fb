//! `downsample`: profiles as they would be, had the profiler looked less often.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::pipeline::matcher::{MatchConfig, Matcher};
use crate::pipeline::spec::{About, BuildContext, BuildError, ProcessorSpec, RawConfig, Stability, parse};
use crate::pipeline::{Batch, Context, Origin, Processor, Verdict};
use crate::profile::{
    Dictionary, Forecast, ProfileRef, Profiles, Reduced, Sampling, Thinning, Unsampled, thin_profiles,
};
use crate::telemetry::{ReductionMetrics, SeldomEach};

/// The row of the table.
pub const SPEC: ProcessorSpec = ProcessorSpec {
    about: About {
        name: "downsample",
        aliases: &[],
        summary: "thins profiles to a sampling rate, without bending the numbers",
        docs: DOCS,
        stability: Stability::Beta,
        signals: &["profiles"],
        example: "downsample: { target_hz: 99, services: [{ match: { resource.service.name: \"batch-*\" }, target_hz: 19 }] }",
        schema: || schemars::schema_for!(Config),
    },
    adds_text: false,
    removes_text: None,
    holds: None,
    build,
};

const DOCS: &str = "\
Makes of a CPU or wall profile what the profiler would have sent, had it looked `target_hz` times a second: fewer counts, a longer
`period`, the same seconds. Of the counts an even share is kept, walked in the order of the call tree: the total and what was called from
any place are off by less than one kept sample, and estimates are unbiased. `docs/budgets.md` has the errors.

Only raw counts are thinned: profiles with a period (or a measured time) by a clock. Heap, allocations, locks and other weighted
profiles pass as they are, as do profiles at the target, below it, or within a tenth above, with the bytes in which they came.
`flamegate_reduction_profiles_total` counts by `result`: `thinned`, `slow_enough`, `weighted`, `no_rate` (nothing says how often the profiler
looked), `empty`, `would_thin` (`dry_run`). A dry run also logs once a minute how far off a profile would be; `flamegate inspect --thin HZ` says
that of a file, with names.

Samples with a trace link are thinned last. Where they keep another share than the rest they leave as a profile of their own, a
millisecond later, as one period cannot tell two truths; links that are labels count once something has made links of them.

The attribute `flamegate.sampling.keep_ratio` says what is left of the counts that were first received; a second thinning multiplies it.
An `original_payload` goes with the samples that it held. The same profile is always thinned to the same one. The keep ratio has no place in pprof.
";

/// A dry run says how far off a profile would be at most so often, of so many functions.
const FORETELL_EVERY: Duration = Duration::from_secs(60);
const FORETOLD: usize = 10;

/// Configuration of `downsample`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Looks per second that profiles are thinned to; those with fewer stay as they are.
    pub target_hz: f64,
    /// Other targets: the first that matches counts.
    pub services: Vec<ServiceRate>,
    /// Samples with a trace link are thinned last, in a profile of their own.
    pub keep_linked: bool,
    /// Only counts what would be thinned.
    pub dry_run: bool,
}

/// The target of some services.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServiceRate {
    /// Which profiles, as in `when:`; all conditions must hold.
    #[serde(rename = "match")]
    pub matching: MatchConfig,
    /// Looks per second.
    pub target_hz: f64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            target_hz: 99.0,
            services: Vec::new(),
            keep_linked: true,
            dry_run: false,
        }
    }
}

struct Downsample {
    id: Arc<str>,
    target_hz: f64,
    services: Vec<(Matcher, f64)>,
    keep_linked: bool,
    dry_run: bool,
    metrics: ReductionMetrics,
    /// Forecasts of dry runs.
    forecasts: SeldomEach,
}

fn build(raw: RawConfig, cx: &BuildContext) -> Result<Box<dyn Processor>, BuildError> {
    let config: Config = parse(raw)?;
    let mut services = Vec::with_capacity(config.services.len());
    for (i, service) in config.services.iter().enumerate() {
        let path = format!("services[{i}].match");
        let matcher = Matcher::new(&path, &service.matching)?;
        if matcher.has_sample_conditions() {
            return Err(BuildError::at(
                path,
                "a profile has one rate; `sample.<key>` is not allowed here",
            ));
        }
        services.push((
            matcher,
            checked(&format!("services[{i}].target_hz"), service.target_hz)?,
        ));
    }
    Ok(Box::new(Downsample {
        id: cx.id.clone(),
        target_hz: checked("target_hz", config.target_hz)?,
        services,
        keep_linked: config.keep_linked,
        dry_run: config.dry_run,
        metrics: cx.metrics.reduction(&cx.id),
        forecasts: SeldomEach::every(FORETELL_EVERY),
    }))
}

fn checked(path: &str, hz: f64) -> Result<f64, BuildError> {
    match (0.001..=100_000.0).contains(&hz) {
        true => Ok(hz),
        false => Err(BuildError::at(
            path,
            "a rate is a number of 0.001 to 100000 looks per second",
        )),
    }
}

impl Processor for Downsample {
    fn process(&self, mut batch: Batch, _cx: &Context) -> Verdict {
        let origin = batch.origin().clone();
        let Some(profiles) = batch.as_profiles() else {
            return Verdict::pass(batch);
        };
        let d = profiles.dictionary();
        let plans: Vec<Option<Thinning>> = profiles.iter().map(|at| self.plan(d, at, &origin)).collect();
        if self.dry_run || plans.iter().all(Option::is_none) {
            self.foretell(profiles, &plans);
            return Verdict::pass(batch);
        }
        // what is made on the way is up to four times as large, where stacks are short, and is counted before it is there
        let working = batch.permit().sibling();
        working.hold(4 * profiles.heap_bytes());
        if let Some(profiles) = batch.edit() {
            let Reduced { from, to } = thin_profiles(profiles, &plans, &self.id).reduced;
            self.metrics.reduced(from, to);
        }
        Verdict::pass(batch)
    }
}

impl Downsample {
    /// Says now and then how far off a profile would be; without names, as those are text of profiles.
    fn foretell(&self, profiles: &Profiles, plans: &[Option<Thinning>]) {
        let mut planned = profiles
            .iter()
            .zip(plans)
            .filter_map(|(at, plan)| Some((at, plan.as_ref()?)));
        if let Some((at, plan)) = planned.next()
            && self.forecasts.happened("thinned", 1).is_some()
        {
            let forecast = Forecast::of_thinning(profiles.dictionary(), at.profile, plan, FORETOLD);
            tracing::info!(processor = %self.id, %forecast, "dry run: a profile would be thinned");
        }
    }

    /// What is to be done to a profile; none if it stays as it is.
    fn plan(&self, d: &Dictionary, at: ProfileRef<'_>, origin: &Origin) -> Option<Thinning> {
        let matching = self.services.iter().find(|(matcher, _)| matcher.profile(d, at, origin));
        let target = matching.map_or(self.target_hz, |(_, hz)| *hz);
        let result = match Sampling::of(d, at.profile) {
            Ok(sampling) if sampling.exceeds(target) => {
                self.metrics
                    .looked_at(if self.dry_run { "would_thin" } else { "thinned" });
                return Some(Thinning::to_rate(&sampling, at.profile, target, self.keep_linked));
            }
            Ok(_) => "slow_enough",
            Err(Unsampled::Empty) => "empty",
            Err(Unsampled::Weighted) => "weighted",
            Err(Unsampled::NoRate) => "no_rate",
        };
        self.metrics.looked_at(result);
        None
    }
}
