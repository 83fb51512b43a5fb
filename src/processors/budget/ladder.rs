//! What is done to a profile for which there is not enough room: the mildest that is enough.

use super::accounts::Room;
use super::config::{Limits, Rung};
use crate::profile::{Dictionary, FEWEST_ROWS, Linked, Profile, Sampling, Thinning};

/// The budget alone thins to no less than this share of the target: few large counts tell more than many ones.
const THINNEST: f64 = 0.2;
/// Halvings of what is not known of a rate: to a hundredth of it.
const HALVINGS: usize = 8;

/// What is done to a profile.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// Nothing.
    Keep,
    /// Fewer counts.
    Thin(Thinning),
    /// Fewer rows.
    Compact {
        /// So many.
        rows: usize,
        /// Those with a link are left out last.
        keep_linked: bool,
    },
    /// One row.
    Totals,
    /// It is dropped.
    Drop,
}

impl Step {
    /// The label of what came of it, where there was room for the whole or not.
    pub(super) fn outcome(&self, is_whole: bool) -> &'static str {
        match self {
            Self::Keep => "full",
            Self::Thin(_) if is_whole => "at_target",
            Self::Thin(_) => "thinned",
            Self::Compact { .. } => "compacted",
            Self::Totals => "totals_only",
            Self::Drop => "dropped",
        }
    }
}

/// Which steps may be taken.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ladder {
    thin: bool,
    compact: bool,
    totals: bool,
    drop: bool,
}

impl Ladder {
    pub(super) fn of(rungs: &[Rung]) -> Self {
        Self {
            thin: rungs.contains(&Rung::Thin),
            compact: rungs.contains(&Rung::Compact),
            totals: rungs.contains(&Rung::TotalsOnly),
            drop: rungs.contains(&Rung::Drop),
        }
    }

    /// What is done to a profile for which there is so much room. One that is `due` keeps stacks.
    pub(super) fn step(self, case: &Case<'_>, room: Room, is_due: bool, bend: f64) -> Step {
        match room {
            Room::Whole => case.at_target(),
            Room::Bytes(bytes) => {
                let rows = case.rows() * (bytes / case.bytes).powf(1.0 / bend);
                self.within(case, rows, is_due)
            }
            Room::Totals if self.totals => Step::Totals,
            Room::Totals | Room::Nothing if self.drop => Step::Drop,
            Room::Nothing if self.totals => Step::Totals,
            Room::Totals | Room::Nothing => self.hardest(case),
        }
    }

    fn within(self, case: &Case<'_>, rows: f64, is_due: bool) -> Step {
        if self.thin
            && let Some(step) = case.thinned_within(rows)
        {
            return step;
        }
        if self.compact && case.can_be_compacted() && (is_due || rows >= FEWEST_ROWS as f64) {
            return case.compacted(rows as usize);
        }
        match () {
            () if self.totals && !is_due => Step::Totals,
            () if self.drop && !is_due => Step::Drop,
            () => self.hardest(case),
        }
    }

    /// The least that is left with stacks.
    fn hardest(self, case: &Case<'_>) -> Step {
        match &case.sampled {
            _ if self.compact && case.can_be_compacted() => case.compacted(FEWEST_ROWS),
            Some(sampled) if self.thin => case.thinned(sampled, sampled.lowest()),
            _ => case.at_target(),
        }
    }
}

/// A profile that is to be judged.
pub(super) struct Case<'a> {
    profile: &'a Profile,
    /// Bytes as it came.
    pub(super) bytes: f64,
    keep_linked: bool,
    sampled: Option<Sampled>,
}

/// A profile of raw counts.
struct Sampled {
    sampling: Sampling,
    /// The rate that it is to have at the most; its own if that is no more.
    target_hz: f64,
    linked: Linked,
}

impl Sampled {
    /// The rate to which a budget thins at the least.
    fn lowest(&self) -> f64 {
        self.target_hz * THINNEST
    }

    fn is_above_target(&self) -> bool {
        self.sampling.hz > self.target_hz
    }
}

impl<'a> Case<'a> {
    pub(super) fn new(d: &Dictionary, profile: &'a Profile, bytes: f64, limits: &Limits) -> Self {
        let sampling = Sampling::of(d, profile).ok();
        let sampled = sampling.map(|sampling| Sampled {
            sampling,
            target_hz: match sampling.exceeds(limits.target_hz) {
                true => limits.target_hz,
                false => sampling.hz,
            },
            linked: Linked::of(profile, sampling.counts),
        });
        Self {
            profile,
            bytes,
            keep_linked: limits.keep_linked,
            sampled,
        }
    }

    pub(super) fn rows(&self) -> f64 {
        self.profile.samples.len() as f64
    }

    /// The share of its rows that is left at its target rate.
    pub(super) fn rows_at_target(&self) -> f64 {
        match &self.sampled {
            Some(sampled) if sampled.is_above_target() => self.rows_at(sampled, sampled.target_hz) / self.rows(),
            _ => 1.0,
        }
    }

    /// As many rows as are left at a rate, on average: one of `n` counts stays with a chance of `n` times the share that is kept, one at the most.
    fn rows_at(&self, sampled: &Sampled, hz: f64) -> f64 {
        let (samples, types) = (&self.profile.samples, self.profile.sample_types.len());
        let ratio = hz / sampled.sampling.hz;
        let (linked, others) = match self.keep_linked {
            true => sampled.linked.ratios(ratio),
            false => (ratio, ratio),
        };
        let rows = samples.links.iter().enumerate().map(|(row, link)| {
            let count = sampled.sampling.counts.of_row(samples, row, types) as f64;
            let ratio = if link.is_set() { linked } else { others };
            (count * ratio).min(1.0)
        });
        rows.sum()
    }

    fn at_target(&self) -> Step {
        match &self.sampled {
            Some(sampled) if sampled.is_above_target() => self.thinned(sampled, sampled.target_hz),
            _ => Step::Keep,
        }
    }

    fn thinned(&self, sampled: &Sampled, hz: f64) -> Step {
        Step::Thin(Thinning::to_rate(&sampled.sampling, self.profile, hz, self.keep_linked))
    }

    fn compacted(&self, rows: usize) -> Step {
        Step::Compact {
            rows: rows.max(FEWEST_ROWS),
            keep_linked: self.keep_linked,
        }
    }

    /// Thinned to the highest rate at which there are no more rows than so many; none if that is too low.
    fn thinned_within(&self, rows: f64) -> Option<Step> {
        let sampled = self.sampled.as_ref()?;
        let (mut fits, mut over) = (sampled.lowest(), sampled.target_hz);
        if self.rows_at(sampled, fits) > rows {
            return None;
        }
        for _ in 0..HALVINGS {
            let middle = (fits + over) / 2.0;
            match self.rows_at(sampled, middle) <= rows {
                true => fits = middle,
                false => over = middle,
            }
        }
        Some(self.thinned(sampled, fits))
    }

    fn can_be_compacted(&self) -> bool {
        let samples = &self.profile.samples;
        let types = self.profile.sample_types.len();
        samples.len() > FEWEST_ROWS && (1..FEWEST_ROWS).contains(&types) && !samples.has_negative()
    }
}
