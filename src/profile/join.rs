//! Samples of one profile that say the same about where and who become one.

use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::dictionary::{AttributeSetId, LinkId, StackId};
use super::samples::{Observations, Samples, Series};

/// Joins samples of equal stack, attributes and link: totals are summed, series appended. Sums stay what they were.
///
/// A lone value and a series with timestamps do not mix (their lengths would no longer agree), so they stay two samples.
pub(super) fn join_equal(samples: &mut Arc<Samples>, types: usize) {
    let shares = shares_stack(&samples.stacks);
    let candidates = shares.iter().filter(|shares| **shares).count();
    if candidates == 0 {
        return;
    }
    let groups = Groups::of(samples, &shares, candidates);
    if groups.firsts.len() == samples.len() {
        return;
    }
    let observations = match &samples.observations {
        Observations::Totals(values) => Observations::Totals(groups.sum(values, types)),
        Observations::Series(series) => Observations::Series(groups.append(series)),
    };
    *samples = Arc::new(Samples {
        observations,
        ..samples.pick(types, &groups.firsts)
    });
}

/// Of so many numbers of stacks and more for each sample of a profile not all are counted: many small profiles would count all of one
/// dictionary each.
const SPARSE: usize = 64;

/// For each sample whether another one has its stack: only those may have equals.
fn shares_stack(stacks: &[StackId]) -> Vec<bool> {
    let numbers = stacks.iter().map(|stack| stack.index() + 1).max().unwrap_or_default();
    if numbers / SPARSE > stacks.len() {
        let mut sorted = stacks.to_vec();
        sorted.sort_unstable();
        let next = |stack: &StackId| sorted.get(sorted.partition_point(|other| other < stack) + 1);
        return stacks.iter().map(|stack| next(stack) == Some(stack)).collect();
    }
    let mut counts = vec![0u8; numbers];
    for stack in stacks {
        if let Some(count) = counts.get_mut(stack.index()) {
            *count = count.saturating_add(1);
        }
    }
    let count = |stack: &StackId| counts.get(stack.index()).copied().unwrap_or_default();
    stacks.iter().map(|stack| count(stack) > 1).collect()
}

#[cfg(test)]
thread_local! {
    /// How many samples this thread has compared with others.
    static COMPARED: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// What is equal in samples that become one: stack, attributes, link, and what they consist of.
type Identity<'a> = (
    Option<&'a StackId>,
    Option<&'a AttributeSetId>,
    Option<&'a LinkId>,
    (bool, bool),
);

/// Which sample joins which.
struct Groups {
    /// The first row of every group, in order.
    firsts: Vec<usize>,
    /// The group of every row.
    of_row: Vec<usize>,
}

