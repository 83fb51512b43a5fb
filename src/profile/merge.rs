//! Several requests become one.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::intern::Interner;
use super::profiles::{KeyValue, Profiles, ResourceProfiles, ScopeProfiles};
use super::strings::StringId;
use super::transfer::Transfer;

impl Profiles {
    /// All profiles of `parts` over one compact dictionary. Equal resources and scopes become one; profiles stay apart.
    ///
    /// Takes time in proportion to the size of the parts, however many they are.
    pub fn merge<'a>(parts: impl IntoIterator<Item = &'a Self>) -> Self {
        let mut merger = Merger::default();
        for part in parts {
            merger.add(part);
        }
        merger.finish()
    }
}

/// The same for parts that come one by one, and need not all be held.
#[derive(Default)]
pub struct Merger {
    interner: Interner,
    resources: Resources,
    /// Bytes of all resources that were added.
    tree: usize,
}

impl Merger {
    /// One more part.
    pub fn add(&mut self, part: &Profiles) {
        let mut transfer = Transfer::new(part.dictionary(), &mut self.interner);
        for resource in part.resources().iter().filter_map(|r| transfer.resource(r)) {
            self.tree += resource.heap_bytes();
            self.resources.add(resource);
        }
    }

    /// About the bytes held: the tables, the maps that find what is in them already, and the profiles.
    pub fn heap_bytes(&self) -> usize {
        2 * self.interner.dictionary().heap_bytes() + self.tree
    }

    /// All of them.
    pub fn finish(self) -> Profiles {
        Profiles::new_compact(self.interner.finish(), self.resources.list)
    }
}

/// Resources by what they say about themselves.
#[derive(Default)]
struct Resources {
    list: Vec<ResourceProfiles>,
    known: HashMap<ResourceKey, Known>,
}

type ResourceKey = (Vec<KeyValue>, u32, StringId);
pub(super) type ScopeKey = (StringId, StringId, StringId, u32, Vec<KeyValue>);

/// Where a resource lies.
struct Known {
    place: usize,
    /// Where its scopes lie in it, once there are others to add.
    scopes: Option<HashMap<ScopeKey, usize>>,
}

impl Resources {
    fn add(&mut self, resource: ResourceProfiles) {
        let key = (
            resource.attributes.clone(),
            resource.dropped_attributes_count,
            resource.schema_url,
        );
        match self.known.entry(key) {
            Entry::Vacant(entry) => {
                let place = self.list.len();
                entry.insert(Known { place, scopes: None });
                self.list.push(resource);
            }
            Entry::Occupied(entry) => {
                let known = entry.into_mut();
                if let Some(own) = self.list.get_mut(known.place) {
                    let places = known.scopes.get_or_insert_with(|| places(&own.scopes));
                    for scope in resource.scopes {
                        add_scope(&mut own.scopes, places, scope);
                    }
                }
            }
        }
    }
}

/// Of equal scopes the first.
fn places(scopes: &[ScopeProfiles]) -> HashMap<ScopeKey, usize> {
    let mut places = HashMap::with_capacity(scopes.len());
    for (place, scope) in scopes.iter().enumerate() {
        places.entry(scope_key(scope)).or_insert(place);
    }
    places
}

pub(super) fn scope_key(scope: &ScopeProfiles) -> ScopeKey {
    (
        scope.name,
        scope.version,
        scope.schema_url,
        scope.dropped_attributes_count,
        scope.attributes.clone(),
    )
}

fn add_scope(scopes: &mut Vec<ScopeProfiles>, places: &mut HashMap<ScopeKey, usize>, scope: ScopeProfiles) {
    match places.entry(scope_key(&scope)) {
        Entry::Occupied(entry) => {
            if let Some(known) = scopes.get_mut(*entry.get()) {
                known.profiles.extend(scope.profiles);
            }
        }
        Entry::Vacant(entry) => {
            entry.insert(scopes.len());
            scopes.push(scope);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::dictionary::Dictionary;
    use super::*;

    /// A request with so many scopes, each with a name of its own.
    fn scopes(count: usize) -> Profiles {
        let mut d = Dictionary::default();
        let scopes = (0..count).map(|n| ScopeProfiles {
            name: d.strings.push(&format!("scope {n}")),
            profiles: vec![super::super::Profile::default()],
            ..ScopeProfiles::default()
        });
        let resource = ResourceProfiles {
            scopes: scopes.collect(),
            ..ResourceProfiles::default()
        };
        Profiles::new(d, vec![resource])
    }

    #[test]
    fn very_many_scopes_find_their_equals() {
        let many = scopes(50_000);
        let merged = Profiles::merge([&many, &many]);
        let scopes = &merged.resources()[0].scopes;
        assert_eq!(scopes.len(), 50_000);
        assert!(scopes.iter().all(|scope| scope.profiles.len() == 2));
    }
}
