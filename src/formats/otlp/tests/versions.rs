//! Versions before 1.10.

use std::sync::Arc;

use super::*;
use crate::profile::{Dictionary, Observations, Profile};

/// Leaves the first attribute of every sample and, where shapes mix, the total of every sample.
pub fn make_simple(dictionary: &mut Dictionary, profile: &mut Profile) {
    let types = profile.sample_types.len();
    let samples = Arc::make_mut(&mut profile.samples);
    for set in &mut samples.attributes {
        let first: Vec<_> = dictionary.attribute_sets[*set].iter().take(1).copied().collect();
        *set = dictionary.attribute_sets.push(&first);
    }
    if let Observations::Series(_) = &samples.observations {
        let totals = (0..samples.len()).map(|row| samples.total(row, 0, types)).collect();
        samples.observations = Observations::Totals(totals);
    }
}

#[test]
fn old_numbers_mean_what_new_ones_do() {
    let old = read(&data("old-schema-1.9.otlp"));
    let new = read(&data("node20-wall-cpu-links.otlp"));
    assert_eq!(old.repairs, 0);
    assert_eq!(old.rejected.profiles, 0);
    assert!(!old.exact && new.exact);
    assert_eq!(old.profiles.resources(), new.profiles.resources());
    assert_eq!(old.profiles.dictionary(), new.profiles.dictionary());
}
