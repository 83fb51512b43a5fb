//! An order of rows in which all that was called from one place stands together, at every depth.
//!
//! Stacks are compared from the root, frame by frame, by the names of the functions (those that a frame inlines belong to it). Only what
//! is said counts and no id does, so the same profile has the same order whichever format it came in.

use super::counting;
use super::paths::Paths;
use super::places::Places;
use crate::profile::{Dictionary, Samples, StackId};

/// The order of some stacks of a dictionary.
pub struct Order {
    told: Places,
    /// The place of each stack in the order; those that are called the same share it.
    places: Vec<u32>,
    /// How many frames the stack in each place shares with the one before it.
    shared: Vec<u32>,
}

/// A row and the place of its stack.
#[derive(Clone, Copy)]
pub(super) struct Placed {
    pub(super) row: usize,
    pub(super) place: usize,
}

impl Order {
    /// Puts stacks in order, each of which may come several times. Takes time in proportion to what the dictionary holds, however often they do.
    pub fn of(d: &Dictionary, stacks: impl Iterator<Item = StackId>) -> Self {
        let mut used = vec![false; d.stacks.len()];
        for stack in stacks {
            if let Some(used) = used.get_mut(stack.index()) {
                *used = true;
            }
        }
        let used = d.stacks.ids().zip(&used).filter(|(_, used)| **used);
        let used: Vec<StackId> = used.map(|(stack, _)| stack).collect();
        let told = Places::of(d);
        let sorted = Paths::of(d, &told, &used).sort();
        let mut places = vec![0; d.stacks.len()];
        for (stack, place) in used.iter().zip(sorted.places) {
            if let Some(known) = places.get_mut(stack.index()) {
                *known = place;
            }
        }
        Self {
            told,
            places,
            shared: sorted.shared,
        }
    }

    /// What the locations of the dictionary say.
    pub(super) fn told(&self) -> &Places {
        &self.told
    }

    /// Some rows of a profile in this order; those that are called the same stay as they stand.
    pub(super) fn placed(&self, samples: &Samples, rows: &[usize]) -> Vec<Placed> {
        let place = |row: &usize| {
            let stack = samples.stacks.get(*row);
            stack.and_then(|stack| self.places.get(stack.index()))
        };
        let places: Vec<u32> = rows.iter().map(|row| place(row).copied().unwrap_or_default()).collect();
        let placed = counting::sorted(&places).into_iter().filter_map(|at| {
            let (row, place) = (rows.get(at as usize)?, places.get(at as usize)?);
            Some(Placed {
                row: *row,
                place: *place as usize,
            })
        });
        placed.collect()
    }

    /// How many frames the stacks in two places share from the root on, of which the first is not behind the second; the most there is where
    /// it is one place.
    pub(super) fn shared(&self, first: usize, second: usize) -> u32 {
        let between = self.shared.get(first + 1..=second).unwrap_or_default();
        between.iter().copied().min().unwrap_or(u32::MAX)
    }
}
