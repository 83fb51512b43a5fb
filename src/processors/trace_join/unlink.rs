//! Links to traces that nobody keeps are taken from their samples, which stay.

use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::{HashMap, HashSet};

use super::exported::Exported;
use crate::processors::processes::Process;
use crate::profile::trace_ids::LINK_SPAN;
use crate::profile::{AttributeSetId, Dictionary, LinkId, Profiles};

/// The links of one resource that are to go.
pub(super) type Dead = HashSet<LinkId, RandomState>;

/// The links that are to go, by resource.
pub(super) fn dead_links(profiles: &Profiles, tenant: &str, exported: &Exported) -> Vec<Dead> {
    let d = profiles.dictionary();
    let mut all = Vec::with_capacity(profiles.resources().len());
    for resource in profiles.resources() {
        let process = Process::of_profiles(tenant, d, resource);
        let (mut seen, mut dead) = (Dead::default(), Dead::default());
        let profiles = resource.scopes.iter().flat_map(|scope| &scope.profiles);
        for link in profiles.flat_map(|profile| &profile.samples.links) {
            if link.is_set() && seen.insert(*link) && !exported.keeps(&process, d.links[*link].trace_id) {
                dead.insert(*link);
            }
        }
        all.push(dead);
    }
    all
}

/// Takes them, and the mark that says what they pointed at. The answer is how many samples had one.
pub(super) fn unlink(profiles: &mut Profiles, dead: &[Dead]) -> u64 {
    let (d, resources) = profiles.edit();
    let (mut unmarked, mut unlinked) = (HashMap::<_, _, RandomState>::default(), 0);
    for (resource, dead) in resources.iter_mut().zip(dead).filter(|(_, dead)| !dead.is_empty()) {
        for profile in resource.scopes.iter_mut().flat_map(|scope| &mut scope.profiles) {
            if !profile.samples.links.iter().any(|link| dead.contains(link)) {
                continue;
            }
            let samples = Arc::make_mut(&mut profile.samples);
            for (link, set) in samples.links.iter_mut().zip(&mut samples.attributes) {
                if dead.contains(link) {
                    *link = LinkId::UNSET;
                    *set = *unmarked.entry(*set).or_insert_with(|| without_mark(d, *set));
                    unlinked += 1;
                }
            }
        }
    }
    unlinked
}

fn without_mark(d: &mut Dictionary, set: AttributeSetId) -> AttributeSetId {
    let is_mark = |id: &&_| d.str(d.attributes[**id].key) == LINK_SPAN;
    let attributes = &d.attribute_sets[set];
    if !attributes.iter().any(|id| is_mark(&id)) {
        return set;
    }
    let left: Vec<_> = attributes.iter().filter(|id| !is_mark(id)).copied().collect();
    match left.is_empty() {
        true => AttributeSetId::UNSET,
        false => d.attribute_sets.push(&left),
    }
}
