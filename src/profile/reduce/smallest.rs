//! The smallest of some numbers that stand beside each other.

use std::ops::Range;

/// Numbers of which the smallest of any range is found in as many steps as their count has digits: a tree whose nodes hold the smaller
/// of the two below.
pub(super) struct Smallest {
    /// From the root, at 1, on; the numbers themselves are the last half.
    nodes: Vec<u32>,
}

impl Smallest {
    pub(super) fn of(numbers: &[u32]) -> Self {
        let mut nodes = vec![u32::MAX; numbers.len()];
        nodes.extend_from_slice(numbers);
        for at in (1..numbers.len()).rev() {
            let smaller = node(&nodes, 2 * at).min(node(&nodes, 2 * at + 1));
            if let Some(node) = nodes.get_mut(at) {
                *node = smaller;
            }
        }
        Self { nodes }
    }

    /// The smallest of a range; of an empty one the largest there is.
    pub(super) fn of_range(&self, range: Range<usize>) -> u32 {
        let numbers = self.nodes.len() / 2;
        // most ask for one, or none
        if range.len() <= 1 {
            let alone = range.start < range.end.min(numbers);
            return if alone {
                node(&self.nodes, range.start + numbers)
            } else {
                u32::MAX
            };
        }
        let (mut from, mut to) = (range.start + numbers, range.end.min(numbers) + numbers);
        let mut smallest = u32::MAX;
        while from < to {
            if from % 2 == 1 {
                smallest = smallest.min(node(&self.nodes, from));
                from += 1;
            }
            if to % 2 == 1 {
                to -= 1;
                smallest = smallest.min(node(&self.nodes, to));
            }
            (from, to) = (from / 2, to / 2);
        }
        smallest
    }
}

fn node(nodes: &[u32], at: usize) -> u32 {
    nodes.get(at).copied().unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn prop_it_is_the_smallest_of_every_range(numbers in prop::collection::vec(0u32..100, 0..70)) {
            let tree = Smallest::of(&numbers);
            for from in 0..=numbers.len() {
                for to in from..=numbers.len() {
                    let smallest = numbers[from..to].iter().min().copied().unwrap_or(u32::MAX);
                    prop_assert_eq!(tree.of_range(from..to), smallest, "{}..{}", from, to);
                }
            }
            prop_assert_eq!(tree.of_range(numbers.len() + 3..numbers.len() + 9), u32::MAX);
        }
    }
}
