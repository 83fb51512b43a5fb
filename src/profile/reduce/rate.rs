//! How often a profiler looked, and where its profile says how often it saw each stack.
//!
//! Only what was looked at by the clock has a rate, and only raw counts can be thinned: what a profiler weighted already, such as
//! allocations, waits and whatever else was measured each for itself, passes as it is.

use super::{Counts, OTHER, Ratio, SAMPLING_THRESHOLD};
use crate::profile::{Dictionary, Observations, Profile, Series, ValueType};

/// No profiler looks more often: what says so has numbers that are no rate.
const FASTEST_HZ: f64 = 100_000.0;

/// A profile this little above a target is not worth a change: 100 Hz is what many profilers say for 99.
const TOLERANCE: f64 = 1.1;

/// How a profile was sampled.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// Where its counts are.
    pub counts: Counts,
    /// How often the profiler looked in a second of its clock.
    pub hz: f64,
    /// What one count stands for, in units of the clock, where it is the same for all.
    period: Option<u64>,
    /// Whether the profile says so itself.
    pub says_period: bool,
    /// Units of the clock in a second.
    per_second: f64,
}

/// Why a profile has no rate to be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsampled {
    /// It has no samples.
    Empty,
    /// It is of events or of weights, and not of looks by the clock.
    Weighted,
    /// Nothing says how often the profiler looked.
    NoRate,
}

impl Sampling {
    /// Finds out.
    pub fn of(d: &Dictionary, profile: &Profile) -> Result<Self, Unsampled> {
        if profile.samples.is_empty() {
            return Err(Unsampled::Empty);
        }
        // what stands for samples that were left out is no raw count
        let says = |key| d.attribute(profile.attributes, key).is_some();
        let is_weighted = says(SAMPLING_THRESHOLD) || says(OTHER);
        if is_weighted || profile.samples.has_negative() {
            return Err(Unsampled::Weighted);
        }
        let types = Types::of(d, profile)?;
        let period = u64::try_from(profile.period).ok().filter(|period| *period > 0);
        let declared = types.clock.zip(period);
        let declared = declared.filter(|(per_second, period)| per_second / *period as f64 <= FASTEST_HZ);
        match (declared, types.counted) {
            (Some((per_second, period)), Some(column)) => Ok(Self::at(Counts::Column(column), per_second, period)),
            (Some((per_second, period)), None) => {
                let step = types.step(period, per_second);
                let step = step.filter(|step| values(profile).iter().all(|value| value % step == 0));
                let counts = Counts::Times(step.ok_or(Unsampled::Weighted)?);
                Ok(Self::at(counts, per_second, period))
            }
            (None, Some(column)) => types.measured(profile, column),
            (None, None) => Err(Unsampled::NoRate),
        }
    }

    /// Where the raw counts are, also where nothing says how often the profiler looked.
    pub fn counts(d: &Dictionary, profile: &Profile) -> Option<Counts> {
        match Self::of(d, profile) {
            Ok(sampling) => Some(sampling.counts),
            Err(Unsampled::NoRate) => Types::of(d, profile).ok()?.counted.map(Counts::Column),
            Err(Unsampled::Empty | Unsampled::Weighted) => None,
        }
    }

    fn at(counts: Counts, per_second: f64, period: u64) -> Self {
        Self {
            counts,
            hz: per_second / period as f64,
            period: Some(period),
            says_period: true,
            per_second,
        }
    }

    /// Whether the profiler looked more often than it should have, by more than is worth a change.
    pub fn exceeds(&self, hz: f64) -> bool {
        self.hz > hz * TOLERANCE
    }

    /// What is kept where the profiler is to have looked so often, and the period it would have said.
    pub fn at_rate(&self, hz: f64) -> (Ratio, Option<u64>) {
        match self.period {
            Some(period) => {
                let longer = ((self.per_second / hz).round() as u64).max(period);
                (Ratio::of_periods(period, longer), Some(longer))
            }
            None => (Ratio::near(hz / self.hz), None),
        }
    }
}

