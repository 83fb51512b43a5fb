//! Systematic sampling: a grid of equal steps, laid over a row of counts at a random start.

/// How many of how many are kept: `kept / of`, at most one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ratio {
    kept: u64,
    of: u64,
}

impl Ratio {
    /// Everything.
    pub const ONE: Self = Self { kept: 1, of: 1 };

    /// What is kept where one sample stood for `period` and is to stand for `longer`.
    pub fn of_periods(period: u64, longer: u64) -> Self {
        if period == 0 || longer <= period {
            return Self::ONE;
        }
        Self {
            kept: period,
            of: longer,
        }
    }

    /// The ratio nearest to a number.
    pub fn near(ratio: f64) -> Self {
        const STEPS: u64 = 1 << 32;
        if ratio >= 1.0 {
            return Self::ONE;
        }
        // a number between 0 and 1, so nothing is cut off
        let kept = (ratio * STEPS as f64).round() as u64;
        Self {
            kept: kept.clamp(1, STEPS),
            of: STEPS,
        }
    }

    /// It as a number.
    pub fn as_f64(self) -> f64 {
        self.kept as f64 / self.of as f64
    }

    /// Whether everything is kept.
    pub fn is_one(self) -> bool {
        self.kept == self.of
    }

    /// What one kept sample stands for, where one stood for `step`; none if that is no whole number.
    pub(super) fn longer(self, step: i64) -> Option<i64> {
        let product = i128::from(step) * i128::from(self.of);
        let kept = i128::from(self.kept);
        (product % kept == 0)
            .then(|| i64::try_from(product / kept).ok())
            .flatten()
    }
}

/// The grid on its way along the counts. What it keeps of any of them that follow each other differs from their share by less than one,
/// and is their share on average over all starts.
#[derive(Clone, Debug)]
pub(super) struct Grid {
    ratio: Ratio,
    /// How much of the step that is under way is passed, in parts of `of`.
    passed: u64,
}

impl Grid {
    /// A grid whose start is the given one of all 2^64.
    pub(super) fn new(ratio: Ratio, start: u64) -> Self {
        let passed = (u128::from(start) * u128::from(ratio.of)) >> 64;
        Self {
            ratio,
            passed: passed as u64,
        }
    }

    /// How many of the next `count` are kept.
    pub(super) fn keep(&mut self, count: u64) -> u64 {
        let Ratio { kept, of } = self.ratio;
        let small = count.checked_mul(kept).and_then(|more| more.checked_add(self.passed));
        match small {
            Some(passed) => {
                self.passed = passed % of;
                passed / of
            }
            None => {
                let passed = u128::from(count) * u128::from(kept) + u128::from(self.passed);
                // less than `of`; and no more than `count`, as no ratio is above one
                self.passed = (passed % u128::from(of)) as u64;
                (passed / u128::from(of)) as u64
            }
        }
    }
}

/// Makes whole numbers of fractions: what is cut off goes to the next, so sums over any that follow each other are off by less than one.
#[derive(Clone, Debug)]
pub(super) struct Rounding {
    over: f64,
}

impl Rounding {
    /// With the given one of all 2^64 starts.
    pub(super) fn new(start: u64) -> Self {
        Self {
            over: (start >> 11) as f64 / (1u64 << 53) as f64,
        }
    }

    pub(super) fn round(&mut self, number: f64) -> i64 {
        let sum = number + self.over;
        // saturates; and where a number has no fraction any more nothing is left over
        let whole = sum as i64;
        let over = sum - whole as f64;
        self.over = if over < 1.0 { over } else { 0.0 };
        whole
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Starts that together are all there are, as far as a ratio of these parts tells them apart.
    fn all_starts(of: u64) -> impl Iterator<Item = u64> {
        (0..of).map(move |part| (u128::from(part) << 64).div_ceil(u128::from(of)) as u64)
    }

    proptest! {
        #[test]
        fn prop_over_all_starts_each_count_has_exactly_its_share(
            counts in proptest::collection::vec(0u64..40, 1..12),
            kept in 1u64..60,
            more in 0u64..60,
        ) {
            let ratio = Ratio { kept, of: kept + more };
            let mut sums = vec![0; counts.len()];
            for start in all_starts(ratio.of) {
                let mut grid = Grid::new(ratio, start);
                for (sum, count) in sums.iter_mut().zip(&counts) {
                    *sum += grid.keep(*count);
                }
            }
            let shares: Vec<u64> = counts.iter().map(|count| count * ratio.kept).collect();
            prop_assert_eq!(sums, shares);
        }

        #[test]
        fn prop_what_stands_together_is_off_by_less_than_one(
            counts in proptest::collection::vec(any::<u32>(), 1..40),
            periods in (1u64..1 << 40, 1u64..1 << 40),
            start in any::<u64>(),
        ) {
            let ratio = Ratio::of_periods(periods.0.min(periods.1), periods.0.max(periods.1));
            let mut grid = Grid::new(ratio, start);
            let kept: Vec<u64> = counts.iter().map(|count| grid.keep(u64::from(*count))).collect();
            for from in 0..counts.len() {
                for to in from..counts.len() {
                    let all: u64 = counts[from..=to].iter().map(|count| u64::from(*count)).sum();
                    let kept: u64 = kept[from..=to].iter().sum();
                    // in parts of `of`, so that no rounding is in it
                    let off = i128::from(kept) * i128::from(ratio.of) - i128::from(all) * i128::from(ratio.kept);
                    prop_assert!(off.abs() < i128::from(ratio.of), "{} of {} at {:?}", kept, all, ratio);
                }
            }
        }

        #[test]
        fn prop_rounding_loses_nothing(numbers in proptest::collection::vec(0.0f64..1e6, 1..50), start in any::<u64>()) {
            let mut rounding = Rounding::new(start);
            let rounded: i64 = numbers.iter().map(|number| rounding.round(*number)).sum();
            prop_assert!((rounded as f64 - numbers.iter().sum::<f64>()).abs() < 1.0 + 1e-6);
        }
    }

    #[test]
    fn a_huge_count_keeps_its_share() {
        let ratio = Ratio::of_periods(10_000_000, 52_631_579);
        for count in [u64::MAX, i64::MAX as u64, 1 << 40] {
            let kept = Grid::new(ratio, 7).keep(count) as f64;
            assert!((kept / count as f64 - ratio.as_f64()).abs() < 1e-9, "{count}");
        }
    }

    #[test]
    fn a_longer_period_is_said_where_it_is_whole() {
        let ratio = Ratio::of_periods(10_000_000, 52_631_579);
        assert_eq!(ratio.longer(10_000_000), Some(52_631_579));
        assert_eq!(ratio.longer(5_000_000), None);
        assert!(Ratio::of_periods(5, 5).is_one() && Ratio::of_periods(0, 5).is_one() && Ratio::near(1.0).is_one());
        assert!((Ratio::near(0.192).as_f64() - 0.192).abs() < 1e-9);
    }
}
