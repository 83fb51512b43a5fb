//! The list of mappings of a profile: the binaries that its process had mapped, whether or not a frame lies in them, in the
//! order of the profiler, which has the main binary first.
//!
//! Each stands in it once. In front, and only there, may be one that is unset: nothing is said of the main binary then, and no
//! other is taken for it.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::compact::{Marks, profiles_mut};
use super::dictionary::{Dictionary, Mapping, MappingId};
use super::profiles::{Profile, Profiles, ResourceProfiles};

/// The list of what the mappings of another list became.
pub(super) fn list_of(mappings: impl Iterator<Item = MappingId>) -> Arc<[MappingId]> {
    let mut list: Vec<MappingId> = mappings.collect();
    // in most profiles they stand as in the table
    if !list.is_sorted_by(|a, b| a < b) {
        let mut known = HashSet::with_hasher(RandomState::default());
        list.retain(|id| (id.is_set() || known.is_empty()) && known.insert(*id));
    }
    list.into()
}

/// What some rows of a profile of `samples` samples list: the main binary, and their share of the others. All parts together list
/// what the profile does; were all of it in each, it would grow with every cut.
pub(super) fn share(list: &[MappingId], rows: &Range<usize>, samples: usize) -> Arc<[MappingId]> {
    let Some((main, others)) = list.split_first() else {
        return Arc::default();
    };
    let up_to = |row: usize| others.len() * row / samples.max(1);
    let share = others.get(up_to(rows.start)..up_to(rows.end)).unwrap_or_default();
    std::iter::once(main).chain(share).copied().collect()
}

impl Profiles {
    /// Whether a profile lists a mapping in which no frame of a sample lies.
    pub fn lists_unused_mappings(&self) -> bool {
        let lists = || self.iter().map(|at| &at.profile.mappings);
        // most formats have no such list
        if lists().all(|list| list.is_empty()) {
            return false;
        }
        let d = self.dictionary();
        let used = used(d, self.iter().map(|at| at.profile));
        lists().flat_map(|list| list.iter()).any(|id| is_unused(d, &used, *id))
    }
}

impl Dictionary {
    /// Takes mappings in which no frame of a sample lies from the lists of profiles over this dictionary. Says how many.
    pub fn unlist_unused_mappings(&self, resources: &mut [ResourceProfiles]) -> usize {
        let used = used(self, profiles_mut(resources).map(|profile| &*profile));
        let mut unlisted = 0;
        for profile in profiles_mut(resources) {
            let left = profile.mappings.iter().map(|id| {
                let goes = is_unused(self, &used, *id);
                unlisted += usize::from(goes);
                if goes { MappingId::UNSET } else { *id }
            });
            profile.mappings = list_of(left);
        }
        unlisted
    }
}

/// The mappings in which frames of samples lie.
fn used<'a>(d: &Dictionary, profiles: impl Iterator<Item = &'a Profile>) -> Marks<Mapping> {
    let mut stacks = Marks::new(d.stacks.len());
    for profile in profiles {
        stacks.mark_all(&profile.samples.stacks);
    }
    let mut locations = Marks::new(d.locations.len());
    for stack in stacks.rows() {
        locations.mark_all(&d.stacks[stack]);
    }
    let mut mappings = Marks::new(d.mappings.len());
    for location in locations.rows() {
        mappings.mark(d.locations[location].mapping);
    }
    mappings
}

/// One that says nothing is none, and stays.
fn is_unused(d: &Dictionary, used: &Marks<Mapping>, id: MappingId) -> bool {
    !used.has(id) && d.mappings[id] != Mapping::default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_counted_as_memory_and_does_not_grow_with_its_parts() {
        let mut d = Dictionary::default();
        let mappings: Arc<[MappingId]> = (0..1000).map(|_| d.mappings.push(Mapping::default())).collect();
        let parts = (0..100).map(|row| share(&mappings, &(row..row + 1), 100));
        assert_eq!(parts.map(|part| part.len()).sum::<usize>(), 1000 + 99);
        let bytes = |mappings| {
            let profile = Profile {
                mappings,
                ..Profile::default()
            };
            Profiles::of(Dictionary::default(), vec![profile]).heap_bytes()
        };
        assert_eq!(bytes(mappings), bytes(Arc::default()) + 4000);
    }
}
