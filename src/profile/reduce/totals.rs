//! Profiles of which only the totals are left.

use std::sync::Arc;

use super::{Reduced, TOTALS_ONLY};
use crate::profile::{AttributeSetId, LinkId, Observations, Profile, Profiles, Samples, Series, StackId, Value};

/// Leaves of each profile for which `which` says so in the same order one sample without a stack, which has the sum of every type. Says of
/// how many rows how many are left.
pub fn totals_only(profiles: &mut Profiles, which: &[bool]) -> Reduced {
    let mut reduced = Reduced::default();
    let (d, resources) = profiles.edit();
    let scopes = resources.iter_mut().flat_map(|resource| &mut resource.scopes);
    let all = scopes.flat_map(|scope| &mut scope.profiles);
    for (profile, _) in all.zip(which).filter(|(_, which)| **which) {
        reduced.from += profile.samples.len() as u64;
        reduced.to += 1;
        profile.samples = Arc::new(totals_of(profile));
        // no frame is left that could lie in one, and it holds all of the samples
        profile.mappings = Arc::default();
        profile.original_payload = None;
        profile.attributes = d.with_attribute(profile.attributes, TOTALS_ONLY, Value::Bool(true));
    }
    reduced
}

fn totals_of(profile: &Profile) -> Samples {
    let types = profile.sample_types.len();
    let sum = |column| i64::try_from(profile.samples.sum(column, types)).unwrap_or(i64::MAX);
    let observations = match &profile.samples.observations {
        Observations::Totals(_) => Observations::Totals((0..types).map(sum).collect()),
        Observations::Series(_) => {
            let mut series = Series::default();
            series.push(&[sum(0)], &[]);
            Observations::Series(series)
        }
    };
    Samples {
        stacks: vec![StackId::UNSET],
        attributes: vec![AttributeSetId::UNSET],
        links: vec![LinkId::UNSET],
        observations,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::profile::testing::any_profiles;

    proptest! {
        #[test]
        fn prop_totals_stay_and_nothing_else(profiles in any_profiles(), seed in any::<u64>()) {
            let which: Vec<bool> = (0..profiles.profile_count()).map(|n| seed >> (n % 64) & 1 == 1).collect();
            let mut left = profiles.clone();
            totals_only(&mut left, &which);
            left.compact();
            for ((before, after), which) in profiles.iter().zip(left.iter()).zip(which) {
                let (before, after) = (before.profile, after.profile);
                let types = before.sample_types.len();
                for column in 0..types {
                    let sum = before.samples.sum(column, types);
                    let told = i64::try_from(sum).map_or(i128::from(i64::MAX), i128::from);
                    prop_assert_eq!(after.samples.sum(column, types), if which { told } else { sum });
                }
                let marked = left.dictionary().attribute(after.attributes, TOTALS_ONLY).is_some();
                prop_assert_eq!(marked, which);
                prop_assert!(!which || (after.samples.len() == 1 && !after.samples.stacks[0].is_set()));
            }
        }
    }
}
