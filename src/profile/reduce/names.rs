//! What the locations of a dictionary are called, as numbers that can be compared.

use super::content::ContentHashes;
use super::counting;
use crate::profile::{Dictionary, LocationId};

/// What the locations are called.
pub(super) struct Names {
    /// Above 0: equal for equal names of functions, and those that inline the same function side by side. A location without a function is called
    /// by its address.
    names: Vec<u32>,
}

impl Names {
    /// Takes them from the dictionary.
    pub(super) fn of(hashes: &mut ContentHashes) -> Self {
        let d = hashes.dictionary();
        let functions: Vec<u64> = d.functions.ids().map(|id| hashes.name(id)).collect();
        let outermost = |id: LocationId| match d.lines[id].last() {
            Some(line) => at(&functions, line.function.index()),
            None => hashes.address(id),
        };
        let outermost: Vec<u64> = d.locations.ids().map(outermost).collect();
        Self {
            names: names(d, &functions, &outermost),
        }
    }

    /// What a location is called.
    #[inline]
    pub(super) fn at(&self, id: LocationId) -> u32 {
        self.names.get(id.index()).copied().unwrap_or_default()
    }

    /// The largest of the names, above 0.
    pub(super) fn last(&self) -> u32 {
        self.names.iter().copied().max().unwrap_or_default().max(1)
    }
}

/// Numbers of what the locations are called. `functions` are the hashes of all functions' names; `outermost`, for each location, that of the function into which
/// its others are inlined.
fn names(d: &Dictionary, functions: &[u64], outermost: &[u64]) -> Vec<u32> {
    let outer = |position: u32| outermost.get(position as usize);
    let id_at = |position: u32| d.locations.id(u64::from(position)).unwrap_or_default();
    let inlined = |position: u32| {
        let lines = d.lines[id_at(position)].iter().rev();
        lines.skip(1).map(|line| at(functions, line.function.index()))
    };
    let mut sorted = counting::sorted_hashes(outermost);
    let mut names = vec![0; outermost.len()];
    let mut name = 0;
    for alike in sorted.chunk_by_mut(|a, b| outer(*a) == outer(*b)) {
        if alike.len() > 1 {
            alike.sort_unstable_by(|a, b| inlined(*a).cmp(inlined(*b)));
        }
        for same in alike.chunk_by(|a, b| inlined(*a).eq(inlined(*b))) {
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
