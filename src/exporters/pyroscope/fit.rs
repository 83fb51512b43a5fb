//! What a server would refuse, or take and silently lose, put right before it is sent.

use std::time::UNIX_EPOCH;

use super::labels::LabelNames;
use super::{frames, sample_labels, trace_ids};
use crate::pipeline::batch::Batch;
use crate::profile::{Dictionary, Profile, Profiles, StringId};

/// A server that stores by series and millisecond (before 2.0) takes pieces of one profile for the same one, sent again, and
/// keeps the first.
const APART: u64 = 1_000_000;

/// The profiles of a part with names of types, a time, frames and labels that the server keeps. Copies only what it changes.
pub(super) fn fitted(part: &Batch, profiles: &Profiles, names: LabelNames) -> Profiles {
    let mut fitted = profiles.clone();
    let is_whole = part.piece() == 0;
    if !is_whole || profiles.iter().any(|at| !is_plain(profiles.dictionary(), at.profile)) {
        let arrived = part.origin().arrived.duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut arrived = u64::try_from(arrived.as_nanos()).unwrap_or(u64::MAX);
        let (dictionary, resources) = fitted.edit();
        let scopes = resources.iter_mut().flat_map(|resource| &mut resource.scopes);
        for profile in scopes.flat_map(|scope| &mut scope.profiles) {
            name_types(dictionary, profile);
            if profile.time_unix_nano == 0 {
                profile.time_unix_nano = arrived;
                arrived = arrived.saturating_add(APART);
            }
            let later = u64::from(part.piece()).saturating_mul(APART);
            profile.time_unix_nano = profile.time_unix_nano.saturating_add(later);
        }
    }
    frames::fill(&mut fitted);
    trace_ids::fit(&mut fitted);
    sample_labels::trim(&mut fitted, names);
    fitted
}

/// Whether the profile says when it was taken, in names of types that the server takes.
fn is_plain(dictionary: &Dictionary, profile: &Profile) -> bool {
    let mut types = profile.sample_types.iter().chain([&profile.period_type]);
    profile.time_unix_nano != 0 && !types.any(|of| is_refused(dictionary, of.kind) || is_refused(dictionary, of.unit))
}

/// A `-` in the name of a type is refused. A `:` is what the server writes between the names of types and units: it takes
/// such a profile, and no query finds it.
fn is_refused(dictionary: &Dictionary, name: StringId) -> bool {
    dictionary.str(name).contains(['-', ':'])
}

fn name_types(dictionary: &mut Dictionary, profile: &mut Profile) {
    let types = profile.sample_types.iter_mut().chain([&mut profile.period_type]);
    let names = types.flat_map(|of| [&mut of.kind, &mut of.unit]);
    for name in names.chain([&mut profile.default_sample_type]) {
        if is_refused(dictionary, *name) {
            let taken = dictionary.str(*name).replace(['-', ':'], "_");
            *name = dictionary.strings.push(&taken);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::pipeline::{Origin, Permit};

    #[test]
    fn profiles_without_a_time_get_one_each() {
        let undated = Profiles::of(Dictionary::default(), vec![Profile::default(); 3]);
        let batch = Batch::made(undated.clone(), 3, Arc::new(Origin::local("test")), Permit::unlimited());
        let fitted = fitted(&batch, &undated, LabelNames::default());
        let times: Vec<u64> = fitted.iter().map(|at| at.profile.time_unix_nano).collect();
        assert!(times[0] > 1_700_000_000_000_000_000);
        // apart by what such servers tell apart
        assert_eq!([times[1] - times[0], times[2] - times[1]], [APART; 2]);
    }
}
