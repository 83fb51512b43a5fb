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
        numbers.into_iter().chain(sums(profile)).fold(head, mix)
    }
}

/// What all samples have together in each type, and that of the hashes of their times.
fn sums(profile: &Profile) -> impl Iterator<Item = u64> {
    let (samples, types) = (&profile.samples, profile.sample_types.len());
    let times = match &samples.observations {
        Observations::Totals(_) => 0,
        Observations::Series(series) => {
            let times = (0..samples.len()).flat_map(|row| series.timestamps(row));
            times.fold(0, |sum: u64, time| sum.wrapping_add(mix(0, *time)))
        }
    };
    let sums = (0..types).map(move |column| samples.sum(column, types) as u64);
    sums.chain([times])
}
