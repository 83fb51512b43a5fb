//! What the locations of a dictionary say, as numbers that can be compared.

use super::content::{self, mix};
use super::counting;
use crate::profile::{Dictionary, Function, LocationId};

/// What the locations say.
pub(super) struct Places {
    /// By the names of their functions alone, above 0: equal for equal names, and those that inline the same function side by side.
    names: Vec<u32>,
    /// Hashes of the names of functions.
    functions: Vec<u64>,
    /// Hashes of where in which mapping the locations are.
    addresses: Vec<u64>,
}

impl Places {
    /// Takes them from the dictionary.
    pub(super) fn of(d: &Dictionary) -> Self {
        let name_of = |function: &Function| {
            let name = if function.name.is_set() {
                function.name
            } else {
                function.system_name
            };
            content::text(d.str(name))
        };
        let functions: Vec<u64> = d.functions.rows().iter().map(name_of).collect();
        let files = d
            .mappings
            .rows()
            .iter()
            .map(|mapping| content::text(d.str(mapping.filename)));
        let files: Vec<u64> = files.collect();
        let addresses = d.locations.rows().iter().map(|place| {
            let file = at(&files, place.mapping.index());
            mix(file, place.address)
        });
        let addresses: Vec<u64> = addresses.collect();
        Self {
            names: names(d, &functions, &addresses),
            functions,
            addresses,
        }
    }

    /// The hash of all that a location of the dictionary says.
    pub(super) fn said(&self, d: &Dictionary, id: LocationId) -> u64 {
        d.lines[id].iter().fold(at(&self.addresses, id.index()), |hash, line| {
            let name = at(&self.functions, line.function.index());
            mix(mix(hash, name), mix(line.line as u64, line.column as u64))
        })
    }

    /// What a location is called.
    #[inline]
    pub(super) fn name(&self, id: LocationId) -> u32 {
        self.names.get(id.index()).copied().unwrap_or_default()
    }

    /// The largest of the names, above 0.
    pub(super) fn last_name(&self) -> u32 {
        self.names.iter().copied().max().unwrap_or_default().max(1)
    }
}

/// What the locations are called, where the names of functions have these hashes; by their addresses where they have none.
fn names(d: &Dictionary, functions: &[u64], addresses: &[u64]) -> Vec<u32> {
    // the outermost first
    let names_of = |id: LocationId| {
        d.lines[id]
            .iter()
            .rev()
            .map(|line| at(functions, line.function.index()))
    };
    let first_of = |id: LocationId| names_of(id).next().unwrap_or_else(|| at(addresses, id.index()));
    let firsts: Vec<u64> = d.locations.ids().map(first_of).collect();
    let first = |position: u32| firsts.get(position as usize);
    let id_at = |position: u32| d.locations.id(u64::from(position)).unwrap_or_default();
    let further = |position: u32| names_of(id_at(position)).skip(1);
    let mut sorted = counting::sorted_hashes(&firsts);
    let mut names = vec![0; firsts.len()];
    let mut name = 0;
    for alike in sorted.chunk_by_mut(|a, b| first(*a) == first(*b)) {
        if alike.len() > 1 {
            alike.sort_unstable_by(|a, b| further(*a).cmp(further(*b)));
        }
        for same in alike.chunk_by(|a, b| further(*a).eq(further(*b))) {
            name += 1;
            for position in same {
                if let Some(slot) = names.get_mut(*position as usize) {
                    *slot = name;
                }
            }
        }
    }
    names
}

fn at(hashes: &[u64], index: usize) -> u64 {
    hashes.get(index).copied().unwrap_or_default()
}
