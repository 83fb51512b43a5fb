//! `downsample`: profiles as they would be, had the profiler looked less often.

mod rate;
mod strata;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::pipeline::matcher::{MatchConfig, Matcher};
use crate::pipeline::spec::{About, BuildContext, BuildError, ProcessorSpec, RawConfig, Stability, parse};
use crate::pipeline::{Batch, Context, Origin, Processor, Verdict};
use crate::profile::{Dictionary, KEEP_RATIO, Order, Profile, ProfileRef, Profiles, Ratio, Samples, Value, thin};
use crate::telemetry::ReductionMetrics;
use rate::{Sampling, Unsampled};
use strata::Linked;

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
    build,
};

const DOCS: &str = "\
Makes of a CPU or wall profile what the profiler would have sent, had it looked `target_hz` times a second: fewer counts, a longer
`period`, the same seconds. Of the counts an even share is kept, walked in the order of the call tree: the total and what was called from
any place are off by less than one kept sample, and estimates are unbiased. `docs/budgets.md` has the errors.

Only raw counts are thinned: profiles with a period (or a measured time) by a clock. Heap, allocations, locks and other weighted
profiles pass as they are, as do profiles at the target, below it, or within a tenth above, with the bytes in which they came.
`flamegate_reduction_profiles_total` counts by `result`: `thinned`, `slow_enough`, `weighted`, `no_rate` (nothing says how often the profiler
looked), `empty`, `would_thin` (`dry_run`).

Samples with a trace link are thinned last. Where they keep another share than the rest they leave as a profile of their own, a
millisecond later, as one period cannot tell two truths; links that are labels count once something has made links of them.

The attribute `flamegate.sampling.keep_ratio` says what is left of the counts that were first received; a second thinning multiplies it.
An `original_payload` goes with the samples that it held. The same profile is always thinned to the same one. The keep ratio has no place in pprof.
";

/// A profile this little above the target is not worth a change: 100 Hz is what many profilers say for 99.
const TOLERANCE: f64 = 1.1;

/// How much later the profile of linked samples begins: servers that store by series and millisecond would take it for the other.
const APART_NANOS: u64 = 1_000_000;

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

/// What is to be done to one profile.
struct Plan {
    sampling: Sampling,
    strata: Vec<Stratum>,
}

/// Samples of a profile that are thinned alike.
struct Stratum {
    /// Whether it is of the samples with a link, or of those without; of all if neither.
    linked: Option<bool>,
    ratio: Ratio,
    /// The period it leaves with; as it came where it came without one.
    period: Option<u64>,
}

impl Processor for Downsample {
    fn process(&self, mut batch: Batch, _cx: &Context) -> Verdict {
        let origin = batch.origin().clone();
        let Some(profiles) = batch.as_profiles() else {
            return Verdict::pass(batch);
        };
        let d = profiles.dictionary();
        let plans: Vec<Option<Plan>> = profiles.iter().map(|at| self.plan(d, at, &origin)).collect();
        if self.dry_run || plans.iter().all(Option::is_none) {
            return Verdict::pass(batch);
        }
        // what is made on the way is no larger than what came, and is counted before it is there
        let working = batch.permit().sibling();
        working.hold(profiles.heap_bytes());
        if let Some(profiles) = batch.edit() {
            self.apply(profiles, plans);
        }
        Verdict::pass(batch)
    }
}

impl Downsample {
    /// What is to be done to a profile; none if it stays as it is.
    fn plan(&self, d: &Dictionary, at: ProfileRef<'_>, origin: &Origin) -> Option<Plan> {
        let matching = self.services.iter().find(|(matcher, _)| matcher.profile(d, at, origin));
        let target = matching.map_or(self.target_hz, |(_, hz)| *hz);
        let result = match Sampling::of(d, at.profile) {
            Ok(sampling) if sampling.hz > target * TOLERANCE => {
                self.metrics
                    .looked_at(if self.dry_run { "would_thin" } else { "thinned" });
                let strata = self.strata(&sampling, at.profile, target);
                return Some(Plan { sampling, strata });
            }
            Ok(_) => "slow_enough",
            Err(Unsampled::Empty) => "empty",
            Err(Unsampled::Weighted) => "weighted",
            Err(Unsampled::NoRate) => "no_rate",
        };
        self.metrics.looked_at(result);
        None
    }

