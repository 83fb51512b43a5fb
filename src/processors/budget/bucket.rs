//! What was earned and not spent yet. It may be overdrawn by one that is larger than what is there, which later ones pay.

/// Seconds since the budget began.
pub(super) type Time = f64;

/// How fast a bucket fills, and how much it holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Rate {
    /// In a second; infinite where there is no limit.
    pub(super) per_second: f64,
    /// Seconds until it is full.
    pub(super) burst: f64,
}

/// What is in a bucket.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bucket {
    level: f64,
    at: Time,
}

impl Bucket {
    /// One that has been filling for so many seconds.
    pub(super) fn filled_for(seconds: f64, rate: Rate, now: Time) -> Self {
        let mut bucket = Self {
            level: 0.0,
            at: now - seconds,
        };
        bucket.fill(rate, now);
        bucket
    }

    fn fill(&mut self, rate: Rate, now: Time) {
        let earned = rate.per_second * (now - self.at).max(0.0);
        self.level = (self.level + earned).min(rate.per_second * rate.burst);
        self.at = now;
    }

    /// How full it is: 1 for full, 0 for empty, less if overdrawn. Without a limit always full.
    pub(super) fn fullness(&mut self, rate: Rate, now: Time) -> f64 {
        if rate.per_second.is_infinite() {
            return 1.0;
        }
        self.fill(rate, now);
        self.level / (rate.per_second * rate.burst)
    }

    /// What is in it, at the time for which its fullness was asked.
    pub(super) fn level(&self, rate: Rate) -> f64 {
        match rate.per_second.is_infinite() {
            true => f64::INFINITY,
            false => self.level,
        }
    }

    /// Takes, and overdraws it if need be.
    pub(super) fn take(&mut self, amount: f64, rate: Rate) {
        if rate.per_second.is_finite() {
            self.level -= amount;
        }
    }

    /// Takes what passes whatever the budget: that alone never overdraws it by more than one burst, as nobody could ever pay that.
    pub(super) fn take_due(&mut self, amount: f64, rate: Rate) {
        let lowest = self.level.min(-rate.per_second * rate.burst);
        self.take(amount, rate);
        self.level = self.level.max(lowest);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// In any time no more is taken than is earned in it, one burst, and the last that was let in.
        #[test]
        fn prop_what_is_overdrawn_is_paid(per_second in 1.0..1e6f64, burst in 1.0..100.0f64, steps in prop::collection::vec((0.0..5.0f64, 0.0..1e6f64), 1..200)) {
            let rate = Rate { per_second, burst };
            let mut bucket = Bucket::filled_for(burst, rate, 0.0);
            let (mut now, mut taken) = (0.0, Vec::new());
            for (pause, amount) in steps {
                now += pause;
                if bucket.fullness(rate, now) > 0.0 {
                    bucket.take(amount, rate);
                    taken.push((now, amount));
                }
            }
            for from in 0..taken.len() {
                let mut sum = 0.0;
                for (at, amount) in &taken[from..] {
                    sum += amount;
                    let most = per_second * (at - taken[from].0 + burst) + amount;
                    prop_assert!(sum <= most * (1.0 + 1e-9), "{sum} of {most}");
                }
            }
        }
    }

    #[test]
    fn what_passes_in_any_case_is_not_owed_for_ever() {
        let rate = Rate {
            per_second: 10.0,
            burst: 10.0,
        };
        let mut bucket = Bucket::filled_for(10.0, rate, 0.0);
        bucket.take_due(1e9, rate);
        assert_eq!(bucket.fullness(rate, 0.0), -1.0);
        bucket.take(100.0, rate);
        bucket.take_due(50.0, rate);
        assert_eq!(bucket.fullness(rate, 0.0), -2.0, "what was owed before stays");
        assert_eq!(bucket.fullness(rate, 20.0), 0.0);
    }

    #[test]
    fn without_a_limit_it_is_full() {
        let rate = Rate {
            per_second: f64::INFINITY,
            burst: 30.0,
        };
        let mut bucket = Bucket::default();
        bucket.take(1e12, rate);
        bucket.take_due(1e12, rate);
        assert_eq!(bucket.fullness(rate, 1.0), 1.0);
    }
}
