//! Where chance begins: the same for the same profile, so that one that is sent again is reduced to the same.

use super::content::{ContentHashes, mix, text};
use crate::profile::{Observations, Profile, ProfileRef};

impl<'a> ContentHashes<'a> {
    /// A number that differs with `key`, with the head of a profile and with what its samples have together. Whether equal samples are joined,
    /// and in which order they stand, does not matter.
    pub fn seed(&mut self, key: &str, at_profile: ProfileRef<'a>) -> u64 {
        let profile = at_profile.profile;
        let who = [
            self.resource(at_profile.resource),
            self.text(at_profile.scope.name),
            self.set(profile.attributes),
        ];
        let types = profile.sample_types.iter().chain([&profile.period_type]);
        let words = types.flat_map(|of| [of.kind, of.unit]).map(|id| self.text(id));
        let head = who.into_iter().chain(words).fold(text(key), mix);
        let numbers = [profile.time_unix_nano, profile.duration_nano, profile.period as u64];
        let head = numbers.into_iter().chain(sums(profile)).fold(head, mix);
        match profile.time_unix_nano {
            // nothing else tells apart profiles that are as long
            0 => mix(head, self.leaves(profile)),
            _ => head,
        }
    }

    /// What the functions have that were running.
    fn leaves(&mut self, profile: &Profile) -> u64 {
        let (d, types) = (self.dictionary(), profile.sample_types.len());
        let rows = profile.samples.stacks.iter().enumerate();
        rows.fold(0, |sum: u64, (row, stack)| {
            let leaf = d.stacks[*stack].first().and_then(|leaf| d.lines[*leaf].first());
            let name = leaf.map_or(0, |line| self.name(line.function));
            let values = (0..types).map(|column| profile.samples.total(row, column, types) as u64);
            values.fold(sum, |sum, value| sum.wrapping_add(value.wrapping_mul(name)))
        })
    }
}

/// What all samples have together in each type, and that of the hashes of their times.
fn sums(profile: &Profile) -> Vec<u64> {
    let types = profile.sample_types.len();
    match &profile.samples.observations {
        Observations::Totals(values) => {
            let mut sums = vec![0u64; types];
            for row in values.chunks_exact(types.max(1)) {
                for (sum, value) in sums.iter_mut().zip(row) {
                    *sum = sum.wrapping_add(*value as u64);
                }
            }
            sums
        }
        Observations::Series(series) => {
            let rows = 0..profile.samples.len();
            let sum = rows
                .clone()
                .map(|row| series.total(row) as u64)
                .fold(0, u64::wrapping_add);
            let times = rows.flat_map(|row| series.timestamps(row)).map(|time| mix(0, *time));
            vec![sum, times.fold(0, u64::wrapping_add)]
        }
    }
}
