//! Where chance begins: the same for the same profile, so that one that is sent again is reduced to the same.

use super::content::{self, mix};
use crate::profile::{Dictionary, Observations, ProfileRef, Samples};

/// A number that differs with `key`, with what is said of the profile and with the values of its rows, whatever their order.
pub fn seed(key: &str, d: &Dictionary, at_profile: ProfileRef<'_>) -> u64 {
    let profile = at_profile.profile;
    let types = profile.sample_types.iter().chain([&profile.period_type]);
    let words = types
        .flat_map(|of| [of.kind, of.unit])
        .map(|id| content::text(d.str(id)));
    let numbers = [profile.time_unix_nano, profile.duration_nano, profile.period as u64];
    let head = [content::text(key), content::resource(d, at_profile.resource)];
    let head = head.into_iter().chain(words).chain(numbers).fold(0, mix);
    mix(head, values(&profile.samples, profile.sample_types.len()))
}

/// The sum of the hashes of what each row has.
fn values(samples: &Samples, types: usize) -> u64 {
    let hash = |values: &[i64]| values.iter().fold(0, |hash, value| mix(hash, *value as u64));
    match &samples.observations {
        Observations::Totals(values) => values.chunks_exact(types.max(1)).map(hash).fold(0, u64::wrapping_add),
        Observations::Series(series) => (0..samples.len()).fold(0, |sum: u64, row| {
            let times = series.timestamps(row).iter().map(|time| mix(1, *time));
            times.fold(sum.wrapping_add(hash(&[series.total(row)])), u64::wrapping_add)
        }),
    }
}