    fn strata(&self, sampling: &Sampling, profile: &Profile, target: f64) -> Vec<Stratum> {
        let stratum = |linked, hz| {
            let (ratio, period) = sampling.at_rate(hz);
            Stratum {
                linked,
                ratio,
                period: period.filter(|_| sampling.says_period),
            }
        };
        let found = Linked::of(profile, sampling.counts);
        let (linked, others) = found.ratios(target / sampling.hz);
        if !self.keep_linked || linked == others {
            return vec![stratum(None, target)];
        }
        vec![
            stratum(Some(false), others * sampling.hz),
            stratum(Some(true), linked * sampling.hz),
        ]
    }

    fn apply(&self, profiles: &mut Profiles, plans: Vec<Option<Plan>>) {
        let d = profiles.dictionary();
        let planned = profiles.iter().zip(&plans).filter(|(_, plan)| plan.is_some());
        let order = Order::of(d, planned.map(|(at, _)| at));
        let thinned = profiles.iter().zip(plans);
        let thinned = thinned.map(|(at, plan)| plan.map(|plan| self.thin(d, at, &plan, &order)));
        let thinned: Vec<Option<Vec<Thinned>>> = thinned.collect();
        let (d, resources) = profiles.edit();
        let mut thinned = thinned.into_iter();
        for scope in resources.iter_mut().flat_map(|resource| &mut resource.scopes) {
            let before = std::mem::take(&mut scope.profiles);
            for profile in before {
                match thinned.next().flatten() {
                    None => scope.profiles.push(profile),
                    Some(parts) => scope.profiles.extend(parts.into_iter().map(|part| part.noted(d))),
                }
            }
        }
    }

    /// The profile in one part for each stratum of which something is left; at least one.
    fn thin(&self, d: &Dictionary, at: ProfileRef<'_>, plan: &Plan, order: &Order) -> Vec<Thinned> {
        let (profile, counts) = (at.profile, plan.sampling.counts);
        let (samples, types) = (&profile.samples, profile.sample_types.len());
        let seed = order.seed(&self.id, d, at);
        let rows = order.rows(samples);
        let is_linked = |row: &usize| samples.links.get(*row).is_some_and(|link| link.is_set());
        let part = |stratum: &Stratum| {
            let rows = rows.iter().copied();
            let rows: Vec<usize> = match stratum.linked {
                None => rows.collect(),
                Some(linked) => rows.filter(|row| is_linked(row) == linked).collect(),
            };
            let seed = seed ^ u64::from(stratum.linked == Some(true));
            let left = thin(samples, types, counts, stratum.ratio, &rows, seed);
            self.metrics.reduced(
                rows.iter().map(|row| counts.of_row(samples, *row, types)).sum(),
                counts.thinned(stratum.ratio).of_all(&left, types),
            );
            Thinned::of(profile, left, stratum)
        };
        let mut parts: Vec<Thinned> = plan.strata.iter().map(part).collect();
        // that the program ran is told, though no sample of it be left
        match parts.iter().any(|part| !part.profile.samples.is_empty()) {
            true => parts.retain(|part| !part.profile.samples.is_empty()),
            false => parts.truncate(1),
        }
        parts.iter_mut().skip(1).for_each(Thinned::stand_apart);
        parts
    }
}

/// A part of a profile with what is left of its samples.
struct Thinned {
    profile: Profile,
    ratio: Ratio,
}

impl Thinned {
    fn of(before: &Profile, left: Samples, stratum: &Stratum) -> Self {
        let period = stratum.period.map(|period| i64::try_from(period).unwrap_or(i64::MAX));
        let profile = Profile {
            samples: Arc::new(left),
            period: period.unwrap_or(before.period),
            // it holds all of the samples
            original_payload: None,
            ..before.clone()
        };
        Self {
            profile,
            ratio: stratum.ratio,
        }
    }

    /// Makes it another profile than the one it was a part of.
    fn stand_apart(&mut self) {
        self.profile.ids = Vec::new();
        self.profile.siblings = 0;
        self.profile.time_unix_nano = self.profile.time_unix_nano.saturating_add(APART_NANOS);
    }

    /// The profile with its keep ratio written down.
    fn noted(mut self, d: &mut Dictionary) -> Profile {
        let before = self.profile.attributes;
        let so_far = match d.attribute(before, KEEP_RATIO) {
            Some(Value::Double(ratio)) if *ratio > 0.0 && *ratio <= 1.0 => *ratio,
            _ => 1.0,
        };
        let ratio = Value::Double(so_far * self.ratio.as_f64());
        self.profile.attributes = d.with_attribute(before, KEEP_RATIO, ratio);
        self.profile
    }
}
