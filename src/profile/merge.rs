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
    known: HashMap<(Vec<KeyValue>, u32, StringId), usize>,
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
                entry.insert(self.list.len());
                self.list.push(resource);
            }
            Entry::Occupied(entry) => {
                if let Some(known) = self.list.get_mut(*entry.get()) {
                    for scope in resource.scopes {
                        add_scope(&mut known.scopes, scope);
                    }
                }
            }
        }
    }
}

fn add_scope(scopes: &mut Vec<ScopeProfiles>, mut scope: ScopeProfiles) {
    let profiles = std::mem::take(&mut scope.profiles);
    let about = |s: &ScopeProfiles| {
        (
            s.name,
            s.version,
            s.schema_url,
            s.dropped_attributes_count,
            s.attributes.clone(),
        )
    };
    let own = about(&scope);
    match scopes.iter_mut().find(|known| about(known) == own) {
        Some(known) => known.profiles.extend(profiles),
        None => scopes.push(ScopeProfiles { profiles, ..scope }),
    }
}
