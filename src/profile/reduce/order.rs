//! An order of rows in which all that was called from one place stands together, at every depth.
//!
//! Stacks are compared from the root, frame by frame, by the names of the functions (those that a frame inlines belong to it). Only what
//! is said counts and no id does, so the same stacks have the same order whichever format they came in.

use super::content::{ContentHashes, mix};
use super::counting;
use super::minima::Minima;
use super::names::Names;
use super::paths::Paths;
use crate::profile::{Samples, StackId};

/// The order of some stacks of a dictionary.
pub struct Order {
    /// The place of each stack in the order; those that are called the same share it.
    places: Vec<u32>,
    /// How many frames the stack in each place shares with the one before it.
    shared: Minima,
}

/// A row and the place of its stack.
#[derive(Clone, Copy)]
pub(super) struct Placed {
    pub(super) row: u32,
    pub(super) place: u32,
}

impl Order {
    /// Puts stacks in order, each of which may come several times. Takes time in proportion to what the dictionary holds, however often they do.
    pub fn of(hashes: &mut ContentHashes, stacks: impl Iterator<Item = StackId>) -> Self {
        let d = hashes.dictionary();
        let mut used = vec![false; d.stacks.len()];
        for stack in stacks {
            if let Some(used) = used.get_mut(stack.index()) {
                *used = true;
            }
        }
        let used = d.stacks.ids().zip(&used).filter(|(_, used)| **used);
        let used: Vec<StackId> = used.map(|(stack, _)| stack).collect();
        let sorted = Paths::of(d, &Names::of(hashes), &used).sort();
        let mut places = vec![0; d.stacks.len()];
        for (stack, place) in used.iter().zip(sorted.places) {
            if let Some(known) = places.get_mut(stack.index()) {
                *known = place;
            }
        }
        Self {
            places,
            shared: Minima::of(sorted.shared),
        }
    }

    /// Some rows of a profile in this order; those of one call path stay as they stand.
    pub(super) fn placed(&self, samples: &Samples, rows: &[usize]) -> Vec<Placed> {
        let place = |row: &usize| {
            let stack = samples.stacks.get(*row);
            stack.and_then(|stack| self.places.get(stack.index()))
        };
        let places: Vec<u32> = rows.iter().map(|row| place(row).copied().unwrap_or_default()).collect();
        let placed = counting::sorted(&places).into_iter().filter_map(|at| {
            Some(Placed {
                row: *rows.get(at as usize)? as u32,
                place: *places.get(at as usize)?,
            })
        });
        placed.collect()
    }

    /// All rows of a profile in this order, those of one call path by what else their frames say, then by attributes and link.
    ///
    /// A grid needs that: rows that come by turns, as those with one of two labels, could all lie on its steps, or none of them.
    pub fn rows_in_full(&self, hashes: &mut ContentHashes, samples: &Samples) -> Vec<usize> {
        let all: Vec<usize> = (0..samples.len()).collect();
        let mut placed = self.placed(samples, &all);
        let same = placed.chunk_by_mut(|a, b| a.place == b.place);
        for same in same.filter(|same| same.len() > 1) {
            same.sort_by_cached_key(|placed| {
                let row = placed.row as usize;
                let stack = samples.stacks.get(row).map_or(0, |stack| hashes.stack(*stack));
                let set = samples.attributes.get(row).map_or(0, |set| hashes.set(*set));
                let link = samples.links.get(row).map_or(0, |link| hashes.link(*link));
                (stack, mix(set, link))
            });
        }
        placed.into_iter().map(|placed| placed.row as usize).collect()
    }

    /// How many frames the stacks in two places share from the root on, of which the first is not behind the second; the most there is where
    /// it is one place.
    #[inline]
    pub(super) fn shared(&self, first: u32, second: u32) -> u32 {
        self.shared.of_run(first as usize + 1, second as usize + 1)
    }
}
