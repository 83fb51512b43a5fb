//! Whole profiles thinned to a rate: what is left of their samples, and what they say of it.

use std::sync::Arc;

use super::{ContentHashes, Counts, KEEP_RATIO, Linked, Order, Ratio, Reduced, Sampling, thin};
use crate::profile::{Dictionary, Profile, Profiles, Samples, Value};

/// How much later the profile of linked samples begins: servers that store by series and millisecond would take it for the other.
const APART_NANOS: u64 = 1_000_000;

/// How one profile is thinned.
#[derive(Clone, Debug)]
pub struct Thinning {
    counts: Counts,
    strata: Vec<Stratum>,
}

/// Samples of a profile that are thinned alike.
#[derive(Clone, Copy, Debug)]
struct Stratum {
    /// Whether it is of the samples with a link, or of those without; of all if neither.
    linked: Option<bool>,
    ratio: Ratio,
    /// The period it leaves with; as it came where it came without one.
    period: Option<u64>,
}

impl Thinning {
    /// To as many looks per second. With `keep_linked`, samples with a link are thinned last, in a profile of their own.
    pub fn to_rate(sampling: &Sampling, profile: &Profile, hz: f64, keep_linked: bool) -> Self {
        let stratum = |linked, hz| {
            let (ratio, period) = sampling.at_rate(hz);
            Stratum {
                linked,
                ratio,
                period: period.filter(|_| sampling.says_period),
            }
        };
        let found = Linked::of(profile, sampling.counts);
        let (linked, others) = found.ratios(hz / sampling.hz);
        let strata = match keep_linked && linked != others {
            false => vec![stratum(None, hz)],
            true => vec![
                stratum(Some(false), others * sampling.hz),
                stratum(Some(true), linked * sampling.hz),
            ],
        };
        Self {
            counts: sampling.counts,
            strata,
        }
    }

    /// How often the stack of a row was seen, and what share of that is kept.
    pub(super) fn of_row(&self, profile: &Profile, row: usize) -> (f64, f64) {
        let count = self.counts.of_row(&profile.samples, row, profile.sample_types.len());
        let is_linked = profile.samples.links.get(row).is_some_and(|link| link.is_set());
        let is_of = |stratum: &&Stratum| stratum.linked.is_none_or(|linked| linked == is_linked);
        let stratum = self.strata.iter().find(is_of);
        (count as f64, stratum.map_or(1.0, |stratum| stratum.ratio.as_f64()))
    }

    /// The shares that are kept of samples that are thinned alike.
    pub(super) fn ratios(&self) -> impl Iterator<Item = f64> {
        self.strata.iter().map(|stratum| stratum.ratio.as_f64())
    }

    /// The profile, of which this is the order of the rows, in one part for each stratum of which something is left; at least one.
    fn parts(&self, profile: &Profile, rows: &[usize], seed: u64, reduced: &mut Reduced) -> Vec<Part> {
        let (samples, types, counts) = (&profile.samples, profile.sample_types.len(), self.counts);
        let is_linked = |row: &usize| samples.links.get(*row).is_some_and(|link| link.is_set());
        let part = |stratum: &Stratum| {
            let rows = rows.iter().copied();
            let rows: Vec<usize> = match stratum.linked {
                None => rows.collect(),
                Some(linked) => rows.filter(|row| is_linked(row) == linked).collect(),
            };
            let seed = seed ^ u64::from(stratum.linked == Some(true));
            let left = thin(samples, types, counts, stratum.ratio, &rows, seed);
            reduced.from += rows.iter().map(|row| counts.of_row(samples, *row, types)).sum::<u64>();
            reduced.to += counts.thinned(stratum.ratio).of_all(&left, types);
            Part::of(profile, left, stratum)
        };
        let mut parts: Vec<Part> = self.strata.iter().map(part).collect();
        // that the program ran is told, though no sample of it be left
        match parts.iter().any(|part| !part.profile.samples.is_empty()) {
            true => parts.retain(|part| !part.profile.samples.is_empty()),
            false => parts.truncate(1),
        }
        parts.iter_mut().skip(1).for_each(Part::stand_apart);
        parts
    }
}

/// Thins each profile as `plans` say in the same order; those of which they say nothing stay as they are. `key` tells apart who thins, so
/// that two who thin the same do not choose alike.
pub fn thin_profiles(profiles: &mut Profiles, plans: &[Option<Thinning>], key: &str) -> Thinned {
    let mut reduced = Reduced::default();
    let planned = profiles.iter().zip(plans).filter(|(_, plan)| plan.is_some());
    let stacks = planned.flat_map(|(at, _)| at.profile.samples.stacks.iter().copied());
    let mut hashes = ContentHashes::of(profiles.dictionary());
    let order = Order::of(&mut hashes, stacks);
    let thinned = profiles.iter().zip(plans).map(|(at, plan)| {
        let plan = plan.as_ref()?;
        let rows = order.rows_in_full(&mut hashes, &at.profile.samples);
        Some(plan.parts(at.profile, &rows, hashes.seed(key, at), &mut reduced))
    });
    let thinned: Vec<Option<Vec<Part>>> = thinned.collect();
    drop((order, hashes));
    let parts = thinned.iter().map(|parts| parts.as_ref().map_or(1, Vec::len)).collect();
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
    Thinned { reduced, parts }
}

/// What became of profiles that were to be thinned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Thinned {
    /// Of how many counts how many are left.
    pub reduced: Reduced,
    /// How many profiles each became.
    pub parts: Vec<usize>,
}

/// A part of a profile with what is left of its samples.
struct Part {
    profile: Profile,
    ratio: Ratio,
}

impl Part {
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
        // one without a time stays without
        if self.profile.time_unix_nano > 0 {
            self.profile.time_unix_nano = self.profile.time_unix_nano.saturating_add(APART_NANOS);
        }
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
