//! How much one key may bring: a bucket that fills with time, told by when it will be full again.
//!
//! Only that moment is kept, so nothing is rounded while it fills, and a key that has been quiet for a while is as if it were new.

use std::time::Duration;

/// What is measured.
pub(super) const MEASURES: usize = 4;

/// The names of what is measured.
pub(super) const NAMES: [&str; MEASURES] = ["requests", "profiles", "samples", "bytes"];

/// Measures of which something either fits whole or is larger than the burst. Of the others a single one may be large: it passes
/// as long as anything is left, and pays afterwards.
const COUNTED: usize = 2;

/// What is brought at once.
pub(super) type Load = [u64; MEASURES];

/// A moment, or a length of time, in parts of a nanosecond: so small that no sum of them drifts.
pub(super) type Time = u128;

/// Bits of a part of a nanosecond.
const BITS: u32 = 32;
/// What a product may be too large by is taken off: as many as the burst is for fit into it.
const NO_MORE: f64 = 1.0 - 1.0 / (1u64 << 50) as f64;

/// So many nanoseconds.
pub(super) const fn nanos(nanos: u64) -> Time {
    (nanos as Time) << BITS
}

/// How much is allowed.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Limit {
    /// The time that one of each takes; none where there is no limit.
    costs: [Option<f64>; MEASURES],
    /// So much may come at once as takes this long.
    burst: Time,
}

/// When each bucket of a key is full again, since the beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Buckets([Time; MEASURES]);

/// What holds something back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Over {
    /// Place of the measure in [`NAMES`].
    pub(super) measure: usize,
    /// When it would fit, if nothing else comes.
    pub(super) wait: Duration,
}

impl Limit {
    /// So many of each in a second, and as many at once as come in so long a time.
    pub(super) fn new(rates: [Option<f64>; MEASURES], burst: Duration) -> Self {
        let second = nanos(1_000_000_000) as f64 * NO_MORE;
        Self {
            costs: rates.map(|rate| rate.map(|rate| second / rate)),
            burst: nanos(u64::try_from(burst.as_nanos()).unwrap_or(u64::MAX)),
        }
    }

    /// Whether anything is limited.
    pub(super) fn is_any(&self) -> bool {
        self.costs.iter().any(Option::is_some)
    }

    fn cost(&self, measure: usize, amount: u64) -> Option<Time> {
        let each = self.costs.get(measure).copied().flatten()?;
        // what is more than there are numbers for is for ever
        Some((each * amount as f64) as Time)
    }
}

impl Buckets {
    /// What holds a load back now; none if it fits.
    pub(super) fn over(&self, limit: &Limit, load: &Load, now: Time) -> Option<Over> {
        let over = |(measure, (full, amount)): (usize, (&Time, &u64))| {
            let cost = limit.cost(measure, *amount).filter(|cost| *cost > 0)?;
            let used = full.saturating_sub(now);
            let needed = match measure < COUNTED {
                true => cost.min(limit.burst),
                false => nanos(1),
            };
            let missing = used.saturating_add(needed).saturating_sub(limit.burst);
            let wait = missing.div_ceil(1 << BITS);
            (missing > 0).then_some(Over {
                measure,
                wait: Duration::from_nanos(u64::try_from(wait).unwrap_or(u64::MAX)),
            })
        };
        let all = self.0.iter().zip(load).enumerate();
        all.filter_map(over).max_by_key(|over| over.wait)
    }

    /// Takes a load.
    pub(super) fn take(&mut self, limit: &Limit, load: &Load, now: Time) {
        for (measure, (full, amount)) in self.0.iter_mut().zip(load).enumerate() {
            if let Some(cost) = limit.cost(measure, *amount) {
                *full = (*full).max(now).saturating_add(cost);
            }
        }
    }

