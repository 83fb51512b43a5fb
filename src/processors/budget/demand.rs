//! How much of one type a key brings, and what share of it is kept.
//!
//! The share follows what is offered and never what is kept, so it cannot chase itself: under a constant load it is constant.

use super::bucket::Time;

/// How often shares are settled.
pub(super) const TICK: Time = 10.0;
/// Ticks that are looked back on: a minute, as profilers send every 10, 15, 20, 30 or 60 seconds, and few ticks of those are alike.
const TICKS: usize = 6;
/// From so many times what was offered at most before, it is another load, and what was before is forgotten.
const BURST: f64 = 2.0;
/// What is aimed at, of what is allowed: what comes out is not known to the byte.
const AIM: f64 = 0.95;
/// A share grows only where so much more would have fit for a minute: else it would follow every wave of a load that is constant.
const WORTH: f64 = 1.3;
/// Or where all took no more than so much of what is allowed.
const ENOUGH: f64 = 0.9;
/// And by no more than this in a tick.
const GROWTH: f64 = 1.25;

/// What is offered in a second, and what is kept of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Demand {
    /// Bytes in a second of the last ticks, the latest first.
    ticks: [f32; TICKS],
    seen: u8,
    /// What the rate was found to be in the last ticks, in no order.
    rates: [f32; TICKS],
    settled: u8,
    /// Bytes in the tick that is under way.
    current: f64,
    /// Bytes in a second that may be kept.
    allowance: f64,
    ratio: f64,
    /// Bytes of its share that were not used, or were used beyond it: the next one has more or less of them.
    saved: f64,
}

impl Demand {
    /// One of which nothing is known.
    pub(super) fn new(allowance: f64) -> Self {
        Self {
            ticks: [0.0; TICKS],
            seen: 0,
            rates: [0.0; TICKS],
            settled: 0,
            current: 0.0,
            allowance,
            ratio: 1.0,
            saved: 0.0,
        }
    }

    /// The share that is kept.
    pub(super) fn ratio(&self) -> f64 {
        self.ratio
    }

    /// Bytes that a profile may keep of those offered, of which its share is so many.
    pub(super) fn ration(&self, share: f64, offered: f64) -> f64 {
        (share + self.saved).clamp(0.0, offered)
    }

    /// So many bytes less than its share were used. Not more is saved than one profile has.
    pub(super) fn save(&mut self, bytes: f64, offered: f64) {
        self.saved = (self.saved + bytes).clamp(-offered, offered);
    }

    /// Bytes in a second.
    pub(super) fn rate(&self) -> f64 {
        let seen = self.ticks.get(..usize::from(self.seen)).unwrap_or_default();
        let sum: f64 = seen.iter().map(|rate| f64::from(*rate)).sum();
        sum / seen.len().max(1) as f64
    }

    /// So many bytes are offered. A burst counts at once, for what follows.
    pub(super) fn offer(&mut self, bytes: f64) {
        self.current += bytes;
        let rate = self.current / TICK;
        if self.is_burst(rate) {
            self.lower(rate);
        }
    }

    /// The tick is over.
    pub(super) fn turn(&mut self) {
        let rate = self.current / TICK;
        if self.is_burst(rate) {
            self.seen = 0;
        }
        self.ticks.rotate_right(1);
        if let Some(latest) = self.ticks.first_mut() {
            *latest = rate as f32;
        }
        self.seen = (self.seen + 1).min(TICKS as u8);
        self.current = 0.0;
    }

    /// So much may be kept from now on, in bytes a second.
    pub(super) fn settle(&mut self, allowance: f64) {
        let rate = self.rate();
        if let Some(oldest) = self.rates.get_mut(usize::from(self.settled)) {
            *oldest = rate as f32;
        }
        self.settled = (self.settled + 1) % TICKS as u8;
        self.allowance = allowance;
        self.lower(rate);
        self.raise(f64::from(self.rates.iter().copied().fold(0.0, f32::max)));
    }

    fn is_burst(&self, rate: f64) -> bool {
        let seen = self.ticks.iter().take(usize::from(self.seen));
        rate > BURST * f64::from(seen.copied().fold(0.0, f32::max))
    }

    fn lower(&mut self, rate: f64) {
        if rate > self.allowance {
            self.ratio = self.ratio.min(AIM * self.allowance / rate);
        }
    }

    fn raise(&mut self, highest: f64) {
        let fits = AIM * self.allowance / highest;
        if highest <= ENOUGH * self.allowance || fits > WORTH * self.ratio {
            self.ratio = (GROWTH * self.ratio).min(fits.max(self.ratio)).min(1.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The shares after each of so many ticks, in which so much comes every so many seconds.
    fn run(demand: &mut Demand, allowance: f64, period: f64, bytes: f64, ticks: usize) -> Vec<f64> {
        let mut next = 0.0;
        let ratios = (1..=ticks).map(|tick| {
            while next < tick as f64 * TICK {
                demand.offer(bytes);
                next += period;
            }
            demand.turn();
            demand.settle(allowance);
            demand.ratio()
        });
        ratios.collect()
    }

    #[test]
    fn it_goes_down_at_once_and_up_by_a_quarter() {
        let mut demand = Demand::new(100.0);
        assert_eq!(run(&mut demand, 100.0, 1.0, 100.0, 8), [1.0; 8]);
        let after = run(&mut demand, 100.0, 1.0, 1000.0, 8);
        assert!(after.iter().all(|ratio| (ratio - 0.095).abs() < 1e-9), "{after:?}");
        let back = run(&mut demand, 100.0, 1.0, 50.0, 20);
        assert!(
            back.windows(2)
                .all(|pair| pair[1] >= pair[0] && pair[1] <= 1.25 * pair[0] * (1.0 + 1e-9))
        );
        assert_eq!(back.last(), Some(&1.0));
    }

    #[test]
    fn a_burst_counts_before_its_tick_is_over() {
        let mut demand = Demand::new(100.0);
        run(&mut demand, 100.0, 1.0, 100.0, 8);
        for _ in 0..100 {
            demand.offer(100.0);
        }
        assert!(demand.ratio() <= 0.1, "{}", demand.ratio());
    }

    #[test]
    fn who_sends_seldom_is_not_taken_for_a_burst() {
        for period in [15.0, 20.0, 30.0, 60.0] {
            let mut demand = Demand::new(100.0);
            let ratios = run(&mut demand, 100.0, period, 90.0 * period, 60);
            assert!(ratios[30..].iter().all(|ratio| *ratio == 1.0), "{period}: {ratios:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]
        /// Once it has settled, a constant load is answered by a constant share, whatever the time between profiles. Those that come more
        /// seldom than these make waves of their own in a minute, and may be given another share after long.
        #[test]
        fn prop_a_constant_load_has_a_constant_share(period in 0.01..4.0f64, bytes in 1.0..1e6f64, allowed in 0.01..3.0f64) {
            let allowance = allowed * bytes / period;
            let ratios = run(&mut Demand::new(allowance), allowance, period, bytes, 400);
            // after six minutes
            let turns = ratios[36..].windows(3).filter(|of| (of[1] - of[0]) * (of[2] - of[1]) < 0.0);
            prop_assert_eq!(turns.count(), 0, "{:?}", ratios);
            let settled = ratios[399];
            prop_assert!(settled >= 0.68 * allowed.min(1.0), "{} of {}", settled, allowed);
            prop_assert!(settled >= 1.0 || settled <= allowed, "{} of {}", settled, allowed);
        }
    }
}
