//! One request becomes several, each with a dictionary of its own.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::dictionary::Dictionary;
use super::intern::Interner;
use super::profiles::{Profile, Profiles, ResourceProfiles, ScopeProfiles};
use super::transfer::Transfer;

impl Profiles {
    /// One part for each resource.
    pub fn by_resource(&self) -> Vec<Self> {
        self.resources()
            .iter()
            .filter_map(|resource| part(self.dictionary(), vec![resource.clone()]))
            .collect()
    }

    /// One part for each profile.
    pub fn by_profile(&self) -> Vec<Self> {
        self.iter()
            .filter_map(|p| part(self.dictionary(), vec![alone(p.resource, p.scope, p.profile.clone())]))
            .collect()
    }

    /// One part for each number that `of` has for the profiles, in their order; what it has no number for goes nowhere.
    pub fn partition(&self, of: &[usize]) -> Vec<(usize, Self)> {
        let mut groups: BTreeMap<usize, Vec<ResourceProfiles>> = BTreeMap::new();
        for (p, number) in self.iter().zip(of) {
            let profile = alone(p.resource, p.scope, p.profile.clone());
            groups.entry(*number).or_default().push(profile);
        }
        groups
            .into_iter()
            .filter_map(|(number, resources)| Some((number, part(self.dictionary(), resources)?)))
            .collect()
    }

    /// Two parts of about half the samples each; none if there is but one sample left to cut.
    ///
    /// Whole profiles stay whole where that is possible; the one in the middle is cut between two samples, and both halves
    /// keep its time, period and attributes.
    pub fn halve(&self) -> Option<(Self, Self)> {
        // a profile without samples weighs something too, else many of them could not be parted
        let weight = |profile: &Profile| profile.samples.len().max(1);
        let total: usize = self.iter().map(|p| weight(p.profile)).sum();
        if total < 2 {
            return None;
        }
        let mut left_room = total / 2;
        let (mut left, mut right) = (Vec::new(), Vec::new());
        for p in self.iter() {
            let samples = weight(p.profile);
            if left_room >= samples {
                left_room -= samples;
                left.push(alone(p.resource, p.scope, p.profile.clone()));
                continue;
            }
            if left_room > 0 {
                let (head, tail) = cut(p.profile, left_room);
                left.push(alone(p.resource, p.scope, head));
                right.push(alone(p.resource, p.scope, tail));
                left_room = 0;
            } else {
                right.push(alone(p.resource, p.scope, p.profile.clone()));
            }
        }
        Some((part(self.dictionary(), left)?, part(self.dictionary(), right)?))
    }
}

fn alone(resource: &ResourceProfiles, scope: &ScopeProfiles, profile: Profile) -> ResourceProfiles {
    ResourceProfiles {
        attributes: resource.attributes.clone(),
        dropped_attributes_count: resource.dropped_attributes_count,
        schema_url: resource.schema_url,
        scopes: vec![ScopeProfiles {
            name: scope.name,
            version: scope.version,
            attributes: scope.attributes.clone(),
            dropped_attributes_count: scope.dropped_attributes_count,
            schema_url: scope.schema_url,
            profiles: vec![profile],
        }],
    }
}

fn cut(profile: &Profile, at: usize) -> (Profile, Profile) {
    let types = profile.sample_types.len();
    let rows: Vec<usize> = (0..profile.samples.len()).collect();
    let (head, tail) = rows.split_at(at.min(rows.len()));
    let with = |rows: &[usize]| Profile {
        samples: Arc::new(profile.samples.pick(types, rows)),
        ..profile.clone()
    };
    (with(head), with(tail))
}

/// The resources over a dictionary that holds only what they refer to.
fn part(dictionary: &Dictionary, resources: Vec<ResourceProfiles>) -> Option<Profiles> {
    let mut interner = Interner::new();
    let mut transfer = Transfer::new(dictionary, &mut interner);
    let mut carried: Vec<ResourceProfiles> = Vec::new();
    for resource in resources.iter().filter_map(|r| transfer.resource(r)) {
        regroup(&mut carried, resource);
    }
    (!carried.is_empty()).then(|| Profiles::new_compact(interner.finish(), carried))
}

/// `halve` takes resources and scopes apart profile by profile; neighbours that were one become one again.
fn regroup(resources: &mut Vec<ResourceProfiles>, mut next: ResourceProfiles) {
    let Some(last) = resources.last_mut().filter(|last| same_resource(last, &next)) else {
        resources.push(next);
        return;
    };
    for scope in next.scopes.drain(..) {
        match last.scopes.last_mut().filter(|known| same_scope(known, &scope)) {
            Some(known) => known.profiles.extend(scope.profiles),
            None => last.scopes.push(scope),
        }
    }
}

fn same_resource(a: &ResourceProfiles, b: &ResourceProfiles) -> bool {
    a.attributes == b.attributes
        && a.schema_url == b.schema_url
        && a.dropped_attributes_count == b.dropped_attributes_count
}

fn same_scope(a: &ScopeProfiles, b: &ScopeProfiles) -> bool {
    a.name == b.name
        && a.version == b.version
        && a.attributes == b.attributes
        && a.schema_url == b.schema_url
        && a.dropped_attributes_count == b.dropped_attributes_count
}