    /// Whether all are full: such a key need not be known.
    pub(super) fn are_full(&self, now: Time) -> bool {
        self.0.iter().all(|full| *full <= now)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn limit(rate: f64, burst: u64) -> Limit {
        Limit::new([Some(rate); MEASURES], Duration::from_nanos(burst))
    }

    #[test]
    fn as_many_come_at_once_as_the_burst_is_for() {
        for rate in [1.0, 3.0, 7.0, 9.0, 10.0, 99.0, 1e6 / 3.0] {
            let (limit, mut buckets) = (limit(rate, 3 * SECOND), Buckets::default());
            let mut passed = 0;
            while buckets.over(&limit, &of(0, 1), 0).is_none() {
                buckets.take(&limit, &of(0, 1), 0);
                passed += 1;
            }
            assert_eq!(passed, (3.0 * rate).round() as u64, "{rate}");
        }
    }

    fn of(measure: usize, amount: u64) -> Load {
        let mut load = Load::default();
        load[measure] = amount;
        load
    }

    #[test]
    fn what_is_larger_than_the_burst_passes_and_pays() {
        let limit = limit(10.0, SECOND);
        for measure in 0..MEASURES {
            let mut buckets = Buckets::default();
            assert_eq!(buckets.over(&limit, &of(measure, 1_000), 0), None);
            buckets.take(&limit, &of(measure, 1_000), 0);
            let over = buckets.over(&limit, &of(measure, 1), 0).unwrap();
            assert_eq!(over.measure, measure);
            assert!((98..=100).contains(&over.wait.as_secs()), "{over:?}");
            assert!(buckets.over(&limit, &of(measure, 1), nanos(98 * SECOND)).is_some());
            assert_eq!(buckets.over(&limit, &of(measure, 1), nanos(100 * SECOND)), None);
            assert!(!buckets.are_full(nanos(98 * SECOND)) && buckets.are_full(nanos(100 * SECOND)));
        }
    }

    #[test]
    fn one_a_minute_passes_although_the_burst_is_shorter_than_that() {
        let limit = limit(1.0 / 60.0, SECOND);
        let mut buckets = Buckets::default();
        assert_eq!(buckets.over(&limit, &of(0, 1), 0), None);
        buckets.take(&limit, &of(0, 1), 0);
        assert!(buckets.over(&limit, &of(0, 1), nanos(59 * SECOND)).is_some());
        assert_eq!(buckets.over(&limit, &of(0, 1), nanos(60 * SECOND)), None);
    }

    #[test]
    fn what_is_not_limited_is_not_held_back() {
        let limit = Limit::new([None, Some(1e-30), None, None], Duration::from_secs(1));
        assert!(limit.is_any());
        let mut buckets = Buckets::default();
        let load = [u64::MAX, 1, u64::MAX, u64::MAX];
        buckets.take(&limit, &load, 5);
        assert_eq!(buckets.over(&limit, &[u64::MAX, 0, u64::MAX, u64::MAX], 6), None);
        assert_eq!(buckets.over(&limit, &load, 6).unwrap().measure, 1, "for ever");
    }

    proptest! {
        /// Whatever comes when: between any two moments no more passes than the rate and a burst, or the largest at once.
        #[test]
        fn prop_no_more_passes_than_the_rate_and_a_burst(
            measure in 0..MEASURES,
            rate in 0.01f64..1e6,
            burst in 1..100 * SECOND,
            steps in prop::collection::vec((0..3 * SECOND, 1..2_000u64), 1..200),
        ) {
            let limit = limit(rate, burst);
            let mut buckets = Buckets::default();
            let (mut now, mut passed) = (0, Vec::new());
            for (pause, amount) in steps {
                now += pause;
                if buckets.over(&limit, &of(measure, amount), nanos(now)).is_none() {
                    buckets.take(&limit, &of(measure, amount), nanos(now));
                    passed.push((now, amount));
                }
            }
            prop_assert!(!passed.is_empty(), "the first one always passes");
            for from in 0..passed.len() {
                let (mut sum, mut largest) = (0, 0);
                for (at, amount) in &passed[from..] {
                    sum += amount;
                    largest = largest.max(*amount);
                    let filled = (at - passed[from].0) as f64 / SECOND as f64 * rate;
                    let at_once = burst as f64 / SECOND as f64 * rate;
                    let most = match measure < COUNTED {
                        true => filled + at_once.max(largest as f64),
                        false => filled + at_once + largest as f64,
                    };
                    prop_assert!(sum as f64 <= most * (1.0 + 1e-9) + 1e-6, "{sum} of {most}");
                }
            }
        }

        /// Who is told to wait fits then, and not before.
        #[test]
        fn prop_who_waits_as_told_fits(rate in 0.01f64..1e6, burst in 1..100 * SECOND, loads in prop::collection::vec(1..2_000u64, 1..50)) {
            let limit = limit(rate, burst);
            let (mut buckets, mut now) = (Buckets::default(), 0);
            for amount in loads {
                let load = [1, amount, amount, amount];
                if let Some(over) = buckets.over(&limit, &load, nanos(now)) {
                    let wait = u64::try_from(over.wait.as_nanos()).unwrap();
                    prop_assert!(buckets.over(&limit, &load, nanos(now + wait - 1)).is_some());
                    now += wait;
                }
                prop_assert_eq!(buckets.over(&limit, &load, nanos(now)), None);
                buckets.take(&limit, &load, nanos(now));
            }
        }
    }
}
