//! The account of one key: what it has, what it offers, and when it passes whatever the budget.

use super::bucket::{Bucket, Rate, Time};
use super::config::Limits;
use super::demand::{Demand, TICK};
use super::sharing::{Claim, share};

/// Types of a key that are told apart; all others count as the last of them.
const MOST_TYPES: usize = 8;
/// How bytes grow with rows before anything is known of them: names are used by many rows.
const BEND: f64 = 0.67;

/// What a key has.
#[derive(Debug)]
pub(super) struct Account {
    pub(super) limits: Limits,
    bytes: Bucket,
    profiles: Bucket,
    /// What it offers, by type.
    types: Vec<(u64, Demand)>,
    /// Bytes grow with rows by this power.
    bend: f64,
    floor_since: Time,
    floor_passed: u32,
    /// The ticks in which it was seen first and last.
    pub(super) first: u64,
    pub(super) last: u64,
}

impl Account {
    /// One that has been filling for so many seconds.
    pub(super) fn filled_for(seconds: f64, limits: Limits, now: Time, tick: u64) -> Self {
        Self {
            bytes: Bucket::filled_for(seconds, bytes_rate(&limits), now),
            profiles: Bucket::filled_for(seconds, profiles_rate(&limits), now),
            limits,
            types: Vec::new(),
            bend: BEND,
            floor_since: now,
            floor_passed: 0,
            first: tick,
            last: tick,
        }
    }

    pub(super) fn bend(&self) -> f64 {
        self.bend
    }

    /// What it offers of a type.
    pub(super) fn demand(&mut self, kind: u64) -> Option<&mut Demand> {
        let place = self.types.iter().position(|(known, _)| *known == kind);
        let place = place.unwrap_or_else(|| {
            if self.types.len() < MOST_TYPES {
                self.types.push((kind, Demand::new(self.limits.bytes_per_s)));
            }
            self.types.len() - 1
        });
        self.types.get_mut(place).map(|(_, demand)| demand)
    }

    /// The least share that it keeps of a type.
    #[cfg(test)]
    pub(super) fn ratio(&self) -> f64 {
        let ratios = self.types.iter().map(|(_, demand)| demand.ratio());
        ratios.fold(1.0, f64::min)
    }

    /// How full its bucket of bytes is.
    pub(super) fn fullness(&mut self, now: Time) -> f64 {
        self.bytes.fullness(bytes_rate(&self.limits), now)
    }

    /// Bytes in it, at the time for which its fullness was asked.
    pub(super) fn level(&self) -> f64 {
        self.bytes.level(bytes_rate(&self.limits))
    }

    /// Whether there are profiles left.
    pub(super) fn has_profiles(&mut self, now: Time) -> bool {
        self.profiles.fullness(profiles_rate(&self.limits), now) > 0.0
    }

    pub(super) fn take_profiles(&mut self, profiles: f64) {
        self.profiles.take(profiles, profiles_rate(&self.limits));
    }

    pub(super) fn take(&mut self, bytes: f64, is_due: bool) {
        let rate = bytes_rate(&self.limits);
        match is_due {
            true => self.bytes.take_due(bytes, rate),
            false => self.bytes.take(bytes, rate),
        }
    }

    /// Lets it be due for the first time in so many seconds, else all that are seen first in one moment would be due in one.
    pub(super) fn due_in(&mut self, seconds: f64, every: f64) {
        self.floor_since += seconds - every;
    }

    /// Learns how its bytes grow with its rows.
    pub(super) fn learn(&mut self, bend: f64) {
        self.bend += (bend.clamp(0.2, 1.0) - self.bend) / 2.0;
    }

    /// Whether fewer than `profiles` passed with stacks in the last `every` seconds, so that this one does.
    pub(super) fn is_due(&mut self, every: f64, profiles: u32, now: Time) -> bool {
        if now - self.floor_since >= every {
            self.floor_since = now;
            self.floor_passed = 0;
        }
        self.floor_passed < profiles
    }

    /// One passes with stacks.
    pub(super) fn passed(&mut self) {
        self.floor_passed = self.floor_passed.saturating_add(1);
    }

    /// The tick is over.
    pub(super) fn turn(&mut self) {
        self.types.iter_mut().for_each(|(_, demand)| demand.turn());
    }

    /// What it asks for.
    pub(super) fn claim(&self) -> Claim {
        let demand: f64 = self.types.iter().map(|(_, demand)| demand.rate()).sum();
        Claim {
            demand: demand.min(self.limits.bytes_per_s),
            weight: self.limits.weight,
        }
    }

    /// Shares out among its types what it may keep of each second.
    pub(super) fn settle(&mut self, allowance: f64) {
        let claims: Vec<Claim> = self
            .types
            .iter()
            .map(|(_, demand)| Claim {
                demand: demand.rate(),
                weight: 1.0,
            })
            .collect();
        let shares = share(allowance, &claims);
        for ((_, demand), grant) in self.types.iter_mut().zip(shares.grants) {
            demand.settle(allowance.min(grant.max(shares.level)));
        }
    }
}

fn bytes_rate(limits: &Limits) -> Rate {
    Rate {
        per_second: limits.bytes_per_s,
        burst: limits.burst,
    }
}

fn profiles_rate(limits: &Limits) -> Rate {
    Rate {
        per_second: limits.profiles_per_s,
        // as few as one in a minute has to have room for one
        burst: limits.burst.max(TICK),
    }
}