/// The values of a profile, whatever its shape.
fn values(profile: &Profile) -> &[i64] {
    match &profile.samples.observations {
        Observations::Totals(values) => values,
        Observations::Series(Series { values, .. }) => values,
    }
}

/// What the types of a profile say.
struct Types {
    /// The column of counts.
    counted: Option<usize>,
    /// The first column of times, with how many of its units make a second.
    timed: Option<(usize, f64)>,
    /// Units of the period in a second; none where nothing is said of it.
    clock: Option<f64>,
}

impl Types {
    fn of(d: &Dictionary, profile: &Profile) -> Result<Self, Unsampled> {
        let clock = per_second(d.str(profile.period_type.unit));
        let has_period_type = profile.period_type != ValueType::default();
        if has_period_type && clock.is_none() {
            return Err(Unsampled::Weighted);
        }
        let counts_each = match &profile.samples.observations {
            Observations::Series(series) => series.values.is_empty(),
            Observations::Totals(_) => false,
        };
        let mut types = Self {
            counted: None,
            timed: None,
            clock,
        };
        for (column, of) in profile.sample_types.iter().enumerate() {
            let is_count = counts_each || matches!(d.str(of.unit), "count" | "samples");
            match per_second(d.str(of.unit)).filter(|_| !counts_each) {
                Some(per_second) => types.timed = types.timed.or(Some((column, per_second))),
                None if is_count && types.counted.is_none() && counts_looks(d, *of, profile.period_type) => {
                    types.counted = Some(column);
                }
                // what is neither was measured in another way
                None => return Err(Unsampled::Weighted),
            }
        }
        if types.counted.is_none() && (profile.sample_types.len() > 1 || types.timed.is_none()) {
            return Err(Unsampled::Weighted);
        }
        Ok(types)
    }

    /// A period in units of the only column, where that is a whole number.
    fn step(&self, period: u64, per_second: f64) -> Option<i64> {
        let (_, units) = self.timed?;
        let step = period as f64 * units / per_second;
        (step >= 1.0 && step.fract() == 0.0).then_some(step as i64)
    }

    /// Without a period the time that was measured tells how much of it a count stands for.
    fn measured(&self, profile: &Profile, counted: usize) -> Result<Sampling, Unsampled> {
        let (timed, per_second) = self.timed.ok_or(Unsampled::NoRate)?;
        let (samples, types) = (&profile.samples, profile.sample_types.len());
        let (count, time) = (samples.sum(counted, types), samples.sum(timed, types));
        if count <= 0 || time <= 0 {
            return Err(Unsampled::NoRate);
        }
        let hz = count as f64 * per_second / time as f64;
        if hz > FASTEST_HZ {
            return Err(Unsampled::NoRate);
        }
        let each = time / count;
        let is_same = (0..samples.len()).all(|row| {
            let count = i128::from(samples.total(row, counted, types));
            count * each == i128::from(samples.total(row, timed, types))
        });
        Ok(Sampling {
            counts: Counts::Column(counted),
            hz,
            period: is_same.then(|| u64::try_from(each).ok()).flatten(),
            says_period: false,
            per_second,
        })
    }
}

/// Whether a column of counts counts looks of the profiler, and no events.
fn counts_looks(d: &Dictionary, of: ValueType, period: ValueType) -> bool {
    let kind = d.str(of.kind);
    let counts_events = ["alloc", "lock", "exception", "contention"];
    let is_of_samples = (kind.ends_with("samples") || kind.ends_with("sample"))
        && !counts_events.iter().any(|event| kind.starts_with(event));
    is_of_samples || (period.kind.is_set() && kind == d.str(period.kind)) || matches!(kind, "cpu" | "wall")
}

fn per_second(unit: &str) -> Option<f64> {
    match unit {
        "nanoseconds" | "nanosecond" | "ns" => Some(1e9),
        "microseconds" | "microsecond" | "us" | "µs" => Some(1e6),
        "milliseconds" | "millisecond" | "ms" => Some(1e3),
        "seconds" | "second" | "s" => Some(1.0),
        _ => None,
    }
}