impl Groups {
    /// Of the samples that share a stack, so many in all, each is compared; any other is a group of its own.
    fn of(samples: &Samples, shares: &[bool], candidates: usize) -> Self {
        let hasher = RandomState::default();
        let identity = |row: usize| {
            (
                samples.stacks.get(row),
                samples.attributes.get(row),
                samples.links.get(row),
                shape(samples, row),
            )
        };
        // the rows alone tell nearly all apart; without links many requests in one place would all fall together
        let short = |(stack, attributes, link, _): Identity<'_>| {
            let stack = u128::from(stack.map_or(0, |id| id.raw()));
            let attributes = u128::from(attributes.map_or(0, |id| id.raw()));
            let link = u128::from(link.map_or(0, |id| id.raw()));
            link << 64 | stack << 32 | attributes
        };
        let mut groups: HashTable<usize> = HashTable::with_capacity(candidates);
        let mut firsts: Vec<usize> = Vec::with_capacity(samples.len());
        let mut of_row = Vec::with_capacity(samples.len());
        let first_of = |firsts: &[usize], group: usize| firsts.get(group).copied().unwrap_or_default();
        for (row, shares) in shares.iter().enumerate() {
            if !shares {
                of_row.push(firsts.len());
                firsts.push(row);
                continue;
            }
            let own = identity(row);
            let hash = hasher.hash_one(short(own));
            let is_equal = |group: &usize| {
                #[cfg(test)]
                COMPARED.set(COMPARED.get() + 1);
                identity(first_of(&firsts, *group)) == own
            };
            let group = match groups.find(hash, is_equal) {
                Some(group) => *group,
                None => {
                    let group = firsts.len();
                    firsts.push(row);
                    groups.insert_unique(hash, group, |group| {
                        hasher.hash_one(short(identity(first_of(&firsts, *group))))
                    });
                    group
                }
            };
            of_row.push(group);
        }
        Self { firsts, of_row }
    }

    fn sum(&self, values: &[i64], types: usize) -> Vec<i64> {
        let mut sums = vec![0i64; self.firsts.len() * types];
        for (row, group) in values.chunks_exact(types.max(1)).zip(&self.of_row) {
            let Some(sums) = sums.get_mut(group * types..(group + 1) * types) else {
                continue;
            };
            for (sum, value) in sums.iter_mut().zip(row) {
                *sum = sum.saturating_add(*value);
            }
        }
        sums
    }

    fn append(&self, series: &Series) -> Series {
        let mut members: Vec<Vec<usize>> = vec![Vec::new(); self.firsts.len()];
        for (row, group) in self.of_row.iter().enumerate() {
            if let Some(members) = members.get_mut(*group) {
                members.push(row);
            }
        }
        let mut joined = Series::default();
        for rows in members {
            let timestamps: Vec<u64> = rows.iter().flat_map(|row| series.timestamps(*row)).copied().collect();
            if timestamps.is_empty() {
                let sum = rows
                    .iter()
                    .fold(0i64, |sum, row| sum.saturating_add(series.total(*row)));
                joined.push(&[sum], &[]);
            } else {
                let values: Vec<i64> = rows.iter().flat_map(|row| series.values(*row)).copied().collect();
                joined.push(&values, &timestamps);
            }
        }
        joined
    }
}

/// What a sample of a series consists of: values, timestamps.
fn shape(samples: &Samples, row: usize) -> (bool, bool) {
    match &samples.observations {
        Observations::Totals(_) => (true, false),
        Observations::Series(series) => (!series.values(row).is_empty(), !series.timestamps(row).is_empty()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{Dictionary, Link};

    #[test]
    fn stacks_far_apart_are_found_to_be_shared_as_well() {
        let mut d = Dictionary::default();
        let stacks: Vec<StackId> = (0..1000).map(|_| d.stacks.push(&[])).collect();
        for (few, shares) in [
            (vec![0, 999, 0], vec![true, false, true]),
            (vec![999, 5, 7], vec![false; 3]),
            (vec![999, 999], vec![true; 2]),
            (vec![], vec![]),
        ] {
            let few: Vec<StackId> = few.iter().map(|at| stacks[*at]).collect();
            assert_eq!(shares_stack(&few), shares);
            // among many they are counted
            let many: Vec<StackId> = [&few[..], &stacks[100..200]].concat();
            assert_eq!(shares_stack(&many)[..few.len()], shares);
        }
    }

    #[test]
    fn many_links_of_one_stack_cost_no_more_than_many_stacks() {
        const ROWS: u64 = 20_000;
        let mut d = Dictionary::default();
        let link = |row: u64| Link {
            trace_id: u128::from(row / 2 + 1).to_be_bytes(),
            span_id: [1; 8],
        };
        // each of them twice
        let pairs = (0..ROWS).step_by(2).map(|row| d.links.push(link(row)));
        let links: Vec<LinkId> = pairs.flat_map(|link| [link, link]).collect();
        let mut samples = Arc::new(Samples {
            stacks: vec![StackId::UNSET; links.len()],
            attributes: vec![AttributeSetId::UNSET; links.len()],
            observations: Observations::Totals(vec![1; links.len()]),
            links,
        });
        let before = COMPARED.get();
        join_equal(&mut samples, 1);
        assert_eq!((samples.len() as u64, samples.sum(0, 1)), (ROWS / 2, i128::from(ROWS)));
        let compared = COMPARED.get() - before;
        assert!(compared < 2 * ROWS as usize, "{compared} comparisons of {ROWS} samples");
    }
}
